-- name: open_run -- a run started again after it was lost finds its own row, from then on without its code: of what it leaves of its chunks nobody knows which start left it; none comes back where that is of this execution, or the name is taken
INSERT INTO pipeline.runs (run_id, source, table_name, execution, input, status, window_start, window_end, by_cursor, started_at, code)
VALUES (%(run_id)s, %(source)s, %(table)s, %(execution)s, %(input)s, 'running', %(window_start)s, %(window_end)s, %(by_cursor)s, %(started_at)s, %(code)s)
ON CONFLICT (run_id) DO UPDATE
SET table_name = excluded.table_name, execution = excluded.execution, window_start = excluded.window_start,
    window_end = excluded.window_end, by_cursor = excluded.by_cursor, started_at = excluded.started_at,
    entered_at = clock_timestamp(), entry = excluded.entry, fetched_entry = NULL, code = NULL,
    status = 'running', verdict = NULL, fetched = NULL, quarantined = NULL, report_key = NULL, error = NULL, finished_at = NULL
WHERE runs.published_at IS NULL AND runs.source = excluded.source AND runs.input = excluded.input
  AND runs.started_at < excluded.started_at
RETURNING window_start::text, window_end::text, by_cursor;

-- name: opened_run -- by an earlier attempt of this execution: what that entered stays, whichever of them is heard
SELECT window_start::text, window_end::text, by_cursor FROM pipeline.runs
WHERE run_id = %(run_id)s AND source = %(source)s AND input = %(input)s AND started_at = %(started_at)s AND status = 'running';

-- name: hold_run -- who would end the run waits until this transaction ends; no row: it has ended
SELECT FROM pipeline.runs WHERE run_id = %(run_id)s AND status = 'running' FOR UPDATE;

-- name: forget_chunks -- what an earlier attempt at the run loaded; its staging table is made anew
DELETE FROM pipeline.chunks WHERE run_id = %(run_id)s;

-- name: forget_quarantine
DELETE FROM pipeline.quarantine WHERE run_id = %(run_id)s;

-- name: forget_quality_results
DELETE FROM pipeline.quality_results WHERE run_id = %(run_id)s;

-- name: enter_redrive -- in the place of the run that fetched what it keeps: what was entered since is newer than that. Done twice, the place of what it fetches itself is still the one at which it was entered
UPDATE pipeline.runs SET redrive_of = %(failed)s, entered_at = coalesce(%(entered_at)s::timestamptz, entered_at),
    entry = coalesce(%(entry)s::bigint, entry), fetched_entry = CASE WHEN %(entry)s::bigint IS NOT NULL THEN coalesce(fetched_entry, entry) END
WHERE run_id = %(run_id)s;

-- name: redriven -- a run, the one that it redrives, and so on; by the input, which also a run has that failed before it was entered
WITH RECURSIVE chain AS (
    SELECT r.*, 1 AS depth FROM pipeline.runs AS r WHERE r.run_id = %(run_id)s
    UNION ALL
    SELECT r.*, depth + 1 FROM chain AS c JOIN pipeline.runs AS r ON r.run_id = c.input ->> 'redrive' WHERE depth < 99
)
SELECT * FROM chain ORDER BY depth;

-- name: earlier_runs -- that the run may take chunks over from: those that it redrives, then the newest that succeeded; with their raw objects
WITH RECURSIVE this AS (
    SELECT * FROM pipeline.runs WHERE run_id = %(run_id)s AND replay_of IS NULL
),
chain AS (
    SELECT r.run_id, r.code, r.input, 1 AS depth FROM this JOIN pipeline.runs AS r ON r.run_id = this.redrive_of
    UNION ALL
    SELECT r.run_id, r.code, r.input, depth + 1 FROM chain AS c JOIN pipeline.runs AS r ON r.run_id = c.input ->> 'redrive' WHERE depth < 99
),
newest AS (
    SELECT r.run_id, r.code, 100 AS depth FROM this JOIN pipeline.runs AS r ON r.source = this.source AND r.table_name = this.table_name
    WHERE r.status = 'succeeded' AND r.replay_of IS NULL AND coalesce(this.input -> 'from_scratch' <> 'true', true)
    ORDER BY r.started_at DESC, r.run_id DESC LIMIT 1
)
SELECT e.run_id, e.depth < 100 AS redriven,
       (SELECT jsonb_agg(jsonb_build_array(o.part, o.bytes, o.sha256)) FROM pipeline.raw_objects AS o WHERE o.run_id = e.run_id) AS objects
FROM (SELECT run_id, code, depth FROM chain UNION ALL SELECT * FROM newest) AS e JOIN this ON this.code = e.code
ORDER BY e.depth;

-- name: raw_keys -- of the raw objects of a run
SELECT key FROM pipeline.raw_objects WHERE run_id = %(run_id)s;

-- name: count_kept
UPDATE pipeline.runs SET kept_of = %(kept_of)s, kept_partitions = %(partitions)s, kept_chunks = %(chunks)s WHERE run_id = %(run_id)s;

-- name: newest_failures -- of each thing that was asked for, its newest run where that failed; replays have their own way
SELECT run_id FROM (
    SELECT DISTINCT ON (source, what) run_id, source, status, started_at
    FROM (
        SELECT run_id, source, status, started_at, pipeline.asked(input) AS what FROM pipeline.runs
        WHERE replay_of IS NULL AND input ->> 'replay' IS NULL AND (%(source)s::text IS NULL OR source = %(source)s)
    ) AS asked
    ORDER BY source, what, started_at DESC, run_id DESC
) AS newest
WHERE status = 'failed'
ORDER BY started_at, run_id;

-- name: settled_by -- the run that settled one that failed or was rejected
SELECT pipeline.settled_by(%(run_id)s) AS run_id;

-- name: get_run
SELECT * FROM pipeline.runs WHERE run_id = %(run_id)s;

-- name: list_runs -- newest first; `start` and `end` are the first and the last day on which they were started
SELECT *, pipeline.settled_by(run_id) AS settled_by FROM pipeline.runs
WHERE (%(source)s::text IS NULL OR source = %(source)s) AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(verdict)s::text IS NULL OR verdict = %(verdict)s)
  AND (%(start)s::date IS NULL OR started_at >= %(start)s::date) AND (%(end)s::date IS NULL OR started_at < %(end)s::date + 1)
  AND (%(before)s::timestamptz IS NULL OR (started_at, run_id) < (%(before)s::timestamptz, %(before_run)s))
ORDER BY started_at DESC, run_id DESC LIMIT %(limit)s;

-- name: last_runs -- of each of the sources: one look into the index for each, however many runs there are
SELECT r.*, pipeline.settled_by(r.run_id) AS settled_by FROM unnest(%(sources)s::text[]) AS s (name) CROSS JOIN LATERAL (
    SELECT * FROM pipeline.runs WHERE source = s.name ORDER BY started_at DESC, run_id DESC LIMIT 1
) AS r;

-- name: quality_results -- of a run
SELECT expectation, type, title, severity, success, evaluated, unexpected, observed, examples FROM pipeline.quality_results
WHERE run_id = %(run_id)s ORDER BY success, severity, type, expectation;

-- name: chunk_counts -- of a run's chunks that are loaded, together
SELECT count(*) AS loaded, coalesce(sum(records), 0)::bigint AS records, coalesce(sum(staged), 0)::bigint AS staged,
       coalesce(sum(quarantined), 0)::bigint AS quarantined
FROM pipeline.chunks WHERE run_id = %(run_id)s;

-- name: add_raw_object
INSERT INTO pipeline.raw_objects (run_id, part, key, bytes, sha256, format, delimiter, request)
VALUES %s
ON CONFLICT (run_id, part) DO UPDATE
SET key = excluded.key, bytes = excluded.bytes, sha256 = excluded.sha256,
    format = excluded.format, delimiter = excluded.delimiter, request = excluded.request;

-- name: add_chunk -- nothing happens where the chunk was loaded before
INSERT INTO pipeline.chunks (run_id, chunk, records, staged, quarantined, results)
VALUES (%(run_id)s, %(chunk)s, %(records)s, %(staged)s, %(quarantined)s, %(results)s)
ON CONFLICT (run_id, chunk) DO NOTHING;

-- name: chunks -- what the run's chunks counted
SELECT chunk, records, staged, quarantined, results FROM pipeline.chunks WHERE run_id = %(run_id)s ORDER BY chunk;

-- name: rows_so_far
SELECT coalesce(sum(records), 0)::bigint FROM pipeline.chunks WHERE run_id = %(run_id)s;

-- name: count_quarantined
SELECT count(*) FROM pipeline.quarantine WHERE run_id = %(run_id)s;

-- name: add_quality_result
INSERT INTO pipeline.quality_results (run_id, expectation, type, title, severity, success, evaluated, unexpected, observed)
VALUES %s
ON CONFLICT (run_id, expectation) DO UPDATE
SET success = excluded.success, evaluated = excluded.evaluated, unexpected = excluded.unexpected, observed = excluded.observed;

-- name: count_quality_results -- anomalies are counted in rows instead
UPDATE pipeline.runs AS r SET expectations = q.expectations, unmet = q.unmet
FROM (SELECT count(*) AS expectations, count(*) FILTER (WHERE NOT success) AS unmet
      FROM pipeline.quality_results WHERE run_id = %(run_id)s AND type <> 'anomaly') AS q
WHERE r.run_id = %(run_id)s;

-- name: add_examples
UPDATE pipeline.quality_results SET examples = %(examples)s WHERE run_id = %(run_id)s AND expectation = %(expectation)s;

-- name: judge_run -- `error` is why it is about to be rejected; one that has ended keeps its own, whoever is late
UPDATE pipeline.runs SET verdict = %(verdict)s, report_key = %(report_key)s, fetched = %(fetched)s, quarantined = %(quarantined)s,
    error = CASE WHEN finished_at IS NULL THEN %(error)s ELSE error END
WHERE run_id = %(run_id)s;

-- name: publish_run -- closes the account; the table refuses one that does not balance; no row: the run has ended
UPDATE pipeline.runs
SET status = 'published', verdict = %(verdict)s, fetched = %(fetched)s, inserted = %(inserted)s, updated = %(updated)s,
    unchanged = %(unchanged)s, duplicates = %(duplicates)s, quarantined = %(quarantined)s, published_at = now()
WHERE run_id = %(run_id)s AND status = 'running'
RETURNING source, window_start, window_end, by_cursor, coalesce(input -> 'allow_gap' = 'true', false);

-- name: reject_run -- where other code began it, nobody can say that it would be so again: it has none from then on; no row: it has ended
UPDATE pipeline.runs SET status = 'rejected', code = CASE WHEN code = %(code)s THEN code END, finished_at = now() WHERE run_id = %(run_id)s AND status = 'running';

-- name: complete_run -- no row: it has ended
UPDATE pipeline.runs SET status = 'succeeded', embedded = %(embedded)s, finished_at = now()
WHERE run_id = %(run_id)s AND status = 'published';

-- name: fail_run -- also for a run that failed before it was entered, since `started_at` where that is known; one that is finished stays what it is
INSERT INTO pipeline.runs (run_id, source, execution, input, status, error, started_at, finished_at)
VALUES (%(run_id)s, %(source)s, %(execution)s, %(input)s, 'failed', %(error)s, least(coalesce(%(started_at)s::timestamptz, now()), now()), now())
ON CONFLICT (run_id) DO UPDATE SET status = 'failed', error = excluded.error, finished_at = now()
WHERE runs.finished_at IS NULL;

-- name: failed_expectations
SELECT expectation, type, title, severity, evaluated, unexpected, observed, examples FROM pipeline.quality_results
WHERE run_id = %(run_id)s AND NOT success ORDER BY severity, type;

-- name: quarantine_reasons -- why rows were set aside, most frequent first, with the first raw record of each; records are read for the examples alone
-- Where one reason covers several messages, the first one's value is given as an example.
WITH abstracted AS (
    SELECT q.id, q.part, q.line, reason ->> 'kind' AS kind, reason ->> 'column' AS col, reason ->> 'message' AS message,
           pipeline.why(reason) AS why
    FROM pipeline.quarantine AS q CROSS JOIN jsonb_array_elements(q.reasons) AS reason
    WHERE q.run_id = %(run_id)s
),
counted AS (
    SELECT kind, col, why, count(*) AS rows, min(message) <> max(message) AS varies FROM abstracted GROUP BY kind, col, why
),
examples AS (SELECT DISTINCT ON (kind, col, why) * FROM abstracted ORDER BY kind, col, why, part, line)
SELECT e.kind, c.rows, CASE
    WHEN NOT c.varies THEN e.message
    WHEN starts_with(e.message, e.col || ' is ') THEN format('%%s is e.g. %%s', e.col, substr(e.message, length(e.col || ' is ') + 1))
    ELSE 'e.g. ' || e.message
END AS message, q.record, e.line, o.key
FROM counted AS c
JOIN examples AS e ON e.kind = c.kind AND e.why = c.why AND e.col IS NOT DISTINCT FROM c.col
JOIN pipeline.quarantine AS q USING (id)
JOIN pipeline.raw_objects AS o ON o.run_id = q.run_id AND o.part = q.part
ORDER BY c.rows DESC, e.part, e.line;

-- name: raw_only -- fields that no column takes, and in how many records they have a value, most first
SELECT seen ->> 'name' AS field, sum((seen ->> 'records')::bigint)::bigint AS records
FROM pipeline.chunks, jsonb_array_elements(results -> 'schema' -> 'observed' -> 'unknown') AS seen
WHERE run_id = %(run_id)s GROUP BY 1 ORDER BY 2 DESC, 1;
