"""The page Quality: verdicts over time, and the expectations that are missed most."""

from __future__ import annotations

import datetime as dt
from urllib.parse import quote

import altair as alt
import pandas as pd
import streamlit as st

from dashboard import address, navigation, session, table, wording
from dashboard.table import Column

_KEPT = {"bind": "query-params", "persist_state": "session"}
# words of the answer's fields, with the colours that chips have
_VERDICTS = {"passed": ("pass", "#1a7f37"), "warned": ("warn", "#c77700"), "failed": ("fail", "#b3261e")}
_HEIGHT = 240
_TICKS = 6

_MISSED = (
    Column("title", "Expectation"),
    Column("source", "Source"),
    Column("severity", "Severity"),
    Column("unmet", "Runs that missed it", "right"),
    Column("judged", "Of runs", "right"),
    Column("unexpected", "Rows against it", "right"),
    Column("last", "Last"),
)
_UNLIKE = (
    Column("anomaly", "Judged"),
    Column("source", "Source"),
    Column("marked", "Rows that stand out", "right"),
    Column("judged", "Of rows judged", "right"),
    Column("share", "Share", "right"),
)


def show() -> None:
    st.title("Quality")
    names = session.source_names()
    spans = wording.DAYS
    with address.checked("quality", quality_of=names, days=spans.values()):
        source, days = st.container(key="filters").columns(2)
        wanted = source.selectbox("Source", names, index=None, placeholder="All", key="quality_of", **_KEPT)
        back = days.selectbox("Of the last", list(spans), index=1, format_func=spans.get, key="days", **_KEPT)
    first = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=back - 1)
    found = session.client().analytics(source=wanted, **{"from": first})
    _verdicts(found)
    _missed(found)
    _anomalies(found)


def _verdicts(found: dict) -> None:
    st.header("Verdicts")
    days = found["quality_by_day"]
    if not days:
        st.info("No run was judged in these days. Next: `sluice run weather`, or choose more days.")
        return
    totals = {field: sum(day[field] for day in days) for field in _VERDICTS}
    fetched = sum(day["fetched"] for day in found["runs_by_day"])
    quarantined = sum(day["quarantined"] for day in found["runs_by_day"])
    numbers = st.container(key="numbers").columns(4)
    for place, (field, (word, _)) in zip(numbers, _VERDICTS.items(), strict=False):
        place.metric(f"Verdict {word}", wording.count(totals[field]))
    share = quarantined / fetched if fetched else 0
    numbers[3].metric("Rows quarantined", wording.count(quarantined), help=f"{share:.2%} of {fetched:,} fetched")
    if quarantined:
        st.page_link(navigation.page("quarantine"), label="See the rows in quarantine", icon=":material/inbox:")
    rows = [
        {"day": f"{day['day']}T12:00:00", "source": day["source"], "verdict": word, "runs": day[field]}
        for day in days
        for field, (word, _) in _VERDICTS.items()
        if day[field]
    ]
    words, colours = zip(*_VERDICTS.values(), strict=True)
    length = (dt.date.fromisoformat(found["to"]) - dt.date.fromisoformat(found["from"])).days + 1
    every = max(1, length // _TICKS)
    first = dt.date.fromisoformat(found["from"])
    # counted back from today: steps of Vega's own begin anew with each month
    shown = [f"{first + dt.timedelta(days=day)}T12:00:00" for day in range(length - 1, -1, -every)]
    ticks = alt.Axis(format="%d %b", values=shown, labelOverlap=True)
    bars = (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar(size=14)
        .encode(
            x=alt.X("day:T", title=None, axis=ticks).scale(
                domain=[f"{found['from']}T00:00:00", f"{found['to']}T23:59:59"]
            ),
            y=alt.Y("sum(runs):Q", title="runs", axis=alt.Axis(tickMinStep=1, format="d")),
            color=alt.Color("verdict:N", title=None, scale=alt.Scale(domain=list(words), range=list(colours))).legend(
                orient="top"
            ),
            tooltip=["day:T", "source:N", "verdict:N", "runs:Q"],
        )
        .properties(height=_HEIGHT)
    )
    st.altair_chart(bars, width="stretch")


def _missed(found: dict) -> None:
    st.header("Expectations missed")
    missed = found["unmet_expectations"]
    if not missed:
        judged = sum(day["expectations"] for day in found["quality_by_day"])
        met = f"Every expectation that was judged in these days was met, {judged:,} in all." if judged else ""
        st.info(met or "No expectation was judged in these days.")
        return
    rows = [
        table.row(
            {
                "title": each["title"],
                "source": each["source"],
                "severity": each["severity"],
                "unmet": wording.count(each["unmet"]),
                "judged": wording.count(each["judged"]),
                "unexpected": wording.count(each["unexpected"]),
                "last": each["last_run"],
            },
            id=f"{place}/{each['last_run']}",
            href=f"/runs?run={quote(each['last_run'])}",
        )
        for place, each in enumerate(missed)
    ]
    opened = table.show("missed", "Expectations that were not met, the most often missed first", _MISSED, rows).opened
    if opened is not None:
        # the run of the row that was clicked: the list may have changed since
        st.switch_page(navigation.page("runs"), query_params={"run": opened.partition("/")[2]})
    st.caption("An expectation opens the newest run that missed it.")


def _anomalies(found: dict) -> None:
    """Totals of the days, by source and what was judged."""
    totals: dict[tuple[str, str], list[int]] = {}
    for day in found["anomalies_by_day"]:
        total = totals.setdefault((day["source"], day["anomaly"]), [0, 0])
        total[0] += day["marked"]
        total[1] += day["judged"]
    if not totals:
        return
    st.header("Rows unlike their history")
    rows = [
        table.row(
            {
                "anomaly": anomaly.removeprefix("anomaly "),
                "source": source,
                "marked": wording.count(marked),
                "judged": wording.count(judged),
                "share": f"{marked / judged:.2%}" if judged else "",
            }
        )
        for (source, anomaly), (marked, judged) in sorted(totals.items(), key=lambda each: -each[1][0])
    ]
    table.show("anomalies", "Rows unlike their history, by what was judged", _UNLIKE, rows)
    st.caption("They are published; the page Data marks them, in its rows and charts.")
