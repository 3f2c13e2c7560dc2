"""A TCP proxy that breaks connections: after so many bytes, or by falling silent."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time

_PIECE = 64 * 1024


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
        self.cuts = 0
        #: Bytes of answers that were passed on.
        self.passed = 0
        self.connections = 0
        #: The most connections at one time.
        self.most = 0
        self._open = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> CuttingProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with self._lock:
            self.connections += 1
            self._open += 1
            self.most = max(self.most, self._open)
        try:
            with near, contextlib.suppress(OSError), socket.create_connection(self._target) as far:
                threading.Thread(target=self._upstream, args=(near, far), daemon=True).start()
                self._downstream(near, far)
        finally:
            with self._lock:
                self._open -= 1

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
            far.shutdown(socket.SHUT_WR)

    def _downstream(self, near: socket.socket, far: socket.socket) -> None:
        came = 0
        began = time.monotonic()
        while data := far.recv(_PIECE):
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
                ahead = came / self.rate - (time.monotonic() - began)
                if ahead > 0:
                    self._ended.wait(ahead)

    def _cut(self, near: socket.socket) -> None:
        with self._lock:
            self.cuts += 1
        if self.stall is not None:
            self._ended.wait(self.stall)
            return
        # A reset drops what the other side has not read yet, so let it read first.
        time.sleep(0.02)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        near.close()

    def _count(self, count: int) -> None:
        with self._lock:
            self.passed += count
