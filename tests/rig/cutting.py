"""A TCP proxy that breaks connections: after so many bytes, or by falling silent."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time

from rig.actions import delivered

_PIECE = 64 * 1024
#: Bytes that a connection's socket takes in advance, here and in `narrow`: the system's own choice
#: is megabytes, for a reader that gets little of a busy machine.
BUFFER = 64 * 1024
#: The most that may have been passed on, on one connection, and not be read yet: the system
#: doubles what it is told, at both ends.
ON_THE_WAY = 4 * BUFFER + _PIECE
#: Seconds of a line's rate that it may catch up after it had to wait for its turn.
_CATCH_UP = 0.1


def narrow() -> None:
    """Have this process, a client, read through small sockets from now on."""
    from urllib3.connection import HTTPConnection

    # In place: it is a default value of urllib3's.
    HTTPConnection.default_socket_options.append((socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER))


class CuttingProxy:
    """Passes everything to ``target`` (``host:port``) and does something to what comes back.

    Parameters
    ----------
    target : str
        Whom to pass on to.
    after : int
        Bytes of answers on one connection after which it is reset.
    stall : float
        Seconds of silence in the reset's place, where given.
    rate : float
        Bytes a second for each connection, where given.

    Attributes
    ----------
    gate : int or None
        How many bytes of answers are passed on in all; the rest waits until this is raised. A few
        pieces more may get through.
    """

    def __init__(
        self,
        target: str,
        *,
        after: int | None = None,
        stall: float | None = None,
        rate: float | None = None,
    ) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self.after, self.stall, self.rate = after, stall, rate
        self.gate: int | None = None
        self.cuts = 0
        #: Bytes of answers that were passed on.
        self.passed = 0
        self.connections = 0
        #: The most connections at one time.
        self.most = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> CuttingProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def settle(self) -> None:
        """Wait until every connection has ended, and everything is counted."""
        while self._open:
            time.sleep(0.001)

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(near)
                self.most = max(self.most, sum(not _left(one) for one in self._open))
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            with near, contextlib.suppress(OSError), socket.create_connection(self._target) as far:
                threading.Thread(target=self._upstream, args=(near, far), daemon=True).start()
                self._downstream(near, far)
        finally:
            with self._lock:
                self._open.discard(near)

    @staticmethod
    def _upstream(near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), selectors.DefaultSelector() as selector:
            selector.register(near, selectors.EVENT_READ)
            while near.fileno() >= 0:
                # Never blocked in recv: the kernel would put off the reset until it returns.
                if selector.select(0.02):
                    data = near.recv(_PIECE)
                    if not data:
                        break
                    far.sendall(data)
        with contextlib.suppress(OSError):  # after a reset as well
            far.shutdown(socket.SHUT_WR)

    def _downstream(self, near: socket.socket, far: socket.socket) -> None:
        came = 0
        due = time.monotonic()
        while data := far.recv(_PIECE):
            while self.gate is not None and self.passed >= self.gate:
                if self._ended.wait(0.001):
                    return
            if self.after is not None and came + len(data) > self.after:
                data = data[: self.after - came]
                near.sendall(data)
                self._count(len(data))
                self._cut(near)
                return
            near.sendall(data)
            came += len(data)
            self._count(len(data))
            if self.rate is not None:
                # Never faster: what a busy machine kept back comes late, not in a burst.
                now = time.monotonic()
                due = max(due, now - _CATCH_UP) + len(data) / self.rate
                if due > now:
                    self._ended.wait(due - now)

    def _cut(self, near: socket.socket) -> None:
        with self._lock:
            self.cuts += 1
        if self.stall is not None:
            self._ended.wait(self.stall)
            return
        # A reset drops what the other side has not read yet, so let it read first.
        time.sleep(0.02)
        delivered(near)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        near.close()

    def _count(self, count: int) -> None:
        with self._lock:
            self.passed += count


def _left(near: socket.socket) -> bool:
    """Whether the other side has closed its end, though the thread that serves it still runs."""
    if not hasattr(socket, "MSG_DONTWAIT"):
        return False
    try:
        return near.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
