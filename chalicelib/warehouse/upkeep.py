"""What a curated table lacks beside its rows: exact totals, and indexes that were declared after it was made or that
searches go by.

They read the whole table, so they are made when a run is done (Complete) or a batch of changes is in (ApplyChanges),
and nobody who writes waits for them. What cannot be done, or not in time, fails nobody: it is logged, entered in
`pipeline.upkeep_failures`, and tried again a day later, or when somebody types `sluice upkeep`.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg2
from psycopg2 import errors

from chalicelib import secrets
from chalicelib.embeddings.provider import Provider
from chalicelib.errors import SluiceError
from chalicelib.search import indexing
from chalicelib.sources.base import Source
from chalicelib.telemetry import logger
from chalicelib.warehouse import connection, counting, indexes, totals
from chalicelib.warehouse.deadline import Deadline
from chalicelib.warehouse.queries import statement


@dataclass(frozen=True)
class Upkeep:
    """What was made, and what is left, each with its reason; in words."""

    made: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """A piece of upkeep in words, such as "the index (amount, id)", and what does it."""

    name: str
    do: Callable[[object, Deadline], None]  # by a cursor outside of transactions


def keep_up(
    source: Source,
    seconds: float | None = None,
    database_url: str | None = None,
    model: Provider | None = None,
) -> Upkeep:
    """Make what the source's table lacks; of indexes of vectors, that of the `model`.

    In `seconds` all together, without what failed within the last day; None for as long as it takes, and for all.
    Raises nothing of the database's: the rows are in whatever becomes of this. Does nothing where the table is kept up
    by somebody else at the moment.
    """
    deadline, made, left = Deadline(seconds), [], []
    try:
        with connection.transaction(database_url) as opened, opened.cursor() as cursor:
            cursor.execute(statement("upkeep", "failed_lately"), {"table": source.table})
            lately = set() if seconds is None else {name for (name,) in cursor.fetchall()}
            tasks = _tasks(cursor, source, lately, database_url, model)
        if tasks:
            with _turn(source, database_url) as cursor:
                for task in tasks if cursor else ():
                    reason = _failed(task, cursor, source, deadline, database_url)
                    made += [] if reason else [task.name]
                    left += [reason] if reason else []
    except (SluiceError, psycopg2.Error) as error:
        left.append(_told(source, "upkeep", _reason(error, seconds)))
    return Upkeep(tuple(made), tuple(left))


def wait_for(source: Source, seconds: float = 300, database_url: str | None = None) -> None:
    """Wait until nobody keeps the source's table up: what changes its columns would have its readers wait behind it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with connection.transaction(database_url) as opened, opened.cursor() as cursor:
            cursor.execute(statement("upkeep", "is_kept_up"), {"table": source.table})
            if not cursor.fetchone()[0]:
                return
        time.sleep(1)


def keep_up_and_log(source: Source, seconds: float, model: Provider | None = None) -> list[str]:
    """As `keep_up`, in a Lambda: what is made and what is left is logged; what is left, with what to type for it."""
    done = keep_up(source, seconds, model=model)
    next_step = f"sluice upkeep {source.name}" + (f" --table {source.table}" if source.is_declared_by_run else "")
    if done.made:
        logger.info("table kept up", table=f"curated.{source.table}", made=done.made)
    for left in done.left:
        logger.warning("upkeep is left", table=f"curated.{source.table}", left=left, next_step=next_step)
    return [f"{left} Next: {next_step}" for left in done.left]


def _tasks(cursor, source: Source, lately: set[str], database_url: str | None, model: Provider | None) -> list[Task]:
    """What is to be done, but for what failed `lately`, of which only the remains go."""
    found = []
    cursor.execute("SELECT to_regclass(%s)", (f'curated."{source.table}"',))
    if cursor.fetchone()[0] is None:
        return found
    day, is_exact = totals.state(cursor, source)
    name = f"the totals by {day}" if day else "the totals"
    if not is_exact and name not in lately:
        found.append(Task(name, lambda cursor, deadline: counting.count(cursor, source, deadline, database_url)))
    for columns in indexes.missing(cursor, source):
        name, do = f"the index ({', '.join(columns)})", indexes.make_aside
        if name in lately:
            name, do = f"the remains of {name}", indexes.drop_broken
            if not indexes.is_broken(cursor, source, columns):
                continue
        of_these = functools.partial(do, source=source, columns=columns)
        found.append(Task(name, lambda cursor, deadline, do=of_these: do(cursor, deadline=deadline)))
    for each in indexing.missing(cursor, source, model):
        if each.name not in lately:
            found.append(Task(each.name, each.aside))
        elif each.is_broken:
            found.append(Task(f"the remains of {each.name}", each.clear))
    return found


@contextlib.contextmanager
def _turn(source: Source, database_url: str | None):
    """A cursor of a connection of its own, outside of transactions; None where it is somebody else's turn."""
    own = connection.connect(database_url or secrets.database_url())
    try:
        own.autocommit = True
        with own.cursor() as cursor:
            cursor.execute(statement("upkeep", "try_turn"), {"table": source.table})
            yield cursor if cursor.fetchone()[0] else None
    finally:
        own.close()


def _failed(task: Task, cursor, source: Source, deadline: Deadline, database_url: str | None) -> str | None:
    """None where it is done, else why not."""
    entry = {"table": source.table, "task": task.name}
    try:
        task.do(cursor, deadline)
    except (SluiceError, psycopg2.Error) as error:
        reason = _reason(error, deadline.seconds)
        if isinstance(error, psycopg2.Error) and not connection.is_transient(error):
            with connection.transaction(database_url) as opened, opened.cursor() as short:
                short.execute(statement("upkeep", "enter_failure"), {**entry, "reason": reason})
        return _told(source, task.name, reason)
    with connection.transaction(database_url) as opened, opened.cursor() as short:
        short.execute(statement("upkeep", "forget_failure"), entry)
    return None


def _told(source: Source, task: str, reason: str) -> str:
    return f"{task} of curated.{source.table}: {reason}"


def _reason(error: Exception, seconds: float | None) -> str:
    if isinstance(error, errors.QueryCanceled) and seconds:
        return f"it took more than the {int(seconds)} s there were"
    if isinstance(error, errors.ProgramLimitExceeded):
        return "a value in the table is longer than an index takes, 2,704 bytes; take the column out of `indexes`"
    if isinstance(error, psycopg2.Error):  # only the first line: what follows may quote values
        return error.diag.message_primary or type(error).__name__
    return str(error)
