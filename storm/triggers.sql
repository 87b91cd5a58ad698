-- Faults at the rows of a lane, see database.py. LOCK is held by another session.
DROP SCHEMA IF EXISTS storm CASCADE;
CREATE SCHEMA storm;
CREATE TABLE storm.faults (
    name text PRIMARY KEY, lane text, place text, action text, after int, times int, shift interval
);
CREATE TABLE storm.written (at timestamptz);
-- in the order of their commits: who publishes holds the table's lock, and `published_at` is when he began to wait for it
CREATE TABLE storm.published (place bigserial, run_id text PRIMARY KEY);

CREATE FUNCTION storm.strike(found_lane text, found_place text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE fault storm.faults; met bigint;
BEGIN
    -- not the stack itself, which closes lost runs when it comes up
    IF current_setting('application_name') <> 'sluice' THEN RETURN; END IF;
    FOR fault IN SELECT * FROM storm.faults WHERE lane = found_lane AND place = found_place LOOP
        met := nextval(('storm.' || quote_ident(fault.name))::regclass);
        CONTINUE WHEN met <= fault.after OR met > fault.after + fault.times;
        CASE fault.action
        WHEN 'cut' THEN PERFORM pg_terminate_backend(pg_backend_pid());
        WHEN 'disk full' THEN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100';
        WHEN 'deadlock' THEN RAISE 'deadlock detected' USING ERRCODE = '40P01';
        WHEN 'lock timeout' THEN
            SET LOCAL lock_timeout = '100ms';
            PERFORM pg_advisory_xact_lock(20261121);
        WHEN 'read-only' THEN
            SET LOCAL transaction_read_only = on;
            INSERT INTO storm.written VALUES (now());
        END CASE;
    END LOOP;
END $$;

CREATE FUNCTION storm.at_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM storm.strike(substring(TG_TABLE_NAME FROM '^storm_[0-9]+(?:_(?:lines|texts|containers|inbox))?'), TG_ARGV[0]);
    RETURN NEW;
END $$;

CREATE FUNCTION storm.at_run_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM storm.strike(split_part(NEW.run_id, '-', 1), TG_ARGV[0]);
    RETURN NEW;
END $$;

CREATE FUNCTION storm.at_vector() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM storm.strike(NEW.table_name, 'embed');
    RETURN NEW;
END $$;

CREATE FUNCTION storm.at_run() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE step interval;
BEGIN
    IF NEW.status = 'running' AND (TG_OP = 'INSERT' OR OLD.entered_at <> NEW.entered_at) THEN
        PERFORM storm.strike(NEW.source, 'open');
        SELECT shift INTO step FROM storm.faults WHERE lane = NEW.source AND place = 'clock';
        NEW.entered_at := NEW.entered_at + coalesce(step, interval '0');
    ELSIF NEW.status = 'published' THEN PERFORM storm.strike(NEW.source, 'publish');
    ELSIF NEW.status = 'succeeded' THEN PERFORM storm.strike(NEW.source, 'complete');
    ELSIF NEW.status = 'failed' THEN PERFORM storm.strike(NEW.source, 'fail');
    ELSIF NEW.verdict IS NOT NULL THEN PERFORM storm.strike(NEW.source, 'judge');
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION storm.at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM storm.strike(NEW.source, 'commit');
    INSERT INTO storm.published (run_id) VALUES (NEW.run_id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

CREATE FUNCTION storm.at_table() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE made record;
BEGIN
    FOR made IN SELECT * FROM pg_event_trigger_ddl_commands()
                WHERE command_tag = 'CREATE TABLE' AND schema_name IN ('staging', 'curated') LOOP
        CONTINUE WHEN split_part(made.object_identity, '.', 2) NOT LIKE 'storm\_%';
        EXECUTE format('CREATE TRIGGER storm BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION storm.at_row(%L)',
                       made.object_identity, CASE made.schema_name WHEN 'staging' THEN 'copy' ELSE 'merge' END);
    END LOOP;
END $$;

DROP EVENT TRIGGER IF EXISTS storm;
CREATE EVENT TRIGGER storm ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION storm.at_table();
CREATE TRIGGER storm BEFORE INSERT OR UPDATE ON pipeline.runs FOR EACH ROW EXECUTE FUNCTION storm.at_run();
CREATE TRIGGER storm_chunk BEFORE INSERT ON pipeline.chunks FOR EACH ROW EXECUTE FUNCTION storm.at_run_row('chunk');
CREATE TRIGGER storm_quarantine BEFORE INSERT ON pipeline.quarantine
    FOR EACH ROW EXECUTE FUNCTION storm.at_run_row('quarantine');
CREATE CONSTRAINT TRIGGER storm_commit AFTER UPDATE ON pipeline.runs DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status = 'published') EXECUTE FUNCTION storm.at_commit();
CREATE TRIGGER storm_vector BEFORE INSERT OR UPDATE ON pipeline.embeddings FOR EACH ROW EXECUTE FUNCTION storm.at_vector();
