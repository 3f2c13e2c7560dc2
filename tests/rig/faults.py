"""A registry that lies, stalls and breaks off where a rule says so, and logs everything.

::

    with FaultServer() as server:
        server.add_image("lab/app", "1", make_image([{"a": b"a"}]))
        server.rule(lambda request: "/blobs/" in request.path, reset_after(100), times=1)

It writes to raw sockets: a library's server would repair the bad answers. What it can do is
in `rig.actions`, offered here too.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rig.actions import (
    Action,
    Answer,
    Exchange,
    HangUp,
    Match,
    Request,
    change,
    chunked,
    corrupt,
    delay,
    dribble,
    error_body,
    half_close_after,
    hang_up,
    ignore_range,
    raw,
    redirect,
    reset_after,
    respond,
    stall,
    too_many,
    until_close,
    with_headers,
    wrong_range,
)
from rig.honest import HonestRegistry

__all__ = [
    "Action",
    "Answer",
    "Exchange",
    "FaultServer",
    "HangUp",
    "Match",
    "Request",
    "Rule",
    "change",
    "chunked",
    "corrupt",
    "delay",
    "dribble",
    "error_body",
    "half_close_after",
    "hang_up",
    "ignore_range",
    "raw",
    "redirect",
    "reset_after",
    "respond",
    "stall",
    "too_many",
    "until_close",
    "with_headers",
    "wrong_range",
]


#: How TLS begins, which a client on this machine tries when plain HTTP gets no answer.
TLS_HANDSHAKE = b"\x16"


@dataclass
class Rule:
    """``left`` counts down; None is for ever."""

    match: Match
    action: Action
    left: int | None
    hits: int = 0


class FaultServer(HonestRegistry):
    """See the module; ``requests`` has everything that was asked, ``/token`` included."""

    def __init__(
        self, address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__()
        self.requests: list[Request] = []
        self.rules: list[Rule] = []
        self.stopping = threading.Event()
        self.connections = 0
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family, backlog=128)
        self.address, self.port = address, self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def host(self) -> str:
        return (
            f"[{self.address}]:{self.port}"
            if ":" in self.address
            else (f"{self.address}:{self.port}")
        )

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}"

    def rule(self, match: Match, action: Action, times: int | None = None) -> Rule:
        """From now on ``action`` answers what matches, ``times`` times; older rules go first."""
        made = Rule(match, action, times)
        self.rules.append(made)
        return made

    def asked(self, part: str = "", method: str | None = None) -> list[Request]:
        """Requests whose path contains ``part``."""
        return [
            one for one in list(self.requests) if part in one.path and method in (None, one.method)
        ]

    def stop(self) -> None:
        """Close everything; connections that stall are cut."""
        self.stopping.set()
        with contextlib.suppress(OSError):  # wakes accept() on Linux, where close() does not
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True, name="fault-server")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, sock, self.connections)

    def _serve(self, sock: socket.socket, number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(60)
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            with self._lock:
                self._open.add(sock)
            if not self.stopping.is_set():
                with sock.makefile("rb") as stream:
                    while self._one(sock, stream, number):
                        pass
        except (OSError, HangUp, ValueError):
            pass  # a client that left, an action that hung up, a request that is none
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()

    def _one(self, sock: socket.socket, stream: Any, number: int) -> bool:
        if stream.peek(1)[:1] == TLS_HANDSHAKE:
            return False  # a line of it may never end
        line = stream.readline(65536).decode("latin-1").split()
        if not line:
            return False
        method, target, _ = line
        headers = {}
        while (row := stream.readline(65536).decode("latin-1").strip()) != "":
            name, _, value = row.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", "0")))
        request = Request(method, target, headers, body, number)
        with self._lock:
            self.requests.append(request)
            found = next((r for r in self.rules if r.left != 0 and r.match(request)), None)
            if found is not None:
                found.hits += 1
                found.left = None if found.left is None else found.left - 1
        exchange = Exchange(sock, request, self.honest, self.stopping)
        if found is None:
            exchange.finish()
        else:
            found.action(exchange)
        return str(headers.get("connection", "")).lower() != "close"
