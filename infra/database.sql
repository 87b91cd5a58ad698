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
--
-- As sluice_reader the API reads; the schema's migrations grant it what it may. A login of its own for the API:
--
--   CREATE ROLE sluice_api LOGIN IN ROLE sluice_reader;
--   GRANT CONNECT ON DATABASE sluice TO sluice_api;
--
-- Where the schema is older than the role: SELECT pipeline.grant_reader(); as sluice.

CREATE ROLE sluice_reader NOLOGIN;
CREATE ROLE sluice LOGIN;  -- no superuser, makes no roles and no databases: these are the defaults
CREATE DATABASE sluice;

-- by default everybody may connect
REVOKE ALL ON DATABASE sluice FROM PUBLIC;
-- CREATE: its schemas; TEMPORARY: the batches of vectors
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE sluice TO sluice;
GRANT sluice_reader TO sluice;  -- to take on while the API reads

\connect sluice
CREATE EXTENSION IF NOT EXISTS vector;
