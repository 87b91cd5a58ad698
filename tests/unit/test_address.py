"""What a page keeps in its address, and what it makes of an address that somebody wrote."""

import pytest
from dashboard_script import ran


@pytest.fixture
def after():
    """after(changes, **query) is the address that a page with that address leaves behind: each parameter a list."""

    def page():
        import streamlit as st

        from dashboard import address

        for change in st.session_state["changes"]:
            address.change(**change)
        names = st.query_params.to_dict()
        st.session_state["left"] = {name: address.values(name) for name in names if address.value(name)}

    def run(*changes, **query):
        return ran(page, query, changes=changes).session_state["left"]

    return run


def test_what_is_changed_is_there_and_the_rest_stays(after):
    assert after({"sort": "-day", "page": 3}, table="a/b") == {"table": ["a/b"], "sort": ["-day"], "page": ["3"]}


def test_several_of_a_name_keep_their_order(after):
    filters = ["id:ge:1", "day:le:2024-01-02", "id:ge:1"]
    assert after({"filter": filters}) == {"filter": filters}
    assert after({"filter": filters[:1]}, filter=filters) == {"filter": ["id:ge:1"]}


@pytest.mark.parametrize("nothing", [None, "", []], ids=["none", "empty", "no-items"])
def test_nothing_takes_a_parameter_away(after, nothing):
    assert after({"page": nothing, "sort": nothing}, page="2.x", table="a/b") == {"table": ["a/b"]}


@pytest.mark.parametrize(
    ("written", "read"),
    [(None, 25), ("50", 50), ("3", 25), ("9" * 30, 1000), ("-4", 25), ("many", 25), ("²", 25), ("", 25)],
    ids=["none", "between", "less", "more", "negative", "word", "superscript", "empty"],
)
def test_a_number_is_within_its_limits_whatever_the_address_says(written, read):
    def page():
        import streamlit as st

        from dashboard import address

        st.text(address.number("shown", 25, 1000))

    script = ran(page, {} if written is None else {"shown": written})
    assert script.text[0].value == str(read)


def test_what_a_widget_will_not_take_is_said_until_something_else_is_chosen():
    def page():
        import streamlit as st

        from dashboard import address

        kept = {"bind": "query-params", "persist_state": "session"}
        with address.checked("runs", status=["failed", "running"], days=["A week", "A month"]):
            st.selectbox("Status", ["failed", "running"], index=None, key="status", **kept)
            st.selectbox("Days", ["A week", "A month"], key="days", **kept)

    script = ran(page, {"status": "bogus"})
    assert "`status=bogus`" in script.warning[0].value
    # the page looks again by itself; the parameter is gone by then
    assert len(script.run().warning) == 1
    assert len(script.selectbox[0].set_value("failed").run().warning) == 0
    assert len(script.selectbox[0].set_value(None).run().warning) == 0
