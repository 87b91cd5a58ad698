-- Rows that were set aside. One that failed again is a row of the replay too, with `replay_of`: what it failed there for
-- stays with that run; lists and counts mean the original one.

-- name: matching -- a part of other statements
q.replay_of IS NULL
AND (%(ids)s::bigint[] IS NULL OR q.id = ANY(%(ids)s))
AND (%(run_id)s::text IS NULL OR q.run_id = coalesce(
    (SELECT replay_of FROM pipeline.runs WHERE run_id = %(run_id)s), %(run_id)s  -- a replay has the rows of its original
))
AND (%(source)s::text IS NULL OR q.source = %(source)s)
AND (%(since)s::date IS NULL OR q.added_at >= %(since)s)
AND (%(state)s::text IS NULL OR q.state = %(state)s)
AND (%(reason)s::text IS NULL OR EXISTS (
    SELECT FROM jsonb_array_elements(q.reasons) AS reason
    WHERE %(reason)s IN (reason ->> 'expectation', reason ->> 'kind', reason ->> 'column')
       OR strpos(lower(reason ->> 'message'), lower(%(reason)s)) > 0
))

-- name: list_rows -- newest first
SELECT q.id, q.run_id, q.source, o.key AS raw, q.line, q.state, q.reasons, q.record, q.added_at, q.replays,
       q.settled_by, q.settled_at, q.why, r.status AS run_status, r.published_at IS NOT NULL AS replayable
FROM pipeline.quarantine AS q
JOIN pipeline.runs AS r ON r.run_id = q.run_id
LEFT JOIN pipeline.raw_objects AS o ON o.run_id = q.run_id AND o.part = q.part
WHERE {matching} AND (%(before)s::bigint IS NULL OR q.id < %(before)s)
ORDER BY q.id DESC LIMIT %(limit)s;

-- name: attempts -- of one row: what it failed for each time it was replayed, oldest first
SELECT a.run_id, a.added_at, a.reasons FROM pipeline.quarantine AS a WHERE a.replay_of = %(id)s ORDER BY a.id;

-- name: count_reasons -- why the rows were set aside, most frequent first, with one message of each reason
SELECT reason ->> 'kind' AS kind, reason ->> 'column' AS column, min(reason ->> 'expectation') AS expectation,
       min(reason ->> 'message') AS example, count(*) AS rows
FROM pipeline.quarantine AS q CROSS JOIN jsonb_array_elements(q.reasons) AS reason
WHERE {matching}
GROUP BY 1, 2, pipeline.why(reason) ORDER BY rows DESC, kind, example LIMIT %(limit)s;

-- name: count_states -- how many rows of a run are in which state
SELECT state, count(*) FROM pipeline.quarantine WHERE run_id = %(run_id)s AND replay_of IS NULL GROUP BY state;

-- name: discard
UPDATE pipeline.quarantine AS q
SET outcome = 'discarded', settled_by = %(who)s, settled_at = now(), why = %(why)s
WHERE {matching} AND q.outcome IS NULL AND q.claimed_by IS NULL;

-- name: claimable -- rows without an outcome, locked until the end of the transaction; of runs that published nothing too
SELECT q.id, q.run_id, q.source, q.replays, q.claimed_by, r.published_at IS NOT NULL, r.input ->> 'input'
FROM pipeline.quarantine AS q JOIN pipeline.runs AS r ON r.run_id = q.run_id
WHERE {matching} AND q.outcome IS NULL
ORDER BY q.id LIMIT %(limit)s FOR UPDATE OF q;

-- name: claim
UPDATE pipeline.quarantine SET claimed_by = %(claim)s WHERE id = ANY(%(ids)s);

-- name: claimed -- the rows of a claim, in raw order
SELECT run_id, part, line FROM pipeline.quarantine WHERE claimed_by = %(claim)s ORDER BY run_id, part, line;

-- name: enter_replay -- in the place of the run whose rows it replays: what was entered since is newer
UPDATE pipeline.runs AS r SET replay_of = o.run_id, entered_at = o.entered_at
FROM pipeline.runs AS o WHERE r.run_id = %(run_id)s AND o.run_id = %(original)s;

-- name: raw_objects -- of a run, and how they are read
SELECT part, key, bytes, sha256, format, delimiter, request FROM pipeline.raw_objects WHERE run_id = %(run_id)s ORDER BY part;

-- name: failed_again -- rows that a chunk of a replay set aside are those that it was to judge
UPDATE pipeline.quarantine AS again SET replay_of = q.id
FROM pipeline.quarantine AS q, pipeline.runs AS r
WHERE r.run_id = %(run_id)s AND q.claimed_by = r.input ->> 'replay' AND q.run_id = r.replay_of
  AND again.run_id = r.run_id AND again.chunk = %(chunk)s AND again.part = q.part AND again.line = q.line;

-- name: keep -- rows that failed again stay open, with the reasons of today
UPDATE pipeline.quarantine AS q SET reasons = again.reasons, replays = q.replays + 1, claimed_by = NULL
FROM pipeline.quarantine AS again
WHERE q.claimed_by = %(claim)s AND again.run_id = %(run_id)s AND again.replay_of = q.id;

-- name: settle -- the others passed; those that are not in staging any more were duplicates of newer ones
UPDATE pipeline.quarantine AS q
SET outcome = CASE WHEN (q.part::bigint << {bits} | q.line) IN (SELECT _seq FROM {staging}) THEN 'published' ELSE 'duplicate' END,
    settled_by = %(run_id)s, settled_at = now(), replays = q.replays + 1, claimed_by = NULL
WHERE q.claimed_by = %(claim)s;

-- name: release -- nothing came of the claim; `judged` is 1 where the rows were judged all the same
UPDATE pipeline.quarantine SET claimed_by = NULL, replays = replays + %(judged)s WHERE claimed_by = %(claim)s;
