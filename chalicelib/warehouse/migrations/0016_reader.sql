-- The role as which the API reads: what is published, and all of the pipeline's own tables but the API's tokens.

-- Again where the role was made later: SELECT pipeline.grant_reader();
CREATE FUNCTION pipeline.grant_reader() RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_reader') THEN
        RETURN false;
    END IF;
    GRANT USAGE ON SCHEMA curated, pipeline TO sluice_reader;
    GRANT SELECT ON ALL TABLES IN SCHEMA curated, pipeline TO sluice_reader;
    ALTER DEFAULT PRIVILEGES IN SCHEMA curated GRANT SELECT ON TABLES TO sluice_reader;
    ALTER DEFAULT PRIVILEGES IN SCHEMA pipeline GRANT SELECT ON TABLES TO sluice_reader;
    REVOKE ALL ON pipeline.api_tokens FROM sluice_reader;
    RETURN true;
END
$$;

-- A login that may make no roles leaves it to the administrator: infra/database.sql.
DO $$
BEGIN
    CREATE ROLE sluice_reader NOLOGIN;
EXCEPTION
    WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
END
$$;

SELECT pipeline.grant_reader();

-- The pages of GET /runs.
CREATE INDEX runs_by_time ON pipeline.runs (started_at DESC, run_id DESC);
