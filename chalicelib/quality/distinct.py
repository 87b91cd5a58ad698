"""Values that repeat are judged once: what a row-wise expectation of one column says follows from the value alone.

Great Expectations looks at a column about ten times for each expectation, at 0.05 microseconds per text and look.
A column of a few thousand kinds among 50,000 rows costs 0.03 microseconds per row to number, and then next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.quality.engine import Outcome

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from chalicelib.quality.suite import Item

# below, the fixed cost of an expectation is most of it
_ROWS = 2_000
# where half of so many rows differ, numbering all of them is not worth it
_SAMPLE = 1_000


@dataclass(frozen=True)
class Distinct:
    """The kinds of values of a column, null among them where there are nulls, and the number of each row's kind."""

    values: pd.Series
    numbers: np.ndarray
    nulls: int  # rows

    def outcome_of_rows(self, found: Outcome) -> Outcome:
        """What was found of the kinds, as it would have been found of the rows."""
        if found.error:
            return found
        import numpy as np  # not at the top: the gate and who tells of failures judge no rows

        fails = np.zeros(len(self.values), dtype=bool)
        fails[[int(place) for place in found.result.get("unexpected_index_list") or ()]] = True
        positions = np.flatnonzero(fails[self.numbers]).tolist()
        result = {
            "element_count": len(self.numbers),
            "missing_count": self.nulls if found.result.get("missing_count") else 0,
            "unexpected_count": len(positions),
            "unexpected_index_list": positions,
        }
        return Outcome(found.success, result)


def of(frame: pd.DataFrame, items: Sequence[Item]) -> Distinct | None:
    """The kinds of the frame's only column; None where rows have to be judged, or might as well be."""
    if len(frame.columns) != 1 or len(frame) < _ROWS or any("row_condition" in item.kwargs for item in items):
        return None
    import numpy as np
    import pandas as pd

    values = frame.iloc[:, 0]
    if values.iloc[:_SAMPLE].nunique() > _SAMPLE // 2:
        return None
    numbers, kinds = pd.factorize(values)
    nulls = numbers == -1
    if 2 * len(kinds) > len(values):
        return None
    if nulls.any():
        numbers[nulls] = len(kinds)
        kinds = np.append(np.asarray(kinds, dtype=values.dtype), np.array([_null(values)], dtype=values.dtype))
    return Distinct(pd.Series(kinds, dtype=values.dtype, name=values.name), numbers, int(nulls.sum()))


def _null(values: pd.Series) -> object:
    """As the column has it: None among texts, NaN among numbers."""
    return values[values.isna()].iloc[0]
