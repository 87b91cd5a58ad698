"""The statements in `sql/*.sql`, by name.

A file holds statements under lines `-- name: <name> -- <what it does>`. `{braces}` stand for
identifiers and are filled through `psycopg2.sql`; `%(name)s` are values.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from psycopg2 import sql

FOLDER = Path(__file__).with_name("sql")

_NAME = re.compile(r"^-- name: (\w+).*$", re.MULTILINE)


@functools.cache
def _statements(file: str) -> dict[str, str]:
    parts = _NAME.split((FOLDER / f"{file}.sql").read_text())
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def names(file: str) -> tuple[str, ...]:
    return tuple(_statements(file))


def statement(file: str, name: str, **identifiers: sql.Composable) -> sql.Composable:
    """The statement `name` of `sql/<file>.sql` with its identifiers filled in."""
    return sql.SQL(_statements(file)[name]).format(**identifiers)


def rows(
    cursor, file: str, name: str, /, identifiers: Mapping[str, sql.Composable] = MappingProxyType({}), **values
) -> list[dict]:
    """What the statement `name` of `sql/<file>.sql` finds, a dict per row."""
    cursor.execute(statement(file, name, **identifiers), values)
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
