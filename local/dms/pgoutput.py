"""The messages of Postgres' output plugin pgoutput, protocol version 1.

https://www.postgresql.org/docs/18/protocol-logicalrep-message-formats.html
"""

from __future__ import annotations

import datetime as dt
import struct
from dataclasses import dataclass

from chalicelib.errors import TerminalError

_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)

# what stands for a column that did not change and is stored out of line: the server does not send it
UNCHANGED = object()


@dataclass(frozen=True)
class Column:
    name: str
    oid: int  # of its type
    key: bool


@dataclass(frozen=True)
class Relation:
    """A table as it is from here on in the log."""

    id: int
    schema: str
    table: str
    columns: tuple[Column, ...]
    full: bool  # REPLICA IDENTITY FULL


@dataclass(frozen=True)
class Begin:
    xid: int
    commit_lsn: int
    committed: dt.datetime


@dataclass(frozen=True)
class Commit:
    end_lsn: int


Values = dict[str, object]  # by column: text, None, or UNCHANGED


@dataclass(frozen=True)
class Insert:
    relation: int
    new: Values


@dataclass(frozen=True)
class Update:
    """`old` is None, the old key where it changed (`old_key`), or the whole old row."""

    relation: int
    new: Values
    old: Values | None
    old_key: bool


@dataclass(frozen=True)
class Delete:
    relation: int
    old: Values
    old_key: bool


@dataclass(frozen=True)
class Truncate:
    relations: tuple[int, ...]


Message = Relation | Begin | Commit | Insert | Update | Delete | Truncate


class Decoder:
    """Decodes one connection's messages; it learns the tables from the messages before."""

    def __init__(self):
        self.relations: dict[int, Relation] = {}

    def decode(self, payload: bytes) -> Message | None:
        """The message, None for one that says nothing about rows; raises TerminalError for one that is unknown."""
        reader = _Reader(payload)
        kind = reader.byte()
        if kind == "B":
            commit_lsn, committed, xid = reader.numbers("QqI")
            return Begin(xid, commit_lsn, _EPOCH + dt.timedelta(microseconds=committed))
        if kind == "C":
            _, _, end_lsn, _ = reader.numbers("BQQq")
            return Commit(end_lsn)
        if kind == "R":
            relation = self._relation(reader)
            self.relations[relation.id] = relation
            return relation
        if kind == "I":
            relation = reader.number("I")
            reader.byte()
            return Insert(relation, self._row(reader, relation))
        if kind == "U":
            relation, old, tag = reader.number("I"), None, reader.byte()
            old_key = tag == "K"
            if tag in "KO":
                old, tag = self._row(reader, relation), reader.byte()
            return Update(relation, self._row(reader, relation), old, old_key)
        if kind == "D":
            relation, tag = reader.number("I"), reader.byte()
            return Delete(relation, self._row(reader, relation), tag == "K")
        if kind == "T":
            count, _ = reader.numbers("IB")
            return Truncate(tuple(reader.number("I") for _ in range(count)))
        if kind in "OYM":  # origin, type, a message of somebody's
            return None
        raise TerminalError(f"pgoutput sent a message {kind!r} that is unknown")

    def _relation(self, reader: _Reader) -> Relation:
        number, schema, table, identity = reader.number("I"), reader.text(), reader.text(), reader.byte()
        columns = []
        for _ in range(reader.number("H")):
            flags, name = reader.number("B"), reader.text()
            oid, _ = reader.numbers("Ii")
            columns.append(Column(name, oid, bool(flags & 1)))
        return Relation(number, schema or "pg_catalog", table, tuple(columns), identity == "f")

    def _row(self, reader: _Reader, relation: int) -> Values:
        columns = self.relations[relation].columns
        return {columns[place].name: reader.value() for place in range(reader.number("H"))}


class _Reader:
    def __init__(self, payload: bytes):
        self._payload, self._at = payload, 0

    def numbers(self, format: str) -> tuple[int, ...]:
        found = struct.unpack_from(f">{format}", self._payload, self._at)
        self._at += struct.calcsize(f">{format}")
        return found

    def number(self, format: str) -> int:
        return self.numbers(format)[0]

    def byte(self) -> str:
        return chr(self.number("B"))

    def text(self) -> str:
        end = self._payload.index(0, self._at)
        found = self._payload[self._at : end].decode()
        self._at = end + 1
        return found

    def value(self) -> object:
        kind = self.byte()
        if kind == "n":
            return None
        if kind == "u":
            return UNCHANGED
        length = self.number("I")
        self._at += length
        return self._payload[self._at - length : self._at].decode()
