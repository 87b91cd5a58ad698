"""What emails are made of: SNS takes a subject of at most 100 ASCII characters in one line and sends plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

SUBJECT = 100  # characters
MESSAGE = 8_000  # bytes; SNS takes 256 KB, a person does not
WIDTH = 76
VALUE = 200  # characters of anything that comes from data


def message(lines: list[str], addresses: Sequence[tuple[str, str]], steps: Sequence[str]) -> str:
    """The whole text; where it is too long, what comes from data is cut, addresses and commands are kept."""
    tail = [f"{name}: {cut_bytes(address, 1000)}" for name, address in addresses]
    tail += ["", "Next, type", *(f"  {cut_bytes(step, 400)}" for step in steps)]
    end = "\n" + "\n".join(tail) + "\n"
    start = cut_bytes("\n".join(lines), MESSAGE - len(end.encode()) - 1) + "\n"
    return "".join(character if character == "\n" or character.isprintable() else " " for character in start + end)


def subject(text: str) -> str:
    """`text` as SNS takes it: one line of printable ASCII, cut to its length."""
    line = " ".join(text.split()).encode("ascii", "replace").decode()
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= SUBJECT else line[: SUBJECT - 3] + "..."


def wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def short(text: object) -> str:
    return cut(" ".join(str(text).split()), VALUE)


def cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def cut_bytes(text: str, limit: int) -> str:
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[: limit - 3].decode(errors="ignore") + "..."
