"""Quotas: exact across all servers, reported in headers, and enforced without Redis."""

import collections
import concurrent.futures
import contextlib
import json
import re
import statistics
import struct
import time
import types

import pytest
import redis

from harness import Load, Proxy, Redis, claims_of, long_test, until
from harness.clock import Clock
from harness.process import free_port, has_sanitizer
from harness.server import receive
from harness.wire import parse_answers, take_answer

PATIENT = 5000  # ms: Redis is never too late, even on a busy machine with a sanitizer


@pytest.fixture
def own_redis(directory, tmp_path_factory):
    """A Redis that a test may break."""
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


def tier(database, name, **limits):
    options = [text for window, limit in limits.items() for text in (f"--per-{window}", limit)]
    database.cli("tier", "set", name, *options)
    return name


def calls(server):
    """How often the limiter's script was run."""
    stats = server.connect().info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval"))


def evict(server, client):
    server.connect().delete(f"jotd:{{{client.id}}}")


def assert_refused(answer, window="minute"):
    assert (answer.status_code, answer.json()["error"]) == (429, "rate_limit_exceeded")
    seconds = int(answer.headers["Retry-After"])
    assert seconds >= 1
    description = answer.json()["error_description"]
    assert f"per {window}" in description and f"{seconds} second" in description
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert answer.headers["RateLimit"] == f'"{window}";r=0;t={seconds}'
    assert abs(int(answer.headers["X-RateLimit-Reset"]) - time.time() - seconds) <= 10
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Cache-Status"]
    return seconds


# Exactness

def test_exactly_the_limit_over_connections_workers_and_processes(database, jotd):
    client = database.client(tier=tier(database, "thousand", minute=1000))
    with jotd(database, workers=2, limiter_timeout_ms=PATIENT) as a, \
            jotd(database, workers=2, limiter_timeout_ms=PATIENT) as b:
        began = time.monotonic()
        with Load([a, b], client, threads=4) as load:
            until(lambda: load.statuses[429] > 200, timeout=50)
        assert time.monotonic() - began < 55, "the window has moved on: the test says nothing"
        assert load.statuses.keys() == {200, 429}
        assert load.statuses[200] == len(load.jtis) == 1000
        granted = sum(s.metric("jotd_limiter_decisions_total", tier="thousand", decision="granted")
                      for s in (a, b))
        assert granted == 1000
        for s in a, b:
            assert s.metric("jotd_limiter_backend_errors_total") == 0


def test_what_is_asked_for_in_one_pass_is_one_call(database, jotd, own_redis):
    client = database.client(tier=tier(database, "fifty", minute=50))
    with jotd(database, redis_url=own_redis.url, limiter_timeout_ms=PATIENT) as s, \
            contextlib.ExitStack() as stack:
        assert s.token(client).status_code == 200
        connections = [stack.enter_context(s.connect()) for _ in range(80)]
        until(lambda: s.metric("jotd_http_connections") >= 80)
        before = calls(own_redis)
        with s.stopped():
            for connection in connections:
                connection.sendall(s.token_request(client))
        answers = [take_answer(receive(c, timeout=10, answers=1))[0] for c in connections]
        granted = [answer for answer in answers if answer.status == 200]
        assert len(granted) == 49
        assert {answer.status for answer in answers} == {200, 429}
        assert calls(own_redis) - before < 20
        # Each answer reports what was left after it.
        remaining = [int(answer.headers["x-ratelimit-remaining"]) for answer in granted]
        assert sorted(remaining) == list(range(49))


def test_each_client_of_a_call_is_told_its_own(database, jotd, own_redis):
    limits = range(1, 11)
    clients = [database.client(tier=tier(database, f"of_{n}", minute=n)) for n in limits]
    with jotd(database, redis_url=own_redis.url, limiter_timeout_ms=PATIENT) as s, \
            contextlib.ExitStack() as stack:
        connections = [stack.enter_context(s.connect()) for _ in clients]
        until(lambda: s.metric("jotd_http_connections") >= len(clients))
        for used in 1, 2, 3:
            before = calls(own_redis)
            with s.stopped():
                for connection, client in zip(connections, clients):
                    connection.sendall(s.token_request(client))
            for connection, n in zip(connections, limits):
                answer = take_answer(receive(connection, timeout=10, answers=1))[0]
                assert answer.status == (200 if used <= n else 429)
                assert answer.headers["x-ratelimit-limit"] == str(n)
                assert answer.headers["x-ratelimit-remaining"] == str(max(n - used, 0))
            assert used == 1 or calls(own_redis) - before < 5  # look-ups came one by one


# What is reported

def test_headers_of_a_token(database, jotd):
    client = database.client(tier="free")
    with jotd(database, limiter_timeout_ms=PATIENT) as s:
        for left in (19, 18):
            answer = s.token(client)
            assert answer.status_code == 200
            headers = answer.headers
            assert headers["RateLimit-Policy"] == \
                '"minute";q=20;w=60, "hour";q=200;w=3600, "month";q=5000'
            found = re.fullmatch(r'"minute";r=(\d+);t=(\d+)', headers["RateLimit"])
            assert int(found[1]) == left and 1 <= int(found[2]) <= 66
            assert headers["X-RateLimit-Limit"] == "20"
            assert headers["X-RateLimit-Remaining"] == str(left)
            assert 0 <= int(headers["X-RateLimit-Reset"]) - time.time() <= 67


def test_errors_tell_what_is_left_and_cost_nothing(database, jotd):
    client = database.client(tier="free")
    with jotd(database, limiter_timeout_ms=PATIENT) as s:
        for form in ({"scope": "admin"}, {"resource": "urn:other"}):
            answer = s.token(client, **form)
            assert answer.status_code == 400
            assert answer.headers["X-RateLimit-Remaining"] == "20"
        assert s.token(client).headers["X-RateLimit-Remaining"] == "19"
        # Without authentication, no quota is reported.
        wrong = types.SimpleNamespace(id=client.id, secret=database.client().secret)
        for answer in s.token(wrong), s.token(client, grant_type="password"):
            assert not any("ratelimit" in name.lower() for name in answer.headers)


def test_a_refusal_says_which_window_and_when(database, jotd):
    client = database.client(tier=tier(database, "hourly", minute=100, hour=3))
    with jotd(database, limiter_timeout_ms=PATIENT) as s:
        for _ in range(3):
            assert s.token(client).status_code == 200
        assert 3300 <= assert_refused(s.token(client), "hour") <= 3900
        assert s.metric("jotd_token_errors_total", error="rate_limit_exceeded") == 1
        assert s.metric("jotd_limiter_decisions_total", tier="hourly", decision="refused") == 1
        assert s.metric("jotd_tokens_issued_total", tier="hourly") == 3


def test_a_month_ends_with_the_month(database, jotd):
    client = database.client(tier=tier(database, "monthly", month=1))
    with jotd(database, limiter_timeout_ms=PATIENT) as s:
        assert s.token(client).headers["RateLimit-Policy"] == '"month";q=1'
        answer = s.token(client)
        assert_refused(answer, "month")
        reset = time.gmtime(int(answer.headers["X-RateLimit-Reset"]))
        assert (reset.tm_mday, reset.tm_hour, reset.tm_min) == (1, 0, 0)


def test_an_unlimited_tier_has_no_such_headers(database, jotd):
    client = database.client(tier="unlimited")
    with jotd(database) as s:
        answer = s.token(client)
        assert answer.status_code == 200
        assert not any("ratelimit" in name.lower() for name in answer.headers)


def test_who_comes_near_the_limit_is_counted(database, jotd):
    client = database.client(tier="free")
    with jotd(database, limiter_timeout_ms=PATIENT) as s:
        for _ in range(16):
            s.token(client)
        assert s.metric("jotd_limiter_near_limit_total", tier="free") == 0
        for _ in range(6):
            s.token(client)
        assert s.metric("jotd_limiter_near_limit_total", tier="free") == 4


# A refusal lasts as long as it says

def used_up(server, client, count, leaves_in_slots=1):
    """Writes into Redis that `count` tokens leave the minute after that many slots. Returns that
    time by Redis's clock."""
    connection = server.connect()
    seconds, _ = connection.time()
    slot = seconds // 5
    counts = [0] * 13
    counts[leaves_in_slots - 1] = count
    # MessagePack: an array of 14 elements, 13 small numbers and one of 32 bits.
    packed = bytes([0x9E]) + bytes(counts) + bytes([0xCE]) + struct.pack(">I", slot)
    connection.hset(f"jotd:{{{client.id}}}", "minute", packed)
    return (slot + leaves_in_slots) * 5


def test_a_lone_client_that_waits_gets_its_token(database, jotd, own_redis):
    client = database.client(tier=tier(database, "ten", minute=10))
    with jotd(database, redis_url=own_redis.url, limiter_timeout_ms=PATIENT) as s:
        s.token(client)
        used_up(own_redis, client, 10, leaves_in_slots=1)
        answer = s.token(client)
        if answer.status_code == 200:  # right at the end of the slot
            used_up(own_redis, client, 10, leaves_in_slots=2)
            answer = s.token(client)
        seconds = assert_refused(answer)
        assert seconds <= 10
        time.sleep(seconds)  # as the answer tells a client to do
        assert s.token(client).status_code == 200


@long_test
def test_a_lone_client_waits_out_a_real_minute(database, jotd):
    client = database.client(tier=tier(database, "ten", minute=10))
    with jotd(database, limiter_timeout_ms=PATIENT) as s:
        for _ in range(10):
            assert s.token(client).status_code == 200
        seconds = assert_refused(s.token(client))
        assert 55 <= seconds <= 65
        time.sleep(seconds)
        assert s.token(client).status_code == 200


def test_a_flood_of_refused_requests_costs_no_call(database, jotd, own_redis):
    client = database.client(tier=tier(database, "one", minute=1))
    with jotd(database, redis_url=own_redis.url, limiter_timeout_ms=PATIENT) as s:
        assert s.token(client).status_code == 200
        assert_refused(s.token(client))
        before = calls(own_redis)
        answers = parse_answers(s.raw(s.token_request(client) * 200, timeout=10, answers=200))
        assert {answer.status for answer in answers} == {429}
        assert calls(own_redis) == before


def test_a_change_of_the_tier_ends_a_refusal_at_once(database, jotd):
    tier(database, "small", minute=1)
    client = database.client(tier="small")
    with jotd(database, workers=2, limiter_timeout_ms=PATIENT) as s:
        assert s.token(client).status_code == 200
        assert_refused(s.token(client))
        tier(database, "small", minute=3)
        answer = until(lambda: (a := s.token(client)).status_code == 200 and a)
        assert answer.headers["X-RateLimit-Limit"] == "3"
        # Lowered again: what was used still counts.
        tier(database, "small", minute=1)
        until(lambda: s.token(client).status_code == 429)
        database.cli("client", "update", client.id, "--tier", "unlimited")
        until(lambda: s.token(client).status_code == 200)


# Redis in its forms

@pytest.mark.parametrize("form", ["password", "user", "local"])
def test_ways_to_redis(database, jotd, tmp_path, own_redis, form):
    client = database.client()
    admin = own_redis.connect()
    # glibc resolves names in threads that ThreadSanitizer does not know.
    name = "127.0.0.1" if has_sanitizer("tsan") else "localhost"
    if form == "password":
        admin.config_set("requirepass", "p@ss:word/")
        url = f"redis://:p%40ss%3Aword%2F@{name}:{own_redis.port}/3"
    elif form == "user":
        admin.acl_setuser("jotd", enabled=True, passwords=["+secret"], keys=["jotd:*"],
                          commands=["+eval", "+evalsha", "+select", "+hmget", "+hset",
                                    "+pexpire", "+time"])
        url = f"redis://jotd:secret@127.0.0.1:{own_redis.port}"
    else:
        own_redis.stop()
        own_redis.options = ["--unixsocket", str(tmp_path / "redis.sock")]
        own_redis.start()
        url = f"unix://{tmp_path}/redis.sock?db=3"
    with jotd(database, redis_url=url, limiter_timeout_ms=PATIENT) as s:
        until(lambda: s.ready().json()["redis"] == "ok")
        assert s.token(client).headers["X-RateLimit-Remaining"] == "19"
        assert "p@ss" not in s.stderr and "secret" not in s.stderr
    number = 0 if form == "user" else 3
    if form == "password":
        connection = redis.Redis(port=own_redis.port, db=number, password="p@ss:word/")
    else:
        connection = redis.Redis(port=own_redis.port, db=number)
    assert connection.exists(f"jotd:{{{client.id}}}")


def test_a_key_lives_as_long_as_it_says_anything(database, jotd, own_redis):
    client = database.client(tier=tier(database, "sliding", minute=10, hour=100))
    with jotd(database, redis_url=own_redis.url, limiter_timeout_ms=PATIENT) as s:
        s.token(client)
        lives = own_redis.connect().ttl(f"jotd:{{{client.id}}}")
        assert 3600 <= lives <= 3900


# Without Redis

def in_time(s, client, requests=30):
    """Sends requests on one connection; answers take no longer than the limiter's timeout."""
    took = []
    with s.connect() as connection:
        for _ in range(requests):
            began = time.monotonic()
            connection.sendall(s.token_request(client))
            answer = take_answer(receive(connection, timeout=10, answers=1))[0]
            took.append(time.monotonic() - began)
            assert answer.status == 200, answer.body
    assert statistics.median(took) < 0.05 + 1, took  # plus a second for a busy machine


def fallen_back(s):
    return s.metric("jotd_limiter_fallback") == 1


def back(s):
    return s.metric("jotd_limiter_fallback") == 0


def test_redis_is_killed_and_comes_back_empty(database, jotd, own_redis):
    client = database.client(tier=tier(database, "wide", minute=100000))
    with jotd(database, redis_url=own_redis.url, workers=2, limiter_timeout_ms=PATIENT) as s:
        until(lambda: back(s))
        with Load([s], client) as load:
            load.progress(20)
            own_redis.kill()
            until(lambda: fallen_back(s))
            load.progress(50)
            ready = until(lambda: (r := s.ready()).json()["redis"] == "down" and r)
            assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
            own_redis.start()
            until(lambda: back(s))
            load.progress(50)
        assert set(load.statuses) == {200} and load.broken == 0
        assert calls(own_redis) > 0
        s.wait_log("limiter.fallback_ended")
        events = [line["event"] for line in s.log if line["event"].startswith("limiter.")]
        assert events == ["limiter.fallback_begun", "limiter.fallback_ended"]


def test_an_idle_connection_that_redis_closes_is_no_news(database, jotd, own_redis):
    """As Redis's `timeout` does, unless it closes one connection after the other."""
    client = database.client()
    redis = own_redis.connect()
    own = redis.client_id()

    def connections():
        return [entry for entry in redis.client_list() if int(entry["id"]) > own]

    def remaining():
        return int(s.token(client).headers["X-RateLimit-Remaining"])

    with jotd(database, redis_url=own_redis.url) as s:
        first = remaining()
        for times in (1, 2):
            # A connection counts as established after a second; Redis counts whole ones.
            (connection,) = until(lambda: [c for c in connections() if int(c["age"]) >= 4])
            redis.client_kill_filter(_id=connection["id"])
            (made,) = until(connections)
            assert made["id"] != connection["id"]
            until(lambda: connections()[0]["cmd"] != "auth")
            assert s.get("/ready").json()["redis"] == "ok"
            assert remaining() == first - times
        assert s.metric("jotd_limiter_backend_errors_total") == 0
        assert not any(line["event"] == "limiter.fallback_begun" for line in s.log)

        def closed_again():
            for connection in connections():
                redis.client_kill_filter(_id=connection["id"])
            return any(line["event"] == "limiter.fallback_begun" for line in s.log)

        until(closed_again)
        s.wait_log("limiter.fallback_ended")


def test_redis_falls_silent(database, jotd, own_redis):
    client = database.client(tier=tier(database, "wide", minute=100000))
    with jotd(database, redis_url=own_redis.url) as s:
        until(lambda: back(s))
        assert s.token(client).status_code == 200
        own_redis.pause()
        began = time.monotonic()
        in_time(s, client)
        assert fallen_back(s)
        assert s.metric("jotd_limiter_backend_errors_total") >= 1
        # It keeps retrying, and nobody waits for that.
        until(lambda: in_time(s, client, requests=5) or time.monotonic() - began > 2)
        own_redis.resume()
        until(lambda: back(s))
        assert s.token(client).status_code == 200


def test_redis_is_slow(database, jotd, own_redis):
    client = database.client(tier=tier(database, "wide", minute=100000))
    with Proxy(own_redis) as proxy, \
            jotd(database, redis_url=f"redis://127.0.0.1:{proxy.port}") as s:
        until(lambda: back(s))
        proxy.delay = 3
        in_time(s, client)
        assert fallen_back(s)
        proxy.delay = 0
        until(lambda: back(s), timeout=20)


@pytest.mark.parametrize("on_error", ["local", "deny"])
def test_a_busy_server_does_not_take_redis_for_slow(database, jotd, on_error):
    """When the loop is busy, it reads late what Redis answered in time: no token is counted twice,
    and nobody is refused for it."""
    count, tries = 600, 3  # Redis itself may be late on a busy machine, but not every time
    first = database.client(tier=tier(database, "two", minute=2))
    database.execute("INSERT INTO clients (client_id, name, tier) "
                     "SELECT %s || n, 'busy', 'two' FROM generate_series(0, %s) n",
                     (f"busy-{on_error}-", tries * count))
    database.execute("INSERT INTO client_secrets (client_id, digest) SELECT c.client_id, s.digest "
                     "FROM clients c, client_secrets s WHERE c.name = 'busy' AND s.client_id = %s",
                     (first.id,))
    with jotd(database, keys="RS256", limiter_on_error=on_error, limiter_timeout_ms=100) as s, \
            contextlib.ExitStack() as stack:
        connections = [stack.enter_context(s.connect()) for _ in range(count)]

        def is_exact(attempt):
            until(lambda: back(s))
            errors = s.metric("jotd_limiter_backend_errors_total")
            requests = [s.token_request(types.SimpleNamespace(
                id=f"busy-{on_error}-{attempt * count + n}", secret=first.secret))
                for n in range(count)]
            statuses = collections.Counter()
            for _ in range(4):
                for connection, request in zip(connections, requests):
                    connection.sendall(request)
                for connection in connections:
                    answer, _ = take_answer(receive(connection, timeout=30, answers=1))
                    statuses[answer.status] += 1
            return statuses == {200: 2 * count, 429: 2 * count} and \
                s.metric("jotd_limiter_backend_errors_total") == errors

        assert any(is_exact(attempt) for attempt in range(tries))


@pytest.mark.parametrize("missing", ["+hset", "+evalsha"])
def test_a_permission_that_is_missing_is_told(database, jotd, own_redis, missing):
    """Before the first token, and without flapping."""
    commands = {"+eval", "+evalsha", "+select", "+hmget", "+hset", "+pexpire", "+time"} - {missing}
    own_redis.connect().acl_setuser("jotd", enabled=True, passwords=["+secret"], keys=["jotd:*"],
                                    commands=sorted(commands))
    client = database.client()
    with jotd(database, redis_url=f"redis://jotd:secret@127.0.0.1:{own_redis.port}",
              limiter_timeout_ms=PATIENT) as s:
        assert missing == "+hset" or "evalsha" in s.wait_log("limiter.fallback_begun")["reason"]
        assert fallen_back(s) and s.ready().json()["redis"] == "down"
        assert s.token(client).status_code == 200
        own_redis.connect().execute_command("ACL", "SETUSER", "jotd", missing)
        s.wait_log("limiter.fallback_ended")
        assert back(s)
        events = [line["event"] for line in s.log if line["event"].startswith("limiter.")]
        assert events == ["limiter.fallback_begun", "limiter.fallback_ended"]


def test_a_password_is_not_told_when_redis_refuses_it(database, jotd, tmp_path, own_redis):
    """Redis echoes the arguments of an unknown command."""
    own_redis.stop()
    own_redis.options = ["--rename-command", "AUTH", "hidden"]
    own_redis.start()
    client = database.client()
    url = f"redis://svc:hunter2secret@127.0.0.1:{own_redis.port}/0"
    with jotd(database, redis_url=url, limiter_timeout_ms=PATIENT) as s:
        event = s.wait_log("limiter.fallback_begun")
        assert "AUTH" in event["reason"]
        done = database.cli("tier", "usage", client.id, env={"REDIS_URL": url}, check=False)
        assert done.returncode == 1 and "AUTH" in done.stderr
        assert "hunter2secret" not in s.stderr + done.stderr


def test_the_script_is_flushed_under_load(database, jotd, own_redis):
    client = database.client(tier=tier(database, "wide", minute=100000))
    with jotd(database, redis_url=own_redis.url, limiter_timeout_ms=PATIENT) as s:
        with Load([s], client) as load:
            for _ in range(5):
                load.progress(20)
                own_redis.connect().script_flush()
        assert set(load.statuses) == {200}
        granted = s.metric("jotd_limiter_decisions_total", tier="wide", decision="granted")
        assert granted == load.statuses[200]
        assert s.metric("jotd_limiter_backend_errors_total") == 0
        assert not any(line["event"] == "limiter.fallback_begun" for line in s.log)


def as_redis_6(answer):
    """Redis 6 words a command's error inside a script this way."""
    place = b"-ERR Error running script (call to f_00): @user_script:1: @user_script: 1: -READONLY "
    return answer.replace(b"-READONLY ", place)


@pytest.mark.parametrize("wording", [bytes, as_redis_6], ids=["Redis 7", "Redis 6"])
def test_redis_becomes_read_only_under_load(database, jotd, own_redis, wording):
    client = database.client(tier=tier(database, "wide", minute=100000))
    with Proxy(own_redis) as proxy, jotd(database, redis_url=f"redis://127.0.0.1:{proxy.port}",
                                         limiter_timeout_ms=PATIENT) as s:
        proxy.rewrite = wording
        until(lambda: back(s))
        with Load([s], client) as load:
            load.progress(20)
            own_redis.connect().replicaof("127.0.0.1", "1")
            until(lambda: fallen_back(s))
            load.progress(20)
            assert s.metric("jotd_limiter_backend_errors_total") >= 1
            own_redis.connect().replicaof("NO", "ONE")
            until(lambda: back(s))
            load.progress(20)
        assert set(load.statuses) == {200}


def test_a_step_of_the_clock_gives_no_fresh_quota(database, jotd, tmp_path):
    clock = Clock(tmp_path)
    minute = database.client(tier=tier(database, "minute", minute=2))
    month = database.client(tier=tier(database, "month", month=2))
    with jotd(database, limiter="local", environ=clock.environ) as s:
        for seconds in (0, 40 * 86400):
            clock.set_ahead(seconds)
            assert s.token(minute).status_code == 200
            assert s.token(month).status_code == 200
            issued = claims_of(s.access_token(database.client(tier="unlimited")))["iat"]
            assert abs(issued - time.time() - seconds) < 60
        assert {s.token(minute).status_code, s.token(month).status_code} == {429}
        clock.set_ahead(0)
        assert_refused(s.token(minute))
        assert_refused(s.token(month), "month")


def test_a_refusal_that_is_remembered_comes_before_the_scope(database, jotd):
    """Otherwise a refused client could have a 4 KiB scope compared each time."""
    client = database.client(tier=tier(database, "narrow", minute=1))
    with jotd(database) as s:
        answer = s.token(client, scope="other")
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
        assert s.token(client).status_code == 200
        assert_refused(s.token(client))
        assert_refused(s.token(client, scope="other"))
        assert_refused(s.token(client, resource="https://other"))


@pytest.fixture
def cluster(tmp_path_factory):
    """Two masters with half of the slots each."""
    servers = [Redis(tmp_path_factory.mktemp("node")) for _ in range(2)]
    for server in servers:
        server.options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        server.start()
    links = [server.connect() for server in servers]
    for link, slots in zip(links, ((0, 8191), (8192, 16383))):
        link.execute_command("CLUSTER ADDSLOTSRANGE", *slots)
    links[0].execute_command("CLUSTER MEET", "127.0.0.1", servers[1].port, servers[1].options[-1])
    until(lambda: all(link.cluster("INFO")["cluster_state"] == "ok" for link in links), timeout=30)
    yield servers
    for server in servers:
        server.stop()


def test_a_node_of_a_cluster_is_refused_where_everybody_sees_it(database, jotd, cluster):
    """Each process would grant a client whose slot is elsewhere the whole quota once more."""
    client = database.client()
    for server in cluster:
        with jotd(database, redis_url=server.url, limiter_timeout_ms=PATIENT) as s:
            assert "node of a Redis Cluster" in s.wait_log("limiter.fallback_begun")["reason"]
            assert fallen_back(s)
            assert s.ready().json()["redis"] == "down"
            assert s.ready().json()["status"] == "degraded"
            assert s.token(client).status_code == 200


def test_a_key_of_another_kind_harms_one_client_only(database, jotd, own_redis):
    client, other = database.client(), database.client()
    with jotd(database, redis_url=own_redis.url, limiter_timeout_ms=PATIENT) as s:
        own_redis.connect().set(f"jotd:{{{client.id}}}", "something else")
        assert s.token(client).status_code == 200
        assert s.metric("jotd_limiter_backend_errors_total") == 1
        assert s.token(other).headers["X-RateLimit-Remaining"] == "19"
        assert back(s)
        # Unreadable fields count as missing.
        evict(own_redis, other)
        own_redis.connect().hset(f"jotd:{{{other.id}}}", "minute", b"\xc1 nonsense")
        assert s.token(other).headers["X-RateLimit-Remaining"] == "19"


def test_a_redis_that_spreads_its_keys(database, jotd, own_redis):
    """It rejects calls with the keys of several clients."""
    own_redis.stop()
    own_redis.options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    own_redis.start()
    own_redis.connect().execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
    until(lambda: own_redis.connect().cluster("INFO")["cluster_state"] == "ok")
    clients = [database.client() for _ in range(80)]
    with jotd(database, redis_url=own_redis.url, limiter_timeout_ms=PATIENT) as s, \
            contextlib.ExitStack() as stack:
        connections = [stack.enter_context(s.connect()) for _ in clients]
        until(lambda: s.metric("jotd_http_connections") >= len(clients))
        for left in 19, 18:
            with s.stopped():
                for connection, client in zip(connections, clients):
                    connection.sendall(s.token_request(client))
            for connection in connections:
                answer = take_answer(receive(connection, timeout=10, answers=1))[0]
                assert answer.status == 200
                assert answer.headers["x-ratelimit-remaining"] == str(left)
        assert s.metric("jotd_limiter_backend_errors_total") == 0 and back(s)
        assert len([line for line in s.log if line["event"] == "limiter.one_by_one"]) == 1
        keys = own_redis.connect().keys("jotd:{*}")
        assert sum(not key.startswith(b"jotd:{{probe") for key in keys) == len(clients)


def without_redis(jotd, database, **settings):
    return jotd(database, redis_url="redis://127.0.0.1:1/0", **settings)


def test_without_redis_each_process_holds_clients_to_the_limits(database, jotd):
    client = database.client(tier="free")
    with without_redis(jotd, database, workers=2) as s:
        statuses = [s.token(client).status_code for _ in range(25)]
        assert statuses == [200] * 20 + [429] * 5
        assert_refused(s.token(client))


def test_without_redis_all_are_allowed(database, jotd):
    client = database.client(tier="free")
    with without_redis(jotd, database, limiter_on_error="allow") as s:
        answers = [s.token(client) for _ in range(25)]
        assert {answer.status_code for answer in answers} == {200}
        assert "RateLimit-Policy" in answers[0].headers
        assert "X-RateLimit-Remaining" not in answers[0].headers
        assert s.metric("jotd_limiter_decisions_total", tier="free", decision="allowed") == 25


def test_without_redis_none_is_served(database, jotd):
    client, unlimited = database.client(tier="free"), database.client(tier="unlimited")
    with without_redis(jotd, database, limiter_on_error="deny") as s:
        answer = s.token(client)
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        assert s.metric("jotd_limiter_decisions_total", tier="free", decision="denied") == 1
        assert s.token(unlimited).status_code == 200


def test_a_limiter_that_needs_no_redis(database, jotd):
    client = database.client(tier="free")
    with without_redis(jotd, database, limiter="local", workers=2) as s:
        assert s.ready().json() == {"status": "ok", "postgres": "ok", "redis": "not used",
                                    "keys": "ok", "spool": "ok"}
        assert [s.token(client).status_code for _ in range(22)] == [200] * 20 + [429] * 2
        assert back(s)
    with without_redis(jotd, database, limiter="off") as s:
        answers = [s.token(client) for _ in range(25)]
        assert {answer.status_code for answer in answers} == {200}
        assert not any("ratelimit" in name.lower() for name in answers[0].headers)
        assert s.ready().json()["status"] == "ok"


def test_clients_that_leave_while_redis_is_asked(database, jotd, own_redis):
    client = database.client(tier=tier(database, "wide", minute=100000))
    with jotd(database, redis_url=own_redis.url, limiter_timeout_ms=2000) as s, \
            concurrent.futures.ThreadPoolExecutor() as pool:
        assert s.token(client).status_code == 200
        own_redis.pause()
        for _ in range(10):
            with s.connect() as connection:
                connection.sendall(s.token_request(client))
        waiting = pool.submit(s.token, client)
        until(lambda: s.metric("jotd_client_cache_hits_total") == 11)
        own_redis.resume()
        assert waiting.result().status_code == 200


# What an operator asks

def test_usage(database, jotd, redis_server):
    client = database.client(tier=tier(database, "some", minute=5, month=100))
    environment = {"REDIS_URL": redis_server.url}
    with jotd(database, limiter_timeout_ms=PATIENT) as s:
        for _ in range(3):
            assert s.token(client).status_code == 200

    usage = json.loads(database.cli("tier", "usage", client.id, "--json", env=environment).stdout)
    assert usage["client_id"] == client.id and usage["tier"] == "some"
    minute, month = usage["windows"]
    assert (minute["window"], minute["limit"], minute["used"], minute["left"]) == ("minute", 5, 3, 2)
    assert (month["window"], month["limit"], month["used"], month["left"]) == ("month", 100, 3, 97)
    assert re.fullmatch(r"\d{4}-\d\d-01T00:00:00Z", month["resets_at"])
    text = database.cli("tier", "usage", client.id, env=environment).stdout
    assert re.search(r"minute +5 +3 +2 +\d{4}-", text)

    unlimited = database.client(tier="unlimited")
    assert "unlimited" in database.cli("tier", "usage", unlimited.id, env=environment).stdout
    done = database.cli("tier", "usage", "nobody", env=environment, check=False)
    assert done.returncode == 1 and "jotd client list" in done.stderr
    done = database.cli("tier", "usage", client.id, env={"REDIS_URL": "redis://127.0.0.1:1"},
                        check=False)
    assert done.returncode == 1 and "REDIS_URL" in done.stderr
