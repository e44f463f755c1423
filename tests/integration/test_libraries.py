"""What users have: OAuth libraries request tokens, and JWT libraries verify them."""

import base64

import authlib.jose
import jwt as pyjwt
import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import BackendApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

AUDIENCE = "https://api.example"


def read_hs256_secret(s):
    """The 32 bytes in the server's only key file."""
    (path,) = s.keys_dir.glob("*.HS256.*.pem")
    lines = path.read_text().splitlines()
    assert (lines[0], lines[-1]) == (
        "-----BEGIN JOTD HS256 KEY-----", "-----END JOTD HS256 KEY-----")
    secret = base64.b64decode("".join(lines[1:-1]))
    assert len(secret) == 32
    return secret


@pytest.mark.parametrize("alg", ["ES256", "RS256", "HS256"])
def test_tokens_verify(database, jotd, alg):
    client = database.client(audience=AUDIENCE)
    with jotd(database, keys=alg) as s:
        token = s.access_token(client)
        header = pyjwt.get_unverified_header(token)
        assert (header["alg"], header["typ"]) == (alg, "at+jwt")
        if alg == "HS256":
            pyjwt_key = authlib_key = read_hs256_secret(s)
        else:
            pyjwt_key = pyjwt.PyJWKClient(
                s.url + "/.well-known/jwks.json").get_signing_key_from_jwt(token).key
            authlib_key = authlib.jose.JsonWebKey.import_key_set(s.jwks())

    found = pyjwt.decode(
        token, pyjwt_key, algorithms=[alg], audience=AUDIENCE, issuer=s.url,
        options={"require": ["iss", "exp", "aud", "sub", "iat", "jti"]},
    )
    assert found["client_id"] == client.id

    same = authlib.jose.JsonWebToken([alg]).decode(token, authlib_key)
    same.validate()
    assert dict(same) == found


@pytest.mark.parametrize("alg", ["ES256", "RS256", "HS256"])
def test_a_changed_token_does_not_verify(database, jotd, alg):
    with jotd(database, keys=alg) as s:
        token = s.access_token(database.client())
        key = (read_hs256_secret(s) if alg == "HS256" else
               pyjwt.PyJWKSet.from_dict(s.jwks()).keys[0].key)
    head, payload, signature = token.split(".")
    flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
    with pytest.raises(pyjwt.InvalidSignatureError):
        pyjwt.decode(f"{head}.{payload}.{flipped}", key, algorithms=[alg],
                     options={"verify_aud": False})


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_grant_by_authlib(shared, method):
    client = shared.database.client(scope="read write")
    metadata = shared.get("/.well-known/oauth-authorization-server").json()
    with AuthlibSession(
        client.id, client.secret, scope="read", token_endpoint_auth_method=method
    ) as session:
        token = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    assert (token["token_type"], token["scope"], token["expires_in"]) == ("Bearer", "read", 3600)
    assert not token.is_expired()


@pytest.mark.parametrize("in_body", [False, True], ids=["basic", "body"])
def test_a_grant_by_requests_oauthlib(shared, monkeypatch, in_body):
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    client = shared.database.client(scope="read write")
    application = BackendApplicationClient(client_id=client.id, scope=["read"])
    if in_body:
        how = {"include_client_id": True, "client_secret": client.secret}
    else:
        how = {"auth": HTTPBasicAuth(client.id, client.secret)}
    with OAuth2Session(client=application) as session:
        token = session.fetch_token(shared.url + "/token", **how)
    assert (token["token_type"], token["scope"]) == ("Bearer", ["read"])


def test_an_error_that_libraries_understand(shared):
    client = shared.database.client(scope="read")
    with AuthlibSession(client.id, client.secret, scope="admin") as session, pytest.raises(
        OAuthError, match="invalid_scope"
    ):
        session.fetch_token(shared.url + "/token", grant_type="client_credentials")
