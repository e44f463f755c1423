"""A database without its constraints, a Redis that lies: nothing they send corrupts memory or a
token, and nobody waits for them."""

import pathlib
import re
import struct

import jwt as pyjwt
import pytest

from harness import Proxy, until


@pytest.mark.parametrize("column, value", [
    ("scopes", ["x" * 20000]),
    ("scopes", ['a","admin":"true']),
    ("audiences", [f"https://{number}.example/{'x' * 500}" for number in range(64)]),
    ("audiences", ['https://a"],"admin":["true']),
    ("token_ttl", 2**31 - 1),
])
def test_a_record_that_breaks_the_rules_is_refused(database, jotd, column, value):
    """Without the schema's checks, a long scope would overflow the ledger's row, and a quote in it
    would become a claim of the token."""
    for name in ("scopes", "audiences", "token_ttl"):
        database.execute(f"ALTER TABLE clients DROP CONSTRAINT IF EXISTS clients_{name}_check")
    broken, sound = database.client(tier="unlimited"), database.client(tier="unlimited")
    with jotd(database) as s:
        assert s.token(broken).status_code == 200
        database.execute(f"UPDATE clients SET {column} = %s WHERE client_id = %s",
                         (value, broken.id))
        until(lambda: s.token(broken).status_code == 503)
        assert s.token(broken).json()["error"] == "temporarily_unavailable"
        line = s.wait_log("client.lookup_failed")
        assert broken.id in line["reason"] and column in line["reason"]
        claims = pyjwt.decode(s.access_token(sound), options={"verify_signature": False})
        assert "admin" not in claims


def with_numbers(*numbers):
    """The script's answer with these numbers: 64 bytes."""
    def rewrite(answer):
        return answer[:5] + struct.pack("<8q", *numbers) + answer[69:] \
            if answer.startswith(b"$64\r\n") else answer
    return rewrite


LEAST, MOST = -2**63, 2**63 - 1
NOW = 1_800_000_000_000
IMPOSSIBLE = "this is not the script's answer"

LIES = {
    "surplus": (lambda answer: answer + b"+OK\r\n", "what nobody had asked"),
    "elements": (lambda _: b"*2147483647\r\n", "more than could be asked for"),
    "nested elements": (lambda _: b"*4000\r\n" * 7, "more than could be asked for"),
    "depth": (lambda _: b"*1\r\n" * 100, "nested"),
    "length": (lambda _: b"$2147483646\r\n" + b"x" * 2**21, "more than could be asked for"),
    "endless line": (lambda _: b"+" + b"x" * 2**21, "more than could be asked for"),
    "another protocol": (lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", "Protocol error"),
    "granted": (with_numbers(MOST, NOW, 1, NOW, -1, 0, -1, 0), IMPOSSIBLE),
    "granted twice": (with_numbers(2, NOW, 1, NOW, -1, 0, -1, 0), IMPOSSIBLE),
    "now": (with_numbers(1, LEAST, MOST, MOST, MOST, MOST, MOST, MOST), IMPOSSIBLE),
    "remaining": (with_numbers(1, NOW, MOST, NOW, MOST, NOW, MOST, NOW), IMPOSSIBLE),
    "reset": (with_numbers(0, NOW, 0, LEAST, 0, MOST, 0, MOST), IMPOSSIBLE),
}


def largest_size(s):
    """Peak size of the server's address space in bytes."""
    status = pathlib.Path(f"/proc/{s.process.pid}/status").read_text()
    return int(re.search(r"VmPeak:\s+(\d+) kB", status)[1]) * 1024


@pytest.mark.parametrize("when", ["from the start", "later"])
@pytest.mark.parametrize("lie", LIES)
def test_a_redis_that_lies(database, jotd, redis_server, lie, when):
    rewrite, reason = LIES[lie]
    client = database.client(tier="business")
    with Proxy(redis_server) as proxy:
        if when == "from the start":
            proxy.rewrite = rewrite
        with jotd(database, redis_url=f"redis://127.0.0.1:{proxy.port}", workers=1,
                  limiter_timeout_ms=5000) as s:
            size = None
            if when == "later":
                until(lambda: s.metric("jotd_limiter_fallback") == 0)
                assert s.token(client).headers["X-RateLimit-Remaining"]
                size = largest_size(s)
                proxy.rewrite = rewrite
            tokens = [s.token(client) for _ in range(3)]
            assert [token.status_code for token in tokens] == [200] * 3
            assert all(int(token.headers["X-RateLimit-Remaining"]) >= 0 for token in tokens)
            event = "limiter.error" if reason == IMPOSSIBLE else "limiter.fallback_begun"
            assert reason in s.wait_log(event)["reason"]
            assert size is None or largest_size(s) < size + 2**30  # not preallocated
            proxy.rewrite = lambda answer: answer
            proxy.cut()
            until(lambda: s.metric("jotd_limiter_fallback") == 0)
            errors = s.metric("jotd_limiter_backend_errors_total")
            assert s.token(client).status_code == 200
            assert s.metric("jotd_limiter_backend_errors_total") == errors


def message(kind, body):
    """A PostgreSQL protocol message from the server."""
    return kind + struct.pack(">i", len(body) + 4) + body


def parameters(answer):
    return answer + b"".join(message(b"S", b"p%d\0v\0" % n) for n in range(400_000))


def notices(answer):
    return answer + message(b"N", b"SNOTICE\0C00000\0Mnever mind\0\0") * 100_000


def rows(answer):
    """Repeats the one row of a look-up."""
    at = answer.find(b"D")
    if at < 0 or b"SELECT 1\0" not in answer:
        return answer
    end = at + 1 + struct.unpack_from(">i", answer, at + 1)[0]
    return answer[:at] + answer[at:end] * (80 * 2**20 // (end - at)) + answer[end:]


def copying(*messages):
    """These in place of the rows of a COPY to jotd; only the feed of revoked tokens asks for one."""
    def rewrite(answer):
        at, kept = 0, []
        while answer.startswith(b"H") and at < len(answer):
            end = at + 1 + struct.unpack_from(">i", answer, at + 1)[0]
            kept += messages if answer[at:at + 1] == b"H" else \
                [] if answer[at:at + 1] == b"d" else [answer[at:end]]
            at = end
        return b"".join(kept) or answer
    return rewrite


COPY_OUT, COPY_IN = (message(kind, b"\0\0\x03" + b"\0\0" * 3) for kind in (b"H", b"G"))
REVOKED = "1\t0192f1a5-7c3e-7d10-9f3b-2a6b1c4d5e6f\t"


@pytest.mark.parametrize("rewrite", [
    pytest.param(copying(COPY_IN), id="copy in"),
    pytest.param(copying(COPY_OUT), id="no rows"),
    pytest.param(copying(COPY_OUT, COPY_OUT), id="copy in copy"),
    *(pytest.param(copying(COPY_OUT, message(b"d", row.encode())), id=name) for name, row in {
        "empty": "", "line": "\n", "no number": "\t\\N\t\\N\n", "number": "12", "half": "12\t",
        "long number": "1" * 5000 + "\t\\N\t\\N\n", "short jti": REVOKED[:-2],
        "no expiry": REVOKED[:-1], "jti": REVOKED.replace("7d10", "7D1x") + "1\n",
        "NUL": REVOKED[:20] + "\0" * 30}.items()),
])
def test_a_database_that_lies_about_revoked_tokens(database, jotd, postgres, rewrite):
    client = database.client(tier="unlimited")
    with Proxy(postgres) as proxy:
        proxy.rewrite = rewrite
        with jotd(proxy.url(database), ready=False) as s:
            assert s.wait_log("feed.lost")["reason"] in (
                "unexpected answer", "revoked_tokens is not as it should be")
            until(lambda: s.token(client).status_code == 200)
            assert s.metric("jotd_revoked_tokens") == 0
            form = {"token": s.access_token(client)}
            auth = (client.id, client.secret)
            assert s.post("/introspect", form, auth=auth).status_code == 503
            proxy.rewrite = lambda answer: answer
            until(lambda: s.post("/introspect", form, auth=auth).status_code == 200)


@pytest.mark.parametrize("flood, is_lost", [(parameters, True), (notices, False), (rows, True)])
def test_a_database_that_talks_without_end(database, jotd, postgres, flood, is_lost):
    known, new = database.client(tier="unlimited"), database.client(tier="unlimited")
    with Proxy(postgres) as proxy, \
            jotd(database, database_url=proxy.url(database), workers=1) as s:
        assert s.token(known).status_code == 200
        before = s.metric("process_resident_memory_bytes")
        proxy.rewrite = flood
        answer = s.token(new)
        assert answer.status_code in (200, 503)
        assert s.token(known).status_code == 200
        if is_lost:
            reason = s.wait_log("pg.lost", connection="look-up")["reason"]
            assert "more than anybody has asked for" in reason
        proxy.rewrite = lambda answer: answer
        until(lambda: s.token(new).status_code == 200)
        assert s.token(known).status_code == 200
        assert s.metric("process_resident_memory_bytes") < before + 400 * 2**20
        assert sum(line["event"] == "pg.notice" for line in s.log) <= 10
