"""Load is one transaction per chunk: done again it does nothing, and what it cannot account for it takes back."""

import tracemalloc

import pytest
from memory_s3 import MemoryS3

from chalicelib import chunk_results, settings, sources
from chalicelib.columns import Column
from chalicelib.contracts import Chunk, LoadRequest, TransformResult, ValidateResult, Window
from chalicelib.errors import AccountError, ContractError, NotFound
from chalicelib.lake.store import Lake
from chalicelib.rejection import RECORD, TYPE, Reason, Rejected, store
from chalicelib.settings import Settings
from chalicelib.sources.base import Source
from chalicelib.stages import load as stage
from chalicelib.warehouse import connection, copy_text, ledger, tables

RUN = "load-run"
REJECTED = [
    Rejected(0, 3, (Reason(TYPE, "id is 'x'", "id", "'x'"), Reason(TYPE, "name is 7", "name", "7")), '{"id":"x"}'),
    Rejected(0, 4, (Reason(RECORD, "not valid JSON"),), 'tab\t, back\\slash, {"'),
]


class Shop(Source):
    name = "load_shop"
    key = ("id",)
    columns = (Column("id", "integer"), Column("name", "text"))


@pytest.fixture
def lake():
    return Lake("bucket", MemoryS3())


@pytest.fixture
def load(monkeypatch, database_url, lake):
    """load(rows=…, rejected=…) loads a chunk of two rows and two rejected ones that claims to have so many."""
    source = Shop()
    monkeypatch.setattr(stage, "Lake", lambda bucket: lake)
    monkeypatch.setattr(settings, "current", lambda: Settings(bucket="bucket", database_url=database_url))
    monkeypatch.setattr(sources, "for_run", lambda *_: source)
    rows = copy_text.write([["1", "2"], ["tea", "salt"]], [1, 2])
    lake.put("rows", rows, "text/plain")
    store(lake, "rejected", REJECTED)
    transformed = TransformResult(0, 4, 2, 2, "rows", "rejected", None, 0, "code")
    judged = ValidateResult(0, 4, 2, 2, "rows", ("rejected",), "results")
    counted = {"expectations": [], "schema": {}, "set_aside": []}
    chunk_results.store(lake, counted, Chunk(0, 0, {}, "ndjson", ()), transformed, judged, "code", rows)
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        cursor.execute("DELETE FROM pipeline.runs WHERE run_id = %s", (RUN,))
        ledger.open_run(cursor, source, RUN, "arn", {}, Window(), "2026-01-01")
        tables.create_staging(cursor, source, RUN)

    def loaded(rows=2, rejected=2):
        validated = ValidateResult(0, rows + rejected, rows, rejected, "rows", ("rejected",), "results")
        return stage.load(LoadRequest(run_id=RUN, source=source.name, validated=validated))

    return loaded


@pytest.fixture
def held(database_url):
    """held(): (rows in staging, rows in quarantine, chunks in the ledger)."""

    def counted():
        with connection.transaction(database_url) as conn, conn.cursor() as cursor:
            chunks = len(ledger.chunks(cursor, RUN))
            return tables.count_staged(cursor, Shop.table, RUN), ledger.count_quarantined(cursor, RUN), chunks

    return counted


def test_rows_that_are_not_those_that_were_judged_are_not_loaded(load, held, lake):
    lake.put("rows", copy_text.write([["1", "2"], ["tea", "sand"]], [1, 2]), "text/plain")
    with pytest.raises(AccountError, match="not those that Validate judged") as caught:
        load()
    assert caught.value.where == {"run_id": RUN, "chunk": 0}
    assert held() == (0, 0, 0)


def test_results_that_are_not_as_they_were_written_are_not_loaded(load, held, lake):
    lake.put_json("results", {**lake.get_json("results"), "set_aside": [1]})
    with pytest.raises(ContractError, match=r"results is not as Validate wrote it.*sluice runs show") as caught:
        load(rows=1, rejected=3)
    assert caught.value.where == {"run_id": RUN, "chunk": 0}
    assert held() == (0, 0, 0)


LAST = b'{"checksum":'


@pytest.mark.parametrize(
    "altered",
    [
        lambda text: text.replace(b"not valid JSON", b"no valid JSON!"),
        lambda text: text[: text.index(LAST)],
        lambda text: text.removesuffix(b"\n"),
        lambda text: b"".join(sorted(text.splitlines(True)[:2], reverse=True)) + text[text.index(LAST) :],
        lambda text: text + text.splitlines(True)[0],
        lambda text: text + b'{"part": 0',
        lambda text: text[:20] + b"\n" + text[20:],
        lambda text: text.replace(b'"record"', b'"rekord"'),
        lambda text: b"[]\n" + text,
        lambda text: b"",
    ],
    ids=[
        "text",
        "no-checksum",
        "cut-off",
        "order",
        "more",
        "part-of-a-line-more",
        "line-broken",
        "field",
        "no-row",
        "nothing",
    ],
)
def test_rejected_rows_that_are_not_as_they_were_written_are_not_loaded(load, held, lake, altered):
    """Also where as many are there as were counted."""
    lake.put("rejected", altered(lake.get("rejected")))
    with pytest.raises(AccountError, match=r"rejected is not as it was written.*sluice runs show") as caught:
        load()
    assert caught.value.where == {"run_id": RUN, "chunk": 0}
    assert held() == (0, 0, 0)


def test_a_chunk_that_is_loaded_twice_is_there_once(load, held):
    first = load()
    assert load() == first
    assert (first.staged, first.quarantined) == (2, 2)
    assert held() == (2, 2, 1)


@pytest.mark.parametrize("claimed", [{"rows": 3}, {"rows": 1}, {"rejected": 1}, {"rejected": 3}])
def test_a_chunk_that_holds_another_number_of_rows_is_taken_back_whole(load, held, claimed):
    with pytest.raises(AccountError, match="2 rows were copied and 2 quarantined, expected") as caught:
        load(**claimed)
    assert caught.value.where == {"run_id": RUN, "chunk": 0}
    assert held() == (0, 0, 0)
    load()
    assert held() == (2, 2, 1)


def test_the_quarantine_keeps_every_reason_and_the_raw_record(load, database_url):
    load()
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT part, line, reasons, record FROM pipeline.quarantine WHERE run_id = %s", (RUN,))
        kept = sorted(cursor.fetchall(), key=lambda row: row[1])
    assert kept == [(row.part, row.line, [vars(reason) for reason in row.reasons], row.record) for row in REJECTED]


MANY = 20_000
WHY = tuple(Reason(TYPE, f"field_{i} is 'wrong', expected integer", f"field_{i}", "'wrong'") for i in range(8))


def test_memory_does_not_grow_with_what_was_rejected(load, held, lake):
    """A chunk may be rejected whole, and eight reasons take ten times its bytes."""
    store(lake, "rejected", (Rejected(0, line, WHY, "x" * 100) for line in range(MANY)))
    assert len(lake.client.objects["rejected"]) > 15 * 2**20
    tracemalloc.start()
    try:
        load(rejected=MANY)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held() == (2, MANY, 1)
    assert peak < 8 * 2**20


def test_what_s3_says_while_rejected_rows_stream_is_what_the_run_hears(load, held, lake):
    del lake.client.objects["rejected"]
    with pytest.raises(NotFound):
        load()
    assert held() == (0, 0, 0)
