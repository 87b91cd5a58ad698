"""The days that a reader asks for."""

from __future__ import annotations

import datetime as dt

from chalicelib.errors import ContractError


def check(first: dt.date | None, last: dt.date | None) -> None:
    """Raise ContractError for days the wrong way round: an empty answer would look like one about them."""
    if first and last and first > last:
        raise ContractError(f"from is {first}, after to, which is {last}", next_step="exchange them")
