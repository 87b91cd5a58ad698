-- Vectors of the curated tables' text, and which text and model they are of.

CREATE EXTENSION IF NOT EXISTS vector;

-- The column `embedding` has no dimensions, so that models of different ones share the table; the
-- HNSW index of a model and table is partial and casts (see `create_index` in sql/embeddings.sql).
CREATE TABLE pipeline.embeddings (
    model         text NOT NULL,
    table_name    text NOT NULL,               -- in the schema curated
    key           text COLLATE "C" NOT NULL,   -- a JSON array of the row's key columns
    content_hash  bytea NOT NULL,              -- SHA-256 of the text the vector is of
    embedding     vector NOT NULL,
    run_id        text NOT NULL,
    embedded_at   timestamptz NOT NULL DEFAULT now(),
    -- with the hash in the index, finding what changed reads no vectors
    PRIMARY KEY (model, table_name, key) INCLUDE (content_hash)
);

-- Complete counts what its run wrote
CREATE INDEX embeddings_by_run ON pipeline.embeddings (run_id);
