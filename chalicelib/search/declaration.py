"""What a source may declare to be searched: columns of text, none of them personal, in a language."""

from __future__ import annotations

from collections.abc import Iterable

from chalicelib.columns import Column

# exact words, in any language: no word is left out, none is brought to its stem
SIMPLE = "simple"
# that come with PostgreSQL 17 (https://www.postgresql.org/docs/17/textsearch-dictionaries.html)
LANGUAGES = (
    SIMPLE,
    "arabic",
    "armenian",
    "basque",
    "catalan",
    "danish",
    "dutch",
    "english",
    "finnish",
    "french",
    "german",
    "greek",
    "hindi",
    "hungarian",
    "indonesian",
    "irish",
    "italian",
    "lithuanian",
    "nepali",
    "norwegian",
    "portuguese",
    "romanian",
    "russian",
    "serbian",
    "spanish",
    "swedish",
    "tamil",
    "turkish",
    "yiddish",
)
# precisions of the vectors' index
SINGLE, HALF = "single", "half"


def problems(text: Iterable[str], language: str, vectors: str, columns: Iterable[Column]) -> list[str]:
    """What is wrong with a source's `text`, `language` and `vectors`; names that are no columns are told elsewhere."""
    declared = {column.name: column for column in columns}
    searched = [declared[name] for name in text if name in declared]
    found = []
    for column in searched:
        if column.type != "text":
            found.append(f"text names {column.name}, which is {column.type}: only columns of text are searched")
        if column.personal:
            found.append(f"text names {column.name}, which is personal: a search would show it, a vector tell of it")
    if language not in LANGUAGES:
        found.append(f"language is {language!r}, none of {', '.join(LANGUAGES)}")
    if vectors not in (SINGLE, HALF):
        found.append(f"vectors is {vectors!r}, neither {SINGLE!r} nor {HALF!r}")
    return found
