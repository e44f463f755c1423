"""What an operator sees: start, readiness, keys, metrics, log, drain and signals."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.parse

import jwt as pyjwt
import pytest

from harness import recorded, small_disk, until
from harness.keys import write_rsa_key
from harness.process import binary, clean_environment, free_port, has_sanitizer, run_jotd
from harness.proxy import TlsProxy, self_signed
from harness.server import MARGIN, receive
from harness.services import Standby
from harness.wire import take_answer


@contextlib.contextmanager
def keep_alive(s, count):
    """Open connections that have been used once."""
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = http.client.HTTPConnection(urllib.parse.urlsplit(s.url).netloc, timeout=10)
            stack.callback(connection.close)
            connections.append(connection)
            ask(connection, "GET", "/health")
        yield connections


def ask(connection, method, path, body=None, headers=None):
    """One request on a connection, which stays open; the answer has .body."""
    connection.auto_open = 0 if connection.sock else 1  # never a new connection behind our back
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    answer.body = answer.read()
    return answer


def start_fails(**environment):
    """The log of a `jotd serve` that must fail to start."""
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
    ("JOTD_CORS_ORIGINS", "https://a.example/", "no path"),
    ("JOTD_DRAIN_TIMEOUT", "ten", "1"),
    ("JOTD_LOG_LEVEL", "loud", "info"),
    ("JOTD_LOG_FORMAT", "xml", "json"),
    ("JOTD_KEYS_DIR", "/keys\n", "white space"),
    ("JOTD_WORKERS", "1\n", "auto"),
    ("DATABASE_URL", "mysql://localhost/x", "scheme is mysql://"),
    ("DATABASE_URL", "jdbc:postgresql://localhost/x", "postgresql://"),
    ("DATABASE_URL", "postgresql://127.0.0.1/x\n", "white space"),
    ("DATABASE_URL", "postgresql://127.0.0.1/x?pgbouncer=true", "parameter pgbouncer"),
    ("REDIS_URL", "rediss://127.0.0.1", "scheme is rediss://"),
    ("REDIS_URL", "redis://127.0.0.1\n", "white space"),
])
def test_a_bad_value_stops_the_start(name, value, allowed):
    said = start_fails(**{"DATABASE_URL": "postgresql://127.0.0.1:1/x", name: value})
    assert name in said
    assert allowed in said
    if not name.endswith("_URL"):  # it may hold a password
        assert value.strip() in said
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


@pytest.mark.parametrize("proxies", ["0.0.0.0/0", "::/0", "10.0.0.1,64.0.0.0/2"])
def test_trust_in_everyone_is_one_warning(database, jotd, proxies):
    with jotd(database, trusted_proxies=proxies) as s:
        warned = [line for line in s.log if line["event"] == "config.everyone_is_trusted"]
        assert [line["name"] for line in warned] == ["JOTD_TRUSTED_PROXIES"]
        assert "name the proxies" in warned[0]["reason"]


@pytest.mark.parametrize("host", ["localhost", ""])
def test_it_listens_at_what_people_write(database, jotd, host):
    port = free_port()
    with jotd(database, listen=f"{host}:{port}", metrics_listen=f"127.0.0.1:{free_port()}",
              issuer="https://id.example") as s:
        address = f"http://127.0.0.1:{port}/.well-known/jwks.json"
        assert s.request("GET", "", url=address).status_code == 200


@pytest.mark.parametrize("host, proxies, warns", [
    ("0.0.0.0", {}, True), ("0.0.0.0", {"trusted_proxies": "10.0.0.1"}, False),
    ("127.0.0.1", {}, False)])
def test_no_trust_in_proxies_is_one_warning_unless_on_loopback(database, jotd, host, proxies, warns):
    with jotd(database, listen=f"{host}:{free_port()}", issuer="https://id.example", **proxies) as s:
        warned = [line for line in s.log if line["event"] == "config.nobody_is_trusted"]
        assert [line["name"] for line in warned] == ["JOTD_TRUSTED_PROXIES"] * warns


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


@pytest.fixture
def locked_role(postgres):
    """A role that needs a password."""
    rules = postgres.data / "pg_hba.conf"
    before = rules.read_text()
    admin = postgres.connect("postgres")
    admin.autocommit = True
    with contextlib.closing(admin), admin.cursor() as cursor:
        cursor.execute("CREATE ROLE locked LOGIN SUPERUSER PASSWORD 'right'")
        rules.write_text("host all locked 127.0.0.1/32 scram-sha-256\n" + before)
        cursor.execute("SELECT pg_reload_conf()")
        yield "locked"
        rules.write_text(before)
        cursor.execute("SELECT pg_reload_conf()")
        cursor.execute("DROP ROLE locked")


def test_ready_tells_how_far_postgresql_was_reached(database, fresh_database, jotd, locked_role):
    def state(url):
        with jotd(url, ready=False) as s:
            return until(lambda: (state := s.ready().json()["postgres"]) not in (
                "ok", "down: never reached") and state)

    url = database.url.split("@")[1]
    for wrong in f"postgresql://{locked_role}:wrong@{url}", f"postgresql://{locked_role}@{url}":
        assert "password" in state(wrong)
    assert "schema" in state(fresh_database.url)
    with jotd(f"postgresql://127.0.0.1:{free_port()}/x", ready=False) as s:
        s.wait_log("pg.unreachable")
        assert s.ready().json()["postgres"] == "down: never reached"
    with jotd(f"postgresql://{locked_role}:right@{url}") as s:
        assert s.ready().json()["postgres"] == "ok"


def test_a_default_issuer_is_one_warning_and_another_host_one_more(database, jotd):
    client = database.client()
    with jotd(database) as s:
        assert s.wait_log("issuer.defaulted")["issuer"] == s.url
        assert s.token(client).status_code == 200
        assert s.get("/health", headers={"Host": "other"}).status_code == 200
        assert not [line for line in s.log if line["event"] == "issuer.other_host"]
        for _ in range(2):
            s.get("/.well-known/jwks.json", headers={"Host": "auth.example"})
        assert s.wait_log("issuer.other_host")["host"] == "auth.example"
        assert sum(line["event"] == "issuer.other_host" for line in s.log) == 1
    with jotd(database, issuer="https://id.example") as s:
        s.get("/.well-known/jwks.json", headers={"Host": "auth.example"})
        assert not [line for line in s.log if line["event"].startswith("issuer.")]


def test_without_a_key(database, jotd):
    """Not ready, no token; a key made later is found without a signal."""
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


def test_a_key_directory_that_everybody_may_write_to_stops_the_start(database, tmp_path):
    tmp_path.chmod(0o1777)
    said = start_fails(DATABASE_URL=database.url, JOTD_KEYS_DIR=str(tmp_path),
                       JOTD_LISTEN=f"127.0.0.1:{free_port()}")
    assert "everybody may write to the key directory" in said


def test_a_key_directory_that_others_may_write_to_later(database, jotd):
    """A key put there then is not loaded; the keys in memory stay in use."""
    client = database.client(tier="unlimited")
    with jotd(database) as s:
        s.keys_dir.chmod(0o707)
        s.create_key()
        assert "everybody may write" in s.wait_log("keys.unreadable")["reason"]
        assert len(s.jwks()["keys"]) == 1
        assert s.token(client).status_code == 200
        s.keys_dir.chmod(0o770)
        assert "its group may" in s.wait_log("keys.permissions")["reason"]
        until(lambda: len(s.jwks()["keys"]) == 2)


@pytest.mark.parametrize("command", ["list", "rotate", "prune"])
def test_a_key_directory_that_is_missing(tmp_path, command):
    """Most likely the path is wrong, so it is not created."""
    keys = tmp_path / "keys"
    done = run_jotd("key", command, env={"JOTD_KEYS_DIR": str(keys)}, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"cannot read the key directory {keys}: No such file or directory" in done.stderr
    assert "JOTD_KEYS_DIR" in done.stderr
    assert not keys.exists()


def test_a_key_beside_one_that_signs_says_when(tmp_path):
    env = {"JOTD_KEYS_DIR": str(tmp_path / "keys")}

    def create(*options, status=0):
        done = run_jotd("key", "create", *options, env=env, check=False)
        assert done.returncode == status, done.stderr
        return done

    def states():
        return [key["state"] for key in json.loads(run_jotd("key", "list", "--json", env=env).stdout)]

    done = create("--activate-in", "3600")
    (file,) = (tmp_path / "keys").iterdir()
    assert done.stdout.strip() == file.name[:43]
    assert done.stderr == f"jotd: made {file}\n"
    create()  # no key signs yet
    assert states() == ["signing", "next"]
    for options in [], ["--alg", "RS256", "--json"]:
        assert "give --activate-in SECONDS" in create(*options, status=1).stderr
    assert "exclude each other" in create("--now", "--activate-in", "1", status=2).stderr
    assert "exclude each other" in create("--activate-in", "1", "--now", status=2).stderr
    assert states() == ["signing", "next"]
    made = json.loads(create("--activate-in", "900", "--json").stdout)
    assert (tmp_path / "keys" / made["file"]).is_file()
    assert states() == ["signing", "next", "next"]
    until(lambda: time.time() >= made["activate_at"] - 899)  # within a second, names decide
    kid = create("--now").stdout.strip()
    listed = json.loads(run_jotd("key", "list", "--json", env=env).stdout)
    assert kid in [key["kid"] for key in listed if key["state"] == "signing"]


def test_a_key_is_written_whole_or_not_at_all(tmp_path):
    with small_disk(tmp_path / "disk", "4k") as disk:  # one page: one key
        disk.chmod(0o700)

        def key(*command, fails_with=None):
            done = run_jotd("key", *command, env={"JOTD_KEYS_DIR": str(disk)}, check=False)
            assert done.returncode == (0 if fails_with is None else 1)
            assert fails_with is None or f"{disk}: {fails_with}" in done.stderr
            return done.stdout

        kid = key("create").strip()
        key("create", "--now", fails_with="No space left on device")
        key("rotate", fails_with="No space left on device")
        assert [path.name[:43] for path in disk.iterdir()] == [kid]
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        key("rotate", fails_with="Read-only file system")
        assert json.loads(key("list", "--json"))[0]["state"] == "signing"


def test_keys_as_kubernetes_mounts_them(tmp_path):
    """A secret volume has mode 3777 and is read-only."""
    run_jotd("key", "create", env={"JOTD_KEYS_DIR": str(tmp_path)})
    tmp_path.chmod(0o3777)
    mount = f"mount --bind {tmp_path} {tmp_path} && mount -o remount,bind,ro {tmp_path}"
    inside = ["unshare", "--mount", "sh", "-c", mount + ' && exec "$@"', "sh"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("may not mount here")
    listing = [binary(), "key", "list"]
    env = clean_environment(JOTD_KEYS_DIR=str(tmp_path))
    assert subprocess.run(listing, env=env, capture_output=True, check=False).returncode == 1
    done = subprocess.run([*inside, *listing], env=env, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to others")
def test_a_key_that_kubernetes_gives_to_the_group_of_the_pod(directory):
    """Owned by root with mode 0440: jotd itself can read it, and nobody else."""
    keys = directory / "keys-of-a-pod"
    run_jotd("key", "create", env={"JOTD_KEYS_DIR": str(keys)})
    keys.chmod(0o755)
    (file,) = keys.iterdir()
    os.chown(file, 0, 54321)
    pod = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=54321"]

    def said(mode, *wrapper):
        file.chmod(mode)
        done = subprocess.run([*wrapper, binary(), "key", "list"], text=True, capture_output=True,
                              env=clean_environment(JOTD_KEYS_DIR=str(keys)), check=False)
        assert done.returncode == 0
        assert file.name[:43] in done.stdout
        return done.stderr

    assert said(0o440, *pod) == ""
    for warned in (said(0o444, *pod), said(0o460, *pod), said(0o440)):
        assert "key.permissions" in warned


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


def test_ready_means_that_the_first_request_is_served(database, jotd):
    """Never before the connection to PostgreSQL is usable."""
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
    url = database.url.replace("jotd_server@", "jotd_server:hunter2@")
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
    """Asks on an open connection until the answer says that the server is draining."""
    return until(lambda: (answer := ask(connection, "GET", "/ready")).status == 503 and answer)


def test_drain(database, jotd):
    """SIGTERM: requests on the wire are answered, then the process exits with 0."""
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
    f"{64 * 'a'}:PORT,127.0.0.1:PORT",  # a name that cannot exist
])
def test_hosts_of_the_database(database, jotd, hosts):
    # glibc resolves names in threads that ThreadSanitizer does not know.
    if has_sanitizer("tsan") and re.search("[a-z]", hosts):
        pytest.skip("needs a name")
    client = database.client()
    url = database.url.replace(f"127.0.0.1:{database.postgres.port}",
                               hosts.replace("PORT", str(database.postgres.port)))
    with jotd(url) as s:
        assert s.token(client).status_code == 200
        assert s.ready().json()["postgres"] == "ok"


@pytest.mark.parametrize("address, trusted, reason", [
    ("127.0.0.1", "it", None),
    ("192.0.2.1", "it", "does not match host name"),
    ("127.0.0.1", "another", "certificate verify failed"),
])
def test_postgresql_has_to_show_its_certificate(database, jotd, postgres, tmp_path, address, trusted,
                                                reason):
    """With sslmode=verify-full: issued by the given CA, for the host in the URL."""
    client = database.client()
    certificates = {"it": self_signed(tmp_path / "it.pem", address),
                    "another": self_signed(tmp_path / "another.pem", address)}
    with TlsProxy(postgres, certificates["it"]) as proxy:
        url = proxy.url(database).replace(
            "sslmode=require", f"sslmode=verify-full&sslrootcert={certificates[trusted]}")
        with jotd(url, ready=reason is None, batch_rows=1) as s:
            if reason is None:
                assert s.token(client).status_code == 200
                until(lambda: recorded(database))
            else:
                until(lambda: {line["event"] for line in s.log if reason in line.get("reason", "")}
                      >= {"pg.unreachable", "ledger.maintenance_failed"})
                assert s.token(client).status_code == 503
        done = database.cli("tier", "list", check=False, env={
            "DATABASE_URL": url.replace("jotd_server@", "jotd_owner@")})
        assert reason is None and done.returncode == 0 or reason in done.stderr


def test_a_standby_is_passed_over(database, jotd, postgres, directory):
    """Even if it is named first and accepts connections, like the old primary after a failover."""
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
        database.cli("client", "disable", client.id, env={
            "DATABASE_URL": url.replace("jotd_server@", "jotd_owner@")})
    finally:
        standby.stop()


def test_a_stop_while_more_is_granted_than_can_be_signed(database, jotd, tmp_path):
    """What is not signed in time is refused, and the process exits normally."""
    client = database.client(tier="unlimited")
    write_rsa_key(tmp_path / "slow", bits=4096)
    with jotd(database, keys=False, keys_dir=tmp_path / "slow", drain_timeout=1) as s, \
            contextlib.ExitStack() as stack:
        assert s.token(client).status_code == 200
        connections = [stack.enter_context(s.connect()) for _ in range(1500)]
        until(lambda: s.metric("jotd_http_connections") >= 1500)
        with s.stopped():
            for connection in connections:
                connection.sendall(s.token_request(client))
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


def test_a_storm_of_sighup_holds_no_end_up(database, jotd):
    """It costs one reload a second, and SIGTERM still works."""
    with jotd(database) as s:
        def reloads():
            return sum(line["event"] == "keys.loaded" for line in s.log)

        def storm():
            while s.process.poll() is None:
                s.process.send_signal(signal.SIGHUP)

        before, began = reloads(), time.monotonic()
        senders = [threading.Thread(target=storm) for _ in range(2)]
        for sender in senders:
            sender.start()
        until(lambda: reloads() >= before + 2)
        assert s.stop() == 0
        for sender in senders:
            sender.join()
        assert reloads() - before <= time.monotonic() - began + 2


def test_the_last_of_several_sighups_counts(database, jotd, directory):
    level = directory / "level"
    level.write_text("info")
    with jotd(database, log_level_file=level) as s:
        for word in ("warn", "error", "debug"):
            level.write_text(word)
            s.process.send_signal(signal.SIGHUP)
        s.wait_log("log.level", to="debug")


# The commands that query a server

def test_healthcheck(database, jotd):
    with jotd(database) as s:
        assert run_jotd("healthcheck", env=s.environment).returncode == 0
        s.stop()
        assert run_jotd("healthcheck", env=s.environment, check=False).returncode == 1
