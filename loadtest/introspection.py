"""What an introspection costs, with the signature remembered and not, and how revocations spread.
Part of the bench."""

import concurrent.futures
import pathlib
import statistics
import subprocess
import threading
import time

import requests

import stand
import wrk

SCRIPT = pathlib.Path(__file__).with_name("introspect.lua")
MANY = 12000  # more than a worker remembers: asked about in turn, none is remembered


def tokens_of(server, credentials, count):
    """So many tokens of the first client."""
    with open(credentials) as lines:
        client_id, secret, _ = lines.readline().rstrip("\n").split("\t")
    local = threading.local()

    def issue(_):
        if not hasattr(local, "http"):
            local.http = requests.Session()
            local.http.trust_env = False
        return local.http.post(server.url + "/token", {"grant_type": "client_credentials"},
                               auth=(client_id, secret), timeout=10).json()["access_token"]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(issue, range(count)))


def verify(alg):
    """Microseconds of a bare verification."""
    with stand.on_processors({0}):
        done = subprocess.run([stand.ROOT / "build" / "loadtest" / "bench_sign", alg, "300",
                               "verify"], check=True, text=True, capture_output=True)
    return float(done.stdout) / 1000


def costs(bench, table):
    print("## Introspection\n\nMicroseconds of processor time of the server, ES256, one worker, 64 "
          "connections: (b) libh2o\nanswering a POST, (v) OpenSSL's bare verification, (c) jotd "
          "with all that it does.\n")
    samples = {"answer": [], "verify": [], "remembered": [], "not remembered": []}
    server = bench.servers["ES256"]
    tokens = tokens_of(server, bench.credentials, MANY)
    files = {"remembered": tokens[:100], "not remembered": tokens}
    with bench.jotd(keys=False, keys_dir=server.keys_dir, issuer=server.url,
                    introspect_per_second=10**9) as asked:
        for name, some in files.items():
            (bench.directory / name).write_text("".join(f"{token}\n" for token in some))
        for _ in range(bench.given.rounds):
            samples["answer"].append(bench.answer())
            samples["verify"].append(verify("ES256"))
            for name in files:
                before, cpu = asked.metrics(), stand.cpu_seconds(asked.process.pid)
                wrk.run(asked.url, bench.authorizations, 1, seconds=1, script=SCRIPT,
                        path="/introspect", TOKENS=str(bench.directory / name))
                cpu, after = stand.cpu_seconds(asked.process.pid) - cpu, asked.metrics()
                active = (after.value("jotd_introspections_total", result="active")
                          - before.value("jotd_introspections_total", result="active"))
                samples[name].append(cpu / active * 1e6)
    found = {name: statistics.median(values) for name, values in samples.items()}
    bare = {"remembered": found["answer"], "not remembered": found["answer"] + found["verify"]}
    table(("signature", "(b)", "(v)", "(c)", "(c) / floor", "(c − v) / (b)"),
          [(name, f"{found['answer']:.1f}", f"{found['verify']:.1f}", f"{found[name]:.1f}",
            f"{found[name] / floor:.2f}",
            f"{(found[name] - floor + found['answer']) / found['answer']:.2f}")
           for name, floor in bare.items()])


def spreading(bench, table):
    """Revokes tokens at one process and asks both until all their workers know."""
    print("## How revocations spread\n\n1,000 revocations at each of two processes with two workers; "
          "milliseconds from the answer of\n/revoke to the first inactive answer of the other "
          "process.\n")
    times = []
    with stand.jotd(bench.database_url, bench.redis_url, {0, 1}, workers=2, keys="ES256") as one, \
            stand.jotd(bench.database_url, bench.redis_url, {0, 1}, workers=2, keys=False,
                       keys_dir=one.keys_dir, issuer=one.url) as two:
        with open(bench.credentials) as lines:
            auth = tuple(lines.readline().split("\t")[:2])
        with requests.Session() as http:
            http.trust_env = False

            def ask(server, token):
                answer = http.post(server.url + "/introspect", {"token": token}, auth=auth,
                                   timeout=10)
                return answer.json()["active"]

            for here, there in ((one, two), (two, one)):
                for token in tokens_of(one, bench.credentials, 1000):
                    if not ask(there, token):
                        stand.complain("a token is inactive before it was revoked")
                    http.post(here.url + "/revoke", {"token": token}, auth=auth,
                              timeout=10).raise_for_status()
                    revoked = time.monotonic()
                    while ask(there, token):
                        pass
                    times.append((time.monotonic() - revoked) * 1000)
    table(("", "ms"), [("median", f"{statistics.median(times):.1f}"),
                       ("99th percentile", f"{statistics.quantiles(times, n=100)[98]:.1f}"),
                       ("longest", f"{max(times):.1f}")])


def turns(bench, server, think_ms, reload):
    """Turns of the loop in 4 s of load, all and those over 1 ms and 2.5 ms; in the midst of it the
    revoked tokens are loaded again, if asked."""
    before = server.metrics()
    load = threading.Thread(target=bench.load, args=(server.url, 1000),
                            kwargs={"seconds": 4, "think_ms": think_ms})
    load.start()
    if reload:
        psql(bench, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'jotd-feed'")
    load.join()
    after = server.metrics()

    def grown(name, **labels):
        return after.value(name, **labels) - before.value(name, **labels)

    count = grown("jotd_loop_lag_seconds_count")
    return [count, *(count - grown("jotd_loop_lag_seconds_bucket", le=le)
                     for le in ("0.001", "0.0025"))]


def psql(bench, sql):
    subprocess.run(["psql", "-qAt", bench.database_url, "-c", sql], check=True,
                   stdout=subprocess.DEVNULL)


def million(bench, table):
    """A million live entries: the time to load them, memory, and turns of the loop meanwhile."""
    print("## A million revoked tokens\n\nTurns of the loop in 4 s at 30 % of full load, on the one "
          "processor that the thread which loads\nthem needs too.\n")
    psql(bench, "INSERT INTO revoked_tokens (jti, expires_at) SELECT (lpad(to_hex(("
                "extract(epoch FROM now()) * 1000)::bigint), 12, '0') || '7' || substr(md5("
                "n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid, now() + interval"
                " '12 hours' FROM generate_series(1, 1000000) n")
    with bench.jotd(keys="ES256") as server:
        kib = stand.resident_kib(server.process.pid)
        live = server.metric("jotd_revoked_tokens")
        full = bench.load(server.url, 1000, seconds=1)
        think_ms = 64 / (0.3 * full["requests"] / full["seconds"]) * 1000
        calm = turns(bench, server, think_ms, reload=False)
        loading = turns(bench, server, think_ms, reload=True)
        first, again = [line["ms"] for line in server.log
                        if line["event"] == "revocations.loaded"]
    psql(bench, "TRUNCATE revoked_tokens")
    table(("", ""), [("live entries", f"{live:,.0f}"),
                     ("resident memory of the process", f"{kib / 1024:.1f} MiB"),
                     ("time to load", f"{first:,} ms"),
                     ("time to load again, under load", f"{again:,} ms")])
    table(("", "turns", "over 1 ms", "over 2.5 ms"),
          [(name, *(f"{figure:,.0f}" for figure in figures))
           for name, figures in (("nothing is loaded", calm), ("while they are loaded", loading))])


def run(bench, table):
    costs(bench, table)
    spreading(bench, table)
    million(bench, table)
