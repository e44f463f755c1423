"""`jotd apply`, `jotd export` and POST /admin/v1/apply."""

import hashlib
import json
import subprocess

import pytest

from harness import until
from harness.admin import administrator
from harness.process import binary, clean_environment

SHA = hashlib.sha256(b"secret").hexdigest()


@pytest.fixture
def apply(database, tmp_path):
    """apply(document, options…) runs the command."""
    def run(document, *options, name="set.json", set="main", check=True):
        path = tmp_path / name
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return database.cli("apply", "-f", str(path), "--set", set, *options, check=check)
    return run


def refused(done, *words):
    assert done.returncode == 1, done.stdout
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr, done.stderr


WHOLE = {
    "tiers": [{"name": "gold", "per_minute": 5}],
    "organizations": [{"organization_id": "acme", "name": "Acme", "tier": "gold"}],
    "clients": [
        {"client_id": "a", "name": "A", "organization": "acme", "tier": "gold", "scopes": ["x"],
         "claims": {"n": 1.5, "big": 1e2, "deep": {"a": [None]}}, "labels": {"k": "v"},
         "secrets": [{"sha256": SHA}]},
        {"client_id": "b", "name": "B", "enabled": False},
    ],
}


def test_it_makes_what_is_missing_and_leaves_what_is_there(database, jotd, apply):
    first = apply(WHOLE).stdout.splitlines()
    assert first == ["+ tier gold", "+ organization acme", "+ client a (1 secret more)",
                     "+ client b", "4 changed, 0 unchanged"]
    before = database.execute("SELECT to_jsonb(c) FROM clients c ORDER BY client_id")
    assert apply(WHOLE).stdout == "0 changed, 4 unchanged\n"
    assert database.execute("SELECT to_jsonb(c) FROM clients c ORDER BY client_id") == before
    with jotd(database) as s:
        client = type("Client", (), {"id": "a", "secret": "secret"})
        assert s.token(client).status_code == 401  # it is not of our form
    assert database.execute("SELECT encode(digest, 'hex') FROM client_secrets") == [(SHA,)]


def test_a_change_is_shown_value_by_value(database, apply):
    apply(WHOLE)
    changed = json.loads(json.dumps(WHOLE))
    changed["clients"][0].update(scopes=["x", "y"], claims={})
    changed["clients"][1]["enabled"] = True
    changed["tiers"][0]["per_minute"] = 6
    shown = apply(changed, "--dry-run").stdout.splitlines()
    assert shown == [
        "~ tier gold: per_minute 5 -> 6",
        '~ client a: scopes ["x"] -> ["x","y"], '
        'claims {"n":1.5,"big":100.0,"deep":{"a":[null]}} -> {}',
        "~ client b: enabled false -> true",
        "3 changed, 1 unchanged; a dry run: nothing was changed"]
    assert apply(WHOLE).stdout == "0 changed, 4 unchanged\n"
    report = json.loads(apply(changed, "--json").stdout)
    assert report["unchanged"] == 1
    assert [change["action"] for change in report["changes"]] == ["update"] * 3
    assert SHA not in json.dumps(report)


def test_it_is_all_or_nothing(database, apply):
    broken = json.loads(json.dumps(WHOLE))
    broken["clients"][1]["token_ttl"] = -1
    refused(apply(broken, check=False), "client b", "/clients/1/token_ttl")
    assert database.execute("SELECT count(*) FROM clients") == [(0,)]
    assert database.execute("SELECT count(*) FROM tiers WHERE name = 'gold'") == [(0,)]
    for document, *words in (
            ({"clients": [{"name": "n"}]}, "client_id is missing", "/clients/0"),
            ({"clients": [{"client_id": "a", "name": "n"}] * 2}, "clients a is in"),
            ({"clients": [{"client_id": "a", "name": "n", "tier": "none"}]}, "client a", "none"),
            ({"clients": {}}, "clients is an array"),
            ({"nope": []}, "/nope"),
            ({"clients": [{"client_id": "a", "name": "n", "secrets": [{"sha256": "1"}]}]}, "SHA-256"),
            ({"clients": [{"client_id": "a", "name": "n", "secrets": [{"file": "x"}]}]}, "client a"),
            ('{"clients": [}', "line 1"),
            ("[]", "it is not an object")):
        refused(apply(document, check=False), *words)
    assert database.execute("SELECT count(*) FROM clients") == [(0,)]


def test_yaml(database, apply):
    assert apply("clients:\n- client_id: y\n  name: 'n'\n  labels: {a: b}\n",
                 name="set.yaml").stdout == "+ client y\n1 changed, 0 unchanged\n"
    for text, words in (("clients: &a []\nother: *a\n", "alias"), ("clients: !x []\n", "tags"),
                        ("clients: []\nclients: []\n", "twice")):
        refused(apply(text, name="set.yml", check=False), words)


def test_secrets_from_files(database, jotd, apply, tmp_path):
    secret = database.client().secret
    (tmp_path / "billing.secret").write_text(secret + "\nrest\n")
    document = {"clients": [{"client_id": "billing", "name": "n",
                             "secrets": [{"secret_file": "billing.secret"}]}]}
    apply(document)
    with jotd(database) as s:
        assert s.token(type("Client", (), {"id": "billing", "secret": secret})).status_code == 200
    assert apply(document).stdout == "0 changed, 1 unchanged\n"
    # One that has ended lives again; what is not listed stays.
    database.execute("UPDATE client_secrets SET expires_at = now() - interval '1 hour'"
                     " WHERE client_id = 'billing'")
    assert "1 secret more" in apply(document).stdout
    document["clients"][0]["secrets"] = [{"sha256": f"{n:064x}"} for n in range(3)]
    apply(document)
    document["clients"][0]["secrets"] = [{"sha256": f"{7:064x}"}]
    refused(apply(document, check=False), "client billing", "4 live secrets")
    document["clients"].append({"client_id": "other", "name": "n",
                                "secrets": [{"secret_file": "nowhere"}]})
    refused(apply(document, check=False), "client other", "secret_file nowhere")
    assert database.execute("SELECT count(*) FROM clients WHERE client_id = 'other'") == [(0,)]


def test_a_set_prunes_only_what_it_has_made(database, apply):
    database.cli("client", "create", "--id", "mine", "--name", "n")
    apply({**WHOLE, "clients": WHOLE["clients"] + [{"client_id": "mine", "name": "n"}]})
    refused(apply({"clients": [{"client_id": "b", "name": "n"}]}, set="other", check=False),
            "client b belongs to the set main")
    # Kinds that are not in the document stay.
    assert apply({"tiers": WHOLE["tiers"]}, "--prune").stdout == "0 changed, 1 unchanged\n"
    assert apply({"clients": []}, "--prune", "--dry-run").stdout.splitlines()[:2] == [
        "- client a", "- client b"]
    refused(apply({"organizations": []}, "--prune", check=False), "organization acme", "1 client")
    assert apply({"clients": [], "organizations": [], "tiers": []}, "--prune").stdout.splitlines() \
        == ["- client a", "- client b", "- organization acme", "- tier gold",
            "4 changed, 0 unchanged"]
    assert database.execute("SELECT client_id FROM clients") == [("mine",)]
    # What is deleted and made again by hand is not the set's any more.
    apply({"clients": [{"client_id": "c", "name": "n"}]})
    database.cli("client", "delete", "c")
    database.cli("client", "create", "--id", "c", "--name", "n")
    assert apply({"clients": []}, "--prune").stdout == "0 changed, 0 unchanged\n"


def test_what_is_exported_is_what_is_there(database, apply):
    apply(WHOLE)
    exported = database.cli("export").stdout
    assert apply(exported, "--dry-run", set="copy", check=False).returncode == 1  # another's
    shown = apply(exported, "--dry-run").stdout
    assert shown.startswith("0 changed, ") and SHA not in exported
    assert [client["client_id"] for client in json.loads(exported)["clients"]] == ["a", "b"]
    database.execute("INSERT INTO clients (client_id, name) SELECT 'n' || n, 'n'"
                     " FROM generate_series(1, 2000) AS n")
    assert len(json.loads(database.cli("export").stdout)["clients"]) == 2002


def test_by_the_api(database, jotd, apply):
    with jotd(database, admin=True) as s:
        admin = administrator(s, database)
        writer = administrator(s, database, scope="jotd:write")
        answer = admin.post("/apply?set=main&dry_run=true", WHOLE)
        assert (answer.status_code, len(answer.json()["changes"])) == (200, 4)
        assert admin.get("/clients/a").status_code == 404
        assert admin.post("/apply?set=main", WHOLE).json()["unchanged"] == 0
        assert apply(WHOLE).stdout == "0 changed, 4 unchanged\n"
        assert writer.post("/apply?set=w", {"clients": [{"client_id": "w", "name": "n"}]}) \
            .status_code == 200
        for body in ({"tiers": [{"name": "free", "per_minute": 9}]},
                     {"organizations": [{"organization_id": "o", "name": "n"}]},
                     {"clients": [{"client_id": "w", "name": "n", "scopes": ["jotd:admin"]}]},
                     {"clients": [{"client_id": admin.client.id, "name": "n",
                                   "secrets": [{"sha256": SHA}]}]}):
            assert writer.post("/apply?set=w", body).status_code == 403, body
        assert admin.post("/apply", WHOLE).status_code == 400
        pointed = admin.post("/apply?set=x", {"clients": [{"client_id": "q", "name": 1}]})
        assert pointed.json()["errors"][0]["pointer"] == "/clients/0/name"
        assert admin.post("/apply?set=main&prune=true", {"clients": []}).status_code == 200
        assert admin.get("/clients/a").status_code == 404
        rows = admin.get("/audit?object=client&object_id=a").json()["items"]
        assert {row["actor"] for row in rows} == {admin.client.id}


def test_killed_in_the_middle(database, tmp_path):
    path = tmp_path / "many.json"
    path.write_text(json.dumps({"clients": [{"client_id": f"c{n}", "name": "n"}
                                            for n in range(20000)]}))
    process = subprocess.Popen([binary(), "apply", "-f", path, "--set", "main"],
                               env=clean_environment(DATABASE_URL=database.owner_url))
    until(lambda: database.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE"
                                   " '%%INSERT INTO applied_objects%%' AND pid <> pg_backend_pid()")
          != [(0,)], timeout=30, interval=0.001)
    process.kill()
    process.wait()
    assert database.execute("SELECT count(*) FROM clients") == [(0,)]
