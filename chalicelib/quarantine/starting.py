"""Starting replays: the open rows that are meant are claimed, and replayed by a run for each run that had them.

A claim's rows are open again where its run is refused, and where it was lost: never begun, aborted, timed out. Nothing
of the pipeline runs any more then that could release them, so whoever comes next does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from chalicelib import sources, triggers
from chalicelib.errors import ContractError, NotFound, TerminalError, TransientError
from chalicelib.quarantine import claims, rows
from chalicelib.quarantine.claims import Claim, Discarded, Portion
from chalicelib.quarantine.rows import Filter
from chalicelib.redaction import MASK
from chalicelib.telemetry import logger
from chalicelib.triggers import Trigger
from chalicelib.triggers.trigger import REPLAY
from chalicelib.warehouse import connection

Transaction = Callable[[], AbstractContextManager]


@dataclass(frozen=True)
class Bounds:
    """How much is done at once: rows, the runs that had them, and until when (seconds) replays of these are begun."""

    rows: int = claims.ROWS
    runs: int = claims.RUNS
    seconds: float | None = None
    transaction: Transaction = lambda: connection.transaction()


PATIENT = Bounds()


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
class Refusal:
    """No run could be started for `rows` rows that `replay_of` set aside, and none will be by asking again."""

    source: str
    replay_of: str
    rows: int
    error: TerminalError


@dataclass(frozen=True)
class Replays:
    """What was started for the first rows that are meant.

    `left` more may be replayed, by asking for those behind the row `after`, which is None where none is left.
    `unpublished` were meant too, of runs that published nothing; those runs are run again whole.
    """

    replays: tuple[Replay, ...]
    refused: tuple[Refusal, ...]
    left: int
    after: int | None
    unpublished: int


def start(wanted: Filter, after: int | None = None, bounds: Bounds = PATIENT) -> Replays:
    """Replay the first open rows that are meant, behind the row `after`: a run for each run that set some aside.

    Asked for once more while they are replayed, it answers with the same runs and starts nothing. Rows of a run that is
    refused are open again. Raises NotFound where no row is meant or what is named is not there, UnknownSource,
    ContractError where no row may be replayed, and what `triggers.start` raises that may pass, also after the seconds
    of `bounds`: what was not begun then is open, and begun by asking again.
    """
    begun = time.monotonic()
    _prepare(wanted, bounds.transaction)
    with bounds.transaction() as open_connection, open_connection.cursor() as cursor:
        portion = claims.take(cursor, wanted, after, bounds.rows, bounds.runs)
        if not portion.claims:
            raise _nothing(wanted, portion.unpublished if after is None else 0)
    until = None if bounds.seconds is None else begun + bounds.seconds
    started, refused = _start_all(portion.claims, bounds.transaction, until)
    return Replays(tuple(started), tuple(refused), portion.left, _after(portion), portion.unpublished)


def discard(wanted: Filter, who: str, why: str, bounds: Bounds = PATIENT) -> Discarded:
    """Discard the first open rows that are meant. Raises NotFound, UnknownSource for what is named and not there."""
    _prepare(wanted, bounds.transaction)
    with bounds.transaction() as open_connection, open_connection.cursor() as cursor:
        return claims.discard(cursor, wanted, who, why, bounds.rows)


def _after(portion: Portion) -> int | None:
    return portion.last if portion.left else None


def _nothing(wanted: Filter, unpublished: int) -> Exception:
    if unpublished:
        them = "1 row is open, but its run" if unpublished == 1 else f"{unpublished:,} rows are open, but their runs"
        return ContractError(
            f"{them} published nothing: a replay would load the bad rows alone",
            run_id=wanted.run_id,
            next_step="run the source again with the same input, or discard the rows",
        )
    return NotFound(
        "no open row of the quarantine is like that", next_step="`sluice quarantine list` shows those there are"
    )


def _start_all(
    taken: tuple[Claim, ...], transaction: Transaction, until: float | None
) -> tuple[list[Replay], list[Refusal]]:
    """Claims for which no run was begun are released, but those that somebody else has found meanwhile: he begins them.

    One of which it is not known whether it was begun stays, until it counts as lost.
    """
    started: list[Replay] = []
    refused: list[Refusal] = []
    waiting = list(taken)
    try:
        while waiting:
            claim = waiting[0]
            if until is not None and time.monotonic() > until:
                raise TransientError("Step Functions took too long to start the replays", source=claim.source)
            try:
                run = triggers.start(_trigger(claim))
            except TransientError:
                waiting.pop(0)
                raise
            except TerminalError as error:
                refused.append(_refused(claim, error))
                _release([claim], transaction)
            else:
                started.append(Replay(run.run_id, run.execution, run.new, claim.source, claim.run_id, claim.rows))
            waiting.pop(0)
    finally:
        _release(waiting, transaction)
    return started, refused


def _refused(claim: Claim, error: TerminalError) -> Refusal:
    told = {"error": type(error).__name__, "message_of_error": str(error.without_quote())}
    logger.error("a replay was refused", source=claim.source, replay_of=claim.run_id, **told)
    return Refusal(claim.source, claim.run_id, claim.rows, error)


def _release(unbegun: list[Claim], transaction: Transaction) -> None:
    if taken := [claim for claim in unbegun if claim.taken_at is not None]:
        with transaction() as open_connection, open_connection.cursor() as cursor:
            for claim in taken:
                claims.release_unbegun(cursor, claim)


def _prepare(wanted: Filter, transaction: Transaction) -> None:
    """Free the rows that are meant of replays that ended without doing so. Raises as `rows.check`."""
    with transaction() as open_connection, open_connection.cursor() as cursor:
        rows.check(cursor, wanted)
        held = claims.held(cursor, wanted)
    # Step Functions is asked between two transactions: neither waits for it
    lost = [claim for claim in held if not triggers.stands(Trigger(REPLAY, claim.source, claim.name))]
    if lost:
        with transaction() as open_connection, open_connection.cursor() as cursor:
            for claim in lost:
                claims.release_lost(cursor, claim.name)


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


def _declares(name: str) -> bool:
    """Whether the source is described by the run's input: today's declaration is read anew."""
    return sources.get(name).is_declared_by_run
