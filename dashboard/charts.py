"""A chart of a table's records: of a source that is known what reads best, of any other one what its columns allow."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd
import streamlit as st

from dashboard import wording
from dashboard.client import Client

if TYPE_CHECKING:
    from dashboard.data import Wanted

MOST = 3000  # records of a chart: three requests, and more points than a screen has
_SERIES = 8  # lines that one can still tell apart
_FEW = 40  # bars that one can still read
_HEIGHT = 340
_MARKED = "#b3261e"
_NUMBER = re.compile(
    r"(smallint|integer|int|int[248]|bigint|real|double|float[48]?|numeric|decimal)\b(?!.*\[)", re.IGNORECASE
)


@dataclass(frozen=True)
class Lines:
    """Values over time, a line per series; the first of `values` is shown until another is chosen."""

    time: str
    values: tuple[str, ...]
    series: str | None


KNOWN = {
    "weather": Lines("day", ("temperature_max", "temperature_min", "precipitation", "wind_speed_max"), "station"),
    "market": Lines("date", ("close", "volume"), "symbol"),
    "sensors": Lines("measured_at", ("temperature", "humidity", "pressure", "battery"), "sensor"),
}


def show(client: Client, wanted: Wanted, day: str | None, declared: dict[str, Any]) -> None:
    """`day` is the table's column of the day, `declared` its source in `GET /sources`, or empty where none is.

    Raises what the client does.
    """
    lines = KNOWN.get(wanted.source)
    time = lines.time if lines else day
    newest = wanted.query(limit=1000, sort=f"-{time}" if time else wanted.sort)
    frame = frame_of(client, newest)
    if frame.empty:
        st.info("There is nothing to draw: no row is like that.")
        return
    lines = lines or guessed(frame, day, declared)
    if lines is None:
        if day in frame:
            _by_day(frame, day)
        else:
            _counts(frame)
        return
    value, only = st.columns([1, 2])
    numbers = [name for name in lines.values if name in frame and _numbers(frame[name]).notna().any()]
    if not numbers:
        st.info("There is nothing to draw: the rows have no numbers.")
        return
    chosen = value.selectbox("Value", numbers, key=f"value-{wanted.source}-{wanted.table}")
    series = _series(only, frame, lines, wanted)
    shown = frame if series is None else frame[frame[lines.series].isin(series)]
    _caption(frame, shown, chosen, lines)
    st.altair_chart(_drawn(shown, chosen, lines), width="stretch")


def frame_of(client: Client, query: dict[str, Any]) -> pd.DataFrame:
    """Records as a frame, with `_marked`: the columns that are unlike their history, as a text."""
    rows = [
        {**record["values"], "_marked": ", ".join({mark["column"] for mark in record["anomalies"] or ()})}
        for record in client.pages("/records", query, "records", MOST)
    ]
    return pd.DataFrame(rows)


def guessed(frame: pd.DataFrame, day: str | None, declared: dict[str, Any]) -> Lines | None:
    """The day of the table and its numbers; None where it has no day, or no numbers beside its key."""
    if not day or day not in frame:
        return None
    types = {column["name"]: column["type"] for column in declared.get("columns", ())}
    others = [name for name in frame if name not in (day, "_marked", *declared.get("key", ()))]
    numbers = [name for name in others if (is_number(types[name]) if name in types else _holds_numbers(frame[name]))]
    numbers = [name for name in numbers if _numbers(frame[name]).notna().any()]
    if not numbers:
        return None
    texts = [name for name in others if name not in numbers and frame[name].dropna().map(type).eq(str).all()]
    few = [name for name in texts if 1 < frame[name].nunique() <= _SERIES]
    return Lines(day, tuple(numbers), few[0] if few else None)


def is_number(type: str) -> bool:
    """Of a column's type as its source declares it, `numeric(10,2)` as well."""
    return _NUMBER.match(type.strip()) is not None


def _holds_numbers(column: pd.Series) -> bool:
    """Of a column that nothing declares. Whole numbers of which none comes twice are a key rather."""
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return False
    return pd.api.types.is_float_dtype(column) or not column.is_unique


def _numbers(column: pd.Series) -> pd.Series:
    """The API gives `numeric` as a text, which keeps its digits."""
    return pd.to_numeric(column, errors="coerce")


def _series(place, frame: pd.DataFrame, lines: Lines, wanted: Wanted) -> list[str] | None:
    if lines.series is None or lines.series not in frame:
        return None
    there = sorted(frame[lines.series].dropna().unique())
    return place.multiselect(
        wording.escaped(lines.series.capitalize()),
        there,
        default=there[:_SERIES],
        key=f"series-{wanted.source}-{wanted.table}",
    )


def _caption(frame: pd.DataFrame, shown: pd.DataFrame, value: str, lines: Lines) -> None:
    """The chart in words, for those who do not see it."""
    words = f"{value} by {lines.time}: {len(shown):,} rows"
    if len(frame) >= MOST:
        words += f", of the newest {MOST:,}"
    found = _numbers(shown[value]).dropna()
    if len(found):
        words += f"; from {found.min():g} to {found.max():g}, on average {found.mean():.4g}"
    marked = int(_is_marked(shown, value).sum())
    words += f"; {marked:,} unlike their history, marked red" if marked else ""
    st.caption(wording.escaped(f"{words}."))


def _is_marked(frame: pd.DataFrame, value: str) -> pd.Series:
    return frame["_marked"].map(lambda columns: value in columns.split(", "))


def _drawn(frame: pd.DataFrame, value: str, lines: Lines) -> alt.TopLevelMixin:
    frame = frame.assign(**{value: _numbers(frame[value]), "_is_marked": _is_marked(frame, value)})
    frame[lines.time] = pd.to_datetime(frame[lines.time], utc=True, errors="coerce")
    base = alt.Chart(frame).encode(
        x=alt.X(f"{_field(lines.time)}:T", title=None), y=alt.Y(f"{_field(value)}:Q", title=value).scale(zero=False)
    )
    told = [alt.Tooltip(f"{_field(lines.time)}:T", title=lines.time), alt.Tooltip(f"{_field(value)}:Q", title=value)]
    line = base.mark_line(strokeWidth=1.4)
    if lines.series:
        line = line.encode(color=alt.Color(f"{_field(lines.series)}:N", title=None).legend(orient="bottom", columns=3))
        told.insert(0, alt.Tooltip(f"{_field(lines.series)}:N", title=lines.series))
    marks = (
        base.mark_point(color=_MARKED, filled=True, size=70, shape="diamond")
        .encode(tooltip=told)
        .transform_filter("datum._is_marked")
    )
    return (line.encode(tooltip=told) + marks).properties(height=_HEIGHT)


def _field(name: str) -> str:
    """As Vega-Lite's shorthand has it, where a dot, a colon or a bracket mean something."""
    return "".join(f"\\{char}" if char in ".:[]" else char for char in name)


def _by_day(frame: pd.DataFrame, day: str) -> None:
    days = pd.to_datetime(frame[day], utc=True, errors="coerce").dropna().dt.floor("D")
    if days.empty:
        st.info("There is nothing to draw: no row has a day.")
        return
    counted = days.value_counts().rename_axis("day").reset_index(name="rows")
    words = f"Rows by {day}, {days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}: {len(days):,}"
    # where it was cut off, the oldest day may be a part
    words += f" of the newest {MOST:,}; the first day may have more" if len(frame) >= MOST else " in all"
    st.caption(wording.escaped(f"{words}."))
    bars = (
        alt.Chart(counted)
        .mark_bar()
        .encode(x=alt.X("day:T", title=None), y=alt.Y("rows:Q", title="rows"), tooltip=["day:T", "rows:Q"])
    )
    st.altair_chart(bars.properties(height=_HEIGHT), width="stretch")


def _counts(frame: pd.DataFrame) -> None:
    """Rows by the values of the column that has a few of them, as a kind or a country does."""
    values = {name: frame[name].dropna().map(str).nunique() for name in frame if name != "_marked"}
    few = [name for name, distinct in values.items() if 1 < distinct <= min(_FEW, len(frame) - 1)]
    if not few:
        st.info("There is nothing to draw: the table has no column of a day, and none with a few different values.")
        return
    name = st.selectbox("Count rows by", few)
    counted = frame[name].dropna().map(str).value_counts().rename_axis("value").reset_index(name="rows")
    newest = f", of {MOST:,} that were looked at" if len(frame) >= MOST else ""
    st.caption(wording.escaped(f"Rows by {name}: {counted['rows'].sum():,} in all{newest}."))
    bars = (
        alt.Chart(counted)
        .mark_bar()
        .encode(x=alt.X("rows:Q", title="rows"), y=alt.Y("value:N", title=None, sort="-x"), tooltip=["value", "rows"])
    )
    st.altair_chart(bars.properties(height=max(120, 26 * len(counted))), width="stretch")
