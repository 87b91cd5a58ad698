"""The rules of a Choice state, https://states-language.net/#choice-state."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from statemachine import paths

_BOOLEAN = ("And", "Or", "Not")
_TESTS = ("IsBoolean", "IsNull", "IsNumeric", "IsPresent", "IsString", "IsTimestamp")
_ORDERED = ("Equals", "GreaterThan", "GreaterThanEquals", "LessThan", "LessThanEquals")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")


def is_timestamp(value: Any) -> bool:
    """RFC 3339 with an upper-case T and a zone."""
    return isinstance(value, str) and bool(_TIMESTAMP.fullmatch(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_COMPARISONS: dict[str, tuple[Any, str]] = {
    **{f"Numeric{how}": (_is_number, "a number") for how in _ORDERED},
    **{f"String{how}": (lambda value: isinstance(value, str), "a string") for how in _ORDERED},
    **{f"Timestamp{how}": (is_timestamp, "a timestamp such as 2026-01-31T00:00:00Z") for how in _ORDERED},
    "BooleanEquals": (lambda value: isinstance(value, bool), "true or false"),
    **{name: (lambda value: isinstance(value, bool), "true or false") for name in _TESTS},
    "StringMatches": (lambda value: isinstance(value, str), "a string"),
}
_BY_PATH = {f"{name}Path" for name in _COMPARISONS if name not in _TESTS and name != "StringMatches"}


def problems(rule: Any, where: str, top: bool = True) -> Iterator[str]:
    """What is wrong with one rule and the rules inside it; only the top one may have Next and Assign."""
    if not isinstance(rule, dict):
        yield f"{where}: is {rule!r}, expected an object with Variable and a comparison, or And, Or, Not"
        return
    allowed = {"Comment", "Next", "Assign"} if top else {"Comment"}
    if top and "Next" not in rule:
        yield f"{where}: has no Next; name the state that follows when the rule holds"
    for name in sorted({"Next", "Assign"} & set(rule) - allowed):
        yield f"{where}.{name}: is allowed in the outermost rule only; move it there"
    if "Assign" in rule:
        yield from paths.template(rule["Assign"], f"{where}.Assign")

    operators = [name for name in rule if name in _COMPARISONS or name in _BY_PATH or name in _BOOLEAN]
    extra = set(rule) - set(operators) - {"Comment", "Next", "Assign", "Variable"}
    for name in sorted(extra):
        yield f"{where}.{name}: is no comparison operator{paths.closest(name, {*_COMPARISONS, *_BY_PATH, *_BOOLEAN})}"
    if len(operators) > 1:
        yield f"{where}: has {len(operators)} operators ({', '.join(operators)}); combine them with And or Or"
    elif not operators and not extra:
        yield f"{where}: has no comparison; add one such as StringEquals"
    for operator in operators:
        yield from _operator(rule, operator, f"{where}.{operator}")

    if any(name in _BOOLEAN for name in operators):
        if "Variable" in rule:
            yield f"{where}.Variable: means nothing beside {operators[0]}; move it into the rules inside"
    elif "Variable" not in rule:
        yield f"{where}: has no Variable; name the path to compare, such as `$.verdict`"
    elif wrong := paths.reference_path(rule["Variable"]):
        yield f"{where}.Variable: {rule['Variable']!r} is {wrong}"


def _operator(rule: dict, operator: str, where: str) -> Iterator[str]:
    value = rule[operator]
    if operator == "Not":
        yield from problems(value, where, top=False)
    elif operator in _BOOLEAN:
        if not isinstance(value, list) or not value:
            yield f"{where}: is {value!r}, expected a list of at least one rule"
            return
        for index, nested in enumerate(value):
            yield from problems(nested, f"{where}[{index}]", top=False)
    elif operator in _BY_PATH:
        if wrong := paths.reference_path(value):
            yield f"{where}: {value!r} is {wrong}"
    else:
        is_right, expected = _COMPARISONS[operator]
        if not is_right(value):
            yield f"{where}: is {value!r}, expected {expected}"
