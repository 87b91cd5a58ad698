"""What raw objects can be, and what their first bytes tell.

ndjson    one JSON object per line (https://github.com/ndjson/ndjson-spec)
csv       RFC 4180 with a header, delimiter , ; | or tab
json      one JSON array of records
response  one JSON document that only the source can read
"""

from __future__ import annotations

from collections.abc import Iterator

from chalicelib.errors import RawError

NDJSON = "ndjson"
CSV = "csv"
JSON = "json"
RESPONSE = "response"

DELIMITERS = ",;\t|"  # of a CSV

SUFFIX = {NDJSON: "ndjson", CSV: "csv", JSON: "json", RESPONSE: "json"}

GZIP = "gzip"
GZIP_MAGIC = b"\x1f\x8b"
UTF8_BOM = b"\xef\xbb\xbf"

# enough to tell a format by; also what an error quotes from
HEAD_BYTES = 512

_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_UNREADABLE = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"PAR1": "Parquet",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    GZIP_MAGIC: "gzip inside gzip",
}


_NAMED = {"ndjson": NDJSON, "jsonl": NDJSON, "csv": CSV, "json": JSON}


def named(path: str) -> str | None:
    """What the extension of a file's name says, a further `.gz` aside; None where it says nothing.

    JSON stands for either kind: many call NDJSON `.json`, so its first byte has to tell.
    """
    stem, dot, extension = path.rpartition("/")[2].lower().removesuffix(".gz").rpartition(".")
    return _NAMED.get(extension) if stem and dot else None


def detect(head: bytes) -> str:
    """The format by the first byte that is no space: `[` json, `{` ndjson, else csv."""
    text = head.removeprefix(UTF8_BOM).lstrip()
    return {b"[": JSON, b"{": NDJSON}.get(text[:1], CSV)


def checked(blocks: Iterator[bytes], format: str, name: str) -> Iterator[bytes]:
    """`blocks` as they are, unless their beginning shows that they are not `format`.

    Raises RawError for an empty object, UTF-16, an archive, and HTML or XML.
    """
    head = b""
    for block in blocks:
        head += block
        if len(head) >= HEAD_BYTES:
            break
    refuse(head, format, name)
    yield head
    yield from blocks


def refuse(head: bytes, format: str, name: str) -> None:
    """Raise RawError where the beginning of an object shows that it is not `format`."""
    if not head:
        raise RawError("the object is empty (0 bytes)", file=name, next_step="check what wrote it, then run again")
    if head.startswith(_UTF16_BOMS):
        raise RawError(
            "the object is UTF-16 (byte order mark), expected UTF-8",
            file=name,
            next_step="convert it, e.g. `iconv -f UTF-16 -t UTF-8`",
        )
    for magic, kind in _UNREADABLE.items():
        if head.startswith(magic):
            raise RawError(
                f"the object is {kind}, expected {format}",
                file=name,
                next_step="unpack or export it as NDJSON, CSV or a JSON array, plain or gzip",
            )
    text = head.removeprefix(UTF8_BOM).lstrip()
    markup = text[:1] == b"<" if format != CSV else text[:14].lower().startswith((b"<!doctype", b"<html", b"<?xml"))
    if markup:
        raise RawError(
            f"HTML or XML where {format} was expected",
            quote=f"it begins {text[:80].decode(errors='replace')!r}",
            file=name,
            next_step="check the address: a login or error page is often served in place of data",
        )
