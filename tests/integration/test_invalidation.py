"""A change in PostgreSQL takes effect everywhere at once; and what holds while no notification
arrives."""

import concurrent.futures
import contextlib
import json
import pathlib
import re
import secrets
import select
import shutil
import signal
import statistics
import subprocess
import threading
import time
import types

import pytest

from harness import Load, PostgreSQL, Proxy, Server, claims_of, long_test, until
from harness.process import free_port, is_long, spawn
from harness.server import receive
from harness.services import Databases
from harness.wire import parse_answers, take_answer

SOON = 1  # seconds; meant are 0.1, but the machine may be busy and run a sanitizer


def cache_status(answer):
    return answer.headers.get("X-Cache-Status", answer.status_code)


def is_unavailable(answer):
    return answer.status_code == 503 and answer.json()["error"] == "temporarily_unavailable"


def with_id(client, id):
    """The credentials of another client with the same secret."""
    return types.SimpleNamespace(id=id, secret=client.secret)


def made_up(client):
    return with_id(client, f"made-up-{secrets.token_hex(8)}")


def disable(database, client):
    database.execute("UPDATE clients SET enabled = false WHERE client_id = %s", (client.id,))


class Askers:
    """Open connections, spread over all servers and workers, that ask for one client together."""

    def __init__(self, stack, servers, client, count=8):
        self.request = servers[0].token_request(client)
        self.connections = [stack.enter_context(server.connect())
                            for server in servers for _ in range(count)]

    def ask(self, connections=None):
        connections = connections or self.connections
        for connection in connections:
            connection.sendall(self.request)
        return [take_answer(receive(connection, timeout=10, answers=1))[0]
                for connection in connections]

    def see(self, what):
        """Waits until all get such answers, and checks that they keep getting them. Returns the
        seconds it took."""
        began = time.monotonic()
        waiting = self.connections

        def none_waits():
            nonlocal waiting
            waiting = [connection for connection, answer in zip(waiting, self.ask(waiting))
                       if not what(answer)]
            return not waiting

        until(none_waits, interval=0)
        took = time.monotonic() - began
        assert all(map(what, self.ask()))
        return took


def refused(answer):
    return answer.status == 401


def issued(answer):
    return answer.status == 200


def with_scope(scope):
    return lambda answer: answer.status == 200 and answer.json()["scope"] == scope


def with_audience(audience):
    return lambda answer: claims_of(answer.json()["access_token"])["aud"] == audience


def with_ttl(seconds):
    return lambda answer: answer.json()["expires_in"] == seconds


# The change, and what every connection sees after it
BY_PSQL = [
    ("UPDATE clients SET scopes = '{read}' WHERE client_id = %s", with_scope("read")),
    ("UPDATE clients SET audiences = '{https://b.example}' WHERE client_id = %s",
     with_audience("https://b.example")),
    ("UPDATE clients SET token_ttl = 77 WHERE client_id = %s", with_ttl(77)),
    ("UPDATE clients SET enabled = false WHERE client_id = %s", refused),
    ("UPDATE clients SET enabled = true WHERE client_id = %s", issued),
    ("UPDATE client_secrets SET expires_at = now() WHERE client_id = %s", refused),
    ("UPDATE client_secrets SET expires_at = NULL WHERE client_id = %s", issued),
    ("DELETE FROM clients WHERE client_id = %s", refused),
]
BY_CLI = [
    (("update", "--scope", "read"), with_scope("read")),
    (("update", "--audience", "https://b.example"), with_audience("https://b.example")),
    (("update", "--token-ttl", "77"), with_ttl(77)),
    (("disable",), refused),
    (("enable",), issued),
    (("rotate", "--overlap", "0"), refused),
]


@pytest.fixture(params=[(1, 1), (1, 2), (2, 1)], ids=["1 worker", "2 workers", "2 servers"])
def servers(request, database, jotd):
    count, workers = request.param
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(jotd(database, workers=workers)) for _ in range(count)]


def test_every_change_takes_effect_at_once_everywhere(database, servers):
    busy = database.client(tier="unlimited")
    with Load(servers, busy, threads=1) as load, contextlib.ExitStack() as stack:
        client = database.client(tier="unlimited")
        askers = Askers(stack, servers, client)
        askers.see(issued)
        took = []
        for sql, what in BY_PSQL:
            database.execute(sql, (client.id,))
            took.append(askers.see(what))

        client = database.client(tier="unlimited")
        askers = Askers(stack, servers, client)
        askers.see(issued)
        for (verb, *options), what in BY_CLI:
            done = database.cli("client", verb, client.id, *options, "--json")
            took.append(askers.see(what))
        rotated = json.loads(done.stdout)["client_secret"]
        askers = Askers(stack, servers, types.SimpleNamespace(id=client.id, secret=rotated))
        askers.see(issued)
        database.cli("client", "delete", client.id)
        took.append(askers.see(refused))
    assert statistics.median(took) < SOON, took
    assert set(load.statuses) == {200} and load.broken == 0


@contextlib.contextmanager
def listening(database):
    """Yields a function that returns the payloads notified since the last call, in order."""
    with contextlib.closing(database.postgres.connect(database.name)) as connection:
        connection.autocommit = True
        connection.cursor().execute("LISTEN jotd_client")

        def heard():
            database.execute("NOTIFY jotd_client, 'that is all'")
            payloads = []
            while "that is all" not in payloads:
                assert select.select([connection], [], [], 10)[0], payloads
                connection.poll()
                payloads += [notification.payload for notification in connection.notifies]
                connection.notifies.clear()
            assert payloads.pop() == "that is all"
            return payloads

        yield heard


def assert_all(payloads):
    """50 ids, then all."""
    assert payloads[-1] == "*" and len(payloads) == len(set(payloads)) == 51


def test_a_change_of_many_is_told_as_one_of_all(database):
    some = ("UPDATE clients SET name = %s "
            "WHERE client_id IN (SELECT client_id FROM clients LIMIT %s)")
    with listening(database) as heard:
        database.execute("INSERT INTO clients (client_id, name) "
                         "SELECT 'c' || n, 'c' FROM generate_series(1, 10000) n")
        assert_all(heard())
        database.execute("INSERT INTO client_secrets (client_id, digest) "
                         "SELECT client_id, sha256(client_id::bytea) FROM clients")
        assert_all(heard())
        database.execute("UPDATE clients SET enabled = false")
        assert_all(heard())
        database.execute(some, ("x", 51))
        assert_all(heard())
        database.execute(some, ("y", 50))
        fifty = heard()
        assert len(set(fifty)) == len(fifty) == 50 and "*" not in fifty
        database.execute(some, ("z", 0))
        assert heard() == []
        database.execute("UPDATE clients SET client_id = 'd1' WHERE client_id = 'c1'; "
                         "DELETE FROM client_secrets WHERE client_id = 'c1'")
        assert set(heard()) == {"c1", "d1"}
        database.execute("DELETE FROM clients")
        assert_all(heard())


def test_rows_that_stay_as_they_are_tell_nothing(database):
    client = database.client()
    at = "SELECT updated_at FROM clients"
    with listening(database) as heard:
        before = database.execute(at)
        for sql in ("UPDATE clients SET name = name, scopes = scopes",
                    "UPDATE client_secrets SET expires_at = expires_at",
                    "UPDATE tiers SET per_minute = per_minute"):
            database.execute(sql)
            assert heard() == [], sql
        assert database.execute(at) == before
        database.execute("UPDATE clients SET name = 'other'")
        assert heard() == [client.id]
        assert database.execute(at) != before


def test_what_is_rolled_back_is_not_counted(database):
    database.execute("INSERT INTO clients (client_id, name) "
                     "SELECT 'c' || n, 'c' FROM generate_series(1, 100) n")
    with listening(database) as heard:
        database.execute("BEGIN; SAVEPOINT a; UPDATE clients SET enabled = false; ROLLBACK TO a; "
                         "UPDATE clients SET enabled = false WHERE client_id = 'c1'; COMMIT")
        assert heard() == ["c1"]
        database.execute("UPDATE clients SET enabled = true WHERE client_id = 'c1'")
        assert heard() == ["c1"]


def test_what_cannot_be_counted_is_told_as_a_change_of_all(database):
    database.execute("INSERT INTO tiers (name, per_minute) VALUES ('gold', 7)")
    with listening(database) as heard:
        for sql in ("TRUNCATE client_secrets", "TRUNCATE clients CASCADE",
                    "UPDATE tiers SET per_minute = 8 WHERE name = 'gold'"):
            database.execute(sql)
            assert heard() == ["*"], sql
        database.cli("tier", "set", "gold", "--per-minute", 9)
        assert heard() == ["*"]


def test_a_change_by_a_replica_takes_effect(database, jotd):
    """A session in replica mode fires only triggers that are enabled ALWAYS."""
    client = database.client(tier="unlimited")
    as_replica = "SET session_replication_role = replica; "
    with jotd(database) as s, listening(database) as heard:
        assert s.token(client).status_code == 200
        for sql in ("UPDATE clients SET enabled = false", "UPDATE client_secrets SET expires_at = now()",
                    "UPDATE tiers SET per_minute = 3 WHERE name = 'free'", "TRUNCATE clients CASCADE"):
            database.execute(as_replica + sql)
            assert heard(), sql
        until(lambda: s.token(client).status_code == 401)


@pytest.fixture
def publisher(directory, tmp_path_factory):
    home = tmp_path_factory.mktemp("publisher")
    home.chmod(0o711)
    for parent in home.parents:
        if parent.name.startswith("pytest-"):
            parent.chmod(0o711)
    server = PostgreSQL(home)
    server.options = {"wal_level": "logical"}
    server.start()
    yield server
    server.stop()


def test_a_change_by_logical_replication_takes_effect(database, jotd, publisher):
    client = database.client(tier="unlimited")
    with Databases(publisher).migrated() as source:
        for table in "clients", "client_secrets":
            rows = database.execute(f"SELECT row_to_json(t)::text FROM {table} t")
            for (row,) in rows:
                source.execute(f"INSERT INTO {table} SELECT (json_populate_record("
                               f"NULL::{table}, %s)).*", (row,))
        source.execute("CREATE PUBLICATION jotd FOR TABLE clients, client_secrets")
        database.execute(f"CREATE SUBSCRIPTION jotd CONNECTION '{publisher.url(source.name)}' PUBLICATION jotd "
                         "WITH (copy_data = false)")
        try:
            with jotd(database) as s:
                assert s.token(client).status_code == 200
                source.execute("UPDATE clients SET enabled = false")
                until(lambda: s.token(client).status_code == 401, timeout=30)
        finally:
            database.execute("DROP SUBSCRIPTION jotd")


def test_all_are_invalidated_at_once_under_load(database, jotd):
    """Each worker looks each client up once more, and no request fails."""
    count = 5000 if is_long() else 300
    clients = database.copies(database.client(tier="unlimited"), count)
    most = 5 * count // 3  # of the entries of the two caches
    with jotd(database, workers=2) as s, \
            Load([s], clients, threads=8, per_connection=20) as load:
        until(lambda: s.metric("jotd_client_cache_entries") >= most, timeout=60)
        before = s.metric("jotd_client_lookups_total")
        invalidated = s.metric("jotd_client_cache_invalidations_total")
        database.execute("UPDATE clients SET updated_at = now()")
        until(lambda: s.metric("jotd_client_cache_invalidations_total") >= invalidated + most)
        load.progress(5 * count, timeout=120)
        load.stop()
        after = s.metric("jotd_client_lookups_total")
        assert count <= after - before <= 2 * count + 2 * count - before
        assert s.metric("jotd_client_lookups_total", result="error") == 0
    assert set(load.statuses) == {200} and load.broken == 0


def test_many_who_ask_for_an_invalidated_client_wait_for_one_look_up(database, jotd):
    client = database.client(tier="unlimited")
    with jotd(database, workers=2) as s, contextlib.ExitStack() as stack, \
            concurrent.futures.ThreadPoolExecutor() as pool:
        askers = Askers(stack, [s], client, count=40)
        askers.see(issued)
        cached = s.metric("jotd_client_cache_entries")
        database.execute("UPDATE clients SET updated_at = now()")
        until(lambda: s.metric("jotd_client_cache_invalidations_total") == cached)
        lookups = s.metric("jotd_client_lookups_total")
        misses = s.metric("jotd_client_cache_misses_total")
        with database.locked():
            asked = pool.submit(askers.ask)
            until(lambda: s.metric("jotd_client_cache_misses_total") == misses + 40)
        assert all(map(issued, asked.result()))
        assert s.metric("jotd_client_lookups_total") == lookups + cached


class Statements:
    """Look-ups of clients in PostgreSQL's log: for each, the list of its ids in order."""

    def __init__(self, database):
        self.log = database.postgres.directory / "log"
        self.begin = self.log.stat().st_size
        database.execute(f"ALTER ROLE jotd_server IN DATABASE {database.name} "
                         "SET log_statement = 'all'")

    def seen(self):
        with self.log.open() as log:
            log.seek(self.begin)
            parameters = re.findall(r"execute clients?: .*\n.*DETAIL:  parameters: \$1 = '(.*)'\n",
                                    log.read())
        return [re.findall(r"[\w.-]+", ids) for ids in parameters]


@contextlib.contextmanager
def with_cached(database, jotd, count, **settings):
    """A server with `count` clients in its cache, the last one used last; the clients; and the
    look-ups it sends from then on."""
    clients = database.copies(database.client(tier="unlimited"), count)
    statements = Statements(database)
    with jotd(database, **settings) as s:
        requests = [s.token_request(client) for client in clients]
        for start in range(0, count, 100):
            part = requests[start:start + 100]
            answers = parse_answers(s.raw(b"".join(part), timeout=20, answers=len(part)))
            assert {answer.status for answer in answers} == {200}
        assert s.metric("jotd_client_cache_entries") == count
        statements.begin = statements.log.stat().st_size
        yield s, clients, statements


def change_all(database, sql):
    """Changes announced by one *, without ids before it."""
    tables = "clients", "client_secrets"
    database.execute("; ".join([*(f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in tables),
                                sql, "NOTIFY jotd_client, '*'",
                                *(f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in tables)]))


def test_a_change_of_all_looks_clients_up_500_at_once_hottest_first(database, jotd):
    with with_cached(database, jotd, 1200) as (s, clients, statements):
        for rounds in 1, 2:
            database.execute("NOTIFY jotd_client, '*'")
            until(lambda: s.metric("jotd_client_rechecks_total") == 3 * rounds)
            until(lambda: s.metric("jotd_client_lookups_total") == 1200 + 1200 * rounds)
            asked = statements.seen()[-3:]
            assert [len(ids) for ids in asked] == [500, 500, 200]
            assert sum(asked, []) == [client.id for client in reversed(clients)]
        for client in clients[::100]:
            assert cache_status(s.token(client)) == "HIT"

        change_all(database, "DELETE FROM clients WHERE client_id = 'copy-8'; "
                             "UPDATE clients SET enabled = client_id <> 'copy-7'")
        until(lambda: s.metric("jotd_client_lookups_total", result="unknown") == 1)
        until(lambda: s.metric("jotd_client_lookups_total") == 4 * 1200)
        assert s.metric("jotd_client_cache_entries") == 1199
        assert s.token(clients[6]).status_code == s.token(clients[7]).status_code == 401
        assert cache_status(s.token(clients[8])) == "HIT"
        assert len(statements.seen()) == 9


def test_nothing_of_before_a_change_of_all_is_served(database, jotd):
    """However soon they are requested: the first answers after the notification already reflect it.
    """
    with with_cached(database, jotd, 1000) as (s, clients, _):
        heard = 0
        for enabled in False, True, False, True:
            change_all(database, f"UPDATE clients SET enabled = {enabled}")
            heard += 1000
            until(lambda: s.metric("jotd_client_cache_invalidations_total") == heard, interval=0)
            requests = [s.token_request(client) for client in clients[::25]]
            answers = parse_answers(s.raw(b"".join(requests), answers=len(requests)))
            assert {answer.status for answer in answers} == {200 if enabled else 401}


def storm(database, seconds):
    """Announces as often as it can, for `seconds`, that all clients have changed. Returns how
    often."""
    said, end = 0, time.monotonic() + seconds
    with contextlib.closing(database.postgres.connect(database.name)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        while time.monotonic() < end:
            cursor.execute("NOTIFY jotd_client, '*'")
            said += 1
    return said


def test_a_storm_of_changes_does_not_multiply_what_is_looked_up(database, jotd):
    """One round a second; apart from those, only requested clients are looked up."""
    with with_cached(database, jotd, 1200) as (s, clients, statements):
        began = time.monotonic()
        assert storm(database, seconds=2) > 200
        until(lambda: s.metric("jotd_client_rechecks_total") % 3 == 0)
        rounds = time.monotonic() - began + 1
        assert 3 <= len(statements.seen()) <= 3 * rounds

        answers = 0
        with Load([s], clients[-4:], threads=4) as load:
            assert storm(database, seconds=2) > 200
            load.stop()
            answers = load.statuses[200]
            assert set(load.statuses) == {200}
        rounds = time.monotonic() - began + 1
        assert len(statements.seen()) <= 3 * rounds + answers
        assert sum(map(len, statements.seen())) <= 1200 * rounds + answers
        disable(database, clients[-1])
        until(lambda: s.token(clients[-1]).status_code == 401)
        # When the storm is over, so are the rounds, and all clients are cached.
        until(lambda: cache_status(s.token(clients[0])) == "HIT")


def test_a_client_that_cannot_be_read_again_keeps_no_other_from_it(database, jotd):
    with with_cached(database, jotd, 600) as (s, clients, statements):
        database.execute("ALTER TABLE clients DROP CONSTRAINT clients_scopes_check")
        change_all(database, "UPDATE clients SET scopes = CASE client_id WHEN 'copy-9' "
                             "THEN ARRAY['\"'] ELSE scopes END")
        until(lambda: s.metric("jotd_client_lookups_total", result="error") == 1)
        until(lambda: s.metric("jotd_client_cache_entries") == 599)
        assert [len(ids) for ids in statements.seen()] == [500, 100]
        assert cache_status(s.token(clients[0])) == "HIT"
        assert is_unavailable(s.token(clients[8]))


def test_a_round_that_fails_is_over(database, jotd):
    """After that, each client is looked up when it is requested."""
    with with_cached(database, jotd, 600) as (s, clients, _):
        database.execute("REVOKE SELECT ON tiers FROM jotd_server; NOTIFY jotd_client, '*'")
        until(lambda: s.metric("jotd_client_lookups_total", result="error") == 500)
        assert is_unavailable(s.token(clients[0]))
        assert s.metric("jotd_client_rechecks_total") == 2
        database.execute("GRANT SELECT ON tiers TO jotd_server")
        assert cache_status(s.token(clients[0])) == "MISS"
        assert cache_status(s.token(clients[0])) == "HIT"
        assert s.metric("jotd_client_rechecks_total") == 3


def test_a_change_overtakes_a_look_up_that_waits_for_a_lock(database, jotd):
    client = database.client(tier="unlimited")
    with jotd(database) as s, concurrent.futures.ThreadPoolExecutor() as pool:
        with contextlib.closing(database.postgres.connect(database.name)) as connection:
            cursor = connection.cursor()
            cursor.execute("LOCK TABLE clients IN ACCESS EXCLUSIVE MODE")
            asked = pool.submit(s.token, client)
            until(database.waiting_for_lock)
            cursor.execute("UPDATE clients SET enabled = false WHERE client_id = %s", (client.id,))
            connection.commit()
        asked.result()
        assert s.token(client).status_code == 401


def stand_still_at(database, lock):
    """Makes every look-up wait for this lock between reading a row and sending it."""
    database.execute(f"ALTER DATABASE {database.name} SET search_path = public, pg_catalog")
    database.execute("CREATE FUNCTION array_to_string(text[], text) RETURNS text LANGUAGE plpgsql "
                     f"AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared({lock}); "
                     "RETURN pg_catalog.array_to_string($1, $2); END $$")


def disabled_behind_its_look_up(database, s, client, pool):
    """The future answer to a request whose client was disabled after its row had been read."""
    with contextlib.closing(database.postgres.connect(database.name)) as connection:
        connection.cursor().execute("SELECT pg_advisory_xact_lock(1)")
        asked = pool.submit(s.token, client)
        until(database.waiting_for_lock)
        disable(database, client)
        connection.commit()
    return asked


def test_a_change_overtakes_a_look_up_that_has_read_already(database, jotd):
    stand_still_at(database, lock=1)
    client = database.client(tier="unlimited")
    with jotd(database) as s, concurrent.futures.ThreadPoolExecutor() as pool:
        asked = disabled_behind_its_look_up(database, s, client, pool)
        assert asked.result().status_code == 200  # it had indeed read the old row
        until(lambda: s.token(client).status_code == 401)


class HoldsTheEnd(Proxy):
    """Holds back the end of an answer (ReadyForQuery) that follows the notification of a change."""

    def __init__(self, server):
        super().__init__(server)
        self.held = threading.Event()
        self.let_go = threading.Event()

    def answers(self, link):
        while data := link.far.recv(1 << 16):
            if b"jotd_client\0" in data:
                link.near.sendall(data[:-6])
                data = data[-6:]
                self.held.set()
                self.let_go.wait()
            link.near.sendall(data)


def test_a_change_that_is_told_before_the_end_of_an_answer(database, jotd, postgres):
    stand_still_at(database, lock=1)
    client = database.client(tier="unlimited")
    with HoldsTheEnd(postgres) as proxy, jotd(proxy.url(database)) as s, \
            concurrent.futures.ThreadPoolExecutor() as pool:
        asked = disabled_behind_its_look_up(database, s, client, pool)
        assert proxy.held.wait(10)
        until(lambda: not unread(s, proxy.port))
        s.get("/health")  # now the loop has read it
        proxy.let_go.set()
        assert asked.result().status_code == 200
        until(lambda: s.token(client).status_code == 401)


def test_the_listener_is_killed_in_the_transaction_that_changes_a_client(database, jotd):
    client, other = (database.client(tier="unlimited") for _ in range(2))
    with jotd(database) as s:
        assert [cache_status(s.token(who)) for who in (client, other)] == ["MISS", "MISS"]
        database.execute(
            "UPDATE clients SET enabled = false WHERE client_id = %s; "
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = %s AND query NOT LIKE '%%pg_terminate_backend%%' "
            "AND application_name = 'jotd'", (client.id, database.name))
        assert s.wait_log("pg.lost", connection="look-up")["reason"]
        until(lambda: len(connected(s)) == 2, interval=0.005)
        assert s.token(client).status_code == 401
        assert [cache_status(s.token(other)) for _ in range(2)] == ["MISS", "HIT"]


def connected(server):
    return [line for line in server.log
            if line["event"] == "pg.connected" and line["connection"] == "look-up"]


def test_the_network_dies_without_a_word(database, jotd, postgres):
    """A heartbeat detects it; cached clients get tokens before and after."""
    client, other = (database.client(tier="unlimited") for _ in range(2))
    with Proxy(postgres) as proxy, jotd(proxy.url(database)) as s:
        for who in client, other:
            assert cache_status(s.token(who)) == "MISS"
        proxy.freeze()
        disable(database, client)
        seen, slowest = [], 0

        def ask():
            nonlocal slowest
            asked_at = time.monotonic()
            seen.append(cache_status(s.token(client)))
            slowest = max(slowest, time.monotonic() - asked_at)
            return seen[-1]

        until(lambda: ask() == "STALE", timeout=12, interval=0.1)
        assert seen[0] == "HIT" and set(seen) == {"HIT", "STALE"}
        assert "notification" in s.wait_log("pg.lost", connection="look-up")["reason"]
        assert ask() == "STALE" and slowest < 4  # nobody waits for the network
        assert is_unavailable(s.token(database.client()))
        proxy.thaw()
        until(lambda: len(connected(s)) == 2, timeout=20, interval=0.005)
        assert s.token(client).status_code == 401
        assert cache_status(s.token(other)) == "MISS"


def test_a_server_that_was_held_up_does_not_take_postgresql_for_dead(database, jotd, postgres):
    """The heartbeat was answered while the server was stopped for longer than its timeout."""
    client = database.client(tier="unlimited")
    with Proxy(postgres) as proxy, jotd(proxy.url(database)) as s:
        def goes_through_it():
            until(lambda: cache_status(s.token(client)) == "HIT", timeout=20)
            proxy.freeze()
            assert proxy.asked.wait(20)
            s.process.send_signal(signal.SIGSTOP)
            proxy.thaw()
            held_up = False
            with contextlib.suppress(AssertionError):
                until(lambda: unread(s, proxy.port), timeout=5)
                time.sleep(1.5)  # the heartbeat times out
                held_up = True
            s.process.send_signal(signal.SIGCONT)
            return held_up and cache_status(s.token(client)) == "HIT"  # a loss would expire it

        # The machine may stall right before the signal, so that the timeout has passed. Then
        # nothing is
        # unread, the connection is lost, and the client is looked up again.
        assert any(goes_through_it() for _ in range(3))


def unread(server, port):
    """Whether bytes from a peer at this port wait for the server to read them."""
    tcp = pathlib.Path(f"/proc/{server.process.pid}/net/tcp").read_text()
    lines = [line.split() for line in tcp.splitlines()[1:]]
    return any(remote.endswith(f":{port:04X}") and not queues.endswith(":00000000")
               for _, _, remote, _, queues, *_ in lines)


def test_the_network_dies_under_a_look_up(database, jotd, postgres):
    cached, other = (database.client(tier="unlimited") for _ in range(2))
    with Proxy(postgres) as proxy, jotd(proxy.url(database)) as s:
        assert cache_status(s.token(cached)) == "MISS"
        proxy.freeze()
        began = time.monotonic()
        assert is_unavailable(s.token(other))
        assert time.monotonic() - began < 5 + 5
        assert cache_status(s.token(cached)) == "STALE"
        proxy.thaw()
        until(lambda: s.token(other).status_code == 200, timeout=20)


@contextlib.contextmanager
def pooler(database, postgres, pool_size):
    """pgbouncer in transaction mode; yields the database's URL through it."""
    directory = postgres.directory / f"pgbouncer-{database.name}"
    directory.mkdir(mode=0o755)
    port = free_port()
    (directory / "users").write_text('"jotd_server" ""\n')
    (directory / "ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={postgres.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {directory}/users\n"
        f"pool_mode = transaction\ndefault_pool_size = {pool_size}\n")
    with open(directory / "log", "wb") as log:
        process = spawn(["pgbouncer", str(directory / "ini")], stdout=log, stderr=log,
                        **postgres.spawn_options())
    try:
        url = database.url.replace(str(postgres.port), str(port))
        yield f"{url}?sslmode=disable&gssencmode=disable"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.skipif(not shutil.which("pgbouncer"), reason="needs pgbouncer")
@pytest.mark.parametrize("pool_size", [1, 20])
def test_a_pooler_in_transaction_mode_is_noticed(database, jotd, postgres, pool_size):
    """Also with a single connection, on which a worker receives its own notifications."""
    client = database.client(tier="unlimited")
    with jotd(database) as s:
        s.access_token(client)  # from now on, a start would load this client
    with pooler(database, postgres, pool_size) as url, jotd(url, ready=False) as s:
        assert s.token(client).status_code == 503
        disable(database, client)
        until(lambda: any("pooler" in line.get("reason", "") for line in s.log), timeout=12)
        assert s.token(client).status_code == 503


def test_cached_clients_are_served_while_postgresql_is_away(database, jotd, postgres):
    cached, other = (database.client(tier="unlimited") for _ in range(2))
    with jotd(database) as s:
        assert cache_status(s.token(cached)) == "MISS"
        postgres.stop()
        until(lambda: cache_status(s.token(cached)) == "STALE")
        end = time.monotonic() + (60 if is_long() else 0)
        while True:
            began = time.monotonic()
            for _ in range(5):
                assert cache_status(s.token(cached)) == "STALE"
                assert is_unavailable(s.token(other))
                assert is_unavailable(s.token(made_up(cached)))
            assert time.monotonic() - began < 4  # nobody waits for PostgreSQL
            if began > end:
                break
        assert s.metric("jotd_client_cache_stale_total") >= 6
        postgres.start()
        until(lambda: cache_status(s.token(cached)) in ("MISS", "HIT"), timeout=20)
        assert s.token(other).status_code == 200
        assert s.token(made_up(cached)).status_code == 401
        s.wait_log("client.stale_ended")
        events = [line["event"] for line in s.log]
        assert events.count("client.stale_begun") == events.count("client.stale_ended") == 1


def test_stale_service_ends(database, jotd, postgres):
    client = database.client(tier="unlimited")
    with jotd(database, client_cache_stale=5) as s:
        assert cache_status(s.token(client)) == "MISS"
        postgres.stop()
        until(lambda: cache_status(s.token(client)) == "STALE")
        until(lambda: is_unavailable(s.token(client)), timeout=20)


def test_stale_service_ends_although_postgresql_takes_connections(database, jotd):
    """With an unknown schema, for example, each attempt is another loss, and none of them extends
    the time that a client may be stale."""
    client = database.client(tier="unlimited")
    with jotd(database, client_cache_stale=5) as s:
        assert cache_status(s.token(client)) == "MISS"
        database.execute("UPDATE schema_migrations"
                         " SET version = version + 1000, works_since = NULL")
        database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                         "WHERE datname = current_database() AND pid <> pg_backend_pid()")
        until(lambda: cache_status(s.token(client)) == "STALE")
        until(lambda: is_unavailable(s.token(client)), timeout=20)
        refused = s.metric("jotd_client_cache_stale_total")
        until(lambda: any(line["event"] == "pg.unusable" for line in s.log))
        end = time.monotonic() + 2
        until(lambda: time.monotonic() > end or not is_unavailable(s.token(client)), interval=0.1)
        assert is_unavailable(s.token(client))
        assert s.metric("jotd_client_cache_stale_total") == refused


@pytest.mark.parametrize("changed", ["WHERE client_id = %s", ""], ids=["one", "all"])
def test_what_was_changed_before_the_loss_is_not_served_stale(database, jotd, postgres, changed):
    client, *rest = database.copies(database.client(tier="unlimited"), 60)
    with jotd(database) as s:
        assert cache_status(s.token(client)) == "MISS"
        database.execute(f"UPDATE clients SET enabled = false {changed}", (client.id,))
        until(lambda: s.metric("jotd_client_cache_invalidations_total") == 1)
        postgres.stop()
        s.wait_log("pg.lost", connection="look-up")
        answer = s.token(client)
        assert is_unavailable(answer) or not changed and answer.status_code == 401  # looked up since


def test_a_made_up_id_costs_one_look_up(database, jotd):
    nobody = made_up(database.client())
    with jotd(database) as s:
        for _ in range(5):
            assert s.token(nobody).status_code == 401
        assert s.metric("jotd_client_lookups_total", result="unknown") == 1


def test_an_unknown_id_is_remembered_as_a_record_is(database, jotd, postgres):
    """Otherwise the time of a later answer would reveal which ids exist."""
    client, other = database.client(tier="unlimited"), database.client()
    client.secret = other.secret  # a wrong one, but well-formed
    nobody = made_up(client)
    with jotd(database, client_cache_ttl=1) as s:
        def lookups():
            assert s.token(client).status_code == s.token(nobody).status_code == 401
            metrics = s.metrics()
            return [metrics.value("jotd_client_lookups_total", result=result)
                    for result in ("found", "unknown")]

        until(lambda: lookups()[0] >= 4)
        found, unknown = lookups()
        assert abs(found - unknown) <= 1
        postgres.stop()
        s.wait_log("pg.lost", connection="look-up")
        # Now neither can be verified.
        assert s.token(client).status_code == s.token(nobody).status_code == 503


def test_made_up_ids_push_no_real_client_out(database, jotd):
    clients = database.copies(database.client(tier="unlimited"), 20)
    with jotd(database, client_cache_size=20) as s, concurrent.futures.ThreadPoolExecutor() as pool:
        assert {cache_status(s.token(client)) for client in clients} == {"MISS"}
        bursts = [b"".join(s.token_request(made_up(clients[0])) for _ in range(100))
                  for _ in range(4)]
        list(pool.map(lambda burst: s.raw(burst, timeout=10, answers=100), bursts))
        assert s.metric("jotd_client_lookups_total", result="unknown") == 400
        assert s.metric("jotd_client_cache_entries") == 20
        assert s.metric("jotd_client_cache_evictions_total") == 0
        assert {cache_status(s.token(client)) for client in clients} == {"HIT"}


def wrk(s, name, requests, seconds, directory):
    """Repeats these requests at full speed; returns p99 in milliseconds."""
    script = directory / f"{name}.lua"
    lines = "\n".join(f"  {json.dumps(request.decode())}," for request in requests)
    script.write_text(f"local requests = {{\n{lines}\n}}\nlocal n = 0\n"
                      "function request() n = n % #requests + 1; return requests[n] end\n"
                      "function done(summary, latency) print('p99', latency:percentile(99)) end\n")
    done = subprocess.run(["wrk", "-t1", "-c8", f"-d{seconds}s", "-s", script, s.url],
                          capture_output=True, text=True, check=True, timeout=seconds + 30)
    return float(re.search(r"^p99\s+([\d.]+)", done.stdout, re.M)[1]) / 1000


@pytest.mark.skipif(not shutil.which("wrk"), reason="needs wrk")
@long_test
def test_real_clients_beside_made_up_ids_at_full_speed(database, jotd, tmp_path, capsys):
    """Made-up ids cost real clients nothing but their share of the machine."""
    clients = database.copies(database.client(tier="unlimited"), 1000)
    real = [Server.token_request(client) for client in clients]
    ghosts = [Server.token_request(made_up(clients[0])) for _ in range(100_000)]
    with jotd(database) as s:
        s.raw(b"".join(real), timeout=20, answers=len(real))
        before = wrk(s, "real", real, 5, tmp_path)
        hits = s.metric("jotd_client_cache_hits_total")
        answered = s.metric("jotd_tokens_issued_total", tier="unlimited")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            attack = pool.submit(wrk, s, "ghosts", ghosts, 12, tmp_path)
            until(lambda: s.metric("jotd_auth_throttled_total") > 0, timeout=30)
            during = wrk(s, "real", real, 8, tmp_path)
            attack.result()
        hits = s.metric("jotd_client_cache_hits_total") - hits
        answered = s.metric("jotd_tokens_issued_total", tier="unlimited") - answered
        assert hits >= 0.99 * answered > 0
        assert s.metric("jotd_client_cache_evictions_total") == 0
    with capsys.disabled():
        print(f"\nreal clients' p99: {before:.2f} ms before, {during:.2f} ms beside made-up ids")


def test_a_client_made_after_it_was_asked_for_works_at_once(database, jotd):
    with jotd(database) as s:
        assert s.token(with_id(database.client(), "newcomer")).status_code == 401
        newcomer = database.client(id="newcomer")
        until(lambda: s.token(newcomer).status_code == 200, timeout=4)  # before it expires


def test_who_is_in_use_never_waits(database, jotd):
    """The record is looked up again in the background, before it expires."""
    client = database.client(tier="unlimited")
    with jotd(database, client_cache_ttl=15) as s:
        seen = []

        def looked_up_again():
            seen.append(cache_status(s.token(client)))
            return s.metric("jotd_client_lookups_total", result="found") == 2

        until(looked_up_again, timeout=30, interval=0.1)
        seen.append(cache_status(s.token(client)))
        assert seen[0] == "MISS" and set(seen[1:]) == {"HIT"}
