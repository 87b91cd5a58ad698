-- Who is told of a change record or of a changed table is told after the commit: what was not told yet has no time.
ALTER TABLE pipeline.quarantined_changes ADD COLUMN told_at timestamptz DEFAULT now();
ALTER TABLE pipeline.quarantined_changes ALTER COLUMN told_at DROP DEFAULT;
ALTER TABLE pipeline.change_controls ADD COLUMN told_at timestamptz DEFAULT now();
ALTER TABLE pipeline.change_controls ALTER COLUMN told_at DROP DEFAULT;

CREATE INDEX quarantined_changes_untold ON pipeline.quarantined_changes (stream, shard, sequence)
    WHERE told_at IS NULL AND source IS NULL;
CREATE INDEX change_controls_untold ON pipeline.change_controls (stream, shard, sequence)
    WHERE told_at IS NULL AND source IS NOT NULL;
