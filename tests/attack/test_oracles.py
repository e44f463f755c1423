"""What an outsider must not learn: the metrics, which ids exist, and whose secret was right."""

import contextlib
import itertools
import threading
import time
import types

import pytest

from harness import Proxy, until
from harness.process import free_port

PROXIED = ["Forwarded: for=192.0.2.1", "forwarded: ", "X-Forwarded-For: 192.0.2.1",
           "X-FORWARDED-PROTO: https", "X-Forwarded-Host: jotd", "Via: 1.1 proxy"]


def status(server, target, headers=(), admin=False):
    head = "".join(f"{line}\r\n" for line in ["Host: jotd", "Connection: close", *headers])
    with server.connect(admin=admin) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\n{head}\r\n".encode())
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize("header", PROXIED)
def test_a_proxy_on_this_host_gets_no_metrics_for_others(shared, header):
    assert status(shared, "/metrics") == 200
    assert status(shared, "/metrics", [header]) == 404
    assert status(shared, "/health", [header]) == 200
    assert status(shared, "/ready", [header]) == 200


@pytest.mark.parametrize("target", [
    "/./metrics", "/a/../metrics", "/%6detrics", "//metrics", "/metrics/", "/metrics/.",
    "/metrics%3f", "http://jotd/metrics", "HTTP://jotd/metrics",
])
def test_the_path_of_the_metrics_is_compared_as_it_was_sent(shared, target):
    assert status(shared, target) == 404


def test_a_query_changes_nothing(shared):
    assert status(shared, "/metrics?x=/../metrics") == 200


def test_a_local_socket_gets_no_metrics(database, jotd, directory):
    with jotd(database, listen=f"unix:{directory}/jotd.sock", issuer="https://id.example") as s:
        assert status(s, "/metrics") == 404
        assert status(s, "/health") == 200


def test_an_address_for_metrics_gives_them_to_all(database, jotd):
    with jotd(database, metrics_listen=f"127.0.0.1:{free_port()}") as s:
        assert status(s, "/metrics", PROXIED, admin=True) == 200
        assert status(s, "/metrics") == 404


# Which ids exist

FAILURE_S = 0.005  # as in auth/endpoint/token.c


@pytest.fixture
def suspects(database):
    """Existing and nonexistent ids, all with a well-formed secret that belongs to none of them."""
    secret = database.client().secret
    clients = [database.client(tier="unlimited") for _ in range(4)]
    there = [types.SimpleNamespace(id=client.id, secret=secret) for client in clients]
    nowhere = [types.SimpleNamespace(id=f"nowhere{number}", secret=secret) for number in range(4)]
    return types.SimpleNamespace(clients=clients, there=there, nowhere=nowhere)


def answer_to(s, who):
    """The answer without its date and request id."""
    answer = s.token(who)
    headers = {name: value for name, value in answer.headers.items()
               if name not in ("X-Request-Id", "Date")}
    return answer.status_code, answer.text, headers


def test_an_answer_comes_no_sooner_than_a_look_up_would(database, jotd, suspects):
    with jotd(database) as s:
        for client in suspects.clients:
            assert s.token(client).status_code == 200
        with s.connect() as connection:
            for who in itertools.chain(*zip(suspects.there, suspects.nowhere), suspects.nowhere):
                began = time.monotonic()
                connection.sendall(s.token_request(who))
                assert b" 401 " in connection.recv(4096)
                assert time.monotonic() - began > FAILURE_S - 0.001  # its clock has 1 ms steps


def test_while_postgresql_is_away_nobody_can_tell(database, jotd, postgres, suspects):
    """A secret may be newer than what is cached."""
    with Proxy(postgres) as proxy, jotd(proxy.url(database)) as s:
        for client in suspects.clients:
            assert s.token(client).status_code == 200
        assert s.token(suspects.nowhere[0]).status_code == 401
        proxy.freeze()
        proxy.cut()
        until(lambda: s.metric("jotd_postgres_up") == 0)
        answers = [answer_to(s, who) for who in suspects.there + suspects.nowhere]
        assert answers[0][0] == 503
        assert all(answer == answers[0] for answer in answers)
        assert s.token(suspects.clients[0]).status_code == 200
        proxy.thaw()


@contextlib.contextmanager
def draining(s, secret):
    """Asks for made-up ids from as many networks until no more ids are looked up."""
    stopping, numbers = threading.Event(), itertools.count()

    def request():
        number = next(numbers)
        who = types.SimpleNamespace(id=f"drain{number}", secret=secret)
        return s.token_request(who, headers=f"X-Forwarded-For: 2001:db8:{number:x}::1\r\n")

    def run():
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(s.connect()) for _ in range(50)]
            while not stopping.is_set():
                for connection in connections:
                    connection.sendall(request())
                for connection in connections:
                    connection.recv(4096)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        until(lambda: s.metric("jotd_auth_throttled_total", by="process") > 0, timeout=30)
        yield
    finally:
        stopping.set()
        thread.join()


def test_while_no_more_ids_are_looked_up_nobody_can_tell(database, jotd, suspects):
    with jotd(database, trusted_proxies="127.0.0.0/8") as s:
        for client in suspects.clients:
            assert s.token(client).status_code == 200

        def statuses(some):
            return [s.token(who).status_code for who in some]

        with draining(s, suspects.there[0].secret):
            # One is still looked up now and then.
            until(lambda: set(statuses(suspects.there)) == {503}, timeout=30)
            until(lambda: set(statuses(suspects.nowhere)) == {503}, timeout=30)
            assert s.token(suspects.clients[0]).status_code == 200
