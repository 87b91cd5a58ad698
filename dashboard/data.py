"""The page Data: the records of a table, filtered, sorted, page by page, and a chart of them."""

from __future__ import annotations

import streamlit as st

from dashboard import address, charts, records, selection, session, wording
from dashboard.client import Client

VIEWS = ("Rows", "Chart")
# its columns are others: what was chosen of those of the table before means nothing there
_OF_A_TABLE = ("filter", "sort", "page", "run", "value", "series", "by")


def show() -> None:
    st.title("Data")
    client = session.client()
    totals = {_name(found): found for found in client.analytics()["sources"] if found["source"] and found["rows"] != 0}
    if not totals:
        st.info("No table has rows yet. Next: `sluice run weather`; then come back, or reload this page.")
        return
    name = _table(totals)
    found = totals[name]
    declared = {source["name"]: source for source in session.sources(client, client.address)}
    own = declared.get(found["source"], {})
    types = {column["name"]: column["type"] for column in own.get("columns", ())}
    # each run of a source without columns of its own declares its table
    with address.checked("data", day_from=address.DAY, day_to=address.DAY):
        wanted = selection.chosen(found, list(types) or _columns(client, found), several=not types)
    with session.told():
        if _view() == VIEWS[0]:
            records.show(client, name, wanted, types)
        else:
            charts.show(client, wanted, found["day"], own)


def _name(found: dict) -> str:
    return f"{found['source']}/{found['table']}"


def _label(name: str, found: dict) -> str:
    source, _, own = name.partition("/")
    rows = "rows are being counted" if found["rows"] is None else f"{found['rows']:,} rows"
    return f"{source if source == own else name} ({rows})"


def _table(totals: dict[str, dict]) -> str:
    """The table that the address names, else the first."""
    named = address.value("table")
    first = next(iter(totals))
    if named and named not in totals:
        st.warning(f"There is no table {wording.code(named)} that has rows: this is {wording.code(first)}.")
    elif not named and any(st.query_params.values()):
        # what else is in the address is about this table
        address.change(table=first)
    labels = {name: _label(name, found) for name, found in totals.items()}
    return address.chosen(st, "Table", list(totals), "table", clears=_OF_A_TABLE, format_func=labels.get)


def _view() -> str:
    """Not tabs: both would be asked for, whichever is looked at."""
    named = address.value("view")
    st.session_state["chosen_view"] = named if named in VIEWS else VIEWS[0]
    return st.segmented_control("View", VIEWS, required=True, key="chosen_view", on_change=_viewed)


def _viewed() -> None:
    selection.change(view=st.session_state["chosen_view"])


def _columns(client: Client, found: dict) -> list[str]:
    """Of a table that no source declares, from its first record."""
    first = client.records(source=found["source"], table=found["table"], limit=1)["records"]
    return list(first[0]["values"]) if first else []
