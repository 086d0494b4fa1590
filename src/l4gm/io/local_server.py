"""A small HTTP server for one person, on their own machine: bounded, quiet, and deaf to others.

Other pages in the same browser can send requests to any address of this machine. What keeps them
out: only names that no stranger's DNS can point here are answered (the Host header), and nothing is
changed by a request without a header that other pages cannot send.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from l4gm.errors import InputError

MAX_CLIENTS = 32
IDLE_SECONDS = 20.0  # without a byte from the other side
HEAD_SECONDS = 20.0  # until all of a request's head is there

_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

logger = logging.getLogger(__name__)


class LocalServer(ThreadingHTTPServer):
    """Serves a handler; at most `MAX_CLIENTS` at a time, each within its time.

    Args:
        host: address to serve on.
        port: 0 takes a free one.
        handler: a subclass of `LocalHandler`.

    Raises:
        InputError: the address or the port cannot be used.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_CLIENTS

    def __init__(self, host: str, port: int, handler: type[LocalHandler]) -> None:
        self._free = threading.BoundedSemaphore(MAX_CLIENTS)
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), handler)
        except (OSError, OverflowError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"{host}, port {port}: cannot be served on ({reason}); leave out --port to take "
                "a free one"
            ) from error
        self.host_names = _host_names(host)

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        host, port = self.server_address[:2]
        name = str(host)
        if ipaddress.ip_address(name).is_unspecified:
            name = "127.0.0.1"
        return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for a client, or turn it away."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves or stalls is no news; anything else is one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError | ValueError):  # ValueError: of a closed file
            logger.error("a request failed: %s: %s", type(error).__name__, error)


class LocalHandler(BaseHTTPRequestHandler):
    """Answers of one server; subclasses add `do_GET` and `do_POST`."""

    server: LocalServer  # type: ignore[assignment]
    server_version, sys_version = "l4gm", ""
    timeout = IDLE_SECONDS  # type: ignore[assignment]

    def setup(self) -> None:
        super().setup()
        # A byte now and then keeps a socket awake; this bounds the head as a whole.
        self._deadline = threading.Timer(HEAD_SECONDS, self._hang_up)
        self._deadline.daemon = True
        self._deadline.start()

    def finish(self) -> None:
        self._deadline.cancel()
        super().finish()

    def parse_request(self) -> bool:
        """As inherited, and whether the request is meant for this server."""
        if not super().parse_request():
            return False
        self._deadline.cancel()
        host = _host_of(self.headers.get("Host", ""))
        if host not in self.server.host_names and not _is_ip(host):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "not a name of this server")
            return False
        return True

    def reply(
        self,
        content: bytes,
        kind: str,
        *,
        status: HTTPStatus = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a whole answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def end_headers(self) -> None:
        for name, value in _SECURITY_HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: requests are no news."""

    def _hang_up(self) -> None:
        with suppress(OSError):  # it has left already
            self.connection.shutdown(socket.SHUT_RDWR)


def _host_of(header: str) -> str:
    """The name in a Host header, in lower case; empty where it is none."""
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_ip(host: str) -> bool:
    """Whether a host is an address: nobody's DNS can make it mean another one."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _host_names(host: str) -> frozenset[str]:
    """The names that a server on this address answers to, besides addresses."""
    names = {"localhost"}
    if not (host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)):
        machine = socket.gethostname().lower()
        names |= {host.lower(), machine, f"{machine}.local"}
    return frozenset(names)
