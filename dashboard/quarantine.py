"""Quarantined rows with their reasons."""

from __future__ import annotations

import datetime as dt
from urllib.parse import quote

import streamlit as st

from dashboard import navigation, session, table, wording
from dashboard.table import Column, cell

_RUNS = (
    Column("run", "Run"),
    Column("source", "Source"),
    Column("verdict", "Verdict"),
    Column("quarantined", "Rows quarantined", "right"),
    Column("fetched", "Of rows", "right"),
    Column("started", "Started (UTC)", "time"),
)
_LOOKED_AT = 200  # runs


def show(source: str | None, first: dt.date) -> None:
    """Raises what the client does."""
    client = session.client()
    runs = client.pages("/runs", {"source": source, "from": first, "limit": _LOOKED_AT}, "runs", _LOOKED_AT)
    found = [run for run in runs if run["account"]["quarantined"]]
    if not found:
        st.info("Nothing is in quarantine: every row that was fetched in these days was published.")
        return
    rows = [
        table.row(
            {
                "run": run["run_id"],
                "source": run["source"],
                "verdict": cell(run["verdict"], wording.tone(run["verdict"])),
                "quarantined": wording.count(run["account"]["quarantined"]),
                "fetched": wording.count(run["account"]["fetched"]),
                "started": wording.moment(run["started_at"]),
            },
            id=run["run_id"],
            href=f"/runs?run={quote(run['run_id'])}",
        )
        for run in found
    ]
    opened = table.show("quarantined", "Runs with rows in quarantine, newest first", _RUNS, rows).opened
    if opened:
        st.switch_page(navigation.page("runs"), query_params={"run": opened})
    st.caption("A run opens with the reasons, and the rows for example.")
