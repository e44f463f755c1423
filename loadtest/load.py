#!/usr/bin/python3
"""Load tests with k6: ./dev load SCENARIO [options]. README.md describes the scenarios.

Starts its own jotd, creates 5,000 clients, measures the server's capacity, runs the scenario of
scenarios.js at shares of that, and finally compares the ledger with the tokens issued. Exit status
0: all checks held; 1: one failed; 77: k6 is not installed and cannot be built.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import stand
import seed
import wrk

from harness.keys import write_rsa_key

HERE = pathlib.Path(__file__).resolve().parent
K6_VERSION = "v1.3.0"
K6_BUILD_SECONDS = 600
SKIPPED = 77  # as for ctest and automake
SMOKE_RATE = 50
SECONDS = {"smoke": 5, "load": 30, "stress": 30, "spike": 30, "soak": 600, "mixed": 30,
           "introspect": 30}
GROWTH_KIB = 4096  # that a soak may leave behind
# k6 needs 0.4 ms of processor time for each request and its checks. The burst of these must exceed
# jotd's capacity, so it signs with RSA keys of 4,096 bits, at 3 ms each.
BURSTS = ("stress", "spike")
SLOW = "RS256-4096"


def find_k6():
    """k6 on PATH, or the one built here; None if there is neither."""
    return shutil.which("k6", path=f"{os.environ['PATH']}:{stand.ROOT / '.local' / 'bin'}")


def build_k6():
    """Builds k6 into .local/bin, which takes two processors two minutes. None if it cannot be
    built."""
    if shutil.which("go") is None:
        print("loadtest: no k6, and no Go to build it with. Get one: https://k6.io "
              f"(a single program for PATH), or Go, then `go install go.k6.io/k6@{K6_VERSION}`",
              file=sys.stderr)
        return None
    print(f"==> building k6 {K6_VERSION}, once; it takes some minutes", flush=True)
    try:
        subprocess.run(["go", "install", f"go.k6.io/k6@{K6_VERSION}"], check=True,
                       env={**os.environ, "GOBIN": str(stand.ROOT / ".local" / "bin")},
                       text=True, capture_output=True, timeout=K6_BUILD_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"loadtest: k6 was not built: {error}\n{error.stderr}", file=sys.stderr)
        return None
    return find_k6()


def run_k6(k6, server, credentials, scenario, alg, capacity, seconds):
    """True if every check and threshold held."""
    environment = {
        "URL": server.url, "CREDENTIALS": str(credentials), "SCENARIO": scenario,
        "ALG": alg.partition("-")[0],
        "CAPACITY": str(capacity), "DURATION": str(seconds),
    }
    # k6 leaves the first processor to jotd if there are others.
    others = os.sched_getaffinity(0) - {0} or {0}
    with stand.on_processors(others):
        done = subprocess.run(
            [k6, "run", "--quiet", "--no-usage-report", "--address", "",
             "--include-system-env-vars", HERE / "scenarios.js"],
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment},
            stdin=subprocess.DEVNULL, check=False)
    return done.returncode == 0


class Meter:
    """The most processor time that a process used in any one second. At about one second per worker
    jotd was the limit, below that k6 was."""

    def __init__(self, pid):
        self.pid = pid
        self.most = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def run(self):
        cpu, clock = stand.cpu_seconds(self.pid), time.monotonic()
        while not self.stopping.wait(1):
            cpu_now, clock_now = stand.cpu_seconds(self.pid), time.monotonic()
            self.most = max(self.most, (cpu_now - cpu) / (clock_now - clock))
            cpu, clock = cpu_now, clock_now


def check_ledger(server, database_url, issued):
    """Stops the server; true if every token has its row."""
    server.stop()
    with stand.psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT jti) FROM issued_tokens")
        rows, distinct = cursor.fetchone()
    print(f"ledger: {issued} tokens issued, {rows} rows, {distinct} different")
    return issued == rows == distinct


def run(k6, given, alg, seconds):
    with tempfile.TemporaryDirectory(prefix="jotd-load-") as directory, \
            stand.database() as database_url, stand.redis_database() as redis_url:
        credentials = pathlib.Path(directory, "credentials")
        seed.seed(database_url, credentials, clients=5000, free=10)
        authorizations = pathlib.Path(directory, "authorizations")
        wrk.write_authorizations(credentials, authorizations)
        settings = {
            # Small enough that rarely used clients have to be looked up.
            "client_cache_size": 500 if given.scenario == "mixed" else 5000,
            "trusted_proxies": "127.0.0.1/32",
        }
        if alg == SLOW:
            settings["keys_dir"] = pathlib.Path(directory, "keys")
            write_rsa_key(settings["keys_dir"], bits=4096)
        with stand.jotd(database_url, redis_url, {0}, workers=given.workers,
                        keys=alg != SLOW and alg, **settings) as server:
            capacity = given.rate or SMOKE_RATE
            if given.rate is None and given.scenario != "smoke":
                best = wrk.run(server.url, authorizations, clients=1000)
                capacity = round(best["requests"] / best["seconds"])
            print(f"==> {given.scenario} for {seconds} s: jotd, {given.workers} worker, {alg}; "
                  f"shares of {capacity} tokens/s", flush=True)
            before_kib = stand.resident_kib(server.process.pid)
            with Meter(server.process.pid) as meter:
                held = run_k6(k6, server, credentials, given.scenario, alg, capacity, seconds)
            after_kib = stand.resident_kib(server.process.pid)
            print(f"memory: {before_kib} KiB before, {after_kib} KiB after\n"
                  f"processor time of jotd in its busiest second: {meter.most:.2f} s")
            if given.scenario in BURSTS and meter.most < 0.9 * given.workers:
                print("loadtest: that was not past its capacity: k6 could not ask for as much",
                      file=sys.stderr)
            if given.scenario == "soak" and after_kib > before_kib + GROWTH_KIB:
                print(f"loadtest: the server grew by more than {GROWTH_KIB} KiB", file=sys.stderr)
                held = False
            issued = int(server.metric("jotd_tokens_issued_total"))
            return check_ledger(server, database_url, issued) and held


def main():
    parser = argparse.ArgumentParser(prog="./dev load")
    parser.add_argument("scenario", choices=sorted(SECONDS))
    parser.add_argument("--seconds", type=int, help="duration; default: "
                        + ", ".join(f"{name} {value}" for name, value in SECONDS.items()))
    parser.add_argument("--rate", type=int, metavar="TOKENS/S",
                        help="the capacity; default: as measured by wrk")
    parser.add_argument("--alg", choices=("ES256", "RS256", SLOW, "HS256"),
                        help=f"default: ES256 for smoke, {SLOW} for {' and '.join(BURSTS)}, whose "
                             "burst must exceed jotd's capacity; otherwise RS256")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    stand.begin()
    k6 = find_k6() or build_k6()
    if k6 is None:
        sys.exit(SKIPPED)
    alg = given.alg or {"smoke": "ES256", **dict.fromkeys(BURSTS, SLOW)}.get(given.scenario, "RS256")
    held = run(k6, given, alg, given.seconds or SECONDS[given.scenario])
    print("==> all that must hold held" if held else "==> FAILED")
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
