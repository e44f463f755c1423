"""POST /introspect and /revoke: who may ask, what is inactive, and what happens without PostgreSQL."""

import base64
import contextlib
import datetime
import hashlib
import hmac
import json
import threading
import time
import types
import uuid

import jwt as pyjwt
import psycopg2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness import Proxy, claims_of, until
from harness.ledger import uuid7

AUDIENCE, OTHER = "https://api.example.com", "https://other.example.com"
INACTIVE = b'{"active":false}'
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture(scope="module")
def client(shared):
    return shared.database.client(scope="read write", audience=[AUDIENCE, OTHER],
                                  tier="unlimited")


@pytest.fixture(scope="module")
def gateway(shared):
    """A client that may ask about tokens for AUDIENCE."""
    made = shared.database.client()
    shared.database.execute("UPDATE clients SET introspect = %s WHERE client_id = %s",
                            ([AUDIENCE], made.id))
    return made


def introspect(server, client, token, **form):
    return server.post("/introspect", {"token": token, **form}, auth=(client.id, client.secret))


def revoke(server, client, token, **form):
    return server.post("/revoke", {"token": token, **form}, auth=(client.id, client.secret))


def is_active(server, client, token):
    answer = introspect(server, client, token)
    assert answer.status_code == 200, answer.text
    assert answer.json()["active"] or answer.content == INACTIVE
    return answer.json()["active"]


# An active token

@pytest.mark.parametrize("alg", ["ES256", "RS256", "HS256"])
def test_an_active_token(database, jotd, alg):
    client = database.client(scope="read write", audience=[AUDIENCE, OTHER])
    with jotd(database, keys=alg) as s:
        token = s.access_token(client)
        for _ in range(2):  # verified, then remembered
            answer = introspect(s, client, token, token_type_hint="refresh_token")
            assert answer.status_code == 200
            assert answer.json() == {"active": True, **claims_of(token), "token_type": "Bearer"}
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Pragma"] == "no-cache"
        assert s.metric("jotd_token_verifications_total", **{"from": "signature"}) == 1
        assert s.metric("jotd_token_verifications_total", **{"from": "memory"}) == 1
        assert s.metric("jotd_introspections_total", result="active") == 2


def test_static_claims_are_told_and_cannot_lie(database, jotd):
    client = database.client()
    claims = {"plan": "gold", "active": False, "token_type": "mac", "list": [1.5, {"a": None}]}
    database.execute("UPDATE clients SET claims = %s", (json.dumps(claims),))
    with jotd(database) as s:
        token = s.access_token(client)
        answer = introspect(s, client, token)
        assert answer.json() == {**claims_of(token), "active": True, "token_type": "Bearer"}
        assert answer.text.count('"active"') == answer.text.count('"token_type"') == 1


def test_credentials_in_the_body(shared, client):
    answer = shared.post("/introspect", {"token": shared.access_token(client),
                                         "client_id": client.id, "client_secret": client.secret})
    assert answer.json()["active"]


# Who may ask

def test_who_may_ask(shared, client, gateway):
    for audience, may in ((AUDIENCE, True), (OTHER, False), ([AUDIENCE, OTHER], True)):
        token = shared.access_token(client, resource=audience)
        assert is_active(shared, client, token)
        assert is_active(shared, gateway, token) == may
    stranger = shared.database.client()
    assert not is_active(shared, stranger, token)
    assert not is_active(shared, client, shared.access_token(gateway))
    shared.database.execute("UPDATE clients SET introspect = '{*}' WHERE client_id = %s",
                            (stranger.id,))
    until(lambda: is_active(shared, stranger, token))


@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
def test_errors(shared, client, path):
    token = shared.access_token(client)
    auth = (client.id, client.secret)

    def error(status, form, name="invalid_request", **options):
        answer = shared.post(path, form, **{"auth": auth, **options})
        assert (answer.status_code, answer.json()["error"]) == (status, name)
        assert answer.headers["Cache-Control"] == "no-store"
        return answer

    error(400, {})
    error(400, {"token_type_hint": "access_token"})
    error(400, {"token": token, "token_type_hint": ["a", "b"]})
    error(400, [("token", token), ("token", token)])
    error(400, json.dumps({"token": token}), headers={"Content-Type": "application/json"})
    error(413, {"token": "x" * 17000})
    answer = error(401, {"token": token}, "invalid_client", auth=None)
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="jotd"'
    error(401, {"token": token}, "invalid_client", auth=(client.id, client.secret[:-1]))
    assert shared.get(path).status_code == 405


# Inactive tokens

def b64(data):
    if not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Forge:
    """Tokens like the server's, made with its own key or with another."""

    def __init__(self, server, token):
        (self.path,) = server.keys_dir.glob("*.ES256.*.pem")
        self.pem = self.path.read_text()
        self.kid = self.path.name.split(".")[0]
        self.header = pyjwt.get_unverified_header(token)
        self.claims = claims_of(token)

    def sign(self, claims=None, pem=None, **header):
        return pyjwt.encode(claims or self.claims, pem or self.pem, algorithm="ES256",
                            headers={"kid": self.kid, "typ": "at+jwt", **header})

    def sign_raw(self, header, payload):
        """Both as they are, text or objects."""
        key = serialization.load_pem_private_key(self.pem.encode(), None)
        text = f"{b64(header)}.{b64(payload)}"
        der = pyjwt.algorithms.ECAlgorithm(pyjwt.algorithms.ECAlgorithm.SHA256).sign(
            text.encode(), key)
        return f"{text}.{b64(der)}"

    def with_claim(self, **claims):
        return self.sign({**self.claims, **claims})


def test_a_forged_token_like_the_servers_is_active(shared, client):
    """What the next test changes is all that makes those inactive."""
    forge = Forge(shared, shared.access_token(client))
    assert is_active(shared, client, forge.sign())
    assert is_active(shared, client, forge.sign_raw(forge.header, forge.claims))
    assert is_active(shared, client, forge.sign(typ="application/AT+JWT"))
    assert is_active(shared, client, forge.with_claim(jti=str(uuid7_now())))


def uuid7_now():
    return uuid7(datetime.datetime.now(datetime.timezone.utc))


def other_form(token):
    """The same signature in its second valid form: s becomes n - s."""
    text, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    s = P256_ORDER - int.from_bytes(raw[32:], "big")
    return f"{text}.{b64(raw[:32] + s.to_bytes(32, 'big'))}"


def inactive_tokens(server, token):
    forge = Forge(server, token)
    header, payload, signature = token.split(".")
    public = serialization.load_pem_private_key(forge.pem.encode(), None).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    stranger = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()).decode()
    text = json.dumps(forge.claims)

    def mac(alg):
        head = b64({"alg": alg, "kid": forge.kid, "typ": "at+jwt"})
        return f"{head}.{payload}." + b64(hmac.digest(public, f"{head}.{payload}".encode(),
                                                      hashlib.sha256))

    yield "empty", ""
    yield "one byte", "x"
    yield "half of it", token[:len(token) // 2]
    yield "16 KB", "x" * 16000
    yield "three dots", "..."
    yield "two dots", ".."
    yield "five parts", f"{token}.a.b"
    yield "two parts", f"{header}.{payload}"
    yield "no signature", f"{header}.{payload}."
    yield "no payload", f"{header}..{signature}"
    yield "standard base64", f"{header}.{payload}=.{signature}"
    yield "plus", f"{header}.{payload}.{signature[:-1]}+"
    yield "slash", f"{header}.{payload}.{signature[:-1]}/"
    yield "another bit", f"{header}.{payload}.{('B' if signature[0] == 'A' else 'A')}{signature[1:]}"
    yield "a byte more", f"{header}.{payload}.{signature}AAAA"
    yield "NUL in base64", f"{header}.{payload}.{signature}\x01"
    yield "alg none", f"{b64({**forge.header, 'alg': 'none'})}.{payload}."
    yield "alg None", f"{b64({**forge.header, 'alg': 'None'})}.{payload}.{signature}"
    yield "the public key as a secret", mac("HS256")
    yield "alg in lower case", forge.sign_raw({**forge.header, "alg": "es256"}, forge.claims)
    yield "alg ES384", forge.sign_raw({**forge.header, "alg": "ES384"}, forge.claims)
    yield "no alg", forge.sign_raw({"kid": forge.kid, "typ": "at+jwt"}, forge.claims)
    yield "typ JWT", forge.sign(typ="JWT")
    yield "no typ", forge.sign_raw({"alg": "ES256", "kid": forge.kid}, forge.claims)
    yield "crit", forge.sign_raw({**forge.header, "crit": ["exp"]}, forge.claims)
    yield "crit null", forge.sign_raw({**forge.header, "crit": None}, forge.claims)
    yield "no kid", forge.sign_raw({"alg": "ES256", "typ": "at+jwt"}, forge.claims)
    yield "another kid", forge.sign(kid="x" * 43)
    yield "a number as kid", forge.sign_raw({**forge.header, "kid": 1}, forge.claims)
    yield "another key", forge.sign(pem=stranger)
    yield "header no object", forge.sign_raw([], forge.claims)
    yield "header no JSON", forge.sign_raw(b"{", forge.claims)
    yield "a header name twice", forge.sign_raw(
        json.dumps(forge.header)[:-1].encode() + b',"alg":"ES256"}', forge.claims)
    yield "a claim twice", forge.sign_raw(forge.header, text[:-1].encode() + b',"exp":9999999999}')
    yield "nested deep", forge.sign_raw(forge.header, text[:-1].encode() + b',"a":' + b"[" * 10000)
    yield "nested and sound", forge.sign_raw(
        forge.header, text[:-1].encode() + b',"a":' + b"[" * 4000 + b"]" * 4000 + b"}")
    yield "payload no object", forge.sign_raw(forge.header, b"[]")
    yield "payload no JSON", forge.sign_raw(forge.header, b"\xff\xfe")
    yield "two payloads", forge.sign_raw(forge.header, text.encode() * 2)
    yield "another issuer", forge.with_claim(iss="https://evil.example.com")
    yield "issuer with a slash", forge.with_claim(iss=forge.claims["iss"] + "/")
    yield "expired", forge.with_claim(exp=int(time.time()) - 1)
    yield "for two days", forge.with_claim(exp=int(time.time()) + 2 * 86400)
    yield "made in ten years", forge.with_claim(
        exp=int(time.time()) + 10 * 366 * 86400,
        jti=uuid7(datetime.datetime.now() + datetime.timedelta(days=3660)))
    for exp in (b'"9999999999"', b"9999999999.5", b"1e400", b"1e10", b"-1", b"0", b"null", b"true",
                b"99999999999999999999"):
        claims = json.dumps({**forge.claims, "exp": "EXP"}).encode().replace(b'"EXP"', exp)
        yield f"exp {exp.decode()}", forge.sign_raw(forge.header, claims)
    for name in ("exp", "iat", "jti", "sub", "client_id", "aud", "iss"):
        yield f"no {name}", forge.sign({key: value for key, value in forge.claims.items()
                                        if key != name})
    yield "not yet valid", forge.with_claim(nbf=int(time.time()) + 600)
    yield "another subject", forge.with_claim(sub="somebody")
    yield "a jti of another kind", forge.with_claim(jti=str(uuid.uuid4()))
    yield "no jti at all", forge.with_claim(jti="")
    yield "aud a number", forge.with_claim(aud=1)
    yield "aud empty", forge.with_claim(aud=[])
    yield "aud a list of numbers", forge.with_claim(aud=[1])
    yield "a client that is gone", forge.with_claim(sub="gone", client_id="gone")


def headers_of(answer):
    return {name: value for name, value in answer.headers.items()
            if name not in ("Date", "X-Request-Id")}


def test_all_inactive_answers_are_the_same(shared, client, gateway):
    token = shared.access_token(client)
    asked = [("a token of another client", introspect(shared, client, shared.access_token(gateway)))]
    for what, bad in inactive_tokens(shared, token):
        asked.append((what, introspect(shared, client, bad)))
    assert revoke(shared, client, token).status_code == 200
    asked.append(("revoked", introspect(shared, client, token)))
    asked.append(("revoked, in the other form", introspect(shared, client, other_form(token))))
    disabled = shared.database.client(audience=[AUDIENCE])
    token = shared.access_token(disabled)
    assert is_active(shared, gateway, token)
    shared.database.execute("UPDATE clients SET enabled = false WHERE client_id = %s",
                            (disabled.id,))
    until(lambda: not is_active(shared, gateway, token))
    asked.append(("of a disabled client", introspect(shared, gateway, token)))
    for what, answer in asked:
        assert (answer.status_code, answer.content) == (200, INACTIVE), what
        assert headers_of(answer) == headers_of(asked[0][1]), what


def test_a_revoked_token_in_the_other_form_stays_valid_as_a_signature(shared, client):
    """So a set of hashes of tokens would have missed it."""
    token = shared.access_token(client)
    assert is_active(shared, client, other_form(token))


def test_garbage_is_revoked_without_complaint(shared, client):
    token = shared.access_token(client)
    for what, bad in inactive_tokens(shared, token):
        if what == "a client that is gone":
            continue
        answer = revoke(shared, client, bad)
        assert (answer.status_code, answer.content) == (200, b""), what
    assert is_active(shared, client, token)


def test_the_order_of_work_tells_nothing(database, jotd):
    """Not permitted, revoked, disabled and gone: each has its signature verified and its client looked
    up, once."""
    with jotd(database) as s:
        owner, asker = database.client(audience=[AUDIENCE]), database.client()
        tokens = [s.access_token(owner) for _ in range(4)]
        gateway = database.client()
        database.execute("UPDATE clients SET introspect = '{*}' WHERE client_id = %s",
                         (gateway.id,))
        for client in (asker, gateway):
            assert s.token(client).status_code == 200

        def work():
            return (s.metric("jotd_token_verifications_total", **{"from": "signature"}),
                    s.metric("jotd_client_cache_hits_total")
                    + s.metric("jotd_client_cache_misses_total"))

        def cost(who, token):
            before = work()
            assert not is_active(s, who, token)
            return tuple(after - was for after, was in zip(work(), before))

        costs = [cost(asker, tokens[0])]
        assert revoke(s, owner, tokens[1]).status_code == 200
        costs.append(tuple(a - b for a, b in zip(cost(gateway, tokens[1]), (-1, 0))))
        database.execute("UPDATE clients SET enabled = false WHERE client_id = %s", (owner.id,))
        s.wait_log("client.changed", client=owner.id)
        costs.append(cost(gateway, tokens[2]))
        database.execute("DELETE FROM clients WHERE client_id = %s", (owner.id,))
        until(lambda: s.metric("jotd_client_cache_entries") == 2)
        costs.append(cost(gateway, tokens[3]))
        assert costs == [(1, 2)] * 4
        results = ["not_permitted", "revoked", "no_client"]
        assert [s.metric("jotd_introspections_total", result=name) for name in results] == [1, 1, 2]


# What ends tokens

def test_all_tokens_of_a_client(database, jotd):
    client = database.client()
    with jotd(database) as s:
        old = s.access_token(client)
        assert is_active(s, client, old)
        database.execute("UPDATE clients SET tokens_valid_from ="
                         " date_trunc('milliseconds', clock_timestamp()) + interval '1 ms'")
        until(lambda: not is_active(s, client, old))
        assert s.metric("jotd_introspections_total", result="revoked") >= 1
        new = s.access_token(client)
        assert is_active(s, client, new)
        # To the millisecond.
        moment = time.time_ns() // 1000000 + 1000
        database.execute("UPDATE clients SET tokens_valid_from = to_timestamp(%s / 1000.0)",
                         (moment,))
        until(lambda: not is_active(s, client, new))
        forge = Forge(s, new)
        for offset, active in ((-1, False), (0, True), (1, True)):
            jti = str(uuid.UUID(int=(moment + offset) << 80 | 0x7 << 76 | 0b10 << 62 | 1))
            assert is_active(s, client, forge.with_claim(jti=jti)) == active


REMADE = [
    "DELETE FROM clients WHERE client_id = 'again'",
    "UPDATE clients SET client_id = 'other' WHERE client_id = 'again'",
    "TRUNCATE clients CASCADE",
]


@pytest.mark.parametrize("gone", REMADE)
@pytest.mark.parametrize("by", ["command", "insert", "rename"])
def test_a_client_that_is_made_again(database, jotd, gone, by):
    """Its tokens of before stay inactive, though they are not in the ledger yet."""
    def make():
        done = database.cli("client", "create", "--id", "again", "--name", "again", "--tier",
                            "unlimited", "--json")
        return types.SimpleNamespace(id="again", secret=json.loads(done.stdout)["client_secret"])

    with jotd(database, batch_interval=3600) as s:
        client = make()
        old = s.access_token(client)
        assert is_active(s, client, old)
        database.execute(gone)
        if by == "command":
            client = make()
        elif by == "insert":
            database.execute("INSERT INTO clients (client_id, name, tier)"
                             " VALUES ('again', 'again', 'unlimited')")
        else:
            new = database.client()
            database.execute("UPDATE clients SET client_id = 'again' WHERE client_id = %s", (new.id,))
        if by != "command":
            secret = json.loads(database.cli("client", "rotate", "again", "--json").stdout)
            client = types.SimpleNamespace(id="again", secret=secret["client_secret"])
        until(lambda: s.token(client).status_code == 200)
        assert not is_active(s, client, old)
        assert is_active(s, client, s.access_token(client))


def test_a_client_that_is_made_while_another_is_deleted(database, jotd):
    client = database.client(id="again", tier="unlimited")
    with contextlib.closing(psycopg2.connect(database.owner_url)) as deleting, jotd(database) as s:
        old = s.access_token(client)
        deleting.cursor().execute("DELETE FROM clients WHERE client_id = 'again'")
        making = threading.Thread(target=database.cli, args=(
            "client", "create", "--id", "again", "--name", "again"))
        making.start()
        until(lambda: database.execute("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(1,)])
        deleting.commit()
        making.join()
        gateway = database.client()
        database.execute("UPDATE clients SET introspect = '{*}' WHERE client_id = %s", (gateway.id,))
        assert not is_active(s, gateway, old)


def test_ids_of_deleted_clients_are_forgotten(database, jotd):
    database.client(id="again")
    database.cli("client", "delete", "again")
    database.execute("UPDATE deleted_clients SET deleted_at = now() - interval '49 hours'")
    database.client(id="again")
    assert database.execute("SELECT tokens_valid_from FROM clients") == [(None,)]
    with jotd(database):
        until(lambda: database.execute("SELECT count(*) FROM deleted_clients") == [(0,)])


def test_a_disabled_organization(database, jotd):
    database.execute("INSERT INTO organizations (organization_id, name) VALUES ('acme', 'Acme')")
    member, gateway = database.client(), database.client()
    database.execute("UPDATE clients SET organization = 'acme' WHERE client_id = %s;"
                     "UPDATE clients SET introspect = '{*}' WHERE client_id = %s",
                     (member.id, gateway.id))
    with jotd(database) as s:
        token = s.access_token(member)
        assert is_active(s, gateway, token)
        database.execute("UPDATE organizations SET enabled = false")
        until(lambda: not is_active(s, gateway, token))
        database.execute("UPDATE organizations SET enabled = true")
        until(lambda: is_active(s, gateway, token))


def test_a_token_ends_with_its_key(database, jotd):
    client = database.client()
    with jotd(database) as s:
        token = s.access_token(client)
        assert is_active(s, client, token)
        (old,) = s.keys_dir.iterdir()
        s.create_key()
        old.unlink()
        until(lambda: not is_active(s, client, token))
        assert s.metric("jotd_introspections_total", result="unknown_key") >= 1
        assert is_active(s, client, s.access_token(client))


def test_a_remembered_token_ends_when_it_expires(database, jotd):
    client = database.client()
    database.execute("UPDATE clients SET token_ttl = 2")
    with jotd(database) as s:
        token = s.access_token(client)
        assert is_active(s, client, token)
        until(lambda: not is_active(s, client, token), timeout=10)
        assert claims_of(token)["exp"] <= time.time()


# Revocation

def test_a_client_revokes_its_own_tokens_only(shared, client, gateway):
    token = shared.access_token(client)
    answer = revoke(shared, gateway, token)
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
    assert is_active(shared, client, token)
    before = shared.metric("jotd_revocations_total")
    for _ in range(2):
        answer = revoke(shared, client, token, token_type_hint="access_token")
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["Cache-Control"] == "no-store"
        assert not is_active(shared, client, token)
    assert shared.metric("jotd_revocations_total") == before + 2
    claims = claims_of(token)
    assert shared.database.execute(
        "SELECT client_id, extract(epoch FROM expires_at)::bigint, reason FROM revoked_tokens"
        " WHERE jti = %s", (claims["jti"],)) == [(client.id, claims["exp"], "revoked by its client")]


def test_requests_of_a_client_are_limited(database, jotd):
    client, other = database.client(), database.client()
    with jotd(database, introspect_per_second=3) as s:
        token = s.access_token(client)
        answers = []
        until(lambda: answers.append(introspect(s, client, token)) or
              answers[-1].status_code == 429, interval=0)
        assert answers[-1].json()["error"] == "slow_down"
        assert answers[-1].headers["Retry-After"] == "1"
        assert all(answer.status_code == 200 for answer in answers[:-1])
        assert introspect(s, other, token).status_code == 200
        until(lambda: introspect(s, client, token).status_code == 200)
        assert s.token(client).status_code == 200


def test_without_postgresql(database, jotd, postgres):
    client, uncached = database.client(), database.client()
    with Proxy(postgres) as proxy, jotd(proxy.url(database), revocation_stale=3) as s:
        token = s.access_token(client)
        assert is_active(s, client, token)
        proxy.freeze()
        proxy.cut()
        until(lambda: s.metric("jotd_postgres_up") == 0)
        assert is_active(s, client, token)  # for a while it is known what is revoked
        answer = revoke(s, client, token)
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert answer.headers["Retry-After"] == "1"
        until(lambda: introspect(s, client, token).status_code == 503)
        assert s.metric("jotd_revocation_feed_age_seconds") >= 3
        assert introspect(s, client, "garbage").status_code == 503
        s.wait_log("revocations.stale")
        assert s.token(client).status_code == 200
        proxy.thaw()
        until(lambda: introspect(s, client, token).status_code == 200, timeout=30)
        s.wait_log("revocations.current")
        until(lambda: revoke(s, client, token).status_code == 200)
        assert not is_active(s, client, token)
        assert introspect(s, uncached, token).status_code == 200


def test_a_client_that_cannot_be_looked_up(database, jotd):
    """Its record may be stale for long at /token, but not here, though the feed is there."""
    client = database.client()
    with jotd(database, revocation_stale=1) as s:
        token = s.access_token(client)
        assert is_active(s, client, token)
        database.execute("ALTER TABLE clients RENAME TO gone")  # no look-up connection is set up
        database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                         " WHERE application_name = 'jotd'")
        until(lambda: s.metric("jotd_postgres_up") == 0)
        until(lambda: introspect(s, client, token).status_code == 503)
        assert s.metric("jotd_revocation_feed_age_seconds") < 1
        assert s.token(client).headers["X-Cache-Status"] == "STALE"
        database.execute("ALTER TABLE gone RENAME TO clients")
        until(lambda: introspect(s, client, token).status_code == 200)


def test_before_postgresql_was_ever_there(database, jotd, postgres):
    with Proxy(postgres) as proxy:
        proxy.freeze()
        with jotd(proxy.url(database), ready=False) as s:
            assert s.metrics().value("jotd_revocation_feed_age_seconds") == float("inf")
            proxy.thaw()
            until(lambda: s.metric("jotd_revocation_feed_age_seconds") < 10, timeout=30)


def test_the_log_has_no_token(database, jotd):
    client = database.client()
    with jotd(database, access_log="all", log_level="debug") as s:
        token = s.access_token(client)
        assert is_active(s, client, token)
        assert revoke(s, client, token).status_code == 200
        line = s.wait_log("http.request", path="/revoke")
        assert (line["client"], line["jti"]) == (client.id, claims_of(token)["jti"])
        for part in token.split("."):
            assert part not in s.stderr
