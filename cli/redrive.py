"""`sluice redrive`: start again what failed, with what it had fetched and transformed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

import click
from rich.console import Console

from chalicelib.errors import NotFound, SluiceError
from chalicelib.redriving import letters, starting
from chalicelib.redriving.starting import Redriven, Settled
from chalicelib.triggers import holding
from cli import targets
from cli.main import FAILED
from cli.run import tell, watched
from cli.session import Session, connect

FEW = 3  # that are started without asking


@dataclass
class _Begun:
    """What came of it: the runs that were begun, and what was left, by run or message, with the reason.

    `settled` are those of dead letters for which nothing is begun any more.
    """

    runs: list[Redriven] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--all", "every", is_flag=True, help="All failed runs that no other run of the same followed.")
@click.option("--from-dead-letters", is_flag=True, help="The runs whose dead letters are in the queue.")
@click.option("--source", help="With --all: only runs of this source.")
@click.option("--judge-again", is_flag=True, help="Also a run that its quality gate rejected.")
@click.option(
    "--discard", is_flag=True, help="Start nothing: delete the dead letter of RUN, or all that are in the queue."
)
@click.option("--dry-run", is_flag=True, help="Say which runs are meant and start nothing.")
@click.option("--yes", is_flag=True, help=f"Do not ask, however many there are; else asks for more than {FEW}.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of progress.")
@click.pass_context
def redrive(context, run_id, every, from_dead_letters, source, judge_again, discard, dry_run, yes, as_json) -> None:
    """Start RUN, which failed, again, and wait for it.

    What it had fetched is not fetched again, nor is a chunk that it finished transformed again.
    """
    if [bool(run_id), every, from_dead_letters].count(True) != 1:
        raise click.UsageError("name a run, or give --all or --from-dead-letters")
    if source and not every:
        raise click.UsageError("--source goes with --all")
    if discard and (every or judge_again or dry_run):
        raise click.UsageError("--discard goes with RUN or --from-dead-letters, and starts nothing")
    session = connect()
    if discard:
        _discard(session, run_id, yes, as_json)
        return
    begun = _Begun()
    if from_dead_letters:
        _from_dead_letters(session, begun, judge_again, dry_run, yes)
    else:
        wanted = [run_id] if run_id else starting.failures(source)
        if run_id:
            starting.expect_redrivable(starting.last_attempt(run_id), judge_again)  # raises what speaks against it
        if not dry_run:
            _agreed(wanted, yes)
        for each in wanted:
            _begin(begun, each, None, judge_again, dry_run)
        if begun.runs and not dry_run:
            _remove_letters(session, begun)
    _end(context, session, begun, bool(run_id), dry_run, as_json)


def _begin(begun: _Begun, run_id: str, given: dict | None, judge_again: bool, dry_run: bool) -> bool:
    """Begin it, or say why not; whether a run goes on from it."""
    try:
        if dry_run:
            attempt = starting.last_attempt(run_id, given)
            starting.expect_redrivable(attempt, judge_again)
            begun.runs.append(Redriven(attempt.following, "", attempt.source, attempt.run_id))
        else:
            begun.runs.append(starting.start(run_id, given, judge_again))
    except SluiceError as error:
        begun.left.append((run_id, f"{type(error).__name__}: {error}"))
        return False
    return True


def _from_dead_letters(session: Session, begun: _Begun, judge_again: bool, dry_run: bool, yes: bool) -> None:
    client, url = session.client("sqs"), _url(session)
    asked = None if dry_run or yes else _asked(client, url)
    # held a second time: a person may take longer to answer than messages are held
    with holding.held(client, url) as messages:
        for letter in map(letters.read, messages):
            if asked is not None and letter.id not in asked:
                continue
            if letter.run_id is None:
                begun.left.append((letter.id, "it is no dead letter of a run"))
                continue
            settled = _settled(letter)
            if settled:
                begun.settled.append(settled)
                done = not settled.keeps_letter
            elif asked is not None and not asked[letter.id]:
                begun.left.append((letter.run_id, _NOT_ASKED))
                continue
            else:
                done = _begin(begun, letter.run_id, letter.input, judge_again, dry_run)
            if done and not dry_run:
                holding.delete(client, url, letter.receipt)  # after it: rather twice than never


_NOT_ASKED = "it was settled a moment ago, and is not any more: `sluice redrive --from-dead-letters` once more"


def _asked(client, url: str) -> dict[str, bool]:
    """Whether its run may be begun, by letter, after the question; a settled one is not asked about."""
    with holding.held(client, url) as messages:
        found = [letters.read(message) for message in messages]
    asked = {letter.id: _settled(letter) is None for letter in found}
    _agreed([letter.run_id or letter.id for letter in found if asked[letter.id]], yes=False)
    return asked


def _settled(letter: letters.Letter) -> Settled | None:
    """As `redriving.starting.settled` says; None also where nothing can be known of the run."""
    try:
        return None if letter.run_id is None else starting.settled(letter.run_id, letter.input)
    except SluiceError:
        return None  # beginning it says why


def _remove_letters(session: Session, begun: _Begun) -> None:
    """Of the runs that were begun, and of the attempts before them."""
    client = session.client("sqs")
    try:
        url = _url(session)
        with holding.held(client, url) as messages:
            redriven = {run.redrive_of for run in begun.runs}
            for letter in map(letters.read, messages):
                if letter.run_id in redriven:
                    holding.delete(client, url, letter.receipt)
    except SluiceError as error:  # the runs are under way; the letters tell of themselves for 14 days
        click.echo(f"sluice: the dead letters stay: {error}", err=True)


def _discard(session: Session, run_id: str | None, yes: bool, as_json: bool) -> None:
    """Delete the dead letters of the run, or all. Raises NotFound where there is none."""
    client, url = session.client("sqs"), _url(session)
    with holding.held(client, url) as messages:
        wanted = {
            each.id: each.run_id or each.id for each in map(letters.read, messages) if run_id in (None, each.run_id)
        }
    if not wanted and run_id:
        raise NotFound(f"no dead letter of {run_id} is in the queue", next_step="nothing: letters are kept for 14 days")
    if wanted and not yes:
        for each in wanted.values():
            click.echo(f"letter   {each}", err=True)
        click.confirm(f"Delete {len(wanted)} dead letter{'s' * (len(wanted) != 1)} for good?", abort=True, err=True)
    discarded = []
    # held a second time: a person may take longer to answer than messages are held
    with holding.held(client, url) as messages:
        for letter in map(letters.read, messages):
            if letter.id in wanted:
                holding.delete(client, url, letter.receipt)
                discarded.append(wanted[letter.id])
    if as_json:
        sys.stdout.write(json.dumps({"discarded": discarded}) + "\n")
        return
    for each in discarded:
        click.echo(f"discarded {each}")
    if not discarded:
        click.echo("No dead letter is in the queue.")


def _agreed(wanted: Iterable[str], yes: bool) -> None:
    wanted = list(wanted)
    if len(wanted) <= FEW or yes:
        return
    for each in wanted:
        click.echo(f"failed   {each}", err=True)
    click.confirm(f"Redrive {len(wanted)} runs?", abort=True, err=True)


def _end(context, session: Session, begun: _Begun, is_one: bool, dry_run: bool, as_json: bool) -> None:
    """Watch what was begun, run after run, and say what came of each; the exit status is the worst."""
    console, results = Console(stderr=True, quiet=as_json), []
    for each in begun.settled:
        click.echo(f"settled  {each.run_id}: {each.reason}", err=True)
    for run_id, reason in begun.left:
        click.echo(f"left     {run_id}: {reason}", err=True)
    for run in begun.runs:
        if dry_run:
            if not as_json:
                click.echo(f"would be {run.run_id}, which goes on from {run.redrive_of}")
            continue
        console.print(f"run {run.run_id} goes on from {run.redrive_of}")
    for run in begun.runs if not dry_run else ():
        results.append(watched(context, session, run.run_id, run.execution, console))
        if not as_json:
            tell(results[-1])
    if as_json:
        left = [{"run_id": run_id, "reason": reason} for run_id, reason in begun.left]
        settled = [{"run_id": each.run_id, "by": each.by, "reason": each.reason} for each in begun.settled]
        runs = [result.to_json() for result in results] or [
            {"run_id": run.run_id, "redrive_of": run.redrive_of} for run in begun.runs
        ]
        answer = runs[0] if is_one and runs else {"runs": runs, "left": left, "settled": settled}
        sys.stdout.write(json.dumps(answer) + "\n")
    elif not begun.runs and not begun.left:
        click.echo("No run is to be redriven.")
    context.exit(max([FAILED if begun.left else 0, *(result.exit_status for result in results)]))


def _url(session: Session) -> str:
    return targets.url(session, f"{session.prefix}-dead-letters")
