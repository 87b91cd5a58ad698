-- Row-level outliers: the statements that `anomalies.outliers` runs one after the other, in the gate's transaction.
-- A series is named by the columns by0, by1, … and has a number; `slot` is the hour of the day where that is the season, else 0.

-- name: forget_marks -- of an earlier attempt
UPDATE {staging} SET _anomalies = NULL WHERE _anomalies IS NOT NULL;

-- name: find_winners -- of the staged rows with one key the last in raw order, as publishing takes it; `fresh`: the curated table does not have it already
CREATE TEMPORARY TABLE anomaly_winners ON COMMIT DROP AS
SELECT s._seq, t._fingerprint IS NOT NULL AS known, t._fingerprint IS DISTINCT FROM s._fingerprint AS fresh
FROM (SELECT DISTINCT ON ({key}) {key}, _seq, _fingerprint FROM {staging} ORDER BY {key}, _seq DESC) AS s
LEFT JOIN {curated} AS t ON {same_key};

-- name: any_known
SELECT EXISTS (SELECT FROM anomaly_winners WHERE known);

-- name: find_rows -- staged readings; a reading without value, time or series is none
CREATE TEMPORARY TABLE anomaly_rows ON COMMIT DROP AS
SELECT s._seq, w.fresh, {by}, s.{time} AS time, {day} AS day, {slot} AS slot, {value} AS raw, {value} AS value
FROM {staging} AS s JOIN anomaly_winners AS w USING (_seq)
WHERE {value} IS NOT NULL AND {is_reading};

-- name: number_series -- comparing numbers instead of texts made the whole three times as fast
CREATE TEMPORARY TABLE anomaly_series ON COMMIT DROP AS
SELECT (row_number() OVER ())::integer AS series, {names} FROM (SELECT DISTINCT {names} FROM anomaly_rows WHERE fresh) AS named;

-- name: analyze_rows
ANALYZE anomaly_rows, anomaly_series;

-- name: days_of_rows
SELECT min(day), max(day) FROM anomaly_rows WHERE fresh;

-- name: find_changes -- every value of the series less the median of the three before it, which one odd value does not move
CREATE TEMPORARY TABLE anomaly_changes ON COMMIT DROP AS
SELECT series, slot, day, _seq, value - base AS value
FROM (
    SELECT series, slot, day, _seq, value,
           CASE WHEN third IS NOT NULL THEN greatest(least(first, second), least(greatest(first, second), third)) END AS base
    FROM (
        SELECT series, slot, day, _seq, value, lag(value) OVER earlier AS first,
               lag(value, 2) OVER earlier AS second, lag(value, 3) OVER earlier AS third
        FROM (
            SELECT n.series, r.slot, r.day, r.time, r._seq, r.value
            FROM anomaly_rows AS r JOIN anomaly_series AS n USING ({names})
            UNION ALL
            SELECT n.series, {slot}, {day}, s.{time}, NULL, {value}
            FROM {curated} AS s JOIN anomaly_series AS n ON ({by_values}) = ({series_names})
            WHERE s.{time} >= {start} AND s.{time} < {end_of_last} AND {value} IS NOT NULL AND {is_kept}
        ) AS readings
        WINDOW earlier AS (PARTITION BY series ORDER BY time, _seq NULLS FIRST)
    ) AS three
) AS based;

-- name: take_changes -- a reading without three before it keeps no value: it is not judged
UPDATE anomaly_rows AS r SET value = c.value FROM anomaly_changes AS c WHERE c._seq = r._seq;

-- name: find_history -- what of the series may be history, by day; a day of many readings is as many quantiles of them
CREATE TEMPORARY TABLE anomaly_days ON COMMIT DROP AS
SELECT series, slot, day, cardinality(values) AS readings,
       CASE WHEN cardinality(values) <= {most} THEN values
            ELSE (SELECT percentile_disc({fractions}) WITHIN GROUP (ORDER BY v) FROM unnest(values) AS v) END AS values
FROM (SELECT series, slot, day, array_agg(value) AS values
FROM (
    {history}
) AS readings
GROUP BY series, slot, day) AS gathered;

-- name: levels -- what find_history takes
SELECT n.series, r.slot, r.day, r.value FROM anomaly_rows AS r JOIN anomaly_series AS n USING ({names})
UNION ALL
SELECT n.series, {slot}, {day}, {value}
FROM {curated} AS s JOIN anomaly_series AS n ON ({by_values}) = ({series_names})
WHERE s.{time} >= {start} AND s.{time} < {end} AND {value} IS NOT NULL AND {is_kept}
  AND {slot} IN (SELECT slot FROM anomaly_rows WHERE fresh)

-- name: changes -- what find_history takes
SELECT series, slot, day, value FROM anomaly_changes
WHERE value IS NOT NULL AND slot IN (SELECT slot FROM anomaly_rows WHERE fresh)

-- name: index_days
CREATE INDEX ON anomaly_days (series, slot, day);

-- name: analyze_days
ANALYZE anomaly_days;

-- name: judge_rows -- every fresh row with what its history lets expect; no `median` where there is too little of it
CREATE TEMPORARY TABLE anomaly_scores ON COMMIT DROP AS
WITH wanted AS (
    SELECT DISTINCT n.series, r.slot, r.day FROM anomaly_rows AS r JOIN anomaly_series AS n USING ({names}) WHERE r.fresh
),
centred AS MATERIALIZED (
    SELECT w.series, w.slot, w.day, h.values, h.median, 1e-9 * abs(h.median) AS nothing
    FROM wanted AS w
    CROSS JOIN LATERAL (
        SELECT array_agg(v) AS values, percentile_cont(0.5) WITHIN GROUP (ORDER BY v) AS median,
               sum(d.readings::double precision / cardinality(d.values)) AS readings
        FROM anomaly_days AS d CROSS JOIN LATERAL unnest(d.values) AS v
        WHERE d.series = w.series AND d.slot = w.slot AND {is_history}
    ) AS h
    WHERE round(h.readings) >= %(minimum)s
),
measured AS (
    SELECT c.*, (SELECT percentile_cont(ARRAY[0.5, 0.9, 0.99]) WITHIN GROUP (ORDER BY abs(v - c.median)) FROM unnest(c.values) AS v) AS q
    FROM centred AS c
),
-- where most values are equal, the deviation that half of them do not exceed is 0: then that of nine tenths, then of 99
-- in 100, each over what it is for a standard normal distribution; where all are equal, the floor, or as good as nothing
spread AS (
    SELECT series, slot, day, median,
           CASE WHEN q[1] > nothing THEN q[1] / 0.67449 WHEN q[2] > nothing THEN q[2] / 1.64485
                WHEN q[3] > nothing THEN q[3] / 2.57583 ELSE 0 END AS spread
    FROM measured
),
judged AS (
    SELECT r._seq, r.raw, r.value, s.median,
           greatest(s.spread, %(floor)s, 1e-9 * greatest(abs(s.median), abs(r.value), abs(r.raw))) AS spread
    FROM anomaly_rows AS r
    JOIN anomaly_series AS n USING ({names})
    LEFT JOIN spread AS s ON s.series = n.series AND s.slot = r.slot AND s.day = r.day AND r.value IS NOT NULL
    WHERE r.fresh
)
SELECT _seq, raw AS value, raw - value + median AS median, spread, (value - median) / nullif(spread, 0) AS score, 0 AS stuck
FROM judged;

-- name: find_stuck -- how many equal values of its series in a row each fresh row ends, its own included
WITH bounds AS (SELECT {names}, min(time) AS first, max(time) AS last FROM anomaly_rows WHERE fresh GROUP BY {names}),
readings AS (
    SELECT {names}, time, raw AS value, _seq, fresh FROM anomaly_rows
    UNION ALL
    SELECT {bound_names}, before.time, before.value, NULL, false
    FROM bounds AS b
    CROSS JOIN LATERAL (
        SELECT s.{time} AS time, {value} AS value FROM {curated} AS s
        WHERE ({by_values}) = ({bound_names}) AND s.{time} < b.first AND s.{time} >= {start} AND {value} IS NOT NULL
          AND {is_kept}
        ORDER BY s.{time} DESC LIMIT %(stuck)s
    ) AS before
    UNION ALL
    SELECT {bound_names}, s.{time}, {value}, NULL, false
    FROM bounds AS b JOIN {curated} AS s ON ({by_values}) = ({bound_names}) AND s.{time} >= b.first AND s.{time} <= b.last
    WHERE {value} IS NOT NULL AND {is_kept}
),
changes AS (
    SELECT {names}, time, _seq, fresh,
           value IS DISTINCT FROM lag(value) OVER (PARTITION BY {names} ORDER BY time, _seq NULLS FIRST) AS changed
    FROM readings
),
islands AS (
    SELECT {names}, time, _seq, fresh, count(*) FILTER (WHERE changed) OVER (PARTITION BY {names} ORDER BY time, _seq NULLS FIRST) AS island
    FROM changes
),
counted AS (
    SELECT _seq, fresh, row_number() OVER (PARTITION BY {names}, island ORDER BY time, _seq NULLS FIRST) AS position
    FROM islands
)
UPDATE anomaly_scores AS a SET stuck = c.position FROM counted AS c
WHERE c.fresh AND c._seq = a._seq AND c.position >= %(stuck)s;

-- name: mark_outliers -- `stuck` is a run's length where that is what is wrong
UPDATE {staging} AS s
SET _anomalies = coalesce(s._anomalies, '[]'::jsonb) || jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
    'column', %(column)s::text, 'of', %(of)s::text, 'value', a.value, 'stuck', nullif(a.stuck, 0),
    'expected', {expected}, 'low', {low}, 'high', {high}, 'score', round(a.score::numeric, 2))))
FROM anomaly_scores AS a
WHERE a._seq = s._seq AND ({outlying} OR a.stuck > 0);

-- name: count_outliers -- rows, those with enough history, those that are too far from it, those that are stuck
SELECT count(*), count(median), count(*) FILTER (WHERE {outlying}), count(*) FILTER (WHERE stuck > 0) FROM anomaly_scores AS a;

-- name: extreme_outliers -- the farthest first, with their raw place
SELECT {shown}, a.value, {expected}, {low}, {high}, round(a.score::numeric, 1), a.stuck, {outlying}, o.key, (a._seq & {line_mask})::bigint
FROM anomaly_scores AS a
JOIN {staging} AS s USING (_seq)
LEFT JOIN pipeline.raw_objects AS o ON o.run_id = %(run_id)s AND o.part = (a._seq >> {line_bits})
WHERE {outlying} OR a.stuck > 0
ORDER BY ({outlying}) DESC, abs(a.score) DESC NULLS LAST, a.stuck DESC, a._seq
LIMIT %(limit)s;

-- name: drop_rows
DROP TABLE IF EXISTS pg_temp.anomaly_rows, pg_temp.anomaly_series, pg_temp.anomaly_changes, pg_temp.anomaly_days, pg_temp.anomaly_scores;
