"""The pages and the ways between them."""

from __future__ import annotations

import importlib

import streamlit as st

PAGES = {
    "runs": ("Runs", ":material/timeline:"),
    "quality": ("Quality", ":material/verified:"),
    "quarantine": ("Quarantine", ":material/inbox:"),
    "data": ("Data", ":material/table_chart:"),
    "search": ("Search", ":material/search:"),
}


def page(name: str) -> st.Page:
    """Each page is the function `show` of the module of its name."""
    title, icon = PAGES[name]
    show = importlib.import_module(f"dashboard.{name}").show
    return st.Page(show, title=title, icon=icon, url_path=name, default=name == "runs")
