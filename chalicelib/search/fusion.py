"""One ranking of several, by reciprocal rank fusion (Cormack, Clarke, Büttcher: SIGIR 2009).

A row's score is the sum of 1 / (60 + rank) over the rankings that have it, the first rank being 1.
Scores of different kinds cannot be added up, a similarity and a count of words; ranks can.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

K = 60  # the paper's, found to be good for any kind of ranking

Row = TypeVar("Row", bound=Hashable)


def fuse(rankings: Mapping[str, Sequence[Row]]) -> list[tuple[Row, float, dict[str, int]]]:
    """(row, score, its rank by the name of each ranking that has it), best first.

    Of equal scores, the row that has the better rank in a ranking named earlier comes first.
    """
    ranks: dict[Row, dict[str, int]] = {}
    for name, ranking in rankings.items():
        for rank, row in enumerate(ranking, 1):
            ranks.setdefault(row, {}).setdefault(name, rank)
    scored = [(row, sum(1 / (K + rank) for rank in of.values()), of) for row, of in ranks.items()]
    missing = float("inf")
    return sorted(scored, key=lambda each: (-each[1], [each[2].get(name, missing) for name in rankings]))
