"""The typed columns that a source declares, and the names Postgres has for their types."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from chalicelib.errors import DeclarationError

# what every row carries besides the source's columns, on its way and in its table: a hash of its text, its raw place
FINGERPRINT = "_fingerprint"
SEQ = "_seq"
# on the tables of sources that declare anomalies: what is unlike the history, see `anomalies.outliers`
ANOMALIES = "_anomalies"

TYPES = (
    "smallint",
    "integer",
    "bigint",
    "double precision",
    "numeric",
    "boolean",
    "text",
    "date",
    "timestamp",
    "timestamptz",
    "jsonb",
)

# those whose values have a day
DAYS = ("date", "timestamp", "timestamptz")

# every table has these already: https://www.postgresql.org/docs/current/ddl-system-columns.html
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})

_NUMERIC = re.compile(r"numeric\((\d+),\s*(\d+)\)")
# Postgres cuts identifiers at 63 bytes; a leading underscore is kept for the lineage columns
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class Column:
    """A column of a curated table.

    `type` is one of TYPES, or `numeric(p,s)`. A record whose value is null or absent is rejected
    unless the column is `nullable`. Values of a `personal` column are shown nowhere, see `personal`.
    """

    name: str
    type: str
    nullable: bool = True
    personal: bool = False

    def __post_init__(self):
        if not _NAME.fullmatch(self.name):
            raise DeclarationError(
                f"column name {self.name!r} is not a lower-case SQL name",
                next_step="use letters, digits and _, starting with a letter; rename the field in transform()",
            )
        if self.name in SYSTEM_COLUMNS:
            raise DeclarationError(
                f"column name {self.name!r} is that of a column which Postgres gives every table",
                next_step="rename the field",
            )
        if self.type not in TYPES and not _NUMERIC.fullmatch(self.type):
            raise DeclarationError(
                f"column {self.name} has type {self.type!r}",
                next_step=f"use one of {', '.join(TYPES)}, or numeric(p,s)",
            )
        if " " in self.type and self.precision:  # as Postgres says it
            object.__setattr__(self, "type", self.type.replace(" ", ""))

    @property
    def base(self) -> str:
        """The type without its arguments."""
        return base_of(self.type)

    @property
    def precision(self) -> tuple[int, int] | None:
        """(precision, scale) of a `numeric(p,s)`, else None."""
        found = _NUMERIC.fullmatch(self.type)
        return (int(found[1]), int(found[2])) if found else None


def base_of(type: str) -> str:
    return "numeric" if type.startswith("numeric") else type


def with_key(columns: tuple[Column, ...], key: tuple[str, ...]) -> tuple[Column, ...]:
    """`columns`, those of the key never null: a row that nothing identifies cannot be published."""
    return tuple(dataclasses.replace(column, nullable=False) if column.name in key else column for column in columns)
