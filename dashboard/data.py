"""The page Data: the records of a table, filtered, sorted, page by page, and a chart of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from dashboard import charts, session, table, wording
from dashboard.table import Column, cell

LIMIT = 50
VIEWS = ("Rows", "Chart")
_KEPT = {"bind": "query-params", "persist_state": "session"}

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
    types = {column["name"]: column["type"] for column in declared.get(found["source"], {}).get("columns", ())}
    several = not types  # each run of such a source declares its own table
    run_id = _written_by()
    columns = list(types) or _columns(client, found)
    with st.expander("Filter and sort"):
        first, last = _days(found)
        filters = _filters(name, columns)
        sort = _sort(name, columns)
    _remove(filters)
    wanted = Wanted(
        found["source"],
        found["table"] if several else None,
        (*filters, *((f"_run_id:eq:{run_id}",) if run_id else ())),
        first,
        last,
        sort,
    )
    # not tabs: both would be asked for, whichever is looked at
    view = st.segmented_control("View", VIEWS, default=VIEWS[0], required=True, key="view", **_KEPT)
    with session.told():
        if view == VIEWS[0]:
            _rows(client, name, wanted, types)
        else:
            charts.show(client, wanted, found["day"], declared.get(found["source"], {}))


def _name(found: dict) -> str:
    return f"{found['source']}/{found['table']}"


def _label(name: str, found: dict) -> str:
    source, _, own = name.partition("/")
    rows = "rows are being counted" if found["rows"] is None else f"{found['rows']:,} rows"
    return f"{source if source == own else name} ({rows})"


def _table(totals: dict[str, dict]) -> str:
    """The table that is chosen; at first the one that the address names."""
    named = st.query_params.get("table")
    if named in totals and st.session_state.get("table_named") != named:
        st.session_state["table"] = st.session_state["table_named"] = named
    labels = {name: _label(name, found) for name, found in totals.items()}
    chosen = st.selectbox("Table", list(totals), format_func=labels.get, key="table", persist_state="session")
    st.query_params["table"] = st.session_state["table_named"] = chosen
    return chosen


def _days(found: dict) -> tuple[Any, Any]:
    about = f"{wording.escaped(found['day'])} from" if found["day"] else "Loaded from"
    first, last = st.columns(2)
    given = {"format": "YYYY-MM-DD", **_KEPT}
    span = f"The table has {found['first_day']} to {found['last_day']}." if found["first_day"] else None
    return (
        first.date_input(about, None, key="day_from", help=span, **given),
        last.date_input("to", None, key="day_to", **given),
    )


def _written_by() -> str | None:
    run_id = st.query_params.get("run")
    if not run_id:
        return None
    words, button = st.columns([4, 1], vertical_alignment="center")
    words.markdown(f"Rows that the run {wording.code(run_id)} wrote")
    if button.button("All rows", width="stretch"):
        del st.query_params["run"]
        st.rerun()
    return run_id


def _columns(client, found: dict) -> list[str]:
    """Of a table that no source declares, from its first record."""
    records = client.records(source=found["source"], table=found["table"], limit=1)["records"]
    return list(records[0]["values"]) if records else []


def _remove(kept: list[str]) -> None:
    """What is filtered by, each with a button that takes it away."""
    for place, text in enumerate(kept):
        column_name, how, what = text.split(":", 2)
        label = f"{column_name} {OPERATORS[how].split(' (')[0]} {what}"
        if st.button(f"Remove: {wording.escaped(label)}", key=f"remove-{place}-{text}", icon=":material/close:"):
            kept.pop(place)
            st.session_state["page_of_data"] = []
            st.rerun()


def _filters(name: str, columns: list[str]) -> list[str]:
    kept = st.session_state.setdefault("filters", {}).setdefault(name, [])
    with st.form("filter", clear_on_submit=True, border=False):
        column, operator, value, button = st.columns([3, 2, 3, 2], vertical_alignment="bottom")
        chosen = column.selectbox("Filter by", columns)
        how = operator.selectbox("Condition", list(OPERATORS), format_func=OPERATORS.get)
        what = value.text_input("Value", placeholder="30, or Oslo,Seattle for one of")
        if button.form_submit_button("Add filter", width="stretch") and chosen:
            kept.append(f"{chosen}:{how}:{what}")
            st.session_state["page_of_data"] = []
    return kept


def _sort(name: str, columns: list[str]) -> str | None:
    st.session_state.setdefault("sort", {})
    options = [None, *[order for column in columns for order in (column, f"-{column}")]]
    now = st.session_state["sort"].get(name)
    chosen = st.selectbox(
        "Sort by",
        options,
        index=options.index(now) if now in options else 0,
        format_func=_order,
        key=f"sort-{name}-{now}",
    )
    if chosen != now:
        st.session_state["sort"][name] = chosen
        st.session_state["page_of_data"] = []
        st.rerun()
    return chosen


def _order(sort: str | None) -> str:
    if sort is None:
        return "Key"
    return f"{sort[1:]}, largest first" if sort.startswith("-") else f"{sort}, smallest first"


# --- the rows ----------------------------------------------------------------------------------


def _rows(client, name: str, wanted: Wanted, types: dict[str, str]) -> None:
    query = wanted.query(limit=LIMIT)
    # the pages that were gone through, of this query alone
    passed = st.session_state.get("page_of_data") or []
    if passed and passed[0] != str(query):
        passed = []
    path = passed[-1] if len(passed) > 1 else None
    page = client.get(path) if path else client.get("/records", query)
    records = page["records"]
    if not records:
        filtered = wanted.filters or wanted.first or wanted.last
        st.info("No row is like that: remove a filter, or widen the days." if filtered else "The table is empty.")
        return
    number = max(len(passed), 1)
    marked = any(record["anomalies"] for record in records)
    event = table.show(
        f"rows-{name}",
        f"Rows of {name}, page {number}",
        [*_headings(records[0], types), *((Column("_anomalies", "Unlike its history"),) if marked else ())],
        [_row(record) for record in records],
        wanted.sort,
    )
    if event.sorted:
        st.session_state["sort"][name] = f"-{event.sorted}" if wanted.sort == event.sorted else event.sorted
        st.session_state["page_of_data"] = []
        st.rerun()
    if event.opened:
        _record(event.opened)
    _turn(page, query, passed, number, len(records))


def _headings(record: dict, types: dict[str, str]) -> list[Column]:
    names = list(record["values"])
    return [Column(name, name, "right" if _is_number(name, record, types) else "left", sorts=True) for name in names]


def _is_number(name: str, record: dict, types: dict[str, str]) -> bool:
    value = record["values"][name]
    return charts.is_number(types.get(name, "")) or (isinstance(value, int | float) and not isinstance(value, bool))


def _row(record: dict) -> dict:
    cells = {name: wording.shown(value) for name, value in record["values"].items()}
    cells = {name: text if len(text) <= 300 else f"{text[:299]}…" for name, text in cells.items()}
    marks = record["anomalies"] or ()
    if marks:
        cells["_anomalies"] = cell(", ".join(dict.fromkeys(mark["column"] for mark in marks)), "warning")
    return table.row(cells, id=record["id"], tone="warning" if marks else "")


def _turn(page: dict, query: dict, passed: list, number: int, count: int) -> None:
    st.caption(f"Page {number}, {wording.several(count, 'row')}{'' if page['next'] else '; nothing follows'}.")
    before, after = st.columns(2)
    if before.button("Previous page", disabled=number == 1, icon=":material/chevron_left:", width="stretch"):
        st.session_state["page_of_data"] = passed[:-1] if len(passed) > 2 else []
        st.rerun()
    if after.button("Next page", disabled=not page["next"], icon=":material/chevron_right:", width="stretch"):
        st.session_state["page_of_data"] = [*(passed or [str(query)]), page["next"]]
        st.rerun()


@st.dialog("Record", width="medium")
def _record(record_id: str) -> None:
    with session.told():
        record = session.client().record(record_id)
        st.json(record["values"], expanded=True)
        for mark in record["anomalies"] or ():
            st.warning(wording.escaped(_mark(mark)))
        st.markdown(
            f"Written by the run {wording.code(record['run_id'])}, loaded {wording.moment(record['loaded_at'])} UTC."
        )
        if record["raw"]:
            st.markdown(f"From line {record['raw']['line']:,} of {wording.code(record['raw']['object'])}.")


def _mark(mark: dict) -> str:
    if "expected" not in mark:
        return f"{mark['column']} is unlike its history."
    words = f"{mark['column']}: {mark.get('of', 'value')} is {wording.shown(mark['value'])}"
    words += f", expected about {wording.shown(mark['expected'])}"
    if mark.get("low") is not None and mark.get("high") is not None:
        words += f" ({wording.shown(mark['low'])} to {wording.shown(mark['high'])})"
    return f"{words}."
