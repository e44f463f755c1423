-- The roles of a jotd database. Run it with psql, connected to that database as a superuser:
--
--     psql -d jotd -f roles.sql
--
-- before the first `jotd migrate`. If run later, run `jotd migrate` once more as jotd_owner, which
-- grants the other roles what they need on the tables; so too when a new version of this file has
-- another role. Running it again changes nothing.
--
--   jotd_owner   owns the database and everything in it: for `jotd migrate` and `ledger prune`. It
--                may run all other commands, too
--   jotd_server  may do only what `jotd serve`, `jotd ledger flush` and `jotd ledger retry` need
--   jotd_admin   changes clients, organizations and tiers, and revokes tokens: for the commands that
--                do so. It may read the audit log, and not change it
--   jotd_reader  reads everything except the digests of secrets, and changes nothing: for reports
--                (queries.sql), `jotd client list` and `jotd audit list`
--
-- Nobody else may connect: anybody who can may claim by NOTIFY that all clients have changed, and
-- PostgreSQL has no privilege for NOTIFY. The roles have no passwords: set them with psql's
-- \password, which shows them to nobody, or use another method in pg_hba.conf.
--
-- Everything in the first schema of the database's search_path is taken to be jotd's own. Roles
-- belong to the whole cluster: two installations in one cluster share them.
\set ON_ERROR_STOP on
-- Schema-qualified, because the database's owner controls its search_path and could define
-- functions of the same names.
SELECT pg_catalog.current_database() AS database, pg_catalog.current_schema() AS schema \gset

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp; -- nothing of jotd_owner's is to run as a superuser
SET LOCAL client_min_messages = warning;
SET LOCAL lock_timeout = '5s'; -- rather fail than hold up everybody who uses these tables

SELECT format('CREATE ROLE %I', name)
FROM unnest(ARRAY['jotd_owner', 'jotd_server', 'jotd_admin', 'jotd_reader']) AS name
WHERE to_regrole(name) IS NULL \gexec
ALTER ROLE jotd_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE jotd_server LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE jotd_admin LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE jotd_reader LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;

-- PUBLIC may not connect, and only jotd_owner may create tables, even temporary ones.
ALTER DATABASE :"database" OWNER TO jotd_owner;
REVOKE ALL ON DATABASE :"database" FROM PUBLIC, jotd_server, jotd_admin, jotd_reader;
GRANT CONNECT ON DATABASE :"database" TO jotd_server, jotd_admin, jotd_reader;
REVOKE ALL ON SCHEMA :"schema" FROM PUBLIC, jotd_server, jotd_admin, jotd_reader;
GRANT USAGE, CREATE ON SCHEMA :"schema" TO jotd_owner;
GRANT USAGE ON SCHEMA :"schema" TO jotd_server, jotd_admin, jotd_reader;

-- Takes over what an earlier owner made. Later partitions belong to jotd_owner anyway, because the
-- functions that make them run as it.
SELECT format('ALTER %s %s OWNER TO jotd_owner', kind, name)
FROM (SELECT 'TABLE', oid, 'pg_class'::regclass, oid::regclass::text, relowner
      FROM pg_class WHERE relnamespace = quote_ident(:'schema')::regnamespace AND relkind IN ('r', 'p')
      UNION ALL
      SELECT 'FUNCTION', oid, 'pg_proc'::regclass, oid::regprocedure::text, proowner
      FROM pg_proc WHERE pronamespace = quote_ident(:'schema')::regnamespace AND prokind = 'f')
     AS made (kind, oid, class, name, owner)
WHERE owner <> 'jotd_owner'::regrole
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = class AND d.objid = made.oid AND d.deptype = 'e') \gexec
COMMIT;
