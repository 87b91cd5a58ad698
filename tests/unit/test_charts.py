"""What a table's records are drawn as: lines where there is time, counts where there are kinds, words for nothing."""

import json

import pytest
from dashboard_script import ran
from loopback import serving
from werkzeug import Request, Response

from dashboard import charts

READINGS = [
    {"sensor": sensor, "measured_at": f"2026-11-20T{hour:02}:00:00Z", "temperature": 20.0 + hour, "humidity": None}
    for hour in range(5)
    for sensor in ("s1", "s2")
]


@pytest.fixture
def drawn(monkeypatch):
    """drawn(source, records, day) is the chart of these records: (the specification or None, what is said)."""

    def page():
        import json

        import streamlit as st

        from dashboard import charts, session
        from dashboard.selection import Wanted

        totals = json.loads(st.session_state["totals"])
        wanted = Wanted(totals["source"], None, (), None, None, None)
        charts.show(session.client(), wanted, totals["day"], totals["declared"])

    def run(source, records, day=None, marked=(), declared=None):
        found = [
            {"values": values, "anomalies": [{"column": "temperature"}] if place in marked else None}
            for place, values in enumerate(records)
        ]
        asked = []

        @Request.application
        def api(request):
            asked.append(request.args.to_dict())
            return Response(json.dumps({"records": found, "next": None}), content_type="application/json")

        with serving(api) as address:
            monkeypatch.setenv("SLUICE_API_URL", address)
            monkeypatch.setenv("SLUICE_API_TOKEN", "t")
            totals = json.dumps({"source": source, "day": day, "declared": declared or {}})
            script = ran(page, {}, totals=totals)
        charts = script.get("vega_lite_chart") or script.get("arrow_vega_lite_chart")
        said = "\n".join(element.value for kind in ("caption", "info") for element in script.get(kind))
        said = said.replace("\\", "")  # what Markdown shows of it
        return json.loads(charts[0].proto.spec) if charts else None, said, asked

    return run


def test_readings_are_lines_by_sensor_and_what_is_unlike_its_history_is_marked(drawn):
    spec, said, asked = drawn("sensors", READINGS, "measured_at", marked=(3, 4))
    line, marks = spec["layer"]
    assert line["encoding"]["x"]["field"] == "measured_at" and line["encoding"]["color"]["field"] == "sensor"
    assert marks["mark"]["color"] and marks["transform"] == [{"filter": "datum._is_marked"}]
    assert "temperature by measured_at: 10 rows; from 20 to 24" in said
    assert "2 unlike their history, marked red" in said
    # the newest, since a chart ends where the data do
    assert asked[0]["sort"] == "-measured_at"


def test_a_source_that_is_not_known_is_drawn_by_its_day_and_its_numbers(drawn):
    records = [{"id": n, "day": f"2026-11-{n:02}", "total": n / 2, "shop": "ab"[n % 2]} for n in range(1, 10)]
    spec, said, asked = drawn("orders", records, "day")
    assert asked[0]["sort"] == "-day"
    assert spec["layer"][0]["encoding"]["y"]["field"] == "total"
    assert spec["layer"][0]["encoding"]["color"]["field"] == "shop"
    assert "total by day: 9 rows" in said


@pytest.mark.parametrize(
    ("type", "value"), [("numeric(10,2)", "12.50"), ("integer", 3), ("bigint", 4)], ids=["numeric", "integer", "bigint"]
)
def test_numbers_are_chosen_by_their_declared_type_and_the_key_is_none_of_them(drawn, type, value):
    columns = [("id", "bigint"), ("day", "date"), ("zip", "text"), ("price", type)]
    declared = {"key": ["id"], "columns": [{"name": name, "type": of} for name, of in columns]}
    records = [{"id": n, "day": f"2026-11-{n:02}", "zip": "0150", "price": value} for n in range(1, 10)]
    spec, said, _ = drawn("orders", records, "day", declared=declared)
    assert spec["layer"][0]["encoding"]["y"]["field"] == "price"
    assert f"from {float(value):g} to {float(value):g}" in said


@pytest.mark.parametrize(
    ("type", "is_number"),
    [("double precision", True), ("NUMERIC", True), ("interval", False), ("integer[]", False), ("text", False)],
)
def test_a_declared_type_is_a_number_or_not(type, is_number):
    assert charts.is_number(type) == is_number


@pytest.mark.parametrize(("factor", "charts"), [(3, 1), (40, 2)], ids=["of-one-size", "of-different-sizes"])
def test_series_of_different_sizes_have_axes_of_their_own(drawn, factor, charts):
    records = [
        {"id": f"{shop}{n}", "day": f"2026-11-{1 + n:02}", "total": (10.0 + n) * size, "shop": shop}
        for n in range(10)
        for shop, size in (("a", 1), ("b", factor))
    ]
    spec, said, _ = drawn("orders", records, "day")
    assert ("each shop on an axis of its own" in said) == (charts == 2)
    if charts == 2:
        assert spec["title"]["text"] == "a" and spec["title"]["subtitle"] == "10 to 19, last 19"


def test_rows_are_counted_by_day_from_what_the_filters_leave(drawn):
    records = [{"id": n, "day": f"2026-11-{1 + n % 3:02}", "title": f"title {n}"} for n in range(9)]
    spec, said, asked = drawn("orders", records, "day")
    assert "Rows by day, 2026-11-01 to 2026-11-03: 9 in all" in said
    assert spec["encoding"]["x"]["field"] == "day" and len(asked) == 1


def test_of_more_rows_than_a_chart_takes_the_newest_are_counted_and_that_is_said(drawn):
    records = [{"id": n, "day": f"2026-11-{1 + n % 3:02}", "title": f"title {n}"} for n in range(charts.MOST + 1)]
    _, said, asked = drawn("orders", records, "day")
    assert "3,000 of the newest 3,000; the first day may have more" in said and asked[0]["sort"] == "-day"


def test_a_table_without_a_day_is_counted_by_the_column_of_few_values(drawn):
    records = [{"id": n, "kind": "post" if n % 3 else "comment", "title": f"title {n}"} for n in range(100)]
    spec, said, _ = drawn("posts", records)
    assert spec["encoding"]["y"]["field"] == "value" and "Rows by kind: 100 in all" in said


def test_names_that_mean_something_to_the_chart_are_escaped(drawn):
    records = [{"day": f"2026-11-{n:02}", "price.usd": n / 2} for n in range(1, 10)]
    spec, said, _ = drawn("orders", records, "day")
    assert spec["layer"][0]["encoding"]["y"]["field"] == "price\\.usd" and "price.usd by day" in said


@pytest.mark.parametrize("kinds", [1, 3], ids=["nothing-to-count", "counted"])
def test_a_source_with_a_date_that_it_does_not_name_as_its_day_is_told_how(drawn, kinds):
    records = [{"id": n, "title": f"t {n}", "day": f"{1900 + n}-11-01", "kind": n % kinds} for n in range(100)]
    types = {"id": "bigint", "title": "text", "day": "date", "kind": "text"}
    declared = {"key": ["id"], "columns": [{"name": name, "type": of} for name, of in types.items()]}
    _, said, _ = drawn("goods", records, declared=declared)
    assert 'say `day = "day"` in the source' in said and ("nothing to draw" in said) == (kinds == 1)


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([], "no row is like that"),
        ([{"id": n, "title": f"title {n}"} for n in range(100)], "its source names no day"),
    ],
    ids=["empty", "nothing-to-count"],
)
def test_what_cannot_be_drawn_says_why(drawn, records, why):
    spec, said, _ = drawn("orders", records)
    assert spec is None and why in said
