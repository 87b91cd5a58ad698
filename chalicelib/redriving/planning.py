"""What Plan does for a redriven run: it takes over the failed run's window, its place, and what it fetched."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from chalicelib.contract_reading import read_contract
from chalicelib.contracts import Partition, Window
from chalicelib.errors import ContractError
from chalicelib.lake import Lake, keys
from chalicelib.lake.listing import Listing
from chalicelib.redriving import kept_listing
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, ledger
from chalicelib.warehouse.queries import statement

_AT_ONCE = 16  # listings that are read: 2,000 of them in some seconds


@dataclass(frozen=True)
class Failed:
    """The run that is redriven, and those that it redrove in its turn: `runs`, newest first, are rows of the ledger.

    `listings` has the keys of what they fetched, by what `_what` says of a partition.
    """

    run_id: str
    runs: tuple[dict, ...]
    listings: Mapping[str, str]

    @property
    def entered(self) -> dict | None:
        """The newest that got as far as the ledger by itself."""
        return next((run for run in self.runs if run["table_name"] is not None), None)


def read(lake: Lake, run_id: str) -> Failed:
    """What is known of a failed run; of one that failed before it was entered that is nothing."""
    with connection.transaction() as open_connection:
        runs = ledger.redriven(open_connection, run_id)
    found: dict[str, str] = {}
    for run in reversed(runs):  # the newest of them last
        found |= _listings(lake, run["run_id"])
    return Failed(run_id, tuple(runs), found)


def _listings(lake: Lake, run_id: str) -> dict[str, str]:
    found = lake.keys(keys.listings(run_id))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        read = pool.map(lambda key: read_contract(Listing, lake.get_json(key), key), found)
        return {
            _what(listing.request, listing.live): key
            for key, listing in zip(found, read, strict=True)
            if listing.request is not None
        }


def _what(request: dict, live: bool) -> str:
    return json.dumps([request, live], sort_keys=True)


def window(source: Source, failed: Failed, code: str) -> Window | None:
    """The window that the failed run had; None where it failed before it had one.

    Raises ContractError where the run is of another source or table, or where it was rejected and neither the code
    nor the suite was changed since: they would judge the same.
    """
    run = failed.entered
    if run is None:
        return None
    if run["source"] != source.name or run["table_name"] != source.table:
        raise ContractError(f"{run['run_id']} is a run of {run['source']} into {run['table_name']}", source=source.name)
    if run["status"] == "rejected" and run["code"] == code and not source.is_declared_by_run:
        raise ContractError(
            f"{run['run_id']} was rejected, and neither its suite nor the code was changed since: it would be so again",
            source=source.name,
            next_step=f"mend the suite or the source; `sluice runs show {run['run_id']}` says what was wrong",
        )
    start, end = (day and day.isoformat() for day in (run["window_start"], run["window_end"]))
    return Window(start, end, run["by_cursor"])


def enter(cursor, run_id: str, failed: Failed) -> None:
    """Say whom the run redrives. One that keeps what was fetched has the place in the ledger of who fetched it."""
    run = failed.entered if failed.listings else None
    place = {name: run and run[name] for name in ("entered_at", "entry")}
    cursor.execute(statement("ledger", "enter_redrive"), {"run_id": run_id, "failed": failed.run_id, **place})


def kept(partitions: Iterable[Partition], failed: Failed) -> tuple[Partition, ...]:
    """The partitions; those that were fetched are not fetched again, wherever they stood in the failed run."""
    found = failed.listings
    return tuple(
        dataclasses.replace(partition, request=kept_listing.request(found[what]))
        if (what := _what(partition.request, partition.live)) in found
        else partition
        for partition in partitions
    )
