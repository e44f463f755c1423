"""Clients that ask for tokens continuously and keep the jti of every token they receive."""

import base64
import collections
import json
import random
import threading

from .process import until
from .server import receive
from .wire import take_answer


def claims_of(token):
    """The token's claims; the signature is not checked."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


class Load:
    """with Load([server], client) as load: load.progress(100)

    Each thread has one connection to one of the servers and asks for the client, or for any of a
    list of clients; after `per_connection` requests it reconnects. `jtis` are those of answers read
    whole, `statuses` counts the answers, `broken` the connections refused or cut.
    """

    pause = 0  # seconds between an answer and the next request

    def __init__(self, servers, client, threads=4, per_connection=None):
        self.servers = servers
        clients = client if isinstance(client, list) else [client]
        self.per_connection = per_connection
        self.requests = [servers[0].token_request(client) for client in clients]
        self.jtis = set()
        self.statuses = collections.Counter()
        self.broken = 0
        self.failure = None
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        assert self.failure is None, self.failure

    def run(self):
        try:
            while not self.stopping.is_set():
                try:
                    with random.choice(self.servers).connect() as connection:
                        self.ask(connection)
                except OSError:
                    with self.lock:
                        self.broken += 1
                    self.stopping.wait(0.01)
        except Exception as error:  # an invalid answer
            self.failure = error
            raise

    def send(self, connection, request):
        connection.sendall(request)

    def ask(self, connection):
        """Asks until the connection ends."""
        asked = 0
        while not self.stopping.is_set() and asked != self.per_connection:
            asked += 1
            self.send(connection, random.choice(self.requests))
            taken = take_answer(receive(connection, timeout=30, answers=1))
            if taken is None:
                raise ConnectionResetError("cut off before the end of an answer")
            answer = taken[0]
            with self.lock:
                self.statuses[answer.status] += 1
            if answer.status == 200:
                self.take(answer.json())
            self.stopping.wait(self.pause)
            if answer.headers.get("connection") == "close":
                return

    def take(self, body):
        self.keep(body["access_token"])

    def keep(self, token):
        with self.lock:
            self.jtis.add(claims_of(token)["jti"])

    def progress(self, tokens, timeout=60):
        """Returns when `tokens` more tokens have arrived."""
        wanted = len(self.jtis) + tokens
        until(lambda: self.failure or len(self.jtis) >= wanted, timeout)

    def meets(self, status, timeout=60):
        """Returns when one more answer has this status."""
        seen = self.statuses[status]
        until(lambda: self.failure or self.statuses[status] > seen, timeout)
