"""The page Quarantine: rows that were set aside, why, and what may be done with those that are open."""

from __future__ import annotations

import datetime as dt

import streamlit as st

from dashboard import address, navigation, quarantine_actions, session, table, wording
from dashboard.table import Column, cell

STATES = ("open", "replaying", "published", "duplicate", "discarded")
LIMIT = 25
_MOST = 1000
_KEPT = {"bind": "query-params", "persist_state": "session"}
_TONES = {"open": "warning", "replaying": "busy", "published": "good"}

_REASONS = (
    Column("example", "Reason, by an example"),
    Column("kind", "Kind"),
    Column("column", "Column"),
    Column("rows", "Rows", "right"),
)
_ROWS = (
    Column("place", "Row"),
    Column("state", "State"),
    Column("reasons", "Reasons"),
    Column("record", "Record"),
    Column("added", "Set aside (UTC)", "time"),
)


def show() -> None:
    st.title("Quarantine")
    names = session.source_names()
    with address.checked("quarantine", rows=STATES, rows_of=names, set_aside=wording.DAYS.values()):
        wanted = _wanted(names)
    limit = address.number("shown", LIMIT, _MOST)
    found = session.client().quarantine(**wanted, limit=limit)
    quarantine_actions.told()
    if not found["rows"]:
        _nothing(wanted)
        return
    if wanted["state"] in quarantine_actions.SETTLED_LATER:
        quarantine_actions.offer(wanted)
    _reasons(found["reasons"])
    _rows(found, limit)


def _wanted(names: list[str]) -> dict:
    """What `GET /quarantine` takes. Of one run all days are meant."""
    run_id = address.value("of")
    if run_id:
        words, button = st.columns([4, 1], vertical_alignment="center")
        words.markdown(f"Rows that the run {wording.code(run_id)} set aside")
        if button.button("All rows", width="stretch"):
            address.change(of=None, shown=None)
            st.rerun()
    *of_all, state, reason = st.container(key="filters").columns(2 if run_id else 4)
    chosen = {
        "run": run_id,
        "state": state.selectbox("Rows that are", STATES, key="rows", on_change=_fewer, **_KEPT),
        "reason": reason.text_input(
            "Reason", key="reason", placeholder="a part of it, or a column", on_change=_fewer, **_KEPT
        )
        or None,
        "source": None,
        "since": None,
    }
    if run_id:
        return chosen
    source, days = of_all
    chosen["source"] = source.selectbox(
        "Source", names, index=None, placeholder="All", key="rows_of", on_change=_fewer, **_KEPT
    )
    spans = wording.DAYS
    back = days.selectbox(
        "Set aside in the last",
        list(spans),
        index=1,
        format_func=spans.get,
        key="set_aside",
        on_change=_fewer,
        **_KEPT,
    )
    since = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=back - 1)
    return {**chosen, "since": since.isoformat()}


def _fewer() -> None:
    address.change(shown=None)


def _nothing(wanted: dict) -> None:
    where = "by the run" if wanted["run"] else "in these days"
    if wanted["reason"]:
        st.info("No row is in quarantine for such a reason: take a part of it, or the name of a column.")
    elif wanted["state"] == "open":
        st.info(f"Nothing waits in quarantine: no row that was set aside {where} is open.")
    else:
        st.info(f"No row that was set aside {where} is {wanted['state']}.")


def _reasons(reasons: list[dict]) -> None:
    st.header("Why")
    rows = [
        table.row(
            {
                "example": reason["example"],
                "kind": reason["kind"],
                "column": reason["column"],
                "rows": wording.count(reason["rows"]),
            }
        )
        for reason in reasons
    ]
    table.show("reasons", "Why rows are in quarantine", _REASONS, rows)


def _rows(found: dict, limit: int) -> None:
    st.header("Rows")
    rows = [
        table.row(
            {
                "place": f"{row['source']} {row['id']}",
                "state": cell(row["state"], _TONES.get(row["state"], "idle")),
                "reasons": "; ".join(reason["message"] for reason in row["reasons"]),
                "record": row["record"][:200],
                "added": wording.moment(row["added_at"]),
            },
            id=str(row["id"]),
        )
        for row in found["rows"]
    ]
    opened = table.show("quarantined", "Rows in quarantine, newest first", _ROWS, rows).opened
    if opened is not None:
        # clicked in a list that may be older than this one
        clicked = next((row for row in found["rows"] if str(row["id"]) == opened), None)
        if clicked:
            _row(clicked)
        else:
            st.info(f"The row {wording.escaped(opened)} is not here any more: it was replayed or settled meanwhile.")
    st.caption(f"{wording.several(len(rows), 'row')}, newest first{'; there are older ones' if found['next'] else ''}.")
    if found["next"] and limit < _MOST and st.button("Show older rows"):
        address.change(shown=min(limit + LIMIT, _MOST))
        st.rerun()


@st.dialog("A row in quarantine", width="medium")
def _row(row: dict) -> None:
    for reason in row["reasons"]:
        st.warning(wording.escaped(reason["message"]))
    st.code(row["record"], language=None, wrap_lines=True)
    if row["raw"]:
        st.markdown(f"From line {row['line']:,} of {wording.code(row['raw'])}.")
    if row["state"] == "open" and not row["replayable"]:
        st.info("Its run published nothing: mend the source or its suite, and run that again whole.")
    if row["replays"]:
        st.markdown(f"Replays so far: {row['replays']:,}.")
    if row["replayed_by"]:
        st.markdown(f"The run {wording.code(row['replayed_by'])} judges it at the moment.")
    if row["settled_by"]:
        why = f": {wording.escaped(row['why'])}" if row["why"] else ""
        when, who = wording.moment(row["settled_at"]), wording.code(row["settled_by"])
        st.markdown(f"{row['state'].capitalize()} by {who}, {when} UTC{why}.")
    quarantine_actions.offer_one(row)
    if st.button(f"Open the run {wording.escaped(row['run_id'])}", icon=":material/timeline:"):
        st.switch_page(navigation.page("runs"), query_params={"run": row["run_id"]})
