-- When a run was entered, by this server's clock and before it fetched anything: of two runs that bring the same key,
-- the one that was entered later wins, whichever is published first.
ALTER TABLE pipeline.runs ADD COLUMN entered_at timestamptz;
UPDATE pipeline.runs SET entered_at = started_at;
ALTER TABLE pipeline.runs ALTER COLUMN entered_at SET DEFAULT clock_timestamp(), ALTER COLUMN entered_at SET NOT NULL;

CREATE INDEX runs_by_table ON pipeline.runs (table_name, entered_at DESC);

-- A cursor that a person set has no run.
ALTER TABLE pipeline.cursors ALTER COLUMN run_id DROP NOT NULL;

-- Every move of a cursor: by a run, or by a person who says why.
CREATE TABLE pipeline.cursor_moves (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source    text NOT NULL,
    before    text,
    after     text NOT NULL,
    run_id    text,
    moved_by  text,
    why       text,
    moved_at  timestamptz NOT NULL DEFAULT now(),
    CHECK ((run_id IS NULL) <> (moved_by IS NULL))
);

CREATE INDEX cursor_moves_by_source ON pipeline.cursor_moves (source, id DESC);

-- A backfill is known by what it was asked for; `generation` counts those that do the same days again.
CREATE TABLE pipeline.backfills (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source       text NOT NULL,
    first_day    date NOT NULL,
    last_day     date NOT NULL,
    every        text NOT NULL,
    input        text NOT NULL DEFAULT '',
    generation   integer NOT NULL,
    started_by   text NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (source, first_day, last_day, every, input, generation)
);

-- A window is `running` from the moment somebody takes it until somebody sees how its run ended.
CREATE TABLE pipeline.backfill_windows (
    backfill_id   bigint NOT NULL REFERENCES pipeline.backfills ON DELETE CASCADE,
    number        integer NOT NULL,
    window_start  date NOT NULL,
    window_end    date NOT NULL,
    status        text NOT NULL DEFAULT 'waiting'
                  CHECK (status IN ('waiting', 'running', 'done', 'skipped', 'rejected', 'failed')),
    attempt       integer NOT NULL DEFAULT 0,
    run_id        text,
    rows          bigint,
    error         text,
    PRIMARY KEY (backfill_id, number)
);
