"""What a sample's values say about a column: its type, its range, its values."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable

from chalicelib.schema import kinds

# How files write null. The first ones mean nothing else; the others are also words (NA is Namibia),
# so they count as null only where a column of numbers, dates or the like uses them.
NULLS = ("NULL", "null", "N/A", "n/a", "#N/A", "NaN", "nan")
DOUBTFUL_NULLS = ("NA", "None", "none", "-")
_TOKENS = frozenset((*NULLS, *DOUBTFUL_NULLS))

DISTINCT = 1000  # more different values than that are not kept

# a sample's integers are given room to grow
_INTEGER_ROOM = 1_000_000_000
_BIGINT = 2**63


class Profile:
    """One field of a sample, filled batch by batch.

    `kinds` counts values by what they look like: integer, float, numeric, boolean, date, timestamp,
    timestamptz, text, jsonb. `distinct` is None once there are more than DISTINCT different ones.
    """

    def __init__(self, field: str):
        self.field = field
        self.present = 0  # values that are not null
        self.kinds: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()  # possible nulls, not counted in `kinds` yet
        self.distinct: Counter | None = Counter()
        self.low: int | float | None = None
        self.high: int | float | None = None
        self.lowest_integer: int | None = None
        self.highest_integer: int | None = None
        self.first_day: dt.date | None = None
        self.last_day: dt.date | None = None

    def add(self, values: Iterable, is_csv: bool) -> None:
        """`values` of a batch. In a CSV all are text, and text that looks like a number is one."""
        kinds = set(map(type, values)) - {type(None)}
        for kind in kinds:
            own = values if len(kinds) == 1 else [value for value in values if type(value) is kind]
            if kind in (dict, list):
                self._count("jsonb", sum(value is not None for value in own))
                self.distinct = None
                continue
            different = Counter(own)
            different.pop(None, None)
            for value, count in different.items():
                self._see(value, count, is_csv)

    def settle(self, nulls: frozenset[str]) -> None:
        """Take the tokens that are not in `nulls` as the text they are."""
        for token, count in self.tokens.items():
            if token not in nulls:
                self._count("text", count)
                self._remember(token, count)
        self.tokens.clear()

    @property
    def type(self) -> str:
        """The column type that holds all values seen."""
        seen = set(self.kinds)
        if "jsonb" in seen:
            return "jsonb"
        if seen == {kinds.INTEGER}:
            reach = max(abs(self.low), abs(self.high))
            return "integer" if reach < _INTEGER_ROOM else "bigint" if reach < _BIGINT else "numeric"
        if seen and seen <= kinds.NUMBERS:
            return kinds.numbers(seen, self.lowest_integer, self.highest_integer)
        if seen == {"date", "timestamp"}:
            return "timestamp"
        return seen.pop() if len(seen) == 1 else "text"

    @property
    def is_numeric(self) -> bool:
        return self.type in ("integer", "bigint", "numeric", "double precision")

    def _see(self, value, count: int, is_csv: bool) -> None:
        kind, known = _kind(value, is_csv)
        if kind is None:
            self.tokens[value] += count
            return
        self._count(kind, count)
        self._remember(value, count)
        if kind == kinds.INTEGER:
            self.lowest_integer = known if self.lowest_integer is None else min(self.lowest_integer, known)
            self.highest_integer = known if self.highest_integer is None else max(self.highest_integer, known)
        if kind in kinds.NUMBERS:
            self.low = known if self.low is None else min(self.low, known)
            self.high = known if self.high is None else max(self.high, known)
        elif isinstance(known, dt.date):
            self.first_day = known if self.first_day is None else min(self.first_day, known)
            self.last_day = known if self.last_day is None else max(self.last_day, known)

    def _count(self, kind: str, count: int) -> None:
        self.kinds[kind] += count
        self.present += count

    def _remember(self, value, count: int) -> None:
        if self.distinct is not None:
            self.distinct[value] += count
            if len(self.distinct) > DISTINCT:
                self.distinct = None


def adopted_nulls(profiles: Iterable[Profile]) -> tuple[str, ...]:
    """The tokens that mean null in this sample."""
    found = set()
    for profile in profiles:
        found |= set(NULLS) & set(profile.tokens)
        if profile.kinds and "text" not in profile.kinds and profile.type != "text":
            found |= set(profile.tokens)
    return tuple(token for token in (*NULLS, *DOUBTFUL_NULLS) if token in found)


def is_like_a_value(name: str) -> bool:
    """Whether the name of a CSV's column is rather a number, a date, a null or an address: of a record, that is."""
    has_letter, has_digit = any(map(str.isalpha, name)), any(map(str.isdigit, name))
    looks, _ = kinds.kind(name, is_csv=True)
    return looks != "text" or name in NULLS or "@" in name or (has_digit and not has_letter)


def _kind(value, is_csv: bool) -> tuple[str | None, object]:
    """What `kinds.kind` says, and None for a possible null."""
    return (None, None) if is_csv and value in _TOKENS else kinds.kind(value, is_csv)
