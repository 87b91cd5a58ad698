-- The ledger, the cursors and the quarantine. Curated and staging tables are made per source.

CREATE SCHEMA IF NOT EXISTS pipeline;
CREATE SCHEMA IF NOT EXISTS curated;
CREATE SCHEMA IF NOT EXISTS staging;

-- One row per execution; closed in the same transaction that publishes.
CREATE TABLE pipeline.runs (
    run_id        text PRIMARY KEY,
    source        text NOT NULL,
    table_name    text,
    execution     text NOT NULL,
    input         jsonb NOT NULL,
    status        text NOT NULL CHECK (status IN ('running', 'published', 'succeeded', 'rejected', 'failed')),
    verdict       text CHECK (verdict IN ('pass', 'warn', 'fail')),
    window_start  date,
    window_end    date,
    by_cursor     boolean NOT NULL DEFAULT false,
    fetched       bigint,
    inserted      bigint,
    updated       bigint,
    unchanged     bigint,
    duplicates    bigint,
    quarantined   bigint,
    embedded      bigint,
    report_key    text,
    error         jsonb,
    started_at    timestamptz NOT NULL,
    published_at  timestamptz,
    finished_at   timestamptz,
    CONSTRAINT row_account_balances
        CHECK (published_at IS NULL OR fetched = inserted + updated + unchanged + duplicates + quarantined)
);

CREATE INDEX runs_by_source ON pipeline.runs (source, started_at DESC);

-- Which raw object `_raw` = 'part:line' speaks of.
CREATE TABLE pipeline.raw_objects (
    run_id  text NOT NULL REFERENCES pipeline.runs ON DELETE CASCADE,
    part    integer NOT NULL,
    key     text NOT NULL,
    bytes   bigint NOT NULL,
    sha256  text NOT NULL,
    PRIMARY KEY (run_id, part)
);

-- A chunk's row is written by the transaction that copies its rows into staging: it exists exactly
-- when they are there.
CREATE TABLE pipeline.chunks (
    run_id       text NOT NULL REFERENCES pipeline.runs ON DELETE CASCADE,
    chunk        integer NOT NULL,
    records      bigint NOT NULL,
    staged       bigint NOT NULL,
    quarantined  bigint NOT NULL,
    results      jsonb NOT NULL,
    loaded_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, chunk),
    CHECK (records = staged + quarantined)
);

CREATE TABLE pipeline.quality_results (
    run_id       text NOT NULL REFERENCES pipeline.runs ON DELETE CASCADE,
    expectation  text NOT NULL,
    type         text NOT NULL,
    title        text NOT NULL,
    severity     text NOT NULL,
    success      boolean NOT NULL,
    evaluated    bigint,
    unexpected   bigint,
    observed     text,
    PRIMARY KEY (run_id, expectation)
);

-- Rows that were set aside, with every reason and the raw text they came from.
CREATE TABLE pipeline.quarantine (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id    text NOT NULL REFERENCES pipeline.runs ON DELETE CASCADE,
    source    text NOT NULL,
    chunk     integer NOT NULL,
    part      integer NOT NULL,
    line      bigint NOT NULL,
    reasons   jsonb NOT NULL,
    record    text NOT NULL,
    added_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (run_id, part, line)
);

CREATE TABLE pipeline.cursors (
    source    text PRIMARY KEY,
    position  text NOT NULL,
    run_id    text NOT NULL,
    moved_at  timestamptz NOT NULL DEFAULT now()
);

-- From a curated row to the raw object and line it came from.
CREATE FUNCTION pipeline.raw_line(wanted_run text, raw text, OUT key text, OUT line bigint)
LANGUAGE sql STABLE AS $$
    SELECT o.key, split_part(raw, ':', 2)::bigint
    FROM pipeline.raw_objects o
    WHERE o.run_id = wanted_run AND o.part = split_part(raw, ':', 1)::integer
$$;
