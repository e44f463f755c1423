"""Bad input: every attack gets the documented answer or a closed connection, never a crash, a hang
or a leak, and the server answers the next client as usual."""

import base64
import contextlib
import random
import socket
import struct
import threading
import types

import pytest

from harness import parse_answers, until
from harness.server import receive

FORM = "grant_type=client_credentials"
CLOSE = "Connection: close\r\n"


@pytest.fixture(scope="module")
def client(shared):
    return shared.database.client(
        scope="read write", audience="https://api.example", tier="unlimited")


@pytest.fixture(autouse=True)
def unharmed(shared, client):
    """After every attack the server is alive and serving, and no sanitizer has complained."""
    yield
    assert shared.process.poll() is None, f"jotd has ended:\n{shared.stderr}"
    assert shared.token(client).status_code == 200
    shared.check_stderr()


def request(client, body=FORM, headers="", target="/token", length=None):
    """The bytes of a token request with additional `headers`; `length` overrides Content-Length."""
    body = body.encode() if isinstance(body, str) else body
    credentials = base64.b64encode(f"{client.id}:{client.secret}".encode()).decode()
    return (
        f"POST {target} HTTP/1.1\r\nHost: jotd\r\nAuthorization: Basic {credentials}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\n{headers}"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    ).encode() + body


def nobody(client, number):
    """A client that does not exist. Its secret is well-formed, so the id has to be looked up."""
    return types.SimpleNamespace(id=f"nobody{number}", secret=client.secret)


def assert_refused(answer, status=400, error="invalid_request"):
    assert (answer.status, answer.json()["error"]) == (status, error)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"


# Bodies

def test_a_body_of_16_kib_is_the_most(shared, client):
    body = FORM + "&x=" + "y" * (16 * 1024 - len(FORM) - 3)
    assert shared.answer(request(client, body)).status == 200
    assert_refused(shared.answer(request(client, body + "y")), 413)


@pytest.mark.parametrize("size", [17 * 1024, 64 * 1024 - 1, 64 * 1024])
def test_a_large_body(shared, client, size):
    assert_refused(shared.answer(request(client, FORM + "&x=" + "y" * (size - len(FORM) - 3))), 413)


@pytest.mark.parametrize("size", [64 * 1024 + 1, 200_000, 1024 * 1024])
def test_a_body_that_is_much_too_large(shared, client, size):
    """A client that is still sending can read the answer before the connection is reset."""
    for _ in range(20):
        answer = shared.post("/token", b"y" * size, auth=(client.id, client.secret), headers={
            "Content-Type": "application/x-www-form-urlencoded"})
        assert (answer.status_code, answer.json()["error"]) == (413, "invalid_request")
    assert_refused(shared.answer(request(client, b"y" * size)), 413)


def test_a_body_that_is_too_large_is_not_waited_for(shared, client):
    refused = shared.metric("jotd_http_requests_total", code="413")
    assert_refused(shared.answer(request(client, b"y" * 66_000, length=1024 * 1024)), 413)
    received = shared.raw(
        request(client, b"y" * 66_000, "Expect: 100-continue\r\n", length=500_000))
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 ")
    assert shared.metric("jotd_http_requests_total", code="413") == refused + 2


@pytest.mark.parametrize("length", [1024 * 1024 + 1, 2**63 - 1])
def test_a_body_past_the_hard_bound(shared, client, length):
    assert shared.answer(request(client, b"", length=length)).status == 413
    assert shared.answer(
        request(client, b"", "Expect: 100-continue\r\n", length=length)).status == 413


def test_who_goes_on_sending_after_a_refusal_is_cut_off(shared, client):
    with shared.connect() as connection:
        connection.sendall(request(client, b"y" * 66_000, length=1024 * 1024))
        assert b" 413 " in connection.recv(4096)
        sent = 0
        with pytest.raises(OSError):
            while True:
                sent += connection.send(b"y" * 65536)
        assert sent < 16 * 2**20  # what the server reads, plus kernel buffers


def test_a_chunked_body_without_an_end(shared, client):
    body = chunked(*[b"y" * 1000] * 66).removesuffix(b"0\r\n\r\n")
    assert_refused(shared.answer(chunked_request(client, body)), 413)


def test_a_body_byte_by_byte(shared, client):
    whole = request(client, headers=CLOSE)
    answer = shared.answer(whole[at:at + 1] for at in range(len(whole)))
    assert answer.status == 200


def chunked(*pieces, trailers=b""):
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return chunks + b"0\r\n" + trailers + b"\r\n"


def chunked_request(client, body, headers=""):
    head = request(client, b"", f"Transfer-Encoding: chunked\r\n{headers}")
    return head.replace(b"Content-Length: 0\r\n", b"") + body


def test_a_chunked_body(shared, client):
    for body in (
        chunked(FORM.encode()),
        chunked(*(bytes([byte]) for byte in FORM.encode())),
        chunked(b"grant_type=client", b"_credentials", trailers=b"X-Trailer: 1\r\n"),
    ):
        assert shared.answer(chunked_request(client, body)).status == 200
    whole = chunked_request(client, chunked(FORM.encode()))
    assert shared.answer(whole[at:at + 1] for at in range(len(whole))).status == 200


def test_a_chunked_body_that_is_large(shared, client):
    body = chunked(*[b"y" * 1000] * 17)
    assert_refused(shared.answer(chunked_request(client, body)), 413)
    received = shared.raw(chunked_request(client, chunked(*[b"y" * 65536] * 20)))
    assert received == b"" or received.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 "))


@pytest.mark.parametrize("body", [
    b"zz\r\nabc\r\n0\r\n\r\n", b"-5\r\nabc\r\n0\r\n\r\n", b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    b"fffffffffffffffffffff\r\nabc", b"3\r\nabcdef\r\n0\r\n\r\n", b"3;" + b"x" * 100000,
    b"0\r\n" + b"X: y\r\n" * 20000,
])
def test_a_broken_chunked_body(shared, client, body):
    for answer in parse_answers(shared.raw(chunked_request(client, body, CLOSE), half_close=True)):
        assert 400 <= answer.status < 500


@pytest.mark.parametrize("body", [
    b"%x\r\n%s\r\n0\r\n\r\n", b"%xg\r\n%s\r\n0\r\n\r\n", b"0x%x\r\n%s\r\n0\r\n\r\n", b"%x \r\n%s\r\n0\r\n\r\n",
    b"%x\n%s\r\n0\r\n\r\n", b"%x\r\r\n%s\r\n0\r\n\r\n", b"%x\r\n%s\n0\r\n\r\n", b"%x\r\n%s\r\n0\n\n",
    b"%x\r\n%s\r\n0\r\nno trailer\r\n\r\n",
])
def test_what_follows_chunks_is_never_read(shared, client, body):
    """libh2o accepts chunk sizes and line endings that another parser may read differently. After a
    chunked body it is in doubt where the next request begins, so the connection closes, whether or
    not the chunks were valid."""
    form = FORM.encode()
    smuggled = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    (answer,) = parse_answers(
        shared.raw(chunked_request(client, body % (len(form), form) + smuggled)))
    assert answer.status in (200, 400)
    assert answer.headers["connection"] == "close"


# Forms

@pytest.mark.parametrize("body", [
    f"{FORM}&{FORM}", f"{FORM}&scope=read&scope=write", f"{FORM}&a=1&b=2&a=1",
    f"{FORM}&scope=%zz", f"{FORM}&scope=%", f"{FORM}&scope=%0", f"{FORM}&%=", f"{FORM}&a=%%%",
    f"{FORM}&scope=read%00write", f"{FORM}&%00=1", f"{FORM}\0", "\0" * 100, "&", "=", "&&&&",
    "====",
    "", "grant_type", "=client_credentials", "%00=%00", "&" * 16000, "=" * 16000, "%" * 16000,
    "&".join([FORM, *(f"p{number}=1" for number in range(100))]),
    "&".join([FORM, *(f"resource=urn:{number}" for number in range(17))]),
    FORM.encode() + b"&scope=\xff\x00",
])
def test_malformed_forms(shared, client, body):
    assert_refused(shared.answer(request(client, body)))


@pytest.mark.parametrize("body", [
    f"{FORM}&scope=&resource=&audience=&client_id=&client_secret=", f"&&{FORM}&&", f"{FORM}&x",
    f"{FORM}&=1", f"{FORM}&x=\u00ff", FORM.encode() + b"&x=\xff\xfe\x80", f"{FORM}&x=%ff%fe%80",
    "grant%5ftype=client%5Fcredentials", f"{FORM}&SCOPE=x&Scope=y", f"{FORM}&x===",
])
def test_odd_forms_that_are_well_formed(shared, client, body):
    assert shared.answer(request(client, body)).status == 200


@pytest.mark.parametrize(
    "value", [b"%ff%fe", b"\xff\xfe", b"%c0%80", b"%22", b"%5c", b"%0a", b"%7f"])
def test_bytes_that_are_no_scope_and_no_resource(shared, client, value):
    form = FORM.encode()
    assert_refused(shared.answer(request(client, form + b"&scope=" + value)), error="invalid_scope")
    for name in (b"&resource=", b"&audience="):
        assert_refused(shared.answer(request(client, form + name + value)), error="invalid_target")


@pytest.mark.parametrize("value", [b"%ff%fe", b"\xff\xfe", b"%22%5c", b"%0d%0aX:+y", b"%27;--"])
def test_bytes_that_are_no_client_id(shared, client, value):
    body = FORM.encode() + b"&client_id=" + value + b"&client_secret=" + client.secret.encode()
    head = (b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\n")
    assert_refused(shared.answer(head % len(body) + body), 401, "invalid_client")


# Headers

def test_two_authorization_headers(shared, client):
    credentials = base64.b64encode(f"{client.id}:{client.secret}".encode()).decode()
    for value in (f"Basic {credentials}", "Basic eDp5", "Bearer x", ""):
        answer = shared.answer(request(client, headers=f"Authorization: {value}\r\n"))
        assert_refused(answer)


def test_two_content_type_headers(shared, client):
    for value in ("application/x-www-form-urlencoded", "application/json"):
        assert_refused(shared.answer(request(client, headers=f"Content-Type: {value}\r\n")))


def with_head(client, size, form=FORM, length=None):
    """A request whose head is exactly `size` bytes long."""
    head = request(client, form, "X-Large: \r\n" + CLOSE, length=length).partition(b"\r\n\r\n")[0]
    padding = b"x" * (size - len(head) - 4)
    return head.replace(b"X-Large: ", b"X-Large: " + padding) + b"\r\n\r\n" + form.encode()


def assert_head_refused(answer):
    assert_refused(answer, 431)
    assert answer.headers["connection"] == "close"


def test_a_head_of_16_kib_is_the_most(shared, client):
    assert shared.answer(with_head(client, 16 * 1024)).status == 200
    assert_head_refused(shared.answer(with_head(client, 16 * 1024 + 1)))


@pytest.mark.parametrize("size", [17_000, 70_000, 300_000, 1_000_000])
def test_a_head_that_is_too_large(shared, client, size):
    """Complete or not, with its body or without, alone or pipelined."""
    refused = shared.metric("jotd_http_requests_total", code="431")
    whole = with_head(client, size)
    for data in (whole, whole[:-len(FORM)], whole[:16_500], [whole[:16_000], whole[16_000:]],
                 with_head(client, size, form="", length=1000)):
        assert_head_refused(shared.answer(data))
        health, answer = parse_answers(shared.raw(
            [b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
             *([data] if isinstance(data, bytes) else data)]))
        assert health.status == 200
        assert_head_refused(answer)
    assert shared.metric("jotd_http_requests_total", code="431") == refused + 10


@pytest.mark.parametrize("start", [b"", b"\r\n", b"GET", b"GET / HTTP/1.1\r\nX: ",
                                   b"GET / HTTP/1.1\nX: y\n", b"\0"])
def test_a_head_without_an_end(shared, start):
    received = shared.raw(start + b"x" * 300_000)
    assert received.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")) and received.count(b"HTTP") == 1


def test_very_many_headers(shared, client):
    for count in (50, 99, 100, 101, 10_000):
        headers = "".join(f"X-{number}: y\r\n" for number in range(count))
        received = shared.raw(request(client, headers=headers + CLOSE))
        assert received.startswith(b"HTTP/1.1 200 " if count == 50 else b"HTTP/1.1 400 ")


def test_a_large_authorization_header(shared):
    for value, statuses in (("Basic " + "QUJD" * 3_000, (400, 401)), ("B" * 15_000, (400, 401)),
                            ("Basic " + "=" * 10_000, (400, 401)), ("B" * 100_000, (431,))):
        answer = shared.answer(
            f"POST /token HTTP/1.1\r\nHost: x\r\nAuthorization: {value}\r\n{CLOSE}"
            f"Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(FORM)}\r\n\r\n{FORM}".encode())
        assert answer.status in statuses


@pytest.mark.parametrize("length", ["-1", "-0", "abc", "", "0x1d", "29, 29", "1e1",
                                    "18446744073709551615", "18446744073709551616",
                                    "9223372036854775807", "99999999999999999999999999"])
def test_a_content_length_that_is_none(shared, client, length):
    received = shared.raw(request(client, headers=CLOSE, length=length), half_close=True)
    assert received == b"" or received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))


def test_a_body_that_is_shorter_than_it_says(shared, client):
    assert shared.raw(request(client, length=1000), half_close=True) == b""


def test_a_body_that_is_longer_than_it_says(shared, client):
    """The excess is read as the next request, and refused."""
    received = shared.raw(request(client, FORM + "&scope=read\r\n\r\n", length=len(FORM)))
    first, *rest = received.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200 ")
    assert len(rest) == 1 and rest[0].startswith(b"400 ")


def test_no_content_length_means_no_body(shared, client):
    whole = request(client, b"", CLOSE).replace(b"Content-Length: 0\r\n", b"")
    assert_refused(shared.answer(whole))


def test_content_length_and_transfer_encoding(shared, client):
    """RFC 9112 6.3: never read as two requests."""
    smuggled = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    body = chunked(FORM.encode())
    for length in (len(body) + len(smuggled), len(body), 4, 0):
        whole = request(client, b"", f"Transfer-Encoding: chunked\r\n{CLOSE}", length=length)
        answers = parse_answers(shared.raw(whole + body + smuggled, half_close=True))
        assert len(answers) <= 1
        assert not answers or answers[0].status in (200, 400)


@pytest.mark.parametrize("start", [
    "POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "POST /token HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n"
    "Transfer-Encoding: chunked\r\n\r\n",
    "POST /token HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n",
    "POST /token HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /token HTTP/1.1\r\nHost: x\r\nHost: y\r\nTransfer-Encoding: chunked\r\n\r\n",
])
@pytest.mark.parametrize("before", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_framing_that_another_reader_may_see_otherwise(shared, start, before):
    """RFC 9112: 400 and close, alone and pipelined; what follows is never read. libh2o by itself
    accepts every one of these."""
    body = b"0\r\n\r\n"
    following = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
    answers = parse_answers(shared.raw(before + start.encode() + body + following))
    assert [answer.status for answer in answers] == [200, 400][0 if before else 1:]
    assert_refused(answers[-1])
    assert answers[-1].headers["connection"] == "close"


def test_transfer_encodings_that_nobody_knows(shared, client):
    for coding in ("gzip", "gzip, chunked", "chunked, chunked", "identity", "xchunked", ""):
        received = shared.raw(chunked_request(client, chunked(FORM.encode())).replace(
            b"Transfer-Encoding: chunked", f"Transfer-Encoding: {coding}".encode()),
            half_close=True)
        assert received == b"" or received.startswith(b"HTTP/1.1 ")


def test_expect_100_continue(shared, client):
    head, body = request(client, headers="Expect: 100-continue\r\n" + CLOSE).split(b"\r\n\r\n")
    with shared.connect() as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert receive(connection, 5, answers=1).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert receive(connection, 5, answers=1).startswith(b"HTTP/1.1 200 ")


def test_expect_something_else(shared, client):
    received = shared.raw(request(client, headers="Expect: the-spanish-inquisition\r\n" + CLOSE))
    assert received == b"" or received.startswith((b"HTTP/1.1 417 ", b"HTTP/1.1 200 "))


@pytest.mark.parametrize("line", [
    "X\0Y: z", "X: a\0b", "X : y", ": y", "novalue", " folded: x", "X: \x01", "X: \u00ff", "X: ",
    "Host: a\r\nHost: b", "Connection: upgrade, close, keep-alive, x", "Range: bytes=0-0",
])
def test_odd_header_lines(shared, client, line):
    received = shared.raw(request(client, headers=f"{line}\r\n{CLOSE}"), half_close=True)
    assert received == b"" or received.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))


# Targets

@pytest.mark.parametrize("target, status", [
    ("/token?x=1", 200), ("/token?", 200), ("//token", 404),
    ("/token/", 404), ("/token/x", 404), ("/token//", 404), ("/TOKEN", 404), ("/token%00", 404),
    ("/token;x", 404), ("/" + "a" * 15_000, 404), ("/" + "a" * 60_000, 431),
    ("/" + "%2e%2e/" * 1000 + "etc/passwd", 404),
    ("/%", 404), ("/%zz", 404), ("/\u00ff", 404),
])
def test_targets(shared, client, target, status):
    answer = shared.answer(request(client, target=target, headers=CLOSE))
    assert answer.status == status
    if status != 200:
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("target", [
    "/./token", "/x/../token", "/%74oken", "/../token", "*", "token", "", "?", "http://",
    "http://jotd/token", "http:///", "https://jotd:99999/token", "http://jotd",
    "/token#x",
])
def test_targets_that_one_may_read_either_way(shared, client, target):
    received = shared.raw(request(client, target=target, headers=CLOSE), half_close=True)
    assert received == b"" or received.startswith(
        (b"HTTP/1.1 200 ", b"HTTP/1.1 400 ", b"HTTP/1.1 404 "))


def test_no_made_up_path_or_method_comes_back(shared):
    marker = b"zebra-4711"
    for data in (b"GET /%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % marker,
                 b"%s /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % marker,
                 b"GET /token?%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (
                     marker, marker)):
        assert marker not in shared.raw(data)


# Protocols

@pytest.mark.parametrize("data", [
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"GET / HTTP/3.0\r\n\r\n", b"GET / HTTP/1.9\r\n\r\n", b"GET / HTTP/0.9\r\n\r\n",
    b"GET /\r\n\r\n", b"GET\r\n\r\n", b"\r\n\r\n", b"\n\n\n\n", b"\0\0\0\0",
    b"CONNECT jotd:80 HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500, b"OPTIONS * HTTP/1.1\r\n\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET /health HTTP/1.1\r\n\r\n", b"*3\r\n$3\r\nSET\r\n",
])
def test_other_protocols(shared, data):
    """Only HTTP/1 is spoken: in particular, no HTTP/2 frame comes back."""
    received = shared.raw(data, half_close=True)
    assert received == b"" or received.startswith(b"HTTP/1.")
    assert b" 101 " not in received[:20]


def test_an_upgrade_to_http2_is_not_made(shared, client):
    upgrade = ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
               "HTTP2-Settings: AAMAAABkAAQAAP__\r\n")
    answer = shared.answer(request(client, headers=upgrade))
    assert answer.status in (200, 400)
    for headers in (upgrade, "Connection: Upgrade\r\nUpgrade: websocket\r\n"):
        answer = shared.answer(f"GET /health HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        assert answer.status in (200, 400)


def test_ten_thousand_pipelined_requests(shared, client):
    """All are answered, in order."""
    round_of_four = [
        (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (request(client), 200),
        (b"GET /token HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    ]
    data = b"".join(part for part, _ in round_of_four) * 2500
    with shared.connect() as connection:
        sender = threading.Thread(target=connection.sendall, args=(data,))
        sender.start()
        answers = parse_answers(receive(connection, timeout=20, answers=10_000))
        sender.join()
    assert [answer.status for answer in answers] == [status for _, status in round_of_four] * 2500
    assert all(b"access_token" in answer.body for answer in answers[2::4])


# Clients that leave, and clients that do not read

def abort(connection):
    """Closes with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_clients_that_leave_in_the_middle_of_a_request(shared, client):
    whole = request(client)
    for at in range(0, len(whole), 3):
        connection = shared.connect()
        connection.sendall(whole[:at])
        abort(connection) if at % 2 else connection.close()


def test_clients_that_leave_in_the_middle_of_the_answer(shared, client):
    for _ in range(50):
        connection = shared.connect()
        connection.sendall(request(client) + b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        connection.recv(10)
        abort(connection)
    until(lambda: shared.metric("jotd_http_connections") <= 2)


def test_what_a_client_that_left_had_asked_is_not_worked_on(shared, client):
    """Many pipelined requests, then a reset before the first is answered."""
    before = shared.metric("jotd_http_requests_total")
    with shared.database.locked():
        connection = shared.connect()
        connection.sendall(request(nobody(client, 7)) + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        until(shared.database.waiting_for_lock)
        abort(connection)
    until(lambda: shared.metric("jotd_http_connections") <= 2)
    assert shared.metric("jotd_http_requests_total") < before + 100


def test_clients_that_leave_while_their_client_is_looked_up(shared, client):
    with shared.database.locked():
        for number in range(20):
            connection = shared.connect()
            connection.sendall(request(nobody(client, number)))
            until(shared.database.waiting_for_lock)
            abort(connection)
    until(lambda: shared.metric("jotd_http_connections") <= 2)


def test_a_client_that_never_reads(shared, client):
    """Its buffers fill and it stalls; nobody else notices."""
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            connection = stack.enter_context(shared.connect())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                while True:
                    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        assert shared.token(client).status_code == 200


def test_many_connections_that_say_nothing(shared, client):
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(shared.connect())
        assert shared.token(client).status_code == 200


# All at once

def test_mutilated_requests(shared, client):
    """Valid requests with random bytes changed, deleted and inserted; the same ones in every run.
    """
    chance = random.Random(7519)
    for _ in range(300):
        data = bytearray(request(client, FORM + "&scope=read", headers=CLOSE))
        for _ in range(chance.randrange(1, 8)):
            at = chance.randrange(len(data))
            match chance.randrange(3):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at:at + chance.randrange(1, 20)]
                case 2:
                    data[at:at] = chance.randbytes(chance.randrange(1, 20))
        received = shared.raw(bytes(data), half_close=True)
        assert received == b"" or received.startswith(b"HTTP/1.1 "), bytes(data)


def test_memory_does_not_grow_with_the_attacks(shared, client):
    if shared.is_sanitized:
        pytest.skip("a sanitizer keeps freed memory")

    def attack():
        for _ in range(20):
            shared.answer(request(client, b"y" * 1024 * 1024))
            shared.raw(b"POST /token HTTP/1.1\r\nX-Large: " + b"x" * 300_000, half_close=True)
            shared.answer(request(client, "&" * 16000))
            shared.raw(chunked_request(client, b"3;" + b"x" * 100_000), half_close=True)
            for number in range(20):
                shared.answer(request(nobody(client, number)))

    def resident():
        return shared.metric("process_resident_memory_bytes")

    attack()
    before = resident()
    for _ in range(5):
        attack()
    assert resident() - before < 4 * 1024 * 1024
