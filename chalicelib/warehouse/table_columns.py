"""The columns that a curated table has, and which of them it got after it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.columns import Column
from chalicelib.schema import DISCARD, EVOLVE, ladder
from chalicelib.warehouse.queries import rows, statement

if TYPE_CHECKING:
    from chalicelib.sources.base import Source

# our types for what information_schema says
_TYPES = {"timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz"}


def changes(cursor, table: str | None = None, run_id: str | None = None) -> list[dict]:
    """What was changed, of a table, or by a run: rows of `pipeline.schema_changes`, oldest first."""
    return rows(cursor, "schema", "changes", table=table, run_id=run_id)


@dataclass(frozen=True)
class Known:
    """A column that the table got later (`added`), or that was widened; `field` is its name in the records."""

    field: str
    added: bool


def of_catalog(kind: str) -> str:
    """Our name for a type as Postgres' format_type has it."""
    return _TYPES.get(kind, kind)


def types(cursor, schema: str, table: str) -> dict[str, str]:
    """The columns of a table by name, the pipeline's own included; {} where there is no such table."""
    cursor.execute(statement("schema", "types"), {"schema": schema, "table": table})
    found = {}
    for name, kind, precision, scale in cursor.fetchall():
        numeric = kind == "numeric" and precision
        found[name] = f"numeric({precision},{scale})" if numeric else of_catalog(kind)
    return found


def known(cursor, table: str) -> dict[str, Known]:
    cursor.execute(statement("schema", "known"), {"table": table})
    return {name: Known(field, added) for name, field, added in cursor.fetchall()}


def forget(cursor, table: str) -> None:
    """The table is made anew, so what an earlier one of its name became means nothing."""
    cursor.execute(statement("schema", "forget"), {"table": table})


def is_accepted(source: Source, column: Column, found: str | None, known_columns: Mapping[str, Known]) -> bool:
    """Whether a declared column may differ from the table's, which is `found`, None for not there."""
    if found is None:
        # history is looked for before anything is published
        has_history = any(column.name in (a.column, a.time, *a.by) for a in source.anomalies)
        return source.schema_contract == EVOLVE and column.nullable and not has_history
    if column.name in known_columns and ladder.is_wider(found, column.type):
        # of a run that discards, the declared type is what staging has: Postgres assigns anything to a text
        return source.schema_contract != DISCARD or found != "jsonb"
    return source.schema_contract == EVOLVE and ladder.may_widen(found, column, source.key, source.text)
