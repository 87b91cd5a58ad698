"""What a page shows is in its address: a link reopens it, and the browser's Back goes to what was shown before.

Widgets that say `bind="query-params"` keep themselves there; this is for the rest. A name that is bound on one page is
never used here on another: Streamlit takes it out of an address that leads from the one to the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st


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
