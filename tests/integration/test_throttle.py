"""Failed authentications are rate limited, and nobody can lock others out."""

import contextlib
import secrets
import time
import types

from harness import until
from harness.wire import parse_answers

PEER_BURST = 500  # as in auth/client/throttle.h
ID_BURST = 100


def wrong(client):
    """The right id with another client's secret, which is well-formed."""
    return types.SimpleNamespace(id=client.id, secret=client.wrong_secret)


def clients(database, count=1):
    """Clients with a well-formed .wrong_secret."""
    other = database.client()
    made = [database.client(tier="unlimited") for _ in range(count)]
    for client in made:
        client.wrong_secret = other.secret
    return made


def made_up(secret):
    return types.SimpleNamespace(id=f"made-up-{secrets.token_hex(8)}", secret=secret)


def ask_many(s, requests):
    """Sends the requests on one connection; returns their statuses in order."""
    return [answer.status for answer in
            parse_answers(s.raw(b"".join(requests), timeout=20, answers=len(requests)))]


def slow_down(s, request):
    """The first 429 of several answers: a moment later one more attempt may be allowed."""
    answers = parse_answers(s.raw(request * 30, timeout=20, answers=30))
    answer = next(answer for answer in answers if answer.status == 429)
    assert answer.json()["error"] == "slow_down"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["cache-control"] == "no-store"
    assert "x-cache-status" not in answer.headers
    return answer


def test_guesses_at_an_id_lock_nobody_out(database, jotd):
    client, = clients(database)
    with jotd(database) as s:
        statuses = ask_many(s, [s.token_request(wrong(client))] * (ID_BURST + 50))
        assert statuses[:ID_BURST] == [401] * ID_BURST
        assert 429 in statuses
        slow_down(s, s.token_request(wrong(client)))
        assert s.metric("jotd_auth_throttled_total", by="client") >= 40
        assert s.token(client).status_code == 200
        # Also when it has to be looked up.
        database.execute("UPDATE clients SET updated_at = now()")
        until(lambda: s.metric("jotd_client_cache_invalidations_total") == 1)
        ask_many(s, [s.token_request(wrong(client))] * (ID_BURST + 50))
        assert s.token(client).status_code == 200


def test_past_the_rate_there_is_no_look_up(database, jotd):
    client, = clients(database)
    with jotd(database) as s:
        assert s.token(client).status_code == 200
        requests = [s.token_request(made_up(client.secret)) for _ in range(PEER_BURST + 200)]
        statuses = ask_many(s, requests)
        assert statuses[:PEER_BURST] == [401] * PEER_BURST
        assert 429 in statuses
        throttled = statuses.count(429)
        lookups = s.metric("jotd_client_lookups_total", result="unknown")
        assert lookups == len(requests) - throttled
        assert s.metric("jotd_auth_throttled_total", by="peer") == throttled
        assert s.metric("jotd_token_errors_total", error="slow_down") == throttled
        # A cached client with the right secret still succeeds from the same address.
        assert s.token(client).headers["X-Cache-Status"] == "HIT"


def test_as_many_at_once_as_one_likes_are_no_more_in_the_end(database, jotd):
    """Requests in flight before the first of them fails."""
    client, = clients(database)
    with jotd(database) as s, contextlib.ExitStack() as stack:
        ask_many(s, [s.token_request(made_up(client.secret)) for _ in range(PEER_BURST + 200)])
        connections = [stack.enter_context(s.connect()) for _ in range(100)]
        before, began = s.metric("jotd_client_lookups_total", result="unknown"), time.monotonic()
        while time.monotonic() - began < 5:
            for connection in connections:
                connection.sendall(s.token_request(made_up(client.secret)))
            for connection in connections:
                assert connection.recv(4096)
        looked_up = s.metric("jotd_client_lookups_total", result="unknown") - before
        assert looked_up < 10 * (time.monotonic() - began) + 2 * len(connections)


def test_it_passes(database, jotd):
    client, = clients(database)
    with jotd(database) as s:
        ask_many(s, [s.token_request(made_up(client.secret)) for _ in range(PEER_BURST + 200)])
        slow_down(s, s.token_request(made_up(client.secret)))
        until(lambda: s.token(client).status_code == 200)


def test_a_library_that_tries_twice_does_not_trip_it(database, jotd):
    client, = clients(database)
    with jotd(database) as s:
        for _ in range(20):
            assert s.token(wrong(client)).status_code == 401
            in_body = {"client_id": client.id, "client_secret": client.wrong_secret}
            assert s.token(**in_body).status_code == 401
        assert s.token(client).status_code == 200


def test_mistyped_secrets_count_for_the_address_only(database, jotd):
    """They cost no look-up and are no guesses: they must not lock the client out, even though it is
    not cached and its guesses are used up."""
    client, = clients(database)
    mistyped = types.SimpleNamespace(id=client.id, secret=client.secret[:-1] + "!")
    with jotd(database) as s:
        ask_many(s, [s.token_request(wrong(client))] * (ID_BURST + 50))
        database.cli("client", "update", client.id, "--name", "renamed")
        until(lambda: s.metric("jotd_client_cache_invalidations_total") == 1)
        statuses = ask_many(s, [s.token_request(mistyped)] * (ID_BURST + 50))
        assert set(statuses) == {401}
        assert s.token(client).status_code == 200
        lookups = s.metric("jotd_client_lookups_total")
        ask_many(s, [s.token_request(mistyped)] * PEER_BURST)
        slow_down(s, s.token_request(mistyped))
        assert s.metric("jotd_client_lookups_total") == lookups


def test_a_new_client_is_not_held_to_what_failed_before(database, jotd):
    client, = clients(database)
    newcomer = types.SimpleNamespace(id="newcomer", secret=client.secret)
    with jotd(database) as s:
        assert 429 in ask_many(s, [s.token_request(newcomer)] * (ID_BURST + 50))
        newcomer = database.client(id="newcomer")
        until(lambda: s.token(newcomer).status_code == 200)


def forwarded(s, client, addresses, count=1):
    """Requests forwarded by a proxy; `addresses` are the lines of X-Forwarded-For."""
    headers = "".join(f"X-Forwarded-For: {line}\r\n" for line in addresses)
    return [s.token_request(made_up(client.secret), headers=headers) for _ in range(count)]


def test_behind_a_trusted_proxy_the_last_hop_counts(database, jotd):
    client, = clients(database)
    with jotd(database, trusted_proxies="127.0.0.0/8,10.0.0.0/8") as s:
        # The part of the header that the client itself sent changes nothing.
        requests = [request for n in range(PEER_BURST + 200)
                    for request in forwarded(
                        s, client, [f"198.51.100.{n % 250}, 192.0.2.1", "10.0.0.7"])]
        assert 429 in ask_many(s, requests)
        slow_down(s, forwarded(s, client, ["192.0.2.1:4711"])[0])
        assert ask_many(s, forwarded(s, client, ["192.0.2.2"])) == [401]
        assert ask_many(s, forwarded(s, client, ["192.0.2.1, nonsense"])) == [401]
        assert ask_many(s, forwarded(s, client, [])) == [401]


def test_nobody_else_is_believed(database, jotd):
    client, = clients(database)
    with jotd(database) as s:
        requests = [request for n in range(PEER_BURST + 200)
                    for request in forwarded(s, client, [f"198.51.100.{n % 250}"])]
        assert 429 in ask_many(s, requests)


def test_ids_that_cannot_exist_do_not_make_it_forget(database, jotd):
    """More of them than it remembers, from many addresses: earlier guesses are still counted."""
    client, = clients(database)
    guess = types.SimpleNamespace(id="not-there", secret=client.secret)
    with jotd(database, trusted_proxies="127.0.0.0/8") as s:
        assert 429 in ask_many(s, [s.token_request(guess)] * (ID_BURST + 50))
        invalid = types.SimpleNamespace(secret=client.secret)
        for n in range(26):
            requests = []
            for invalid.id in (f"no id {n} {i}" for i in range(400)):
                address = f"X-Forwarded-For: 192.0.2.{n}\r\n"
                requests.append(s.token_request(invalid, headers=address))
            assert set(ask_many(s, requests)) == {401}
        statuses = ask_many(s, [s.token_request(guess, headers="X-Forwarded-For: 10.0.0.1\r\n")
                                for _ in range(ID_BURST)])
        assert 429 in statuses
