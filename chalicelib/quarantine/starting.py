"""Starting replays: the open rows that are meant are claimed, and replayed by a run for each run that had them."""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib import sources, triggers
from chalicelib.errors import ContractError, NotFound
from chalicelib.quarantine import claims
from chalicelib.quarantine.claims import Claim
from chalicelib.quarantine.rows import Filter
from chalicelib.redaction import MASK
from chalicelib.triggers import Trigger
from chalicelib.triggers.trigger import REPLAY
from chalicelib.warehouse import connection

RUNS = 50  # that one request starts


@dataclass(frozen=True)
class Replay:
    """The run `run_id` judges `rows` rows that `replay_of` set aside; `new` is false where it was started before."""

    run_id: str
    execution: str
    new: bool
    source: str
    replay_of: str
    rows: int


@dataclass(frozen=True)
class Replays:
    """`unpublished`: rows that were meant too, of runs that published nothing; those runs are run again whole."""

    replays: tuple[Replay, ...]
    unpublished: int


def start(wanted: Filter) -> Replays:
    """Replay the open rows that are meant, a run for each of the runs that set them aside.

    Asked for once more while they are replayed, it answers with the same runs and starts nothing. Raises NotFound
    where no row is meant, ContractError where no row may be replayed or the rows are of more than RUNS runs, and
    what `triggers.start` raises; what was claimed then is begun by asking again.
    """
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        taken = claims.take(cursor, wanted)
        if not taken.claims:
            raise _nothing(wanted, taken.unpublished)
        if len({claim.run_id for claim in taken.claims}) > RUNS:
            raise ContractError(
                f"the rows are of more than {RUNS} runs",
                next_step="replay fewer at a time: one run's, a source's, those of a reason, or since a day",
            )
        # before anything is claimed: a source that is gone, or an input that is not known any more
        pending = [(claim, _trigger(claim)) for claim in taken.claims]
    return Replays(tuple(_started(claim, trigger) for claim, trigger in pending), taken.unpublished)


def _nothing(wanted: Filter, unpublished: int) -> Exception:
    if unpublished:
        return ContractError(
            f"{unpublished} rows are open, but their runs published nothing: a replay would load the bad rows alone",
            run_id=wanted.run_id,
            next_step="run the source again with the same input, or discard the rows",
        )
    return NotFound(
        "no open row of the quarantine is like that", next_step="`sluice quarantine list` shows those there are"
    )


def _trigger(claim: Claim) -> Trigger:
    """The same for the same claim, so that its run is one. Raises ContractError where the input holds a secret."""
    given = claim.given if _declares(claim.source) else None
    if given and MASK in given:
        raise ContractError(
            "the address of the declaration held a secret, which the ledger does not keep",
            run_id=claim.run_id,
            source=claim.source,
            next_step="put the declaration where it needs none, and run it again",
        )
    return Trigger(REPLAY, claim.source, claim.name, input=given, replay=claim.name, about=f"of {claim.run_id}")


def _started(claim: Claim, trigger: Trigger) -> Replay:
    started = triggers.start(trigger)
    return Replay(started.run_id, started.execution, started.new, claim.source, claim.run_id, claim.rows)


def _declares(name: str) -> bool:
    """Whether the source is described by the run's input: today's declaration is read anew."""
    return sources.get(name).is_declared_by_run
