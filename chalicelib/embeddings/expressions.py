"""A curated row's key and text as SQL expressions; `t` is the curated table.

A key is stored as the text of a JSON array of the key columns, e.g. `["post", 7]`: readable, the
same for equal keys, and unlike a hash it leads back to the row through its primary key.
"""

from __future__ import annotations

from psycopg2 import sql

from chalicelib.columns import Column
from chalicelib.errors import DeclarationError
from chalicelib.sources.base import Source
from chalicelib.warehouse import tables

# what Python's str.strip takes away; Postgres' own idea of white space depends on its locale
WHITESPACE = "".join(c for c in map(chr, range(0x3001)) if c.isspace())


def texts(source: Source) -> sql.Composable:
    """A subquery (key, text) of every curated row; `text` may be blank."""
    return sql.SQL("(SELECT {key} AS key, {text} AS text FROM {curated} AS t)").format(
        key=key(source), text=text(source), curated=tables.curated(source)
    )


def key(source: Source) -> sql.Composable:
    """The row's key as stored."""
    columns = [
        # JSON shows an instant in the session's time zone, so it is told one
        sql.SQL("{} AT TIME ZONE 'UTC'" if column.base == "timestamptz" else "{}").format(_of(column.name))
        for column in _key_columns(source)
    ]
    return sql.SQL('jsonb_build_array({})::text COLLATE "C"').format(sql.SQL(", ").join(columns))


def same_key(source: Source, stored: sql.Composable) -> sql.Composable:
    """Whether the row is the one whose key is `stored`, a jsonb; written so that the primary key's index serves it."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(_of(column.name), _decoded(column, position, stored))
        for position, column in enumerate(_key_columns(source))
    )


def key_columns(source: Source) -> sql.Composable:
    return sql.SQL(", ").join(_of(column.name) for column in _key_columns(source))


def text(source: Source) -> sql.Composable:
    """The source's text columns, one per line, nulls left out."""
    if not source.text:
        raise DeclarationError(
            "no text columns are declared, so there is nothing to embed",
            source=source.name,
            next_step='name them in the source, e.g. text = ("title", "body")',
        )
    return sql.SQL("concat_ws(E'\\n', {})").format(sql.SQL(", ").join(map(_of, source.text)))


def _decoded(column: Column, position: int, stored: sql.Composable) -> sql.Composable:
    if column.base == "jsonb":
        return sql.SQL("{} -> {}").format(stored, sql.Literal(position))
    if column.base == "timestamptz":
        return sql.SQL("({} ->> {})::timestamp AT TIME ZONE 'UTC'").format(stored, sql.Literal(position))
    return sql.SQL("({} ->> {})::{}").format(stored, sql.Literal(position), sql.SQL(column.type))


def _key_columns(source: Source) -> list[Column]:
    declared = {column.name: column for column in source.columns}
    return [declared[name] for name in source.key]


def _of(column: str) -> sql.Composable:
    return sql.SQL("t.{}").format(sql.Identifier(column))
