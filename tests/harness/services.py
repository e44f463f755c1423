"""PostgreSQL and Redis for the tests, started and stopped at will."""

import contextlib
import itertools
import json
import os
import pathlib
import pwd
import signal
import subprocess
import types

import psycopg2
import redis

from .process import ROOT, children, free_port, is_gone, run_jotd, send_signal, spawn, until


class Service:
    """A server process that can be stopped, killed, paused and restarted on its port."""

    stop_signal = signal.SIGTERM

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.port = free_port()
        self.process = None

    def command(self):
        raise NotImplementedError

    def answers(self):
        raise NotImplementedError

    def spawn_options(self):
        return {}

    def start(self):
        """Returns when the server answers; does nothing if it runs."""
        if self.process is not None:
            return
        with open(self.directory / "log", "ab") as log:
            self.process = spawn(
                self.command(), cwd=self.directory, stdout=log, stderr=log, **self.spawn_options()
            )
        try:
            until(self.answers, timeout=30)
        except AssertionError as error:
            log = (self.directory / "log").read_text(errors="replace")[-2000:]
            raise AssertionError(f"{self.command()[0]} does not answer:\n{log}") from error

    def processes(self):
        return [self.process.pid, *children(self.process.pid)]

    def stop(self):
        """Orderly stop; returns when the server is gone."""
        if self.process is None:
            return
        pids = self.processes()
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            send_signal(pids, signal.SIGKILL)
            self.process.wait(20)
        self.process = None

    def kill(self):
        """SIGKILL to every process of the server, as when the machine dies."""
        pids = self.processes()
        send_signal(pids, signal.SIGKILL)
        self.process.wait(20)
        until(lambda: all(is_gone(pid) for pid in pids))
        self.process = None

    def pause(self):
        """The server keeps its connections but no longer responds."""
        send_signal(self.processes(), signal.SIGSTOP)

    def resume(self):
        send_signal(self.processes(), signal.SIGCONT)


class PostgreSQL(Service):
    stop_signal = signal.SIGINT  # "fast": does not wait for clients to disconnect
    options = {}  # additional settings

    def __init__(self, directory):
        super().__init__(directory)
        versions = pathlib.Path("/usr/lib/postgresql").glob("*/bin")
        self.programs = max(versions, key=lambda path: float(path.parent.name))
        self.data = self.directory / "data"
        self.data.mkdir(mode=0o700)
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            account = pwd.getpwnam("postgres")
            os.chown(self.directory, account.pw_uid, account.pw_gid)
            os.chown(self.data, account.pw_uid, account.pw_gid)
        subprocess.run(
            self.make_data(), check=True, cwd=self.directory, stdout=subprocess.DEVNULL,
            **self.spawn_options(),
        )

    def make_data(self):
        return [self.programs / "initdb", "--pgdata", self.data, "--username", "postgres",
                "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]

    def spawn_options(self):
        if os.getuid() != 0:
            return {}
        return {"user": "postgres", "group": "postgres", "extra_groups": []}

    def command(self):
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "",
            "fsync": "off", "full_page_writes": "off",
            "max_connections": 200, "shared_buffers": "32MB", "autovacuum": "off",
            **self.options,
        }
        options = itertools.chain.from_iterable(
            ("-c", f"{name}={value}") for name, value in settings.items()
        )
        return [str(self.programs / "postgres"), "-D", str(self.data), *options]

    def answers(self):
        try:
            self.connect("postgres").close()
            return True
        except psycopg2.OperationalError:
            return False

    def url(self, dbname, role="postgres"):
        return f"postgresql://{role}@127.0.0.1:{self.port}/{dbname}"

    def connect(self, dbname):
        return psycopg2.connect(self.url(dbname), connect_timeout=10)


class Standby(PostgreSQL):
    """Follows another server and is read-only."""

    def __init__(self, directory, primary):
        self.primary = primary
        super().__init__(directory)

    def make_data(self):
        return [self.programs / "pg_basebackup", "--pgdata", self.data, "--no-sync",
                "--checkpoint", "fast", "--write-recovery-conf", "--dbname",
                self.primary.url("postgres")]


class Redis(Service):
    options = ()  # additional options

    def command(self):
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "",
                "--appendonly", "no", "--dir", str(self.directory), *self.options]

    def connect(self):
        return redis.Redis(port=self.port, socket_timeout=10)

    def answers(self):
        try:
            return self.connect().ping()
        except redis.exceptions.ConnectionError:
            return False

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"


class Database:
    """One database and an operator's actions: execute() as superuser, cli() as the owner. `url` is
    for the server's role, which owns nothing. `program` is another jotd than the one under test."""

    program = None

    def __init__(self, postgres, name):
        self.postgres = postgres
        self.name = name
        self.owner_url, self.url, self.admin_url, self.reader_url = (
            postgres.url(name, f"jotd_{role}") for role in ("owner", "server", "admin", "reader"))
        self.names = (f"client {number}" for number in itertools.count(1))

    def execute(self, sql, params=()):
        """Runs and commits one statement; returns its rows, if any."""
        with contextlib.closing(self.postgres.connect(self.name)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, params)
                return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def locked(self, table="clients"):
        """While this is open, all readers of the table wait."""
        with contextlib.closing(self.postgres.connect(self.name)) as connection:
            with connection.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
                yield
            connection.rollback()

    def waiting_for_lock(self):
        """How many locks are waited for in this database."""
        return self.execute(
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
            "WHERE d.datname = %s AND NOT l.granted", (self.name,)
        )[0][0]

    def make_roles(self):
        """Creates the roles of a deployment, or corrects them."""
        subprocess.run(["psql", "-qX", "-d", self.postgres.url(self.name), "-f", ROOT / "deploy" / "roles.sql"],
                       check=True)

    def cli(self, *arguments, check=True, env=None):
        """Runs jotd on this database, as the owner."""
        return run_jotd(*arguments, env={"DATABASE_URL": self.owner_url, **(env or {})},
                        check=check, program=self.program)

    def client(self, scope="read write", audience=(), tier="free", id=None, ttl=None):
        """Creates a client; the result has .id and .secret."""
        command = ["client", "create", "--name", next(self.names), "--tier", tier, "--json"]
        if scope:
            command += ["--scope", scope]
        for uri in (audience,) if isinstance(audience, str) else audience:
            command += ["--audience", uri]
        if id is not None:
            command += ["--id", id]
        if ttl is not None:
            command += ["--token-ttl", str(ttl)]
        made = json.loads(self.cli(*command).stdout)
        return types.SimpleNamespace(id=made["client_id"], secret=made["client_secret"])

    def copies(self, client, count):
        """Creates `count` more clients with the tier, scope and secret of this one."""
        self.execute("INSERT INTO clients (client_id, name, tier, scopes) "
                     "SELECT 'copy-' || n, name, tier, scopes "
                     "FROM clients, generate_series(1, %s) n WHERE client_id = %s",
                     (count, client.id))
        self.execute("INSERT INTO client_secrets (client_id, digest) "
                     "SELECT c.client_id, s.digest FROM clients c, client_secrets s "
                     "WHERE c.client_id LIKE 'copy-%%' AND s.client_id = %s", (client.id,))
        return [types.SimpleNamespace(id=f"copy-{n}", secret=client.secret)
                for n in range(1, count + 1)]


class Databases:
    """Creates databases for one use each."""

    def __init__(self, postgres):
        self.postgres = postgres
        self.numbers = itertools.count(1)
        self.template = None

    @contextlib.contextmanager
    def empty(self, template="template0", roles=True, encoding="UTF8"):
        name = f"jotd_test_{next(self.numbers)}"
        server = Database(self.postgres, "postgres")
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING {encoding}")
        database = Database(self.postgres, name)
        try:
            if roles:
                database.make_roles()  # privileges on a database are not copied from a template
            yield database
        finally:
            self.postgres.start()  # in case a test stopped it
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextlib.contextmanager
    def migrated(self):
        if self.template is None:
            server = Database(self.postgres, "postgres")
            server.execute("CREATE DATABASE jotd_template TEMPLATE template0")
            template = Database(self.postgres, "jotd_template")
            template.make_roles()
            template.cli("migrate")
            self.template = "jotd_template"
        with self.empty(self.template) as database:
            yield database
