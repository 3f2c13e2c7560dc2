"""The local Docker daemon as a place to load into: what it has, and handing it a tar."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from didlab.errors import NotFound, ProtocolError, ServerError, Truncated, WriteFailed, printable
from didlab.export.stream import Write
from didlab.sources.local import daemon
from didlab.sources.local.daemon import Daemon

T = TypeVar("T")

_LIMIT = 16 * 1024 * 1024
_PIECE = 256 * 1024


class Docker(Daemon):
    """A Docker daemon that images are loaded into.

    ``path`` is its socket: by ``DOCKER_HOST``, or where it usually is.
    """

    def __init__(self, path: str | None = None) -> None:
        super().__init__(path or daemon.socket_path())

    def version(self) -> tuple[str, tuple[int, int]]:
        """Return the daemon's version, as it says it and as numbers."""
        said = str(self._json("/version").get("Version") or "")
        match = re.match(r"v?([0-9]{1,4})\.([0-9]{1,4})", said, re.ASCII)
        numbers = (int(match[1]), int(match[2])) if match else (0, 0)
        return printable(said, 40) or "unknown", numbers

    def is_classic(self) -> bool:
        """Whether images lie in Docker's own store, not in containerd's."""
        status = self._json("/info").get("DriverStatus") or []
        return not any("io.containerd.snapshotter" in str(row) for row in status)

    def chains(self) -> set[tuple[str, ...]]:
        """Return the diff_ids of every image that the daemon has, base first."""
        with self.asked("/images/json", "") as answer:
            rows = _parsed(answer.read(_LIMIT))
        found: set[tuple[str, ...]] = set()
        for row in rows if isinstance(rows, list) else []:
            image_id = row.get("Id") if isinstance(row, dict) else None
            if not isinstance(image_id, str):
                continue
            with contextlib.suppress(NotFound):  # removed meanwhile
                rootfs = self._json(f"/images/{daemon.quoted(image_id)}/json").get("RootFS")
                layers = rootfs.get("Layers") if isinstance(rootfs, dict) else None
                found.add(tuple(layers if isinstance(layers, list) else ()))
        return found

    def _json(self, path: str) -> dict[str, Any]:
        with self.asked(path, path) as answer:
            found = _parsed(answer.read(_LIMIT))
        return found if isinstance(found, dict) else {}

    def load(self, fill: Callable[[Write], T]) -> tuple[T, tuple[str, ...]]:
        """Hand over a tar that ``fill`` writes; return what it returned and the daemon's words.

        Raises
        ------
        ServerError
            The daemon did not take it, and why.
        ConnectFailed, AuthDenied, Truncated
        """
        connection = daemon.Connection(self.path)
        try:
            connection.putrequest("POST", "/images/load?quiet=1")
            connection.putheader("Content-Type", "application/x-tar")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            chunks = _Chunks(connection)
            try:
                made = fill(chunks.write)
                chunks.end()
            except _Closed:
                # It does not want the rest, and has said why.
                self._said(connection)
                raise Truncated(f"the Docker daemon at {self.path} broke off") from None
            return made, self._said(connection)
        finally:
            # Without the last chunk the daemon knows that the tar is cut off.
            connection.close()

    def _said(self, connection: http.client.HTTPConnection) -> tuple[str, ...]:
        try:
            answer = connection.getresponse()
            raw = answer.read(_LIMIT)
        except (http.client.HTTPException, OSError):
            raise Truncated(f"the Docker daemon at {self.path} broke off") from None
        if answer.status != 200:
            raise self._not_loaded(_parsed(raw).get("message") or answer.reason, answer.status)
        messages = []
        for line in raw.splitlines():
            said = _parsed(line)
            if said.get("error"):
                raise self._not_loaded(said["error"], answer.status)
            text = str(said.get("stream") or "").strip()
            if text:
                messages.append(printable(text, 500))
        return tuple(messages)

    def _not_loaded(self, why: object, status: int) -> Exception:
        kind = ProtocolError if 400 <= status < 500 else ServerError
        return kind(
            f"the Docker daemon did not load it: {printable(str(why).strip(), 500)}", status=status
        )


class _Closed(Exception):
    """The other side takes no more."""


class _Chunks:
    """A request's body in chunks."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            self._send(b"%x\r\n%b\r\n" % (len(piece), piece))

    def end(self) -> None:
        self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        try:
            self._connection.send(data)
        except (BrokenPipeError, ConnectionResetError):
            raise _Closed from None
        except OSError as error:
            raise WriteFailed(
                f"the Docker daemon took no more: {error.strerror or error}"
            ) from None


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return {}
