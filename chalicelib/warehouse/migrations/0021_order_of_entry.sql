-- Of two runs that bring the same key the one that was entered later wins. Which one that is, is counted instead of read
-- from a clock: where that goes back, as when a standby takes over, a newer row was counted as a duplicate of an older.
ALTER TABLE pipeline.runs ADD COLUMN entry bigint;
UPDATE pipeline.runs AS r SET entry = o.entry
FROM (SELECT run_id, dense_rank() OVER (ORDER BY entered_at) AS entry FROM pipeline.runs) AS o  -- a replay has its run's
WHERE o.run_id = r.run_id;
CREATE SEQUENCE pipeline.runs_entry OWNED BY pipeline.runs.entry;
SELECT setval('pipeline.runs_entry', coalesce(max(entry), 0) + 1, false) FROM pipeline.runs;
ALTER TABLE pipeline.runs ALTER COLUMN entry SET DEFAULT nextval('pipeline.runs_entry'), ALTER COLUMN entry SET NOT NULL;

DROP INDEX pipeline.runs_by_table;
CREATE INDEX runs_by_table ON pipeline.runs (table_name, entry DESC);
