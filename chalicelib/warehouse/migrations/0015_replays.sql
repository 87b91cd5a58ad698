-- Quarantined rows are replayed, by a run of their own, or discarded.

-- A run that replays rows of another one. Its `entered_at` is that run's: its rows are as old.
ALTER TABLE pipeline.runs ADD COLUMN replay_of text REFERENCES pipeline.runs ON DELETE CASCADE;
CREATE INDEX runs_by_original ON pipeline.runs (replay_of) WHERE replay_of IS NOT NULL;

-- How a raw object is read, longer than the manifest of its run is kept. NULL where it has no records; `request` is
-- what records() of the source is given with a response.
ALTER TABLE pipeline.raw_objects ADD COLUMN format text, ADD COLUMN delimiter text, ADD COLUMN request jsonb;
UPDATE pipeline.raw_objects SET format = substring(key FROM '\.(ndjson|csv)(?:\.gz)?$');

ALTER TABLE pipeline.quarantine
    ADD COLUMN replay_of   bigint REFERENCES pipeline.quarantine ON DELETE CASCADE,  -- the row that failed again as this one
    ADD COLUMN replays     integer NOT NULL DEFAULT 0,  -- how often it was judged again
    ADD COLUMN claimed_by  text,                        -- by the replay that is to judge it, see `input` of its run
    ADD COLUMN outcome     text CHECK (outcome IN ('published', 'duplicate', 'discarded')),
    ADD COLUMN settled_by  text,                        -- the run, or whoever discarded it
    ADD COLUMN settled_at  timestamptz,
    ADD COLUMN why         text,                        -- it was discarded
    ADD COLUMN state       text GENERATED ALWAYS AS (
        coalesce(outcome, CASE WHEN claimed_by IS NULL THEN 'open' ELSE 'replaying' END)
    ) STORED,
    ADD CONSTRAINT settled_by_somebody_at_some_time CHECK (
        (outcome IS NULL) = (settled_at IS NULL) AND (outcome IS NULL) = (settled_by IS NULL)
    ),
    ADD CONSTRAINT settled_is_not_claimed CHECK (outcome IS NULL OR claimed_by IS NULL);

CREATE INDEX quarantine_by_source ON pipeline.quarantine (source, id) WHERE replay_of IS NULL;
CREATE INDEX quarantine_claimed ON pipeline.quarantine (claimed_by) WHERE claimed_by IS NOT NULL;
CREATE INDEX quarantine_failed_again ON pipeline.quarantine (replay_of) WHERE replay_of IS NOT NULL;

-- A reason without what differs from row to row: an expectation, or what is said of a column but for the value, or of a
-- record but for the numbers.
CREATE FUNCTION pipeline.why(reason jsonb) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN reason ->> 'expectation' IS NOT NULL THEN reason ->> 'expectation'
        WHEN reason ->> 'column' IS NULL THEN regexp_replace(reason ->> 'message', '\y\d+\y', '0', 'g')
        WHEN starts_with(reason ->> 'message', format('%s is %s, ', reason ->> 'column', reason ->> 'value'))
        THEN substr(reason ->> 'message', length(format('%s is %s, ', reason ->> 'column', reason ->> 'value')) + 1)
        ELSE reason ->> 'message'
    END
$$;
