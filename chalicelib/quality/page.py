"""The quality report as one HTML page: no script, no font, no image, nothing fetched.

It is read on a phone from an email as often as on a screen, in the dark, and printed for those who
ask; so it is one column of plain HTML and the browser's own fonts. Every value is escaped, and the
page forbids itself to load or run anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from chalicelib.quality import catalogue, columns_report
from chalicelib.quality.suite import CRITICAL, WARNING
from chalicelib.quality.verdict import ANOMALY, DRIFT, FAIL, NOTE, PASS, TOLERANCE, WARN, percent

if TYPE_CHECKING:
    from chalicelib.quality.report import Report
    from chalicelib.quality.results import ItemResult
    from chalicelib.quality.rows import Example
    from chalicelib.quality.suite import CRITICAL, WARNING
from chalicelib.quality.verdict import Finding

_HEADLINES = {PASS: "Passed", WARN: "Passed with warnings", FAIL: "Failed"}
_LEVELS = {FAIL: "fails the run", WARN: "warning", "note": "within tolerance"}
_MOST_FINDINGS = 50
_MOST_VALUE = 500  # characters of an example; it may be a whole record

_STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --ink: #1a2230; --quiet: #5c677a;
  --line: #dfe3ea; --pass: #1a7f4b; --warn: #9a6200; --fail: #c02b2b; --note: #4a6288; --track: #e8ebf0; }
@media (prefers-color-scheme: dark) { :root { --ground: #12161d; --card: #1b212b; --ink: #e8ecf3; --quiet: #9aa6b8;
  --line: #2f3846; --pass: #4cc38a; --warn: #e5b04a; --fail: #ff7b7b; --note: #8fb0e0; --track: #2b3340; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1.1rem; margin: 0 0 .75rem; }
p { margin: .4rem 0 0; }
section, header { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1.1rem 1.25rem; margin: 0 0 1rem; }
header { border-top: .4rem solid var(--tone); }
header h1 { color: var(--tone); }
.pass { --tone: var(--pass); } .warn { --tone: var(--warn); } .fail { --tone: var(--fail); }
.note, .info { --tone: var(--note); }
.quiet { color: var(--quiet); font-size: .88rem; }
code, pre { font: .86rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; background: var(--ground); border: 1px solid var(--line); border-radius: .4rem;
  padding: .6rem .75rem; margin: .5rem 0 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(3, 1fr); gap: .5rem; }
.figures b { display: block; font-size: 1.45rem; font-variant-numeric: tabular-nums; }
.track { display: flex; height: .6rem; border-radius: .3rem; overflow: hidden; background: var(--track);
  margin-top: .8rem; }
.track i { display: block; background: var(--tone); min-width: 3px; }
ul { list-style: none; margin: 0; padding: 0; }
li.finding { border-left: .25rem solid var(--tone); padding: .1rem 0 .1rem .8rem; margin: 0 0 .9rem;
  overflow-wrap: anywhere; }
.tag { color: var(--tone); font-weight: 600; font-size: .85rem; }
table { width: 100%; border-collapse: collapse; }
th { text-align: left; font-weight: 500; color: var(--quiet); font-size: .85rem; padding: 0 .6rem .4rem 0; }
td { border-top: 1px solid var(--line); padding: .5rem .6rem .5rem 0; vertical-align: top; overflow-wrap: anywhere; }
td.outcome { white-space: nowrap; } td.observed { width: 17rem; font-variant-numeric: tabular-nums; }
td .track { height: .4rem; margin-top: .3rem; position: relative; }
@media (max-width: 40rem) {
  thead { display: none; } tr { display: block; border-top: 1px solid var(--line); padding: .6rem 0; }
  td { display: block; border: 0; padding: .1rem 0; } td.observed { width: auto; }
  .figures b { font-size: 1.15rem; } }
@media print { body { background: #fff; font-size: 11pt; } section, header { break-inside: avoid; }
  .track i { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def render(report: Report) -> str:
    """The page, verdict first."""
    parts = [
        _head(report),
        _account(report),
        _findings(report),
        columns_report.section(report.schema),
        _expectations(report.results),
        _next(report),
        _references(report),
    ]
    title = f"{_HEADLINES[report.verdict]}: {report.source}, run {report.run_id}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _head(report: Report) -> str:
    window = report.window
    facts = [f"source <b>{escape(report.source)}</b>", f"run <code>{escape(report.run_id)}</code>"]
    if window.start or window.end:
        facts.append(f"window {escape(str(window.start))} to {escape(str(window.end))}")
    times = f"started {escape(report.started)}"
    if report.finished:
        times += f", judged {escape(report.finished)}"
    return (
        f'<header class="{escape(report.verdict)}">\n<h1>{_HEADLINES[report.verdict]}</h1>\n'
        f'<p>{escape(meaning(report))}</p>\n<p class="quiet">{" · ".join(facts)} · {times}</p>\n</header>'
    )


def meaning(report: Report) -> str:
    """What the verdict does to the table, in one or two sentences."""
    account, table = report.account, report.table
    set_aside = f"{account.quarantined:,} of {account.fetched:,} rows are in quarantine, each with its reasons."
    if report.verdict == FAIL:
        return f"Nothing is published: the table {table} stays exactly as it was. {set_aside}"
    if report.verdict == WARN:
        rest = set_aside if account.quarantined else "No row is in quarantine."
        return f"The clean rows go on to the table {table}. {rest} Look at the findings below."
    if account.quarantined:
        return f"The clean rows go on to the table {table}. {set_aside} That is within the suite's tolerance."
    return f"All {account.fetched:,} rows go on to the table {table}."


def _account(report: Report) -> str:
    account = report.account
    share = account.quarantined_share
    figures = "".join(
        f"<div><b>{value:,}</b><span class=quiet>{name}</span></div>"
        for name, value in (
            ("fetched", account.fetched),
            ("staged", account.staged),
            ("quarantined", account.quarantined),
        )
    )
    bar = ""
    if account.fetched:
        bar = '<div class="track" aria-hidden="true">' + _bar(1 - share, PASS) + _bar(share, report.verdict) + "</div>"
    limits = report.tolerance
    fails = f"fails above {percent(limits.fail)}" if limits.fail < 1 else "fails for no share of them"
    return (
        f'<section>\n<h2>Rows</h2>\n<div class="figures">{figures}</div>\n{bar}\n'
        f'<p class="quiet">{percent(share)} quarantined; the suite warns above {percent(limits.warn)} '
        f"and {fails}</p>\n</section>"
    )


def _bar(share: float, tone: str) -> str:
    return f'<i class="{escape(tone)}" style="width:{share * 100:.3f}%"></i>' if share > 0 else ""


def _findings(report: Report) -> str:
    if not report.findings:
        return ""
    shown = "\n".join(_finding(finding) for finding in report.findings[:_MOST_FINDINGS])
    more = len(report.findings) - _MOST_FINDINGS
    rest = f'<p class="quiet">and {more} more in report.json</p>' if more > 0 else ""
    return f"<section>\n<h2>What was found, worst first</h2>\n<ul>\n{shown}\n</ul>{rest}\n</section>"


def _finding(finding: Finding) -> str:
    # one row in quarantine fails no run; all of them together do, which is a finding of its own
    tag = "rows in quarantine" if finding.quarantined and finding.kind != TOLERANCE else _LEVELS[finding.level]
    if finding.level == NOTE and finding.kind in (ANOMALY, DRIFT):
        tag = "for information"
    share = ""
    if finding.share:
        share = f'<div class="track" aria-hidden="true">{_bar(min(finding.share, 1), finding.level)}</div>'
    return (
        f'<li class="finding {escape(finding.level)}"><span class="tag">{tag}</span><br>{escape(finding.text)}'
        f"{share}{_examples(finding.examples)}</li>"
    )


def _examples(examples: Iterable[Example]) -> str:
    lines = [f"{example.value[:_MOST_VALUE]}{_origin(example)}" for example in examples]
    return f"<pre>{escape(chr(10).join(lines))}</pre>" if lines else ""


def _origin(example: Example) -> str:
    return f"  ({example.raw} line {example.line})" if example.raw and example.line else ""


def _expectations(results: Iterable[ItemResult]) -> str:
    rows = "\n".join(_expectation(result) for result in results)
    return (
        "<section>\n<h2>Every expectation</h2>\n<table>\n<thead><tr><th>Outcome</th><th>Expectation</th>"
        f"<th>Observed</th></tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</section>"
    )


def _expectation(result: ItemResult) -> str:
    # a critical one whose rows were all set aside has done its work; only `mostly` makes it a failure
    tone, word = PASS, "kept"
    if not result.success:
        tone = {CRITICAL: FAIL, WARNING: WARN}.get(result.severity, "note")
        word = "not kept"
        if result.severity == CRITICAL and result.scope == catalogue.ROW and result.mostly is None:
            tone, word = WARN, "rows set aside"
    elif result.unexpected:
        tone, word = "note", "kept, with exceptions"
    where = "each row" if result.scope == catalogue.ROW else "all rows together"
    mostly = f", mostly {result.mostly:g}" if result.mostly is not None else ""
    return (
        f'<tr class="{tone}"><td class="outcome"><span class="tag">{word}</span></td>'
        f'<td>{escape(result.title)}<div class="quiet">{escape(result.severity)}, {where}{mostly} · '
        f"<code>{escape(result.type)}</code></div></td>"
        f'<td class="observed">{_observed(result, tone)}</td></tr>'
    )


def _observed(result: ItemResult, tone: str) -> str:
    if result.unexpected is None:
        return escape(result.observed or "")
    if not result.unexpected:
        return f"0 of {result.evaluated or 0:,} rows fail"
    share = result.share or 0.0
    return (
        f"{result.unexpected:,} of {result.evaluated:,} rows fail, {percent(share)}"
        f'<div class="track" aria-hidden="true">{_bar(min(share, 1), tone)}</div>'
    )


def _next(report: Report) -> str:
    steps = "".join(f"<p>{escape(words)}</p><pre>{escape(command)}</pre>" for words, command in next_steps(report))
    return f"<section>\n<h2>What to type next</h2>\n{steps}\n</section>"


def next_steps(report: Report) -> list[tuple[str, str]]:
    """What to do about the verdict: (words, command) each."""
    steps = [
        ("The account of this run:", f"sluice runs show {report.run_id}"),
        ("The way it took through the state machine:", f"sluice graph {report.run_id}"),
    ]
    if report.account.quarantined:
        steps.append(("The rows in quarantine:", f"sluice quarantine list --run {report.run_id}"))
    if report.verdict != FAIL and any(f.kind == ANOMALY and f.examples for f in report.findings):
        query = f"SELECT _anomalies, * FROM {report.table} WHERE _run_id = '{report.run_id}' AND _anomalies IS NOT NULL"
        steps.append(("The rows that stand out:", f'psql "$DATABASE_URL" -c "{query}"'))
    if report.verdict == FAIL:
        suite = report.suite or "the suite"
        words = f"Once the source is corrected, or {suite} where it asks too much, run it again:"
        steps.append((words, report.command or f"sluice run {report.source}"))
    return steps


def _references(report: Report) -> str:
    named = dict(report.references)
    if report.suite:
        named["suite"] = report.suite
    if report.execution:
        named["execution"] = report.execution
    if not named:
        return ""
    entries = "".join(f"<dt>{escape(name)}</dt><dd><code>{escape(value)}</code></dd>" for name, value in named.items())
    return f"<section>\n<h2>Where it came from</h2>\n<dl>{entries}</dl>\n</section>"
