"""What the database does to a run, done by its own means: triggers that break off in the middle of a statement.

Each fault waits at a place (PLACES) for the rows of one lane. The first `after` rows pass, at the next `times` it
strikes; both are counted by a sequence, which no rollback takes back.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from storm.waiting import Waits

PLACES = {
    "open": "the run is entered in the ledger",
    "copy": "a row is copied into staging",
    "chunk": "a chunk is entered in the ledger",
    "quarantine": "a row is copied into quarantine",
    "judge": "the verdict is entered in the ledger",
    "merge": "a row is merged into the curated table",
    "publish": "the run is published in the ledger, after the merge",
    "commit": "the publishing transaction is committed",
    "embed": "a vector is written",
    "complete": "the run is closed",
    "fail": "the failure is entered in the ledger",
}

ACTIONS = {
    "cut": "the connection ends",
    "disk full": "53100",
    "lock timeout": "a lock that another session holds is waited for until lock_timeout",
    "read-only": "the transaction becomes read-only, and is written in",
    "deadlock": "40P01",
}

LOCK = 20_261_121  # an advisory lock that `Database.holding` keeps
ANSWER_SECONDS = 60

_INSTALL = Path(__file__).with_name("triggers.sql")


@dataclass(frozen=True)
class DatabaseFault:
    """`action` at `place`, as PLACES and ACTIONS list them; at the place "clock" the clock is `shift` off instead."""

    name: str
    lane: str
    place: str
    action: str
    after: int = 0
    times: int = 1
    shift: str = "0"


class Database:
    """The stack's Postgres as the storm sees it: it waits where it is being started again."""

    def __init__(self, url: str, waits: Waits | None = None):
        self._url, self._waits = url, waits or Waits()

    def install(self) -> None:
        """Make the triggers."""
        self.query(_INSTALL.read_text())

    @contextlib.contextmanager
    def connected(self) -> Iterator:
        """A connection that commits by itself."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                connection = psycopg2.connect(self._url, application_name="storm")
                break
            except psycopg2.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    def query(self, statement: str, *values, **named) -> list[tuple]:
        """Do it, again where Postgres broke off: to be used for what may be done twice."""
        began = time.monotonic()
        while True:
            try:
                with self.connected() as connection, connection.cursor() as cursor:
                    cursor.execute("SET transaction_read_only = off; SET default_transaction_read_only = off")
                    cursor.execute(statement, named or values or None)
                    self._waits.note("an answer of Postgres", time.monotonic() - began)
                    return cursor.fetchall() if cursor.description else []
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                if time.monotonic() - began > ANSWER_SECONDS:
                    raise
                time.sleep(0.05)

    def arm(self, faults: list[DatabaseFault]) -> None:
        for fault in faults:
            self.query(f'DROP SEQUENCE IF EXISTS storm."{fault.name}"; CREATE SEQUENCE storm."{fault.name}"')
            self.query(
                "INSERT INTO storm.faults VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                *(fault.name, fault.lane, fault.place, fault.action, fault.after, fault.times, fault.shift),
            )

    def disarm(self, lane: str) -> dict[str, int]:
        """How often each of the lane's faults was met; they are gone."""
        met = {}
        for name, place in self.query("SELECT name, place FROM storm.faults WHERE lane = %s", lane):
            [(last, called)] = self.query(f'SELECT last_value, is_called FROM storm."{name}"')
            met[name] = 1 if place == "clock" else last if called else 0
        self.query("DELETE FROM storm.faults WHERE lane = %s", lane)
        for name in met:
            self.query(f'DROP SEQUENCE IF EXISTS storm."{name}"')
        return met

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """LOCK is held by a session, and by another one where Postgres ended that."""
        over = threading.Event()

        def hold() -> None:
            while not over.is_set():
                with contextlib.suppress(psycopg2.Error), self.connected() as session, session.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
                    while not over.wait(0.2):
                        cursor.execute("SELECT 1")

        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def be_read_only(self, seconds: float) -> None:
        """The whole server, for so long, as during a failover."""
        try:
            self.query("ALTER SYSTEM SET default_transaction_read_only = on")
            self.query("SELECT pg_reload_conf()")
            time.sleep(seconds)
        finally:
            self.query("ALTER SYSTEM RESET default_transaction_read_only")
            self.query("SELECT pg_reload_conf()")

    def cut_all(self) -> None:
        """End every session of the pipeline, whatever it does."""
        self.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sluice'")
