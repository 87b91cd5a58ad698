"""Which of Great Expectations' expectations a suite may use, where each runs, and what it says.

Great Expectations knows 53 expectations (1.24.1). Each is here exactly once (a test compares):
row-wise ones run on each chunk in pandas and name the rows that fail; dataset-wide ones run on the
run's staging table in Postgres; the refused ones come with what to use instead. The table is plain
data, so that a suite can be classified and worded without the seconds that importing Great
Expectations takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

ROW = "row"
DATASET = "dataset"

# families of column types, as far as comparing values goes
NUMBER, TEXT, DATE, TIMESTAMP, TIMESTAMPTZ, BOOLEAN, JSON = (
    "number",
    "text",
    "date",
    "timestamp",
    "timestamptz",
    "boolean",
    "json",
)
_FAMILIES = {
    "smallint": NUMBER,
    "integer": NUMBER,
    "bigint": NUMBER,
    "double precision": NUMBER,
    "numeric": NUMBER,
    "jsonb": JSON,
}
TEMPORAL = (DATE, TIMESTAMP, TIMESTAMPTZ)
ORDERED = (NUMBER, *TEMPORAL)
TEXTUAL = (TEXT, *TEMPORAL)
ANY = (NUMBER, TEXT, *TEMPORAL, BOOLEAN, JSON)
# times are left out: the same moment can be written in several ways, and sets compare text
LISTABLE = (NUMBER, TEXT, DATE, BOOLEAN)


def family(base: str) -> str:
    """The family of a column's base type (see `columns.Column.base`)."""
    return _FAMILIES.get(base, base)


@dataclass(frozen=True)
class Entry:
    """One expectation: where it runs, on which families of columns, and its wording.

    `expected` makes the words after "expected" out of the arguments. `subject` names what is
    judged, with the columns in place of `{columns}`; empty where `expected` names them itself.
    `of_length`: of a text, it looks at nothing but its length, or whether there is one.
    """

    scope: str
    expected: Callable[[dict], str]
    families: tuple[str, ...] = ANY
    subject: str = "{columns}"
    alike: bool = False  # its columns are compared with each other, so they must be of one family
    of_length: bool = False
    by_the_day: bool = False  # what it says of a value may be another thing on another day


# --- wording ---------------------------------------------------------------------------------


def number(value) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def between(kwargs: dict) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    strict_low, strict_high = kwargs.get("strict_min"), kwargs.get("strict_max")
    if low is not None and high is not None and not (strict_low or strict_high):
        return f"between {number(low)} and {number(high)}"
    parts = []
    if low is not None:
        parts.append(f"{'above' if strict_low else 'at least'} {number(low)}")
    if high is not None:
        parts.append(f"{'below' if strict_high else 'at most'} {number(high)}")
    return " and ".join(parts)


def _listed(values, most: int = 8) -> str:
    shown = ", ".join(repr(v) if isinstance(v, str) else str(v) for v in list(values)[:most])
    return shown + (f", … ({len(values)} in all)" if len(values) > most else "")


def _of(name: str, words: str) -> Callable[[dict], str]:
    """Wording that shows one argument in place of `{}`: lists as a list, the rest as it is."""

    def expected(kwargs: dict) -> str:
        value = kwargs.get(name)
        return words.format(_listed(value) if isinstance(value, list) else value)

    return expected


def _words(text: str) -> Callable[[dict], str]:
    return lambda kwargs: text


def _pair(relation: Callable[[dict], str]) -> Callable[[dict], str]:
    return lambda kwargs: f"{kwargs['column_A']} {relation(kwargs)} {kwargs['column_B']}"


def _quantiles(kwargs: dict) -> str:
    ranges = kwargs["quantile_ranges"]
    return "; ".join(
        f"the {quantile} quantile {between({'min_value': low, 'max_value': high})}"
        for quantile, (low, high) in zip(ranges["quantiles"], ranges["value_ranges"], strict=True)
    )


_regex_list = _of("regex_list", "matching {}")

# --- the table -------------------------------------------------------------------------------

ENTRIES: dict[str, Entry] = {
    # row-wise, one column
    "expect_column_values_to_not_be_null": Entry(ROW, _words("not null"), of_length=True),
    "expect_column_values_to_be_null": Entry(ROW, _words("null"), of_length=True),
    "expect_column_values_to_be_between": Entry(ROW, between, ORDERED),
    "expect_column_values_to_be_in_set": Entry(ROW, _of("value_set", "one of {}"), LISTABLE),
    "expect_column_values_to_not_be_in_set": Entry(ROW, _of("value_set", "none of {}"), LISTABLE),
    "expect_column_values_to_match_regex": Entry(ROW, _of("regex", "matching {}"), TEXTUAL),
    "expect_column_values_to_not_match_regex": Entry(ROW, _of("regex", "not matching {}"), TEXTUAL),
    "expect_column_values_to_match_regex_list": Entry(
        ROW,
        lambda kwargs: f"{_regex_list(kwargs)} ({'all' if kwargs.get('match_on') == 'all' else 'any'} of them)",
        TEXTUAL,
    ),
    "expect_column_values_to_not_match_regex_list": Entry(ROW, _of("regex_list", "matching none of {}"), TEXTUAL),
    "expect_column_value_lengths_to_be_between": Entry(
        ROW, lambda kwargs: f"a length {between(kwargs)}", (TEXT,), of_length=True
    ),
    "expect_column_value_lengths_to_equal": Entry(
        ROW, lambda kwargs: f"a length of {number(float(kwargs['value']))}", (TEXT,), of_length=True
    ),
    "expect_column_values_to_match_strftime_format": Entry(ROW, _of("strftime_format", "a time as {}"), TEXTUAL),
    # what a text leaves out it takes from today: "29 February" is a date in leap years
    "expect_column_values_to_be_dateutil_parseable": Entry(ROW, _words("a date or time"), (TEXT,), by_the_day=True),
    "expect_column_values_to_be_json_parseable": Entry(ROW, _words("JSON"), (TEXT, JSON)),
    # on text that is no JSON it raises instead of failing the row; jsonb columns hold nothing else
    "expect_column_values_to_match_json_schema": Entry(ROW, _words("JSON that matches its schema"), (JSON,)),
    # row-wise, several columns
    "expect_column_pair_values_a_to_be_greater_than_b": Entry(
        ROW,
        _pair(lambda kwargs: "at or above" if kwargs.get("or_equal") else "above"),
        (*ORDERED, TEXT),
        subject="",
        alike=True,
    ),
    "expect_column_pair_values_to_be_equal": Entry(ROW, _pair(_words("equal to")), subject="", alike=True),
    "expect_column_pair_values_to_be_in_set": Entry(ROW, _of("value_pairs_set", "one of the pairs {}"), LISTABLE),
    "expect_multicolumn_sum_to_equal": Entry(
        ROW, lambda kwargs: f"a sum of {number(kwargs['sum_total'])}", (NUMBER,), alike=True
    ),
    "expect_multicolumn_values_to_be_equal": Entry(ROW, _words("equal values"), alike=True),
    "expect_select_column_values_to_be_unique_within_record": Entry(ROW, _words("different values")),
    # dataset-wide: what one row cannot tell
    "expect_column_values_to_be_unique": Entry(DATASET, _words("unique")),
    "expect_compound_columns_to_be_unique": Entry(DATASET, _words("unique together")),
    "expect_column_value_z_scores_to_be_less_than": Entry(
        DATASET, _of("threshold", "within {} standard deviations of the mean"), (NUMBER,)
    ),
    "expect_column_values_to_not_be_outliers": Entry(DATASET, _words("free of outliers"), (NUMBER,)),
    "expect_column_values_to_be_of_type": Entry(DATASET, _of("type_", "{}"), subject="type of {columns}"),
    "expect_column_values_to_be_in_type_list": Entry(
        DATASET, _of("type_list", "one of {}"), subject="type of {columns}"
    ),
    "expect_column_type_to_be": Entry(DATASET, _of("type_", "{}"), subject="type of {columns}"),
    "expect_column_distinct_values_to_be_in_set": Entry(
        DATASET, _of("value_set", "all among {}"), LISTABLE, subject="distinct values of {columns}"
    ),
    "expect_column_distinct_values_to_contain_set": Entry(
        DATASET, _of("value_set", "including {}"), LISTABLE, subject="distinct values of {columns}"
    ),
    "expect_column_distinct_values_to_equal_set": Entry(
        DATASET, _of("value_set", "exactly {}"), LISTABLE, subject="distinct values of {columns}"
    ),
    "expect_column_most_common_value_to_be_in_set": Entry(
        DATASET, _of("value_set", "one of {}"), LISTABLE, subject="most common value of {columns}"
    ),
    "expect_column_max_to_be_between": Entry(DATASET, between, ORDERED, "maximum of {columns}"),
    "expect_column_min_to_be_between": Entry(DATASET, between, ORDERED, "minimum of {columns}"),
    "expect_column_mean_to_be_between": Entry(DATASET, between, (NUMBER,), "mean of {columns}"),
    "expect_column_median_to_be_between": Entry(DATASET, between, (NUMBER,), "median of {columns}"),
    "expect_column_stdev_to_be_between": Entry(DATASET, between, (NUMBER,), "standard deviation of {columns}"),
    "expect_column_sum_to_be_between": Entry(DATASET, between, (NUMBER,), "sum of {columns}"),
    "expect_column_quantile_values_to_be_between": Entry(DATASET, _quantiles, (NUMBER,), "quantiles of {columns}"),
    "expect_column_kl_divergence_to_be_less_than": Entry(
        DATASET, _of("threshold", "below {}"), subject="divergence of {columns} from the expected distribution"
    ),
    "expect_column_unique_value_count_to_be_between": Entry(
        DATASET, between, subject="number of distinct values of {columns}"
    ),
    "expect_column_proportion_of_unique_values_to_be_between": Entry(
        DATASET, between, subject="share of distinct values of {columns}"
    ),
    "expect_column_proportion_of_non_null_values_to_be_between": Entry(
        DATASET, between, subject="share of values of {columns} that are not null"
    ),
    "expect_table_row_count_to_be_between": Entry(DATASET, between, subject="row count"),
    "expect_table_row_count_to_equal": Entry(DATASET, _of("value", "{}"), subject="row count"),
    "unexpected_rows_expectation": Entry(DATASET, _words("0"), subject="number of rows that the query finds"),
}

# what these observe is a number of rows, or a type, and no value of a column
COUNTING = frozenset(
    {
        "expect_column_unique_value_count_to_be_between",
        "expect_column_proportion_of_unique_values_to_be_between",
        "expect_column_proportion_of_non_null_values_to_be_between",
        "expect_column_values_to_be_of_type",
        "expect_column_values_to_be_in_type_list",
        "expect_column_type_to_be",
    }
)

_STAGING = "the staging table's columns come from the source's declaration; leave the item out"

REFUSED: dict[str, str] = {
    "expect_column_values_to_match_like_pattern": "it does not run on pandas; use expect_column_values_to_match_regex",
    "expect_column_values_to_not_match_like_pattern": (
        "it does not run on pandas; use expect_column_values_to_not_match_regex"
    ),
    "expect_column_values_to_match_like_pattern_list": (
        "it does not run on pandas; use expect_column_values_to_match_regex_list"
    ),
    "expect_column_values_to_not_match_like_pattern_list": (
        "it does not run on pandas; use expect_column_values_to_not_match_regex_list"
    ),
    "expect_column_values_to_be_increasing": "rows in a table have no order; compare two columns of one row instead",
    "expect_column_values_to_be_decreasing": "rows in a table have no order; compare two columns of one row instead",
    "expect_table_row_count_to_equal_other_table": (
        "a run's staging table stands alone; use unexpected_rows_expectation with a query over both tables"
    ),
    "expect_query_results_to_match_comparison": (
        "it needs a second data source; use unexpected_rows_expectation with a query over both tables"
    ),
    "expect_column_to_exist": _STAGING,
    "expect_table_column_count_to_be_between": _STAGING,
    "expect_table_column_count_to_equal": _STAGING,
    "expect_table_columns_to_match_ordered_list": _STAGING,
    "expect_table_columns_to_match_set": _STAGING,
}
