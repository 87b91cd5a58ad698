"""What the header of a CSV must have: the declared columns.

Where the header row is missing, the first record is taken for one, and its values, personal ones too, for names. So
a header that has none of the columns stops the file before anything keeps or tells it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from chalicelib.errors import RawError
from chalicelib.lake.formats import DELIMITERS
from chalicelib.schema import names

if TYPE_CHECKING:
    from chalicelib.contracts import Chunk
    from chalicelib.sources.base import Source


def expect_some(source: Source, header: tuple[str, ...], delimiter: str, file: str) -> None:
    """Raise RawError where no name of `header` leads to a declared column.

    A source's own transform() may make its columns of other fields: what such a file lacks shows in `expect_all`.
    """
    if _transforms(source) or _known(source, header):
        return
    fields = f"{len(header)} field{'' if len(header) == 1 else 's'}"
    declared = f"none of the {len(source.columns)} declared columns is among the {fields} of the first line"
    if other := _other_delimiter(source, header, delimiter):
        raise RawError(
            f"{declared}, which {other!r} parts, and which is read with {delimiter!r}",
            source=source.name,
            file=file,
            line=1,
            next_step=f"declare delimiter = {other!r}, or none: it is then found out from the header",
        )
    raise RawError(
        f"{declared}: the header row seems to be missing",
        source=source.name,
        file=file,
        line=1,
        next_step=f"put the names of the columns in the first line: {_wanted(source)}",
    )


def expect_all(source: Source, fields: Iterable[str], chunk: Chunk) -> None:
    """Raise RawError where a CSV lacks a declared column: its rows would overwrite good values with null.

    `fields` are those after transform(). In JSON a field that is absent is the usual way to say null. What the
    table got later older files do not have.
    """
    missing = [name for name in source.column_names if name not in fields and name not in source.late]
    if missing:
        header, raw = chunk.header or tuple(fields), chunk.slices[0].raw_key
        file = _known_as(chunk)
        raise RawError(
            f"the file has no column for {', '.join(missing)}; its header has {len(header)}",
            # of a header without any of the columns nobody knows what its names are
            quote=names.listed(header) if len(missing) < len(source.columns) else None,
            source=source.name,
            file=file or raw,
            raw=raw if file else None,
            next_step="give the file all declared columns, or take them out of the declaration",
        )


def _known_as(chunk: Chunk) -> str | None:
    """The file as its people call it: where a partition is one, its request says where it lies."""
    from chalicelib.sources import location  # it leads here

    where = chunk.request.get("location")
    return location.shown(where) if isinstance(where, str) else None


def _known(source: Source, header: Iterable[str]) -> bool:
    declared = set(source.column_names)
    return any(source.rename.get(name, name) in declared for name in header)


def _other_delimiter(source: Source, header: tuple[str, ...], delimiter: str) -> str | None:
    """The delimiter by which the header would have declared columns."""
    line = delimiter.join(header)
    for other in DELIMITERS.replace(delimiter, ""):
        if other in line and _known(source, [part.strip().strip('"') for part in line.split(other)]):
            return other
    return None


def _wanted(source: Source) -> str:
    """The fields that lead to the declared columns."""
    fields = {column: field for field, column in source.rename.items()}
    return ", ".join(fields.get(name, name) for name in source.column_names)


def _transforms(source: Source) -> bool:
    from chalicelib.sources.base import Source as Base  # it leads here

    return type(source).transform is not Base.transform
