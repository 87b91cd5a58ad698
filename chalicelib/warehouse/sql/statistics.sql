-- Numbers of whole runs, and those of the earlier runs that a run is compared with.

-- name: measure -- one pass over the staged rows
SELECT count(*), {measures} FROM {staging} AS s;

-- name: count_raw_objects
SELECT count(*) FROM pipeline.raw_objects WHERE run_id = %(run_id)s;

-- name: record
INSERT INTO pipeline.run_statistics (run_id, table_name, scope, extent, rows, columns)
VALUES (%(run_id)s, %(table)s, %(scope)s, %(extent)s, %(rows)s, %(columns)s)
ON CONFLICT (run_id) DO UPDATE
SET scope = excluded.scope, extent = excluded.extent, rows = excluded.rows, columns = excluded.columns, measured_at = now();

-- name: earlier -- the newest published runs of the same kind, and of at most twice or at least half the extent
SELECT s.extent, s.rows, s.columns
FROM pipeline.run_statistics AS s JOIN pipeline.runs AS r USING (run_id)
WHERE s.table_name = %(table)s AND s.scope = %(scope)s AND s.run_id <> %(run_id)s AND r.published_at IS NOT NULL
  AND s.extent BETWEEN %(extent)s / 2 AND %(extent)s * 2
ORDER BY r.published_at DESC, s.run_id DESC
LIMIT %(runs)s;
