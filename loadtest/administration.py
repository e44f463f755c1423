"""What the administration does to tokens, and how fast it is with many clients. Part of the bench."""

import contextlib
import json
import statistics
import subprocess
import threading
import time

import psycopg2
import requests

import stand

SHARE = 0.3  # of full load
SECONDS = 3  # of a measurement
CALLERS = 32
MANY = 1000000  # clients
TIMES = 50  # each operation is called


def administrator(server, database_url):
    """A token for the administration of this server."""
    made = stand.run_jotd("client", "create", "--name", "bench", "--tier", "unlimited", "--scope",
                          "jotd:read jotd:write jotd:admin", "--audience", server.issuer + "/admin",
                          "--json", env={"DATABASE_URL": database_url})
    made = json.loads(made.stdout)
    return requests.post(server.url + "/token", {"grant_type": "client_credentials"},
                         auth=(made["client_id"], made["client_secret"]),
                         timeout=10).json()["access_token"]


@contextlib.contextmanager
def callers(server, token, processor):
    """Callers that list clients as fast as they can, on the processor of the load, after it."""
    with stand.on_processors({processor}):
        process = subprocess.Popen(
            ["nice", "-n", "19", "wrk", "-t1", f"-c{CALLERS}", "-d3600s", "-H",
             f"Authorization: Bearer {token}", server.admin_api + "/admin/v1/clients?limit=100"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def stuck(database_url):
    """Every call of the administration waits for a lock."""
    with contextlib.closing(psycopg2.connect(database_url)) as connection:
        connection.cursor().execute("LOCK organizations IN ACCESS EXCLUSIVE MODE")
        yield


@contextlib.contextmanager
def killed(database_url):
    """The administration's connection is ended twenty times a second."""
    ended = threading.Event()

    def kill():
        with contextlib.closing(psycopg2.connect(database_url)) as connection:
            connection.autocommit = True
            while not ended.wait(0.05):
                connection.cursor().execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'jotd-admin' AND datname = current_database()")

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def beside_tokens(bench, table, processor):
    print("## Tokens while the administration works\n\n"
          f"Microseconds from request to answer of tokens at {100 * SHARE:.0f} % of full load, as wrk "
          f"sees them, while {CALLERS} callers list\nclients as fast as they can: of the same "
          "process; of another process on the same processor,\nwhich shows what sharing the "
          "processor costs; with every statement stuck behind a lock; with its\nconnection ended "
          "twenty times a second.\n")
    url = bench.database_url
    samples = {}
    with bench.jotd(keys="ES256", admin=True, admin_database_url=url) as server, \
            bench.jotd(keys="ES256", admin=True, admin_database_url=url) as other:
        bench.fill_cache(server)
        token, others = administrator(server, url), administrator(other, url)
        full = bench.issue(server, 1000)
        think_ms = 64 / (SHARE * full["rate"]) * 1000
        phases = {
            "nobody calls": lambda stack: None,
            "callers": lambda stack: stack.enter_context(callers(server, token, processor)),
            "callers of another process":
                lambda stack: stack.enter_context(callers(other, others, processor)),
            "callers, stuck": lambda stack: (stack.enter_context(callers(server, token, processor)),
                                             stack.enter_context(stuck(url))),
            "callers, connection ended": lambda stack: (
                stack.enter_context(callers(server, token, processor)),
                stack.enter_context(killed(url))),
        }
        for _ in range(bench.given.rounds):
            for name, begin in phases.items():
                with contextlib.ExitStack() as stack:
                    begin(stack)
                    got = bench.load(server.url, 1000, seconds=SECONDS, think_ms=think_ms)
                samples.setdefault(name, []).append(got)
    rows = []
    for name, values in samples.items():
        rows.append((name, *(f"{statistics.median(value[p] for value in values):,.0f}"
                             for p in ("p50", "p99", "p99.9"))))
    table(("", "p50", "p99", "p99.9"), rows)


def operations(http, api):
    """Every operation that is not bulk: its name, and a call that must succeed."""
    def call(method, path, status, **options):
        answer = http.request(method, api + path, timeout=30, **options)
        if answer.status_code != status:
            stand.complain(f"{method} {path}: {answer.status_code} {answer.text}")

    any_version = {"If-Match": "*"}
    return {
        "GET client": lambda n: call("GET", f"/clients/many-{n}", 200),
        "GET clients": lambda n: call("GET", f"/clients?after=many-{n}", 200),
        "GET clients by label": lambda n: call("GET", f"/clients?label.number={n}", 200),
        "GET clients, q": lambda n: call("GET", f"/clients?q=client {MANY // 2 + n}", 200),
        "GET clients, unused_since": lambda n: call(
            "GET", "/clients?unused_since=2036-01-01T00:00:00Z", 200),
        "PUT client, new": lambda n: call("PUT", f"/clients/new-{n}-{time.monotonic_ns()}", 201,
                                          json={"name": "new"}),
        "PATCH client": lambda n: call("PATCH", f"/clients/many-{n}", 200,
                                       json={"name": f"n {time.monotonic_ns()}"},
                                       headers=any_version),
        "POST client": lambda n: call("POST", "/clients", 201, json={"name": "new"}),
        "POST secret": lambda n: call("POST", f"/clients/many-{n}/secrets", 201, json={}),
        "GET secrets": lambda n: call("GET", f"/clients/many-{n}/secrets", 200),
        "GET tokens of a client": lambda n: call("GET", f"/clients/many-{n}/tokens", 200),
        "DELETE tokens of a client": lambda n: call("DELETE", f"/clients/many-{n}/tokens", 204),
        "DELETE client": lambda n: call("DELETE", f"/clients/many-{MANY - n}", 204,
                                        headers=any_version),
        "GET tiers": lambda n: call("GET", "/tiers", 200),
        "GET organizations": lambda n: call("GET", "/organizations", 200),
        "GET audit": lambda n: call("GET", "/audit", 200),
        "GET audit of a client": lambda n: call("GET", f"/audit?object=client&object_id=many-{n}",
                                                200),
        "GET instances": lambda n: call("GET", "/instances", 200),
        "GET cache/stats": lambda n: call("GET", "/cache/stats", 200),
        "POST cache/invalidate": lambda n: call("POST", "/cache/invalidate", 204,
                                                json={"client_id": f"many-{n}"}),
    }


def at_scale(bench, table):
    print(f"## Operations with {MANY:,} clients\n\nMilliseconds of each of {TIMES} calls, one after "
          "another.\n")
    with stand.database("jotd_load_many") as url:
        with contextlib.closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute("INSERT INTO clients (client_id, name, labels)"
                           " SELECT 'many-' || n, 'client ' || n,"
                           "  jsonb_build_object('number', n::text)"
                           " FROM generate_series(1, %s) AS n", (MANY,))
            cursor.execute("ANALYZE")
        with bench.jotd(url, keys="ES256", admin=True, admin_database_url=url) as server, \
                requests.Session() as http:
            http.trust_env = False
            http.headers["Authorization"] = "Bearer " + administrator(server, url)
            rows = []
            for name, call in operations(http, server.admin_api + "/admin/v1").items():
                times = []
                for n in range(1, TIMES + 1):
                    began = time.monotonic()
                    call(n)
                    times.append((time.monotonic() - began) * 1000)
                rows.append((name, f"{statistics.median(times):.1f}",
                             f"{statistics.quantiles(times, n=100)[98]:.1f}",
                             f"{max(times):.1f}"))
    table(("", "median", "99th percentile", "longest"), rows)


def run(bench, table, processor):
    print("# What the administration costs\n")
    beside_tokens(bench, table, processor)
    at_scale(bench, table)
