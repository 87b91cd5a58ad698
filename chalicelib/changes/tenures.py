"""What is known of a key: the row that has it, the rows that had it, and what quarantined changes said."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from chalicelib.changes.record import INSERT, Data
from chalicelib.conversion import NULL

Key = tuple[str, ...]


@dataclass
class Tenure:
    """A row for as long as it had one key. `values` is the row as COPY text by column, None where there was no row.

    `since` is the order of the change by which it came, "" where that is not known, and `order` that of the key's
    last own change of it. `stale` has the orders of those values that are older: None where the value is not known yet.
    """

    since: str
    order: str
    values: dict[str, str] | None
    stale: dict[str, str | None] = field(default_factory=dict)
    kept_at: str | None = None  # since when it is remembered, in ISO format; None: from now on

    def inherits(self, name: str) -> bool:
        """Whether the value is what the row had at the key before."""
        return bool(self.since) and name in self.stale and (self.stale[name] or "") < self.since

    def value(self, name: str) -> tuple[str, str | None]:
        """The value of a column, and its order."""
        if self.values is None:
            return NULL, None
        return self.values.get(name, NULL), self.stale.get(name, self.order if name in self.values else None)


@dataclass
class Departure:
    """A change by which a row left a key, and where it went."""

    order: str
    to: Key
    kept_at: str | None = None


@dataclass
class Aside:
    """What quarantined changes said of a key's row since its last change that was taken.

    An update does not name large texts that it leaves as they were, and they may be in a change that did not fit for
    another column's sake. `since` is the order of the change by which the row came, None where it is the table's.
    """

    since: str | None
    order: str  # of the last one
    values: dict[str, tuple[str, str]] = field(default_factory=dict)  # what fits: COPY text and order, by column
    unfit: tuple[str, ...] = ()  # the columns whose values do not
    kept_at: str | None = "infinity"  # until the key's next change that is taken, however late that is


@dataclass
class State:
    """What is known of a key. `row` is its row, None where there is none. Orders are those of `record.Data.order`."""

    row: Tenure | None = None
    order: str = ""  # of the last change that counted
    committed: dt.datetime | None = None
    past: list[Tenure] = field(default_factory=list)
    departed: list[Departure] = field(default_factory=list)  # by their order
    aside: Aside | None = None
    seq: int = 0  # the lake's file and row that made it what it is, see `lake.position`
    before: dict[str, str] | None = None  # as the table has it
    fingerprint: int | None = None  # of `before`
    removed: bool = False  # by a delete, not by a change of its key
    changed: bool = False  # other than what the table of keys has

    @property
    def values(self) -> dict[str, str] | None:
        return self.row and self.row.values

    @property
    def tenures(self) -> list[Tenure]:
        return [*self.past, self.row] if self.row else self.past

    def known(self, at: str) -> Tenure | None:
        """The row as the source has it before the change of order `at`, "" where changes have none."""
        aside = self.aside
        if aside is None or (at and aside.order >= at):
            return self.row
        row = self.row if aside.since is None else None
        since = aside.since if aside.since is not None else row.since if row else self.order
        found = {name: row.value(name) for name in row.values} if row else {}
        found |= aside.values | dict.fromkeys(aside.unfit, (NULL, None))
        stale = {name: order for name, (_, order) in found.items() if order != aside.order}
        return Tenure(since, aside.order, {name: text for name, (text, _) in found.items()}, stale)

    def unfit(self, at: str) -> tuple[str, ...]:
        """The columns whose values before the change of order `at` are known to be none that the table can have."""
        return () if self.aside is None or (at and self.aside.order >= at) else self.aside.unfit


@dataclass
class Step:
    """One change of a mapped table, its values as COPY text by column.

    `unknown` are the columns that an update leaves as they are. `old_key` is the key that the row had before,
    where it differs. `problems` says why the change does not fit the table.
    """

    change: Data
    seq: int
    key: Key | None = None
    old_key: Key | None = None
    values: dict[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    problems: list[tuple[str | None, str]] = field(default_factory=list)  # (column, what is wrong)

    @property
    def begins(self) -> bool:
        """Whether another row has the key from here on."""
        return bool(self.change.order) and (self.change.operation == INSERT or self.old_key is not None)
