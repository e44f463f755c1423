"""Runs the programs of docs/recipes as they are: each gets a token and verifies one. Those that
need packages from Maven, Go or npm are long tests, and are skipped without their tools."""

import json
import os
import shutil
import subprocess
import time
import types

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec

from harness import long_test
from harness.process import ROOT

RECIPES = ROOT / "docs" / "recipes"
AUDIENCE, OTHER = "https://api.example.com", "https://other.example.com"
MAVEN = ["mvn", "-q", "-B", "compile", "dependency:copy-dependencies", "-DoutputDirectory=lib"]
JAVA = ["java", "-cp", "target/classes:lib/*", "Recipe"]
TOOLS = {  # the commands that prepare and run a recipe
    "python": (None, ["/usr/bin/python3", "recipe.py"]),
    "go": (["go", "build", "-o", "recipe", "."], ["./recipe"]),
    "node": (["npm", "install", "--no-package-lock", "--silent"], ["node", "recipe.js"]),
    "java": (MAVEN, JAVA),
    "spring-6": (MAVEN, JAVA),
    "spring-7": (MAVEN, JAVA),
}


def test_every_recipe_is_run():
    assert set(TOOLS) == {path.name for path in RECIPES.iterdir() if path.is_dir()}
    text = (RECIPES / "README.md").read_text()
    for name in TOOLS:
        assert f"]({name}/" in text


@pytest.fixture(scope="module", params=[
    name if name == "python" else pytest.param(name, marks=long_test) for name in TOOLS])
def recipe(request, directory):
    """recipe.run(**environment) runs it."""
    prepare, command = TOOLS[request.param]
    if prepare and shutil.which(prepare[0]) is None:
        pytest.skip(f"needs {prepare[0]}")
    home = directory / f"recipe-{request.param}"
    shutil.copytree(RECIPES / request.param, home)
    if prepare:
        subprocess.run(prepare, cwd=home, check=True, timeout=600)

    def run(**environment):
        return subprocess.run(
            command, cwd=home, text=True, capture_output=True, check=False, timeout=60,
            env={**os.environ, "OAUTHLIB_INSECURE_TRANSPORT": "1", **environment})

    return types.SimpleNamespace(name=request.param, run=run)


@pytest.fixture(scope="module")
def issuing(shared):
    """A server, one of its clients, and a recipe's environment."""
    client = shared.database.client(scope="read write", audience=[AUDIENCE, OTHER])
    environment = {"ISSUER": shared.url, "AUDIENCE": AUDIENCE, "CLIENT_ID": client.id,
                   "CLIENT_SECRET": client.secret}
    return types.SimpleNamespace(server=shared, client=client, environment=environment)


def test_a_recipe_gets_a_token_and_verifies_it(recipe, issuing):
    done = recipe.run(**issuing.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    claims = json.loads(done.stdout)
    assert claims["sub"] == issuing.client.id
    assert (claims["aud"], claims["scope"]) == (AUDIENCE, "read")  # exactly what was requested


def forged(server, claims, key=None, **header):
    """A token like the server's, signed with its key or another one."""
    (path,) = server.keys_dir.glob("*.ES256.*.pem")
    return jwt.encode(claims, key or path.read_text(), algorithm="ES256",
                      headers={"kid": path.name.split(".")[0], "typ": "at+jwt", **header})


BAD = {
    "another audience": lambda server, good: forged(server, {**good, "aud": OTHER}),
    "another issuer": lambda server, good: forged(server, {**good, "iss": "https://evil.example.com"}),
    "expired": lambda server, good: forged(server, {**good, "exp": int(time.time()) - 3600}),
    "an unknown key": lambda server, good: forged(server, good, kid="unknown"),
    "another key": lambda server, good: forged(server, good, ec.generate_private_key(ec.SECP256R1())),
    "an ID token": lambda server, good: forged(server, good, typ="JWT"),
}


def test_plain_http_in_the_manner_of_msal(issuing):
    """Non-OAuth parameters and headers are ignored; the secret is in the body."""
    answer = requests.post(
        issuing.server.url + "/token", timeout=10,
        headers={"x-client-sku": "MSAL.Python", "x-client-ver": "1.28.0", "x-ms-lib-capability":
                 "retry-after, h429", "client-request-id": "6f8b4cf2-6a4d-4d5a-9c0e-3f0b0f8f4a51"},
        data={"client_id": issuing.client.id, "client_secret": issuing.client.secret,
              "grant_type": "client_credentials", "scope": " read", "client_info": "1",
              "claims": '{"access_token": {}}'})
    assert answer.status_code == 200, answer.text
    assert answer.json()["token_type"] == "Bearer"
    assert answer.json()["scope"] == "read"


def test_a_recipe_refuses_tokens_that_are_not_for_it(recipe, issuing):
    token = issuing.server.access_token(issuing.client, resource=AUDIENCE)
    good = jwt.decode(token, options={"verify_signature": False})
    like = forged(issuing.server, good)
    assert recipe.run(**issuing.environment, TOKEN=like).returncode == 0
    for what, make in BAD.items():
        if recipe.name == "go" and what == "an ID token":
            continue  # go-oidc does not check the type, as the recipes' page says
        done = recipe.run(**issuing.environment, TOKEN=make(issuing.server, good))
        assert done.returncode != 0, what
        assert done.stdout == "", what
