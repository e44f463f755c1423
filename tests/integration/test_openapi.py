"""docs/openapi.yaml and the server agree: every documented answer is given, in the documented form,
and no other."""

import base64
import contextlib
import json
import types

import jsonschema
import pytest
import yaml

from harness import until
from harness.process import ROOT, run_jotd

PLAIN = {"date", "connection", "content-length", "content-type"}  # in every answer
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
STATUS = {"/revocations": 401}  # of GET without credentials, where it is not 200


class Document:
    """The document, and which of its answers have been seen."""

    def __init__(self):
        self.root = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
        self.resolver = jsonschema.RefResolver("", self.root)
        self.seen = set()

    def resolve(self, node):
        while set(node) == {"$ref"}:
            node = self.resolver.resolve(node["$ref"])[1]
        return node

    def validator(self, schema):
        return jsonschema.Draft202012Validator(schema, resolver=self.resolver)

    def operations(self):
        return {(method.upper(), path): operation for path, item in self.root["paths"].items()
                for method, operation in item.items()}

    def answers(self):
        """(method, path, status) of every documented answer."""
        return {(*key, int(status)) for key, operation in self.operations().items()
                for status in operation["responses"]}

    def check(self, answer, method, path, response=None):
        """Checks that the answer is documented, with these headers and this body. Returns it."""
        if response is None:
            responses = self.operations()[method, path]["responses"]
            assert str(answer.status_code) in responses, f"undocumented: {answer.status_code}"
            response = responses[str(answer.status_code)]
            self.seen.add((method, path, answer.status_code))
        self.check_headers(answer, self.resolve(response))
        content = self.resolve(response).get("content", {})
        if not content:
            assert not answer.content
            assert "Content-Type" not in answer.headers
            return answer
        media = content[answer.headers["Content-Type"]]
        body = answer.json() if answer.headers["Content-Type"] == "application/json" else answer.text
        self.validator(media["schema"]).validate(body)
        return answer

    def check_headers(self, answer, response):
        documented = {name: self.resolve(header)
                      for name, header in response.get("headers", {}).items()}
        for name, header in documented.items():
            if name in answer.headers:
                self.validator(header["schema"]).validate(answer.headers[name])
            else:
                assert not header.get("required"), f"{name} is missing"
        found = {name.lower() for name in answer.headers}
        assert found - PLAIN <= {name.lower() for name in documented}


@pytest.fixture(scope="module")
def document():
    return Document()


def references(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def schemas(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "schema":
                yield value
            yield from schemas(value)


def test_the_document_is_sound(document):
    """All references resolve, no component is unused, and all schemas are valid."""
    assert document.root["openapi"].startswith("3.1.")
    used = set(references(document.root))
    for reference in used:
        document.resolver.resolve(reference)
    for kind in ("headers", "schemas"):
        for name in document.root["components"][kind]:
            # The parts of a token are in the JWT, which no media type refers to.
            assert f"#/components/{kind}/{name}" in used or name.startswith("AccessToken"), name
    for schema in [*schemas(document.root), *document.root["components"]["schemas"].values()]:
        jsonschema.Draft202012Validator.check_schema(schema)
    names = [operation["operationId"] for operation in document.operations().values()]
    assert len(names) == len(set(names))


def test_the_server_gives_the_document(document, shared):
    answer = shared.get("/openapi.json")
    version = run_jotd("version").stdout.split()[1]
    own = {"info": document.root["info"] | {"version": version},
           "servers": [{"url": shared.url}]}
    assert answer.json() == document.root | own
    assert document.root["info"]["version"] == version


def test_other_methods_and_paths(document, shared):
    responses = document.root["components"]["responses"]
    for path in document.root["paths"]:
        taken = {method for method, at in document.operations() if at == path}
        for method in set(METHODS) - taken:
            answer = document.check(shared.request(method, path), method, path,
                                    responses["MethodNotAllowed"])
            assert answer.status_code == 405
            large = shared.request(method, path, headers={"X-Large": "x" * 16384})
            document.check(large, method, path, responses["HeadTooLarge"])
            assert large.status_code == 431
            assert set(answer.headers["Allow"].split(", ")) - {"HEAD"} == taken
        expected = STATUS.get(path, 200) if "GET" in taken else 405
        assert shared.request("HEAD", path).status_code == expected
    for path in ("/", "/nothing", "/token/", "/metrics/x"):
        answer = document.check(shared.get(path), "GET", path, responses["NotFound"])
        assert answer.status_code == 404


def decode(part):
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_every_documented_answer_is_given(document, databases, jotd, postgres):
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(databases.migrated())
        client = database.client(audience=["https://a.example", "https://b.example"])
        bare = database.client(scope=None)
        uncached = database.client()
        asker = database.client(tier="unlimited")
        database.cli("client", "update", client.id, "--claim", 'plan="gold"')
        database.cli("client", "update", asker.id, "--introspect", "https://a.example")

        def token(s, client=client, **form):
            return document.check(s.token(client, **form), "POST", "/token")

        def get(s, path, **options):
            return document.check(s.get(path, **options), "GET", path)

        def present(s, path, text, asking=asker):
            auth = asking and (asking.id, asking.secret)
            return document.check(s.post(path, {"token": text}, auth=auth), "POST", path)

        def revocations(s, since=None, asking=asker, **more):
            return get(s, "/revocations", params={"since": since, **more},
                       auth=asking and (asking.id, asking.secret))

        s = stack.enter_context(jotd(database, limiter_timeout_ms=5000))
        for asking, form in ((client, {}), (client, {"scope": "read"}), (bare, {})):
            answer = token(s, asking, **form)
            assert "X-Cache-Status" in answer.headers
            header, claims, _ = answer.json()["access_token"].split(".")
            parts = document.root["components"]["schemas"]
            document.validator(parts["AccessTokenHeader"]).validate(decode(header))
            document.validator(parts["AccessTokenClaims"]).validate(decode(claims))
        for form, error in (({"grant_type": None}, "invalid_request"),
                            ({"grant_type": "password"}, "unsupported_grant_type"),
                            ({"scope": "admin"}, "invalid_scope"),
                            ({"resource": "https://c.example"}, "invalid_target")):
            answer = token(s, **form)
            assert (answer.status_code, answer.json()["error"]) == (400, error)
        assert token(s, None).status_code == 401
        assert token(s, scope="x" * 17000).status_code == 413
        database.cli("tier", "set", "single", "--per-minute", 1)
        single = database.client(tier="single")
        for status in (200, 429):
            answer = token(s, single)
            assert answer.status_code == status
            assert {name for name in answer.headers if "RateLimit" in name} == {
                "RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining",
                "X-RateLimit-Reset"}
        assert answer.json()["error"] == "rate_limit_exceeded"
        wrong = types.SimpleNamespace(id=client.id, secret=bare.secret)
        answers = []
        until(lambda: answers.append(token(s, wrong)) or answers[-1].status_code == 429, interval=0)
        assert answers[-1].json()["error"] == "slow_down"

        of_client, own = s.access_token(client), s.access_token(asker)
        active = present(s, "/introspect", of_client).json()
        assert (active["active"], active["plan"]) == (True, "gold")
        assert present(s, "/introspect", "none").json() == {"active": False}
        assert present(s, "/revoke", of_client).json()["error"] == "unauthorized_client"
        assert present(s, "/revoke", own).status_code == 200
        for path in ("/introspect", "/revoke"):
            assert present(s, path, None).status_code == 400
            assert present(s, path, own, None).status_code == 401
            assert present(s, path, "x" * 17000).status_code == 413
        page = revocations(s).json()
        assert [jti for jti, _ in page["revoked"]] == [decode(own.split(".")[1])["jti"]]
        assert revocations(s, page["cursor"]).status_code == 200
        assert revocations(s, "9" + page["cursor"]).status_code == 410
        for answer, status in ((revocations(s, "x"), 400), (revocations(s, limit=1), 400),
                               (revocations(s, asking=None), 401),
                               (revocations(s, asking=client), 403)):
            assert answer.status_code == status

        slow = stack.enter_context(jotd(database, introspect_per_second=1, revocation_stale=1))
        asking = [lambda: present(slow, "/introspect", slow.access_token(asker)),
                  lambda: present(slow, "/revoke", slow.access_token(asker)),
                  lambda: revocations(slow)]
        for ask in asking:
            until(lambda ask=ask: ask().status_code == 429, interval=0)

        get(s, "/.well-known/oauth-authorization-server")
        get(s, "/.well-known/openid-configuration")
        s.create_key("RS256")
        until(lambda: len(s.jwks()["keys"]) == 2)
        etag = get(s, "/.well-known/jwks.json").headers["ETag"]
        get(s, "/.well-known/jwks.json", headers={"If-None-Match": etag})
        etag = get(s, "/openapi.json").headers["ETag"]
        get(s, "/openapi.json", headers={"If-None-Match": f'W/"other", W/{etag}'})
        get(s, "/health")
        get(s, "/metrics")
        until(lambda: get(s, "/ready").json()["status"] == "ok")

        keyless = stack.enter_context(
            jotd(database, keys=False, ready=False, keys_dir="missing"))
        assert get(keyless, "/ready").json()["status"] == "unavailable"
        assert get(keyless, "/.well-known/jwks.json").status_code == 503

        postgres.stop()
        stack.callback(postgres.start)
        until(lambda: get(s, "/ready").json()["status"] == "degraded")
        assert token(s, uncached).status_code == 503
        assert token(s).headers["X-Cache-Status"] == "STALE"
        for ask in asking:
            until(lambda ask=ask: ask().status_code == 503)

    assert document.seen == document.answers()
