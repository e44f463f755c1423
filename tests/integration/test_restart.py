"""One process replaces another while clients keep asking: nothing fails.

The clients are wrk's, fast enough to hit the instant in which a socket is closed: some open a
connection for each request, some keep theirs until an answer says `Connection: close`. A refused or
cut connection is a failure, and so is any answer but a token.
"""

import base64
import contextlib
import fcntl
import re
import signal
import socket
import subprocess
import time

import pytest

from harness import Redis, until
from harness.process import free_port, held, run_jotd, spawn

RESTARTS = 10
SCRIPT = """
wrk.method = "POST"
wrk.body = "grant_type=client_credentials"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.headers["Authorization"] = "Basic {credentials}"
{more}
"""


@pytest.fixture
def client(database):
    return database.client(tier="unlimited")


@contextlib.contextmanager
def wrk(server, client, directory, more=""):
    credentials = base64.b64encode(f"{client.id}:{client.secret}".encode()).decode()
    script = directory / f"{len(more)}.lua"
    script.write_text(SCRIPT.format(credentials=credentials, more=more))
    process = spawn(["wrk", "-t1", "-c8", "-d300", "--timeout", "30", "-s", script,
                     f"{server.url}/token"], stdout=subprocess.PIPE, text=True)
    try:
        yield
        process.send_signal(signal.SIGINT)  # it ends with its report
        said = process.communicate(timeout=60)[0]
        assert int(re.search(r"(\d+) requests in", said)[1]) > 100, said
        assert "Socket errors" not in said and "Non-2xx" not in said, said
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def asking(server, client, directory):
    with wrk(server, client, directory, 'wrk.headers["Connection"] = "close"'):
        with wrk(server, client, directory):
            yield


def is_serving(server):
    until(lambda: server.metric("jotd_tokens_issued_total") > 200, timeout=60)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_next_process_listens_before_the_last_one_drains(
        database, jotd, client, tmp_path, workers):
    """Both have sockets at one address, and the kernel is told which to use."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(jotd(database, workers=workers))
        with asking(server, client, tmp_path):
            for _ in range(RESTARTS):
                is_serving(server)
                following = stack.enter_context(
                    jotd(database, workers=workers, listen=server.listen, ready=False))
                following.wait_log("schema.verified", timeout=30)
                assert server.stop() == 0
                server = following
            is_serving(server)


def test_the_later_process_leaves(database, jotd, client, tmp_path):
    """As after a failed update. It does not know its place among the sockets, so a client that
    connects in that moment may wait a second, but is not refused."""
    with jotd(database, workers=2) as server:
        server.wait_log("schema.verified", timeout=30)
        with asking(server, client, tmp_path):
            for _ in range(3):
                with jotd(database, workers=2, listen=server.listen, ready=False) as later:
                    later.wait_log("schema.verified", timeout=30)
                    is_serving(server)
                    assert later.stop() == 0


def test_what_the_kernel_was_told_does_not_outlive_the_process(database, jotd, client):
    """Otherwise the next process to listen would get all connections at once."""
    def own(**settings):
        return jotd(database, ready=False, log_level="debug", metrics_listen=f"[::1]:{free_port()}",
                    **settings)

    with own() as first:
        with own(listen=first.listen) as second:
            second.wait_log("schema.verified", timeout=30)
            assert first.stop() == 0
            second.wait_log("serve.alone", address=first.listen)
            with own(listen=first.listen) as third:
                third.wait_log("schema.verified", timeout=30)

                def both_issue():
                    assert third.token(client).status_code == 200
                    return all(s.metric("jotd_tokens_issued_total") for s in (second, third))

                until(both_issue)


# Sockets held by the service manager

@pytest.fixture
def listening():
    """listening() makes a listening socket with a high number."""
    with contextlib.ExitStack() as stack:
        def make():
            made = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096))
            return stack.enter_context(socket.socket(fileno=fcntl.fcntl(
                made.fileno(), fcntl.F_DUPFD_CLOEXEC, 100)))

        yield make


def address_of(listener):
    return "%s:%d" % listener.getsockname()


@pytest.mark.parametrize("workers", [1, 2])
def test_sockets_that_are_handed_over(database, jotd, client, tmp_path, listening, workers):
    """The processes do not overlap: connections that arrive in between wait."""
    public, metrics = listening(), listening()
    options = {"workers": workers, "sockets": [public, metrics], "listen": address_of(public),
               "metrics_listen": address_of(metrics)}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(jotd(database, **options))
        with asking(server, client, tmp_path):
            for _ in range(RESTARTS):
                is_serving(server)
                assert server.stop() == 0
                server = stack.enter_context(jotd(database, **options))
            is_serving(server)
        assert server.get("/metrics").status_code == 404  # it has an address of its own


def test_a_socket_is_for_metrics_by_its_name(database, jotd, listening):
    metrics, public = listening(), listening()
    with jotd(database, sockets=[metrics, public], listen=address_of(public),
              metrics_listen=address_of(metrics), environ={"LISTEN_FDNAMES": "metrics:jotd"}) as s:
        assert s.ready().status_code == 200
        assert s.get("/ready").status_code == 404
        assert s.get("/.well-known/jwks.json").status_code == 200


def test_a_socket_at_another_port_than_is_set_is_told(database, jotd, listening):
    public, metrics = listening(), listening()
    with jotd(database, sockets=[public, metrics], listen=f"127.0.0.1:{free_port()}",
              metrics_listen=address_of(metrics)) as s:
        told = s.wait_log("serve.other_address")
        assert (told["setting"], told["value"]) == ("JOTD_LISTEN", s.listen)
        assert len([line for line in s.log if line["event"] == told["event"]]) == 1


@pytest.mark.parametrize("count, settings, said", [
    (2, {}, "JOTD_METRICS_LISTEN"),
    (3, {"metrics_listen": "127.0.0.1:1"}, "at most one"),
])
def test_sockets_that_nobody_asked_for_stop_the_start(
        database, jotd, listening, count, settings, said):
    with pytest.raises(AssertionError, match=f"(?s)jotd has ended.*{said}"):
        with jotd(database, sockets=[listening() for _ in range(count)], **settings):
            pass


# What the service manager is told

class Manager:
    """Receives the datagrams of sd_notify(3)."""

    def __init__(self, listener, path):
        self.listener = listener
        self.environ = {"NOTIFY_SOCKET": path}

    def told(self):
        """The next datagram as a dict of its lines."""
        return dict(line.split("=", 1) for line in self.listener.recv(4096).decode().splitlines())

    def wait_status(self, begin):
        """Skips everything before a status that begins like this."""
        while not self.told().get("STATUS", "").startswith(begin):
            pass


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        path = str(tmp_path / "notify")
        listener.bind(path)
        listener.settimeout(20)
        yield Manager(listener, path)


def test_the_service_manager_is_told(database, jotd, manager):
    with jotd(database, environ=manager.environ) as s:
        told = manager.told()
        assert told["READY"] == "1"
        assert s.listen in told["STATUS"]
        manager.wait_status("Serving (")

        before = time.monotonic_ns() // 1000
        s.process.send_signal(signal.SIGHUP)
        told = manager.told()
        assert told["RELOADING"] == "1"
        assert before <= int(told["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        assert manager.told()["READY"] == "1"

        s.process.send_signal(signal.SIGTERM)
        assert manager.told()["STOPPING"] == "1"
        assert s.wait() == 0


def test_the_service_manager_is_told_that_no_token_can_be_issued(
        databases, jotd, manager, tmp_path):
    """And other conditions, in words."""
    home = tmp_path / "redis"
    home.mkdir()
    redis = Redis(home)
    redis.start()
    try:
        with databases.empty() as database:
            with jotd(database, redis_url=redis.url, environ=manager.environ, keys=False,
                      ready=False) as s:
                manager.wait_status("No token can be issued: there is no active signing key (")
                s.create_key()
                manager.wait_status("No token can be issued: PostgreSQL was not reached yet")
                database.cli("migrate")
                manager.wait_status("Serving (")
                redis.stop()
                manager.wait_status("Serving, without Redis (")
                redis.start()
                manager.wait_status("Serving (")
    finally:
        redis.stop()


def test_the_watchdog_is_told_while_every_loop_turns(database, jotd, manager):
    client = database.client(tier="unlimited")

    def alive():
        while manager.told() != {"WATCHDOG": "1"}:
            pass

    def assert_silent():
        """For longer than systemd would wait, after earlier messages are drained."""
        for seconds, silence in (0, BlockingIOError), (2.5, TimeoutError):
            manager.listener.settimeout(seconds)
            with pytest.raises(silence):
                while alive() is None:
                    pass
        manager.listener.settimeout(20)

    environ = {**manager.environ, "WATCHDOG_USEC": "2000000"}
    with jotd(database, workers=2, environ=environ) as s:
        for _ in range(3):
            alive()
        with held(s.process.pid, "ledger"):  # it may wait for PostgreSQL
            for _ in range(3):
                alive()
        for number in "01":
            with held(s.process.pid, f"worker {number}"):
                s.wait_log("worker.stuck", worker=int(number))
                assert_silent()
            alive()
        with s.stopped():
            assert_silent()
        alive()
        assert s.token(client).status_code == 200


def test_a_start_that_fails_is_not_ready(database, manager, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = run_jotd("serve", check=False, env={
            "DATABASE_URL": database.url, "JOTD_KEYS_DIR": str(tmp_path),
            "JOTD_SPOOL_DIR": str(tmp_path / "spool"), "JOTD_LISTEN": address_of(other),
            **manager.environ})
    assert done.returncode == 1
    manager.listener.settimeout(0)
    with pytest.raises(BlockingIOError):
        while True:
            assert "READY" not in manager.told()


def test_a_second_process_at_the_address_says_so(database, jotd):
    listen = f"127.0.0.1:{free_port()}"
    with jotd(database, listen=listen) as first, jotd(database, listen=listen) as second:
        told = second.wait_log("serve.joined")
        assert (told["address"], told["sockets"]) == (listen, 1)
        assert not [line for line in first.log if line["event"] == "serve.joined"]
