"""What the tables must hold after a load, and whether they do.

The truth is read from the files on its own, by none of the contestants: the last record of each key, once of `all`
records, as whoever checks nothing has to leave it, and once of those that pass the suite's critical expectations.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import orjson
from psycopg2 import sql

from benchmarks import orders
from benchmarks.race.floor import COLUMNS

SCHEMA = "truth"
ALL, PASSING = "all", "passing"
PARTS = 2  # of the CSV: the floor copies them side by side


@dataclass(frozen=True)
class Counts:
    """Of an input: records, those that fail an expectation, keys of all and of those that pass, bytes."""

    records: int
    failing: int
    all: int
    passing: int
    bytes: int


def write(folder: Path) -> Counts:
    """Write `all-<part>.csv` and `passing-<part>.csv` beside the NDJSON of `folder`, in the order of the records.

    Two passes, so that 5,000,000 records take the memory of their keys and not of themselves.
    """
    last: dict[str, dict[int, int]] = {ALL: {}, PASSING: {}}
    failing = records = size = 0
    for number, line in enumerate(_lines(folder)):
        record = orjson.loads(line)
        size += len(line)
        records += 1
        last[ALL][record["id"]] = number
        if passes(record):
            last[PASSING][record["id"]] = number
        else:
            failing += 1
    counts = Counts(records, failing, len(last[ALL]), len(last[PASSING]), size)
    for name, places in last.items():
        files = [(folder / f"{name}-{part}.csv").open("w", newline="") for part in range(PARTS)]
        writers = [csv.writer(file) for file in files]
        for number, line in enumerate(_lines(folder)):
            record = orjson.loads(line)
            if places.get(record["id"]) == number:
                writers[number * PARTS // records].writerow([record[column] for column in COLUMNS])
        for file in files:
            file.close()
    return counts


def passes(record: dict) -> bool:
    """Whether a record passes the critical expectations of `orders.SUITE`, written down a second time."""
    return (
        record["customer"] is not None
        and 0 <= record["amount"] <= 10_000
        and 1 <= record["quantity"] <= 100
        and record["city"] in orders.CITIES
        and record["status"] in orders.STATUSES
        and 1 <= len(record["note"]) <= 40
    )


def _lines(folder: Path):
    for path in sorted(folder.glob("orders-*.ndjson")):
        with path.open("rb") as file:
            yield from file


def store(cursor, folder: Path) -> None:
    """Make `truth.all` and `truth.passing` those of `folder`."""
    cursor.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}")
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    for name in (ALL, PASSING):
        cursor.execute(f'CREATE UNLOGGED TABLE {SCHEMA}."{name}" ({columns})')
        for part in range(PARTS):
            with (folder / f"{name}-{part}.csv").open("rb") as file:
                cursor.copy_expert(f'COPY {SCHEMA}."{name}" FROM STDIN (FORMAT csv)', file)
        cursor.execute(f'ANALYZE {SCHEMA}."{name}"')


def problem(cursor, schema: str, table: str, name: str) -> str | None:
    """What is wrong with `schema`.`table`, held against the truth `name`; None where it is right."""
    cursor.execute("SELECT to_regclass(%s)", (f"{schema}.{table}",))
    if cursor.fetchone()[0] is None:
        return "there is no table"
    found, true = sql.Identifier(schema, table), sql.Identifier(SCHEMA, name)
    cursor.execute(
        "SELECT array_agg(a.attname::text) FROM pg_index AS i"
        " JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)"
        " WHERE i.indisprimary AND i.indrelid = to_regclass(%s)",
        (f"{schema}.{table}",),
    )
    if cursor.fetchone()[0] != ["id"]:
        return "the table has no primary key of id"
    others = [column for column in COLUMNS if column != "id"]
    ours = sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(column)) for column in others)
    theirs = sql.SQL(", ").join(
        sql.SQL("f.{}::{}").format(sql.Identifier(column), sql.SQL(COLUMNS[column])) for column in others
    )
    cursor.execute(
        sql.SQL(
            "SELECT count(*) FILTER (WHERE f.id IS NULL), count(*) FILTER (WHERE t.id IS NULL),"
            " count(*) FILTER (WHERE f.id = t.id AND ({ours}) IS DISTINCT FROM ({theirs}))"
            " FROM {true} AS t FULL JOIN {found} AS f ON f.id = t.id"
        ).format(ours=ours, theirs=theirs, true=true, found=found)
    )
    counts = dict(zip(("missing", "too many", "different"), cursor.fetchone(), strict=True))
    wrong = [f"{count:,} {what}" for what, count in counts.items() if count]
    return f"rows {', '.join(wrong)}" if wrong else None
