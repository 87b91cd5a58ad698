"""Each page of the dashboard as its script runs, against the API of the stack: what it shows, and what it says where
there is nothing."""

import datetime as dt
import json

import pytest
from streamlit.testing.v1 import AppTest

from tests.features.http_api import token


def page():
    """The script of one page: what `navigation` calls."""
    import importlib

    import streamlit as st

    from dashboard import session

    with session.told():
        importlib.import_module(f"dashboard.{st.session_state['page']}").show()


@pytest.fixture
def opened(pipeline, monkeypatch):
    """opened("runs", run=…) runs the page; `query` are parameters of its address."""
    for name, value in pipeline.env.items():
        if name.startswith("SLUICE_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLUICE_API_TOKEN", token(pipeline.env["DATABASE_URL"], "read", "run"))

    def run(name, **query):
        script = AppTest.from_function(page, default_timeout=60)
        script.session_state["page"] = name
        for key, value in query.items():
            script.query_params[key] = value
        script.run()
        assert not script.exception, script.exception[0]
        return script

    return run


@pytest.fixture(scope="module")
def weather(pipeline):
    return pipeline.run("weather", start="2024-05-01", end="2024-05-07", input="Oslo")


@pytest.fixture(scope="module")
def posts(pipeline):
    return pipeline.run("posts", embed=True)


@pytest.fixture
def rejected(pipeline, declare, table):
    """A run of which half the rows are none of their table: more than the gate lets pass."""
    suite = {
        "expectations": [{"type": "expect_column_values_to_be_between", "kwargs": {"column": "id", "min_value": 0}}]
    }
    content = '{"id": 1}\n{"id": "x"}\n'
    return pipeline.run("files", input=declare(table, content, {"id": "bigint not null"}, suite=suite))


@pytest.fixture
def quarantined(pipeline, declare, table):
    """A run that published 40 rows and set one aside."""
    content = "".join(f'{{"id": {number}}}\n' for number in range(1, 41)) + '{"id": "no number"}\n'
    suite = {
        "expectations": [{"type": "expect_column_values_to_be_between", "kwargs": {"column": "id", "min_value": 0}}]
    }
    return pipeline.run("files", input=declare(table, content, {"id": "bigint not null"}, suite=suite))


@pytest.fixture(scope="module")
def failed(pipeline):
    return pipeline.run("files", input="/nothing/there.toml")


def mounted(script, name):
    """The data of the components of that name."""
    found = [element.proto for element in script.get("bidi_component")]
    return [json.loads(proto.json) for proto in found if proto.component_name == name]


def rows(script, caption):
    """The cells' texts of the table with that caption, by column."""
    [table] = [t for t in mounted(script, "sluice_table") if t["caption"] == caption]
    return [{name: cell["text"] for name, cell in row["cells"].items()} for row in table["rows"]]


def button(script, label):
    [found] = [button for button in script.button if button.label.replace("\\", "") == label]
    return found


def texts(script):
    kinds = ("markdown", "caption", "info", "error", "title", "header", "subheader")
    said = "\n".join(str(element.value) for kind in kinds for element in script.get(kind))
    return said.replace("\\", "")  # what Markdown shows of it


# --- runs ----------------------------------------------------------------------------------------


def test_runs_are_listed_with_their_account_and_verdict(opened, weather):
    [found] = [row for row in rows(opened("runs"), "Runs, newest first") if row["run"] == weather.run_id]
    assert (found["source"], found["status"], found["verdict"]) == ("weather", "succeeded", weather.row["verdict"])
    assert (found["fetched"], found["inserted"]) == ("7", str(weather.row["inserted"]))


def test_runs_are_filtered_by_what_is_chosen(opened, weather, failed):
    script = opened("runs")
    script.selectbox(key="status").select("failed").run()
    names = {row["run"] for row in rows(script, "Runs, newest first")}
    assert failed.run_id in names and weather.run_id not in names
    script.date_input(key="to").set_value(dt.date(2020, 1, 1)).run()
    assert "No run is like that" in texts(script)


def test_a_run_is_shown_with_its_account_its_graph_and_its_expectations(opened, weather):
    script = opened("runs", run=weather.run_id)
    said = texts(script)
    assert script.title[0].value.replace("\\", "") == weather.run_id
    assert "7 fetched = " in said and "succeeded" in said
    [graph] = mounted(script, "sluice_execution_graph")
    assert graph["svg"].startswith("<svg") and 'data-state="Publish" data-status="succeeded"' in graph["svg"]
    states = rows(script, f"States of {weather.run_id}")
    assert {"Plan", "Process", "Publish"} <= {state["state"] for state in states}
    assert rows(script, "Expectations and whether they were met")
    assert script.get("download_button")


def test_a_state_that_is_chosen_shows_its_input_its_output_and_its_log(opened, weather):
    script = opened("runs", run=weather.run_id)
    script.session_state[f"state-{weather.run_id}"] = "Plan"
    script.run()
    assert "Plan" in [element.value for element in script.subheader]
    given, said = (json.loads(element.value) for element in script.json)
    assert given["source"] == "weather" and said
    assert any("INFO" in code.value for code in script.code), texts(script)


def test_a_run_that_failed_says_why_and_where(opened, failed):
    script = opened("runs", run=failed.run_id)
    assert failed.error in texts(script)
    assert "ended before" in texts(script)
    [plan] = [state for state in rows(script, f"States of {failed.run_id}") if state["state"] == "Plan"]
    assert plan["status"] == "caught" and failed.error in plan["error"]


def test_a_run_that_never_was_is_told_in_words(opened):
    script = opened("runs", run="no-such-run")
    assert "no-such-run" in texts(script) and "404" in texts(script)


# --- quality --------------------------------------------------------------------------------------


def test_quality_counts_verdicts_and_lists_what_was_missed(opened, weather, rejected):
    script = opened("quality")
    numbers = {metric.label: int(metric.value.replace(",", "")) for metric in script.metric}
    assert numbers["Verdict pass"] >= 1 and numbers["Verdict fail"] >= 1 and numbers["Rows quarantined"] >= 1
    assert rejected.row["quarantined"] == 1


def test_quarantined_rows_are_listed_with_their_reasons_and_a_replay_asks_first(opened, pipeline, quarantined):
    script = opened("quality")
    row = next(row for row in rows(script, "Rows in quarantine, newest first") if "no number" in row["record"])
    assert row["state"] == "open" and "no number" in row["reasons"]
    # other tests of this stack may have left more reasons than are shown
    script.text_input(key="reason").input("no number").run()
    assert any("no number" in row["example"] for row in rows(script, "Why rows are in quarantine"))
    before = len(pipeline.query("SELECT 1 FROM pipeline.runs"))
    button(script, "Replay these rows").click().run()
    assert "judged again" in texts(script)
    # it was only asked; what is done then is in test_dashboard_in_browser
    assert len(pipeline.query("SELECT 1 FROM pipeline.runs")) == before and "replays" not in script.session_state


# --- data -----------------------------------------------------------------------------------------


def test_data_are_filtered_sorted_and_turned_page_by_page(opened, pipeline, weather):
    pipeline.run("weather", start="2024-01-01", end="2024-03-31", input="Oslo")
    script = opened("data", table="weather/weather")
    caption = "Rows of weather/weather, page 1"
    first = rows(script, caption)
    assert len(first) == 50
    button(script, "Next page").click().run()
    second = rows(script, "Rows of weather/weather, page 2")
    assert not {(row["station"], row["day"]) for row in first} & {(row["station"], row["day"]) for row in second}
    script.selectbox(key="sort-weather/weather-None").select("-day").run()
    days = [row["day"] for row in rows(script, caption)]
    assert days == sorted(days, reverse=True) and len(set(days)) > 1
    script.selectbox[[box.label for box in script.selectbox].index("Filter by")].select("day")
    script.selectbox[[box.label for box in script.selectbox].index("Condition")].select("le")
    script.text_input[0].input("2024-01-02")
    button(script, "Add filter").click().run()
    # from the largest on; other tests may have loaded earlier days
    days = [row["day"] for row in rows(script, caption)]
    assert days[0] == "2024-01-02" and days == sorted(days, reverse=True)
    button(script, "Remove: day at most 2024-01-02").click().run()
    assert rows(script, caption)[0]["day"] > "2024-01-02"


def test_data_of_a_run_are_those_that_it_wrote(opened, weather):
    script = opened("data", table="weather/weather", run=weather.run_id)
    found = rows(script, "Rows of weather/weather, page 1")
    assert {row["day"] for row in found} <= {f"2024-05-0{day}" for day in range(1, 8)}
    assert weather.run_id in texts(script)


def test_a_filter_that_cannot_be_is_told_in_the_apis_words(opened, weather):
    script = opened("data", table="weather/weather")
    script.session_state["filters"] = {"weather/weather": ["day:ge:yesterday"]}
    script.run()
    assert "'yesterday' is no such value" in texts(script)


@pytest.mark.parametrize("source", ["weather/weather", "posts/posts"])
def test_data_are_drawn(opened, weather, posts, source):
    script = opened("data", table=source, view="Chart")
    assert script.get("vega_lite_chart") or script.get("arrow_vega_lite_chart")


# --- search ---------------------------------------------------------------------------------------


def test_search_finds_rows_by_meaning_and_marks_the_words(opened, posts):
    script = opened("search")
    assert "Type what you look for" in texts(script)
    script.text_input(key="q").input("insects that eat plants").run()
    said = "\n".join(element.value for element in script.get("html"))
    assert "<mark>" in said
    assert "rows, best first" in texts(script)


# --- the API ----------------------------------------------------------------------------------------


def test_a_token_that_is_not_known_is_told_with_what_to_do(opened, monkeypatch):
    opened("runs")
    monkeypatch.setenv("SLUICE_API_TOKEN", "sluice_of-nobody")
    said = texts(opened("runs", run="any"))
    assert "does not know the token" in said and "sluice token create" in said


def test_an_api_that_is_out_of_reach_is_told_with_what_to_do(opened, monkeypatch):
    opened("runs")
    monkeypatch.setenv("SLUICE_API_URL", "http://127.0.0.1:9/api")
    said = texts(opened("runs", run="any"))
    assert "does not answer" in said and "sluice up" in said
