"""POST /token: the table of cases, and the content of the token."""

import base64
import json
import re
import time
import types
import urllib.parse
import uuid

import jwt as pyjwt
import pytest

from harness import until

FORM = "application/x-www-form-urlencoded"
MARKER = "zebra-4711"  # sent as input; no answer may echo it


@pytest.fixture(scope="module")
def client(shared):
    return shared.database.client(
        scope="read write", audience=["https://a.example", "https://b.example"], tier="unlimited"
    )


def basic(client_id, secret):
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def claims(answer):
    assert answer.status_code == 200, answer.text
    return pyjwt.decode(answer.json()["access_token"], options={"verify_signature": False})


def misspell(secret):
    """The secret with its last character changed, so that its checksum is wrong."""
    return secret[:-1] + ("x" if secret[-1] != "x" else "y")


def assert_answer_of_token(answer, authenticated):
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    assert ("X-Cache-Status" in answer.headers) == authenticated


def assert_refused(answer, status, error, authenticated=False):
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert_answer_of_token(answer, authenticated)
    assert set(answer.json()) <= {"error", "error_description"}
    # RFC 6749 5.2: the characters allowed in a description
    assert re.fullmatch(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+", answer.json()["error_description"])
    assert MARKER not in answer.text
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="jotd"'


# 200

def test_answer_with_a_token(shared, client):
    answer = shared.token(client)
    assert answer.status_code == 200
    assert_answer_of_token(answer, authenticated=True)
    body = answer.json()
    assert body.pop("access_token").count(".") == 2
    assert body == {"token_type": "Bearer", "expires_in": 3600, "scope": "read write"}
    assert "WWW-Authenticate" not in answer.headers


def test_token_has_exactly_the_claims_of_rfc_9068(shared, client):
    before = int(time.time())
    answer = shared.token(client)
    token = answer.json()["access_token"]
    payload = claims(answer)
    issued, jti = payload["iat"], uuid.UUID(payload["jti"])

    header = pyjwt.get_unverified_header(token)
    assert header == {"alg": "ES256", "typ": "at+jwt", "kid": shared.jwks()["keys"][0]["kid"]}
    assert before - 1 <= issued <= time.time() + 1
    assert payload == {
        "iss": shared.url, "sub": client.id, "client_id": client.id,
        "aud": ["https://a.example", "https://b.example"], "scope": "read write",
        "iat": issued, "exp": issued + 3600, "jti": payload["jti"],
    }
    assert payload["jti"] == str(jti)
    assert (jti.version, jti.variant) == (7, uuid.RFC_4122)
    assert (jti.int >> 80) // 1000 == issued


def test_every_token_has_a_jti_of_its_own_in_order(shared, client):
    found = [claims(shared.token(client))["jti"] for _ in range(30)]
    assert len(set(found)) == 30
    milliseconds = [uuid.UUID(jti).int >> 80 for jti in found]
    assert milliseconds == sorted(milliseconds)


@pytest.mark.parametrize("content_type", [
    FORM, FORM + "; charset=UTF-8", FORM + ";charset=utf-8", FORM.upper(),
])
def test_content_types_that_are_forms(shared, client, content_type):
    answer = shared.post(
        "/token", "grant_type=client_credentials", auth=(client.id, client.secret),
        headers={"Content-Type": content_type},
    )
    assert answer.status_code == 200, answer.text


def test_credentials_in_the_body(shared, client):
    answer = shared.token(client_id=client.id, client_secret=client.secret)
    assert claims(answer)["sub"] == client.id


def test_the_same_client_id_in_basic_and_body(shared, client):
    assert claims(shared.token(client, client_id=client.id))["sub"] == client.id


@pytest.mark.parametrize("scheme", ["Basic ", "basic ", "BASIC ", "Basic  "])
def test_the_scheme_of_basic_in_any_case(shared, client, scheme):
    credentials = basic(client.id, client.secret).removeprefix("Basic ")
    answer = shared.post("/token", {"grant_type": "client_credentials"},
                         headers={"Authorization": scheme + credentials})
    assert answer.status_code == 200, answer.text


def test_basic_percent_encoded_in_full(shared):
    """Some libraries encode every byte that is not a letter or digit, others none."""
    client = shared.database.client(id="a.b-c_D9", tier="unlimited")
    for encode in (
        str, urllib.parse.quote, lambda text: "".join(f"%{ord(letter):02X}" for letter in text),
        lambda text: "".join(f"%{ord(letter):02x}" for letter in text),
    ):
        header = basic(encode(client.id), encode(client.secret))
        answer = shared.post("/token", {"grant_type": "client_credentials"},
                             headers={"Authorization": header})
        assert claims(answer)["sub"] == "a.b-c_D9"


def test_unknown_parameters_and_a_query_are_ignored(shared, client):
    answer = shared.post("/token?scope=admin", auth=(client.id, client.secret),
                         data={"grant_type": "client_credentials", "flavour": MARKER})
    assert claims(answer)["scope"] == "read write"


# Scope

@pytest.mark.parametrize("asked, granted", [
    (None, "read write"), ("", "read write"), ("read", "read"), ("write", "write"),
    ("read write", "read write"), ("write read", "write read"), ("read read", "read"),
    (" read  write ", "read write"), (" ", "read write"),
])
def test_scope_granted(shared, client, asked, granted):
    answer = shared.token(client, **({} if asked is None else {"scope": asked}))
    assert claims(answer)["scope"] == granted
    assert answer.json()["scope"] == granted


@pytest.mark.parametrize("asked", [
    "admin", "read admin", "READ", "rea", "readwrite", "read,write", 'a"b',
    "a\\b", "r\u00e9ad", "read\twrite", MARKER,
])
def test_scope_refused(shared, client, asked):
    assert_refused(shared.token(client, scope=asked), 400, "invalid_scope", authenticated=True)


def test_a_client_without_scope(shared):
    client = shared.database.client(scope="", tier="unlimited")
    answer = shared.token(client)
    assert "scope" not in claims(answer)
    assert not answer.json().get("scope")
    assert_refused(shared.token(client, scope="read"), 400, "invalid_scope", authenticated=True)


# Audience

@pytest.mark.parametrize("form, aud", [
    ({}, ["https://a.example", "https://b.example"]),
    ({"resource": "https://a.example"}, "https://a.example"),
    ({"resource": ["https://b.example"]}, "https://b.example"),
    ({"resource": ["https://b.example", "https://a.example"]},
     ["https://b.example", "https://a.example"]),
    ({"audience": "https://b.example"}, "https://b.example"),
    ({"audience": ["https://b.example", "https://a.example", "https://b.example"]},
     ["https://b.example", "https://a.example"]),
    ({"resource": "https://a.example", "audience": "https://b.example"},
     ["https://a.example", "https://b.example"]),
    ({"resource": ""}, ["https://a.example", "https://b.example"]),
])
def test_audience_granted(shared, client, form, aud):
    assert claims(shared.token(client, **form))["aud"] == aud


@pytest.mark.parametrize("form", [
    {"resource": "https://c.example"}, {"audience": "https://c.example"},
    {"resource": ["https://a.example", "https://c.example"]}, {"resource": "https://a.example/"},
    {"resource": MARKER}, {"resource": "https://a.example#x"}, {"audience": 'a"b\\c\n'},
])
def test_audience_refused(shared, client, form):
    assert_refused(shared.token(client, **form), 400, "invalid_target", authenticated=True)


@pytest.mark.parametrize("registered, asked, advice", [
    ("https://a.example/", "https://a.example", "ask with it"),
    ("https://a.example", "https://a.example/", "ask without it"),
    ("https://a.example", "https://a.example//", "that this client may have"),
])
def test_a_slash_too_many_or_too_few_is_named(shared, registered, asked, advice):
    client = shared.database.client(audience=registered, tier="unlimited")
    answer = shared.token(client, resource=asked)
    assert_refused(answer, 400, "invalid_target", authenticated=True)
    assert advice in answer.json()["error_description"]


def test_one_audience_is_a_string(shared):
    client = shared.database.client(audience="https://only.example", tier="unlimited")
    assert claims(shared.token(client))["aud"] == "https://only.example"


def test_without_audiences_the_issuer_is_the_audience(shared):
    client = shared.database.client(tier="unlimited")
    assert claims(shared.token(client))["aud"] == shared.url
    assert_refused(shared.token(client, resource="https://a.example"), 400, "invalid_target",
                   authenticated=True)


# Lifetime

def test_token_ttl_of_the_client(shared):
    answer = shared.token(shared.database.client(ttl=120))
    payload = claims(answer)
    assert (answer.json()["expires_in"], payload["exp"] - payload["iat"]) == (120, 120)


def test_token_ttl_of_the_server(database, jotd):
    with jotd(database, token_ttl=600, issuer="https://issuer.example/x") as s:
        answer = s.token(database.client())
        payload = claims(answer)
        assert (answer.json()["expires_in"], payload["exp"] - payload["iat"]) == (600, 600)
        assert payload["iss"] == payload["aud"] == "https://issuer.example/x"


# 400

@pytest.mark.parametrize("body", [
    "",
    "scope=read",
    "grant_type=",
    "grant_type",
    "grant_type=client_credentials&grant_type=client_credentials",
    "grant_type=client_credentials&scope=read&scope=read",
    "grant_type=client_credentials&client_id={id}&client_id={id}",
    f"grant_type=client_credentials&{MARKER}=1&{MARKER}=2",
    "grant_type=client_credentials&scope=%zz",
    "grant_type=client_credentials&scope=%2",
    "grant_type=client_credentials&scope=%",
    "grant_type=client_credentials&%zz=1",
    "grant_type=client_credentials&scope=read%00",
    "grant_type=client_credentials\0",
    "grant_type=client_credentials&client_secret={secret}",
    "grant_type=client_credentials&client_id=another",
])
def test_malformed_requests(shared, client, body):
    answer = shared.post(
        "/token", body.format(id=client.id, secret=client.secret),
        auth=(client.id, client.secret), headers={"Content-Type": FORM},
    )
    assert_refused(answer, 400, "invalid_request")


def test_client_secret_twice(shared, client):
    body = f"grant_type=client_credentials&client_id={client.id}" + (
        f"&client_secret={client.secret}" * 2)
    answer = shared.post("/token", body, headers={"Content-Type": FORM})
    assert_refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("content_type", [
    None, "", "application/json", "text/plain", "multipart/form-data; boundary=x", FORM + "x",
    "application/x-www-form-urlencode", MARKER,
])
def test_wrong_content_type(shared, client, content_type):
    data = b"grant_type=client_credentials"  # requests does not guess a content type for bytes
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = shared.post("/token", data, auth=(client.id, client.secret), headers=headers)
    assert_refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("header", [
    "Basic !!!!", "Basic", "Basic ", "Basic " + base64.b64encode(b"no-colon").decode(),
    "Basic " + base64.b64encode(b"id:%zz").decode(), "Basic " + base64.b64encode(b"%0:x").decode(),
    "Basic " + base64.b64encode(b"id\0:secret").decode(),
    "Basic " + base64.b64encode(b"id:%00").decode(), "Basic YTpi=YTpi",
    "Basic " + base64.b64encode(b"a:" + b"b" * 9000).decode(),
])
def test_broken_basic(shared, header):
    answer = shared.post("/token", {"grant_type": "client_credentials"},
                         headers={"Authorization": header})
    assert_refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("grant_type", [
    "password", "authorization_code", "refresh_token", "CLIENT_CREDENTIALS",
    "client_credentials ", MARKER,
])
def test_unsupported_grant_type(shared, client, grant_type):
    answer = shared.token(client, grant_type=grant_type)
    assert answer.json()["error"] == "unsupported_grant_type"
    assert_refused(answer, 400, "unsupported_grant_type", "X-Cache-Status" in answer.headers)


# 401

def test_no_credentials(shared):
    assert_refused(shared.token(), 401, "invalid_client")


@pytest.mark.parametrize("form", [
    {"client_id": "someone"}, {"client_secret": "x"}, {"client_id": "", "client_secret": ""},
    {"client_id": "someone", "client_secret": ""},
])
def test_half_of_the_credentials(shared, form):
    assert_refused(shared.token(**form), 401, "invalid_client")


@pytest.mark.parametrize("header", ["Bearer abc", "Digest username=x", "Negotiate", MARKER])
def test_another_scheme(shared, header):
    answer = shared.post("/token", {"grant_type": "client_credentials"},
                         headers={"Authorization": header})
    assert_refused(answer, 401, "invalid_client")


@pytest.mark.parametrize("client_id", [
    MARKER, "x" * 64, "x" * 65, "x" * 1000, "' OR 1=1 --", "Ünïcode", "a b", "a\nb", "\\x00",
    "%s",
])
def test_unknown_client_id(shared, client, client_id):
    answer = shared.token(client_id=client_id, client_secret=client.secret)
    assert_refused(answer, 401, "invalid_client")


def test_who_is_refused_cannot_tell_why(database, jotd):
    """Unknown client, wrong secret, disabled client, expired secret: identical bytes."""
    good, other, disabled, expired = (database.client() for _ in range(4))
    database.cli("client", "disable", disabled.id)
    database.execute("UPDATE client_secrets SET expires_at = now() - interval '1 second' "
                     "WHERE client_id = %s", (expired.id,))

    def refusal(s, client_id, secret):
        return s.answer(s.token_request(types.SimpleNamespace(id=client_id, secret=secret)))

    with jotd(database) as s:
        for _ in range(2):  # the second time, all of them are cached
            answers = [
                refusal(s, "unknown", good.secret),
                refusal(s, good.id, other.secret),
                refusal(s, disabled.id, disabled.secret),
                refusal(s, expired.id, expired.secret),
            ]
            assert answers[0].status == 401
            assert answers[0].json()["error"] == "invalid_client"
            assert len({answer.without_date() for answer in answers}) == 1, answers


def test_a_mistyped_secret_costs_no_look_up(database, jotd):
    client = database.client()
    with jotd(database) as s:
        before = s.metric("jotd_client_lookups_total")
        for secret in (misspell(client.secret), client.secret[:-1], client.secret + "x", "secret",
                       "jot_" + "x" * 49, MARKER):
            typo = types.SimpleNamespace(id=client.id, secret=secret)
            assert_refused(s.token(typo), 401, "invalid_client")
        assert s.metric("jotd_client_lookups_total") == before
        assert s.token(client).status_code == 200
        assert s.metric("jotd_client_lookups_total") == before + 1


def test_two_secrets_live_during_the_overlap(database, jotd):
    old = database.client()
    made = database.cli("client", "rotate", old.id, "--overlap", "600", "--json").stdout
    new = types.SimpleNamespace(id=old.id, secret=json.loads(made)["client_secret"])
    with jotd(database) as s:
        assert new.secret != old.secret
        assert s.token(old).status_code == 200
        assert s.token(new).status_code == 200


def test_a_secret_expires_while_its_client_is_cached(database, jotd):
    client = database.client()
    database.execute("UPDATE client_secrets SET expires_at = now() + interval '10 seconds'")
    with jotd(database) as s:
        assert s.token(client).status_code == 200
        before = s.metric("jotd_client_lookups_total")
        until(lambda: s.token(client).status_code == 401, timeout=30, interval=0.1)
        assert_refused(s.token(client), 401, "invalid_client")
        assert s.metric("jotd_client_lookups_total") == before


# 405

@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_only_post(shared, method):
    answer = shared.request(method, "/token")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"
    assert_answer_of_token(answer, authenticated=False)
    if method != "HEAD":
        assert answer.json()["error"]


def test_a_get_with_everything_in_its_query_is_refused(shared, client):
    form = {"grant_type": "client_credentials", "client_id": client.id,
            "client_secret": client.secret}
    assert shared.get("/token", params=form).status_code == 405
    assert_refused(shared.post("/token", params=form, headers={"Content-Type": FORM}), 400,
                   "invalid_request")


# Static claims, organizations, tiers with a lifetime

def test_static_claims_are_in_the_token(database, jotd):
    client = database.client()
    claims = {"plan": "gold", "limits": {"a": [1, 2.50, None]}, "name": "Zoë \"z\""}
    with jotd(database) as s:
        plain = pyjwt.decode(s.access_token(client), options={"verify_signature": False})
        database.execute("UPDATE clients SET claims = %s", (json.dumps(claims),))
        until(lambda: s.metric("jotd_client_cache_entries") == 0)
        token = s.access_token(client)
        key = pyjwt.PyJWK(s.jwks()["keys"][0]).key
        found = pyjwt.decode(token, key, algorithms=["ES256"], audience=plain["aud"])
        assert {name: found[name] for name in claims} == claims
        assert set(found) == set(plain) | set(claims)


def test_an_organization_that_is_disabled_and_enabled(database, jotd):
    database.execute("INSERT INTO organizations (organization_id, name) VALUES ('acme', 'Acme')")
    member, other = database.client(), database.client()
    database.execute("UPDATE clients SET organization = 'acme' WHERE client_id = %s", (member.id,))
    with jotd(database) as s:
        assert s.token(member).status_code == s.token(other).status_code == 200
        database.execute("UPDATE organizations SET enabled = false")
        s.wait_log("organization.changed", organization="acme")
        assert_refused(s.token(member), 401, "invalid_client")
        s.wait_log("auth.refused", client=member.id, reason="disabled_organization")
        assert s.token(other).headers["X-Cache-Status"] == "HIT"
        database.execute("UPDATE organizations SET enabled = true")
        until(lambda: s.token(member).status_code == 200)


def test_the_lifetime_of_a_tier(database, jotd):
    client = database.client(tier="pro")
    with jotd(database, token_ttl=1000) as s:
        assert s.token(client).json()["expires_in"] == 1000
        database.execute("UPDATE tiers SET token_ttl = 600 WHERE name = 'pro'")
        until(lambda: s.token(client).json()["expires_in"] == 600)
        database.execute("UPDATE clients SET token_ttl = 60")
        until(lambda: s.token(client).json()["expires_in"] == 60)
