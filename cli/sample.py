"""Read a sample file batch by batch, with the parsers of the pipeline itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chalicelib.conversion import shorten
from chalicelib.errors import SourceError
from chalicelib.lake import csv_rows, cutting, formats, ndjson
from chalicelib.lake.lines import Piece
from chalicelib.lake.ndjson import Parsed
from chalicelib.settings import LOCAL, Settings
from chalicelib.sources.files import FileSource
from cli.inference import is_like_a_value

# what one look takes: about 3 s for 20 columns
RECORDS = 500_000
_BATCH_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class SampleRows:
    """Consecutive records: values by field, and the line of each record in the file (from 1)."""

    fields: dict[str, list]
    lines: list[int]


class Sample:
    """The first `limit` records of a file: NDJSON, CSV or a JSON array, plain or gzip.

    `records`, `malformed` and `complete` are known once `batches` has been read to its end.
    """

    def __init__(self, path: Path, limit: int = RECORDS):
        self.path = path.absolute()
        self.limit = limit
        [self._page] = FileSource().pages({"location": str(self.path)}, None, Settings(stage=LOCAL))
        self.format = self._page.format
        self.delimiter: str | None = None  # of a CSV, known with the first batch
        self.records = 0
        self.malformed: list[tuple[int, str]] = []  # (line, reason)
        self.complete = False

    @property
    def is_csv(self) -> bool:
        return self.format == formats.CSV

    @property
    def headless(self) -> str | None:
        """What tells that the first line of a CSV may be a record, and what to do then."""
        names = (self._cutter.header or ()) if self.is_csv else ()
        values = [name for name in names if is_like_a_value(name)]
        if not values:
            return None
        look = "looks like a value" if len(values) == 1 else "look like values"
        return (
            f"{len(values)} of {len(names)} names in the first line, such as {shorten(values[0], 40)}, {look}. If it "
            "is a record, it is never loaded: put the names of the columns above it, then make the source again"
        )

    def batches(self) -> Iterator[SampleRows]:
        """Raises RawError for a file that cannot be cut, SourceError for one without a usable record."""
        try:
            for parsed, first_line in self._parsed():
                self.malformed += [(first_line + bad.line, bad.reason) for bad in parsed.bad]
                kept = parsed.records[: self.limit - self.records]
                self.records += len(kept)
                lines = (parsed.lines[: len(kept)] + first_line).tolist()
                yield SampleRows(self._columns(kept), lines)
                if self.records == self.limit:
                    return
            self.complete = True
        finally:
            self._page.body.close()
        if not self.records:
            reason = f": line {self.malformed[0][0]}, {self.malformed[0][1]}" if self.malformed else ""
            raise SourceError(
                f"the sample holds no usable record{reason}",
                file=str(self.path),
                next_step="give a file with a few hundred typical records",
            )

    def _parsed(self) -> Iterator[tuple[Parsed, int]]:
        """(records, line of the first one) for every few megabytes of text."""
        name = str(self.path)
        self._cutter = cutting.cutter_of(self._page, name, Settings(chunk_bytes=_BATCH_BYTES))
        text, offset, done = bytearray(), 0, 0

        def parsed(piece: Piece) -> tuple[Parsed, int]:
            nonlocal offset
            data = bytes(text[piece.start - offset : piece.end - offset])
            del text[: piece.end - offset]
            offset = piece.end
            return self._parse(data), piece.first_line

        for block in cutting.plain_text(self._page, cutting.blocks(self._page), name):
            text += block
            self._cutter.feed(block)
            for piece in self._cutter.pieces[done:]:
                yield parsed(piece)
            done = len(self._cutter.pieces)
        for piece in self._cutter.finish()[done:]:
            yield parsed(piece)

    def _parse(self, data: bytes) -> Parsed:
        if self.is_csv:
            self.delimiter = self._cutter.delimiter
            return csv_rows.parse(data, self._cutter.header, self._cutter.delimiter)
        parsed = ndjson.parse(data, blank_is_bad=self.format == formats.JSON)
        if not ndjson.LONG_DECIMAL.search(data):
            return parsed
        # numbers that no float holds show that a column has to be numeric
        return ndjson.parse(data, blank_is_bad=self.format == formats.JSON, exact=set().union(*parsed.records))

    def _columns(self, records: list) -> dict[str, list]:
        if self.is_csv:
            return csv_rows.columns(records, self._cutter.header, ())
        return ndjson.columns(records)
