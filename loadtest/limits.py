#!/usr/bin/python3
"""What the limiter's script costs Redis.

    ./dev services start
    (set -a; . .local/env; loadtest/limits.py [CALLS])

Requests a token for each of 1,000 clients in turn, in CALLS (500) calls of 1 to 64 clients like
jotd's own, and prints Redis's processor time per client.
"""

import statistics
import struct
import sys

import redis

import stand

CLIENTS = 1000
ROUNDS = 5
ONE_TOKEN = struct.pack("<4q", 1, 10**9, 10**11, 0)  # with the limits of the bench's tier


def microseconds(connection, script, clients, calls):
    pid = connection.info("server")["process_id"]
    keys = [f"jotd:{{client-{number:013}}}" for number in range(CLIENTS)]
    before = stand.cpu_seconds(pid)
    for call in range(calls):
        chosen = [keys[(call * clients + i) % CLIENTS] for i in range(clients)]
        script(keys=chosen, args=[ONE_TOKEN * clients], client=connection)
    return (stand.cpu_seconds(pid) - before) / calls / clients * 1e6


def main():
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    source = (stand.ROOT / "auth" / "quota" / "limiter.lua").read_text()
    with stand.redis_database() as url, redis.from_url(url) as connection:
        script = connection.register_script(source)
        for clients in 1, 4, 16, 64:
            costs = [microseconds(connection, script, clients, calls) for _ in range(ROUNDS)]
            print(f"calls of {clients:2} clients: {statistics.median(costs):5.1f} µs a client")


if __name__ == "__main__":
    main()
