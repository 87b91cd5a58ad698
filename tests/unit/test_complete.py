"""Complete: closes the run once, with the indexes that searches go by; a run that has ended otherwise stays so."""

import datetime as dt
import types
import uuid

import pytest

from chalicelib import settings, sources
from chalicelib.contracts import CompleteRequest, Window
from chalicelib.embeddings import provider
from chalicelib.errors import ContractError
from chalicelib.search import indexing
from chalicelib.settings import Settings
from chalicelib.stages.complete import complete
from chalicelib.warehouse import connection, ledger, publishing, tables

MODEL = types.SimpleNamespace(model="complete/3", dimensions=3)
LOST = {"state": "unknown", "error": "RunLost", "reason": "its execution ended as ABORTED"}


@pytest.fixture
def query(database_url, monkeypatch):
    monkeypatch.setattr(settings, "current", lambda: Settings(bucket="lake", database_url=database_url))
    monkeypatch.setattr(provider, "current", lambda settings: MODEL)

    def query(text, *values):
        with connection.transaction(database_url) as opened, opened.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    yield query
    query("DELETE FROM pipeline.embeddings WHERE model = %s", MODEL.model)
    query("DROP TABLE IF EXISTS curated.posts")


@pytest.fixture
def run_id(query, database_url):
    """A run of posts that is published, with a row and its vector."""
    name, source = f"posts-{uuid.uuid4().hex[:8]}", sources.get("posts")
    with connection.transaction(database_url) as opened, opened.cursor() as cursor:
        tables.ensure_curated(cursor, source)
        given, began = {"source": "posts"}, dt.datetime.now(dt.UTC).isoformat()
        ledger.open_run(cursor, source, name, "arn", given, Window(), began)
        ledger.publish(cursor, name, "pass", publishing.Account(0, 0, 0, 0, 0, 0))
    query(
        "INSERT INTO curated.posts (kind, id, post_id, title, body, _run_id, _raw, _fingerprint, _loaded_at)"
        " VALUES ('post', 1, 1, 'some', 'words', %s, '0:1', 1, now())",
        name,
    )
    query(
        "INSERT INTO pipeline.embeddings"
        " (model, table_name, key, content_hash, embedding, run_id, passage, start, length)"
        " VALUES (%s, 'posts', %s, '', '[1,2,3]', %s, 0, 0, 8)",
        MODEL.model,
        '["post", 1]',
        name,
    )
    return name


def indexes(query):
    found = query(
        "SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid"
        " WHERE i.indisvalid AND (c.relname ~ '^posts_.*_words$' OR c.relname ~ '^embeddings_posts_.*_hnsw$')"
    )
    return [name for (name,) in found]


def run(query, run_id):
    return query("SELECT status, embedded, finished_at FROM pipeline.runs WHERE run_id = %s", run_id)[0]


@pytest.mark.parametrize("few", [indexing.FEW, 0], ids=["few rows", "many rows"])
def test_a_run_ends_with_the_indexes_of_searches_however_many_rows_there_are(query, run_id, monkeypatch, few):
    monkeypatch.setattr(indexing, "FEW", few)
    for name in indexes(query):  # of vectors: it outlives its table
        query(f"DROP INDEX pipeline.{name}")
    result = complete(CompleteRequest(run_id=run_id, source="posts"))
    assert (result.status, result.embedded, result.left) == ("succeeded", 1, ())
    assert run(query, run_id)[:2] == ("succeeded", 1) and len(indexes(query)) == 2


def test_a_retry_after_the_commit_answers_as_the_first_did_and_changes_nothing(query, run_id):
    request = CompleteRequest(run_id=run_id, source="posts")
    first, ended = complete(request), run(query, run_id)
    assert complete(request) == first and run(query, run_id) == ended


def test_a_run_that_has_failed_meanwhile_is_not_completed(query, run_id, database_url):
    with connection.transaction(database_url) as opened, opened.cursor() as cursor:
        assert ledger.fail(cursor, run_id, "posts", "arn", {}, LOST)
    with pytest.raises(ContractError, match="the run has ended"):
        complete(CompleteRequest(run_id=run_id, source="posts"))
    assert run(query, run_id)[0] == "failed"
