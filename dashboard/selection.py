"""Which records the page Data shows: its filters, days and order, all of them in the address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from dashboard import address, wording

OPERATORS = {
    "eq": "is",
    "ne": "is not",
    "lt": "less than",
    "le": "at most",
    "gt": "more than",
    "ge": "at least",
    "in": "one of",
    "prefix": "begins with",
    "null": "is empty (true or false)",
}


@dataclass(frozen=True)
class Wanted:
    """Which records: what `GET /records` takes."""

    source: str
    table: str | None
    filters: tuple[str, ...]
    first: Any
    last: Any
    sort: str | None

    def query(self, **more: Any) -> dict[str, Any]:
        own = {"source": self.source, "table": self.table, "filter": list(self.filters), "sort": self.sort}
        return {**own, "from": self.first, "to": self.last, **more}

    @property
    def is_narrowed(self) -> bool:
        return bool(self.filters or self.first or self.last)


def chosen(found: dict, columns: list[str], several: bool) -> Wanted:
    """`found` is the table in `GET /analytics`; `several`: its source has other tables too."""
    run_id = _written_by()
    with st.expander("Filter and sort"):
        first, last = _days(found)
        _filter(columns)
        _sort(columns)
    filters = address.values("filter")
    _remove(filters)
    return Wanted(
        found["source"],
        found["table"] if several else None,
        (*filters, *((f"_run_id:eq:{run_id}",) if run_id else ())),
        first,
        last,
        address.value("sort"),
    )


def change(**wanted: Any) -> None:
    """As `address.change`, with the table that it is about: what the first one is may be another one tomorrow."""
    address.change(**{"table": st.session_state.get("chosen_table"), **wanted})


def _written_by() -> str | None:
    run_id = address.value("run")
    if not run_id:
        return None
    words, button = st.columns([4, 1], vertical_alignment="center")
    words.markdown(f"Rows that the run {wording.code(run_id)} wrote")
    if button.button("All rows", width="stretch"):
        change(run=None, page=None)
        st.rerun()
    return run_id


def _days(found: dict) -> tuple[Any, Any]:
    about = f"{wording.escaped(found['day'])} from" if found["day"] else "Loaded from"
    first, last = st.columns(2)
    given = {"format": "YYYY-MM-DD", "bind": "query-params", "on_change": change, "kwargs": {"page": None}}
    span = f"The table has {found['first_day']} to {found['last_day']}." if found["first_day"] else None
    return (
        first.date_input(about, None, key="day_from", help=span, **given),
        last.date_input("to", None, key="day_to", **given),
    )


def _filter(columns: list[str]) -> None:
    with st.form("filter", clear_on_submit=True, border=False):
        column, operator, value, button = st.columns([3, 2, 3, 2], vertical_alignment="bottom")
        chosen = column.selectbox("Filter by", columns)
        how = operator.selectbox("Condition", list(OPERATORS), format_func=OPERATORS.get)
        what = value.text_input("Value", placeholder="30, or Oslo,Seattle for one of")
        if button.form_submit_button("Add filter", width="stretch") and chosen:
            change(filter=[*address.values("filter"), f"{chosen}:{how}:{what}"], page=None)
            st.rerun()


def _remove(filters: list[str]) -> None:
    """What is filtered by, each with a button that takes it away."""
    if not filters:
        return
    with st.container(horizontal=True):
        for place, text in enumerate(filters):
            label = f"Remove: {wording.escaped(_words(text))}"
            if st.button(label, key=f"remove-{place}-{text}", icon=":material/close:"):
                change(filter=[*filters[:place], *filters[place + 1 :]], page=None)
                st.rerun()


def _words(text: str) -> str:
    """Of a filter as the API writes it; one that it will refuse stays as it is."""
    name, _, rest = text.partition(":")
    how, _, what = rest.partition(":")
    return f"{name} {OPERATORS[how].split(' (')[0]} {what}" if how in OPERATORS else text


def _sort(columns: list[str]) -> None:
    now = address.value("sort")
    options = [None, *[order for column in columns for order in (column, f"-{column}")]]
    if now not in options:
        options.append(now)  # the API says what is wrong with it
    address.chosen(st, "Sort by", options, "sort", change, ("page",), format_func=_order)


def _order(sort: str | None) -> str:
    if sort is None:
        return "Key"
    return f"{sort[1:]}, largest first" if sort.startswith("-") else f"{sort}, smallest first"
