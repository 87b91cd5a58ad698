"""The events in a webhook's body: one JSON object, or an array of them, each a record of the source."""

from __future__ import annotations

import json
import re

_BLANK = re.compile(r"[ \t\r\n]*")  # what JSON calls whitespace: https://www.rfc-editor.org/rfc/rfc8259#section-2


def events(body: bytes) -> list[str]:
    """The JSON text of each event, in order, on one line and otherwise as it was sent.

    As text, so that no number loses a digit. Raises ValueError saying what is wrong with the body.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"the body is not UTF-8: {error}") from None
    try:
        start = _skip(text, 0)
        if text[start : start + 1] == "[":
            found = _array(text, start)
        else:
            found = [_value(text, start)]
            _nothing_after(text, found[0][2])
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    for number, (value, _, _) in enumerate(found, 1):
        if not isinstance(value, dict):
            raise ValueError(f"event {number} is no JSON object")
    # a line break inside a JSON string is written \n: what is left of them parts its pieces
    return [text[start:end].replace("\r", " ").replace("\n", " ") for _, start, end in found]


def _array(text: str, start: int) -> list[tuple[object, int, int]]:
    found, at = [], _skip(text, start + 1)
    if text[at : at + 1] == "]":
        raise ValueError("the body is an array without an event")
    while True:
        found.append(_value(text, at))
        at = _skip(text, found[-1][2])
        if text[at : at + 1] == "]":
            _nothing_after(text, at + 1)
            return found
        if text[at : at + 1] != ",":
            raise ValueError(f"the body is not JSON: expected , or ] at character {at}")
        at = _skip(text, at + 1)


def _nothing_after(text: str, end: int) -> None:
    if (at := _skip(text, end)) < len(text):
        raise ValueError(f"the body goes on after its JSON, at character {at}")


def _skip(text: str, at: int) -> int:
    return _BLANK.match(text, at).end()


def _value(text: str, at: int) -> tuple[object, int, int]:
    """(value, start, end) of the JSON value that begins at `at`."""
    try:
        value, end = _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise ValueError(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    return value, at, end


def _refuse(constant: str):
    raise ValueError(f"the body is not JSON: it has {constant}")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
