"""Rows that no index of their table takes: the texts of its columns are too long together.

Postgres refuses such a row when it is published, and all others of the run with it. So it is set aside before, as what
does not fit its columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from chalicelib.columns import Column

# A B-tree takes 2,704 bytes of a row (https://www.postgresql.org/docs/current/btree.html#BTREE-LIMITS), its numbers and
# the lengths of its texts included. What Postgres could make shorter is not counted on: that depends on the text.
LONGEST = 2600
UNFIT = f"too long for an index: its columns take at most {LONGEST:,} bytes of text together"

_UNBOUNDED = frozenset({"text", "numeric", "jsonb"})
_ESCAPED = re.compile(r"\\(.)")  # COPY's: two characters for one


def too_long(columns: Mapping[str, Column], texts: Mapping[str, Sequence[str]], indexes: Iterable[tuple[str, ...]]):
    """{position: the column with the longest text} of the rows that one of `indexes`, tuples of names, does not take.

    `texts` are COPY texts by column; what has no bound by its type alone is looked at.
    """
    found: dict[int, str] = {}
    for index in indexes:
        names = [name for name in index if name in columns and columns[name].base in _UNBOUNDED]
        of_index = [texts[name] for name in names]
        # a character is at most four bytes: hardly ever is there more to do than this, 30 ns a row and column
        if 4 * sum(max(map(len, values), default=0) for values in of_index) <= LONGEST:
            continue
        for position, row in enumerate(zip(*of_index, strict=True)):
            if 4 * sum(map(len, row)) > LONGEST:
                sizes = [len(_ESCAPED.sub(r"\1", text).encode()) for text in row]
                if sum(sizes) > LONGEST:
                    found.setdefault(position, names[sizes.index(max(sizes))])
    return found


def shares(columns: Iterable[Column], indexes: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """Bytes of text that each column of `indexes` may have whatever the others have; the others are not in it."""
    unbounded = {column.name for column in columns if column.base in _UNBOUNDED}
    found: dict[str, int] = {}
    for index in indexes:
        names = [name for name in index if name in unbounded]
        for name in names:
            found[name] = min(found.get(name, LONGEST), LONGEST // len(names))
    return found
