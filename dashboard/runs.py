"""The page Runs: the list, and one run where the address names it."""

from __future__ import annotations

import datetime as dt
from urllib.parse import quote

import streamlit as st

from chalicelib import durations
from dashboard import address, navigation, run, session, table, wording
from dashboard.table import Column, cell

STATUSES = ("running", "published", "succeeded", "rejected", "failed")
VERDICTS = ("pass", "warn", "fail")
COUNTS = ("fetched", "inserted", "updated", "unchanged", "duplicates", "quarantined")
LIMIT = 25
_MOST = 1000
# seconds between looks at the list, while one of its runs is under way and else: each look is a request
_BUSY, _IDLE = 2.0, 10.0

_COLUMNS = (
    Column("run", "Run"),
    Column("source", "Source"),
    Column("status", "Status"),
    Column("verdict", "Verdict"),
    *(Column(name, name.capitalize(), "right") for name in COUNTS),
    Column("seconds", "Took", "right"),
    Column("started", "Started (UTC)", "time"),
)


def show() -> None:
    if run_id := address.value("run"):
        if st.button("All runs", icon=":material/arrow_back:"):
            st.switch_page(navigation.page("runs"), query_params=st.session_state.get("list_of_runs", {}))
        run.show(run_id)
        return
    # with its filters: that the way back is one step, and Back is as well
    st.session_state["list_of_runs"] = st.query_params.to_dict()
    st.title("Runs")
    every = _BUSY if st.session_state.get("runs_under_way") else _IDLE
    names = session.source_names()
    days = {"from": address.DAY, "to": address.DAY}
    with address.checked("runs", source=names, status=STATUSES, verdict=VERDICTS, **days):
        wanted = _filters(names)
    st.fragment(_list, run_every=every)(wanted)


def _filters(names: list[str]) -> dict[str, str | dt.date | None]:
    kept = {"bind": "query-params", "persist_state": "session"}
    source, status, verdict, first, last = st.container(key="filters").columns(5)
    return {
        "source": source.selectbox("Source", names, index=None, placeholder="All", key="source", **kept),
        "status": status.selectbox("Status", STATUSES, index=None, placeholder="All", key="status", **kept),
        "verdict": verdict.selectbox("Verdict", VERDICTS, index=None, placeholder="All", key="verdict", **kept),
        "from": first.date_input("Started from", None, format="YYYY-MM-DD", key="from", **kept),
        "to": last.date_input("Started to", None, format="YYYY-MM-DD", key="to", **kept),
    }


def _list(wanted: dict) -> None:
    with session.told():
        limit = address.number("shown", LIMIT, _MOST)
        page = session.client().runs(**wanted, limit=limit)
        under_way = any(map(wording.is_under_way, page["runs"]))
        if under_way != st.session_state.get("runs_under_way", False):
            st.session_state["runs_under_way"] = under_way
            st.rerun()  # the pace is set by the whole page
        if not page["runs"]:
            _nothing(wanted)
            return
        rows = [_row(found) for found in page["runs"]]
        event = table.show("runs", "Runs, newest first", _COLUMNS, rows)
        if event.opened:
            st.switch_page(navigation.page("runs"), query_params={"run": event.opened})
        st.caption(
            f"{wording.several(len(rows), 'run')}, newest first{'; there are older ones' if page['next'] else ''}."
        )
        if page["next"] and limit < _MOST and st.button("Show older runs"):
            address.change(shown=min(limit + LIMIT, _MOST))
            st.rerun(scope="fragment")


def _row(found: dict) -> dict:
    took = wording.seconds_between(found["started_at"], found["finished_at"])
    return table.row(
        {
            "run": found["run_id"],
            "source": found["source"],
            "status": cell(found["status"], wording.tone(found["status"])),
            "verdict": cell(found["verdict"], wording.tone(found["verdict"])),
            **{name: wording.count(found["account"][name]) for name in COUNTS},
            "seconds": durations.words(took) if took else "",  # 0: it was entered when it had failed
            "started": wording.moment(found["started_at"]),
        },
        id=found["run_id"],
        href=f"?run={quote(found['run_id'])}",
    )


def _nothing(wanted: dict) -> None:
    if any(wanted.values()):
        st.info("No run is like that: take a filter away to see more.")
    else:
        st.info("There are no runs yet. Next: `sluice run weather`; it appears here by itself.")
