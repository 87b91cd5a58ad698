"""Values that repeat are judged once: what a row-wise expectation of one column says follows from the value alone.

Great Expectations looks at a column about ten times for each expectation, at 0.05 microseconds per text and look.
A column of a few thousand kinds among 50,000 rows costs 0.03 microseconds per row to number, and then next to nothing.
The lengths of texts are few however many texts there are: to judge these 0.05 in place of 0.35.
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


def parts(frame: pd.DataFrame, items: Sequence[Item]) -> list[tuple[Distinct | None, list[Item]]]:
    """The items, with the kinds that they judge in place of the rows, None where rows might as well be judged."""
    items = list(items)
    if len(frame.columns) != 1 or len(frame) < _ROWS or any("row_condition" in item.kwargs for item in items):
        return [(None, items)]
    values = frame.iloc[:, 0]
    if repeated := _of_values(values):
        return [(repeated, items)]
    of_length = [item for item in items if item.entry.of_length]
    lengths = _of_lengths(values) if of_length else None
    if lengths is None:
        return [(None, items)]
    others = [item for item in items if not item.entry.of_length]
    return [(lengths, of_length), *([(None, others)] if others else [])]


def _of_values(values: pd.Series) -> Distinct | None:
    import numpy as np
    import pandas as pd

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


def _of_lengths(values: pd.Series) -> Distinct | None:
    """Of each length a text, null among them; None where the values are no texts."""
    import numpy as np
    import pandas as pd

    texts = values.to_numpy()
    nulls = values.isna().to_numpy()
    if not all(isinstance(text, str) for text in texts[~nulls][:1]):
        return None
    if nulls.any():
        lengths = np.full(len(texts), -1)
        lengths[~nulls] = np.fromiter(map(len, texts[~nulls]), np.int64)
    else:
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    numbers, kinds = pd.factorize(lengths)
    rows = np.empty(len(kinds), dtype=np.int64)
    rows[numbers] = np.arange(len(numbers))
    return Distinct(pd.Series(texts[rows], dtype=values.dtype, name=values.name), numbers, int(nulls.sum()))


def _null(values: pd.Series) -> object:
    """As the column has it: None among texts, NaN among numbers."""
    return values[values.isna()].iloc[0]
