"""The execution graph with states to click: the SVG is the API's own."""

from __future__ import annotations

import streamlit as st

from dashboard.table import ASSETS

_mount = st.components.v2.component(
    "sluice_execution_graph",
    html='<div class="frame"><button type="button" class="whole">Whole graph</button><div class="place"></div></div>',
    css=(ASSETS / "graph.css").read_text(encoding="utf-8"),
    js=(ASSETS / "graph.js").read_text(encoding="utf-8"),
)


def show(key: str, svg: str, selected: str | None) -> str | None:
    """The name of the state that was clicked just now; None where none was."""
    return _mount(key=key, data={"svg": svg, "selected": selected}, on_state_change=_noted).state


def _noted() -> None:
    """Streamlit tells of triggers that have a callback."""
