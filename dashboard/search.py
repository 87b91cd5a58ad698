"""The page Search: rows by what their text says."""

from __future__ import annotations

import html

import streamlit as st

from dashboard import address, session, wording

MODES = {"hybrid": "Meaning and words", "semantic": "Meaning", "text": "Words"}
_KEPT = {"bind": "query-params", "persist_state": "session"}
_LIMITS = (10, 20, 50)


def show() -> None:
    st.title("Search")
    names = _searchable()
    with address.checked("search", mode=MODES.values(), search_in=names, limit=[str(most) for most in _LIMITS]):
        query = st.text_input("Search for", key="q", placeholder="stopping insects that eat my plants", **_KEPT)
        mode, source, limit = st.columns([2, 2, 1])
        chosen = {
            "mode": mode.selectbox("Find by", list(MODES), format_func=MODES.get, key="mode", **_KEPT),
            "source": source.selectbox("Source", names, index=None, placeholder="All", key="search_in", **_KEPT),
            "limit": limit.selectbox("At most", _LIMITS, key="limit", **_KEPT),
        }
    if not query.strip():
        st.info("Type what you look for: words of a text, or what it is about in other words.")
        return
    answer = session.client().search(q=query, **chosen)
    for note in answer["notes"]:
        st.warning(wording.escaped(note))
    if not answer["results"]:
        _nothing()
        return
    st.caption(f"{wording.several(len(answer['results']), 'row')}, best first.")
    for place, found in enumerate(answer["results"], start=1):
        _result(place, found)


def _searchable() -> list[str]:
    asked = session.client()
    return [source["name"] for source in session.sources(asked, asked.address) if source["text"]]


def _nothing() -> None:
    st.info(
        "Nothing was found. Other words may help, or another way of finding; what has no rows yet has nothing to find. "
        "Next: `sluice run posts --embed`"
    )


def _result(place: int, found: dict) -> None:
    key = ", ".join(f"{name} {wording.shown(value)}" for name, value in found["key"].items())
    ranks = " · ".join(
        f"{MODES.get(name, name).lower()}: place {part['rank']}, {part['score']:.2f}"
        for name, part in found["parts"].items()
    )
    with st.container(border=True):
        st.markdown(f"**{place}. {wording.escaped(found['source'])}** · {wording.escaped(key)}")
        # the marks are the API's; everything between them is escaped here, whatever the API did
        st.html(f'<p style="margin:0">{_marked(found["passage"])}</p>')
        st.caption(wording.escaped(ranks))


def _marked(passage: dict) -> str:
    text, done, parts = passage["text"], 0, []
    for start, end in passage["marks"]:
        parts += [html.escape(text[done:start]), f"<mark>{html.escape(text[start:end])}</mark>"]
        done = end
    return "".join([*parts, html.escape(text[done:])])
