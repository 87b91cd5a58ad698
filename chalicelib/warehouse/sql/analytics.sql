-- name: totals -- the tables that there are, by source; one that was dropped, or took another's name, has none
-- while it is counted, a table has no number, or no days
SELECT t.source, t.table_name AS table, CASE WHEN t.rows_known THEN t.rows END AS rows,
       CASE WHEN t.counting IS NULL THEN t.day_column END AS day, d.first_day, d.last_day
FROM pipeline.totals AS t
JOIN pg_class AS c ON c.oid = t.table_id AND c.relname = t.table_name
CROSS JOIN LATERAL (
    SELECT min(day)::text AS first_day, max(day)::text AS last_day
    FROM pipeline.totals_by_day WHERE table_id = t.table_id AND rows <> 0 AND t.counting IS NULL) AS d
WHERE %(source)s::text IS NULL OR t.source = %(source)s
ORDER BY t.source, t.table_name;

-- name: rows_by_day -- the newest days of each table
SELECT t.source, t.table_name AS table, d.day::text, d.rows
FROM pipeline.totals AS t
JOIN pg_class AS c ON c.oid = t.table_id AND c.relname = t.table_name
CROSS JOIN LATERAL (
    SELECT day, rows FROM pipeline.totals_by_day
    WHERE table_id = t.table_id AND rows <> 0 AND day IS NOT NULL AND t.counting IS NULL
      AND (%(first)s::date IS NULL OR day >= %(first)s::date) AND (%(last)s::date IS NULL OR day <= %(last)s::date)
    ORDER BY day DESC LIMIT %(most)s) AS d
WHERE %(source)s::text IS NULL OR t.source = %(source)s
ORDER BY t.source, t.table_name, d.day;

-- name: runs_by_day -- what became of the runs, of what they fetched, and of what was expected of it
SELECT source, (started_at AT TIME ZONE 'UTC')::date::text AS day, count(*) AS runs,
       count(*) FILTER (WHERE status IN ('published', 'succeeded')) AS published,
       count(*) FILTER (WHERE status = 'rejected') AS rejected, count(*) FILTER (WHERE status = 'failed') AS failed,
       coalesce(sum(fetched), 0)::bigint AS fetched, coalesce(sum(inserted), 0)::bigint AS inserted,
       coalesce(sum(updated), 0)::bigint AS updated, coalesce(sum(unchanged), 0)::bigint AS unchanged,
       coalesce(sum(duplicates), 0)::bigint AS duplicates, coalesce(sum(quarantined), 0)::bigint AS quarantined,
       count(verdict) AS judged, count(*) FILTER (WHERE verdict = 'pass') AS passed,
       count(*) FILTER (WHERE verdict = 'warn') AS warned,
       count(*) FILTER (WHERE verdict = 'fail') AS not_passed,
       coalesce(sum(expectations), 0)::bigint AS expectations, coalesce(sum(unmet), 0)::bigint AS unmet
FROM pipeline.runs
WHERE started_at BETWEEN %(begin)s AND %(until)s AND (%(source)s::text IS NULL OR source = %(source)s)
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: anomalies_by_day -- rows that were judged by their history, and those that were marked
SELECT r.source, (r.started_at AT TIME ZONE 'UTC')::date::text AS day, q.expectation AS anomaly,
       coalesce(sum(q.evaluated), 0)::bigint AS judged, coalesce(sum(q.unexpected), 0)::bigint AS marked
FROM pipeline.runs AS r JOIN pipeline.quality_results AS q USING (run_id)
WHERE r.started_at BETWEEN %(begin)s AND %(until)s AND q.type = 'anomaly'
  AND (%(source)s::text IS NULL OR r.source = %(source)s)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- name: unmet_expectations -- those that were not kept, the most often missed first; no anomalies, which are told apart
-- The last run of each is looked up at the end: gathered beside the sums it had all rows sorted, six times the work.
WITH missed AS (
    SELECT r.source, q.title, q.severity, count(*) AS judged, count(*) FILTER (WHERE NOT q.success) AS unmet,
           coalesce(sum(q.unexpected) FILTER (WHERE NOT q.success), 0)::bigint AS unexpected,
           max(r.started_at) FILTER (WHERE NOT q.success) AS last_started
    FROM pipeline.runs AS r JOIN pipeline.quality_results AS q USING (run_id)
    WHERE r.started_at BETWEEN %(begin)s AND %(until)s AND (%(source)s::text IS NULL OR r.source = %(source)s)
      AND q.type <> 'anomaly'
    GROUP BY r.source, q.title, q.severity HAVING bool_or(NOT q.success)
    ORDER BY unmet DESC, unexpected DESC, r.source, q.title LIMIT %(most)s
)
SELECT m.source, m.title, m.severity, m.judged, m.unmet, m.unexpected, l.run_id AS last_run
FROM missed AS m CROSS JOIN LATERAL (
    SELECT r.run_id FROM pipeline.runs AS r JOIN pipeline.quality_results AS q USING (run_id)
    WHERE r.source = m.source AND r.started_at = m.last_started
      AND q.title = m.title AND q.severity = m.severity AND NOT q.success AND q.type <> 'anomaly'
    ORDER BY r.run_id DESC LIMIT 1
) AS l
ORDER BY m.unmet DESC, m.unexpected DESC, m.source, m.title;
