-- A long text has a vector for each of its passages: `passage` counts from 0, `start` and `length` are where in the
-- text it stands, in characters. Vectors that were made before are of a text's beginning only: they have no length,
-- are found until the next run that embeds, and made anew by it.
ALTER TABLE pipeline.embeddings
    ADD COLUMN passage integer NOT NULL DEFAULT 0,
    ADD COLUMN start   integer NOT NULL DEFAULT 0,
    ADD COLUMN length  integer;

-- the first passage's entry says which text the vectors are of, so that finding what changed reads the index alone
ALTER TABLE pipeline.embeddings
    DROP CONSTRAINT embeddings_pkey,
    ADD PRIMARY KEY (model, table_name, key, passage) INCLUDE (content_hash, length);
