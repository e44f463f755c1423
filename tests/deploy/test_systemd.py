"""The systemd units, as far as systemd-analyze can check them without running them."""

import configparser
import re
import shutil
import signal
import subprocess
import urllib.parse

import pytest

from harness import until
from harness.deployment import DEPLOY, environment, port_of, settings
from harness.process import binary

UNITS = DEPLOY / "systemd"
EXPOSURE = 10  # tenths: the highest score accepted from systemd-analyze

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed"
)


def analyze(*arguments, directory):
    done = subprocess.run(["systemd-analyze", *arguments], cwd=directory, text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def unit(name):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(UNITS / name)
    return parser


@pytest.fixture
def units(tmp_path):
    """A copy of the units that names an existing program."""
    for path in UNITS.glob("jotd.*"):
        text = path.read_text().replace("/usr/lib/jotd/jotd", binary())
        (tmp_path / path.name).write_text(text)
    return tmp_path


@needs_systemd
def test_systemd_understands_the_units(units):
    assert analyze("verify", "./jotd.service", "./jotd.socket", directory=units) == ""


@needs_systemd
def test_the_service_is_hardened(units):
    analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager",
            "./jotd.service", directory=units)


def test_the_units_fit_jotd_and_each_other():
    service, socket = unit("jotd.service")["Service"], unit("jotd.socket")["Socket"]
    env = environment(UNITS / "jotd.env")
    assert env["JOTD_LISTEN"] == socket["ListenStream"]
    assert port_of(env["JOTD_LISTEN"])
    assert int(service["TimeoutStopSec"]) > int(settings()["JOTD_DRAIN_TIMEOUT"])
    assert int(service["LimitNOFILE"]) > int(settings()["JOTD_MAX_CONNECTIONS"])
    assert service["LimitMEMLOCK"] == "8M"  # more than PRIVATE_MEMORY_BYTES
    assert service["MemorySwapMax"] == "0"
    # A start that fails at once reaches the limit; one that serves for ten seconds never does.
    pause, limit = int(service["RestartSec"]), unit("jotd.service")["Unit"]
    starts, within = int(limit["StartLimitBurst"]), int(limit["StartLimitIntervalSec"])
    assert (pause + 1) * starts < within < (pause + 10) * starts
    assert int(service["WatchdogSec"]) >= 4  # jotd reports every second; loops may take half
    assert service["IPAddressDeny"] == "any"
    for name in "DATABASE_URL", "REDIS_URL":
        neighbour = urllib.parse.urlsplit(env[name]).hostname
        assert (neighbour, service["IPAddressAllow"]) == ("127.0.0.1", "localhost")
    # The package's directories, and none that systemd would chown to jotd with all that is below.
    places = ["/var/lib/jotd/keys", "/var/lib/jotd/spool"]
    assert service["ReadWritePaths"].split() == places
    told = re.search(r"^Environment=JOTD_KEYS_DIR=(\S+) JOTD_SPOOL_DIR=(\S+)$",
                     (UNITS / "jotd.service").read_text(), re.M)
    assert list(told.groups()) == places
    assert not [key for key in service if re.match("(State|Cache|Logs|Runtime)Directory", key)]


@pytest.fixture
def traced(tmp_path, monkeypatch):
    """The file to which jotd's system calls are traced."""
    calls, program = tmp_path / "calls", tmp_path / "jotd"
    # -D: jotd stays our direct child and gets our signals.
    program.write_text(f'#!/bin/sh\nexec strace -D -f -A -o {calls} {binary()} "$@"\n')
    program.chmod(0o755)
    if subprocess.run([program, "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("strace is not installed, or may not trace here")
    monkeypatch.setenv("JOTD_BIN", str(program))
    return calls


@needs_systemd
def test_the_filter_lets_the_system_calls_of_a_server_pass(units, traced, database, jotd, postgres):
    client = database.client()
    with jotd(database, workers=2) as s:
        assert s.token(client).status_code == 200
        until(lambda: s.metric("jotd_ledger_rows_written_total") == 1)
        postgres.stop()
        s.wait_log("pg.lost")
        postgres.start()
        s.process.send_signal(signal.SIGHUP)
    until(lambda: "exit_group(0)" in traced.read_text().rpartition("serve.ended")[2])
    used = set(re.findall(r"^\d+ +(\w+)\(", traced.read_text(), re.M))
    assert {"accept4", "fallocate", "prlimit64", "signalfd4"} <= used
    allowed = let_through(units / "jotd.service")
    assert used <= allowed, used - allowed
    assert not allowed & {"mount", "ptrace", "reboot", "setuid", "init_module", "bpf"}


def let_through(path):
    """The system calls that the unit's filter lines leave, in order: ~ removes."""
    allowed = set()
    for line in path.read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "SystemCallFilter":
            calls = set().union(*(members(item) for item in value.lstrip("~").split()))
            allowed = allowed - calls if value.startswith("~") else allowed | calls
    return allowed


def members(item):
    """The system calls of a group like @file-system, or the single call named."""
    if not item.startswith("@"):
        return {item}
    listed = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter", item], text=True,
                            capture_output=True, check=True).stdout
    names = [line.strip() for line in listed.splitlines() if line.startswith(" ")]
    return set().union(*(members(name) for name in names if name and name[0] != "#"))
