"""Requests that never end: whatever anyone sends, the process stays within its memory, good clients
get their tokens meanwhile, and the memory is returned afterwards."""

import contextlib
import os
import pathlib
import re
import resource
import select
import socket
import threading
import time
import types

import pytest
import yaml

from harness import Load, until
from harness.process import ROOT

KIB = 1024
MIB = 1024 * 1024
HEAD = b"POST /token HTTP/1.1\r\nHost: jotd\r\n"
CONNECTIONS = 9500  # of the 10,000 that jotd accepts
AFTERWARDS = 24 * MIB  # the most that may remain after a flood


# What is sent

def head(size):
    return HEAD + b"X-Padding: " + b"x" * (size - len(HEAD) - 11)


def body(size, declared, headers=b""):
    start = HEAD + headers + b"Content-Length: %d\r\n\r\n" % declared
    return start + b"y" * (size - len(start))


def chunk_with_an_extension(size):
    """An extension that the server reads and discards: only its buffer is held."""
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;" + b"x" * size


def headers(count, length):
    return b"".join(b"X-%d: %s\r\n" % (number, b"z" * length) for number in range(count))


class Flood:
    """with Flood(server, 9500, data) as flood: opens that many connections. Each sends as much of
    `data` as the server takes and then waits; a closed one is reopened."""

    def __init__(self, server, count, data, reads=True):
        host, _, port = server.listen.rpartition(":")
        self.address = (host, int(port))
        self.count = count
        self.data = memoryview(data)
        self.reads = select.EPOLLIN if reads else 0
        self.sockets = {}  # by descriptor
        self.sent = {}  # bytes, by descriptor
        self.opened = 0
        self.poll = select.epoll()
        self.stopping = threading.Event()
        self.failure = None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        for connection in self.sockets.values():
            connection.close()
        self.poll.close()
        assert self.failure is None, self.failure

    def open(self):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(self.address)
        self.sockets[connection.fileno()] = connection
        self.sent[connection.fileno()] = 0
        self.poll.register(connection, self.reads | select.EPOLLOUT)
        self.opened += 1

    def close(self, fd):
        self.poll.unregister(fd)
        self.sockets.pop(fd).close()

    def serve(self, fd, events):
        connection = self.sockets[fd]
        try:
            if events & select.EPOLLOUT:
                self.sent[fd] += connection.send(self.data[self.sent[fd]:])
                if self.sent[fd] == len(self.data):
                    self.poll.modify(fd, self.reads)
            if events & ~select.EPOLLOUT and not connection.recv(65536):
                self.close(fd)
        except BlockingIOError:
            pass
        except OSError:
            self.close(fd)

    def run(self):
        try:
            while not self.stopping.is_set():
                for _ in range(min(self.count - len(self.sockets), 200)):
                    self.open()
                for fd, events in self.poll.poll(0.05, 256):
                    self.serve(fd, events)
        except Exception as error:
            self.failure = error
            raise

    def has_arrived(self):
        """Every connection has sent all its data, or as many again were opened in place of closed
        ones."""
        return self.failure or self.opened >= self.count and all(
            self.sent[fd] == len(self.data) for fd in list(self.sockets)) or (
                self.opened >= 2 * self.count)


class InTwoPieces(Load):
    """Good clients whose body arrives a moment after the head."""

    def send(self, connection, request):
        at = request.index(b"\r\n\r\n") + 4
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request[:at])
        time.sleep(0.01)
        connection.sendall(request[at:])


# What is measured

def memory(server, field):
    """VmRSS, or VmHWM, its peak."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) * KIB


def flood(server, client, count, data, reads=True):
    """Floods while good clients keep getting tokens; returns the largest buffered size seen."""
    most = 0
    with Load([server], client, threads=1, per_connection=10) as whole, \
            InTwoPieces([server], client, threads=1, per_connection=10) as pieces, \
            Flood(server, count, data, reads) as attack:
        def progress():
            nonlocal most
            assert server.process.poll() is None, "jotd was killed"
            most = max(most, server.metric("jotd_http_buffered_bytes"))
            return attack.has_arrived() and min(len(whole.jtis), len(pieces.jtis)) >= 30
        until(progress, timeout=60, interval=0.2)
    for load in (whole, pieces):
        assert set(load.statuses) == {200}
        assert load.broken == 0
    until(lambda: server.metric("jotd_http_connections") <= 1, timeout=60)
    assert server.metric("jotd_http_buffered_bytes") == 0
    return most


@pytest.fixture(scope="module", autouse=True)
def descriptors():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < CONNECTIONS + 1000:
        pytest.skip(f"{CONNECTIONS} connections take more than the {most} files that one may open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def container_limit():
    """The container's memory limit in deploy/kubernetes, in bytes."""
    for document in yaml.safe_load_all((ROOT / "deploy/kubernetes/statefulset.yaml").read_text()):
        limits = document["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        return int(re.fullmatch(r"(\d+)Mi", limits["memory"])[1]) * MIB


def make_cgroup(directory, limit):
    directory.mkdir()
    try:
        if (directory / "memory.limit_in_bytes").exists():
            (directory / "memory.limit_in_bytes").write_text(str(limit))
        else:
            (directory / "memory.max").write_text(str(limit))
            (directory / "memory.swap.max").write_text("0")
    except OSError:
        directory.rmdir()
        raise


def own_cgroups():
    """Where a memory cgroup may be created: below our own, otherwise below the root."""
    mount = pathlib.Path("/sys/fs/cgroup")
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield from (mount / "memory" / path.lstrip("/"), mount / "memory")
        elif controllers == "":
            yield from (mount / path.lstrip("/"), mount)


@pytest.fixture
def cgroup(shared):
    """A cgroup with the container's memory limit."""
    if shared.is_sanitized:
        pytest.skip("a sanitizer needs memory of its own")
    problems = []
    for parent in own_cgroups():
        directory = parent / f"jotd-test-{os.getpid()}"
        try:
            make_cgroup(directory, container_limit())
            break
        except OSError as error:
            problems.append(str(error))
    else:
        pytest.skip(f"no cgroup for memory can be made here: {'; '.join(problems)}")
    yield str(directory)
    until(lambda: directory.rmdir() is None)


@pytest.mark.parametrize("count, data", [
    (CONNECTIONS, head(54 * KIB)),
    (700, body(1_000_000, MIB)),
    (1500, head(371 * KIB)),
    (CONNECTIONS, head(15 * KIB)),
    (CONNECTIONS, body(8000, 60_000, headers(95, 60))),
    (CONNECTIONS, chunk_with_an_extension(70_000)),
], ids=["heads of 54 KiB", "bodies of 1 MB", "heads of 371 KiB", "heads of 15 KiB",
        "headers of bodies to come", "chunks with extensions"])
def test_a_flood_in_a_container(database, jotd, cgroup, count, data):
    client = database.client(tier="unlimited")
    limit = container_limit()
    with jotd(database, cgroup=cgroup, workers=2) as s:
        assert s.metric("jotd_http_buffered_max_bytes") == limit / 4
        s.access_token(client)
        before = memory(s, "VmRSS")
        flood(s, client, count, data)
        assert memory(s, "VmHWM") < limit / 2
        until(lambda: memory(s, "VmRSS") < before + AFTERWARDS)


@pytest.mark.parametrize("data", [
    head(15 * KIB), body(60 * KIB, 64 * KIB), chunk_with_an_extension(70_000),
], ids=["heads", "bodies", "chunks with extensions"])
def test_a_flood_over_a_budget(database, jotd, data):
    client = database.client(tier="unlimited")
    budget = 16 * MIB
    with jotd(database, memory_budget=budget, workers=2) as s:
        s.access_token(client)
        before = memory(s, "VmRSS")
        assert budget / 2 < flood(s, client, 2000, data) <= 2 * budget
        s.wait_log("connections.over_budget")
        if not s.is_sanitized:
            assert memory(s, "VmHWM") < before + 2 * budget + 2000 * 16 * KIB
            until(lambda: memory(s, "VmRSS") < before + AFTERWARDS)


def is_open(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_the_largest_request_goes_first(database, jotd):
    """From whichever worker; the small ones are left alone."""
    client = database.client(tier="unlimited")
    with jotd(database, memory_budget=MIB, workers=2) as s, contextlib.ExitStack() as stack:
        def send(data):
            connection = stack.enter_context(s.connect())
            connection.sendall(data)
            return connection

        def hold(size):
            until(lambda: s.metric("jotd_http_buffered_bytes") >= size)

        medium = [send(body(17 * KIB, 64 * KIB)) for _ in range(10)]
        hold(10 * 32 * KIB)
        large = send(body(60 * KIB, 64 * KIB))
        hold(10 * 32 * KIB + 64 * KIB)
        small = [send(b"POST /tok") for _ in range(80)]
        until(lambda: not is_open(large))
        assert all(is_open(connection) for connection in medium + small)
        small += [send(b"POST /tok") for _ in range(40)]
        until(lambda: not all(is_open(connection) for connection in medium))
        assert all(is_open(connection) for connection in small)
        # What was condemned counts until its worker, perhaps the other one, has freed it.
        until(lambda: s.metric("jotd_http_buffered_bytes") <= MIB)
        with s.connect() as slow:
            whole = s.token_request(client)
            slow.sendall(whole[:-5])
            until(lambda: s.metric("jotd_http_connections") > len(small))
            assert is_open(slow)
            slow.setblocking(True)
            slow.sendall(whole[-5:])
            assert slow.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_requests_that_wait_for_their_client_count_too(database, jotd):
    """They are complete, but large, and the database is slow."""
    client = database.client(tier="unlimited")
    form = "grant_type=client_credentials&x=" + "y" * 16_000
    with jotd(database, memory_budget=4 * MIB) as s:
        s.access_token(client)
        data = [
            s.token_request(types.SimpleNamespace(id=f"nobody{number}", secret=client.secret),
                            form, headers=f"X-Large: {'x' * 15_000}\r\n")
            for number in range(400)
        ]
        before = memory(s, "VmHWM")
        with database.locked(), contextlib.ExitStack() as stack:
            for whole in data:
                stack.enter_context(s.connect()).sendall(whole)
            until(lambda: any(line["event"] == "connections.over_budget" for line in s.log))
            assert s.metric("jotd_http_buffered_bytes") <= 8 * MIB
            s.access_token(client)
        if not s.is_sanitized:
            assert memory(s, "VmHWM") < before + 16 * MIB
        until(lambda: s.metric("jotd_http_connections") <= 1)
        assert s.metric("jotd_http_buffered_bytes") == 0
        s.access_token(client)


def test_requests_without_end_from_clients_that_never_read(database, jotd):
    """The server reads no further than the current request and what arrived with it."""
    client = database.client(tier="unlimited")
    data = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 10_000
    with jotd(database, workers=2) as s:
        s.access_token(client)
        before = memory(s, "VmHWM")
        flood(s, client, 1000, data, reads=False)
        if not s.is_sanitized:
            assert memory(s, "VmHWM") < before + 1000 * 32 * KIB
