"""The audit log: every change of what governs is in it, by whatever means it was made."""

import contextlib
import json
import os
import pwd
import subprocess

import psycopg2
import pytest

import harness
from harness import until
from harness.process import binary, clean_environment
from harness.services import Databases

ME = f"command:{pwd.getpwuid(os.getuid()).pw_name}"

# Tables whose rows decide nothing about who gets what: records of what has happened, and what is
# derived from it. Every other table has to be audited.
NOT_GOVERNING = {
    "schema_migrations", "issued_tokens", "issued_tokens_default", "flushed_batches",
    "ledger_state", "deleted_clients", "audit_log", "applied_objects", "idempotency_keys",
    "instances",
    "revoked_tokens",  # its rows name their actor themselves
}
AUDITED = {"clients": "client", "client_secrets": "secret", "tiers": "tier",
           "organizations": "organization"}


def admin(database, *arguments, **options):
    """Runs a command as jotd_admin."""
    return database.cli(*arguments, env={"DATABASE_URL": database.admin_url}, **options)


def audit(database, *arguments):
    listed = database.cli("audit", "list", "--json", *arguments,
                          env={"DATABASE_URL": database.reader_url})
    return json.loads(listed.stdout)


@contextlib.contextmanager
def session(url):
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        yield connection.cursor()


def newest(database):
    """The id of the last row, to tell what is written from here on."""
    return database.execute("SELECT coalesce(max(audit_id), 0) FROM audit_log")[0][0]


def since(database, audit_id):
    """What was written since, oldest first, as (actor, role, action, object, id)."""
    return database.execute(
        "SELECT actor, a.session_user, action, object, object_id FROM audit_log a"
        " WHERE audit_id > %s ORDER BY audit_id", (audit_id,))


def test_every_governing_table_is_audited(database):
    tables = {name for name, in database.execute(
        "SELECT relname FROM pg_class c WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition")}
    assert NOT_GOVERNING - {"issued_tokens_default"} <= tables
    assert tables - NOT_GOVERNING == set(AUDITED)
    # For each operation, also where ordinary triggers do not fire.
    fired = database.execute("""
        SELECT tgrelid::regclass::text, tgtype & 1 = 1, tgtype & (4 | 8 | 16 | 32), tgenabled
        FROM pg_trigger WHERE tgfoid = 'audit_change()'::regprocedure ORDER BY 1, 2""")
    assert sorted(fired) == sorted(
        row for table in AUDITED
        for row in ((table, False, 32, "A"), (table, True, 4 | 8 | 16, "A")))


def test_an_audited_table_without_its_trigger_would_be_found(database):
    """The check above sees what a later migration might forget."""
    database.execute("CREATE TABLE forgotten (x int)")
    with pytest.raises(AssertionError):
        test_every_governing_table_is_audited(database)
    database.execute("DROP TABLE forgotten; DROP TRIGGER tiers_audit ON tiers")
    with pytest.raises(AssertionError):
        test_every_governing_table_is_audited(database)


def test_every_command_that_changes_something(database):
    """Each is in the log once for every row that it changed, with the command's user and role."""
    def secret_ids():
        return {id for id, in database.execute("SELECT secret_id FROM client_secrets")}

    def check(command, *expected):
        before = newest(database)
        admin(database, *command)
        assert since(database, before) == [(ME, "jotd_admin", *row) for row in expected], command

    check(["tier", "set", "gold", "--per-minute", "5"], ("create", "tier", "gold"))
    check(["tier", "set", "gold", "--per-minute", "6"], ("update", "tier", "gold"))
    check(["tier", "set", "gold", "--per-minute", "6"])
    check(["organization", "create", "--id", "acme", "--name", "Acme"],
          ("create", "organization", "acme"))
    check(["organization", "update", "acme", "--tier", "gold"], ("update", "organization", "acme"))
    check(["organization", "disable", "acme"], ("update", "organization", "acme"))
    check(["organization", "disable", "acme"])
    check(["organization", "enable", "acme"], ("update", "organization", "acme"))

    before = newest(database)
    admin(database, "client", "create", "--id", "billing", "--name", "Billing", "--tier", "gold",
          "--organization", "acme")
    (first,) = secret_ids()
    assert since(database, before) == [
        (ME, "jotd_admin", "create", "client", "billing"),
        (ME, "jotd_admin", "create", "secret", f"billing/{first}")]
    for change in (["--name", "B"], ["--scope", "read"], ["--audience", "https://api"],
                   ["--token-ttl", "60"], ["--label", "team=a"], ["--claim", "plan=1"],
                   ["--introspect", "*"], ["--tier", "free"]):
        check(["client", "update", "billing", *change], ("update", "client", "billing"))
        check(["client", "update", "billing", *change])
    check(["client", "disable", "billing"], ("update", "client", "billing"))
    check(["client", "enable", "billing"], ("update", "client", "billing"))
    check(["client", "revoke-tokens", "billing"], ("update", "client", "billing"))

    before = newest(database)
    admin(database, "client", "rotate", "billing")
    secrets = secret_ids() - {first}
    assert len(secrets) == 1
    assert sorted(since(database, before)) == [
        (ME, "jotd_admin", "create", "secret", f"billing/{secrets.pop()}"),
        (ME, "jotd_admin", "update", "secret", f"billing/{first}")]
    check(["client", "revoke-secret", "billing", first], ("delete", "secret", f"billing/{first}"))
    (last,) = secret_ids()
    before = newest(database)
    admin(database, "client", "delete", "billing")
    assert sorted(since(database, before)) == [
        (ME, "jotd_admin", "delete", "client", "billing"),
        (ME, "jotd_admin", "delete", "secret", f"billing/{last}")]
    check(["organization", "delete", "acme"], ("delete", "organization", "acme"))
    check(["tier", "delete", "gold"], ("delete", "tier", "gold"))


def test_rows_before_and_after_without_digests(database):
    client = database.client(scope="read")
    admin(database, "client", "update", client.id, "--scope", "write")
    (update,) = audit(database, "--action", "update", "--id", client.id)
    assert update["before"]["scopes"] == ["read"] and update["after"]["scopes"] == ["write"]
    assert update["after"]["version"] == update["before"]["version"] + 1
    (create,) = audit(database, "--object", "client", "--action", "create")
    assert create["before"] is None and create["after"] == update["before"]
    (secret,) = audit(database, "--object", "secret")
    assert set(secret["after"]) == {"client_id", "secret_id", "created_at", "expires_at"}
    database.execute("UPDATE client_secrets SET digest = sha256('other')")
    database.execute("DELETE FROM client_secrets")
    (digests,) = database.execute("SELECT string_agg(a::text, '') FROM audit_log a")
    assert "digest" not in digests[0] and "\\x" not in digests[0]


def test_changes_by_hand(database):
    """psql as the owner, whose word about the actor is not taken, and as the administrator, whose
    is."""
    before = newest(database)
    with session(database.owner_url) as cursor:
        cursor.execute("SET jotd.actor = 'somebody else'; SET jotd.request_id = 'forged'")
        cursor.execute("INSERT INTO tiers (name) VALUES ('gold')")
        cursor.execute("UPDATE tiers SET per_hour = 9 WHERE name = 'gold'")
        cursor.execute("UPDATE tiers SET per_hour = 9 WHERE name = 'gold'")  # changes nothing
        cursor.execute("DELETE FROM tiers WHERE name = 'gold'")
    assert since(database, before) == [
        ("", "jotd_owner", action, "tier", "gold") for action in ("create", "update", "delete")]
    assert database.execute("SELECT DISTINCT request_id FROM audit_log") == [("",)]
    before = newest(database)
    with session(database.admin_url) as cursor:
        cursor.execute("INSERT INTO tiers (name) VALUES ('gold')")
        cursor.execute("SET jotd.actor = 'api:console'; SET jotd.request_id = 'r-1'")
        cursor.execute("DELETE FROM tiers WHERE name = 'gold'")
    assert since(database, before) == [
        ("", "jotd_admin", "create", "tier", "gold"),
        ("api:console", "jotd_admin", "delete", "tier", "gold")]
    assert audit(database)[0]["request_id"] == "r-1"


def test_somebody_who_became_the_owner_is_named(database):
    database.execute("CREATE ROLE maintainer LOGIN IN ROLE jotd_owner")
    try:
        database.execute(f"GRANT CONNECT ON DATABASE {database.name} TO maintainer")
        before = newest(database)
        with session(database.url.replace("jotd_server@", "maintainer@")) as cursor:
            cursor.execute("SET ROLE jotd_owner; SET jotd.actor = 'command:root'")
            cursor.execute("UPDATE tiers SET per_hour = 9 WHERE name = 'free'")
        assert since(database, before) == [("", "maintainer", "update", "tier", "free")]
    finally:
        database.execute("DROP OWNED BY maintainer; DROP ROLE maintainer")


def test_one_role_that_owns_everything_is_believed(databases):
    with databases.empty(roles=False) as database:
        database.execute("CREATE ROLE single LOGIN")
        try:
            database.execute(f"ALTER DATABASE {database.name} OWNER TO single")
            url = {"DATABASE_URL": database.url.replace("jotd_server@", "single@")}
            database.cli("migrate", env=url)
            before = newest(database)
            database.cli("tier", "set", "free", "--per-hour", "9", env=url)
            assert since(database, before) == [(ME, "single", "update", "tier", "free")]
        finally:
            database.execute("DROP OWNED BY single CASCADE")
            database.execute(f"ALTER DATABASE {database.name} OWNER TO postgres")
            database.execute("DROP ROLE single")


def test_what_is_rolled_back_leaves_nothing(database):
    before = newest(database)
    with contextlib.closing(psycopg2.connect(database.admin_url)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO tiers (name) VALUES ('gold')")
        connection.rollback()
        with connection.cursor() as cursor:
            cursor.execute("SAVEPOINT s; DELETE FROM tiers WHERE name = 'starter';"
                           "ROLLBACK TO s; UPDATE tiers SET per_hour = 9 WHERE name = 'free'")
        connection.commit()
    assert since(database, before) == [("", "jotd_admin", "update", "tier", "free")]
    failed = admin(database, "tier", "delete", "nothing", check=False)
    assert failed.returncode == 1
    assert len(since(database, before)) == 1


def test_truncate_and_cascades(database):
    database.client(id="one")
    before = newest(database)
    database.execute("UPDATE tiers SET name = 'gratis' WHERE name = 'free'")
    assert sorted(since(database, before)) == [
        ("", "postgres", "update", "client", "one"), ("", "postgres", "update", "tier", "gratis")]
    before = newest(database)
    database.execute("TRUNCATE tiers CASCADE")
    assert sorted(since(database, before)) == [
        ("", "postgres", "truncate", noun, "*")
        for noun in ("client", "organization", "secret", "tier")]


def test_changes_that_arrive_where_ordinary_triggers_do_not_fire(database):
    """As those of logical replication do, which may bring rows of another audit log too: their
    numbers must not be in the way."""
    last = newest(database)
    with session(database.postgres.url(database.name)) as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE tiers SET per_hour = 9 WHERE name = 'free'")
        cursor.execute("INSERT INTO audit_log (audit_id, object, object_id, action)"
                       " OVERRIDING SYSTEM VALUE VALUES (%s, 'tier', 'theirs', 'update')",
                       (last + 3,))
    before = newest(database)
    for rate in (1, 2, 3, 4):
        admin(database, "tier", "set", "pro", "--per-minute", rate)
    assert [row[4] for row in since(database, last)] == ["free", "theirs", *["pro"] * 4]
    assert newest(database) > before


def test_arrays_of_arrays_are_refused(database):
    client = database.client()
    for column in ("scopes", "audiences", "introspect"):
        with pytest.raises(psycopg2.errors.CheckViolation):
            database.execute(f"UPDATE clients SET {column} = ARRAY[ARRAY['a', 'b'], ARRAY['c', 'd']]"
                             " WHERE client_id = %s", (client.id,))
        database.execute(f"UPDATE clients SET {column} = '{{}}'")


def test_a_tier_that_is_made_again_has_another_version(database):
    def version():
        return database.execute("SELECT version FROM tiers WHERE name = 'gold'")[0][0]

    admin(database, "tier", "set", "gold", "--per-minute", "1")
    first = version()
    admin(database, "tier", "set", "gold", "--per-minute", "2")
    assert version() == first + 1
    admin(database, "tier", "delete", "gold")
    admin(database, "tier", "set", "gold", "--per-minute", "1")
    assert version() > first + 1
    assert version() < 2 ** 53


@pytest.fixture(scope="module")
def history(databases):
    """A log with known rows, one a day from 2026-01-01 on."""
    with databases.migrated() as database:
        database.execute("TRUNCATE audit_log")
        database.execute("""
            INSERT INTO audit_log (at, actor, "session_user", object, object_id, action, before, after)
            SELECT '2026-01-01T12:00Z'::timestamptz + n * interval '1 day', 'api:' || n %% 2,
                   CASE n %% 3 WHEN 0 THEN 'jotd_owner' ELSE 'jotd_admin' END, object, 'x' || n %% 5,
                   action, '{"a": 1, "b": "old", "version": 1}',
                   '{"a": 1, "b": "new \\u001b", "version": 2}'
            FROM (SELECT n, (ARRAY['client', 'secret', 'tier', 'organization'])[n %% 4 + 1],
                         (ARRAY['create', 'update'])[n / 4 %% 2 + 1]
                  FROM generate_series(0, 239) n) AS made (n, object, action)""")
        yield database


def days(rows):
    return [row["at"] for row in rows]


def test_filters(history):
    def every(condition):
        return days(row for row in audit(history, "--limit", "0") if condition(row))

    assert len(audit(history)) == 100
    all_rows = audit(history, "--limit", "0")
    assert len(all_rows) == 240
    assert days(all_rows) == sorted(days(all_rows), reverse=True)
    for option, member, value in (
            ("--object", "object", "tier"), ("--id", "object_id", "x3"), ("--actor", "actor", "api:1"),
            ("--role", "session_user", "jotd_owner"), ("--action", "action", "create")):
        found = days(audit(history, option, value, "--limit", "0"))
        assert found == every(lambda row: row[member] == value) and 0 < len(found) < 240
    assert days(audit(history, "--since", "2026-01-03T12:00:00Z", "--until", "2026-01-05")) == [
        "2026-01-04T12:00:00.000Z", "2026-01-03T12:00:00.000Z"]
    assert days(audit(history, "--until", "2026-01-01T14:00:00.5+02:00")) == \
        ["2026-01-01T12:00:00.000Z"]
    # Page by page, the same.
    pages, after = [], []
    while page := audit(history, "--object", "client", "--limit", "7", *after):
        pages += page
        after = ["--after", page[-1]["audit_id"]]
    assert days(pages) == every(lambda row: row["object"] == "client")


@pytest.mark.parametrize("option, value, told", [
    ("--object", "clients", "client, secret, tier, organization"),
    ("--action", "insert", "create, update, delete, truncate"),
    ("--since", "yesterday", "2026-11-21T07:12:16Z"),
    ("--since", "2026-13-01", "no such time"),
    ("--until", "2026-11-21 07:12", "2026-11-21T07:12:16Z"),
    ("--until", "now()", "2026-11-21T07:12:16Z"),
    ("--after", "x", "audit_id"),
    ("--limit", "-1", "--limit"),
])
def test_wrong_usage(history, option, value, told):
    wrong = history.cli("audit", "list", option, value, check=False)
    assert wrong.returncode == 2 and told in wrong.stderr and wrong.stdout == ""


def test_a_line_for_people(history):
    """Who, what, from what to what; and nothing that controls their terminal."""
    history.execute("UPDATE audit_log SET actor = E'api:\\x1b[2J' WHERE audit_id ="
                    " (SELECT min(audit_id) FROM audit_log WHERE action = 'update')")
    lines = history.cli("audit", "list", "--limit", "0").stdout.splitlines()
    assert len(lines) == 240
    (line,) = (line for line in lines if line.startswith("2026-01-05"))
    assert line == ('2026-01-05T12:00:00.000Z api:?[2J as jotd_admin update client x4: '
                    'b "old" -> "new \\u001B"')
    (line,) = (line for line in lines if line.startswith("2026-01-01"))
    assert line == "2026-01-01T12:00:00.000Z api:0 as jotd_owner create client x0"
    history.execute("UPDATE audit_log SET actor = 'api:0' WHERE actor LIKE 'api:_[2J'")


def test_a_digest_that_was_replaced_is_told(database):
    client = database.client()
    database.execute("UPDATE client_secrets SET digest = sha256('other')")
    line = database.cli("audit", "list", "--object", "secret", "--limit", "1").stdout
    assert f"postgres update secret {client.id}/" in line and line.endswith(": its digest\n")


def test_pruning(database):
    """Only when it is asked for, by whole months, in steps."""
    database.execute("""
        INSERT INTO audit_log (at, object, object_id, action)
        SELECT date_trunc('month', now(), 'UTC') - interval '1 month' * m - interval '1 second',
               'tier', m::text, 'update'
        FROM generate_series(0, 3) m, generate_series(1, 5001)""")

    def left():
        return [(month, count) for month, count in database.execute(
            "SELECT object_id, count(*) FROM audit_log WHERE object = 'tier' AND actor = ''"
            " AND before IS NULL AND after IS NULL GROUP BY 1 ORDER BY 1")]

    def prune(*options):
        return json.loads(database.cli("ledger", "prune", "--json", *options).stdout)

    everything = left()
    assert everything == [(str(m), 5001) for m in range(4)]
    assert "audit_rows_removed" not in prune("--keep-months", 1)
    assert left() == everything
    assert prune("--keep-audit-months", 2, "--dry-run") == \
        {"dry_run": True, "audit_rows_removed": 10002}
    assert left() == everything
    assert prune("--keep-months", 1, "--keep-audit-months", 2)["audit_rows_removed"] == 10002
    assert left() == everything[:2]
    assert database.cli("ledger", "prune", "--keep-audit-months", 1).stdout == \
        "removed 5001 rows of the audit log\n"
    assert left() == everything[:1]
    for options in ([], ["--keep-audit-months", "0"]):
        assert database.cli("ledger", "prune", *options, check=False).returncode == 2
    with pytest.raises(psycopg2.errors.InvalidParameterValue):
        database.execute("SELECT forget_audit(0, 1)")


def test_revocations_name_who_made_them(database, jotd):
    client = database.client()
    with jotd(database, batch_rows=1) as s:
        tokens = [s.access_token(client) for _ in range(2)]
        until(lambda: database.execute("SELECT count(*) FROM issued_tokens") == [(2,)])
        admin(database, "token", "revoke", tokens[0])
        assert s.post("/revoke", data={"token": tokens[1]}, auth=(client.id, client.secret)
                      ).status_code == 200

    def shown(token, *options):
        return database.cli("token", "show", token, *options).stdout

    assert json.loads(shown(tokens[0], "--json"))["revoked_by"] == ME
    assert f"revoked_by    {ME}\n" in shown(tokens[0])
    assert json.loads(shown(tokens[1], "--json"))["revoked_by"] is None
    assert "revoked_by    not recorded\n" in shown(tokens[1])


def test_revocations_of_before_have_no_actor(database):
    """The columns are added for rows that exist, by whoever migrates."""
    with session(database.owner_url) as cursor:
        cursor.execute("SELECT attmissingval::text FROM pg_attribute WHERE attname IN ('actor',"
                       " 'request_id') AND attrelid = 'revoked_tokens'::regclass")
        assert cursor.fetchall() == [('{""}',)] * 2


def test_issuing_goes_on_while_the_audit_log_is_locked(database, jotd):
    """Also for a client that no worker has in its cache."""
    client, other = database.client(), database.client()
    with jotd(database, batch_rows=1, workers=1) as s:
        s.access_token(client)
        with database.locked("audit_log"):
            s.access_token(client)
            token = s.access_token(other)
            assert s.post("/revoke", data={"token": token}, auth=(other.id, other.secret)
                          ).status_code == 200
            until(lambda: database.execute("SELECT count(*) FROM issued_tokens") == [(3,)])


def test_a_full_audit_log_refuses_changes_and_nothing_else(database, jotd):
    client, other = database.client(), database.client()
    database.execute("""
        CREATE FUNCTION is_full() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
        CREATE TRIGGER is_full BEFORE INSERT ON audit_log
            FOR EACH ROW EXECUTE FUNCTION is_full()""")
    with jotd(database, batch_rows=1, workers=1) as s:
        refused = admin(database, "client", "disable", client.id, check=False)
        assert refused.returncode == 1 and "could not extend file" in refused.stderr
        s.access_token(client)
        token = s.access_token(other)
        assert s.post("/revoke", data={"token": token}, auth=(other.id, other.secret)
                      ).status_code == 200
        until(lambda: database.execute("SELECT count(*) FROM issued_tokens") == [(2,)])
    assert database.execute("SELECT bool_and(enabled) FROM clients") == [(True,)]


@pytest.fixture(scope="module")
def publisher(directory):
    home = directory / "audit-publisher"
    home.mkdir()
    server = harness.PostgreSQL(home)
    server.options = {"wal_level": "logical"}
    server.start()
    try:
        yield server
    finally:
        server.stop()


def test_a_replica_of_all_tables_goes_on_by_itself(publisher, postgres, databases):
    """As for an upgrade: two audit logs meet, none of the replica's changes fails before or after
    it has taken over, and no change is missing."""
    with Databases(publisher).migrated() as source, databases.migrated() as target:
        target.execute("TRUNCATE audit_log, tiers, organizations, clients, client_secrets,"
                       " schema_migrations, ledger_state, deleted_clients")
        source.execute("CREATE PUBLICATION everything FOR ALL TABLES")
        target.execute(f"CREATE SUBSCRIPTION everything CONNECTION '{publisher.url(source.name)}'"
                       " PUBLICATION everything")
        try:
            until(lambda: target.execute("SELECT bool_and(srsubstate = 'r') FROM"
                                         " pg_subscription_rel") == [(True,)], timeout=60)
            admin(source, "client", "create", "--id", "billing", "--name", "Billing")
            for name in ("B", "C", "D"):
                admin(source, "client", "update", "billing", "--name", name)
            admin(source, "tier", "set", "pro", "--per-minute", "7")
            until(lambda: target.execute("SELECT per_minute FROM tiers WHERE name = 'pro'")
                  == [(7,)], timeout=30)
            # As the source tells it, and as it was applied here.
            until(lambda: target.execute(
                "SELECT a.session_user, count(*) FROM audit_log a WHERE object = 'client' AND"
                " object_id = 'billing' AND action = 'update' GROUP BY 1 ORDER BY 1")
                == [("jotd_admin", 3), ("postgres", 3)], timeout=30)
        finally:
            target.execute("DROP SUBSCRIPTION everything")
        before = newest(target)
        for rate in range(1, 11):
            admin(target, "tier", "set", "pro", "--per-minute", rate)
        assert since(target, before) == [(ME, "jotd_admin", "update", "tier", "pro")] * 10


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_user_without_a_name_is_told_by_number(database):
    try:
        done = subprocess.run(
            [binary(), "tier", "set", "pro", "--per-minute", "7"], user=54321, group=54321,
            env=clean_environment(DATABASE_URL=database.admin_url), text=True,
            capture_output=True, extra_groups=[], timeout=60, check=False)
    except PermissionError:
        pytest.skip("other users cannot reach the program")
    assert done.returncode == 0, done.stderr
    assert audit(database)[0]["actor"] == "command:54321"
