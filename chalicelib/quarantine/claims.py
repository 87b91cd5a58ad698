"""Who is to judge a row again: a row is claimed by one replay at a time, until that has ended.

A claim is named after its rows and how often each was judged again before, so that the same rows in the same state
have one claim, and one run, however often they are asked for.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from psycopg2 import sql

from chalicelib.errors import AccountError
from chalicelib.lake.position import LINE_BITS
from chalicelib.quarantine.rows import FILE, Filter, matching
from chalicelib.warehouse.queries import statement

MOST_ROWS = 100_000  # that a request may mean: they are locked while it is answered


@dataclass(frozen=True)
class Claim:
    """Rows of one run. `given` is the `input` of that run as the ledger has it; `rows` were asked for now."""

    name: str
    run_id: str
    source: str
    given: str | None
    rows: int


@dataclass(frozen=True)
class Claims:
    """What a request came to: `unpublished` rows are of runs that published nothing, and are not claimed."""

    claims: tuple[Claim, ...]
    unpublished: int


def take(cursor, wanted: Filter, limit: int = MOST_ROWS) -> Claims:
    """Claim the open rows, by run, the oldest first; rows that are claimed already keep their claim, which is told too.

    Whoever asks for the same rows at the same time waits for the end of the transaction.
    """
    cursor.execute(statement(FILE, "claimable", matching=matching()), {**wanted.values(), "limit": limit})
    found, unpublished = cursor.fetchall(), 0
    free: dict[str, list[tuple[int, int]]] = {}
    about: dict[str, tuple[str, str | None]] = {}
    held: dict[tuple[str, str], int] = {}
    for number, run_id, source, replays, claimed_by, published, given in found:
        if not published:
            unpublished += 1
            continue
        about[run_id] = (source, given)
        if claimed_by is None:
            free.setdefault(run_id, []).append((number, replays))
        else:
            held[claimed_by, run_id] = held.get((claimed_by, run_id), 0) + 1
    claims = [Claim(name, run_id, *about[run_id], rows) for (name, run_id), rows in held.items()]
    for run_id, rows in free.items():
        name = hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()[:16]
        cursor.execute(statement(FILE, "claim"), {"claim": name, "ids": [number for number, _ in rows]})
        claims.append(Claim(name, run_id, *about[run_id], len(rows)))
    return Claims(tuple(claims), unpublished)


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
