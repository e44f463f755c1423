"""The ledger when something dies, hangs, refuses or is full: every token that a client has read is
recorded, once."""

import contextlib
import datetime
import os
import random
import re
import resource
import subprocess
import time

import pytest

from harness import Load, Proxy, abandon, claims_of, long_test, recorded, small_disk, until
from harness.ledger import batch_of, row, segment_name, uuid7, wait_for_maintenance
from harness.process import is_long

LONG = is_long()
NEVER = 3600  # seconds: only its rows close a batch
NOW = datetime.datetime.now(datetime.timezone.utc)
RANDOM = random.Random()
SPOOL_RESERVE = 1 << 20  # as in common/spool/spool.h


@pytest.fixture(autouse=True)
def seed(request):
    """Prints the random seed, so that a failure can be reproduced."""
    number = int(os.environ.get("JOTD_TEST_SEED", random.randrange(1 << 32)))
    print(f"JOTD_TEST_SEED={number}")
    RANDOM.seed(number)


def jti(s, client, **form):
    return claims_of(s.access_token(client, **form))["jti"]


def batch(s, client, rows):
    return {jti(s, client) for _ in range(rows)}


def directories(s):
    return [path for path in s.spool_dir.iterdir() if path.is_dir()]


def until_all_is_sent(s, processes=1, timeout=30):
    """Until nothing is left of earlier processes: `processes` directories remain."""
    until(lambda: len(directories(s)) == processes, timeout)


def check_segments(s):
    """No segment has an incomplete row."""
    for segment in s.segments():
        text = segment.read_text()
        assert text == "" or text.endswith("\n"), segment
        for line in text.splitlines():
            assert re.fullmatch(r"[0-9a-f-]{36}(\t[^\t]*){5}(\t[0-9]{4}-[^\t]*\+00){2}(\t[^\t]*){2}",
                                line), line


# The death of the server

@pytest.mark.parametrize("together", [1, 2], ids=["one process", "two processes on one spool"])
def test_kill_9_of_the_server(database, jotd, together):
    kills = 20 if LONG else 5
    client = database.client(tier="unlimited")
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(jotd(database, batch_rows=50, batch_interval=1))]
        if together == 2:
            servers.append(stack.enter_context(jotd(
                database, batch_rows=50, batch_interval=1, spool_dir=servers[0].spool_dir)))
        with Load(servers, client, threads=6) as load:
            for _ in range(kills):
                load.progress(RANDOM.randrange(1, 300))
                for s in RANDOM.sample(servers, RANDOM.randint(1, together)):
                    s.kill()
                    s.environment["JOTD_WORKERS"] = str(RANDOM.choice((1, 2, 3)))
                    s.start()
            load.progress(100)
        for s in servers:
            s.wait_until("/ready")  # the load may have continued with only the other one
        until_all_is_sent(servers[0], processes=together)
        for s in servers:
            assert s.stop() == 0
        assert load.statuses.keys() <= {200, 503}  # 503 before PostgreSQL was reached
        assert load.jtis <= recorded(database)
        assert list(servers[0].spool_dir.iterdir()) == []


# The death of PostgreSQL and of the connection to it

def test_kill_9_of_postgresql(database, jotd, postgres):
    """A cached client does not notice."""
    client = database.client(tier="unlimited")
    with jotd(database, batch_rows=20) as s, Load([s], client) as load:
        for _ in range(10 if LONG else 2):
            load.progress(RANDOM.randrange(50, 300))
            postgres.kill()
            load.progress(RANDOM.randrange(50, 300))
            postgres.start()
        load.progress(100)
        load.stop()
        assert s.stop() == 0
        assert load.statuses == {200: len(load.jtis)}
        assert load.broken == 0
        assert recorded(database) == load.jtis


def test_kill_9_of_postgresql_in_the_middle_of_a_copy(database, jotd, postgres):
    client = database.client()
    with Proxy(postgres) as proxy, jotd(proxy.url(database), batch_rows=10) as s:
        proxy.freeze_copy()
        jtis = batch(s, client, 10)
        proxy.wait()
        postgres.kill()
        proxy.cut()
        postgres.start()
        until(lambda: recorded(database) == jtis)
        until(lambda: s.segments() == [])
        assert s.metric("jotd_ledger_flush_errors_total") >= 1
        assert s.metric("jotd_ledger_rows_written_total") == 10


@pytest.mark.parametrize("killed", [False, True], ids=["jotd lives", "kill -9 of jotd"])
def test_the_answer_to_commit_is_lost(database, jotd, postgres, killed):
    """The rows are committed, but jotd cannot know, and sends them again."""
    client = database.client()
    with Proxy(postgres) as proxy, jotd(proxy.url(database), batch_rows=10) as s:
        proxy.withhold_commit()
        jtis = batch(s, client, 10)
        proxy.wait()
        assert recorded(database) == jtis
        assert len(s.segments()) == 1
        if killed:
            s.kill()
        proxy.cut()
        if killed:
            s.start()
        until(lambda: s.segments() == [])
        assert recorded(database) == jtis


@pytest.mark.parametrize("killed", [False, True], ids=["jotd lives", "kill -9 of jotd"])
def test_a_copy_is_cut_off(database, jotd, postgres, killed):
    client = database.client()
    with Proxy(postgres) as proxy, jotd(proxy.url(database), batch_rows=10) as s:
        proxy.freeze_copy()
        jtis = batch(s, client, 10)
        proxy.wait()
        if killed:
            s.kill()
        proxy.cut()
        if killed:
            s.start()
        until(lambda: s.segments() == [])
        assert recorded(database) == jtis


def test_the_backend_is_terminated_while_it_waits(database, jotd):
    client = database.client()
    with jotd(database, batch_rows=10) as s:
        wait_for_maintenance(database)
        with database.locked("issued_tokens"):
            jtis = batch(s, client, 10)
            until(lambda: database.execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
                " AND query LIKE 'COPY issued_tokens%%' AND wait_event_type = 'Lock'"))
            database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'COPY issued_tokens%%'")
            until(lambda: s.metric("jotd_ledger_flush_errors_total") >= 1)
            jtis |= batch(s, client, 5)  # tokens are issued throughout
        jtis |= batch(s, client, 5)
        until(lambda: recorded(database) == jtis)
        until(lambda: s.segments() == [])


def is_synced(path):
    """A sync releases the disk space that was reserved."""
    return path.stat().st_blocks * 512 < SPOOL_RESERVE


def test_what_is_closed_is_synced_while_the_sender_waits(database, jotd):
    """It waits for PostgreSQL: a power loss in that time costs only the open file."""
    client = database.client()
    with jotd(database, batch_rows=5) as s:
        wait_for_maintenance(database)
        with database.locked("issued_tokens"):
            jtis = batch(s, client, 5)
            until(database.waiting_for_lock)
            jtis |= batch(s, client, 5)
            # Before the sender gives up, after 10 s.
            until(lambda: all(map(is_synced, s.segments())) and len(s.segments()) == 2, timeout=7)
            assert s.metric("jotd_ledger_rows_pending") == 10
            assert s.metric("jotd_ledger_flush_errors_total") == 0
        until(lambda: recorded(database) == jtis)
        until(lambda: s.segments() == [])


@long_test
def test_a_copy_is_held_by_a_peer_that_has_stopped(database, jotd, postgres):
    """Nobody closes that connection: its transaction holds the batch's key until it is ended for
    its silence."""
    client = database.client()
    with Proxy(postgres) as proxy, jotd(proxy.url(database), batch_rows=10) as s:
        proxy.freeze_copy()
        jtis = batch(s, client, 10)
        proxy.wait()
        until(lambda: s.metric("jotd_ledger_flush_errors_total") >= 1, timeout=40)
        until(lambda: recorded(database) == jtis, timeout=60)
        until(lambda: s.segments() == [])


@long_test
def test_a_copy_that_stopped_goes_on(database, jotd, postgres):
    """After jotd has given it up: the rows are recorded once."""
    client = database.client()
    with Proxy(postgres) as proxy, jotd(proxy.url(database), batch_rows=10) as s:
        proxy.freeze_copy()
        jtis = batch(s, client, 10)
        proxy.wait()
        until(lambda: s.metric("jotd_ledger_flush_errors_total") >= 1, timeout=40)
        proxy.release()
        until(lambda: s.segments() == [], timeout=60)
        assert recorded(database) == jtis


# PostgreSQL is away

def memory(s):
    """Resident bytes."""
    text = open(f"/proc/{s.process.pid}/status").read()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) * 1024


def test_postgresql_is_away_under_load(database, jotd, postgres):
    away = 30 if LONG else 3
    client = database.client(tier="unlimited")
    with jotd(database, workers=2, batch_rows=100) as s, Load([s], client, threads=8) as load:
        load.progress(1000)
        before = memory(s)
        postgres.stop()
        end = time.monotonic() + away
        until(lambda: time.monotonic() > end, timeout=away + 5)
        grown = memory(s) - before
        assert s.ready().json()["status"] == "degraded"
        postgres.start()
        load.progress(100)
        load.stop()
        until(lambda: s.metric("jotd_ledger_rows_pending") < 100, timeout=60)
        assert s.stop() == 0
        assert load.statuses == {200: len(load.jtis)}
        assert load.broken == 0
        assert recorded(database) == load.jtis
        assert s.is_sanitized or grown < 5_000_000


def test_a_segment_vanishes_while_postgresql_is_away(database, jotd, postgres):
    """Its rows are lost, and logged as lost; the others do not wait for it."""
    client = database.client(tier="unlimited")
    with jotd(database, batch_rows=1) as s:
        postgres_was_up = claims_of(s.access_token(client))["jti"]
        until(lambda: recorded(database) == {postgres_was_up})
        postgres.stop()
        jtis = [claims_of(s.access_token(client))["jti"] for _ in range(5)]
        until(lambda: len([path for path in s.segments() if path.stat().st_size]) == 5)
        tries = s.metric("jotd_ledger_flush_errors_total")
        # After two more failed attempts, all are synced.
        until(lambda: s.metric("jotd_ledger_flush_errors_total") > tries + 1, timeout=30)
        lost = next(path for path in s.segments() if jtis[1] in path.read_text())
        lost.unlink()
        postgres.start()
        s.wait_log("ledger.segment_lost", timeout=30)
        until(lambda: s.metric("jotd_ledger_rows_pending") == 0, timeout=30)
        assert recorded(database) == {postgres_was_up, *jtis} - {jtis[1]}


# No room

@pytest.fixture
def wide_client(database):
    """Its rows are 4 KB, which soon fill a spool."""
    scope = " ".join(f"{number:0>39}" for number in range(100))
    return database.client(scope=scope, tier="unlimited")


def refused(s, client):
    answer = s.token(client)
    if answer.status_code == 200:
        return False
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    # The client is cached, so the 503 is not PostgreSQL's. Another worker may not have it cached.
    return "X-Cache-Status" in answer.headers


def says_full(s):
    answer = s.ready()
    return answer.status_code == 503 and answer.json()["spool"].startswith("full")


def check_full(s, client):
    until(lambda: refused(s, client))
    until(lambda: says_full(s))
    check_segments(s)


def test_the_spool_is_full(database, jotd, postgres, wide_client):
    with jotd(database, spool_max_bytes=200_000, batch_rows=10, workers=2) as s:
        with Load([s], wide_client) as load:
            load.progress(5)
            postgres.stop()
            load.meets(503)
            check_full(s, wide_client)
            assert s.metric("jotd_ledger_spool_bytes") <= 200_000
            postgres.start()
            load.progress(20)
        assert s.stop() == 0
        assert load.statuses.keys() == {200, 503}
        assert load.jtis <= recorded(database)


def test_ready_comes_back_without_a_request_for_a_token(database, jotd, postgres, wide_client):
    """A balancer sends no requests to a server that is not ready."""
    with jotd(database, spool_max_bytes=100_000, batch_rows=10) as s:
        jti(s, wide_client)
        postgres.stop()
        check_full(s, wide_client)
        postgres.start()
        until(lambda: s.ready().status_code == 200)
        assert s.ready().json()["spool"] == "ok"


def test_the_spool_is_full_and_records_are_dropped(database, jotd, postgres, wide_client):
    with jotd(database, spool_max_bytes=100_000, batch_rows=10, spool_full="drop") as s:
        with Load([s], wide_client) as load:
            load.progress(5)
            postgres.stop()
            dropped = s.metric("jotd_ledger_rows_dropped_total")
            until(lambda: s.metric("jotd_ledger_rows_dropped_total") > dropped + 50)
            # A batch committed just before the stop may still make room.
            until(lambda: s.ready().json()["spool"].startswith("full"))
            answer = s.ready()
            assert answer.status_code == 200
            assert answer.json()["status"] == "degraded"
            check_segments(s)
            postgres.start()
            until(lambda: s.metric("jotd_ledger_rows_written_total") > 0)
            load.progress(50)
        dropped = s.metric("jotd_ledger_rows_dropped_total")
        assert s.stop() == 0
        assert load.statuses == {200: len(load.jtis)}
        assert len(recorded(database)) == len(load.jtis) - dropped
        assert recorded(database) < load.jtis


def test_the_disk_is_full(database, jotd, postgres, wide_client, tmp_path):
    with small_disk(tmp_path / "disk", "3m") as disk:
        with jotd(database, spool_dir=disk / "spool", batch_rows=20) as s:
            with Load([s], wide_client) as load:
                load.progress(5)
                postgres.stop()
                load.meets(503)
                check_full(s, wide_client)
                postgres.start()
                load.progress(50)
            assert s.stop() == 0
            assert load.statuses.keys() == {200, 503}
            assert load.jtis <= recorded(database)


def test_the_disk_is_filled_by_others(database, jotd, wide_client, tmp_path):
    with small_disk(tmp_path / "disk", "3m") as disk:
        with jotd(database, spool_dir=disk / "spool", batch_rows=20) as s:
            with Load([s], wide_client) as load:
                load.progress(50)
                with open(disk / "ballast", "wb", buffering=0) as ballast:
                    with contextlib.suppress(OSError):
                        while load.failure is None and load.statuses[503] == 0:
                            ballast.write(bytes(4096))
                load.meets(503)
                check_full(s, wide_client)
                (disk / "ballast").unlink()
                load.progress(50)
            assert s.stop() == 0
            assert load.jtis <= recorded(database)
            assert list(s.spool_dir.iterdir()) == []


def test_the_disk_becomes_read_only(database, jotd, tmp_path):
    client = database.client()

    def remount(option):
        return subprocess.run(["mount", "-o", f"remount,{option}", tmp_path / "disk"],
                              capture_output=True, check=False).returncode == 0

    with small_disk(tmp_path / "disk", "3m") as disk:
        with jotd(database, spool_dir=disk / "spool", batch_rows=1) as s:
            jtis = batch(s, client, 2)
            until(lambda: s.segments() == [])
            until(lambda: remount("ro"))  # fails while a file is open for writing
            check_full(s, client)
            assert remount("rw")
            until(lambda: s.token(client).status_code == 200)
            jtis |= batch(s, client, 2)
            until(lambda: jtis < recorded(database))


def limit_files(s, size):
    """Limits the size of the server's files."""
    hard = resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


def test_a_write_falls_short(database, jotd, postgres, wide_client):
    """A token whose row was not written whole is not sent."""
    with jotd(database, batch_interval=NEVER) as s:
        with Load([s], wide_client) as load:
            load.progress(5)
            postgres.stop()
            limit_files(s, 50_000)
            until(lambda: len(s.segments()) >= 4)  # all but the first and the last fell short
            load.meets(503)
            check_segments(s)
            limit_files(s, None)
            postgres.start()
            load.progress(50)
        assert s.metric("jotd_tokens_issued_total", tier="unlimited") == load.statuses[200]
        assert s.stop() == 0
        assert load.statuses.keys() == {200, 503}
        assert load.jtis <= recorded(database)


def test_a_write_falls_short_and_records_are_dropped(database, jotd, wide_client):
    with jotd(database, spool_full="drop") as s:
        with Load([s], wide_client) as load:
            load.progress(5)
            limit_files(s, 50_000)
            until(lambda: s.metric("jotd_ledger_rows_dropped_total") > 5)
            limit_files(s, None)
            load.progress(50)
        dropped = s.metric("jotd_ledger_rows_dropped_total")
        assert s.stop() == 0
        assert load.statuses == {200: len(load.jtis)}
        assert len(recorded(database)) == len(load.jtis) - dropped


# What PostgreSQL refuses

@pytest.mark.parametrize("rule", [
    "ADD CONSTRAINT fair CHECK (scope <> 'much too bad')",  # 23514
    "ADD CONSTRAINT fair CHECK (1 / (scope <> 'much too bad')::int = 1)",  # 22012
])
def test_a_row_that_is_refused_for_its_content(database, jotd, rule):
    """The good rows of its batch arrive; the bad one is set aside, and nothing waits for it."""
    rows = 1000 if LONG else 50
    good = database.client(scope="good", tier="unlimited")
    bad = database.client(scope="much too bad", tier="unlimited")
    database.execute(f"ALTER TABLE issued_tokens {rule}")
    with jotd(database, batch_rows=rows, batch_interval=NEVER) as s:
        jtis = batch(s, good, rows // 3)
        (refused_jti,) = batch(s, bad, 1)
        (segment,) = s.segments()
        (line,) = [line for line in segment.read_text().splitlines(True) if refused_jti in line]
        jtis |= batch(s, good, rows - 1 - len(jtis))
        until(lambda: recorded(database) == jtis)
        until(lambda: s.segments() == [])
        until(lambda: s.metric("jotd_ledger_rows_pending") == 0)
        assert s.set_aside() == {f"{segment.name}.rejected": line}
        assert database.execute("SELECT batch_id::text FROM flushed_batches") == [
            (batch_of(segment),)]
        metrics = s.metrics()
        assert metrics.value("jotd_ledger_rows_rejected_total") == 1
        assert metrics.value("jotd_ledger_rows_written_total") == rows - 1
        s.wait_log("ledger.rejected", rows=1)
        jtis |= batch(s, good, rows)  # the next batch is unaffected
        until(lambda: recorded(database) == jtis)


def test_refused_rows_wherever_they_stand(database, jotd):
    good = database.client(scope="good", tier="unlimited")
    bad = database.client(scope="bad", tier="unlimited")
    database.execute("ALTER TABLE issued_tokens ADD CONSTRAINT fair CHECK (scope <> 'bad')")
    jtis = {True: set(), False: set()}
    with jotd(database, batch_rows=5, batch_interval=NEVER) as s:
        with database.locked("issued_tokens"):  # so that they are sent together
            for pattern in "....x", "x....", "xxxxx", ".....", "x.x.x", "..xx.":
                for row in pattern:
                    jtis[row == "."].add(jti(s, good if row == "." else bad))
        until(lambda: s.segments() == [])
        assert recorded(database) == jtis[True]
        lines = "".join(s.set_aside().values()).splitlines()
        assert len(lines) == len(jtis[False])
        assert {line.split("\t")[0] for line in lines} == jtis[False]
        assert len(s.set_aside()) == 5
        assert s.metric("jotd_ledger_rows_rejected_total") == len(jtis[False])


@pytest.mark.parametrize("refused_then", ["nothing", "other"])
def test_what_was_set_aside_by_an_attempt_that_failed_is_not_kept(database, jotd, refused_then):
    """The next attempt sends these rows: they must not also wait for `jotd ledger retry`."""
    bad, other = (database.client(scope=scope, tier="unlimited") for scope in ("bad", "other"))
    database.execute(
        "ALTER TABLE issued_tokens ADD CONSTRAINT fair CHECK (scope <> 'bad');"
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'not now' USING ERRCODE = '53100'; END $$;"
        "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON flushed_batches"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()")
    with jotd(database, batch_rows=2, batch_interval=NEVER) as s:
        jtis = batch(s, bad, 2)
        until(s.set_aside)
        others = batch(s, other, 2)
        database.execute(
            "DROP TRIGGER at_commit ON flushed_batches;"
            "ALTER TABLE issued_tokens DROP CONSTRAINT fair;"
            f"ALTER TABLE issued_tokens ADD CONSTRAINT fair CHECK (scope <> '{refused_then}')")
        until(lambda: s.segments() == [])
        refused = others if refused_then == "other" else set()
        assert recorded(database) == (jtis | others) - refused
        lines = "".join(s.set_aside().values()).splitlines()
        assert {line.split("\t")[0] for line in lines} == refused


@pytest.mark.parametrize("breaks, heals", [
    ("REVOKE INSERT ON issued_tokens FROM jotd_server",
     "GRANT INSERT ON issued_tokens TO jotd_server"),
    ("ALTER ROLE jotd_server IN DATABASE {} SET default_transaction_read_only = on",
     "ALTER ROLE jotd_server IN DATABASE {} RESET default_transaction_read_only"),
    ("ALTER DATABASE {} CONNECTION LIMIT 0", "ALTER DATABASE {} CONNECTION LIMIT -1"),
    ("ALTER TABLE issued_tokens RENAME TO elsewhere",
     "ALTER TABLE elsewhere RENAME TO issued_tokens"),
], ids=["privileges", "read-only", "too many connections", "no table"])
def test_what_passes_is_tried_again(database, jotd, breaks, heals):
    client = database.client()
    with jotd(database, batch_rows=5) as s:
        jtis = batch(s, client, 5)
        until(lambda: recorded(database) == jtis)
        database.execute(breaks.format(database.name))
        database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                         " WHERE datname = current_database() AND application_name = 'jotd-ledger'")
        jtis |= batch(s, client, 10)
        until(lambda: s.metric("jotd_ledger_flush_errors_total") >= 2)
        assert s.metric("jotd_ledger_rows_pending") == 10
        assert s.set_aside() == {}
        database.execute(heals.format(database.name))
        until(lambda: recorded(database) == jtis)
        until(lambda: s.segments() == [])
        s.wait_log("ledger.resumed")
        assert s.set_aside() == {}


# Formats

def test_two_formats_in_one_directory(database, jotd, tmp_path):
    """They go in one transaction, or each alone if a row is refused; never twice."""
    spool = tmp_path / "spool"
    database.execute("ALTER TABLE issued_tokens ADD CONSTRAINT fair CHECK (scope <> 'bad')")
    expected, bad = set(), {}
    for number in range(6):
        format = 1 + number % 2
        segment, jtis = abandon(spool, format=format)
        expected |= jtis
        if number > 1:  # all in the directory of the second
            segment.rename(first.parent / segment.name)
            segment.parent.rmdir()
        elif number == 1:
            first = segment
        if number > 3:
            refused = row(uuid7(NOW), NOW, format=format).replace("read", "bad")
            bad[f"{segment.name}.rejected"] = refused
            with open(first.parent / segment.name, "a") as lines:
                lines.write(refused)
    with jotd(database, spool_dir=spool) as s:
        until_all_is_sent(s)
        assert recorded(database) == expected
        assert s.set_aside() == bad
        assert dict(database.execute(
            "SELECT organization, count(*) FROM issued_tokens GROUP BY 1")) == {"": 6, "acme": 6}


def test_a_newer_format_is_left_alone(database, jotd, tmp_path):
    """Its directory stays and hides no other; nothing is counted or logged as wrong."""
    spool = tmp_path / "spool"
    newer, _ = abandon(spool, format=3, torn="not torn")
    before = newer.read_text()
    known = uuid7(NOW)
    (newer.parent / segment_name(NOW)).write_text(row(known, NOW))
    _, jtis = abandon(spool)
    with jotd(database, spool_dir=spool) as s:
        until(lambda: recorded(database) == {known} | jtis)
        until_all_is_sent(s, processes=2)
        assert s.segments() == [newer]
        assert newer.read_text() == before
        assert s.metric("jotd_ledger_files_passed_over_total") == 0
        assert s.ready().json()["status"] == "ok"
        assert not any(line["event"].startswith("spool.") for line in s.log)


# What is old

@pytest.mark.parametrize("format", [1, 2])
def test_a_segment_older_than_the_watermark_is_set_aside(database, jotd, tmp_path, format):
    """It can no longer be known whether it was sent."""
    old, _ = abandon(tmp_path / "spool", days_ago=40, format=format)
    text = old.read_text()
    _, jtis = abandon(tmp_path / "spool", days_ago=29)  # perhaps of a month without a partition
    database.execute("UPDATE ledger_state SET watermark = now() - interval '30 days'")
    with jotd(database, spool_dir=tmp_path / "spool") as s:
        until_all_is_sent(s)
        assert s.set_aside() == {f"{old.name}.expired": text}
        assert recorded(database) == jtis
        s.wait_log("ledger.expired", rows=2)
        assert s.metric("jotd_ledger_rows_rejected_total") == 0
        assert s.metric("jotd_ledger_rows_written_total") == 2


def test_a_watermark_that_is_missing_is_told(database, jotd, tmp_path):
    _, jtis = abandon(tmp_path / "spool", days_ago=2)
    database.execute("DELETE FROM ledger_state")
    with jotd(database, spool_dir=tmp_path / "spool") as s:
        assert "ledger_state" in s.wait_log("ledger.flush_failed")["reason"]
        database.execute("INSERT INTO ledger_state (watermark) VALUES ('2000-01-01')")
        until_all_is_sent(s)
        assert recorded(database) == jtis


def test_an_old_segment_that_was_sent_is_not_sent_again(database, jotd, tmp_path):
    sent, _ = abandon(tmp_path / "spool", days_ago=2)
    _, jtis = abandon(tmp_path / "spool", days_ago=2)
    database.execute("INSERT INTO flushed_batches VALUES (%s, 2, now() - interval '2 days')",
                     (batch_of(sent),))
    with jotd(database, spool_dir=tmp_path / "spool") as s:
        until_all_is_sent(s)
        assert recorded(database) == jtis
        assert s.set_aside() == {}
