"""Who is to judge a row again: a row is claimed by one replay at a time, until that has ended.

A claim is named after its rows and how often each was judged again before, so that the same rows in the same state
have one claim, and one run, however often they are asked for.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass, field

from psycopg2 import sql

from chalicelib.errors import AccountError
from chalicelib.lake.position import LINE_BITS
from chalicelib.quarantine.rows import FILE, Filter, matching
from chalicelib.warehouse.queries import statement

ROWS, RUNS = 100_000, 50  # of one portion
# a claim is given up no earlier: it is taken or found, and then its run is started by whoever did so
BEGUN_SECONDS = 60


@dataclass(frozen=True)
class Claim:
    """Rows of one run. `given` is the `input` of that run as the ledger has it; `rows` were asked for now.

    `taken_at` is None where somebody else had it already.
    """

    name: str
    run_id: str
    source: str
    given: str | None
    rows: int
    taken_at: dt.datetime | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Portion:
    """What a request came to: the claims on the first rows that are meant, up to the row `last`; None: on none.

    `left` more could be claimed behind it. `unpublished` open rows are of runs that published nothing: these are not
    claimed, and in no portion.
    """

    claims: tuple[Claim, ...]
    last: int | None
    left: int
    unpublished: int


def lock(cursor) -> None:
    """Wait for whoever claims or discards, and keep others waiting until the transaction ends.

    Rows that are free are then nobody else's to change: without it, a portion and the end of a replay could wait for
    each other's rows in a circle.
    """
    cursor.execute(statement(FILE, "lock"))


def take(cursor, wanted: Filter, after: int | None = None, most: int = ROWS, runs: int = RUNS) -> Portion:
    """Claim the first open rows, `most` of so many `runs`, behind the row `after`; the oldest come first.

    Rows that are claimed already keep their claim, which is told too, so that the same request has the same portion
    while its rows are replayed.
    """
    lock(cursor)
    values = {**wanted.values(), "after": after}
    cursor.execute(statement(FILE, "claimable", matching=matching()), {**values, "limit": most})
    found = cursor.fetchall()
    portion = _of_first_runs(found, runs)
    free: dict[str, list[tuple[int, int]]] = {}
    about: dict[str, tuple[str, str | None]] = {}
    held: dict[tuple[str, str], list[int]] = {}
    for number, run_id, source, replays, claimed_by, given in portion:
        about[run_id] = (source, given)
        if claimed_by is None:
            free.setdefault(run_id, []).append((number, replays))
        else:
            held.setdefault((claimed_by, run_id), []).append(number)
    claims = [Claim(name, run_id, *about[run_id], len(rows)) for (name, run_id), rows in held.items()]
    if held:
        cursor.execute(statement(FILE, "share"), {"ids": [rows[0] for rows in held.values()]})
    names = {run_id: _name(run_id, rows) for run_id, rows in free.items()}
    if free:
        taken = [(number, names[run_id]) for run_id, rows in free.items() for number, _ in rows]
        numbers, claimed = zip(*taken, strict=True)
        cursor.execute(statement(FILE, "claim"), {"ids": list(numbers), "claims": list(claimed)})
        [taken_at] = cursor.fetchone()
        claims += [Claim(names[run_id], run_id, *about[run_id], len(rows), taken_at) for run_id, rows in free.items()]
    last = portion[-1][0] if portion else None
    left = 0
    if len(portion) < len(found) or len(found) == most:
        left = _count(cursor, "count_claimable", wanted, after=last)
    return Portion(tuple(claims), last, left, _count(cursor, "count_unpublished", wanted))


def _of_first_runs(found: list[tuple], most: int) -> list[tuple]:
    """The rows before the first one of a run too many."""
    runs = set()
    for place, (_, run_id, *_) in enumerate(found):
        runs.add(run_id)
        if len(runs) > most:
            return found[:place]
    return found


def _name(run_id: str, rows: list[tuple[int, int]]) -> str:
    """Of the run too: in a database that was restored, or made anew, the rows' numbers come again."""
    return hashlib.sha256(json.dumps([run_id, *sorted(rows)]).encode()).hexdigest()[:16]


def _count(cursor, name: str, wanted: Filter, **values) -> int:
    cursor.execute(statement(FILE, name, matching=matching()), {**wanted.values(), **values})
    return cursor.fetchone()[0]


def held(cursor, wanted: Filter) -> list[Claim]:
    """The claims on rows that are meant, RUNS at most, but those that may be about to begin."""
    values = {**wanted.values(), "seconds": BEGUN_SECONDS, "limit": RUNS}
    cursor.execute(statement(FILE, "held", matching=matching()), values)
    return [Claim(*row) for row in cursor.fetchall()]


def release_lost(cursor, claim: str) -> None:
    """Free the rows of a claim whose replay is over, unless somebody has claimed them anew, or found it, meanwhile."""
    lock(cursor)
    cursor.execute(statement(FILE, "release_lost"), {"claim": claim, "seconds": BEGUN_SECONDS})


def release_unbegun(cursor, claim: Claim) -> None:
    """Free the rows of a claim that was taken and not begun; not if somebody else has found it or taken it since.

    Whoever found it begins its replay: free, the rows would be discarded or claimed under his hands.
    """
    lock(cursor)
    cursor.execute(statement(FILE, "release_unbegun"), {"claim": claim.name, "taken_at": claim.taken_at})


def release_of_lost(cursor, run_id: str) -> None:
    """Free the rows that a lost replay was to judge, but those that a later attempt at the same claim is to judge.

    Attempts have their claim's name in common, so a row tells by when it was claimed whose it is.
    """
    cursor.execute(statement(FILE, "release_of_lost"), {"run_id": run_id})


@dataclass(frozen=True)
class Discarded:
    """So many rows were `discarded`; `left` open ones are meant too, and `replaying` ones, which stay as they are."""

    discarded: int
    left: int
    replaying: int


def discard(cursor, wanted: Filter, who: str, why: str, most: int = ROWS) -> Discarded:
    """Mark the first open rows that are meant as discarded, `most` of them."""
    lock(cursor)
    values = {**wanted.values(), "who": who, "why": why, "limit": most}
    cursor.execute(statement(FILE, "discard", matching=matching()), values)
    discarded = cursor.rowcount
    left = _count(cursor, "count_in_state", wanted, counted="open") if discarded == most else 0
    return Discarded(discarded, left, _count(cursor, "count_in_state", wanted, counted="replaying"))


def rows(cursor, claim: str) -> dict[str, dict[int, list[int]]]:
    """The claimed rows: run -> part -> lines, in raw order."""
    cursor.execute(statement(FILE, "claimed"), {"claim": claim})
    found: dict[str, dict[int, list[int]]] = {}
    for run_id, part, line in cursor.fetchall():
        found.setdefault(run_id, {}).setdefault(part, []).append(line)
    return found


def failed_again(cursor, run_id: str, chunk: int) -> None:
    """Tell the rows that a chunk of a replay set aside from new ones; of another run nothing happens."""
    cursor.execute(statement(FILE, "failed_again"), {"run_id": run_id, "chunk": chunk})


def settle(cursor, claim: str, run_id: str, staging: sql.Composable, fetched: int) -> None:
    """In the transaction that publishes: rows that passed are settled, the others stay open, and none is claimed.

    `staging` is the run's table without its duplicates. Raises AccountError unless the `fetched` rows are those of
    the claim.
    """
    keep(cursor, claim, run_id)
    kept = cursor.rowcount
    bits = sql.Literal(LINE_BITS)
    cursor.execute(statement(FILE, "settle", staging=staging, bits=bits), {"claim": claim, "run_id": run_id})
    if kept + cursor.rowcount != fetched:
        raise AccountError(
            f"{kept + cursor.rowcount} rows were to be replayed, {fetched} were found in the raw layer",
            run_id=run_id,
            next_step="look at what the source makes of the raw objects; discard rows that are no records any more",
        )


def keep(cursor, claim: str, run_id: str) -> None:
    """Rows of the claim that failed again in the run stay open, with the reasons of today."""
    cursor.execute(statement(FILE, "keep"), {"claim": claim, "run_id": run_id})


def release(cursor, claim: str, judged: bool) -> None:
    """The claim's rows are free again; `judged` where the run came to a verdict, after which another one may be had."""
    cursor.execute(statement(FILE, "release"), {"claim": claim, "judged": int(judged)})
