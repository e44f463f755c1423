"""What an operator sees: start, readiness, keys, metrics, log, drain and signals."""

import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import re
import signal
import socket
import time
import urllib.parse

import jwt as pyjwt
import pytest

from harness import until
from harness.keys import write_rsa_key
from harness.process import free_port, has_sanitizer, run_jotd
from harness.server import MARGIN, receive
from harness.services import Standby
from harness.wire import take_answer


@contextlib.contextmanager
def keep_alive(s, count):
    """Connections that have been used once and stay open, each with .ask(path)."""
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = http.client.HTTPConnection(urllib.parse.urlsplit(s.url).netloc, timeout=10)
            stack.callback(connection.close)
            connections.append(connection)
            ask(connection, "GET", "/health")
        yield connections


def ask(connection, method, path, body=None, headers=None):
    """One request on a connection; the answer has .body, and its connection stays open."""
    connection.auto_open = 0 if connection.sock else 1  # never a new connection behind our back
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    answer.body = answer.read()
    return answer


def start_fails(**environment):
    """What `jotd serve` says when it does not start."""
    done = run_jotd("serve", env=environment, check=False, timeout=20)
    assert done.returncode == 1, (done.returncode, done.stderr)
    return done.stderr


# Start

@pytest.mark.parametrize("name, value, allowed", [
    ("JOTD_LISTEN", "8080", "address:port"),
    ("JOTD_LISTEN", "127.0.0.1:99999", "address:port"),
    ("JOTD_METRICS_LISTEN", "nowhere", "address:port"),
    ("JOTD_ISSUER", "id.example", "https://"),
    ("JOTD_WORKERS", "0", "auto"),
    ("JOTD_WORKERS", "many", "auto"),
    ("JOTD_WORKERS", "-1", "auto"),
    ("JOTD_TOKEN_TTL", "1h", "1"),
    ("JOTD_TOKEN_TTL", "0", "1"),
    ("JOTD_CLIENT_CACHE_SIZE", "5000x", "1"),
    ("JOTD_CLIENT_CACHE_TTL", "99999999999999999999", "1"),
    ("JOTD_DRAIN_TIMEOUT", "ten", "1"),
    ("JOTD_LOG_LEVEL", "loud", "info"),
    ("JOTD_LOG_FORMAT", "xml", "json"),
    ("DATABASE_URL", "mysql://localhost/x", "postgresql://"),
])
def test_a_bad_value_stops_the_start(name, value, allowed):
    said = start_fails(**{"DATABASE_URL": "postgresql://127.0.0.1:1/x", name: value})
    assert name in said
    assert allowed in said
    if name != "DATABASE_URL":  # it may hold a password
        assert value in said
    assert len(said.strip().splitlines()) == 1


def test_what_is_required(tmp_path):
    assert "DATABASE_URL" in start_fails()
    said = start_fails(DATABASE_URL="postgresql://127.0.0.1:1/x", JOTD_KEYS_DIR=str(tmp_path),
                       JOTD_LISTEN=f"0.0.0.0:{free_port()}")
    assert "JOTD_ISSUER" in said


def test_a_public_address_with_an_issuer(database, jotd):
    port = free_port()
    with jotd(database, listen=f"0.0.0.0:{port}", issuer="https://id.example") as s:
        s.url = f"http://127.0.0.1:{port}"
        token = s.access_token(database.client())
        found = pyjwt.decode(token, options={"verify_signature": False})
        assert found["iss"] == "https://id.example"


def test_a_password_in_a_bad_url_is_not_shown():
    for url in "mysql://jotd:hunter2@127.0.0.1/x", "mysql://127.0.0.1/x?password=hunter2":
        assert "hunter2" not in start_fails(DATABASE_URL=url)
    for url in "redis://hunter2@127.0.0.1", "hunter2@127.0.0.1", "redis://127.0.0.1/0?auth=hunter2":
        said = start_fails(DATABASE_URL="postgresql://127.0.0.1/x", REDIS_URL=url)
        assert "REDIS_URL" in said and "hunter2" not in said


def test_an_unknown_name_is_one_warning_with_the_nearest(database, jotd):
    with jotd(database, worker=1, token_tll=60) as s:
        s.wait_log("serve.started")
        warned = [line for line in s.log if line["event"] == "config.unknown"]
        assert sorted((line["name"], line["nearest"]) for line in warned) == [
            ("JOTD_TOKEN_TLL", "JOTD_TOKEN_TTL"), ("JOTD_WORKER", "JOTD_WORKERS")]


def test_the_names_that_kubernetes_injects_are_ignored(database, jotd):
    with jotd(database, service_host="10.0.0.1", service_port="80", service_port_http="80",
              port="tcp://10.0.0.1:80", port_8080_tcp="tcp://10.0.0.1:80",
              port_8080_tcp_addr="10.0.0.1") as s:
        s.wait_log("serve.started")
        assert not [line for line in s.log if line["event"].startswith("config.")]


def test_an_address_that_is_taken(database, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        said = start_fails(DATABASE_URL=database.url, JOTD_KEYS_DIR=str(tmp_path),
                           JOTD_LISTEN=f"127.0.0.1:{other.getsockname()[1]}")
    assert "in use" in said


def test_every_line_of_the_log_is_an_event(database, jotd):
    with jotd(database) as s:
        s.token(database.client())
        s.stop()
        for line in s.stderr.splitlines():
            assert json.loads(line)["event"]


def test_the_log_as_text(database, jotd):
    with jotd(database, log_format="text") as s:
        s.stop()
        assert all("event=" in line for line in s.stderr.splitlines())
        assert s.stderr


# Readiness and keys

def test_ready_has_a_state_per_part(database, jotd):
    with jotd(database) as s:
        body = until(lambda: (b := s.ready().json())["status"] == "ok" and b)  # Redis may come later
        assert {"postgres", "keys"} <= set(body)


def test_without_a_key(database, jotd):
    """Not ready, no token; a key that is made meanwhile is taken up by itself."""
    client = database.client()
    with jotd(database, keys=False, ready=False) as s:
        assert s.ready().status_code == 503
        answer = s.token(client)
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        assert s.jwks() == {"keys": []}
        s.create_key()
        until(lambda: s.ready().status_code == 200)
        assert s.token(client).status_code == 200
        assert len(s.jwks()["keys"]) == 1


def test_without_a_key_directory(database, jotd, tmp_path):
    with jotd(database, keys=False, ready=False, keys_dir=tmp_path / "missing") as s:
        assert s.get("/health").status_code == 200
        until(lambda: s.ready().status_code == 503)
        s.create_key()
        until(lambda: s.ready().status_code == 200)


def test_a_key_directory_that_goes_away_is_told_once(database, jotd):
    client = database.client(tier="unlimited")
    with jotd(database) as s:
        def told():
            return len([line for line in s.log if line["event"] == "keys.unreadable"])

        for times in 1, 2:
            s.keys_dir.rename(s.directory / "away")
            until(lambda: told() == times)
            end = time.monotonic() + 2.5  # it looks once a second
            until(lambda: time.monotonic() > end)
            assert s.token(client).status_code == 200
            (s.directory / "away").rename(s.keys_dir)
            s.create_key()
            until(lambda: len(s.jwks()["keys"]) == 1 + times)
            assert told() == times


def test_a_broken_key_file_is_left_out(database, jotd):
    with jotd(database) as s:
        (s.keys_dir / f"{'A' * 43}.ES256.1.pem").write_text("not a key")
        (s.keys_dir / "notes.txt").write_text("anything")
        (s.keys_dir / ".hidden.pem").write_text("anything")
        s.wait_log("key.skipped")
        assert len(s.jwks()["keys"]) == 1
        assert s.token(database.client()).status_code == 200


def test_a_key_is_signing_when_its_time_comes(database, jotd):
    client = database.client(tier="unlimited")
    with jotd(database) as s:
        (first,) = s.jwks()["keys"]
        run_jotd("key", "create", "--activate-in", "10", env=s.environment)
        keys = until(lambda: len(found := s.jwks()["keys"]) == 2 and found)
        (second,) = [key for key in keys if key["kid"] != first["kid"]]

        def kid():
            return pyjwt.get_unverified_header(s.access_token(client))["kid"]

        assert kid() == first["kid"]
        assert s.metric("jotd_signing_key_info", kid=second["kid"], state="next") == 1
        until(lambda: kid() == second["kid"], timeout=25, interval=0.1)
        assert s.metric("jotd_signing_key_info", kid=second["kid"], state="signing") == 1


def test_a_rotation_under_load_fails_no_verification(database, jotd):
    """A verifier that caches the key set and reads it each second knows every key in time."""
    client = database.client(tier="unlimited")
    with jotd(database, workers=2) as s:
        cached = {"keys": {}, "at": 0}

        def verify(token):
            if time.monotonic() - cached["at"] >= 1:
                cached["keys"] = {key.key_id: key.key
                                  for key in pyjwt.PyJWKSet.from_dict(s.jwks()).keys}
                cached["at"] = time.monotonic()
            kid = pyjwt.get_unverified_header(token)["kid"]
            pyjwt.decode(token, cached["keys"][kid], algorithms=["ES256"], audience=s.url)
            return kid

        old = verify(s.access_token(client))
        run_jotd("key", "rotate", "--lead", "10", env=s.environment)
        seen = set()

        def both_seen():
            seen.add(verify(s.access_token(client)))
            return len(seen) == 2

        until(both_seen, timeout=30, interval=0.01)
        assert old in seen
        (new,) = seen - {old}
        until(lambda: verify(s.access_token(client)) == new)
        for _ in range(20):  # of both workers
            assert verify(s.access_token(client)) == new
        assert {key["kid"] for key in s.jwks()["keys"]} == {old, new}
        assert s.metric("jotd_signing_key_info", kid=old, state="retiring") == 1
        (retires,) = {int(path.name.split(".")[3]) for path in s.keys_dir.glob(f"{old}.*")}
        assert s.metric("jotd_signing_key_retires_timestamp_seconds", kid=old) == retires
        assert s.metric("jotd_signing_key_retires_timestamp_seconds", kid=new) == float("inf")


def test_ready_means_that_the_first_request_is_served(database, jotd):
    """Not a moment before the connection to PostgreSQL may be used."""
    client = database.client(tier="unlimited")
    for _ in range(3):
        with jotd(database, workers=4, ready=False) as s:
            until(lambda: s.ready().status_code == 200, interval=0)
            assert [s.token(client).status_code for _ in range(8)] == [200] * 8


# Metrics

def test_the_metrics_are_there(database, jotd):
    client = database.client(tier="pro")
    with jotd(database) as s:
        s.token(client)
        s.token(client)
        s.token(client, scope="admin")
        s.token()
        s.get("/nothing")
        answer = s.get("/metrics")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert client.id not in answer.text
        metrics = s.metrics()
        (kid,) = [key["kid"] for key in s.jwks()["keys"]]

    for name, kind, value, labels in [
        ("jotd_build_info", "gauge", 1, {}),
        ("jotd_http_requests_total", "counter", 2, {"endpoint": "/token", "code": "200"}),
        ("jotd_http_requests_total", "counter", 1, {"endpoint": "/token", "code": "401"}),
        ("jotd_tokens_issued_total", "counter", 2, {"tier": "pro"}),
        ("jotd_token_errors_total", "counter", 1, {"error": "invalid_scope"}),
        ("jotd_token_errors_total", "counter", 1, {"error": "invalid_client"}),
        ("jotd_client_cache_hits_total", "counter", 2, {}),
        ("jotd_client_cache_misses_total", "counter", 1, {}),
        ("jotd_client_cache_evictions_total", "counter", 0, {}),
        ("jotd_client_cache_expirations_total", "counter", 0, {}),
        ("jotd_client_cache_entries", "gauge", 1, {}),
        ("jotd_client_cache_capacity", "gauge", 5000, {}),
        ("jotd_client_lookups_total", "counter", 1, {}),
        ("jotd_ledger_spool_max_bytes", "gauge", 1 << 30, {}),
        ("jotd_signing_key_info", "gauge", 1, {"kid": kid, "alg": "ES256", "state": "signing"}),
    ]:
        assert metrics.types[name] == kind, name
        assert metrics.value(name, **labels) == value, name

    for name, count, labels in [
        ("jotd_http_request_duration_seconds", 4, {"endpoint": "/token"}),
        ("jotd_sign_duration_seconds", 2, {"alg": "ES256"}),
        ("jotd_client_lookup_duration_seconds", 1, {}),
    ]:
        assert metrics.types[name] == "histogram"
        assert metrics.value(f"{name}_count", **labels) == count, name
        assert 0 < metrics.value(f"{name}_sum", **labels) < 10

    assert metrics.value("jotd_http_connections") >= 1
    assert {"code", "endpoint"} == set(metrics.select("jotd_http_requests_total")[0][0])
    assert metrics.select("jotd_build_info")[0][0]["version"]


def test_the_process_metrics_are_there(shared):
    metrics = shared.metrics()
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes",
                 "process_virtual_memory_bytes", "process_open_fds", "process_max_fds"):
        assert metrics.value(name) > 0, name
    assert abs(metrics.value("process_start_time_seconds") - time.time()) < 600


def test_threads_have_names(database, jotd):
    with jotd(database, workers=2) as s:
        def names():
            tasks = pathlib.Path(f"/proc/{s.process.pid}/task").iterdir()
            return {(task / "comm").read_text().rstrip() for task in tasks}

        until(lambda: names() >= {"worker 0", "worker 1", "ledger", "log"})


def test_paths_that_a_client_makes_up_are_no_labels(shared):
    for path in ("/one", "/two", "/token/three"):
        shared.get(path)
    found = shared.metrics().select("jotd_http_requests_total", code="404")
    assert {labels["endpoint"] for labels, value in found if value} == {"other"}


def test_connections_are_counted(database, jotd):
    with jotd(database) as s:
        until(lambda: s.metric("jotd_http_connections") == 1)
        with contextlib.ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(s.connect())
            until(lambda: s.metric("jotd_http_connections") == 6)
        until(lambda: s.metric("jotd_http_connections") == 1)


# Log

def test_secrets_are_never_logged(database, jotd, postgres):
    good, other = database.client(), database.client()
    url = database.url.replace("postgres@", "postgres:hunter2@")
    with jotd(url, log_level="debug") as s:
        token = s.access_token(good)
        s.token(client_id=good.id, client_secret=other.secret)
        s.token(client_id=good.id, client_secret=good.secret[:-1])
        s.raw(b"POST /token HTTP/1.1\r\nAuthorization: Basic " + other.secret.encode(),
              half_close=True)
        postgres.stop()
        s.token(other)
        postgres.start()
        s.stop()
        for secret in (good.secret[:-1], other.secret, token, token.split(".")[2], "hunter2"):
            assert secret not in s.stderr


# Drain and signals

def wait_until_draining(s, connection):
    """Asks on a connection that is open already until it hears that the server drains."""
    return until(lambda: (answer := ask(connection, "GET", "/ready")).status == 503 and answer)


def test_drain(database, jotd):
    """SIGTERM: what is on the wire is answered, then the process ends with 0."""
    client = database.client()
    with jotd(database) as s, keep_alive(s, 3) as (probe, health, jwks):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            with database.locked():
                blocked = pool.submit(s.token, client)
                until(database.waiting_for_lock)
                s.process.send_signal(signal.SIGTERM)
                ready = wait_until_draining(s, probe)
                assert json.loads(ready.body)["status"] == "draining"
                assert ready.getheader("Connection") == "close"
                for connection, path in (health, "/health"), (jwks, "/.well-known/jwks.json"):
                    answer = ask(connection, "GET", path)
                    assert (answer.status, answer.getheader("Connection")) == (200, "close")
            answer = blocked.result()
        assert (answer.status_code, answer.headers["Connection"]) == (200, "close")
        assert s.wait() == 0


def test_drain_without_work_is_quick(database, jotd):
    with jotd(database, drain_timeout=60) as s:
        s.token(database.client())
        start = time.monotonic()
        assert s.stop() == 0
        assert time.monotonic() - start < 5 + MARGIN


def test_idle_connections_do_not_outlast_the_drain(database, jotd):
    with jotd(database, drain_timeout=3, workers=2) as s, keep_alive(s, 10):
        start = time.monotonic()
        assert s.stop() == 0
        assert time.monotonic() - start < 5 + MARGIN


def test_a_request_that_never_ends_does_not_outlast_the_drain(database, jotd):
    client = database.client()
    with jotd(database, drain_timeout=2) as s, s.connect() as half, s.connect() as waiting:
        half.sendall(b"POST /token HTTP/1.1\r\nHost: jotd\r\nContent-Le")
        with database.locked():
            waiting.sendall(s.token_request(client))
            until(database.waiting_for_lock)
            start = time.monotonic()
            assert s.stop() == 0
            assert time.monotonic() - start < 6 + MARGIN


def test_sigint_drains_too(database, jotd):
    with jotd(database) as s:
        s.process.send_signal(signal.SIGINT)
        assert s.wait() == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(database, jotd, second):
    client = database.client()
    with jotd(database, drain_timeout=60) as s, keep_alive(s, 1) as (probe,), s.connect() as asker:
        with database.locked():
            asker.sendall(s.token_request(client))
            until(database.waiting_for_lock)
            s.process.send_signal(signal.SIGTERM)
            wait_until_draining(s, probe)
            s.process.send_signal(second)
            s.wait(MARGIN)


@pytest.mark.parametrize("hosts", [
    "localhost:PORT", "127.0.0.1:1,127.0.0.1:PORT", "127.0.0.1:1,127.0.0.1:1,localhost:PORT",
    f"{64 * 'a'}:PORT,127.0.0.1:PORT",  # a name that nobody can have
])
def test_hosts_of_the_database(database, jotd, hosts):
    # glibc looks names up in threads that ThreadSanitizer does not know.
    if has_sanitizer("tsan") and re.search("[a-z]", hosts):
        pytest.skip("needs a name")
    client = database.client()
    url = database.url.replace(f"127.0.0.1:{database.postgres.port}",
                               hosts.replace("PORT", str(database.postgres.port)))
    with jotd(url) as s:
        assert s.token(client).status_code == 200
        assert s.ready().json()["postgres"] == "ok"


def test_a_standby_is_passed_over(database, jotd, postgres, directory):
    """Though it is named first and takes connections, as the old primary after a failover."""
    client = database.client()
    home = directory / f"standby of {database.name}"
    home.mkdir()
    standby = Standby(home, postgres)
    standby.start()
    try:
        url = database.url.replace(f"127.0.0.1:{postgres.port}",
                                   f"127.0.0.1:{standby.port},127.0.0.1:{postgres.port}")
        with jotd(url, batch_rows=1) as s:
            assert s.token(client).status_code == 200
            until(lambda: s.metric("jotd_ledger_rows_written_total") == 1)
            assert s.metric("jotd_ledger_flush_errors_total") == 0
        database.cli("client", "disable", client.id, env={"DATABASE_URL": url})
    finally:
        standby.stop()


def test_a_stop_while_more_is_granted_than_can_be_signed(database, jotd, tmp_path):
    """What is not signed in time is refused, and the process ends as it should."""
    client = database.client(tier="unlimited")
    write_rsa_key(tmp_path / "slow", bits=4096)
    with jotd(database, keys=False, keys_dir=tmp_path / "slow", drain_timeout=1) as s, \
            contextlib.ExitStack() as stack:
        assert s.token(client).status_code == 200
        connections = [stack.enter_context(s.connect()) for _ in range(1500)]
        until(lambda: s.metric("jotd_http_connections") >= 1500)
        s.process.send_signal(signal.SIGSTOP)
        for connection in connections:
            connection.sendall(s.token_request(client))
        s.process.send_signal(signal.SIGCONT)
        until(lambda: s.metric("jotd_tokens_issued_total") > 1)
        until(lambda: s.metric("jotd_client_cache_hits_total") == 1500)
        assert s.stop() == 0
        answers = [take_answer(receive(connection, timeout=10, answers=1))[0]
                   for connection in connections]
        issued = [answer for answer in answers if answer.status == 200]
        refused = [answer for answer in answers if answer.status == 503]
        assert issued and len(issued) + len(refused) == 1500
        assert all(answer.headers["retry-after"] == "1" for answer in refused)
        assert len(database.execute("SELECT 1 FROM issued_tokens")) == len(issued) + 1


def test_sighup_and_sigpipe_do_no_harm(database, jotd):
    with jotd(database) as s:
        for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGHUP):
            s.process.send_signal(number)
        assert s.token(database.client()).status_code == 200


# The commands that look at a server

def test_healthcheck(database, jotd):
    with jotd(database) as s:
        assert run_jotd("healthcheck", env=s.environment).returncode == 0
        s.stop()
        assert run_jotd("healthcheck", env=s.environment, check=False).returncode == 1
