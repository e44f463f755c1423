"""An upgrade of a running service and the way back: two versions of jotd at one address, with one
spool, one set of keys and one database. No request fails, and every token is recorded once."""

import contextlib
import datetime
import os
import shutil
import subprocess
import tempfile

import pytest

from harness import Load, claims_of, recorded, until
from harness.ledger import row, segment_name, uuid7
from harness.process import ROOT, free_port, run_jotd

NOW = datetime.datetime.now(datetime.timezone.utc)

# The newest release before the newest migration: it may still run after `jotd migrate`.
PREVIOUS = "7e8afd5efa49cb76969059d2e4f737ee3fce57e9"


GIT = ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT]


def has_history():
    """Whether the history reaches back to the previous release; a full clone has to have it."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: there is no history to build the previous jotd from")
    shallow = subprocess.run([*GIT, "rev-parse", "--is-shallow-repository"], text=True, check=True,
                             stdout=subprocess.PIPE).stdout.strip() == "true"
    found = subprocess.run([*GIT, "cat-file", "-e", f"{PREVIOUS}^{{commit}}"], text=True,
                           stderr=subprocess.PIPE, check=False)
    if shallow and found.returncode != 0:
        pytest.skip("a shallow clone has no previous jotd to build: `git fetch --unshallow`")
    assert found.returncode == 0, f"the history lacks the previous release: {found.stderr}"


def build_previous(program):
    with tempfile.TemporaryDirectory(prefix="jotd-previous-") as source:
        archive = subprocess.run([*GIT, "archive", PREVIOUS], stdout=subprocess.PIPE, check=True)
        subprocess.run(["tar", "-x", "-C", source], input=archive.stdout, check=True)
        for command in ["--preset", "release"], ["--build", "build", "--target", "jotd"]:
            done = subprocess.run(["cmake", *command], cwd=source, text=True, check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert done.returncode == 0, done.stdout
        program.parent.mkdir(parents=True, exist_ok=True)
        made = shutil.copy(f"{source}/build/jotd", f"{program}.{os.getpid()}")
        os.replace(made, program)


@pytest.fixture(scope="module")
def previous():
    """The previous jotd, built from this repository's history, and kept until `./dev clean`."""
    program = ROOT / "build" / "previous" / PREVIOUS / "jotd"
    if not program.exists():
        has_history()
        build_previous(program)
    return str(program)


@pytest.fixture
def old_database(fresh_database, previous):
    """A database with the schema of the previous jotd."""
    fresh_database.program = previous
    fresh_database.cli("migrate")
    return fresh_database


def migrate(database):
    def version():
        return database.execute("SELECT max(version) FROM schema_migrations")[0][0]

    before = version()
    database.program = None
    database.cli("migrate")
    assert version() > before, "the previous jotd has this schema already: see PREVIOUS"


def grows(s, name, by=50):
    before = s.metric(name)
    until(lambda: s.metric(name) >= before + by, timeout=30)


def issues(s):
    """Returns when it has issued some more tokens."""
    grows(s, "jotd_tokens_issued_total")


def records(s):
    """Returns when it has written some more rows to PostgreSQL."""
    grows(s, "jotd_ledger_rows_written_total")


def segments(s, format):
    return [path for path in s.segments() if path.suffix == ("" if format == 1 else f".{format}")]


def test_an_upgrade_and_the_way_back(old_database, jotd, postgres, previous):
    database = old_database
    clients = [database.client(tier="unlimited") for _ in range(3)]
    with contextlib.ExitStack() as stack:
        def start(program, **shared):
            s = stack.enter_context(jotd(
                database, program=program, metrics_listen=f"127.0.0.1:{free_port()}",
                batch_rows=50, batch_interval=1, log_level="debug", **shared))
            s.wait_log("schema.verified", timeout=30)
            return s

        def start_beside(other, program):
            return start(program, keys=False, keys_dir=other.keys_dir, spool_dir=other.spool_dir,
                         listen=other.listen)

        old = start(previous)
        with Load([old], clients, per_connection=20) as load:
            records(old)
            migrate(database)
            records(old)
            new = start_beside(old, None)
            issues(new)
            assert old.stop() == 0
            assert segments(new, format=1) == []
            records(new)
            new.wait_log("serve.alone", address=new.listen)  # until then it gets all connections

            old = start_beside(new, previous)  # the way back
            issues(old)
            assert new.stop() == 0
            assert segments(old, format=2) == []
            records(old)
            old.wait_log("serve.alone", address=old.listen)

            new = start_beside(old, None)  # and again, while PostgreSQL is away
            for s in old, new:
                issues(s)
                assert s.metric("jotd_client_cache_entries") == len(clients)
            postgres.stop()
            for s in old, new:
                issues(s)
            assert new.stop() == 0
            left = {path: path.read_text() for path in segments(old, format=2)}
            assert left != {}
            postgres.start()
            records(old)
            assert {path: path.read_text() for path in segments(old, format=2)} == left
            new = start_beside(old, None)
            until(lambda: left.keys().isdisjoint(new.segments()))
            issues(new)
        for s in old, new:
            assert s.stop() == 0
        assert load.statuses == {200: len(load.jtis)}
        assert load.broken == 0
        assert recorded(database) == load.jtis
        assert list(new.spool_dir.iterdir()) == []


def test_what_is_of_a_newer_format_waits(old_database, jotd, postgres, previous):
    """Both versions were killed while PostgreSQL was away. The old one, and its commands, send what
    is theirs and leave the rest as it is."""
    database = old_database
    client = database.client(tier="unlimited")
    migrate(database)

    def ask(s, tokens):
        return {claims_of(s.access_token(client))["jti"] for _ in range(tokens)}

    # The directory of the first sorts before the other's, so the old one looks there first.
    with jotd(database, batch_rows=1) as new:
        with jotd(database, batch_rows=1, program=previous, spool_dir=new.spool_dir) as old:
            jtis = ask(new, 1) | ask(old, 1)
            until(lambda: recorded(database) == jtis)
            postgres.stop()
            newer, older = ask(new, 3), ask(old, 3)
            for s in new, old:
                s.kill()
            postgres.start()
            rejected = new.spool_dir / f"{segment_name(NOW)}.rejected"
            refused = uuid7(NOW)
            rejected.write_text(row(refused, NOW))
            left = {path: path.read_text() for path in (*segments(new, format=2), rejected)}
            assert "".join(left.values()).count("\n") == 4

            def are_left():
                return {path: path.read_text() for path in left} == left

            old.start()
            until(lambda: recorded(database) == jtis | older)
            until(lambda: segments(old, format=1) == [])
            assert are_left()
            env = {"DATABASE_URL": database.url, "JOTD_SPOOL_DIR": str(new.spool_dir)}
            for command in "flush", "retry":
                run_jotd("ledger", command, env=env, check=False, program=previous)
            assert are_left()
            new.start()
            until(lambda: recorded(database) == jtis | older | newer)
            run_jotd("ledger", "retry", env=env)
            assert recorded(database) == jtis | older | newer | {refused}
            assert len(list(new.spool_dir.iterdir())) == 2
