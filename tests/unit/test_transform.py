"""What Transform makes of records, and of a source's own transform()."""

import json

import pandas as pd
import pytest
from memory_s3 import MemoryS3

from chalicelib import code_fingerprint, settings, sources
from chalicelib.columns import Column
from chalicelib.contracts import Partition, TransformRequest
from chalicelib.errors import TransformError
from chalicelib.lake import cutting
from chalicelib.lake.store import Lake
from chalicelib.rejection import Reason, Rejected, read
from chalicelib.settings import Settings
from chalicelib.sources.base import Page, Source
from chalicelib.stages import transform as stage


class Orders(Source):
    name = "orders"
    key = ("id",)
    columns = (
        Column("id", "bigint", nullable=False),
        Column("total", "numeric"),
        Column("day", "date"),
        Column("note", "text"),
    )


@pytest.fixture
def transformed(monkeypatch):
    """transformed(records, change): the result, its rows as lists of text, what was rejected."""
    lake = Lake("bucket", MemoryS3())
    monkeypatch.setattr(stage, "Lake", lambda bucket: lake)
    monkeypatch.setattr(settings, "current", lambda: Settings(bucket="bucket"))
    monkeypatch.setattr(code_fingerprint, "of_process", lambda *_: "code")

    def of(records, change=None):
        source = Orders()
        if change:
            source = type("Changed", (Orders,), {"transform": lambda self, frame: change(frame)})()
        monkeypatch.setattr(sources, "for_run", lambda *_: source)
        lines = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records).encode()
        page = Page(body=BytesOnce(lines), format="ndjson")
        listing = cutting.store("orders", "run", "2026-01-01", Partition(0, {}), iter([page]), lake, Settings())
        result = stage.transform(TransformRequest(run_id="run", source="orders", chunk=listing.chunks[0]))
        rows = [line.split("\t")[:-2] for line in lake.get(result.rows_key).decode().splitlines()]
        return result, rows, _rejected(lake, result)

    of.observed = lambda result: json.loads(lake.get(result.observed_key)) if result.observed_key else None
    return of


def _rejected(lake, result):
    rows = read(lake, [result.rejected_key] if result.rejected_key else [])
    return [Rejected(**{**row, "reasons": tuple(Reason(**reason) for reason in row["reasons"])}) for row in rows]


class BytesOnce:
    def __init__(self, data):
        self._data = data

    def read(self, size):
        block, self._data = self._data[:size], self._data[size:]
        return block


def reasons(row):
    return [(reason.kind, reason.column, reason.message) for reason in row.reasons]


def test_records_become_typed_rows_and_fields_that_are_not_declared_are_named(transformed):
    result, rows, rejected = transformed([{"id": 1, "total": "2.50", "colour": "red"}, {"id": 2, "size": None}])
    assert rows == [["1", "2.50", "\\N", "\\N"], ["2", "\\N", "\\N", "\\N"]]
    assert (result.records, result.rows, result.rejected, rejected) == (2, 2, 0, [])
    seen = transformed.observed(result)["unknown"]
    assert [(field["name"], field["records"]) for field in seen] == [("colour", 1), ("size", 0)]


def test_a_row_that_does_not_fit_is_set_aside_with_every_reason_and_its_raw_record(transformed):
    bad = '{"id": null, "total": "much", "day": "2026-02-30", "note": "x"}'
    result, rows, rejected = transformed([{"id": 1}, bad, "{broken", {"id": 4}])
    assert [row[0] for row in rows] == ["1", "4"]
    assert (result.records, result.rows, result.rejected) == (4, 2, 2)
    broken, unfit = rejected
    assert (broken.line, broken.record, [reason.kind for reason in broken.reasons]) == (3, "{broken", ["record"])
    assert (unfit.line, unfit.record) == (2, bad)
    assert [(kind, column) for kind, column, _ in reasons(unfit)] == [
        ("type", "id"),
        ("type", "total"),
        ("type", "day"),
    ]


def test_a_text_that_its_index_does_not_take_is_set_aside_and_the_run_goes_on(transformed, monkeypatch):
    monkeypatch.setattr(Orders, "indexes", ("note",))
    result, rows, [rejected] = transformed([{"id": 1, "note": "x" * 2601}, {"id": 2, "note": "y" * 2600}])
    assert [row[0] for row in rows] == ["2"] and (result.rows, result.rejected) == (1, 1)
    [(kind, column, message)] = reasons(rejected)
    assert (kind, column) == ("type", "note")
    assert message.endswith("…, too long for an index: its columns take at most 2,600 bytes of text together")
    monkeypatch.setattr(Orders, "indexes", ())
    assert transformed([{"id": 1, "note": "x" * 2601}])[0].rejected == 0


def test_a_source_may_change_its_rows(transformed):
    def change(frame):
        frame["note"] = frame["note"].str.upper()
        return frame.rename(columns={"price": "total"})

    _, rows, _ = transformed([{"id": 1, "price": 3, "note": "a"}, {"id": 2, "price": 4, "note": None}], change)
    assert rows == [["1", "3", "\\N", "A"], ["2", "4", "\\N", "\\N"]]


@pytest.mark.parametrize("total", [None, 0.5])
@pytest.mark.parametrize("large", [2**53 + 1, -(2**63) + 1, 2**63 - 1])
def test_integers_beside_nulls_and_fractions_stay_exact(transformed, large, total):
    records = [{"id": large, "total": large}, {"id": 2, "total": total}, {"id": large - 1, "total": 7}]
    _, rows, _ = transformed(records, lambda frame: frame)
    assert [row[0] for row in rows] == [str(large), "2", str(large - 1)]
    assert [row[1] for row in rows] == [str(large), "\\N" if total is None else "0.5", "7"]


def test_an_integer_beyond_64_bits_beside_nulls_stays_exact(transformed):
    _, rows, _ = transformed([{"id": 1, "total": 10**25 + 1}, {"id": 2}], lambda frame: frame)
    assert [row[1] for row in rows] == [str(10**25 + 1), "\\N"]


def test_integers_beside_nulls_can_be_reckoned_with(transformed):
    def change(frame):
        frame["total"] = frame["total"] * 2
        return frame

    _, rows, _ = transformed([{"id": 1, "total": 3}, {"id": 2, "total": None}], change)
    assert [row[1] for row in rows] == ["6", "\\N"]


def raises(frame):
    frame["nothing"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (raises, r"transform\(\) raised KeyError: 'nothing'"),
        (lambda frame: frame[frame["id"] > 1], r"was given 2 rows and returned 1"),
        (lambda frame: pd.concat([frame, frame]), r"was given 2 rows and returned 4"),
        (lambda frame: frame.sort_values("id", ascending=False), r"was given 2 rows and returned 2, or others"),
        (lambda frame: None, r"returned NoneType, expected a DataFrame"),
        (lambda frame: frame["id"], r"returned Series, expected a DataFrame"),
        (lambda frame: frame.rename(columns={"total": "id"}), r"two columns of one name"),
    ],
    ids=["raises", "drops", "doubles", "reorders", "nothing", "series", "same names"],
)
def test_a_transform_that_loses_or_mixes_rows_fails_the_chunk_and_says_how(transformed, change, message):
    with pytest.raises(TransformError, match=message) as caught:
        transformed([{"id": 1, "total": 1}, {"id": 2, "total": 2}], change)
    assert caught.value.where == {"source": "orders", "chunk": 0}


def test_of_many_undeclared_fields_some_are_named(transformed):
    result, _, _ = transformed([{"id": 1, **{f"field{i:03d}": i for i in range(150)}}])
    seen = transformed.observed(result)
    assert [field["name"] for field in seen["unknown"]] == [f"field{i:03d}" for i in range(100)]
    assert seen["more"] == 50


class Visits(Source):
    name = "visits"
    key = ("id",)
    columns = (
        Column("id", "bigint", nullable=False),
        Column("price", "double precision"),
        Column("day", "date"),
        Column("note", "text"),
    )


def test_rows_are_the_same_whether_their_bytes_are_copied_or_their_values_looked_at(transformed, monkeypatch):
    records = [{"id": number, "price": number / 4, "day": "2024-02-29", "note": f"n{number}"} for number in range(60)]
    records[7]["note"] = 'a "quoted" word'
    records[20]["id"] = None
    records[21]["day"] = "2024-02-30"
    records[33]["price"] = "twelve"
    records[40]["colour"] = "red"
    records[41] = "{not json"
    records[42] = {"id": 42}
    monkeypatch.setattr(sources, "for_run", lambda *_: Visits())
    lines = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n\n" for r in records).encode()
    seen = []
    for copied in (stage._copied, lambda source: ()):
        monkeypatch.setattr(stage, "_copied", copied)
        lake = stage.Lake("bucket")
        page = Page(body=BytesOnce(lines), format="ndjson")
        listing = cutting.store("visits", "run", "2026-01-01", Partition(0, {}), iter([page]), lake, Settings())
        result = stage.transform(TransformRequest(run_id="run", source="visits", chunk=listing.chunks[0]))
        observed = lake.get_json(result.observed_key)
        seen.append((result, lake.get(result.rows_key), _rejected(lake, result), observed))
    assert seen[0] == seen[1]
    assert (seen[0][0].records, seen[0][0].rows, seen[0][0].rejected) == (60, 56, 4)
