"""One run: its account and verdict, its execution graph, a state's input, output, error and log."""

from __future__ import annotations

import html

import streamlit as st

from chalicelib import durations
from chalicelib.errors import RequestRefused
from dashboard import address, execution_graph, navigation, session, state, table, wording
from dashboard.table import Column, cell

_EVERY = 1.0  # seconds between looks at a run that is under way; its end is to be seen within 2
ALL = "all"  # in the address in place of a state: no name of one begins with a small letter
_REDRAWN = 5.0
_REREAD = 3.0

_STATES = (
    Column("state", "State"),
    Column("status", "Status"),
    Column("entered", "Times", "right"),
    Column("seconds", "Took", "right"),
    Column("error", "Error"),
)
_EXPECTATIONS = (
    Column("title", "Expectation"),
    Column("result", "Result"),
    Column("severity", "Severity"),
    Column("unexpected", "Rows against it", "right"),
    Column("observed", "Observed"),
)
_REASONS = (Column("message", "Reason"), Column("rows", "Rows", "right"), Column("place", "For example"))


def show(run_id: str) -> None:
    """Raises what the client does."""
    st.title(wording.escaped(run_id))
    found = session.client().run(run_id)
    if wording.is_under_way(found):
        _under_way(run_id)
    else:
        _told(found)


@st.fragment(run_every=_EVERY)
def _under_way(run_id: str) -> None:
    with session.told():
        found = session.client().run(run_id)
        if not wording.is_under_way(found):
            st.rerun()  # ended: the whole page once more, which then stays still
        _told(found)


def _told(found: dict) -> None:
    _summary(found)
    if found["error"]:
        st.error(wording.failure(found["error"]["error"], found["error"]["reason"]))
    _progress(found)
    _account(found)
    _graph(found)
    _quality(found)
    _quarantine(found)
    _rows(found)
    _report(found)


def _summary(found: dict) -> None:
    seconds = found["execution"]["seconds"] if found["execution"] else None
    if seconds is None:
        seconds = wording.seconds_between(found["started_at"], found["finished_at"])
    window = found["window"]
    facts = [
        f"source **{wording.escaped(found['source'])}**",
        f"replay of rows that {wording.code(found['replay_of'])} set aside" if found["replay_of"] else "",
        _kept(found),
        wording.chip(found["status"])
        + (f" settled by {wording.code(found['settled_by'])}" if found["settled_by"] else ""),
        f"verdict {wording.chip(found['verdict'])}" if found["verdict"] else "no verdict" + _yet(found),
        f"started {wording.moment(found['started_at'])} UTC",
        f"{durations.words(seconds)}{' so far' if not found['finished_at'] else ''}" if seconds is not None else "",
        f"window {wording.escaped(window['from'])} to {wording.escaped(window['to'])}" if window["from"] else "",
    ]
    st.markdown(" · ".join(fact for fact in facts if fact))


def _kept(found: dict) -> str:
    kept = found["chunks"]["kept"]
    return f"{kept:,} chunk{'s' * (kept != 1)} kept of {wording.code(found['kept_of'])}" if kept else ""


def _yet(found: dict) -> str:
    return " yet" if found["status"] == "running" else ""


def _progress(found: dict) -> None:
    if found["status"] != "running":
        return
    chunks = found["chunks"]
    if chunks["planned"] is None:
        st.progress(0.0, text="Chunks: not planned yet")
        return
    done = chunks["loaded"] + chunks["failed"]
    words = f"Chunks: {done:,} of {chunks['planned']:,} done, {chunks['records']:,} records read"
    words += f", {chunks['failed']:,} failed" if chunks["failed"] else ""
    st.progress(min(done / max(chunks["planned"], 1), 1.0), text=words)


def _account(found: dict) -> None:
    account = found["account"]
    if account["fetched"] is None:
        if found["status"] != "running":
            st.info("The row account is empty: the run ended before its records were counted.")
        return
    if account["inserted"] is None:
        quarantined = wording.count(account["quarantined"]) or "0"
        st.markdown(f"**Account**  \n{account['fetched']:,} fetched, {quarantined} quarantined, nothing published")
        return
    names = ("inserted", "updated", "unchanged", "duplicates", "quarantined")
    sums = " + ".join(f"{account[name] or 0:,} {name}" for name in names)
    st.markdown(f"**Account**  \n{account['fetched']:,} fetched = {sums}")


# --- the execution -----------------------------------------------------------------------------


def _graph(found: dict) -> None:
    st.header("Execution")
    if found["execution"] is None:
        st.info(
            "There is no graph: Step Functions has forgotten the execution, on AWS 90 days after its end, on the "
            "laptop when the stack went down. The ledger above stays."
        )
        return
    run_id, selected = found["run_id"], _selected(found)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        wanted = execution_graph.show(f"graph-{run_id}", _drawn(found), selected)
    with right:
        if selected:
            wanted = ALL if st.button("All states", icon=":material/arrow_back:") else wanted
            with session.told():
                state.show(_told_of(found, selected))
        else:
            rows = [_state_row(told) for told in found["states"]]
            columns = _STATES if any(told["error"] for told in found["states"]) else _STATES[:-1]
            wanted = table.show(f"states-{run_id}", f"States of {run_id}", columns, rows).opened or wanted
            st.caption("A state, here or in the graph, opens with its input, output, error and log.")
    if wanted and wanted != selected:
        address.change(state=wanted)
        st.rerun(scope="fragment" if wording.is_under_way(found) else "app")


def _selected(found: dict) -> str | None:
    """The state that was chosen; until then the one that the run failed in. None: they are listed."""
    if named := address.value("state"):
        return None if named == ALL else named
    failed = [told["name"] for told in found["states"] if told["status"] in ("failed", "caught") and told["error"]]
    return failed[0] if failed and found["error"] else None


def _drawn(found: dict) -> str:
    """SVG. A state that begins or ends is drawn at the next look; clocks and counts every _REDRAWN seconds."""
    run_id, states = found["run_id"], [(told["name"], told["status"], told["retries"]) for told in found["states"]]
    about = (run_id, found["status"], states)
    return session.kept("graph", about, _REDRAWN, lambda: session.client().graph(run_id))


def _told_of(found: dict, name: str) -> dict:
    """The state's details: asked for when it begins, is tried again or ends, else every _REREAD seconds."""
    run_id = found["run_id"]
    moves = [(told["status"], told["entered"], told["retries"]) for told in found["states"] if told["name"] == name]
    about = (run_id, name, found["status"], moves)
    return session.kept("state", about, _REREAD, lambda: session.client().state(run_id, name))


def _state_row(told: dict) -> dict:
    error = f"{told['error']}: {told['reason'] or ''}".rstrip(": ") if told["error"] else ""
    return table.row(
        {
            "state": told["name"],
            "status": cell(told["status"].replace("_", " "), wording.tone(told["status"])),
            "entered": wording.count(told["entered"]),
            "seconds": durations.words(told["seconds"]) if told["first"] else "",
            "error": error,
        },
        id=told["name"],
    )


# --- what came of it ---------------------------------------------------------------------------


def _quality(found: dict) -> None:
    st.header("Quality")
    if not found["quality"]:
        st.info(
            "No expectation was judged: the run "
            + ("has not come to that yet." if found["status"] == "running" else "ended before the quality gate.")
        )
        return
    order = sorted(found["quality"], key=lambda result: (result["success"], result["severity"], result["title"]))
    rows = [
        table.row(
            {
                "title": result["title"],
                "result": cell(*(("met", "good") if result["success"] else ("not met", "bad"))),
                "severity": result["severity"],
                "unexpected": wording.count(result["unexpected"]),
                "observed": result["observed"],
            }
        )
        for result in order
    ]
    unmet = sum(not result["success"] for result in order)
    st.markdown(f"{len(order)} expectations, {unmet} not met" if unmet else f"All {len(order)} expectations are met.")
    with st.expander("Expectations", expanded=bool(unmet)):
        table.show(f"quality-{found['run_id']}", "Expectations and whether they were met", _EXPECTATIONS, rows)


def _quarantine(found: dict) -> None:
    if not found["quarantine"]:
        return
    st.subheader("Why rows were quarantined")
    rows = [
        table.row(
            {
                "message": reason["message"],
                "rows": wording.count(reason["rows"]),
                "place": f"{reason['record'][:200]} (line {reason['line']})",
            }
        )
        for reason in found["quarantine"]
    ]
    states = ", ".join(f"{rows:,} {state}" for state, rows in found["quarantine_states"].items() if rows)
    if states:
        st.markdown(f"Of the rows that it set aside: {states}.")
    table.show(f"reasons-{found['run_id']}", "Reasons for which rows were quarantined", _REASONS, rows)
    kept = [name for name, rows in found["quarantine_states"].items() if rows]
    if kept:
        wanted = {"of": found["replay_of"] or found["run_id"], "rows": "open" if "open" in kept else kept[0]}
        label = "See them in quarantine" + (", replay or discard them" if wanted["rows"] == "open" else "")
        st.page_link(navigation.page("quarantine"), label=label, icon=":material/inbox:", query_params=wanted)


def _rows(found: dict) -> None:
    if found["status"] != "succeeded":
        return
    st.header("Rows")
    written = (found["account"]["inserted"] or 0) + (found["account"]["updated"] or 0)
    if not written:
        st.info("The run wrote no row: all of them were there already.")
        return
    st.markdown(f"{written:,} rows were written to {wording.code(found['table'])}.")
    wanted = {"table": f"{found['source']}/{found['table']}", "run": found["run_id"]}
    st.page_link(navigation.page("data"), label="See the rows", icon=":material/table_chart:", query_params=wanted)


def _report(found: dict) -> None:
    st.header("Report")
    # not of a run under way, whose page would fetch it with every look
    if wording.is_under_way(found):
        st.info("The quality report comes with the end of the run.")
        return
    if not found["links"]["report"]:
        st.info("There is no quality report: the run was not judged.")
        return
    try:
        page = session.client().report(found["run_id"])
    except RequestRefused as error:
        st.info(f"The report cannot be shown: {wording.escaped(error.message)}")
        return
    st.download_button(
        "Download the quality report", page, f"{found['run_id']}.html", "text/html", icon=":material/download:"
    )
    with st.expander("Quality report"):
        # the outer frame may run scripts; the report, which quotes records, may not
        frame = f'<iframe sandbox style="border:0;width:100%;height:680px" title="Report" srcdoc="{html.escape(page)}">'
        st.iframe(f"{frame}</iframe>", height=700, alt=f"Quality report of {found['run_id']}")
