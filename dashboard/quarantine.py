"""Quarantined rows with their reasons, and the replay of those that are open."""

from __future__ import annotations

import datetime as dt

import streamlit as st

from dashboard import navigation, session, table, wording
from dashboard.table import Column, cell

STATES = ("open", "replaying", "published", "duplicate", "discarded")
LIMIT = 25
_MOST = 1000
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


def show(source: str | None, first: dt.date) -> None:
    """Of rows that were set aside since the day `first`. Raises what the client does."""
    state, reason = st.columns(2)
    wanted = {
        "source": source,
        "since": first.isoformat(),
        "state": state.selectbox("Rows that are", STATES, key="state", bind="query-params", persist_state="session"),
        "reason": reason.text_input(
            "Reason",
            key="reason",
            placeholder="a part of it, or a column",
            bind="query-params",
            persist_state="session",
        )
        or None,
    }
    limit = st.session_state.get("rows_of_quarantine", LIMIT)
    found = session.client().quarantine(**wanted, limit=limit)
    _started()
    if not found["rows"]:
        _nothing(wanted)
        return
    if wanted["state"] == "open" and st.button("Replay these rows", icon=":material/replay:", type="primary"):
        _replay(wanted)
    _reasons(found["reasons"])
    _rows(found, limit)


def _nothing(wanted: dict) -> None:
    if wanted["reason"]:
        st.info("No row is in quarantine for such a reason: take a part of it, or the name of a column.")
    elif wanted["state"] == "open":
        st.info("Nothing waits in quarantine: every row that was fetched in these days was published or settled.")
    else:
        st.info(f"No row that was set aside in these days is {wanted['state']}.")


def _reasons(reasons: list[dict]) -> None:
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
        st.session_state["rows_of_quarantine"] = min(limit + LIMIT, _MOST)
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
        st.markdown(f"It was judged again {row['replays']} times.")
    if row["settled_by"]:
        why = f": {wording.escaped(row['why'])}" if row["why"] else ""
        when, who = wording.moment(row["settled_at"]), wording.code(row["settled_by"])
        st.markdown(f"{row['state'].capitalize()} by {who}, {when} UTC{why}.")
    if st.button(f"Open the run {wording.escaped(row['run_id'])}"):
        st.switch_page(navigation.page("runs"), query_params={"run": row["run_id"]})


# --- replay --------------------------------------------------------------------------------------


@st.dialog("Replay these rows?")
def _replay(wanted: dict) -> None:
    """Asks before it acts; what is asked for is what the list was asked for."""
    meant = {name: wanted[name] for name in ("source", "since", "reason") if wanted[name]}
    names = {"source": "of", "since": "set aside since", "reason": "with the reason"}
    words = ", ".join(f"{names[name]} {wording.escaped(value)}" for name, value in meant.items())
    st.markdown(
        f"Every open row {words} is judged again by today's source and suite, also those on later pages. What passes "
        "is published; what fails stays here with today's reasons."
    )
    yes, no = st.columns(2)
    if yes.button("Replay", type="primary", width="stretch"):
        with session.told():
            st.session_state["replays"] = session.client().replay(**meant)
            st.session_state["replayed"] = meant
            st.rerun()
    if no.button("Cancel", width="stretch"):
        st.rerun()


def _started() -> None:
    """What came of the replay that was asked for last, until another page is opened."""
    answer = st.session_state.get("replays")
    if not answer:
        return
    for replay in answer["replays"]:
        began = "is running" if replay["new"] else "was running already"
        name = wording.escaped(replay["run_id"])
        st.success(f"{replay['rows']:,} rows of {wording.escaped(replay['replay_of'])}: the replay {name} {began}.")
        st.page_link(navigation.page("runs"), label=f"See {name}", query_params={"run": replay["run_id"]})
    for refusal in answer["refused"]:
        rows, reason = wording.several(refusal["rows"], "row"), wording.escaped(refusal["reason"])
        st.error(f"{rows} of {wording.escaped(refusal['replay_of'])} cannot be replayed, and stay open: {reason}")
    if answer["left"]:
        st.info(f"{wording.several(answer['left'], 'row')} more can be replayed: a request takes a part of them.")
        if st.button("Replay the next ones", type="primary"):
            with session.told():
                meant = st.session_state["replayed"]
                st.session_state["replays"] = session.client().replay(**meant, after=answer["after"])
                st.rerun()
    if answer["unpublished"]:
        st.info(f"{answer['unpublished']:,} rows are left: their runs published nothing, and are run again whole.")
    if st.button("Done", key="replays_seen"):
        del st.session_state["replays"], st.session_state["replayed"]
        st.rerun()
