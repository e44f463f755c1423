"""Processes, ports and waiting."""

import contextlib
import ctypes
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000  # waitpid also waits for threads
LIBC = ctypes.CDLL(None)
CLAIMS = []  # abstract sockets, each named after a port given to a test

def is_long():
    """Whether the long tests were requested."""
    return bool(os.environ.get("JOTD_TEST_LONG"))


long_test = pytest.mark.skipif(
    not is_long(), reason="takes long: only with JOTD_TEST_LONG=1"
)


def until(condition, timeout=10, interval=0.02):
    """Calls `condition` until its result is true, and returns that; fails after `timeout`.

    A condition that raises OSError (nothing listens yet, a connection was cut) is not yet true.
    """
    deadline = time.monotonic() + timeout
    last = None
    while True:
        is_last = time.monotonic() > deadline  # before the call: the condition may take long
        try:
            last = condition()
            if last:
                return last
        except OSError as error:
            last = error
        if is_last:
            raise AssertionError(f"still not so after {timeout} s; last seen: {last!r}")
        time.sleep(interval)


@contextlib.contextmanager
def small_disk(path, size):
    """A small file system of its own."""
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path],
                      capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is denied here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def free_port():
    """A free TCP port below the kernel's range for outgoing connections. No other test process gets
    it while this one lives: jotd would share it silently."""
    while True:
        port = random.randrange(16000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0jotd-test-port-{port}")
        except OSError:
            claim.close()
            continue
        CLAIMS.append(claim)
        return port


def spawn(arguments, **options):
    """Popen for a child that dies with this process, however this process ends."""
    parent = os.getpid()

    def die_with_parent():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=die_with_parent,
        **options,
    )


def children(pid):
    """The processes whose parent is `pid`."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):  # pathlib's glob fails if one ends
        try:
            fields = pathlib.Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(name))
    return found


def is_gone(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def send_signal(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


@contextlib.contextmanager
def held(pid, name):
    """Stops the thread of that name, and no other, while the context is open."""
    tid = next(int(task.name) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
               if (task / "comm").read_text().strip() == name)
    if LIBC.ptrace(PTRACE_SEIZE, tid, 0, 0) != 0:
        pytest.skip("may not trace here")
    assert LIBC.ptrace(PTRACE_INTERRUPT, tid, 0, 0) == 0
    os.waitpid(tid, WALL)  # it has stopped
    try:
        yield
    finally:
        LIBC.ptrace(PTRACE_DETACH, tid, 0, 0)


def binary():
    """The jotd under test: JOTD_BIN, otherwise a sanitizer build, otherwise the release build."""
    given = os.environ.get("JOTD_BIN")
    candidates = [pathlib.Path(given)] if given else [
        ROOT / "build-asan" / "jotd", ROOT / "build" / "jotd"
    ]
    for candidate in candidates:
        if candidate.is_file():
            return str(candidate.resolve())
    pytest.exit(f"no jotd at {' or '.join(map(str, candidates))}: build it, or set JOTD_BIN", 2)


def has_sanitizer(name):
    """Whether the jotd under test was built with this sanitizer: asan or tsan."""
    return f"__{name}_init".encode() in pathlib.Path(binary()).read_bytes()


def clean_environment(**settings):
    """This process's environment without jotd's variables, plus `settings`."""
    kept = {
        name: value for name, value in os.environ.items()
        if not name.startswith("JOTD_") and name not in ("DATABASE_URL", "REDIS_URL")
        and not name.startswith("PG")
    }
    suppressions = pathlib.Path(__file__).with_name("lsan.supp")
    kept.setdefault("LSAN_OPTIONS", f"suppressions={suppressions}:print_suppressions=0")
    kept.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
    return {**kept, **settings}


def run_jotd(*arguments, env=None, check=True, timeout=60, program=None):
    """Runs one command to its end; returns subprocess.CompletedProcess with text. `program` is
    another jotd than the one under test."""
    done = subprocess.run(
        [program or binary(), *map(str, arguments)], env=clean_environment(**(env or {})), text=True,
        capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout, check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(
            f"jotd {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stderr}"
        )
    return done
