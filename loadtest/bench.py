#!/usr/bin/python3
"""What a token costs: ./dev bench [--quick] [--write].

The server's processor time per token, compared with its lower bounds: OpenSSL's bare signature
(bench_sign.c) and libh2o answering a POST of the same size (bench_h2o.c). All of them take turns
for several rounds and the medians count, since machines are shared: only ratios within one run mean
anything. Then the cost of single steps (bench_micro.c), latencies, and scaling (scale.py). --write
keeps all that in RESULTS.md.
"""

import argparse
import contextlib
import datetime
import io
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import administration
import introspection
import scale
import seed
import stand
import wrk

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = stand.ROOT / "build" / "loadtest"
ALGS = ("ES256", "RS256", "HS256")
CLIENTS = 5000
TURNS_MS = (0.25, 0.5, 1, 2.5, 5)  # bucket bounds of the histogram
TURNS_SECONDS = 60
CACHE = 4950  # with 5,000 clients used evenly, 1 % of requests miss
MIXES = {1: "1 client", 1000: "1,000 clients", CLIENTS: "5,000 clients, 1 % misses"}
SERVER, LOAD = 0, 1  # processors


def make_tier(database_url):
    """A tier with limits, so that the limiter has something to count, but too high to be reached.
    """
    stand.run_jotd("tier", "set", "bench", "--per-minute", 10**9, "--per-hour", 10**11,
                   env={"DATABASE_URL": database_url})


class Bench:
    """The servers to compare, and the measurements."""

    def __init__(self, given, stack):
        self.given = given
        self.directory = pathlib.Path(stack.enter_context(
            tempfile.TemporaryDirectory(prefix="jotd-bench-")))
        stack.enter_context(stand.servers_on({LOAD}))
        self.database_url = stack.enter_context(stand.database())
        self.redis_url = stack.enter_context(stand.redis_database())
        make_tier(self.database_url)
        self.credentials = self.directory / "credentials"
        seed.seed(self.database_url, self.credentials, CLIENTS, free=0, tier="bench")
        self.authorizations = self.directory / "authorizations"
        wrk.write_authorizations(self.credentials, self.authorizations)
        self.algs = ("ES256", "HS256") if given.quick or given.against else ALGS
        self.servers = {alg: stack.enter_context(self.jotd(keys=alg)) for alg in self.algs}
        self.baseline_url, self.baseline = self.start_baseline(stack)
        for server in self.servers.values():
            self.fill_cache(server)

    def jotd(self, database_url=None, **settings):
        return stand.jotd(database_url or self.database_url, self.redis_url, {SERVER},
                          **{"workers": 1, "client_cache_size": CACHE, **settings})

    def start_baseline(self, stack):
        port = stand.free_port()
        with stand.on_processors({SERVER}):
            process = stand.spawn([PROGRAMS / "bench_h2o", str(port)])
        stack.callback(process.wait)
        stack.callback(process.kill)
        stand.wait_for_port(port)
        return f"http://127.0.0.1:{port}", process

    def load(self, url, clients, **options):
        return wrk.run(url, self.authorizations, clients, processor=LOAD, **options)

    def fill_cache(self, server):
        def entries():
            self.load(server.url, CLIENTS, seconds=1)
            return server.metric("jotd_client_cache_entries") == CACHE

        stand.until(entries, timeout=60)

    def sign(self, alg):
        with stand.on_processors({SERVER}):
            done = subprocess.run([PROGRAMS / "bench_sign", alg, "300"], check=True, text=True,
                                  capture_output=True)
        return float(done.stdout) / 1000

    def answer(self):
        before = stand.cpu_seconds(self.baseline.pid)
        result = self.load(self.baseline_url, 1, seconds=1)
        return (stand.cpu_seconds(self.baseline.pid) - before) / result["requests"] * 1e6

    def issue(self, server, clients):
        """Microseconds per token, those of the ledger's thread alone, tokens per second, share of
        cache misses, and wrk's percentiles."""
        pid = server.process.pid
        before, cpu = server.metrics(), stand.cpu_seconds(pid)
        ledger = stand.thread_seconds(pid, "ledger")
        result = self.load(server.url, clients, seconds=1)
        ledger = stand.thread_seconds(pid, "ledger") - ledger
        cpu, after = stand.cpu_seconds(pid) - cpu, server.metrics()

        def grown(name):
            return after.value(name) - before.value(name)

        tokens = grown("jotd_tokens_issued_total")
        return {**result, "us": cpu / tokens * 1e6, "ledger_us": ledger / tokens * 1e6,
                "rate": result["requests"] / result["seconds"],
                "misses": grown("jotd_client_cache_misses_total") / tokens}


def medians(samples):
    """Medians by name over dictionaries with the same names."""
    return {name: statistics.median(sample[name] for sample in samples) for name in samples[0]}


def table(heads, rows):
    print("| " + " | ".join(heads) + " |\n|" + " --- |" + " ---: |" * (len(heads) - 1))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print(flush=True)


def compare(bench, rounds):
    """Runs the rounds. Returns the medians: signatures by algorithm, the answer, tokens."""
    signs, answers, tokens = {}, [], {}
    for _ in range(rounds):
        for alg in bench.algs:
            signs.setdefault(alg, []).append(bench.sign(alg))
        answers.append(bench.answer())
        for alg in bench.algs:
            for clients in MIXES:
                tokens.setdefault((alg, clients), []).append(
                    bench.issue(bench.servers[alg], clients))
    return ({alg: statistics.median(values) for alg, values in signs.items()},
            statistics.median(answers),
            {key: medians(values) for key, values in tokens.items()})


def print_costs(bench, signs, answer, tokens):
    print("## A token beside its signature and its answer\n")
    print("Microseconds of processor time of the server, user and system: (a) the bare signature,\n"
          "(b) libh2o answering a POST with 600 bytes, (c) jotd with all that it does, one worker,\n"
          "64 connections at full speed.\n")
    rows = []
    for (alg, clients), token in tokens.items():
        bare = signs[alg] + answer
        rows.append((f"{alg}, {MIXES[clients]}", f"{signs[alg]:.1f}", f"{answer:.1f}",
                     f"{token['us']:.1f}", f"{token['us'] / bare:.2f}",
                     f"{token['us'] / answer:.2f}", f"{100 * token['misses']:.2f} %",
                     f"{token['rate']:,.0f}"))
    table(("", "(a)", "(b)", "(c)", "(c) / ((a) + (b))", "(c) / (b)", "misses", "tokens/s"), rows)


def print_latencies(bench, tokens):
    print("## Latency\n")
    print("Microseconds, as wrk sees them, 1,000 clients, 64 connections; memory after that. At\n"
          "30 % of full load each connection waits for a random time (exponential) between answer\n"
          "and request.\n")
    rows = []
    for alg, server in bench.servers.items():
        full = tokens[alg, 1000]
        think_ms = 64 / (0.3 * full["rate"]) * 1000
        calm = bench.load(server.url, 1000, seconds=3, think_ms=think_ms)
        for name, got in (("30 %", calm), ("full", full)):
            rate = got["requests"] / got["seconds"]
            rows.append((f"{alg}, {name}", f"{rate:,.0f}", f"{got['p50']:,.0f}",
                         f"{got['p99']:,.0f}", f"{got['p99.9']:,.0f}",
                         f"{stand.resident_kib(server.process.pid) / 1024:.1f} MiB"))
    table(("", "tokens/s", "p50", "p99", "p99.9", "resident"), rows)


def print_turns(bench, tokens):
    print("## Turns of the loop\n")
    print("Of a worker's event loop, by jotd_loop_lag_seconds: while one lasts nothing else is "
          "done. 1,000\nclients, 64 connections.\n")
    rows = []
    for alg, share, seconds in (("ES256", 0.3, TURNS_SECONDS), ("ES256", 1, 10), ("RS256", 1, 10)):
        server = bench.servers[alg]
        think_ms = 64 / (share * tokens[alg, 1000]["rate"]) * 1000 if share < 1 else 0
        before = server.metrics()
        bench.load(server.url, 1000, seconds=seconds, think_ms=think_ms)
        after = server.metrics()

        def grown(name, **labels):
            return after.value(name, **labels) - before.value(name, **labels)

        count = grown("jotd_loop_lag_seconds_count")
        rows.append((f"{alg}, {100 * share:.0f} %, {seconds} s", f"{count:,.0f}",
                     *(f"{100 * grown('jotd_loop_lag_seconds_bucket', le=f'{ms / 1000:g}') / count:.3f} %"
                       for ms in TURNS_MS)))
    table(("share of full load", "turns", *(f"to {ms:g} ms" for ms in TURNS_MS)), rows)


def print_steps(bench, signs, answer, tokens):
    done = subprocess.run([PROGRAMS / "bench_micro", bench.credentials], text=True, check=True,
                          env={"DATABASE_URL": bench.database_url, "PATH": os.environ["PATH"]},
                          cwd=bench.directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    steps = {name: float(figure) for name, figure in
             (line.split("\t") for line in done.stdout.splitlines())}
    print("## Single steps\n\nNanoseconds a call, by themselves, where nothing else is said.\n")
    table(("", ""), [(name, f"{figure:,.0f}") for name, figure in steps.items()])

    print("## Where the time of an ES256 token goes\n")
    print("Microseconds, 1,000 clients. The steps are those from above; the rest is what no step\n"
          "accounts for: the turn of the loop, counters, the parts that steps by themselves find in\n"
          "the processor's caches and in a server do not.\n")
    us = {name: figure / 1000 for name, figure in steps.items()}
    whole = tokens["ES256", 1000]["us"]
    parts = {
        "HTTP: read, parse, write (b)": answer,
        "signature (a)": signs["ES256"],
        "claims, base64url": us["access_token_sign, ES256"] - signs["ES256"],
        "form, Basic, secret": us["form_parse"] + us["credentials_read, Basic"]
        + us["secret: checksum and digest"],
        "client cache": us["client_cache_find, cached, any of all"],
        "uuid": us["uuid_v7_make and uuid_format"],
        "limiter (with it, less without)": limiter_cost(bench),
        "headers and body of the answer": us["quota headers and reply"],
        "ledger: row and write": us["ledger_row_append, and the write of 16 rows"],
        "ledger: its thread": tokens["ES256", 1000]["ledger_us"],
    }
    parts["the rest"] = whole - sum(parts.values())
    table(("", "µs", "share"), [(name, f"{cost:.2f}", f"{100 * cost / whole:.0f} %")
                                for name, cost in [*parts.items(), ("whole", whole)]])


def limiter_cost(bench):
    """The difference made by JOTD_LIMITER=off, in microseconds."""
    differences = []
    with bench.jotd(keys="ES256", limiter="off") as without:
        for _ in range(5):
            differences.append(bench.issue(bench.servers["ES256"], 1000)["us"]
                               - bench.issue(without, 1000)["us"])
    return statistics.median(differences)


def print_profile(bench):
    """Prints the share of processor time by library."""
    data = bench.directory / "perf.data"
    server = bench.servers["ES256"]
    record = subprocess.Popen(
        ["perf", "record", "-q", "-e", "cpu-clock", "-F", "2000", "-o", data,
         "-p", str(server.process.pid), "--", "sleep", "3"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    bench.load(server.url, 1000, seconds=3)
    if record.wait() != 0:
        print(f"perf does not work here: {record.stderr.read().strip()}\n")
        return
    report = subprocess.run(
        ["perf", "report", "-i", data, "--sort", "dso", "--stdio", "-q"], text=True, check=True,
        capture_output=True).stdout
    print("By library, of samples of its processor time (perf):\n")
    table(("", "share"), [(line.split()[1], line.split()[0]) for line in report.splitlines()
                          if line.strip() and float(line.split()[0].rstrip("%")) >= 0.3])


def run_against(given):
    """Compares this build with another one in turns: the effect of a code change."""
    with contextlib.ExitStack() as stack:
        bench = Bench(given, stack)
        others = {}
        with stand.binary(given.against):  # with a database of its own, in the schema that it knows
            database_url = stack.enter_context(stand.database("jotd_load_other"))
            make_tier(database_url)
            seed.seed_again(database_url, bench.credentials)
            for alg in bench.algs:
                others[alg] = stack.enter_context(bench.jotd(database_url, keys=alg))
        for server in others.values():
            bench.fill_cache(server)
        rows = []
        for alg in bench.algs:
            pairs = []
            for _ in range(given.rounds):
                pairs.append((bench.issue(others[alg], 1000)["us"],
                              bench.issue(bench.servers[alg], 1000)["us"]))
            rows.append((alg, f"{statistics.median(before for before, _ in pairs):.2f}",
                         f"{statistics.median(after for _, after in pairs):.2f}",
                         f"{statistics.median(after / before for before, after in pairs):.3f}"))
    print(f"Microseconds of processor time per token, 1,000 clients, {given.rounds} pairs\n")
    table(("", "before", "after", "median after / before"), rows)


def run(given):
    print("# What jotd costs\n")
    print(f"By `./dev bench{' --quick' if given.quick else ''}`, {datetime.date.today()}, on a "
          "machine that others use too:")
    print("; ".join(f"{name} {version}" for name, version in stand.versions().items()) + ".\n"
          "The server has one processor; load, PostgreSQL and Redis share another.\n")
    with contextlib.ExitStack() as stack:
        bench = Bench(given, stack)
        if given.introspection:
            introspection.run(bench, table)
            return
        if given.administration:
            administration.run(bench, table, LOAD)
            return
        costs = compare(bench, rounds=3 if given.quick else given.rounds)
        signs, answer, tokens = costs
        print_costs(bench, signs, answer, tokens)
        if given.quick:
            return
        print_latencies(bench, tokens)
        print_turns(bench, tokens)
        print_steps(bench, signs, answer, tokens)
        print_profile(bench)
        introspection.run(bench, table)
        administration.run(bench, table, LOAD)
        scale.run(bench, table)


class Both(io.TextIOBase):
    """Writes to two places."""

    def __init__(self, *places):
        self.places = places

    def write(self, text):
        for place in self.places:
            place.write(text)
        return len(text)

    def flush(self):
        for place in self.places:
            place.flush()


def main():
    parser = argparse.ArgumentParser(prog="./dev bench")
    parser.add_argument("--quick", action="store_true",
                        help="half a minute: fewer rounds, ES256 and HS256, costs only")
    parser.add_argument("--write", action="store_true", help="write loadtest/RESULTS.md")
    parser.add_argument("--against", metavar="JOTD", type=pathlib.Path,
                        help="only compare with another build of jotd, ES256 and HS256")
    parser.add_argument("--introspection", action="store_true",
                        help="only what introspections and revocations cost")
    parser.add_argument("--administration", action="store_true",
                        help="only what the administration does to tokens, and how fast it is")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    stand.begin()
    if given.against and not os.access(given.against, os.X_OK):
        stand.complain(f"--against {given.against}: give the path of a jotd that can be run")
    if len(os.sched_getaffinity(0)) < 2:
        stand.complain("the bench needs two processors: one for jotd, one for the load")
    if given.against:
        run_against(given)
        return
    text = io.StringIO()
    with contextlib.redirect_stdout(Both(sys.stdout, text)):
        run(given)
    if given.write:
        (HERE / "RESULTS.md").write_text(text.getvalue().rstrip() + "\n")


if __name__ == "__main__":
    main()
