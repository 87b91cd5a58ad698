"""The sources that come along, over the sample API: weather as it was observed, posts that are embedded once."""

import pytest
from vega_datasets import data

from chalicelib.embeddings.minilm import MiniLM

YEAR = {"start": "2013-01-01", "end": "2013-12-31"}


def test_weather_loads_a_year_of_two_stations_as_it_was_observed(pipeline):
    run = pipeline.run("weather", input="Seattle, oslo", **YEAR)
    assert (run.status, run.row["fetched"]) == ("SUCCEEDED", 2 * 365)
    # with what other tests have loaded as its history, a day may stand out
    assert run.row["verdict"] in ("pass", "warn")
    days = "SELECT station, count(*) FROM curated.weather WHERE day BETWEEN %s AND %s AND station = ANY(%s) GROUP BY 1"
    counts = dict(pipeline.query(days, *YEAR.values(), ["Seattle", "Oslo"]))
    assert counts == {"Seattle": 365, "Oslo": 365}
    observed = data.seattle_weather().set_index("date").loc["2013"]
    expected = [
        (day.date(), row.temp_max, row.temp_min, row.precipitation, round(row.wind * 3.6, 1))
        for day, row in observed.iterrows()
    ]
    assert expected == pipeline.query(
        "SELECT day, temperature_max, temperature_min, precipitation, wind_speed_max FROM curated.weather"
        " WHERE station = 'Seattle' AND day BETWEEN %s AND %s ORDER BY day",
        *YEAR.values(),
    )


@pytest.fixture(scope="module")
def posts(pipeline):
    run = pipeline.run("posts", embed=True)
    assert run.status == "SUCCEEDED"
    return run


@pytest.mark.usefixtures("posts")
def test_a_second_run_embeds_nothing(pipeline):
    # on this stack other tests may have embedded them by another model
    vectors = "SELECT key, xmin::text FROM pipeline.embeddings WHERE table_name = 'posts' AND model = %s ORDER BY key"
    before = pipeline.query(vectors, MiniLM.model)
    again = pipeline.run("posts", embed=True)
    assert (again.account, again.row["embedded"]) == ((400, 0, 0, 400, 0, 0), 0)
    assert len(before) == 400
    assert pipeline.query(vectors, MiniLM.model) == before


def test_prices_load_by_the_exchanges_days_and_a_weekend_publishes_nothing(pipeline):
    run = pipeline.run("market", input="^VIX, MSFT", start="2009-06-01", end="2009-07-31")
    assert (run.status, run.row["fetched"]) == ("SUCCEEDED", 2 * 44)
    traded = data.ohlc()
    assert [tuple(map(float, row)) for row in traded[["open", "high", "low", "close"]].to_numpy()] == [
        tuple(map(float, row))
        for row in pipeline.query(
            "SELECT open, high, low, close FROM curated.market WHERE symbol = '^VIX' AND date BETWEEN %s AND %s"
            " ORDER BY date",
            "2009-06-01",
            "2009-07-31",
        )
    ]
    again = pipeline.run("market", input="MSFT", start="2009-06-01", end="2009-06-30")
    assert again.account == (22, 0, 0, 22, 0, 0)
    weekend = pipeline.run("market", start="2009-06-06", end="2009-06-07")
    assert (weekend.status, weekend.account) == ("SUCCEEDED", (0, 0, 0, 0, 0, 0))


def test_a_symbol_that_nobody_knows_fails_the_run_with_the_providers_reason(pipeline):
    run = pipeline.run("market", input="NOPE", start="2009-06-01", end="2009-06-05")
    assert (run.status, run.error) == ("FAILED", "SourceError")
    assert "404: No data found, symbol may be delisted" in run.row["error"]["reason"]
