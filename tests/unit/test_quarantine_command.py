"""`sluice quarantine …`: portion after portion until nothing is left, and one row told whole."""

import functools
import json
import shlex
from types import SimpleNamespace

import click
import pytest
import test_api_quarantine as by_api
from click.testing import CliRunner

from chalicelib.errors import ContractError, NotFound, UnknownSource
from chalicelib.quarantine import starting
from chalicelib.quarantine.starting import Bounds
from cli import quarantine as commands
from cli.outcome import Outcome

RUN, SOURCE = by_api.RUN, by_api.SOURCE
ledger, started, states = by_api.ledger, by_api.started, by_api.states
COUNTS = dict.fromkeys(("fetched", "inserted", "updated", "unchanged", "duplicates", "quarantined", "embedded"), 1)


@pytest.fixture
def sluice(ledger, started, database_url, monkeypatch):
    """sluice(arguments) runs `sluice quarantine …`, three rows to a portion; what it printed, and its exit status.

    A replay ends at once: line 2 fails again, the others are published; a run in `fails` fails.
    """
    settings = SimpleNamespace(bucket="lake")
    monkeypatch.setattr(commands, "connect", lambda: SimpleNamespace(settings=settings, database_url=database_url))
    few = {name: functools.partial(getattr(starting, name), bounds=Bounds(rows=3)) for name in ("start", "discard")}
    monkeypatch.setattr(commands, "starting", SimpleNamespace(**few))
    fails = set()

    def watched(context, session, run_id, execution, console):
        claim = run_id.removeprefix(f"{SOURCE}-r")
        status = "failed" if len(started) in fails else "succeeded"
        if status == "succeeded":
            ledger(
                "UPDATE pipeline.quarantine SET claimed_by = NULL, replays = replays + 1,"
                " outcome = CASE WHEN line <> 2 THEN 'published' END,"
                " settled_by = CASE WHEN line <> 2 THEN 'r' END, settled_at = CASE WHEN line <> 2 THEN now() END"
                " WHERE claimed_by = %s",
                claim,
            )
        else:
            ledger("UPDATE pipeline.quarantine SET claimed_by = NULL WHERE claimed_by = %s", claim)
        more = {"verdict": None, "seconds": 0.1, "report": None, "graph": None, "error": None, "reason": None}
        return Outcome(run_id=run_id, status=status, **COUNTS, **more)

    monkeypatch.setattr(commands, "watched", watched)

    def run(*arguments):
        root = click.Group("sluice", {"quarantine": commands.quarantine})
        return CliRunner().invoke(root, ["quarantine", *map(str, arguments)])

    run.fails = fails
    return run


def test_a_replay_goes_on_until_every_row_was_taken_once_and_says_what_is_left(sluice, started, states):
    ran = sluice("replay", "--source", SOURCE)
    assert ran.exit_code == 0, ran.output
    assert len(started) == 3
    assert states() == {"published": [1, 3, 4, 5, 6, 7], "open": [2, 8]}
    assert "left     4 rows, being replayed now" in ran.output
    assert "left     1 row, being replayed now" in ran.output
    assert "left     1 row of runs that published nothing" in ran.output


def test_after_a_replay_that_failed_it_stops_and_says_how_to_go_on(sluice, started, states):
    sluice.fails.add(2)
    ran = sluice("replay", "--run", RUN)
    assert (ran.exit_code, len(started)) == (4, 2)
    assert states() == {"published": [1, 3], "open": [2, 4, 5, 6, 7, 8]}
    command = ran.output.partition("left     1 row. Next: ")[2].splitlines()[0].split()
    assert command[:6] == ["sluice", "quarantine", "replay", "--run", RUN, "--after"]
    ran = sluice(*command[2:])
    assert (ran.exit_code, states()["published"]) == (0, [1, 3, 7])


def test_json_holds_the_outcomes_of_all_portions_and_nothing_else(sluice):
    ran = sluice("replay", "--run", RUN, "--json")
    assert [each["status"] for each in json.loads(ran.stdout)] == ["succeeded"] * 3


def test_a_replay_that_is_refused_is_told_with_its_reason_and_the_rows_are_open(sluice, started, states):
    started.refuses = {RUN: ContractError("the window is none", next_step="mend it")}
    ran = sluice("replay", "--run", RUN)
    assert ran.exit_code == 1
    assert ran.output.count(f" of {RUN}: the window is none Next: mend it") == 3
    assert states() == {"open": [1, 2, 3, 4, 5, 6, 7, 8]}


def test_discarding_goes_on_until_nothing_is_left(sluice, states):
    ran = sluice("discard", "--run", RUN, "--reason", "age", "--why", "a test")
    assert ran.exit_code == 0 and ran.stdout == "discarded 6\n" and "discarded 3, 3 to go" in ran.stderr
    ran = sluice("discard", "--run", RUN, "--why", "a test", "--json")
    assert json.loads(ran.stdout) == {"discarded": 1, "replaying": 0}
    assert states() == {"discarded": [1, 2, 3, 4, 5, 6, 7], "open": [8]}


def test_rows_that_are_being_replayed_are_told_when_the_others_are_discarded(sluice, started, states):
    by_api.ask("post_quarantine_replay", {"run": RUN, "reason": "x3"})
    ran = sluice("discard", "--run", RUN, "--why", "a test")
    assert ran.stdout == "discarded 6\nleft     1 row being replayed\n"
    assert states()["replaying"] == [3]


def test_a_page_ends_with_the_whole_command_of_the_next_one(sluice):
    given = ["list", "--run", RUN, "--source", SOURCE, "--reason", "age", "--since", "2026-01-01", "--limit", "3"]
    seen, pages = [], 0
    while given:
        shown = sluice(*given).stdout
        seen += [line.split(" line ")[1].split()[0] for line in shown.splitlines() if f"{RUN} line " in line]
        pages, command = pages + 1, shlex.split(shown.partition("The first 3 of more. Next: ")[2])
        assert not command or command[:-1] == ["sluice", "quarantine", *given[:11], "--before"]
        given = command[2:]
    assert pages == 2 and sorted(seen) == sorted(set(seen)) and len(seen) == 6


@pytest.mark.parametrize("command", [("discard", "--why", "x"), ("replay",), ("list",)], ids=lambda given: given[0])
@pytest.mark.parametrize(
    ("named", "error"), [(("--run", "nope"), NotFound), (("--source", "nosuch"), UnknownSource)], ids=["run", "source"]
)
def test_a_name_that_was_mistyped_is_refused(sluice, states, command, named, error):
    ran = sluice(*command, *named)
    assert ran.exit_code == 1 and isinstance(ran.exception, error) and ran.stdout == ""
    assert states() == {"open": [1, 2, 3, 4, 5, 6, 7, 8]}


def test_discarding_a_number_that_no_row_has_discards_nothing(sluice, ledger, states):
    [(first, last)] = ledger("SELECT min(id), max(id) FROM pipeline.quarantine WHERE source = %s", SOURCE)
    ran = sluice("discard", first, last + 1000, "--why", "a test")
    assert isinstance(ran.exception, NotFound) and f"the number {last + 1000}" in str(ran.exception)
    assert "open" in states() and "discarded" not in states()


def test_rows_that_were_settled_before_are_told_when_they_are_discarded(sluice, ledger):
    [(first,)] = ledger("SELECT min(id) FROM pipeline.quarantine WHERE source = %s", SOURCE)
    assert sluice("discard", first, "--why", "a test").stdout == "discarded 1\n"
    ran = sluice("discard", first, first + 1, "--why", "a test")
    assert ran.stdout == "discarded 1\nleft     1 of the rows: settled before, or not like that\n"
    ran = sluice("discard", "--run", RUN, "--reason", "no such reason", "--why", "a test")
    assert (ran.exit_code, ran.stdout) == (0, "discarded 0: no open row is like that\n")


def test_a_row_is_told_whole(sluice, ledger):
    [(number,)] = ledger("SELECT id FROM pipeline.quarantine WHERE run_id = %s AND line = 3", RUN)
    by_api.ask("post_quarantine_replay", {"ids": [number]})
    [(claim,)] = ledger("SELECT claimed_by FROM pipeline.quarantine WHERE id = %s", number)
    ledger(
        "INSERT INTO pipeline.runs (run_id, source, table_name, execution, input, status, started_at, replay_of)"
        " VALUES ('people-again', %s, 'people', 'arn', %s, 'running', now(), %s)",
        SOURCE,
        json.dumps({"source": SOURCE, "replay": claim}),
        RUN,
    )
    told = sluice("show", number).stdout
    for part in (
        f"{number}, replaying",
        SOURCE,
        RUN,
        "line 3",
        "people-again judges it",
        "type: age is 'x3', expected",
    ):
        assert part in told
    assert by_api.SECRET not in told and '"name":"***"' in told
    assert json.loads(sluice("show", number, "--json").stdout)["replayed_by"] == "people-again"
    [row] = json.loads(sluice("list", "--run", RUN, "--reason", "x3", "--json").stdout)["rows"]
    assert row["id"] == number


def test_what_only_reads_does_it_as_the_reader(sluice, ledger, monkeypatch):
    seen = []
    own = commands.rows.page

    def page(cursor, *given, **more):
        cursor.execute("SELECT current_user, current_setting('transaction_read_only')")
        seen.append(cursor.fetchone())
        return own(cursor, *given, **more)

    monkeypatch.setattr(commands.rows, "page", page)
    [(number,)] = ledger("SELECT min(id) FROM pipeline.quarantine WHERE source = %s", SOURCE)
    assert sluice("list", "--source", SOURCE).exit_code == sluice("show", number).exit_code == 0
    assert seen == [("sluice_reader", "on")] * 2
