"""Files as a source: the base class for sources made of files, and the source `files` itself."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from chalicelib.columns import with_key
from chalicelib.contracts import Window
from chalicelib.errors import SourceError
from chalicelib.lake import formats
from chalicelib.settings import Settings
from chalicelib.sources import declaration, location
from chalicelib.sources.base import Page, Source

if TYPE_CHECKING:
    from chalicelib.http import Client

_HEAD_BYTES = 64 * 1024
_DECLARATION_BYTES = 1024 * 1024


class FileSource(Source):
    """A source whose input is files: NDJSON, CSV or a JSON array, plain or gzip.

    Each file is one partition. `sluice run NAME --input WHAT` names them, else `default_input` does. What a
    file's name says of its format goes before `format`: the events of webhooks come as NDJSON to any source.
    """

    format: str = declaration.AUTO  # or csv, ndjson, json
    delimiter: str | None = None  # of CSV; None: found out from the header
    default_input: str | None = None

    def takes(self, key: str) -> bool:
        """Whether an object of this key in the source's inbox is a run; where not, it lies there for another's."""
        return True

    def partitions(self, window: Window, given: str | None, settings: Settings) -> list[dict]:
        wanted = given or self.default_input
        if not wanted:
            raise SourceError("no input was given", source=self.name, next_step="say which with --input")
        return [{"location": found} for found in location.find(wanted, settings)]

    def pages(self, request: dict, client: Client, settings: Settings) -> Iterator[Page]:
        """The file as one page. `client` is not used: the host that may be contacted is in the request."""
        where = request["location"]
        stream = location.open_file(where, settings, self.hosts)
        head = _read(stream, _HEAD_BYTES)
        compressed = head.startswith(formats.GZIP_MAGIC)
        yield Page(
            body=_Rejoined(head, stream),
            format=self.format_of(where, _beginning(head) if compressed else head),
            compression=formats.GZIP if compressed else None,
            delimiter=self.delimiter,
            name=location.shown(where),
        )

    def format_of(self, where: str, head: bytes) -> str:
        """The format of the file at `where`, whose text begins with `head`."""
        named = formats.named(location.path(where))
        declared = self.format != declaration.AUTO
        if declared and named != formats.JSON:
            return named or self.format
        found = _detect(head, location.shown(where))
        # neither of the two that a .json may be: read as what the source declares, which says what is wrong
        return self.format if declared and found == formats.CSV else found


class Files(FileSource):
    """The source `files`: what it loads, and where to, is in a declaration given at run time.

    Plan calls `declare` and keeps the result with the run; every later stage gets its source from
    `sources.for_run`, which calls `declared`.
    """

    name = "files"
    key = ()
    columns = ()

    def check(self) -> None:
        if self.columns:  # else it is not declared yet
            super().check()

    def takes(self, key: str) -> bool:
        return key.lower().endswith(".toml")

    def format_of(self, where: str, head: bytes) -> str:
        """A declaration speaks of certain files, so what it says goes before their names."""
        return _detect(head, location.shown(where)) if self.format == declaration.AUTO else self.format

    def declare(self, given: str | None, settings: Settings) -> dict:
        """The declaration at `given` as JSON, complete: its location absolute, its suite inlined.

        Raises DeclarationError with everything that is wrong with it.
        """
        if not given or not location.path(given).lower().endswith(".toml"):
            shown = given and location.shown(given)
            raise SourceError(
                f"the source files needs a declaration, a .toml file, not {shown!r}",
                source=self.name,
                next_step="write one (see chalicelib/sources/declaration.py), or make the file a source of its own "
                "with `sluice new source NAME --sample FILE --key COLUMN`",
            )
        [where] = location.find(given, settings)
        values = declaration.load(_text(where, settings), location.shown(where))
        parsed = declaration.parse(values, location.shown(where))
        values["location"] = location.beside(where, parsed.location)
        if isinstance(values.get("suite"), str):
            suite = location.beside(where, values["suite"])
            values["suite"] = declaration.load_suite(_text(suite, settings), location.shown(suite))
        return values


def declared(values: dict) -> Files:
    """The source that a declaration describes, as `Files.declare` returned it."""
    parsed = declaration.parse(values)
    source = Files()
    source.table, source.key, source.columns = parsed.table, parsed.key, with_key(parsed.columns, parsed.key)
    source.format, source.delimiter, source.nulls = parsed.format, parsed.delimiter, parsed.nulls
    source.rename, source.suite_document = parsed.rename, parsed.suite
    source.default_input, source.schema_contract = parsed.location, parsed.schema_contract
    source.anomalies, source.day, source.indexes = parsed.anomalies, parsed.day, parsed.indexes
    source.check()
    return source


class _Rejoined:
    """A stream whose head was read already, whole again."""

    def __init__(self, head: bytes, rest: BinaryIO):
        self._head, self._rest = head, rest

    def read(self, size: int = -1) -> bytes:
        if self._head:
            size = size if size >= 0 else len(self._head)
            block, self._head = self._head[:size], self._head[size:]
            return block
        return self._rest.read(size)

    def close(self) -> None:
        self._rest.close()


def _read(stream: BinaryIO, size: int) -> bytes:
    """`size` bytes, fewer only at the end: a network stream may give less per call."""
    read = b""
    while len(read) < size and (block := stream.read(size - len(read))):
        read += block
    return read


def _beginning(head: bytes) -> bytes:
    """The beginning of the text in a gzip file; empty where it is damaged, which reading it will report."""
    try:
        return zlib.decompressobj(31).decompress(head, _HEAD_BYTES)
    except zlib.error:
        return b""


def _detect(head: bytes, name: str) -> str:
    format = formats.detect(head)
    if format == formats.NDJSON and head.split(b"\n", 1)[0].strip() == b"{":
        raise SourceError(
            "the file is one JSON document over several lines, expected NDJSON, an array of records, or CSV",
            file=name,
            next_step="extract the records, e.g. `jq -c '.items[]'`, or write a source with records()",
        )
    return format


def _text(where: str, settings: Settings) -> str:
    stream = location.open_file(where, settings)
    try:
        return _read(stream, _DECLARATION_BYTES).decode()
    except UnicodeDecodeError as error:
        raise SourceError(f"the file is not UTF-8: {error}", file=location.shown(where)) from None
    finally:
        stream.close()
