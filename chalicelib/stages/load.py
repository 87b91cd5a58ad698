"""Load: COPY of a chunk's clean rows into the run's staging table, of the others into the quarantine."""

from __future__ import annotations

import io

from psycopg2 import sql

from chalicelib import settings as settings_module
from chalicelib import sources
from chalicelib.columns import Column
from chalicelib.contracts import LoadRequest, LoadResult
from chalicelib.conversion import encode
from chalicelib.errors import AccountError
from chalicelib.lake import Lake
from chalicelib.rejection import Rejected
from chalicelib.rejection import load as load_rejected
from chalicelib.warehouse import connection, copy_text, ledger, tables
from chalicelib.warehouse.ledger import ChunkCounts

# bytes psycopg2 reads at a time; its 8 KB default makes 1,300 calls of a 10 MB chunk
_COPY_BUFFER = 1024 * 1024

_QUARANTINE = (
    Column("run_id", "text"),
    Column("source", "text"),
    Column("chunk", "integer"),
    Column("part", "integer"),
    Column("line", "bigint"),
    Column("reasons", "jsonb"),
    Column("record", "text"),
)


def load(request: LoadRequest) -> LoadResult:
    """One transaction; the chunk's row in the ledger says that it was done, so doing it again does nothing."""
    settings = settings_module.current()
    settings.require("bucket", "database_url")
    lake = Lake(settings.bucket)
    source = sources.for_run(request.source, request.run_id, lake)
    validated = request.validated
    rejected = [row for key in validated.rejected_keys for row in load_rejected(lake.get(key))]
    results = lake.get_json(validated.results_key)
    clean = copy_text.without(lake.get(validated.rows_key), results.pop("set_aside"))
    counts = ChunkCounts(validated.chunk, validated.records, validated.rows, validated.rejected, results)
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        if ledger.add_chunk(cursor, request.run_id, counts):
            copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
                tables.staging(source.table, request.run_id), tables.copy_columns(source)
            )
            cursor.copy_expert(copy, io.BytesIO(clean), size=_COPY_BUFFER)
            staged = cursor.rowcount
            _quarantine(cursor, request, rejected)
            if staged != validated.rows or len(rejected) != validated.rejected:
                raise AccountError(
                    f"{staged} rows were copied and {len(rejected)} quarantined,"
                    f" expected {validated.rows} and {validated.rejected}",
                    run_id=request.run_id,
                    chunk=validated.chunk,
                )
    return LoadResult(chunk=validated.chunk, staged=validated.rows, quarantined=validated.rejected)


def _quarantine(cursor, request: LoadRequest, rejected: list[Rejected]) -> None:
    if not rejected:
        return
    columns = [
        [request.run_id] * len(rejected),
        [request.source] * len(rejected),
        [request.validated.chunk] * len(rejected),
        [row.part for row in rejected],
        [row.line for row in rejected],
        [[vars(reason) for reason in row.reasons] for row in rejected],
        [row.record for row in rejected],
    ]
    texts = [encode(values, column)[0] for values, column in zip(columns, _QUARANTINE, strict=True)]
    lines = "".join(line + "\n" for line in map("\t".join, zip(*texts, strict=True)))
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in _QUARANTINE)
    cursor.copy_expert(
        sql.SQL("COPY pipeline.quarantine ({}) FROM STDIN").format(names), io.BytesIO(lines.encode()), size=_COPY_BUFFER
    )
