"""The metadata and the key set: what a library reads before it requests or verifies a token."""

import base64
import hashlib
import json

import pytest

from harness import until

METADATA = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]
JWKS = "/.well-known/jwks.json"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def thumbprint(jwk):
    """RFC 7638."""
    members = {"EC": ["crv", "kty", "x", "y"], "RSA": ["e", "kty", "n"]}[jwk["kty"]]
    text = json.dumps({name: jwk[name] for name in members}, separators=(",", ":"), sort_keys=True)
    return base64url(hashlib.sha256(text.encode()).digest())


@pytest.mark.parametrize("path", METADATA)
def test_metadata(shared, path):
    answer = shared.get(path)
    document = answer.json()
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert document["issuer"] == shared.url
    assert document["token_endpoint"] == shared.url + "/token"
    assert document["jwks_uri"] == shared.url + JWKS
    assert document["grant_types_supported"] == ["client_credentials"]
    assert document["response_types_supported"] == []
    assert sorted(document["token_endpoint_auth_methods_supported"]) == [
        "client_secret_basic", "client_secret_post"]


@pytest.mark.parametrize("path", METADATA)
def test_metadata_names_the_algorithms_of_the_published_keys(database, jotd, path):
    def algorithms():
        return s.get(path).json()["id_token_signing_alg_values_supported"]

    with jotd(database, keys="HS256") as s:
        assert s.get(path).json()["subject_types_supported"] == ["public"]
        assert algorithms() == []
        s.create_key("RS256")
        until(lambda: algorithms() == ["RS256"])
        s.create_key("ES256")
        until(lambda: algorithms() == ["ES256", "RS256"])


def test_both_places_say_the_same(shared):
    first, second = (shared.get(path) for path in METADATA)
    assert first.content == second.content


def test_metadata_of_an_issuer_behind_a_proxy(database, jotd):
    with jotd(database, issuer="https://id.example") as s:
        document = s.get(METADATA[0]).json()
        assert document["issuer"] == "https://id.example"
        assert document["token_endpoint"] == "https://id.example/token"
        assert document["jwks_uri"] == "https://id.example" + JWKS


def test_jwks_of_es256(shared):
    answer = shared.get(JWKS)
    (key,) = answer.json()["keys"]
    assert answer.headers["Content-Type"] in ("application/json", "application/jwk-set+json")
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert set(key) == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")
    assert len(key["x"]) == len(key["y"]) == 43
    assert key["kid"] == thumbprint(key)


def test_jwks_of_rs256(database, jotd):
    with jotd(database, keys="RS256") as s:
        (key,) = s.jwks()["keys"]
        assert set(key) == {"kty", "n", "e", "kid", "alg", "use"}
        assert (key["kty"], key["alg"], key["use"], key["e"]) == ("RSA", "RS256", "sig", "AQAB")
        assert len(key["n"]) >= 342  # 2048 bits
        assert key["kid"] == thumbprint(key)


def test_a_shared_secret_is_never_published(database, jotd):
    with jotd(database, keys="HS256") as s:
        assert s.jwks() == {"keys": []}
        s.create_key("ES256")
        s.process.send_signal(1)  # SIGHUP: reload the keys now
        assert [key["kty"] for key in wait_for_keys(s, 1)] == ["EC"]


def wait_for_keys(s, count):
    return until(lambda: len(keys := s.jwks()["keys"]) == count and keys)


def test_jwks_etag(shared):
    first = shared.get(JWKS)
    etag = first.headers["ETag"]
    assert etag.startswith('"') and etag.endswith('"')
    for header in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        again = shared.get(JWKS, headers={"If-None-Match": header})
        assert (again.status_code, again.content) == (304, b""), header
        assert again.headers["ETag"] == etag
        assert again.headers["Cache-Control"] == "public, max-age=300"
    for header in ('"other"', etag.strip('"') + "x"):
        assert shared.get(JWKS, headers={"If-None-Match": header}).status_code == 200


def test_the_etag_changes_with_the_keys(database, jotd):
    with jotd(database) as s:
        before = s.get(JWKS).headers["ETag"]
        s.create_key()
        assert len(wait_for_keys(s, 2)) == 2
        answer = s.get(JWKS, headers={"If-None-Match": before})
        assert answer.status_code == 200
        assert answer.headers["ETag"] != before


@pytest.mark.parametrize("path", [*METADATA, JWKS])
def test_get_and_head_only(shared, path):
    whole, head = shared.get(path), shared.request("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        refused = shared.request(method, path)
        assert refused.status_code == 405
        assert refused.headers["Allow"] == "GET, HEAD"
        assert refused.json()["error"]
