-- replaces: 0013_totals
-- 0013 counted every table there was, here and whenever a source named its day later, while who wrote to it waited. From
-- now on a table is counted aside, see chalicelib/warehouse/counting.py. Where 0013 is pending still, this is all of it.

CREATE TABLE IF NOT EXISTS pipeline.totals (
    table_id    oid PRIMARY KEY,
    table_name  text NOT NULL,
    source      text,
    day_column  text,  -- a date or a time; null: nothing is counted by day
    rows        bigint NOT NULL,
    since       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS pipeline.totals_by_day (
    table_id  oid NOT NULL,
    day       date,
    rows      bigint NOT NULL,
    UNIQUE NULLS NOT DISTINCT (table_id, day)
);

-- While a count is under way the triggers keep what changed since its snapshot, to which it is added at its end.
ALTER TABLE pipeline.totals
    ADD COLUMN counting    uuid,                           -- the count under way, or that is to come; null: all is exact
    ADD COLUMN rows_known  boolean NOT NULL DEFAULT true;  -- false: not even `rows` is

-- The trigger. Its argument is the day's column, if there is one. Days are taken in their order, so that two
-- statements never wait for each other in a circle. An emptied table is known: what is being counted is of no use.
CREATE OR REPLACE FUNCTION pipeline.keep_totals() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pipeline, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    changed text := CASE TG_OP
        WHEN 'INSERT' THEN 'SELECT %1$s AS day, 1 AS n FROM inserted'
        WHEN 'DELETE' THEN 'SELECT %1$s AS day, -1 AS n FROM deleted'
        WHEN 'UPDATE' THEN 'SELECT %1$s AS day, 1 AS n FROM inserted UNION ALL SELECT %1$s, -1 FROM deleted'
    END;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE totals SET rows = 0, rows_known = true, counting = NULL WHERE table_id = TG_RELID;
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

-- Keep what changes from now on, by the days of the column `day` too unless that is null. Counts nothing: the answer
-- names the count that is to be added to what is kept, of the rows as they are now; null where nothing is to be counted.
-- Who writes to the table is waited for.
CREATE FUNCTION pipeline.start_totals(curated regclass, owner text, day text) RETURNS uuid
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    argument text := coalesce(quote_literal(day), '');
    named text := (SELECT relname FROM pg_class WHERE oid = curated);
    known boolean;
    count uuid;
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
    known := coalesce((SELECT t.rows_known FROM pipeline.totals AS t WHERE t.table_id = curated AND t.table_name = named), false);
    count := CASE WHEN day IS NOT NULL OR NOT known THEN gen_random_uuid() END;
    -- what is left of a table that had the name, or the id
    DELETE FROM pipeline.totals_by_day
    WHERE table_id = curated OR table_id IN (SELECT t.table_id FROM pipeline.totals AS t WHERE t.table_name = named);
    DELETE FROM pipeline.totals AS t
    WHERE t.table_name = named AND t.table_id <> curated OR t.table_id = curated AND NOT known;
    INSERT INTO pipeline.totals AS t (table_id, table_name, source, day_column, rows, rows_known, counting)
    VALUES (curated, named, owner, day, 0, known, count)
    ON CONFLICT (table_id) DO UPDATE SET source = excluded.source, day_column = excluded.day_column, counting = excluded.counting;
    RETURN count;
END $$;

-- Add what was counted to what is kept: rows by day, the day null where the table has none. False where the count is no
-- longer wanted: another was begun, or the table emptied, meanwhile. The caller keeps writers away.
CREATE FUNCTION pipeline.add_count(curated regclass, count uuid, days date[], counts bigint[]) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    kept pipeline.totals;
BEGIN
    SELECT * INTO kept FROM pipeline.totals WHERE table_id = curated AND counting = count;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF kept.day_column IS NOT NULL THEN
        INSERT INTO pipeline.totals_by_day AS t (table_id, day, rows)
        SELECT curated, c.day, c.n FROM unnest(days, counts) AS c (day, n)
        ON CONFLICT (table_id, day) DO UPDATE SET rows = t.rows + excluded.rows;
    END IF;
    UPDATE pipeline.totals SET counting = NULL, rows_known = true,
        rows = CASE WHEN rows_known THEN rows ELSE rows + (SELECT coalesce(sum(n), 0) FROM unnest(counts) AS n) END
    WHERE table_id = curated;
    RETURN true;
END $$;

-- Count a table at once, whatever is kept of it, while who writes to it waits: for somebody at a prompt, and for tables
-- that were just made.
CREATE OR REPLACE FUNCTION pipeline.begin_totals(curated regclass, owner text, day text) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    count uuid;
    days date[];
    counts bigint[];
BEGIN
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', curated);
    DELETE FROM pipeline.totals AS t WHERE t.table_id = curated;
    count := pipeline.start_totals(curated, owner, day);
    EXECUTE format('SELECT array_agg(c.day), array_agg(c.n) FROM (SELECT %s AS day, count(*) AS n FROM %s GROUP BY 1) AS c',
        coalesce(quote_ident(day) || '::date', 'NULL::date'), curated) INTO days, counts;
    PERFORM pipeline.add_count(curated, count, days, counts);
END $$;

-- What of a table's upkeep, its totals and its indexes, could not be done, and why; it is tried again a day later.
CREATE TABLE pipeline.upkeep_failures (
    table_name  text NOT NULL,
    task        text NOT NULL,
    reason      text NOT NULL,
    failed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (table_name, task)
);

-- the rest of 0013: how many of its expectations a run was judged by, and how many it did not meet
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'pipeline.runs'::regclass AND attname = 'expectations') THEN
        RETURN;
    END IF;
    ALTER TABLE pipeline.runs ADD COLUMN expectations integer, ADD COLUMN unmet integer;
    UPDATE pipeline.runs AS r SET expectations = q.expectations, unmet = q.unmet
    FROM (SELECT run_id, count(*) AS expectations, count(*) FILTER (WHERE NOT success) AS unmet
          FROM pipeline.quality_results WHERE type <> 'anomaly' GROUP BY run_id) AS q
    WHERE q.run_id = r.run_id;
END $$;
CREATE INDEX IF NOT EXISTS quality_results_of_anomalies ON pipeline.quality_results (run_id) WHERE type = 'anomaly';
