"""One search from its words to its answer."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from psycopg2 import sql
from psycopg2.errors import QueryCanceled

from chalicelib import personal, sources
from chalicelib.embeddings import expressions, store
from chalicelib.embeddings.provider import Provider
from chalicelib.errors import (
    ConfigurationError,
    ContractError,
    DeclarationError,
    EmbeddingsError,
    EmbeddingsUnavailable,
)
from chalicelib.reading import filters as reading_filters
from chalicelib.reading import identity, values
from chalicelib.reading import tables as reading_tables
from chalicelib.search import fulltext, fusion, highlight, semantic
from chalicelib.search.answer import HYBRID, MODES, SEMANTIC, TEXT, Answer, Part, Result
from chalicelib.search.hit import EVERY_ROW, Filter, Hit
from chalicelib.sources.base import Source
from chalicelib.telemetry import logger
from chalicelib.warehouse import reader, tables
from chalicelib.warehouse.queries import statement

DEFAULT_LIMIT, MAX_LIMIT = 10, 100
MAX_CHARACTERS = 1000  # of a query; the models' windows hold as much

# rows that each ranking of a hybrid search has at least: a row that is far down in one may be the first in all
_DEPTH = 50


def find(
    transaction: Callable[[], AbstractContextManager],
    words: str,
    provider: Callable[[], Provider],
    mode: str = HYBRID,
    source: str | None = None,
    limit: int = DEFAULT_LIMIT,
    filters: tuple[str, ...] = (),
) -> Answer:
    """The `limit` rows that answer `words` best, of one source or of all that have text.

    `transaction` opens one that reads, of which there are two: the model embeds the query between them, as it may
    take seconds in which a transaction would only hold back others. `provider` gives that model; it is called where
    vectors are compared. `filters` are those of `reading.filters`, on the columns of the one source that is named.
    Raises ContractError for a query, a limit or a filter that is none, RequestRefused for a filter on personal values,
    UnknownSource, and for semantic search alone what the model raises: a hybrid one goes on without it, and says so,
    as it does without a ranking that takes too long; QueryCanceled where no other is left.
    """
    _check(words, mode, limit)
    notes: list[str] = []
    if filters and source is None:
        raise ContractError("filters are on the columns of one source", next_step="name the source")
    known = _searched(source, notes)
    depth = limit if mode != HYBRID else max(_DEPTH, 2 * limit)
    model = _model(provider, mode, notes) if mode != TEXT else None
    embedded, with_words, vector = [], [], None
    with transaction() as connection:
        searched = [each for each in known if _is_loaded(connection, each, notes)]
        if source is None and not searched:
            notes += _without_text(connection)
        kept = _filter(connection, searched, filters)
        if model:
            embedded = [each for each in searched if _is_embedded(connection, each, model, notes)]
        if mode != SEMANTIC:
            with_words = [each for each in searched if _has_words(connection, each, words, notes)]
    if embedded:
        vector = _vector(model, words, mode, notes)
    with transaction() as connection:
        ranked: dict[str, Callable] = {}
        if vector is not None:
            ranked[SEMANTIC] = lambda of: semantic.nearest(connection, of, model.model, vector, depth, kept)
        if with_words:
            ranked[TEXT] = lambda of: fulltext.matching(connection, of, words, depth, kept)
        rankings = _rankings(connection, ranked, {SEMANTIC: embedded, TEXT: with_words}, depth, notes)
        results = _results(connection, searched, words, mode, rankings, limit, model)
    if not results and rankings:
        notes.append("nothing was found" + ("" if mode != TEXT else "; semantic search finds other words too"))
    return Answer(words, mode, results, tuple(dict.fromkeys(notes)))


# --- what is searched ----------------------------------------------------------------------------


def _check(words: str, mode: str, limit: int) -> None:
    if mode not in MODES:
        raise ContractError(f"the mode of a search is {mode!r}", next_step=f"take one of {', '.join(MODES)}")
    if not 1 <= limit <= MAX_LIMIT:
        raise ContractError(f"the limit of a search is {limit}", next_step=f"take 1 to {MAX_LIMIT}")
    if len(words) > MAX_CHARACTERS:
        raise ContractError(f"the query has {len(words)} characters", next_step=f"ask in {MAX_CHARACTERS} at most")
    # Postgres takes no NUL, and nothing takes half of a pair of surrogates
    if any(unicodedata.category(character) == "Cs" or character == "\0" for character in words):
        raise ContractError("the query holds what is no text", next_step="leave out NUL and single surrogates")
    if not words.strip():
        raise ContractError("the query is blank", next_step="say in words what to look for")


def _searched(name: str | None, notes: list[str]) -> list[Source]:
    if name is not None:
        source = sources.get(name)
        if not source.text:
            raise ContractError(
                f"{name} has no text to search", next_step='name columns in the source, e.g. text = ("title", "body")'
            )
        return [source]
    found = []
    for each in sources.names():
        try:
            source = sources.get(each)
        except DeclarationError:
            notes.append(f"{each} is not searched: its declaration cannot be used")
            continue
        if source.text:
            found.append(source)
    if not found:
        notes.append("no source has text: a source names its columns in `text`")
    return found


def _without_text(connection) -> list[str]:
    """A note on the sources that have rows, and are not searched all the same."""
    names = []
    for each in sources.names():
        with contextlib.suppress(DeclarationError):  # told before
            source = sources.get(each)
            if not source.text and _has_table(connection, source):
                names.append(each)
    return [f"not searched, as they name no text: {', '.join(names)}"] if names else []


def _has_table(connection, source: Source) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(statement("search", "is_loaded"), {"table": f'{tables.CURATED}."{source.table}"'})
        (found,) = cursor.fetchone()
    return found


def _is_loaded(connection, source: Source, notes: list[str]) -> bool:
    found = _has_table(connection, source)
    if not found:
        notes.append(f"nothing of {source.name} was loaded yet: sluice run {source.name}")
    return found


def _filter(connection, searched: list[Source], filters: tuple[str, ...]) -> Filter:
    if not filters or not searched:
        return EVERY_ROW
    (source,) = searched
    conditions = reading_filters.conditions(reading_tables.find(connection, source.name), filters)
    given = {name: value for condition in conditions for name, value in condition.values.items()}
    return Filter(sql.SQL(" AND ").join(condition.text for condition in conditions), given)


def _has_words(connection, source: Source, words: str, notes: list[str]) -> bool:
    found = fulltext.has_words(connection, source, words)
    if not found:
        notes.append(
            f"{source.name} is not searched by words: the query has none that count in its language, {source.language}"
        )
    return found


def _is_embedded(connection, source: Source, model: Provider, notes: list[str]) -> bool:
    with connection.cursor() as cursor:
        found = store.has_vectors(cursor, source, model.model)
    if not found:
        notes.append(
            f"{source.name} is not searched by meaning: {model.model} has embedded none of it yet; "
            f"sluice run {source.name} --embed"
        )
    return found


# --- the model -----------------------------------------------------------------------------------


def _model(provider: Callable[[], Provider], mode: str, notes: list[str]) -> Provider | None:
    try:
        return provider()
    except ConfigurationError as error:
        return _without_model(error, mode, notes)


def _vector(model: Provider, words: str, mode: str, notes: list[str]):
    """The query's vector, (dimensions,); None where a hybrid search goes on without."""
    try:
        return model.embed([words.strip()])[0]
    except (ConfigurationError, EmbeddingsError, EmbeddingsUnavailable) as error:
        return _without_model(error, mode, notes)


def _without_model(error: Exception, mode: str, notes: list[str]) -> None:
    if mode == SEMANTIC:
        raise error
    # what Bedrock or its client said may quote the query, which is somebody's own words
    told = {"error": personal.told(error), "next_step": getattr(error, "next_step", None)}
    logger.warning("searched by words alone", **told)
    notes.append(f"searched by words alone: the embedding model does not answer ({type(error).__name__})")


# --- the answer ----------------------------------------------------------------------------------


def _rankings(
    connection, ranked: dict[str, Callable], of: dict[str, list[Source]], depth: int, notes: list[str]
) -> dict[str, list[Hit]]:
    """The hits of each ranking that ended in time; raises QueryCanceled where none did."""
    rankings, slow = {}, None
    for name, hits_of in ranked.items():
        try:
            with reader.attempt(connection):
                rankings[name] = _merged(map(hits_of, of[name]), depth)
        except QueryCanceled as error:
            slow = error
            logger.warning("a ranking took too long", ranking=name)
            notes.append(f"not ranked by {'meaning' if name == SEMANTIC else 'words'}: it took too long")
    if slow and not rankings:
        raise slow
    return rankings


def _merged(hits_of_sources, depth: int) -> list[Hit]:
    """The best of all sources; scores of one model, and of words, can be compared across them."""
    return sorted((hit for hits in hits_of_sources for hit in hits), key=lambda hit: -hit.score)[:depth]


def _results(
    connection,
    searched: Sequence[Source],
    words: str,
    mode: str,
    rankings: dict[str, list[Hit]],
    limit: int,
    model: Provider | None,
) -> tuple[Result, ...]:
    of_row = {name: {hit.row: hit for hit in hits} for name, hits in rankings.items()}
    fused = fusion.fuse({name: list(hits) for name, hits in of_row.items()})[:limit]
    shown = {}
    for source in searched:
        keys = [key for (name, key), _, _ in fused if name == source.name]
        if keys:
            hits = {key: of_row.get(SEMANTIC, {}).get((source.name, key)) for key in keys}
            passages = {key: hit.passage for key, hit in hits.items() if hit}
            shown.update(_shown(connection, source, words, keys, passages, model))
    results = []
    for row, score, ranks in fused:
        if row not in shown:  # deleted a moment ago
            continue
        id, key, excerpt = shown[row]
        parts = {name: Part(rank, of_row[name][row].score) for name, rank in ranks.items()}
        results.append(Result(row[0], id, key, score if mode == HYBRID else parts[mode].score, parts, excerpt))
    return tuple(results)


def _shown(connection, source: Source, words: str, keys: list[str], passages: dict, model: Provider | None) -> dict:
    """By row: its id, its key columns as they may be shown, and the part of its text that answers the query."""
    declared = {column.name: column for column in source.columns}
    key_columns = [declared[name] for name in source.key]
    is_masked = any(column.personal for column in key_columns)
    table = None if is_masked else reading_tables.find(connection, source.name)
    with connection.cursor() as cursor:
        cursor.execute(
            statement(
                "search",
                "rows_of_keys",
                key_columns=values.selected(key_columns),
                text=expressions.text(source),
                curated=tables.curated(source),
                same_key=expressions.same_key(source, sql.SQL("k.key::jsonb")),
            ),
            {
                "keys": keys,
                "starts": [passage and passage.start for passage in map(passages.get, keys)],
                "lengths": [passage and passage.length for passage in map(passages.get, keys)],
                "longest": fulltext.MAX_CHARACTERS,  # a row may hold more than is worth reading for what is shown of it
                "model": model.model if model else None,
                "table": source.table,
                "whitespace": expressions.WHITESPACE,
            },
        )
        rows = cursor.fetchall()
    candidates = set().union(*(highlight.words(part) for row in rows for part in row[-3:-1] if part))
    asked = fulltext.asked_for(connection, source, words, sorted(candidates))
    found = {}
    for key, *columns, text, part, is_embedded in rows:
        # a passage of another text would be cut anywhere
        excerpt = highlight.excerpt(part, passages[key].start, asked) if part is not None and is_embedded else None
        if excerpt is None or not excerpt.marks:
            by_words = highlight.best(text, asked)
            excerpt = by_words if excerpt is None or by_words.marks else excerpt
        own = {column.name: values.shown(column, value) for column, value in zip(key_columns, columns, strict=True)}
        id = table and identity.of(table, [own[name] for name in table.key])  # an id is made of the key
        found[source.name, key] = id, personal.row(source, own), excerpt
    return found
