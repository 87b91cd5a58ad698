"""What a search finds, by meaning, by words and by both, on a real Postgres with pgvector."""

import concurrent.futures
import contextlib
import json

import numpy as np
import psycopg2
import pytest
from psycopg2 import sql
from searchable_notes import Letters, Notes, Silent, connect, declare, embed, put, put_memos

from chalicelib import sources
from chalicelib.embeddings import index, store
from chalicelib.embeddings.minilm import MiniLM
from chalicelib.embeddings.passages import Passage
from chalicelib.errors import (
    ConfigurationError,
    ContractError,
    DeclarationError,
    EmbeddingsError,
    EmbeddingsUnavailable,
    RequestRefused,
    UnknownSource,
)
from chalicelib.reading import records
from chalicelib.search import declaration, finding, fulltext, semantic
from chalicelib.search.answer import HYBRID, MODES, SEMANTIC, TEXT
from chalicelib.search.hit import Filter
from chalicelib.warehouse import tables


@pytest.fixture
def declared(monkeypatch):
    return declare(monkeypatch)


@pytest.fixture
def connection(database_url, declared):
    connection = connect(database_url)
    yield connection
    connection.close()


def reading(connection):
    """`transaction` of `finding.find`."""

    @contextlib.contextmanager
    def transaction():
        try:
            yield connection
        finally:
            connection.rollback()

    return transaction


def find(connection, words, mode=HYBRID, source=None, limit=10, provider=None, **options):
    return finding.find(reading(connection), words, lambda: provider or Letters(), mode, source, limit, **options)


def ids(answer):
    return [result.key["id"] for result in answer.results]


# --- by meaning ------------------------------------------------------------------------------


def test_rows_are_found_by_what_their_text_means(connection, declared):
    put(
        connection,
        (1, "Sourdough", "Feed the starter twice a day and let the loaf rise overnight."),
        (2, "Night trains", "The sleeper from Vienna reaches the sea before breakfast."),
        (3, "Rates", "The central bank made borrowing dearer again."),
    )
    model = MiniLM()
    embed(connection, declared["notes"], model)
    for question, number in [
        ("how to bake bread at home", 1),
        ("travelling by rail", 2),
        ("interest and inflation", 3),
    ]:
        found = find(connection, question, SEMANTIC, provider=model)
        assert ids(found)[0] == number and len(found.results) == 3
        scores = [result.score for result in found.results]
        assert scores == sorted(scores, reverse=True)
        assert found.results[0].parts[SEMANTIC].score == scores[0] and set(found.results[0].parts) == {SEMANTIC}


def test_of_a_long_text_the_passage_that_matches_is_found_and_the_row_is_once_in_the_answer(connection, declared):
    filler = "The sleeper from Vienna reaches the sea before breakfast and turns around. " * 25
    put(
        connection,
        (1, "Night trains", filler + "Feed the sourdough starter twice a day and let the loaf rise. " + filler),
        (2, "Rates", "The central bank made borrowing dearer again."),
    )
    model = MiniLM()
    embed(connection, declared["notes"], model)
    answer = find(connection, "sourdough loaf", SEMANTIC, provider=model)
    assert ids(answer) == [1, 2]
    best = answer.results[0].excerpt
    assert "sourdough starter" in best.text and len(best.text) < 2000
    assert best.start > 800
    assert [best.text[start:end] for start, end in best.marks] == ["sourdough", "loaf"]


def test_one_row_of_many_near_passages_does_not_take_the_place_of_others(connection, declared):
    source = declared["notes"]
    put(connection, *((i, f"text {i}", None) for i in range(30)))
    rows = store.pending(connection, source, "m/3", 0, 1, 100)
    many = 400
    passages = [[Passage(0, 4)] * (many if row.key == '["ada", 0]' else 1) for row in rows]
    rng = np.random.default_rng(3)
    vectors = np.concatenate(
        [[1, 0, 0] + (0.1 if len(of) == many else 1) * rng.normal(size=(len(of), 3)) for of in passages]
    ).astype(np.float32)
    store.write(connection, source, "m/3", "run-1", rows, passages, vectors)
    index.ensure(connection, source, "m/3", 3)
    hits = semantic.nearest(connection, source, "m/3", np.array([1, 0, 0], np.float32), 10)
    assert len(hits) == len({hit.key for hit in hits}) == 10
    assert hits[0].key == '["ada", 0]'


@pytest.mark.parametrize("precision", [declaration.SINGLE, declaration.HALF])
def test_the_index_finds_what_the_exact_search_finds(connection, declared, precision):
    source = declared["notes"]
    source.vectors = precision
    put(connection, *((i, f"text {i}", None) for i in range(400)))
    rows = store.pending(connection, source, "random/8", 0, 1, 1000)
    vectors = np.random.default_rng(2).normal(size=(400, 8)).astype(np.float32)
    store.write(connection, source, "random/8", "run-1", rows, [[Passage(0, 4)]] * 400, vectors)
    index.ensure(connection, source, "random/8", 8)
    connection.commit()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    exact = np.argsort(-unit @ unit[5])[:5]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        hits = semantic.nearest(connection, source, "random/8", vectors[5], 5)
        assert [hit.key for hit in hits] == [rows[number].key for number in exact]
        assert [hit.score for hit in hits] == pytest.approx(unit[exact] @ unit[5], abs=1e-6)
        cursor.execute(
            "SELECT sum(pg_stat_get_xact_numscans(indexrelid)) FROM pg_index JOIN pg_class ON oid = indexrelid"
            " WHERE indrelid = 'pipeline.embeddings'::regclass AND relname LIKE 'embeddings\\_search\\_notes%'"
        )
        assert cursor.fetchone()[0] > 0


@pytest.mark.parametrize("cost", [0, 3], ids=["by the index", "from the few that it keeps"])
def test_a_filter_does_not_starve_the_answer(connection, declared, monkeypatch, cost):
    monkeypatch.setattr(semantic, "_COST_BY_INDEX", cost)
    source = declared["notes"]
    put(connection, *((i, "aaa" if i < 390 else "zzz", None) for i in range(400)))
    embed(connection, source)
    kept = Filter(sql.SQL("t.id >= {}").format(sql.Placeholder("least")), {"least": 390})
    hits = semantic.nearest(connection, source, "letters/26", Letters().embed(["aaa"])[0], 10, kept)
    assert sorted(json.loads(hit.key)[1] for hit in hits) == list(range(390, 400))
    # none is kept
    none = Filter(sql.SQL("t.id > 1000"))
    assert semantic.nearest(connection, source, "letters/26", Letters().embed(["a"])[0], 10, none) == []


def test_filters_are_those_of_records_and_hold_in_every_mode(connection, declared):
    put_memos(connection, *((i, "a tap" if i % 2 else "pat") for i in range(20)))
    embed(connection, declared["memos"])
    for mode in MODES:
        found = ids(find(connection, "tap", mode, "memos", filters=("id:ge:10", "id:lt:14")))
        assert sorted(found) == ([11, 13] if mode == TEXT else [10, 11, 12, 13])
    for filters, told in (
        (("nosuch:eq:1",), "no column 'nosuch'"),
        (("id:eq:x'; DROP TABLE curated.search_memos; --",), "no such value"),
        (("id",), "no column:operator:value"),
    ):
        with pytest.raises(ContractError, match=told):
            find(connection, "tap", HYBRID, "memos", filters=filters)
    with pytest.raises(ContractError, match="name the source"):
        find(connection, "tap", filters=("id:eq:1",))


def test_nobody_finds_out_personal_values_by_filters(connection):
    put(connection, (1, "tap", None))
    with pytest.raises(RequestRefused, match="personal"):
        find(connection, "tap", TEXT, "notes", filters=("secret:eq:hush",))


def test_an_id_is_the_one_by_which_the_record_is_read(connection):
    put_memos(connection, (7, "a tap"))
    (result,) = find(connection, "tap", TEXT, "memos").results
    assert records.record(connection, result.id)["values"]["id"] == 7


def test_the_ways_of_one_search_do_not_bind_what_follows_it_in_its_transaction(connection, declared):
    put(connection, *((i, "tap", None) for i in range(50)))
    embed(connection, declared["notes"])
    names = ("enable_sort", "random_page_cost", "max_parallel_workers_per_gather", "hnsw.ef_search")
    kept = Filter(sql.SQL("t.id < 5"))

    def known(cursor):
        cursor.execute("SELECT " + ", ".join(f"current_setting('{name}', true)" for name in names))
        return cursor.fetchone()

    with connection.cursor() as cursor:
        cursor.execute("LOAD 'vector'; SET LOCAL random_page_cost = 3")
        before = known(cursor)
        for options in ({}, {"kept": kept}):
            assert semantic.nearest(connection, declared["notes"], "letters/26", np.ones(26, np.float32), 5, **options)
            assert known(cursor) == before


@pytest.mark.parametrize("mode", [SEMANTIC, HYBRID])
def test_no_transaction_waits_for_the_model(connection, declared, mode):
    put(connection, (1, "tap", None))
    embed(connection, declared["notes"])
    states = []

    class Watched(Letters):
        def embed(self, texts):
            states.append(connection.info.transaction_status)
            return super().embed(texts)

    assert ids(find(connection, "tap", mode, "notes", provider=Watched())) == [1]
    assert states == [psycopg2.extensions.TRANSACTION_STATUS_IDLE]


def test_vectors_of_other_models_are_not_compared(connection, declared):
    put(connection, (1, "abc", None))
    embed(connection, declared["notes"])

    class Others(Letters):
        model = "others/26"

    answer = find(connection, "abc", SEMANTIC, "notes", provider=Others())
    assert answer.results == () and "others/26 has embedded none of it yet" in answer.notes[0]


def test_sources_that_have_rows_and_no_text_are_named_where_nothing_else_could_be_searched(connection, declared):
    told = "not searched, as they name no text: counts"
    with connection.cursor() as cursor:
        tables.ensure_curated(cursor, declared["counts"])
        put(connection, (1, "Taps", "The tap dripped."))
        assert told not in find(connection, "tap", TEXT).notes
        cursor.execute("DROP TABLE curated.search_notes, curated.search_memos")
        connection.commit()
        try:
            answer = find(connection, "tap", TEXT)
        finally:
            cursor.execute("DROP TABLE curated.counts")
            connection.commit()
    assert answer.results == () and told in answer.notes
    assert told not in find(connection, "tap", TEXT).notes


# --- by words --------------------------------------------------------------------------------


def test_words_are_found_in_all_their_forms_in_the_sources_language(connection, declared):
    put(connection, (1, "Taps", "The tap dripped."), (2, "Trains", "No water here."))
    put_memos(connection, (1, "A dripping tap"), (2, "the taps dripped"))
    embed(connection, declared["notes"])
    answer = find(connection, "dripping tap", TEXT)
    assert [(result.source, result.key["id"]) for result in answer.results] == [("memos", 1), ("notes", 1)] or [
        (result.source, result.key["id"]) for result in answer.results
    ] == [("notes", 1), ("memos", 1)]  # memos are of no language: exact words
    marks = {r.source: [r.excerpt.text[s:e] for s, e in r.excerpt.marks] for r in answer.results}
    assert marks == {"notes": ["Taps", "tap", "dripped"], "memos": ["dripping", "tap"]}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tap washer", [1]),
        ("tap or train", [1, 2, 3]),
        ('"night train"', [2]),
        ('"train night"', []),
        ("tap -washer", [3]),
        ("nosuchword", []),
        ("'; DROP TABLE curated.search_notes; --", []),
        ("%s %(x)s {text} \\", []),
    ],
)
def test_a_query_is_written_as_for_a_web_search_engine(connection, words, expected):
    put(connection, (1, "a", "A tap and a washer"), (2, "b", "The night train"), (3, "c", "Another tap"))
    answer = find(connection, words, TEXT, "notes")
    assert sorted(ids(answer)) == expected
    assert bool(answer.notes) != bool(expected)


def test_what_must_not_be_there_is_not_marked(connection):
    put(connection, (1, "a", "A tap of brass, of a house"))
    (result,) = find(connection, 'tap -washer -"garden house"', TEXT, "notes").results
    assert [result.excerpt.text[start:end] for start, end in result.excerpt.marks] == ["tap"]


@pytest.mark.parametrize("words", ["-oven", '-"night train"', "tap or -oven", "the -oven"])
def test_words_that_must_not_be_there_are_nothing_to_look_for(connection, declared, words):
    """Every row without the word would be as good as any other, and hybrid search would count that as a place."""
    put(connection, (1, "zzz", None), (2, "pat", None))
    embed(connection, declared["notes"])
    told = "notes is not searched by words: the query has none that count in its language, english"
    answer = find(connection, words, TEXT, "notes")
    assert (answer.results, answer.notes) == ((), (told,))
    answer = find(connection, words, HYBRID, "notes")
    assert len(answer.results) == 2 and answer.notes == (told,)
    assert all(set(result.parts) == {SEMANTIC} for result in answer.results)


def test_the_row_with_the_words_nearer_to_each_other_comes_first(connection):
    put(connection, (1, "x", "tap " + "and so on " * 30 + "washer"), (2, "x", "tap washer"), (3, "x", "tap"))
    answer = find(connection, "tap washer", TEXT, "notes")
    assert ids(answer) == [2, 1]
    assert 0 < answer.results[1].score < answer.results[0].score < 1


def test_words_go_by_an_index_that_follows_the_declaration(connection, declared):
    source = declared["notes"]
    put(connection, *((i, f"word{i}", None) for i in range(2000)))
    with connection.cursor() as cursor:
        definitions = []
        for language in ("english", "english", "simple"):
            source.language = language
            fulltext.ensure_index(cursor, source)
            cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'search_notes%_words'")
            definitions.append(cursor.fetchall())
        assert definitions[0] == definitions[1] and len(definitions[2]) == 1
        assert "'simple'::regconfig" in definitions[2][0][0]
        cursor.execute("SET LOCAL enable_seqscan = off")
        assert [hit.key for hit in fulltext.matching(connection, source, "word77", 5)] == ['["ada", 77]']
        cursor.execute(
            "SELECT sum(pg_stat_get_xact_numscans(indexrelid)) FROM pg_index JOIN pg_class ON oid = indexrelid"
            " WHERE indrelid = 'curated.search_notes'::regclass AND relname LIKE '%\\_words'"
        )
        assert cursor.fetchone()[0] > 0


def test_an_index_that_somebody_else_made_is_left_alone(connection, declared):
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX search_notes_key_words ON curated.search_notes (title)")
        for language in ("english", "simple"):
            declared["notes"].language = language
            fulltext.ensure_index(cursor, declared["notes"])
        cursor.execute("SELECT indexname FROM pg_indexes WHERE indexname ~ '^search_notes.*_words$' ORDER BY 1")
        names = [name for (name,) in cursor.fetchall()]
    assert len(names) == 2 and "search_notes_key_words" in names


def test_runs_that_end_at_once_make_the_index_of_words_once(connection, database_url, declared):
    def ends():
        with contextlib.closing(psycopg2.connect(database_url)) as other, other, other.cursor() as cursor:
            fulltext.ensure_index(cursor, declared["notes"])

    with connection.cursor() as cursor, concurrent.futures.ThreadPoolExecutor(1) as pool:
        fulltext.ensure_index(cursor, declared["notes"])
        other = pool.submit(ends)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not other.done():
            cursor.execute(waiting)
            if cursor.fetchone()[0]:
                break
        connection.commit()
        other.result(timeout=30)
        cursor.execute("SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'search_notes%_words'")
        assert cursor.fetchone() == (1,)


LONG = pytest.mark.parametrize(
    "unit",
    [
        "chr(131072 + i % 40000) || '-'",
        "chr(19968 + i % 20000) || chr(131072 + i % 30000) || '.com/' || chr(131072 + i % 40000) || ' '",
        "'w' || i || ','",
    ],
    ids=["hyphens", "addresses", "commas"],
)


def put_long(connection, unit):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO curated.search_notes SELECT 'ada', 1, 'needle', string_agg(" + unit + ", '' ORDER BY i),"
            " 'hush', 'r', '0:1', 0, now() FROM generate_series(1, 150000) AS i"
        )
    connection.commit()


@LONG
def test_no_text_is_too_long_for_the_index(connection, declared, unit):
    """Postgres refuses a document of 1 MB: the run that publishes the row would fail."""
    with connection.cursor() as cursor:
        fulltext.ensure_index(cursor, declared["notes"])
    put_long(connection, unit)
    assert len(fulltext.matching(connection, declared["notes"], "needle", 5)) == 1


@LONG
@pytest.mark.parametrize("length", [2000, 500_000], ids=["passage", "passage of the whole"])
def test_no_text_is_too_long_to_be_shown(connection, declared, unit, length):
    """A passage is as long as a model reads: MiniLM takes a word of any length for one it does not know."""
    put_long(connection, unit)
    source = declared["notes"]
    rows = store.pending(connection, source, "letters/26", 0, 1, 10)
    store.write(connection, source, "letters/26", "run-1", rows, [[Passage(0, length)]], Letters().embed(["needle"]))
    connection.commit()
    for mode in MODES:
        (result,) = find(connection, "needle", mode, "notes").results
        excerpt = result.excerpt
        assert [excerpt.text[start:end] for start, end in excerpt.marks] == ["needle"]
        assert len(excerpt.text) <= fulltext.MAX_CHARACTERS


def test_a_passage_far_down_in_a_long_text_is_shown(connection, declared):
    body = "x" * 100_000 + " the needle is here"
    put(connection, (1, "far", body))
    source = declared["notes"]
    rows = store.pending(connection, source, "letters/26", 0, 1, 10)
    passage = Passage(100_005, 18)
    store.write(connection, source, "letters/26", "run-1", rows, [[passage]], Letters().embed(["needle"]))
    connection.commit()
    (result,) = find(connection, "needle", SEMANTIC, "notes").results
    assert (result.excerpt.text, result.excerpt.start) == ("the needle is here", 100_005)
    assert result.excerpt.marks == ((4, 10),)


# --- by both ---------------------------------------------------------------------------------


def test_both_rankings_are_fused_and_told_apart(connection, declared):
    put(connection, (1, "zzz", None), (2, "tap", None), (3, "pat", None))
    embed(connection, declared["notes"])
    answer = find(connection, "tap", HYBRID, "notes")
    assert ids(answer) == [2, 3, 1]
    first, second, _ = answer.results
    assert first.parts[SEMANTIC].rank == first.parts[TEXT].rank == 1
    assert first.score == pytest.approx(2 / 61)
    assert set(second.parts) == {SEMANTIC}
    assert answer.notes == ()


def test_without_the_model_it_goes_on_by_words_and_says_so(connection, declared):
    put(connection, (1, "tap", None), (2, "pat", None))
    embed(connection, declared["notes"])
    answer = find(connection, "tap", HYBRID, "notes", provider=Silent())
    assert ids(answer) == [1]
    assert answer.notes == ("searched by words alone: the embedding model does not answer (EmbeddingsUnavailable)",)
    with pytest.raises(EmbeddingsUnavailable):
        find(connection, "tap", SEMANTIC, "notes", provider=Silent())


def test_what_the_model_says_of_a_query_is_not_logged(connection, declared, monkeypatch):
    put(connection, (1, "tap", None))
    embed(connection, declared["notes"])
    lines = []
    monkeypatch.setattr(finding.logger, "warning", lambda message, **more: lines.append((message, more)))

    class Quoting(Silent):
        def embed(self, texts):
            raise EmbeddingsError(f"Bedrock refused the call: {texts[0]}", quote=texts[0], next_step="raise the quota")

    find(connection, "Marker-4711", HYBRID, "notes", provider=Quoting())
    [(message, more)] = lines
    assert message == "searched by words alone" and "Marker-4711" not in str(more)
    assert more["error"].startswith("EmbeddingsError at ") and more["next_step"] == "raise the quota"


def test_a_model_that_is_not_set_up_leaves_the_words(connection):
    put(connection, (1, "tap", None))

    def unset():
        raise ConfigurationError("SLUICE_EMBEDDINGS is 'word2vec'")

    assert ids(finding.find(reading(connection), "tap", unset, HYBRID, "notes")) == [1]
    with pytest.raises(ConfigurationError):
        finding.find(reading(connection), "tap", unset, SEMANTIC, "notes")


def takes_too_long(connection, *_):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '50ms'; SELECT pg_sleep(600)")


@pytest.mark.parametrize(
    ("slow", "left", "told"),
    [
        ((fulltext, "matching"), SEMANTIC, "not ranked by words: it took too long"),
        ((semantic, "nearest"), TEXT, "not ranked by meaning: it took too long"),
    ],
    ids=[TEXT, SEMANTIC],
)
def test_a_ranking_that_takes_too_long_leaves_the_other(connection, declared, monkeypatch, slow, left, told):
    put(connection, (1, "tap", None))
    embed(connection, declared["notes"])
    monkeypatch.setattr(*slow, takes_too_long)
    answer = find(connection, "tap", HYBRID, "notes")
    assert ids(answer) == [1] and set(answer.results[0].parts) == {left}
    assert answer.notes == (told,)


@pytest.mark.parametrize("mode", MODES)
def test_where_every_ranking_takes_too_long_there_is_no_answer(connection, declared, monkeypatch, mode):
    put(connection, (1, "tap", None))
    embed(connection, declared["notes"])
    monkeypatch.setattr(fulltext, "matching", takes_too_long)
    monkeypatch.setattr(semantic, "nearest", takes_too_long)
    with pytest.raises(psycopg2.errors.QueryCanceled):
        find(connection, "tap", mode, "notes")


# --- what is shown ---------------------------------------------------------------------------


def test_personal_values_are_neither_shown_nor_found(connection, declared):
    put(connection, (1, "tap", None), owner="ada-4711")
    embed(connection, declared["notes"])
    for mode in MODES:
        answer = find(connection, "tap", mode, "notes")
        assert (answer.results[0].key, answer.results[0].id) == ({"owner": "***", "id": 1}, None)
        assert "4711" not in json.dumps(answer.to_json()) and "hush" not in json.dumps(answer.to_json())
    assert find(connection, "hush", TEXT, "notes").results == ()
    assert find(connection, "ada-4711", TEXT, "notes").results == ()


@pytest.mark.parametrize(
    ("faulty", "told"),
    [
        ({"text": ("title", "secret")}, "text names secret, which is personal"),
        ({"text": ("id",)}, "text names id, which is integer"),
        ({"language": "klingon"}, "language is 'klingon', none of simple, arabic"),
        ({"vectors": "quarter"}, "vectors is 'quarter'"),
    ],
    ids=["personal", "no text", "language", "precision"],
)
def test_a_declaration_that_cannot_be_searched_is_refused(faulty, told):
    source = Notes()
    vars(source).update(faulty)
    with pytest.raises(DeclarationError, match=told):
        source.check()


def test_postgres_knows_every_language_that_may_be_declared(connection):
    with connection.cursor() as cursor:
        cursor.execute("SELECT cfgname FROM pg_ts_config")
        assert set(declaration.LANGUAGES) <= {name for (name,) in cursor}


def test_markup_in_a_text_arrives_as_text(connection):
    put(connection, (1, "<img src=x onerror=alert(1)> tap", None))
    (result,) = find(connection, "tap", TEXT, "notes").results
    assert result.to_json()["passage"]["html"] == "&lt;img src=x onerror=alert(1)&gt; <mark>tap</mark>"


def test_a_text_that_changed_after_it_was_embedded_is_shown_as_it_is_now(connection, declared):
    put(connection, (1, "Trains", "The sleeper reaches the sea. " * 200))
    embed(connection, declared["notes"])
    put(connection, (1, "Taps", "A tap drips."))
    for mode in MODES:
        (result,) = find(connection, "tap", mode, "notes").results
        assert result.excerpt.text == "Taps\nA tap drips."


def test_a_row_that_is_gone_is_not_found_though_its_vector_is_there(connection, declared):
    put(connection, *((i, "tap", None) for i in range(5)))
    embed(connection, declared["notes"])
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM curated.search_notes WHERE id < 4")
    connection.commit()
    assert ids(find(connection, "tap", SEMANTIC, "notes")) == [4]


# --- what cannot be answered -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "blank"),
        (" \n\u00a0", "blank"),
        ("x" * 1001, "1001 characters"),
        ("tap\0", "no text"),
        ("tap\ud800", "no text"),
    ],
    ids=["empty", "blanks", "long", "nul", "surrogate"],
)
@pytest.mark.parametrize("mode", MODES)
def test_a_query_that_is_none_is_refused(connection, words, told, mode):
    with pytest.raises(ContractError, match=told):
        find(connection, words, mode)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"mode": "fuzzy"}, ContractError, "take one of semantic, text, hybrid"),
        ({"limit": 0}, ContractError, "take 1 to 100"),
        ({"limit": 101}, ContractError, "take 1 to 100"),
        ({"source": "nosuch"}, UnknownSource, "nosuch"),
        ({"source": "counts"}, ContractError, "counts has no text to search"),
    ],
    ids=["mode", "limit of none", "limit too high", "unknown source", "source without text"],
)
def test_what_is_asked_wrongly_is_told(connection, options, error, told):
    with pytest.raises(error, match=told):
        find(connection, "tap", **options)


def test_words_that_the_language_leaves_out_are_told_and_do_not_hinder_meaning(connection, declared):
    put(connection, (1, "the of", None))
    embed(connection, declared["notes"])
    told = "notes is not searched by words: the query has none that count in its language, english"
    answer = find(connection, "the of", TEXT, "notes")
    assert (answer.results, answer.notes) == ((), (told,))
    answer = find(connection, "the of", HYBRID, "notes")
    assert (ids(answer), answer.notes) == ([1], (told,))


def test_an_empty_index_is_told_with_the_command_that_fills_it(connection):
    put(connection, (1, "tap", None))
    assert find(connection, "tap", SEMANTIC, "notes").notes == (
        "notes is not searched by meaning: letters/26 has embedded none of it yet; sluice run notes --embed",
    )
    answer = find(connection, "tap", HYBRID, "notes")
    assert ids(answer) == [1] and len(answer.notes) == 1


def test_what_was_never_loaded_is_told(connection, declared):
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE curated.search_memos")
    put(connection, (1, "tap", None))
    answer = find(connection, "tap", TEXT)
    assert ids(answer) == [1]
    assert answer.notes == ("nothing of memos was loaded yet: sluice run memos",)


def test_without_any_text_there_is_nothing_to_search_and_a_broken_source_hinders_no_other(connection, declared):
    put(connection, (1, "tap", None))
    declared["memos"] = DeclarationError("broken")
    answer = find(connection, "tap", TEXT)
    assert ids(answer) == [1] and answer.notes == ("memos is not searched: its declaration cannot be used",)
    del declared["memos"], declared["notes"]
    assert find(connection, "tap").notes == ("no source has text: a source names its columns in `text`",)


def test_the_real_registry_has_sources_to_search():
    assert (
        [each.name for each in finding._searched(None, [])]
        == [name for name in sources.names() if sources.get(name).text]
        == ["posts"]
    )
