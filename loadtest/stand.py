"""What load tests and the bench are built on: their own database on the servers named by
DATABASE_URL and REDIS_URL, and jotd as the tests start it."""

import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import psycopg2  # noqa: E402
import redis  # noqa: E402

import harness  # noqa: E402
from harness.process import free_port, run_jotd, spawn, until  # noqa: E402

DATABASE = "jotd_load"
REDIS_DATABASE = 1  # ./dev run uses 0
LIBC = ctypes.CDLL(None, use_errno=True)


def begin():
    """Selects the release build, and makes SIGTERM unwind like an exception."""
    os.environ.setdefault("JOTD_BIN", str(ROOT / "build" / "jotd"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def complain(why):
    """Exits with a message."""
    sys.exit(f"loadtest: {why}")


def environment(name):
    try:
        return os.environ[name]
    except KeyError:
        complain(f"{name} is not set; start this by ./dev, or see loadtest/README.md")


@contextlib.contextmanager
def database(name=DATABASE):
    """The URL of a new database with this jotd's schema, dropped at the end."""
    url = urllib.parse.urlsplit(environment("DATABASE_URL"))
    own = url._replace(path=f"/{name}").geturl()

    def drop(*then):
        with contextlib.closing(psycopg2.connect(url.geturl())) as connection:
            connection.autocommit = True
            for sql in (f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", *then):
                connection.cursor().execute(sql)

    drop(f"CREATE DATABASE {name}")
    try:
        run_jotd("migrate", env={"DATABASE_URL": own})
        yield own
    finally:
        drop()


@contextlib.contextmanager
def redis_database():
    """The URL of a Redis database, emptied before and after."""
    url = urllib.parse.urlsplit(environment("REDIS_URL"))._replace(path=f"/{REDIS_DATABASE}")
    with redis.from_url(url.geturl()) as connection:
        connection.flushdb()
        try:
            yield url.geturl()
        finally:
            connection.flushdb()


@contextlib.contextmanager
def on_processors(numbers):
    """What is started inside runs only on these processors."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, numbers)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def server_threads():
    """Thread ids of PostgreSQL and Redis."""
    with contextlib.closing(psycopg2.connect(environment("DATABASE_URL"))) as connection:
        backend = pathlib.Path(f"/proc/{connection.info.backend_pid}/stat").read_text()
    postmaster = int(backend.rpartition(")")[2].split()[1])
    children = pathlib.Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    with redis.from_url(environment("REDIS_URL")) as connection:
        redis_server = connection.info("server")["process_id"]
    for pid in (redis_server, postmaster, *children):
        with contextlib.suppress(FileNotFoundError):  # a connection that has ended
            yield from (int(task.name) for task in pathlib.Path(f"/proc/{pid}/task").iterdir())


@contextlib.contextmanager
def servers_on(numbers):
    """PostgreSQL and Redis run only on these processors."""
    allowed = {}
    for thread in server_threads():
        with contextlib.suppress(ProcessLookupError):
            allowed[thread] = os.sched_getaffinity(thread)
            os.sched_setaffinity(thread, numbers)
    try:
        yield
    finally:
        for thread in allowed.keys() | set(server_threads()):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, allowed.get(thread, os.sched_getaffinity(0)))


@contextlib.contextmanager
def binary(path):
    """What is started inside is that jotd."""
    usual = os.environ["JOTD_BIN"]
    os.environ["JOTD_BIN"] = str(path)
    try:
        yield
    finally:
        os.environ["JOTD_BIN"] = usual


@contextlib.contextmanager
def jotd(database_url, redis_url, processors, **settings):
    """jotd as the tests start it, on these processors."""
    with contextlib.ExitStack() as stack:
        with on_processors(processors):
            server = stack.enter_context(
                harness.jotd(database_url, redis_url=redis_url, **settings))
        yield server


def wait_for_port(port):
    """Waits until something listens there."""
    until(lambda: socket.create_connection(("127.0.0.1", port), timeout=1).close() or True)


def cpu_seconds(pid):
    """User and system time of all threads of a process, including those that have ended."""
    clock = ctypes.c_int()
    if LIBC.clock_getcpuclockid(pid, ctypes.byref(clock)) != 0:
        raise ProcessLookupError(pid)
    return time.clock_gettime(clock.value)


def thread_seconds(pid, name):
    """User and system time of the living threads with that name."""
    nanoseconds = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has ended
            if (task / "comm").read_text().rstrip() == name:
                nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def resident_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def versions():
    """Versions of what was measured, for the record."""
    def package(name):
        return subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], check=True, text=True,
                              capture_output=True).stdout

    model = pathlib.Path("/proc/cpuinfo").read_text().partition("model name")[2]
    return {
        "processor": f"{model.partition(': ')[2].splitlines()[0]}, {len(os.sched_getaffinity(0))} "
                     "of it",
        "kernel": os.uname().release,
        "OpenSSL": package("libssl3"),
        "libh2o-evloop": package("libh2o-evloop0.13"),
        "libjwt": package("libjwt0"),
    }
