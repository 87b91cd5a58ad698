"""A page of the dashboard as a script, run without a browser."""

import functools

from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

# once per process, as the dashboard does it: each AppTest read what all installed packages say of themselves, for 0.2 s
manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)


def page():
    """The page that the session's `page` names: what `navigation` calls."""
    import importlib

    import streamlit as st

    from dashboard import session

    with session.told():
        importlib.import_module(f"dashboard.{st.session_state['page']}").show()


def ran(script, query: dict, seconds: float = 60, **state) -> AppTest:
    """The script after it ran once, with these parameters of the address and this state of the session."""
    test = AppTest.from_function(script, default_timeout=seconds)
    for name, value in state.items():
        test.session_state[name] = value
    for name, value in query.items():
        test.query_params[name] = value
    test.run()
    assert not test.exception, test.exception[0]
    return test
