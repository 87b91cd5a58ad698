-- name: latest -- the newest generation of a backfill
SELECT id, generation, started_at FROM pipeline.backfills
WHERE source = %(source)s AND first_day = %(first)s AND last_day = %(last)s AND every = %(every)s AND input = %(input)s
ORDER BY generation DESC LIMIT 1;

-- name: add -- no row: somebody else was faster
INSERT INTO pipeline.backfills (source, first_day, last_day, every, input, generation, started_by)
VALUES (%(source)s, %(first)s, %(last)s, %(every)s, %(input)s, %(generation)s, %(started_by)s)
ON CONFLICT DO NOTHING
RETURNING id, generation, started_at;

-- name: add_window
INSERT INTO pipeline.backfill_windows (backfill_id, number, window_start, window_end) VALUES %s;

-- name: hold -- whoever else takes windows of it waits until this transaction ends
SELECT FROM pipeline.backfills WHERE id = %(id)s FOR UPDATE;

-- name: settle_published -- windows that any run has published; of a backfill that does days again, since it began
UPDATE pipeline.backfill_windows AS w
SET status = CASE WHEN w.run_id = r.run_id THEN 'done' ELSE 'skipped' END, run_id = r.run_id, rows = r.fetched, error = NULL
FROM (
    SELECT DISTINCT ON (r.window_start, r.window_end) r.run_id, r.window_start, r.window_end, r.fetched
    FROM pipeline.runs AS r JOIN pipeline.backfills AS b
    ON r.source = b.source AND coalesce(r.input ->> 'input', '') = b.input
    AND (b.generation = 1 OR r.entered_at >= b.started_at)
    WHERE b.id = %(id)s AND r.published_at IS NOT NULL
    ORDER BY r.window_start, r.window_end, r.published_at DESC
) AS r
WHERE w.backfill_id = %(id)s AND w.window_start = r.window_start AND w.window_end = r.window_end
AND w.status IN ('waiting', 'failed', 'rejected');

-- name: wait_again -- those that failed
UPDATE pipeline.backfill_windows SET status = 'waiting' WHERE backfill_id = %(id)s AND status IN ('failed', 'rejected');

-- name: next_waiting
SELECT number, window_start, window_end, attempt FROM pipeline.backfill_windows
WHERE backfill_id = %(id)s AND status = 'waiting' ORDER BY number LIMIT 1;

-- name: take
UPDATE pipeline.backfill_windows SET status = 'running', attempt = %(attempt)s, run_id = %(run_id)s, error = NULL, told_at = NULL
WHERE backfill_id = %(id)s AND number = %(number)s;

-- name: finish -- a window that somebody else saw end stays as it is
UPDATE pipeline.backfill_windows SET status = %(status)s, rows = %(rows)s, error = %(error)s
WHERE backfill_id = %(id)s AND number = %(number)s AND status = 'running' AND run_id = %(run_id)s;

-- name: windows
SELECT number, window_start, window_end, status, attempt, run_id, rows, error FROM pipeline.backfill_windows
WHERE backfill_id = %(id)s AND (%(status)s::text[] IS NULL OR status = ANY(%(status)s)) ORDER BY number;

-- name: count_windows -- in one statement, so that windows and rows are those of one moment
SELECT w.status, count(*), coalesce(sum(CASE WHEN w.status = 'running'
    THEN (SELECT sum(c.records) FROM pipeline.chunks AS c WHERE c.run_id = w.run_id) ELSE w.rows END), 0)::bigint
FROM pipeline.backfill_windows AS w WHERE w.backfill_id = %(id)s GROUP BY w.status;

-- name: untold_warnings -- of windows that this backfill ran itself, but those that another command tells of just now; the runs of skipped ones told by themselves
SELECT w.number, w.window_start AS first, w.window_end AS last, w.run_id, r.fetched, r.quarantined,
       coalesce((SELECT array_agg(DISTINCT q.title) FROM pipeline.quality_results AS q
                 WHERE q.run_id = w.run_id AND NOT q.success), ARRAY[]::text[]) AS found
FROM pipeline.backfill_windows AS w JOIN pipeline.runs AS r USING (run_id)
WHERE w.backfill_id = %(id)s AND w.status = 'done' AND w.told_at IS NULL AND r.verdict = 'warn'
  AND (r.input ->> 'gather_warnings')::boolean
ORDER BY w.number FOR UPDATE OF w SKIP LOCKED;

-- name: told_warnings
UPDATE pipeline.backfill_windows SET told_at = now()
WHERE backfill_id = %(id)s AND number = ANY(%(numbers)s) AND told_at IS NULL;

-- name: list_backfills -- newest first
SELECT b.source, b.first_day, b.last_day, b.every, b.input, b.generation, b.started_by, b.started_at,
       count(*) AS windows,
       count(*) FILTER (WHERE w.status IN ('done', 'skipped')) AS done,
       count(*) FILTER (WHERE w.status = 'running') AS running,
       count(*) FILTER (WHERE w.status IN ('failed', 'rejected')) AS failed,
       count(*) FILTER (WHERE w.status = 'waiting') AS left,
       count(*) FILTER (WHERE w.status = 'done' AND r.verdict = 'warn') AS warned,
       coalesce(sum(w.rows), 0)::bigint AS rows
FROM pipeline.backfills AS b JOIN pipeline.backfill_windows AS w ON w.backfill_id = b.id
LEFT JOIN pipeline.runs AS r USING (run_id)
WHERE %(source)s::text IS NULL OR b.source = %(source)s
GROUP BY b.id ORDER BY b.id DESC LIMIT %(limit)s;
