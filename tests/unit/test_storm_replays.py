"""What the storm takes for a counterexample after the rows that a run set aside were judged again."""

import json
from types import SimpleNamespace

import pytest

from storm import truth
from storm.checks import Counterexample
from storm.database import Database
from storm.places import Original, Placed
from storm.replays import Replays, _Playing
from storm.waiting import Waits

LANE = "storm_2"
ROWS = [
    {"id": 1, "day": "2001-01-01", "amount": "10.00", "note": "x"},
    {"id": 2, "day": "2001-01-01", "amount": "-5.00", "note": "x"},
    {"id": 3, "day": "2001-01-01", "amount": "twelve", "note": "x"},
]
RUN = """
INSERT INTO pipeline.runs (run_id, source, table_name, execution, input, status, started_at, published_at, replay_of,
                           fetched, inserted, updated, unchanged, duplicates, quarantined)
VALUES (%s, 'storm_2', 'storm_2', 'an execution', '{}', 'succeeded', now(), now(), %s, %s, %s, 0, 0, 0, %s)
"""
ASIDE = """
INSERT INTO pipeline.quarantine (run_id, source, chunk, part, line, reasons, record)
VALUES (%s, 'storm_2', 0, 0, %s, '[]', %s)
"""

FAILED_AGAIN = """
UPDATE pipeline.quarantine AS q SET replay_of = o.id FROM pipeline.quarantine AS o
WHERE q.run_id = 'again' AND o.run_id = 'r' AND o.line = 2
"""
SETTLED = """
UPDATE pipeline.quarantine SET outcome = 'published', settled_by = 'again', settled_at = now()
WHERE run_id = 'r' AND line = 1
"""


@pytest.fixture
def stack(database_url):
    """The rows were loaded by the run `r`, and what it had set aside judged again by `again`."""
    database = Database(database_url)
    database.install()
    database.query("DELETE FROM pipeline.runs WHERE source = 'storm_2'")
    database.query("DROP TABLE IF EXISTS curated.storm_2")
    columns = "id integer PRIMARY KEY, day date, amount numeric(10,2), note text"
    database.query(f"CREATE SCHEMA IF NOT EXISTS curated; CREATE TABLE curated.storm_2 ({columns})")
    database.query(RUN, "r", None, 3, 1, 2)
    database.query(RUN, "again", "r", 2, 1, 1)
    database.query("INSERT INTO storm.published (run_id) VALUES ('again')")
    for number in (1, 2):
        database.query(ASIDE, "r", number, json.dumps(ROWS[number]))
    database.query(ASIDE, "again", 2, json.dumps(ROWS[2]))
    database.query(FAILED_AGAIN)
    database.query(SETTLED)
    for row in ROWS[:2]:
        database.query("INSERT INTO curated.storm_2 VALUES (%s, %s, %s, %s)", *truth.shown(row))
    yield SimpleNamespace(database=database, waits=Waits())
    database.query("DELETE FROM pipeline.runs WHERE source = 'storm_2'")
    database.query("DROP TABLE curated.storm_2; DROP SCHEMA storm CASCADE")


def check(stack):
    replays = Replays(stack, LANE, 1, None, None)
    rows = dict(enumerate(ROWS))
    placed = Placed({}, {})
    placed.publish(rows, 1, truth.is_bad)
    original = Original("r", 1, {1: ROWS[1], 2: ROWS[2]})
    playing = _Playing(None, None, placed, rows, [original])
    replays._apply(playing, truth.is_unfit)
    replays._check_states(original)


def test_what_a_replay_must_come_to_is_no_counterexample(stack):
    check(stack)


OTHERWISE = {
    "the table": "UPDATE curated.storm_2 SET amount = 5 WHERE id = 2",
    "a row too many": "INSERT INTO curated.storm_2 VALUES (3, '2001-01-01', 1, 'x')",
    "the account": "UPDATE pipeline.runs SET inserted = 0, updated = 1 WHERE run_id = 'again'",
    "a row that nobody was asked for": "UPDATE pipeline.runs SET replay_of = NULL WHERE run_id = 'again'",
    "a row that is gone": "DELETE FROM pipeline.quarantine WHERE run_id = 'r' AND line = 2",
    "one that failed again is gone": "DELETE FROM pipeline.quarantine WHERE run_id = 'again'",
    "a row that is left": "UPDATE pipeline.quarantine SET outcome = NULL, settled_by = NULL, settled_at = NULL, "
    "claimed_by = 'a claim' WHERE run_id = 'r' AND line = 1",
    "another state": "UPDATE pipeline.quarantine SET outcome = 'duplicate' WHERE run_id = 'r' AND line = 1",
    "settled by another": "UPDATE pipeline.quarantine SET settled_by = 'another' WHERE run_id = 'r' AND line = 1",
    "settled, and bad": "UPDATE pipeline.quarantine SET outcome = 'published', settled_by = 'again', "
    "settled_at = now() WHERE run_id = 'r' AND line = 2",
    "another row": "UPDATE pipeline.quarantine SET record = '{\"id\": 9}' WHERE run_id = 'r' AND line = 1",
}


@pytest.mark.parametrize("otherwise", OTHERWISE.values(), ids=OTHERWISE)
def test_what_it_must_not_come_to_is_found(stack, otherwise):
    stack.database.query(otherwise)
    with pytest.raises(Counterexample):
        check(stack)
