"""What the load tests are built on, and the smallest of them."""

import stat
import sys
import time
import types

import pytest

from harness import Load, long_test, recorded, until
from harness.process import ROOT

sys.path.insert(0, str(ROOT / "loadtest"))
import load  # noqa: E402
import seed  # noqa: E402

CLIENTS = 100


@pytest.fixture(scope="module")
def credentials(shared, tmp_path_factory):
    path = tmp_path_factory.mktemp("load") / "credentials"
    seed.seed(shared.database.owner_url, path, clients=CLIENTS, free=10)
    return path


def test_seeded_clients_get_tokens(shared, credentials):
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    lines = [line.split("\t") for line in credentials.read_text().splitlines()]
    assert len({client_id for client_id, _, _ in lines}) == CLIENTS
    for client_id, secret, tier in (lines[0], lines[-1]):
        client = types.SimpleNamespace(id=client_id, secret=secret)
        assert shared.token(client).status_code == 200
        shown = shared.database.cli("client", "show", client_id).stdout
        assert tier in shown
        assert shared.token(types.SimpleNamespace(id=client_id, secret=lines[1][1])
                            ).status_code == 401
    assert [tier for _, _, tier in lines].count("free") == 10


@long_test
def test_soak(database, jotd):
    """A minute of load with everything on: every token is recorded, and memory does not grow."""
    clients = [database.client(tier="unlimited") for _ in range(20)]
    with jotd(database, workers=2, batch_rows=200) as s:
        with Load([s], clients) as soaked:
            soaked.progress(2000)
            before = s.metric("process_resident_memory_bytes")
            end = time.monotonic() + 60
            until(lambda: soaked.failure or time.monotonic() > end, timeout=70)
            grown = s.metric("process_resident_memory_bytes") - before
        assert set(soaked.statuses) == {200} and soaked.broken == 0
        assert s.stop() == 0
        assert soaked.jtis == recorded(database)
    assert s.is_sanitized or grown < 5 * 1024 * 1024


def test_smoke(shared, credentials):
    k6 = load.find_k6()
    if k6 is None:
        pytest.skip("no k6 on PATH or in .local/bin: `./dev load smoke` builds it where Go is")
    # Its thresholds are times: a busy machine may miss them once.
    assert any(load.run_k6(k6, shared, credentials, "smoke", "ES256", load.SMOKE_RATE, seconds=5)
               for _ in range(2))
