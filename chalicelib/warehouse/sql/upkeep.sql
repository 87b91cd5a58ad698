-- name: try_turn -- whether this session keeps the table up from now on; until it ends
SELECT pg_try_advisory_lock(hashtextextended('upkeep of curated.' || %(table)s, 0));

-- name: is_kept_up -- whether a session does at the moment
SELECT NOT pg_try_advisory_xact_lock_shared(hashtextextended('upkeep of curated.' || %(table)s, 0));

-- name: limit_time -- of this session's statements, and of their waits for locks; 0 for none
SELECT set_config('statement_timeout', %(time)s, false), set_config('lock_timeout', %(wait)s, false);

-- name: limit_wait -- for locks, until the transaction ends
SELECT set_config('lock_timeout', %(wait)s, true);

-- name: export_snapshot
SELECT pg_export_snapshot();

-- name: begin_at -- a transaction that sees what the snapshot does
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET TRANSACTION SNAPSHOT {snapshot};

-- name: end
COMMIT;

-- name: failed_lately -- what could not be done within the last day
SELECT task FROM pipeline.upkeep_failures WHERE table_name = %(table)s AND failed_at > now() - interval '1 day';

-- name: enter_failure
INSERT INTO pipeline.upkeep_failures (table_name, task, reason) VALUES (%(table)s, %(task)s, %(reason)s)
ON CONFLICT (table_name, task) DO UPDATE SET reason = excluded.reason, failed_at = excluded.failed_at;

-- name: forget_failure
DELETE FROM pipeline.upkeep_failures WHERE table_name = %(table)s AND task = %(task)s;
