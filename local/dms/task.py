"""One replication task: a full load in a consistent snapshot, then every change from there on.

The slot holds what is not confirmed, and is confirmed only when the stream has taken whole transactions: a task that
is killed goes on from there, and sends again what it was not sure of. A load that was broken off starts anew, with a
new snapshot. What the task must remember is in a file: whether the load is done, and what the tables looked like.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extras import LogicalReplicationConnection

from chalicelib.errors import ConfigurationError
from local.dms import shaping
from local.dms.pgoutput import Begin, Column, Commit, Decoder, Delete, Insert, Relation, Truncate, Update
from local.dms.putting import Putter

# text that `shaping` reads, whatever the database's own settings are
_TEXTS = "-c timezone=UTC -c datestyle=ISO -c extra_float_digits=1 -c bytea_output=hex -c intervalstyle=iso_8601"

_ROWS = 2000  # of a load, fetched at a time
_IDLE_SECONDS = 0.05
_FEEDBACK_SECONDS = 5
_CHECK_SECONDS = 15  # for a host that does not answer

LOADING, FOLLOWING = "loading", "following"

_KEY = """
SELECT a.attname, a.atttypid::int, a.attnum = ANY (coalesce(i.indkey::int2[], '{}')), c.relreplident
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.oid = %s::regclass ORDER BY a.attnum
"""


@dataclass(frozen=True)
class Task:
    """What a task replicates. `tables` are names with their schemas, e.g. `public.orders`."""

    name: str
    database_url: str
    tables: tuple[str, ...]
    stream: str
    before_images: bool = False

    @property
    def slot(self) -> str:
        """The name of its replication slot and of its publication."""
        return f"sluice_{self.name}"


class Replication:
    """Runs a task until `stopped()`; what it remembers is in the file `state`."""

    def __init__(self, task: Task, client, state: Path, stopped: Callable[[], bool] = lambda: False):
        self._task, self._state, self._stopped = task, state, stopped
        self.state = LOADING
        self._putter = Putter(client, task.stream, stopped)
        self._known: dict[str, Relation] = {}
        self._decoder = Decoder()
        self._transaction: shaping.Transaction | None = None
        self._last: shaping.Transaction | None = None
        self._ended = 0  # where the last transaction ends that was read whole

    @property
    def put(self) -> int:
        """Records that the stream has taken from this process."""
        return self._putter.put

    def run(self) -> None:
        """Raises ConfigurationError where the database or a table cannot be replicated."""
        if not self._loaded():
            self._load()
        self._follow()

    # --- the load ------------------------------------------------------------------------

    def _loaded(self) -> bool:
        """Whether the load is done and its slot is there; reads what the tables looked like."""
        if not self._state.exists():
            return False
        state = json.loads(self._state.read_text())
        for name, relation in state.get("tables", {}).items():
            columns = tuple(Column(**column) for column in relation.pop("columns"))
            self._known[name] = Relation(**relation, columns=columns)
        return state["loaded"]

    def _remember(self, loaded: bool) -> None:
        document = {"loaded": loaded, "tables": {name: asdict(relation) for name, relation in self._known.items()}}
        partial = self._state.with_suffix(".partial")
        partial.write_text(json.dumps(document))
        partial.replace(self._state)

    def _load(self) -> None:
        task = self._task
        with contextlib.closing(_connect(task.database_url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            relations = _relations(cursor, task)
            self._known = {_name(relation): relation for relation in relations}
            self._remember(loaded=False)
            remove(cursor, task)
            names = sql.SQL(", ").join(sql.Identifier(r.schema, r.table) for r in relations)
            cursor.execute(sql.SQL("CREATE PUBLICATION {} FOR TABLE {}").format(sql.Identifier(task.slot), names))
            for relation in relations:
                self._putter.add(shaping.created(relation))
            with contextlib.closing(_replicating(task.database_url)) as replicating, replicating.cursor() as slot:
                slot.execute(f"CREATE_REPLICATION_SLOT \"{task.slot}\" LOGICAL pgoutput (SNAPSHOT 'export')")
                snapshot = slot.fetchone()[2]
                cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                cursor.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))
                cursor.execute("SELECT clock_timestamp()")
                read_at = cursor.fetchone()[0].astimezone(dt.UTC)
                for relation in relations:
                    self._load_table(connection, relation, read_at)
                cursor.execute("COMMIT")
        self._putter.flush()
        self._remember(loaded=True)

    def _load_table(self, connection, relation: Relation, read_at: dt.datetime) -> None:
        columns = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(c.name)) for c in relation.columns)
        table = sql.Identifier(relation.schema, relation.table)
        # not a named cursor of psycopg2's: those want a transaction that it began itself
        with connection.cursor() as rows:
            rows.execute(sql.SQL("DECLARE rows NO SCROLL CURSOR FOR SELECT {} FROM {}").format(columns, table))
            while True:
                rows.execute(f"FETCH {_ROWS} FROM rows")
                found = rows.fetchall()
                if not found:
                    break
                for row in found:
                    values = {c.name: text for c, text in zip(relation.columns, row, strict=True)}
                    self._putter.add(shaping.loaded(relation, values, read_at))
                if self._stopped():
                    raise SystemExit(0)
            rows.execute("CLOSE rows")

    # --- the changes -----------------------------------------------------------------------

    def _follow(self) -> None:
        with contextlib.closing(_replicating(self._task.database_url)) as connection, connection.cursor() as cursor:
            _start(cursor, self._task)
            self.state = FOLLOWING
            told = time.monotonic()
            while not self._stopped():
                message = cursor.read_message()
                if message is not None:
                    self._take(message.payload, message.data_start)
                elif self._putter.waiting:
                    self._putter.flush()
                else:
                    select.select([connection], [], [], _IDLE_SECONDS)
                if time.monotonic() - told > _FEEDBACK_SECONDS:  # else the server takes us for dead
                    told = time.monotonic()
                    self._confirm(cursor)
            self._putter.flush()
            self._confirm(cursor)

    def _confirm(self, cursor) -> None:
        """Tell the server up to where the stream has everything; before that it may forget."""
        self._putter.flush()
        cursor.send_feedback(write_lsn=self._ended, flush_lsn=self._ended, reply=False, force=True)

    def _take(self, payload: bytes, lsn: int) -> None:
        message = self._decoder.decode(payload)
        if isinstance(message, Begin):
            self._transaction = shaping.Transaction(message, self._last)
        elif isinstance(message, Commit):
            self._last, self._transaction, self._ended = self._transaction, None, message.end_lsn
        elif isinstance(message, Relation):
            self._learn(message)
        elif isinstance(message, Truncate):
            for number in message.relations:
                self._putter.add(shaping.control(self._decoder.relations[number], "truncate-table", {}))
        elif message is not None:
            self._putter.add(self._shaped(message, lsn))

    def _shaped(self, message: Insert | Update | Delete, lsn: int) -> shaping.Shaped:
        # the message's own relation knows the columns, the catalogue's the primary key
        relation = self._decoder.relations[message.relation]
        if isinstance(message, Insert):
            return self._transaction.insert(self._keyed(relation), message.new, lsn)
        if isinstance(message, Update):
            keyed, before = self._keyed(relation), self._task.before_images and not message.old_key
            return self._transaction.update(keyed, message.new, message.old, lsn, before)
        return self._transaction.delete(self._keyed(relation), message.old, lsn)

    def _keyed(self, relation: Relation) -> Relation:
        """With the primary key's columns: with REPLICA IDENTITY FULL, the log takes all columns for the key."""
        return self._known[_name(relation)] if relation.full else relation

    def _learn(self, relation: Relation) -> None:
        """What a table looks like from here on; where that is new, the stream is told."""
        name = _name(relation)
        known = self._known.get(name)
        if known is not None and relation.full:
            key = {column.name for column in known.columns if column.key}
            columns = tuple(Column(c.name, c.oid, c.name in key) for c in relation.columns)
            relation = Relation(relation.id, relation.schema, relation.table, columns, True)
        if known is not None:
            for record in shaping.altered(known, relation):
                self._putter.add(record)
        if known is None or known.columns != relation.columns:
            self._putter.flush()
            self._known[name] = relation
            self._remember(loaded=True)


def check(task: Task, goes_on: bool) -> None:
    """Raises ConfigurationError where a database or table cannot be replicated, or a task that goes on has no slot."""
    opened = _connect(task.database_url, connect_timeout=_CHECK_SECONDS)
    with contextlib.closing(opened) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        _relations(cursor, task)
        cursor.execute(
            "SELECT FROM pg_replication_slots WHERE slot_name = %s AND database = current_database()", (task.slot,)
        )
        if goes_on and cursor.fetchone() is None:
            raise _gone(task, f"{connection.info.dbname} has none of that name")


def remove(cursor, task: Task) -> None:
    """Take the task's slot and publication out of the database, where they are."""
    cursor.execute(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s AND active",
        (task.slot,),
    )
    deadline = time.monotonic() + 10
    while True:
        try:
            cursor.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
                (task.slot,),
            )
            break
        except errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    cursor.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(task.slot)))


def _start(cursor, task: Task) -> None:
    options = {"proto_version": "1", "publication_names": task.slot}
    deadline = time.monotonic() + 10
    while True:
        try:
            cursor.start_replication(slot_name=task.slot, decode=False, options=options)
            return
        except errors.ObjectInUse as error:  # the server has not noticed yet that the last task is gone
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"the slot {task.slot} is in use: {error}", next_step="`sluice changes stop` ends the other task"
                ) from error
            time.sleep(0.1)
        except errors.UndefinedObject as error:
            raise _gone(task, str(error).strip()) from error


def _gone(task: Task, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the slot {task.slot} is gone: {why}", next_step="`sluice changes start --reload` loads the tables anew"
    )


def _relations(cursor, task: Task) -> list[Relation]:
    _check_level(cursor)
    return [_relation(cursor, table, task.before_images) for table in task.tables]


def _check_level(cursor) -> None:
    cursor.execute("SHOW wal_level")
    [level] = cursor.fetchone()
    if level != "logical":
        raise ConfigurationError(
            f"wal_level of the database is {level}",
            next_step="ALTER SYSTEM SET wal_level = 'logical', and restart it; on RDS set rds.logical_replication to 1",
        )


def _relation(cursor, table: str, before_images: bool) -> Relation:
    schema, _, name = table.partition(".")
    try:
        cursor.execute(_KEY, (f'"{schema}"."{name}"',))
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        raise ConfigurationError(f"the database has no table {table}", next_step="name it as schema.table") from None
    rows: Sequence[tuple] = cursor.fetchall()
    columns = tuple(Column(column, oid, bool(key)) for column, oid, key, _ in rows)
    if not any(column.key for column in columns):
        raise ConfigurationError(f"{table} has no primary key", next_step=f"ALTER TABLE {table} ADD PRIMARY KEY (…)")
    full = rows[0][3] == "f"
    if before_images and not full:
        raise ConfigurationError(
            f"{table} writes no whole old rows to its log", next_step=f"ALTER TABLE {table} REPLICA IDENTITY FULL"
        )
    return Relation(0, schema, name, columns, full)


def _name(relation: Relation) -> str:
    return f"{relation.schema}.{relation.table}"


def _connect(database_url: str, **given):
    try:
        return psycopg2.connect(database_url, application_name="sluice changes", options=_TEXTS, **given)
    except psycopg2.OperationalError as error:
        raise ConfigurationError(
            f"the database cannot be reached: {str(error).strip()}", next_step="check --database"
        ) from None


def _replicating(database_url: str):
    return psycopg2.connect(
        database_url, application_name="sluice changes", options=_TEXTS, connection_factory=LogicalReplicationConnection
    )
