-- The database and the login of one stage, with the least rights that Sluice needs.
--
-- Run once by an administrator; on RDS that is the master user. pgvector is not a trusted extension, so nobody else may
-- create it (https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/PostgreSQL.Concepts.General.FeatureSupport.Extensions.html):
--
--   psql "$ADMINISTRATOR_URL" -v ON_ERROR_STOP=1 -f infra/database.sql
--   psql "$ADMINISTRATOR_URL" -c '\password sluice'
--
-- The login makes and owns the schemas pipeline, curated and staging; whoever reads the tables is granted that by it:
--
--   GRANT USAGE ON SCHEMA curated TO analysts;
--   ALTER DEFAULT PRIVILEGES FOR ROLE sluice IN SCHEMA curated GRANT SELECT ON TABLES TO analysts;

CREATE ROLE sluice LOGIN;  -- no superuser, makes no roles and no databases: these are the defaults
CREATE DATABASE sluice;

-- by default everybody may connect
REVOKE ALL ON DATABASE sluice FROM PUBLIC;
-- CREATE: its schemas; TEMPORARY: the batches of vectors
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE sluice TO sluice;

\connect sluice
CREATE EXTENSION IF NOT EXISTS vector;
