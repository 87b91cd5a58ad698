"""The prices in `prices.json`: what AWS lists, by region, each with its source."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

from chalicelib.errors import ConfigurationError

PATH = Path(__file__).with_name("prices.json")

# in which AWS' pricing calculator counts a month
HOURS_PER_MONTH = 730
# as S3's own examples count it: https://aws.amazon.com/s3/faqs/
GB = 2**30

_ABOUT_AN_ITEM = {"service", "what", "unit", "per", "page"}


@dataclass(frozen=True)
class Item:
    """Something that is sold. `usd` is the price of one `unit`; None where the region's price is not known."""

    name: str
    service: str
    what: str
    unit: str
    page: str  # where the seller publishes the price
    usd: float | None


@dataclass(frozen=True)
class Prices:
    """The prices of one region, as they were looked up on the day `checked`."""

    region: str
    checked: str
    items: dict[str, Item]


def read(region: str, path: Path = PATH) -> Prices:
    """The prices of `region`; ConfigurationError where the file has none of it."""
    document = _document(path)
    known = regions(path)
    if region not in known:
        raise ConfigurationError(
            f"{path} has no prices of the region {region}",
            next_step=f"give --region {' or '.join(known)}, or add the region's prices to the file; "
            "`page` of each item names where AWS lists them",
        )
    items = {}
    for name, about in document["items"].items():
        price = about.get(region)
        usd = price["usd"] / about["per"] if price else None
        items[name] = Item(name, about["service"], about["what"], about["unit"], about["page"], usd)
    return Prices(region, document["checked"], items)


def regions(path: Path = PATH) -> list[str]:
    """The regions that the file has prices of."""
    return sorted({key for about in _document(path)["items"].values() for key in set(about) - _ABOUT_AN_ITEM})


@functools.cache
def _document(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))
