"""Organizations, and what else a client can be given: labels, static claims, the audiences whose
tokens it may ask about; revoking all its tokens."""

import concurrent.futures
import contextlib
import datetime
import json
import re
import types

import pytest

from harness import claims_of, until

RESERVED = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "cnf", "act"]


def in_json(database, *arguments):
    return json.loads(database.cli(*arguments, "--json").stdout)


def refused(database, *arguments, status=1):
    """Runs what must fail, and returns its message."""
    done = database.cli(*arguments, check=False)
    assert (done.returncode, done.stdout) == (status, ""), done
    message = done.stderr.partition("\n")[0]
    assert message.startswith("jotd: ")
    return message


def organization(database, id="acme", **options):
    command = ["organization", "create", "--name", "n", "--id", id]
    for name, value in options.items():
        command += [f"--{name}", value]
    database.cli(*command)


@pytest.fixture
def client(database):
    return database.client(id="c").id


# Organizations


def test_an_organization_from_its_making_to_its_end(database):
    made = in_json(database, "organization", "create", "--name", "Zoë & Co.")
    assert re.fullmatch("[a-z0-9]{20}", made["organization_id"])
    assert list(made) == ["organization_id", "name", "tier", "enabled", "created_at", "updated_at",
                          "version"]
    assert (made["name"], made["tier"], made["enabled"]) == ("Zoë & Co.", "unlimited", True)
    for time in "created_at", "updated_at":
        assert datetime.datetime.fromisoformat(made[time].replace("Z", "+00:00"))

    id = made["organization_id"]
    changed = in_json(database, "organization", "update", id, "--tier", "pro")
    assert {**changed, "updated_at": ""} == {
        **made, "tier": "pro", "version": made["version"] + 1, "updated_at": ""}
    assert in_json(database, "organization", "update", id, "--name", "m")["name"] == "m"
    assert in_json(database, "organization", "disable", id)["enabled"] is False
    shown = in_json(database, "organization", "show", id)
    assert shown.pop("clients") == 0
    assert (shown["name"], shown["tier"], shown["enabled"], shown["version"]) == (
        "m", "pro", False, made["version"] + 3)
    assert in_json(database, "organization", "list") == [shown]
    assert in_json(database, "organization", "enable", id)["enabled"] is True
    assert in_json(database, "organization", "delete", id)["organization_id"] == id
    assert in_json(database, "organization", "list") == []


def test_organizations_for_people(database):
    assert database.cli("organization", "create", "--name", "A", "--id", "a.B_1-x", "--tier",
                        "pro").stdout == "created organization a.B_1-x\n"
    organization(database, "second")
    lines = [line.split() for line in database.cli("organization", "list").stdout.splitlines()]
    assert lines[0] == ["organization_id", "name", "tier", "enabled", "created"]
    assert [line[:4] for line in lines[1:]] == [["second", "n", "unlimited", "yes"],
                                                ["a.B_1-x", "A", "pro", "yes"]]
    database.client(id="c")
    database.cli("client", "update", "c", "--organization", "a.B_1-x")
    shown = dict(line.split(None, 1) for line in
                 database.cli("organization", "show", "a.B_1-x").stdout.splitlines())
    assert (shown["name"], shown["tier"], shown["enabled"], shown["clients"]) == (
        "A", "pro", "yes", "1")
    for command, done in (("update", "updated"), ("disable", "disabled"), ("enable", "enabled")):
        options = ["--name", "B"] if command == "update" else []
        assert database.cli("organization", command, "a.B_1-x",
                            *options).stdout == f"{done} organization a.B_1-x\n"
    assert database.cli("organization", "delete", "second").stdout == "deleted organization second\n"


@pytest.mark.parametrize("options, allowed", [
    (["create"], "--name NAME is missing"),
    (["create", "--name", "n", "--id", "a b"], "A-Z a-z 0-9"),
    (["create", "--name", "n", "--id", ""], "1 to 64"),
    (["create", "--name", "n", "--id", "a" * 65], "1 to 64"),
    (["create", "--name", ""], "1 to 200"),
    (["create", "--name", "bell\a"], "control"),
    (["update", "a"], "nothing to change"),
    (["update", "a", "--name", "é" * 201], "1 to 200"),
    (["update"], "the ID of an organization is missing"),
    (["show", "a b"], "A-Z a-z 0-9"),
    (["list", "surplus"], "unexpected argument"),
], ids=str)
def test_wrong_usage(database, options, allowed):
    assert allowed in refused(database, "organization", *options, status=2)


def test_what_cannot_be_done_with_an_organization(database):
    organization(database)
    for command in "show", "enable", "disable", "delete":
        message = refused(database, "organization", command, "nobody")
        assert "there is no organization nobody: `jotd organization list` shows them" in message
    assert "no organization nobody" in refused(
        database, "organization", "update", "nobody", "--name", "n")
    message = refused(database, "organization", "create", "--name", "n", "--id", "acme")
    assert "there is an organization acme already: choose another --id" in message
    for command in (["create", "--name", "n"], ["update", "acme"]):
        message = refused(database, "organization", *command, "--tier", "gold")
        assert "there is no tier gold; there are: business, free" in message


def test_the_help_of_organization(jotd_cli):
    text = jotd_cli("help", "organization").stdout
    assert "a client is of one organization or of none" in text
    assert "none of its\nclients gets anything" in text
    for command in "create", "list", "show", "update", "enable", "disable", "delete":
        assert f"\n  {command} " in text
    assert "--organization acme" in jotd_cli("help", "organization", "create").stdout


def test_what_is_in_use_is_not_deleted(database):
    organization(database, tier="pro")
    database.client(id="c", tier="pro")
    database.client(id="d")
    database.cli("client", "update", "d", "--organization", "acme")
    message = refused(database, "organization", "delete", "acme")
    assert "1 client is of organization acme: move them by `jotd client update" in message
    message = refused(database, "tier", "delete", "pro")
    assert "1 client and 1 organization are of tier pro: give them another" in message
    assert "`jotd organization update ID --tier T`" in message

    database.cli("client", "update", "c", "--tier", "free", "--organization", "acme")
    assert "2 clients are of" in refused(database, "organization", "delete", "acme")
    assert "0 clients and 1 organization are" in refused(database, "tier", "delete", "pro")
    for client in "c", "d":
        database.cli("client", "update", client, "--organization", "")
    database.cli("organization", "delete", "acme")
    database.cli("tier", "delete", "pro")


# The organization of a client


def test_a_client_moves(database):
    organization(database, "a")
    organization(database, "b")
    made = in_json(database, "client", "create", "--name", "n", "--id", "c", "--organization", "a")
    assert made["organization"] == "a"

    def move(to):
        return in_json(database, "client", "update", "c", "--organization", to)["organization"]

    assert move("b") == "b"
    assert move("") is None
    assert move("a") == "a"
    assert database.cli("client", "update", "c", "--name", "m").stderr == ""
    assert in_json(database, "client", "show", "c")["organization"] == "a"


def test_clients_are_listed_by_organization(database):
    organization(database, "a")
    for name, options in ("none", []), ("one", ["--organization", "a"]), (
            "two", ["--organization", "a", "--tier", "pro"]):
        database.cli("client", "create", "--name", "n", "--id", name, *options)

    def listed(*options):
        return [row["client_id"] for row in in_json(database, "client", "list", *options)]

    assert listed() == ["two", "one", "none"]
    assert listed("--organization", "a") == ["two", "one"]
    assert listed("--organization", "a", "--tier", "pro") == ["two"]
    assert listed("--organization", "a", "--limit", "1") == ["two"]


def test_an_organization_that_is_not_there(database, client):
    for command in (["create", "--name", "n"], ["update", client], ["list"]):
        message = refused(database, "client", *command, "--organization", "nobody")
        assert "there is no organization nobody: `jotd organization list` shows them" in message
    assert "1 to 64" in refused(database, "client", "update", client, "--organization", "a b",
                                status=2)


# Labels, claims, introspect


def test_a_client_with_everything(database):
    organization(database)
    made = in_json(
        database, "client", "create", "--name", "n", "--id", "c", "--organization", "acme",
        "--label", "team=billing", "--label", "env=a=b é", "--introspect", "urn:a",
        "--introspect", "https://b.example", "--introspect", "urn:a", "--claim", 'plan="gold"',
        "--claim", 'limits={"a":[1,2.50,null,true]}', "--claim", "https://x.example/é=-7")
    expected = {
        "organization": "acme", "labels": {"team": "billing", "env": "a=b é"},
        "introspect": ["urn:a", "https://b.example"],
        "claims": {"plan": "gold", "limits": {"a": [1, 2.5, None, True]},
                   "https://x.example/é": -7},
        "tokens_valid_from": None,
    }
    assert expected.items() <= made.items()
    shown = in_json(database, "client", "show", "c")
    assert expected.items() <= shown.items()
    (listed,) = in_json(database, "client", "list")
    assert list(listed.items()) == [item for item in shown.items() if item[0] != "secrets"]
    assert list(listed) == [
        "client_id", "name", "tier", "scope", "audiences", "token_ttl", "organization",
        "introspect", "labels", "claims", "tokens_valid_from", "enabled", "created_at",
        "updated_at", "version"]
    # Numbers are stored as they were written.
    assert database.execute("SELECT claims #>> '{limits,a,1}' FROM clients") == [("2.50",)]


def test_show_for_people(database, client):
    def shown():
        return dict(line.split(None, 1) for line in
                    database.cli("client", "show", client).stdout.splitlines())

    before = shown()
    assert (before["organization"], before["introspect"], before["claims"], before["labels"]) == (
        "none", "only its own tokens", "none", "none")
    database.cli("client", "update", client, "--claim", r'a="x\u009b2J é"', "--claim", "b=0.1",
                 "--label", "team=é", "--introspect", "*")
    after = shown()
    assert (after["introspect"], after["labels"]) == ("*", r'{"team": "\u00E9"}')
    assert after["claims"] == r'{"a": "x\u009B2J \u00E9", "b": 0.1}'


def test_updates_merge_labels_and_claims_and_replace_introspect(database, client):
    made = in_json(database, "client", "show", client)["version"]

    def update(*options):
        changed = in_json(database, "client", "update", client, *options)
        return (changed["labels"], changed["claims"], changed["introspect"],
                changed["version"] - made)

    assert update("--label", "a=1", "--label", "b=2") == ({"a": "1", "b": "2"}, {}, [], 1)
    assert update("--claim", "x=null", "--claim", "y={}") == (
        {"a": "1", "b": "2"}, {"x": None, "y": {}}, [], 2)
    assert update("--label", "b=", "--label", "c=3", "--label", "a=9") == (
        {"a": "9", "c": "3"}, {"x": None, "y": {}}, [], 3)
    assert update("--claim", "y=", "--claim", "z=[[]]", "--introspect", "urn:a", "--introspect",
                  "urn:b") == ({"a": "9", "c": "3"}, {"x": None, "z": [[]]}, ["urn:a", "urn:b"], 4)
    assert update("--introspect", "*") == ({"a": "9", "c": "3"}, {"x": None, "z": [[]]}, ["*"], 5)
    assert update("--label", "unknown=", "--claim", "unknown=", "--introspect", "")[2:] == ([], 6)
    assert update("--label", "a=9", "--claim", "x=null")[3] == 6  # nothing has changed


def test_two_updates_at_once_both_count(database, client):
    made = in_json(database, "client", "show", client)["version"]
    with contextlib.closing(database.postgres.connect(database.name)) as holder, \
            concurrent.futures.ThreadPoolExecutor() as pool:
        holder.cursor().execute("SELECT FROM clients FOR UPDATE")
        runs = [pool.submit(database.cli, "client", "update", client, "--label", f"l{n}=v",
                            "--claim", f"c{n}={n}") for n in range(3)]
        until(lambda: database.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock'") == [(3,)])
        holder.rollback()
        for run in runs:
            run.result()
    shown = in_json(database, "client", "show", client)
    assert shown["labels"] == {f"l{n}": "v" for n in range(3)}
    assert shown["claims"] == {f"c{n}": n for n in range(3)}
    assert shown["version"] == made + 3


BAD = [
    (["--label", "team"], "a label is given as NAME=VALUE; NAME= removes it"),
    (["--label", "=x"], "1 to 63"),
    (["--label", "Team=x"], "a-z 0-9"),
    (["--label", "a b=x"], "a-z 0-9"),
    (["--label", "a" * 64 + "=x"], "1 to 63"),
    (["--label", "a=" + "é" * 201], "label a: a value is 1 to 200"),
    (["--label", "a=\x1b[2J"], "without control characters"),
    (["--label", "a=\x9b2J"], "without control characters"),
    (["--label", "a=\udcff"], "UTF-8"),
    (["--label", "a=1", "--label", "a="], "label a is given twice"),
    ([option for n in range(17) for option in ("--label", f"l{n}=v")], "at most 16 labels"),
    (["--introspect", "api"], "absolute URI"),
    (["--introspect", "urn:a b"], "without space"),
    (["--introspect", "urn:" + "a" * 509], "512"),
    (["--introspect", "*", "--introspect", "urn:a"], "with others"),
    (["--introspect", "urn:a", "--introspect", "*"], "with others"),
    ([option for n in range(17) for option in ("--introspect", f"urn:{n}")], "at most 16"),
    (["--claim", "plan"], "a claim is given as NAME=JSON"),
    (["--claim", '="gold"'], "not empty"),
    (["--claim", 'a\n="gold"'], "without control characters"),
    (["--claim", "plan=gold"], "claim plan: its value is not JSON; a string needs its quotes, "
                               "in a shell: plan='\"gold\"'"),
    (["--claim", "plan= "], "is not JSON"),
    (["--claim", 'plan="a" "b"'], "is not JSON"),
    (["--claim", "plan={1:2}"], "is not JSON"),
    (["--claim", 'plan="\udcff"'], "is not JSON"),
    (["--claim", 'plan={"a":1,"a":2}'], "a name twice"),
    (["--claim", r'plan="\u0000"'], r"\u0000"),
    (["--claim", "plan=9223372036854775808"], "64 bits"),
    (["--claim", "plan=[1e400]"], "out of range"),
    (["--claim", 'plan={"a":[-1e19]}'], "64 bits"),
    (["--claim", "plan=1e-20000"], "numeric"),
    (["--claim", "plan=" + "[" * 33 + "]" * 33], "more than 32 deep"),
    (["--claim", "plan=" + "[" * 3000 + "]" * 3000], "more than 32 deep"),
    (["--claim", "a=1", "--claim", "a=2"], "claim a is given twice"),
    (["--claim", f'plan="{"x" * 2048}"'], "at most 2 KiB"),
    *((["--claim", f"{name}=1"], f"the claim {name} is set by the server, as are iss, sub")
      for name in RESERVED),
]


@pytest.mark.parametrize("options, allowed", BAD, ids=lambda value: str(value)[:40])
def test_the_allowed_form_is_told(shared_database, options, allowed):
    clients = shared_database.execute("SELECT client_id, version FROM clients")
    for command in (["create", "--name", "n"], ["update", "c"]):
        assert allowed in refused(shared_database, "client", *command, *options, status=2)
    assert shared_database.execute("SELECT client_id, version FROM clients") == clients


@pytest.fixture(scope="module")
def shared_database(databases):
    with databases.migrated() as database:
        database.client(id="c")
        yield database


def test_values_at_their_bounds(database, client):
    labels = [option for n in range(16) for option in ("--label", f"{n:063}=" + "é" * 200)]
    introspect = [option for n in range(16) for option in ("--introspect", f"urn:{n:0508}")]
    database.cli("client", "update", client, *labels, *introspect,
                 "--claim", "deep=" + "[" * 32 + "]" * 32,
                 "--claim", "least=-9223372036854775808")
    (text,), = database.execute("SELECT octet_length(claims::text) FROM clients")
    added = ', "x": ""'
    database.cli("client", "update", client, "--claim",
                 f'x="{"x" * (2048 - text - len(added))}"')
    assert database.execute("SELECT octet_length(claims::text) FROM clients") == [(2048,)]
    # What is there already counts.
    assert "at most 2 KiB" in refused(database, "client", "update", client, "--claim", "y=1",
                                      status=2)
    assert "at most 16 labels" in refused(database, "client", "update", client, "--label", "y=1",
                                          status=2)
    database.cli("client", "update", client, "--label", f"{0:063}=", "--label", "y=1")


def test_a_rule_of_the_schema_that_is_broken(database, client):
    database.execute("ALTER TABLE clients ADD CONSTRAINT own CHECK (name <> 'forbidden')")
    assert 'violates check constraint "own"' in refused(
        database, "client", "update", client, "--name", "forbidden", status=2)


def test_what_is_accepted_reaches_the_tokens(database, jotd):
    organization(database)
    made = in_json(
        database, "client", "create", "--name", "n", "--organization", "acme",
        "--claim", "least=-9223372036854775808", "--claim", "most=9223372036854775807",
        "--claim", "large=1e18", "--claim", "small=1e-400", "--claim", "real=0.1",
        "--claim", r'text="\u0001\u007f\u0085\ud83d\ude00 \\ \" é"', "--claim", 'é x="y"',
        "--claim", "deep=" + "[" * 32 + "]" * 32, "--introspect", "*")
    client = types.SimpleNamespace(id=made["client_id"], secret=made["client_secret"])
    with jotd(database) as s:
        claims = claims_of(s.access_token(client))
        assert made["claims"].items() <= claims.items()
        assert (claims["large"], claims["small"], claims["real"]) == (10 ** 18, 0, 0.1)
        assert claims["text"] == '\x01\x7f\x85\U0001f600 \\ " é'


def test_claims_that_this_program_would_not_write(database, client):
    database.execute("UPDATE clients SET claims = '{\"n\": 9223372036854775808}'")
    assert in_json(database, "client", "show", client)["claims"] == '{"n": 9223372036854775808}'
    assert "9223372036854775808" in database.cli("client", "show", client).stdout


# Revoking tokens


def test_revoke_tokens(database, client):
    def now():
        return database.execute("SELECT clock_timestamp()")[0][0]

    def valid_from():
        return database.execute("SELECT tokens_valid_from FROM clients")[0][0]

    made = in_json(database, "client", "show", client)["version"]
    before = now()
    printed = database.cli("client", "revoke-tokens", client).stdout
    assert before < valid_from() <= now() + datetime.timedelta(milliseconds=1)
    assert valid_from().microsecond % 1000 == 0
    text = in_json(database, "client", "show", client)["tokens_valid_from"]
    assert printed == f"revoked the tokens of client {client} issued before {text}\n"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) == valid_from()

    first = valid_from()
    changed = in_json(database, "client", "revoke-tokens", client)
    assert (changed["client_id"], changed["version"]) == (client, made + 2)
    assert valid_from() > first
    assert "there is no client nobody" in refused(database, "client", "revoke-tokens", "nobody")


def test_revoked_tokens_and_disabled_organizations_in_a_server(database, jotd):
    organization(database)
    member = database.client(id="c")
    database.cli("client", "update", "c", "--organization", "acme")
    with jotd(database) as s:
        def is_active(token):
            return s.post("/introspect", {"token": token},
                          auth=(member.id, member.secret)).json().get("active")

        old = s.access_token(member)
        until(lambda: is_active(old))  # once the revoked tokens are read
        database.cli("client", "revoke-tokens", "c")
        until(lambda: not is_active(old))
        assert is_active(s.access_token(member))
        database.cli("organization", "disable", "acme")
        until(lambda: s.token(member).status_code == 401)
        database.cli("organization", "enable", "acme")
        until(lambda: s.token(member).status_code == 200)


def test_revoked_tokens_do_not_come_back(database, client):
    """As when PostgreSQL's clock is set back."""
    database.execute("UPDATE clients SET tokens_valid_from = '2100-01-01Z'")
    changed = in_json(database, "client", "revoke-tokens", client)
    assert changed["tokens_valid_from"] == "2100-01-01T00:00:00.000Z"


# The days on which secrets were last used


def issue(database, secret_id, times="now()", count=1):
    database.execute(
        "INSERT INTO issued_tokens (jti, client_id, tier, scope, audience, kid, issued_at,"
        "  expires_at, credential)"
        f" SELECT gen_random_uuid(), 'c', 'free', '', '', 'k', {times}, now(), %s"
        " FROM generate_series(1, %s) n", (secret_id, count))


def uses(database):
    """By secret, newest first: the day, whether it is unknown, what the text says."""
    secrets = in_json(database, "client", "show", "c")["secrets"]
    lines = [line for line in database.cli("client", "show", "c").stdout.splitlines()
             if line.startswith("secret ")]
    assert [line.split()[1] for line in lines] == [secret["secret_id"] for secret in secrets]
    return [(secret["last_used_on"], secret["last_use_unknown"], line.rpartition(", ")[2])
            for secret, line in zip(secrets, lines)]


@pytest.fixture
def aged(database, client):
    """A client with two secrets that are 70 and 71 days old; the ids, the newer one first."""
    database.cli("client", "rotate", client)
    new, old = (secret["secret_id"]
                for secret in in_json(database, "client", "show", client)["secrets"])
    for secret, age in (new, 70), (old, 71):
        database.execute("UPDATE client_secrets SET created_at = now() - %s * interval '1 day'"
                         " WHERE secret_id = %s", (age, secret))
    return new, old


def test_the_day_of_last_use(database, aged):
    new, old = aged
    never = (None, False, "not used yet")
    assert uses(database) == [never, never]
    issue(database, old, "'2020-01-01Z'")  # before the secret was made
    issue(database, new, "now() - interval '70 days 1 minute'")
    assert uses(database) == [never, never]
    # In several partitions and, at the very end of a day, in UTC.
    issue(database, old, "date_trunc('day', now(), 'UTC') - n * interval '30 days'"
                         " - interval '1 millisecond'", count=2)
    (day,), = database.execute("SELECT (date_trunc('day', now(), 'UTC') AT TIME ZONE 'UTC')::date"
                               " - 31")
    assert uses(database) == [never, (str(day), False, f"last used {day}")]
    issue(database, new)
    (today,), = database.execute("SELECT (now() AT TIME ZONE 'UTC')::date")
    assert uses(database)[0] == (str(today), False, f"last used {today}")
    as_reader = database.cli("client", "show", "c", env={"DATABASE_URL": database.reader_url})
    assert f"last used {today}" in as_reader.stdout


def test_a_token_of_the_millisecond_in_which_its_secret_was_made(database, client):
    (secret,) = in_json(database, "client", "show", client)["secrets"]
    issue(database, secret["secret_id"],
          "(SELECT date_trunc('milliseconds', created_at) FROM client_secrets)")
    assert uses(database)[0][0] is not None


def test_tokens_that_do_not_tell_their_secret(database, aged):
    new, _ = aged
    issue(database, "", "now() - interval '70 days 12 hours'")
    issue(database, new)
    assert uses(database)[0][1:] != (True, "last use not recorded")
    assert uses(database)[1] == (None, True, "last use not recorded")


def test_only_the_newest_tokens_are_searched(database, aged):
    new, old = aged
    issue(database, old, "now() - interval '60 days'")
    issue(database, new, "now() - n * interval '1 second'", count=99_999)
    assert uses(database)[1][2].startswith("last used ")  # the 100,000th
    issue(database, new, "now() - interval '1 minute'", count=2)
    assert uses(database)[1] == (None, True, "not among its last 100,000 tokens")
    assert uses(database)[0][2].startswith("last used ")
