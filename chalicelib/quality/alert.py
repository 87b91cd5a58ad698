"""The two emails of a run: what the gate found, and what broke.

SNS takes a subject of at most 100 ASCII characters in one line and sends plain text. An email is
read on a phone, by someone who did not expect it: what failed, how much, the three worst reasons
with an example each, where to look, what to type.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Protocol

from chalicelib.contracts import Alert
from chalicelib.letters import VALUE as _VALUE
from chalicelib.letters import WIDTH as _WIDTH
from chalicelib.letters import cut as _cut
from chalicelib.letters import message as _message
from chalicelib.letters import short as _short
from chalicelib.letters import subject as _subject
from chalicelib.letters import wrapped as _wrapped
from chalicelib.quality import page
from chalicelib.quality.verdict import ANOMALY, FAIL, PASS, percent

if TYPE_CHECKING:
    from chalicelib.quality.report import Report
    from chalicelib.quality.verdict import Finding

_REASONS = 3
_CAUSE = 1_500  # characters of an exception's text


class Linker(Protocol):
    """Anything that knows addresses, such as `chalicelib.links.Links`."""

    def report(self, key: str) -> str: ...

    def execution(self, arn: str) -> str: ...


def quality_alert(report: Report, links: Linker, quarantined: str | None = None) -> Alert:
    """The email about a run that the gate has judged; `quarantined` is an object of which nothing is published."""
    words = {FAIL: "failed", PASS: "passed"}.get(report.verdict, "passed with warnings")
    account = report.account
    share = percent(account.quarantined_share)
    reasons = report.reasons
    lines = [
        *_wrapped(f"The quality gate judged run {_short(report.run_id)} of {_short(report.source)}: it {words}."),
        "",
        *_wrapped(page.meaning(report)),
        "",
        f"Rows fetched      {account.fetched:,}",
        f"Rows quarantined  {account.quarantined:,} ({share}; {_limit(report.tolerance.fail)})",
    ]
    if reasons:
        lines += ["", "Worst reasons" if len(reasons) > 1 else "Reason"]
        for number, finding in enumerate(reasons[:_REASONS], 1):
            lines += _reason(number, finding)
        if len(reasons) > _REASONS:
            lines.append(f"  ... and {len(reasons) - _REASONS} more in the report")
    lines += _whole(quarantined)
    steps = [command for _, command in page.next_steps(report)]
    return Alert(
        _subject(f"[sluice] {report.source}: quality {words}, {_gist(report)}"),
        _message(lines, [("Report", links.report(report.key)), *_execution(links, report.execution)], steps),
    )


def _limit(fail: float) -> str:
    return f"more than {percent(fail)} fails a run" if fail < 1 else "no share of them fails this run"


def _gist(report: Report) -> str:
    """The one thing to say in a line: how many rows were set aside, or what else is wrong."""
    account = report.account
    if account.quarantined or not report.reasons:
        return f"{account.quarantined} of {account.fetched} rows quarantined"
    return report.reasons[0].text


def failure_alert(
    *,
    run_id: str,
    source: str,
    state: str,
    error: str,
    cause: str,
    links: Linker,
    execution: str,
    published: bool,
    again: str | None = None,
    command: str | None,
    trigger: str | None = None,
    quarantined: str | None = None,
) -> Alert:
    """The email about a run that broke in `state`; `error` is the exception's name, `cause` its text.

    `published` says that the rows were in the table before it broke, so that only what follows
    publishing (embeddings) is missing. `again` is the command that starts it again with what it had, None where
    nothing does; `command` runs the same from the beginning, None where its input is none that a command gives.
    `trigger` tells what started it, `quarantined` is the address of an object that could not be read.
    """
    lines = [
        *_wrapped(f"Run {_short(run_id)} of {_short(source)} stopped with an error in the state {_short(state)}."),
        "",
        *_wrapped(_outcome(published)),
        *([f"It was started by: {_short(trigger)}"] if trigger else []),
        "",
        _short(error),
        *textwrap.indent(_cut(cause, _CAUSE), "  ").splitlines(),
    ]
    lines += _whole(quarantined)
    steps = [f"sluice runs show {run_id}", f"sluice graph {run_id}"]
    steps += dict.fromkeys(step for step in (again, command) if step)  # of a replay they are the same
    return Alert(
        _subject(f"[sluice] {source}: run failed in {state} ({error})"),
        _message(lines, _execution(links, execution), steps),
    )


def _whole(quarantined: str | None) -> list[str]:
    """That an object is quarantined, where it is, and how to go on."""
    if not quarantined:
        return []
    return [
        "",
        *_wrapped("The object is quarantined whole. It stays where it is:"),
        f"  {_cut(quarantined, 1100)}",
        *_wrapped("Put a corrected object in its place: it is a new run by itself."),
    ]


def _outcome(published: bool) -> str:
    if published:
        return "Its rows had been published before; the table is complete, what follows publishing is not."
    return "Nothing was published: the table is exactly as it was before the run."


def _execution(links: Linker, arn: str) -> list[tuple[str, str]]:
    return [("Execution", links.execution(arn))] if arn else []


def _reason(number: int, finding: Finding) -> list[str]:
    lines = textwrap.wrap(
        f"{number}. {_cut(finding.text, 2 * _VALUE)}", _WIDTH, initial_indent="  ", subsequent_indent="     "
    )
    # of outliers the few most extreme are told; of other rows one stands for all
    for example in finding.examples[: None if finding.kind == ANOMALY else 1]:
        lines.append(f"     e.g. {_short(example.value)}")
        if example.raw and example.line:
            lines.append(f"     from {_short(example.raw)} line {example.line}")
    return lines
