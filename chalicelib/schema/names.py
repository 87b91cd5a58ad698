"""Column names of fields that nobody declared: safe, and the same in every run."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Container

from chalicelib.columns import SYSTEM_COLUMNS

_LONGEST = 60  # bytes, so that what tells two names apart still fits Postgres' 63
_DIGEST = 7  # with its underscore


def sql_name(field: str, otherwise: str) -> str:
    """A lower-case SQL name: `Order ID` and `orderId` become order_id. `otherwise` follows `column_` where nothing
    is left of the field.

    A leading underscore, which marks the columns of the pipeline, is dropped; names of Postgres'
    own columns, such as xmin, become column_xmin.
    """
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", field).casefold()
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    text = re.sub(r"[^a-z0-9]+", "_", text).strip("_")[:_LONGEST].rstrip("_")
    if not text[:1].isalpha() or text in SYSTEM_COLUMNS:
        text = f"column_{text or otherwise}"[:_LONGEST]
    return text


def column_name(field: str, taken: Container[str]) -> str:
    """The column of a new field; where its name is taken, a part of the field's hash tells it apart."""
    digest = hashlib.blake2b(field.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    name = sql_name(field, digest[:6])
    for length in range(6, len(digest) + 1):
        if name not in taken:
            break
        name = f"{sql_name(field, digest[:6])[: _LONGEST - _DIGEST - length + 6]}_{digest[:length]}"
    return name
