"""The id of a record: its source and its key, so that it names the same row on every stage and in every run.

base64url of the JSON array [source, key values, table]; the table is there where the source has several.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from chalicelib.errors import NotFound
from chalicelib.reading.tables import Table
from chalicelib.warehouse.texts import is_storable


def of(table: Table, key: list[Any]) -> str:
    document = [table.source, key, *((table.name,) if table.declared_by_run else ())]
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read(id: str) -> tuple[str, list[str], str | None]:
    """(source, key values as texts, table); raises NotFound for what `of` has not made."""
    try:
        padded = id.encode("ascii") + b"=" * (-len(id) % 4)
        source, key, *table = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(source, str) or not isinstance(key, list) or len(table) > 1:
            raise ValueError
        if not all(isinstance(value, str | int | float) for value in key) or not all(isinstance(t, str) for t in table):
            raise ValueError
        if not all(is_storable(text) for text in (source, *key, *table) if isinstance(text, str)):
            raise ValueError
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise missing() from None
    return source, [str(value) for value in key], table[0] if table else None


def missing() -> NotFound:
    return NotFound("no record has this id", next_step="take one from a list of records")
