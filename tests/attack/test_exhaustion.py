"""Clients that are already being refused use up nothing that the others need."""

import concurrent.futures
import secrets
import types

from harness import until
from harness.wire import parse_answers

PEER_BURST = 500  # as auth/client/throttle.h says
ALL_BURST = 1000


def made_up(secret):
    return types.SimpleNamespace(id=f"made-up-{secrets.token_hex(8)}", secret=secret)


def statuses(s, requests):
    answers = parse_answers(s.raw(b"".join(requests), timeout=20, answers=len(requests)))
    return [answer.status for answer in answers]


def forget(s, database, clients):
    """Makes the server look these clients up again."""
    until(lambda: all(s.token(client).status_code == 200 for client in clients))
    before = s.metric("jotd_client_cache_invalidations_total")
    database.execute("SELECT pg_notify('jotd_client', id) FROM unnest(%s) id",
                     ([client.id for client in clients],))
    until(lambda: s.metric("jotd_client_cache_invalidations_total") == before + len(clients))


def test_a_bad_neighbour_at_the_same_address_locks_nobody_out(database, jotd):
    clients = database.copies(database.client(tier="unlimited"), 60)
    with jotd(database) as s:
        forget(s, database, clients)
        flood = [s.token_request(made_up(clients[0].secret)) for _ in range(PEER_BURST + 100)]
        assert 429 in statuses(s, flood)
        for client in clients:
            assert 429 in statuses(s, [s.token_request(made_up(client.secret)) for _ in range(30)])
            assert s.token(client).headers["X-Cache-Status"] == "MISS"


CONNECTIONS = 50  # each failed authentication is delayed by some milliseconds


def test_made_up_ids_from_everywhere_reach_postgresql_at_a_rate(database, jotd):
    known, new = database.client(tier="unlimited"), database.client(tier="unlimited")

    def share(count):
        """Each request comes from a network of its own."""
        return statuses(s, [
            s.token_request(made_up(known.secret), headers="X-Forwarded-For: 2001:db8:%x:%x::1\r\n"
                            % (secrets.randbits(16), secrets.randbits(16)))
            for _ in range(count)])

    def flood(count):
        return [status for part in pool.map(share, [count // CONNECTIONS] * CONNECTIONS)
                for status in part]

    with jotd(database, trusted_proxies="127.0.0.0/8") as s, \
            concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        forget(s, database, [known])
        assert set(flood(ALL_BURST // 2)) == {401}
        until(lambda: 503 in flood(ALL_BURST // 2))
        throttled = s.metric("jotd_auth_throttled_total", by="process")
        lookups = s.metric("jotd_client_lookups_total", result="unknown")
        flooded = flood(ALL_BURST)
        assert 503 in flooded
        assert s.metric("jotd_auth_throttled_total", by="process") \
            == throttled + flooded.count(503)
        assert s.metric("jotd_client_lookups_total", result="unknown") - lookups < ALL_BURST
        assert s.token(known).headers["X-Cache-Status"] == "MISS"
        until(lambda: s.token(new).status_code == 200)
