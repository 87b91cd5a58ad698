"""What chunks saw of a schema, what a run changes, and the columns that it works with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from chalicelib.columns import Column

ADD = "add column"
WIDEN = "widen type"


@dataclass(frozen=True)
class Seen:
    """A field, or a column whose values do not fit it, as a chunk or a run saw it.

    `type` is what would hold the values: of a new field all of them, None where it has nothing but
    null; of a column those that do not fit. `records` have a value, or one that does not fit. `raw`
    and `line` are the place of the first.
    """

    name: str
    type: str | None
    records: int
    raw: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Observation:
    """What differs from the columns of a chunk, or of a run.

    `unknown` are the fields that no column takes, those that are named; `more` is the number of the
    others. `misfits` are columns. `missing` are declared columns of which no record has the field. `nameless`
    is the number of fields whose names are not told, since they may be values (see `names`).
    """

    unknown: tuple[Seen, ...] = ()
    misfits: tuple[Seen, ...] = ()
    missing: tuple[str, ...] = ()
    more: int = 0
    nameless: int = 0


@dataclass(frozen=True)
class Change:
    """One change of a curated table, as it is planned: `change` is ADD or WIDEN.

    `field` is the name in the records. `records` is None where not the records but the declaration
    asks for it.
    """

    change: str
    column: str
    to_type: str
    field: str
    from_type: str | None = None
    records: int | None = None
    raw: str | None = None
    line: int | None = None

    def text(self, published: bool = True) -> str:
        """What to tell: "new field 'tip': column tip (numeric) is added, 12 records have it".

        Not `published` is a change of a run that was rejected: it would have been made.
        """
        if self.records is None:
            what = ("adds", "widens") if published else ("would add", "would widen")
            types = f"({self.to_type})" if self.change == ADD else f"from {self.from_type} to {self.to_type}"
            return f"the declaration {what[self.change != ADD]} column {self.column} {types}"
        verb = "is" if published else "would have been"
        records = f"{self.records:,} record{'' if self.records == 1 else 's'}"
        if self.change == ADD:
            have = "has" if self.records == 1 else "have"
            column = f"column {self.column} ({self.to_type}) {verb} added"
            return f"new field {short(self.field)}: {column}, {records} {have} it"
        need = "needs" if self.records == 1 else "need"
        return f"column {self.column} {verb} widened from {self.from_type} to {self.to_type}, which {records} {need}"


@dataclass(frozen=True)
class Schema:
    """The columns that a run works with: declared ones, then those that evolved, by name.

    `revision` is 0 as Plan finds it and 1 once ReviewSchema widened it. `late` leads from the
    columns that the table got after it was made to their fields in the records; fingerprints take
    these by name, and only where they have a value (see `warehouse.copy_text`). `changes` are what
    Publish does to the table.
    """

    revision: int
    columns: tuple[Column, ...]
    late: dict = field(default_factory=dict)
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class SchemaReport:
    """What a run's report says of its columns. `raw_only` are (field, records that have a value), most first.

    `kept` are columns that the contract would have widened, to the type said, and that stay what they are since
    the suite or an anomaly could not judge that type.
    """

    contract: str
    changes: tuple[Change, ...] = ()
    kept: tuple[Seen, ...] = ()
    raw_only: tuple[tuple[str, int], ...] = ()
    more: int = 0  # fields kept in raw only that are not named


def ordered(columns: Iterable[Column], first: Sequence[Column]) -> tuple[Column, ...]:
    """`columns` in the order of `first`, those that it does not have behind, by name."""
    places = {column.name: place for place, column in enumerate(first)}
    return tuple(sorted(columns, key=lambda column: (places.get(column.name, len(places)), column.name)))


def short(name: str) -> str:
    """A field's name as messages quote it; a document may use anything as one."""
    return repr(name if len(name) <= 80 else name[:79] + "…")
