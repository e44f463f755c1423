"""How jotd scales: workers, connections, memory, and idle connections. Part of the bench."""

import resource
import socket
import statistics

import stand

CONNECTIONS = (8, 512)
IDLE = 10000
BUSY = 64
ROUNDS = 3


def workers_and_connections(bench, table):
    """One worker and two, few connections and many, in turns."""
    print("## Workers and connections\n\nES256, 1,000 clients. Load, PostgreSQL and Redis need "
          "their share of the same two processors.\n")
    samples = {}
    with bench.jotd(keys="ES256", workers=1) as one, \
            stand.jotd(bench.database_url, bench.redis_url, {0, 1}, workers=2,
                       keys="ES256") as two:
        for _ in range(ROUNDS):
            for workers, server in ((1, one), (2, two)):
                for connections in CONNECTIONS:
                    cpu = stand.cpu_seconds(server.process.pid)
                    got = bench.load(server.url, 1000, connections=connections, seconds=1)
                    cpu = stand.cpu_seconds(server.process.pid) - cpu
                    samples.setdefault((workers, connections), []).append(
                        (got["requests"] / got["seconds"], cpu / got["requests"] * 1e6))
    table(("workers, connections", "tokens/s", "µs a token"),
          [(f"{workers}, {connections}",
            f"{statistics.median(rate for rate, _ in got):,.0f}",
            f"{statistics.median(us for _, us in got):.1f}")
           for (workers, connections), got in samples.items()])


class Idle:
    """Keep-alive connections that have sent one request and then stay silent."""

    def __init__(self, server, count):
        self.connections = []
        request = b"GET /health HTTP/1.1\r\nHost: jotd\r\n\r\n"
        for number in range(count):
            # One source address does not have enough ports.
            connection = socket.socket()
            connection.bind((f"127.0.1.{1 + number // 10000}", 0))
            host, _, port = server.listen.rpartition(":")
            connection.connect((host, int(port)))
            connection.sendall(request)
            self.connections.append(connection)
        for connection in self.connections:
            if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                raise ConnectionError("an idle connection was not answered")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for connection in self.connections:
            connection.close()


def idle_connections(bench, table):
    """Latencies of busy connections with and without many idle ones, and the memory that those
    cost."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(IDLE, hard - 1024)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 512), hard))
    print(f"## {count:,} idle connections\n\nES256, 1,000 clients, {BUSY} connections that are "
          "busy at 30 % of full load, while the\nothers are open and idle, and without them.\n")
    rows = []
    with bench.jotd(keys="ES256", max_connections=count + 4 * BUSY) as server:
        full = bench.load(server.url, 1000, connections=BUSY, seconds=1)
        think_ms = BUSY / (0.3 * full["requests"] / full["seconds"]) * 1000
        without_kib = stand.resident_kib(server.process.pid)

        def measure():
            got = [bench.load(server.url, 1000, connections=BUSY, seconds=2, think_ms=think_ms)
                   for _ in range(ROUNDS)]
            return [f"{statistics.median(one[name] for one in got):,.0f}"
                    for name in ("p50", "p99", "p99.9")]

        rows.append(("without", *measure()))
        with Idle(server, count):
            open_now = server.metric("jotd_http_connections")
            with_kib = stand.resident_kib(server.process.pid)
            rows.append((f"with {count:,}", *measure()))
            if server.metric("jotd_http_connections") < open_now:
                stand.complain("idle connections were closed, so the figures mean nothing")
    table(("idle connections", "p50 µs", "p99 µs", "p99.9 µs"), rows)
    print(f"An idle connection holds {(with_kib - without_kib) * 1024 / count:,.0f} bytes of jotd's "
          "memory.\n")


def run(bench, table):
    workers_and_connections(bench, table)
    idle_connections(bench, table)
