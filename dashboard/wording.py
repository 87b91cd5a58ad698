"""Numbers, times and statuses as people read them, the same on every page."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

# what a status is to the eye; the word is always there as well
_TONES = {
    "succeeded": "good",
    "pass": "good",
    "met": "good",
    "published": "good",
    "running": "busy",
    "warn": "warning",
    "caught": "warning",
    "rejected": "bad",
    "failed": "bad",
    "fail": "bad",
    "not met": "bad",
    "aborted": "idle",
    "not_run": "idle",
}
# what Markdown and Streamlit's additions to it give a meaning; each may stand behind a backslash
_SPECIAL = re.compile(r"[\\`*_{}\[\]()<>#+\-.!|~$:&]")
_COLOURS = {"good": "green", "busy": "blue", "warning": "orange", "bad": "red", "idle": "gray"}
# spans that a page looks back over, in days
DAYS = {7: "7 days", 30: "30 days", 90: "90 days", 365: "A year"}
_ICONS = {
    "good": ":material/check_circle:",
    "busy": ":material/play_circle:",
    "warning": ":material/warning:",
    "bad": ":material/cancel:",
    "idle": ":material/stop_circle:",
}


def tone(status: str | None) -> str:
    return _TONES.get(status or "", "idle")


def is_under_way(run: dict[str, Any]) -> bool:
    """Published is not the end: what follows may still fail."""
    return run["status"] in ("running", "published")


def chip(status: str | None) -> str:
    """Markdown: the status in its colour and with an icon, never by colour alone."""
    if not status:
        return ""
    return f":{_COLOURS[tone(status)]}-badge[{_ICONS[tone(status)]} {escaped(status.replace('_', ' '))}]"


def escaped(text: Any) -> str:
    """Markdown that shows `text` as it is, on one line: no image, link, formula, directive or entity of its own.

    An address in it may still become a link; one that shows where it leads.
    """
    return _SPECIAL.sub(r"\\\g<0>", " ".join(str(text).split()))


def sentence(text: Any) -> str:
    """Markdown: `text` as it is, but what stands in it between backticks, such as a command, as code."""
    parts = re.split("`([^`]+)`", " ".join(str(text).split()))
    shown = [code(part) if place % 2 else _SPECIAL.sub(r"\\\g<0>", part) for place, part in enumerate(parts)]
    return "".join(shown)


def failure(error: str | None, reason: str | None) -> str:
    """Markdown: what an error is called and says, and on a line of its own what to do about it."""
    said, _, following = (reason or "no reason was given").partition(" Next: ")
    words = f"**{escaped(error or 'Failed')}**: {escaped(said)}"
    return f"{words}  \n**Next**: {sentence(following)}" if following else words


def code(text: Any) -> str:
    """Markdown: `text` as code, between more backticks than stand together in it."""
    shown = " ".join(str(text).split())
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    pad = " " if "`" in shown else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def several(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def moment(text: str | None) -> str:
    """UTC, to the second."""
    if not text:
        return ""
    return f"{_time(text):%Y-%m-%d %H:%M:%S}"


def seconds_between(start: str | None, end: str | None) -> float | None:
    return (_time(end) - _time(start)).total_seconds() if start and end else None


def shown(value: Any) -> str:
    """A value of a record in a cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).astimezone(dt.UTC)
