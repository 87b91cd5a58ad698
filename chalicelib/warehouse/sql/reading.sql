-- name: columns -- of a curated table; `key_place` is the place in the primary key's index, from 1
SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS required,
       array_position(i.indkey::int2[], a.attnum) - array_lower(i.indkey::int2[], 1) + 1 AS key_place
FROM pg_attribute AS a LEFT JOIN pg_index AS i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = to_regclass(%(table)s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;

-- name: tables_of_source -- of one that is declared by run
SELECT DISTINCT table_name FROM pipeline.runs
WHERE source = %(source)s AND published_at IS NOT NULL ORDER BY table_name LIMIT 100;

-- name: last_run_of_table -- whose declaration describes it
SELECT run_id FROM pipeline.runs
WHERE source = %(source)s AND table_name = %(table)s AND published_at IS NOT NULL
ORDER BY started_at DESC LIMIT 1;

-- name: page
SELECT {columns} FROM {curated} AS t WHERE {wanted} ORDER BY {order} LIMIT %(limit)s;

-- name: filtered_page -- the keys first, which an index of the column and the key tells without the rows; then the rows of this page alone
SELECT {columns}
FROM (SELECT {key} FROM {curated} AS t WHERE {wanted} ORDER BY {order} LIMIT %(limit)s) AS k JOIN {curated} AS t USING ({names})
ORDER BY {order};

-- name: record -- with the raw object and the line that it came from
SELECT {columns}, r.key, r.line
FROM {curated} AS t LEFT JOIN LATERAL pipeline.raw_line(t._run_id, t._raw) AS r ON true
WHERE {same_key} LIMIT %(limit)s;
