"""The HNSW index of a source's vectors of one model, of single or of half precision.

The table keeps the vectors as the model gave them, 4 bytes a number. An index of half precision holds
2 bytes of each, so it takes half the memory; a search then orders what it finds by the whole vectors.
"""

from __future__ import annotations

import functools
import hashlib

from psycopg2 import sql

from chalicelib.search.declaration import HALF
from chalicelib.sources.base import Source
from chalicelib.warehouse.deadline import Deadline, clearing
from chalicelib.warehouse.queries import statement

_STORED = sql.SQL("embedding")
_OPERATORS = {False: "vector_cosine_ops", True: "halfvec_cosine_ops"}


def is_there(cursor, source: Source, model: str) -> bool:
    """Whether the model's vectors of this table have their index, of the declared precision and no other."""
    half = source.vectors == HALF
    return _state(cursor, _name(source, model, half)) is True and _state(cursor, _name(source, model, not half)) is None


def is_broken(cursor, source: Source, model: str) -> bool:
    """Whether something is left of an index that broke off: no search goes by it, and all who embed keep it."""
    return _state(cursor, _name(source, model, source.vectors == HALF)) is False


def count(cursor, source: Source, model: str) -> int:
    """The vectors that the index is over."""
    cursor.execute(statement("embeddings", "count_vectors"), {"model": model, "table": source.table})
    return cursor.fetchone()[0]


def ensure(connection, source: Source, model: str, dimensions: int) -> None:
    """Make the index of the model's vectors of this table, where there is none of the declared precision.

    Call it when the first vectors are in: building over 100,000 x 384 takes 0.2 to 0.4 ms a vector, adding
    one to the index afterwards 2 ms. Writers of embeddings wait for it.
    """
    half = source.vectors == HALF
    with connection.cursor() as cursor:
        cursor.execute(statement("embeddings", "drop_index", index=_qualified(source, model, not half)))
        # CREATE INDEX IF NOT EXISTS takes its lock before it looks
        if (state := _state(cursor, _name(source, model, half))) is False:
            cursor.execute(statement("embeddings", "drop_index", index=_qualified(source, model, half)))
        if not state:
            _build(cursor, "create_index", source, model, dimensions)


def make_aside(cursor, deadline: Deadline, *, source: Source, model: str, dimensions: int) -> None:
    """As `ensure`, while others write: by a cursor outside of transactions.

    Raises psycopg2's errors, and leaves nothing.
    """
    half = source.vectors == HALF
    drop_broken(cursor, deadline, source=source, model=model)
    with clearing(functools.partial(drop_broken, cursor, source=source, model=model)):
        deadline.limit(cursor)
        if _state(cursor, _name(source, model, half)) is None:
            _build(cursor, "create_index_aside", source, model, dimensions)
    deadline.limit(cursor)
    cursor.execute(statement("embeddings", "drop_index_aside", index=_qualified(source, model, not half)))


def drop_broken(cursor, deadline: Deadline, *, source: Source, model: str) -> None:
    """Outside of transactions; waits for who writes."""
    if is_broken(cursor, source, model):
        deadline.limit(cursor)
        name = _qualified(source, model, source.vectors == HALF)
        cursor.execute(statement("embeddings", "drop_index_aside", index=name))


def _build(cursor, how: str, source: Source, model: str, dimensions: int) -> None:
    half = source.vectors == HALF
    memory = _build_memory(count(cursor, source, model), dimensions, half)
    # outside of a transaction it holds for the session, which ends with the upkeep
    cursor.execute(statement("embeddings", "prepare_index"), {"memory": memory, "local": how == "create_index"})
    cursor.execute(
        statement(
            "embeddings",
            how,
            index=sql.Identifier(_name(source, model, half)),
            indexed=indexed(source, dimensions),
            operators=sql.SQL(_OPERATORS[half]),
            model=sql.Literal(model),
            table=sql.Literal(source.table),
        )
    )


def indexed(source: Source, dimensions: int, vector: sql.Composable = _STORED) -> sql.Composable:
    """`vector` as the index has it: a search that orders by anything else does not go by the index."""
    whole = sql.SQL("{}::vector({})").format(vector, sql.Literal(dimensions))
    return sql.SQL("({})::halfvec({})").format(whole, sql.Literal(dimensions)) if source.vectors == HALF else whole


def _state(cursor, name: str) -> bool | None:
    """Whether the index of this name is whole; None where there is none."""
    cursor.execute(statement("embeddings", "find_index"), {"index": f'pipeline."{name}"'})
    found = cursor.fetchone()
    return found and found[0]


def _build_memory(vectors: int, dimensions: int, half: bool) -> str:
    """Postgres' maintenance_work_mem for an index over so many vectors.

    A graph that does not fit is built three times more slowly (100,000 x 384: 41 s, in 64 MB 134 s); more than it
    needs is not taken either, as a parallel build takes all of it from /dev/shm, 64 MB in a container.
    """
    # a node and its neighbours: measured 830 bytes
    needed = vectors * ((2 if half else 4) * dimensions + 1024) * 1.2 / 1024**2
    return f"{round(min(max(needed, 16), 1024))}MB"


def _qualified(source: Source, model: str, half: bool) -> sql.Identifier:
    return sql.Identifier("pipeline", _name(source, model, half))


def _name(source: Source, model: str, half: bool) -> str:
    """Within Postgres' 63 bytes, and different for every table, model and precision."""
    digest = hashlib.sha256(f"{source.table}\0{model}".encode()).hexdigest()[:12]
    return f"embeddings_{source.table[:30]}_{digest}_{'half' if half else 'hnsw'}"
