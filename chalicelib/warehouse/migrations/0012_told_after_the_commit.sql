-- Who is told by email is decided in the transaction, and told after it: nobody waits for SNS, and what could not be
-- told is told by the next one who comes.

-- Whether an email tells of the object: NULL where an email tells of another object of its folder, or its run's does.
ALTER TABLE pipeline.quarantined_objects ADD COLUMN email text CHECK (email IN ('owed', 'sent'));
UPDATE pipeline.quarantined_objects SET email = 'sent' WHERE run_id IS NULL;

-- When an email told of the warnings of a window's run.
ALTER TABLE pipeline.backfill_windows ADD COLUMN told_at timestamptz;

-- Names of runs have the backfill's number from now on. What runs at this moment under another name is taken once more,
-- unless it is published when its backfill goes on: publishing the same rows twice changes nothing.
UPDATE pipeline.backfill_windows SET status = 'waiting' WHERE status = 'running';
