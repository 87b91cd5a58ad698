-- name: lock -- one publisher at a time for a table, whatever the run
SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 0));

-- name: estimated_keys -- (rows, keys) by the statistics: all combinations of the values of each column, as the planner's own estimate takes keys of several columns for a tenth of the rows
SELECT c.reltuples, coalesce(exp(sum(ln(CASE WHEN s.n_distinct < 0 THEN -s.n_distinct * c.reltuples ELSE greatest(s.n_distinct, 1) END))), 0)
FROM pg_class AS c LEFT JOIN pg_stats AS s
    ON s.schemaname = c.relnamespace::regnamespace::text AND s.tablename = c.relname AND s.attname = ANY(%(key)s)
WHERE c.oid = to_regclass(%(table)s) AND c.reltuples > 0
GROUP BY c.reltuples;

-- name: drop_superseded -- of rows with the same key the last in raw order stays; the others are duplicates
DELETE FROM {staging} AS s
USING (SELECT {key}, max(_seq) AS _last FROM {staging} GROUP BY {key} HAVING count(*) > 1) AS d
WHERE {same_key} AND s._seq < d._last;

-- name: share_memory -- among the processes of a parallel plan; and rows cost nothing to hand over: the planner takes all of them to come again, of which few do
SELECT set_config('parallel_tuple_cost', '0', true), set_config('work_mem',
    pg_size_bytes(current_setting('work_mem')) / 1024 / (1 + current_setting('max_parallel_workers_per_gather')::int) || 'kB', true);

-- name: find_superseded -- the places of those rows. Any other row with the key ends the search for it, so that a key with many rows is no more work than many keys; which of them is the last is asked of those that were found
CREATE UNLOGGED TABLE {found} AS
SELECT place FROM (
    SELECT s.ctid AS place, s._seq, max(s._seq) OVER (PARTITION BY {key}) AS last
    FROM {staging} AS s
    WHERE EXISTS (SELECT FROM {staging} AS d WHERE {same_key} AND d._seq <> s._seq)
) AS again
WHERE _seq < last;

-- name: drop_found -- by an array: as a join the planner reads all rows for it
DELETE FROM {staging} WHERE ctid = ANY (ARRAY(SELECT place FROM {found}));

-- name: forget_found
DROP TABLE {found};

-- name: count_staged -- as `count_unchanged`, where the curated table is empty
SELECT count(*), 0 FROM {staging};

-- name: count_unchanged -- (all rows of staging, those that the curated table has already, to the last value)
SELECT count(*), count(t._fingerprint)
FROM {staging} AS s LEFT JOIN {curated} AS t ON {same_key_curated} AND t._fingerprint = s._fingerprint;

-- name: later -- the runs that are published already and have rows with a place after this one's, or after its first; whether rows of either have places of their own
SELECT r.run_id, coalesce(r.fetched_entry, mine.fetched_entry) IS NOT NULL
FROM pipeline.runs AS r, pipeline.runs AS mine
WHERE mine.run_id = %(run_id)s AND r.run_id <> mine.run_id AND r.table_name = %(table)s AND r.published_at IS NOT NULL
  AND (r.entry > mine.entry OR r.fetched_entry > mine.entry);

-- name: drop_overtaken -- rows of which such a run has published another version: that one stays, ours are duplicates
DELETE FROM {staging} AS s
USING {curated} AS t
WHERE {same_key_curated} AND t._fingerprint <> s._fingerprint AND t._run_id = ANY(%(later)s::text[]) AND (
    NOT %(mixed)s
    OR pipeline.place(t._run_id, split_part(t._raw, ':', 1)::integer) > pipeline.place(%(run_id)s, (s._seq >> {bits})::integer)
);

-- name: drop_older -- rows of a replay of which the table has another version that stays: the original run's own from a later line; what something other than a run has written since; and what a later run has found as it is that asked for all of that day, or for the same part of it
DELETE FROM {staging} AS s
USING {curated} AS t, pipeline.runs AS original
WHERE original.run_id = %(replay_of)s AND {same_key_curated} AND t._fingerprint <> s._fingerprint AND (
    (t._run_id IN (SELECT run_id FROM pipeline.runs WHERE run_id = original.run_id OR replay_of = original.run_id)
     AND (split_part(t._raw, ':', 1)::bigint << {bits} | split_part(t._raw, ':', 2)::bigint) > s._seq)
    OR (t._loaded_at > original.published_at AND t._run_id NOT IN (SELECT run_id FROM pipeline.runs))
    OR EXISTS (
        SELECT FROM pipeline.runs AS later
        WHERE later.table_name = original.table_name AND later.published_at IS NOT NULL
          AND later.entry > original.entry
          AND coalesce(later.input ->> 'input' = original.input ->> 'input', later.input ->> 'input' IS NULL)
          AND {day} BETWEEN later.window_start AND later.window_end
    )
);

-- name: places -- of this run's rows: (entry, the parts that have it, null for all)
SELECT entry, NULL::integer[] FROM pipeline.runs WHERE run_id = %(run_id)s AND fetched_entry IS NULL
UNION ALL
SELECT pipeline.place(r.run_id, o.part), array_agg(o.part)
FROM pipeline.runs AS r JOIN pipeline.raw_objects AS o ON o.run_id = coalesce(r.replay_of, r.run_id)
WHERE r.run_id = %(run_id)s AND r.fetched_entry IS NOT NULL GROUP BY 1;

-- name: open_before -- the newest place before this one at which a run may still publish rows, null for none: one under way, for a day at most, as its execution (a replay was entered long before it started), and one that failed or was rejected, as the run that redrives it has its entry
SELECT max(place) FROM pipeline.runs AS r CROSS JOIN LATERAL (VALUES (r.entry), (r.fetched_entry)) AS of_its_rows (place)
WHERE table_name = %(table)s AND place < %(place)s AND run_id <> %(run_id)s AND (
    status = 'running' AND greatest(entered_at, started_at) > now() - interval '25 hours'
    OR status IN ('failed', 'rejected') AND NOT EXISTS (
        SELECT FROM pipeline.runs AS p WHERE p.table_name = %(table)s AND p.entry = r.entry AND p.published_at IS NOT NULL
    )
);

-- name: confirm_unchanged -- rows that this run found as they were are its own from now on, where a run that is open would not find them taken
UPDATE {curated} AS t SET _run_id = %(run_id)s, _raw = {raw}
FROM {staging} AS s
WHERE {same_key_curated} AND t._fingerprint = s._fingerprint
  AND (%(parts)s::integer[] IS NULL OR (s._seq >> {bits})::integer = ANY(%(parts)s))
  AND t._run_id NOT IN (SELECT run_id FROM pipeline.runs WHERE table_name = %(table)s AND entry > %(open)s)
  AND NOT (
      t._run_id IN (SELECT run_id FROM pipeline.runs WHERE table_name = %(table)s AND fetched_entry > %(open)s)
      AND pipeline.place(t._run_id, split_part(t._raw, ':', 1)::integer) > %(open)s
  );

-- name: confirm_set_aside -- as `confirm_unchanged`, rows of which a row with the same key was set aside since they were written: its replay would find them older. Only forwards: of two rows of one run, or of its replays, the later line is the newer one
WITH set_aside AS MATERIALIZED (
    SELECT q.key, max(greatest(r.entry, r.fetched_entry)) AS entry
    FROM pipeline.quarantine AS q JOIN pipeline.runs AS r ON r.run_id = q.run_id
    WHERE r.table_name = %(table)s AND (r.published_at IS NOT NULL OR r.run_id = %(run_id)s)
      AND q.key IS NOT NULL AND q.outcome IS NULL AND q.replay_of IS NULL
    GROUP BY q.key
), older AS MATERIALIZED (
    SELECT t.ctid AS place, t._raw, t._loaded_at, f.run_id, f.entry, f.fetched_entry, coalesce(f.replay_of, f.run_id) AS original
    FROM set_aside AS a JOIN {curated} AS t ON {key_set_aside} LEFT JOIN pipeline.runs AS f ON f.run_id = t._run_id
    WHERE t._run_id <> %(run_id)s AND coalesce(f.entry, 0) <= a.entry
)
UPDATE {curated} AS t SET _run_id = %(run_id)s, _raw = {raw}
FROM {staging} AS s, older AS o, pipeline.runs AS mine LEFT JOIN pipeline.runs AS replayed ON replayed.run_id = mine.replay_of
WHERE mine.run_id = %(run_id)s AND t.ctid = o.place AND {same_key_curated} AND t._fingerprint = s._fingerprint
  AND CASE
      WHEN o.run_id IS NULL THEN mine.replay_of IS NULL OR o._loaded_at <= replayed.published_at  -- written by something other than a run
      WHEN o.original = coalesce(mine.replay_of, mine.run_id)
      THEN (split_part(o._raw, ':', 1)::bigint << {bits} | split_part(o._raw, ':', 2)::bigint) < s._seq
      WHEN o.fetched_entry IS NULL AND mine.fetched_entry IS NULL THEN o.entry <= mine.entry
      ELSE pipeline.place(o.run_id, split_part(o._raw, ':', 1)::integer) <= pipeline.place(mine.run_id, (s._seq >> {bits})::integer)
  END;

-- name: merge -- (action, rows): insert new keys, update those that differ, leave the rest alone
WITH merged AS (
    MERGE INTO {curated} AS t
    USING {staging} AS s
    ON {same_key_curated}
    WHEN MATCHED AND t._fingerprint <> s._fingerprint THEN
        UPDATE SET {assignments}_run_id = %(run_id)s, _raw = {raw}, _fingerprint = s._fingerprint, _loaded_at = now()
    WHEN NOT MATCHED THEN
        INSERT ({columns}, _run_id, _raw, _fingerprint, _loaded_at)
        VALUES ({values}, %(run_id)s, {raw}, s._fingerprint, now())
    RETURNING merge_action() AS action
)
SELECT action, count(*) FROM merged GROUP BY action;

-- name: key_constraint -- (name, definition) of a table's key; none where change streams know its rows by the key's index
SELECT c.conname, pg_get_constraintdef(c.oid)
FROM pg_constraint AS c JOIN pg_class AS t ON t.oid = c.conrelid
WHERE c.contype = 'p' AND t.relreplident <> 'i' AND t.oid = to_regclass(%(table)s);

-- name: holds_rows
SELECT EXISTS (SELECT FROM {curated});

-- name: insert -- all rows, into a table that is empty
INSERT INTO {curated} ({columns}, _run_id, _raw, _fingerprint, _loaded_at)
SELECT {values}, %(run_id)s, {raw}, s._fingerprint, now() FROM {staging} AS s;
