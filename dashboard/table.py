"""Tables with rows that open and columns that sort; on a phone each row is a card.

Streamlit's own table is drawn on a canvas, which neither a screen reader nor a narrow screen gets much of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import streamlit as st

ASSETS = Path(__file__).parent / "assets"

_mount = st.components.v2.component(
    "sluice_table",
    html='<div class="place"></div>',
    css=(ASSETS / "table.css").read_text(encoding="utf-8"),
    js=(ASSETS / "table.js").read_text(encoding="utf-8"),
)


@dataclass(frozen=True)
class Column:
    name: str
    label: str
    align: str = "left"  # left | right | time
    sorts: bool = False


@dataclass(frozen=True)
class Event:
    """What was clicked: a row by its id, a column's name; both None where nothing was."""

    opened: str | None = None
    sorted: str | None = None


def cell(text: Any, tone: str | None = None) -> dict[str, Any]:
    """With a `tone`, one of `wording.tone`, it is shown as a chip."""
    return {"text": "" if text is None else str(text), **({"tone": tone} if tone and text else {})}


def row(cells: Mapping[str, Any], id: str | None = None, href: str = "", tone: str = "", current: bool = False) -> dict:
    """One that has an `id` opens; `href` is where it leads in a tab of its own."""
    shown = {name: value if isinstance(value, dict) else cell(value) for name, value in cells.items()}
    found = {"cells": shown, "href": href, "tone": tone, "current": current}
    return found if id is None else {**found, "id": id}


def show(key: str, caption: str, columns: Iterable[Column], rows: list[dict], sort: str | None = None) -> Event:
    """`caption` says to those who do not see the table what it lists."""
    data = {"caption": caption, "columns": [asdict(column) for column in columns], "rows": rows, "sort": sort}
    result = _mount(key=key, data=data, on_opened_change=_noted, on_sorted_change=_noted)
    return Event(result.opened, result.sorted)


def _noted() -> None:
    """Streamlit tells of triggers that have a callback."""
