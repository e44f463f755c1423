"""The feed and the set of revoked tokens, GET /revocations, and `jotd token`."""

import contextlib
import json
import re
import threading
import time

import psycopg2
import pytest

from harness import Proxy, claims_of, long_test, until
from harness.clock import Clock
from harness.ledger import uuid7
from harness.proxy import TlsProxy, self_signed
from harness.services import Standby
from test_introspection import introspect, is_active, revoke, uuid7_now

INSERT = ("INSERT INTO revoked_tokens (jti, client_id, expires_at)"
          " SELECT jti::uuid, 'c', now() + interval '1 hour' FROM unnest(%s) AS jti")


@pytest.fixture
def asker(database):
    """Its own tokens, and all others."""
    client = database.client(tier="unlimited")
    database.execute("UPDATE clients SET introspect = '{*}'")
    return client


def jti_of(token):
    return claims_of(token)["jti"]


def revocations(server, client, since=None, **options):
    path = "/revocations" + (f"?since={since}" if since is not None else "")
    return server.get(path, auth=(client.id, client.secret), **options)


# The feed

@pytest.mark.parametrize("count", [1, 50, 51, 500])
def test_revocations_by_anybody_reach_every_worker(database, jotd, asker, count):
    """Up to 50 in a transaction are told one by one."""
    with jotd(database, workers=2) as s:
        tokens = [s.access_token(asker) for _ in range(min(count, 3))]
        assert all(is_active(s, asker, token) for token in tokens)
        others = [str(uuid7_now()) for _ in range(count - len(tokens))]
        database.execute(INSERT, (others + [jti_of(token) for token in tokens],))
        until(lambda: not any(is_active(s, asker, token) for token in tokens))
        for token in tokens:
            for _ in range(8):  # whichever worker answers
                assert not is_active(s, asker, token)
        until(lambda: s.metric("jotd_revoked_tokens") == count)


def test_what_was_revoked_before_the_start(database, jotd, asker):
    with jotd(database) as s:
        token = s.access_token(asker)
        keys = s.keys_dir
        database.execute(INSERT, ([jti_of(token)],))
        with jotd(database, keys=False, ready=False, keys_dir=keys, issuer=s.url) as other:
            until(lambda: other.ready().status_code == 200)
            until(lambda: introspect(other, asker, token).status_code == 200)
            assert not is_active(other, asker, token)
            assert other.wait_log("revocations.loaded")["tokens"] == 1
        assert s.wait_log("revocations.loaded")["tokens"] == 0


def test_what_expired_is_not_kept(database, jotd, asker):
    """Whatever expiry the row has: no token lives longer than a day from its jti on."""
    import datetime
    old = uuid7(datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=26))
    database.execute("INSERT INTO revoked_tokens (jti, expires_at) VALUES (%s, now() + interval"
                     " '1 year'), (gen_random_uuid(), now() + interval '1 year'),"
                     " (%s, now() - interval '1 minute'), (%s, now() + interval '1 hour')",
                     (old, str(uuid7_now()), str(uuid7_now())))
    with jotd(database) as s:
        until(lambda: s.metric("jotd_revocation_feed_age_seconds") < 10)
        assert s.metric("jotd_revoked_tokens") <= 2


def test_the_table_is_pruned(database, jotd):
    database.execute("INSERT INTO revoked_tokens (jti, expires_at) SELECT gen_random_uuid(),"
                     " now() - interval '2 hours' FROM generate_series(1, 1000);"
                     "INSERT INTO revoked_tokens (jti, expires_at) VALUES"
                     " (gen_random_uuid(), now() - interval '30 minutes')")
    with jotd(database):
        until(lambda: database.execute("SELECT count(*) FROM revoked_tokens") == [(1,)])


def test_a_lost_connection_is_made_again_and_misses_nothing(database, jotd, asker):
    with jotd(database) as s:
        tokens = [s.access_token(asker) for _ in range(20)]
        until(lambda: is_active(s, asker, tokens[0]))
        for token in tokens:
            database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                             " WHERE application_name = 'jotd-feed'")
            database.execute(INSERT, ([jti_of(token)],))
            until(lambda: not is_active(s, asker, token))
        s.wait_log("feed.lost")


@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=long_test)])
def test_connections_cut_while_revocations_commit(database, postgres, jotd, asker, rounds):
    """Nothing that was committed is missed once the connection is back."""
    stopping, committed, room = threading.Event(), [], threading.Semaphore(0)

    def commit():
        with contextlib.closing(psycopg2.connect(database.url)) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            while room.acquire() and not stopping.is_set():
                several = [str(uuid7_now()) for _ in range(1 + len(committed) % 60)]
                cursor.execute(INSERT, (several,))
                committed.append(several[-1])

    with Proxy(postgres) as proxy, jotd(proxy.url(database)) as s:
        token = s.access_token(asker)
        thread = threading.Thread(target=commit)
        thread.start()
        try:
            for _ in range(rounds):
                seen = len(committed)
                room.release(30)
                until(lambda: len(committed) > seen + 3)
                before = sum(line["event"] == "feed.connected" for line in s.log)
                proxy.cut()
                until(lambda: sum(line["event"] == "feed.connected" for line in s.log) > before,
                      timeout=30)
        finally:
            stopping.set()
            room.release()
            thread.join()
        count = database.execute("SELECT count(*) FROM revoked_tokens")[0][0]
        until(lambda: s.metric("jotd_revoked_tokens") == count, timeout=20)
        assert is_active(s, asker, token)


def test_a_pooler_is_refused(database, postgres, jotd):
    """One that swallows notifications: the feed's own does not come back."""
    with Proxy(postgres) as proxy:
        proxy.rewrite = lambda answer: answer.replace(b"beat_", b"bent_")
        with jotd(proxy.url(database), ready=False) as s:
            assert "pooler" in s.wait_log("feed.lost")["reason"]
            assert s.metrics().value("jotd_revocation_feed_age_seconds") == float("inf")


def test_many_revocations_at_once(database, jotd, asker):
    """They share statements; each is answered after its commit."""
    with jotd(database, workers=2) as s:
        tokens = [s.access_token(asker) for _ in range(100)]
        with contextlib.ExitStack() as stack:
            threads = []
            for part in range(4):
                def run(part=part):
                    for token in tokens[part::4]:
                        assert revoke(s, asker, token).status_code == 200
                        assert not is_active(s, asker, token)
                threads.append(threading.Thread(target=run))
                threads[-1].start()
            for thread in threads:
                thread.join()
        assert database.execute("SELECT count(*) FROM revoked_tokens") == [(100,)]


def test_a_revocation_that_cannot_be_committed(database, jotd, asker):
    with jotd(database) as s:
        token = s.access_token(asker)
        database.execute("ALTER TABLE revoked_tokens ADD CONSTRAINT never CHECK (client_id = '')")
        answer = revoke(s, asker, token)
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        database.execute("ALTER TABLE revoked_tokens DROP CONSTRAINT never")
        until(lambda: revoke(s, asker, token).status_code == 200)
        assert not is_active(s, asker, token)


def test_a_commit_that_fails_is_no_revocation(database, jotd, asker):
    """The statement succeeds, and the transaction does not."""
    database.execute("CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
                     " $$ BEGIN RAISE 'not now'; END $$;"
                     "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON revoked_tokens"
                     " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()")
    with jotd(database) as s:
        token = s.access_token(asker)
        assert revoke(s, asker, token).status_code == 503
        assert "not now" in s.wait_log("revocations.not_recorded")["reason"]
        assert is_active(s, asker, token)
        assert database.execute("SELECT count(*) FROM revoked_tokens") == [(0,)]
        database.execute("DROP TRIGGER late ON revoked_tokens")
        assert revoke(s, asker, token).status_code == 200


def test_a_notification_revokes_nothing_by_itself(database, jotd, asker):
    """Anybody who can connect may send one."""
    with jotd(database) as s:
        token, other = s.access_token(asker), s.access_token(asker)
        for payload in (f"{jti_of(token)} 99999999999", "*", "", "x"):
            database.execute("SELECT pg_notify('jotd_revoked', %s)", (payload,))
        database.execute(INSERT, ([jti_of(other)],))
        until(lambda: not is_active(s, asker, other))
        assert is_active(s, asker, token)


def rows_read(database):
    return database.execute("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables"
                            " WHERE relname = 'revoked_tokens'")[0][0]


def test_an_old_transaction_makes_no_revocation_dear(database, postgres, jotd, asker):
    """Cursors stop at the oldest one of the cluster, but what is notified is found by its jti."""
    with contextlib.closing(psycopg2.connect(postgres.url("postgres"))) as old, jotd(database) as s:
        old.cursor().execute("SELECT pg_current_xact_id()")
        token = s.access_token(asker)
        database.execute(INSERT, ([str(uuid7_now()) for _ in range(3000)],))
        until(lambda: s.metric("jotd_revoked_tokens") == 3000)
        for text in [s.access_token(asker) for _ in range(5)]:
            database.execute(INSERT, ([jti_of(text)],))
            until(lambda text=text: not is_active(s, asker, text))
        until(lambda: rows_read(database) >= 3000 + 5)  # counts come a second late
        assert rows_read(database) < 2 * 3000
        assert is_active(s, asker, token)


def test_a_transaction_that_commits_late(database, jotd, asker):
    """Its rows have lower numbers than what was read meanwhile."""
    with contextlib.closing(psycopg2.connect(database.url)) as late, jotd(
            database, revocation_stale=3) as s:
        tokens = [s.access_token(asker) for _ in range(60)]
        late.cursor().execute(INSERT, ([jti_of(token) for token in tokens[:55]],))
        for token in tokens[55:]:  # beats come and go meanwhile
            age = s.metric("jotd_revocation_feed_age_seconds")
            database.execute(INSERT, ([jti_of(token)],))
            until(lambda token=token: not is_active(s, asker, token))
            until(lambda age=age: s.metric("jotd_revocation_feed_age_seconds") != age)
        late.commit()  # notifies *
        until(lambda: not any(is_active(s, asker, token) for token in tokens))


def test_a_locked_row_costs_others_no_revocation(database, jotd, asker):
    with contextlib.closing(psycopg2.connect(database.owner_url)) as locking, jotd(
            database, introspect_per_second=100000) as s:
        locked, *others = (s.access_token(asker) for _ in range(11))
        locking.cursor().execute(INSERT, ([jti_of(locked)],))
        statuses = {}

        def run(token):
            statuses[token] = revoke(s, asker, token).status_code

        threads = [threading.Thread(target=run, args=(locked,))]
        threads[0].start()
        until(lambda: database.execute("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(1,)])
        threads += [threading.Thread(target=run, args=(token,)) for token in [*others, locked]]
        for thread in threads[1:]:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == {locked: 503} | {token: 200 for token in others}
        assert not any(is_active(s, asker, token) for token in others)


def test_a_locked_table_holds_up_no_look_up(database, jotd, asker):
    uncached = database.client()
    with contextlib.closing(psycopg2.connect(database.owner_url)) as locking, jotd(database) as s:
        token = s.access_token(asker)
        locking.cursor().execute("LOCK TABLE revoked_tokens IN ACCESS EXCLUSIVE MODE")
        page = threading.Thread(target=revocations, args=(s, asker))
        page.start()
        assert s.token(uncached).status_code == 200
        assert revoke(s, asker, token).status_code == 503
        page.join()
        locking.rollback()
        until(lambda: revoke(s, asker, token).status_code == 200)
        assert not any(line["event"] == "pg.lost" for line in s.log)


def test_a_clock_that_is_set_back(database, jotd, asker, tmp_path):
    """What seemed expired was not kept, and is needed again."""
    clock = Clock(tmp_path)
    with jotd(database, environ=clock.environ) as s:
        token, other = s.access_token(asker), s.access_token(asker)
        clock.set_ahead(7200)
        database.execute(INSERT, ([jti_of(token)],))
        later = s.access_token(asker)
        database.execute("INSERT INTO revoked_tokens (jti, expires_at)"
                         " VALUES (%s, now() + interval '5 hours')", (jti_of(later),))
        until(lambda: not is_active(s, asker, later))
        assert s.metric("jotd_revoked_tokens") == 1
        clock.set_ahead(0)
        until(lambda: not is_active(s, asker, token))
        assert is_active(s, asker, other)


def test_records_of_tls_are_read_whole(database, jotd, postgres, asker, tmp_path):
    others = [str(uuid7_now()) for _ in range(3000)]
    database.execute(INSERT, (others,))
    with TlsProxy(postgres, self_signed(tmp_path / "tls.pem")) as proxy, \
            jotd(proxy.url(database)) as s:
        token = s.access_token(asker)
        assert s.wait_log("revocations.loaded")["tokens"] == 3000
        assert is_active(s, asker, token)
        database.execute(INSERT, ([jti_of(token)],))
        until(lambda: not is_active(s, asker, token))
        assert not any(line["event"] == "feed.lost" for line in s.log)


# GET /revocations

def test_verifiers_follow_the_revocations(database, jotd, asker):
    with jotd(database) as s:
        first = revocations(s, asker)
        assert first.headers["Cache-Control"] == "no-store"
        assert set(first.json()) == {"cursor", "revoked", "more"}
        assert (first.json()["revoked"], first.json()["more"]) == ([], False)
        token = s.access_token(asker)
        assert revoke(s, asker, token).status_code == 200
        claims = claims_of(token)
        entry = [claims["jti"], claims["exp"]]
        second = revocations(s, asker, first.json()["cursor"]).json()
        assert second["revoked"] == [entry]
        assert revocations(s, asker, second["cursor"]).json()["revoked"] == []
        assert revocations(s, asker).json()["revoked"] == [entry]


def test_pages(database, jotd, asker):
    jtis = [str(uuid7_now()) for _ in range(25000)]
    database.execute(INSERT, (jtis[:15000],))  # more than a page in one transaction
    for part in range(15000, 25000, 1000):
        database.execute(INSERT, (jtis[part:part + 1000],))
    with jotd(database) as s:
        found, cursor, pages = [], None, 0
        while True:
            page = revocations(s, asker, cursor).json()
            assert len(page["revoked"]) <= 2000
            found += [jti for jti, _ in page["revoked"]]
            cursor, pages = page["cursor"], pages + 1
            if not page["more"]:
                break
        assert sorted(found) == sorted(jtis)
        assert pages == 13


def test_a_transaction_that_commits_late_is_not_missed(database, jotd, asker):
    late, early = str(uuid7_now()), [str(uuid7_now()) for _ in range(2001)]
    with contextlib.closing(psycopg2.connect(database.url)) as slow, jotd(database) as s:
        cursor = slow.cursor()
        cursor.execute(INSERT, ([late],))  # has its number, and is not committed
        database.execute(INSERT, (early,))
        page = revocations(s, asker).json()
        assert page["more"]
        slow.commit()
        page = revocations(s, asker, page["cursor"]).json()
        assert not page["more"]
        page = revocations(s, asker, page["cursor"]).json()
        assert late in [jti for jti, _ in page["revoked"]]


def test_who_may_follow_and_with_what(database, databases, jotd, asker):
    other = database.client()
    with jotd(database) as s:
        answer = revocations(s, other)
        assert (answer.status_code, answer.json()["error"]) == (403, "unauthorized_client")
        assert s.get("/revocations").status_code == 401
        cursor = revocations(s, asker).json()["cursor"]
        for since in ("x", "1", "1-", "1.2.3-x", "1.2.3-1-1", "1.2.3-1-1-x", "1" * 100, "1-1-1-1",
                      cursor + "-", "%00", "%zz", cursor + "&since=" + cursor,
                      cursor + "&other=1", "1.2.3-99999999999999999999999", "'; DROP TABLE x;--"):
            answer = revocations(s, asker, since)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), since
        answer = revocations(s, asker, "1" + cursor)
        assert (answer.status_code, answer.json()["error"]) == (410, "invalid_request")
        answer = revocations(s, asker, re.sub(r"-.*", "-18446744073709551615", cursor))
        assert answer.status_code == 200
        answer = revocations(s, asker, re.sub(r"-.*", "-99999999999999999999", cursor))
        assert answer.status_code == 400
        assert revocations(s, asker, cursor).status_code == 200
        with databases.migrated() as elsewhere, jotd(elsewhere) as s2:
            client = elsewhere.client()
            elsewhere.execute("UPDATE clients SET introspect = '{*}'")
            assert revocations(s2, client, cursor).status_code == 410


def test_a_cursor_ends_with_a_fail_over(database, postgres, jotd, asker, directory):
    """A standby that is promoted gives numbers of transactions again that the old primary gave."""
    home = directory / f"standby of {database.name}"
    home.mkdir()
    database.execute(INSERT, ([str(uuid7_now())],))
    standby = Standby(home, postgres)
    standby.start()
    try:
        with jotd(database) as s:
            page = revocations(s, asker).json()
        with contextlib.closing(standby.connect(database.name)) as connection, \
                connection.cursor() as cursor:
            cursor.execute("SELECT pg_promote()")
        url = database.url.replace(f":{postgres.port}", f":{standby.port}")
        with jotd(url) as s:
            assert revocations(s, asker, page["cursor"]).status_code == 410
            assert revocations(s, asker).json()["revoked"] == page["revoked"]
    finally:
        standby.stop()


# jotd token

def test_the_commands(database, jotd, asker, jotd_cli):
    with jotd(database, batch_rows=1) as s:
        token = s.access_token(asker)
        jti, claims = jti_of(token), claims_of(token)
        until(lambda: database.execute("SELECT count(*) FROM issued_tokens") == [(1,)])
        shown = json.loads(database.cli("token", "show", jti, "--json").stdout)
        assert (shown["jti"], shown["client_id"], shown["revoked_at"]) == (jti, asker.id, None)
        assert shown["scope"] == claims["scope"]
        assert "not revoked" in database.cli("token", "show", token).stdout
        done = database.cli("token", "revoke", token, "--reason", "leaked", "--json")
        assert json.loads(done.stdout) == {"jti": jti, "state": "revoked", "recorded": True,
                                           "client_id": asker.id,
                                           "expires_at": shown["expires_at"]}
        assert done.stderr == ""
        until(lambda: not is_active(s, asker, token))
        assert "was revoked before" in database.cli("token", "revoke", jti).stdout
        shown = json.loads(database.cli("token", "show", jti, "--json").stdout)
        assert shown["reason"] == "leaked" and shown["revoked_at"]
        assert (shown["active"], shown["inactive_because"]) == (False, "it was revoked")


def test_show_tells_why_a_token_is_inactive(database, jotd):
    """The same as /introspect does not tell."""
    database.execute("INSERT INTO organizations (organization_id, name) VALUES ('acme', 'Acme')")
    client, gateway = database.client(tier="unlimited"), database.client()
    database.execute("UPDATE clients SET introspect = '{*}' WHERE client_id = %s", (gateway.id,))

    def told():
        shown = json.loads(database.cli("token", "show", jti_of(token), "--json").stdout)
        until(lambda: is_active(s, gateway, token) == shown["active"])
        text = database.cli("token", "show", jti_of(token)).stdout.splitlines()[-1]
        assert text.split(None, 1) == ["active", "yes" if shown["active"] else
                                       f"no: {shown['inactive_because']}"]
        return shown["inactive_because"]

    with jotd(database, batch_rows=1) as s:
        token = s.access_token(client)
        until(lambda: database.execute("SELECT count(*) FROM issued_tokens") == [(1,)])
        assert told() is None
        database.cli("client", "update", client.id, "--organization", "acme")
        database.cli("organization", "disable", "acme")
        assert told() == "the organization of its client is disabled"
        database.cli("client", "disable", client.id)
        assert told() == "its client is disabled"
        database.cli("organization", "enable", "acme")
        database.cli("client", "enable", client.id)
        assert told() is None
        database.cli("client", "revoke-tokens", client.id)
        assert re.fullmatch(r"the tokens of its client from before \S+ were revoked", told())
        database.cli("client", "delete", client.id)
        assert told() == "its client was deleted"
        database.execute("UPDATE issued_tokens SET expires_at = now()")
        assert json.loads(database.cli("token", "show", jti_of(token), "--json").stdout)[
            "inactive_because"] == "it has expired"


def test_a_token_that_is_not_on_record(database, jotd, asker):
    """What its text says is not believed: it counts for a day."""
    with jotd(database, batch_interval=3600, batch_rows=1000) as s:
        token, other = s.access_token(asker), s.access_token(asker)
        done = database.cli("token", "revoke", token, "--json")
        assert "The ledger has no such token" in done.stderr
        done = json.loads(done.stdout)
        assert (done["state"], done["client_id"], done["recorded"]) == ("revoked", None, False)
        assert database.execute("SELECT expires_at = uuid_v7_time(jti) + interval '1 day'"
                                " FROM revoked_tokens") == [(True,)]
        done = json.loads(database.cli("token", "revoke", jti_of(other), "--json").stdout)
        assert (done["state"], done["client_id"]) == ("revoked", None)
        shown = json.loads(database.cli("token", "show", jti_of(other), "--json").stdout)
        assert shown["revoked_at"] and shown["issued_at"] is None
        assert (shown["active"], shown["inactive_because"]) == (False, "it was revoked")
        assert "issued_at     not recorded" in database.cli("token", "show", token).stdout
        until(lambda: not is_active(s, asker, token) and not is_active(s, asker, other))
        database.execute("TRUNCATE revoked_tokens")


@pytest.mark.parametrize("given, complaint", [
    ("x", "neither"), ("", "neither"), ("a.b.c", "neither"), ("..", "neither"),
    ("0192f1a5-7c3e-4d10-9f3b-2a6b1c4d5e6f", "version 7"),
    ("ffffffff-ffff-7000-8000-000000000001", "of the future"),
])
def test_what_is_no_token(database, given, complaint):
    for command in ("show", "revoke"):
        done = database.cli("token", command, given, check=False)
        assert done.returncode == 2
        assert complaint in done.stderr


def test_an_expired_one(database):
    import datetime
    old = uuid7(datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=2))
    assert "nothing to revoke" in database.cli("token", "revoke", old).stdout
    assert database.execute("SELECT count(*) FROM revoked_tokens") == [(0,)]
    done = database.cli("token", "show", old, check=False)
    assert done.returncode == 1
    assert "the ledger has no token" in done.stderr
