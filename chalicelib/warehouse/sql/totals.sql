-- name: day_and_state -- the day's column, where the table has it as a date or a time; whether totals by it are exact
SELECT a.attname, t.table_id IS NOT NULL AND t.counting IS NULL AND t.day_column IS NOT DISTINCT FROM a.attname::text
FROM (SELECT to_regclass(%(regclass)s)::oid AS id) AS c
LEFT JOIN pg_attribute AS a ON a.attrelid = c.id AND a.attname = %(day)s AND NOT a.attisdropped
    AND a.atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
LEFT JOIN pipeline.totals AS t ON t.table_id = c.id AND t.table_name = %(table)s;

-- name: has_lost_day -- whether rows are counted by a column that the table has no more, or not as a date or a time
SELECT EXISTS (
    SELECT FROM pipeline.totals AS t
    WHERE t.table_id = to_regclass(%(regclass)s) AND t.day_column IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_attribute AS a
        WHERE a.attrelid = t.table_id AND a.attname = t.day_column AND NOT a.attisdropped
          AND a.atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
    )
);

-- name: begin_totals -- one count, and triggers from then on
SELECT pipeline.begin_totals(to_regclass(%(regclass)s), %(source)s, %(day)s);

-- name: start_totals -- triggers from now on; the count that is to be added
SELECT pipeline.start_totals(to_regclass(%(regclass)s), %(source)s, %(day)s)::text;

-- name: count_by_day -- as they are in the snapshot
SELECT {day}::text AS day, count(*) FROM {curated} GROUP BY 1;

-- name: keep_writers_away -- until the transaction ends
LOCK TABLE {curated} IN SHARE ROW EXCLUSIVE MODE;

-- name: add_count
SELECT pipeline.add_count(to_regclass(%(regclass)s), %(count)s::uuid, %(days)s::date[], %(counts)s::bigint[]);
