-- Change data capture: how far each shard was read, what became of its records, what keys were seen last.

-- Up to where a shard was read. Moves in the transaction that applies the records.
CREATE TABLE pipeline.change_shards (
    stream    text NOT NULL,
    shard     text NOT NULL,
    sequence  numeric(60) NOT NULL,
    moved_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, shard)
);

CREATE SEQUENCE pipeline.change_batch_ids;

-- What one invocation read of a shard. `_run_id` of a row that it wrote is 'changes-<id>'.
CREATE TABLE pipeline.change_batches (
    id              bigint PRIMARY KEY,
    stream          text NOT NULL,
    shard           text NOT NULL,
    first_sequence  numeric(60) NOT NULL,
    last_sequence   numeric(60) NOT NULL,
    records         integer NOT NULL,
    stored          integer NOT NULL,
    duplicates      integer NOT NULL,
    controls        integer NOT NULL,
    malformed       integer NOT NULL,
    finished_at     timestamptz NOT NULL DEFAULT now(),
    CHECK (records = stored + duplicates + controls + malformed)
);

-- What became of the records of a mapped table.
CREATE TABLE pipeline.change_accounts (
    batch_id     bigint NOT NULL REFERENCES pipeline.change_batches ON DELETE CASCADE,
    source       text NOT NULL,
    read         integer NOT NULL,
    inserted     integer NOT NULL,
    updated      integer NOT NULL,
    deleted      integer NOT NULL,
    unchanged    integer NOT NULL,
    skipped      integer NOT NULL,
    quarantined  integer NOT NULL,
    PRIMARY KEY (batch_id, source),
    CONSTRAINT row_account_balances
        CHECK (read = inserted + updated + deleted + unchanged + skipped + quarantined)
);

-- The lake's files. 'writing' before anything is written, 'written' with the position; what a killed invocation
-- left is 'abandoned' and deleted.
CREATE TABLE pipeline.change_files (
    batch_id  bigint NOT NULL,
    part      integer NOT NULL,
    stream    text NOT NULL,
    shard     text NOT NULL,
    key       text NOT NULL,
    rows      integer NOT NULL,
    state     text NOT NULL CHECK (state IN ('writing', 'written', 'abandoned')),
    began_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (batch_id, part)
);

CREATE INDEX change_files_unfinished ON pipeline.change_files (stream, shard) WHERE state <> 'written';

-- The type that a column has in all files of its table.
CREATE TABLE pipeline.change_columns (
    schema_name  text NOT NULL,
    table_name   text NOT NULL,
    column_name  text NOT NULL,
    type         text NOT NULL,
    place        integer GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (schema_name, table_name, column_name)
);

-- Which records of a transaction came by: DMS delivers some twice.
CREATE TABLE pipeline.change_transactions (
    stream       text NOT NULL,
    transaction  text NOT NULL,
    shard        text NOT NULL,
    records      int8multirange NOT NULL,
    seen_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, transaction, shard)
);

CREATE INDEX change_transactions_by_age ON pipeline.change_transactions (seen_at);

-- The last change of each key of a mapped table, of deleted rows too. `since` is the change by which its row came to the
-- key, `stale` has the columns whose value is older than the row (null: not known yet), `past` its earlier rows,
-- `departed` where rows went.
CREATE TABLE pipeline.change_keys (
    table_name    text NOT NULL,
    key           text NOT NULL,
    position      text NOT NULL,
    committed_at  timestamptz,
    deleted       boolean NOT NULL,
    since         text NOT NULL,
    stale         jsonb NOT NULL,
    past          jsonb NOT NULL,
    departed      jsonb NOT NULL,
    PRIMARY KEY (table_name, key)
);

-- Rows that a change deleted, as they were.
CREATE TABLE pipeline.deleted_rows (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id     bigint NOT NULL,
    source       text NOT NULL,
    table_name   text NOT NULL,
    row          jsonb NOT NULL,
    deleted_at   timestamptz NOT NULL DEFAULT now()
);

-- Records that could not be read (source is null then), and changes that do not fit their table.
CREATE TABLE pipeline.quarantined_changes (
    stream      text NOT NULL,
    shard       text NOT NULL,
    sequence    numeric(60) NOT NULL,
    batch_id    bigint NOT NULL,
    source      text,
    reasons     jsonb NOT NULL,
    record      text NOT NULL,
    arrived_at  timestamptz NOT NULL,
    added_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, shard, sequence)
);

-- What happened to the source's tables.
CREATE TABLE pipeline.change_controls (
    stream       text NOT NULL,
    shard        text NOT NULL,
    sequence     numeric(60) NOT NULL,
    batch_id     bigint NOT NULL,
    operation    text NOT NULL,
    schema_name  text NOT NULL,
    table_name   text NOT NULL,
    control      jsonb NOT NULL,
    source       text,
    happened_at  timestamptz NOT NULL,
    PRIMARY KEY (stream, shard, sequence)
);

-- From a curated row to the raw object and line it came from, or to the lake's file and row.
CREATE OR REPLACE FUNCTION pipeline.raw_line(wanted_run text, raw text, OUT key text, OUT line bigint)
LANGUAGE sql STABLE AS $$
    SELECT o.key, split_part(raw, ':', 2)::bigint
    FROM pipeline.raw_objects o
    WHERE o.run_id = wanted_run AND o.part = split_part(raw, ':', 1)::integer
    UNION ALL
    SELECT f.key, split_part(raw, ':', 2)::bigint
    FROM pipeline.change_files f
    WHERE wanted_run ~ '^changes-[0-9]+$' AND f.batch_id = substr(wanted_run, 9)::bigint
      AND f.part = split_part(raw, ':', 1)::integer
$$;
