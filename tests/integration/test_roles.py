"""Exactly what the roles of deploy/roles.sql may do, and that it is all they need."""

import contextlib
import datetime
import json
import subprocess
import types

import psycopg2
import pytest

from harness import recorded, until
from harness.process import binary, clean_environment

TABLE = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
COLUMN = ("SELECT", "INSERT", "UPDATE", "REFERENCES")

# Everything that they may do in the whole database.
SERVER = {
    "database CONNECT",
    "schema public USAGE",
    "schema_migrations SELECT",
    "tiers SELECT",
    "client_secrets SELECT",
    *(f"clients.{column} SELECT" for column in
      ("client_id", "tier", "scopes", "audiences", "token_ttl", "enabled", "organization",
       "claims", "introspect", "tokens_valid_from")),
    *(f"organizations.{column} SELECT" for column in ("organization_id", "tier", "enabled")),
    "revoked_tokens SELECT",
    *(f"revoked_tokens.{column} INSERT" for column in
      ("jti", "client_id", "expires_at", "reason")),
    "issued_tokens INSERT",
    "flushed_batches.batch_id INSERT",
    "flushed_batches.batch_id SELECT",
    "flushed_batches.rows INSERT",
    "active_clients(integer) EXECUTE",
    "make_issued_tokens_partitions() EXECUTE",
    "forget_flushed_batches(bigint) EXECUTE",
    "ledger_watermark() EXECUTE",
    "forget_revoked_tokens(bigint) EXECUTE",
    "may_notify(text) EXECUTE",
    "said_actor() EXECUTE",
    "said_request_id() EXECUTE",
    "actor_is_believed() EXECUTE",
    "note_instance(uuid,text,text,timestamp with time zone,bigint,timestamp with time zone,text)"
    " EXECUTE",
}
READER = {
    "database CONNECT",
    "schema public USAGE",
    "schema_migrations SELECT",
    "tiers SELECT",
    "organizations SELECT",
    "clients SELECT",
    *(f"client_secrets.{column} SELECT" 
      for column in ("client_id", "secret_id", "created_at", "expires_at")),
    "issued_tokens SELECT",
    "issued_tokens_default SELECT",
    "flushed_batches SELECT",
    "ledger_state SELECT",
    "revoked_tokens SELECT",
    "deleted_clients SELECT",
    "audit_log SELECT",
    "applied_objects SELECT",
    "instances SELECT",
    "issued_token(uuid) EXECUTE",
    "uuid_v7_time(uuid) EXECUTE",
}
GOVERNING = ("clients", "client_secrets", "organizations", "tiers")
ADMIN = {
    "database CONNECT",
    "schema public USAGE",
    *(f"{table} SELECT" for table in
      ("schema_migrations", "issued_tokens", "issued_tokens_default", "flushed_batches",
       "ledger_state", "revoked_tokens", "deleted_clients", "audit_log", "instances")),
    *(f"{table} {name}" for table in (*GOVERNING, "idempotency_keys")
      for name in ("SELECT", "INSERT", "UPDATE", "DELETE")),
    *(f"applied_objects {name}" for name in ("SELECT", "INSERT", "DELETE")),
    *(f"revoked_tokens.{column} INSERT" for column in
      ("jti", "client_id", "expires_at", "reason")),
    "issued_token(uuid) EXECUTE",
    "uuid_v7_time(uuid) EXECUTE",
    "may_notify(text) EXECUTE",
    "first_version() EXECUTE",
    "threes(text) EXECUTE",
    "are_tokens(text[],integer) EXECUTE",
    "are_static_claims(jsonb) EXECUTE",
    "are_labels(jsonb) EXECUTE",
    "said_actor() EXECUTE",
    "said_request_id() EXECUTE",
    "actor_is_believed() EXECUTE",
}
# Functions that run with their owner's rights.
DEFINERS = {
    "active_clients(integer)", "make_issued_tokens_partitions()", "forget_flushed_batches(bigint)",
    "ledger_watermark()", "forget_revoked_tokens(bigint)", "drop_issued_tokens_partition(regclass)",
    "note_deleted_client()", "distrust_earlier_tokens()",
    "audit_change()", "number_audit_row()", "forget_applied()", "forget_audit(integer,bigint)",
    "note_instance(uuid,text,text,timestamp with time zone,bigint,timestamp with time zone,text)",
}


def privileges(database, role):
    """What the role may do; columns are left out where it has the privilege on the whole table."""
    found = {f"database {name}" for name in ("CREATE", "CONNECT", "TEMPORARY")
             if database.execute("SELECT has_database_privilege(%s, current_database(), %s)",
                                 (role, name))[0][0]}
    found |= {f"schema {schema} {name}" for schema, name in database.execute(
        "SELECT nspname, p FROM pg_namespace, unnest(ARRAY['CREATE', 'USAGE']) p"
        " WHERE has_schema_privilege(%s, oid, p) AND nspname !~ '^(pg_|information_schema)'",
        (role,))}
    relations = """FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                   WHERE nspname !~ '^(pg_|information_schema)' AND relkind IN ('r', 'p', 'v', 'm')"""
    tables = {(table, name) for table, name in database.execute(
        f"SELECT relname, p {relations.replace('WHERE', 'CROSS JOIN unnest(%s) p WHERE')}"
        " AND has_table_privilege(%s, c.oid, p)", (list(TABLE), role))}
    found |= {f"{table} {name}" for table, name in tables}
    found |= {f"{table}.{column} {name}" for table, column, name in database.execute(
        "SELECT relname, attname, p "
        + relations.replace("WHERE", "JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0"
                            " AND NOT attisdropped CROSS JOIN unnest(%s) p WHERE")
        + " AND has_column_privilege(%s, c.oid, attnum, p)", (list(COLUMN), role))
        if (table, name) not in tables}
    found |= {f"{sequence} {name}" for sequence, name in database.execute(
        "SELECT relname, p FROM pg_class, unnest(ARRAY['SELECT', 'USAGE', 'UPDATE']) p"
        " WHERE relkind = 'S' AND has_sequence_privilege(%s, oid, p)", (role,))}
    found |= {f"{function} EXECUTE" for function, in database.execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace"
        " WHERE nspname !~ '^(pg_|information_schema)' AND has_function_privilege(%s, p.oid,"
        " 'EXECUTE')", (role,))}
    return found


def test_the_roles_may_do_exactly_this(database):
    assert privileges(database, "jotd_server") == SERVER
    assert privileges(database, "jotd_admin") == ADMIN
    assert privileges(database, "jotd_reader") == READER
    assert database.execute(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'jotd\\_%%' AND (rolsuper OR rolcreatedb"
        " OR rolcreaterole OR rolreplication OR rolbypassrls OR NOT rolcanlogin)") == []
    assert database.execute("SELECT count(*) FROM pg_auth_members WHERE roleid::regrole::text"
                            " LIKE 'jotd\\_%%' OR member::regrole::text LIKE 'jotd\\_%%'") == [(0,)]


def test_functions_that_run_as_their_owner_choose_their_search_path(database):
    found = {name: (owner, config) for name, owner, config in database.execute(
        "SELECT oid::regprocedure::text, proowner::regrole::text, proconfig FROM pg_proc"
        " WHERE prosecdef AND pronamespace = 'public'::regnamespace")}
    assert set(found) == DEFINERS
    for owner, config in found.values():
        assert owner == "jotd_owner"
        assert "search_path=public, pg_temp" in config
    # Nobody else's schema takes precedence, and no other role may call them.
    database.execute("CREATE SCHEMA mine; CREATE TABLE mine.ledger_state (watermark timestamptz)")
    stranger(database)
    assert not any(name in privilege for name in DEFINERS
                   for privilege in privileges(database, "jotd_stranger"))
    with session(database, database.url) as cursor:
        cursor.execute("SET search_path = mine; SELECT public.ledger_watermark()")
        assert cursor.fetchone()[0] == datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        cursor.execute("SELECT public.make_issued_tokens_partitions()")


def stranger(database):
    """A role unrelated to jotd; returns its URL."""
    database.execute("DO $$ BEGIN CREATE ROLE jotd_stranger LOGIN;"
                     " EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    return database.url.replace("jotd_server@", "jotd_stranger@")


@contextlib.contextmanager
def session(database, url):
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        yield connection.cursor()


def test_nobody_else_may_connect(database):
    with pytest.raises(psycopg2.OperationalError, match='"CONNECT"|permission denied for database'):
        psycopg2.connect(stranger(database))


FORBIDDEN = {
    "server": [
        "DELETE FROM issued_tokens", "UPDATE issued_tokens SET scope = ''", "TRUNCATE issued_tokens",
        "SELECT * FROM issued_tokens", "SELECT * FROM issued_token(gen_random_uuid())",
        "SELECT * FROM issued_tokens_default", "INSERT INTO issued_tokens_default DEFAULT VALUES",
        "ALTER TABLE issued_tokens ADD x int", "DROP TABLE issued_tokens_default",
        "SELECT drop_issued_tokens_partition('issued_tokens_default')",
        "SELECT make_issued_tokens_partition(now() + interval '1 year')",
        "SELECT name FROM clients", "UPDATE clients SET enabled = true", "DELETE FROM clients",
        "INSERT INTO clients (client_id, name) VALUES ('x', 'x')",
        "INSERT INTO client_secrets (client_id, digest) VALUES ('x', sha256('x'))",
        "UPDATE client_secrets SET expires_at = NULL", "UPDATE tiers SET per_minute = NULL",
        "DELETE FROM flushed_batches", "UPDATE flushed_batches SET rows = 1",
        "INSERT INTO flushed_batches VALUES (gen_random_uuid(), 1, now())",
        "SELECT * FROM ledger_state FOR SHARE", "UPDATE ledger_state SET watermark = now()",
        "UPDATE schema_migrations SET works_since = 1", "SELECT grant_to_roles()",
        "CREATE TABLE mine ()", "CREATE TEMP TABLE mine ()", "CREATE SCHEMA mine",
        "CREATE FUNCTION f() RETURNS int RETURN 1", "SET ROLE jotd_owner",
        "COPY tiers TO PROGRAM 'true'", "SELECT pg_read_file('PG_VERSION')",
        "SELECT * FROM audit_log", "UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "INSERT INTO audit_log (object, object_id, action) VALUES ('client', 'x', 'create')",
        "INSERT INTO revoked_tokens (jti, expires_at, actor)"
        " VALUES (gen_random_uuid(), now(), 'x')",
        "SELECT forget_audit(1, 1)", "SELECT * FROM idempotency_keys", "DELETE FROM instances",
        "SELECT * FROM applied_objects",
    ],
    "admin": [
        "UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log",
        "INSERT INTO audit_log (object, object_id, action) VALUES ('client', 'x', 'create')",
        "SELECT nextval('audit_log_audit_id_seq')", "SELECT forget_audit(1, 1)",
        "ALTER TABLE clients DISABLE TRIGGER ALL", "DROP TRIGGER clients_audit ON clients",
        "SET session_replication_role = replica", "TRUNCATE clients CASCADE",
        "DELETE FROM issued_tokens", "DELETE FROM revoked_tokens",
        "UPDATE revoked_tokens SET expires_at = now()", "UPDATE applied_objects SET set_name = 'x'",
        "INSERT INTO revoked_tokens (jti, expires_at, actor)"
        " VALUES (gen_random_uuid(), now(), 'x')",
        "INSERT INTO issued_tokens DEFAULT VALUES", "UPDATE ledger_state SET watermark = now()",
        "DELETE FROM instances", "SELECT grant_to_roles()", "CREATE TABLE mine ()",
        "CREATE TEMP TABLE mine ()", "SET ROLE jotd_owner", "SET SESSION AUTHORIZATION jotd_owner",
    ],
    "reader": [
        "INSERT INTO clients (client_id, name) VALUES ('x', 'x')", "UPDATE clients SET name = 'x'",
        "DELETE FROM clients", "TRUNCATE issued_tokens", "DELETE FROM issued_tokens",
        "SELECT digest FROM client_secrets", "SELECT * FROM clients FOR SHARE",
        "UPDATE ledger_state SET watermark = now()", "SELECT forget_flushed_batches(1)",
        "SELECT make_issued_tokens_partitions()", "CREATE TEMP TABLE mine ()",
        "CREATE TABLE mine ()", "SET ROLE jotd_server", "SELECT * FROM idempotency_keys",
        "DELETE FROM audit_log", "SELECT forget_audit(1, 1)",
    ],
}


@pytest.mark.parametrize("role", FORBIDDEN)
def test_what_a_role_may_not_do(database, role):
    database.client()
    with session(database, database.url.replace("jotd_server@", f"jotd_{role}@")) as cursor:
        for sql in FORBIDDEN[role]:
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(sql)
                pytest.fail(f"{role} may: {sql}")


def test_the_reader_asks_what_operators_ask(database, jotd):
    client = database.client()
    with jotd(database) as s:
        s.access_token(client)
    reads = {"DATABASE_URL": database.reader_url}
    assert json.loads(database.cli("client", "list", "--json", env=reads).stdout)
    assert client.id in database.cli("client", "show", client.id, env=reads).stdout
    database.cli("tier", "list", env=reads)
    database.cli("migrate", "--status", env=reads)
    with session(database, database.reader_url) as cursor:
        cursor.execute("SELECT jti::text FROM issued_tokens")
        (jti,), = cursor.fetchall()
        cursor.execute("SELECT client_id FROM issued_token(%s)", (jti,))
        assert cursor.fetchall() == [(client.id,)]


def test_the_administrator_runs_the_commands_that_change_something(database, jotd):
    admin = {"DATABASE_URL": database.admin_url}

    def command(*arguments):
        return database.cli(*arguments, env=admin).stdout

    command("tier", "set", "gold", "--per-minute", "5")
    command("tier", "set", "gold", "--per-minute", "6")
    command("organization", "create", "--id", "acme", "--name", "Acme", "--tier", "gold")
    command("organization", "update", "acme", "--name", "Acme Inc.")
    made = json.loads(command(
        "client", "create", "--name", "billing", "--id", "billing", "--tier", "gold", "--scope",
        "read", "--audience", "https://api", "--organization", "acme", "--label", "team=a",
        "--claim", 'plan="gold"', "--introspect", "https://api", "--json"))
    client = types.SimpleNamespace(id=made["client_id"], secret=made["client_secret"])
    with jotd(database, batch_rows=1) as s:
        s.access_token(client)
        until(lambda: recorded(database))
        (jti,), = database.execute("SELECT jti::text FROM issued_tokens")
        assert "billing" in command("token", "show", jti)
        command("token", "revoke", jti)
    command("client", "update", "billing", "--scope", "read write", "--label", "team=b")
    command("client", "rotate", "billing")
    for secret in json.loads(command("client", "show", "billing", "--json"))["secrets"][1:]:
        command("client", "revoke-secret", "billing", secret["secret_id"])
    command("client", "revoke-tokens", "billing")
    command("client", "disable", "billing")
    command("client", "enable", "billing")
    command("client", "list")
    command("organization", "list")
    command("organization", "disable", "acme")
    command("organization", "enable", "acme")
    command("client", "delete", "billing")
    command("organization", "delete", "acme")
    command("tier", "delete", "gold")
    command("migrate", "--status")
    # All of it is in the audit log, which the administrator cannot write.
    assert database.execute("SELECT DISTINCT a.session_user FROM audit_log a WHERE object_id IN"
                            " ('gold', 'acme', 'billing')") == [("jotd_admin",)]
    assert {action for action, in database.execute(
        "SELECT object || ' ' || action FROM audit_log a WHERE a.session_user = 'jotd_admin'")} == {
            f"{noun} {action}" for noun in ("client", "secret", "organization", "tier")
            for action in ("create", "update", "delete")}


def test_roles_made_before_there_was_an_administrator(databases):
    """The file is run again, then `jotd migrate`."""
    with databases.empty() as database:
        database.execute("REVOKE ALL ON SCHEMA public FROM jotd_admin")
        database.execute(f"REVOKE ALL ON DATABASE {database.name} FROM jotd_admin")
        database.cli("migrate")
        database.make_roles()
        database.cli("migrate")
        assert privileges(database, "jotd_admin") == ADMIN


def test_a_database_that_belonged_to_one_role(databases, jotd):
    """It is changed over as in the runbook while a server runs; creating the roles again changes
    nothing."""
    with databases.empty(roles=False) as database:
        database.execute("CREATE ROLE single LOGIN")
        database.execute(f"ALTER DATABASE {database.name} OWNER TO single")
        url = database.url.replace("jotd_server@", "single@")
        database.cli("migrate", env={"DATABASE_URL": url})
        with jotd(url, batch_rows=1) as s:
            database.execute("DO $$ BEGIN CREATE ROLE jotd_owner;"
                             " EXCEPTION WHEN duplicate_object THEN NULL; END $$")
            database.execute("GRANT jotd_owner TO single")
            for _ in range(2):
                database.make_roles()
                database.cli("migrate")
                assert privileges(database, "jotd_server") == SERVER
                assert privileges(database, "jotd_admin") == ADMIN
                assert privileges(database, "jotd_reader") == READER
            s.access_token(database.client())
            until(lambda: len(recorded(database)) == 1)
        with jotd(database, batch_rows=1) as s:
            s.access_token(database.client())
            until(lambda: len(recorded(database)) == 2)
        database.execute("DROP ROLE single")


def test_nothing_of_the_owner_runs_as_the_superuser_who_makes_the_roles(database):
    """What the owner planted in its schema: a function with jotd's name, and operators that match
    better."""
    with session(database, database.owner_url) as cursor:
        cursor.execute("""
            CREATE FUNCTION rise() RETURNS boolean LANGUAGE plpgsql AS
                $$ BEGIN CREATE ROLE risen SUPERUSER; RETURN true; END $$;
            CREATE FUNCTION rise(oid, regrole) RETURNS boolean RETURN NOT rise();
            CREATE OPERATOR <> (LEFTARG = oid, RIGHTARG = regrole, FUNCTION = rise);
            CREATE FUNCTION rise(oid, regnamespace) RETURNS boolean RETURN NOT rise();
            CREATE OPERATOR = (LEFTARG = oid, RIGHTARG = regnamespace, FUNCTION = rise);
            CREATE OR REPLACE FUNCTION grant_to_roles() RETURNS void LANGUAGE plpgsql AS
                $$ BEGIN PERFORM rise(); END $$;
            CREATE FUNCTION current_database() RETURNS name LANGUAGE plpgsql AS
                $$ BEGIN PERFORM public.rise(); RETURN pg_catalog.current_database(); END $$;
            CREATE FUNCTION current_schema() RETURNS name LANGUAGE plpgsql AS
                $$ BEGIN PERFORM public.rise(); RETURN pg_catalog.current_schema(); END $$""")
        cursor.execute(f"ALTER DATABASE {database.name} SET search_path = public, pg_catalog")
    try:
        database.make_roles()
        assert database.execute("SELECT rolname FROM pg_roles WHERE rolname = 'risen'") == []
    finally:
        database.execute("DROP ROLE IF EXISTS risen")


def test_who_holds_the_lock_of_migrations_is_named(database):
    """Anyone who may connect can take it, including a compromised server."""
    with session(database, database.url) as cursor:
        cursor.execute("SELECT pg_advisory_lock(1785689188), pg_backend_pid()")
        pid = cursor.fetchone()[1]
        migrating = subprocess.Popen(
            [binary(), "migrate"], env=clean_environment(DATABASE_URL=database.owner_url),
            stderr=subprocess.PIPE, text=True)
        try:
            line = migrating.stderr.readline()
            assert f"as jotd_server in PostgreSQL's process {pid}" in line
            database.execute("SELECT pg_terminate_backend(%s)", (pid,))
            assert migrating.wait(20) == 0
        finally:
            migrating.kill()
            migrating.stderr.close()
            migrating.wait()


def test_a_privilege_that_somebody_added_goes_with_the_next_migrate(database):
    database.execute("GRANT UPDATE ON tiers TO jotd_server; GRANT INSERT (name) ON clients TO"
                     " jotd_reader; GRANT EXECUTE ON FUNCTION grant_to_roles() TO PUBLIC")
    assert privileges(database, "jotd_server") != SERVER
    database.cli("migrate")
    assert privileges(database, "jotd_server") == SERVER
    assert privileges(database, "jotd_reader") == READER


def test_months_that_may_not_be_dropped(database):
    """Not by anyone who may call the function, whatever the argument and time zone."""
    def part(months):
        (name, first), = database.execute(
            "SELECT 'issued_tokens_' || to_char(m, 'YYYY_MM'), m FROM date_trunc('month', now() AT"
            " TIME ZONE 'UTC' - %s * interval '1 month') m", (months,))
        database.execute("SELECT make_issued_tokens_partition(%s)", (f"{first}Z",))
        return name

    database.execute("GRANT EXECUTE ON FUNCTION drop_issued_tokens_partition(regclass)"
                     " TO jotd_reader")
    with session(database, database.reader_url) as cursor:
        cursor.execute("SET timezone = 'Pacific/Kiritimati'")
        for name in (part(-1), part(0), part(1), "issued_tokens_default", "issued_tokens",
                     "clients"):
            with pytest.raises(psycopg2.errors.InvalidParameterValue):
                cursor.execute("SELECT drop_issued_tokens_partition(%s)", (name,))
        old = part(2)
        cursor.execute("SELECT drop_issued_tokens_partition(%s)", (old,))
    assert database.execute("SELECT to_regclass(%s)", (old,)) == [(None,)]


def test_a_role_for_the_job_that_prunes(database):
    """Made as in the runbook."""
    database.execute("CREATE ROLE pruner LOGIN IN ROLE jotd_reader;"
                     "GRANT EXECUTE ON FUNCTION issued_tokens_partition_end(regclass),"
                     " drop_issued_tokens_partition(regclass), forget_flushed_batches(bigint),"
                     " forget_audit(integer, bigint) TO pruner")
    try:
        database.execute("SELECT make_issued_tokens_partition(now() - interval '3 months')")
        prunes = {"DATABASE_URL": database.url.replace("jotd_server@", "pruner@")}
        told = database.cli("ledger", "prune", "--keep-months", 2, "--json", env=prunes).stdout
        assert len(json.loads(told)["partitions"]) == 1
    finally:
        database.execute("DROP OWNED BY pruner; DROP ROLE pruner")


def test_the_servers_of_these_tests_have_the_servers_role(database, jotd):
    with jotd(database, batch_rows=1) as s:
        s.access_token(database.client())
        until(lambda: recorded(database))
        assert database.execute(
            "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name IN ('jotd', 'jotd-ledger')") == [("jotd_server",)]
