"""Load: COPY of a chunk's clean rows into the run's staging table, of the others into the quarantine."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice

import psycopg2
from psycopg2 import sql

from chalicelib import chunk_results, sources
from chalicelib import settings as settings_module
from chalicelib.columns import Column
from chalicelib.contracts import LoadRequest, LoadResult
from chalicelib.conversion import encode
from chalicelib.errors import CHUNK_ANEW, AccountError
from chalicelib.lake import Lake
from chalicelib.quarantine import claims
from chalicelib.rejection import read as read_rejected
from chalicelib.warehouse import connection, copy_text, ledger, tables
from chalicelib.warehouse.ledger import ChunkCounts

# bytes psycopg2 reads at a time; its 8 KB default makes 1,300 calls of a 10 MB chunk
_COPY_BUFFER = 1024 * 1024

# rejected rows that become COPY text at a time; the longest has 10,000 characters and its reasons
_BATCH_ROWS = 500

_QUARANTINE = (
    Column("run_id", "text"),
    Column("source", "text"),
    Column("chunk", "integer"),
    Column("part", "integer"),
    Column("line", "bigint"),
    Column("reasons", "jsonb"),
    Column("record", "text"),
    Column("key", "jsonb"),
)


def load(request: LoadRequest) -> LoadResult:
    """One transaction; the chunk's row in the ledger says that it was done, so doing it again does nothing."""
    settings = settings_module.current()
    settings.require("bucket", "database_url")
    lake = Lake(settings.bucket)
    source = sources.for_run(request.source, request.run_id, lake)
    validated = request.validated
    rows = lake.get(validated.rows_key)
    results = chunk_results.counted(lake, validated.results_key, rows, run_id=request.run_id, chunk=validated.chunk)
    clean = copy_text.without(rows, results.pop("set_aside"))
    counts = ChunkCounts(validated.chunk, validated.records, validated.rows, validated.rejected, results)
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        if ledger.add_chunk(cursor, request.run_id, counts):
            copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
                tables.staging(source.table, request.run_id), tables.copy_columns(source)
            )
            cursor.copy_expert(copy, io.BytesIO(clean), size=_COPY_BUFFER)
            staged = cursor.rowcount
            quarantined = _quarantine(cursor, request, lake)
            if quarantined:
                claims.failed_again(cursor, request.run_id, validated.chunk)
            if staged != validated.rows or quarantined != validated.rejected:
                raise AccountError(
                    f"{staged} rows were copied and {quarantined} quarantined,"
                    f" expected {validated.rows} and {validated.rejected}",
                    run_id=request.run_id,
                    chunk=validated.chunk,
                    next_step=CHUNK_ANEW,
                )
    return LoadResult(chunk=validated.chunk, staged=validated.rows, quarantined=validated.rejected)


def _quarantine(cursor, request: LoadRequest, lake: Lake) -> int:
    """How many rows were copied. They stream from S3 to Postgres: their reasons may take far more than the chunk."""
    if not request.validated.rejected_keys:
        return 0
    where = {"run_id": request.run_id, "chunk": request.validated.chunk}
    texts = _Texts(_copy_texts(request, read_rejected(lake, request.validated.rejected_keys, **where)))
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in _QUARANTINE)
    copy = sql.SQL("COPY pipeline.quarantine ({}) FROM STDIN").format(names)
    try:
        cursor.copy_expert(copy, texts, size=_COPY_BUFFER)
    except psycopg2.Error:
        if texts.error:  # psycopg2 makes of it a COPY that was cancelled
            raise texts.error from None
        raise
    return cursor.rowcount


def _copy_texts(request: LoadRequest, rejected: Iterator[dict]) -> Iterator[bytes]:
    """The rows of `rejected` as COPY text, some at a time."""
    while rows := list(islice(rejected, _BATCH_ROWS)):
        columns = [
            [request.run_id] * len(rows),
            [request.source] * len(rows),
            [request.validated.chunk] * len(rows),
            *([row[name] for row in rows] for name in ("part", "line", "reasons", "record", "key")),
        ]
        texts = [encode(values, column)[0] for values, column in zip(columns, _QUARANTINE, strict=True)]
        yield "".join(line + "\n" for line in map("\t".join, zip(*texts, strict=True))).encode()


class _Texts:
    """What COPY reads from: texts as they are made. `error` is what making them raised."""

    def __init__(self, texts: Iterator[bytes]):
        self._texts, self._rest = texts, b""
        self.error: Exception | None = None

    def read(self, size: int) -> bytes:
        try:
            text = self._rest or next(self._texts, b"")
        except Exception as error:
            self.error = error
            raise
        self._rest = text[size:]
        return text[:size]
