"""Syntax of the JSONPaths, intrinsic functions and payload templates in a state machine.

Paths: https://states-language.net/#path. Intrinsic functions:
https://docs.aws.amazon.com/step-functions/latest/dg/intrinsic-functions.html. Each function here
returns what is wrong, in words that follow "is …", or None.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

# the number of arguments that each intrinsic function takes: least, most (None: any number)
_FUNCTIONS: dict[str, tuple[int, int | None]] = {
    "States.Array": (0, None),
    "States.ArrayContains": (2, 2),
    "States.ArrayGetItem": (2, 2),
    "States.ArrayLength": (1, 1),
    "States.ArrayPartition": (2, 2),
    "States.ArrayRange": (3, 3),
    "States.ArrayUnique": (1, 1),
    "States.Base64Decode": (1, 1),
    "States.Base64Encode": (1, 1),
    "States.Format": (1, None),
    "States.Hash": (2, 2),
    "States.JsonMerge": (3, 3),
    "States.JsonToString": (1, 1),
    "States.MathAdd": (2, 2),
    "States.MathRandom": (2, 3),
    "States.StringSplit": (2, 2),
    "States.StringToJson": (1, 1),
    "States.UUID": (0, 0),
}

# the context object, https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html
_CONTEXT = {
    "Execution": {"Id", "Input", "Name", "RoleArn", "StartTime", "RedriveCount", "RedriveTime"},
    "State": {"EnteredTime", "Name", "RetryCount"},
    "StateMachine": {"Id", "Name"},
    "Task": {"Token"},
    "Map": {"Item"},
}

_FIELD = r"[^\s.\[\]()'\"*?,:@$\\{}]+"
_ONE_NODE = rf"""\.{_FIELD}|\['(?:[^'\\]|\\.)+'\]|\["(?:[^"\\]|\\.)+"\]|\[\d+\]"""
_MANY_NODES = (
    r"\.\*|\[\*\]|\.\.(?:\*|" + _FIELD + r"|(?=\[))|\[-?\d*:-?\d*(?::-?\d+)?\]|\[-\d+\]|\[\d+(?:\s*,\s*\d+)+\]"
    r"|\['[^']+'(?:\s*,\s*'[^']+')+\]|\[\?\([^\]]+\)\]"
)
_ROOT = r"\$(?:\$|[A-Za-z_]\w*)?"
_REFERENCE = re.compile(rf"{_ROOT}(?:{_ONE_NODE})*")
_PATH = re.compile(rf"{_ROOT}(?:{_ONE_NODE}|{_MANY_NODES})*")
_CONTEXT_FIELDS = re.compile(r"\$\$\.(\w+)(?:\.(\w+))?")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def path(text: Any) -> str | None:
    """A path may select many nodes, e.g. `$.rows[*].id`; `$$` is the context object, `$name` a variable."""
    if not isinstance(text, str):
        return "not a string; write a path such as `$.field`"
    if not text.startswith("$"):
        return "not a path; a path starts with `$`"
    if not _PATH.fullmatch(text):
        stop = _PATH.match(text).end()
        return f"not a path: cannot read {text[stop : stop + 20]!r} at character {stop + 1}"
    return _context(text)


def reference_path(text: Any) -> str | None:
    """A reference path selects one node: names and array indexes only."""
    wrong = path(text)
    if wrong is None and not _REFERENCE.fullmatch(text):
        return "a path that may select several nodes; use names and [n] only"
    return wrong


def result_path(text: Any) -> str | None:
    """Where a result is put: a reference path into the state's own input."""
    wrong = reference_path(text)
    if wrong is None and not (text == "$" or text.startswith(("$.", "$["))):
        return "not within the state's input; start with `$.`"
    return wrong


def expression(text: Any) -> str | None:
    """The value of a key that ends in `.$`: a path or a call of an intrinsic function."""
    if not isinstance(text, str):
        return "not a string; a key ending in `.$` needs a path or an intrinsic function"
    if text.startswith("$"):
        return path(text)
    if not re.match(r"[A-Za-z]\w*\.", text):
        return "neither a path nor an intrinsic function; drop `.$` from the key to mean the text itself"
    return _Call(text).problem()


def template(value: Any, where: str) -> Iterator[str]:
    """The problems of a payload template: `.$` keys at any depth, and keys that would appear twice."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from template(item, f"{where}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            if key.endswith(".$"):
                if wrong := expression(item):
                    yield f"{where}.{key}: {item!r} is {wrong}"
                if key[:-2] in value:
                    yield f"{where}.{key}: appears twice, as {key!r} and as {key[:-2]!r}; keep one"
            else:
                yield from template(item, f"{where}.{key}")


def _context(text: str) -> str | None:
    if not (found := _CONTEXT_FIELDS.match(text)):
        return None
    first, second = found.groups()
    if first not in _CONTEXT:
        return f"not in the context object: {first!r}{closest(first, _CONTEXT)}"
    if second and second not in _CONTEXT[first]:
        return f"not in the context object: {first}.{second}{closest(second, _CONTEXT[first])}"
    return None


def closest(word: str, known) -> str:
    """ "; did you mean …?" where something known is spelled alike, else the list of what is known."""
    if near := difflib.get_close_matches(word, list(known), 1):
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(sorted(known))}"


class _Syntax(Exception):
    """What is wrong with a call; never leaves this module."""


class _Call:
    """A recursive-descent reader of one intrinsic function call."""

    def __init__(self, text: str):
        self.text = text
        self.at = 0

    def problem(self) -> str | None:
        try:
            self._call()
            if self.text[self.at :].strip():
                raise _Syntax(f"followed by {self.text[self.at :].strip()[:20]!r}")
        except _Syntax as wrong:
            return f"not a valid call: {wrong}"
        return None

    def _blank(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _peek(self) -> str:
        self._blank()
        return self.text[self.at : self.at + 1]

    def _call(self) -> None:
        self._blank()
        name = re.compile(r"[\w.]+").match(self.text, self.at)
        if name is None or name[0] not in _FUNCTIONS:
            word = name[0] if name else self.text[self.at : self.at + 20]
            raise _Syntax(f"{word!r} is no intrinsic function{closest(word, _FUNCTIONS)}")
        self.at = name.end()
        if self._peek() != "(":
            raise _Syntax(f"`(` expected after {name[0]}")
        self.at += 1
        count = 0
        while self._peek() != ")":
            if count:
                if self._peek() != ",":
                    raise _Syntax(f"`,` or `)` expected at character {self.at + 1}")
                self.at += 1
            self._argument()
            count += 1
        self.at += 1
        least, most = _FUNCTIONS[name[0]]
        if count < least or (most is not None and count > most):
            wanted = f"at least {least}" if most is None else f"{least}" if least == most else f"{least} to {most}"
            raise _Syntax(f"{name[0]} takes {wanted} arguments, not {count}")

    def _argument(self) -> None:
        first = self._peek()
        if first == "'":
            self._string()
        elif first == "$":
            found = _PATH.match(self.text, self.at)
            if wrong := _context(found[0]):
                raise _Syntax(f"{found[0]} is {wrong}")
            self.at = found.end()
        elif found := _NUMBER.match(self.text, self.at) or re.compile(r"(?:true|false|null)\b").match(
            self.text, self.at
        ):
            self.at = found.end()
        elif not first:
            raise _Syntax("`)` is missing at the end")
        else:
            self._call()

    def _string(self) -> None:
        start = self.at
        self.at += 1
        while self.at < len(self.text) and self.text[self.at] != "'":
            if self.text[self.at] == "\\":
                escaped = self.text[self.at + 1 : self.at + 2]
                if escaped not in ("'", "\\", "{", "}"):
                    raise _Syntax(
                        rf"\{escaped} is no escape in a text (only \' \\ \{{ \}}); a line break is written as such"
                    )
                self.at += 1
            self.at += 1
        if self.at >= len(self.text):
            raise _Syntax(f"the text that starts at character {start + 1} is not closed with '")
        self.at += 1
