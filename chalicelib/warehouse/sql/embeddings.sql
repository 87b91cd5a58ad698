-- `{texts}` is the subquery (key, text) of a curated table that `embeddings.expressions` writes. What is known of a
-- text stands with its first passage; a length that is null is of before texts were divided.

-- name: count_pending -- passages, estimated by length, of the texts without vectors of their present content
SELECT coalesce(sum(ceil(length(btrim(c.text, %(whitespace)s)) / %(passage_characters)s::numeric)), 0)::bigint
FROM {texts} AS c
LEFT JOIN pipeline.embeddings AS e
    ON e.model = %(model)s AND e.table_name = %(table)s AND e.key = c.key AND e.passage = 0 AND e.length IS NOT NULL
WHERE btrim(c.text, %(whitespace)s) <> '' AND e.content_hash IS DISTINCT FROM sha256(convert_to(c.text, 'UTF8'));

-- name: pending -- (key, text, hash) of a shard's pending texts: up to `limit`, and the first of `characters` in all
SELECT key, text, content_hash
FROM (
    SELECT key, text, content_hash, sum(length(text)) OVER (ORDER BY key) - length(text) AS before
    FROM (
        SELECT c.key, btrim(c.text, %(whitespace)s) AS text, sha256(convert_to(c.text, 'UTF8')) AS content_hash
        FROM {texts} AS c
        LEFT JOIN pipeline.embeddings AS e
            ON e.model = %(model)s AND e.table_name = %(table)s AND e.key = c.key AND e.passage = 0
            AND e.length IS NOT NULL
        WHERE mod(hashtextextended(c.key, 0) & 9223372036854775807, %(shards)s) = %(shard)s
          AND btrim(c.text, %(whitespace)s) <> ''
          AND e.content_hash IS DISTINCT FROM sha256(convert_to(c.text, 'UTF8'))
        LIMIT %(limit)s
    ) AS found
) AS counted
WHERE before < %(characters)s;

-- name: create_batch
CREATE TEMPORARY TABLE embedding_batch (
    key text COLLATE "C", content_hash bytea, passage integer, start integer, length integer, embedding vector
) ON COMMIT DROP;

-- name: copy_batch
COPY pg_temp.embedding_batch FROM STDIN (FORMAT binary);

-- name: write_batch -- in key order, so that two writers of the same keys wait instead of locking each other out; whether some replaced older ones
WITH written AS (
    INSERT INTO pipeline.embeddings (model, table_name, key, content_hash, passage, start, length, embedding, run_id)
    SELECT %(model)s, %(table)s, key, content_hash, passage, start, length, embedding, %(run_id)s
    FROM pg_temp.embedding_batch ORDER BY key, passage
    ON CONFLICT (model, table_name, key, passage) DO UPDATE
    SET content_hash = excluded.content_hash, start = excluded.start, length = excluded.length,
        embedding = excluded.embedding, run_id = excluded.run_id, embedded_at = now()
    RETURNING xmax <> 0 AS replaced  -- a row that was inserted has none
)
SELECT coalesce(bool_or(replaced), false) FROM written;

-- name: remove_surplus -- passages that a text no longer has, since it became shorter; by keys, or every vector of the table is looked at
DELETE FROM pipeline.embeddings AS e
USING (SELECT key, count(*) AS passages FROM pg_temp.embedding_batch GROUP BY key) AS written
WHERE e.model = %(model)s AND e.table_name = %(table)s AND e.key = ANY(%(keys)s::text[])
  AND e.key = written.key AND e.passage >= written.passages;

-- name: drop_batch
DROP TABLE pg_temp.embedding_batch;

-- name: count_of_run -- texts
SELECT count(*) FROM pipeline.embeddings WHERE run_id = %(run_id)s AND passage = 0;

-- name: characters_of_run -- that a model read, where passages overlap more than once
SELECT coalesce(sum(length), 0)::bigint FROM pipeline.embeddings WHERE run_id = %(run_id)s;

-- name: remove_orphans -- vectors, of any model, whose row is gone or has no text any more
DELETE FROM pipeline.embeddings AS e
WHERE e.table_name = %(table)s AND NOT EXISTS (
    SELECT FROM {texts} AS c WHERE c.key = e.key AND btrim(c.text, %(whitespace)s) <> ''
);

-- name: find_index
SELECT to_regclass(%(index)s) IS NOT NULL;

-- name: count_vectors
SELECT count(*) FROM pipeline.embeddings WHERE model = %(model)s AND table_name = %(table)s;

-- name: prepare_index -- until the transaction ends
SELECT set_config('maintenance_work_mem', %(memory)s, true);

-- name: create_index
CREATE INDEX IF NOT EXISTS {index} ON pipeline.embeddings USING hnsw (({indexed}) {operators})
WHERE model = {model} AND table_name = {table};

-- name: drop_index
DROP INDEX IF EXISTS {index};

-- name: has_vectors
SELECT EXISTS (SELECT FROM pipeline.embeddings WHERE model = %(model)s AND table_name = %(table)s);
