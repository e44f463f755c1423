"""The log: requests, refused authentications, levels, and a reader that does not read."""

import contextlib
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import time
import types
import uuid

import pytest

from harness import Load, Redis, claims_of, long_test, until
from harness.process import binary, clean_environment, run_jotd, spawn


def requests_after_start(s):
    """Stops the server; returns its access log lines without those for /ready."""
    s.stop()
    lines = [line for line in s.log if line["event"] == "http.request"]
    return [line for line in lines if line["path"] != "/ready"]


@contextlib.contextmanager
def pipe(size=4096):
    """A pipe with room for `size` bytes, by default the smallest possible."""
    reader, writer = os.pipe()
    try:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, size)
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


# Which process and worker a line names, and its prefix for the journal

def look_ups_connected(s, workers):
    """The lines of all workers, once all are written, which may be after the first answers; None
    before."""
    lines = [line for line in s.log if line["event"] == "pg.connected"
             and line["connection"] == "look-up"]
    return lines if len(lines) == workers else None


def test_lines_name_the_process_and_the_worker(database, jotd):
    for workers in (1, 2):
        with jotd(database, workers=workers) as s:
            assert {line["pid"] for line in s.log} == {s.process.pid}
            connected = until(lambda: look_ups_connected(s, workers))
            assert {line["host"] for line in connected} == {"127.0.0.1"}
            assert {line["port"] for line in connected} == {str(database.postgres.port)}
            numbers = sorted(line.get("worker", -1) for line in connected)
            assert numbers == ([-1] if workers == 1 else [0, 1])
            (started,) = [line for line in s.log if line["event"] == "serve.started"]
            assert "worker" not in started


def test_the_journal_is_told_the_level(database, jotd):
    """With the prefixes of sd-daemon(3), but only when stderr is the stream that systemd names."""
    with pipe(65536) as (reader, writer), pipe() as (_, other):
        def name(descriptor):
            status = os.fstat(descriptor)
            return f"{status.st_dev}:{status.st_ino}"

        for stream, prefixes in (name(writer), {"<4>{", "<6>{"}), (name(other), {'{"ti'}):
            with jotd(database, log_pipe=writer, environ={"JOURNAL_STREAM": stream}) as s:
                s.stop()
            lines = os.read(reader, 65536).decode().splitlines()
            assert {line[:4] for line in lines} == prefixes
            for line in lines:
                entry = json.loads(line[line.index("{"):])
                if line.startswith("<"):
                    assert line.startswith({"warn": "<4>", "info": "<6>"}[entry["level"]])


@pytest.mark.parametrize("broken", [{"JOTD_WORKERS": "no"}, {"DATABASE_URL": ""}, {}], ids=str)
def test_a_start_that_fails_is_told_in_the_format_that_is_set(tmp_path, broken):
    settings = {"DATABASE_URL": "postgresql:///x", "JOTD_KEYS_DIR": str(tmp_path),
                "JOTD_SPOOL_DIR": str(tmp_path / "not" / "there"), **broken}
    done = run_jotd("serve", env=settings, check=False)
    assert done.returncode == 1
    last = [json.loads(line) for line in done.stderr.splitlines()][-1]
    assert (last["level"], last["event"]) == ("error", "serve.failed")
    assert next(iter(broken), "JOTD_SPOOL_DIR") in last["reason"]
    done = run_jotd("serve", env={**settings, "JOTD_LOG_FORMAT": "text"}, check=False)
    assert done.stderr.splitlines()[-1] == f"jotd: {last['reason']}"


def test_changes_that_the_server_sees(database, jotd):
    """One line for all workers; with very many changes, some ids and the number of the others."""
    client = database.client()
    with jotd(database, workers=2) as s:
        database.cli("client", "update", client.id, "--name", "new")
        s.wait_log("client.changed", client=client.id)
        database.cli("tier", "set", "free", "--per-minute", "30")
        s.wait_log("client.changed", client="*")
        s.create_key()
        until(lambda: sum(line["event"] == "keys.loaded" for line in s.log) == 2)
        told = [line for line in s.log if line["event"] == "client.changed"]
        assert [line["client"] for line in told] == [client.id, "*"]
        database.copies(client, 100)  # 50 ids and one *, twice

        def lines():
            return [line for line in s.log if line["event"] == "client.changed"][2:]

        until(lambda: sum(line.get("more", 1) for line in lines()) == 102)
        assert len(lines()) < 50
        assert {line["worker"] for line in lines()} == {0}


@long_test
def test_each_minute_without_a_neighbour_is_a_line(database, jotd, postgres, tmp_path):
    home = tmp_path / "redis"
    home.mkdir()
    redis = Redis(home)
    redis.start()
    client = database.client(tier="unlimited")
    other = database.client(tier="pro")
    with jotd(database, redis_url=redis.url, client_cache_ttl=1) as s:
        s.access_token(client)
        s.access_token(other)
        postgres.stop()
        redis.stop()
        try:
            until(lambda: s.token(client).headers.get("X-Cache-Status") == "STALE")
            for _ in range(3):
                assert s.token(other).status_code == 200
            assert s.token(types.SimpleNamespace(id="nobody", secret=client.secret)).status_code == 503
            for minute in (1, 2):
                lost = s.wait_log("pg.away", timeout=70, away_s=60 * minute)
                assert lost["stale"] >= 1
                assert lost["unavailable"] == 1
                assert lost["pending"] >= 4
                assert s.wait_log("limiter.away", away_s=60 * minute)["decided_without"] == 3
        finally:
            postgres.start()
            redis.start()
        s.wait_log("limiter.fallback_ended")
        redis.stop()


# Requests

def test_every_request_is_a_line(database, jotd):
    client = database.client()
    with jotd(database, access_log="all", log_level="error") as s:
        token = s.access_token(client)
        s.token(client, scope="admin")
        s.get("/.well-known/jwks.json?cache=1")
        s.request("DELETE", "/nowhere/x")
        issued, refused, jwks, nowhere = requests_after_start(s)
    assert (issued["method"], issued["path"], issued["status"]) == ("POST", "/token", 200)
    assert (issued["peer"], issued["client"]) == ("127.0.0.1", client.id)
    assert uuid.UUID(issued["jti"]).version == 7
    assert issued["jti"] == claims_of(token)["jti"]
    assert issued["bytes"] > len(token)
    assert 0 < issued["duration_us"] < 10_000_000
    assert (refused["status"], refused["client"], refused.get("jti")) == (400, client.id, None)
    assert (jwks["path"], jwks["status"]) == ("/.well-known/jwks.json", 200)
    assert "client" not in jwks
    assert (nowhere["method"], nowhere["path"], nowhere["status"]) == ("DELETE", "/nowhere/x", 404)


def test_what_a_connection_was_for_before_is_not_told_again(database, jotd):
    client = database.client()
    with jotd(database, access_log="all") as s:
        with s.connect() as connection:
            connection.sendall(s.token_request(client))
            until(lambda: b'"}' in connection.recv(1 << 16), interval=0)
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            until(lambda: not connection.recv(1 << 16), interval=0)
        token, health = requests_after_start(s)
    assert (token["client"], health["path"]) == (client.id, "/health")
    assert not {"client", "jti"} & set(health)


def test_a_peer_that_is_gone_is_known_all_the_same(database, jotd):
    """The kernel no longer reports its address; otherwise a reset would hide who guesses secrets.
    """
    with jotd(database, access_log="all") as s:
        for _ in range(20):
            with s.connect() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(b"POST /token HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: s.metric("jotd_http_requests_total", endpoint="/token") == 20)
        lines = requests_after_start(s)
    assert {line["peer"] for line in lines} == {"127.0.0.1"}
    assert len([line for line in lines if line["path"] == "/token"]) == 20


def test_only_errors(database, jotd):
    client = database.client()
    with jotd(database, access_log="errors") as s:
        s.access_token(client)
        s.token(client_id=client.id, client_secret=database.client().secret)
        s.token(client, scope="admin")
        lines = requests_after_start(s)
    assert [line["status"] for line in lines] == [401, 400]
    assert ["client" in line for line in lines] == [False, True]


def test_no_line_unless_it_is_asked_for(database, jotd):
    with jotd(database) as s:
        s.access_token(database.client())
        assert not requests_after_start(s)


def test_a_token_that_could_not_be_recorded_is_not_told(database, jotd):
    """It was signed, but its answer was withdrawn."""
    client = database.client(tier="unlimited")
    with pipe(1 << 20) as (reader, writer), jotd(
            database, access_log="all", log_pipe=writer, batch_rows=1000000) as s:
        s.access_token(client)
        hard = resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (8192, hard))
        until(lambda: s.token(client).status_code == 503, interval=0)
        resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        s.stop()
        lines = [json.loads(line) for line in os.read(reader, 1 << 20).splitlines()]
    assert "spool.write" in {line["event"] for line in lines}
    assert {line["status"]: "jti" in line for line in lines if line.get("path") == "/token"} == {
        200: True, 503: False}


def test_secrets_are_in_no_line(database, jotd):
    """Even in the wrong place: clients do mix up parameters."""
    good, other = database.client(), database.client()
    with jotd(database, access_log="all", log_level="debug") as s:
        token = s.access_token(good)
        s.token(client_id=good.id, client_secret=other.secret)
        s.token(client_id=other.secret, client_secret=other.id)
        s.token(client_id=other.secret)
        s.token(client_id=token, client_secret=other.secret)
        s.post("/token", auth=(other.secret, other.id), data={"grant_type": "client_credentials"})
        s.get(f"/token?client_secret={other.secret}")
        s.get(f"/token/{other.secret}")
        s.get(f"/introspect/{token}")
        s.get("/token/%6Aot_" + other.secret[4:])
        s.stop()
        for secret in (good.secret, other.secret, other.secret[4:], token, token.split(".")[2]):
            assert secret not in s.stderr
        for part in (good.secret[4:40], other.secret[4:40], token[:40]):
            assert part not in s.stderr


# Refused authentications

def refusals(s):
    return [line for line in s.log if line["event"] == "auth.refused"]


def test_a_refused_authentication_is_a_line_with_its_reason(database, jotd):
    client, disabled, rotated = database.client(), database.client(), database.client()
    with jotd(database, client_cache_ttl=600) as s:
        database.cli("client", "disable", disabled.id)
        until(lambda: s.token(rotated).status_code == 200)
        database.cli("client", "rotate", rotated.id, "--overlap", "8")
        until(lambda: s.token(rotated).status_code == 200)  # cached with both secrets
        before = len(refusals(s))
        wrong = database.client().secret
        asked = [
            ("unknown_client", {"client_id": "nobody", "client_secret": wrong}),
            ("wrong_secret", {"client_id": client.id, "client_secret": wrong}),
            ("disabled_client", {"client_id": disabled.id, "client_secret": disabled.secret}),
            ("malformed_secret", {"client_id": client.id, "client_secret": wrong[:-1] + "!"}),
            ("no_credentials", {}),
            ("no_credentials", {"client_id": client.id}),
        ]
        for _, form in asked:
            assert s.token(**form).status_code == 401
        until(lambda: s.token(rotated).status_code == 401, timeout=20)
        until(lambda: len(refusals(s)) == before + len(asked) + 1)
        found = refusals(s)[before:]
        assert [line["reason"] for line in found] == [
            *(reason for reason, _ in asked), "expired_secret"]
        assert [line["client"] for line in found] == [
            *(form.get("client_id", "") for _, form in asked), rotated.id]
        assert {line["peer"] for line in found} == {"127.0.0.1"}
        for reason in {line["reason"] for line in found}:
            count = sum(line["reason"] == reason for line in refusals(s))
            assert s.metric("jotd_auth_failures_total", reason=reason) == count


def test_basic_that_cannot_be_read_is_a_refused_authentication(database, jotd):
    client = database.client()
    with jotd(database) as s:
        answer = s.post("/token", data={"grant_type": "client_credentials"},
                        auth=(client.id, client.secret + "\n"))
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        assert "line end" in answer.json()["error_description"]
        assert s.wait_log("auth.refused", reason="malformed_credentials")["client"] == client.id
        answer = s.post("/token", data={"grant_type": "client_credentials"},
                        headers={"Authorization": "Basic !!!!"})
        assert answer.status_code == 400
        assert s.metric("jotd_auth_failures_total", reason="malformed_credentials") == 2
        assert client.secret not in s.stderr


def test_the_peer_is_the_one_behind_a_trusted_proxy(database, jotd):
    with jotd(database, trusted_proxies="127.0.0.1", access_log="errors") as s:
        s.post("/token", data={"grant_type": "client_credentials"},
               headers={"X-Forwarded-For": "192.0.2.7"})
        assert s.wait_log("auth.refused")["peer"] == "192.0.2.7"
        assert s.wait_log("http.request", path="/token")["peer"] == "192.0.2.7"


def test_a_client_is_named_whatever_its_id_looks_like(database, jotd):
    client = database.client(id="ajot_b")
    with jotd(database, access_log="all") as s:
        s.token(client)
        assert s.wait_log("http.request", path="/token")["client"] == client.id


def test_no_hop_passes_for_a_local_socket(database, jotd):
    """Only the connection itself can be one, whatever address the header gives."""
    with jotd(database, trusted_proxies="127.0.0.1,unix", access_log="errors") as s:
        s.post("/token", data={"grant_type": "client_credentials"},
               headers={"X-Forwarded-For": "192.0.2.7, ::"})
        assert s.wait_log("http.request", path="/token")["peer"] == "127.0.0.1"


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_request_is_found_by_its_id(database, jotd):
    client = database.client()

    def ask(secret=client.secret, scope="read", **headers):
        return s.post("/token", data={"grant_type": "client_credentials", "scope": scope},
                      auth=(client.id, secret), headers=headers)

    with jotd(database, access_log="all") as s:
        answer = ask(**{"X-Request-Id": "abc/1:2", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
        assert answer.headers["X-Request-Id"] == "abc/1:2"
        line = s.wait_log("http.request", request_id="abc/1:2")
        assert (line["trace_id"], line["scope"], line["status"]) == (TRACE, "read", 200)
        assert "error" not in line
        answer = ask(scope="other")
        line = s.wait_log("http.request", request_id=answer.headers["X-Request-Id"])
        assert (line["error"], line["scope"]) == ("invalid_scope", "other")
        made = {ask().headers["X-Request-Id"] for _ in range(3)}
        assert len(made) == 3
        for bad in ("a b", "x" * 129, 'a"b', client.secret):
            assert ask(**{"X-Request-Id": bad}).headers["X-Request-Id"] not in (bad, "")
        for bad in ("00-zz", f"00-{'0' * 32}-00f067aa0ba902b7-01", "x" * 60):
            answer = ask(traceparent=bad)
            line = s.wait_log("http.request", request_id=answer.headers["X-Request-Id"])
            assert "trace_id" not in line
        refused = s.get("/nothing")
        line = s.wait_log("http.request", request_id=refused.headers["X-Request-Id"])
        assert line["error"] == "not_found"
        assert client.secret not in s.stderr
    with jotd(database) as s:
        assert "X-Request-Id" not in ask().headers  # no log line would have it
        assert ask(**{"X-Request-Id": "abc"}).headers["X-Request-Id"] == "abc"


def test_a_client_id_is_cut_and_escaped(database, jotd):
    with jotd(database) as s:
        s.token(client_id='a"\n\x1b[31m' + "x" * 1000, client_secret="y")
        shown = s.wait_log("auth.refused")["client"]
        assert shown == ('a"\n\x1b[31m' + "x" * 1000)[:64]
        assert "\x1b" not in s.stderr


def test_many_refusals_are_some_lines_and_their_number(database, jotd):
    with jotd(database) as s, s.connect() as connection:
        form = "grant_type=client_credentials&client_id=nobody&client_secret=x"
        request = (f"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-"
                   f"urlencoded\r\nContent-Length: {len(form)}\r\n\r\n{form}").encode()
        for _ in range(200):
            connection.sendall(request)
            assert b" 401 " in connection.recv(4096) or b" 429 "
        told = until(lambda: [line["lines"] for line in s.log
                              if line["event"] == "auth.suppressed"])
        until(lambda: len(refusals(s)) + sum(line["lines"] for line in s.log if
                                             line["event"] == "auth.suppressed") == 200)
        assert told[0] > 0
        assert s.metric("jotd_auth_failures_total") == 200


# Its level

def test_the_level_is_read_again_on_sighup(database, jotd, tmp_path):
    level = tmp_path / "level"
    level.write_text("error\n")
    with jotd(database, log_level_file=level, log_level="info") as s:
        s.wait_log("log.level")
        assert [line["event"] for line in s.log] == ["log.level"]

        level.write_text("debug")
        s.process.send_signal(signal.SIGHUP)
        s.wait_log("log.level", **{"from": "error", "to": "debug"})

        level.write_text("loud\n")
        s.process.send_signal(signal.SIGHUP)
        assert s.wait_log("log.level_file")["path"] == str(level)
        s.wait_log("log.level", **{"from": "debug", "to": "info"})

        level.unlink()
        s.process.send_signal(signal.SIGHUP)
        until(lambda: len([line for line in s.log if line["event"] == "log.level_file"]) == 2)
        assert len([line for line in s.log if line["event"] == "log.level"]) == 3


# A reader that does not read

def flood(s, client):
    """Sends requests until log lines are lost."""
    with Load([s], client) as load:
        until(lambda: s.metric("jotd_log_dropped_total") > 100, timeout=60, interval=0.2)
        load.progress(200)
    assert (load.broken, set(load.statuses)) == (0, {200})


@pytest.mark.parametrize("workers", [1, 2])
def test_a_log_that_nobody_reads_stops_nothing(database, jotd, workers):
    client = database.client(tier="unlimited")
    with pipe() as (reader, writer), jotd(
            database, workers=workers, access_log="all", log_pipe=writer) as s:
        flood(s, client)
        dropped = s.metric("jotd_log_dropped_total")

        received = bytearray()

        def told():
            received.extend(os.read(reader, 1 << 16))
            return b"log.dropped" in received and received.endswith(b"}\n")

        until(told, interval=0, timeout=30)
        lines = [json.loads(line) for line in received.splitlines()]
        told = [line["lines"] for line in lines if line["event"] == "log.dropped"]
        assert sum(told) >= dropped

        flood(s, client)
        start = time.monotonic()
        assert s.stop() == 0  # even though there is no room for its last lines
        assert time.monotonic() - start < 6


def test_the_commands_wait_for_their_reader(database):
    """Nothing is lost, however slowly it is read."""
    with pipe() as (reader, writer):
        os.write(writer, b"x" * 4096)  # now it is full
        with open(os.devnull, "wb") as null:
            process = spawn([binary(), "config", "check"], stdout=null, stderr=writer,
                            env=clean_environment(DATABASE_URL="postgresql://127.0.0.1:1/x",
                                                  JOTD_WORKER="1"))
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            assert os.read(reader, 4096) == b"x" * 4096
            assert process.wait(20) == 0
            assert b"config.unknown" in os.read(reader, 4096)
