"""The proxies of deploy/proxies in front of jotd, with the files as they come: only ports, names and the
places of certificates are others."""

import contextlib
import http.client
import os
import re
import shutil
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
    """With each of the patterns found, and replaced."""
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text)
        assert count > 0, pattern
    return text


class Front(Service):
    """One of the proxies."""

    def __init__(self, directory, jotd_listen):
        super().__init__(directory)
        self.certificate = self_signed(self.directory / "certificate.pem", "127.0.0.1")
        self.path = self.directory / self.source.name
        self.path.write_text(changed((PROXIES / self.source.name).read_text(),
                                     (r"127\.0\.0\.1:8080", jotd_listen), *self.changes()))

    def answers(self):
        return self.ask("GET", "/health").status == 200

    def ask(self, method, path, body=None, **headers):
        """An answer to this client, whose address is 127.0.0.2; its .body is read."""
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

    def changes(self):
        return [("maxconn 20000", "maxconn 100"), (r"bind :443", f"bind 127.0.0.1:{self.port}"),
                (r"/etc/haproxy/\S+\.pem", str(self.certificate))]

    def command(self):
        return ["haproxy", "-db", "-f", str(self.path)]


FRONTS = {front.source.name: front for front in (Nginx, Caddy, Haproxy)}


def test_every_proxy_is_started():
    assert set(FRONTS) == {path.name for path in PROXIES.iterdir()}


@pytest.fixture(params=FRONTS.values(), ids=FRONTS)
def front(request, database, jotd, tmp_path):
    """The proxy, in front of .jotd, and a .client."""
    if shutil.which(request.param.__name__.lower()) is None:
        pytest.skip(f"{request.param.__name__} is not installed")
    with jotd(database, trusted_proxies="127.0.0.1/32", issuer=f"https://{NAME}") as server:
        proxy = request.param(tmp_path, server.listen)
        proxy.jotd, proxy.client = server, database.client()
        proxy.start()
        try:
            yield proxy
        finally:
            proxy.stop()


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
    assert "issuer.other_host" not in front.jotd.stderr


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


def test_connections_to_jotd_are_kept(front):
    assert token(front).status == 200
    until(lambda: front.jotd.metric("jotd_http_connections") >= 1)
    lasts = [int(seconds) for seconds in re.findall(r"keep\S*\s+(\d+)s", front.path.read_text())]
    lasts += [int(seconds) for seconds in re.findall(r"purge-delay (\d+)s", front.path.read_text())]
    assert lasts and max(lasts) < int(settings()["JOTD_IDLE_TIMEOUT"])


def test_jotd_may_go_and_come_back(front):
    assert token(front).status == 200
    assert front.jotd.stop() == 0
    assert token(front).status in (502, 503)
    front.jotd.start()
    until(lambda: token(front).status == 200, timeout=20)
