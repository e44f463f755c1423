"""jotd itself: `with jotd(database) as s: s.token(client)`."""

import base64
import contextlib
import json
import pathlib
import signal
import socket
import tempfile

import requests

from .process import binary, clean_environment, free_port, has_sanitizer, run_jotd, spawn, until
from .wire import parse_metrics, take_answer

SANITIZER_REPORTS = (
    "ERROR: AddressSanitizer", "LeakSanitizer", "runtime error:", "WARNING: ThreadSanitizer",
)
MARGIN = 10  # extra seconds for a sanitizer build on a busy machine


class Server:
    """A running jotd."""

    def __init__(self, directory, environment):
        self.directory = pathlib.Path(directory)
        self.environment = environment
        self.listen = environment["JOTD_LISTEN"]
        self.url = f"http://{self.listen}"
        self.admin_url = f"http://{environment.get('JOTD_METRICS_LISTEN', self.listen)}"
        self.issuer = environment.get("JOTD_ISSUER", self.url)
        self.admin_api = f"http://{environment.get('JOTD_ADMIN_LISTEN')}"
        self.keys_dir = pathlib.Path(environment["JOTD_KEYS_DIR"])
        self.drain_timeout = int(environment.get("JOTD_DRAIN_TIMEOUT", 10))
        self.process = None
        self.ended = False  # the test itself ended it and checks the exit status
        self.sockets = []  # listening sockets, passed as systemd does
        self.log_pipe = None  # descriptor for its log instead of the file
        self.cgroup = None  # directory of the cgroup to run in
        self.wrapper = []  # command that runs it, as words
        self.program = None  # another jotd than the one under test

    # Start and end

    def start(self):
        self.ended = False
        with open(self.directory / "stderr", "ab") as stderr:
            self.process = spawn(
                [*self.enter_cgroup(), *self.hand_over(), *self.wrapper,
                 self.program or binary(), "serve"], cwd=self.directory, env=self.environment,
                stderr=self.log_pipe or stderr, stdout=stderr, pass_fds=[s.fileno() for s in self.sockets],
            )

    def hand_over(self):
        """A shell that moves the sockets to descriptors from 3 on and sets LISTEN_PID and
        LISTEN_FDS."""
        if not self.sockets:
            return []
        fds = [s.fileno() for s in self.sockets]
        assert min(fds) >= 3 + len(fds), "they would overwrite each other"
        moves = " ".join(f"{3 + i}<&{fd} {fd}<&-" for i, fd in enumerate(fds))
        return ["bash", "-c", f'LISTEN_PID=$$ LISTEN_FDS={len(fds)} exec "$@" {moves}', "bash"]

    def enter_cgroup(self):
        return ["bash", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"',
                self.cgroup] if self.cgroup else []

    def wait(self, timeout=None):
        """Waits for the process to end and returns its exit status."""
        self.ended = True
        return self.process.wait(self.drain_timeout + MARGIN if timeout is None else timeout)

    def stop(self):
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.wait()

    def kill(self):
        """SIGKILL, as when the machine dies."""
        self.process.kill()
        self.wait()

    @contextlib.contextmanager
    def stopped(self):
        """SIGSTOP while the block runs, so that all that is sent in it arrives together."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        self.process.send_signal(signal.SIGSTOP)
        try:
            until(lambda: all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
                              for task in tasks.iterdir()))
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def wait_until(self, path):
        """Waits until `path` answers 200; fails with the log if the process ends."""
        def answers():
            assert self.process.poll() is None, f"jotd has ended:\n{self.stderr}"
            with self.connect(admin=True) as connection:
                request = f"GET {path} HTTP/1.1\r\nHost: jotd\r\nConnection: close\r\n\r\n"
                connection.sendall(request.encode())
                return receive(connection, timeout=5).startswith(b"HTTP/1.1 200 ")

        try:
            until(answers, timeout=20)
        except AssertionError as error:
            raise AssertionError(f"{path}: {error}\n{self.stderr}") from None

    # What waits for PostgreSQL

    @property
    def spool_dir(self):
        return self.directory / self.environment.get("JOTD_SPOOL_DIR", "spool")

    def segments(self):
        """Every segment in the spool, of any process."""
        return sorted(self.spool_dir.glob("*/*"))

    def set_aside(self):
        """The files that the ledger has set aside: content by name."""
        return {path.name: path.read_text() for path in self.spool_dir.glob("*.*")}

    # Log

    @property
    def stderr(self):
        return (self.directory / "stderr").read_text(errors="replace")

    @property
    def log(self):
        """Every event so far, without an incomplete last line."""
        whole = self.stderr.rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def wait_log(self, event, timeout=10, **fields):
        """Waits for an event with these fields and returns it."""
        def find():
            for line in self.log:
                if line.get("event") == event and fields.items() <= line.items():
                    return line
            return None

        return until(find, timeout=timeout)

    # HTTP by a library

    def request(self, method, path, url=None, **options):
        options.setdefault("timeout", 30)
        options.setdefault("allow_redirects", False)
        with requests.Session() as http:
            http.trust_env = False
            return http.request(method, (url or self.url) + path, **options)

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, data=None, **options):
        return self.request("POST", path, data=data, **options)

    def token(self, client=None, **form):
        """Requests a token, with Basic credentials if a client is given; grant_type=None omits it.
        """
        form.setdefault("grant_type", "client_credentials")
        auth = (client.id, client.secret) if client else None
        return self.post("/token", data=form, auth=auth)

    def access_token(self, client, **form):
        """The token itself, from an answer that must be a success."""
        answer = self.token(client, **form)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    def ready(self):
        return self.get("/ready", url=self.admin_url)

    def jwks(self):
        return self.get("/.well-known/jwks.json").json()

    def metrics(self):
        return parse_metrics(self.get("/metrics", url=self.admin_url).text)

    def metric(self, name, **labels):
        return self.metrics().value(name, **labels)

    def create_key(self, alg="ES256"):
        """Makes a signing key for this server, as an operator would."""
        now = ["--now"] if any(self.keys_dir.glob("*.pem")) else []  # an older jotd lacks --now
        return run_jotd("key", "create", "--alg", alg, *now, env=self.environment,
                        program=self.program)

    # HTTP by hand

    def connect(self, admin=False):
        """A socket connected to the server."""
        address = self.admin_url.removeprefix("http://") if admin else self.listen
        if address.startswith("unix:"):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(30)
            connection.connect(address.removeprefix("unix:"))
            return connection
        host, _, port = address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), timeout=30)

    def raw(self, data, timeout=5, answers=None, half_close=False):
        """Sends bytes (or an iterable of them, piece by piece) on a new connection. Returns the
        answer bytes when the server closes, `answers` answers are complete, or `timeout` has
        passed."""
        with self.connect() as connection:
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for piece in [data] if isinstance(data, bytes) else data:
                    connection.sendall(piece)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before all was sent: the answer still counts
            return receive(connection, timeout, answers)

    def answer(self, data, to_head=False, **options):
        """The one answer to `data`, or None if the connection closed without one. An answer to HEAD
        is read until the server closes."""
        received = self.raw(data, answers=None if to_head else 1, **options)
        if not received:
            return None
        answer, end = take_answer(received, to_head=to_head)
        assert end == len(received), received[end:]
        return answer

    @staticmethod
    def token_request(client, form="grant_type=client_credentials", headers="", path="/token"):
        """The bytes of a valid token request. `headers` are lines ending in CRLF."""
        credentials = base64.b64encode(f"{client.id}:{client.secret}".encode()).decode()
        return (
            f"POST {path} HTTP/1.1\r\nHost: jotd\r\nAuthorization: Basic {credentials}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\n{headers}"
            f"Content-Length: {len(form)}\r\n\r\n{form}"
        ).encode()

    # What must hold at the end

    def check_stderr(self):
        for report in SANITIZER_REPORTS:
            assert report not in self.stderr, self.stderr

    @property
    def is_sanitized(self):
        return has_sanitizer("asan") or has_sanitizer("tsan")


def receive(connection, timeout, answers=None):
    """Bytes until the peer closes, `answers` answers are complete, or nothing has arrived for
    `timeout` seconds."""
    received = bytearray()
    complete, start = 0, 0
    connection.settimeout(timeout)
    while answers is None or complete < answers:
        try:
            piece = connection.recv(1 << 16)
        except (socket.timeout, ConnectionResetError):
            break
        if not piece:
            break
        received += piece
        while answers is not None and (taken := take_answer(received, start)):
            complete += 1
            start = taken[1]
    return bytes(received)


@contextlib.contextmanager
def jotd(database=None, workers=1, keys="ES256", ready=True, sockets=(), environ=None,
         log_pipe=None, cgroup=None, wrapper=(), program=None, admin=False, **settings):
    """Runs jotd on `database` (a Database or a URL) with its own signing key.

    `keys` is the algorithm of the first key; True means ES256, False none. `settings` are variables
    in lower case without JOTD_: `client_cache_ttl=1`; `environ` are other variables, as they are.
    `sockets` are passed to it; `log_pipe` receives its log; `cgroup` is the directory of one to run
    in; `wrapper` is a command that runs it; `program` is another jotd than the one under test. With
    ready=False it only has to be alive. With admin=True it serves the administration, too.
    """
    with tempfile.TemporaryDirectory(prefix="jotd-test-") as directory:
        environment = {
            "JOTD_LISTEN": f"127.0.0.1:{free_port()}",
            "JOTD_KEYS_DIR": f"{directory}/keys",
            "JOTD_LOG_FORMAT": "json",
            "JOTD_WORKERS": str(workers),
        }
        if database is not None:
            environment["DATABASE_URL"] = getattr(database, "url", database)
        if admin:
            environment["JOTD_ADMIN_LISTEN"] = f"127.0.0.1:{free_port()}"
            environment["JOTD_ADMIN_DATABASE_URL"] = getattr(database, "admin_url", database)
        for name, value in settings.items():
            name = name.upper()
            prefix = "" if name in ("REDIS_URL", "DATABASE_URL") else "JOTD_"
            environment[prefix + name] = str(value)
        server = Server(directory, clean_environment(**environment, **(environ or {})))
        server.sockets = list(sockets)
        server.log_pipe = log_pipe
        server.cgroup = cgroup
        server.wrapper = list(wrapper)
        server.program = program
        if keys is False:
            pathlib.Path(directory, "keys").mkdir(mode=0o700)
        else:
            server.create_key("ES256" if keys is True else keys)
        server.start()
        try:
            server.wait_until("/ready" if ready else "/health")
            yield server
            if not server.ended:
                assert server.process.poll() is None, f"jotd has ended:\n{server.stderr}"
                status = server.stop()
                assert status == 0, f"exit status {status}:\n{server.stderr}"
            server.check_stderr()
        except BaseException:
            print(f"--- what jotd said ---\n{server.stderr[-8000:]}")
            raise
        finally:
            if server.process.poll() is None:
                server.process.kill()
                server.process.wait()
