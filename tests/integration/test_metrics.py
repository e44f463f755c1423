"""What /metrics says of the process itself, and what a scrape costs."""

import contextlib
import time

from harness import until


def grown(before, after, name):
    return after.value(name) - before.value(name)


def test_the_loop_is_busy_while_it_works_and_not_while_it_waits(database, jotd):
    client = database.client(tier="unlimited")
    with jotd(database) as s:
        start, before = time.monotonic(), s.metrics()

        def turns():
            """Its timers alone turn it ten times a second."""
            return grown(before, s.metrics(), "jotd_loop_lag_seconds_count") > 100

        until(turns, interval=0.2)
        after, elapsed = s.metrics(), time.monotonic() - start
        assert 0 < grown(before, after, "jotd_loop_lag_seconds_sum") < elapsed / 2

        with s.connect() as connection:
            for _ in range(500):
                connection.sendall(s.token_request(client))
                assert b" 200 OK" in connection.recv(4096)
        assert grown(after, s.metrics(), "jotd_loop_lag_seconds_sum") > grown(
            after, s.metrics(), "jotd_sign_duration_seconds_sum") > 0


def test_open_descriptors_are_counted(database, jotd):
    with jotd(database) as s:
        before = s.metric("process_open_fds")
        with contextlib.ExitStack() as stack:
            for _ in range(50):
                stack.enter_context(s.connect())
            until(lambda: s.metric("process_open_fds") >= before + 50, timeout=5)
        until(lambda: s.metric("process_open_fds") < before + 10, timeout=5)
