"""Which texts are embedded, once, passage by passage, on a real Postgres with pgvector."""

import datetime as dt
import json
import struct

import numpy as np
import psycopg2
import pytest
from psycopg2 import sql

from chalicelib.columns import Column
from chalicelib.embeddings import binary_copy, expressions, index, store
from chalicelib.embeddings.passages import Passage
from chalicelib.embeddings.provider import Provider
from chalicelib.errors import EmbeddingsError, EmbeddingsUnavailable
from chalicelib.sources.base import Source
from chalicelib.warehouse import tables


class Notes(Source):
    name = "notes"
    key = ("kind", "id")
    columns = (
        Column("kind", "text", nullable=False),
        Column("id", "integer", nullable=False),
        Column("title", "text"),
        Column("body", "text"),
    )
    text = ("title", "body")


class Readings(Source):
    """A key of every type that JSON shows in its own way."""

    name = "readings"
    key = ("at", "day", "clock", "amount", "ratio", "flag", "tag", "label")
    columns = (
        Column("at", "timestamptz", nullable=False),
        Column("day", "date", nullable=False),
        Column("clock", "timestamp", nullable=False),
        Column("amount", "numeric(12,4)", nullable=False),
        Column("ratio", "double precision", nullable=False),
        Column("flag", "boolean", nullable=False),
        Column("tag", "jsonb", nullable=False),
        Column("label", "text", nullable=False),
        Column("remark", "text"),
    )
    text = ("remark",)


class Counting(Provider):
    """Vectors of letters counted; remembers what it was asked."""

    def __init__(self, model="letters/26", fail_at=None):
        self.model, self.dimensions, self.fail_at = model, 26, fail_at
        self.asked = []

    def embed(self, texts):
        if self.fail_at is not None and len(self.asked) + len(texts) > self.fail_at:
            raise EmbeddingsUnavailable("killed")
        self.asked += texts
        counts = [[1 + text.lower().count(chr(97 + i)) for i in range(26)] for text in texts]
        return (np.array(counts) / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


def indexes_of(cursor):
    cursor.execute("SELECT indexname FROM pg_indexes WHERE indexname LIKE 'embeddings\\_notes%%'")
    return [name for (name,) in cursor.fetchall()]


@pytest.fixture
def connection(database_url):
    connection = psycopg2.connect(database_url)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS curated.notes, curated.readings; TRUNCATE pipeline.embeddings")
        for name in indexes_of(cursor):
            cursor.execute(sql.SQL("DROP INDEX pipeline.{}").format(sql.Identifier(name)))
        for source in (Notes(), Readings()):
            tables.ensure_curated(cursor, source)
    connection.commit()
    yield connection
    connection.close()


@pytest.fixture
def notes():
    return Notes()


def put(connection, *rows):
    """Insert or replace notes (kind, id, title, body)."""
    with connection.cursor() as cursor:
        for row in rows:
            cursor.execute(
                "INSERT INTO curated.notes VALUES (%s, %s, %s, %s, 'r', '0:1', 0, now())"
                " ON CONFLICT (kind, id) DO UPDATE SET title = excluded.title, body = excluded.body",
                row,
            )
    connection.commit()


def embed(connection, source, provider, shards=1, **options):
    return sum(store.embed_pending(connection, source, provider, "run-1", i, shards, **options) for i in range(shards))


def stored(connection, column):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT key, {column} FROM pipeline.embeddings ORDER BY key")
        return dict(cursor.fetchall())


def stored_places(connection):
    """(key, (passage, start, length)) of every vector."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT key, passage, start, length FROM pipeline.embeddings ORDER BY key, passage")
        return [(key, tuple(place)) for key, *place in cursor]


def vectors(connection):
    """By key and passage, of any model."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT key, passage, embedding::text FROM pipeline.embeddings")
        return {(key, passage): np.array(vector.strip("[]").split(","), np.float32) for key, passage, vector in cursor}


def indexes(connection):
    """Definitions of those of the notes' vectors."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'embeddings\\_notes%%'")
        return [definition for (definition,) in cursor]


def test_new_texts_are_embedded_once(connection, notes):
    put(connection, ("post", 1, "Bread", "Flour and water"), ("post", 2, "Trains", None))
    provider = Counting()
    assert embed(connection, notes, provider) == 2
    assert sorted(provider.asked) == ["Bread\nFlour and water", "Trains"]
    assert embed(connection, notes, provider) == 0
    assert len(provider.asked) == 2


def test_only_changed_text_is_embedded_again(connection, notes):
    put(connection, *(("post", i, f"title {i}", "body") for i in range(20)))
    embed(connection, notes, Counting())
    put(connection, ("post", 7, "title 7", "another body"), ("post", 8, "title 8", "body"))
    provider = Counting()
    assert store.embed_pending(connection, notes, provider, "run-2", 0, 1) == 1
    assert provider.asked == ["title 7\nanother body"]
    runs = stored(connection, "run_id")
    assert len(runs) == 20
    with connection.cursor() as cursor:
        assert [store.count_of_run(cursor, run) for run in ("run-1", "run-2", "run-3")] == [19, 1, 0]
    assert [key for key, run in runs.items() if run == "run-2"] == ['["post", 7]']


def test_a_changed_text_replaces_its_vector(connection, notes):
    put(connection, ("post", 1, "aaa", None))
    embed(connection, notes, Counting())
    put(connection, ("post", 1, "zzz", None))
    embed(connection, notes, Counting())
    expected = Counting().embed(["zzz"])[0]
    assert vectors(connection) == {('["post", 1]', 0): pytest.approx(expected)}


def test_pending_texts_come_by_the_length_of_their_keys_and_say_whether_they_have_vectors(connection, notes):
    put(connection, *(("post", number, f"text {number}", None) for number in (100, 7, 30, 4)))
    embed(connection, notes, Counting())
    put(connection, ("post", 30, "other", None), ("post", 2, "new", None), ("ö", 1, "new", None))
    found = store.pending(connection, notes, "letters/26", 0, 1, 10)
    assert [(row.key, row.has_vectors) for row in found] == [
        ('["ö", 1]', False), ('["post", 2]', False), ('["post", 30]', True)
    ]  # fmt: skip


def test_another_model_embeds_everything_and_keeps_the_first_ones_vectors(connection, notes):
    put(connection, ("post", 1, "one", None))
    embed(connection, notes, Counting())
    assert embed(connection, notes, Counting("letters-2/26")) == 1
    assert embed(connection, notes, Counting()) == 0


@pytest.mark.parametrize("blank", [None, "", " \n\t", "\u00a0\u2003\u3000"])
def test_rows_without_text_are_left_out(connection, notes, blank):
    put(connection, ("post", 1, blank, None), ("post", 2, None, blank), ("post", 3, blank, "text"))
    assert store.shards(connection, notes, Counting(), 1) == 1
    assert embed(connection, notes, Counting()) == 1


def test_a_text_hidden_behind_much_white_space_does_not_arrive_blank(connection, notes):
    put(connection, ("post", 1, " " * 60_000, "end"))
    provider = Counting()
    embed(connection, notes, provider)
    assert provider.asked == ["end"]


def test_a_change_at_the_end_of_a_long_text_counts_as_a_change(connection, notes):
    put(connection, ("post", 1, "x" * 60_000, None))
    provider = Counting()
    assert embed(connection, notes, provider) == 1
    assert [len(text) for text in provider.asked] == [2000] * 30
    put(connection, ("post", 1, "x" * 60_000 + "y", None))
    assert embed(connection, notes, provider) == 1
    assert provider.asked[-1] == "y"


def test_unicode_texts_and_keys_go_through_unharmed(connection, notes):
    rows = [
        ("Größe", 1, "naïve café", "猫 🐈"),
        ('"quoted" \\ back', 2, "العربية", None),
        ("tab\tline\n", 3, "é", None),
    ]
    put(connection, *rows)
    provider = Counting()
    assert embed(connection, notes, provider, shards=3) == 3
    assert sorted(provider.asked) == sorted(["naïve café\n猫 🐈", "العربية", "é"])
    assert sorted(tuple(json.loads(key)) for key, _ in vectors(connection)) == sorted(
        (kind, number) for kind, number, *_ in rows
    )


def test_keys_of_every_type_lead_back_to_their_row_in_any_time_zone(connection):
    source, provider = Readings(), Counting()
    values = (
        dt.datetime(2025, 3, 30, 1, 30, 0, 123456, dt.UTC), dt.date(2024, 2, 29), dt.datetime(2025, 1, 2, 3, 4, 5),
        "12.3400", 0.1 + 0.2, True, '{"b": [1, null], "a": "x"}', "label",
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("SET timezone TO 'Asia/Kolkata'; SET datestyle TO 'German'")
        cursor.execute(
            "INSERT INTO curated.readings VALUES (%s,%s,%s,%s,%s,%s,%s,%s,'remark','r','0:1',0,now())", values
        )
        assert embed(connection, source, provider) == 1
        cursor.execute("SET timezone TO 'America/Lima'; SET datestyle TO 'ISO'")
        assert embed(connection, source, provider) == 0
        assert store.remove_orphans(connection, source) == 0
        leads_back = sql.SQL("SELECT t.at, t.ratio FROM pipeline.embeddings AS e JOIN curated.readings AS t ON {}")
        cursor.execute(leads_back.format(expressions.same_key(source, sql.SQL("e.key::jsonb"))))
        assert cursor.fetchall() == [(values[0], values[4])]


def test_shards_share_the_texts_out_completely(connection, notes):
    put(connection, *(("post", i, f"text {i}", None) for i in range(200)))
    assert store.shards(connection, notes, Counting(), 60) == 4
    parts = [{row.key for row in store.pending(connection, notes, "letters/26", i, 4, 1000)} for i in range(4)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 200
    assert all(parts)


def test_shards_grow_rather_than_be_more_than_one_execution_can_count(connection, notes, monkeypatch):
    put(connection, *(("post", i, f"text {i}", None) for i in range(200)))
    monkeypatch.setattr(store.limits, "EMBED_SHARDS", 3)
    assert store.shards(connection, notes, Counting(), 60) == 3


def test_nothing_pending_means_no_shards(connection, notes):
    assert store.shards(connection, notes, Counting(), 100) == 0


def test_a_killed_shard_resumes_where_it_stopped(connection, database_url, notes):
    put(connection, *(("post", i, f"text {i}", None) for i in range(50)))
    first = Counting(fail_at=30)
    with pytest.raises(EmbeddingsUnavailable, match="killed"):
        embed(connection, notes, first, batch=10)
    connection.close()
    again = Counting()
    other = psycopg2.connect(database_url)
    assert embed(other, notes, again, batch=10) == 20
    assert sorted(first.asked + again.asked) == sorted(f"text {i}" for i in range(50))
    assert len(stored(other, "run_id")) == 50
    other.close()


def test_running_out_of_time_is_transient_and_keeps_what_is_done(connection, notes):
    put(connection, *(("post", i, f"text {i}", None) for i in range(30)))
    clock = iter([300.0, 200.0, 5.0])
    with pytest.raises(EmbeddingsUnavailable, match="after 20 texts"):
        embed(connection, notes, Counting(), batch=10, remaining_seconds=lambda: next(clock))
    assert embed(connection, notes, Counting(), batch=10) == 10


def test_vectors_are_stored_exactly(connection, notes):
    put(connection, ("post", 1, "a", None), ("post", 2, "b", None))
    rows = store.pending(connection, notes, "random/384", 0, 1, 10)
    wanted = np.random.default_rng(1).normal(size=(2, 384)).astype(np.float32)
    for _ in range(2):  # in the same transaction too
        store.write(connection, notes, "random/384", "run-1", rows, [[Passage(0, 1)]] * 2, wanted)
    for row, vector in zip(rows, wanted, strict=True):
        assert np.array_equal(vectors(connection)[row.key, 0], vector)


@pytest.mark.parametrize("made", [np.zeros((2, 3), np.float32), np.array([[np.nan, 1]], np.float32)])
def test_vectors_that_do_not_fit_the_texts_are_refused(connection, notes, made):
    row = store.Pending("[1]", "text", bytes(32))
    with pytest.raises(EmbeddingsError):
        store.write(connection, notes, "m/3", "run-1", [row], [[Passage(0, 4)]], made)


def test_vectors_of_deleted_or_emptied_rows_are_removed(connection, notes):
    put(connection, *(("post", i, f"text {i}", None) for i in range(4)))
    embed(connection, notes, Counting())
    embed(connection, notes, Counting("letters-2/26"))
    put(connection, ("post", 1, " ", None))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM curated.notes WHERE id = 2")
    assert store.remove_orphans(connection, notes) == 4
    assert set(stored(connection, "run_id")) == {'["post", 0]', '["post", 3]'}


def test_two_models_of_other_dimensions_each_have_their_index(connection, notes):
    put(connection, ("post", 1, "text", None))
    rows = store.pending(connection, notes, "m/3", 0, 1, 10)
    for dimensions in (3, 5):
        model = f"m/{dimensions}"
        ones = np.ones((1, dimensions), np.float32)
        store.write(connection, notes, model, "run-1", rows, [[Passage(0, 4)]], ones)
        for _ in range(2):
            index.ensure(connection, notes, model, dimensions)
    assert len(indexes(connection)) == 2


def test_another_precision_takes_the_place_of_the_index_that_was_there(connection, notes):
    put(connection, ("post", 1, "text", None))
    embed(connection, notes, Counting())
    index.ensure(connection, notes, "letters/26", 26)
    notes.vectors = "half"
    index.ensure(connection, notes, "letters/26", 26)
    [definition] = indexes(connection)
    assert "halfvec_cosine_ops" in definition
    notes.vectors = "single"
    index.ensure(connection, notes, "letters/26", 26)
    [definition] = indexes(connection)
    assert "vector_cosine_ops" in definition and "halfvec" not in definition


def test_a_source_without_text_has_nothing_pending(connection):
    class Silent(Notes):
        name = "notes"
        text = ()

    assert store.shards(connection, Silent(), Counting(), 100) == 0


# --- passages --------------------------------------------------------------------------------


def test_a_long_text_has_a_vector_for_each_passage_and_only_those_of_its_present_length(connection, notes):
    sentence = "The night train leaves at ten and reaches the sea before breakfast. "
    put(connection, ("post", 1, "Trains", sentence * 100), ("post", 2, "Short", None))
    provider = Counting()
    assert embed(connection, notes, provider) == 2
    places = stored_places(connection)
    long = [place for key, place in places if key == '["post", 1]']
    assert [place[0] for place in long] == list(range(len(long))) and len(long) == len(provider.asked) - 1 > 3
    whole = "Trains\n" + (sentence * 100).strip()
    assert sorted(whole[start : start + length] for _, start, length in long) == sorted(
        text for text in provider.asked if text != "Short"
    )
    assert long[-1][1] + long[-1][2] == len(whole)
    with connection.cursor() as cursor:
        assert store.count_of_run(cursor, "run-1") == 2
        assert store.characters_of_run(cursor, "run-1") == sum(map(len, provider.asked))
    put(connection, ("post", 1, "Trains", "A few words."))
    assert embed(connection, notes, Counting()) == 1
    assert [key for key, _ in stored_places(connection)] == ['["post", 1]', '["post", 2]']
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM curated.notes WHERE id = 1")
    put(connection, ("post", 3, "Trains", sentence * 100))
    embed(connection, notes, Counting())
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM curated.notes WHERE id = 3")
    store.remove_orphans(connection, notes)
    assert [key for key, _ in stored_places(connection)] == ['["post", 2]']


def test_long_texts_make_more_shards(connection, notes):
    put(connection, *(("post", i, "x" * 20_000, None) for i in range(10)), ("post", 10, "short", None))
    assert store.shards(connection, notes, Counting(), 10) == 11


def test_the_passages_of_one_text_are_stored_together_or_not_at_all(connection, notes):
    put(connection, ("post", 1, "x" * 60_000, None))
    with pytest.raises(EmbeddingsUnavailable, match="killed"):
        embed(connection, notes, Counting(fail_at=25), batch=10)
    connection.rollback()
    assert stored_places(connection) == []
    assert embed(connection, notes, Counting(), batch=10) == 1
    assert len(stored_places(connection)) == 30


def test_texts_that_are_long_together_are_read_a_few_at_a_time(connection, notes, monkeypatch):
    monkeypatch.setattr(store, "_CHARACTERS_PER_READ", 5000)
    put(connection, *(("post", i, "x" * 3000, None) for i in range(7)))
    assert len(store.pending(connection, notes, "letters/26", 0, 1, 100)) == 2
    assert embed(connection, notes, Counting()) == 7


def test_a_vector_of_before_texts_were_divided_is_made_anew_once(connection, notes):
    put(connection, ("post", 1, "one", None))
    embed(connection, notes, Counting())
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pipeline.embeddings SET length = NULL")
    assert store.shards(connection, notes, Counting(), 100) == 1
    assert [embed(connection, notes, Counting()) for _ in range(2)] == [1, 0]
    assert stored_places(connection) == [('["post", 1]', (0, 0, 3))]


def test_binary_rows_are_laid_out_as_documented():
    hashes = [bytes(range(32)), bytes(32), b"h" * 32]
    vectors = np.array([[1.5, -2], [0, 1], [3, 4]], np.float32)
    places = [(1, 2, 70_000), (0, 0, 5), (2, 4, 6)]
    stream = b"".join(iter(binary_copy.Stream(["model", ""], ["k", "é", "l"], hashes, places, vectors).read, b""))
    fixed = struct.pack(">hi5si", 8, 5, b"model", 0)
    assert stream == (
        b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
        + fixed + struct.pack(">i1s", 1, b"k") + struct.pack(">i", 32) + hashes[0]
        + struct.pack(">iiiiii", 4, 1, 4, 2, 4, 70_000) + struct.pack(">ihhff", 12, 2, 0, 1.5, -2)
        + fixed + struct.pack(">i2s", 2, "é".encode()) + struct.pack(">i", 32) + hashes[1]
        + struct.pack(">iiiiii", 4, 0, 4, 0, 4, 5) + struct.pack(">ihhff", 12, 2, 0, 0, 1)
        + fixed + struct.pack(">i1s", 1, b"l") + struct.pack(">i", 32) + hashes[2]
        + struct.pack(">iiiiii", 4, 2, 4, 4, 4, 6) + struct.pack(">ihhff", 12, 2, 0, 3, 4)
        + struct.pack(">h", -1)
    )  # fmt: skip
