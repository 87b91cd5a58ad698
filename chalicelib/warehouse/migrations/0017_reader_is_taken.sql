-- Who made the role without being a superuser has since PostgreSQL 16 the right to grant it, and not to take it on
-- (https://www.postgresql.org/docs/17/sql-createrole.html), so the API went on reading as the pipeline's own login.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_reader')
       AND NOT pg_has_role('sluice_reader', 'SET') THEN
        GRANT sluice_reader TO CURRENT_USER WITH SET TRUE, INHERIT FALSE;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN NULL;  -- left to the administrator: infra/database.sql
END
$$;
