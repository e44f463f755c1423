"""HTTP around the endpoints: paths, methods, connections and their limits."""

import base64
import contextlib
import http.client
import socket
import statistics
import time
import urllib.parse

import jwt as pyjwt
import pytest

from harness import claims_of, long_test, parse_answers, until
from harness.process import free_port
from harness.server import receive

GET_HEALTH = b"GET /health HTTP/1.1\r\nHost: jotd\r\n\r\n"


def exchange(connection, request=GET_HEALTH):
    """Sends one request on an open socket; returns the bytes of its answer."""
    connection.sendall(request)
    return receive(connection, timeout=10, answers=1)


def is_closed(connection):
    """Whether the server has closed this connection, on which nothing may arrive."""
    connection.settimeout(0.01)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("path", [
    "/", "/nothing", "/token/", "/token/x", "/tokens", "/Token", "/.well-known", "/.well-known/",
    "/.well-known/jwks.json/", "/.well-known/jwks", "/healthy", "/health/", "/metrics/x",
])
def test_other_paths_are_404(shared, path):
    for method in ("GET", "POST"):
        answer = shared.request(method, path)
        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json()["error"]


@pytest.mark.parametrize("scheme", ["http://", "HTTP://", "https://", "hTTps://"])
def test_a_target_may_be_a_whole_url(shared, scheme):
    """RFC 9112 3.2.2."""
    for target, status in (("jotd/health", 200), ("jotd:80/health?x", 200), ("jotd/nothing", 404),
                           ("jotd", 404)):
        request = f"GET {scheme}{target} HTTP/1.1\r\nHost: jotd\r\nConnection: close\r\n\r\n"
        assert shared.answer(request.encode()).status == status, target


# Cross-origin requests: Fetch, "CORS protocol"

ORIGIN = {"Origin": "https://app.example"}
PREFLIGHT = {**ORIGIN, "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "authorization"}


def cors_headers(answer):
    return {name.lower(): value for name, value in answer.headers.items()
            if name.lower().startswith("access-control-")}


@pytest.mark.parametrize("path", ["/.well-known/jwks.json", "/.well-known/openid-configuration",
                                  "/.well-known/oauth-authorization-server"])
def test_any_page_may_read_what_is_public(shared, path):
    for headers in ({}, ORIGIN):
        assert shared.get(path, headers=headers).headers["Access-Control-Allow-Origin"] == "*"
    answer = shared.request("OPTIONS", path, headers=PREFLIGHT)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD"
    assert "Content-Length" not in answer.headers and "Transfer-Encoding" not in answer.headers


def test_no_page_may_ask_for_a_token_by_default(shared):
    client = shared.database.client()
    assert shared.request("OPTIONS", "/token", headers=PREFLIGHT).status_code == 405
    answer = shared.post("/token", data={"grant_type": "client_credentials"},
                         auth=(client.id, client.secret), headers=ORIGIN)
    assert answer.status_code == 200
    assert not cors_headers(answer) and "Vary" not in answer.headers


def test_pages_of_origins_that_are_named_may_ask_for_a_token(database, jotd):
    client = database.client()

    def ask(origin, secret=client.secret):
        return s.post("/token", data={"grant_type": "client_credentials"},
                      auth=(client.id, secret), headers={"Origin": origin})

    with jotd(database, cors_origins="https://app.example,http://localhost:3000") as s:
        for origin in "https://app.example", "http://localhost:3000":
            for answer in ask(origin), ask(origin, "wrong"):
                assert answer.headers["Access-Control-Allow-Origin"] == origin
                assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
                assert answer.headers["Vary"] == "Origin"
            answer = s.request("OPTIONS", "/token", headers={**PREFLIGHT, "Origin": origin})
            assert answer.status_code == 204
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            assert answer.headers["Access-Control-Allow-Methods"] == "POST"
            assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        for origin in "https://app.example:8443", "https://app.example.evil", "null", "":
            answer = ask(origin)
            assert answer.status_code == 200
            assert not cors_headers(answer) and answer.headers["Vary"] == "Origin"
            refused = s.request("OPTIONS", "/token", headers={**PREFLIGHT, "Origin": origin})
            assert (refused.status_code, cors_headers(refused)) == (405, {})
        assert not cors_headers(s.get("/health", headers=ORIGIN))
        assert s.metric("jotd_http_requests_total", endpoint="/token", code="204") == 2
    with jotd(database, cors_origins="*") as s:
        assert ask("https://anywhere").headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
def test_other_methods_are_405(shared, path):
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = shared.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["Allow"] == "GET, HEAD"
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json()["error"]


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
def test_head_is_get_without_the_body(shared, path):
    answer = shared.answer(
        f"HEAD {path} HTTP/1.1\r\nHost: jotd\r\nConnection: close\r\n\r\n".encode(), to_head=True)
    assert (answer.status, answer.body) == (200, b"")


def test_health(shared):
    answer = shared.get("/health")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["status"] == "ok"


def test_no_answer_names_the_server_software(shared):
    for path in ("/health", "/nothing", "/token"):
        assert "Server" not in shared.get(path).headers


def test_http_1_0(shared):
    answer = shared.answer(b"GET /health HTTP/1.0\r\n\r\n")
    assert answer.status == 200
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("clients", [1, 2])
def test_a_thousand_requests_on_one_connection(database, jotd, clients):
    """None may stall for a poll interval, whether it is answered in the pass in which it arrived (a
    cached client) or in a later one (two clients in turn, with a cache for one)."""
    credentials = [
        "Basic " + base64.b64encode(f"{client.id}:{client.secret}".encode()).decode()
        for client in (database.client(tier="unlimited") for _ in range(clients))
    ]
    with jotd(database, client_cache_size=1) as s, contextlib.closing(
        http.client.HTTPConnection(urllib.parse.urlsplit(s.url).netloc, timeout=10)
    ) as connection:
        durations = []
        for i in range(1000):
            headers = {"Authorization": credentials[i % clients],
                       "Content-Type": "application/x-www-form-urlencoded"}
            start = time.monotonic()
            connection.request("POST", "/token", "grant_type=client_credentials", headers)
            answer = connection.getresponse()
            answer.read()
            durations.append(time.monotonic() - start)
            assert answer.status == 200
            assert answer.getheader("Connection") != "close"
        # A stall adds 100 ms to every answer, more than a slow machine or a slow build does.
        assert statistics.median(durations) < 0.05
        assert s.metric("jotd_tokens_issued_total") == 1000
        assert s.metric("jotd_client_cache_misses_total") == (1 if clients == 1 else 1000)


def test_at_the_bound_the_longest_idle_connection_gives_way(database, jotd):
    with jotd(database, max_connections=8) as s, contextlib.ExitStack() as stack:
        until(lambda: s.metric("jotd_http_connections") <= 1)  # that of this request
        connections = []
        for _ in range(8):
            connections.append(stack.enter_context(s.connect()))
            assert exchange(connections[-1]).startswith(b"HTTP/1.1 200 ")
        assert exchange(connections[0]).startswith(b"HTTP/1.1 200 ")  # the second is idle longest
        ninth = stack.enter_context(s.connect())
        assert exchange(ninth).startswith(b"HTTP/1.1 200 ")
        until(lambda: is_closed(connections[1]))
        for other in connections[:1] + connections[2:]:
            assert not is_closed(other)
            assert exchange(other).startswith(b"HTTP/1.1 200 ")


def test_at_the_bound_silent_connections_give_way_too(database, jotd):
    """A client that connects and sends nothing must not keep others out."""
    with jotd(database, max_connections=8) as s, contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(s.connect())
        assert s.get("/health").status_code == 200


def test_at_the_bound_with_none_idle_one_that_does_not_read_gives_way(database, jotd):
    """Clients that send and never read must not keep others out until they time out."""
    with jotd(database, max_connections=8) as s, contextlib.ExitStack() as stack:
        host, port = s.listen.split(":")
        for _ in range(8):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(10)
            connection.connect((host, int(port)))
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: jotd\r\n\r\n" * 1000)
            assert connection.recv(1, socket.MSG_PEEK) == b"H"
        with s.connect() as honest:
            assert exchange(honest).startswith(b"HTTP/1.1 200 ")


def test_many_more_connections_than_the_bound_are_all_served(database, jotd):
    with jotd(database, max_connections=8) as s, contextlib.ExitStack() as stack:
        for _ in range(50):
            connection = stack.enter_context(s.connect())
            assert exchange(connection).startswith(b"HTTP/1.1 200 ")
        until(lambda: s.metric("jotd_http_connections") <= 8)


def test_the_bound_is_one_for_all_workers(database, jotd):
    """An idle connection also gives way to one that arrives at another worker."""
    with jotd(database, max_connections=1, workers=2) as s, contextlib.ExitStack() as stack:
        connections = []
        for _ in range(10):
            connections.append(stack.enter_context(s.connect()))
            assert exchange(connections[-1]).startswith(b"HTTP/1.1 200 ")
        until(lambda: [is_closed(connection) for connection in connections] == [True] * 9 + [False])


def test_an_idle_connection_is_closed(database, jotd):
    with jotd(database, idle_timeout=1) as s, s.connect() as connection, s.connect() as silent:
        start = time.monotonic()
        assert exchange(connection).startswith(b"HTTP/1.1 200 ")
        assert receive(connection, timeout=20) == b""
        assert 0.5 < time.monotonic() - start < 10
        until(lambda: is_closed(silent))


def test_a_connection_that_waits_for_its_answer_is_not_idle(database, jotd):
    client = database.client()
    with jotd(database, idle_timeout=1) as s, s.connect() as connection:
        with database.locked():
            connection.sendall(s.token_request(client))
            until(database.waiting_for_lock)
            assert receive(connection, timeout=2) == b""
        assert receive(connection, timeout=10, answers=1).startswith(b"HTTP/1.1 200 ")


def test_what_comes_before_the_answer_waits(database, jotd):
    """Much of the next request arrives while the first, whose bytes must stay in place, is still
    being handled. The server does not spin, and answers both."""
    clients = [database.client(), database.client()]
    with jotd(database) as s, s.connect() as connection:
        requests = [
            s.token_request(clients[0], form="grant_type=client_credentials&scope=write"),
            s.token_request(clients[1], headers=f"X-Padding: {'x' * 15000}\r\n"),
        ]
        with database.locked():
            connection.sendall(requests[0])
            until(database.waiting_for_lock)
            connection.sendall(requests[1][:-5])
            assert_idle_for_half_a_second(s, connection)
        connection.sendall(requests[1][-5:])
        answers = parse_answers(receive(connection, timeout=10, answers=2))
        claims = [claims_of(answer.json()["access_token"]) for answer in answers]
        assert [claim["sub"] for claim in claims] == [client.id for client in clients]
        assert claims[0]["scope"] == "write"


def test_a_half_closed_connection_gets_its_answer(database, jotd):
    client = database.client()
    with jotd(database) as s, s.connect() as connection:
        with database.locked():
            connection.sendall(s.token_request(client))
            until(database.waiting_for_lock)
            connection.shutdown(socket.SHUT_WR)
            assert_idle_for_half_a_second(s, connection)
        assert receive(connection, timeout=10).startswith(b"HTTP/1.1 200 ")


def assert_idle_for_half_a_second(server, connection):
    """Nothing arrives on the connection, and the server uses next to no processor time."""
    before = server.metric("process_cpu_seconds_total")
    assert receive(connection, timeout=0.5) == b""
    assert server.metric("process_cpu_seconds_total") - before < 0.25


@long_test
def test_a_slow_sender_is_closed(database, jotd):
    with jotd(database) as s, s.connect() as connection:
        start = time.monotonic()
        head = b"POST /token HTTP/1.1\r\nHost: jotd\r\nX-Slow: " + b"x" * 1000
        for byte in head:
            if is_closed(connection):
                break
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(bytes([byte]))
            until(lambda at=time.monotonic(): time.monotonic() - at > 0.5)
        assert 5 < time.monotonic() - start < 20


def test_listening_on_a_unix_socket(database, jotd, directory):
    path = directory / "jotd.sock"
    with jotd(database, listen=f"unix:{path}", issuer="https://id.example") as s:
        token = s.answer(s.token_request(database.client())).json()["access_token"]
        found = pyjwt.decode(token, options={"verify_signature": False})
        assert found["iss"] == "https://id.example"


def test_listening_on_ipv6(database, jotd):
    with jotd(database, listen=f"[::1]:{free_port()}") as s:
        assert s.get("/.well-known/oauth-authorization-server").json()["issuer"] == s.url


def test_metrics_listen(database, jotd):
    """With a separate address, metrics and probes are not public."""
    with jotd(database, metrics_listen=f"127.0.0.1:{free_port()}") as s:
        for path in ("/metrics", "/health", "/ready"):
            assert s.get(path, url=s.admin_url).status_code == 200
            assert s.get(path).status_code == 404
        assert s.get("/.well-known/jwks.json").status_code == 200
        assert s.token(database.client()).status_code == 200
        assert s.get("/.well-known/jwks.json", url=s.admin_url).status_code == 404
        assert s.post("/token", url=s.admin_url).status_code == 404


def test_several_workers_serve(database, jotd):
    client = database.client(tier="unlimited")
    with jotd(database, workers=4) as s:
        answers = [s.token(client) for _ in range(40)]
        assert {answer.status_code for answer in answers} == {200}
        assert s.metric("jotd_tokens_issued_total") == 40
        assert 1 <= s.metric("jotd_client_lookups_total") <= 4  # each worker has its own cache
