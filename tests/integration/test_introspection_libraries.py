"""What users have: libraries ask about tokens and revoke them with functions of their own, and so do
the lines of docs/tokens.md. Those from npm and Maven are long tests, and are skipped without their
tools."""

import json
import os
import re
import shutil
import subprocess

import pytest
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import BackendApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from harness import claims_of, long_test
from harness.process import ROOT

PROGRAMS = ROOT / "tests" / "verifiers"
AUDIENCE = "https://api.example.com"
INACTIVE = {"active": False}


@pytest.fixture(scope="module")
def client(shared):
    made = shared.database.client(scope="read write", audience=AUDIENCE)
    shared.database.cli("client", "update", made.id, "--claim", 'plan=["gold"]')
    return made


def active(token):
    return {"active": True, "token_type": "Bearer", **claims_of(token)}


def is_active(server, client, token):
    answer = server.post("/introspect", {"token": token}, auth=(client.id, client.secret))
    return answer.json()["active"]


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib(shared, client, method):
    metadata = shared.get("/.well-known/oauth-authorization-server").json()
    token = shared.access_token(client)
    with AuthlibSession(client.id, client.secret, token_endpoint_auth_method=method,
                        revocation_endpoint_auth_method=method) as session:
        introspect = lambda: session.introspect_token(
            metadata["introspection_endpoint"], token=token, token_type_hint="access_token")
        assert introspect().json() == active(token)
        revoked = session.revoke_token(
            metadata["revocation_endpoint"], token=token, token_type_hint="access_token")
        assert revoked.status_code == 200
        assert introspect().json() == INACTIVE


def test_requests_oauthlib(shared, client, monkeypatch):
    """It has no function that asks; oauthlib writes the request that revokes."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    application, basic = BackendApplicationClient(client.id), HTTPBasicAuth(client.id, client.secret)
    with OAuth2Session(client=application) as session:
        token = session.fetch_token(shared.url + "/token", auth=basic)["access_token"]
        assert is_active(shared, client, token)
        url, headers, body = application.prepare_token_revocation_request(
            shared.url + "/revoke", token)
        answer = session.post(url, headers=headers, data=body, auth=basic, withhold_token=True)
        assert answer.status_code == 200
    assert not is_active(shared, client, token)


def test_the_lines_of_the_page(shared, client, tmp_path):
    """As they are, but for the address."""
    page = (ROOT / "docs" / "tokens.md").read_text()
    (block,) = re.findall(r"^```\n(demo=.*?)^```$", page, re.M | re.S)
    block = block.replace("http://127.0.0.1:8080", shared.url).replace("demo:$", f"{client.id}:$")
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "demo-client").write_text(
        json.dumps({"client_id": client.id, "client_secret": client.secret}))
    done = subprocess.run(["bash", "-ec", block], cwd=tmp_path, text=True, capture_output=True,
                          check=True, timeout=30)
    first, _, second = done.stdout.partition("}")
    assert json.loads(first + "}")["active"] is True
    assert json.loads(second) == INACTIVE


@pytest.fixture
def prepared(tmp_path):
    """prepared(name, command) copies one of the programs and prepares it."""
    def prepare(name, command):
        if shutil.which(command[0]) is None:
            pytest.skip(f"needs {command[0]}")
        home = tmp_path / name
        shutil.copytree(PROGRAMS / name, home)
        subprocess.run(command, cwd=home, check=True, timeout=600)
        return home

    return prepare


def run(command, home, server, client, **environment):
    done = subprocess.run(
        command, cwd=home, text=True, capture_output=True, check=False, timeout=60,
        env={**os.environ, "ISSUER": server.url, "CLIENT_ID": client.id,
             "CLIENT_SECRET": client.secret, **environment})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@long_test
def test_oauth4webapi_and_openid_client(prepared, shared, client):
    home = prepared("introspection-node", ["npm", "install", "--no-package-lock", "--silent"])
    one, other = (shared.access_token(client) for _ in range(2))
    said = run(["node", "main.js"], home, shared, client, TOKENS=f"{one} {other}")
    assert json.loads(said) == {"oauth4webapi": [active(one), INACTIVE],
                                "openidClient": [active(other), INACTIVE]}


@long_test
def test_spring_security(prepared, shared, client):
    """A service that may ask about the tokens of its audience."""
    home = prepared("introspection-spring", ["mvn", "-q", "-B", "compile",
                                             "dependency:copy-dependencies", "-DoutputDirectory=lib"])
    service = shared.database.client()
    shared.database.cli("client", "update", service.id, "--introspect", AUDIENCE)
    good, revoked = (shared.access_token(client) for _ in range(2))
    answer = shared.post("/revoke", {"token": revoked}, auth=(client.id, client.secret))
    assert answer.status_code == 200
    said = run(["java", "-cp", "target/classes:lib/*", "Introspect", good, revoked, "none"], home,
               shared, service)
    assert said.splitlines()[-3:] == [
        f"{client.id} [{AUDIENCE}] [SCOPE_read, SCOPE_write]", "inactive", "inactive"]
