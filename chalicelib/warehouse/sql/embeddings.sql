-- `{texts}` is the subquery (key, text) of a curated table that `embeddings.expressions` writes.

-- name: count_pending -- texts without a vector of their present content
SELECT count(*)
FROM {texts} AS c
LEFT JOIN pipeline.embeddings AS e ON e.model = %(model)s AND e.table_name = %(table)s AND e.key = c.key
WHERE btrim(c.text, %(whitespace)s) <> '' AND e.content_hash IS DISTINCT FROM sha256(convert_to(c.text, 'UTF8'));

-- name: pending -- (key, text, hash) of a shard's pending texts, in no order
SELECT c.key, left(btrim(c.text, %(whitespace)s), %(max_characters)s), sha256(convert_to(c.text, 'UTF8'))
FROM {texts} AS c
LEFT JOIN pipeline.embeddings AS e ON e.model = %(model)s AND e.table_name = %(table)s AND e.key = c.key
WHERE mod(hashtextextended(c.key, 0) & 9223372036854775807, %(shards)s) = %(shard)s
  AND btrim(c.text, %(whitespace)s) <> '' AND e.content_hash IS DISTINCT FROM sha256(convert_to(c.text, 'UTF8'))
LIMIT %(limit)s;

-- name: create_batch
CREATE TEMPORARY TABLE embedding_batch (key text COLLATE "C", content_hash bytea, embedding vector) ON COMMIT DROP;

-- name: copy_batch
COPY pg_temp.embedding_batch FROM STDIN (FORMAT binary);

-- name: write_batch -- in key order, so that two writers of the same keys wait instead of locking each other out
INSERT INTO pipeline.embeddings (model, table_name, key, content_hash, embedding, run_id)
SELECT %(model)s, %(table)s, key, content_hash, embedding, %(run_id)s FROM pg_temp.embedding_batch ORDER BY key
ON CONFLICT (model, table_name, key) DO UPDATE
SET content_hash = excluded.content_hash, embedding = excluded.embedding, run_id = excluded.run_id, embedded_at = now();

-- name: drop_batch
DROP TABLE pg_temp.embedding_batch;

-- name: count_of_run
SELECT count(*) FROM pipeline.embeddings WHERE run_id = %(run_id)s;

-- name: characters_of_run -- of the texts that the run embedded and that are still there, as long as a model reads them
SELECT coalesce(sum(length(left(btrim(c.text, %(whitespace)s), %(max_characters)s))), 0)::bigint
FROM pipeline.embeddings AS e JOIN {texts} AS c ON c.key = e.key
WHERE e.run_id = %(run_id)s AND e.table_name = %(table)s;

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
CREATE INDEX IF NOT EXISTS {index} ON pipeline.embeddings
USING hnsw ((embedding::vector({dimensions})) vector_cosine_ops)
WHERE model = {model} AND table_name = {table};

-- name: prepare_search -- until the transaction ends
SELECT set_config('hnsw.ef_search', %(ef_search)s, true), set_config('hnsw.iterative_scan', 'strict_order', true);

-- name: search -- key columns, text and score of the nearest rows; the casts are what the index is on
WITH nearest AS MATERIALIZED (
    SELECT key::jsonb AS key, embedding::vector({dimensions}) <=> %(vector)s::vector({dimensions}) AS distance
    FROM pipeline.embeddings
    WHERE model = %(model)s AND table_name = %(table)s
    ORDER BY distance
    LIMIT %(limit)s
)
SELECT {key_columns}, {text}, 1 - nearest.distance
FROM nearest JOIN {curated} AS t ON {same_key}
ORDER BY nearest.distance;

-- name: has_vectors
SELECT EXISTS (SELECT FROM pipeline.embeddings WHERE model = %(model)s AND table_name = %(table)s);
