"""Column names of fields that nobody declared: safe, and the same in every run."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Container, Sequence

from chalicelib.columns import SYSTEM_COLUMNS

# words as fields are called, such as `Order ID`, `unit-price (EUR)`, `größe`; no address, number, date or sentence
_LIKE_A_FIELD = re.compile(r"[^\W\d][\w .:/()%#$-]{0,62}")

_LONGEST = 60  # bytes, so that what tells two names apart still fits Postgres' 63
_DIGEST = 7  # with its underscore


def is_like_a_field(name: str) -> bool:
    """Whether a name may be told. Where a CSV has no header row, its first record is taken for the names, and a
    document may use anything as one, such as the address of a person.
    """
    return _LIKE_A_FIELD.fullmatch(name) is not None and not re.search(r"\d{5}", name)


def listed(names: Sequence[str]) -> str:
    """The names that may be told, and how many the others are: "id, name and 1 that looks like no name"."""
    told = [name for name in names if is_like_a_field(name)]
    others = len(names) - len(told)
    withheld = f"{others} that look{'s' if others == 1 else ''} like no name" if others else ""
    return " and ".join(filter(None, [", ".join(told), withheld]))


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
