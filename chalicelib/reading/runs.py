"""Runs that there were, as the API and the command line list them."""

from __future__ import annotations

import datetime as dt

from chalicelib import sources
from chalicelib.reading import days
from chalicelib.warehouse import ledger
from chalicelib.warehouse.ledger import Wanted


def listing(connection, limit: int, wanted: Wanted, before: tuple[dt.datetime, str] | None = None) -> list[dict]:
    """What `ledger.list_runs` gives. Raises UnknownSource, ContractError for days the wrong way round."""
    days.check(wanted.start, wanted.end)
    found = ledger.list_runs(connection, limit, wanted, before)
    # a source that is gone may have runs; one that has none must be there
    if not found and wanted.source is not None and not ledger.list_runs(connection, 1, Wanted(wanted.source)):
        sources.get(wanted.source)
    return found
