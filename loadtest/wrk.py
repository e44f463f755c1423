"""wrk with token.lua: load at full speed, or with pauses, on a separate processor."""

import base64
import json
import os
import pathlib
import subprocess

import stand

SCRIPT = pathlib.Path(__file__).with_name("token.lua")


def write_authorizations(credentials, path):
    """Writes token.lua's file, mode 0600, from the one written by seed.py."""
    with open(credentials) as lines, \
            open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        for line in lines:
            client_id, secret, _ = line.rstrip("\n").split("\t")
            value = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
            file.write(f"Basic {value}\n")


def run(url, authorizations, clients, connections=64, seconds=2, think_ms=0, processor=1,
        script=SCRIPT, path="/token", **environment):
    """The results: requests, seconds, and p50, p99, p99.9 in microseconds."""
    with stand.on_processors({processor}):
        done = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script, url + path],
            env={"PATH": os.environ["PATH"], "AUTHORIZATIONS": str(authorizations),
                 "CLIENTS": str(clients), "THINK_MS": str(think_ms), **environment},
            text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        stand.complain(f"wrk ended with {done.returncode}: {done.stderr.strip()}")
    result = json.loads(done.stdout.splitlines()[-1])
    if result.pop("failed") or not result["requests"]:
        stand.complain(f"wrk saw failures, so its figures mean nothing:\n{done.stdout}")
    return result
