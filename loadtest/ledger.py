#!/usr/bin/python3
"""The throughput of the ledger's sender, compared with psql's plain \\copy of the same rows.

    ./dev services start
    (set -a; . .local/env; loadtest/ledger.py [SEGMENTS [PAIRS]])

Writes SEGMENTS (1,000) files of 1,000 rows, then loads them into its own database PAIRS (5) times,
in turn with `jotd ledger flush` and with psql (one \\copy, and so one transaction, per file), and
prints rows per second and the median ratio. Both pay for a commit on disk; the sender also syncs
the files, and records each in flushed_batches.
"""

import datetime
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

JOTD = pathlib.Path(__file__).resolve().parent.parent / "build" / "jotd"
DATABASE = "ledger_bench"
ROWS = 1000


def uuid7(unix_ms):
    return uuid.UUID(int=unix_ms << 80 | 0x7 << 76 | 0b10 << 62 | random.getrandbits(62))


def row(unix_ms):
    issued = datetime.datetime.fromtimestamp(unix_ms / 1000, datetime.timezone.utc)
    expires = issued + datetime.timedelta(hours=1)
    times = "\t".join(f"{t:%Y-%m-%d %H:%M:%S}.{t.microsecond // 1000:03d}+00"
                      for t in (issued, expires))
    return (f"{uuid7(unix_ms)}\tclient{random.randrange(1000):014d}\tpro\tread write\t"
            f"https://api.example.com\tNzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs\t{times}\n")


def write_segments(directory, count):
    now = int(time.time() * 1000)
    for i in range(count):
        segment = directory / str(uuid7(now + i))
        segment.write_text("".join(row(now + i) for _ in range(ROWS)))


def psql(url, *arguments):
    subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", url, *arguments], check=True)


def timed(command, environment=None):
    start = time.monotonic()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE)
    return time.monotonic() - start


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    pairs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    server = os.environ["DATABASE_URL"]
    url = f"{server.rsplit('/', 1)[0]}/{DATABASE}"
    psql(server, "-c", f"DROP DATABASE IF EXISTS {DATABASE}", "-c", f"CREATE DATABASE {DATABASE}")
    environment = {**os.environ, "DATABASE_URL": url}
    subprocess.run([JOTD, "migrate"], env=environment, check=True, stdout=subprocess.DEVNULL)

    with tempfile.TemporaryDirectory(dir=pathlib.Path.cwd()) as temporary:
        base = pathlib.Path(temporary)
        source = base / "segments"
        source.mkdir()
        write_segments(source, count)
        script = base / "copy.sql"
        script.write_text("".join(
            f"\\copy issued_tokens from '{path}'\n" for path in sorted(source.iterdir())))
        empty = ["-c", "TRUNCATE issued_tokens, flushed_batches", "-c", "CHECKPOINT"]
        ratios = []
        for _ in range(pairs):
            spool = base / "spool"
            shutil.rmtree(spool, ignore_errors=True)
            shutil.copytree(source, spool / str(uuid7(int(time.time() * 1000))))
            os.sync()
            psql(url, *empty)
            flush = timed([JOTD, "ledger", "flush"], {**environment, "JOTD_SPOOL_DIR": str(spool)})
            psql(url, *empty)
            copy = timed(["psql", "-q", "-v", "ON_ERROR_STOP=1", url, "-f", script])
            ratios.append(copy / flush)
            rows = count * ROWS
            print(f"flush {rows / flush:9.0f} rows/s   \\copy {rows / copy:9.0f} rows/s   "
                  f"ratio {ratios[-1]:.2f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f}")
    psql(server, "-c", f"DROP DATABASE {DATABASE}")


if __name__ == "__main__":
    main()
