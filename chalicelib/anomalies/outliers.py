"""Rows that are far from the trailing history of their series, found and marked in Postgres.

The history of a reading are the readings of its series in the days before its own day: those that this run brings, and
those in the curated table that it does not replace. The day itself is left out, so that every reading of a day is
judged by the same history, computed once, and nothing that came after a reading decides about it.

Measured on 2 cores with 100,000 staged rows of two days, 1,000,000 of history, see docs/quality.md.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from psycopg2 import sql

from chalicelib import personal
from chalicelib.anomalies.declaration import ABOVE, BELOW, BOTH, CHANGE, HOUR, WEEKDAY, YEARLY, Anomaly
from chalicelib.columns import Column
from chalicelib.lake.position import LINE_BITS
from chalicelib.quality import catalogue
from chalicelib.quality.results import ItemResult
from chalicelib.quality.rows import EXAMPLES, Example
from chalicelib.quality.suite import INFO
from chalicelib.quality.verdict import ANOMALY, NOTE, WARN, Finding, Observation
from chalicelib.redaction import MASK
from chalicelib.sources.base import Source
from chalicelib.warehouse import tables
from chalicelib.warehouse.publishing import WORK_MEM
from chalicelib.warehouse.queries import statement

# beyond this a value's square is no double any more; it is left out of every statistic
_LARGEST = "1e150"
_YEAR = 365.2425  # days
# values that a day, or an hour of it, keeps of a series: its quantiles stand for more. With 288 readings a day and no
# season, 24 made the whole four times as fast
_MOST_OF_A_DAY, _MOST_OF_AN_HOUR = 24, 8
_AROUND = 15  # days on either side of the same day of an earlier year

# `{s}` is the row's alias; a day is UTC's, whatever the session's time zone
_DAYS = {
    catalogue.DATE: "s.{time}",
    catalogue.TIMESTAMP: "s.{time}::date",
    catalogue.TIMESTAMPTZ: "(s.{time} AT TIME ZONE 'UTC')::date",
}
_HOURS = {
    catalogue.DATE: "0",
    catalogue.TIMESTAMP: "extract(hour FROM s.{time})::integer",
    catalogue.TIMESTAMPTZ: "extract(hour FROM s.{time} AT TIME ZONE 'UTC')::integer",
}
_SHOWN_TIMES = {
    catalogue.DATE: "s.{time}::text",
    catalogue.TIMESTAMP: "to_char(s.{time}, 'YYYY-MM-DD\"T\"HH24:MI:SS')",
    catalogue.TIMESTAMPTZ: "to_char(s.{time} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
}
_MIDNIGHTS = {
    catalogue.DATE: "{day}::date",
    catalogue.TIMESTAMP: "{day}::date::timestamp",
    catalogue.TIMESTAMPTZ: "{day}::date::timestamp AT TIME ZONE 'UTC'",
}
_OUTLYING = {BOTH: "abs(a.score) > {threshold}", ABOVE: "a.score > {threshold}", BELOW: "a.score < -{threshold}"}


@dataclass(frozen=True)
class Counts:
    """Of the rows that are new or changed and have a value: all, those with enough history, and those marked."""

    rows: int
    judged: int
    outlying: int
    stuck: int


def mark(cursor, source: Source, run_id: str) -> list[Observation]:
    """Mark the outlying rows of the run's staging table, and say what was found, per declared anomaly.

    Rows that the curated table has already, to the last value, are neither judged nor counted: they stay there as they
    are. Marking again replaces the marks. Does nothing for a source that declares none.
    """
    if not source.anomalies:
        return []
    staging, curated = tables.staging(source.table, run_id), tables.curated(source)
    cursor.execute("SELECT set_config('work_mem', %s, true)", (WORK_MEM,))
    cursor.execute(sql.SQL("ANALYZE {}").format(staging))
    cursor.execute(statement("anomalies", "forget_marks", staging=staging))
    cursor.execute("DROP TABLE IF EXISTS pg_temp.anomaly_winners")
    key = sql.SQL(", ").join(map(sql.Identifier, source.key))
    same_key = tables.equal("t", "s", source.key)
    cursor.execute(statement("anomalies", "find_winners", key=key, staging=staging, curated=curated, same_key=same_key))
    cursor.execute(statement("anomalies", "any_known"))
    any_known = cursor.fetchone()[0]
    found = [_Judgement(cursor, source, run_id, any_known, anomaly).observation() for anomaly in source.anomalies]
    cursor.execute(statement("anomalies", "drop_rows"))
    cursor.execute("DROP TABLE pg_temp.anomaly_winners")
    return found


class _Judgement:
    """One anomaly of one run: the pieces of its statements, and the statements one after the other."""

    def __init__(self, cursor, source: Source, run_id: str, any_known: bool, anomaly: Anomaly):
        self.cursor, self.source, self.run_id, self.anomaly = cursor, source, run_id, anomaly
        columns = {column.name: column for column in source.columns}
        self.family = catalogue.family(columns[anomaly.time].base)
        time, by = sql.Identifier(anomaly.time), anomaly.by
        staging, same_key = tables.staging(source.table, run_id), tables.equal("r", "s", source.key)
        # a table that is one series is that of a constant
        values = [sql.SQL("s.{}").format(sql.Identifier(name)) for name in by] or [sql.SQL("0")]
        names = [sql.Identifier(f"by{number}") for number in range(len(values))]
        is_reading = [sql.SQL("s.{} IS NOT NULL").format(sql.Identifier(name)) for name in (*by, anomaly.time)]
        most = _MOST_OF_AN_HOUR if anomaly.season == HOUR else _MOST_OF_A_DAY
        hours = _HOURS[self.family] if anomaly.season == HOUR else "0"
        self.pieces = {
            "staging": staging,
            "curated": tables.curated(source),
            "time": time,
            "day": sql.SQL(_DAYS[self.family]).format(time=time),
            "slot": sql.SQL(hours).format(time=time),
            "value": measurable(columns[anomaly.column], "s"),
            "by": _list(sql.SQL("{} AS {}").format(v, n) for v, n in zip(values, names, strict=True)),
            "by_values": _list(values),
            "names": _list(names),
            "bound_names": _list(sql.SQL("b.{}").format(name) for name in names),
            "is_reading": sql.SQL(" AND ").join(is_reading),
            # rows that this run replaces are no history
            "is_kept": sql.SQL("NOT EXISTS (SELECT FROM {} AS r WHERE {})").format(staging, same_key)
            if any_known
            else sql.SQL("true"),
            "series_names": _list(sql.SQL("n.{}").format(name) for name in names),
            "most": sql.Literal(most),
            "fractions": sql.SQL("ARRAY[{}]").format(_list(sql.Literal((i + 0.5) / most) for i in range(most))),
            "is_history": _is_history(anomaly),
            "shown": _list([*values, sql.SQL(_SHOWN_TIMES[self.family]).format(time=time)]),
            "line_bits": sql.Literal(LINE_BITS),
            "line_mask": sql.Literal((1 << LINE_BITS) - 1),
            **_bounds(anomaly),
        }

    def observation(self) -> Observation:
        self.cursor.execute(statement("anomalies", "drop_rows"))
        self._execute("find_rows")
        self._execute("number_series")
        self._execute("analyze_rows")
        self._execute("days_of_rows")
        first, last = self.cursor.fetchone()
        counts, examples = Counts(0, 0, 0, 0), ()
        if first is not None:
            self._judge(first, last)
            self._execute("count_outliers")
            counts = Counts(*self.cursor.fetchone())
        if counts.outlying or counts.stuck:
            self._execute("mark_outliers", column=self.anomaly.column, of=self.anomaly.of)
            self._execute("extreme_outliers", run_id=self.run_id, limit=EXAMPLES)
            examples = tuple(self._example(row) for row in self.cursor.fetchall())
        return _observation(self.anomaly, counts, examples)

    def _judge(self, first, last) -> None:
        anomaly = self.anomaly
        midnight = sql.SQL(_MIDNIGHTS[self.family])
        earliest = sql.SQL("({}::date - {})").format(sql.Literal(first), sql.Literal(anomaly.history_days))
        self.pieces["start"] = sql.SQL("({})").format(midnight.format(day=earliest))
        self.pieces["end"] = sql.SQL("({})").format(midnight.format(day=sql.Literal(last)))
        if anomaly.of == CHANGE:
            tomorrow = sql.SQL("({}::date + 1)").format(sql.Literal(last))
            self.pieces["end_of_last"] = sql.SQL("({})").format(midnight.format(day=tomorrow))
            self._execute("find_changes")
            self._execute("take_changes")
        self.pieces["history"] = statement("anomalies", "changes" if anomaly.of == CHANGE else "levels", **self.pieces)
        self._execute("find_history")
        self._execute("index_days")
        self._execute("analyze_days")
        self._execute("judge_rows", minimum=anomaly.minimum, floor=float(anomaly.floor))
        if anomaly.stuck:
            self._execute("find_stuck", stuck=anomaly.stuck)

    def _execute(self, name: str, **values) -> None:
        self.cursor.execute(statement("anomalies", name, **self.pieces), values)

    def _example(self, row: tuple) -> Example:
        anomaly = self.anomaly
        series, (time, value, expected, low, high, score, stuck, outlying, raw, line) = row[:-10], row[-10:]
        hidden = personal.names(self.source.columns)
        # a source without `by` is one series, of a constant
        names = [f"{name} {MASK if name in hidden else shown}" for name, shown in zip(anomaly.by, series, strict=False)]
        moment = MASK if anomaly.time in hidden else time
        told = f"{', '.join([*names, moment])}: {anomaly.column} is "
        told += MASK if anomaly.column in hidden else _number(value)
        if outlying and anomaly.column not in hidden:
            told += f", expected about {_number(expected)} ({_range(low, high)})"
        told += f", {abs(score):g} spreads away" if outlying else f", {stuck} times in a row"
        return Example(told, raw=raw, line=line)


def measurable(column: Column, alias: str) -> sql.Composable:
    """A numeric column's value as a double, null where it is too large to calculate with."""
    name = sql.SQL("{}.{}").format(sql.Identifier(alias), sql.Identifier(column.name))
    if column.base in ("smallint", "integer", "bigint"):
        return sql.SQL("{}::double precision").format(name)
    return sql.SQL(f"CASE WHEN {{0}} BETWEEN '-{_LARGEST}' AND '{_LARGEST}' THEN {{0}}::double precision END").format(
        name
    )


def _is_history(anomaly: Anomaly) -> sql.Composable:
    """That the readings of the day `d.day` are history of those of the day `w.day`."""
    days = sql.Literal(anomaly.history_days)
    within = sql.SQL("d.day >= w.day - {days} AND d.day < w.day").format(days=days)
    if anomaly.season == WEEKDAY:
        return sql.SQL("{} AND mod(w.day - d.day, 7) = 0").format(within)
    if anomaly.season == YEARLY:
        return sql.SQL("{} AND abs(w.day - d.day - round((w.day - d.day) / {year}) * {year}) < {around}").format(
            within, year=sql.Literal(_YEAR), around=sql.Literal(_AROUND + 0.5)
        )
    return within


def _bounds(anomaly: Anomaly) -> dict[str, sql.Composable]:
    """What is outlying, and the range around the median, to two digits below the spread's magnitude."""
    threshold = sql.Literal(float(anomaly.threshold))
    rounded = "round(({})::numeric, 2 - floor(log(a.spread::numeric))::integer)"
    low, high = (f"a.median {sign} {{threshold}} * a.spread" for sign in "-+")
    # a row that is only stuck may have no history
    guarded = "CASE WHEN a.spread > 0 THEN {} END"
    return {
        "outlying": sql.SQL(f"coalesce({_OUTLYING[anomaly.direction]}, false)").format(threshold=threshold),
        "expected": sql.SQL(guarded.format(rounded.format("a.median"))),
        "low": sql.SQL("NULL::numeric" if anomaly.direction == ABOVE else guarded.format(rounded.format(low))).format(
            threshold=threshold
        ),
        "high": sql.SQL("NULL::numeric" if anomaly.direction == BELOW else guarded.format(rounded.format(high))).format(
            threshold=threshold
        ),
    }


def _observation(anomaly: Anomaly, counts: Counts, examples: tuple[Example, ...]) -> Observation:
    column, name = anomaly.column, f"{ANOMALY} {anomaly.column}"
    if anomaly.of == CHANGE:
        column, name = f"change of {column}", f"{name} {CHANGE}"
    level = NOTE if anomaly.severity == INFO else WARN
    usual = f"within {anomaly.threshold:g} spreads of its {_history(anomaly)}"
    findings, told = [], []
    if counts.outlying:
        told.append(f"{counts.outlying:,} of {counts.judged:,} rows judged stand out")
        text, share = f"{told[-1]}: {column}, expected {usual}", counts.outlying / counts.judged
        findings.append(Finding(level, ANOMALY, text, counts.outlying, share, False, name, examples))
    if counts.stuck:
        told.append(f"{counts.stuck:,} of {counts.rows:,} rows repeat a stuck value")
        text = f"{told[-1]}: {anomaly.column}, {anomaly.stuck} times in a row or more"
        shown = () if counts.outlying else examples
        findings.append(Finding(level, ANOMALY, text, counts.stuck, counts.stuck / counts.rows, False, name, shown))
    unjudged = counts.rows - counts.judged
    if unjudged:
        told.append(f"{unjudged:,} of {counts.rows:,} rows not judged")
        text = f"{told[-1]}: {column}, fewer than {anomaly.minimum} values in their history"
        findings.append(Finding(NOTE, ANOMALY, text, unjudged, unjudged / counts.rows, False, name))
    result = ItemResult(
        id=name,
        type=ANOMALY,
        severity=anomaly.severity,
        scope=catalogue.ROW,
        title=f"{column}: {usual}",
        success=not (counts.outlying or counts.stuck),
        text="; ".join(told) or f"none of {counts.judged:,} rows judged stands out",
        evaluated=counts.judged,
        unexpected=counts.outlying,
        examples=examples,
    )
    return Observation(result, tuple(findings))


def _history(anomaly: Anomaly) -> str:
    seasons = {
        HOUR: f"last {anomaly.history_days} days at the same hour",
        WEEKDAY: f"last {anomaly.history_days} days on the same weekday",
        YEARLY: f"last {anomaly.history_days} days around the same day of the year",
    }
    return seasons.get(anomaly.season, f"last {anomaly.history_days} days")


def _range(low, high) -> str:
    if low is None or high is None:
        return f"at most {_number(high)}" if low is None else f"at least {_number(low)}"
    return f"{_number(low)} to {_number(high)}"


def _number(value) -> str:
    return catalogue.number(float(value))


def _list(parts) -> sql.Composable:
    return sql.SQL(", ").join(itertools.chain(parts))
