"""What the source says, and what must then be in the table: both from the seed alone."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

from chalicelib.warehouse.publishing import Account

FIRST_DAY = dt.date(2001, 1, 1)
WINDOW_DAYS = 2
PAGES = 2  # of a day
KEYS = 400
COLUMNS = ("id", "day", "amount", "note")

# as the source gives it; `amount` is text, and a bad row's is no number, or below 0
Row = dict
Page = tuple[Row, ...]
# by key: the columns as Postgres shows them as text
Table = Mapping[str, tuple[str, ...]]

PLANNED, CHANGED, SPOILED = "planned", "changed", "spoiled"


def window(place: int) -> tuple[dt.date, dt.date]:
    """The days, both included, that the trial at this place in its lane is about."""
    first = FIRST_DAY + dt.timedelta(days=place * WINDOW_DAYS)
    return first, first + dt.timedelta(days=WINDOW_DAYS - 1)


def days(first: dt.date, last: dt.date) -> Iterator[dt.date]:
    return (first + dt.timedelta(days=n) for n in range((last - first).days + 1))


def pages(seed: int, lane: str, day: dt.date, version: str = PLANNED) -> tuple[Page, ...]:
    """What the source says of a day.

    Some rows that an expectation sets aside have the key of a good one, and stand before it, behind it, or both.

    CHANGED: some amounts are others, and the first row of the last page has moved to the end of the first one, so
    that who reads one page before and one after finds it twice, or not at all. SPOILED: half of the rows are bad.
    """
    rng = random.Random(f"{seed} {lane} {day}")
    made = [[_row(rng, day) for _ in range(rng.randrange(25, 40))] for _ in range(PAGES)]
    for page in made:
        for _ in range(rng.choice((0, 1, 1, 2))):
            place = rng.randrange(len(page))
            page.insert(rng.randint(0, place), _negative(rng, day, page[place]["id"]))
        if rng.random() < 0.5:
            place = rng.randrange(len(page))
            page.insert(rng.randint(place + 1, len(page)), _negative(rng, day, page[place]["id"]))
    if version == CHANGED:
        for row in made[0][:3] + made[-1][-3:]:
            row["amount"] = f"{rng.randrange(1000)}.75"
        made[0].append(made[-1].pop(0))
    elif version == SPOILED:
        for row in itertools.chain.from_iterable(page[::2] for page in made):
            row["amount"] = "spoiled"
    return tuple(tuple(page) for page in made)


def _row(rng: random.Random, day: dt.date) -> Row:
    amount = f"{rng.randrange(1000)}.{rng.randrange(100):02d}"
    if (kind := rng.random()) < 0.01:
        amount = "twelve"
    elif kind < 0.02:
        amount = "-" + amount
    return {"id": rng.randrange(KEYS), "day": day.isoformat(), "amount": amount, "note": f"note {rng.randrange(50)}"}


def _negative(rng: random.Random, day: dt.date, key: int) -> Row:
    return {**_row(rng, day), "id": key, "amount": f"-{rng.randrange(1, 1000)}.{rng.randrange(100):02d}"}


def apply(before: Table, sent: Iterable[Page]) -> tuple[dict[str, tuple[str, ...]], Account]:
    """The table after these pages, in raw order, are published on it, and the account of the run that does."""
    fetched = quarantined = valid = 0
    last: dict[str, tuple[str, ...]] = {}
    for row in itertools.chain.from_iterable(sent):
        fetched += 1
        if is_bad(row):
            quarantined += 1
            continue
        valid += 1
        last[str(row["id"])] = shown(row)
    inserted = sum(key not in before for key in last)
    unchanged = sum(before.get(key) == row for key, row in last.items())
    account = Account(fetched, inserted, len(last) - inserted - unchanged, unchanged, valid - len(last), quarantined)
    return {**before, **last}, account


def shown(row: Row) -> tuple[str, ...]:
    """A row as Postgres shows it."""
    return tuple(str(row[name]) for name in COLUMNS)


def is_bad(row: Row) -> bool:
    """Whether the suite of a lane, or the type of its column, sets the row aside."""
    return not row["amount"].replace(".", "").isdigit()


def is_unfit(row: Row) -> bool:
    """Whether the type of its column does; the suite that was mended sets nothing aside."""
    return is_bad({"amount": row["amount"].removeprefix("-")})


def planned(seed: int, lane: str, window: tuple[dt.date, dt.date]) -> list[Row]:
    """The rows of a window, in raw order, unless the source says something else."""
    return [row for day in days(*window) for page in pages(seed, lane, day) for row in page]


def readings(
    seed: int, lane: str, window: tuple[dt.date, dt.date], served: Mapping[tuple[str, int], Sequence[str]]
) -> Iterator[list[Page]]:
    """All that a run may have read of a window: each page in one of the versions that were `served`, no mixture."""
    places = [(day, number) for day in days(*window) for number in range(PAGES)]
    choices = [served.get((day.isoformat(), number)) or (PLANNED,) for day, number in places]
    for chosen in itertools.product(*choices):
        yield [pages(seed, lane, day, version)[number] for (day, number), version in zip(places, chosen, strict=True)]
