"""Fixtures: servers for the whole session, databases and jotd for one test."""

import contextlib
import functools
import pathlib
import shutil
import signal
import tempfile

import pytest

import harness
from harness.process import run_jotd
from harness.services import Databases


def pytest_configure(config):
    def stop(*_):
        raise KeyboardInterrupt

    # SIGTERM runs the finalizers, as Ctrl-C does, even where a parent process ignores these
    # signals.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


@pytest.fixture(scope="session")
def directory():
    """A directory that PostgreSQL's user can enter, removed at the end."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="jotd-tests-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def running(service):
    service.start()
    try:
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="session")
def postgres(directory):
    home = directory / "postgres"
    home.mkdir()
    yield from running(harness.PostgreSQL(home))


@pytest.fixture(scope="session")
def redis_server(directory):
    home = directory / "redis"
    home.mkdir()
    yield from running(harness.Redis(home))


@pytest.fixture(scope="session")
def databases(postgres):
    return Databases(postgres)


@pytest.fixture
def fresh_database(databases):
    with databases.empty() as database:
        yield database


@pytest.fixture
def database(databases):
    """A new database with this jotd's schema."""
    with databases.migrated() as database:
        yield database


@pytest.fixture(scope="session")
def jotd_cli():
    """jotd_cli("key", "list", env={...}) runs one command; check=False allows any exit status."""
    return run_jotd


@pytest.fixture(scope="session")
def jotd(redis_server):
    """with jotd(database, workers=1, token_ttl=60) as s: s.token(client)"""
    return functools.partial(harness.jotd, redis_url=redis_server.url)


@pytest.fixture(scope="module")
def shared(databases, jotd):
    """One server and database for all tests of a file; the tests must not change either."""
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(databases.migrated())
        server = stack.enter_context(jotd(database))
        server.database = database
        yield server
