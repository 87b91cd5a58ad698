-- name: day_and_state -- the day's column, where the table has it as a date or a time; whether totals by it are kept
SELECT a.attname, t.table_id IS NOT NULL AND t.day_column IS NOT DISTINCT FROM a.attname::text
FROM (SELECT to_regclass(%(regclass)s)::oid AS id) AS c
LEFT JOIN pg_attribute AS a ON a.attrelid = c.id AND a.attname = %(day)s AND NOT a.attisdropped
    AND a.atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
LEFT JOIN pipeline.totals AS t ON t.table_id = c.id AND t.table_name = %(table)s;

-- name: begin_totals -- one count, and triggers from then on
SELECT pipeline.begin_totals(to_regclass(%(regclass)s), %(source)s, %(day)s);
