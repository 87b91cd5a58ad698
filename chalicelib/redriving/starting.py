"""Starting a failed run again, as the next attempt at the same thing.

Step Functions' own RedriveExecution goes on from the state that failed. Here that is the Fail state to which every
Catch leads, so it would fail once more; it ends 14 days after the failure; and a mended state machine is not taken.
A new execution, which is told what it may keep, works alike on AWS and on the laptop.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass

import boto3

from chalicelib import boto_clients, executions, redaction
from chalicelib import settings as settings_module
from chalicelib.errors import ContractError, NotFound
from chalicelib.lake import Lake, keys
from chalicelib.quarantine import rows
from chalicelib.run_input import RunInput, replayed_run
from chalicelib.triggers import attempts, starting
from chalicelib.triggers.attempts import ATTEMPTS
from chalicelib.triggers.starting import REDRIVE, REJECTED
from chalicelib.warehouse import connection, ledger
from chalicelib.warehouse.queries import statement

RUNNING, SUCCEEDED, REJECTED_RUN, FAILED = "running", "succeeded", "rejected", "failed"


@dataclass(frozen=True)
class Attempt:
    """The last of the runs that tried what `asked` did: its state by ledger and execution, and the name of the next.

    `wanted` is the input that the next one gets; None where a secret in it is known to nobody any more.
    """

    asked: str
    run_id: str
    source: str
    status: str
    row: dict | None
    wanted: dict | None
    following: str | None

    @property
    def command(self) -> str:
        shown = self.row["input"] if self.row else self.wanted
        return RunInput.from_json(starting.without_redrive(shown)).command()


@dataclass(frozen=True)
class Redriven:
    """The run `run_id` goes on from `redrive_of`."""

    run_id: str
    execution: str
    source: str
    redrive_of: str


@dataclass(frozen=True)
class Settled:
    """Why nothing is begun for the failed run `run_id`. `by` is the run that settled it; None of a replay's rows.

    `keeps_letter`: another run of the same did, not an attempt at this one. Where a source answers with its newest
    rows, that run need not hold those of the failed one, so nobody but a person may say that its input is done with.
    """

    run_id: str
    by: str | None
    reason: str
    keeps_letter: bool = False


@functools.cache
def _client():
    return boto3.client("stepfunctions", config=boto_clients.QUICK)


def failures(source: str | None = None) -> list[str]:
    """The failed runs that nothing followed, oldest first.

    Of runs that asked for the same (the source, window and input, whatever triggered them) only the newest counts,
    and only if it failed.
    """
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        cursor.execute(statement("ledger", "newest_failures"), {"source": source})
        return [run_id for (run_id,) in cursor.fetchall()]


def last_attempt(run_id: str, given: dict | None = None) -> Attempt:
    """The last attempt at what `run_id` tried. `given` is its input, where a dead letter has it.

    Raises NotFound for a run that neither the ledger nor Step Functions knows, ContractError for a replay.
    """
    row, described = _known(run_id)
    if row is None and described is None:
        raise NotFound(f"no run is called {run_id!r}", next_step="`sluice runs list` shows those there are")
    wanted = _input(row, described, given)
    shown = row["input"] if row else redaction.strings(wanted)
    if not isinstance(shown, dict) or "source" not in shown:
        raise ContractError("its input is none that a run can have", run_id=run_id)
    if "replay" in shown:
        raise _is_replay(run_id, row, shown)
    base, number = _base(run_id, row, shown)
    found, following = (run_id, row, described), None
    for attempt in range(number + 1, ATTEMPTS + 1):
        name = attempts.name(base, attempt)
        later = _known(name)
        if later == (None, None):
            following = name
            break
        if _asks_the_same(shown, *later):
            found = (name, *later)
    last, row, described = found
    return Attempt(
        asked=run_id,
        run_id=last,
        source=shown["source"],
        status=_status(row, described),
        row=row,
        wanted=_input(row, described, wanted),
        following=following,
    )


def settled(run_id: str, given: dict | None = None) -> Settled | None:
    """What settled the failed run: its rows where it replayed some, a later attempt that is under way or succeeded, or
    another run, as `warehouse.ledger.settled_by` says. None where nothing did.

    Raises what `last_attempt` does.
    """
    if _is_replay_of_settled_rows(run_id, given):
        return Settled(run_id, None, "none of the rows that it judged again is open any more")
    attempt = last_attempt(run_id, given)
    last = attempt.run_id
    if last != run_id and attempt.status in (RUNNING, SUCCEEDED):
        state = "is under way" if attempt.status == RUNNING else "succeeded"
        return Settled(run_id, last, f"{last}, which tried the same after {run_id}, {state}")
    with connection.transaction() as open_connection:
        by = ledger.settled_by(open_connection, last)
    if by is None:
        return None
    again = f"sluice redrive {run_id}{' --judge-again' * (attempt.status == REJECTED_RUN)}"
    return Settled(
        run_id,
        by,
        f"{by} asked for the same since and succeeded. What it was told may be other rows, so the dead letter stays: "
        f"`{again}` redrives the run, `sluice redrive {run_id} --discard` deletes the letter",
        keeps_letter=True,
    )


def _is_replay_of_settled_rows(run_id: str, given: dict | None) -> bool:
    """Whether the run replayed quarantined rows, and none of those that lay beside them is open any more."""
    row, described = _known(run_id)
    shown = row["input"] if row else _input(row, described, given) if described or given else None
    if not isinstance(shown, dict) or "replay" not in shown:
        return False
    states = _states(_replayed(row, shown))
    return states is not None and not states["open"] and not states["replaying"]


def _is_replay(run_id: str, row: dict | None, shown: dict) -> ContractError:
    """Why a replay is not redriven: its rows are replayed anew, as many as are open today."""
    original, command = _replayed(row, shown), RunInput.from_json(shown).command()
    states = _states(original)
    if states is None:
        return ContractError("it judged quarantined rows again", run_id=run_id, next_step=f"`{command}`")
    number, what = states["open"], f"it judged quarantined rows of {original} again"
    if number:
        them = "is 1 open row" if number == 1 else f"are {number:,} open rows"
        return ContractError(f"{what}; of that run there {them}", run_id=run_id, next_step=f"`{command}`")
    if number := states["replaying"]:
        them = "1 row is" if number == 1 else f"{number:,} rows are"
        return ContractError(
            f"{what}; {them} being replayed now",
            run_id=run_id,
            next_step=f"wait for that: `sluice quarantine list --run {original}`",
        )
    return ContractError(
        f"{what}, and none of these is open any more: nothing is left to redrive",
        run_id=run_id,
        next_step=f"`sluice redrive {run_id} --discard` deletes its dead letter",
    )


def _replayed(row: dict | None, shown: dict) -> str | None:
    """The run whose rows a replay judged; its trigger names it where it was never entered."""
    return (row and row["replay_of"]) or replayed_run(str(shown.get("trigger", "")))


def _states(original: str | None) -> dict[str, int] | None:
    """As `quarantine.rows.states`; None where nobody knows the run or it has no rows."""
    if original is None:
        return None
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        states = rows.states(cursor, original)
    return states if any(states.values()) else None


def start(run_id: str, given: dict | None = None, judge_again: bool = False) -> Redriven:
    """Start the run that goes on from the last attempt at what `run_id` tried.

    `judge_again` lets that be one that its gate rejected. Raises what `last_attempt` and `expect_redrivable` do, and
    what `triggers.starting.begin` does.
    """
    attempt = last_attempt(run_id, given)
    while True:
        wanted = expect_redrivable(attempt, judge_again)
        if starting.begin(attempt.following, wanted):
            arn = executions.arn(settings_module.current().state_machine_arn, attempt.following)
            return Redriven(attempt.following, arn, attempt.source, attempt.run_id)
        attempt = last_attempt(run_id, given)  # somebody else took the name meanwhile


def expect_redrivable(attempt: Attempt, judge_again: bool = False) -> dict:
    """The input of the next attempt. Raises ContractError, or NotFound where raw objects are gone.

    A succeeded run has nothing to redrive. A rejected one was judged: its data are what they are, so another run of
    them makes sense where the suite or the source was mended.
    """
    last = attempt.run_id
    which = last if last == attempt.asked else f"{last}, which tried the same after {attempt.asked},"
    if attempt.status == RUNNING:
        raise ContractError(f"{which} is under way", next_step=f"wait for it: `sluice runs show {last}`")
    if attempt.status == SUCCEEDED:
        raise ContractError(
            f"{which} succeeded; nothing is left to redrive",
            next_step=f"to load it once more: `{attempt.command}`",
        )
    if attempt.status == REJECTED_RUN and not judge_again:
        raise ContractError(
            f"{which} was rejected by its quality gate: the same data would get the same verdict",
            next_step=f"see why with `sluice runs show {last}`; once the suite or the source is mended, "
            f"`sluice redrive {attempt.asked} --judge-again`; or `{attempt.command}` to fetch anew; "
            f"`sluice redrive {last} --discard` deletes its dead letter",
        )
    if attempt.following is None:
        raise ContractError(f"{attempt.asked} was tried {ATTEMPTS} times", next_step=f"`{attempt.command}`")
    if attempt.wanted is None:
        raise ContractError(
            f"the input of {last} held a secret; the ledger does not keep it, and Step Functions has forgotten the run",
            next_step=f"`{attempt.command}`, with the secret in place of ***",
        )
    wanted = {**attempt.wanted, REDRIVE: last}
    starting.check(wanted)
    if attempt.row is not None:
        _expect_kept(Lake(settings_module.current().bucket), attempt)
    return wanted


def _expect_kept(lake: Lake, attempt: Attempt) -> None:
    """Raise NotFound unless all that the run, or one that it redrove, is known to have fetched is there."""
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        for run in ledger.redriven(open_connection, attempt.run_id):
            if wanted := {row["key"] for row in ledger.rows(cursor, "raw_keys", run_id=run["run_id"])}:
                run_id = run["run_id"]
                break
        else:
            return
    next_step = f"`{attempt.command}` fetches all of it anew"
    if not lake.keys(keys.listings(run_id)):
        raise NotFound(f"what is known of the raw objects of {run_id} is gone", next_step=next_step)
    there = {key for folder in {key.rpartition("/")[0] for key in wanted} for key in lake.keys(f"{folder}/")}
    if gone := sorted(wanted - there):
        raise NotFound(
            f"{len(gone)} of {len(wanted)} raw objects of {run_id} are gone, such as {gone[0]}",
            next_step=next_step,
        )


def _known(run_id: str) -> tuple[dict | None, dict | None]:
    """What ledger and Step Functions know of a run."""
    with connection.transaction() as open_connection:
        row = ledger.find_run(open_connection, run_id)
    return row, executions.described(_client(), executions.arn(settings_module.current().state_machine_arn, run_id))


def _status(row: dict | None, described: dict | None) -> str:
    """Both asked: the ledger says `running` for ever of a run that ended without a word."""
    if described is not None and described["status"] == "RUNNING":
        return RUNNING
    if row is not None and row["status"] not in ("running", "published"):
        return row["status"]
    if described is None:
        return FAILED
    if described["status"] == "SUCCEEDED":
        return SUCCEEDED
    return REJECTED_RUN if described.get("error") == REJECTED else FAILED


def _input(row: dict | None, described: dict | None, given: dict | None) -> dict | None:
    """The input as it was, from whoever knows it whole; without the run that it was itself told to redrive."""
    if described is not None:
        whole = json.loads(described["input"])
    elif given is not None:
        whole = given
    elif redaction.MASK in json.dumps(row["input"]):
        return None
    else:
        whole = row["input"]
    return starting.without_redrive(whole) if isinstance(whole, dict) else whole


def _asks_the_same(shown: dict, row: dict | None, described: dict | None) -> bool:
    found = row["input"] if row else redaction.strings(json.loads(described["input"]))
    return isinstance(found, dict) and starting.without_redrive(found) == starting.without_redrive(shown)


def _base(run_id: str, row: dict | None, shown: dict) -> tuple[str, int]:
    """The name that all attempts have in common, and the number of this one.

    A trigger's own name never ends like an attempt; a person's may.
    """
    counted = attempts.numbered(run_id)
    if counted and ("trigger" in shown or (row and row["redrive_of"])):
        return counted
    return (attempts.cut(run_id, run_id) if len(run_id) > attempts.ROOM else run_id), 1
