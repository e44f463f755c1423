"""The ledger when all is well: every answered token is a row of issued_tokens, exactly once."""

import concurrent.futures
import contextlib
import json
import time
import types

import jwt as pyjwt
import pytest

from harness import Load, abandon, claims_of, millisecond_of, recorded, until
from harness.ledger import wait_for_maintenance
from harness.process import run_jotd

NEVER = 3600  # seconds: only its rows close a batch


def jti(s, client, **form):
    return claims_of(s.access_token(client, **form))["jti"]


def batches(database):
    """Batch sizes as recorded in PostgreSQL."""
    return sorted(row[0] for row in database.execute("SELECT rows FROM flushed_batches"))


# Rows

def test_a_row_says_what_the_token_says(database, jotd):
    client = database.client(scope="read write", tier="pro", ttl=120,
                             audience=["https://a.example", "https://b.example"])
    bare = database.client(scope="")
    with jotd(database, batch_rows=1) as s:
        tokens = [s.access_token(client), s.access_token(bare),
                  s.access_token(client, scope="read", resource="https://b.example")]
        until(lambda: len(recorded(database)) == 3)
        rows = {row[0]: row[1:] for row in database.execute(
            "SELECT jti::text, client_id, tier, scope, audience, kid,"
            " round(extract(epoch FROM issued_at) * 1000)::bigint,"
            " extract(epoch FROM expires_at)::bigint FROM issued_tokens")}
    for token, tier in zip(tokens, ("pro", "free", "pro")):
        claims = claims_of(token)
        audience = claims["aud"]
        assert rows[claims["jti"]] == (
            claims["client_id"], tier, claims.get("scope", ""),
            audience if isinstance(audience, str) else " ".join(audience),
            pyjwt.get_unverified_header(token)["kid"], millisecond_of(claims["jti"]), claims["exp"])


def test_a_row_says_for_whom_and_by_which_secret(database, jotd):
    """The client's organization at that time, and the id of the secret that was used."""
    member, loner = database.client(), database.client()
    database.execute("INSERT INTO organizations (organization_id, name) VALUES ('acme', 'Acme')")
    database.execute("UPDATE clients SET organization = 'acme' WHERE client_id = %s", (member.id,))

    (first,), (other,) = (row for client in (member, loner) for row in database.execute(
        "SELECT secret_id FROM client_secrets WHERE client_id = %s", (client.id,)))
    with jotd(database, batch_rows=1) as s:
        expected = {jti(s, member): ("acme", first), jti(s, loner): ("", other)}
        made = json.loads(database.cli("client", "rotate", member.id, "--json").stdout)
        rotated = types.SimpleNamespace(id=member.id, secret=made["client_secret"])
        until(lambda: s.token(rotated).status_code == 200)
        expected |= {jti(s, rotated): ("acme", made["secret_id"]), jti(s, member): ("acme", first)}
        until(lambda: recorded(database) >= expected.keys())
    rows = {row[0]: row[1:] for row in database.execute(
        "SELECT jti::text, organization, credential FROM issued_tokens")}
    assert first != made["secret_id"]
    assert expected.items() <= rows.items()
    shown = json.loads(database.cli("client", "show", member.id, "--json").stdout)["secrets"]
    (today,), = database.execute("SELECT (max(issued_at) AT TIME ZONE 'UTC')::date::text"
                                 " FROM issued_tokens")
    assert [secret["last_used_on"] for secret in shown] == [today, today]


def test_an_answered_token_is_in_a_file_already(database, jotd):
    """An operator can load that file with COPY as it is."""
    client = database.client()
    with jotd(database, batch_interval=NEVER) as s:
        jtis = [jti(s, client) for _ in range(3)]
        (segment,) = s.segments()
        lines = segment.read_text().splitlines()
        assert [line.split("\t")[0] for line in lines] == jtis
        assert recorded(database) == set()
        with contextlib.closing(database.postgres.connect(database.name)) as connection:
            with connection.cursor() as cursor, open(segment) as rows:
                cursor.copy_expert("COPY issued_tokens FROM STDIN", rows)
                cursor.execute("SELECT jti::text FROM issued_tokens ORDER BY jti")
                assert [row[0] for row in cursor] == sorted(jtis)
            connection.rollback()


def test_only_tokens_are_recorded(database, jotd):
    client = database.client(scope="read")
    with jotd(database, batch_rows=1) as s:
        assert s.token(client, scope="admin").status_code == 400
        assert s.token(client, grant_type="password").status_code == 400
        assert s.token().status_code == 401
        token = jti(s, client)
        until(lambda: recorded(database) == {token})
        until(lambda: s.metric("jotd_ledger_rows_pending") == 0)


# Batches

def test_a_batch_of_rows(database, jotd):
    client = database.client()
    with jotd(database, batch_rows=5, batch_interval=NEVER) as s:
        jtis = {jti(s, client) for _ in range(4)}
        assert s.metric("jotd_ledger_rows_pending") == 4
        assert recorded(database) == set()
        jtis.add(jti(s, client))
        until(lambda: recorded(database) == jtis)
        assert batches(database) == [5]
        until(lambda: s.segments() == [])


def test_a_batch_of_an_interval(database, jotd):
    client = database.client()
    with jotd(database, batch_interval=1) as s:
        jtis = {jti(s, client) for _ in range(3)}
        until(lambda: recorded(database) == jtis)
        assert sum(batches(database)) == 3


def test_the_rest_is_sent_at_the_end(database, jotd):
    client = database.client()
    with jotd(database, batch_interval=NEVER) as s:
        jtis = {jti(s, client) for _ in range(3)}
        assert s.stop() == 0
        assert recorded(database) == jtis
        assert batches(database) == [3]
        assert list(s.spool_dir.iterdir()) == []


def test_two_workers_share_a_batch(database, jotd):
    client = database.client(tier="unlimited")
    with jotd(database, workers=2, batch_rows=50, batch_interval=NEVER) as s:
        with Load([s], client, threads=8) as load:
            load.progress(500)
        assert load.statuses == {200: len(load.jtis)}
        until(lambda: s.metric("jotd_ledger_rows_pending") < 50)
        assert recorded(database) <= load.jtis
        assert s.stop() == 0
        assert recorded(database) == load.jtis
        assert sum(batches(database)) == len(load.jtis)
        assert list(s.spool_dir.iterdir()) == []


def test_a_spool_for_two_servers(database, jotd):
    client = database.client()
    with jotd(database, batch_interval=NEVER) as a:
        with jotd(database, batch_interval=NEVER, spool_dir=a.spool_dir) as b:
            jtis = {jti(a, client), jti(b, client)}
            directories = {path.parent for path in a.segments()}
            assert len(directories) == 2
            assert b.stop() == 0
            assert len(recorded(database)) == 1
            assert a.stop() == 0
            assert recorded(database) == jtis
            assert list(a.spool_dir.iterdir()) == []


# What operators see

def test_metrics(database, jotd):
    client = database.client()
    with jotd(database, batch_rows=3, batch_interval=NEVER) as s:
        before = s.metrics()
        for name in ("rows_pending", "oldest_pending_seconds", "spool_bytes", "rows_written_total",
                     "rows_rejected_total", "rows_dropped_total", "flush_errors_total",
                     "flush_duration_seconds_count", "batches_total"):
            assert before.value(f"jotd_ledger_{name}") == 0, name
        assert {labels["trigger"] for labels, _ in before.select("jotd_ledger_batches_total")} == {
            "rows", "interval", "shutdown", "recovery"}
        for _ in range(2):
            jti(s, client)
        open_segment = s.metrics()
        assert open_segment.value("jotd_ledger_rows_pending") == 2
        (segment,) = s.segments()
        assert open_segment.value("jotd_ledger_spool_bytes") == segment.stat().st_size
        until(lambda: s.metric("jotd_ledger_oldest_pending_seconds") > 0.1)
        for _ in range(4):
            jti(s, client)
        until(lambda: s.metric("jotd_ledger_rows_written_total") == 6)
        sent = until(lambda: (m := s.metrics()).value("jotd_ledger_rows_pending") == 0 and m)
        assert sent.value("jotd_ledger_spool_bytes") == 0
        assert sent.value("jotd_ledger_oldest_pending_seconds") == 0
        assert sent.value("jotd_ledger_batches_total", trigger="rows") == 2
        assert sent.value("jotd_ledger_batches_total") == 2
        assert 1 <= sent.value("jotd_ledger_flush_duration_seconds_count") <= 2


def test_metrics_of_an_interval(database, jotd):
    with jotd(database, batch_interval=1) as s:
        jti(s, database.client())
        until(lambda: s.metric("jotd_ledger_batches_total", trigger="interval") == 1)


def test_ready_has_the_state_of_the_spool(database, jotd):
    with jotd(database) as s:
        assert s.ready().json()["spool"] == "ok"


def test_only_the_owner_reads_the_spool(database, jotd):
    with jotd(database, batch_interval=NEVER) as s:
        jti(s, database.client())
        (segment,) = s.segments()
        assert segment.stat().st_mode & 0o777 == 0o600
        for directory in segment.parent, s.spool_dir:
            assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("made", ["a file", "missing/spool"])
def test_a_spool_that_cannot_be_made(database, tmp_path, made):
    (tmp_path / "a file").touch()
    done = run_jotd("serve", check=False, timeout=20, env={
        "DATABASE_URL": database.url, "JOTD_SPOOL_DIR": str(tmp_path / made)})
    assert done.returncode == 1
    assert str(tmp_path / made) in done.stderr.splitlines()[-1]


# The end

def test_the_end_does_not_wait_for_postgresql(database, jotd, postgres):
    """What cannot be sent within the drain timeout is sent after the next start."""
    client = database.client()
    with jotd(database, drain_timeout=2, batch_interval=NEVER) as s:
        jtis = {jti(s, client) for _ in range(3)}
        postgres.pause()
        start = time.monotonic()
        try:
            assert s.stop() == 0
        finally:
            postgres.resume()
        assert time.monotonic() - start < 2 + 10
        s.start()
        until(lambda: recorded(database) == jtis)
        until(lambda: s.segments() == [])
        until(lambda: s.metric("jotd_ledger_batches_total", trigger="recovery") == 1)


def test_the_end_without_postgresql(database, jotd, postgres):
    client = database.client()
    with jotd(database, drain_timeout=20, batch_interval=NEVER) as s:
        jtis = {jti(s, client)}
        postgres.stop()
        start = time.monotonic()
        assert s.stop() == 0
        assert time.monotonic() - start < 10  # there is nothing to wait for
        (segment,) = s.segments()
        assert segment.read_text().startswith(*jtis)
        postgres.start()
        s.start()
        until(lambda: recorded(database) == jtis)


# What earlier processes left

def test_what_was_left_is_sent(database, jotd, tmp_path):
    """All directories are sent, without torn last lines, and removed."""
    left = [abandon(tmp_path / "spool", torn=torn) for torn in ("", "01a", "\0\0")]
    with jotd(database, spool_dir=tmp_path / "spool") as s:
        until(lambda: recorded(database) == set.union(*(jtis for _, jtis in left)))
        until(lambda: len(list(s.spool_dir.iterdir())) == 1)
        assert s.metric("jotd_ledger_batches_total", trigger="recovery") == 3
        assert s.metric("jotd_ledger_rows_written_total") == 6


def test_an_empty_directory_that_was_left(database, jotd, tmp_path):
    abandon(tmp_path / "spool", rows=0, torn="half a row")
    with jotd(database, spool_dir=tmp_path / "spool") as s:
        until(lambda: len(list(s.spool_dir.iterdir())) == 1)
        assert recorded(database) == set()


# Partitions

MONTHS = """
    SELECT count(*) = 4 FROM generate_series(0, 3) AS n
    JOIN pg_inherits ON inhrelid = to_regclass('issued_tokens_' || to_char(
        date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month', 'YYYY_MM'))
    AND inhparent = 'issued_tokens'::regclass
"""
DROP_MONTHS = """
    DO $$ DECLARE part regclass; BEGIN
        FOR part IN SELECT inhrelid::regclass FROM pg_inherits
                    WHERE inhparent = 'issued_tokens'::regclass
                    AND inhrelid <> 'issued_tokens_default'::regclass LOOP
            EXECUTE format('DROP TABLE %%s', part);
        END LOOP;
    END $$
"""


def has_months(database):
    return database.execute(MONTHS)[0][0]


def test_partitions_of_this_month_and_three_ahead(database, jotd):
    assert has_months(database)
    with jotd(database, batch_rows=1) as s:
        token = jti(s, database.client())
        until(lambda: recorded(database) == {token})
    assert database.execute("SELECT count(*) FROM issued_tokens_default") == [(0,)]


def test_partitions_follow_utc_whatever_the_zone(fresh_database):
    fresh_database.execute(f"ALTER DATABASE {fresh_database.name} SET timezone = 'Asia/Tokyo'")
    fresh_database.cli("migrate")
    bounds = fresh_database.execute(
        "SET timezone = 'UTC'; SELECT pg_get_expr(relpartbound, oid) FROM pg_class"
        " WHERE relispartition AND relkind = 'r' AND relname <> 'issued_tokens_default'")
    assert len(bounds) == 4
    assert all(bound.count("-01 00:00:00+00") == 2 for (bound,) in bounds)


def test_two_migrations_at_once(fresh_database):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(fresh_database.cli, "migrate") for _ in range(2)]:
            done.result()
    assert has_months(fresh_database)


def test_rows_move_from_the_default_partition(database, jotd):
    """Even when three servers make the partitions at once while another writes."""
    client = database.client(tier="unlimited")
    with jotd(database, batch_rows=20) as writing:
        wait_for_maintenance(database)
        database.execute(DROP_MONTHS)
        with Load([writing], client) as load, \
                concurrent.futures.ThreadPoolExecutor(3) as pool, contextlib.ExitStack() as others:
            until(lambda: database.execute("SELECT count(*) > 40 FROM issued_tokens_default")[0][0])
            with database.locked("issued_tokens_default"):
                list(pool.map(lambda _: others.enter_context(jotd(database)), range(3)))
                until(lambda: database.waiting_for_lock() >= 4)
            until(lambda: has_months(database))
            load.progress(100)
        assert writing.stop() == 0
    assert load.statuses == {200: len(load.jtis)}
    assert recorded(database) == load.jtis
    assert database.execute("SELECT count(*) FROM issued_tokens_default") == [(0,)]


def test_all_tables_may_be_published(fresh_database, jotd):
    """For change capture or an upgrade by replication; before and after the schema is made."""
    fresh_database.execute("CREATE PUBLICATION cdc FOR ALL TABLES")
    fresh_database.cli("migrate")
    client = fresh_database.client(tier="unlimited")
    fresh_database.execute(DROP_MONTHS)
    with jotd(fresh_database, batch_rows=1) as s:
        until(lambda: has_months(fresh_database))
        fresh_database.execute(DROP_MONTHS)
        token = claims_of(s.access_token(client))["jti"]
        until(lambda: recorded(fresh_database) == {token})
    with jotd(fresh_database) as s:
        until(lambda: has_months(fresh_database))
        assert s.metric("jotd_ledger_maintenance_failing") == 0
    assert recorded(fresh_database) == {token}


def test_maintenance_that_fails_is_seen_and_the_rest_is_done(database, jotd):
    database.execute("REVOKE EXECUTE ON FUNCTION make_issued_tokens_partitions() FROM jotd_server")
    with jotd(database) as s:
        until(lambda: s.metric("jotd_ledger_maintenance_failing") == 1)
        assert "permission denied" in s.wait_log("ledger.maintenance_failed")["reason"]
        assert s.metric("jotd_ledger_maintenance_errors_total") >= 1
        wait_for_maintenance(database)  # batches are forgotten nevertheless


def test_batches_are_forgotten_after_30_days(database, jotd):
    """In pieces, advancing the watermark."""
    database.execute(
        "INSERT INTO flushed_batches SELECT gen_random_uuid(), 1, now() - interval '32 days'"
        " FROM generate_series(1, 250000);"
        "INSERT INTO flushed_batches VALUES (gen_random_uuid(), 2, now())")
    with jotd(database) as s:
        until(lambda: batches(database) == [2], timeout=60)
        assert not any(line["event"] == "ledger.maintenance_failed" for line in s.log)
    assert database.execute(
        "SELECT watermark > now() - interval '32 days' AND watermark <= now() - interval '30 days'"
        " FROM ledger_state") == [(True,)]
