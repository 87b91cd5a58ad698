"""The registry: a module in this folder that defines a `Source` subclass is a source."""

from __future__ import annotations

import copy
import functools
import importlib
import importlib.util
import keyword
import pkgutil
import re
import sys

from chalicelib.contract_reading import read_contract
from chalicelib.errors import DeclarationError, NotFound, UnknownSource
from chalicelib.lake import keys
from chalicelib.lake.store import Lake
from chalicelib.schema import DISCARD
from chalicelib.schema.model import Schema
from chalicelib.sources.base import Page, Source

__all__ = [
    "Page",
    "Source",
    "as_declared",
    "for_run",
    "from_values",
    "get",
    "names",
    "objection",
    "of_process",
    "shown",
]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
SHARED = {"base", "change_stream", "declaration", "location"}  # modules here that hold no source


def names() -> tuple[str, ...]:
    """Every registered source; a source is named after its module.

    Looked up each time (0.1 ms): a new source is found by workers that are running already.
    """
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in SHARED and not m.ispkg))


def objection(name: str) -> str | None:
    """Why no source can be called so; None where one can."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        return "it becomes a Python module and a table: use lower-case letters, digits and _, starting with a letter"
    if name in SHARED or name == "files":
        return "that is a part of Sluice itself"
    if _is_module(name):
        return f"it would stand in the way of the Python module {name}, where its folder is looked at first"
    return None


def _is_module(name: str) -> bool:
    """Whether `import name` finds one outside the sources; a mere folder is none."""
    if name in sys.stdlib_module_names:
        return True
    try:
        found = importlib.util.find_spec(name)
    except ValueError:  # it is imported, and does not say from where
        return True
    return found is not None and found.origin is not None


@functools.cache
def get(name: str) -> Source:
    """The source of that name; raises UnknownSource, or DeclarationError for one that is no use."""
    if name not in names():
        raise UnknownSource(
            f"no source is called {name!r}",
            next_step=f"use one of {', '.join(names())}"
            + (f", or create it with `sluice new source {name}`" if objection(name) is None else ""),
        )
    importlib.invalidate_caches()  # it may have been written a moment ago
    try:
        module = importlib.import_module(f"{__name__}.{name}")
    except DeclarationError:
        raise
    except Exception as error:  # whatever stands in a module that somebody is editing
        raise DeclarationError(
            f"chalicelib/sources/{name}.py cannot be imported: {type(error).__name__}: {error}", source=name
        ) from error
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Source) and value.__dict__.get("name") == name
    ]
    if len(found) != 1:
        raise DeclarationError(
            f"chalicelib/sources/{name}.py must define one Source subclass with name = {name!r}", source=name
        )
    source = found[0]()
    source.check()
    return source


def for_run(name: str, run_id: str, lake: Lake) -> Source:
    """The source of a run with the columns that the run works with: declared ones and those that evolved.

    Raises NotFound where the run is not planned yet.
    """
    source = as_declared(name, run_id, lake)
    if source.schema_contract == DISCARD:
        return source
    # read each time (3 ms): ReviewSchema writes a second revision while workers are warm
    key = keys.schema(run_id)
    source = copy.copy(source)
    source.schema = read_contract(Schema, lake.get_json(key), key)
    source.columns = source.schema.columns
    return source


def as_declared(name: str, run_id: str, lake: Lake) -> Source:
    """The source of a run as it is declared: the registered one, or the one that the run's declaration describes.

    Raises NotFound where the source needs a declaration and the run has none.
    """
    source = get(name)
    if not source.is_declared_by_run:
        return source
    declared = _declared.get(run_id)
    if declared is None:
        declared = from_values(name, lake.get_json(keys.declaration(run_id)))
        # a warm Lambda serves many runs, one at a time; only lists of rows read several at once, in threads
        _declared.clear()
        _declared[run_id] = declared
    return declared


def shown(name: str, run_id: str, lake: Lake) -> Source | None:
    """The source of a run, for `personal.record`; None where it, or what declared it, is gone."""
    try:
        return as_declared(name, run_id, lake)
    except (UnknownSource, DeclarationError, NotFound):
        return None


def of_process(name: str, run_id: str) -> Source:
    """The source of a run as far as this process knows it: without its declaration where that was not read yet."""
    return _declared.get(run_id) or get(name)


def from_values(name: str, values: dict) -> Source:
    """The source that a declaration describes, as the source's `declare` returned it."""
    return importlib.import_module(f"{__name__}.{name}").declared(values)


_declared: dict[str, Source] = {}
