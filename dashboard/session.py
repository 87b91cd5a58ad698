"""Which API the dashboard asks, and as whom: the settings say it, which `sluice dashboard` fills in."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import streamlit as st

from chalicelib import settings
from chalicelib.errors import ConfigurationError, SluiceError
from dashboard import wording
from dashboard.client import NEW_TOKEN, Client


def client() -> Client:
    """Raises ConfigurationError for what is not set."""
    current = settings.load()
    current.require("api_url")
    if not current.api_token:
        raise ConfigurationError("SLUICE_API_TOKEN is not set", stage=current.stage, next_step=NEW_TOKEN)
    return Client(current.api_url.rstrip("/"), current.api_token, current.api_key)


@st.cache_data(ttl=5, show_spinner=False)
def sources(_client: Client, address: str) -> list[dict]:
    """The declared sources, by name; asked for anew after 5 s, since every page lists them."""
    return sorted(_client.sources(), key=lambda source: source["name"])


def source_names() -> list[str]:
    asked = client()
    return [source["name"] for source in sources(asked, asked.address)]


def kept(kind: str, about: Any, seconds: float, ask: Callable[[], Any]) -> Any:
    """What `ask` gives, of each `kind` the last answer: asked for anew when `about` is another, or after `seconds`."""
    now, held = time.monotonic(), st.session_state.get(f"kept_{kind}")
    if held and held[0] == about and now - held[1] < seconds:
        return held[2]
    answer = ask()
    st.session_state[f"kept_{kind}"] = (about, now, answer)
    return answer


@contextlib.contextmanager
def told() -> Iterator[None]:
    """An error of ours is a message on the page, in words, and the rest of the page is there."""
    try:
        yield
    except SluiceError as error:
        status = error.where.get("status")
        # the API's own next step is in what it said
        message, _, following = error.message.partition(" Next: ")
        message += f": {error.quote}" if error.quote else ""
        said = wording.escaped(f"{message[:1].upper()}{message[1:]}.")
        st.error(said + (f" (HTTP {status})" if status else ""), icon=":material/error:")
        if step := error.next_step or following:
            st.info(f"Next: {wording.sentence(step)}")
