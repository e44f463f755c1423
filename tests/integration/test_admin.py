"""The administration by HTTP: who may call, and what resources do."""

import hashlib
import json
import time

import pytest

from harness import recorded, until
from harness.admin import Admin, administrator


@pytest.fixture
def served(database, jotd):
    with jotd(database, admin=True) as server:
        server.database = database
        yield server


@pytest.fixture
def admin(served):
    return administrator(served, served.database, id="root")


def problem(answer, status):
    """The problem of an answer with this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert (body["type"], body["status"]) == ("about:blank", status)
    return body


def pointer(answer, status=400):
    return problem(answer, status)["errors"][0]["pointer"]


# Who may call

def test_without_a_token(served):
    answer = Admin(served, "").call("GET", "/clients", headers={"Authorization": ""})
    assert "jotd client create --admin" in problem(answer, 401)["detail"]
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="jotd"'


def test_with_a_token_that_is_not_for_it(served, database):
    for audience in (), ("urn:other",), ("urn:other", served.issuer + "/admin"):
        client = database.client(scope="jotd:admin", audience=audience)
        answer = Admin(served, served.access_token(client)).get("/clients")
        assert "audience" in problem(answer, 401)["detail"]
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    for token in "nonsense", "a.b.c", served.access_token(client)[:-2] + "AA":
        assert problem(Admin(served, token).get("/clients"), 401)


def test_nobody_gets_its_audience_without_having_it(served, database):
    client = database.client(scope="jotd:admin")
    answer = served.token(client, resource=served.issuer + "/admin")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")


def test_a_caller_that_loses_its_rights_loses_them_at_once(served, database, admin):
    other = administrator(served, database)
    assert other.get("/clients").status_code == 200
    database.execute("UPDATE clients SET enabled = false WHERE client_id = %s", (other.client.id,))
    assert "disabled" in problem(other.get("/clients"), 401)["detail"]
    database.execute("UPDATE clients SET enabled = true, scopes = '{jotd:read}'"
                     " WHERE client_id = %s", (other.client.id,))
    assert other.get("/clients").status_code == 200
    assert problem(other.post("/clients", {"name": "n"}), 403)
    database.execute("UPDATE clients SET audiences = '{}' WHERE client_id = %s", (other.client.id,))
    assert problem(other.get("/clients"), 403)
    database.execute("DELETE FROM clients WHERE client_id = %s", (other.client.id,))
    assert problem(other.get("/clients"), 401)


def test_a_token_that_was_revoked(served, database, admin):
    for revoke in (lambda other: database.cli("token", "revoke", other.token),
                   lambda other: database.cli("client", "revoke-tokens", other.client.id)):
        other = administrator(served, database)
        assert other.get("/clients").status_code == 200
        revoke(other)
        assert "revoked" in problem(other.get("/clients"), 401)["detail"]


# What the answers are below the one with the scope: (method, path, body, the scope it needs).
LADDER = [
    ("GET", "/session", None, "read"),
    ("GET", "/clients", None, "read"),
    ("POST", "/clients", {"name": "n"}, "write"),
    ("PUT", "/clients/c", {"name": "n"}, "write"),
    ("PATCH", "/clients/c", {"name": "m"}, "write"),
    ("POST", "/clients/c/secrets", {}, "write"),
    ("DELETE", "/clients/c/tokens", None, "write"),
    ("GET", "/clients/c/tokens", None, "read"),
    ("GET", "/organizations", None, "read"),
    ("POST", "/organizations", {"name": "n"}, "admin"),
    ("PUT", "/organizations/o", {"name": "n"}, "admin"),
    ("GET", "/tiers", None, "read"),
    ("PUT", "/tiers/gold", {}, "admin"),
    ("PATCH", "/tiers/free", {"per_minute": 7}, "admin"),
    ("DELETE", "/tiers/starter", None, "admin"),
    ("GET", "/audit", None, "read"),
    ("GET", "/instances", None, "read"),
    ("GET", "/signing-keys", None, "read"),
    ("GET", "/cache/stats", None, "read"),
    ("GET", "/admin/cache/stats", None, "read"),
    ("POST", "/cache/invalidate", {"all": True}, "write"),
]
SCOPES = ["read", "write", "admin"]
VERSIONED = ("c", "free", "starter")  # what exists, and has a version


def test_each_scope_includes_the_lesser_ones(served, database):
    database.client(id="c")
    callers = {name: administrator(served, database, scope=f"jotd:{name}") for name in SCOPES}
    for method, path, body, needed in LADDER:
        for name in SCOPES:
            headers = {"If-Match": "*"} if path.rpartition("/")[2] in VERSIONED else {}
            answer = callers[name].call(method, path, json=body, headers=headers)
            if SCOPES.index(name) < SCOPES.index(needed):
                assert f"jotd:{needed}" in problem(answer, 403)["detail"], (method, path, name)
                assert f'scope="jotd:{needed}"' in answer.headers["WWW-Authenticate"]
            else:
                assert answer.status_code in (200, 201, 204), (method, path, name, answer.text)


# Rights

def test_a_writer_cannot_become_an_administrator(served, database, admin):
    writer = administrator(served, database, scope="jotd:write")
    database.client(id="plain")
    admin_audience = served.issuer + "/admin"
    digest = hashlib.sha256(b"mine").hexdigest()
    assert writer.put("/clients/spy", {"name": "n"}).status_code == 201
    assert admin.patch("/clients/spy", {"introspect": ["*"]}).status_code == 200
    before = database.execute("SELECT to_jsonb(clients) FROM clients ORDER BY client_id")
    for number, body in enumerate(({"scopes": ["jotd:admin"]}, {"scopes": ["a", "jotd:x"]},
                                   {"introspect": ["*"]}, {"audiences": [admin_audience]})):
        body = {"name": "n", **body}
        assert problem(writer.post("/clients", body), 403)
        assert problem(writer.put(f"/clients/new{number}", body), 403)
        assert problem(writer.put("/clients/plain", body, "*"), 403)
        assert problem(writer.patch("/clients/plain", body), 403)
    for id in "root", "spy":
        assert problem(writer.post(f"/clients/{id}/secrets", {}), 403)
        assert problem(writer.post(f"/clients/{id}/secrets", {"sha256": digest}), 403)
        assert problem(writer.patch(f"/clients/{id}", {"name": "mine"}), 403)
        assert problem(writer.patch(f"/clients/{id}", {"enabled": False}), 403)
        assert problem(writer.patch(f"/clients/{id}", {"scopes": []}), 403)
        assert problem(writer.delete(f"/clients/{id}"), 403)
        assert problem(writer.delete(f"/clients/{id}/tokens", version=None), 403)
    (secret,) = admin.get("/clients/root/secrets").json()["items"]
    assert problem(writer.delete(f"/clients/root/secrets/{secret['secret_id']}", version=None), 403)
    until(lambda: admin.get("/clients/root/tokens").json()["items"])
    (token,) = admin.get("/clients/root/tokens").json()["items"]
    assert problem(writer.post(f"/tokens/{token['jti']}/revoke", {}), 403)
    assert problem(writer.put("/organizations/o", {"name": "n"}), 403)
    assert problem(writer.put("/tiers/free", {}, "*"), 403)
    assert database.execute("SELECT to_jsonb(clients) FROM clients ORDER BY client_id") == before
    assert not database.execute("SELECT FROM audit_log WHERE actor = %s AND object_id <> 'spy'",
                                (writer.client.id,))


def test_somebody_may_know_the_secrets_of_a_client_that_would_become_an_administrator(
        served, database, admin):
    client = database.client(id="known")
    answer = admin.patch("/clients/known", {"scopes": ["jotd:read"]})
    assert "somebody may know" in problem(answer, 409)["detail"]
    refused = database.cli("client", "update", "known", "--scope", "jotd:read", check=False)
    assert refused.returncode == 1 and "somebody may know" in refused.stderr
    (secret,) = admin.get("/clients/known/secrets").json()["items"]
    assert admin.delete(f"/clients/known/secrets/{secret['secret_id']}",
                        version=None).status_code == 204
    assert admin.patch("/clients/known", {"scopes": ["jotd:read"]}).status_code == 200
    assert served.token(client).status_code == 401


# Clients

WHOLE = {
    "name": "Zoë & Co.", "tier": "pro", "organization": "acme", "scopes": ["read", "write"],
    "audiences": ["https://api.example.com", "urn:a"], "introspect": ["urn:b"],
    "claims": {"plan": "gold", "limits": {"a": [1, 2.5, None, True]}, "a=b~/c": 1},
    "labels": {"team": "billing", "env": "a=b é"}, "token_ttl": 60, "enabled": True,
}


def test_a_client_from_its_making_to_its_end(served, database, admin):
    database.cli("organization", "create", "--name", "Acme", "--id", "acme")
    made = admin.put("/clients/c", WHOLE)
    assert (made.status_code, made.headers["Location"]) == (201, "/admin/v1/clients/c")
    assert made.headers["ETag"] == f'"{made.json()["version"]}"'
    assert {name: made.json()[name] for name in WHOLE} == WHOLE
    got = admin.get("/clients/c")
    assert (got.json(), got.headers["ETag"]) == (made.json(), made.headers["ETag"])
    # What GET gives, PUT takes, and nothing changes.
    assert admin.put("/clients/c", got.json(), got.json()["version"]).json() == got.json()
    # What is not given gets its default.
    bare = admin.put("/clients/c", {"name": "bare"}, "*").json()
    assert {name: bare[name] for name in WHOLE} == {
        "name": "bare", "tier": "free", "organization": None, "scopes": [], "audiences": [],
        "introspect": [], "claims": {}, "labels": {}, "token_ttl": None, "enabled": True}
    assert bare["version"] == got.json()["version"] + 1
    assert admin.delete("/clients/c", bare["version"]).status_code == 204
    assert problem(admin.get("/clients/c"), 404)
    # Made again, it has no version that it had.
    assert admin.put("/clients/c", {"name": "again"}).json()["version"] > bare["version"]


def test_patches_are_merged(served, admin):
    admin.put("/clients/c", {**WHOLE, "organization": None})
    patched = admin.patch("/clients/c", {
        "labels": {"team": None, "new": "x"}, "claims": {"limits": {"a": None, "b": 1}},
        "token_ttl": None, "scopes": ["only"]}).json()
    assert (patched["labels"], patched["claims"], patched["token_ttl"], patched["scopes"]) == (
        {"env": "a=b é", "new": "x"}, {"plan": "gold", "limits": {"b": 1}, "a=b~/c": 1}, None,
        ["only"])
    assert (patched["name"], patched["audiences"]) == (WHOLE["name"], WHOLE["audiences"])
    assert pointer(admin.patch("/clients/c", {"name": None})) == "/name"
    assert problem(admin.patch("/clients/nobody", {}), 404)


def test_a_secret_is_shown_once(served, database, admin):
    made = admin.post("/clients", {"name": "n", "scopes": ["a"]},
                      headers={"Idempotency-Key": "once"})
    secret = made.json()["client_secret"]
    assert made.status_code == 201
    path = made.headers["Location"]
    client = type("Client", (), {"id": made.json()["client_id"], "secret": secret})
    assert served.token(client).status_code == 200
    rotated = admin.post(path + "/secrets", {"overlap": 60}).json()
    assert [old["expires_at"] is not None for old in rotated["old_secrets"]] == [True]
    again = admin.post("/clients", {"name": "n", "scopes": ["a"]},
                       headers={"Idempotency-Key": "once"})
    assert (again.status_code, again.headers["Location"]) == (201, path)
    assert again.json() == {name: value for name, value in made.json().items()
                            if name != "client_secret"}
    shown = "".join(admin.get(p).text for p in (
        path, "/clients", path + "/secrets", "/audit?limit=1000"))
    everything = shown + served.stderr + str(database.execute("SELECT * FROM idempotency_keys"))
    for value in secret, rotated["client_secret"]:
        assert value not in everything
        assert hashlib.sha256(value.encode()).hexdigest() not in everything


def test_secrets_of_the_callers_own(served, admin):
    secret = "jot_of-my-own"
    sha256 = hashlib.sha256(secret.encode()).hexdigest()
    made = admin.post("/clients", {"client_id": "mine", "name": "n", "sha256": sha256})
    assert made.status_code == 201 and "client_secret" not in made.json()
    bare = admin.post("/clients", {"client_id": "bare", "name": "n", "secret": False}).json()
    assert "client_secret" not in bare and "secret_id" not in bare
    assert admin.get("/clients/bare/secrets").json()["items"] == []
    assert pointer(admin.post("/clients/bare/secrets", {"sha256": "12"})) == "/sha256"
    assert admin.post("/clients/bare/secrets", {"sha256": sha256}).status_code == 201
    assert problem(admin.post("/clients/bare/secrets", {"sha256": sha256}), 409)
    assert pointer(admin.post("/clients", {"name": "n", "sha256": sha256, "secret": True})) == \
        "/secret"


BAD = [
    ({}, "/name"),
    ({"name": 1}, "/name"),
    ({"name": ""}, "/name"),
    ({"name": "n\n"}, "/name"),
    ({"name": "n", "nope": 1}, "/nope"),
    ({"name": "n", "a/b~c": 1}, "/a~1b~0c"),
    ({"name": "n", "scope": "a"}, "/scope"),
    ({"name": "n", "tier": "none"}, "/tier"),
    ({"name": "n", "organization": "none"}, "/organization"),
    ({"name": "n", "scopes": "a"}, "/scopes"),
    ({"name": "n", "scopes": ["a", 1]}, "/scopes/1"),
    ({"name": "n", "scopes": ["a b"]}, "/scopes"),
    ({"name": "n", "audiences": ["a"]}, "/audiences"),
    ({"name": "n", "audiences": [f"urn:{n}" for n in range(17)]}, "/audiences"),
    ({"name": "n", "introspect": ["*", "urn:a"]}, "/introspect"),
    ({"name": "n", "claims": []}, "/claims"),
    ({"name": "n", "claims": {"iss": 1}}, "/claims/iss"),
    ({"name": "n", "claims": {"x": "y" * 2048}}, "/claims"),
    ({"name": "n", "labels": {"a": 1}}, "/labels/a"),
    ({"name": "n", "labels": {"A": "x"}}, "/labels/A"),
    ({"name": "n", "labels": {f"l{n}": "x" for n in range(17)}}, "/labels"),
    ({"name": "n", "token_ttl": 86401}, "/token_ttl"),
    ({"name": "n", "token_ttl": -1}, "/token_ttl"),
    ({"name": "n", "token_ttl": 1.5}, "/token_ttl"),
    ({"name": "n", "enabled": "yes"}, "/enabled"),
    ({"name": "n", "client_id": "other"}, "/client_id"),
    ([], ""),
]


def test_values_that_break_a_rule(served, database, admin):
    before = database.execute("SELECT count(*) FROM clients")
    for body, where in BAD:
        assert pointer(admin.put("/clients/c", body)) == where, body
    assert database.execute("SELECT count(*) FROM clients") == before


# Conditions

def test_changes_need_the_version_that_was_seen(served, admin):
    version = admin.put("/clients/c", {"name": "n"}).json()["version"]
    for method in "PUT", "PATCH", "DELETE":
        body = None if method == "DELETE" else {"name": "m"}
        assert problem(admin.call(method, "/clients/c", json=body), 428)
        for tag in '"1"', f'W/"{version}"', f'"x", W/"{version}"':
            assert problem(admin.call(method, "/clients/c", json=body,
                                      headers={"If-Match": tag}), 412)
        for tag in "", f'{version}', f'"{version}', f'"{version}" "1"':
            assert problem(admin.call(method, "/clients/c", json=body,
                                      headers={"If-Match": tag}), 400)
    assert problem(admin.call("PUT", "/clients/c", json={"name": "m"},
                              headers={"If-None-Match": "*"}), 412)
    assert admin.call("PUT", "/clients/d", json={"name": "m"},
                      headers={"If-None-Match": "*"}).status_code == 201
    assert problem(admin.call("PUT", "/clients/e", json={"name": "m"},
                              headers={"If-Match": "*"}), 412)
    changed = admin.call("PATCH", "/clients/c", json={"name": "m"},
                         headers={"If-Match": f'"1" , "{version}"'})
    assert changed.json()["version"] == version + 1
    assert admin.get("/clients/c", headers={"If-None-Match": changed.headers["ETag"]}).status_code \
        == 304
    assert admin.get("/clients/c", headers={"If-None-Match": '"1"'}).status_code == 200


def test_a_change_by_psql_counts_too(served, database, admin):
    version = admin.put("/clients/c", {"name": "n"}).json()["version"]
    database.execute("UPDATE clients SET name = 'by hand' WHERE client_id = 'c'")
    assert problem(admin.patch("/clients/c", {"name": "m"}, version), 412)
    assert admin.get("/clients/c").json()["name"] == "by hand"


# Lists

def test_lists_are_stable_while_rows_come_and_go(served, database, admin):
    database.execute("INSERT INTO clients (client_id, name) SELECT 'c' || lpad(n::text, 4, '0'), 'n'"
                     " FROM generate_series(0, 2500) AS n")
    seen, path = [], "/admin/v1/clients?limit=400&tier=free"
    while path:
        page = admin.get(path)
        seen += [item["client_id"] for item in page.json()["items"]]
        path = page.links["next"]["url"] if "next" in page.links else None
        assert (path is None) == (page.json()["next"] is None)
        database.execute("DELETE FROM clients WHERE client_id = %s", (seen[0],))
        database.execute("INSERT INTO clients (client_id, name) VALUES (%s, 'n')",
                         (f"a{len(seen)}",))
    assert seen == sorted(seen) and len(seen) == len(set(seen)) == 2501
    lines = admin.get("/clients", headers={"Accept": "application/x-ndjson"})
    assert lines.headers["Content-Type"] == "application/x-ndjson"
    ids = [json.loads(line)["client_id"] for line in lines.text.splitlines()]
    assert ids == [id for id, in database.execute("SELECT client_id FROM clients"
                                                  " ORDER BY client_id COLLATE \"C\"")]


def test_filters(served, database, admin):
    database.cli("organization", "create", "--name", "Acme", "--id", "acme")
    database.cli("client", "create", "--id", "a", "--name", "Billing API", "--tier", "pro",
                 "--scope", "x y", "--label", "team=billing", "--organization", "acme")
    database.cli("client", "create", "--id", "b", "--name", "100%_", "--label", "team=search")
    database.cli("client", "disable", "b")
    database.execute("UPDATE client_secrets SET expires_at = now() + interval '1 day'"
                     " WHERE client_id = 'b'")
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7 * 86400))

    def found(**parameters):
        answer = admin.get("/clients", params=parameters)
        assert answer.status_code == 200, answer.text
        return "".join(item["client_id"] for item in answer.json()["items"]
                       if item["client_id"] != "root")

    assert found() == "ab"
    assert found(tier="pro") == found(organization="acme") == found(scope="y") == "a"
    assert found(q="ling a") == found(q="A") == found(**{"label.team": "billing"}) == "a"
    assert found(q="%_") == found(enabled="false") == found(expires_before=soon) == "b"
    assert found(q="_%") == found(scope="x y") == found(q="zzz", tier="pro") == ""
    assert found(unused_since=soon) == "ab"
    for parameters in ({"enabled": "yes"}, {"limit": "0"}, {"limit": "1001"}, {"limit": "x"},
                       {"after": "../x"}, {"unused_since": "today"}, {"nope": "1"},
                       {"tier": "none"}, {"expires_before": "2026-01-01"}):
        assert problem(admin.get("/clients", params=parameters), 400), parameters
    assert problem(admin.get("/clients?limit=1&limit=2"), 400)


# Idempotency-Key

def test_a_repeated_post_is_made_once(served, database, admin):
    def post(body, key="k", caller=admin, path="/clients"):
        return caller.post(path, body, headers={"Idempotency-Key": key})

    first = post({"name": "n"})
    assert post({"name": "n"}).headers["Location"] == first.headers["Location"]
    assert post({"name": "n"}).headers["Idempotency-Replayed"] == "true"
    assert problem(post({"name": "other"}), 422)
    assert problem(post({"name": "n"}, path="/organizations"), 422)
    other = administrator(served, database)
    assert post({"name": "n"}, caller=other).headers["Location"] != first.headers["Location"]
    # What has failed was not done, and may be tried again.
    assert problem(post({"name": ""}, key="f"), 400)
    assert post({"name": "n"}, key="f").status_code == 201
    database.execute("UPDATE idempotency_keys SET made_at = made_at - interval '25 hours'")
    assert post({"name": "other"}).status_code == 201
    for key in "", "x" * 256:
        assert problem(post({"name": "n"}, key=key), 400)


# Other resources

def test_organizations_and_tiers(served, database, admin):
    made = admin.post("/organizations", {"name": "Acme", "organization_id": "acme"})
    assert (made.status_code, made.headers["Location"]) == (201, "/admin/v1/organizations/acme")
    assert admin.patch("/organizations/acme", {"enabled": False}).json()["enabled"] is False
    assert admin.put("/tiers/gold", {"per_minute": 5, "token_ttl": 60}).status_code == 201
    gold = admin.get("/tiers/gold").json()
    assert (gold["per_minute"], gold["per_hour"], gold["token_ttl"]) == (5, None, 60)
    assert admin.patch("/tiers/gold", {"per_hour": 10, "per_minute": None},
                       gold["version"]).json()["per_minute"] is None
    assert "gold" in [tier["name"] for tier in admin.get("/tiers").json()["items"]]
    admin.put("/clients/c", {"name": "n", "organization": "acme", "tier": "gold"})
    assert "1 client" in problem(admin.delete("/tiers/gold"), 409)["detail"]
    assert "1 client" in problem(admin.delete("/organizations/acme"), 409)["detail"]
    admin.delete("/clients/c")
    assert admin.delete("/tiers/gold").status_code == 204
    assert admin.delete("/organizations/acme").status_code == 204
    for body, where in (({"per_minute": 0}, "/per_minute"), ({"per_hour": "many"}, "/per_hour"),
                        ({"token_ttl": -1}, "/token_ttl"), ({"nope": 1}, "/nope")):
        assert pointer(admin.put("/tiers/gold", body)) == where
    assert [item["organization_id"] for item in
            admin.get("/organizations").json()["items"]] == []


def test_tokens(served, database, admin):
    client = database.client(id="c")
    token = served.access_token(client)
    until(lambda: len(recorded(database)) >= 2, timeout=20)
    (listed,) = admin.get("/clients/c/tokens").json()["items"]
    assert admin.get(f"/tokens/{listed['jti']}").json() == listed
    assert listed["active"] is True
    revoked = admin.post(f"/tokens/{listed['jti']}/revoke", {"reason": "lost"}).json()
    assert revoked["state"] == "revoked"
    shown = admin.get(f"/tokens/{listed['jti']}").json()
    assert (shown["active"], shown["reason"], shown["revoked_by"]) == (False, "lost", "root")
    until(lambda: served.post("/introspect", data={"token": token}, auth=(client.id, client.secret))
          .json() == {"active": False})
    assert problem(admin.get("/tokens/nonsense"), 404)
    assert problem(admin.get("/tokens/01890a5d-ac96-774b-bcce-b302099a8057"), 404)


def test_every_change_is_in_the_audit_with_its_actor(served, database, admin):
    answer = admin.call("PUT", "/clients/c", json={"name": "n"},
                        headers={"X-Request-Id": "req-1"})
    assert answer.headers["X-Request-Id"] == "req-1"
    admin.patch("/clients/c", {"name": "m"})
    admin.delete("/clients/c")
    rows = admin.get("/audit?object=client&object_id=c").json()["items"]
    assert [(row["action"], row["actor"], row["session_user"]) for row in rows] == [
        (action, "root", "jotd_admin") for action in ("delete", "update", "create")]
    assert rows[2]["request_id"] == "req-1"
    assert (rows[1]["before"]["name"], rows[1]["after"]["name"]) == ("n", "m")
    assert problem(admin.get("/audit?object=nothing"), 400)


def test_the_caches(database, jotd):
    client = database.client(id="c", tier="unlimited")
    with jotd(database, admin=True, workers=2) as s, jotd(database, keys=False,
                                                         keys_dir=s.keys_dir) as other:
        admin = administrator(s, database)
        for server in s, other:
            for _ in range(20):
                assert server.token(client).status_code == 200
        stats = admin.get("/cache/stats").json()
        assert admin.get("/admin/cache/stats").json()["capacity"] == stats["capacity"] == 10000
        for name in "hits", "misses", "entries":
            assert stats[name] == sum(worker[name] for worker in stats["workers"])
        assert stats["hits"] + stats["misses"] >= 21 and 0 < stats["hit_rate"] < 1
        for body in {"client_id": "c"}, {"all": True}:
            before = [server.metric("jotd_client_cache_misses_total") for server in (s, other)]
            assert admin.post("/cache/invalidate", body).status_code == 204

            def looked_up_again():
                for server in s, other:
                    server.token(client)
                return all(server.metric("jotd_client_cache_misses_total") > n
                           or server.metric("jotd_client_rechecks_total") > 0
                           for server, n in zip((s, other), before))

            until(looked_up_again)
        for body in {}, {"client_id": "c", "all": True}, {"all": False}, {"client_id": "/"}:
            assert problem(admin.post("/cache/invalidate", body), 400)


# Bad input

def test_bodies_and_paths_that_are_wrong(served, admin):
    def send(body, path="/clients", method="POST", **headers):
        return admin.call(method, path, data=body, headers={"Content-Type": "application/json",
                                                            **headers})

    for body in (b"", b"{", b"nul", b'{"name":"a","name":"b"}', b'{"name":"\xff"}', b"[" * 10000,
                 b'{"a":' * 10000, b'{"name":"n","token_ttl":1e999}', b'{"name":"\\u0000"}',
                 b'{"name":"n","token_ttl":99999999999999999999}'):
        assert problem(send(body), 400)
    assert problem(send(b'{"name":"n"}', **{"Content-Type": "text/plain"}), 415)
    assert send(b" " * (1024 * 1024 + 1)).status_code == 413
    assert problem(send(b'{"name":"' + b"n" * (1024 * 1024 - 20) + b'"}'), 400)
    assert problem(send(b"{}", method="GET"), 400)
    for id in "a%2fb", "a%00b", "..%2fb", "%2e%2e", "a%20b", "é", "x" * 65, "a;b":
        assert send(b'{"name":"n"}', f"/clients/{id}", "PUT").status_code in (400, 404), id
    answer = send(b'{"name":"n"}', **{"X-HTTP-Method-Override": "DELETE"})
    assert answer.status_code == 201
    assert problem(admin.call("DELETE", "/tiers"), 405)
    assert admin.call("DELETE", "/tiers").headers["Allow"] == "GET, HEAD"
    assert problem(admin.get("/nothing"), 404)
    assert admin.call("HEAD", "/clients").status_code == 200
    assert served.metric("jotd_http_requests_total", endpoint="/admin", code="415") == 1


# Faults

def test_while_its_statements_are_stuck_nothing_else_is(served, database, admin):
    client = database.client(tier="unlimited")
    assert served.token(client).status_code == 200
    assert admin.get("/session").status_code == 200  # a caller that was seen
    with database.locked("organizations"):
        import concurrent.futures
        with concurrent.futures.ThreadPoolExecutor() as pool:
            stuck = pool.submit(administrator.__globals__["Admin"](served, admin.token).put,
                                "/clients/late", {"name": "n"})
            until(lambda: database.waiting_for_lock() >= 1)
            for _ in range(20):
                assert served.token(client).status_code == 200
            assert admin.get("/cache/stats").status_code == 200
            assert not stuck.done()
            assert stuck.result().status_code in (409, 503)
    assert problem(admin.get("/clients/late"), 404)


def test_postgresql_away(database, jotd, postgres):
    with jotd(database, admin=True) as s:
        admin = administrator(s, database)
        assert admin.get("/session").status_code == 200
        postgres.stop()
        try:
            until(lambda: admin.get("/clients").status_code == 503)
            for path in "/session", "/cache/stats", "/signing-keys":
                assert admin.get(path).status_code == 200
            answer = admin.put("/clients/c", {"name": "n"})
            assert "PostgreSQL" in problem(answer, 503)["detail"]
        finally:
            postgres.start()
        until(lambda: admin.get("/clients").status_code == 200, timeout=20)
        s.wait_log("admin.away")


def test_addresses_that_are_refused(database, jotd, run_jotd=None):
    from harness.process import run_jotd
    url = {"DATABASE_URL": database.url, "JOTD_ISSUER": "https://a.example"}
    for listen, words in (("0.0.0.0:8082", "in the clear"), ("127.0.0.1:8080", "another listener")):
        done = run_jotd("serve", env={**url, "JOTD_ADMIN_LISTEN": listen}, check=False)
        assert done.returncode == 1 and words in done.stderr


def test_a_local_socket(database, jotd, tmp_path):
    path = tmp_path / "admin.sock"
    settings = {"admin_listen": f"unix:{path}", "admin_database_url": database.admin_url}
    with jotd(database, **settings) as s:
        assert path.stat().st_mode & 0o777 == 0o660
        with jotd(database, keys=False, keys_dir=s.keys_dir, **settings):
            pass  # it has taken the path over
