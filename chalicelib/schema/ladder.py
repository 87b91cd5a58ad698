"""Which types are wider than which.

A type's ladder holds every type that takes all its values, narrowest first; each step takes the
values of those below it. Nothing is ever narrowed.
"""

from __future__ import annotations

from chalicelib.columns import Column, base_of

_TOP = ("text", "jsonb")
_LADDERS = {
    "smallint": ("integer", "bigint", "numeric", *_TOP),
    "integer": ("bigint", "numeric", *_TOP),
    "bigint": ("numeric", *_TOP),
    # integers never become double precision, which does not hold all of them, and writes 12 as 12.0:
    # every row would look changed
    "double precision": ("numeric", *_TOP),
    "numeric": _TOP,
    "boolean": _TOP,
    "date": ("timestamp", "timestamptz", *_TOP),
    "timestamp": ("timestamptz", *_TOP),
    "timestamptz": _TOP,
    "text": ("jsonb",),  # where objects or lists come: as JSON a text is itself
    "jsonb": (),
}
_INTEGERS = ("smallint", "integer", "bigint")


def above(kind: str) -> tuple[str, ...]:
    """The types that are wider than `kind`, narrowest first."""
    steps = _LADDERS[base_of(kind)]
    return ("numeric", *steps) if kind != base_of(kind) else steps


def is_wider(kind: str, than: str) -> bool:
    """Whether `kind` is another type that takes every value of `than`."""
    if kind in above(than):
        return True
    wide, narrow = Column("n", kind).precision, Column("n", than).precision
    if kind == than or not wide or not narrow:
        return False
    return wide[1] >= narrow[1] and wide[0] - wide[1] >= narrow[0] - narrow[1]


def common(one: str, other: str) -> str:
    """The narrowest type that takes the values of both."""
    if is_wider(other, one):
        return other
    takes_other = {other, *above(other)}
    return next(kind for kind in (one, *above(one)) if kind in takes_other)


def may_widen(kind: str, column: Column, key: tuple[str, ...], text: tuple[str, ...]) -> bool:
    """Whether a column that is `kind` may become what `column` says."""
    if column.name in key or column.name in text:
        return column.type in allowed(Column(column.name, kind), key, text)
    return is_wider(column.type, kind)


def allowed(column: Column, key: tuple[str, ...], text: tuple[str, ...]) -> tuple[str, ...]:
    """The types that a column of a source with this key and these text columns may be widened to.

    A key column stays an integer, where it is one, and else what it is: the same key written
    another way would be another row, and another text to embed. A column that is embedded stays
    what it is.
    """
    if column.name in text:
        return ()
    steps = above(column.type)
    return tuple(kind for kind in steps if kind in _INTEGERS) if column.name in key else steps
