"""An expectation suite that a sample passes, and that tells when later files are another kind of thing.

A later file with slightly other values must not lose rows: what the sample happens to show (ranges,
sets, no nulls) is a warning. Only a missing key sets a row aside, and only an empty file fails.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

from chalicelib.columns import Column
from chalicelib.quality.suite import CRITICAL, WARNING
from cli.inference import Profile

# the room that numbers get beyond the sample's range, as a share of that range
MARGIN = 0.1
# texts with at most so many different values, each seen ten times on average, are taken for a set
SET_SIZE = 20
SET_REPEATS = 10
# dates may follow the sample's last by so many years; a later one is likely a mistake
YEARS_AHEAD = 10
# a column where at most this share is null is expected to stay so
RARE_NULLS = 0.2


def suite(
    name: str,
    columns: Sequence[Column],
    key: Sequence[str],
    profiles: Sequence[Profile],
    records: int,
    is_unique: bool = True,
) -> dict:
    """The suite in Great Expectations' JSON. `profiles` are those of `columns`, in order.

    Of a key that is not unique in the sample, none is expected to be.
    """
    items = [_item("expect_table_row_count_to_be_between", CRITICAL, min_value=1)]
    if is_unique and len(key) == 1:
        items.append(_item("expect_column_values_to_be_unique", WARNING, column=key[0]))
    elif is_unique:
        items.append(_item("expect_compound_columns_to_be_unique", WARNING, column_list=list(key)))
    for column, profile in zip(columns, profiles, strict=True):
        items += _of_column(column, profile, is_key=column.name in key, is_whole_key=key == (column.name,), of=records)
    return {
        "name": name,
        "expectations": items,
        "meta": {"sluice": {"quarantine": {"warn": 0.0, "fail": 0.05}}},
    }


def _of_column(column: Column, profile: Profile, is_key: bool, is_whole_key: bool, of: int) -> list[dict]:
    items = []
    nulls = of - profile.present
    if not nulls:
        severity = CRITICAL if is_key else WARNING
        items.append(_item("expect_column_values_to_not_be_null", severity, column=column.name))
    elif nulls <= RARE_NULLS * of:
        mostly = math.floor((1 - 2 * nulls / of) * 100) / 100
        items.append(_item("expect_column_values_to_not_be_null", WARNING, column=column.name, mostly=mostly))
    if is_whole_key:  # numbers given one after the other, or names: the next ones lie elsewhere
        return items
    between = "expect_column_values_to_be_between"
    if profile.is_numeric:
        if bounds := _room(profile.low, profile.high):
            items.append(_item(between, WARNING, column=column.name, **bounds))
    elif profile.first_day:
        zone = {"date": "", "timestamp": "T00:00:00", "timestamptz": "T00:00:00+00:00"}.get(column.type)
        if zone is not None:
            first = f"{profile.first_day.year:04d}-01-01{zone}"
            last = f"{min(profile.last_day.year + YEARS_AHEAD, 9999):04d}-12-31{zone}"
            items.append(_item(between, WARNING, column=column.name, min_value=first, max_value=last))
    elif column.type == "text" and profile.distinct and _is_set(profile):
        values = sorted(profile.distinct)
        items.append(_item("expect_column_values_to_be_in_set", WARNING, column=column.name, value_set=values))
    return items


def _is_set(profile: Profile) -> bool:
    different = len(profile.distinct)
    return (
        different <= SET_SIZE
        and profile.present >= SET_REPEATS * different
        and all(isinstance(value, str) for value in profile.distinct)
    )


def _item(type: str, severity: str, **kwargs) -> dict:
    return {"type": type, "kwargs": kwargs, "severity": severity}


def _room(low: float, high: float) -> dict[str, float]:
    """The range with a margin, rounded outward to two digits; what is never negative stays so.

    A bound that is beyond what a double holds is left out.
    """
    margin = max((high - low) * MARGIN, max(abs(low), abs(high)) * MARGIN / 10)
    if isinstance(low, int) and isinstance(high, int):
        margin = max(math.ceil(margin), 1)
    bounds = {
        "min_value": 0 if low >= 0 and low - margin < 0 else _outward(low - margin, ROUND_FLOOR),
        "max_value": _outward(high + margin, ROUND_CEILING),
    }
    return {name: bound for name, bound in bounds.items() if math.isfinite(bound)}


def _outward(value: float, rounding: str) -> float:
    """`value` with two significant digits; an int stays one where it is also a double, as suites have to have it."""
    if not math.isfinite(value):
        return value
    rounded = Context(prec=2, rounding=rounding).create_decimal(repr(value))
    return int(rounded) if isinstance(value, int) and int(rounded) == float(rounded) else float(rounded)
