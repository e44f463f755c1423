"""The programs of docs/verify.md: they verify tokens offline and hear which ones are revoked. Those
that need packages from Go or npm are long tests, and are skipped without their tools."""

import os
import shutil
import subprocess
import types

import pytest

from harness import long_test, until
from harness.process import ROOT

RECIPES, DRIVERS = ROOT / "docs" / "recipes", ROOT / "tests" / "verifiers" / "denylist"
AUDIENCE = "https://api.example.com"
STALE = 2  # seconds
UNKNOWN = "it is not known which tokens are revoked"
PROGRAMS = {  # suffix, and the commands that prepare and run it
    "python": ("py", None, ["/usr/bin/python3", "main.py"]),
    "go": ("go", ["go", "build", "-o", "verifier", "."], ["./verifier"]),
    "node": ("js", ["npm", "install", "--no-package-lock", "--silent"], ["node", "main.js"]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_page_shows_the_program(name):
    suffix, *_ = PROGRAMS[name]
    program = (RECIPES / name / f"denylist.{suffix}").read_text()
    assert f"```{suffix}\n{program}```\n" in (ROOT / "docs" / "verify.md").read_text()


@pytest.fixture(params=[
    name if name == "python" else pytest.param(name, marks=long_test) for name in PROGRAMS])
def program(request, tmp_path):
    """program.start(**environment) runs it; then program.verify(token) is `ok` or an error."""
    suffix, prepare, command = PROGRAMS[request.param]
    if prepare and shutil.which(prepare[0]) is None:
        pytest.skip(f"needs {prepare[0]}")
    home = tmp_path / "verifier"
    shutil.copytree(RECIPES / request.param, home)
    shutil.copy(DRIVERS / f"main.{suffix}", home)
    if prepare:
        subprocess.run(prepare, cwd=home, check=True, timeout=300)
    running = types.SimpleNamespace(name=request.param)

    def start(**environment):
        running.child = subprocess.Popen(
            command, cwd=home, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "POLL_S": "0.1", "STALE_S": str(STALE), **environment})

    def verify(token):
        running.child.stdin.write(token + "\n")
        running.child.stdin.flush()
        return running.child.stdout.readline().rstrip()

    running.start, running.verify = start, verify
    yield running
    running.child.kill()
    running.child.communicate()


def revoke(server, client, token):
    answer = server.post("/revoke", {"token": token}, auth=(client.id, client.secret))
    assert answer.status_code == 200


def start_again(server, database):
    """The same server, on another database."""
    server.environment["DATABASE_URL"] = database.url
    server.start()
    server.wait_until("/ready")


def test_a_verifier_hears_what_is_revoked(program, databases, database, jotd):
    client = database.client(audience=AUDIENCE, tier="unlimited")
    database.cli("client", "update", client.id, "--introspect", AUDIENCE)
    with jotd(database) as s:
        # A token on the second page, and one more on the third.
        database.execute("INSERT INTO revoked_tokens (jti, expires_at) SELECT gen_random_uuid(),"
                         " now() + interval '1 hour' FROM generate_series(1, 2001)")
        early, token, last = (s.access_token(client) for _ in range(3))
        revoke(s, client, early)
        program.start(ISSUER=s.url, AUDIENCE=AUDIENCE, CLIENT_ID=client.id,
                      CLIENT_SECRET=client.secret)
        until(lambda: program.verify(token) == "ok")
        assert program.verify(early) == "revoked"
        assert program.verify(token[:-4] + "AAAA") not in ("ok", UNKNOWN)
        revoke(s, client, token)
        until(lambda: program.verify(token) == "revoked")
        assert program.verify(last) == "ok"

        # A cursor of another database: it begins again, and keeps what it has.
        s.stop()
        with databases.empty(template=database.name) as other:
            other.execute("DELETE FROM revoked_tokens")
            start_again(s, other)
            until(lambda: s.metric("jotd_http_requests_total", endpoint="/revocations",
                                   code="410"))
            until(lambda: program.verify(last) == "ok")
            assert program.verify(token) == program.verify(early) == "revoked"
            revoke(s, client, last)
            until(lambda: program.verify(last) == "revoked")

            # It cannot be reached for too long: none is accepted any more.
            fresh = s.access_token(client)
            until(lambda: program.verify(fresh) == "ok")
            s.stop()
            until(lambda: program.verify(fresh) == UNKNOWN)
