"""The script that Streamlit runs: `sluice dashboard`, or `streamlit run dashboard/app.py` with the settings set."""

from __future__ import annotations

import streamlit as st

from dashboard import navigation
from dashboard.session import told
from dashboard.table import ASSETS

st.set_page_config(page_title="Sluice", page_icon=str(ASSETS / "icon.svg"), layout="wide")
st.logo(ASSETS / "logo.svg")
st.html(ASSETS / "page.css")

chosen = st.navigation([navigation.page(name) for name in navigation.PAGES], position="top")
with told():
    chosen.run()
