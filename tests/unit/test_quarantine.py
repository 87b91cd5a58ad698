"""Changes that do not fit their table: what does, who is told of the rest, and how an operator sees it."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from botocore.exceptions import EndpointConnectionError
from change_consumer import COLUMNS, row
from change_events import control
from click.testing import CliRunner

from chalicelib.changes.mapping import Changes
from chalicelib.columns import Column
from cli import changes as commands

NUMBERS = (
    Column("id", "bigint"),
    Column("free", "numeric"),
    Column("money", "numeric(12,2)"),
    Column("ratio", "double precision"),
)


def numbers(number, value):
    return {"id": number, "free": value, "money": value, "ratio": value}


@pytest.fixture
def sluice(consumer, monkeypatch):
    """sluice(arguments) runs `sluice changes …` on the consumer's ledger and lake; returns what it said."""
    session = SimpleNamespace(
        settings=SimpleNamespace(stage="test", bucket="lake"),
        database_url=consumer.settings.database_url,
        client=lambda _: consumer.s3,
    )
    monkeypatch.setattr(commands, "connect", lambda: session)

    def run(*arguments, fails=False):
        ran = CliRunner().invoke(commands.changes, [str(argument) for argument in arguments])
        if fails:
            assert ran.exit_code != 0
            return ran.output + str(ran.exception)
        assert ran.exit_code == 0, ran.output + repr(ran.exception)
        return ran.output

    return run


# --- NaN and infinity ------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["NaN", "nan"])
def test_nan_is_a_value_of_a_number(consumer_of, value):
    consumer = consumer_of(columns=NUMBERS)
    consumer(consumer.change("insert", numbers(1, value)), consumer.change("insert", numbers(2, 1.5)))
    assert consumer.rows == {1: ("1", "NaN", "NaN", "NaN"), 2: ("2", "1.5", "1.50", "1.5")}
    assert consumer.quarantine == []


@pytest.mark.parametrize(
    ("value", "held"), [("Infinity", "Infinity"), ("-Infinity", "-Infinity"), ("-inf", "-Infinity")]
)
def test_infinity_is_one_where_the_column_has_no_precision_as_in_postgres(consumer_of, value, held):
    consumer = consumer_of(columns=NUMBERS)
    consumer(consumer.change("insert", {**numbers(1, value), "money": 1}), consumer.change("insert", numbers(2, value)))
    assert consumer.rows == {1: ("1", held, "1.00", held)}
    assert consumer.quarantine[0][1] == [f"money is {value!r}, beyond the range of numeric(12,2)"]


def test_a_row_with_nan_that_comes_again_is_unchanged_and_its_lake_keeps_it(consumer_of):
    consumer = consumer_of(columns=NUMBERS)
    consumer(consumer.change("insert", numbers(1, "NaN")))
    consumer(consumer.change("update", numbers(1, "NaN")))
    assert (consumer.account.inserted, consumer.account.unchanged) == (1, 1)
    assert consumer.replayed()["1",]["ratio"] == "NaN"


def test_a_number_that_must_be_there_may_be_nan_and_not_null(consumer_of):
    consumer = consumer_of(columns=(Column("id", "bigint"), Column("n", "numeric", nullable=False)))
    consumer(consumer.change("insert", {"id": 1, "n": "NaN"}), consumer.change("insert", {"id": 2, "n": None}))
    assert consumer.rows == {1: ("1", "NaN")}
    assert consumer.quarantine[0][1] == ["n is null or missing"]


# --- emails ----------------------------------------------------------------------------------


def unfit(consumer, count, first=100):
    return [consumer.change("insert", row(n, amount="much")) for n in range(first, first + count)]


def age_mails(consumer, minutes):
    consumer.query(
        "UPDATE pipeline.quarantined_changes SET told_at = told_at - %s * interval '1 minute'"
        " WHERE stream = %s RETURNING 1",
        minutes,
        consumer.name,
    )


def test_what_a_batch_quarantines_is_mailed_in_one_email_with_reasons_and_next_step(consumer):
    consumer(*unfit(consumer, 250), consumer.change("insert", row(1)))
    [mail] = consumer.told.sent
    assert mail["Subject"] == f"[sluice] {consumer.name}: 250 changes quarantined"
    assert mail["Message"].count("amount is 'much'") == 1
    assert f"sluice changes quarantine --source {consumer.name}" in mail["Message"]


def test_a_quarter_of_an_hour_is_between_two_emails_and_none_is_left_out(consumer):
    for first in (1, 2, 3):
        consumer(*unfit(consumer, first, 1000 * first))
    assert [mail["Subject"].split(": ")[1] for mail in consumer.told.sent] == ["1 change quarantined"]
    age_mails(consumer, 14)
    consumer(consumer.change("insert", row(1)))
    assert len(consumer.told.sent) == 1
    age_mails(consumer, 2)
    consumer(consumer.change("insert", row(2)))
    assert [mail["Subject"].split(": ")[1] for mail in consumer.told.sent[1:]] == ["5 changes quarantined"]


def test_an_email_that_could_not_be_sent_is_sent_by_the_next_invocation(consumer, monkeypatch):
    def fails(**_):
        raise EndpointConnectionError(endpoint_url="https://sns")

    with monkeypatch.context() as patch:
        patch.setattr(consumer.told, "publish", fails)
        consumer(*unfit(consumer, 2), b"no JSON")
    [message] = consumer.told.sent  # the queue is told all the same
    assert message["kind"] == "change record"
    consumer(consumer.change("insert", row(1)))
    assert [mail["Subject"].split(": ")[1] for mail in consumer.told.sent[1:]] == ["2 changes quarantined"]


def test_an_email_quotes_no_value_of_a_personal_column(consumer_of):
    columns = tuple(Column(c.name, c.type, personal=c.name == "amount") for c in COLUMNS)
    consumer = consumer_of(columns=columns)
    consumer(consumer.change("insert", row(1, amount="Marker-4711")))
    [mail] = consumer.told.sent
    assert "Marker-4711" not in json.dumps(mail) and "amount is" in mail["Message"]


# --- what an update leaves as it was ---------------------------------------------------------


def untold(number, **values):
    """A row of an update that does not name its large text."""
    return {name: value for name, value in row(number, **values).items() if name != "note"}


@pytest.mark.parametrize("operation", ["load", "insert"])
@pytest.mark.parametrize("details", [True, False], ids=["with positions", "without"])
def test_an_update_finds_the_large_text_in_the_quarantined_change_that_brought_it(consumer, operation, details):
    consumer(consumer.change(operation, row(1, amount="much", note="y" * 50_000), details=details))
    assert consumer.rows == {} and consumer.account.quarantined == 1
    consumer(consumer.change("update", untold(1, amount=4, city="Faro", extra="{"), details=details))
    assert consumer.rows == {} and consumer.account.quarantined == 2
    consumer(consumer.change("update", untold(1, amount=5), details=details))
    assert consumer.rows[1][1:3] == ("Lisbon", "5.00") and consumer.rows[1][5] == "y" * 50_000
    consumer(consumer.change("update", untold(1, amount=6), details=details))
    assert consumer.rows[1][2] == "6.00" and consumer.rows[1][5] == "y" * 50_000
    [(kept,)] = consumer.query("SELECT past::text FROM pipeline.change_keys WHERE table_name = %s", consumer.name)
    assert "unfit" not in kept  # the row has it all now


def test_so_it_does_of_a_row_that_is_there_and_of_one_that_goes_to_another_key(consumer):
    consumer(*(consumer.change("insert", row(number, note="old")) for number in (1, 2)))
    consumer(*(consumer.change("update", row(number, amount="much", note="new")) for number in (1, 2)))
    assert [consumer.rows[number][5] for number in (1, 2)] == ["old", "old"]
    consumer(
        consumer.change("update", untold(1, amount=5)),
        consumer.change("update", untold(3, amount=6), before={"id": 2}),
    )
    assert {number: found[2:6:3] for number, found in consumer.rows.items()} == {1: ("5.00", "new"), 3: ("6.00", "new")}


@pytest.mark.parametrize("nullable", [True, False], ids=["nullable", "required"])
def test_so_it_does_where_the_quarantined_change_comes_later(consumer_of, nullable):
    consumer = consumer_of(columns=tuple(Column(c.name, c.type, nullable or c.name != "amount") for c in COLUMNS))
    consumer(consumer.change("update", untold(1, city="new"), at=20))
    consumer(consumer.change("insert", row(1, amount="much", note="first"), at=10), shard="shardId-000000000001")
    assert (consumer.rows[1][1], consumer.rows[1][5]) == ("new", "first") and consumer.account.quarantined == 1


def test_it_does_not_find_the_text_of_another_row_that_had_the_key(consumer):
    consumer(consumer.change("insert", row(1, amount="much", note="another row's")))
    consumer(consumer.change("delete", {"id": 1}), consumer.change("insert", row(1, amount=1, note=None)))
    consumer(consumer.change("update", untold(1, amount=2)))
    assert consumer.rows[1][2] == "2.00" and consumer.rows[1][5] is None


def test_an_update_that_leaves_a_large_value_that_did_not_fit_is_quarantined_too_and_the_row_stays(consumer):
    consumer(consumer.change("insert", row(1, extra={"a": 1})))
    consumer(consumer.change("update", row(1, extra="{", city="Porto")))
    update = {name: value for name, value in row(1, amount=7).items() if name != "extra"}
    consumer(consumer.change("update", update), consumer.change("update", update))
    assert consumer.rows[1][1:3] == ("Lisbon", "12.50") and consumer.account.quarantined == 3
    reason = "the update leaves extra as it was, in a change of the row that is quarantined as it did not fit"
    assert [reasons for _, reasons in consumer.quarantine[1:]] == [[reason], [reason]]
    consumer(consumer.change("update", row(1, extra={"a": 2}, city="Faro")))
    consumer(consumer.change("update", {**update, "city": "Faro"}))
    assert consumer.rows[1][1:3] == ("Faro", "7.00") and consumer.rows[1][6] == '{"a": 2}'


def test_what_fits_of_a_quarantined_change_is_kept_for_as_long_as_the_row_waits_for_it(consumer):
    consumer(consumer.change("insert", row(1, amount="much", note="large")), consumer.change("insert", row(2)))
    consumer(consumer.change("update", row(3), before={"id": 2}))
    age = (
        "UPDATE pipeline.change_keys SET kept_since = now() - interval '15 days'"
        " WHERE table_name = %s AND key = '[\"1\"]' RETURNING 1"
    )
    assert consumer.query(age, consumer.name) == [(1,)]
    consumer(consumer.change("insert", row(4)))  # a batch forgets what is too old
    consumer(consumer.change("update", untold(1, amount=5)))
    assert consumer.rows[1][5] == "large"


def test_without_large_texts_that_are_left_out_nothing_is_remembered(consumer):
    consumer.source.changes = Changes("public", consumer.name, absent="null")
    consumer(consumer.change("insert", row(1, amount="much")))
    assert consumer.query("SELECT 1 FROM pipeline.change_keys WHERE table_name = %s", consumer.name) == []
    consumer(consumer.change("update", untold(1)))
    assert consumer.rows[1][5] is None


# --- the commands ----------------------------------------------------------------------------


def test_an_operator_sees_what_is_quarantined_and_why_and_one_record_whole(consumer, sluice):
    consumer(*unfit(consumer, 1), b"no JSON")
    listed = sluice("quarantine", "--source", consumer.name)
    [number] = re.findall(rf"^(\d+)  .* {consumer.name}  shardId-000000000000 \d+$", listed, re.MULTILINE)
    assert "amount is 'much'" in listed
    shown = sluice("quarantine", number)
    assert "Next: mend the row" in shown and "the row's next change that fits" in shown and '"city"' not in shown
    assert '"city": "Lisbon"' in sluice("quarantine", number, "--record")
    document = json.loads(sluice("quarantine", number, "--record", "--json"))
    assert document["source"] == consumer.name and json.loads(document["record"])["data"]["amount"] == "much"
    assert "record" not in json.loads(sluice("quarantine", number, "--json"))


def test_a_record_that_could_not_be_read_is_listed_apart(consumer, sluice):
    consumer(*unfit(consumer, 1), b"no JSON")
    [found] = [
        each
        for each in json.loads(sluice("quarantine", "--malformed", "--limit", 1000, "--json"))
        if each["stream"] == consumer.name
    ]
    assert found["reasons"][0]["message"].startswith("the record is no JSON") and found["source"] is None
    assert "could not be read" in sluice("quarantine", found["id"])
    assert "put the record into the stream again" in sluice("quarantine", found["id"])


def test_what_there_is_not_is_said(consumer, sluice):
    assert "No change is quarantined." in sluice("quarantine", "--source", consumer.name)
    assert "no change is quarantined as 999999999" in sluice("quarantine", 999999999, fails=True)
    assert "give its NUMBER" in sluice("quarantine", "--record", fails=True)


def test_a_table_that_was_emptied_is_shown_and_resumed_by_a_decision(consumer, sluice):
    consumer(consumer.change("insert", row(1), at=1))
    consumer(control("truncate-table", consumer.name, seconds=60), consumer.change("insert", row(2), at=50))
    assert f"sluice changes resume {consumer.name}" in sluice("status")
    [held] = [each for each in json.loads(sluice("status", "--json"))["held"] if each["source"] == consumer.name]
    assert held["records"] == 1
    assert "give --truncate or --keep" in sluice("resume", consumer.name, fails=True)
    assert "give it with --truncate" in sluice("resume", consumer.name, "--keep", "--yes", fails=True)
    assert "is no time" in sluice("resume", consumer.name, "--truncate", "--at", "noon", fails=True)
    said = sluice("resume", consumer.name, "--truncate", "--at", "2026-03-01T13:00:30")
    assert "Rows removed: 1" in said and "inserted 1" in said and set(consumer.rows) == {2}
    assert [json.loads(line)["id"] for line in sluice("replay", f"public.{consumer.name}").splitlines()] == [2]
    consumer.settings = replace(consumer.settings, changes_format="json")
    consumer(consumer.change("insert", row(3), at=5), consumer.change("insert", row(4), at=70))
    assert [json.loads(line)["id"] for line in sluice("replay", f"public.{consumer.name}").splitlines()] == [2, 4]
    assert "not held" in sluice("resume", consumer.name, "--keep", fails=True)


def test_without_a_time_it_is_that_of_the_record(consumer, sluice):
    consumer(consumer.change("insert", row(1), at=1), consumer.change("insert", row(2), at=61))
    consumer(control("truncate-table", consumer.name, seconds=60))
    sluice("resume", consumer.name, "--truncate")
    assert set(consumer.rows) == {2}


def test_without_a_time_nothing_is_skipped_that_may_be_of_the_emptying_transaction_unless_somebody_says_so(
    consumer, sluice
):
    consumer(consumer.change("insert", row(1), at=1))
    consumer(control("truncate-table", consumer.name, seconds=60), consumer.change("insert", row(2), at=50))
    consumer(
        *(consumer.change("insert", row(n), at=50 + n) for n in (3, 4)), consumer.change("delete", {"id": 4}, at=59)
    )
    consumer(consumer.change("insert", row(5), at=70))
    said = sluice("resume", consumer.name, "--truncate", fails=True)
    assert "4 of the held changes were committed before 2026-03-01T13:00:50+00:00, the time in the record" in said
    assert "delete 1  insert 3" in said and "--at TIME" in said and "--yes" in said
    assert set(consumer.rows) == {1} and consumer.account.held == 5
    said = sluice("resume", consumer.name, "--truncate", "--yes")
    assert "emptied at 2026-03-01T13:00:50+00:00, the time in the record" in said
    assert "older, and skipped: delete 1  insert 3" in said
    assert set(consumer.rows) == {5} and consumer.account.skipped == 4


def test_with_a_time_what_is_skipped_is_said(consumer, sluice):
    consumer(control("truncate-table", consumer.name, seconds=60), consumer.change("insert", row(2), at=50))
    consumer(consumer.change("insert", row(3), at=20))
    said = sluice("resume", consumer.name, "--truncate", "--at", "2026-03-01T13:00:20Z")
    assert "emptied at 2026-03-01T13:00:20+00:00\n" in said and "older, and skipped: insert 1" in said
    assert set(consumer.rows) == {2}
