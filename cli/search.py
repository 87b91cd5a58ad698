"""`sluice search`: look for rows by what their text says."""

from __future__ import annotations

import json
import sys

import click

from chalicelib.embeddings import provider
from chalicelib.search import finding
from chalicelib.search.answer import HYBRID, MODES, Answer, Result
from chalicelib.search.highlight import Excerpt
from chalicelib.warehouse import reader
from cli.session import Session, connect

_SHOWN = 300  # characters of an excerpt
_BEFORE = 80  # of them before the first mark


@click.command()
@click.argument("words")
@click.option("--source", help="Only rows of this source.")
@click.option(
    "--where",
    multiple=True,
    metavar="COLUMN:OPERATOR:VALUE",
    help="With --source, e.g. kind:eq:post; all must hold.",
)
@click.option("--mode", default=HYBRID, show_default=True, type=click.Choice(MODES), help="By meaning, words, or both.")
@click.option("--limit", default=finding.DEFAULT_LIMIT, show_default=True, type=click.IntRange(1, finding.MAX_LIMIT))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def search(words, source, where, mode, limit, as_json) -> None:
    """Find the rows whose text answers WORDS best."""
    answer = ask(connect(), words, mode, source, limit, where)
    if as_json:
        sys.stdout.write(json.dumps(answer.to_json(), ensure_ascii=False) + "\n")
        return
    tell(answer)


def ask(session: Session, words: str, mode: str, source: str | None, limit: int, where: tuple[str, ...] = ()) -> Answer:
    def model() -> provider.Provider:
        return provider.current(session.settings, at_once=True)

    def transaction():
        return reader.transaction(session.database_url)

    return finding.find(transaction, words, model, mode, source, limit, where)


def tell(answer: Answer) -> None:
    for result in answer.results:
        click.echo(f"{result.score:.4f}  {_row(result)}  {_parts(result)}")
        click.echo(f"        {_excerpt(result.excerpt)}")
    for note in answer.notes:
        click.echo(f"note: {note}", err=True)


def _row(result: Result) -> str:
    key = ", ".join(f"{name} {value}" for name, value in result.key.items())
    return click.style(_printable(f"{result.source} {key}"), bold=True)


def _parts(result: Result) -> str:
    return ", ".join(f"{name} #{part.rank} {part.score:.2f}" for name, part in sorted(result.parts.items()))


def _excerpt(excerpt: Excerpt) -> str:
    """About what is marked first, on one line."""
    first = excerpt.marks[0][0] if excerpt.marks else 0
    start = max(0, first - _BEFORE) if len(excerpt.text) > _SHOWN else 0
    shown, position = "", 0
    for piece, marked in excerpt.pieces():
        part = piece[max(0, start - position) : max(0, start + _SHOWN - position)]
        position += len(piece)
        shown += click.style(_printable(part), fg="yellow", bold=True) if marked and part else _printable(part)
    return ("… " if start else "") + shown + (" …" if start + _SHOWN < len(excerpt.text) else "")


def _printable(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)
