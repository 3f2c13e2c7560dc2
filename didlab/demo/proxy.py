"""A small HTTP proxy on this machine: to see what goes through one, and how a slow line is.

For demos and notebooks; it passes everything on, for whoever can reach the loopback address.
"""

from __future__ import annotations

import http.server
import socket
import socketserver
import sys
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from didlab.errors import InvalidArgument

__all__ = ["Proxy"]

_PIECE = 16 * 1024
_IDLE = 60  # seconds without a byte after which a connection ends
_OWN = {"connection", "keep-alive", "proxy-authorization", "proxy-connection"}


class Proxy:
    """An HTTP proxy that runs in this process until it is closed.

    Parameters
    ----------
    rate : int, optional
        Bytes a second that all its connections together let through, towards the client. It may
        be set at any time; None is as fast as it gets.

    Attributes
    ----------
    url : str
        As ``proxy=`` takes it.
    seen : list of str
        Whom it was asked for: ``"GET 127.0.0.1:5000"``, ``"CONNECT registry-1.docker.io:443"``.
    passed : int
        Bytes that went through towards the client.
    """

    def __init__(self, rate: int | None = None) -> None:
        if rate is not None and rate < 1:
            raise InvalidArgument(f"rate is at least one byte a second, not {rate}")
        self.rate = rate
        self.seen: list[str] = []
        self.passed = 0
        self._line = threading.Lock()
        self._free = 0.0
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="didlab proxy", daemon=True
        ).start()

    def __repr__(self) -> str:
        return f"<Proxy {self.url}>"

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop, and cut what is open; may be called again."""
        self._server.shutdown()
        self._server.server_close()
        self._server.cut()

    def _pass(self, data: bytes, near: socket.socket) -> None:
        rate = self.rate
        with self._line:
            self.passed += len(data)
            now = time.monotonic()
            wait = self._free - now if rate else 0.0
            self._free = max(self._free, now) + len(data) / rate if rate else now
        if wait > 0:
            time.sleep(wait)
        near.sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    # Windows lets two servers share a port where this is set.
    allow_reuse_address = sys.platform != "win32"
    proxy: Proxy

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a connection that broke is nobody's business

    def cut(self) -> None:
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection: a tunnel, or one request that is passed on."""

    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _IDLE

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        far = self._reach(host.strip("[]"), int(port) if port.isdecimal() else 0)
        if far is not None:
            with far:
                self.send_response_only(200, "Connection established")
                self.end_headers()
                self._relay(far)

    def _forward(self) -> None:
        url = urlsplit(self.path)
        if url.scheme != "http" or not url.hostname:
            self.send_error(400, "a proxy is asked for whole URLs")
            return
        far = self._reach(url.hostname, url.port or 80)
        if far is None:
            return
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        head = [f"{self.command} {path} HTTP/1.1", "Connection: close"]
        head += [
            f"{key}: {value}" for key, value in self.headers.items() if key.lower() not in _OWN
        ]
        with far:
            far.sendall("\r\n".join([*head, "", ""]).encode("latin-1"))
            self._relay(far)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _forward  # noqa: N815

    def _reach(self, host: str, port: int) -> socket.socket | None:
        self.close_connection = True
        self.server.proxy.seen.append(f"{self.command} {host}:{port}")
        try:
            return socket.create_connection((host, port), timeout=_IDLE)
        except (OSError, OverflowError):
            self.send_error(502, "the other side cannot be reached")
            return None

    def _relay(self, far: socket.socket) -> None:
        near = self.connection
        threading.Thread(target=self._upwards, args=(near, far), daemon=True).start()
        with suppress(OSError):
            while data := far.recv(_PIECE):
                self.server.proxy._pass(data, near)
        with suppress(OSError):
            near.shutdown(socket.SHUT_RDWR)

    def _upwards(self, near: socket.socket, far: socket.socket) -> None:
        # What the client sent right behind its head was read along.
        with suppress(OSError, ValueError):
            while data := self.rfile.read1(_PIECE):
                far.sendall(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass
