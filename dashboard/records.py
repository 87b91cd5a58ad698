"""Records in a table, page by page, each with the run and the raw line that it came from."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import streamlit as st

from chalicelib.errors import RequestRefused
from dashboard import address, charts, selection, session, table, wording
from dashboard.client import Client
from dashboard.selection import Wanted
from dashboard.table import Column, cell

LIMIT = 50
_LONGEST = 300  # characters of a value in a cell; its record has the whole


@dataclass(frozen=True)
class _Page:
    """In the address as `3.TOKEN`, the token being the API's own for that page of that query."""

    number: int = 1
    token: str | None = None

    def __str__(self) -> str:
        return "" if self.number == 1 else f"{self.number}.{self.token}"


def show(client: Client, name: str, wanted: Wanted, types: dict[str, str]) -> None:
    """`name` is that of the table, `types` those of its columns, as far as they are declared.

    Raises what the client does.
    """
    page, found = _read(client, wanted)
    records = found["records"]
    if not records:
        words = "No row is like that: remove a filter, or widen the days." if wanted.is_narrowed else None
        st.info(words or "The table is empty.")
        return
    marked = any(record["anomalies"] for record in records)
    event = table.show(
        f"rows-{name}",
        f"Rows of {name}, page {page.number}",
        [*_headings(records[0], types), *((Column("_anomalies", "Unlike its history"),) if marked else ())],
        [_row(record) for record in records],
        wanted.sort,
    )
    if event.sorted:
        selection.change(sort=f"-{event.sorted}" if wanted.sort == event.sorted else event.sorted, page=None)
        st.rerun()
    if event.opened:
        _record(event.opened)
    _turn(page, found["next"], str(wanted), len(records))


def _read(client: Client, wanted: Wanted) -> tuple[_Page, dict]:
    """The page that the address names, and the API's answer."""
    page, query = _named(), wanted.query(limit=LIMIT)
    if page.token:
        try:
            return page, client.get("/records", {**query, "page": page.token})
        except RequestRefused as error:
            if error.where.get("status") != 422:
                raise
            found = client.get("/records", query)  # raises again where something else was refused
            st.info("The page in the address is one of other filters, or none: this is the first.")
            return _Page(), found
    return page, client.get("/records", query)


def _named() -> _Page:
    number, _, token = (address.value("page") or "").partition(".")
    valid = number.isascii() and number.isdigit() and int(number) > 1 and token
    return _Page(int(number), token) if valid else _Page()


def _turn(page: _Page, following: str | None, query: str, count: int) -> None:
    # of the pages before this one only those are known that were gone through
    known = st.session_state.get("pages_of_data") or {}
    known = known if known.get("query") == query else {"query": query}
    known[page.number] = str(page)
    st.session_state["pages_of_data"] = known
    st.caption(f"Page {page.number:,}, {wording.several(count, 'row')}{'' if following else '; nothing follows'}.")
    before, after = st.columns(2)
    back = "Previous page" if page.number <= 2 or page.number - 1 in known else "First page"
    if before.button(back, disabled=page.number == 1, icon=":material/chevron_left:", width="stretch"):
        selection.change(page=known.get(page.number - 1))
        st.rerun()
    if after.button("Next page", disabled=not following, icon=":material/chevron_right:", width="stretch"):
        [token] = parse_qs(urlsplit(following).query)["page"]
        selection.change(page=str(_Page(page.number + 1, token)))
        st.rerun()


# --- one record ----------------------------------------------------------------------------------


def _headings(record: dict, types: dict[str, str]) -> list[Column]:
    names = list(record["values"])
    return [Column(name, name, "right" if _is_number(name, record, types) else "left", sorts=True) for name in names]


def _is_number(name: str, record: dict, types: dict[str, str]) -> bool:
    value = record["values"][name]
    return charts.is_number(types.get(name, "")) or (isinstance(value, int | float) and not isinstance(value, bool))


def _row(record: dict) -> dict:
    cells = {name: wording.shown(value) for name, value in record["values"].items()}
    cells = {name: text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…" for name, text in cells.items()}
    marks = record["anomalies"] or ()
    if marks:
        cells["_anomalies"] = cell(", ".join(dict.fromkeys(mark["column"] for mark in marks)), "warning")
    return table.row(cells, id=record["id"], tone="warning" if marks else "")


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
