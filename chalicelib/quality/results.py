"""How each expectation of a run came out, whichever engine judged it."""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.quality.rows import Example
from chalicelib.quality.suite import Item


@dataclass(frozen=True)
class ItemResult:
    """One expectation over the whole run.

    `success` says whether the data kept it (within `mostly`). `evaluated` and `unexpected` are
    rows; None where the expectation does not count rows, such as a mean: then `observed` is what
    it measured. `text` is the outcome in words.
    """

    id: str
    type: str
    severity: str
    scope: str
    title: str
    success: bool
    text: str
    evaluated: int | None = None
    unexpected: int | None = None
    observed: str | None = None
    mostly: float | None = None
    examples: tuple[Example, ...] = ()

    @property
    def share(self) -> float | None:
        """The share of evaluated rows that were unexpected, 0 to 1."""
        if self.unexpected is None:
            return None
        return self.unexpected / self.evaluated if self.evaluated else 0.0


def of(item: Item, success: bool, text: str, **measured) -> ItemResult:
    """The result of a suite's item; `measured` are the optional fields of `ItemResult`."""
    return ItemResult(
        id=item.id,
        type=item.type,
        severity=item.severity,
        scope=item.entry.scope,
        title=item.title,
        success=success,
        text=text,
        mostly=item.mostly,
        **measured,
    )
