"""What made a chunk is said by the chunk: it is taken over by the code that would make the same of it, and no other."""

import dataclasses
import json

import pytest
from memory_s3 import MemoryS3

from chalicelib import chunk_results, code_fingerprint, settings, sources
from chalicelib.columns import Column
from chalicelib.contracts import Chunk, Slice, TransformRequest, ValidateRequest
from chalicelib.errors import AccountError, ContractError, NotFound
from chalicelib.lake import keys
from chalicelib.lake.keys import RESULTS, ROWS
from chalicelib.lake.store import Lake
from chalicelib.schema import EVOLVE
from chalicelib.settings import Settings
from chalicelib.sources.base import Source
from chalicelib.stages import transform as transform_stage
from chalicelib.stages import validate as validate_stage

BYTES = b'{"id": 1, "title": "Wave", "inks": 4}\n{"id": 2, "title": "x"}\n{"id": "two", "title": "Owl"}\n'
TOO_SHORT = {
    "type": "expect_column_value_lengths_to_be_between",
    "kwargs": {"column": "title", "min_value": 2},
    "severity": "critical",
}
ANY = {**TOO_SHORT, "kwargs": {"column": "title", "min_value": 1}}
SUITE = {"name": "prints", "expectations": [TOO_SHORT]}


class Prints(Source):
    name = "prints"
    key = ("id",)
    columns = (Column("id", "integer"), Column("title", "text"))
    schema_contract = EVOLVE
    suite_document = SUITE


class CountingS3(MemoryS3):
    """It notes what is asked of it: `GET key`, `PUT key`."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def get_object(self, Bucket, Key, Range=None):
        self.asked.append(f"GET {Key}")
        return super().get_object(Bucket, Key, Range)

    def put_object(self, Bucket, Key, Body, **more):
        self.asked.append(f"PUT {Key}")
        super().put_object(Bucket, Key, Body, **more)

    def head_object(self, Bucket, Key):
        raise AssertionError("a request more")


@pytest.fixture
def lake():
    return Lake("bucket", CountingS3())


@pytest.fixture
def code(monkeypatch):
    """code("…") deploys it."""

    def deployed(name):
        monkeypatch.setattr(code_fingerprint, "of_process", lambda *_: name)

    deployed("A")
    return deployed


@pytest.fixture
def stages(monkeypatch, lake, code):
    """stages(run, done_by): a chunk's way through Transform and Validate; each may be done alone."""
    monkeypatch.setattr(settings, "current", lambda: Settings(bucket="bucket"))
    monkeypatch.setattr(sources, "for_run", lambda *_: Prints())
    for stage in (transform_stage, validate_stage):
        monkeypatch.setattr(stage, "Lake", lambda bucket: lake)

    class Way:
        def __init__(self, run, done_by=None):
            raw = lake.put(f"raw/{run}.ndjson", BYTES)
            piece = Slice(0, raw, raw, 0, len(BYTES), 1, 3)
            self.run, self.chunk = run, Chunk(0, 0, {}, "ndjson", (piece,), done_by=done_by)

        def transform(self):
            lake.client.asked.clear()
            return transform_stage.transform(TransformRequest(self.run, "prints", self.chunk))

        def validate(self, transformed):
            lake.client.asked.clear()
            return validate_stage.validate(ValidateRequest(self.run, "prints", self.chunk, transformed))

        def both(self):
            transformed = self.transform()
            return transformed, self.validate(transformed)

        def key(self, name):
            return keys.chunk(self.run, 0, name)

    return Way


@pytest.fixture
def first(stages):
    """The run that made the chunk, of the code A, and what its stages answered."""
    way = stages("press-1")
    way.transformed, way.validated = way.both()
    return way


def counts(answer):
    return answer.records, answer.rows, answer.rejected


def test_the_chunk_says_which_code_made_its_rows_and_which_judged_them(lake, first):
    results = lake.get_json(first.key(RESULTS))
    assert results["transformed"]["code"] == first.transformed.code == "A"
    assert results["judge"]["code"] == "A" and {"great-expectations", "numpy"} <= results["judge"].keys()


def test_both_stages_answer_what_they_answered_then_each_by_one_look_at_the_results(lake, first, stages):
    second = stages("press-2", "press-1")
    transformed = second.transform()
    assert transformed == first.transformed
    assert lake.client.asked == [f"GET {first.key(RESULTS)}"]
    validated = second.validate(transformed)
    assert lake.client.asked == [f"GET {first.key(RESULTS)}", f"PUT {second.key(RESULTS)}"]
    assert validated == dataclasses.replace(first.validated, results_key=second.key(RESULTS))
    assert (counts(transformed), counts(validated)) == ((3, 2, 1), (3, 1, 2))


def test_examples_name_the_raw_objects_of_the_run_that_shows_them(lake, first, stages):
    second = stages("press-2", "press-1")
    _, validated = second.both()
    counted = chunk_results.counted(lake, validated.results_key, lake.get(validated.rows_key))
    assert set(counted) == {"expectations", "schema", "set_aside"}
    examples = [*counted["expectations"][0]["examples"], *counted["schema"]["observed"]["unknown"]]
    assert [example["raw"] for example in examples] == ["raw/press-2.ndjson"] * 2
    assert lake.get_json(second.key(RESULTS))["raw_keys"] == {"0": "raw/press-2.ndjson"}


def test_results_of_the_same_raw_objects_are_not_written_again(lake, first, stages):
    second = stages("press-2", "press-1")
    second.chunk = dataclasses.replace(first.chunk, done_by="press-1")
    assert second.validate(first.transformed) == first.validated
    assert lake.client.asked == [f"GET {first.key(RESULTS)}"]


def test_a_chunk_that_other_code_transformed_is_made_anew(lake, first, stages, code):
    """Whichever run it is of, one that a deployment met and its rollback, or in a container of an older image."""
    code("B")
    second = stages("press-2", "press-1")
    transformed, validated = second.both()
    assert (transformed.code, transformed.rows_key) == ("B", second.key(ROWS))
    assert first.key(RESULTS) not in " ".join(lake.client.asked)  # Validate has nothing to look for there
    assert (counts(transformed), counts(validated)) == ((3, 2, 1), (3, 1, 2))
    assert {second.key("malformed.ndjson"), second.key("failing.ndjson")} == set(validated.rejected_keys)
    code("A")  # it was rolled back: to this the chunk of press-1 is as good as ever, that of press-2 is not
    assert stages("press-3", "press-1").transform() == first.transformed
    assert stages("press-3", "press-2").transform().rows_key == keys.chunk("press-3", 0, ROWS)


def judged_anew(lake, first, second, monkeypatch):
    """What Validate answers where it does not take over what the first run answered, under a suite that differs."""
    monkeypatch.setattr(Prints, "suite_document", {**SUITE, "expectations": [ANY]})
    transformed = first.transformed
    validated = second.validate(transformed)
    assert lake.client.asked.count(f"GET {first.key(RESULTS)}") == 1
    assert (counts(validated), validated.rows_key) == ((3, 2, 1), first.key(ROWS))
    assert validated.results_key == second.key(RESULTS)
    return lake.get_json(validated.results_key)


def test_rows_that_other_code_judged_are_judged_anew(lake, first, stages, code, monkeypatch):
    code("B")
    results = judged_anew(lake, first, stages("press-2", "press-1"), monkeypatch)
    assert (results["judge"]["code"], results["transformed"]["code"]) == ("B", "A")


@pytest.mark.parametrize("library", chunk_results._JUDGES)
def test_rows_that_other_versions_judged_are_judged_anew(lake, first, stages, monkeypatch, library):
    versions = code_fingerprint.versions
    assert versions((library,))[library] is not None
    monkeypatch.setattr(code_fingerprint, "versions", lambda names: versions(names) | {library: "0"})
    results = judged_anew(lake, first, stages("press-2", "press-1"), monkeypatch)
    assert results["judge"][library] == "0"
    assert results["schema"]["observed"]["unknown"][0]["raw"] == "raw/press-2.ndjson"


def test_rows_that_were_altered_are_not_judged_anew(lake, first, stages, code):
    lake.put(first.key(ROWS), lake.get(first.key(ROWS)).replace(b"Wave", b"Cave"))
    code("B")
    with pytest.raises(AccountError, match=r"not those that Validate judged.*sluice runs show"):
        stages("press-2", "press-1").validate(first.transformed)


def resigned(results, **changed):
    return chunk_results._checksum({**results, **changed})


@pytest.fixture(
    params=["gone", b"{", b"[]", b"{}", "counted", "answer", "no-checksum", "as-it-was-once"],
    ids=lambda how: how if isinstance(how, str) else how.decode(),
)
def altered(request, lake, first):
    """The results of the first run's chunk are gone, or somebody has altered them."""
    key, how = first.key(RESULTS), request.param
    results = lake.get_json(key)
    if how == "gone":
        lake.delete(key)
    elif isinstance(how, bytes):
        lake.put(key, how)
    elif how == "no-checksum":
        del results["checksum"]
    elif how == "as-it-was-once":
        del results["judge"]
        results["checksum"] = resigned(results)
    else:
        results["set_aside" if how == "counted" else "validated"] = []
    if how != "gone" and not isinstance(how, bytes):
        lake.put(key, json.dumps(results).encode())
    return key


def test_a_chunk_whose_results_are_gone_or_were_altered_is_made_anew(stages, altered):
    second = stages("press-2", "press-1")
    transformed, validated = second.both()
    assert transformed.rows_key == second.key(ROWS)
    assert (counts(transformed), counts(validated)) == ((3, 2, 1), (3, 1, 2))


def test_where_that_happens_behind_transform_the_chunk_fails_and_says_how_it_is_mended(lake, first, stages, altered):
    told = r"results.json is (gone|not as Validate wrote it).*sluice runs show"
    with pytest.raises((NotFound, ContractError), match=told):
        stages("press-2", "press-1").validate(first.transformed)
    with pytest.raises((NotFound, ContractError), match=told) as caught:
        chunk_results.counted(lake, altered, lake.get(first.key(ROWS)), run_id="press-2", chunk=0)
    assert caught.value.where == {"run_id": "press-2", "chunk": 0}


def test_rows_that_were_altered_since_they_were_judged_are_told(lake, first):
    rows = lake.get(first.key(ROWS))
    assert chunk_results.counted(lake, first.key(RESULTS), rows)["set_aside"] == [1]
    with pytest.raises(AccountError, match=r"not those that Validate judged.*sluice runs show"):
        chunk_results.counted(lake, first.key(RESULTS), rows.replace(b"Wave", b"Cave"), run_id="press-2", chunk=0)
