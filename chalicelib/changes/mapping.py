"""Which source a table's changes are applied to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.errors import DeclarationError

if TYPE_CHECKING:
    from chalicelib.sources.base import Source

UNCHANGED, NULL = "unchanged", "null"
REMOVE, KEEP = "remove", "keep"


@dataclass(frozen=True)
class Changes:
    """A source's `changes`: the table of the source database whose changes go into the curated table.

    `absent` says what a column means that an update does not name: "unchanged", as with DMS's
    IncludeNullAndEmpty, or "null", as without it. "unchanged" never erases a value that was not sent, such as a
    toasted text; but without IncludeNullAndEmpty, a column that becomes NULL would keep its old value.
    `deletes` is "remove", or "keep" for a table that rows never leave.
    """

    schema: str
    table: str
    absent: str = UNCHANGED
    deletes: str = REMOVE

    def __post_init__(self):
        known_values = {"absent": (UNCHANGED, NULL), "deletes": (REMOVE, KEEP)}
        for name, known in known_values.items():
            value = getattr(self, name)
            if value not in known:
                raise DeclarationError(f"changes has {name} = {value!r}", next_step=f"use one of {', '.join(known)}")


def declared(changes: Changes | Sequence[str] | None, source: str) -> Changes | None:
    """What a source's attribute says: `Changes`, or ("schema", "table"), or None."""
    if changes is None or isinstance(changes, Changes):
        return changes
    if isinstance(changes, tuple) and len(changes) == 2 and all(isinstance(part, str) for part in changes):
        return Changes(*changes)
    raise DeclarationError(
        f"changes is {changes!r}", source=source, next_step='write changes = ("schema", "table"), or Changes(…)'
    )


def by_table() -> dict[tuple[str, str], Source]:
    """The mapped sources by (schema, table); raises DeclarationError where two take the same table."""
    from chalicelib import sources  # here, because a source's base class uses this module

    found: dict[tuple[str, str], Source] = {}
    for name in sources.names():
        source = sources.get(name)
        if source.changes is None:
            continue
        table = (source.changes.schema, source.changes.table)
        if table in found:
            raise DeclarationError(
                f"the sources {found[table].name} and {name} both take the changes of {'.'.join(table)}",
                next_step="let one of them go",
            )
        found[table] = source
    return found
