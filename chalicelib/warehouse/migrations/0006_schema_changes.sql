-- What tables became beyond what their sources declared when they were made.

-- The columns that a table got later, and those that were widened. Their types are the table's own.
CREATE TABLE pipeline.schema_columns (
    table_name   text NOT NULL,          -- in the schema curated
    column_name  text NOT NULL,
    field        text NOT NULL,          -- in the records
    added        boolean NOT NULL,       -- false: it was there from the beginning and was widened
    run_id       text NOT NULL,          -- the last run that changed it
    PRIMARY KEY (table_name, column_name)
);

-- Every change of a curated table, written by the transaction that made it.
CREATE TABLE pipeline.schema_changes (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source       text NOT NULL,
    table_name   text NOT NULL,
    run_id       text NOT NULL REFERENCES pipeline.runs ON DELETE CASCADE,
    change       text NOT NULL CHECK (change IN ('add column', 'widen type')),
    column_name  text NOT NULL,
    field        text NOT NULL,
    from_type    text,
    to_type      text NOT NULL,
    records      bigint,                 -- that have it or need it; null: the declaration asked for it
    raw_key      text,                   -- of the first such record
    raw_line     bigint,
    applied_at   timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX schema_changes_by_table ON pipeline.schema_changes (table_name, id);
CREATE INDEX schema_changes_by_run ON pipeline.schema_changes (run_id);
