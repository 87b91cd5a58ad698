"""What a storm takes for a counterexample, and that its faults in the database are the ones that Postgres has."""

import contextlib
from types import SimpleNamespace

import psycopg2
import pytest
from botocore.exceptions import ClientError

from chalicelib.warehouse import tables
from storm import checks, truth
from storm.checks import Counterexample
from storm.database import ACTIONS, Database, DatabaseFault
from storm.inbox import Inbox
from storm.plan import Trial
from storm.stack import LOST, Ended, RedriveRefused
from storm.trial import Lane
from storm.waiting import Waits

LANE = "storm_6_texts"
WINDOW = truth.window(0)


@pytest.fixture
def database(database_url):
    made = Database(database_url)
    made.install()
    made.query(f"DROP TABLE IF EXISTS curated.{LANE}")
    columns = "id integer PRIMARY KEY, day date, amount numeric(10,2), note text"
    made.query(f"CREATE SCHEMA IF NOT EXISTS curated; CREATE TABLE curated.{LANE} ({columns})")
    yield made
    made.query(f"DROP TABLE curated.{LANE}; DROP SCHEMA storm CASCADE")


@pytest.fixture
def stack(database):
    none = {"list_multipart_uploads": {}}
    return SimpleNamespace(
        database=database,
        env={"SLUICE_BUCKET": "b"},
        call=lambda service, operation, **_: none[operation],
        waits=Waits(),
    )


# --- faults in the database ----------------------------------------------------------------------

CODES = {"cut": None, "disk full": "53100", "lock timeout": "55P03", "read-only": "25006", "deadlock": "40P01"}


@pytest.mark.parametrize("action", ACTIONS)
def test_a_fault_strikes_at_its_row_and_as_often_as_it_should(database, database_url, action):
    database.arm([DatabaseFault("a fault", LANE, "merge", action, after=1, times=1)])
    insert = f"INSERT INTO curated.{LANE} VALUES (%s, '2001-01-01', 1, 'x')"
    with database.holding():
        holder = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 20261121"
        while database.query(holder) == [(0,)]:
            pass
        codes = []
        for key in range(4):
            session = psycopg2.connect(database_url, application_name="sluice")
            try:
                with session, session.cursor() as cursor:
                    cursor.execute(insert, (key,))
                codes.append("done")
            except psycopg2.Error as error:
                codes.append(error.pgcode)
            session.close()
    wanted = CODES[action]
    assert codes == ["done", "57P01" if wanted is None and codes[1] else wanted, "done", "done"]
    assert database.disarm(LANE) == {"a fault": 4}


def test_a_fault_of_one_lane_leaves_others_alone(database):
    database.arm([DatabaseFault("a fault", "storm_8", "merge", "disk full", times=9)])
    insert = f"SET application_name = 'sluice'; INSERT INTO curated.{LANE} VALUES (1, '2001-01-01', 1, 'x')"
    database.query(insert)
    database.arm([DatabaseFault("another", LANE, "merge", "disk full", times=9)])
    with pytest.raises(psycopg2.errors.DiskFull), database.connected() as session, session.cursor() as cursor:
        cursor.execute(insert.replace("VALUES (1", "VALUES (2"))


# --- what must hold --------------------------------------------------------------------------------


def lane(stack, before, served=None):
    upstream = SimpleNamespace(served=lambda name: served or {})
    made = Lane(LANE, 1, stack, upstream, None)
    made._table = before
    return made


def published(account, **given):
    return {"run_id": "r", "published_at": "now", **vars(account), **given}


RUN = """
INSERT INTO pipeline.runs (run_id, source, execution, input, status, started_at)
VALUES ('r', 'storm_6_texts', 'an execution', '{}', 'running', now())
"""
SET_ASIDE = """
INSERT INTO pipeline.quarantine (run_id, source, chunk, part, line, reasons, record)
VALUES ('r', 'storm_6_texts', 0, 0, %s, '[]', 'a row')
"""


@pytest.fixture
def run(stack):
    """The run `r`, which is under way."""
    stack.database.query("DELETE FROM pipeline.runs WHERE run_id = 'r'")
    stack.database.query(RUN)
    yield
    stack.database.query("DELETE FROM pipeline.runs WHERE run_id = 'r'")


@pytest.fixture
def loaded(stack, run):
    """The truth of the window is in the table; (rows, account)."""
    [pages] = truth.readings(1, LANE, WINDOW, {})
    table, account = truth.apply({}, pages)
    for row in table.values():
        stack.database.query(f"INSERT INTO curated.{LANE} VALUES (%s, %s, %s, %s)", *row)
    for line in range(account.quarantined):
        stack.database.query(SET_ASIDE, line)
    return table, account


def test_the_truth_is_no_counterexample(stack, loaded):
    lane(stack, {})._check_table(SimpleNamespace(place=0), [published(loaded[1])])
    lane(stack, loaded[0])._check_table(SimpleNamespace(place=0), [])


SPOILED = {
    "a row is gone": "DELETE FROM {} WHERE id = (SELECT min(id) FROM {})",
    "a row is another": "UPDATE {} SET amount = amount + 1 WHERE id = (SELECT min(id) FROM {})",
    "a row too many": "INSERT INTO {} VALUES (-1, '2001-01-01', 1, 'x')",
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_row_that_is_gone_changed_or_made_up_is_found(stack, loaded, spoil):
    stack.database.query(spoil.replace("{}", f"curated.{LANE}"))
    with pytest.raises(Counterexample, match="1 rows"):
        lane(stack, {})._check_table(SimpleNamespace(place=0), [published(loaded[1])])


def test_what_an_unpublished_run_wrote_is_found(stack, loaded):
    with pytest.raises(Counterexample, match="is not what it was"):
        lane(stack, {})._check_table(SimpleNamespace(place=0), [])


@pytest.mark.parametrize("wrong", [{"fetched": 1}, {"inserted": 0}])
def test_an_account_that_is_not_the_truths_is_found(stack, loaded, wrong):
    with pytest.raises(Counterexample, match="the account"):
        lane(stack, {})._check_table(SimpleNamespace(place=0), [published(loaded[1], **wrong)])


def test_a_page_that_is_half_of_one_version_and_half_of_another_is_found(stack, loaded):
    day = WINDOW[0]
    planned, changed = truth.pages(1, LANE, day)[0], truth.pages(1, LANE, day, truth.CHANGED)[0]
    differing = next(new for old, new in zip(planned, changed, strict=False) if old != new)
    update = f"UPDATE curated.{LANE} SET amount = %s WHERE id = %s"
    stack.database.query(update, differing["amount"], differing["id"])
    both = {(day.isoformat(), 0): [truth.CHANGED, truth.PLANNED]}
    with pytest.raises(Counterexample):
        lane(stack, {}, both)._check_table(SimpleNamespace(place=0), [published(loaded[1])])


@pytest.mark.parametrize("change", ["DELETE FROM pipeline.quarantine", SET_ASIDE.replace("%s", "1000")])
def test_a_row_that_was_set_aside_and_is_gone_or_there_twice_is_found(stack, loaded, change):
    stack.database.query(SET_ASIDE, 999)
    told = published(loaded[1]) | {"quarantined": loaded[1].quarantined + 1}
    checks.quarantine(stack, told)
    stack.database.query(change)
    with pytest.raises(Counterexample, match="in quarantine"):
        checks.quarantine(stack, told)


def test_a_run_that_the_sweep_left_under_way_is_found(stack, run):
    with pytest.raises(Counterexample, match="after the sweep the ledger says running"):
        checks.swept(stack, "r")
    stack.database.query("UPDATE pipeline.runs SET status = 'failed' WHERE run_id = 'r'")
    checks.swept(stack, "r")


@pytest.mark.parametrize(
    ("published", "position", "is_wrong"),
    [
        ([{}], WINDOW[1].isoformat(), False),
        ([{}], "2000-01-01", True),
        ([], "2000-01-01", False),
        ([], WINDOW[1].isoformat(), True),
    ],
    ids=["moved", "not moved", "stayed", "moved without a window"],
)
def test_a_cursor_that_is_not_where_the_published_window_ends_is_found(
    monkeypatch, stack, published, position, is_wrong
):
    monkeypatch.setattr(checks, "cursor", lambda stack, name: position)
    check = lane(stack, {})._check_cursor
    given = (SimpleNamespace(place=0), published, {"source": LANE}, "2000-01-01")
    if not is_wrong:
        check(*given)
    else:
        with pytest.raises(Counterexample, match="the cursor"):
            check(*given)


@pytest.mark.parametrize("state", ["idle", "idle in transaction"])
def test_a_session_of_a_worker_that_is_gone_is_found(stack, database_url, monkeypatch, state):
    monkeypatch.setattr(checks, "SETTLED_SECONDS", 0)
    # the tests' own count as those of workers
    [(own,)] = stack.database.query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sluice'")
    workers = ["a worker"] * own
    stack.workers = lambda: workers
    checks.the_stack_is_at_rest(stack)
    with contextlib.closing(psycopg2.connect(database_url, application_name="sluice")) as session:
        session.autocommit = state == "idle"
        session.cursor().execute("SELECT 1")
        with pytest.raises(Counterexample, match=f"{own + 1} sessions of {own} workers"):
            checks.the_stack_is_at_rest(stack)
        workers.append("the one that it is of")
        if state == "idle":
            checks.the_stack_is_at_rest(stack)
        else:
            with pytest.raises(Counterexample, match="1 in a transaction"):
                checks.the_stack_is_at_rest(stack)


OK, BAD = Ended("in-t00000-ok", "SUCCEEDED"), Ended("in-t00000-bad", "FAILED", "X")


@pytest.mark.parametrize(
    ("ended", "undelivered", "found"),
    [
        pytest.param([OK], [], None, id="one run"),
        pytest.param([BAD, OK], [], None, id="tried again"),
        pytest.param([OK, OK], [], "started 2 runs, of which 0 failed", id="two runs"),
        pytest.param([], [], "started no run", id="lost"),
        pytest.param([], ["inbox/storm_8_inbox/in-t00000-rows.ndjson"], None, id="given up"),
    ],
)
def test_a_file_that_makes_no_run_or_one_too_many_is_found(ended, undelivered, found):
    by_arn = {f"arn:{place}": one for place, one in enumerate(ended)}
    messages = {"Attributes": {"ApproximateNumberOfMessages": "0"}}
    stack = SimpleNamespace(
        waits=Waits(),
        generation=1,
        env={"SLUICE_BUCKET": "b", "SLUICE_TRIGGERS_URL": "q"},
        call=lambda service, operation, **_: {"ETag": '"e"'} if operation == "put_object" else messages,
        executions=lambda mark: list(by_arn),
        wait=by_arn.get,
        undelivered=lambda: undelivered,
    )
    inbox = Inbox(stack, "storm_8_inbox", 1)
    trial = Trial(0, "storm_8_inbox", 0, by_cursor=False, redriven=False, faults=())
    if found is None:
        assert inbox.put(trial) == ended
    else:
        with pytest.raises(Counterexample, match=found):
            inbox.put(trial)


def test_an_event_is_delivered_until_the_queue_takes_it():
    refused = ClientError({"Error": {"Code": "InternalFailure", "Message": "a fault"}}, "SendMessage")
    answers, asked = [refused, refused, {"MessageId": "1"}], []

    def call(service, operation, **given):
        asked.append(operation)
        if operation != "send_message":
            return {"Attributes": {"ApproximateNumberOfMessages": "0"}}
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return answer

    stack = SimpleNamespace(
        waits=Waits(),
        generation=1,
        env={"SLUICE_TRIGGERS_URL": "q"},
        call=call,
        executions=lambda mark: ["arn:0"],
        wait=lambda arn: OK,
    )
    trial = Trial(0, "storm_8_inbox", 0, by_cursor=False, redriven=False, faults=())
    assert Inbox(stack, "storm_8_inbox", 1).again(trial) == [OK]
    assert asked.count("send_message") == 3 and not answers


WRONG_ENDS = {
    "succeeded, for the ledger under way": (Ended("r", "SUCCEEDED"), {"status": "running", "published_at": None}),
    "succeeded, nothing published": (Ended("r", "SUCCEEDED"), {"status": "succeeded", "published_at": None}),
    "failed, for the ledger under way": (Ended("r", "FAILED", "X"), {"status": "running"}),
    "failed, and not in the ledger": (Ended("r", "FAILED", "X"), {}),
    "lost, for the ledger under way": (Ended("r", LOST), {"status": "running"}),
    "stopped": (Ended("r", "TIMED_OUT"), {"status": "running"}),
    "stopped by somebody, and done": (Ended("r", "ABORTED", states=("Plan",)), {"status": "succeeded"}),
    "rejected, and done": (Ended("r", "FAILED", "X", states=("Reject",)), {"status": "succeeded"}),
    "rejected, for the ledger a failure": (Ended("r", "FAILED", "X", states=("Reject",)), {"status": "failed"}),
}


@pytest.mark.parametrize(("ended", "row"), WRONG_ENDS.values(), ids=WRONG_ENDS)
def test_an_end_that_the_ledger_does_not_know_of_is_found(ended, row):
    with pytest.raises(Counterexample):
        checks.ended_as_it_says(ended, row)


@pytest.mark.parametrize(
    ("emails", "letters", "unheard", "found"),
    [
        pytest.param(0, [{"input": {}}], (), "no email", id="no email"),
        pytest.param(1, [], (), "no dead letter", id="no dead letter"),
        pytest.param(1, [{"input": {"source": "x"}}], (), "another input", id="another input"),
        pytest.param(0, [{"input": {}}], ("sns",), None, id="SNS is away"),
        pytest.param(1, [], ("sqs",), None, id="SQS is away"),
        pytest.param(1, [{"input": {}}], (), None, id="told"),
    ],
)
def test_a_failure_that_nobody_was_told_of_is_found(monkeypatch, emails, letters, unheard, found):
    monkeypatch.setattr(checks, "HELD_SECONDS", 0)
    mail = checks.Mail(SimpleNamespace(generation=3, waits=Waits()))
    monkeypatch.setattr(mail, "emails", lambda run_id: emails)
    monkeypatch.setattr(mail, "letters", lambda run_id: letters)
    ended = Ended("r", "FAILED", "X")
    if found is None:
        checks.somebody_was_told(mail, ended, unheard, 3)
    else:
        with pytest.raises(Counterexample, match=found):
            checks.somebody_was_told(mail, ended, unheard, 3)


def test_a_letter_that_was_lost_with_its_engine_is_not_waited_for(monkeypatch):
    mail = checks.Mail(stack := SimpleNamespace(generation=3, waits=Waits()))
    asked = []

    def letters(run_id):
        asked.append(run_id)
        stack.generation = 4  # while the letter was being looked for
        return []

    monkeypatch.setattr(mail, "letters", letters)
    assert mail.awaited("r", 3) == []
    assert len(asked) == 2
    monkeypatch.setattr(mail, "emails", lambda run_id: 0)
    checks.somebody_was_told(mail, Ended("r", "FAILED", "X"), (), 3)


# --- vectors -----------------------------------------------------------------------------------------

_VECTOR = """
INSERT INTO pipeline.embeddings (model, table_name, key, content_hash, passage, start, length, embedding, run_id)
SELECT 'm', '{table}', jsonb_build_array(id)::text, sha256(convert_to(note, 'UTF8')), 0, 0, length(note),
       ('[' || ascii(right(note, 1)) || ',1,' || length(note) || ']')::vector, 'r'
FROM curated.{table}
"""
WRONG_VECTORS = {
    "without a vector": "DELETE FROM pipeline.embeddings WHERE table_name = '{table}' AND key = (SELECT min(key) FROM "
    "pipeline.embeddings WHERE table_name = '{table}')",
    "without a vector of": "UPDATE curated.{table} SET note = 'another' "
    "WHERE id = (SELECT min(id) FROM curated.{table})",
    "without their row": "DELETE FROM curated.{table} WHERE id = (SELECT min(id) FROM curated.{table})",
    "more than one": "INSERT INTO pipeline.embeddings (model, table_name, key, content_hash, passage, start, length, "
    "embedding, run_id) SELECT model, table_name, key, content_hash, 1, 0, 1, embedding, "
    "run_id FROM pipeline.embeddings WHERE table_name = '{table}' LIMIT 1",
    "not those of their text": "UPDATE pipeline.embeddings SET embedding = '[-9,-9,-9]' WHERE table_name = '{table}' "
    "AND key = (SELECT max(key) FROM pipeline.embeddings JOIN (SELECT content_hash FROM pipeline.embeddings "
    "WHERE table_name = '{table}' GROUP BY 1 HAVING count(*) > 1) AS twice USING (content_hash))",
}


@pytest.mark.parametrize(("found", "spoil"), WRONG_VECTORS.items(), ids=WRONG_VECTORS)
def test_a_vector_that_is_missing_left_over_or_anothers_is_found(stack, loaded, found, spoil):
    stack.database.query(f"DELETE FROM pipeline.embeddings WHERE table_name = '{LANE}'")
    stack.database.query(_VECTOR.format(table=LANE))
    try:
        checks.vectors(stack, LANE, complete=True)
        stack.database.query(spoil.replace("{table}", LANE))
        with pytest.raises(Counterexample, match=found):
            checks.vectors(stack, LANE, complete=True)
        if found.startswith("without a vector"):  # as after a run that published and failed then
            checks.vectors(stack, LANE, complete=False)
    finally:
        stack.database.query(f"DELETE FROM pipeline.embeddings WHERE table_name = '{LANE}'")


def test_what_is_left_behind_is_found_and_what_cannot_be_helped_is_not(stack, database_url, monkeypatch):
    monkeypatch.setattr(checks, "SETTLED_SECONDS", 0)
    checks.nothing_is_left(stack, LANE, [])
    name = tables.staging_name(LANE, "r")
    stack.database.query(f"CREATE TABLE staging.{name} (id integer)")
    try:
        with pytest.raises(Counterexample, match=f"staging table {name}"):
            checks.nothing_is_left(stack, LANE, [])
        checks.nothing_is_left(stack, LANE, ["r"])
    finally:
        stack.database.query(f"DROP TABLE staging.{name}")
    session = psycopg2.connect(database_url)
    for hold in (f"SELECT FROM curated.{LANE}", f"SELECT pg_advisory_xact_lock(hashtextextended('curated.{LANE}', 0))"):
        with session.cursor() as cursor:
            cursor.execute(hold)
            with pytest.raises(Counterexample, match="lock"):
                checks.nothing_is_left(stack, LANE, [])
        session.rollback()
    session.close()


# --- the run that makes up for one -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "wanted"),
    [
        pytest.param(("Plan", "Reject"), {"source": LANE}, id="rejected"),
        pytest.param(("Plan", "RecordFailure"), {"source": LANE, "redrive": "r"}, id="failed"),
    ],
)
def test_what_was_redriven_and_rejected_is_fetched_anew(stack, states, wanted):
    """Its raw objects are those that its gate rejects, however often they are judged."""
    given = {"source": LANE, "redrive": "r"}
    made = lane(stack, {})
    made._mail = SimpleNamespace(letters=lambda run_id: [{"input": given}])
    trial = SimpleNamespace(given={"source": LANE}, place=0)
    assert made._given_again(trial, [Ended("r-2", "FAILED", "X", given, states)], published=False) == wanted


@pytest.mark.parametrize(
    ("said", "known", "is_wrong"),
    [
        pytest.param("NotFound: no run is called 'r'", LOST, False, id="forgotten"),
        pytest.param("NotFound: no run is called 'r'", "ABORTED", True, id="known to its engine"),
        pytest.param("ContractError: the run succeeded", LOST, True, id="refused for another reason"),
    ],
)
def test_a_run_that_was_stopped_and_forgotten_before_it_was_entered_is_not_redriven(stack, said, known, is_wrong):
    def redrive(run_id):
        raise RedriveRefused(said)

    stack.redrive, stack.arn, stack.wait = redrive, str, lambda arn: Ended(arn, known)
    made, stopped = lane(stack, {}), Ended("r", "ABORTED")
    if is_wrong:
        with pytest.raises(RedriveRefused):
            made._redriven(stopped, None)
    else:
        assert made._redriven(stopped, None) is None
