"""What must hold after a run, whatever happened to it. Each check raises Counterexample."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable

from chalicelib.triggers import holding
from chalicelib.warehouse import tables
from chalicelib.warehouse.publishing import COUNTS, Account
from storm import truth
from storm.faults import Fault
from storm.stack import LOST, Ended, StormStack

SETTLED_SECONDS = 30  # a killed worker's session ends within client_connection_check_interval, 5 s
HELD_SECONDS = holding.SECONDS + 30


class Counterexample(AssertionError):
    """Something that must hold does not."""


def expect(holds: object, what: str) -> None:
    if not holds:
        raise Counterexample(what)


class Mail:
    """The emails and the dead letters of the stack, by run; several threads ask for them."""

    def __init__(self, stack: StormStack):
        self._stack, self._lock = stack, threading.Lock()
        self._letters: dict[str, list[dict]] = {}

    def letters(self, run_id: str) -> list[dict]:
        """Dead letters of a run; reading takes them out of the queue."""
        queue = self._stack.env["SLUICE_DEAD_LETTER_URL"]
        with self._lock:
            while messages := self._stack.call(
                "sqs", "receive_message", QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=600
            ).get("Messages"):
                for message in messages:
                    letter = json.loads(message["Body"])
                    self._letters.setdefault(letter["run_id"], []).append(letter)
                    self._stack.call("sqs", "delete_message", QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            return self._letters.get(run_id, [])

    def awaited(self, run_id: str, engine: int) -> list[dict]:
        """The same, as soon as there are any; none come any more where the stack was started again since.

        `sluice redrive` of another lane's run holds all of them for a moment, to find its own.
        """
        waits, what = self._stack.waits, f"the dead letter of {run_id}"
        waits.until(what, lambda: self.letters(run_id) or self.generation != engine, HELD_SECONDS, 0.2)
        return self.letters(run_id)

    @property
    def generation(self) -> int:
        return self._stack.generation

    def emails(self, run_id: str) -> int:
        return sum(run_id in mail["message"] + mail["subject"] for mail in self._stack.emails())


def ledger(stack: StormStack, run_id: str) -> dict:
    """The run's row, {} where it has none."""
    rows = stack.database.query("SELECT row_to_json(r) FROM pipeline.runs r WHERE run_id = %s", run_id)
    return rows[0][0] if rows else {}


def table(stack: StormStack, lane: str) -> dict[str, tuple[str, ...]]:
    """The curated table by key, {} where there is none yet."""
    if stack.database.query("SELECT to_regclass(%s)", f"curated.{lane}") == [(None,)]:
        return {}
    names = ", ".join(f"{name}::text" for name in truth.COLUMNS)
    return {row[0]: row for row in stack.database.query(f"SELECT {names} FROM curated.{lane}")}


def difference(expected: truth.Table, found: truth.Table) -> str:
    """How many rows of which kind differ, and one of them."""
    kinds = Counter(
        "missing" if key not in found else "unknown" if key not in expected else "other"
        for key in {*expected, *found}
        if expected.get(key) != found.get(key)
    )
    key = next((key for key in sorted({*expected, *found}) if expected.get(key) != found.get(key)), None)
    example = f", e.g. key {key} is {found.get(key)}, expected {expected.get(key)}" if key else ""
    return ", ".join(f"{count} rows {kind}" for kind, count in sorted(kinds.items())) + example


def cursor(stack: StormStack, lane: str) -> str | None:
    rows = stack.database.query("SELECT position::text FROM pipeline.cursors WHERE source = %s", lane)
    return rows[0][0] if rows else None


def ended_as_it_says(ended: Ended, row: dict) -> None:
    """Step Functions and the ledger tell the same of the run."""
    if ended.status == "SUCCEEDED":
        expect(row.get("status") == "succeeded", f"{ended.run_id} succeeded, the ledger says {row.get('status')}")
        expect(row["published_at"], f"{ended.run_id} succeeded without publishing anything")
    elif ended.status == "ABORTED":  # by who stopped it; what the ledger says of it is the sweep's
        expect(row.get("status") != "succeeded" or "Complete" in ended.states, f"{ended.run_id} was stopped")
    elif ended.status == LOST:
        expect(not row or row["status"] != "running", f"{ended.run_id} is lost, and under way for the ledger")
    else:
        expect(ended.status == "FAILED", f"{ended.run_id} ended as {ended.status}")
        wanted = ("failed",)
        if "Reject" in ended.states:  # what fails afterwards, such as its dead letter, leaves it rejected
            wanted = ("rejected", "failed") if "RecordFailure" in ended.states else ("rejected",)
        elif "Complete" in ended.states:  # it may have done its work, and only its answers were lost
            wanted = ("failed", "succeeded")
        if "DescribeFailure" not in ended.states:  # the ledger was out of reach, and the email says so
            expect(row.get("status") in wanted, f"{ended.run_id} failed, the ledger says {row.get('status')}")


def unheard(faults: Iterable[Fault]) -> set[str]:
    """The services that cannot be reached for good."""
    return {fault.values["service"] for fault in faults if fault.lasting and fault.kind.startswith(("SNS", "SQS"))}


def somebody_was_told(mail: Mail, ended: Ended, unheard: Iterable[str], engine: int) -> None:
    """A run that failed has its email and its dead letter; but for the services that could not be reached for good.

    What was sent is gone with the generation of the stack, the `engine`, that ran it.
    """
    if ended.status != "FAILED":
        return
    if "sns" not in unheard:
        told = mail.emails(ended.run_id)
        expect(told or mail.generation != engine, f"no email tells that {ended.run_id} failed")
    if "sqs" not in unheard:
        letters = mail.awaited(ended.run_id, engine)
        expect(letters or mail.generation != engine, f"{ended.run_id} failed, and has no dead letter")
        given = letters[0]["input"] if letters else ended.given
        expect(given == ended.given, f"the dead letter of {ended.run_id} has another input")


def accounts(found: dict, possible: Iterable[Account]) -> None:
    """The row account of a published run is what the source said."""
    shown = tuple(found[name] for name in COUNTS)
    expect(shown[0] == sum(shown[1:]), f"the account of {found['run_id']} does not balance: {shown}")
    wanted = {tuple(vars(account).values()) for account in possible}
    expect(
        shown in wanted, f"the account of {found['run_id']} ({', '.join(COUNTS)}) is {shown}, expected {sorted(wanted)}"
    )


def quarantine(stack: StormStack, found: dict) -> None:
    """The rows that were set aside are there, each once."""
    [(rows, lines)] = stack.database.query(
        "SELECT count(*), count(DISTINCT (part, line)) FROM pipeline.quarantine WHERE run_id = %s", found["run_id"]
    )
    expect(
        rows == lines == found["quarantined"],
        f"{found['run_id']} set {found['quarantined']} rows aside; {rows} are in quarantine, from {lines} lines",
    )


def swept(stack: StormStack, run_id: str) -> None:
    """After the sweep no run that is over is under way for the ledger."""
    found = ledger(stack, run_id).get("status")
    expect(found not in ("running", "published"), f"{run_id} is over, and after the sweep the ledger says {found}")


_VECTORS = """
SELECT format('%%s rows without a vector of their text', count(*)) FROM curated.{table} AS c
LEFT JOIN pipeline.embeddings AS e
    ON e.table_name = %(table)s AND e.key = jsonb_build_array(c.id)::text AND e.passage = 0
WHERE %(complete)s AND e.content_hash IS DISTINCT FROM sha256(convert_to(c.note, 'UTF8')) HAVING count(*) > 0
UNION ALL
SELECT format('%%s vectors without their row', count(*)) FROM pipeline.embeddings AS e
LEFT JOIN curated.{table} AS c ON e.key = jsonb_build_array(c.id)::text
WHERE e.table_name = %(table)s AND c.id IS NULL HAVING count(*) > 0
UNION ALL
SELECT format('%%s texts with more than one vector', count(*)) FROM (
    SELECT FROM pipeline.embeddings WHERE table_name = %(table)s GROUP BY model, key HAVING count(*) > 1
) AS twice HAVING count(*) > 0
UNION ALL
SELECT format('%%s vectors that are not those of their text', count(*)) FROM pipeline.embeddings AS e
JOIN (SELECT DISTINCT ON (content_hash) content_hash, embedding FROM pipeline.embeddings
      WHERE table_name = %(table)s ORDER BY content_hash, embedded_at) AS first USING (content_hash)
WHERE e.table_name = %(table)s AND e.embedding <=> first.embedding > 0.001 HAVING count(*) > 0
"""


def vectors(stack: StormStack, lane: str, complete: bool) -> None:
    """Each text has one vector, its own; where `complete`, of what the row says now. None is there without its row.

    One model embeds all of it, and the notes are short: one passage each. A key is kept as a JSON array.
    """
    if stack.database.query("SELECT to_regclass(%s)", f"curated.{lane}") == [(None,)]:
        return
    found = stack.database.query(_VECTORS.replace("{table}", lane), table=lane, complete=complete)
    expect(not found, f"{lane} has {'; '.join(what for (what,) in found)}")


def nothing_is_left(stack: StormStack, lane: str, excused: Iterable[str]) -> None:
    """No staging table, lock, open transaction or unfinished upload of the lane; those of `excused` runs may stay.

    What a killed worker left running ends by itself within seconds.
    """
    spared = [tables.staging_name(lane, run_id) for run_id in excused]
    settled = stack.waits.until(f"what {lane} left behind", lambda: not _left(stack, lane, spared), SETTLED_SECONDS)
    if not settled and (left := _left(stack, lane, spared)):
        raise Counterexample(f"left behind by {lane}: {'; '.join(left)}")


_LEFT = """
SELECT 'staging table ' || tablename FROM pg_tables
WHERE schemaname = 'staging' AND tablename LIKE %(staging)s AND tablename <> ALL(%(spared)s)
UNION ALL
SELECT format('lock %%s on %%s by %%s', mode, relation::regclass, pid) FROM pg_locks
WHERE relation = ANY(SELECT c.oid FROM pg_class AS c WHERE c.relname = %(lane)s OR c.relname LIKE %(staging)s)
AND pid <> pg_backend_pid()
UNION ALL
SELECT format('advisory lock by %%s', pid) FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1
AND (classid::bigint << 32 | objid::bigint) IN (
    hashtextextended('curated.' || %(lane)s, 0), hashtextextended('create curated.' || %(lane)s, 0)
)
"""


def _left(stack: StormStack, lane: str, spared: list[str]) -> list[str]:
    values = {"lane": lane, "staging": f"{lane}\\_%", "spared": spared}
    left = [found for (found,) in stack.database.query(_LEFT, **values)]
    uploads = stack.call("s3", "list_multipart_uploads", Bucket=stack.env["SLUICE_BUCKET"]).get("Uploads", [])
    return left + [f"upload of {upload['Key']}" for upload in uploads if f"={lane}/" in upload["Key"]]


def the_stack_is_at_rest(stack: StormStack) -> None:
    """When all is over: no run is under way, nobody holds a transaction open, no session is left of who was killed."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while True:
        [(sessions, open_transactions)] = stack.database.query(
            "SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in%') FROM pg_stat_activity"
            " WHERE application_name = 'sluice'"
        )
        workers = len(stack.workers())
        if not open_transactions and sessions <= workers:
            return
        if time.monotonic() > deadline:
            raise Counterexample(f"{sessions} sessions of {workers} workers, {open_transactions} in a transaction")
        time.sleep(0.1)
