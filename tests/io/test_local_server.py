"""The local server: who is answered, and how little a bad client costs."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from l4gm.errors import InputError
from l4gm.io import local_server
from l4gm.io.local_server import LocalHandler, LocalServer


class Hello(LocalHandler):
    def do_GET(self) -> None:  # noqa: N802
        if self.path == "/bug":
            raise KeyError("bug")
        self.reply(b"x" * 1_000_000, "text/plain")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    monkeypatch.setattr(local_server, "MAX_CLIENTS", 4)
    monkeypatch.setattr(local_server, "HEAD_SECONDS", 1.0)
    with LocalServer("127.0.0.1", 0, Hello) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def status(server: LocalServer, host: str | None, path: str = "/") -> int:
    """Of a request with this Host header, or without one."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    try:
        connection.putrequest("GET", path, skip_host=True)
        if host is not None:
            connection.putheader("Host", host)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "[::1]:80"])
def test_addresses_are_answered(server: LocalServer, host: str) -> None:
    assert status(server, host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", None, "[", "@"]
)
def test_names_that_a_strangers_dns_may_point_here_are_not(
    server: LocalServer, host: str | None
) -> None:
    assert status(server, host) == 421


def test_other_machines_may_use_this_machines_name_if_they_are_let_in() -> None:
    name = socket.gethostname().lower()
    with LocalServer("0.0.0.0", 0, Hello) as made:
        assert name in made.host_names
        assert made.url.startswith("http://127.0.0.1:")
    with LocalServer("127.0.0.1", 0, Hello) as made:
        assert made.host_names == {"localhost"}


def test_answers_say_that_they_are_nobody_elses(server: LocalServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    connection.request("GET", "/")
    headers = connection.getresponse().headers
    connection.close()
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "Python" not in headers["Server"]


def test_slow_clients_are_bounded_in_number_and_time(server: LocalServer) -> None:
    address = server.server_address[:2]
    slow = [socket.create_connection(address, timeout=20) for _ in range(4)]
    for each in slow:
        each.sendall(b"GET / HT")
    time.sleep(0.2)
    with socket.create_connection(address, timeout=20) as fifth:
        assert fifth.recv(1) == b""  # turned away, not left waiting
    deadline = time.monotonic() + 20
    for each in slow:  # a byte now and then does not help
        while time.monotonic() < deadline:
            try:
                each.sendall(b"T")
            except OSError:
                break
            time.sleep(0.05)
        each.close()
    assert time.monotonic() < deadline
    assert status(server, "localhost") == 200


def test_a_client_that_leaves_and_a_bug_leave_no_traceback(
    server: LocalServer, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        with socket.create_connection(server.server_address[:2]) as client:
            # Closing then sends a reset.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0] + [0] * 4))
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with pytest.raises(http.client.RemoteDisconnected):
        status(server, "localhost", "/bug")
    assert status(server, "localhost") == 200
    captured = capfd.readouterr()
    assert "Traceback" not in captured.err + captured.out
    assert [record.getMessage() for record in caplog.records] == [
        "a request failed: KeyError: 'bug'"
    ]


def test_a_port_in_use_is_one_line(server: LocalServer) -> None:
    for host, port in (("127.0.0.1", server.server_address[1]), ("no such host", 0)):
        with pytest.raises(InputError, match="cannot be served on"):
            LocalServer(host, port, Hello)
