"""jotd ledger as an operator sees it: status, flush, retry, prune, and the documented queries."""

import contextlib
import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import uuid

import pytest

from harness import abandon, long_test, recorded, until
from harness.ledger import row as row_of
from harness.ledger import segment_name, uuid7
from harness.process import ROOT, binary, clean_environment, free_port, spawn

NOW = datetime.datetime.now(datetime.timezone.utc)
COLUMNS = ["process", "state", "segments", "rows", "bytes", "oldest", "age_seconds"]


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def ledger(database, spool):
    """ledger("status") runs a command on this spool and database: prune with the owner's role, the
    others with the server's."""
    def run(*arguments, check=True, env=None):
        url = database.owner_url if arguments[0] == "prune" else database.url
        return database.cli("ledger", *arguments, check=check,
                            env={"DATABASE_URL": url, "JOTD_SPOOL_DIR": str(spool), **(env or {})})

    return run


def row(jti, format=2):
    return row_of(jti, NOW, format=format)


def set_aside(spool, suffix, *lines, format=2):
    spool.mkdir(mode=0o700, exist_ok=True)
    file = spool / f"{segment_name(NOW, format)}.{suffix}"
    file.write_text("".join(lines))
    return file


def organizations(database):
    """By jti; empty in rows of format 1."""
    return dict(database.execute("SELECT jti::text, organization FROM issued_tokens"))


def status(ledger):
    return json.loads(ledger("status", "--json").stdout)


def is_empty(spool):
    return list(spool.iterdir()) == []


# Usage


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "surplus"],
        ["status", "--expired"],
        ["flush", "--json"],
        ["flush", "now"],
        ["retry", "--expired=1"],
        ["prune"],
        ["prune", "--keep-months"],
        ["prune", "--keep-months", "0"],
        ["prune", "--keep-months", "1201"],
        ["prune", "--keep-months", "1.5"],
        ["prune", "--keep-months", "1", "surplus"],
    ],
    ids=" ".join,
)
def test_wrong_usage(jotd_cli, arguments):
    done = jotd_cli("ledger", *arguments, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Usage: jotd ledger" in done.stderr


@pytest.mark.parametrize("arguments", [["flush"], ["retry"], ["prune", "--keep-months", "1"]],
                         ids=" ".join)
def test_without_the_database(jotd_cli, fresh_database, spool, arguments):
    segment, _ = abandon(spool)
    rejected = set_aside(spool, "rejected", row(uuid7(NOW)))
    before = segment.read_text(), rejected.read_text()

    def reason(**env):
        done = jotd_cli("ledger", *arguments, env={"JOTD_SPOOL_DIR": str(spool), **env},
                        check=False)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        return done.stderr

    assert "DATABASE_URL is not set" in reason()
    unreachable = reason(DATABASE_URL=f"postgresql://u:hunter2@127.0.0.1:{free_port()}/db")
    assert "Connection refused" in unreachable
    assert "hunter2" not in unreachable
    assert "jotd migrate" in reason(DATABASE_URL=fresh_database.url)
    assert (segment.read_text(), rejected.read_text()) == before


# status


def test_status_of_nothing(jotd_cli, spool):
    env = {"JOTD_SPOOL_DIR": str(spool)}
    done = jotd_cli("ledger", "status", env=env, check=False)
    assert done.returncode == 1
    assert f"there is no {spool}; JOTD_SPOOL_DIR" in done.stderr
    assert not spool.exists()
    spool.mkdir()
    assert json.loads(jotd_cli("ledger", "status", "--json", env=env).stdout) == {
        "spool": str(spool), "processes": [], "rejected": {"rows": 0, "bytes": 0, "files": []},
        "expired": {"rows": 0, "bytes": 0, "files": []}, "passed_over": [], "newer": [],
    }
    done = jotd_cli("ledger", "status", env=env)
    lines = done.stdout.splitlines()
    assert lines[0].split() == COLUMNS
    assert lines[1:] == ["rejected: 0 files, 0 rows, 0 bytes", "expired: 0 files, 0 rows, 0 bytes",
                         "passed over: 0 files", "written by a newer jotd: 0 files"]
    assert done.stderr == ""


def test_status_of_what_was_left(ledger, spool):
    segment, _ = abandon(spool, days_ago=2, rows=3, torn="half a r")
    whole = segment.read_text().rpartition("\n")[0] + "\n"
    (segment.parent / segment_name(NOW)).write_text(row(uuid7(NOW)))
    (segment.parent / segment_name(NOW)).write_text("")  # open, still without a row
    rejected = set_aside(spool, "rejected", "bad\n", "bad\n")
    expired = set_aside(spool, "expired", row(uuid7(NOW)))
    (spool / "lost+found").mkdir()

    told = status(ledger)
    (process,) = told["processes"]
    assert process["process"] == segment.parent.name
    assert (process["state"], process["segments"], process["rows"]) == ("abandoned", 2, 4)
    assert process["bytes"] == len(whole) + len(row(uuid7(NOW)))
    oldest = datetime.datetime.fromisoformat(process["oldest"].replace("Z", "+00:00"))
    assert abs(NOW - datetime.timedelta(days=2) - oldest) < datetime.timedelta(hours=1)
    assert 172800 <= process["age_seconds"] < 172800 + 3600
    assert told["rejected"] == {
        "rows": 2, "bytes": 8, "files": [{"name": rejected.name, "rows": 2, "bytes": 8}]
    }
    assert [file["name"] for file in told["expired"]["files"]] == [expired.name]

    printed = ledger("status").stdout
    assert re.search(rf"^{segment.parent.name} +abandoned +2 +4 ", printed, re.M)
    assert "rejected: 1 files, 2 rows, 8 bytes\n" in printed
    assert f"  {rejected.name}  2 rows, 8 bytes\n" in printed
    assert f"  {expired.name}  1 rows" in printed


def test_a_process_that_runs(database, jotd, ledger, spool):
    client = database.client()
    with jotd(database, spool_dir=spool, batch_interval=3600) as server:
        assert [process["state"] for process in status(ledger)["processes"]] == ["live"]
        server.access_token(client)
        server.access_token(client)
        (process,) = status(ledger)["processes"]
        assert (process["state"], process["segments"], process["rows"]) == ("live", 1, 2)
        assert process["age_seconds"] < 60

        assert "left 2 rows to 1 running processes" in ledger("flush").stdout
        assert recorded(database) == set()
    assert len(recorded(database)) == 2
    assert status(ledger)["processes"] == []


# flush


def test_flush(database, ledger, spool):
    old, jtis = abandon(spool, rows=3, torn="half a r")
    newer = uuid7(NOW)
    (old.parent / segment_name(NOW)).write_text(row(newer))
    _, others = abandon(spool, rows=2)
    again = spool.parent / "again"
    shutil.copytree(spool, again)

    done = ledger("flush")
    assert done.stdout == "sent 6 rows\n"
    assert "6 rows in 2 abandoned directories" in done.stderr
    assert recorded(database) == jtis | others | {newer}
    assert is_empty(spool)
    assert ledger("flush").stdout == "sent 0 rows\n"

    # As if the process had died between COMMIT and unlink.
    done = ledger("flush", env={"JOTD_SPOOL_DIR": str(again)})
    assert done.stdout.startswith("sent 0 rows\ndid not send 6 rows: PostgreSQL had them already")
    assert len(recorded(database)) == 6
    assert is_empty(again)


@long_test
def test_flush_of_a_million_rows(database, ledger, spool):
    """Each row arrives once, and batches sent again are recognized."""
    directory = spool / uuid7(NOW)
    directory.mkdir(parents=True, mode=0o700)
    for _ in range(1000):
        (directory / segment_name(NOW)).write_text("".join(row(uuid7(NOW)) for _ in range(1000)))
    again = spool.parent / "again"
    shutil.copytree(spool, again)
    assert ledger("flush").stdout == "sent 1000000 rows\n"
    assert is_empty(spool)
    counted = "SELECT count(*), count(DISTINCT jti) FROM issued_tokens"
    assert database.execute(counted) == [(1_000_000, 1_000_000)]
    ledger("flush", env={"JOTD_SPOOL_DIR": str(again)})
    assert database.execute(counted) == [(1_000_000, 1_000_000)]


def test_flush_of_rows_that_postgresql_refuses(database, ledger, spool):
    segment, jtis = abandon(spool, rows=20)
    with segment.open("a") as lines:
        lines.write("bad\n")
    assert ledger("flush").stdout == "sent 20 rows\nrefused 1 rows: they are in *.rejected\n"
    assert recorded(database) == jtis
    assert (spool / f"{segment.name}.rejected").read_text() == "bad\n"
    assert not segment.parent.exists()


def test_flush_leaves_what_is_no_segment(database, ledger, spool):
    """The rest is sent, whatever has to stay."""
    segment, jtis = abandon(spool)
    foreign = segment.parent / "notes"
    foreign.touch()
    other, others = abandon(spool)
    done = ledger("flush", check=False)
    assert done.returncode == 1
    assert done.stdout == "sent 4 rows\n"
    assert f"{segment.parent} holds files that are not segments" in done.stderr
    assert "4 of 4 rows are done" in done.stderr
    assert foreign.exists()
    assert not other.parent.exists()
    assert recorded(database) == jtis | others


def test_flush_of_two_formats(database, ledger, spool):
    """As after an upgrade: both in the directory of a process, and each row arrives once."""
    old, jtis = abandon(spool, format=1, torn="half a r")
    newer = uuid7(NOW)
    (old.parent / segment_name(NOW)).write_text(row(newer) + "bad\n")
    (process,) = status(ledger)["processes"]
    assert (process["segments"], process["rows"]) == (2, 4)
    assert ledger("flush").stdout == "sent 3 rows\nrefused 1 rows: they are in *.rejected\n"
    assert organizations(database) == {newer: "acme", **dict.fromkeys(jtis, "")}
    (rejected,) = spool.iterdir()
    assert re.fullmatch(r"[0-9a-f-]{36}\.2\.rejected", rejected.name)


def test_what_a_newer_jotd_wrote_is_left(database, ledger, spool):
    """For that version; everything else is sent."""
    left, _ = abandon(spool, format=3, torn="not torn")
    known = uuid7(NOW)
    (left.parent / segment_name(NOW)).write_text(row(known))
    _, others = abandon(spool)
    rejected = set_aside(spool, "rejected", "newer\n", format=3)
    expired = set_aside(spool, "expired", "newer\n", format=17)
    before = {path: path.read_text() for path in (left, rejected, expired)}

    told = status(ledger)
    assert {process["process"]: process["rows"] for process in told["processes"]}[
        left.parent.name] == 1
    assert told["passed_over"] == told["rejected"]["files"] == told["expired"]["files"] == []
    assert {file["name"]: file["format"] for file in told["newer"]} == {
        str(left.relative_to(spool)): 3, rejected.name: 3, expired.name: 17}
    printed = ledger("status").stdout
    assert "written by a newer jotd: 3 files\n" in printed
    assert f"  {rejected.name}  format 3, this jotd knows up to 2\n" in printed

    done = ledger("flush", check=False)
    assert (done.returncode, done.stdout) == (1, "sent 3 rows\n")
    assert f"{left.parent} holds segments written by a newer jotd" in done.stderr
    assert recorded(database) == {known} | others
    done = ledger("retry", check=False)
    assert (done.returncode, done.stdout) == (1, "sent 0 rows\n")
    assert f"{rejected} was written by a newer jotd" in done.stderr
    assert {path: path.read_text() for path in before} == before
    rejected.unlink()
    assert ledger("retry").stdout == "sent 0 rows\n"
    assert f"{expired} was written by a newer jotd" in ledger(
        "retry", "--expired", check=False).stderr


def test_flush_fails_on_the_way(database, ledger, spool):
    segment, jtis = abandon(spool)
    database.execute("ALTER TABLE issued_tokens RENAME TO gone")
    done = ledger("flush", check=False)
    assert done.returncode == 1
    assert '"issued_tokens" does not exist' in done.stderr
    assert "0 of 2 rows are done, the rest stays in the spool" in done.stderr
    assert segment.exists()
    database.execute("ALTER TABLE gone RENAME TO issued_tokens")
    ledger("flush")
    assert recorded(database) == jtis


def test_flush_shows_progress_on_a_terminal(database, spool):
    for _ in range(40):
        abandon(spool)
    terminal, tty = os.openpty()
    env = clean_environment(DATABASE_URL=database.url, JOTD_SPOOL_DIR=str(spool))
    done = subprocess.run([binary(), "ledger", "flush"], env=env, stdout=subprocess.PIPE,
                          stderr=tty, check=True, timeout=60)
    os.close(tty)
    shown = b""
    with contextlib.suppress(OSError):  # end of the terminal
        while piece := os.read(terminal, 65536):
            shown += piece
    os.close(terminal)
    assert done.stdout == b"sent 80 rows\n"
    assert b"\rjotd: 40 of 80 rows\rjotd: 42 of 80 rows" in shown
    assert shown.endswith(b"\rjotd: 80 of 80 rows\r\n")


# retry


def test_retry(database, ledger, spool):
    good, other = uuid7(NOW), uuid7(NOW)
    first = set_aside(spool, "rejected", row(good), "bad\n")
    set_aside(spool, "rejected", "bad too\n")

    done = ledger("retry", check=False)
    assert done.returncode == 1
    assert done.stdout == "sent 1 rows\nrefused 2 rows: they are in *.rejected\n"
    assert f"jotd: 2 rows were refused again: see *.rejected in {spool}\n" in done.stderr
    assert recorded(database) == {good}
    assert not first.exists()
    left = sorted(spool.glob("*.rejected"))
    assert sorted(file.read_text() for file in left) == ["bad\n", "bad too\n"]
    assert sorted(spool.iterdir()) == left

    left[0].write_text(row(other).rstrip("\n"))  # as an editor may leave it
    left[1].write_text("")
    assert ledger("retry").stdout == "sent 1 rows\n"
    assert recorded(database) == {good, other}
    assert is_empty(spool)
    assert ledger("retry").stdout == "sent 0 rows\n"


def test_retry_of_two_formats(database, ledger, spool):
    jtis = [uuid7(NOW) for _ in range(4)]
    set_aside(spool, "rejected", row(jtis[0], format=1), "bad\n", format=1)
    set_aside(spool, "rejected", row(jtis[1]), "bad\n")
    set_aside(spool, "expired", row(jtis[2], format=1), format=1)
    set_aside(spool, "expired", row(jtis[3]))
    done = ledger("retry", "--expired", check=False)
    assert done.stdout == "sent 4 rows\nrefused 2 rows: they are in *.rejected\n"
    assert organizations(database) == dict(zip(jtis, ["", "acme", "", "acme"]))
    assert sorted(len(file.name) for file in spool.iterdir()) == [
        len(f"{uuid7(NOW)}{tail}.rejected") for tail in ("", ".2")]


def test_retry_of_what_expired(database, ledger, spool):
    jti = uuid7(NOW)
    file = set_aside(spool, "expired", row(jti))
    assert ledger("retry").stdout == "sent 0 rows\n"
    assert file.exists()
    assert ledger("retry", "--expired").stdout == "sent 1 rows\n"
    assert recorded(database) == {jti}
    assert is_empty(spool)


@pytest.mark.parametrize("format", [1, 2])
def test_retry_leaves_what_is_not_final(database, ledger, spool, format):
    """The segment was not committed: it will be sent again, and its rows set aside anew."""
    segment, jtis = abandon(spool, format=format)
    rejected = spool / f"{segment.name}.rejected"
    rejected.write_text(segment.read_text())
    done = ledger("retry")
    assert done.stdout == "sent 0 rows\n"
    assert f"{rejected} is left" in done.stderr
    ledger("flush")
    assert recorded(database) == jtis


def test_retry_is_killed(database, ledger, spool):
    """The rows in progress are left as an ordinary abandoned segment."""
    jti = uuid7(NOW)
    set_aside(spool, "rejected", row(jti))
    env = clean_environment(DATABASE_URL=database.url, JOTD_SPOOL_DIR=str(spool))
    with database.locked("issued_tokens"):
        process = spawn([binary(), "ledger", "retry"], env=env)
        until(database.waiting_for_lock)
        (busy,) = status(ledger)["processes"]
        assert (busy["state"], busy["rows"]) == ("live", 1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        (left,) = status(ledger)["processes"]
        assert left == {**busy, "state": "abandoned", "age_seconds": left["age_seconds"]}
    assert recorded(database) == set()
    ledger("flush")
    assert recorded(database) == {jti}
    assert is_empty(spool)


# prune


def month(ago):
    """The first day of the month `ago` months back, and the name of its partition."""
    number = NOW.year * 12 + NOW.month - 1 - ago
    first = datetime.datetime(number // 12, number % 12 + 1, 1, tzinfo=datetime.timezone.utc)
    return first, f"issued_tokens_{first:%Y_%m}"


def partitions(database):
    return {name for name, in database.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'issued_tokens'::regclass"
    )}


@pytest.fixture
def old_months(database):
    """Partitions of the five months before this one, with one row in each, and one row in the
    default partition."""
    for ago in range(1, 6):
        first, name = month(ago)
        database.execute("SELECT make_issued_tokens_partition(%s)", (first,))
        database.execute(f"INSERT INTO {name} VALUES (gen_random_uuid(), 'c', 'free', '', '', 'k',"
                         " %s, %s)", (first, first))
        database.execute(f"ANALYZE {name}")
    database.execute("INSERT INTO issued_tokens VALUES (gen_random_uuid(), 'c', 'free', '', '',"
                     " 'k', '2001-01-01 00:00+00', '2001-01-01 01:00+00')")
    database.execute("INSERT INTO flushed_batches VALUES"
                     " (gen_random_uuid(), 1, now() - interval '40 days'),"
                     " (gen_random_uuid(), 1, now())")
    return database


def test_prune(old_months, ledger):
    before = partitions(old_months)
    gone = [month(ago)[1] for ago in (5, 4, 3)]

    def told(*options):
        return json.loads(ledger("prune", "--keep-months", 2, "--json", *options).stdout)

    planned = told("--dry-run")
    assert planned.pop("dry_run") is True
    assert [part["name"] for part in planned["partitions"]] == gone
    assert [part["rows_estimate"] for part in planned["partitions"]] == [1, 1, 1]
    assert all(part["bytes"] > 0 for part in planned["partitions"])
    assert planned["keeps_from"] == f"{month(2)[0]:%Y-%m-%dT%H:%M:%SZ}"
    assert (planned["rows_left_in_default"], planned["batches_forgotten"]) == (1, 1)
    assert partitions(old_months) == before
    assert old_months.execute("SELECT count(*) FROM flushed_batches") == [(2,)]

    done = told()
    assert done.pop("dry_run") is False
    assert done == planned
    assert partitions(old_months) == before - set(gone)
    assert old_months.execute("SELECT to_regclass(%s)", (gone[0],)) == [(None,)]
    assert old_months.execute("SELECT count(*) FROM issued_tokens") == [(3,)]
    assert old_months.execute("SELECT count(*) FROM flushed_batches") == [(1,)]
    assert old_months.execute(
        "SELECT now() - watermark BETWEEN '30 days' AND '31 days' FROM ledger_state"
    ) == [(True,)]

    assert ledger("prune", "--keep-months", 2).stdout == (
        f"no month is from before {done['keeps_from']}\n"
        f"issued_tokens_default has 1 rows from before {done['keeps_from']}, which stay\n"
        "forgot 0 batches of over 30 days ago\n"
    )


def test_prune_follows_utc_whatever_the_zone(old_months, ledger):
    old_months.execute(f"ALTER DATABASE {old_months.name} SET timezone = 'Pacific/Kiritimati'")
    old_months.execute("DELETE FROM issued_tokens_default")
    printed = ledger("prune", "--keep-months", 4).stdout.splitlines()
    assert re.fullmatch(rf"dropped {month(5)[1]}: about 1 rows, \d+ bytes", printed[0])
    assert printed[1:] == ["forgot 1 batches of over 30 days ago"]


def test_prune_gives_up_while_the_table_is_read(old_months, ledger):
    before = partitions(old_months)
    with contextlib.closing(old_months.postgres.connect(old_months.name)) as reader:
        reader.cursor().execute("SELECT count(*) FROM issued_tokens")
        done = ledger("prune", "--keep-months", 1, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "in use for more than 3s: 0 of 4 partitions were dropped; run it again" in done.stderr
    assert partitions(old_months) == before


# Queries


@pytest.mark.parametrize("millisecond", [0, 1, 999, 1763711136123, 1795257136999, 2**42 - 1])
def test_the_time_inside_a_jti(database, millisecond):
    jti = str(uuid.UUID(int=millisecond << 80 | 0x7 << 76 | 0b10 << 62 | 2**62 - 1))
    assert database.execute(
        "SELECT (extract(epoch FROM uuid_v7_time(%s)) * 1000)::numeric", (jti,)
    ) == [(millisecond,)]


def test_the_token_with_this_jti(database, jotd):
    client = database.client()
    with jotd(database) as server:
        server.access_token(client)
        server.access_token(client)
    for jti in recorded(database):
        assert database.execute("SELECT jti, client_id FROM issued_token(%s)", (jti,)) == [
            (jti, client.id)
        ]
        plan = "\n".join(line for line, in database.execute(
            "EXPLAIN SELECT * FROM issued_token(%s)", (jti,)
        ))
        assert set(re.findall(r" on (issued_tokens_\d{4}_\d\d)\b", plan)) == {month(0)[1]}
        assert "issued_tokens_default" not in plan
    assert database.execute("SELECT * FROM issued_token(%s)", (uuid7(NOW),)) == []


def test_the_queries_for_operators(database):
    text = pathlib.Path(ROOT, "deploy", "queries.sql").read_text()
    queries = re.sub(r"--.*", "", text).strip().rstrip(";").split(";")
    assert len(queries) == 4
    for query in queries:
        database.execute(query)
