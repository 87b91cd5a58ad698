"""A chart of a table's records: of a source that is known what reads best, of any other one what its columns allow."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from dashboard import address, selection, wording
from dashboard.client import Client
from dashboard.selection import Wanted

MOST = 3000  # records of a chart: three requests, and more points than a screen has
_SERIES = 8  # lines that one can still tell apart
_FEW = 40  # bars that one can still read
_HEIGHT = 340
_SMALL = 190  # of one chart among several
_BESIDE = 2
_APART = 10  # times as large: on one axis the smaller series is a line at the bottom
_MARKED = "#b3261e"
_DAYS = ("date", "timestamp")
_NUMBER = re.compile(
    r"(smallint|integer|int|int[248]|bigint|real|double|float[48]?|numeric|decimal)\b(?!.*\[)", re.IGNORECASE
)


@dataclass(frozen=True)
class Lines:
    """Values over time, a line per series; the first of `values` is shown until another is chosen.

    `own_axes`: whether each series has a chart of its own; None: where their values are of different size.
    """

    time: str
    values: tuple[str, ...]
    series: str | None
    own_axes: bool | None = None


KNOWN = {
    "weather": Lines(
        "day", ("temperature_max", "temperature_min", "precipitation", "wind_speed_max"), "station", False
    ),
    # prices of different things, and an index is no price
    "market": Lines("date", ("close", "volume"), "symbol", own_axes=True),
    "sensors": Lines("measured_at", ("temperature", "humidity", "pressure", "battery"), "sensor", own_axes=False),
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
            _counts(frame, day, declared)
        return
    value, only = st.columns([1, 2])
    numbers = [name for name in lines.values if name in frame and _numbers(frame[name]).notna().any()]
    if not numbers:
        st.info("There is nothing to draw: the rows have no numbers.")
        return
    chosen = address.chosen(value, "Value", numbers, "value", selection.change)
    series = _series(only, frame, lines)
    shown = frame if series is None else frame[frame[lines.series].isin(series)]
    shown = _points(shown, chosen, lines)
    apart = series is not None and len(series) > 1 and _are_apart(shown, chosen, lines)
    _caption(frame, shown, chosen, lines, apart)
    span = (shown[lines.time].min(), shown[lines.time].max())
    if not apart:
        st.altair_chart(_drawn(shown, chosen, lines, span).properties(height=_HEIGHT), width="stretch")
        return
    # charts of their own, not facets of one, which Streamlit makes no narrower than they are
    for place in range(0, len(series), _BESIDE):
        for column, name in zip(st.columns(_BESIDE), series[place : place + _BESIDE], strict=False):
            own = shown[shown[lines.series] == name]
            chart = _drawn(own, chosen, lines, span, coloured=False)
            title = alt.Title(str(name), subtitle=_extent(own, chosen, lines), anchor="start")
            chart = chart.properties(height=_SMALL, title=title)
            column.altair_chart(chart, width="stretch")


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


def _series(place, frame: pd.DataFrame, lines: Lines) -> list | None:
    if lines.series is None or lines.series not in frame:
        return None
    there = sorted(frame[lines.series].dropna().unique())
    named = [name for name in there if str(name) in address.values("series")]
    st.session_state["chosen_series"] = named or there[:_SERIES]
    label = wording.escaped(lines.series.capitalize())
    return sorted(place.multiselect(label, there, key="chosen_series", on_change=_chosen))


def _chosen() -> None:
    selection.change(series=[str(name) for name in st.session_state["chosen_series"]])


def _points(frame: pd.DataFrame, value: str, lines: Lines) -> pd.DataFrame:
    """What is drawn: the time, the number, the series, and `_is_marked`, of rows that have time and number."""
    columns = [lines.time, *([lines.series] if lines.series in frame else []), value]
    points = frame[columns].assign(**{value: _numbers(frame[value])}, _is_marked=_is_marked(frame, value))
    points[lines.time] = pd.to_datetime(points[lines.time], utc=True, errors="coerce")
    return points.dropna(subset=[lines.time, value])


def _is_marked(frame: pd.DataFrame, value: str) -> pd.Series:
    return frame["_marked"].map(lambda columns: value in columns.split(", "))


def _are_apart(points: pd.DataFrame, value: str, lines: Lines) -> bool:
    if lines.own_axes is not None:
        return lines.own_axes
    sizes = points[value].abs().groupby(points[lines.series]).median()
    return sizes.max() > _APART * sizes[sizes > 0].min()


def _caption(frame: pd.DataFrame, points: pd.DataFrame, value: str, lines: Lines, apart: bool) -> None:
    """The chart in words, for those who do not see it."""
    words = f"{value} by {lines.time}: {len(points):,} rows"
    if len(frame) >= MOST:
        words += f", of the newest {MOST:,}"
    if apart:
        words += f"; each {lines.series} on an axis of its own"
    elif len(points):
        found = points[value]
        words += f"; from {found.min():g} to {found.max():g}, on average {found.mean():.4g}"
    marked = int(points["_is_marked"].sum())
    words += f"; {marked:,} unlike their history, marked red" if marked else ""
    st.caption(wording.escaped(f"{words}."))


def _extent(points: pd.DataFrame, value: str, lines: Lines) -> str:
    if points.empty:
        return "no values"
    last = points.loc[points[lines.time].idxmax(), value]
    return f"{points[value].min():,g} to {points[value].max():,g}, last {last:,g}"


def _drawn(points: pd.DataFrame, value: str, lines: Lines, span: tuple, coloured: bool = True) -> alt.LayerChart:
    """`span` is what the axis of time covers, the same for charts side by side. Times are UTC wherever one reads it."""
    of_day = (points[lines.time].dt.normalize() == points[lines.time]).all()
    short = span[1] - span[0] < pd.Timedelta(days=4)
    axis = alt.Axis(title=None, labelOverlap=True, **({"format": "%d %b %H:%M"} if short and not of_day else {}))
    time = alt.X(f"{_field(lines.time)}:T", axis=axis).scale(
        type="utc", domain=[moment.isoformat() for moment in span], nice=False
    )
    number = alt.Y(f"{_field(value)}:Q", title=value if coloured else None, axis=alt.Axis(minExtent=44))
    when = alt.Tooltip(
        field=_field(lines.time),
        type="temporal",
        timeUnit="utcyearmonthdate" if of_day else "utcyearmonthdatehoursminutesseconds",
        format="%Y-%m-%d" if of_day else "%Y-%m-%d %H:%M:%S UTC",
        title=lines.time,
    )
    told = [when, alt.Tooltip(f"{_field(value)}:Q", title=value)]
    if lines.series in points:
        told.insert(0, alt.Tooltip(f"{_field(lines.series)}:N", title=lines.series))
    base = alt.Chart(points).encode(x=time, y=number.scale(zero=False), tooltip=told)
    line = base.mark_line(strokeWidth=1.4)
    if lines.series in points and coloured:
        line = line.encode(color=alt.Color(f"{_field(lines.series)}:N", title=None).legend(orient="bottom", columns=3))
    marks = base.mark_point(color=_MARKED, filled=True, size=70, shape="diamond", opacity=1)
    return line + marks.transform_filter("datum._is_marked")


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
        .encode(
            x=alt.X("day:T", title=None).scale(type="utc"),
            y=alt.Y("rows:Q", title="rows"),
            tooltip=[alt.Tooltip("utcyearmonthdate(day):T", title="day", format="%Y-%m-%d"), "rows:Q"],
        )
    )
    st.altair_chart(bars.properties(height=_HEIGHT), width="stretch")


def _tell_of_days(declared: dict[str, Any]) -> None:
    days = [each["name"] for each in declared.get("columns", ()) if each["type"].lower().startswith(_DAYS)]
    if days:
        named = " or ".join(wording.code(f'day = "{name}"') for name in days)
        st.info(f"To see its rows by day, say {named} in the source, and run it again.")


def _counts(frame: pd.DataFrame, day: str | None, declared: dict[str, Any]) -> None:
    """Rows by the values of the column that has a few of them, as a kind or a country does."""
    values = {name: frame[name].dropna().map(str).nunique() for name in frame if name != "_marked"}
    few = [name for name, distinct in values.items() if 1 < distinct <= min(_FEW, len(frame) - 1)]
    if not few:
        st.info("There is nothing to draw: its source names no day, and no column has a few different values.")
    if day is None:
        _tell_of_days(declared)
    if not few:
        return
    name = address.chosen(st, "Count rows by", few, "by", selection.change)
    counted = frame[name].dropna().map(str).value_counts().rename_axis("value").reset_index(name="rows")
    newest = f", of {MOST:,} that were looked at" if len(frame) >= MOST else ""
    st.caption(wording.escaped(f"Rows by {name}: {counted['rows'].sum():,} in all{newest}."))
    bars = (
        alt.Chart(counted)
        .mark_bar()
        .encode(x=alt.X("rows:Q", title="rows"), y=alt.Y("value:N", title=None, sort="-x"), tooltip=["value", "rows"])
    )
    st.altair_chart(bars.properties(height=max(120, 26 * len(counted))), width="stretch")
