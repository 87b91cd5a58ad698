"""Values of records as text that Postgres' COPY takes for a typed column.

Conversion and encoding are one pass, because both look at every value once: a column of 100,000
values comes in as Python values (JSON's, CSV's strings, or what a pandas transform made of them)
and goes out as COPY text, with a problem for each value that its column cannot hold. Nothing is
guessed: "12" is an integer, 12.5 and "12 apples" are not; only double precision rounds, as in
Postgres. What is canonical here (one text per value) is what row fingerprints are taken over.

COPY's text format: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
"""

from __future__ import annotations

from collections.abc import Sequence

from chalicelib.columns import Column
from chalicelib.conversion.values import CONVERTERS, Unfit
from chalicelib.conversion.whole import CONVERTERS_OF_COLUMNS, FROM_TEXT, PLAIN
from chalicelib.redaction import MASK

NULL = "\\N"

Problems = dict[int, str]  # row position -> what is wrong with its value


def encode(values: Sequence, column: Column) -> tuple[list[str], Problems]:
    """`values` of one column as COPY text, and the problems by position.

    None, NaN, NaT and pandas' NA are null. At a position with a problem the text is `NULL`.
    """
    kinds = set(map(type, values))
    if _is_plain(kinds, column):
        texts = CONVERTERS_OF_COLUMNS[column.base](list(values), column)
        if texts is not None:
            return texts, {}
    return _with_nulls(values, kinds, column)


def _is_plain(kinds: set[type], column: Column) -> bool:
    """Whether all values are of a type that is converted column-wise: all texts (a CSV), or all of the type itself."""
    return kinds <= PLAIN[column.base] or (kinds == {str} and column.base in FROM_TEXT)


def _with_nulls(values: Sequence, kinds: set[type], column: Column) -> tuple[list[str], Problems]:
    if kinds <= {str, int, bool, dict, list, type(None)}:
        present = [i for i, value in enumerate(values) if value is not None]
    else:
        present = [i for i, value in enumerate(values) if not is_null(value)]
    problems: Problems = {}
    if len(present) < len(values) and not column.nullable:
        missing = set(range(len(values))).difference(present)
        problems = dict.fromkeys(sorted(missing), f"{column.name} is null or missing")
    texts = [NULL] * len(values)
    dense = [values[i] for i in present]
    fast = CONVERTERS_OF_COLUMNS[column.base](dense, column) if _is_plain(set(map(type, dense)), column) else None
    if fast is not None:
        for i, text in zip(present, fast, strict=True):
            texts[i] = text
        return texts, problems
    one = CONVERTERS[column.base]
    for i, value in zip(present, dense, strict=True):
        try:
            texts[i] = one(value, column)
        except Unfit as unfit:
            problems[i] = f"{column.name} is {quoted(value, column)}, {unfit}"
    return texts, problems


def quoted(value, column: Column) -> str:
    """A value as messages may show it: not at all where its column is personal."""
    return MASK if column.personal else shorten(value)


def shorten(value, limit: int = 80) -> str:
    """A value as a person would quote it, cut to `limit` characters."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def is_null(value) -> bool:
    """None, NaN, NaT and pandas' NA."""
    # NaN and NaT are the only values that differ from themselves; pandas.NA refuses to say
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def fits(value, column: Column) -> bool:
    """Whether `column` can hold `value`."""
    try:
        CONVERTERS[column.base](value, column)
    except Unfit:
        return False
    return True
