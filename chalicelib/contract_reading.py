"""Reading a contract from an event, strictly, and writing it back as plain JSON values.

A contract is a frozen dataclass of JSON's types, of tuples, dicts and other contracts. The contracts
themselves are in `contracts`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from chalicelib.errors import ContractError

T = TypeVar("T")


def read_contract(kind: type[T], event: Any, path: str = "event", called: Mapping[str, str] | None = None) -> T:
    """`event` as a `kind`; raises ContractError naming the field that is missing, extra or mistyped.

    `called` has the names that fields go by where the event was written, for those whose name is another.
    """
    if not isinstance(event, dict):
        raise ContractError(f"{path} is {type(event).__name__}, expected an object for {kind.__name__}")
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in dataclasses.fields(kind)}
    if extra := sorted(set(event) - set(known)):
        raise ContractError(f"{path} has fields that {kind.__name__} does not know: {', '.join(extra)}")
    values = {}
    for name, f in known.items():
        place = f"{path}.{(called or {}).get(name, name)}"
        if name in event:
            values[name] = _value(hints[name], event[name], place)
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise ContractError(f"{place} is missing; {kind.__name__} needs it")
    return kind(**values)


def write_contract(result: Any) -> Any:
    """A contract as plain JSON values."""
    return dataclasses.asdict(result)


def _value(hint: Any, value: Any, path: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        return _value(next(o for o in options if o is not type(None)), value, path)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ContractError(f"{path} is {type(value).__name__}, expected an array")
        item = typing.get_args(hint)[0]
        return tuple(_value(item, v, f"{path}[{i}]") for i, v in enumerate(value))
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else read_contract(hint, value, path)
    expected = hint
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        # what is nested may be somebody's record
        found = type(value).__name__ if isinstance(value, dict | list) else f"{value!r} ({type(value).__name__})"
        raise ContractError(f"{path} is {found}, expected {expected.__name__}")
    return value
