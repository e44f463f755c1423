"""The commands as an operator sees them: migrate, client, tier, config, healthcheck, and the help
of ledger."""

import concurrent.futures
import contextlib
import datetime
import hashlib
import json
import os
import re
import socket
import subprocess
import threading
import time
import types

import psycopg2
import pytest

from harness import recorded, until
from harness.process import ROOT, binary, clean_environment, free_port

SECRET = re.compile(r"jot_[A-Za-z0-9]{49}")
MIGRATION_LOCK = 1785689188
GROUPS = {
    "client": ["create", "list", "show", "update", "rotate", "revoke-secret", "revoke-tokens",
               "disable", "enable", "delete"],
    "organization": ["create", "list", "show", "update", "enable", "disable", "delete"],
    "tier": ["list", "set", "delete"],
    "token": ["show", "revoke"],
    "ledger": ["status", "flush", "retry", "prune"],
    "config": ["check"],
}
MIGRATIONS = sorted(path.stem for path in (ROOT / "migrations").glob("*.sql"))


def in_json(database, *arguments):
    return json.loads(database.cli(*arguments, "--json").stdout)


def refused(database, *arguments, status=1, env=None):
    """Runs what must fail, and returns its message."""
    done = database.cli(*arguments, check=False, env=env)
    assert done.returncode == status, done
    assert done.stdout == ""
    assert done.stderr.startswith("jotd: ")
    if status == 1:
        assert done.stderr.count("\n") == 1, "one line says why"
    return done.stderr


def digests(database, client_id):
    rows = database.execute("SELECT digest FROM client_secrets WHERE client_id = %s", (client_id,))
    return {bytes(digest) for digest, in rows}


def sha256(secret):
    return hashlib.sha256(secret.encode()).digest()


# Help and usage


@pytest.mark.parametrize(
    "command",
    [["migrate"], ["healthcheck"], *([group] for group in GROUPS)]
    + [[group, name] for group, names in GROUPS.items() for name in names],
    ids=" ".join,
)
def test_help_needs_nothing(jotd_cli, command):
    for option in ("--help", "-h"):
        done = jotd_cli(*command, option)
        assert done.stdout.startswith(f"Usage: jotd {' '.join(command)}")
        assert done.stderr == ""


def test_group_lists_its_commands(jotd_cli):
    for group, names in GROUPS.items():
        help_text = jotd_cli(group, "--help").stdout
        assert all(f"\n  {name} " in help_text for name in names)
        assert jotd_cli(group, check=False).returncode == 2
        assert jotd_cli(group, "frobnicate", check=False).returncode == 2


def test_help_is_a_command_too(jotd_cli):
    for command in ([], ["client"], ["client", "create"], ["migrate"]):
        assert jotd_cli("help", *command).stdout == jotd_cli(*command, "--help").stdout
    assert jotd_cli("help", "frobnicate", check=False).returncode == 2


def test_the_help_lists_the_options(jotd_cli):
    """The help and the parser share one table."""
    shown = jotd_cli("client", "create", "--help").stdout
    assert re.findall(r"\n  (--[a-z-]+)", shown) == [
        "--name", "--id", "--tier", "--scope", "--audience", "--token-ttl", "--organization",
        "--label", "--introspect", "--claim", "--admin", "--json"]


@pytest.mark.parametrize("typed, meant", [
    (["clinet"], "`jotd client`"),
    (["client", "rotat", "a"], "`jotd client rotate`"),
    (["client", "list", "--teir", "free"], "--tier"),
    (["client", "create", "--name", "n", "--audiense=urn:a"], "--audience"),
], ids=" ".join)
def test_what_was_mistyped_is_named(jotd_cli, typed, meant):
    done = jotd_cli(*typed, check=False)
    assert done.returncode == 2
    assert f"did you mean {meant}" in done.stderr.partition("\n")[0]


def test_what_is_far_from_everything_is_not(jotd_cli):
    for typed in (["frobnicate"], ["client", "list", "--frobnicate"]):
        assert "did you mean" not in jotd_cli(*typed, check=False).stderr


@pytest.mark.parametrize(
    "command",
    [
        ["migrate", "--frobnicate"],
        ["migrate", "now"],
        ["healthcheck", "-x"],
        ["config", "check", "surplus"],
        ["client", "list", "surplus"],
        ["client", "list", "--json=yes"],
        ["client", "list", "--limit", "-1"],
        ["client", "list", "--limit", "1e3"],
        ["client", "create"],
        ["client", "create", "--name"],
        ["client", "create", "--name", "n", "--overlap", "1"],
        ["client", "show"],
        ["client", "show", "a", "b"],
        ["client", "update", "a"],
        ["client", "rotate", "a", "--overlap", "+1"],
        ["client", "rotate", "a", "--overlap", "31536001"],
        ["tier", "set"],
        ["tier", "set", "Upper"],
        ["tier", "set", "-"],
        ["tier", "set", "a" * 33],
        ["tier", "set", "a", "--per-hour", "0"],
        ["tier", "set", "a", "--per-hour", "1000000000001"],
        ["tier", "set", "a", "--per-hour", "many"],
        ["tier", "set", "a", "--per-hour", ""],
        ["tier", "set", "a", "--token-ttl", "86401"],
        ["tier", "set", "a", "--token-ttl", "-1"],
        ["tier", "set", "free"],
        ["tier", "set", "free", "--json"],
        ["tier", "delete"],
    ],
    ids=" ".join,
)
def test_wrong_usage(jotd_cli, command):
    done = jotd_cli(*command, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("jotd: ")
    assert "Usage: jotd" in done.stderr


# migrate


def applied_times(database):
    return [row["applied_at"] for row in in_json(database, "migrate", "--status")]


def test_migrate_once_and_again(fresh_database):
    assert applied_times(fresh_database) == [None] * len(MIGRATIONS)
    assert "pending" in fresh_database.cli("migrate", "--status").stdout
    assert fresh_database.execute("SELECT to_regclass('schema_migrations')") == [(None,)]

    applied = "".join(rf"applied {name} in \d+ ms\n" for name in MIGRATIONS)
    assert re.fullmatch(applied, fresh_database.cli("migrate").stdout)
    assert fresh_database.cli("migrate").stdout == f"up to date: version {len(MIGRATIONS)}\n"
    assert in_json(fresh_database, "migrate") == []

    status = in_json(fresh_database, "migrate", "--status")
    assert [(row["version"], row["name"]) for row in status] == list(enumerate(MIGRATIONS, 1))
    assert datetime.datetime.fromisoformat(status[0]["applied_at"].replace("Z", "+00:00"))
    assert "pending" not in fresh_database.cli("migrate", "--status").stdout


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "WIN1252", "EUC_JP"])
def test_a_database_in_another_encoding(databases, jotd, encoding):
    with databases.empty(encoding=f"'{encoding}'") as database:
        database.cli("migrate")
        client = database.client()
        with jotd(database, batch_rows=1) as s:
            assert s.token(client).status_code == 200
            until(lambda: recorded(database))


FOREIGN = {
    "golang-migrate": "version bigint PRIMARY KEY, dirty boolean NOT NULL",
    "Rails": "version varchar PRIMARY KEY",
    "Ecto": "version bigint PRIMARY KEY, inserted_at timestamp(0)",
}


@pytest.mark.parametrize("columns", FOREIGN.values(), ids=FOREIGN)
def test_the_schema_migrations_of_another_program(fresh_database, jotd, columns):
    """jotd changes nothing in it, and works beside it in a schema of its own."""
    database = fresh_database
    database.execute(f"CREATE TABLE schema_migrations ({columns});"
                     " CREATE SCHEMA own; GRANT ALL ON SCHEMA own TO jotd_owner")
    described = ("SELECT attname, atttypid FROM pg_attribute"
                 " WHERE attrelid = 'public.schema_migrations'::regclass AND attnum > 0")
    before = database.execute(described)
    for options in [], ["--status"], ["--status", "--json"]:
        assert "is another program's" in refused(database, "migrate", *options)
    assert database.execute(described) == before
    database.execute("GRANT SELECT ON schema_migrations TO jotd_server")
    with jotd(database, ready=False) as s:
        assert "another program's" in s.wait_log("pg.unusable")["reason"]
    own = {"DATABASE_URL": f"{database.owner_url}?options=-csearch_path%3Down"}
    database.cli("migrate", env=own)
    assert "0001_schema" in database.cli("migrate", "--status", env=own).stdout
    assert database.execute(described) == before


def test_migrate_twice_at_once(fresh_database):
    with contextlib.closing(fresh_database.postgres.connect(fresh_database.name)) as session, \
            concurrent.futures.ThreadPoolExecutor() as pool:
        session.autocommit = True
        session.cursor().execute("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
        runs = [pool.submit(fresh_database.cli, "migrate") for _ in range(2)]
        until(lambda: fresh_database.waiting_for_lock() == 2)
        session.cursor().execute("SELECT pg_advisory_unlock(%s)", (MIGRATION_LOCK,))
        done = [run.result() for run in runs]

    assert sorted(run.stdout.split()[0] for run in done) == ["applied", "up"]
    assert all("waiting" in run.stderr for run in done)


def test_migration_is_all_or_nothing(fresh_database):
    fresh_database.execute("CREATE TABLE flushed_batches ()")
    reason = refused(fresh_database, "migrate")
    assert "0001_schema" in reason
    assert 'relation "flushed_batches" already exists' in reason
    assert fresh_database.execute("SELECT to_regclass('clients')") == [(None,)]
    assert applied_times(fresh_database) == [None] * len(MIGRATIONS)

    fresh_database.execute("DROP TABLE flushed_batches")
    fresh_database.cli("migrate")


def test_schema_that_this_program_does_not_know(fresh_database, database):
    assert "run `jotd migrate` first" in refused(fresh_database, "client", "list")
    assert "run `jotd migrate` first" in refused(fresh_database, "tier", "list")

    database.execute("INSERT INTO schema_migrations (version, name, works_since)"
                     " VALUES (9999, '9999_future', 9998)")
    assert "newer" in refused(database, "migrate")
    assert "newer" in refused(database, "client", "create", "--name", "n")
    assert "9999_future" in database.cli("migrate", "--status").stdout
    database.execute("DELETE FROM schema_migrations")
    assert "run `jotd migrate` first" in refused(database, "client", "list")


def test_a_newer_schema_that_says_it_works_with_this_program(database, jotd):
    """As during the rollout of a newer version, or after a rollback."""
    known = len(MIGRATIONS)
    database.execute("INSERT INTO schema_migrations (version, name, works_since)"
                     " VALUES (%s, 'next', %s), (9999, '9999_future', %s)",
                     (known + 1, known, known))
    client = database.client()
    with jotd(database, batch_rows=1) as s:
        assert s.token(client).status_code == 200
        until(lambda: s.metric("jotd_ledger_rows_written_total") == 1)
    assert database.cli("migrate").stdout == "up to date: version 9999\n"
    assert in_json(database, "migrate", "--status")[-1]["works_since"] == known
    # An earlier unknown migration that breaks this program counts, whatever the newest says.
    database.execute("UPDATE schema_migrations SET works_since = version WHERE name = 'next'")
    assert "newer" in refused(database, "client", "list")


def test_a_database_of_before_works_since(fresh_database):
    database, old = fresh_database, MIGRATIONS[:4]

    def as_owner(sql, params=None):
        with contextlib.closing(database.postgres.connect(database.name)) as connection:
            cursor = connection.cursor()
            cursor.execute("SET ROLE jotd_owner")
            cursor.execute(sql, params)
            connection.commit()

    as_owner("CREATE TABLE schema_migrations (version integer PRIMARY KEY,"
             " name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())")
    for version, name in enumerate(old, start=1):
        as_owner((ROOT / "migrations" / f"{name}.sql").read_text())
        as_owner("INSERT INTO schema_migrations VALUES (%s, %s)", (version, name))
    assert "run `jotd migrate` first" in refused(database, "client", "list")
    known = [row["works_since"] for row in in_json(database, "migrate", "--status")]
    assert known[:4] == [1, 2, 3, 4]
    assert database.cli("migrate").stdout.startswith("applied 0005")
    database.cli("client", "list")
    assert database.execute("SELECT works_since FROM schema_migrations ORDER BY version") == [
        *[(None,)] * 4, *((version,) for version in known[4:])]


def test_migrate_as_owner_without_superuser(fresh_database):
    fresh_database.execute("CREATE ROLE app_owner LOGIN")
    try:
        fresh_database.execute(f"ALTER DATABASE {fresh_database.name} OWNER TO app_owner")
        env = {"DATABASE_URL": fresh_database.url.replace("jotd_server@", "app_owner@")}
        fresh_database.cli("migrate", env=env)
        fresh_database.cli("client", "create", "--name", "n", env=env)
    finally:
        fresh_database.execute("REASSIGN OWNED BY app_owner TO postgres")
        fresh_database.execute("DROP ROLE app_owner")


@pytest.mark.parametrize(
    "column, value",
    [
        ("client_id", "a b"),
        ("client_id", "a\n"),
        ("client_id", ""),
        ("client_id", "a" * 65),
        ("name", ""),
        ("name", "a" * 201),
        ("name", "a\x1b[2J"),
        ("scopes", ["a b"]),
        ("scopes", [""]),
        ("scopes", [None]),
        ("scopes", ['a"']),
        ("scopes", ["a\\"]),
        ("scopes", ["é"]),
        ("scopes", ["a\n"]),
        ("scopes", ["a" * 2048, "b" * 2048]),
        ("audiences", ["a b"]),
        ("audiences", [""]),
        ("audiences", [None]),
        ("audiences", ["a" * 513]),
        ("audiences", list("abcdefghijklmnopq")),
        ("token_ttl", 0),
        ("token_ttl", 86401),
    ],
)
def test_schema_refuses(database, column, value):
    database.execute("INSERT INTO clients (client_id, name) VALUES ('right', 'n')")
    with pytest.raises(psycopg2.errors.CheckViolation):
        database.execute(f"UPDATE clients SET {column} = %s", (value,))


def test_schema_sets_updated_at(database):
    database.execute("INSERT INTO clients (client_id, name, updated_at) VALUES ('c', 'n', 'epoch')")
    database.execute("UPDATE clients SET name = 'm'")
    assert database.execute("SELECT updated_at > now() - interval '1 minute' FROM clients") == [
        (True,)
    ]


# client


def test_create_prints_the_secret_once(database):
    done = database.cli("client", "create", "--name", "billing")
    found = re.fullmatch(r"client_id: ([a-z0-9]{20})\nclient_secret: (\S+)\n", done.stdout)
    client_id, secret = found.groups()
    assert SECRET.fullmatch(secret)
    assert "once" in done.stderr
    assert secret not in done.stderr
    assert digests(database, client_id) == {sha256(secret)}
    for command in (["show", client_id], ["list"]):
        for options in ([], ["--json"]):
            printed = database.cli("client", *command, *options).stdout
            assert client_id in printed
            assert secret not in printed
            assert sha256(secret).hex() not in printed


def test_create_with_everything(database):
    made = in_json(
        database, "client", "create", "--name", "Zoë's \"app\"", "--id", "My.app_1-x", "--tier", "pro",
        "--scope", "read write read", "--audience", "https://a.example", "--audience", "urn:b,{c}",
        "--audience", "https://a.example", "--token-ttl", "60",
    )
    assert SECRET.fullmatch(made.pop("client_secret"))
    secret_id = made.pop("secret_id")
    expected = {
        "client_id": "My.app_1-x", "name": "Zoë's \"app\"", "tier": "pro", "scope": "read write",
        "audiences": ["https://a.example", "urn:b,{c}"], "token_ttl": 60,
    }
    assert expected.items() <= made.items()

    shown = in_json(database, "client", "show", "My.app_1-x")
    assert [secret["secret_id"] for secret in shown["secrets"]] == [secret_id]
    assert expected.items() <= shown.items()
    assert shown["enabled"] is True
    assert [secret["expires_at"] for secret in shown["secrets"]] == [None]
    assert database.execute("SELECT scopes, audiences FROM clients") == [
        (["read", "write"], ["https://a.example", "urn:b,{c}"])
    ]


def test_create_with_the_least(database):
    made = in_json(database, "client", "create", "--name", "n")
    assert (made["tier"], made["scope"], made["audiences"], made["token_ttl"]) == (
        "free", "", [], None
    )


def test_made_ids_and_secrets_differ(database):
    made = [database.client() for _ in range(3)]
    assert len({client.id for client in made}) == len({client.secret for client in made}) == 3


@pytest.mark.parametrize(
    "options, allowed",
    [
        (["--id", "a b"], "A-Z a-z 0-9"),
        (["--id", ""], "1 to 64"),
        (["--id", "a" * 65], "1 to 64"),
        (["--id", "é"], "A-Z a-z 0-9"),
        (["--name", ""], "1 to 200"),
        (["--name", "é" * 201], "1 to 200"),
        (["--name", "bell\a"], "control"),
        (["--name", "csi\x9b2J"], "control"),
        (["--name", b"\xff"], "UTF-8"),
        (["--scope", "a  b"], "single spaces"),
        (["--scope", " a"], "single spaces"),
        (["--scope", 'a"'], "printable ASCII"),
        (["--scope", "a" * 4097], "4096"),
        (["--audience", "https://a b"], "without space"),
        (["--audience", "é"], "printable ASCII"),
        (["--audience", "a" * 513], "512"),
        (["--audience", "api"], "absolute URI"),
        (["--audience", "//api.example"], "absolute URI"),
        (["--audience", "https://a.example#b"], "fragment"),
        ([option for i in range(17) for option in ("--audience", f"urn:{i}")], "at most 16"),
        (["--token-ttl", "86401"], "0 to 86400"),
        (["--token-ttl", "-1"], "0 to 86400"),
        (["--token-ttl", "1h"], "0 to 86400"),
    ],
)
def test_create_tells_the_allowed_form(database, options, allowed):
    options = [option.decode(errors="surrogateescape") if isinstance(option, bytes) else option
               for option in options]
    assert allowed in refused(database, "client", "create", "--name", "n", *options, status=2)
    assert database.execute("SELECT count(*) FROM clients") == [(0,)]


def test_create_takes_values_at_their_bounds(database):
    audiences = [option for i in range(16) for option in ("--audience", f"urn:{i:0508}")]
    database.cli("client", "create", "--name", "é" * 200, "--id", "a" * 64, "--scope",
                 "a" * 4096, "--token-ttl", "86400", *audiences)
    shown = in_json(database, "client", "show", "a" * 64)
    assert (len(shown["name"]), len(shown["scope"]), len(shown["audiences"])) == (200, 4096, 16)


def test_create_fails(database):
    database.client(id="taken")
    reason = refused(database, "client", "create", "--name", "n", "--id", "taken")
    assert "there is a client taken already" in reason
    assert len(digests(database, "taken")) == 1
    reason = refused(database, "client", "create", "--name", "n", "--tier", "gold")
    assert "business, free, pro, starter, unlimited" in reason


@pytest.mark.parametrize("command", ["show", "rotate", "disable", "enable", "delete"])
def test_unknown_client(database, command):
    assert "there is no client nobody" in refused(database, "client", command, "nobody")


def test_update_replaces_what_is_given(database):
    database.client(id="c", scope="read", audience="urn:a", ttl=60)
    before = in_json(database, "client", "show", "c")

    def after(*options):
        changed = in_json(database, "client", "update", "c", *options)
        return {name: value for name, value in changed.items()
                if name not in ("updated_at", "version", "scopes") and value != before[name]}

    assert after("--name", "new") == {"name": "new"}
    assert after("--name", before["name"], "--tier", "pro") == {"tier": "pro"}
    assert after("--tier", "free", "--scope", "x y") == {"scope": "x y"}
    assert after("--scope", "") == {"scope": ""}
    assert after("--scope", "read", "--audience", "urn:b", "--audience", "urn:c") == {
        "audiences": ["urn:b", "urn:c"]
    }
    assert after("--audience", "") == {"audiences": []}
    assert after("--audience", "urn:a", "--token-ttl", "0") == {"token_ttl": None}
    assert after("--token-ttl", "60") == {}

    assert "there is no tier" in refused(database, "client", "update", "c", "--tier", "gold")
    assert "there is no client" in refused(database, "client", "update", "d", "--name", "n")


def test_disable_and_enable(database):
    database.client(id="c")
    assert database.cli("client", "disable", "c").stdout == "disabled client c\n"
    assert in_json(database, "client", "show", "c")["enabled"] is False
    assert in_json(database, "client", "enable", "c")["enabled"] is True


def test_delete_takes_the_secrets_along(database):
    database.client(id="c")
    database.cli("client", "delete", "c")
    assert digests(database, "c") == set()
    assert in_json(database, "client", "list") == []


def test_list(database):
    for number in range(3):
        database.client(id=f"c{number}", tier="pro" if number == 1 else "free")
    assert [row["client_id"] for row in in_json(database, "client", "list")] == ["c2", "c1", "c0"]
    assert [row["client_id"] for row in in_json(database, "client", "list", "--limit", "1")] == [
        "c2"
    ]
    pro = in_json(database, "client", "list", "--tier", "pro")
    assert [row["client_id"] for row in pro] == ["c1"]
    assert "there is no tier gold" in refused(database, "client", "list", "--tier", "gold")

    database.execute("INSERT INTO clients (client_id, name)"
                     " SELECT 'n' || n, 'é' FROM generate_series(1, 200) n")
    assert len(in_json(database, "client", "list")) == 100
    assert len(in_json(database, "client", "list", "--limit", "0")) == 203

    lines = database.cli("client", "list").stdout.splitlines()
    assert lines[0].split() == ["client_id", "name", "tier", "enabled", "scope", "created"]
    assert len(lines) == 101
    assert {line.index("free") for line in lines[1:]} == {lines[0].index("tier")}


# Rotation


def secret_ends(database):
    """Seconds until each secret expires, newest first; None is never."""
    rows = database.execute("SELECT extract(epoch FROM expires_at - now())::float"
                            " FROM client_secrets ORDER BY created_at DESC")
    return [end for end, in rows]


def secrets(database, client_id):
    return in_json(database, "client", "show", client_id)["secrets"]


def test_rotate_leaves_the_old_secret_a_day(database):
    database.client(id="c")
    (first,) = secrets(database, "c")
    assert re.fullmatch("[0-9a-f]{12}", first["secret_id"])
    assert first["expires_at"] is None
    printed = database.cli("client", "rotate", "c").stdout
    new, old = secrets(database, "c")
    assert old["secret_id"] == first["secret_id"] != new["secret_id"]
    assert f"old_secret: {old['secret_id']} ends {old['expires_at']}\n" in printed
    new_end, old_end = secret_ends(database)
    assert new_end is None
    assert 86300 < old_end <= 86400
    shown = database.cli("client", "show", "c").stdout
    assert f"{new['secret_id']} made {new['created_at']}, ends never, not used yet\n" in shown
    assert f"{old['secret_id']} made {old['created_at']}, ends {old['expires_at']}, not used yet\n" in shown


def test_rotate_without_overlap(database):
    client = database.client(id="c")
    rotated = in_json(database, "client", "rotate", "c", "--overlap", "0")
    assert rotated["client_id"] == "c"
    assert SECRET.fullmatch(rotated["client_secret"])
    assert digests(database, "c") == {sha256(client.secret), sha256(rotated["client_secret"])}
    new, old = secret_ends(database)
    assert new is None
    assert old <= 0
    shown_new, shown_old = secrets(database, "c")
    assert rotated["secret_id"] == shown_new["secret_id"]
    assert rotated["old_secrets"][0].items() <= shown_old.items()
    assert f"ended {shown_old['expires_at']}" in database.cli("client", "show", "c").stdout

    in_json(database, "client", "rotate", "c")  # expired secrets are deleted
    assert sha256(client.secret) not in digests(database, "c")


def test_rotate_with_overlap(database):
    database.client(id="c")
    database.cli("client", "rotate", "c", "--overlap", "600")
    new, old = secret_ends(database)
    assert new is None
    assert 540 < old <= 600

    database.cli("client", "rotate", "c", "--overlap", "3600")  # never extends a lifetime
    newest, new, old = secret_ends(database)
    assert newest is None
    assert 3540 < new <= 3600
    assert old <= 600


def test_rotate_keeps_four_live_secrets(database):
    secrets = [database.client(id="c").secret]
    for _ in range(5):
        rotated = in_json(database, "client", "rotate", "c", "--overlap", "600")
        secrets.append(rotated["client_secret"])
    assert digests(database, "c") == {sha256(secret) for secret in secrets[-4:]}


def test_rotations_at_once(database):
    database.client(id="c")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(
            lambda _: database.cli("client", "rotate", "c", "--overlap", "600"), range(6)
        ))
    ends = secret_ends(database)
    assert len(ends) == 4
    assert ends.count(None) == 1


def test_a_secret_is_revoked_by_its_id(database, jotd):
    """At once, even for a cached client."""
    first = database.client(id="c")
    with jotd(database) as s:
        second = types.SimpleNamespace(
            id="c", secret=in_json(database, "client", "rotate", "c")["client_secret"])
        assert s.token(first).status_code == s.token(second).status_code == 200
        new, old = secrets(database, "c")
        done = database.cli("client", "revoke-secret", "c", old["secret_id"])
        assert (done.stdout, done.stderr) == (f"revoked {old['secret_id']}\n", "")
        until(lambda: s.token(first).status_code == 401)
        assert s.token(second).status_code == 200

        assert secrets(database, "c") == [new]
        reason = refused(database, "client", "revoke-secret", "c", old["secret_id"])
        assert "`jotd client show c` lists their ids" in reason
        done = database.cli("client", "revoke-secret", "c", new["secret_id"], "--json")
        assert json.loads(done.stdout) == {"client_id": "c", "secrets": []}
        assert "`jotd client rotate c` makes one" in done.stderr
        until(lambda: s.token(second).status_code == 401)
    assert "there is no client d" in refused(database, "client", "revoke-secret", "d", "x")
    assert "`jotd client show ID` has it" in refused(database, "client", "revoke-secret", "c",
                                                    status=2)


def test_a_name_without_its_option(database):
    reason = refused(database, "client", "create", "billing", status=2)
    assert "unexpected argument: billing; a name is given by --name billing" in reason


def test_secrets_never_reach_postgresql(database):
    """Not even when every statement is logged with its parameters."""
    database.execute(f"ALTER DATABASE {database.name} SET log_statement = 'all'")
    made = database.client(id="logged")
    rotated = in_json(database, "client", "rotate", "logged")["client_secret"]
    log = (database.postgres.directory / "log").read_text()
    assert "INSERT INTO client_secrets" in log
    assert "logged" in log
    assert made.secret not in log
    assert rotated not in log


def test_secret_that_cannot_be_printed(database):
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([binary(), "client", "create", "--name", "n", "--id", "c"],
                              env=clean_environment(DATABASE_URL=database.owner_url), stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "jotd client rotate c" in done.stderr


@pytest.mark.parametrize("arguments", [
    ["version"], ["help"], ["client", "list"], ["tier", "list", "--json"], ["config", "check"]],
    ids=" ".join)
def test_output_that_cannot_be_written(database, arguments):
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([binary(), *arguments], stdout=full, stderr=subprocess.PIPE, text=True,
                              env=clean_environment(DATABASE_URL=database.owner_url), check=False)
    assert done.returncode == 1
    assert "cannot write all of the output" in done.stderr


def test_version(jotd_cli):
    assert re.fullmatch(r"jotd \d+\.\d+\.\d+\n", jotd_cli("version").stdout)
    assert "Usage" in jotd_cli("version", "--help").stdout
    done = jotd_cli("version", "surplus", check=False)
    assert (done.returncode, done.stdout) == (2, "") and "Usage" in done.stderr


def test_commands_speak_to_people_whatever_the_servers_log_is(database):
    for command in ["tier", "list"], ["config", "check"]:
        done = database.cli(*command, env={"JOTD_LOG_FORMAT": "json", "JOTD_TOKEN_TLL": "1"})
        assert "JOTD_TOKEN_TTL" in done.stderr and "{" not in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_a_key_belongs_to_whom_its_directory_belongs(jotd_cli, directory):
    keys = directory / "keys-of-nobody"  # where user nobody cannot go
    keys.mkdir(mode=0o700)
    os.chown(keys, 65534, 65534)
    for command in "create", "rotate":
        jotd_cli("key", command, env={"JOTD_KEYS_DIR": str(keys)})
    files = list(keys.iterdir())
    assert len(files) == 2
    assert {(path.stat().st_uid, path.stat().st_gid) for path in files} == {(65534, 65534)}


# tier


def test_seeded_tiers(database):
    tiers = {tier.pop("name"): tuple(tier.values()) for tier in in_json(database, "tier", "list")}
    assert tiers == {
        "free": (20, 200, 5000, None),
        "starter": (100, 2000, 50000, None),
        "pro": (500, 10000, 500000, None),
        "business": (2000, 50000, 5000000, None),
        "unlimited": (None, None, None, None),
    }
    lines = database.cli("tier", "list").stdout.splitlines()
    assert lines[0].split() == ["name", "per_minute", "per_hour", "per_month", "token_ttl"]
    assert lines[-1].split() == ["unlimited", "-", "-", "-", "-"]


def test_the_default_tier_may_be_gone(database):
    database.cli("tier", "delete", "free")
    assert "there is no tier free; there are: business, pro" in refused(
        database, "client", "create", "--name", "n")
    database.cli("client", "create", "--name", "n", "--tier", "pro")


def test_tier_set_and_delete(database):
    made = in_json(database, "tier", "set", "partner_1", "--per-minute", "7", "--per-month",
                   "1000000000000")
    assert made == {
        "name": "partner_1", "per_minute": 7, "per_hour": None, "per_month": 1000000000000,
        "token_ttl": None,
    }
    changed = in_json(database, "tier", "set", "partner_1", "--per-hour", "9")
    assert changed == {
        "name": "partner_1", "per_minute": 7, "per_hour": 9, "per_month": 1000000000000,
        "token_ttl": None,
    }
    assert database.cli(
        "tier", "set", "partner_1", "--per-minute", "8", "--per-month", "unlimited").stdout == (
        "partner_1: per minute 7 -> 8, per hour 9, per month 1000000000000 -> unlimited\n")
    assert database.cli("tier", "set", "new", "--per-minute", "8").stdout == (
        "new (new): per minute 8, per hour unlimited, per month unlimited\n")

    database.client(id="c", tier="partner_1")
    assert "1 client is of tier partner_1" in refused(database, "tier", "delete", "partner_1")
    database.cli("client", "delete", "c")
    assert database.cli("tier", "delete", "partner_1").stdout == "deleted tier partner_1\n"
    assert "there is no tier partner_1" in refused(database, "tier", "delete", "partner_1")


def test_the_token_ttl_of_a_tier(database):
    def set_ttl(*options):
        return database.cli("tier", "set", "pro", *options).stdout.rpartition(", ")[2]

    assert set_ttl("--token-ttl", "600") == "token_ttl none -> 600\n"
    assert set_ttl("--per-minute", "501") == "token_ttl 600\n"
    assert set_ttl("--token-ttl", "7200") == "token_ttl 600 -> 7200\n"
    assert in_json(database, "tier", "set", "pro", "--per-minute", "500") == {
        "name": "pro", "per_minute": 500, "per_hour": 10000, "per_month": 500000,
        "token_ttl": 7200}
    assert database.cli("tier", "set", "new", "--token-ttl", "60").stdout == (
        "new (new): per minute unlimited, per hour unlimited, per month unlimited, token_ttl 60\n")
    (pro,) = [tier for tier in in_json(database, "tier", "list") if tier["name"] == "pro"]
    assert pro["token_ttl"] == 7200
    assert set_ttl("--token-ttl", "0") == "token_ttl 7200 -> none\n"


# The environment


def test_no_database(jotd_cli):
    def reason(**env):
        done = jotd_cli("client", "list", env=env, check=False)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        return done.stderr

    assert "DATABASE_URL is not set" in reason()
    unreachable = reason(DATABASE_URL=f"postgresql://u:hunter2@127.0.0.1:{free_port()}/db")
    assert "cannot reach PostgreSQL" in unreachable
    assert "check DATABASE_URL" in unreachable
    assert "hunter2" not in unreachable


@pytest.mark.parametrize("password", ["hun@ter2", "hun/ter2", "hun?ter2", "hun%ter2", "hun#ter2"])
def test_unescaped_password_is_not_shown(jotd_cli, password):
    url = f"postgresql://user:{password}@127.0.0.1:1/db"
    for command in (["client", "list"], ["migrate"], ["config", "check"]):
        done = jotd_cli(*command, env={"DATABASE_URL": url}, check=False)
        assert "hun" not in done.stdout + done.stderr
        assert "ter2" not in done.stdout + done.stderr


def test_config_check(jotd_cli):
    env = {"DATABASE_URL": "postgresql://u:hunter2@db/jotd", "JOTD_TOKEN_TTL": "77"}
    printed = jotd_cli("config", "check", env=env).stdout
    assert "JOTD_TOKEN_TTL=77\n" in printed
    assert "JOTD_LISTEN=127.0.0.1:8080\n" in printed
    assert "DATABASE_URL=postgresql://u:****@db/jotd\n" in printed

    for bad in ({"JOTD_TOKEN_TTL": "0"}, {"JOTD_LISTEN": "0.0.0.0:8080"}, {"DATABASE_URL": ""}):
        done = jotd_cli("config", "check", env={**env, **bad}, check=False)
        assert done.returncode == 1
        assert done.stdout == ""


# healthcheck


@contextlib.contextmanager
def listening(answer, family=socket.AF_INET, address=None):
    """A server that reads one request and answers with these bytes, or not at all if they are None.
    """
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address or ("127.0.0.1", free_port()))
        listener.listen()
        requests = []

        def serve():
            connection, _ = listener.accept()
            with connection:
                requests.append(connection.recv(4096))
                if answer is None:
                    connection.recv(1)  # until the client gives up
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname(), requests
        thread.join(10)


def healthcheck(jotd_cli, listen, *options, **env):
    return jotd_cli("healthcheck", *options, env={"JOTD_LISTEN": listen, **env}, check=False)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_healthcheck_asks_where_health_is(jotd_cli, tmp_path):
    with listening(OK) as ((_, port), requests):
        assert healthcheck(jotd_cli, f"127.0.0.1:{port}").returncode == 0
        assert requests[0].startswith(b"GET /health HTTP/1.1\r\n")
    with listening(OK) as ((_, port), requests):
        assert healthcheck(jotd_cli, f"0.0.0.0:{port}", "--ready").returncode == 0
        assert requests[0].startswith(b"GET /ready HTTP/1.1\r\n")
    with listening(OK, socket.AF_INET6, ("::1", free_port())) as (address, _):
        assert healthcheck(jotd_cli, f"[::]:{address[1]}").returncode == 0
    with listening(OK, socket.AF_UNIX, str(tmp_path / "socket")) as (path, _):
        metrics = f"unix:{path}"
        assert healthcheck(
            jotd_cli, "127.0.0.1:1", JOTD_METRICS_LISTEN=metrics
        ).returncode == 0


@pytest.mark.parametrize(
    "answer, reason",
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "answers 503"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no answer"),
        (b"HTTP/1.1 2", "no answer"),
        (b"", "no answer"),
    ],
)
def test_healthcheck_says_what_is_wrong(jotd_cli, answer, reason):
    with listening(answer) as ((_, port), _):
        done = healthcheck(jotd_cli, f"127.0.0.1:{port}", "--ready")
    assert done.returncode == 1
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_healthcheck_of_nothing(jotd_cli):
    done = healthcheck(jotd_cli, f"127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "Connection refused" in done.stderr


def test_healthcheck_gives_up(jotd_cli):
    start = time.monotonic()
    with listening(None) as ((_, port), _):
        done = healthcheck(jotd_cli, f"127.0.0.1:{port}")
    assert done.returncode == 1
    assert "timed out" in done.stderr
    assert 2.5 < time.monotonic() - start < 15
