"""The client cache: hits, single look-ups, and service while PostgreSQL is away."""

import concurrent.futures
import contextlib

from harness import until
from harness.proxy import TlsProxy, self_signed


def cache_status(answer):
    assert answer.status_code == 200, answer.text
    return answer.headers["X-Cache-Status"]


def assert_unavailable(answer):
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    assert "X-Cache-Status" not in answer.headers
    assert answer.json()["error_description"]


def test_miss_then_hit(database, jotd):
    client = database.client()
    with jotd(database) as s:
        assert [cache_status(s.token(client)) for _ in range(3)] == ["MISS", "HIT", "HIT"]
        assert s.metric("jotd_client_cache_misses_total") == 1
        assert s.metric("jotd_client_cache_hits_total") == 2
        assert s.metric("jotd_client_cache_entries") == 1
        assert s.metric("jotd_client_cache_capacity") == 5000
        assert s.metric("jotd_client_lookups_total") == 1
        assert s.metric("jotd_client_lookup_duration_seconds_count") == 1


def test_errors_of_an_authenticated_client_say_it_too(database, jotd):
    client = database.client()
    with jotd(database) as s:
        assert s.token(client, scope="admin").headers["X-Cache-Status"] == "MISS"
        assert s.token(client, resource="urn:x").headers["X-Cache-Status"] == "HIT"


def test_an_entry_expires(database, jotd):
    client = database.client(tier="unlimited")
    with jotd(database, client_cache_ttl=1) as s:
        assert cache_status(s.token(client)) == "MISS"
        until(lambda: cache_status(s.token(client)) == "MISS" or
              s.metric("jotd_client_lookups_total") >= 2, timeout=5, interval=0.2)


def test_an_expired_entry_is_looked_up_again(database, jotd):
    """A change in PostgreSQL is seen once the entry has expired."""
    client = database.client(tier="unlimited")
    with jotd(database, client_cache_ttl=1) as s:
        assert s.token(client).json()["scope"] == "read write"
        database.execute("UPDATE clients SET scopes = '{read}' WHERE client_id = %s", (client.id,))
        until(lambda: s.token(client).json()["scope"] == "read", timeout=5, interval=0.1)
        database.cli("client", "delete", client.id)
        until(lambda: s.token(client).status_code == 401, timeout=5, interval=0.1)


def test_the_least_recently_used_entry_gives_way(database, jotd):
    a, b, c = (database.client() for _ in range(3))
    with jotd(database, client_cache_size=2) as s:
        seen = [cache_status(s.token(client)) for client in (a, b, a, c, a, b)]
        assert seen == ["MISS", "MISS", "HIT", "MISS", "HIT", "MISS"]
        assert s.metric("jotd_client_cache_evictions_total") == 2
        assert s.metric("jotd_client_cache_entries") == 2
        assert s.metric("jotd_client_cache_capacity") == 2


def test_one_look_up_for_all_who_wait(database, jotd):
    client = database.client(tier="unlimited")
    with jotd(database) as s, concurrent.futures.ThreadPoolExecutor(20) as pool:
        with database.locked():
            asked = [pool.submit(s.token, client) for _ in range(20)]
            until(database.waiting_for_lock)
            until(lambda: s.metric("jotd_http_connections") >= 20)
            until(lambda: s.metric("jotd_client_cache_misses_total") == 20)
        assert {future.result().status_code for future in asked} == {200}
        assert s.metric("jotd_client_lookups_total") == 1


def test_clients_do_not_wait_for_each_other(database, jotd):
    """Several look-ups are in flight at once, and a cached client needs none."""
    cached, *others = (database.client() for _ in range(4))
    with jotd(database) as s, concurrent.futures.ThreadPoolExecutor(3) as pool:
        s.token(cached)
        with database.locked():
            asked = [pool.submit(s.token, client) for client in others]
            until(database.waiting_for_lock)
            assert cache_status(s.token(cached)) == "HIT"
        assert [future.result().status_code for future in asked] == [200, 200, 200]


def test_a_client_gives_up_while_its_look_up_is_on_the_way(database, jotd):
    client = database.client()
    with jotd(database) as s:
        with database.locked():
            for _ in range(3):
                with s.connect() as connection:
                    connection.sendall(s.token_request(client))
                    until(database.waiting_for_lock)
        assert s.token(client).status_code == 200


def test_postgresql_goes_and_comes_back(database, jotd, postgres):
    cached, other = database.client(tier="unlimited"), database.client(tier="unlimited")
    with jotd(database) as s:
        assert cache_status(s.token(cached)) == "MISS"
        postgres.stop()
        until(lambda: cache_status(s.token(cached)) == "STALE")
        assert_unavailable(s.token(other))
        until(lambda: s.ready().json()["status"] == "degraded")
        assert s.ready().status_code == 200
        assert s.get("/health").status_code == 200
        assert s.metric("jotd_token_errors_total", error="temporarily_unavailable") >= 1
        postgres.start()
        until(lambda: s.token(other).status_code == 200, timeout=30, interval=0.1)
        until(lambda: s.ready().json()["status"] == "ok")


def test_postgresql_is_killed(database, jotd, postgres):
    cached, other = database.client(tier="unlimited"), database.client(tier="unlimited")
    with jotd(database, workers=2) as s:
        for _ in range(20):
            s.token(cached)
        postgres.kill()
        for _ in range(20):
            assert s.token(cached).status_code in (200, 503)
            assert_unavailable(s.token(other))
        postgres.start()
        for _ in range(10):  # both workers
            until(lambda: s.token(other).status_code == 200, timeout=30, interval=0.1)


def test_postgresql_falls_silent(database, jotd, postgres):
    """A look-up without an answer ends in 503 instead of waiting forever."""
    cached, other = database.client(tier="unlimited"), database.client(tier="unlimited")
    with jotd(database) as s:
        s.token(cached)
        postgres.pause()
        try:
            assert_unavailable(s.token(other))
            assert cache_status(s.token(cached)) == "STALE"
        finally:
            postgres.resume()
        until(lambda: s.token(other).status_code == 200, timeout=30, interval=0.1)


def test_the_connections_are_closed_by_an_administrator(database, jotd):
    with jotd(database) as s:
        assert s.token(database.client()).status_code == 200
        database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                         "WHERE datname = %s AND pid <> pg_backend_pid()", (database.name,))
        until(lambda: s.token(database.client()).status_code == 200, timeout=30, interval=0.1)


def test_started_while_postgresql_is_away(database, jotd, postgres):
    client = database.client(tier="unlimited")
    postgres.stop()
    with jotd(database, ready=False) as s:
        assert s.get("/health").status_code == 200
        assert s.ready().status_code == 503
        assert_unavailable(s.token(client))
        assert s.get("/.well-known/jwks.json").status_code == 200
        postgres.start()
        until(lambda: s.ready().status_code == 200, timeout=30, interval=0.1)
        assert s.token(client).status_code == 200


def test_started_before_the_schema_is_made(fresh_database, jotd):
    with jotd(fresh_database, ready=False) as s:
        assert s.get("/health").status_code == 200
        assert s.ready().status_code == 503
        fresh_database.cli("migrate")
        until(lambda: s.ready().status_code == 200, timeout=30, interval=0.1)
        assert s.token(fresh_database.client()).status_code == 200


def test_a_secret_that_expires_at_infinity(database, jotd):
    client, other = database.client(), database.client()
    database.execute("UPDATE client_secrets SET expires_at = 'infinity' WHERE client_id = %s",
                     (client.id,))
    with jotd(database) as s:
        assert cache_status(s.token(client)) == "MISS"
        assert cache_status(s.token(other)) == "MISS"
        assert not any(line["event"] == "pg.lost" for line in s.log)


# Warming

@contextlib.contextmanager
def warmed(jotd, database, workers=1, **settings):
    """A server whose workers have loaded the active clients. They have one second for it, so a busy
    machine may need another start."""
    for attempt in range(3):
        with jotd(database, workers=workers, **settings) as s:
            told = until(lambda: len(told := [
                line for line in s.log if line["event"] in ("client.warmed", "client.not_warmed")
            ]) == workers and told)
            if attempt < 2 and any(line["event"] == "client.not_warmed" for line in told):
                continue
            yield s
            return


def test_a_start_loads_who_was_active(database, jotd):
    """The first request of a client that was recently issued tokens is a hit."""
    active, idle = database.client(tier="unlimited"), database.client()
    with jotd(database) as s:
        assert cache_status(s.token(active)) == "MISS"
    with warmed(jotd, database, workers=2) as s:
        assert [line["clients"] for line in s.log if line["event"] == "client.warmed"] == [1, 1]
        assert s.metric("jotd_client_cache_warmed_total") == 2
        assert s.metric("jotd_client_lookups_total") == 0
        assert {cache_status(s.token(active)) for _ in range(8)} == {"HIT"}
        assert cache_status(s.token(idle)) == "MISS"
        # Later changes invalidate it like any other record.
        database.execute("UPDATE clients SET enabled = false WHERE client_id = %s", (active.id,))
        until(lambda: s.token(active).status_code == 401)


def test_the_most_recently_active_are_loaded(database, jotd):
    clients = [database.client(tier="unlimited") for _ in range(6)]
    with jotd(database) as s:
        for client in clients:
            s.access_token(client)
            s.access_token(clients[0])
    with warmed(jotd, database, client_cache_size=3) as s:
        assert s.metric("jotd_client_cache_entries") == 3
        for client in (clients[0], clients[5], clients[4]):
            assert cache_status(s.token(client)) == "HIT"
        assert cache_status(s.token(clients[3])) == "MISS"


def test_large_records_of_tls_are_read_whole(database, jotd, postgres, tmp_path):
    """A TLS proxy may send records larger than what libpq reads at once."""
    clients = database.copies(database.client(tier="unlimited"), 300)
    with jotd(database) as s:
        s.raw(b"".join(map(s.token_request, clients)), timeout=20, answers=len(clients))
    with TlsProxy(postgres, self_signed(tmp_path / "tls.pem")) as proxy, \
            warmed(jotd, proxy.url(database)) as s:
        assert s.metric("jotd_client_cache_warmed_total") == 300
        assert not any(line["event"] == "pg.unusable" for line in s.log)
        assert cache_status(s.token(clients[0])) == "HIT"


def test_loading_does_not_keep_a_server_from_being_ready(database, jotd):
    client = database.client()
    with database.locked("issued_tokens"):
        with jotd(database) as s:
            assert s.wait_log("client.not_warmed")
            assert cache_status(s.token(client)) == "MISS"


def test_active_clients_reads_the_newest_part_of_the_newest_months(database):
    """However large the table is: 32 MB of it, backwards from this month."""
    database.execute(
        "INSERT INTO issued_tokens SELECT gen_random_uuid(), 'old-' || n %% 50, 'free', '', '', 'k',"
        " now() - interval '1 hour' + n * interval '1 millisecond', now()"
        " FROM generate_series(1, 20000) n")
    database.execute(
        "INSERT INTO issued_tokens SELECT gen_random_uuid(), 'new-' || n %% 50, repeat('x', 1000),"
        " '', '', 'k', now() + n * interval '1 microsecond', now()"
        " FROM generate_series(1, 40000) n")
    found = [row[0] for row in database.execute("SELECT client_id FROM active_clients(1000)")]
    assert len(found) == 50 and found[0] == "new-0"
    assert all(client_id.startswith("new-") for client_id in found)
