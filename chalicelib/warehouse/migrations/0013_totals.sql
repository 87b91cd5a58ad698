-- How many rows each curated table has, in all and by day: kept by triggers, in the transaction that changes the rows,
-- whoever changes them.

-- A table that is dropped and made anew is another one, by its id; so is one that a restored dump made.
CREATE TABLE pipeline.totals (
    table_id    oid PRIMARY KEY,
    table_name  text NOT NULL,
    source      text,
    day_column  text,  -- a date or a time; null: nothing is counted by day
    rows        bigint NOT NULL,
    since       timestamptz NOT NULL DEFAULT now()
);

-- `day` is UTC's; null are the rows without one.
CREATE TABLE pipeline.totals_by_day (
    table_id  oid NOT NULL,
    day       date,
    rows      bigint NOT NULL,
    UNIQUE NULLS NOT DISTINCT (table_id, day)
);

-- The trigger. Its argument is the day's column, if there is one. Days are taken in their order, so that two
-- statements never wait for each other in a circle.
CREATE FUNCTION pipeline.keep_totals() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pipeline, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    changed text := CASE TG_OP
        WHEN 'INSERT' THEN 'SELECT %1$s AS day, 1 AS n FROM inserted'
        WHEN 'DELETE' THEN 'SELECT %1$s AS day, -1 AS n FROM deleted'
        WHEN 'UPDATE' THEN 'SELECT %1$s AS day, 1 AS n FROM inserted UNION ALL SELECT %1$s, -1 FROM deleted'
    END;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE totals SET rows = 0 WHERE table_id = TG_RELID;
        DELETE FROM totals_by_day WHERE table_id = TG_RELID;
    ELSIF TG_NARGS = 0 THEN
        EXECUTE format('UPDATE totals SET rows = rows + n FROM (SELECT sum(n) AS n FROM (' || changed || ') AS c) AS s'
            ' WHERE table_id = $1 AND n <> 0', 'NULL') USING TG_RELID;
    ELSE
        EXECUTE format('WITH days AS MATERIALIZED (SELECT day, sum(n) AS n FROM (' || changed || ') AS c GROUP BY day),'
            ' kept AS (INSERT INTO totals_by_day AS t (table_id, day, rows) SELECT $1, day, n FROM days WHERE n <> 0 ORDER BY day'
            ' ON CONFLICT (table_id, day) DO UPDATE SET rows = t.rows + excluded.rows)'
            ' UPDATE totals SET rows = rows + s.n FROM (SELECT sum(n) AS n FROM days) AS s WHERE table_id = $1 AND s.n <> 0',
            quote_ident(TG_ARGV[0]) || '::date') USING TG_RELID;
    END IF;
    RETURN NULL;
END $$;

-- Count a table once and keep its totals from then on, by the days of the column `day` too unless that is null.
-- Who writes to the table waits meanwhile.
CREATE FUNCTION pipeline.begin_totals(curated regclass, owner text, day text) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    argument text := coalesce(quote_literal(day), '');
BEGIN
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', curated);
    EXECUTE format('CREATE OR REPLACE TRIGGER totals_inserted AFTER INSERT ON %s REFERENCING NEW TABLE AS inserted'
        ' FOR EACH STATEMENT EXECUTE FUNCTION pipeline.keep_totals(%s)', curated, argument);
    EXECUTE format('CREATE OR REPLACE TRIGGER totals_deleted AFTER DELETE ON %s REFERENCING OLD TABLE AS deleted'
        ' FOR EACH STATEMENT EXECUTE FUNCTION pipeline.keep_totals(%s)', curated, argument);
    EXECUTE format('CREATE OR REPLACE TRIGGER totals_truncated AFTER TRUNCATE ON %s'
        ' FOR EACH STATEMENT EXECUTE FUNCTION pipeline.keep_totals(%s)', curated, argument);
    IF day IS NOT NULL THEN  -- an update changes no number of rows, only their days
        EXECUTE format('CREATE OR REPLACE TRIGGER totals_updated AFTER UPDATE ON %s'
            ' REFERENCING NEW TABLE AS inserted OLD TABLE AS deleted'
            ' FOR EACH STATEMENT EXECUTE FUNCTION pipeline.keep_totals(%s)', curated, argument);
    ELSIF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = curated AND tgname = 'totals_updated') THEN
        EXECUTE format('DROP TRIGGER totals_updated ON %s', curated);
    END IF;
    -- what is left of a table that had the name, or the id
    DELETE FROM pipeline.totals_by_day WHERE table_id IN (
        SELECT table_id FROM pipeline.totals WHERE table_id = curated OR table_name = (SELECT relname FROM pg_class WHERE oid = curated));
    DELETE FROM pipeline.totals WHERE table_id = curated OR table_name = (SELECT relname FROM pg_class WHERE oid = curated);
    EXECUTE format('INSERT INTO pipeline.totals (table_id, table_name, source, day_column, rows)'
        ' SELECT $1, (SELECT relname FROM pg_class WHERE oid = $1), $2, $3, count(*) FROM %s', curated)
        USING curated::oid, owner, day;
    IF day IS NOT NULL THEN
        EXECUTE format('INSERT INTO pipeline.totals_by_day (table_id, day, rows) SELECT $1, %I::date, count(*) FROM %s GROUP BY 2',
            day, curated) USING curated::oid;
    END IF;
END $$;

-- those that there are; their day's column is known when their source runs next
SELECT pipeline.begin_totals(c.oid::regclass, (
    SELECT r.source FROM pipeline.runs AS r WHERE r.table_name = c.relname ORDER BY r.started_at DESC LIMIT 1), NULL)
FROM pg_class AS c
WHERE c.relnamespace = 'curated'::regnamespace AND c.relkind = 'r' AND pg_has_role(c.relowner, 'USAGE')
  AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = '_fingerprint');

-- how many of its expectations a run was judged by, and how many it did not meet; anomalies are counted in rows instead
ALTER TABLE pipeline.runs ADD COLUMN expectations integer, ADD COLUMN unmet integer;
UPDATE pipeline.runs AS r SET expectations = q.expectations, unmet = q.unmet
FROM (SELECT run_id, count(*) AS expectations, count(*) FILTER (WHERE NOT success) AS unmet
      FROM pipeline.quality_results WHERE type <> 'anomaly' GROUP BY run_id) AS q
WHERE q.run_id = r.run_id;
CREATE INDEX quality_results_of_anomalies ON pipeline.quality_results (run_id) WHERE type = 'anomaly';
