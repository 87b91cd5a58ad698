"""A run takes over what an earlier one left of a chunk, where all that the rows depend on is the same, and it stays."""

import dataclasses
import datetime as dt
import os
import subprocess
import sys
from email.utils import format_datetime
from pathlib import Path

import pytest
from memory_s3 import MemoryS3

from chalicelib import kept_chunks
from chalicelib.columns import Column
from chalicelib.contract_reading import write_contract
from chalicelib.contracts import Chunk, Slice
from chalicelib.errors import NotFound
from chalicelib.lake import keys
from chalicelib.lake.keys import RESULTS, ROWS
from chalicelib.lake.listing import Listing, RawObject
from chalicelib.lake.store import Lake
from chalicelib.quality import suite as suites
from chalicelib.redriving import kept_listing
from chalicelib.schema import EVOLVE
from chalicelib.sources.base import Source
from chalicelib.sources.files import Files
from chalicelib.warehouse.ledger import EarlierRun

RUN, OBJECTS = "press-9", {0: (30, "sha256 of 0")}
RAW, COPY = "raw/part-00000-00000.ndjson.gz", "runs/press-1/work/part-00000-00000.ndjson"
SUITE = {"name": "press", "expectations": [{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "id"}}]}
BY_THE_DAY = {
    "name": "press",
    "expectations": [{"type": "expect_column_values_to_be_dateutil_parseable", "kwargs": {"column": "made"}}],
}


class Press(Source):
    name = "press"
    key = ("id",)
    columns = (Column("id", "integer"), Column("made", "text"))
    suite_document = SUITE


class Growing(Press):
    schema_contract = EVOLVE


class Transforming(Press):
    def transform(self, frame):
        return frame


class Reading(Press):
    def records(self, document, request):
        return document["prints"]


class Repeatable(Transforming):
    repeatable = True

    def records(self, document, request):
        return document["prints"]


class ByTheDay(Press):
    suite_document = BY_THE_DAY


def chunks(*done_by, run="press-9", **changed):
    """Three chunks, the lines of one raw object, which each run calls otherwise."""
    made = []
    for number, by in enumerate(done_by):
        piece = Slice(0, f"runs/{run}/work", f"raw/{run}", 10 * number, 10 * number + 10, number, 1)
        made.append(Chunk(number, 0, {"shelf": 1}, "csv", (piece,), ("id",), ";", None, by))
    first = {name: value for name, value in changed.items() if name in Slice.__dataclass_fields__}
    of_chunk = {name: value for name, value in changed.items() if name not in first}
    if first:
        of_chunk["slices"] = (dataclasses.replace(made[0].slices[0], **first),)
    return [dataclasses.replace(made[0], **of_chunk), *made[1:]] if changed else made


@pytest.fixture
def s3():
    return MemoryS3()


@pytest.fixture
def lake(s3):
    return Lake("bucket", s3)


@pytest.fixture
def did(lake):
    """did(run, None, "press-1", …): a run that made these chunks itself or had them from another."""

    def made(run, *done_by, redriven=False, objects=OBJECTS):
        lake.put_json(keys.manifest(run), [write_contract(chunk) for chunk in chunks(*done_by, run=run)])
        for number, by in enumerate(done_by):
            if by is None:
                for left in (RESULTS, ROWS):
                    lake.put(keys.chunk(run, number, left), b"x")
        return EarlierRun(run, redriven, objects)

    return made


def done_by(lake, earlier, source=None, wanted=None, objects=((30, "sha256 of 0"),)):
    wanted = chunks(None, None, None) if wanted is None else wanted
    raw = [RawObject(part, f"raw/{RUN}", size, digest) for part, (size, digest) in enumerate(objects)]
    marked, kept_of = kept_chunks.marked(lake, source or Press(), RUN, earlier, wanted, raw)
    assert [dataclasses.replace(chunk, done_by=None) for chunk in marked] == wanted
    found = [chunk.done_by for chunk in marked]
    assert (kept_of is None) == (found == [None] * len(found))
    return found


def expires(s3, run, **after):
    moment = format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(**after), usegmt=True)
    s3.expirations[keys.manifest(run)] = f'expiry-date="{moment}", rule-id="runs-expire"'


def test_chunks_are_taken_over_from_whichever_run_made_them(lake, did):
    did("press-1", None, None, None)
    assert done_by(lake, [did("press-2", "press-1", None, "press-1")]) == ["press-1", "press-2", "press-1"]


@pytest.mark.parametrize("objects", [None, {0: (30, "sha256 of another")}], ids=["no-run", "no-object"])
def test_without_an_earlier_run_that_read_any_of_the_bytes_the_lake_is_not_asked(objects):
    earlier = [] if objects is None else [EarlierRun("press-1", False, objects)]
    raw = [RawObject(0, "raw/press-9", 30, "sha256 of 0")]
    assert kept_chunks.marked(None, None, RUN, earlier, chunks(None), raw) == (chunks(None), None)


@pytest.mark.parametrize(
    "changed",
    [
        {"chunk": 7},
        {"partition": 1},
        {"format": "ndjson"},
        {"header": ("id", "made")},
        {"delimiter": ","},
        {"request": {"shelf": 2}},
        {"only": "runs/press-9/replay/rows.json"},
        {"start": 1},
        {"end": 9},
        {"first_line": 2},
        {"lines": 2},
        {"key": "raw/press-9"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_chunk_that_is_cut_or_read_otherwise_is_made_anew(lake, did, changed):
    found = done_by(lake, [did("press-1", None, None, None)], wanted=chunks(None, None, None, **changed))
    assert found == [None, "press-1", "press-1"]


def test_chunks_whose_raw_object_has_another_number_are_made_anew(lake, did):
    moved = [dataclasses.replace(c, slices=(dataclasses.replace(c.slices[0], part=1),)) for c in chunks(None, None)]
    objects = [(9, "sha256 of another"), (30, "sha256 of 0")]
    assert done_by(lake, [did("press-1", None, None)], wanted=moved, objects=objects) == [None, None]


@pytest.mark.parametrize("other", [(30, "sha256 of another"), (31, "sha256 of 0")], ids=["digest", "size"])
def test_chunks_of_other_bytes_are_made_anew(lake, did, other):
    earlier = did("press-1", None, objects=OBJECTS | {1: (9, "sha256 of 1")})
    for objects, taken in ((OBJECTS[0], "press-1"), (other, None)):
        assert done_by(lake, [earlier], wanted=chunks(None), objects=[objects, (9, "sha256 of 1")]) == [taken]


def test_chunks_of_a_run_whose_raw_objects_nobody_knows_are_made_anew(lake, did):
    assert done_by(lake, [did("press-1", None, objects={})], wanted=chunks(None)) == [None]


@pytest.mark.parametrize("gone", [RESULTS, ROWS])
def test_a_chunk_whose_objects_are_gone_is_made_anew(lake, did, gone):
    earlier = did("press-1", None, None, None)
    lake.delete(keys.chunk("press-1", 1, gone))
    assert done_by(lake, [earlier]) == ["press-1", None, "press-1"]


@pytest.mark.parametrize("altered", [ROWS, "malformed.ndjson", "failing.ndjson"])
@pytest.mark.parametrize(("later", "taken"), [(0, "press-1"), (1, None)], ids=["same-second", "later"])
def test_a_chunk_of_which_something_was_written_after_it_was_judged_is_made_anew(lake, s3, did, altered, later, taken):
    earlier, judged = did("press-1", None, None), dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    s3.written[keys.chunk("press-1", 1, RESULTS)] = judged
    lake.put(keys.chunk("press-1", 1, altered), b"x")
    s3.written[keys.chunk("press-1", 1, altered)] = judged + dt.timedelta(seconds=later)
    assert done_by(lake, [earlier], wanted=chunks(None, None)) == ["press-1", taken]


def test_what_a_run_has_made_anew_of_chunks_that_it_was_to_take_over_is_taken_over_from_it(lake, did):
    did("press-1", None, None, None)
    earlier = did("press-2", "press-1", "press-1", "press-1")
    for left in (RESULTS, ROWS):
        lake.put(keys.chunk("press-2", 1, left), b"x")
    lake.put(keys.chunk("press-2", 2, RESULTS), b"x")  # these name its raw objects, and are about the others' rows
    assert done_by(lake, [earlier]) == ["press-1", "press-2", "press-1"]
    # and an attempt of which that failed to be loaded, made them all the same
    lake.put(keys.chunk("press-2", 1, "failure.json"), b"x")
    assert done_by(lake, [dataclasses.replace(earlier, redriven=True)]) == ["press-1", "press-2", "press-1"]


@pytest.mark.parametrize(("hours", "taken"), [(23, None), (25, "press-1")])
def test_nothing_is_taken_over_that_expires_before_a_run_may_have_ended(lake, s3, did, hours, taken):
    earlier = did("press-1", None)
    expires(s3, "press-1", hours=hours)
    assert done_by(lake, [earlier], wanted=chunks(None)) == [taken]


def test_nor_is_what_the_earlier_run_took_over_from_one_that_expires_sooner(lake, s3, did):
    did("press-1", None, None)
    earlier = did("press-2", "press-1", None)
    expires(s3, "press-1", hours=23)
    expires(s3, "press-2", days=9)
    assert done_by(lake, [earlier], wanted=chunks(None, None)) == [None, "press-2"]
    lake.delete(keys.manifest("press-1"))
    assert done_by(lake, [earlier], wanted=chunks(None, None)) == [None, "press-2"]


@pytest.mark.parametrize(
    ("source", "taken"),
    [(Transforming, None), (Reading, None), (Repeatable, "press-1"), (ByTheDay, None)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_may_become_other_rows_at_another_time_is_taken_over_by_an_attempt_at_the_same_run_alone(
    lake, did, source, taken
):
    earlier = did("press-1", None)
    assert done_by(lake, [earlier], source(), chunks(None)) == [taken]
    assert done_by(lake, [dataclasses.replace(earlier, redriven=True)], source(), chunks(None)) == ["press-1"]


def test_the_samples_that_look_at_nothing_but_their_records_say_so():
    from chalicelib import sources

    found = {name: sources.get(name) for name in sources.names()}
    assert {name for name, source in found.items() if source.repeatable} == {"people", "posts", "weather"}
    # the days of prices are those of the time zones that the machine knows
    assert {name for name, source in found.items() if not source.is_repeatable} == {"market"}


def test_where_the_columns_evolved_or_have_expired_all_chunks_are_made_anew(lake, did):
    earlier, schema = did("press-1", None), {"revision": 0, "columns": []}
    lake.put_json(keys.schema(RUN), schema)
    assert done_by(lake, [earlier], Growing(), chunks(None)) == [None]
    for there, here, taken in (
        (schema, schema, "press-1"),
        (schema | {"revision": 1}, schema, None),
        (schema | {"revision": 1}, schema | {"revision": 1}, None),
        (schema | {"columns": [1]}, schema, None),
    ):
        lake.put_json(keys.schema("press-1"), there)
        lake.put_json(keys.schema(RUN), here)
        assert done_by(lake, [earlier], Growing(), chunks(None)) == [taken]


def test_where_another_declaration_was_run_all_chunks_are_made_anew(lake, did):
    earlier, source = did("press-1", None), Files()
    source.columns, source.key, source.suite_document = Press.columns, ("id",), SUITE
    lake.put_json(keys.declaration(RUN), {"location": "/prints.csv"})
    assert done_by(lake, [earlier], source, chunks(None)) == [None]
    for location, taken in (("/prints.csv", "press-1"), ("/copies.csv", None)):
        lake.put_json(keys.declaration("press-1"), {"location": location})
        assert done_by(lake, [earlier], source, chunks(None)) == [taken]


def test_of_several_runs_the_first_that_is_there_counts(lake, did):
    first, second = did("press-1", None), did("press-2", None, redriven=True)
    assert done_by(lake, [second, first], wanted=chunks(None)) == ["press-2"]
    lake.delete(keys.manifest("press-2"))
    assert done_by(lake, [second, first], wanted=chunks(None)) == ["press-1"]


def test_what_could_not_be_taken_over_is_made_anew_when_the_run_is_redriven(lake, did):
    did("press-1", None, None, None)
    attempt = did("press-2", "press-1", "press-1", None, redriven=True)
    for number in (0, 2):  # the second one is its own: what failed there was not taking it over
        lake.put_json(keys.chunk("press-2", number, "failure.json"), {})
    assert done_by(lake, [attempt]) == [None, "press-1", "press-2"]
    attempt = did("press-3", "press-1", "press-1", "press-1", redriven=True)  # it made none itself
    lake.put_json(keys.chunk("press-3", 1, "failure.json"), {})
    assert done_by(lake, [attempt]) == ["press-1", None, "press-1"]


@pytest.mark.parametrize("gone", [RAW, COPY], ids=["raw object", "working copy"])
def test_what_was_fetched_and_has_expired_is_told_before_a_chunk_is_read(lake, gone):
    cut = tuple(
        dataclasses.replace(chunk, slices=(dataclasses.replace(chunk.slices[0], key=COPY, raw_key=RAW),))
        for chunk in chunks(None, None, None)
    )
    listing = Listing((RawObject(0, RAW, 3, "sha256", 3),), cut)
    kept = lake.put_json(keys.listing("press-1", 0), write_contract(listing))
    for key in {RAW, COPY} - {gone}:
        lake.put(key, b"x")
    with pytest.raises(NotFound, match=f"{gone}, which was fetched before.*sluice run"):
        kept_listing.read(lake, kept, 0)
    lake.put(gone, b"x")
    assert kept_listing.read(lake, kept, 4).kept_of == "press-1"


def _of_schema(schema):
    kwargs = {"column": "made", "json_schema": schema}
    return {"expectations": [{"type": "expect_column_values_to_match_json_schema", "kwargs": kwargs}]}


@pytest.mark.parametrize(
    ("suite", "by_the_day"),
    [
        (SUITE, False),
        (BY_THE_DAY, True),
        ({"expectations": [{"type": "expect_nothing_of_the_kind"}]}, True),
        ({"expectations": [{}]}, True),
        ([], True),
        (_of_schema({"$defs": {"id": {}}, "properties": {"id": {"$ref": "#/$defs/id"}}}), False),
        (_of_schema({"anyOf": [{"$ref": "https://schemas.example/print.json"}]}), True),
    ],
    ids=["no-clock", "clock", "unknown", "no-type", "no-suite", "own-schema", "schema-elsewhere"],
)
def test_suites_know_whether_they_go_by_the_day(suite, by_the_day):
    source = Press()
    source.suite_document = suite
    assert suites.goes_by_the_day(source) == by_the_day


def test_what_decides_imports_nothing_that_its_function_does_not_have():
    script = (
        "import sys\n"
        "from memory_s3 import MemoryS3\n"
        "from chalicelib import kept_chunks, sources\n"
        "from chalicelib.lake.listing import RawObject\n"
        "from chalicelib.lake.store import Lake\n"
        "from chalicelib.warehouse.ledger import EarlierRun\n"
        "lake, objects = Lake('bucket', MemoryS3()), {0: (1, 'sha256')}\n"
        "lake.put_json('runs/press-1/manifest.json', [])\n"
        "source, raw = sources.get('weather'), [RawObject(0, 'raw', 1, 'sha256')]\n"
        "kept_chunks.marked(lake, source, 'press-2', [EarlierRun('press-1', False, objects)], [], raw)\n"
        "print({'great_expectations', 'pandas', 'numpy'} & set(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parents[2], Path(__file__).parent)))},
        capture_output=True,
        text=True,
    )
    assert ran.stdout == "set()\n", ran.stderr
