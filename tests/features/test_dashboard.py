"""Each page of the dashboard as its script runs, against the API of the stack: what it shows, and what it says where
there is nothing."""

import datetime as dt
import io
import json
from urllib.parse import urlencode

import pyarrow
import pytest
from dashboard_script import page, ran

from chalicelib import simulation
from dashboard import charts
from tests.features.http_api import call, token

POSITIVE = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "id", "min_value": 0}}


@pytest.fixture
def bearer(pipeline):
    return token(pipeline.env["DATABASE_URL"], "read", "run")


@pytest.fixture
def opened(pipeline, bearer, monkeypatch):
    """opened("runs", run=…) runs the page; `query` are parameters of its address."""
    for name, value in pipeline.env.items():
        if name.startswith("SLUICE_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLUICE_API_TOKEN", bearer)

    def run(name, **query):
        return ran(page, query, seconds=120, page=name)

    return run


@pytest.fixture
def records(pipeline, bearer):
    """records(source=…) is what `GET /records` gives, all of its pages."""

    def asked(**query):
        path, found = f"/records?{urlencode({'limit': 1000, **query}, doseq=True)}", []
        while path:
            answer = call(pipeline.env["SLUICE_API_URL"], "GET", path, bearer)
            assert answer.status == 200, answer.text
            found += answer.json["records"]
            path = answer.json["next"]
        return found

    return asked


@pytest.fixture(scope="module")
def weather(pipeline):
    return pipeline.run("weather", start="2024-05-01", end="2024-05-07", input="Oslo")


@pytest.fixture(scope="module")
def posts(pipeline):
    return pipeline.run("posts", embed=True)


@pytest.fixture
def rejected(pipeline, declare, table):
    """A run of which half the rows are none of their table: more than the gate lets pass."""
    content = '{"id": 1}\n{"id": "x"}\n'
    declared = declare(table, content, {"id": "bigint not null"}, suite={"expectations": [POSITIVE]})
    return pipeline.run("files", input=declared)


@pytest.fixture
def quarantined(pipeline, declare, table):
    """A run that published 40 rows and set two aside."""
    content = "".join(f'{{"id": {number}}}\n' for number in range(1, 41)) + '{"id": "no number"}\n{"id": -3}\n'
    suite = {"expectations": [{**POSITIVE, "severity": "critical"}], "meta": {"sluice": {"quarantine": {"fail": 0.5}}}}
    return pipeline.run("files", input=declare(table, content, {"id": "bigint not null"}, suite=suite))


@pytest.fixture
def orders(pipeline, declare, table):
    """A run that published 120 rows of a table that no other test knows: the table's name on the page, and the run."""
    start = dt.date(2024, 1, 1)
    rows = [{"id": n, "day": str(start + dt.timedelta(days=n % 60)), "total": n * 1.25} for n in range(120)]
    columns = {"id": "bigint not null", "day": "date", "total": "double precision"}
    content = "".join(json.dumps(row) + "\n" for row in rows)
    run = pipeline.run("files", input=declare(table, content, columns, suite={"expectations": [POSITIVE]}))
    return f"files/{table}", run


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


def address(script):
    """The parameters of the page's address, as a link to it has them: each a list."""
    given = {name: [value] if isinstance(value, str) else list(value) for name, value in script.query_params.items()}
    return {name: values for name, values in given.items() if any(values)}


def specifications(script):
    """Of each chart: what Vega-Lite is given, and the rows that it draws."""
    drawn = []
    for element in script.get("vega_lite_chart") or script.get("arrow_vega_lite_chart"):
        spec, proto = json.loads(element.proto.spec), element.proto
        [content] = [each.data.data for each in proto.datasets] or [proto.data.data]
        drawn.append((spec, pyarrow.ipc.open_stream(io.BytesIO(content)).read_all().to_pylist()))
    return drawn


# --- runs ----------------------------------------------------------------------------------------


def test_runs_are_listed_with_their_account_and_verdict(opened, weather):
    shown = rows(opened("runs", source="weather"), "Runs, newest first")
    [found] = [row for row in shown if row["run"] == weather.run_id]
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
    states = {state["state"]: state["status"] for state in rows(script, f"States of {weather.run_id}")}
    assert (states["Plan"], states["Process"], states["Publish"]) == ("succeeded",) * 3
    assert rows(script, "Expectations and whether they were met")
    assert script.get("download_button")


def test_a_state_that_is_chosen_shows_its_input_its_output_and_its_log(opened, weather):
    script = opened("runs", run=weather.run_id, state="Plan")
    assert "Plan" in [element.value for element in script.subheader]
    given, said = (json.loads(element.value) for element in script.json)
    assert given["source"] == "weather" and said
    assert any("INFO" in code.value for code in script.code), texts(script)
    button(script, "All states").click().run()
    assert address(script) == {"run": [weather.run_id], "state": ["all"]}
    assert rows(script, f"States of {weather.run_id}")


def test_a_state_that_the_address_makes_up_is_told_and_the_run_is_there(opened, weather):
    said = texts(opened("runs", run=weather.run_id, state="Dream"))
    assert "Dream" in said and "404" in said and "7 fetched = " in said


def test_a_run_that_failed_says_why_and_where(opened, failed):
    script = opened("runs", run=failed.run_id)
    assert failed.error in texts(script)
    assert "ended before" in texts(script)
    assert "Plan" in [element.value for element in script.subheader]
    script = opened("runs", run=failed.run_id, state="all")
    [plan] = [state for state in rows(script, f"States of {failed.run_id}") if state["state"] == "Plan"]
    assert plan["status"] == "caught" and failed.error in plan["error"]


def test_a_rejected_run_says_why_and_opens_the_state_that_ended_it(opened, rejected):
    script = opened("runs", run=rejected.run_id)
    said = texts(script)
    assert (
        "**QualityFailed**: 1 of 2 rows quarantined, 50%" in said and "**Next**: once the source is corrected" in said
    )
    assert any(button.label == "All states" for button in script.button)


def test_a_run_that_never_was_is_told_in_words(opened):
    script = opened("runs", run="no-such-run")
    assert [element.value.replace("\\", "") for element in script.title] == ["no-such-run"]
    assert "No run is called 'no-such-run'" in texts(script) and "404" in texts(script)
    assert "Next: `sluice runs list` shows those there are" in [element.value for element in script.info]


# --- quality --------------------------------------------------------------------------------------


def test_quality_counts_verdicts_and_lists_what_was_missed(opened, weather, rejected):
    script = opened("quality")
    numbers = {metric.label: int(metric.value.replace(",", "")) for metric in script.metric}
    assert numbers["Verdict pass"] >= 1 and numbers["Verdict fail"] >= 1 and numbers["Rows quarantined"] >= 1
    assert rejected.row["quarantined"] == 1


# --- quarantine -----------------------------------------------------------------------------------


def test_quarantined_rows_are_listed_with_their_reasons_and_a_replay_asks_first(opened, pipeline, quarantined):
    script = opened("quarantine", of=quarantined.run_id)
    records = {row["record"]: row for row in rows(script, "Rows in quarantine, newest first")}
    assert set(records) == {'{"id": "no number"}', '{"id": -3}'}
    assert {row["state"] for row in records.values()} == {"open"}
    assert "'no number', expected bigint" in records['{"id": "no number"}']["reasons"]
    reasons = rows(script, "Why rows are in quarantine")
    assert sorted(row["kind"] for row in reasons) == ["expectation", "type"]
    before = pipeline.query("SELECT count(*) FROM pipeline.runs")
    button(script, "Replay these rows").click().run()
    assert "judged again" in texts(script) and quarantined.run_id in texts(script)
    # it was only asked; what is done then is in test_dashboard_in_browser
    assert pipeline.query("SELECT count(*) FROM pipeline.runs") == before
    assert "done_in_quarantine" not in script.session_state


def discarding():
    """The dialog alone: where all of a page runs again, as here, a dialog is closed."""
    import streamlit as st

    from dashboard import quarantine_actions, session

    with session.told():
        quarantine_actions.told()
        quarantine_actions.discard(st.session_state["meant"])


@pytest.fixture
def asked(opened):
    """asked(reason=…) is the dialog that asks whether those rows are to be discarded."""

    def run(**meant):
        return ran(discarding, {}, seconds=120, meant=meant)

    return run


def test_rows_of_one_reason_are_discarded_when_it_is_said_why(opened, asked, pipeline, quarantined):
    states = "SELECT record, outcome, why FROM pipeline.quarantine WHERE run_id = %s ORDER BY line"
    untouched = [('{"id": "no number"}', None, None), ('{"id": -3}', None, None)]
    script = asked(run=quarantined.run_id, reason="no number")
    said = texts(script)
    assert "Nothing is deleted" in said and "cannot be taken back" in said
    assert f"Every open row of the run {quarantined.run_id}, with the reason no number" in said
    button(script, "Discard").click().run()
    assert "Say why" in texts(script) and pipeline.query(states, quarantined.run_id) == untouched
    script.text_input(key="why").input("a test order")
    button(script, "Discard").click().run()
    assert [element.value for element in script.success] == ["1 row discarded. Choose “discarded” to see them."]
    settled = [('{"id": "no number"}', "discarded", "a test order"), ('{"id": -3}', None, None)]
    assert pipeline.query(states, quarantined.run_id) == settled
    [row] = rows(opened("quarantine", of=quarantined.run_id, rows="discarded"), "Rows in quarantine, newest first")
    assert row["record"] == '{"id": "no number"}'


def test_a_token_that_may_only_read_is_told_so_when_it_discards(asked, pipeline, monkeypatch, quarantined):
    monkeypatch.setenv("SLUICE_API_TOKEN", token(pipeline.env["DATABASE_URL"], "read"))
    script = asked(run=quarantined.run_id)
    script.text_input(key="why").input("a test order")
    button(script, "Discard").click().run()
    assert "The token lacks the scope 'run'" in texts(script) and "403" in texts(script)
    outcomes = pipeline.query("SELECT DISTINCT outcome FROM pipeline.quarantine WHERE run_id = %s", quarantined.run_id)
    assert outcomes == [(None,)]


# --- data -----------------------------------------------------------------------------------------


def test_data_are_filtered_sorted_and_turned_page_by_page(opened, orders):
    name, _ = orders
    script = opened("data", table=name)
    caption = f"Rows of {name}, page 1"
    assert [row["id"] for row in rows(script, caption)] == [str(n) for n in range(50)]
    button(script, "Next page").click().run()
    button(script, "Next page").click().run()
    assert [row["id"] for row in rows(script, f"Rows of {name}, page 3")] == [str(n) for n in range(100, 120)]
    button(script, "Previous page").click().run()
    assert [row["id"] for row in rows(script, f"Rows of {name}, page 2")] == [str(n) for n in range(50, 100)]
    script.selectbox(key="chosen_sort").select("-id").run()
    assert rows(script, caption)[0]["id"] == "119"
    script.selectbox[[box.label for box in script.selectbox].index("Filter by")].select("day")
    script.selectbox[[box.label for box in script.selectbox].index("Condition")].select("le")
    script.text_input[0].input("2024-01-02")
    button(script, "Add filter").click().run()
    assert [row["id"] for row in rows(script, caption)] == ["61", "60", "1", "0"]
    button(script, "Remove: day at most 2024-01-02").click().run()
    assert rows(script, caption)[0]["id"] == "119"


def test_a_link_reopens_the_rows_with_their_filters_their_order_and_their_page(opened, orders):
    name, _ = orders
    wanted = {"table": name, "filter": ["id:ge:10", "total:lt:140"], "sort": "-total"}
    script = opened("data", **wanted)
    button(script, "Next page").click().run()
    here = rows(script, f"Rows of {name}, page 2")
    assert [row["id"] for row in here] == [str(n) for n in range(61, 11, -1)]
    link = address(script)
    assert link["filter"] == ["id:ge:10", "total:lt:140"] and link["sort"] == ["-total"]
    again = opened("data", **link)
    assert rows(again, f"Rows of {name}, page 2") == here
    # a session that did not come by the first page knows the way back all the same
    button(again, "Next page").click().run()
    assert [row["id"] for row in rows(again, f"Rows of {name}, page 3")] == ["11", "10"]
    fresh = opened("data", **address(again))
    button(fresh, "First page").click().run()
    assert rows(fresh, f"Rows of {name}, page 1")[0]["id"] == "111"
    # of other filters there is no such page
    mixed = opened("data", **{**link, "sort": "id"})
    assert rows(mixed, f"Rows of {name}, page 1")[0]["id"] == "10"
    assert "is one of other filters" in texts(mixed)


def test_another_table_is_not_filtered_by_what_the_last_one_was(opened, weather, orders):
    name, _ = orders
    script = opened("data", table=name, filter=["id:ge:10"], sort="-total")
    script.selectbox(key="chosen_table").select("weather/weather").run()
    assert address(script) == {"table": ["weather/weather"]}
    assert rows(script, "Rows of weather/weather, page 1")


def test_data_of_a_run_are_those_that_it_wrote(opened, pipeline, orders):
    name, run = orders
    script = opened("data", table=name, run=run.run_id, sort="-id")
    assert [row["id"] for row in rows(script, f"Rows of {name}, page 1")] == [str(n) for n in range(119, 69, -1)]
    assert run.run_id in texts(script)
    nobodys = opened("data", table=name, run="no-such-run")
    assert "No row is like that" in texts(nobodys)
    button(nobodys, "All rows").click().run()
    assert len(rows(nobodys, f"Rows of {name}, page 1")) == 50


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"filter": "day:ge:yesterday"}, "'yesterday' is no such value"),
        ({"filter": "nonsense"}, "nonsense"),
        ({"sort": "nothing"}, "nothing"),
    ],
    ids=["value", "form", "order"],
)
def test_a_filter_or_order_that_cannot_be_is_told_in_the_apis_words(opened, weather, query, words):
    said = texts(opened("data", table="weather/weather", **query))
    assert words in said and "HTTP 422" in said


def test_a_table_that_the_address_makes_up_is_told(opened, weather):
    script = opened("data", table="no/such")
    assert "There is no table `no/such`" in "".join(element.value for element in script.warning)


# --- charts ---------------------------------------------------------------------------------------


def points(rows, value, time, series):
    """What a chart drew or should draw, as a set of (series, time, value)."""
    return {(row[series], instant(row[time]), float(row[value])) for row in rows if row[value] is not None}


def instant(moment):
    moment = moment if isinstance(moment, dt.datetime) else dt.datetime.fromisoformat(moment)
    return moment.replace(tzinfo=moment.tzinfo or dt.UTC).astimezone(dt.UTC)


@pytest.fixture(scope="module")
def market(pipeline):
    return pipeline.run("market", start="2006-01-03", end="2006-12-29")


@pytest.mark.parametrize("value", ["temperature_max", "precipitation"])
def test_a_chart_draws_the_records_that_the_api_gives(opened, records, weather, value):
    window = {"day_from": "2024-05-01", "day_to": "2024-05-07"}
    script = opened("data", table="weather/weather", view="Chart", value=value, filter="station:eq:Oslo", **window)
    [(spec, drawn)] = specifications(script)
    found = records(source="weather", filter="station:eq:Oslo", **{"from": "2024-05-01", "to": "2024-05-07"})
    expected = points([record["values"] for record in found], value, "day", "station")
    assert len(expected) == 7 and points(drawn, value, "day", "station") == expected
    assert [layer["encoding"]["y"]["field"] for layer in spec["layer"]] == [value, value]
    # a day is the same day wherever one looks from
    assert all(layer["encoding"]["x"]["scale"]["type"] == "utc" for layer in spec["layer"])


def test_each_instrument_has_a_chart_with_an_axis_of_its_own(opened, records, market):
    script = opened("data", table="market/market", view="Chart", day_from="2006-01-03", day_to="2006-12-29")
    found = records(source="market", **{"from": "2006-01-03", "to": "2006-12-29"})
    expected = points([record["values"] for record in found], "close", "date", "symbol")
    drawn = specifications(script)
    assert [spec["title"]["text"] for spec, _ in drawn] == sorted({symbol for symbol, *_ in expected})
    for spec, rows in drawn:
        own = {point for point in expected if point[0] == spec["title"]["text"]}
        assert points(rows, "close", "date", "symbol") == own and len(own) > 200
    # the time is the same in all, so that what is one above the other is of one day
    spans = {json.dumps(spec["layer"][0]["encoding"]["x"]["scale"]["domain"]) for spec, _ in drawn}
    assert len(spans) == 1
    # the axes are not: no domain is given, and a chart has only its own values
    assert all("domain" not in spec["layer"][0]["encoding"]["y"]["scale"] for spec, _ in drawn)


def test_a_link_reopens_the_chart_with_its_value_and_its_series(opened, market):
    chosen = {"value": "volume", "series": ["IBM", "MSFT"]}
    script = opened("data", table="market/market", view="Chart", **chosen)
    drawn = specifications(script)
    assert [spec["title"]["text"] for spec, _ in drawn] == ["IBM", "MSFT"]
    assert all("volume" in row for _, rows in drawn for row in rows)


@pytest.fixture(scope="module")
def sensors(pipeline, tmp_path_factory):
    """Six days of simulated readings of two sensors with the faults that are planted in them."""
    start = dt.datetime(2026, 11, 10, tzinfo=dt.UTC)
    kept = [
        reading
        for reading in simulation.readings(start, 6 * simulation.DAY_MINUTES)
        if reading["sensor"] in ("sensor-01", "sensor-02")
    ]
    path = tmp_path_factory.mktemp("sensors") / "readings.ndjson"
    path.write_text("".join(json.dumps(reading) + "\n" for reading in kept))
    return pipeline.run("sensors", input=str(path))


@pytest.mark.parametrize("value", ["temperature", "humidity", "pressure"])
def test_the_points_marked_red_are_the_rows_that_the_api_calls_unlike_their_history(opened, records, sensors, value):
    assert sensors.status == "SUCCEEDED", sensors.cause
    script = opened("data", table="sensors/sensors", view="Chart", value=value, day_from="2026-11-15")
    [(spec, drawn)] = specifications(script)
    # a chart has the newest rows
    found = records(source="sensors", sort="-measured_at", **{"from": "2026-11-15"})[: charts.MOST]
    values = [record["values"] for record in found]
    assert points(drawn, value, "measured_at", "sensor") == points(values, value, "measured_at", "sensor")
    unlike = [
        record["values"] for record in found if any(mark["column"] == value for mark in record["anomalies"] or ())
    ]
    marked = [row for row in drawn if row["_is_marked"]]
    assert points(marked, value, "measured_at", "sensor") == points(unlike, value, "measured_at", "sensor")
    assert 0 < len(marked) < len(drawn)
    # the layer that is red has these points and no others
    line, marks = spec["layer"]
    assert (marks["mark"]["color"], marks["transform"]) == ("#b3261e", [{"filter": "datum._is_marked"}])
    assert "transform" not in line
    assert f"{len(marked):,} unlike their history" in texts(script)


def test_texts_are_counted_by_their_kind(opened, records, posts):
    script = opened("data", table="posts/posts", view="Chart")
    [(_, drawn)] = specifications(script)
    [name] = [box.value for box in script.selectbox if box.label == "Count rows by"]
    counted = {}
    for record in records(source="posts"):
        kind = record["values"][name]
        if kind is not None:
            counted[str(kind)] = counted.get(str(kind), 0) + 1
    assert {row["value"]: row["rows"] for row in drawn} == counted and len(counted) > 1


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
