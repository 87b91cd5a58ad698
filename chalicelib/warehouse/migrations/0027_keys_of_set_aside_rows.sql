-- The key of a row that was set aside, where it could be told: one text per column of the key. A run that finds the row of
-- such a key as it is makes it its own, so that a replay does not take the older row for the newer one.
ALTER TABLE pipeline.quarantine ADD COLUMN key jsonb;
CREATE INDEX quarantine_with_key ON pipeline.quarantine (run_id) WHERE key IS NOT NULL AND outcome IS NULL AND replay_of IS NULL;
