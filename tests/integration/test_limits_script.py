"""The limiter's script against a simple model, over random times and requests."""

import calendar
import datetime
import pathlib
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.process import ROOT, is_long

SPANS = {"minute": (60_000, 5_000), "hour": (3_600_000, 300_000)}
START = 1_767_225_600_000  # 2026-01-01, when all slots and a month begin


@pytest.fixture(scope="module")
def script(redis_server):
    connection = redis_server.connect()
    return connection.register_script(pathlib.Path(ROOT, "auth/quota/limiter.lua").read_text())


class Client:
    """One client's quota and everything granted to it, at times chosen by the test."""

    number = 0

    def __init__(self, script, minute=0, hour=0, month=0):
        Client.number += 1
        self.key = f"jotd:{{property-{Client.number}}}"
        self.script = script
        self.limits = {"minute": minute, "hour": hour, "month": month}
        self.grants = []  # (time, tokens)

    def request(self, tokens):
        return struct.pack("<4q", tokens, *self.limits.values())

    def ask(self, now, tokens=1):
        """Returns the tokens granted and, by window, the remaining tokens and when more become
        available."""
        reply = self.script(keys=[self.key], args=[self.request(tokens), now])
        granted, said, *rest = struct.unpack("<8q", reply)
        assert said == now and 0 <= granted <= tokens
        if granted:
            self.grants.append((now, granted))
        left = {window: (rest[2 * i], rest[2 * i + 1])
                for i, window in enumerate(("minute", "hour", "month")) if self.limits[window]}
        return granted, left

    # The model

    def used(self, window, now):
        """Tokens that count in the window: all grants in slots that overlap it, or in the month."""
        if window == "month":
            return sum(n for at, n in self.grants if month_of(at) == month_of(now))
        _, slot = SPANS[window]
        return sum(n for at, n in self.grants if now // slot - 12 <= at // slot <= now // slot)

    def room(self, now):
        return min((max(limit - self.used(window, now), 0)
                    for window, limit in self.limits.items() if limit), default=10**9)

    def check_spans(self):
        """No span of a window's length holds more than its limit."""
        for window, (length, _) in SPANS.items():
            if not self.limits[window]:
                continue
            for end, _ in self.grants:
                held = sum(n for at, n in self.grants if end - length < at <= end)
                assert held <= self.limits[window], (window, end, held)
        if self.limits["month"]:
            for at, _ in self.grants:
                assert self.used("month", at) <= self.limits["month"]


def month_of(unix_ms):
    moment = datetime.datetime.fromtimestamp(unix_ms / 1000, datetime.timezone.utc)
    return moment.year, moment.month


def month_end(unix_ms):
    year, month = month_of(unix_ms)
    return calendar.timegm((year + month // 12, month % 12 + 1, 1, 0, 0, 0)) * 1000


many = settings(max_examples=1000 if is_long() else 200, deadline=None, database=None,
                suppress_health_check=[HealthCheck.function_scoped_fixture])
limit = st.sampled_from([0, 1, 2, 5, 20, 1000])
step = st.one_of(
    st.integers(0, 100), st.integers(0, 6_000), st.integers(0, 70_000),
    st.sampled_from([4_999, 5_000, 59_999, 60_000, 64_999, 65_000, 299_999, 300_000]),
    st.integers(0, 4_000_000), st.integers(0, 32 * 86_400_000),
)


@many
@given(minute=limit, hour=limit, month=limit, start=st.integers(0, 90 * 86_400_000),
       steps=st.lists(st.tuples(step, st.integers(0, 30)), max_size=40))
def test_grants_what_the_slots_leave(script, minute, hour, month, start, steps):
    client = Client(script, minute, hour, month)
    now = START + start
    for pause, tokens in steps:
        now += pause
        before = {window: client.used(window, now) for window in client.limits}
        room = client.room(now)
        granted, left = client.ask(now, tokens)
        # Never a refusal that the slots do not explain, and never a grant too many.
        assert granted == min(tokens, room)
        for window, (remaining, more_at) in left.items():
            assert remaining == client.limits[window] - before[window] - granted
            assert more_at >= now
            if window == "month":
                assert more_at == month_end(now)
            elif remaining < client.limits[window]:
                assert client.used(window, more_at) < client.used(window, now)
                assert client.used(window, more_at - 1) == client.used(window, now)
    client.check_spans()


@many
@given(minute=limit, hour=limit, month=limit,
       steps=st.lists(st.tuples(step, st.integers(1, 30)), max_size=30))
def test_who_waits_the_returned_time_is_granted_one(script, minute, hour, month, steps):
    client = Client(script, minute, hour, month)
    now = START
    for pause, tokens in steps:
        now += pause
        granted, left = client.ask(now, tokens)
        if granted < tokens:
            more_at = max(at for remaining, at in left.values() if remaining <= 0)
            assert client.ask(more_at - 1)[0] == 0  # not a millisecond earlier
            now = more_at
            assert client.ask(now)[0] == 1
    client.check_spans()


@many
@given(first=st.integers(1, 50), second=st.integers(1, 50), pause=step,
       steps=st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 10)), min_size=1,
                      max_size=12))
def test_a_limit_that_is_changed(script, first, second, steps, pause):
    """Also below what is already used: then nothing is granted until that has left the window."""
    client = Client(script, minute=first)
    now = START
    for between, tokens in steps:
        now += between
        client.ask(now, tokens)
    client.limits["minute"] = second
    now += pause
    room = client.room(now)
    granted, left = client.ask(now, 50)
    assert granted == min(50, room)
    remaining, more_at = left["minute"]
    if remaining <= 0:
        assert client.ask(more_at - 1)[0] == 0
        assert client.ask(more_at)[0] == 1


@many
@given(back=st.integers(1, 58_000))
def test_a_clock_that_is_set_back_a_little(script, back):
    """What was used counts for as long as it would have."""
    client = Client(script, minute=10)
    now = START + 3_600_000
    assert client.ask(now, 10)[0] == 10
    assert client.ask(now - back)[0] == 0
    assert client.ask(now + 64_999)[0] == 0
    assert client.ask(now + 65_000, 20)[0] == 10


@many
@given(back=st.integers(62 * 86_400_000, 10**10))
def test_a_clock_that_was_far_ahead(script, back):
    """Nobody is refused until the time that a wrong clock once showed."""
    client = Client(script, minute=10, hour=10, month=10)
    now = START + 10**11
    assert client.ask(now, 10)[0] == 10
    assert client.ask(now - back, 20)[0] == 10


def test_memory_does_not_grow_with_traffic_or_limits(script, redis_server):
    client = Client(script, minute=10**6, hour=10**8, month=10**12)
    sizes = set()
    connection = redis_server.connect()
    for i in range(2000):
        client.ask(START + i * 997, 1000)
        sizes.add(connection.memory_usage(client.key))
    assert max(sizes) < 400


@many
@given(before=st.integers(1, 4_000_000), hour=st.booleans(), month=st.booleans())
def test_a_key_lives_as_long_as_it_says_anything(script, redis_server, before, hour, month):
    now = month_end(START) - before
    client = Client(script, minute=10, hour=hour * 10, month=month * 10)
    client.ask(now)
    needed = max(now // 5000 * 5000 + 65_000, (now // 300_000 + 13) * 300_000 if hour else 0,
                 month_end(now) if month else 0) - now
    lives = redis_server.connect().pttl(client.key)
    assert needed - 5000 < lives <= needed


def test_a_key_outlives_a_tier_in_between(script, redis_server):
    """A month's use counts again when the client returns to a tier with a monthly limit."""
    connection = redis_server.connect()
    for first in {"month": 10}, {"hour": 10}:
        client = Client(script, **first)
        client.ask(START, 9)
        lives = connection.pttl(client.key)
        client.limits = {"minute": 10, "hour": 0, "month": 0}
        client.ask(START)
        client.limits = {"minute": 0, "hour": 0, "month": 0, **first}
        assert client.ask(START, 5)[0] == 1
        assert abs(connection.pttl(client.key) - lives) < 5000


def test_looking_writes_nothing(script, redis_server):
    client = Client(script, minute=10)
    assert client.ask(START, 0) == (0, {"minute": (10, START)})
    assert not redis_server.connect().exists(client.key)


def test_many_clients_in_one_call(script):
    """Each as if it were alone, even one that occurs twice."""
    clients = [Client(script, minute=i % 7, hour=i % 5, month=i % 3) for i in range(64)]
    alone = [Client(script, *client.limits.values()) for client in clients]
    for now in START, START + 7_000, START + 66_000:
        reply = script(keys=[c.key for c in clients + clients[:1]],
                       args=[b"".join(c.request(3) for c in clients + clients[:1]), now])
        expected = b"".join(script(keys=[c.key], args=[c.request(3), now])
                            for c in alone + alone[:1])
        assert reply == expected


def test_a_key_of_another_kind_harms_one_client_only(script, redis_server):
    def slots(newest):
        return b"\x9e" + 12 * b"\x00" + newest + b"\xce" + struct.pack(">I", START // 5000)

    damaged = {  # MessagePack; they count as none
        "two nil": ("month", b"\x92\xc0\xc0"), "three": ("month", b"\x93\x01\x02\x03"),
        "a number": ("minute", b"\x07"), "a text": ("minute", slots(b"\xa15")),
        "a NaN": ("minute", slots(b"\xcb\x7f\xf8" + 6 * b"\x00")),
        "below 0": ("minute", slots(b"\xff")), "unlimited": ("hour", b"\x92\xa1x\xa1y"),
    }
    clients = [Client(script, minute=5, month=5) for _ in range(3 + len(damaged))]
    redis_server.connect().set(clients[1].key, "something else")
    for client, (field, value) in zip(clients[2:], damaged.values()):
        redis_server.connect().hset(client.key, field, value)
    reply = script(keys=[c.key for c in clients],
                   args=[b"".join(c.request(2) for c in clients), START])
    whole, *answers = struct.iter_unpack("<8q", reply)
    assert answers.pop(0) == (-1,) * 8
    assert set(answers) == {whole} and whole[0] == 2
