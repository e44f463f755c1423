"""Secrets in memory: they are not in core files, and do not stay longer than they are needed."""

import array
import base64
import contextlib
import fcntl
import os
import pathlib
import socket
import subprocess
import termios

import pytest
from cryptography.hazmat.primitives import serialization

from harness import memory, until
from harness.process import binary, clean_environment, has_sanitizer, run_jotd, spawn
from harness.secret import make_secret
from harness.server import receive

NOBODY = 65534


def assert_private(pid):
    """The process leaves no core file, and only root may read its memory."""
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines()
    (core,) = [line.split()[4:6] for line in limits if line.startswith("Max core file size")]
    assert core == ["0", "0"]
    if os.geteuid() == 0 and not has_sanitizer("asan"):  # whose leak check must read it
        assert pathlib.Path(f"/proc/{pid}/environ").stat().st_uid == 0  # not NOBODY


def held(*command, **options):
    """Spawns a command, as user nobody if we are root."""
    user = {"user": NOBODY, "group": NOBODY} if os.geteuid() == 0 else {}
    return spawn([binary(), *command], stderr=subprocess.DEVNULL, **user, **options)


def waiting(pipe, which=termios.FIONREAD):
    """Bytes that nobody has read yet."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, which, count)
    return count[0]


def end(process):
    process.kill()
    process.wait()


def skip_unless_searchable(s):
    if s.is_sanitized:
        pytest.skip("a sanitizer keeps freed memory")
    try:
        memory.find(s.process.pid, ())
    except PermissionError:
        pytest.skip("may not look into the process")


def test_the_server_is_private(shared):
    assert_private(shared.process.pid)


def test_a_command_that_makes_a_secret_is_private(database):
    with database.locked():
        command = held("client", "create", "--name", "x", stdout=subprocess.DEVNULL,
                       env=clean_environment(DATABASE_URL=database.url))
        try:
            until(database.waiting_for_lock)
            assert_private(command.pid)
        finally:
            end(command)


def test_a_command_that_reads_keys_is_private(directory):
    """It blocks on its long output while nobody reads it."""
    keys = directory / "many-keys"
    env = clean_environment(JOTD_KEYS_DIR=str(keys))
    for _ in range(60):
        run_jotd("key", "create", "--alg", "HS256", "--now", env=env)
    if os.geteuid() == 0:
        for path in (keys, *keys.iterdir()):
            os.chown(path, NOBODY, NOBODY)
    reader, writer = os.pipe()
    command = None
    try:
        room = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        command = held("key", "list", stdout=writer, env=env)
        until(lambda: waiting(reader) == room)
        assert_private(command.pid)
    finally:
        if command is not None:
            end(command)
        os.close(reader)
        os.close(writer)


# Keys: in locked memory

def key_parts(path):
    """What must not be found elsewhere: the lines of the file, and the private number in DER's and
    in OpenSSL's byte order."""
    pem = path.read_bytes()
    numbers = serialization.load_pem_private_key(pem, None).private_numbers()
    number = getattr(numbers, "private_value", None) or numbers.d
    whole = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return {*(line[:32] for line in pem.splitlines()[1:-2]), whole[:24], whole[-24:][::-1]}


def is_locked(facts):
    return " lo" in facts.partition("VmFlags:")[2]


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_a_key_is_in_locked_memory_and_nowhere_else(database, jotd, alg):
    client = database.client(tier="unlimited")
    with jotd(database, keys=alg, workers=2) as s:
        skip_unless_searchable(s)
        assert not [line for line in s.log if line["event"] == "memory.not_locked"]
        for _ in range(20):
            assert s.token(client).status_code == 200
        (path,) = s.keys_dir.iterdir()
        parts = key_parts(path)
        assert len(memory.find(s.process.pid, parts, is_locked)) >= len(parts) - 1  # not the DER
        until(lambda: not memory.find(s.process.pid, parts, lambda facts: not is_locked(facts)))


def test_without_the_right_to_lock_memory_it_is_said_once(database, jotd, tmp_path, monkeypatch):
    program = tmp_path / "jotd"
    program.write_text("#!/bin/sh\nexec setpriv --bounding-set=-ipc_lock prlimit --memlock=65536 "
                       f'{binary()} "$@"\n')
    program.chmod(0o755)
    if has_sanitizer("asan") or has_sanitizer("tsan"):
        pytest.skip("a sanitizer locks no memory and says that it does")
    if subprocess.run([program, "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("may not give up the right to lock memory")
    monkeypatch.setenv("JOTD_BIN", str(program))
    with jotd(database) as s:
        assert s.token(database.client()).status_code == 200
        said = [line for line in s.log if line["event"] == "memory.not_locked"]
        assert len(said) == 1
        assert "LimitMEMLOCK" in said[0]["reason"]


# Client secrets: nothing remains, whatever became of the request

GRANT = "grant_type=client_credentials"
FORM = "application/x-www-form-urlencoded"


def basic(client_id, secret):
    return base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def parts_of(secret):
    """What must not be found: 16-character pieces of the secret, in plain text or in Basic
    credentials."""
    texts = [secret, *(basic("x" * length, secret)[-64:] for length in (1, 2, 3))]
    return {text[at:at + 16].encode() for text in texts for at in range(0, len(text) - 15, 8)}


def request(body="", *headers, line="POST /token", secret=None):
    lines = [f"{line} HTTP/1.1", "Host: x", f"Content-Type: {FORM}", *headers]
    if secret:
        lines.append(f"Authorization: Basic {basic('someone', secret)}")
    if not any(name.startswith("Transfer-Encoding") for name in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", body])


def form(secret, before="", after=""):
    return f"{before}{GRANT}&client_id=someone&client_secret={secret}{after}"


def chunked(body, size):
    chunks = [body[at:at + size] for at in range(0, len(body), size)]
    text = "".join(f"{len(chunk):x}\r\n{chunk}\r\n" for chunk in chunks)
    return request(f"{text}0\r\n\r\n", "Transfer-Encoding: chunked")


def pieces(text, size):
    """The pieces are sent one at a time, so that the server reads them separately."""
    return [text[at:at + size].encode() for at in range(0, len(text), size)]


LONG = "&x=" + "y" * 12_000

# Each builds what is sent for a secret: text, or a list of pieces.
FINISHED = {
    "Basic": lambda secret: request(GRANT, secret=secret),
    "Basic, behind much in pieces": lambda secret: pieces(
        request(GRANT, "X: " + "y" * 12_000, secret=secret), 1000),
    "Basic, before much in pieces": lambda secret: pieces(
        request(form("x", after=LONG)).replace(
            "Host", f"Authorization: Basic {basic('someone', secret)}\r\nHost", 1), 3000),
    "two Authorizations": lambda secret: request(GRANT, "Authorization: Bearer x", secret=secret),
    "a form": lambda secret: request(form(secret)),
    "a form in pieces": lambda secret: pieces(request(form(secret)), 10),
    "a long form in pieces": lambda secret: pieces(request(form(secret, after=LONG)), 3000),
    "a long form, the secret last": lambda secret: pieces(
        request(form(secret, before=LONG)), 3000),
    "a form that is none": lambda secret: request(form(secret, after="%zz")),
    "a body that is too large": lambda secret: request(form(secret, after=LONG + LONG)),
    "a body that is far too large": lambda secret: request(form(secret, after="y" * 2_000_000)),
    "another content type": lambda secret: request(
        f'{{"client_secret":"{secret}"}}').replace(FORM, "application/json"),
    "chunks": lambda secret: chunked(form(secret), 1000),
    "small chunks": lambda secret: chunked(form(secret), 7),
    "small chunks in pieces": lambda secret: pieces(chunked(form(secret, before=LONG), 50), 3000),
    "broken chunks": lambda secret: chunked(form(secret), 7).replace("\r\n0\r\n", "\r\nzz\r\n"),
    "a path": lambda secret: request(line=f"GET /nothing/{secret}"),
    "a path that is normalized": lambda secret: request(line=f"GET /nothing/%2e%2e/{secret}"),
    "a query": lambda secret: request(line=f"GET /nothing?client_secret={secret}"),
    "a query of /token": lambda secret: request(GRANT, line=f"POST /token?client_secret={secret}"),
    "a method that is not taken": lambda secret: request(form(secret), line="DELETE /token",
                                                         secret=secret),
    "GET of /token": lambda secret: request(line="GET /token?x=y", secret=secret),
    "framing that is refused": lambda secret: request(form(secret), "Host: y", secret=secret),
    "an expectation": lambda secret: request(form(secret), "Expect: x", secret=secret),
    "a head that is none": lambda secret: request(form(secret), ": none", secret=secret),
    "several at once": lambda secret: request(GRANT, secret=secret) * 20,
}
UNFINISHED = {
    "half a head": lambda secret: request(GRANT, secret=secret).partition("\r\n\r\n")[0],
    "half a body": lambda secret: request(form(secret), secret=secret)[:-1],
    "half of a long body": lambda secret: pieces(
        request(form(secret, after=LONG), secret=secret)[:-1], 3000),
    "half of the chunks": lambda secret: chunked(form(secret), 7)[:-9],
}


@pytest.fixture
def searched(shared):
    skip_unless_searchable(shared)
    return shared


def assert_gone(s, secret):
    until(lambda: not memory.find(s.process.pid, parts_of(secret)))


def send(connection, text):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if isinstance(text, str):
        connection.sendall(text.encode())
        return
    for piece in text:
        connection.sendall(piece)
        until(lambda: not waiting(connection, termios.TIOCOUTQ))  # the server's kernel has it


@pytest.mark.parametrize("make", FINISHED.values(), ids=FINISHED)
def test_nothing_of_a_secret_stays(searched, make):
    secret = make_secret()
    with searched.connect() as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            send(connection, make(secret))
        assert receive(connection, 5, answers=1).startswith(b"HTTP/1.1 ")
        assert_gone(searched, secret)


@pytest.mark.parametrize("make", UNFINISHED.values(), ids=UNFINISHED)
def test_nothing_of_a_secret_stays_that_was_never_whole(searched, make):
    secret = make_secret()
    with searched.connect() as connection:
        send(connection, make(secret))
        until(lambda: memory.find(searched.process.pid, parts_of(secret)))
    assert_gone(searched, secret)


def test_nothing_of_a_right_secret_stays(searched):
    client = searched.database.client()
    assert searched.token(client).status_code == 200
    assert_gone(searched, client.secret)
    body = f"{GRANT}&client_id={client.id}&client_secret={client.secret}"
    assert searched.answer(request(body).encode()).status == 200
    assert_gone(searched, client.secret)
