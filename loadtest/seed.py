#!/usr/bin/python3
"""Creates clients with known secrets for load tests.

    loadtest/seed.py FILE [--clients 5000] [--free 50] [--tier unlimited]

Adds that many clients to the database named by DATABASE_URL, the last of them in tier free, and
writes a line `client_id<TAB>client_secret<TAB>tier` for each to FILE, mode 0600. It uses COPY:
5,000 runs of `jotd client create` would take minutes.
"""

import argparse
import contextlib
import hashlib
import io
import os
import secrets
import string

import psycopg2

import stand  # which adds the harness to the path

from harness.secret import make_secret


def make_id():
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(20))


def insert(url, made):
    """Inserts clients given as (id, secret, tier)."""
    with contextlib.closing(psycopg2.connect(url)) as connection, connection:
        cursor = connection.cursor()
        cursor.copy_expert(
            "COPY clients (client_id, name, tier, scopes, audiences) FROM STDIN",
            io.StringIO("".join(f"{id}\tload {number}\t{tier}\t{{read,write}}\t"
                                "{https://api.example.com}\n"
                                for number, (id, _, tier) in enumerate(made))))
        cursor.copy_expert(
            "COPY client_secrets (client_id, digest) FROM STDIN",
            io.StringIO("".join(f"{id}\t\\\\x{hashlib.sha256(secret.encode()).hexdigest()}\n"
                                for id, secret, _ in made)))
        cursor.execute("ANALYZE clients, client_secrets")


def seed(url, path, clients=5000, free=50, tier="unlimited"):
    made = [(make_id(), make_secret(), tier if number < clients - free else "free")
            for number in range(clients)]
    insert(url, made)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines("\t".join(client) + "\n" for client in made)


def seed_again(url, path):
    """Inserts the clients of a file written by seed() into another database."""
    with open(path) as lines:
        insert(url, [line.rstrip("\n").split("\t") for line in lines])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("file")
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--free", type=int, default=50, help="how many of them are in tier free")
    parser.add_argument("--tier", default="unlimited", help="tier of the others")
    given = parser.parse_args()
    try:
        seed(os.environ["DATABASE_URL"], given.file, given.clients, given.free, given.tier)
    except KeyError:
        parser.error("DATABASE_URL is not set; `./dev services start` writes one to .local/env")
    except (OSError, psycopg2.Error) as error:
        parser.exit(1, f"seed: {error}\n")


if __name__ == "__main__":
    main()
