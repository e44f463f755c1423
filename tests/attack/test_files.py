"""Files with valid names in the spool and the key directory that are not what they seem: links,
pipes and files with gigabytes of holes, planted by an attacker who controls the service or left by
a corrupt disk."""

import datetime
import functools
import json
import os
import shutil

import pytest

from harness import abandon, recorded, until
from harness.ledger import uuid7
from harness.process import run_jotd

NOW = datetime.datetime.now(datetime.timezone.utc)
SECRET = "\t".join(["{0}", "root", "free", "read", "https://a.example", "kid", "{1}", "{1}"]) + "\n"
KINDS = ["link", "hard link", "pipe", "hole", "directory"]


@pytest.fixture
def secret(tmp_path):
    """A file that would enter the ledger if it were read, and be truncated if it were repaired."""
    file = tmp_path / "secret"
    file.write_text(SECRET.format(uuid7(NOW), NOW) + "torn")
    return file


def lay(kind, path, secret):
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "hard link":
        path.hardlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "hole":
        path.touch()
        os.truncate(path, 3 << 30)
    else:
        path.mkdir()


# The spool


def test_a_start_passes_over_what_is_no_segment(database, jotd, secret, tmp_path):
    before = secret.read_text()
    segment, jtis = abandon(tmp_path / "spool")
    laid = [segment.with_name(uuid7(NOW)) for _ in KINDS]
    for kind, path in zip(KINDS, laid):
        lay(kind, path, secret)
    client = database.client()
    with jotd(database, spool_dir=tmp_path / "spool", batch_rows=1) as s:
        until(lambda: recorded(database) >= jtis)
        for path in laid:
            assert s.wait_log("spool.passed_over", path=str(path))["reason"]
        assert s.metric("jotd_ledger_files_passed_over_total") == len(KINDS)
        s.access_token(client)  # later tokens are not held up
        until(lambda: len(recorded(database)) == len(jtis) + 1)
    assert secret.read_text() == before
    assert all(os.path.lexists(path) for path in laid)


@pytest.mark.parametrize("kind", KINDS)
def test_a_segment_that_is_swapped_holds_up_no_other(database, jotd, postgres, secret, kind):
    before = secret.read_text()
    client = database.client()
    with jotd(database, batch_rows=1) as s:
        s.access_token(client)
        until(lambda: len(recorded(database)) == 1)
        postgres.stop()
        for _ in range(3):
            s.access_token(client)
        until(lambda: len(s.segments()) == 3)
        swapped = s.segments()[1]
        swapped.unlink()
        lay(kind, swapped, secret)
        postgres.start()
        s.wait_log("ledger.segment_lost", segment=str(swapped.relative_to(s.directory)),
                   timeout=30)
        until(lambda: len(recorded(database)) == 3, timeout=30)
        assert s.metric("jotd_ledger_files_passed_over_total") == 1
        assert os.path.lexists(swapped)
    assert secret.read_text() == before


@pytest.mark.parametrize("kind", KINDS)
def test_retry_passes_over_what_was_not_set_aside(database, secret, tmp_path, kind):
    before = secret.read_text()
    spool = tmp_path / "spool"
    spool.mkdir(mode=0o700)
    swapped, good = spool / f"{uuid7(NOW)}.rejected", spool / f"{uuid7(NOW)}.rejected"
    lay(kind, swapped, secret)
    jti = uuid7(NOW)
    good.write_text(SECRET.format(jti, NOW))

    def ledger(*arguments, check=True):
        return database.cli("ledger", *arguments, check=check, env={"JOTD_SPOOL_DIR": str(spool)})

    told = json.loads(ledger("status", "--json").stdout)
    assert [file["name"] for file in told["rejected"]["files"]] == [good.name]
    assert [file["name"] for file in told["passed_over"]] == [swapped.name]
    done = ledger("retry", check=False)
    assert done.returncode == 1
    assert f"cannot take {swapped}: {told['passed_over'][0]['reason'].split(',')[0]}" in done.stderr
    assert done.stdout == "sent 1 rows\n"
    assert recorded(database) == {jti}
    assert [path.name for path in spool.iterdir()] == [swapped.name]
    assert secret.read_text() == before


def test_status_and_flush_pass_over_what_is_no_segment(database, secret, tmp_path):
    before = secret.read_text()
    spool = tmp_path / "spool"
    segment, jtis = abandon(spool)
    laid = [segment.with_name(uuid7(NOW)) for _ in KINDS]
    for kind, path in zip(KINDS, laid):
        lay(kind, path, secret)
    process = spool / uuid7(NOW)
    process.symlink_to(segment.parent)

    def ledger(*arguments, check=True):
        return database.cli("ledger", *arguments, check=check, env={"JOTD_SPOOL_DIR": str(spool)})

    told = json.loads(ledger("status", "--json").stdout)
    assert [(each["process"], each["rows"]) for each in told["processes"]] == [
        (segment.parent.name, len(jtis))]
    names = {str(path.relative_to(spool)) for path in [*laid, process]}
    assert {each["name"] for each in told["passed_over"]} == names
    printed = ledger("status").stdout
    assert f"passed over: {len(names)} files\n" in printed
    for each in told["passed_over"]:
        assert f"  {each['name']}  {each['reason']}\n" in printed

    done = ledger("flush", check=False)
    assert done.returncode == 1
    assert done.stdout == f"sent {len(jtis)} rows\n"
    assert recorded(database) == jtis
    assert secret.read_text() == before


# Root in directories of the service's user

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who looks into another's")


@pytest.fixture
def others(directory):
    """A directory that user nobody can enter; give() makes nobody the owner of a path."""
    place = directory / uuid7(NOW)
    place.mkdir(mode=0o755)
    return place


def give(*paths):
    for path in paths:
        shutil.chown(path, "nobody", "nogroup")


def as_root(database, place, **env):
    """Runs commands whose database access only root can read."""
    service = place / "services"
    service.touch(mode=0o600)
    service.write_text(f"[jotd]\nhost=127.0.0.1\nport={database.postgres.port}\n"
                       f"dbname={database.name}\nuser=postgres\n")
    env = {"PGSERVICEFILE": str(service), "DATABASE_URL": "postgresql:///?service=jotd", **env}
    return functools.partial(run_jotd, env=env, check=False)


@needs_root
@pytest.mark.parametrize("kind", ["link", "hard link", "directory of root's"])
@pytest.mark.parametrize("command", ["flush", "retry"])
def test_root_reads_nothing_of_roots_for_another(database, others, kind, command):
    spool = others / "spool"
    segment, jtis = abandon(spool)
    rejected = spool / f"{uuid7(NOW)}.rejected"
    secret = others / "secret" / uuid7(NOW)
    secret.parent.mkdir(mode=0o700)
    secret.write_text(SECRET.format(uuid7(NOW), NOW) + "torn")
    before = secret.read_text()
    if kind == "link":
        segment.with_name(uuid7(NOW)).symlink_to(secret)
        rejected.symlink_to(secret)
    elif kind == "hard link":
        segment.with_name(uuid7(NOW)).hardlink_to(secret)
        rejected.hardlink_to(secret)
    else:
        secret = secret.parent.rename(spool / uuid7(NOW)) / secret.name
    give(spool, segment.parent, segment)

    done = as_root(database, others, JOTD_SPOOL_DIR=str(spool))("ledger", command)
    is_in_the_way = command == "flush" or kind != "directory of root's"
    assert done.returncode == (1 if is_in_the_way else 0)
    assert recorded(database) == (jtis if command == "flush" else set()), done.stderr
    assert secret.read_text() == before


@needs_root
def test_roots_commands_leave_what_the_server_can_use(database, others):
    """The connection is made before root privileges are dropped: only root has the password."""
    spool, keys = others / "spool", others / "keys"
    segment, jtis = abandon(spool)
    rejected = spool / f"{uuid7(NOW)}.rejected"
    rejected.write_text("bad\n")
    keys.mkdir(mode=0o700)
    give(spool, segment.parent, segment, rejected, keys)
    jotd = as_root(database, others, JOTD_SPOOL_DIR=str(spool), JOTD_KEYS_DIR=str(keys))

    def run(*arguments, status=0):
        done = jotd(*arguments)
        assert done.returncode == status, done.stderr
        return done

    run("key", "create")
    assert "by JOTD_TOKEN_TTL, clients and tiers" in run("key", "rotate").stderr
    run("key", "prune")
    assert len(json.loads(run("key", "list", "--json").stdout)) == 2
    run("ledger", "status")
    run("ledger", "flush")
    assert recorded(database) == jtis
    run("ledger", "retry", status=1)  # refused again
    left = [*keys.iterdir(), *spool.iterdir()]
    assert len(left) == 3
    assert {path.owner() for path in left} == {"nobody"}


@needs_root
def test_a_directory_of_another_user_is_seen(database, jotd, tmp_path):
    """As after a change of the server's user; all other directories are sent."""
    spool = tmp_path / "spool"
    others, own = abandon(spool), abandon(spool)
    give(others[0].parent, others[0])
    unable = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    with jotd(database, spool_dir=spool, wrapper=unable) as s:
        until(lambda: recorded(database) == own[1])
        line = s.wait_log("spool.passed_over", path=str(others[0].parent))
        assert line["reason"] == "Permission denied"
        until(lambda: s.metric("jotd_ledger_directories", state="abandoned") == 0)
        assert s.metric("jotd_ledger_directories", state="unreadable") == 1
        ready = s.get("/ready")
        assert ready.status_code == 200
        assert ready.json()["status"] == "degraded"
        assert ready.json()["spool"] == "another user's directories: see jotd ledger status"
        assert sum(line["event"] == "spool.passed_over" for line in s.log) == 1
        shutil.chown(others[0].parent, "root", "root")
        shutil.chown(others[0], "root", "root")
        until(lambda: recorded(database) == own[1] | others[1], timeout=15)
        until(lambda: s.get("/ready").json()["status"] == "ok")
        assert s.metric("jotd_ledger_directories", state="unreadable") == 0


@needs_root
def test_root_is_told_what_it_may_not_read_as_the_owner(database, others):
    spool = others / "spool"
    (segment, jtis), (roots, _) = abandon(spool), abandon(spool)
    give(spool, segment.parent, segment)
    file = spool / f"{uuid7(NOW)}.rejected"
    file.touch(mode=0o600)
    jotd = as_root(database, others, JOTD_SPOOL_DIR=str(spool))
    done = jotd("ledger", "status", "--json")
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert {p["process"]: (p["state"], p["rows"]) for p in status["processes"]} == {
        segment.parent.name: ("abandoned", 2), roots.parent.name: ("unreadable", None)}
    assert status["passed_over"] == [{"name": file.name, "reason": "Permission denied"}]
    lines = jotd("ledger", "status").stdout.splitlines()
    assert [line.split()[1:] for line in lines if roots.parent.name in line] == [
        ["unreadable", *"-----"]]
    done = jotd("ledger", "flush")
    assert done.returncode == 1
    assert f"{roots.parent}: it is another user's; run this as that user" in done.stderr
    assert recorded(database) == jtis


# Keys


def test_a_key_is_reached_by_links_within_the_directory_only(database, jotd):
    client = database.client()
    with jotd(database) as s:
        (key,) = s.keys_dir.glob("*.pem")
        outside = key.rename(s.directory / "outside.pem")
        key.symlink_to(outside)
        skipped = s.wait_log("key.skipped", file=key.name)
        assert "leads out of the directory" in skipped["reason"]
        until(lambda: s.token(client).status_code == 503)

        # As the kubelet mounts the keys of a secret.
        version = s.keys_dir / "..2026_01_01_00_00_00.1"
        version.mkdir()
        outside.rename(version / key.name)
        (s.keys_dir / "..data").symlink_to(version.name)
        key.unlink()
        key.symlink_to(f"..data/{key.name}")
        until(lambda: s.token(client).status_code == 200)
