-- `{texts}` is the subquery (key, text) of a curated table that `embeddings.expressions` writes. What is known of a
-- text stands with its first passage; a length that is null is of before texts were divided.

-- name: count_pending -- passages, estimated by length, of the texts without vectors of their present content
SELECT coalesce(sum(ceil(length(btrim(c.text, %(whitespace)s)) / %(passage_characters)s::numeric)), 0)::bigint
FROM {texts} AS c
LEFT JOIN pipeline.embeddings AS e
    ON e.model = %(model)s AND e.table_name = %(table)s AND e.key = c.key AND e.passage = 0 AND e.length IS NOT NULL
WHERE btrim(c.text, %(whitespace)s) <> '' AND e.content_hash IS DISTINCT FROM sha256(convert_to(c.text, 'UTF8'));

-- name: pending -- (key, text, hash, whether it has vectors) of a shard's pending texts in the order in which writers go through keys: up to `limit`, and the first of `characters` in all
SELECT key, text, content_hash, has_vectors
FROM (
    SELECT *, sum(length(text)) OVER (ORDER BY octet_length(key), key) - length(text) AS before
    FROM (
        SELECT c.key, btrim(c.text, %(whitespace)s) AS text, sha256(convert_to(c.text, 'UTF8')) AS content_hash,
            e.key IS NOT NULL AS has_vectors
        FROM {texts} AS c
        LEFT JOIN pipeline.embeddings AS e
            ON e.model = %(model)s AND e.table_name = %(table)s AND e.key = c.key AND e.passage = 0
        WHERE mod(hashtextextended(c.key, 0) & 9223372036854775807, %(shards)s) = %(shard)s
          AND btrim(c.text, %(whitespace)s) <> ''
          AND (e.length IS NULL OR e.content_hash IS DISTINCT FROM sha256(convert_to(c.text, 'UTF8')))
        LIMIT %(limit)s
    ) AS found
) AS counted
WHERE before < %(characters)s
ORDER BY octet_length(key), key;

-- name: before_copy
SAVEPOINT vectors;

-- name: lock_shared -- by those who write new vectors alone; until the transaction or the savepoint ends
SELECT pg_advisory_xact_lock_shared(hashtextextended('vectors of ' || %(table)s, 0));

-- name: copy -- in the order of `binary_copy.Stream`
COPY pipeline.embeddings (model, table_name, run_id, key, content_hash, passage, start, length, embedding)
FROM STDIN (FORMAT binary);

-- name: undo_copy
ROLLBACK TO SAVEPOINT vectors;

-- name: after_copy
RELEASE SAVEPOINT vectors;

-- name: flush_later -- for this transaction: a crash of Postgres may take back the last of those that are committed so, in 0.6 s, and leaves their texts pending
SET LOCAL synchronous_commit = off;

-- name: flush -- something to commit: that waits for the disk, and so for all that was committed before. A transaction that only took a number does not
SELECT pg_logical_emit_message(true, 'sluice', '');

-- name: lock -- by those who replace vectors: alone, as they delete before they insert, which is no order
SELECT pg_advisory_xact_lock(hashtextextended('vectors of ' || %(table)s, 0));

-- name: remove -- by keys, or every vector of the table is looked at
DELETE FROM pipeline.embeddings
WHERE model = %(model)s AND table_name = %(table)s AND key = ANY(%(keys)s::text[]);

-- name: count_of_run -- texts
SELECT count(*) FROM pipeline.embeddings WHERE run_id = %(run_id)s AND passage = 0;

-- name: characters_of_run -- that a model read, where passages overlap more than once
SELECT coalesce(sum(length), 0)::bigint FROM pipeline.embeddings WHERE run_id = %(run_id)s;

-- name: remove_orphans -- vectors, of any model, whose row is gone or has no text any more
DELETE FROM pipeline.embeddings AS e
WHERE e.table_name = %(table)s AND NOT EXISTS (
    SELECT FROM {texts} AS c WHERE c.key = e.key AND btrim(c.text, %(whitespace)s) <> ''
);

-- name: find_index -- whether it is whole; no row: there is none
SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%(index)s);

-- name: count_vectors
SELECT count(*) FROM pipeline.embeddings WHERE model = %(model)s AND table_name = %(table)s;

-- name: prepare_index -- until the transaction ends where it is local, else the session
SELECT set_config('maintenance_work_mem', %(memory)s, %(local)s);

-- name: create_index
CREATE INDEX IF NOT EXISTS {index} ON pipeline.embeddings USING hnsw (({indexed}) {operators})
WHERE model = {model} AND table_name = {table};

-- name: create_index_aside -- nobody who writes waits; what remains of one that failed is of no use and must be dropped
CREATE INDEX CONCURRENTLY {index} ON pipeline.embeddings USING hnsw (({indexed}) {operators})
WHERE model = {model} AND table_name = {table};

-- name: drop_index
DROP INDEX IF EXISTS {index};

-- name: drop_index_aside
DROP INDEX CONCURRENTLY IF EXISTS {index};

-- name: has_vectors
SELECT EXISTS (SELECT FROM pipeline.embeddings WHERE model = %(model)s AND table_name = %(table)s);
