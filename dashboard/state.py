"""One state of a run: what it was given, said, raised and logged."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from chalicelib import durations
from dashboard import wording

# of a line of the log, what the line begins with; what it has besides follows
_FIRST = ("timestamp", "level", "message")
# said of every line, or of the machinery alone
_LEFT_OUT = {*_FIRST, "location", "service", "run_id", "source", "state", "sampling_rate", "xray_trace_id"}


def show(told: dict[str, Any]) -> None:
    """`told` is the answer of `GET /runs/{run_id}/states/{state}`."""
    st.subheader(wording.escaped(told["name"]))
    facts = [
        wording.chip(told["status"]),
        told["type"],
        f"{told['entered']:,} times" if told["entered"] > 1 else "",
        durations.words(told["seconds"]) if told["first"] else "",
        f"{told['retries']} retries" if told["retries"] else "",
        f"from {wording.moment(told['first'])} UTC" if told["first"] else "",
    ]
    st.markdown(" · ".join(fact for fact in facts if fact))
    if told["error"]:
        st.error(wording.failure(told["error"], told["reason"]))
    if not told["entered"]:
        st.info("The run did not come by this state.")
        return
    given, said, log = st.tabs(["Input", "Output", "Log"])
    with given:
        _document(told["input"], "Step Functions keeps no input of states inside a distributed Map.")
    with said:
        _document(told["output"], "It left nothing behind" + (" yet." if told["status"] == "running" else "."))
    with log:
        _log(told)


def _document(value: Any, nothing: str) -> None:
    if value is None:
        st.info(nothing)
    elif isinstance(value, dict | list):
        st.json(value, expanded=2)
    else:
        st.code(str(value), language=None, wrap_lines=True)


def _log(told: dict) -> None:
    if not told["log_complete"]:
        st.caption("The newest lines; there are more, or the log cannot be read.")
    if not told["log"]:
        works = "logged nothing" if told["type"] == "Task" else "has no function of its own that could log"
        st.info(f"There is no log: the state {works}.")
        return
    st.code("\n".join(_line(document) for document in told["log"]), language=None, wrap_lines=True)


def _line(document: dict) -> str:
    more = {name: value for name, value in document.items() if name not in _LEFT_OUT and value is not None}
    start = "  ".join(str(document[name]) for name in _FIRST if name in document)
    details = "  ".join(f"{name}={_short(value)}" for name, value in more.items())
    return f"{start}  {details}".rstrip()


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
