"""Quantities times prices: the bill of a run, or of a month."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from deploy.prices import Prices

# how a quantity is known
COUNTED = "counted"  # the execution's history, the ledger or the lake has it
MEASURED = "measured"  # the functions told it in their logs
DERIVED = "derived"  # follows from what was counted; `note` says how

_MILLION = 1_000_000


@dataclass(frozen=True)
class Quantity:
    """How much of an item of `prices.json` was used; `amount` is None where nothing tells."""

    item: str
    amount: float | None
    how: str
    note: str = ""


@dataclass(frozen=True)
class Line:
    """One line of a bill; `usd` is None where the quantity or its price is not known."""

    item: str
    service: str
    what: str
    unit: str
    quantity: float | None
    price: float | None
    usd: float | None
    how: str
    note: str


@dataclass(frozen=True)
class Bill:
    lines: tuple[Line, ...]

    @property
    def usd(self) -> float:
        """The sum of what is known."""
        return sum(line.usd for line in self.lines if line.usd is not None)

    @property
    def is_complete(self) -> bool:
        """False when a quantity or a price is missing, so that the true sum is higher."""
        return all(line.usd is not None for line in self.lines)

    def per_million_rows(self, rows: int | None) -> float | None:
        return self.usd / rows * _MILLION if rows else None

    def services(self) -> dict[str, float]:
        """Dollars by service, in the order of the lines."""
        sums: dict[str, float] = {}
        for line in self.lines:
            sums[line.service] = sums.get(line.service, 0.0) + (line.usd or 0.0)
        return sums

    def to_json(self) -> dict:
        return {"usd": self.usd, "complete": self.is_complete, "lines": [asdict(line) for line in self.lines]}


def bill(quantities: Iterable[Quantity], prices: Prices) -> Bill:
    """The quantities priced; those that are nothing are left out. An item that the table lacks is a KeyError."""
    lines = []
    for quantity in quantities:
        item = prices.items[quantity.item]
        if quantity.amount == 0:
            continue
        known = quantity.amount is not None and item.usd is not None
        usd = quantity.amount * item.usd if known else None
        lines.append(
            Line(
                quantity.item,
                item.service,
                item.what,
                item.unit,
                quantity.amount,
                item.usd,
                usd,
                quantity.how,
                quantity.note,
            )
        )
    return Bill(tuple(lines))
