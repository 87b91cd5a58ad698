"""The quality report of a run, as data and as one page."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import orjson

from chalicelib.contracts import Window
from chalicelib.lake import keys
from chalicelib.letters import VALUE, cut
from chalicelib.quality import page
from chalicelib.quality.results import ItemResult
from chalicelib.quality.suite import Tolerance
from chalicelib.quality.verdict import FAIL, TOLERANCE, Finding
from chalicelib.schema import DISCARD
from chalicelib.schema.model import SchemaReport

_CAUSES = 20  # that are named where a run is rejected


@dataclass(frozen=True)
class RowAccount:
    """The rows as the gate sees them, before anything is published: fetched = staged + quarantined."""

    fetched: int
    staged: int
    quarantined: int

    @property
    def quarantined_share(self) -> float:
        return self.quarantined / self.fetched if self.fetched else 0.0


@dataclass(frozen=True)
class Report:
    """What the gate found in a run.

    `started` and `finished` are ISO times. `findings` come worst first, `results` in the suite's
    order, both from a `Verdict`. `references` name where to look further, such as
    {"raw": "s3://…", "manifest": "s3://…"}; values that are not addresses are shown as they are.
    `command` is what to type to run it again.
    """

    run_id: str
    source: str
    table: str
    verdict: str
    started: str
    account: RowAccount
    findings: tuple[Finding, ...]
    results: tuple[ItemResult, ...]
    tolerance: Tolerance
    window: Window = field(default_factory=Window)
    finished: str | None = None
    execution: str = ""
    suite: str = ""
    references: dict[str, str] = field(default_factory=dict)
    command: str = ""
    schema: SchemaReport = field(default_factory=lambda: SchemaReport(DISCARD))

    @property
    def key(self) -> str:
        """Where the page is in the lake."""
        return keys.report(self.run_id, "html")

    @property
    def reasons(self) -> tuple[Finding, ...]:
        """What is wrong, worst first, without the bare fact that the tolerance was exceeded."""
        return tuple(finding for finding in self.findings if finding.kind != TOLERANCE)

    @property
    def why_rejected(self) -> str | None:
        """Every finding that fails the run, worst first, and what to do about it; None where none does."""
        causes = [cut(" ".join(finding.text.split()), 2 * VALUE) for finding in self.findings if finding.level == FAIL]
        if self.verdict != FAIL:
            return None
        more = f"; and {len(causes) - _CAUSES} more, in the report" if len(causes) > _CAUSES else ""
        return (
            f"{'; '.join(causes[:_CAUSES])}{more} "
            f"Next: once the source is corrected, or {self.suite or 'the suite'} where it asks too much, "
            f"`{self.command or f'sluice run {self.source}'}`"
        )

    def to_json(self) -> bytes:
        """The report as JSON: the fields above, and the share of each result."""
        document = dataclasses.asdict(self)
        for shown, result in zip(document["results"], self.results, strict=True):
            shown["share"] = result.share
        return orjson.dumps(document, option=orjson.OPT_INDENT_2)

    def to_html(self) -> bytes:
        """The report as one page that needs nothing else."""
        return page.render(self).encode()
