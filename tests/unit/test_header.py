"""A CSV's header is held against the declared columns, with rows or without, and what may be values is not told."""

import io

import pytest
from memory_s3 import MemoryS3

from chalicelib import settings, sources
from chalicelib.columns import Column
from chalicelib.contract_reading import read_contract
from chalicelib.contracts import FetchPartitionRequest, Partition, TransformRequest
from chalicelib.errors import RawError, TransformError
from chalicelib.lake import keys
from chalicelib.lake.listing import Listing
from chalicelib.lake.store import Lake
from chalicelib.settings import Settings
from chalicelib.sources.base import Page, Source
from chalicelib.stages import fetch_partition, transform


class People(Source):
    name = "people"
    key = ("id",)
    columns = (Column("id", "bigint", nullable=False), Column("full_name", "text"))
    rename = {"Full Name": "full_name"}  # noqa: RUF012
    text = b""
    delimiter = None

    def pages(self, request, client, settings):
        yield Page(io.BytesIO(self.text), "csv", delimiter=self.delimiter)


@pytest.fixture
def run(monkeypatch):
    """run(text, …) fetches and transforms a CSV of the source; its results. `change` is the source's transform()."""
    lake = Lake("bucket", MemoryS3())
    monkeypatch.setattr(settings, "current", lambda: Settings(bucket="bucket"))
    for stage in (fetch_partition, transform):
        monkeypatch.setattr(stage, "Lake", lambda bucket: lake)

    def ran(text, change=None, request=None, **attributes):
        methods = {"transform": lambda self, frame: change(frame)} if change else {}
        source = type("Given", (People,), methods)()
        source.text = text.encode()
        for name, value in attributes.items():
            setattr(source, name, value)
        monkeypatch.setattr(sources, "as_declared", lambda *_: source)
        monkeypatch.setattr(sources, "for_run", lambda *_: source)
        fetch_partition.fetch_partition(FetchPartitionRequest("r", "people", Partition(0, request or {})))
        chunks = read_contract(Listing, lake.get_json(keys.listing("r", 0))).chunks
        results = [transform.transform(TransformRequest("r", "people", chunk)) for chunk in chunks]
        ran.observed = [lake.get_json(result.observed_key) for result in results if result.observed_key]
        return results

    ran.lake = lake
    return ran


NOBODY = "1,Ada Lovelace\n"
CONTRACTS = ["discard", "freeze", "evolve"]


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("text", [NOBODY, NOBODY * 2, "x,y\n1,2\n", "x\n"], ids=["one", "two", "other", "alone"])
def test_a_header_without_any_declared_column_is_refused_before_it_is_kept_and_not_told(run, text, contract):
    with pytest.raises(
        RawError, match=r"none of the 2 declared columns .* the header row seems to be missing"
    ) as refused:
        run(text, schema_contract=contract)
    assert "Ada" not in str(refused.value)
    assert "put the names of the columns in the first line: id, Full Name" in str(refused.value)
    assert run.lake.client.objects == {}


@pytest.mark.parametrize("text", ["1,Ada,\n", "1,,Ada\n2,,Bo\n", "1,1,Ada\n", "1,Ada,1,Ada\n"])
def test_where_the_header_row_is_missing_that_is_said_before_any_fault_of_its_names(run, text):
    with pytest.raises(RawError, match="the header row seems to be missing") as refused:
        run(text)
    assert "Ada" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "fault"), [("id,Full Name,\n", "no name for column 3"), ("id,Full Name,id\n", "names columns twice: id")]
)
def test_a_header_with_a_declared_column_is_told_the_faults_of_its_names(run, text, fault):
    with pytest.raises(RawError, match=fault):
        run(text)


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("rows", ["", "\n\n", "1\n", "1,2,3,4\n"], ids=["none", "blank", "a row", "a bad row"])
def test_a_header_that_lacks_a_declared_column_is_refused_also_without_rows(run, rows, contract):
    if (contract, rows) == ("freeze", "1\n"):  # ReviewSchema refuses it
        run(f"id\n{rows}", schema_contract=contract)
        assert run.observed[0]["missing"] == ["full_name"]
        return
    with pytest.raises(RawError, match="the file has no column for full_name; its header has 1: id "):
        run(f"id\n{rows}", schema_contract=contract)


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({"location": "/data/a.csv"}, r"file=/data/a\.csv, raw=raw/source=people/.*\.csv"),
        ({"location": "https://example.com/a.csv?token=x"}, r"file=https://example\.com/a\.csv\?token=\*\*\*, raw="),
        ({"location": 1}, r"file=raw/source=people/.*\.csv\)"),
        ({"page": 1}, r"file=raw/source=people/.*\.csv\)"),
    ],
    ids=["path", "url", "another location", "no file"],
)
def test_a_file_that_lacks_a_column_is_named_as_its_people_know_it(run, request_, named):
    with pytest.raises(RawError, match=f"has no column for full_name.*{named}"):
        run("id\n1\n", request=request_)


@pytest.mark.parametrize("text", ["id,Full Name\n", "id,Full Name", "\ufeffid,full_name\n\n", "id,full_name,more\n"])
def test_a_header_alone_is_a_chunk_without_records(run, text):
    [result] = run(text)
    assert (result.records, result.rows, result.rejected) == (0, 0, 0)


def test_a_delimiter_that_does_not_fit_is_named(run):
    for delimiter, other in ((",", ";"), (";", ","), (",", "\t")):
        with pytest.raises(RawError, match="none of the 2 declared columns") as refused:
            run(f"id{other}Full Name\n1{other}Ada\n", delimiter=delimiter)
        assert f"which {other!r} parts, and which is read with {delimiter!r}" in str(refused.value)
        assert f"declare delimiter = {other!r}, or none" in str(refused.value)
        assert "missing" not in str(refused.value)


def test_of_a_header_only_what_may_be_names_is_quoted(run):
    with pytest.raises(RawError) as refused:
        run("id,ada@example.com,Street\n1,2,3\n")
    assert "its header has 3: id, Street and 1 that looks like no name" in str(refused.value)
    with pytest.raises(RawError, match="names columns twice: 1 that looks like no name") as refused:
        run("id,1815-12-10,1815-12-10\n")


@pytest.mark.parametrize(
    ("contract", "told"), [("discard", ["more"]), ("freeze", ["more"]), ("evolve", ["12.5", "more"])]
)
def test_of_fields_that_are_not_declared_only_what_may_be_names_is_kept(run, contract, told):
    """What is to become a column has to be named."""
    run("id,Full Name,more,12.5\n1,Ada,x,y\n", schema_contract=contract)
    [seen] = run.observed
    assert [field["name"] for field in seen["unknown"]] == told
    assert seen["nameless"] == 2 - len(told)


# --- a source that makes its columns itself --------------------------------------------------


def joined(frame):
    return frame.assign(full_name=frame["first"] + " " + frame["last"])[["id", "full_name"]]


def needs_rows(frame):
    if frame.empty:
        raise ValueError("no rows")
    return joined(frame)


@pytest.mark.parametrize("change", [joined, needs_rows])
def test_columns_may_be_made_of_other_fields(run, change):
    assert [result.rows for result in run("id,first,last\n1,Ada,Lovelace\n", change)] == [1]
    assert [result.rows for result in run("id,first,last\n", change)] == [0]


def test_where_a_transform_hides_that_the_header_row_is_missing_no_name_is_kept_either(run):
    run(NOBODY * 2, lambda frame: frame, schema_contract="freeze")
    assert (run.observed[0]["unknown"], run.observed[0]["nameless"]) == ([], 2)
    for contract in ("discard", "evolve"):
        with pytest.raises(RawError, match="no column for id, full_name; its header has 2") as refused:
            run(NOBODY * 2, lambda frame: frame, schema_contract=contract)
        assert "Ada" not in str(refused.value)


def test_a_field_that_transform_misses_is_missed_without_rows_too(run):
    for rows in ("", "1,Ada\n"):
        with pytest.raises(TransformError, match="KeyError: 'last'"):
            run(f"id,first\n{rows}", joined)
    with pytest.raises(RawError, match="no column for full_name"):
        run("id,first\n", lambda frame: frame)
