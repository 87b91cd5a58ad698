-- `t` is the curated table; `{key}`, `{text}`, `{same_key}` are what `embeddings.expressions` writes of it, `{filter}` a
-- condition on it.

-- name: prepare_by_index -- until the attempt ends; a plan that sorts would read every vector of the table
SELECT set_config('hnsw.ef_search', %(ef_search)s, true), set_config('hnsw.iterative_scan', 'relaxed_order', true),
       set_config('enable_sort', 'off', true);

-- name: prepare_exact -- few rows: by an index, and by one process, as starting others takes longer than reading them
SELECT set_config('enable_sort', 'on', true), set_config('random_page_cost', '1.1', true),
       set_config('max_parallel_workers_per_gather', '0', true);

-- name: nearest_passages -- (key, start, length, distance) in the order of the index, best first
SELECT e.key, e.start, e.length, e.embedding::vector({dimensions}) <=> %(vector)s::vector({dimensions})
FROM pipeline.embeddings AS e JOIN {curated} AS t ON {same_key}
WHERE e.model = %(model)s AND e.table_name = %(table)s AND {filter}
ORDER BY {indexed} <=> {asked}
LIMIT %(limit)s;

-- name: nearest_of_few -- the same of all rows that the filter keeps, by no index of vectors: that one has no `+ 0`
SELECT e.key, e.start, e.length, e.embedding::vector({dimensions}) <=> %(vector)s::vector({dimensions})
FROM {curated} AS t JOIN pipeline.embeddings AS e
    ON e.model = %(model)s AND e.table_name = %(table)s AND e.key = {key}
WHERE {filter}
ORDER BY (e.embedding::vector({dimensions}) <=> %(vector)s::vector({dimensions})) + 0
LIMIT %(limit)s;

-- name: estimate -- how many rows the filter keeps, as the planner has it
EXPLAIN (FORMAT JSON) SELECT FROM {curated} AS t WHERE {filter};

-- name: matching_words -- (key, score) of the rows in which the words are, best first
SELECT {key}, ts_rank_cd({document}, query, 1|32)
FROM {curated} AS t, websearch_to_tsquery(%(language)s::regconfig, %(words)s) AS query
WHERE {document} @@ query AND {filter}
ORDER BY 2 DESC, 1
LIMIT %(limit)s;

-- name: has_words -- whether a row must hold any of the query's words; T is what an index is no help for, such as `-oven`
SELECT querytree(websearch_to_tsquery(%(language)s::regconfig, %(words)s)) NOT IN ('', 'T');

-- name: asked_words -- which of `words` are, in the language, one word, and one of those of the query
SELECT word
FROM (SELECT word, to_tsvector(%(language)s::regconfig, word) AS found FROM unnest(%(words)s::text[]) AS word) AS w
WHERE length(found) = 1
  AND tsvector_to_array(found) && tsvector_to_array(to_tsvector(%(language)s::regconfig, %(query)s));

-- name: rows_of_keys -- (key, key columns, trimmed text, its passage, whether the vectors are of it) of the found rows
SELECT k.key, {key_columns}, left(btrim({text}, %(whitespace)s), %(longest)s),
       substr(btrim({text}, %(whitespace)s), k.start + 1, least(k.length, %(longest)s)),
       e.content_hash = sha256(convert_to({text}, 'UTF8'))
FROM unnest(%(keys)s::text[], %(starts)s::integer[], %(lengths)s::integer[]) AS k (key, start, length)
JOIN {curated} AS t ON {same_key}
LEFT JOIN pipeline.embeddings AS e
    ON e.model = %(model)s AND e.table_name = %(table)s AND e.key = k.key AND e.passage = 0 AND e.length IS NOT NULL;

-- name: is_loaded
SELECT to_regclass(%(table)s) IS NOT NULL;

-- name: document_indexes -- (name, whether it is whole) of the full text's indexes of a table, whatever language they are of; no others
SELECT c.relname, i.indisvalid FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass(%(qualified)s) AND c.relname ~ '_[0-9a-f]{{12}}_words$';

-- name: has_more_rows
SELECT count(*) > %(rows)s FROM (SELECT FROM {curated} LIMIT %(rows)s + 1) AS first;

-- name: take_turns -- with whoever else makes the full text's index of the table, until the transaction ends
SELECT pg_advisory_xact_lock(hashtextextended('full text of ' || %(table)s, 0));

-- name: create_document_index
CREATE INDEX IF NOT EXISTS {index} ON {curated} USING gin ({document});

-- name: create_document_index_aside -- nobody who writes waits; what remains of one that failed is of no use and must be dropped
CREATE INDEX CONCURRENTLY {index} ON {curated} USING gin ({document});

-- name: drop_document_index
DROP INDEX IF EXISTS {index};

-- name: drop_document_index_aside
DROP INDEX CONCURRENTLY IF EXISTS {index};
