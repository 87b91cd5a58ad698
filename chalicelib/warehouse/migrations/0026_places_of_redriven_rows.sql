-- A redriven run has the place of the run that it goes on from: what it keeps is as old. What it fetches itself is newer than
-- what runs in between brought, and has the place at which it was entered: without, it lost against theirs for good.
ALTER TABLE pipeline.runs ADD COLUMN fetched_entry bigint;  -- null: there is one place for all, `entry`
CREATE INDEX runs_by_fetched_entry ON pipeline.runs (table_name, fetched_entry) WHERE fetched_entry IS NOT NULL;

-- Of the rows of a raw object, in the order of entries: the place of the run that fetched it, which the object's key names.
CREATE FUNCTION pipeline.place(wanted_run text, wanted_part integer) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT coalesce(f.fetched_entry, f.entry, r.entry)
    FROM pipeline.runs AS r
    LEFT JOIN pipeline.raw_objects AS o ON o.run_id = coalesce(r.replay_of, r.run_id) AND o.part = wanted_part
    LEFT JOIN pipeline.runs AS f ON f.run_id = substring(o.key FROM '/run=([^/]+)/')
    WHERE r.run_id = wanted_run
$$;
