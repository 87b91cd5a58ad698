"""What the API tells of runs and sources is what the ledger and the executions have, page by page, masked."""

import uuid

import pytest
from conftest import Pipeline
from http_api import call, token

from chalicelib.redaction import MASK
from chalicelib.warehouse.publishing import COUNTS


class Reader:
    """A client with the scope `read`."""

    def __init__(self, pipeline: Pipeline):
        self.address = pipeline.env["SLUICE_API_URL"]
        self.token = token(pipeline.env["DATABASE_URL"], "read")

    def get(self, path, status=200):
        answer = call(self.address, "GET", path, self.token)
        assert answer.status == status, answer.text
        return answer


@pytest.fixture(scope="module")
def reader(pipeline):
    return Reader(pipeline)


@pytest.fixture(scope="module")
def published(pipeline):
    return pipeline.run("weather", start="2024-05-01", end="2024-05-07", input="Oslo")


@pytest.fixture
def warned(pipeline, declare, table):
    """A run with a record that is no record, of a source with a personal column."""
    path = declare(
        table,
        '{"id": 1, "mail": "ada@example.org"}\n{"id": "x", "mail": "grace@example.org"}\n' + '{"id": 3}\n' * 40,
        {"id": "bigint not null", "mail": "text"},
        personal=["mail"],
    )
    return pipeline.run("files", input=path)


def test_a_run_is_told_with_its_account_states_chunks_and_quality(reader, published):
    told = reader.get(f"/runs/{published.run_id}").json
    assert (told["run_id"], told["source"], told["status"], told["verdict"]) == (
        published.run_id,
        "weather",
        "succeeded",
        published.row["verdict"],
    )
    assert tuple(told["account"][name] for name in COUNTS) == published.account
    assert told["window"] == {"from": "2024-05-01", "to": "2024-05-07", "by_cursor": False}
    assert told["chunks"]["planned"] == told["chunks"]["loaded"] >= 1
    assert told["chunks"]["records"] == told["account"]["fetched"]
    states = {state["name"]: state for state in told["states"]}
    assert [name for name in ("Plan", "Fetch", "WriteManifest", "Process", "QualityGate", "Publish") if name in states]
    assert {state["status"] for state in told["states"]} == {"succeeded"}
    assert states["Process"]["children"]["succeeded"] == told["chunks"]["loaded"]
    assert told["states"][0]["name"] == "Plan"
    assert all(state["first"] for state in told["states"] if state["name"] in ("Plan", "Publish"))
    assert told["execution"]["status"] == "SUCCEEDED"
    assert {result["success"] for result in told["quality"]} == {True}


def test_a_state_is_told_with_what_it_was_given_said_and_logged(reader, published):
    told = reader.get(f"/runs/{published.run_id}/states/Plan").json
    assert told["status"] == "succeeded"
    assert told["input"]["source"] == "weather"
    assert told["log_complete"] is True
    assert {line["run_id"] for line in told["log"]} == {published.run_id}
    assert {line["state"] for line in told["log"]} == {"plan"}
    choice = reader.get(f"/runs/{published.run_id}/states/Verdict").json
    assert (choice["type"], choice["log"]) == ("Choice", [])
    assert reader.get(f"/runs/{published.run_id}/states/Nothing", 404).json["reason"] == "NotFound"


def test_the_report_comes_as_a_page_and_as_data(reader, published):
    page = reader.get(f"/runs/{published.run_id}/report")
    assert page.media == "text/html" and published.run_id in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    data = reader.get(f"/runs/{published.run_id}/report?format=json")
    assert data.media == "application/json" and data.json["run_id"] == published.run_id
    assert reader.get(f"/runs/{published.run_id}/report?format=pdf", 422).json["errors"][0]["name"] == "format"


def test_personal_values_of_quarantined_records_are_masked(reader, warned):
    told = reader.get(f"/runs/{warned.run_id}")
    assert warned.row["quarantined"] == 1, warned
    [reason] = told.json["quarantine"]
    assert MASK in reason["record"]
    assert "grace@example.org" not in told.text


def test_a_run_that_failed_says_where_and_why(reader, pipeline):
    failed = pipeline.run("files", input="/nothing/there.toml")
    told = reader.get(f"/runs/{failed.run_id}").json
    assert told["status"] == "failed"
    assert told["error"]["error"] == failed.error
    assert "failed" in {state["status"] for state in told["states"]} | {"failed" if told["error"] else ""}
    plan = reader.get(f"/runs/{failed.run_id}/states/Plan").json
    assert plan["status"] == "caught" and plan["error"] == failed.error and plan["reason"]


def test_a_run_that_never_was_is_not_found(reader):
    for path in ("", "/report", "/states/Plan"):
        problem = reader.get(f"/runs/no-such-run{path}", 404)
        assert problem.media == "application/problem+json"


def test_runs_come_page_by_page_though_new_ones_start_meanwhile(reader, pipeline, published):
    source = "weather"
    for _ in range(2):
        pipeline.run(source, start="2024-05-01", end="2024-05-02", input="Oslo")
    wanted = [run["run_id"] for run in reader.get(f"/runs?source={source}&limit=1000").json["runs"]]
    assert len(wanted) >= 3
    found, path = [], f"/runs?source={source}&limit=2"
    while path:
        page = reader.get(path).json
        found += [run["run_id"] for run in page["runs"]]
        if len(found) == 2:
            pipeline.run(source, start="2024-05-01", end="2024-05-02", input="Oslo", name=f"late-{uuid.uuid4().hex}")
        path = page["next"]
    assert found == wanted


def test_a_page_of_another_query_is_refused(reader, pipeline, published):
    pipeline.run("weather", start="2024-05-01", end="2024-05-02", input="Oslo")
    following = reader.get("/runs?source=weather&limit=1").json["next"]
    problem = reader.get(following.replace("source=weather", "source=posts"), 422).json
    assert problem["errors"] == [{"in": "query", "name": "page", "detail": "is that of another query"}]


@pytest.mark.parametrize(
    "query", ["status=succeeded", "verdict=pass", "from=2020-01-01&to=2199-01-01", "source=weather&status=succeeded"]
)
def test_runs_are_filtered(reader, published, query):
    assert published.run_id in [run["run_id"] for run in reader.get(f"/runs?limit=1000&{query}").json["runs"]]


@pytest.mark.parametrize("query", ["status=failed", "verdict=fail", "to=2020-01-01", "source=posts"])
def test_runs_that_are_not_asked_for_are_left_out(reader, published, query):
    assert published.run_id not in [run["run_id"] for run in reader.get(f"/runs?limit=1000&{query}").json["runs"]]


def test_a_source_is_told_with_its_columns_and_its_last_run(reader, pipeline, published):
    told = {source["name"]: source for source in reader.get("/sources").json["sources"]}
    assert {"weather", "posts", "files", "people", "sensors", "market"} <= set(told)
    weather = told["weather"]
    assert (weather["table"], weather["error"]) == ("weather", None)
    assert weather["schedule"] and weather["key"] and weather["last_run"]["source"] == "weather"
    assert any(column["personal"] for column in told["people"]["columns"])
    assert not any(column["personal"] for column in weather["columns"])


def test_the_description_and_its_page_need_a_token_and_say_where_they_are(reader):
    document = reader.get("/openapi.json").json
    assert document["servers"] == [{"url": reader.address}]
    page = reader.get("/docs")
    assert page.media == "text/html" and "/runs/{run_id}" in page.text
