-- The roles of a database of jotd. For psql, connected to that database as a superuser:
--
--     psql -d jotd -f roles.sql
--
-- before the first `jotd migrate`, or later and then once more `jotd migrate` as jotd_owner, which
-- gives the others what they need of the tables; run again, it changes nothing.
--
--   jotd_owner   owns the database and all in it, as for `jotd migrate`, `client`, `tier` and
--                `ledger prune`
--   jotd_server  may do what `jotd serve` and `jotd ledger flush` and `retry` need, and no more
--   jotd_reader  sees everything but the digests of secrets, and changes nothing: for reports
--                (queries.sql) and `jotd client list`
--
-- Nobody else may connect: whoever can may say that all clients have changed, by NOTIFY, for which
-- PostgreSQL knows no privilege. They have no passwords; give them some by psql's \password, which
-- shows them to nobody, or let them in by pg_hba.conf otherwise.
--
-- The database, that is, all in the schema that is first in the search_path, is taken to be jotd's
-- own. Roles are of the whole cluster: two installations that share one share them.
\set ON_ERROR_STOP on
-- By their full names: the search_path of the database is its owner's to set, and so are functions of
-- the same names.
SELECT pg_catalog.current_database() AS database, pg_catalog.current_schema() AS schema \gset

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp; -- nothing of jotd_owner's runs as a superuser
SET LOCAL client_min_messages = warning;
SET LOCAL lock_timeout = '5s'; -- of tables that others use, rather than hold everybody up

SELECT format('CREATE ROLE %I', name)
FROM unnest(ARRAY['jotd_owner', 'jotd_server', 'jotd_reader']) AS name
WHERE to_regrole(name) IS NULL \gexec
ALTER ROLE jotd_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE jotd_server LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE jotd_reader LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;

-- No CONNECT, and no tables of one's own, not even temporary ones.
ALTER DATABASE :"database" OWNER TO jotd_owner;
REVOKE ALL ON DATABASE :"database" FROM PUBLIC, jotd_server, jotd_reader;
GRANT CONNECT ON DATABASE :"database" TO jotd_server, jotd_reader;
REVOKE ALL ON SCHEMA :"schema" FROM PUBLIC, jotd_server, jotd_reader;
GRANT USAGE, CREATE ON SCHEMA :"schema" TO jotd_owner;
GRANT USAGE ON SCHEMA :"schema" TO jotd_server, jotd_reader;

-- What an earlier owner has made. Partitions and functions that come later are jotd_owner's anyway:
-- the functions that make them run as it.
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
