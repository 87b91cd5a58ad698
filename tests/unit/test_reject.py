"""Reject: the run is closed; whoever redrives it is told of the code that rejected it."""

import uuid

import pytest
from memory_s3 import MemoryS3

from chalicelib import code_fingerprint, settings, sources
from chalicelib.contracts import RejectRequest, Window
from chalicelib.lake.store import Lake
from chalicelib.settings import Settings
from chalicelib.stages import reject as stage
from chalicelib.warehouse import connection, ledger, tables


@pytest.mark.parametrize("deployed", [False, True], ids=["same code", "other code"])
def test_a_run_that_other_code_rejects_may_be_redriven_once_that_is_rolled_back(database_url, monkeypatch, deployed):
    monkeypatch.setattr(settings, "current", lambda: Settings(bucket="bucket", database_url=database_url))
    monkeypatch.setattr(stage, "Lake", lambda bucket: Lake(bucket, MemoryS3()))
    run_id, posts = f"posts-{uuid.uuid4().hex[:8]}", sources.get("posts")
    code = code_fingerprint.of(posts, settings.current())
    with connection.transaction(database_url) as conn, conn.cursor() as cursor:
        tables.ensure_curated(cursor, posts)
        began, began_by = "2026-01-01T00:00:00Z", "another" if deployed else code
        ledger.open_run(cursor, posts, run_id, "arn", {"source": "posts"}, Window(), began, began_by)
    stage.reject(RejectRequest(run_id, "posts"))
    with connection.transaction(database_url) as conn:
        run = ledger.get_run(conn, run_id)
    assert (run["status"], run["code"]) == ("rejected", None if deployed else code)
