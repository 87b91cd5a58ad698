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

-- name: unknown -- of what a filter names: numbers that no row has, and whether there is no such run, no run of such a source
SELECT ARRAY(
           SELECT DISTINCT named FROM unnest(%(ids)s::bigint[]) AS named
           WHERE NOT EXISTS (SELECT FROM pipeline.quarantine AS q WHERE q.id = named AND q.replay_of IS NULL) ORDER BY 1
       ),
       %(run_id)s::text IS NOT NULL AND NOT EXISTS (SELECT FROM pipeline.runs WHERE run_id = %(run_id)s),
       %(source)s::text IS NOT NULL AND NOT EXISTS (SELECT FROM pipeline.runs WHERE source = %(source)s);

-- name: list_rows -- newest first
SELECT q.id, q.run_id, q.source, o.key AS raw, q.line, q.state, q.reasons, q.record, q.added_at, q.replays,
       q.settled_by, q.settled_at, q.why, r.status AS run_status, r.published_at IS NOT NULL AS replayable,
       (SELECT a.run_id FROM pipeline.runs AS a WHERE a.replay_of = q.run_id AND a.input ->> 'replay' = q.claimed_by
        ORDER BY a.started_at DESC LIMIT 1) AS replayed_by
FROM pipeline.quarantine AS q
JOIN pipeline.runs AS r ON r.run_id = q.run_id
LEFT JOIN pipeline.raw_objects AS o ON o.run_id = q.run_id AND o.part = q.part
WHERE {matching} AND (%(before)s::bigint IS NULL OR q.id < %(before)s)
ORDER BY q.id DESC LIMIT %(limit)s;

-- name: attempts -- of one row: what it failed for each time it was replayed, oldest first
SELECT a.run_id, a.added_at, a.reasons FROM pipeline.quarantine AS a WHERE a.replay_of = %(id)s ORDER BY a.id;

-- name: count_reasons -- why the newest rows that are meant were set aside, most frequent first, with one message of each reason
SELECT reason ->> 'kind' AS kind, reason ->> 'column' AS column, min(reason ->> 'expectation') AS expectation,
       min(reason ->> 'message') AS example, count(*) AS rows
FROM (SELECT q.reasons FROM pipeline.quarantine AS q WHERE {matching} ORDER BY q.id DESC LIMIT %(newest)s) AS q
CROSS JOIN jsonb_array_elements(q.reasons) AS reason
GROUP BY 1, 2, pipeline.why(reason) ORDER BY rows DESC, kind, example LIMIT %(limit)s;

-- name: count_states -- how many rows of a run are in which state
SELECT state, count(*) FROM pipeline.quarantine WHERE run_id = %(run_id)s AND replay_of IS NULL GROUP BY state;

-- name: lock -- whoever claims or discards waits for the others who do
SELECT pg_advisory_xact_lock(hashtextextended('pipeline.quarantine', 0));

-- name: discard -- the first open rows
UPDATE pipeline.quarantine AS q
SET outcome = 'discarded', settled_by = %(who)s, settled_at = now(), why = %(why)s
WHERE q.id IN (SELECT q.id FROM pipeline.quarantine AS q WHERE {matching} AND q.state = 'open' ORDER BY q.id LIMIT %(limit)s)
  AND q.state = 'open';

-- name: claimable -- the first rows without an outcome of runs that published
SELECT q.id, q.run_id, q.source, q.replays, q.claimed_by, r.input ->> 'input'
FROM pipeline.quarantine AS q JOIN pipeline.runs AS r ON r.run_id = q.run_id
WHERE {matching} AND q.state IN ('open', 'replaying') AND r.published_at IS NOT NULL
  AND (%(after)s::bigint IS NULL OR q.id > %(after)s)
ORDER BY q.id LIMIT %(limit)s;

-- name: count_claimable -- those behind a row
SELECT count(*) FROM pipeline.quarantine AS q JOIN pipeline.runs AS r ON r.run_id = q.run_id
WHERE {matching} AND q.state IN ('open', 'replaying') AND r.published_at IS NOT NULL AND q.id > %(after)s;

-- name: count_unpublished -- open rows of runs that published nothing
SELECT count(*) FROM pipeline.quarantine AS q
WHERE {matching} AND q.state = 'open' AND q.run_id IN (SELECT run_id FROM pipeline.runs WHERE published_at IS NULL);

-- name: count_in_state
SELECT count(*) FROM pipeline.quarantine AS q WHERE {matching} AND q.state = %(counted)s;

-- name: claim -- each row under the name beside it; when that was
WITH claimed AS (
    UPDATE pipeline.quarantine AS q SET claimed_by = c.claim, claimed_at = now(), claim_found_at = NULL
    FROM unnest(%(ids)s::bigint[], %(claims)s::text[]) AS c (id, claim)
    WHERE q.id = c.id AND q.state = 'open'
)
SELECT now();

-- name: share -- claims that others have, a row of each; one that is locked is of a replay that ends, and nobody's to release
UPDATE pipeline.quarantine SET claim_found_at = now()
WHERE id IN (SELECT id FROM pipeline.quarantine WHERE id = ANY(%(ids)s) AND claim_found_at IS NULL FOR UPDATE SKIP LOCKED);

-- name: release_unbegun -- of who took it then, unless others have found it since
UPDATE pipeline.quarantine SET claimed_by = NULL
WHERE claimed_by = %(claim)s AND NOT EXISTS (
    SELECT FROM pipeline.quarantine AS q
    WHERE q.claimed_by = %(claim)s AND (q.claim_found_at IS NOT NULL OR q.claimed_at IS DISTINCT FROM %(taken_at)s)
);

-- name: held -- claims on rows that are meant, which nobody has taken or found for so many seconds: who did may be about to begin
SELECT q.claimed_by, q.run_id, q.source, r.input ->> 'input', count(*)
FROM pipeline.quarantine AS q JOIN pipeline.runs AS r ON r.run_id = q.run_id
WHERE q.claimed_by IN (SELECT q.claimed_by FROM pipeline.quarantine AS q WHERE {matching} AND q.claimed_by IS NOT NULL)
GROUP BY 1, 2, 3, 4
HAVING coalesce(greatest(max(q.claimed_at), max(q.claim_found_at)), '-infinity') < now() - %(seconds)s * interval '1 second'
ORDER BY min(q.id) LIMIT %(limit)s;

-- name: release_lost -- unless somebody has taken or found it meanwhile
UPDATE pipeline.quarantine SET claimed_by = NULL
WHERE claimed_by = %(claim)s AND NOT EXISTS (
    SELECT FROM pipeline.quarantine AS q
    WHERE q.claimed_by = %(claim)s AND greatest(q.claimed_at, q.claim_found_at) >= now() - %(seconds)s * interval '1 second'
);

-- name: claimed -- the rows of a claim, in raw order
SELECT run_id, part, line FROM pipeline.quarantine WHERE claimed_by = %(claim)s ORDER BY run_id, part, line;

-- name: enter_replay -- in the place of the run whose rows it replays: what was entered since is newer
UPDATE pipeline.runs AS r SET replay_of = o.run_id, entered_at = o.entered_at, entry = o.entry, fetched_entry = o.fetched_entry
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

-- name: release_of_lost -- what a lost run was to judge, unless a later attempt is to judge it now: one that claimed it anew, or found it claimed
UPDATE pipeline.quarantine AS q SET claimed_by = NULL
FROM pipeline.runs AS lost
WHERE lost.run_id = %(run_id)s AND q.claimed_by = lost.input ->> 'replay'
  AND coalesce(q.claimed_at, '-infinity') <= lost.started_at
  AND NOT EXISTS (
    SELECT FROM pipeline.runs AS later
    WHERE later.input ->> 'replay' = q.claimed_by AND later.status IN ('running', 'published')
      AND later.started_at > lost.started_at
  );
