-- name: types -- of a curated table's columns
SELECT column_name::text, data_type::text, numeric_precision, numeric_scale FROM information_schema.columns
WHERE table_schema = %(schema)s AND table_name = %(table)s ORDER BY ordinal_position;

-- name: known -- columns that the table got later, or that were widened
SELECT column_name, field, added FROM pipeline.schema_columns WHERE table_name = %(table)s;

-- name: forget -- for a table that is made anew
DELETE FROM pipeline.schema_columns WHERE table_name = %(table)s;

-- name: remember
INSERT INTO pipeline.schema_columns (table_name, column_name, field, added, run_id)
VALUES (%(table)s, %(column)s, %(field)s, %(added)s, %(run_id)s)
ON CONFLICT (table_name, column_name) DO UPDATE SET run_id = excluded.run_id;

-- name: add_change
INSERT INTO pipeline.schema_changes
    (source, table_name, run_id, change, column_name, field, from_type, to_type, records, raw_key, raw_line)
VALUES (%(source)s, %(table)s, %(run_id)s, %(change)s, %(column)s, %(field)s, %(from_type)s, %(to_type)s, %(records)s,
    %(raw)s, %(line)s);

-- name: changes -- of a run or of a table, oldest first
SELECT run_id, change, column_name, field, from_type, to_type, records, raw_key, raw_line, applied_at
FROM pipeline.schema_changes
WHERE (%(run_id)s::text IS NULL OR run_id = %(run_id)s) AND (%(table)s::text IS NULL OR table_name = %(table)s)
ORDER BY id;
