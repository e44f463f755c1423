"""`jotd init` and the clients of administrators."""

import re

from harness.admin import Admin
from harness.process import run_jotd


def environment(database, directory):
    return {"DATABASE_URL": database.owner_url, "JOTD_KEYS_DIR": str(directory / "keys"),
            "JOTD_ISSUER": "https://tokens.example/"}


def test_init_makes_what_is_missing_and_may_be_run_again(fresh_database, jotd, tmp_path):
    env = environment(fresh_database, tmp_path)
    first = run_jotd("init", env=env)
    assert "applied 0001_schema" in first.stdout
    kid = re.search(r"^signing key: made (\S+)$", first.stdout, re.M)[1]
    id = re.search(r"^client_id: (\S+)$", first.stdout, re.M)[1]
    secret = re.search(r"^client_secret: (\S+)$", first.stdout, re.M)[1]
    assert "https://tokens.example/token" in first.stderr
    again = run_jotd("init", env=env)
    assert again.stdout.splitlines() == [
        again.stdout.splitlines()[0], f"signing key: {kid} signs already",
        "administrator: there is one already; `jotd client create --admin` makes another"]
    assert again.stdout.startswith("up to date")
    assert secret not in again.stdout + again.stderr
    with jotd(fresh_database, admin=True, keys=False, keys_dir=tmp_path / "keys",
              issuer=env["JOTD_ISSUER"]) as s:
        token = s.access_token(type("Client", (), {"id": id, "secret": secret}))
        session = Admin(s, token).get("/session").json()
        assert session["scopes"] == ["jotd:read", "jotd:write", "jotd:admin"]


def test_dead_ends_say_what_to_do(fresh_database, database, tmp_path):
    env = environment(fresh_database, tmp_path)
    for change, words in (({"JOTD_ISSUER": "", "JOTD_LISTEN": "0.0.0.0:8080"}, "JOTD_ISSUER"),
                          ({"DATABASE_URL": ""}, "DATABASE_URL"),
                          ({"DATABASE_URL": database.url}, "jotd_server"),
                          ({"JOTD_KEYS_DIR": "/proc/keys"}, "/proc/keys")):
        done = run_jotd("init", env={name: value for name, value in {**env, **change}.items()
                                     if value}, check=False)
        assert done.returncode == 1 and words in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_client_of_an_administrator(database, tmp_path):
    env = {"JOTD_ISSUER": "https://tokens.example"}
    made = database.cli("client", "create", "--admin", "--name", "ops", "--id", "ops", env=env)
    assert made.stdout.startswith("client_id: ops\nclient_secret: jot_")
    assert database.execute("SELECT scopes, audiences FROM clients") == [
        (["jotd:read", "jotd:write", "jotd:admin"], ["https://tokens.example/admin"])]
    for option in ("--scope", "a"), ("--audience", "urn:a"):
        done = database.cli("client", "create", "--admin", "--name", "n", *option, env=env,
                            check=False)
        assert done.returncode == 2 and "--admin gives" in done.stderr
