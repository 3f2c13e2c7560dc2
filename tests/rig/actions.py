"""What a `rig.faults.FaultServer` can do to an answer.

An action is a function of an `Exchange`. It writes with ``exchange.send`` what it likes, or
has ``exchange.answer`` written, the honest `Answer`, perhaps changed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    """What came: header names in lower case; ``sent`` counts bytes of the answer's body."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    path: str = ""
    query: dict[str, list[str]] = field(default_factory=dict)
    status: int = 0
    sent: int = 0
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        parts = urlsplit(self.target)
        self.path, self.query = parts.path, parse_qs(parts.query, keep_blank_values=True)

    @property
    def range(self) -> str:
        return self.headers.get("range", "")

    @property
    def bearer(self) -> str:
        kind, _, value = self.headers.get("authorization", "").partition(" ")
        return value if kind.lower() == "bearer" else ""

    @property
    def basic(self) -> tuple[str, str] | None:
        kind, _, value = self.headers.get("authorization", "").partition(" ")
        if kind.lower() != "basic":
            return None
        user, _, password = base64.b64decode(value).decode().partition(":")
        return user, password


@dataclass(frozen=True)
class Answer:
    """An answer; its Content-Length follows from the body unless the headers give one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def head(self) -> bytes:
        headers = {"Content-Length": str(len(self.body)), **self.headers}
        lines = [f"HTTP/1.1 {self.status} Told"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class HangUp(Exception):
    """Ends a connection; raised by actions that already closed it, or want it closed."""


class Exchange:
    """One request and the way back."""

    def __init__(
        self,
        sock: socket.socket,
        request: Request,
        honest: Callable[[Request], Answer],
        stopping: threading.Event,
    ) -> None:
        self._sock, self._stopping = sock, stopping
        self.request, self.honest = request, honest
        self.answer = honest(request)

    def send(self, data: bytes, body: bool = True) -> None:
        """Send bytes as they are; they count as body unless told otherwise."""
        # Counted first: whoever has read the last byte may look at the count at once.
        for start in range(0, len(data), 65536):
            piece = data[start : start + 65536]
            self.request.sent += len(piece) * body
            try:
                self._sock.sendall(piece)
            except OSError:
                self.request.sent -= len(piece) * body
                raise

    def head(self) -> None:
        """Send the answer's status line and headers."""
        self.request.status = self.answer.status
        self.send(self.answer.head(), body=False)

    def finish(self) -> None:
        """Send the whole answer; a HEAD gets no body."""
        self.head()
        if self.request.method != "HEAD":
            self.send(self.answer.body)

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than the server lives."""
        if self._stopping.wait(seconds):
            raise HangUp

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        delivered(self._sock)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        raise HangUp

    def half_close(self) -> None:
        """Say that nothing more comes (FIN), then wait for the other side to leave."""
        self._sock.shutdown(socket.SHUT_WR)
        self._sock.settimeout(5)
        with contextlib.suppress(OSError):
            while self._sock.recv(65536):
                pass
        raise HangUp


def delivered(sock: socket.socket) -> None:
    """Wait until the other side's system has all that was sent: a reset drops what it has not."""
    if sys.platform != "linux":
        return
    import fcntl
    import termios

    with contextlib.suppress(OSError):
        while struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]:
            time.sleep(0.002)


LINGER_ZERO = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
Action = Callable[[Exchange], None]
Match = Callable[[Request], bool]


def raw(data: bytes) -> Action:
    """Exactly these bytes, then the end of the connection."""

    def act(exchange: Exchange) -> None:
        exchange.send(data)
        exchange.half_close()

    return act


def change(function: Callable[[Answer, Request], Answer]) -> Action:
    """The honest answer, changed by ``function(answer, request)``."""

    def act(exchange: Exchange) -> None:
        exchange.answer = function(exchange.answer, exchange.request)
        exchange.finish()

    return act


def respond(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Action:
    """This answer."""
    return change(lambda _, __: Answer(status, headers or {}, body))


def with_headers(**headers: str) -> Action:
    """The honest answer with other headers (``Content_Type=…``; "" removes one)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def edit(answer: Answer, _: Request) -> Answer:
        lower = {name.lower() for name in named}
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in lower}
        return replace(answer, headers={**kept, **named})

    return change(edit)


def _after(count: int, what: Callable[[Exchange], None]) -> Action:
    def act(exchange: Exchange) -> None:
        exchange.head()
        exchange.send(exchange.answer.body[:count])
        what(exchange)
        exchange.send(exchange.answer.body[count:])

    return act


def reset_after(count: int) -> Action:
    """``count`` bytes of the body, then a TCP reset."""

    def what(exchange: Exchange) -> None:
        exchange.wait(0.05)  # a reset overtakes data: let the other side read them first
        exchange.reset()

    return _after(count, what)


def half_close_after(count: int) -> Action:
    """``count`` bytes of the body, then a clean end that comes too early."""
    return _after(count, Exchange.half_close)


def stall(seconds: float, after: int = 0) -> Action:
    """Silence after ``after`` bytes of the body, then the rest."""
    return _after(after, lambda exchange: exchange.wait(seconds))


def delay(seconds: float) -> Action:
    """Silence before the status line."""

    def act(exchange: Exchange) -> None:
        exchange.wait(seconds)
        exchange.finish()

    return act


def dribble(size: int = 1, pause: float = 0.01) -> Action:
    """The body in pieces of ``size`` bytes."""

    def act(exchange: Exchange) -> None:
        exchange.head()
        for start in range(0, len(exchange.answer.body), size):
            exchange.send(exchange.answer.body[start : start + size])
            exchange.wait(pause)

    return act


def until_close(exchange: Exchange) -> None:
    """The body without its length: it ends with the connection."""
    headers = {**exchange.answer.headers, "Content-Length": "", "Connection": "close"}
    exchange.answer = replace(exchange.answer, headers=headers)
    exchange.finish()
    exchange.half_close()


def chunked(size: int = 1000, end: bool = True) -> Action:
    """The body in chunks of transfer coding; without ``end`` the last chunk never comes."""

    def act(exchange: Exchange) -> None:
        body = exchange.answer.body
        headers = {**exchange.answer.headers, "Content-Length": "", "Transfer-Encoding": "chunked"}
        exchange.answer = replace(exchange.answer, headers=headers)
        exchange.head()
        for start in range(0, len(body), size):
            piece = body[start : start + size]
            exchange.send(b"%x\r\n" % len(piece), body=False)
            exchange.send(piece)
            exchange.send(b"\r\n", body=False)
        if not end:
            exchange.half_close()
        exchange.send(b"0\r\n\r\n", body=False)

    return act


def hang_up(exchange: Exchange) -> None:
    """Close without an answer."""
    raise HangUp


def ignore_range(exchange: Exchange) -> None:
    """Answer 200 and everything, whatever range was asked for."""
    exchange.request.headers.pop("range", None)
    exchange.answer = exchange.honest(exchange.request)
    exchange.finish()


def wrong_range(value: str) -> Action:
    """The right bytes with another Content-Range ("" leaves it out)."""
    return with_headers(Content_Range=value)


def corrupt(offset: int = 0) -> Action:
    """One byte of the body is another one."""

    def edit(answer: Answer, _: Request) -> Answer:
        body = bytearray(answer.body)
        body[offset] ^= 0xFF
        return replace(answer, body=bytes(body))

    return change(edit)


def redirect(url: str, status: int = 307, **headers: str) -> Action:
    """Send the client to ``url``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return respond(status, {"Location": url, **named})


def too_many(retry_after: str = "1", **headers: str) -> Action:
    """429 as Docker Hub says it ("" leaves Retry-After out)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = error_body("TOOMANYREQUESTS", "You have reached your pull rate limit.")
    return respond(
        429, {"Retry-After": retry_after, "Content-Type": "application/json", **named}, body
    )


def error_body(code: str, message: str = "told so", **detail: Any) -> bytes:
    """The registry API's way to say what is wrong."""
    return json.dumps({"errors": [{"code": code, "message": message, "detail": detail}]}).encode()
