"""The proxies of deploy/proxies in front of jotd, with the files as shipped except for ports, names
and certificate paths."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import urllib.parse

import pytest

from harness import until
from harness.deployment import DEPLOY, settings
from harness.process import free_port
from harness.proxy import self_signed
from harness.services import Service

PROXIES = DEPLOY / "proxies"
NAME = "auth.example.com"


def changed(text, *changes):
    """Replaces each of the patterns, all of which must occur."""
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text)
        assert count > 0, pattern
    return text


class Front(Service):
    """One of the proxies."""

    def __init__(self, directory, jotds, metrics_port=None):
        super().__init__(directory)
        self.certificate = self_signed(self.directory / "certificate.pem", "127.0.0.1")
        self.path = self.directory / self.source.name
        text = changed((PROXIES / self.source.name).read_text(), *self.changes(), self.backends(jotds))
        if metrics_port and "9100" in text:  # the port in the file
            text = changed(text, (r"#(.*\b)9100\b", rf"\g<1>{metrics_port}"))
        self.path.write_text(text)

    def answers(self):
        return self.ask("GET", "/.well-known/jwks.json").status == 200

    def ask(self, method, path, body=None, **headers):
        """One request by a client at 127.0.0.2; the answer has .body."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=10, context=context, source_address=("127.0.0.2", 0))
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Host": NAME, **headers})
            answer = connection.getresponse()
            answer.body = answer.read()
            return answer


class Nginx(Front):
    source = PROXIES / "nginx.conf"

    def backends(self, jotds):
        return r"server 127\.0\.0\.1:8080;", "".join(f"server {jotd};" for jotd in jotds)

    def changes(self):
        places = "".join(f"{name}_temp_path {self.directory};" for name in (
            "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return [(r"listen 443", f"listen 127.0.0.1:{self.port}"), ("http {", "http { " + places),
                (r"/etc/nginx/\S+\.(crt|key)", str(self.certificate))]

    def command(self):
        return ["nginx", "-p", str(self.directory), "-c", str(self.path), "-e", "stderr", "-g",
                f"daemon off; pid {self.directory}/pid;"]


class Caddy(Front):
    source = PROXIES / "Caddyfile"

    def backends(self, jotds):
        return r"127\.0\.0\.1:8080", " ".join(jotds)

    def changes(self):
        return [(rf"\n{NAME} {{", "\n{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
                 f"https://:{self.port} {{\n\tbind 127.0.0.1\n"
                 f"\ttls {self.certificate} {self.certificate}")]

    def command(self):
        return ["caddy", "run", "--adapter", "caddyfile", "--config", str(self.path)]

    def spawn_options(self):
        return {"env": {**os.environ, "XDG_DATA_HOME": str(self.directory),
                        "XDG_CONFIG_HOME": str(self.directory)}}


class Haproxy(Front):
    source = PROXIES / "haproxy.cfg"

    def backends(self, jotds):
        return (r"server jotd-1 127\.0\.0\.1:8080",
                "\n".join(f"    server jotd-{number} {jotd}" for number, jotd in enumerate(jotds)))

    def changes(self):
        return [("maxconn 20000", "maxconn 100"), (r"bind :443", f"bind 127.0.0.1:{self.port}"),
                (r"/etc/haproxy/\S+\.pem", str(self.certificate))]

    def command(self):
        return ["haproxy", "-db", "-f", str(self.path)]


FRONTS = {front.source.name: front for front in (Nginx, Caddy, Haproxy)}


def test_every_proxy_is_started():
    assert set(FRONTS) == {path.name for path in PROXIES.iterdir()}


@pytest.fixture(params=FRONTS.values(), ids=FRONTS)
def kind(request):
    if shutil.which(request.param.__name__.lower()) is None:
        pytest.skip(f"{request.param.__name__} is not installed")
    return request.param


@contextlib.contextmanager
def running(kind, database, jotds, directory, metrics_port=None):
    """The proxy in front of all of `jotds`, with the first as .jotd, and a .client."""
    front = kind(directory, [jotd.listen for jotd in jotds], metrics_port)
    front.jotd, front.client = jotds[0], database.client(tier="unlimited")
    front.start()
    try:
        yield front
    finally:
        front.stop()


SETTINGS = {"trusted_proxies": "127.0.0.1/32", "issuer": f"https://{NAME}"}


@pytest.fixture
def front(kind, database, jotd, tmp_path):
    with jotd(database, **SETTINGS) as server, running(kind, database, [server], tmp_path) as found:
        yield found


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def token(front, secret=None, **headers):
    body = urllib.parse.urlencode({
        "grant_type": "client_credentials", "client_id": front.client.id,
        "client_secret": secret or front.client.secret})
    return front.ask("POST", "/token", body, **FORM, **headers)


def test_a_token_by_way_of_a_proxy(front):
    answer = token(front)
    assert answer.status == 200, answer.body
    assert answer.getheader("Cache-Control") == "no-store"
    metadata = front.ask("GET", "/.well-known/oauth-authorization-server")
    assert f'"https://{NAME}/token"'.encode() in metadata.body
    assert front.ask("GET", "/ready").status == 200
    assert front.ask("GET", "/metrics").status == 404


def test_a_revocation_by_way_of_a_proxy(front, database):
    """/revocations has its longest answer."""
    database.cli("client", "update", front.client.id, "--introspect", "*")
    database.execute("INSERT INTO revoked_tokens (jti, expires_at) SELECT gen_random_uuid(),"
                     " now() + interval '1 hour' FROM generate_series(1, 2001)")
    basic = f"{front.client.id}:{front.client.secret}".encode()
    headers = {**FORM, "Authorization": f"Basic {base64.b64encode(basic).decode()}"}
    body = f"token={json.loads(token(front).body)['access_token']}"
    assert json.loads(front.ask("POST", "/introspect", body, **headers).body)["active"]
    answer = front.ask("GET", "/revocations", **headers)
    page = json.loads(answer.body)
    assert (answer.status, len(page["revoked"]), page["more"]) == (200, 2000, True)
    answer = front.ask("POST", "/revoke", body, **headers)
    assert (answer.status, answer.body) == (200, b"")
    answer = front.ask("POST", "/introspect", body, **headers)
    assert answer.body == b'{"active":false}'
    assert answer.getheader("Cache-Control") == "no-store"
    page = json.loads(front.ask("GET", f"/revocations?since={page['cursor']}", **headers).body)
    assert (len(page["revoked"]), page["more"]) == (2, False)
    assert front.ask("GET", "/revocations").status == 401


def test_refusals_pass_a_proxy_as_they_are(front):
    answer = token(front, secret="wrong")
    assert answer.status == 401
    assert b'"error":"invalid_client"' in answer.body
    answer = front.ask("POST", "/token", "x" * 20000, **FORM)
    assert answer.status == 413
    assert b"invalid_request" in answer.body
    assert front.ask("GET", "/nothing").status == 404
    answer = front.ask("GET", "/token")
    assert (answer.status, answer.getheader("Allow")) == (405, "POST")


def test_the_address_is_the_clients_and_cannot_be_made_up(front):
    assert token(front, secret="wrong", **{"X-Forwarded-For": "192.0.2.66",
                                           "Forwarded": "for=192.0.2.66"}).status == 401
    front.jotd.wait_log("auth.refused", peer="127.0.0.2")
    assert "192.0.2.66" not in front.jotd.stderr


def ports_of_connections(server):
    """The peer ports of the connections to this server."""
    found = set()
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        if state == "01" and remote.endswith(f":{int(server.listen.rpartition(':')[2]):04X}"):
            found.add(local)
    return found


def test_connections_to_jotd_are_kept(front):
    assert token(front).status == 200
    kept = until(lambda: ports_of_connections(front.jotd))
    for _ in range(10):
        assert token(front).status == 200
    assert kept & ports_of_connections(front.jotd)
    for seconds in re.findall(r"keepalive\w*\s+(\d+)s", front.path.read_text()):
        assert int(seconds) < int(settings()["JOTD_IDLE_TIMEOUT"])


@pytest.mark.parametrize("protocol", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls(front, protocol):
    context = ssl.create_default_context(cafile=str(front.certificate))
    context.minimum_version = context.maximum_version = protocol
    with socket.create_connection(("127.0.0.1", front.port), 10) as connection, \
            context.wrap_socket(connection, server_hostname="127.0.0.1") as tls:
        assert tls.version() == protocol.name.replace("_", ".")


def test_with_an_address_of_their_own_for_metrics(kind, database, jotd, tmp_path):
    port = free_port()
    with jotd(database, metrics_listen=f"127.0.0.1:{port}", **SETTINGS) as server, \
            running(kind, database, [server], tmp_path, port) as front:
        front.jotd.wait_until("/ready")
        assert token(front).status == 200
        assert front.ask("GET", "/ready").status == 404


def test_one_of_two_may_go(kind, database, jotd, tmp_path):
    """No client notices, during its drain or afterwards."""
    with jotd(database, drain_timeout=3, **SETTINGS) as first, \
            jotd(database, drain_timeout=3, **SETTINGS) as second, \
            running(kind, database, [first, second], tmp_path) as front:
        for server in (first, second):
            until(lambda: token(front).status == 200 and server.metric("jotd_tokens_issued_total"))
        second.process.terminate()
        while second.process.poll() is None:
            assert token(front).status == 200
        assert second.wait() == 0
        for _ in range(8):
            assert token(front).status == 200


def test_jotd_may_go_and_come_back(front):
    assert token(front).status == 200
    assert front.jotd.stop() == 0
    assert token(front).status in (502, 503)
    front.jotd.start()
    until(lambda: token(front).status == 200, timeout=20)
