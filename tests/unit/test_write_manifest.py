"""WriteManifest makes room for a run; invoked once more when nobody waits for it any more, it takes nothing away."""

import pytest
from memory_s3 import MemoryS3

from chalicelib import settings, sources
from chalicelib.columns import Column
from chalicelib.contract_reading import write_contract
from chalicelib.contracts import Window, WriteManifestRequest
from chalicelib.errors import ContractError
from chalicelib.lake import keys
from chalicelib.lake.listing import Listing, RawObject
from chalicelib.lake.store import Lake
from chalicelib.settings import Settings
from chalicelib.sources.base import Source
from chalicelib.stages import write_manifest as stage
from chalicelib.warehouse import connection, ledger, publishing, tables
from chalicelib.warehouse.ledger import ChunkCounts

RUN = "manifest-run"


class Shop(Source):
    name = "manifest_shop"
    key = ("id",)
    columns = (Column("id", "integer"),)


@pytest.fixture
def cursor(database_url):
    """A cursor of transactions of their own; the run is entered, and nothing else is known of it."""
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        cursor.execute("DELETE FROM pipeline.runs WHERE run_id = %s", (RUN,))
        tables.ensure_curated(cursor, Shop())
        ledger.open_run(cursor, Shop(), RUN, "arn", {}, Window(), "2026-01-01T00:00:00Z")
        conn.commit()
        yield cursor


@pytest.fixture
def write(monkeypatch, database_url):
    lake = Lake("bucket", MemoryS3())
    monkeypatch.setattr(stage, "Lake", lambda bucket: lake)
    monkeypatch.setattr(settings, "current", lambda: Settings(bucket="bucket", database_url=database_url))
    monkeypatch.setattr(sources, "for_run", lambda *_: Shop())
    listing = Listing((RawObject(0, "raw/part-00000-00000.ndjson", 9, "sha256", 1),), ())
    lake.put_json(keys.listing(RUN, 0), write_contract(listing))
    return lambda: stage.write_manifest(WriteManifestRequest(run_id=RUN, source="manifest_shop", fetched=(0,)))


def staging(cursor):
    cursor.execute("SELECT to_regclass(%s)", (f'staging."{tables.staging_name(Shop.table, RUN)}"',))
    return cursor.fetchone()[0]


def quarantined(cursor):
    cursor.execute(
        "INSERT INTO pipeline.quarantine (run_id, source, chunk, part, line, reasons, record)"
        " VALUES (%s, 'manifest_shop', 0, 0, 1, '[]', '{}')",
        (RUN,),
    )


def test_a_retry_begins_with_an_empty_staging_table(write, cursor):
    write()
    ledger.add_chunk(cursor, RUN, ChunkCounts(0, 1, 1, 0, {}))
    quarantined(cursor)
    cursor.connection.commit()
    write()
    assert staging(cursor) and ledger.chunks(cursor, RUN) == [] and ledger.count_quarantined(cursor, RUN) == 0


def published(cursor):
    account = publishing.merge(cursor, Shop(), RUN, 1, 1)
    ledger.publish(cursor, RUN, "warn", account)


def failed(cursor):
    ledger.fail(cursor, RUN, "manifest_shop", "arn", {}, {"error": "SourceError"})
    tables.drop_staging(cursor, Shop.table, RUN)


def rejected(cursor):
    ledger.reject(cursor, RUN, "code")
    tables.drop_staging(cursor, Shop.table, RUN)


@pytest.mark.parametrize("end", [published, failed, rejected])
def test_once_the_run_has_ended_it_neither_takes_rows_out_of_quarantine_nor_leaves_a_staging_table(write, cursor, end):
    write()
    ledger.add_chunk(cursor, RUN, ChunkCounts(0, 1, 0, 1, {}))
    quarantined(cursor)
    end(cursor)
    cursor.connection.commit()
    with pytest.raises(ContractError, match="the run has ended"):
        write()
    assert staging(cursor) is None
    assert (len(ledger.chunks(cursor, RUN)), ledger.count_quarantined(cursor, RUN)) == (1, 1)


def test_a_plan_that_comes_late_does_not_open_a_run_again_that_has_failed(cursor):
    failed(cursor)
    with pytest.raises(ContractError, match="has failed"):
        ledger.open_run(cursor, Shop(), RUN, "arn", {}, Window(), "2026-01-01T00:00:00Z")
    ledger.open_run(cursor, Shop(), RUN, "arn", {}, Window(), "2026-01-01T00:00:01Z")
    cursor.execute("SELECT status FROM pipeline.runs WHERE run_id = %s", (RUN,))
    assert cursor.fetchone() == ("running",)
