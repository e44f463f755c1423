"""The rotation of signing keys: what a timer may run every day, and that no verifier notices."""

import concurrent.futures
import faulthandler
import json
import os
import shutil
import subprocess
import threading
import time

import jwt as pyjwt
import pytest

from harness import Load, claims_of, long_test, until
from harness.process import ROOT, run_jotd

DAY = 86400
SKEW = 60  # seconds that a key stays published beyond its last token
CACHE = 0.5  # seconds for which the verifiers keep the key set
LEAD = 4  # more than CACHE, the second in which a server sees a new key, and one of rounding


# What a timer runs


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "keys")


class Keys:
    """A key directory and the commands on it."""

    def __init__(self, directory):
        self.directory = directory
        self.environment = {"JOTD_KEYS_DIR": str(directory)}

    def run(self, *arguments, check=True):
        return run_jotd("key", *arguments, env=self.environment, check=check)

    def rotate(self, *arguments):
        """What `jotd key rotate --json` prints, and its messages."""
        done = self.run("rotate", "--json", *arguments)
        return json.loads(done.stdout), done.stderr

    def list(self):
        return json.loads(self.run("list", "--json").stdout)

    def states(self):
        return {key["kid"]: key["state"] for key in self.list()}

    def shift(self, seconds):
        """Makes all keys so much older."""
        for path in list(self.directory.glob("*.pem")):
            kid, alg, *times, _ = path.name.split(".")
            path.rename(path.with_name(
                ".".join([kid, alg, *(str(int(time) - seconds) for time in times), "pem"])))


def utc(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def test_a_key_is_replaced_when_it_is_old_enough_and_once(keys):
    old = keys.run("create").stdout.strip()
    keys.shift(30 * DAY - 60)
    (only,) = keys.list()
    assert keys.rotate("--if-older", "30") == (
        {"rotated": False, "kid": old, "activate_at": only["activate_at"],
         "due_at": only["activate_at"] + 30 * DAY},
        f"jotd: not rotated: the key {old} is 29 days old and is to be replaced at "
        f"{utc(only['activate_at'] + 30 * DAY)}\n")
    done = keys.run("rotate", "--if-older", "30")
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert keys.list() == [only]

    keys.shift(60)
    rotated, _ = keys.rotate("--if-older", "30")
    assert rotated["rotated"] is True
    assert keys.states() == {old: "signing", rotated["kid"]: "next"}
    again, said = keys.rotate("--if-older", "30")
    assert again == {"rotated": False, "kid": rotated["kid"], "activate_at": rotated["activate_at"],
                     "due_at": rotated["activate_at"] + 30 * DAY}
    assert f"the key {rotated['kid']} signs from {utc(rotated['activate_at'])}" in said
    assert keys.rotate("--if-older", "1")[0]["rotated"] is False  # it has yet to sign
    keys.shift(30 * DAY)
    assert keys.rotate("--if-older", "30")[0]["rotated"] is False  # by its lead
    keys.shift(900)
    assert keys.rotate("--if-older", "30")[0]["rotated"] is True


def test_a_timer_leaves_no_time_without_a_key(keys):
    """A key that has an end gets a successor however young it is; without a key there is one at
    once."""
    keys.directory.mkdir(mode=0o700)
    first, _ = keys.rotate("--if-older", "3650")
    assert keys.states() == {first["kid"]: "signing"}
    lost, _ = keys.rotate()
    (path,) = keys.directory.glob(f"{lost['kid']}.*")
    path.unlink()
    second, _ = keys.rotate("--if-older", "3650")
    assert keys.states() == {first["kid"]: "signing", second["kid"]: "next"}


def test_the_age_is_in_days_up_to_ten_years(keys):
    for days in "0", "3651", "-1", "1d", "":
        done = keys.run("rotate", "--if-older", days, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert "--if-older takes a whole number from 1 to 3650" in done.stderr


def at_once(run, count=6):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: run(), range(count)))


def test_timers_of_replicas_at_the_same_time(keys):
    """They rotate once, and all succeed."""
    old = keys.run("create").stdout.strip()
    keys.shift(31 * DAY)
    made = [rotated for rotated, _ in at_once(lambda: keys.rotate("--if-older", "30"))]
    (new,) = {rotated["kid"] for rotated in made}
    assert sorted(rotated["rotated"] for rotated in made) == [False] * 5 + [True]
    assert keys.states() == {old: "signing", new: "next"}

    keys.shift(3 * DAY)  # the old key ended after two
    printed = [done.stdout for done in at_once(lambda: keys.run("prune"))]
    assert sorted(printed) == ["no key is retired\n"] * 5 + [f"removed {old}\n"]
    assert keys.states() == {new: "signing"}


def test_a_key_stays_as_long_as_the_longest_token(keys, database):
    """As the server's role reads it: of JOTD_TOKEN_TTL (3600), the clients and the tiers."""
    keys.environment["DATABASE_URL"] = database.url
    keys.run("create")

    def stays():
        rotated, said = keys.rotate()
        ttl = rotated["retired"][0]["retire_at"] - rotated["activate_at"] - SKEW
        assert f"jotd: tokens live up to {ttl} s" in said
        return ttl

    assert stays() == 3600
    database.client(ttl=4000)
    assert stays() == 4000
    database.execute("UPDATE tiers SET token_ttl = 5000 WHERE name = 'pro'")
    assert stays() == 5000
    keys.environment["JOTD_TOKEN_TTL"] = "6000"
    assert stays() == 6000


# What verifiers see


class Stubborn(pyjwt.PyJWKClient):
    """Fetches the keys when its cache has expired, but not for a kid that it does not know."""

    def get_jwk_set(self, refresh=False):
        if refresh:
            raise pyjwt.PyJWKClientError("unknown kid")
        return super().get_jwk_set()


class PyJwt:
    def __init__(self, issuer, cache):
        self.issuer = issuer
        self.keys = Stubborn(issuer + "/.well-known/jwks.json", lifespan=cache)

    def verify(self, token):
        """What is wrong with it, or None."""
        try:
            key = self.keys.get_signing_key_from_jwt(token).key
            pyjwt.decode(token, key, algorithms=["ES256"], issuer=self.issuer, audience=self.issuer)
        except pyjwt.PyJWTError as error:
            return f"PyJWT: {error!r}"
        return None


class Program:
    """One of tests/verifiers."""

    COMMANDS = {  # to prepare and to run it
        "node": (["npm", "install", "--no-package-lock", "--silent"], ["node", "verify.js"]),
        "go": (["go", "build", "-o", "verify", "."], ["./verify"]),
    }

    def __init__(self, name, home, issuer, cache):
        prepare, command = self.COMMANDS[name]
        if shutil.which(prepare[0]) is None:
            pytest.skip(f"needs {prepare[0]}")
        shutil.copytree(ROOT / "tests" / "verifiers" / name, home)
        subprocess.run(prepare, cwd=home, check=True, timeout=300)
        self.name, self.lock, self.fetches = name, threading.Lock(), 0
        self.child = subprocess.Popen(
            command, cwd=home, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "ISSUER": issuer, "CACHE_MS": str(int(cache * 1000))})

    def verify(self, token):
        with self.lock:
            self.child.stdin.write(token + "\n")
            self.child.stdin.flush()
            said, _, fetches = self.child.stdout.readline().rstrip().rpartition(" ")
            self.fetches = int(fetches)
        return None if said == "ok" else f"{self.name}: {said}"

    def stop(self):
        self.child.stdin.close()
        assert self.child.wait(timeout=10) == 0


class Verified(Load):
    """Every token is verified as soon as it is there. `failures` are (kid, what is wrong)."""

    pause = 0.01

    def __init__(self, server, client, verifiers, **options):
        super().__init__([server], client, **options)
        self.verifiers = verifiers
        self.failures = []
        self.first = {}  # monotonic time of the first token by kid, in their order
        self.ends = {}  # `exp` of the last one

    def keep(self, token):
        super().keep(token)
        kid = pyjwt.get_unverified_header(token)["kid"]
        wrong = [said for verifier in self.verifiers if (said := verifier.verify(token))]
        with self.lock:
            self.first.setdefault(kid, time.monotonic())
            self.ends[kid] = max(self.ends.get(kid, 0), claims_of(token)["exp"])
            self.failures += [(kid, said) for said in wrong]

    def live(self):
        """The keys of tokens that have not expired."""
        with self.lock:
            return {kid for kid, end in self.ends.items() if end > time.time() + 1}


class Watch:
    """Reads the published keys all the time. `gaps` are the answers in which one was missing."""

    def __init__(self, server, load):
        self.server, self.load = server, load
        self.first, self.gone, self.gaps, self.answers = {}, set(), [], 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def run(self):
        while not self.stopping.wait(0.02):
            live = self.load.live()
            answer = self.server.get("/.well-known/jwks.json")
            kids = {key["kid"] for key in answer.json().get("keys", [])}
            if answer.status_code != 200 or not live <= kids or kids & self.gone:
                self.gaps.append((answer.status_code, live - kids, kids & self.gone))
            for kid in kids:
                self.first.setdefault(kid, time.monotonic())
            self.gone |= set(self.first) - kids
            self.answers += 1


def rotate(server, load, lead):
    """Rotates, and waits for a token of the new key."""
    done = run_jotd("key", "rotate", "--lead", lead, "--json", env=server.environment)
    kid = json.loads(done.stdout)["kid"]
    until(lambda: load.failure or kid in load.first, timeout=30)
    return kid


def check_rotations(load, watch, rotated):
    """Each key was known before it signed, and no verification failed."""
    assert load.failures == []
    assert set(load.statuses) == {200}
    assert list(load.first)[1:] == rotated
    for kid in rotated:
        assert load.first[kid] - watch.first[kid] > CACHE
    assert watch.gaps == []
    assert watch.answers > 10 * len(rotated)


def list_keys(server):
    return json.loads(run_jotd("key", "list", "--json", env=server.environment).stdout)


def test_rotations_under_load_fail_no_verification(database, jotd):
    client = database.client(tier="unlimited")
    with jotd(database, workers=2) as s, Verified(s, client, [PyJwt(s.url, CACHE)]) as load, Watch(
            s, load) as watch:
        load.progress(1)
        rotated = [rotate(s, load, LEAD) for _ in range(3)]
        load.progress(50)  # by both workers
        check_rotations(load, watch, rotated)

        listed = list_keys(s)
        assert [key["state"] for key in listed] == ["retiring"] * 3 + ["signing"]
        for key, successor in zip(listed, listed[1:]):
            assert key["retire_at"] == successor["activate_at"] + 3600 + SKEW
        assert watch.gone == set()
        old, new = listed[0], listed[-1]
        assert s.metric("jotd_signing_key_info", kid=old["kid"], state="retiring") == 1
        retires = "jotd_signing_key_retires_timestamp_seconds"
        assert s.metric(retires, kid=old["kid"]) == old["retire_at"]
        assert s.metric(retires, kid=new["kid"]) == float("inf")


def test_a_rotation_without_lead_fails_those_who_cache(database, jotd):
    """So the tests of rotations would notice."""
    client = database.client(tier="unlimited")
    with jotd(database) as s, Verified(s, client, [PyJwt(s.url, cache=300)]) as load:
        load.progress(1)
        kid = rotate(s, load, lead=0)
        load.progress(10)
        assert len(load.failures) >= 10
        assert set(load.failures) == {(kid, "PyJWT: PyJWKClientError('unknown kid')")}


@long_test
def test_twenty_rotations_and_three_verifiers(database, jotd, tmp_path):
    """In the end the old keys are retired and pruned. Between two fetches go-oidc waits for nothing
    but an unknown kid, and so shows that a key is published when its first token arrives."""
    faulthandler.cancel_dump_traceback_later()  # it takes longer than pytest.ini expects
    client = database.client(tier="unlimited")
    with jotd(database, workers=2, token_ttl=5) as s:
        node, go = (Program(name, tmp_path / name, s.url, CACHE) for name in Program.COMMANDS)
        with Verified(s, client, [PyJwt(s.url, CACHE), node, go]) as load, Watch(s, load) as watch:
            load.progress(1)
            rotated = []
            for _ in range(20):
                rotated.append(rotate(s, load, LEAD))
                run_jotd("key", "prune", env=s.environment)

            def pruned():
                run_jotd("key", "prune", env=s.environment)
                return len(list_keys(s)) == 1

            until(pruned, timeout=120, interval=1)
            load.progress(50)
            until(lambda: len(s.jwks()["keys"]) == 1)
            check_rotations(load, watch, rotated)
            assert {key["kid"] for key in s.jwks()["keys"]} == {rotated[-1]}
            assert watch.gone == set(load.first) - {rotated[-1]}
            assert go.fetches == 21  # one for each key
            assert node.fetches > go.fetches
        node.stop()
        go.stop()
