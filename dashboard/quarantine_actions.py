"""Replaying and discarding quarantined rows: each asks before it acts, and says what came of it."""

from __future__ import annotations

import streamlit as st

from chalicelib.errors import RequestRefused
from dashboard import navigation, session, wording

_NAMES = {
    "ids": "with the number",
    "run": "of the run",
    "source": "of",
    "since": "set aside since",
    "reason": "with the reason",
}
# where a replay died its rows stay `replaying` until somebody replays or discards them
SETTLED_LATER = ("open", "replaying")
_EVERY = 2.0  # seconds between looks at replays that are under way
_REPLAY, _DISCARD = ":material/replay:", ":material/delete:"


def offer(wanted: dict) -> None:
    """Buttons for all open rows that the list was asked for: `wanted` is what `GET /quarantine` was given."""
    meant = {name: wanted[name] for name in _NAMES if wanted.get(name)}
    with st.container(horizontal=True):
        if st.button("Replay these rows", icon=_REPLAY, type="primary"):
            replay(meant)
        if st.button("Discard these rows", icon=_DISCARD):
            discard(meant)
    # a dialog closes before another one opens
    if asked := st.session_state.pop("asked_of_row", None):
        {"replay": replay, "discard": discard}[asked[0]]({"ids": [asked[1]]})


def offer_one(row: dict) -> None:
    """The same of one row, in its dialog."""
    if row["state"] not in SETTLED_LATER:
        return
    with st.container(horizontal=True):
        if row["replayable"] and st.button("Replay this row", icon=_REPLAY):
            _ask("replay", row)
        if st.button("Discard this row", icon=_DISCARD):
            _ask("discard", row)


def _ask(what: str, row: dict) -> None:
    st.session_state["asked_of_row"] = (what, row["id"])
    st.rerun()


def told() -> None:
    """What came of what was done last, until that is dismissed."""
    done = st.session_state.get("done_in_quarantine")
    if not done:
        return
    if "discarded" in done["answer"]:
        _discarded(done["answer"])
    else:
        _replayed(done["answer"], done["meant"])
    if st.button("Done", key="dismiss"):
        del st.session_state["done_in_quarantine"]
        st.rerun()


def _discarded(answer: dict) -> None:
    st.success(f"{wording.several(answer['discarded'], 'row')} discarded. Choose “discarded” to see them.")
    if answer["left"]:
        st.info(f"Still open: {wording.several(answer['left'], 'row')}. A request takes a part of them: discard again.")
    if answer["replaying"]:
        st.info(f"Left, since they are being replayed: {wording.several(answer['replaying'], 'row')}.")


def _replayed(answer: dict, meant: dict) -> None:
    ended = st.session_state["done_in_quarantine"].setdefault("ended", {})
    under_way = any(begun["run_id"] not in ended for begun in answer["replays"])
    st.fragment(_replays, run_every=_EVERY if under_way else None)(answer["replays"], ended)
    for refusal in answer["refused"]:
        rows, reason = wording.several(refusal["rows"], "row"), wording.escaped(refusal["reason"])
        st.error(f"{rows} of {wording.escaped(refusal['replay_of'])} cannot be replayed, and stay open: {reason}")
    if answer["left"]:
        st.info(f"Still open: {wording.several(answer['left'], 'row')}. A request takes a part of them.")
        if st.button("Replay the next ones", type="primary"):
            with session.told():
                _did(session.client().replay(**meant, after=answer["after"]), meant)
    if answer["unpublished"]:
        rows = wording.several(answer["unpublished"], "row")
        st.info(f"Left: {rows} of runs that published nothing, which are run again whole.")


def _replays(replays: list[dict], ended: dict[str, dict]) -> None:
    """How each replay stands; `ended` are the runs that have ended, by name, which are not asked for again."""
    known = len(ended)
    for begun in replays:
        with session.told():
            if begun["run_id"] not in ended and (run := _run(begun["run_id"])) and not wording.is_under_way(run):
                ended[begun["run_id"]] = run
        _replay(begun, ended.get(begun["run_id"]))
    if known < len(ended) == len(replays):
        st.rerun()  # the rows below are others now, and nothing is to be looked at again


def _run(run_id: str) -> dict | None:
    """None where it has not entered the ledger yet."""
    try:
        return session.client().run(run_id)
    except RequestRefused as error:
        if error.where.get("status") != 404:
            raise
        return None


def _replay(begun: dict, run: dict | None) -> None:
    name, rows = wording.escaped(begun["run_id"]), wording.several(begun["rows"], "row")
    about = f"{rows} of {wording.escaped(begun['replay_of'])}: the replay {name}"
    if run is None:
        st.info(f"{about} {'is running' if begun['new'] else 'was running already'}.", icon=":material/play_circle:")
    elif run["status"] == "succeeded":
        failed = wording.count(run["account"]["quarantined"]) or "0"
        st.success(f"{about} has ended. Rows that failed again: {failed}.")
    elif run["error"]:
        st.error(f"{about} has failed. {wording.failure(run['error']['error'], run['error']['reason'])}")
    else:
        st.error(f"{about} was {wording.escaped(run['status'])}: nothing was published, and the rows are open.")
    st.page_link(navigation.page("runs"), label=f"See {name}", query_params={"run": begun["run_id"]})


def _did(answer: dict, meant: dict) -> None:
    st.session_state["done_in_quarantine"] = {"answer": answer, "meant": meant}
    st.rerun()


@st.dialog("Replay these rows?")
def replay(meant: dict) -> None:
    st.markdown(
        f"{_which(meant)} judged again by today's source and suite. What passes is published; what fails stays here "
        "with today's reasons."
    )
    yes, no = st.columns(2)
    if yes.button("Replay", type="primary", width="stretch"):
        with session.told():
            _did(session.client().replay(**meant), meant)
    if no.button("Cancel", width="stretch"):
        st.rerun()


@st.dialog("Discard these rows?")
def discard(meant: dict) -> None:
    st.markdown(
        f"{_which(meant)} marked as not wanted, and no replay takes them any more. Nothing is deleted: they stay here "
        "as discarded, with this reason and who gave it, and the accounts of their runs stay as they are. It cannot "
        "be taken back."
    )
    why = st.text_input("Why they are not wanted", key="why", placeholder="a test order")
    yes, no = st.columns(2)
    if yes.button("Discard", type="primary", width="stretch"):
        if why.strip():
            with session.told():
                _did(session.client().discard(**meant, why=why.strip()), meant)
        else:
            st.error("Say why: it is kept with the rows.")
    if no.button("Cancel", width="stretch"):
        st.rerun()


def _which(meant: dict) -> str:
    if "ids" in meant:
        return f"The row {meant['ids'][0]} is"
    words = ", ".join(f"{_NAMES[name]} {wording.escaped(value)}" for name, value in meant.items())
    return f"Every open row {words}, also those further down, is"
