"""Records of a source: a page of them, in a stable order, and one with its lineage.

A page begins behind the last row of the one before, found by the values that rows are sorted by, so that page 10,000
costs what the first does where an index has that order: https://use-the-index-luke.com/no-offset. The last of these
values is the key, so that no row comes twice or is left out while others come and go.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql

from chalicelib.errors import ContractError
from chalicelib.reading import days, filters, identity, tables, values
from chalicelib.reading.filters import Condition
from chalicelib.reading.tables import LOADED_AT, MARKS, RUN_ID, Field, Table
from chalicelib.warehouse.queries import statement

LIMIT, MOST = 100, 1000
_AND = sql.SQL(" AND ")
# a longer value of the column that is sorted by is told in a position by its hash: a link has 10,240 bytes at most
_LONGEST = 500  # characters
_SHA256 = "sha256"


@dataclass(frozen=True)
class Query:
    """Which records: `filters` are those of `filters`, `first` and `last` days of the source's day, both included.

    `sort` is a column, with a - before it from the largest on. `unmasked` shows personal values.
    """

    source: str
    table: str | None = None
    filters: tuple[str, ...] = ()
    first: dt.date | None = None
    last: dt.date | None = None
    sort: str | None = None
    limit: int = LIMIT
    unmasked: bool = False


@dataclass(frozen=True)
class Page:
    """`records` as dicts of JSON values; `position` is behind the last of them, None where nothing follows."""

    records: list[dict]
    position: list | None


@dataclass(frozen=True)
class Listing:
    """A query that holds together: `order` is how its records are sorted, all up or all `down`."""

    table: Table
    order: tuple[Field, ...]
    down: bool
    wanted: tuple[Condition, ...]
    limit: int

    @property
    def width(self) -> int:
        """How many values a position has."""
        return len(self.order)

    def page(self, connection, after: list | None = None) -> Page:
        """The records behind the position `after`, JSON values as `Page` has them.

        Raises ContractError where it is none of this listing.
        """
        found: list[tuple] = []
        if after and isinstance(after[0], dict):
            after = [self._spelled_out(connection, after), *after[1:]]
        for part in self._parts(after):
            if len(found) <= self.limit:
                found += _fetch(
                    connection, self._statement(part), part.values, self.limit + 1 - len(found), self.wanted
                )
        rows = [_values(self.table, row) for row in found[: self.limit]]
        records = [_document(self.table, row) for row in rows]
        if len(found) <= self.limit:
            return Page(records, None)
        return Page(records, self._position(rows[-1]))

    def _position(self, row: dict[str, Any]) -> list:
        first, *others = [row[column.name] for column in self.order]
        # a key is no longer than its index takes, 2,704 bytes: the others tell which row it is
        if isinstance(first, str) and len(first) > _LONGEST and self.order[0].name not in self.table.key:
            first = {_SHA256: _hash(first)}
        return [first, *others]

    def _spelled_out(self, connection, after: list) -> str:
        """The value that a position has the hash of, from its row; raises ContractError where that is not there."""
        first, *key = self.order
        if len(after) == self.width and all(isinstance(value, str | int | float) for value in after[1:]):
            same_key, given = _same_key(key, after[1:])
            text = statement(
                "reading",
                "page",
                columns=values.selected((first,)),
                curated=sql.Identifier("curated", self.table.name),
                wanted=same_key,
                order=sql.SQL("1"),
            )
            for (found,) in _fetch(connection, text, given, 1, ()):
                if isinstance(found, str) and after[0] == {_SHA256: _hash(values.shown(first, found))}:
                    return values.shown(first, found)
        raise ContractError(
            "the record that the page begins behind has changed, or is gone", next_step="begin with the first page"
        )

    def _statement(self, part: Condition) -> sql.Composable:
        direction = sql.SQL(" DESC" if self.down else "")
        order = [sql.SQL("{}{}").format(sql.Identifier("t", column.name), direction) for column in self.order]
        identifiers = {
            "columns": values.selected(_selected(self.table)),
            "curated": sql.Identifier("curated", self.table.name),
            "wanted": _AND.join([part.text, *(condition.text for condition in self.wanted)]),
            "order": sql.SQL(", ").join(order),
        }
        if not self.wanted:
            return statement("reading", "page", **identifiers)
        key = sql.SQL(", ").join(sql.Identifier("t", name) for name in self.table.key)
        names = sql.SQL(", ").join(map(sql.Identifier, self.table.key))
        return statement("reading", "filtered_page", key=key, names=names, **identifiers)

    def _parts(self, after: list | None) -> list[Condition]:
        """What lies behind a position, one after the other: nulls come last going up and first going down.

        Two statements, of which the second is asked at the border alone: one with OR would not be read by an index.
        """
        if after is None:
            return [Condition(sql.SQL("true"), {})]
        fits = len(after) == self.width and all(isinstance(v, str | int | float | None) for v in after)
        if not fits or None in after[1:] or (after[0] is None and not self.order[0].nullable):
            raise ContractError("the page is none of this query", next_step="begin with the first page")
        first, given = self.order[0], {f"a{place}": _parameter(value) for place, value in enumerate(after)}
        name = sql.Identifier("t", first.name)
        if after[0] is None:
            nulls = Condition(sql.SQL("{} IS NULL AND {}").format(name, self._behind(1)), given)
            others = Condition(sql.SQL("{} IS NOT NULL").format(name), {})
            return [nulls, others] if self.down else [nulls]
        behind = Condition(self._behind(0), given)
        if first.nullable and not self.down:
            return [behind, Condition(sql.SQL("{} IS NULL").format(name), {})]
        return [behind]

    def _behind(self, start: int) -> sql.Composable:
        columns = list(enumerate(self.order))[start:]
        names = sql.SQL(", ").join(sql.Identifier("t", column.name) for _, column in columns)
        given = [sql.SQL("{}::{}").format(sql.Placeholder(f"a{place}"), sql.SQL(c.base)) for place, c in columns]
        sign = sql.SQL("<" if self.down else ">")
        return sql.SQL("({}) {} ({})").format(names, sign, sql.SQL(", ").join(given))


def listing(connection, query: Query) -> Listing:
    """What `query` asks for, checked against the table as it is.

    Raises what `tables.find` does; ContractError naming the column, the filter, the value or the days that cannot be;
    RequestRefused (403) for one that asks by masked values.
    """
    table = tables.find(connection, query.source, query.table, query.unmasked)
    if not 1 <= query.limit <= MOST:
        raise ContractError(f"limit is {query.limit}, expected 1 to {MOST}")
    wanted = filters.conditions(table, query.filters)
    days.check(query.first, query.last)
    if query.first or query.last:
        table.require_visible(table.day.name)
        wanted += _days(table.day, query.first, query.last)
    down = (query.sort or "").startswith("-")
    names: list[str] = [query.sort.removeprefix("-")] if query.sort is not None else []
    table.require_visible(*names)
    order = tuple(table.column(name) for name in dict.fromkeys((*names, *table.key)))
    if order[0].base == "jsonb":
        raise ContractError(f"{order[0].name} holds JSON, which has no order", next_step="sort by another column")
    return Listing(table, order, down, tuple(wanted), query.limit)


def record(connection, id: str, unmasked: bool = False) -> dict:
    """The record of that id, with the raw object and the line that it came from; raises NotFound."""
    source, key, name = identity.read(id)
    table = tables.find(connection, source, name, unmasked)
    if len(key) != len(table.key):
        raise identity.missing()
    same_key, given = _same_key([table.column(name) for name in table.key], key)
    text = statement(
        "reading",
        "record",
        columns=values.selected(_selected(table)),
        curated=sql.Identifier("curated", table.name),
        same_key=same_key,
    )
    try:
        found = _fetch(connection, text, given, 1, ())
    except ContractError:
        raise identity.missing() from None
    if not found:
        raise identity.missing()
    *row, raw, line = found[0]
    return {**_document(table, _values(table, row)), "raw": raw and {"object": raw, "line": line}}


def _same_key(columns: Sequence[Field], key: Sequence) -> tuple[sql.Composable, dict[str, str | None]]:
    """That the row `t` has this key, and the values of its placeholders."""
    pairs = [
        sql.SQL("{} = {}::{}").format(
            sql.Identifier("t", column.name), sql.Placeholder(f"k{place}"), sql.SQL(column.base)
        )
        for place, column in enumerate(columns)
    ]
    return _AND.join(pairs), {f"k{place}": _parameter(value) for place, value in enumerate(key)}


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:32]


def _days(day: Field, first: dt.date | None, last: dt.date | None) -> list[Condition]:
    name, found = sql.Identifier("t", day.name), []
    kind = sql.SQL(day.base)
    if first:
        found.append(Condition(sql.SQL("{} >= %(first)s::{}").format(name, kind), {"first": first.isoformat()}))
    if last == dt.date.max:  # nothing but infinity comes behind that
        found.append(Condition(sql.SQL("{} IS NOT NULL").format(name), {}))
    elif last:
        following = (last + dt.timedelta(days=1)).isoformat()
        found.append(Condition(sql.SQL("{} < %(following)s::{}").format(name, kind), {"following": following}))
    return found


def _selected(table: Table) -> tuple[Field, ...]:
    return (*table.columns, RUN_ID, LOADED_AT, *((MARKS,) if table.has_marks else ()))


def _fetch(connection, text: sql.Composable, given: dict, limit: int, wanted: tuple[Condition, ...]) -> list[tuple]:
    parameters = {"limit": limit, **given}
    for condition in wanted:
        parameters |= condition.values
    try:
        with connection.cursor() as cursor:
            cursor.execute(text, parameters)
            return cursor.fetchall()
    except (psycopg2.DataError, ValueError) as error:
        # what is checked before does not come here: a page or an id that somebody made up
        raise ContractError("a value is none of its column's type") from error


def _values(table: Table, row: Sequence) -> dict[str, Any]:
    columns = _selected(table)
    return {column.name: values.shown(column, value) for column, value in zip(columns, row, strict=True)}


def _document(table: Table, found: dict[str, Any]) -> dict:
    own = {column.name: found[column.name] for column in table.columns}
    return {
        "id": identity.of(table, [found[name] for name in table.key]),
        "values": values.masked(own, table.hidden),
        "anomalies": values.marks(found, table.hidden),
        "run_id": found[RUN_ID.name],
        "loaded_at": found[LOADED_AT.name],
    }


def _parameter(value: Any) -> str | None:
    return None if value is None else str(value)
