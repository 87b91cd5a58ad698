"""Which of several rows of a key is the newest, and so what a replay of the older ones must come to.

A row's place is that of the run that brought it, in the order in which runs are entered in the ledger, and then its
number among the rows of its days. docs/decisions/0019 and 0031 say so; here it is from what the source said alone, of
each key, where the pipeline has to find it in what it keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from chalicelib.warehouse.publishing import Account
from storm.truth import Row, Table, shown

Place = tuple[int, int]
EARLIEST: Place = (-1, -1)

OPEN, PUBLISHED, DUPLICATE = "open", "published", "duplicate"


@dataclass
class Original:
    """A run that was published, and the rows that it set aside, by number: what became of each, and by which run."""

    run_id: str
    entry: int
    aside: dict[int, Row]
    states: dict[int, str] = field(default_factory=dict)
    settled_by: dict[int, str] = field(default_factory=dict)

    @property
    def open(self) -> dict[int, Row]:
        return {number: row for number, row in self.aside.items() if self.states.get(number, OPEN) == OPEN}

    def settle(self, states: Mapping[int, str], run_id: str) -> None:
        """A replay, the run `run_id`, has come to these states of the rows that were open."""
        self.states.update(states)
        self.settled_by.update({number: run_id for number, state in states.items() if state != OPEN})


@dataclass
class Placed:
    """A table, and for each key the place of the newest row that any run brought of it."""

    table: dict[str, tuple[str, ...]]
    places: dict[str, Place]

    @classmethod
    def of(cls, table: Table, places: Mapping[str, Place]) -> Placed:
        return cls(dict(table), dict(places))

    def publish(
        self, rows: Mapping[int, Row], entry: int, is_bad: Callable[[Row], bool]
    ) -> tuple[Account, dict[int, str]]:
        """Do what a run of that entry does with these rows: its account, and the state of each of them."""
        states = {number: OPEN if is_bad(row) else DUPLICATE for number, row in sorted(rows.items())}
        last = {str(rows[number]["id"]): number for number, state in states.items() if state != OPEN}
        counts = dict.fromkeys(("inserted", "updated", "unchanged"), 0)
        for key, number in last.items():
            row, before, newest = shown(rows[number]), self.table.get(key), self.places.get(key, EARLIEST)
            if before is not None and before != row and newest > (entry, number):
                continue
            states[number] = PUBLISHED
            counts["inserted" if before is None else "unchanged" if before == row else "updated"] += 1
            self.table[key], self.places[key] = row, max(newest, (entry, number))
        told = list(states.values())
        return Account(len(rows), **counts, duplicates=told.count(DUPLICATE), quarantined=told.count(OPEN)), states
