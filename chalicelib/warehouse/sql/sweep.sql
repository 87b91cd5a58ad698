-- What runs left that ended without a word, and rows that nobody reads any more.

-- name: under_way -- by the ledger, for so long that whoever started them has been told
SELECT run_id, source, execution, input, started_at FROM pipeline.runs
WHERE status IN ('running', 'published') AND greatest(entered_at, started_at) < now() - %(age)s::interval
ORDER BY run_id;

-- name: hold_lost -- no row: it has ended by itself since it was looked at, or was begun again under its name
SELECT FROM pipeline.runs
WHERE run_id = %(run_id)s AND status IN ('running', 'published') AND started_at = %(started_at)s FOR UPDATE;

-- name: hold_ledger -- until the transaction ends no run is entered or begun again; who cannot have that soon lets it be
SET LOCAL lock_timeout = '5s';
LOCK TABLE pipeline.runs IN SHARE MODE;

-- name: staging_tables
SELECT tablename FROM pg_tables WHERE schemaname = %(schema)s ORDER BY tablename;

-- name: live_tables -- of the runs that are under way by the ledger, however old they are
SELECT table_name, run_id FROM pipeline.runs WHERE status IN ('running', 'published') AND table_name IS NOT NULL;

-- name: forget_written_files -- only those that are not written yet, or abandoned, are ever asked for
DELETE FROM pipeline.change_files WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM pipeline.change_files WHERE state = 'written' AND began_at < now() - interval '14 days' LIMIT 50000));
