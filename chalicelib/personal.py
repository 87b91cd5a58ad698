"""Personal values stay out of logs, reports, emails, errors and what the command line prints.

A source says which of its columns are `personal`; of these the rest of the pipeline tells that a
value is wrong and why, never the value: it shows MASK. Kept whole are the raw layer, the tables, and the
`record` and `key` of `pipeline.quarantine`, from which a row can be loaded once more: who may read those is a
matter of rights. Reasons are masked before they are stored, a record whenever it is shown.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from chalicelib.columns import Column
from chalicelib.redaction import MASK

if TYPE_CHECKING:
    from chalicelib.sources.base import Source


def names(columns: Iterable[Column]) -> frozenset[str]:
    """The names of the personal ones among `columns`."""
    return frozenset(column.name for column in columns if column.personal)


def holds(source: Source) -> bool:
    """Whether any column of the source is personal."""
    return bool(names(source.columns))


def may_hold(source: str | None, run_id: str | None) -> bool:
    """Whether what this process has read of a run may be personal; also true where that cannot be found out."""
    from chalicelib import sources  # far above: this is for errors alone
    from chalicelib.errors import UnknownSource

    try:
        return holds(sources.of_process(source, run_id))
    except UnknownSource:  # nothing can have been read
        return False
    except Exception:
        return True


def any_may_hold() -> bool:
    """Whether any source has personal columns; also true where that cannot be found out."""
    from chalicelib import sources  # far above: this is for errors alone

    try:
        return any(holds(sources.get(name)) for name in sources.names())
    except Exception:
        return True


def row(source: Source, values: Mapping[str, Any]) -> dict[str, Any]:
    """A curated row as it may be shown: personal values as MASK, null as null."""
    hidden = names(source.columns)
    return {name: MASK if name in hidden and value is not None else value for name, value in values.items()}


def record(source: Source | None, raw: str) -> str:
    """A raw record as it may be shown; whole where the source has no personal columns.

    Of a JSON object, the fields that are columns, and not personal ones, keep their values if these are
    plain. Anything else is MASK: a record that is broken, a line of CSV, a field that is not declared.
    Without a source, such as one that is gone, all of it is.
    """
    if source is not None and not holds(source):
        return raw
    try:
        fields = json.loads(raw)
    except ValueError:
        return MASK
    if source is None or not isinstance(fields, dict):
        return MASK
    known = {column.name for column in source.columns if not column.personal}
    told = {
        name: value if source.rename.get(name, name) in known and not isinstance(value, dict | list) else MASK
        for name, value in fields.items()
    }
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def told(error: BaseException) -> str:
    """What may be told of an exception whose text may quote values: its type and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/chalicelib/" in frame.filename.replace("\\", "/")] or frames
    if not ours:
        return type(error).__name__
    file = "chalicelib/" + ours[-1].filename.replace("\\", "/").rpartition("/chalicelib/")[2]
    return f"{type(error).__name__} at {file}:{ours[-1].lineno}"
