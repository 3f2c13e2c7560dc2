"""How long an answer may take to come: for its head, and for a body that only trickles.

A timeout of the socket starts anew with every byte, so a server that sends one now and then holds
a connection for ever. Here a head has one deadline, interim answers included, and a body a least
rate. Only the time spent waiting counts: whoever takes a rest between two reads is not to blame.
"""

from __future__ import annotations

import http.client
import io
import time
from typing import Any

#: A body that brings less than this rate (bytes a second), over this many seconds, is given up.
LEAST_RATE = 1024
LEAST_RATE_OVER = 60.0
#: Interim answers (1xx) before the real one; each is read and forgotten.
MOST_INTERIM = 10


class Reader(io.RawIOBase):
    """Reads from a socket as `socket.makefile` does, and loses patience."""

    def __init__(self, raw: Any, sock: Any) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        timeout = sock.gettimeout()
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._in_head = timeout is not None
        self._waited = 0.0
        self._came = 0

    def readable(self) -> bool:
        """Say that it is."""
        return True

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return int(self._raw.fileno())

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()

    def head_is_here(self) -> None:
        """From now on the body's rate counts, no deadline."""
        self._in_head = False

    def readinto(self, buffer: Any) -> int:
        """Read what is there, waiting for the first byte.

        Raises
        ------
        TimeoutError
            The deadline of the head, or the least rate of the body, was missed.
        """
        if self._in_head:
            return self._read_head(buffer)
        began = time.monotonic()
        count = int(self._raw.readinto(buffer) or 0)
        self._waited += time.monotonic() - began
        self._came += count
        if self._waited >= LEAST_RATE_OVER:
            if count and self._came < LEAST_RATE * self._waited:
                raise TimeoutError(f"less than {LEAST_RATE} bytes a second")
            self._waited, self._came = 0.0, 0
        return count

    def _read_head(self, buffer: Any) -> int:
        assert self._deadline is not None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the head of the answer takes too long")
        timeout = self._sock.gettimeout()
        self._sock.settimeout(left)
        try:
            return int(self._raw.readinto(buffer) or 0)
        finally:
            self._sock.settimeout(timeout)


class Response(http.client.HTTPResponse):
    """An answer read by a `Reader`; interim ones, 103 among them, are read over."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        # The socket's timeout is that for reading by now, and so what the head may take.
        self._patience = Reader(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._patience)

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        self._patience.head_is_here()

    def _read_status(self) -> tuple[str, int, str]:
        # http.client itself takes any number of 100, and 103 for the answer.
        for _ in range(MOST_INTERIM + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == http.client.SWITCHING_PROTOCOLS:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.BadStatusLine(f"more than {MOST_INTERIM} interim answers")


def patient(connection: type[Any]) -> type[Any]:
    """Return a class of connections whose answers are read with bounded patience."""
    return type(connection.__name__, (connection,), {"response_class": Response})
