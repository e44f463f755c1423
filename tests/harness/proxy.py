"""A proxy between jotd and PostgreSQL or Redis that fails at the worst moment.

Traps catch only the ledger's connections, which name themselves in their first message. Delay,
freeze and cut apply to all connections.
"""

import contextlib
import datetime
import ipaddress
import select
import socket
import ssl
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Link:
    """One connection: jotd is at the near socket, the server at the far one."""

    def __init__(self, near, far, is_ledger):
        self.near, self.far = near, far
        self.is_ledger = is_ledger
        self.mute = False
        self.released = threading.Event()

    def end(self):
        for end in self.near, self.far:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.released.set()


class Proxy:
    """with Proxy(postgres) as proxy: jotd(proxy.url(database))"""

    def __init__(self, server):
        self.server = server
        self.delay = 0  # seconds, before every answer
        self.rewrite = lambda answer: answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.trap = None
        self.links = []
        self.caught = threading.Event()
        self.asked = threading.Event()  # while frozen, by a connection other than the ledger's
        self.flowing = threading.Event()
        self.flowing.set()

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
        self.thaw()

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def url(self, database):
        url = database.url.replace(str(self.server.port), str(self.port))
        return f"{url}?sslmode=disable&gssencmode=disable"

    # What a test calls

    def withhold_commit(self):
        """The next COMMIT reaches PostgreSQL, but its answer is held back."""
        self.caught.clear()
        self.trap = "commit"

    def freeze_copy(self):
        """The next COPY stops in the middle of its rows, with the connection open."""
        self.caught.clear()
        self.trap = "copy"

    def wait(self, timeout=20):
        """Returns when the trap has caught something."""
        assert self.caught.wait(timeout), f"no {self.trap} came"

    def release(self):
        """Releases what was caught."""
        for link in self.links:
            link.mute = False
            link.released.set()

    def cut(self):
        """Closes every connection."""
        for link in self.links:
            link.end()
        self.links = []

    def freeze(self):
        """Nothing passes and nothing closes; new connections are accepted but not served."""
        self.asked.clear()
        self.flowing.clear()

    def thaw(self):
        """Delivers what was held up; traffic flows again."""
        self.flowing.set()

    # How it works

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.connect, args=(near,), daemon=True).start()

    def connect(self, near):
        with near:
            try:
                start = near.recv(1 << 16)
                self.flowing.wait()
                far = socket.create_connection(("127.0.0.1", self.server.port))
            except OSError:
                return
            with far:
                link = Link(near, far, b"jotd-ledger" in start)
                self.links.append(link)
                answers = threading.Thread(target=self.relay, args=(link, self.answers))
                answers.start()
                far.sendall(start)
                self.relay(link, self.questions)
                answers.join()

    @staticmethod
    def relay(link, direction):
        try:
            direction(link)
        except OSError:
            pass
        link.end()

    def questions(self, link):
        while data := link.near.recv(1 << 20):
            if link.is_ledger and self.trap == "copy" and data.startswith(b"d"):
                link.far.sendall(data[: len(data) // 2])
                data = data[len(data) // 2 :]
                self.catch(link)
            elif link.is_ledger and self.trap == "commit" and b"COMMIT\0" in data:
                link.mute = True
            if not link.is_ledger and not self.flowing.is_set():
                self.asked.set()
            self.flowing.wait()
            link.far.sendall(data)

    def answers(self, link):
        while data := link.far.recv(1 << 16):
            if link.mute:
                self.catch(link)
            self.flowing.wait()
            time.sleep(self.delay)
            link.near.sendall(self.rewrite(data))

    def catch(self, link):
        self.trap = None
        self.caught.set()
        link.released.wait()


def self_signed(path, address="192.0.2.1"):
    """Writes a key and its certificate for this address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = datetime.datetime.utcnow()
    certificate = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now,
        now + datetime.timedelta(days=1),
    ).add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False
    ).sign(key, hashes.SHA256())
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                          serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM))
    return path


class TlsProxy(Proxy):
    """Speaks TLS to jotd but not to the server, and ends each answer with a record of the maximum
    size."""

    RECORD = 16384

    def __init__(self, server, certificate):
        super().__init__(server)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate)

    def url(self, database):
        return super().url(database).replace("sslmode=disable", "sslmode=require")

    def connect(self, near):
        with near, contextlib.suppress(OSError):
            near.recv(8)  # SSLRequest
            near.sendall(b"S")
            with self.tls.wrap_socket(near, server_side=True) as near, \
                    socket.create_connection(("127.0.0.1", self.server.port)) as far:
                self.relay_all(near, far)

    def relay_all(self, near, far):
        answer = b""
        while True:
            ready = [near] if near.pending() else select.select([near, far], [], [], 0.05)[0]
            for end in ready:
                data = end.recv(1 << 16)
                if not data:
                    return
                if end is near:
                    far.sendall(data)
                else:
                    answer += data
            if not ready and answer:
                for part in filter(None, (answer[: -self.RECORD], answer[-self.RECORD :])):
                    near.sendall(part)
                answer = b""
