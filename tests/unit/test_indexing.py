"""The indexes that searches go by: at once over a few rows, aside over many, so that nobody waits who writes."""

import concurrent.futures
import contextlib
import threading
import types

import pytest

from chalicelib.columns import Column
from chalicelib.search import indexing
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, tables, upkeep

TABLE = "indexed_letters"
MODEL = types.SimpleNamespace(model="letters/3", dimensions=3)
WORDS, VECTORS = "the index of words", "the index of vectors of letters/3"
ROW = f"INSERT INTO curated.{TABLE} VALUES (%s, 'a letter', 'r', '0:1', 1, now())"
VECTOR = (
    "INSERT INTO pipeline.embeddings (model, table_name, key, content_hash, embedding, run_id, passage, start, length)"
    f" VALUES ('letters/3', '{TABLE}', %s, '', '[1,2,3]', 'r', 0, 0, 8)"
)


class Letters(Source):
    name = TABLE
    key = ("id",)
    columns = (Column("id", "integer"), Column("body", "text"))
    text = ("body",)


class Store:
    def __init__(self, url):
        self.url, self.source = url, Letters()
        self.execute(f"DROP TABLE IF EXISTS curated.{TABLE} CASCADE")
        self.execute(f"DELETE FROM pipeline.embeddings WHERE table_name = '{TABLE}'")
        self.execute("DELETE FROM pipeline.upkeep_failures")
        for name in self.indexes():
            self.execute(f"DROP INDEX {located(name)}")
        with connection.transaction(url) as opened, opened.cursor() as cursor:
            tables.ensure_curated(cursor, self.source)
        for number in range(3):
            self.execute(ROW, [number])
            self.execute(VECTOR, [f"[{number}]"])

    def execute(self, text, values=None):
        with connection.transaction(self.url) as opened, opened.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def ends(self):
        """What Complete does in the transaction that closes the run."""
        with connection.transaction(self.url) as opened:
            indexing.ensure_over_few(opened, self.source, MODEL)

    def keep_up(self, seconds=60):
        return upkeep.keep_up(self.source, seconds, self.url, MODEL)

    def indexes(self):
        """Those that searches go by, and whether each is whole."""
        return dict(
            self.execute(
                "SELECT c.relname, i.indisvalid FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid"
                " WHERE c.relname LIKE %s OR c.relname LIKE %s",
                (f"{TABLE}%words", f"embeddings_{TABLE}%"),
            )
        )


@pytest.fixture
def store(database_url):
    return Store(database_url)


@contextlib.contextmanager
def writing(store, text, *values):
    """A write that is not committed yet."""
    other = connection.connect(store.url)
    try:
        with other.cursor() as cursor:
            cursor.execute(text, values)
            yield other
    finally:
        other.close()


@pytest.mark.parametrize(("rows", "at_once"), [(3, 2), (2, 0)], ids=["few", "many"])
def test_only_indexes_over_a_few_rows_are_made_while_others_wait(store, monkeypatch, rows, at_once):
    monkeypatch.setattr(indexing, "FEW", rows)
    store.ends()
    assert len(store.indexes()) == at_once
    made = store.keep_up().made
    assert {WORDS, VECTORS} & set(made) == (set() if at_once else {WORDS, VECTORS})
    assert list(store.indexes().values()) == [True, True]
    assert store.keep_up().made == ()


@pytest.mark.parametrize(("text", "value"), [(ROW, 7), (VECTOR, "[7]")], ids=["rows", "embeddings"])
def test_who_writes_does_not_wait_for_an_index_that_is_made_aside(store, monkeypatch, text, value):
    monkeypatch.setattr(indexing, "FEW", 0)
    done = []
    lock = "LOCK TABLE {} IN ROW EXCLUSIVE MODE".format(f"curated.{TABLE}" if text is ROW else "pipeline.embeddings")
    with writing(store, lock) as before, concurrent.futures.ThreadPoolExecutor(1) as pool:
        kept = pool.submit(lambda: done.append(store.keep_up()))
        with contextlib.closing(connection.connect(store.url)) as looking, looking.cursor() as cursor:
            looking.autocommit = True
            cursor.execute("SET lock_timeout = '5s'")
            while not is_true(cursor, BUILDING) and not kept.done():
                pass
            assert not kept.done()  # it waits for the write that began before it
            cursor.execute(text, (value,))
        before.commit()
        kept.result(timeout=60)
    [found] = done
    assert {WORDS, VECTORS} <= set(found.made) and found.left == ()
    assert list(store.indexes().values()) == [True, True]


BUILDING = "SELECT count(*) FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting for%'"
ASIDE = "CREATE INDEX CONCURRENTLY {} ON pipeline.embeddings (model) WHERE table_name = 'another'"


@pytest.mark.parametrize("deletes", [False, True], ids=["first to write", "in a deadlock"])
def test_a_run_that_ends_does_not_wait_for_an_index_that_another_source_makes_aside(store, monkeypatch, deletes):
    monkeypatch.setattr(indexing, "WAIT", "200ms")
    name = f"embeddings_{TABLE}_of_another"

    def make_aside():
        with contextlib.closing(connection.connect(store.url)) as another, another.cursor() as cursor:
            another.autocommit = True
            cursor.execute(ASIDE.format(name))

    def ends():
        with connection.transaction(store.url) as opened, opened.cursor() as cursor:
            if deletes:
                cursor.execute("DELETE FROM pipeline.embeddings WHERE table_name = 'another'")
                began.set()
                wait_until_builds()
            indexing.ensure_over_few(opened, store.source, MODEL)
            cursor.execute("SHOW lock_timeout")
            return cursor.fetchone()[0]

    def wait_until_builds():
        with contextlib.closing(connection.connect(store.url)) as looking, looking.cursor() as cursor:
            looking.autocommit = True
            while not is_true(cursor, BUILDING):
                pass

    began = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        with contextlib.ExitStack() as held:
            if deletes:
                ended = pool.submit(ends)
                assert began.wait(10)
                made = pool.submit(make_aside)
            else:
                held.enter_context(writing(store, VECTOR, "[7]"))
                made = pool.submit(make_aside)
                wait_until_builds()
                ended = pool.submit(ends)
            assert ended.result(timeout=20) == "45s"
        made.result(timeout=20)
    assert [found for found in store.indexes() if found.endswith("words")]
    store.keep_up()
    store.execute(f"DROP INDEX pipeline.{name}")
    assert len(store.indexes()) == 2


def is_true(cursor, text):
    cursor.execute(text)
    return bool(cursor.fetchone()[0])


def test_an_index_that_is_not_made_in_time_leaves_nothing_and_is_made_by_the_command(store, monkeypatch):
    monkeypatch.setattr(indexing, "FEW", 0)
    with writing(store, ROW, 7) as before:
        left = store.keep_up(seconds=1).left
        before.commit()
    assert f"{WORDS} of curated.{TABLE}: it took more than the 1 s there were" in left
    assert WORDS not in store.keep_up(seconds=60).made, "on the same day nothing but its remains go"
    assert not [name for name in store.indexes() if name.endswith("words")]
    assert WORDS in store.keep_up(seconds=None).made
    assert list(store.indexes().values()) == [True, True]


@pytest.mark.parametrize("few", [10, 0], ids=["at once", "aside"])
def test_what_is_left_of_an_index_that_broke_off_is_made_anew(store, monkeypatch, few):
    monkeypatch.setattr(indexing, "FEW", 10)
    store.ends()
    assert len(store.indexes()) == 2
    for name in store.indexes():
        store.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", [located(name)])
    monkeypatch.setattr(indexing, "FEW", few)
    store.ends()
    store.keep_up()
    assert list(store.indexes().values()) == [True, True]


def test_another_language_or_precision_takes_the_place_of_what_was_there_aside_too(store, monkeypatch):
    monkeypatch.setattr(indexing, "FEW", 0)
    store.keep_up()
    before = set(store.indexes())
    store.source.language, store.source.vectors = "english", "half"
    done = store.keep_up()
    assert {WORDS, VECTORS} <= set(done.made), done.left
    assert len(store.indexes()) == 2 and not before & set(store.indexes())


def test_a_source_without_text_or_vectors_lacks_none(store):
    store.execute(f"DELETE FROM pipeline.embeddings WHERE table_name = '{TABLE}'")
    store.ends()
    assert [name for name in store.indexes() if not name.endswith("words")] == []
    store.source.text = ()
    with connection.transaction(store.url) as opened, opened.cursor() as cursor:
        assert indexing.missing(cursor, store.source, MODEL) == []


def located(name):
    return f"pipeline.{name}" if name.startswith("embeddings_") else f"curated.{name}"
