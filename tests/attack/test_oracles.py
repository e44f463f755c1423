"""What an outsider must not learn: the metrics tell which ids exist and whose secret was right."""

import pytest

from harness.process import free_port

PROXIED = ["Forwarded: for=192.0.2.1", "forwarded: ", "X-Forwarded-For: 192.0.2.1",
           "X-FORWARDED-PROTO: https", "X-Forwarded-Host: jotd", "Via: 1.1 proxy"]


def status(server, target, headers=(), admin=False):
    head = "".join(f"{line}\r\n" for line in ["Host: jotd", "Connection: close", *headers])
    with server.connect(admin=admin) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\n{head}\r\n".encode())
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize("header", PROXIED)
def test_a_proxy_on_this_host_gets_no_metrics_for_others(shared, header):
    assert status(shared, "/metrics") == 200
    assert status(shared, "/metrics", [header]) == 404
    assert status(shared, "/health", [header]) == 200
    assert status(shared, "/ready", [header]) == 200


@pytest.mark.parametrize("target", [
    "/./metrics", "/a/../metrics", "/%6detrics", "//metrics", "/metrics/", "/metrics/.",
    "/metrics%3f", "http://jotd/metrics", "HTTP://jotd/metrics",
])
def test_the_path_of_the_metrics_is_compared_as_it_was_sent(shared, target):
    assert status(shared, target) == 404


def test_a_query_changes_nothing(shared):
    assert status(shared, "/metrics?x=/../metrics") == 200


def test_a_local_socket_gets_no_metrics(database, jotd, directory):
    with jotd(database, listen=f"unix:{directory}/jotd.sock", issuer="https://id.example") as s:
        assert status(s, "/metrics") == 404
        assert status(s, "/health") == 200


def test_an_address_for_metrics_gives_them_to_all(database, jotd):
    with jotd(database, metrics_listen=f"127.0.0.1:{free_port()}") as s:
        assert status(s, "/metrics", PROXIED, admin=True) == 200
        assert status(s, "/metrics") == 404
