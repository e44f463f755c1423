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
from harness.process import binary, run_jotd

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
    for path in UNITS.glob("jotd*.*"):
        text = path.read_text().replace("/usr/lib/jotd/jotd", binary())
        (tmp_path / path.name).write_text(text)
    return tmp_path


@needs_systemd
def test_systemd_understands_the_units(units):
    names = sorted(path.name for path in units.iterdir() if path.suffix != ".env")
    assert names == ["jotd-rotate.service", "jotd-rotate.timer", "jotd.service", "jotd.socket"]
    assert analyze("verify", *(f"./{name}" for name in names), directory=units) == ""


@needs_systemd
@pytest.mark.parametrize("name", ["jotd", "jotd-rotate"])
def test_the_services_are_hardened(units, name):
    analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager",
            f"./{name}.service", directory=units)


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


def test_the_keys_rotate_as_the_servers_user_with_its_settings_and_password():
    server, rotation = unit("jotd.service")["Service"], unit("jotd-rotate.service")["Service"]
    for name in "User", "Group", "EnvironmentFile", "LoadCredential", "Environment", "IPAddressAllow":
        assert rotation[name] == server[name], name
    text = (UNITS / "jotd-rotate.service").read_text()
    assert "Environment=JOTD_KEYS_DIR=/var/lib/jotd/keys\n" in text
    assert rotation["ReadWritePaths"] == "/var/lib/jotd/keys"
    assert rotation["Type"] == "oneshot"
    assert re.findall("^ExecStart=/usr/lib/jotd/jotd (.*)$", text, re.M) == [
        "key rotate --if-older 30", "key prune"]
    only_the_servers = {
        "ExecReload", "Restart", "RestartSec", "WatchdogSec", "TimeoutStopSec", "LimitNOFILE"}
    assert set(server) - set(rotation) == only_the_servers
    timer = unit("jotd-rotate.timer")
    assert (timer["Timer"]["OnCalendar"], timer["Timer"]["Persistent"]) == ("daily", "yes")
    assert "Unit" not in timer["Timer"]  # the service of the same name
    assert timer["Install"]["WantedBy"] == "timers.target"


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


def used(calls):
    return set(re.findall(r"^\d+ +(\w+)\(", calls.read_text(), re.M))


@needs_systemd
def test_the_filter_lets_the_system_calls_of_a_rotation_pass(units, traced, database, tmp_path):
    env = {"DATABASE_URL": database.url, "JOTD_KEYS_DIR": str(tmp_path / "keys")}
    kid = run_jotd("key", "create", env=env).stdout.strip()
    (key,) = (tmp_path / "keys").iterdir()
    key.rename(key.with_name(f"{kid}.ES256.1.pem"))
    run_jotd("key", "rotate", "--if-older", "30", env=env)
    (key,) = (tmp_path / "keys").glob(f"{kid}.*")
    key.rename(key.with_name(f"{kid}.ES256.1.2.pem"))
    assert run_jotd("key", "prune", env=env).stdout == f"removed {kid}\n"
    assert {"flock", "fsync", "connect"} <= used(traced) <= let_through(units / "jotd-rotate.service")


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
    assert {"accept4", "fallocate", "prlimit64", "signalfd4"} <= used(traced)
    allowed = let_through(units / "jotd.service")
    assert used(traced) <= allowed, used(traced) - allowed
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
