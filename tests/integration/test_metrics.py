"""What /metrics reports about the process itself, and what a scrape costs."""

import contextlib
import time

from harness import until
from harness.server import receive
from harness.wire import take_answer


def grown(before, after, name):
    return after.value(name) - before.value(name)


def test_the_loop_is_busy_while_it_works_and_not_while_it_waits(database, jotd):
    client = database.client(tier="unlimited")
    with jotd(database) as s:
        start, before = time.monotonic(), s.metrics()

        def turns():
            """Its timers alone turn the loop ten times a second."""
            return grown(before, s.metrics(), "jotd_loop_lag_seconds_count") > 100

        until(turns, timeout=30, interval=0.2)
        after, elapsed = s.metrics(), time.monotonic() - start
        assert 0 < grown(before, after, "jotd_loop_lag_seconds_sum") < elapsed / 2

        with s.connect() as connection:
            for _ in range(500):
                connection.sendall(s.token_request(client))
                assert b" 200 OK" in connection.recv(4096)
        assert grown(after, s.metrics(), "jotd_loop_lag_seconds_sum") > grown(
            after, s.metrics(), "jotd_sign_duration_seconds_sum") > 0


def test_a_burst_is_signed_over_several_turns(database, jotd):
    """So that a turn does not get longer with the size of a burst."""
    client = database.client(tier="unlimited")
    with jotd(database, keys="RS256") as s, contextlib.ExitStack() as stack:
        assert s.token(client).status_code == 200
        connections = [stack.enter_context(s.connect()) for _ in range(200)]
        until(lambda: s.metric("jotd_http_connections") >= 200)
        before = s.metrics()
        with s.stopped():
            for connection in connections:
                connection.sendall(s.token_request(client))
        for connection in connections:
            assert take_answer(receive(connection, timeout=30, answers=1))[0].status == 200
        after = s.metrics()
        assert grown(before, after, "jotd_tokens_issued_total") == 200
        assert grown(before, after, "jotd_loop_lag_seconds_count") > 25


def test_open_descriptors_are_counted(database, jotd):
    with jotd(database) as s:
        until(lambda: 10 < s.metric("process_open_fds") < 90)
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(s.connect())
            until(lambda: 100 < s.metric("process_open_fds") < 200)
        until(lambda: s.metric("process_open_fds") < 90)


FAMILIES = """
jotd_build_info jotd_http_requests_total jotd_http_request_duration_seconds jotd_http_connections
jotd_http_buffered_bytes jotd_http_buffered_max_bytes
jotd_tokens_issued_total jotd_token_errors_total jotd_auth_failures_total jotd_sign_duration_seconds
jotd_client_cache_hits_total jotd_client_cache_misses_total jotd_client_cache_stale_total
jotd_client_cache_evictions_total jotd_client_cache_expirations_total
jotd_client_cache_invalidations_total jotd_client_cache_entries jotd_client_cache_capacity
jotd_client_lookups_total jotd_client_lookup_duration_seconds jotd_client_rechecks_total
jotd_limiter_decisions_total jotd_limiter_backend_duration_seconds
jotd_limiter_backend_errors_total jotd_limiter_fallback
jotd_ledger_rows_pending jotd_ledger_rows_written_total jotd_ledger_batches_total
jotd_ledger_flush_duration_seconds jotd_ledger_flush_errors_total jotd_ledger_spool_bytes
jotd_ledger_oldest_pending_seconds jotd_ledger_rows_dropped_total jotd_ledger_rows_rejected_total
jotd_ledger_maintenance_errors_total jotd_ledger_maintenance_failing
jotd_ledger_files_passed_over_total jotd_ledger_directories jotd_limiter_fallback_decisions_total
jotd_postgres_up jotd_signing_key_info jotd_loop_lag_seconds jotd_log_dropped_total
process_cpu_seconds_total process_open_fds process_max_fds process_virtual_memory_bytes
process_resident_memory_bytes process_start_time_seconds
""".split()


def test_every_family_exists_from_the_start(database, jotd):
    """The names are fixed, and each family exists before anything has happened."""
    with jotd(database) as s:
        assert set(FAMILIES) - set(s.metrics().types) == set()


def test_series_are_there_before_their_first_event(database, jotd):
    """The rate() of a counter that starts with its first event misses that event."""
    database.cli("tier", "set", "quiet", "--per-hour", 10)
    with jotd(database) as s:
        until(lambda: s.metric("jotd_postgres_up") == 1)
        metrics = s.metrics()

        def is_there(name, **labels):
            return [value for _, value in metrics.select(name, **labels)] == [0]

        for code in (200, 400, 401, 429, 500, 503):
            assert is_there("jotd_http_requests_total", endpoint="/token", code=str(code)), code
        for name in ("jotd_tokens_issued_total", "jotd_limiter_near_limit_total"):
            assert is_there(name, tier="quiet"), name
        for decision in ("granted", "refused"):
            assert is_there("jotd_limiter_decisions_total", tier="quiet", decision=decision)
