"""POST /introspect and /revoke, GET /revocations."""

import jwt as pyjwt
import pytest

from harness import until

AUDIENCE, OTHER = "https://api.example.com", "https://other.example.com"
INACTIVE = b'{"active":false}'


@pytest.fixture(scope="module")
def client(shared):
    return shared.database.client(scope="read write", audience=[AUDIENCE, OTHER],
                                  tier="unlimited")


def introspect(server, client, token, **form):
    return server.post("/introspect", {"token": token, **form}, auth=(client.id, client.secret))


def revoke(server, client, token, **form):
    return server.post("/revoke", {"token": token, **form}, auth=(client.id, client.secret))


def test_an_active_token(shared, client):
    token = shared.access_token(client)
    answer = introspect(shared, client, token, token_type_hint="access_token")
    assert answer.status_code == 200
    claims = pyjwt.decode(token, options={"verify_signature": False})
    assert answer.json() == {"active": True, **claims, "token_type": "Bearer"}
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"


def test_a_revoked_token(shared, client):
    token = shared.access_token(client)
    answer = revoke(shared, client, token)
    assert (answer.status_code, answer.content) == (200, b"")
    answer = introspect(shared, client, token)
    assert (answer.status_code, answer.content) == (200, INACTIVE)
