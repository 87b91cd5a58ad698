"""Names of executions that try the same: `<name>`, `<name>-2` … `<name>-99`, of a trigger and of who redrives a run.

Step Functions takes a name once, also that of an execution that failed.
"""

from __future__ import annotations

import hashlib
import re

# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
NAME_LENGTH = 80
ATTEMPTS = 99
ROOM = NAME_LENGTH - len(f"-{ATTEMPTS}")  # of the first one's name, so that a number fits behind it
_NUMBERED = re.compile(r"-(\d{1,2})$")
_DIGEST = 16  # hexadecimal digits


def name(first: str, number: int) -> str:
    """The name of the first, second … attempt."""
    return first if number == 1 else f"{first}-{number}"


def numbered(text: str) -> tuple[str, int] | None:
    """The first attempt's name and the number in a name that ends like an attempt; None for another."""
    found = _NUMBERED.search(text)
    return (text[: found.start()], int(found[1])) if found else None


def cut(text: str, whole: str) -> str:
    """`text`, which stands for `whole`, cut so that a number fits behind it, and told apart by a hash of the whole."""
    digest = hashlib.sha256(whole.encode()).hexdigest()[:_DIGEST]
    return f"{text[: ROOM - _DIGEST - 1].rstrip('-')}-{digest}"
