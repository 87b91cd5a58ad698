"""What a page shows is in its address: a link reopens it, and the browser's Back goes to what was shown before.

Widgets that say `bind="query-params"` keep themselves there; this is for the rest. A name that is bound on one page is
never used here on another: Streamlit takes it out of an address that leads from the one to the other.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import streamlit as st

from dashboard import wording

DAY: tuple[str, ...] = ()  # in place of options


def value(name: str) -> str | None:
    """The last one of that name; None where there is none, or an empty one."""
    return st.query_params.get(name) or None


def values(name: str) -> list[str]:
    return st.query_params.get_all(name)


def number(name: str, least: int, most: int) -> int:
    """`least` where there is none: people write addresses too."""
    text = value(name) or ""
    return min(max(int(text), least), most) if text.isascii() and text.isdigit() else least


def change(**wanted: str | int | list[str] | None) -> None:
    """All in one step, so that one Back undoes it; None takes a parameter away."""
    given = {name: _listed(value) for name, value in wanted.items()}
    if any(values(name) != listed for name, listed in given.items()):
        # an empty list is no parameter; deleting them one by one would be a step each
        st.query_params.update(given)


@contextlib.contextmanager
def checked(page: str, **options: Iterable[str]) -> Iterator[None]:
    """Around the widgets of the page that are bound: says what of the address they dropped, which they do wordlessly.

    `options` are the texts that a widget shows, by its name; DAY of one that takes a day. It is said until something
    else is chosen in them, or another page is shown.
    """
    given = {name: value(name) for name in options}
    refused = {name: text for name, text in given.items() if text and not _takes(options[name], text)}
    yield
    now = {name: st.session_state.get(name) for name in options}
    if refused:
        st.session_state["refused_by_page"] = (page, now, refused)
    kept = st.session_state.get("refused_by_page")
    if not kept or kept[:2] != (page, now):
        st.session_state.pop("refused_by_page", None)
        return
    told = ", ".join(wording.code(f"{name}={text}") for name, text in kept[2].items())
    st.warning(f"The address asks for what is not here: {told}. This is shown without it.")


def _takes(options: Iterable[str], text: str) -> bool:
    if options != DAY:
        return text in options
    try:
        dt.datetime.fromisoformat(text)  # a day too
    except ValueError:
        return False
    return True


def chosen(
    place: Any,
    label: str,
    options: list,
    name: str,
    changed: Callable[..., None] = change,
    clears: tuple[str, ...] = (),
    **given: Any,
) -> Any:
    """A select box in `place` whose choice is in the address as `name`; else the first option is chosen.

    Another choice takes the parameters `clears` away, by `changed`, which takes what `change` does.
    """
    key, named = f"chosen_{name}", value(name)
    st.session_state[key] = named if named in options else options[0]

    def note() -> None:
        changed(**{name: st.session_state[key], **dict.fromkeys(clears)})

    return place.selectbox(label, options, key=key, on_change=note, **given)


def _listed(value: str | int | list[str] | None) -> list[str]:
    if isinstance(value, list):
        return value
    return [] if value in (None, "") else [str(value)]
