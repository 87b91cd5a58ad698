"""Terraform's expressions, evaluated without Terraform.

The signs, functions and forms are those that our module uses
(https://developer.hashicorp.com/terraform/language/expressions); anything else is an error.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][\w-]*)|(?P<string>")
    |(?P<sign>=>|==|!=|<=|>=|&&|\|\||\.\.\.|[-+*/%!<>=?:.,()\[\]{}]))""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
LITERALS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Reference:
    """Something that a resource has once it exists: `aws_x.name`, an instance's key, an attribute."""

    address: str
    key: Any = None
    attribute: str = ""

    def __str__(self) -> str:
        return f"<{self.address}{f'[{self.key}]' if self.key is not None else ''}.{self.attribute}>"


class ExpressionError(ValueError):
    """An expression that is not understood, or names what is not there."""


# --- parsing: an expression becomes a function of a scope ---------------------------------------

Thunk = Callable[[dict], Any]


class Parser:
    """One expression, as text."""

    def __init__(self, text: str):
        self.text, self.at = text, 0

    def whole(self) -> Thunk:
        found = self.expression()
        if self.peek():
            raise ExpressionError(f"{self.text[self.at :]!r} is left over of {self.text!r}")
        return found

    def peek(self) -> str:
        found = _TOKEN.match(self.text, self.at)
        if found:
            return found[found.lastgroup]
        if self.text[self.at :].strip():
            raise ExpressionError(f"what is {self.text[self.at :]!r}?")
        return ""

    def take(self, wanted: str | None = None) -> str:
        found = _TOKEN.match(self.text, self.at)
        if not found or (wanted and found[found.lastgroup] != wanted):
            raise ExpressionError(f"expected {wanted} at {self.text[self.at :]!r}")
        self.at = found.end()
        return found[found.lastgroup]

    def accept(self, *wanted: str) -> str:
        return self.take() if self.peek() in wanted else ""

    def expression(self) -> Thunk:
        condition = self.binary(0)
        if not self.accept("?"):
            return condition
        yes = self.expression()
        self.take(":")
        no = self.expression()
        return lambda scope: yes(scope) if condition(scope) else no(scope)

    _LEVELS = (("||",), ("&&",), ("==", "!="), ("<", ">", "<=", ">="), ("+", "-"), ("*", "/", "%"))

    def binary(self, level: int) -> Thunk:
        if level == len(self._LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while sign := self.accept(*self._LEVELS[level]):
            left = _operation(sign, left, self.binary(level + 1))
        return left

    def unary(self) -> Thunk:
        if self.accept("!"):
            value = self.unary()
            return lambda scope: not value(scope)
        if self.accept("-"):
            value = self.unary()
            return lambda scope: -value(scope)
        return self.postfix()

    def postfix(self) -> Thunk:
        value = self.primary()
        while True:
            if self.accept("."):
                value = _get(value, self.take())
            elif self.accept("["):
                if self.accept("*"):
                    self.take("]")
                    return self.splat(value)
                index = self.expression()
                self.take("]")
                value = _index(value, index)
            else:
                return value

    def splat(self, value: Thunk) -> Thunk:
        names = []
        while self.accept("."):
            names.append(self.take())

        def each(scope: dict) -> list:
            found = []
            for item in scope["__module"].instances(value(scope)):
                for name in names:
                    item = _attribute(item, name, scope)
                found.append(item)
            return found

        return each

    def primary(self) -> Thunk:
        token = self.peek()
        if token == '"':
            return self.string()
        if token == "(":
            self.take()
            value = self.expression()
            self.take(")")
            return value
        if token == "[":
            return self.sequence()
        if token == "{":
            return self.mapping()
        name = self.take()
        if name[:1].isdigit():
            number = float(name) if "." in name else int(name)
            return lambda scope: number
        if name in LITERALS:
            return lambda scope: LITERALS[name]
        if self.peek() == "(":
            return self.call(name)
        return lambda scope: _named(name, scope)

    def string(self) -> Thunk:
        self.take('"')
        parts: list[Thunk] = []
        text = ""
        while (sign := self.text[self.at]) != '"':
            if self.text.startswith(("$${", "%%{"), self.at):
                text, self.at = text + self.text[self.at + 1 : self.at + 3], self.at + 3
            elif self.text.startswith("${", self.at):
                self.at += 2
                parts += [_constant(text), self.expression()]
                text = ""
                self.take("}")
            elif sign == "\\":
                text, self.at = text + _ESCAPES[self.text[self.at + 1]], self.at + 2
            else:
                text, self.at = text + sign, self.at + 1
        self.at += 1
        parts.append(_constant(text))
        return lambda scope: _joined([part(scope) for part in parts])

    def sequence(self) -> Thunk:
        self.take("[")
        if self.accept("for"):
            names, source, value, _, condition = self.loop("]", keyed=False)
            return lambda scope: [value(inner) for inner in _loop(names, source, condition, scope)]
        items = self.items("]")
        return lambda scope: [item(scope) for item in items]

    def mapping(self) -> Thunk:
        self.take("{")
        if self.accept("for"):
            names, source, key, value, condition = self.loop("}", keyed=True)
            return lambda scope: {key(inner): value(inner) for inner in _loop(names, source, condition, scope)}
        pairs = []
        while not self.accept("}"):
            key = self.primary() if self.peek() in ('"', "(") else _constant(self.take())
            self.accept("=", ":")
            pairs.append((key, self.expression()))
            self.accept(",")
        return lambda scope: {key(scope): value(scope) for key, value in pairs}

    def loop(self, end: str, keyed: bool):
        names = [self.take()]
        if self.accept(","):
            names.append(self.take())
        self.take("in")
        source = self.expression()
        self.take(":")
        first, second, condition = self.expression(), None, None
        if keyed:
            self.take("=>")
            second = self.expression()
        if self.accept("if"):
            condition = self.expression()
        self.take(end)
        return names, source, first, second, condition

    def items(self, end: str) -> list[Thunk]:
        found = []
        while not self.accept(end):
            found.append(self.expression())
            self.accept(",")
        return found

    def call(self, name: str) -> Thunk:
        self.take("(")
        arguments = self.items(")")
        if name in ("try", "can"):
            return lambda scope: _tried(name, arguments, scope)
        if name not in FUNCTIONS:
            raise ExpressionError(f"the function {name} is not known here")
        return lambda scope: FUNCTIONS[name](scope, *[argument(scope) for argument in arguments])


def _constant(value: Any) -> Thunk:
    return lambda scope: value


def _operation(sign: str, left: Thunk, right: Thunk) -> Thunk:
    if sign == "&&":
        return lambda scope: left(scope) and right(scope)
    if sign == "||":
        return lambda scope: left(scope) or right(scope)
    apply = {
        "==": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
        "<": lambda a, b: a < b,
        ">": lambda a, b: a > b,
        "<=": lambda a, b: a <= b,
        ">=": lambda a, b: a >= b,
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
        "%": lambda a, b: a % b,
    }[sign]
    return lambda scope: apply(left(scope), right(scope))


def _joined(parts: list) -> Any:
    given = [part for part in parts if part != ""]
    if len(given) == 1:
        return given[0]  # "${x}" is x itself
    return "".join(str(part).lower() if isinstance(part, bool) else str(part) for part in given)


def _loop(names: list[str], source: Thunk, condition: Thunk | None, scope: dict):
    found = source(scope)
    if isinstance(found, dict):
        pairs = sorted(found.items())
    elif isinstance(found, set | frozenset):
        pairs = [(item, item) for item in sorted(found)]
    else:
        pairs = list(enumerate(found))
    for key, value in pairs:
        inner = {**scope, **dict(zip(names, (key, value) if len(names) == 2 else (value,), strict=True))}
        if condition is None or condition(inner):
            yield inner


def _get(value: Thunk, name: str) -> Thunk:
    return lambda scope: _attribute(value(scope), name, scope)


def _index(value: Thunk, index: Thunk) -> Thunk:
    def found(scope: dict) -> Any:
        held, key = value(scope), index(scope)
        if isinstance(held, Reference):
            if key not in scope["__module"].keys(held):
                raise ExpressionError(f"there is no {held.address}[{key!r}]")
            return Reference(held.address, key)
        try:
            return held[key]
        except (KeyError, IndexError, TypeError) as error:
            raise ExpressionError(f"nothing at {key!r}") from error

    return found


def _attribute(held: Any, name: str, scope: dict) -> Any:
    if callable(held):
        return held(name)
    if isinstance(held, Reference):
        return Reference(held.address, held.key, f"{held.attribute}.{name}".strip("."))
    if isinstance(held, dict) and name in held:
        return held[name]
    raise ExpressionError(f"there is no {name}")


def _named(name: str, scope: dict) -> Any:
    if name in scope:
        return scope[name]
    if name.startswith("aws_"):
        return lambda label: scope["__module"].reference(f"{name}.{label}")
    raise ExpressionError(f"{name} is not known")


def _tried(name: str, arguments: list[Thunk], scope: dict) -> Any:
    for argument in arguments:
        try:
            value = argument(scope)
        except (ExpressionError, TypeError):
            continue
        return True if name == "can" else value
    if name == "can":
        return False
    raise ExpressionError("no argument of try can be evaluated")


# --- functions ---------------------------------------------------------------------------------


def _coalesce(scope: dict, *values: Any) -> Any:
    found = [value for value in values if value is not None and value != ""]
    if not found:
        raise ExpressionError("coalesce has nothing to give")
    return found[0]


def _templatefile(scope: dict, path: str, names: dict) -> str:
    text = Path(path).read_text()
    if "%{" in text:
        raise ExpressionError(f"{path} has a directive of Terraform's templates, %{{")

    def filled(found: re.Match) -> str:
        if found[0].startswith("$$"):
            return found[0][1:]
        return str(Parser(found[1]).whole()(dict(names)))

    return re.sub(r"\$?\$\{([^}]*)\}", filled, text)


def _regex(scope: dict, pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if not found:
        raise ExpressionError(f"{text!r} is not like {pattern}")
    return found[0]


def _one(scope: dict, values: list) -> Any:
    if len(values) > 1:
        raise ExpressionError("one got more than one")
    return next(iter(values), None)


def _jsondecode(scope: dict, text: Any) -> Any:
    try:
        return text if isinstance(text, Reference) else json.loads(text)
    except ValueError as error:
        raise ExpressionError(f"no JSON: {error}") from None


def in_order(values: Any) -> Any:
    return sorted(values) if isinstance(values, set | frozenset) else values


FUNCTIONS: dict[str, Callable] = {
    "abspath": lambda scope, path: str(Path(path).resolve()),
    "alltrue": lambda scope, values: all(values),
    "coalesce": _coalesce,
    "concat": lambda scope, *lists: list(itertools.chain(*lists)),
    "contains": lambda scope, values, value: value in values,
    "file": lambda scope, path: Path(path).read_text(),
    "fileexists": lambda scope, path: Path(path).is_file(),
    "jsondecode": _jsondecode,
    "join": lambda scope, between, parts: between.join(parts),
    "jsonencode": lambda scope, value: json.dumps(value, default=str),
    "keys": lambda scope, value: sorted(value),
    "length": lambda scope, value: len(value),
    "merge": lambda scope, *maps: {key: value for one in maps for key, value in one.items()},
    "one": _one,
    "regex": _regex,
    "replace": lambda scope, text, old, new: text.replace(old, new),
    "setproduct": lambda scope, *sets: [list(pair) for pair in itertools.product(*map(in_order, sets))],
    "templatefile": _templatefile,
    "title": lambda scope, text: re.sub(r"(?<!\w)\w", lambda found: found[0].upper(), text),
    "toset": lambda scope, values: frozenset(values),
    "tolist": lambda scope, values: list(in_order(values)),
    "tostring": lambda scope, value: None if value is None else str(value),
    "values": lambda scope, value: [value[key] for key in sorted(value)],
}
