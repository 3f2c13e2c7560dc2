"""Images of the local Docker daemon, over its socket."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import socket
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from didlab import _pausing as pausing
from didlab.blobs.refusals import translated
from didlab.errors import (
    AuthDenied,
    ConnectFailed,
    DidlabError,
    ManifestNotFound,
    ProtocolError,
    ServerError,
    TimedOut,
    Truncated,
    Unsupported,
    printable,
)
from didlab.oci.descriptor import Descriptor
from didlab.oci.reference import Reference
from didlab.sources.local import archive
from didlab.sources.local import view as views
from didlab.sources.local.backing import OpenFile
from didlab.sources.local.members import Members
from didlab.sources.local.source import LocalSource
from didlab.sources.local.view import View

DEFAULT_SOCKET = "/var/run/docker.sock"
#: Seconds without a byte: a daemon writes a large image to its own disk before it sends any.
PATIENCE = 600.0
_PIECE = 1024 * 1024
_ANSWER = 16 * 1024 * 1024


def socket_path(environ: dict[str, str] | os._Environ[str] = os.environ) -> str:
    """Return the daemon's socket, by ``DOCKER_HOST`` or where it usually is.

    Raises
    ------
    Unsupported
        ``DOCKER_HOST`` is no Unix socket.
    """
    host = environ.get("DOCKER_HOST", "")
    if not host:
        return DEFAULT_SOCKET
    scheme, found, path = host.partition("://")
    if scheme != "unix" or not found or not path.startswith("/"):
        raise Unsupported(
            f"DOCKER_HOST is {printable(scheme, 20)}://…: only a Unix socket is talked to",
            hint="docker save NAME -o FILE works with every daemon; then open the file",
        )
    return path


class DaemonSource(LocalSource):
    """One image of the Docker daemon, exported when it is first asked about.

    The export is a ``docker save`` streamed into a temporary file that has no name and goes with
    this object.
    """

    def __init__(self, name: str, path: str | None = None) -> None:
        super().__init__(path or socket_path(), "docker-daemon")
        self._name = name
        self._export: Export | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._name, self._path)

    @property
    def location(self) -> str:
        """Return ``docker-daemon:NAME``, with the socket where it is another than the usual."""
        at = "" if self._path == DEFAULT_SOCKET else f"{printable(self._path, 300)}:"
        return f"docker-daemon:{at}{printable(self._name, 300)}"

    def view(self, *, fresh: bool = False) -> View:
        """Return what the daemon gave; with ``fresh`` again where the name leads elsewhere now."""
        with self._lock:
            daemon = Daemon(self._path)
            if self._export is not None and fresh:
                if daemon.image_id(self._name) == self._export.image_id:
                    fresh = False
                else:
                    self._view = self._export = None
            if self._view is None:
                self._export = daemon.export(self._name)
                self._view = views.of(self._members(), "")
            return self._view

    def _members(self) -> Members:
        assert self._export is not None
        # Not remembered: the file is to go with this object.
        with self._export.open() as file:
            return archive.listed(self._export, file)

    def _chosen(self, seen: View, reference: Reference) -> Descriptor:
        # There is the one that was asked for; by an ID it comes without a name.
        return views.choose(seen, None, self.location)


class Export:
    """A ``docker save`` in a file without a name."""

    def __init__(self, file: IO[bytes], name: str, image_id: str) -> None:
        self._file = file
        self._name = name
        self.image_id = image_id
        weakref.finalize(self, file.close)

    @property
    def name(self) -> str:
        """What was exported."""
        return self._name

    def open(self) -> OpenFile:
        """Open it once more."""
        return OpenFile(os.dup(self._file.fileno()), self._name)


class Daemon:
    """A Docker daemon behind a Unix socket."""

    def __init__(self, path: str) -> None:
        #: Its socket.
        self.path = path

    def image_id(self, name: str) -> str:
        """Return the ID that the daemon has for a name.

        Raises
        ------
        ManifestNotFound
            With names like it that are there.
        """
        with self.asked(f"/images/{quoted(name)}/json", name) as answer:
            found = _parsed(_all(answer))
        image_id = found.get("Id") if isinstance(found, dict) else None
        return image_id if isinstance(image_id, str) else ""

    def export(self, name: str) -> Export:
        """Return an image, streamed into a temporary file.

        Raises
        ------
        ManifestNotFound, ConnectFailed, DiskFull, Truncated
        """
        image_id = self.image_id(name)
        file = tempfile.TemporaryFile(prefix="didlab-")  # noqa: SIM115 - lives with the object
        try:
            with self.asked(f"/images/{quoted(name)}/get", name) as answer:
                while piece := answer.read(_PIECE):
                    pausing.check()
                    with translated(Path(tempfile.gettempdir()) / "didlab"):
                        file.write(piece)
                _check_end(answer)
            with translated(Path(tempfile.gettempdir()) / "didlab"):
                file.flush()
        except BaseException:
            file.close()
            raise
        return Export(file, f"docker-daemon:{name}", image_id)

    def names(self) -> list[str]:
        """Return the names of the daemon's images."""
        with self.asked("/images/json", "") as answer:
            found = _parsed(_all(answer))
        rows = found if isinstance(found, list) else []
        tags = [row.get("RepoTags") or [] for row in rows if isinstance(row, dict)]
        return [tag for some in tags for tag in some if isinstance(tag, str)]

    @contextlib.contextmanager
    def asked(self, path: str, name: str) -> Iterator[http.client.HTTPResponse]:
        """Ask for a path, about an image of that name, and hand its answer on.

        Raises
        ------
        ManifestNotFound, AuthDenied, ConnectFailed, TimedOut, Truncated, ProtocolError, ServerError
        """
        connection = Connection(self.path)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status != 200:
                raise self._refused(answer, name)
            yield answer
        except TimeoutError:
            raise TimedOut(
                f"the Docker daemon at {self.path} sent nothing for {PATIENCE:.0f} s"
            ) from None
        except (http.client.IncompleteRead, ConnectionResetError, BrokenPipeError):
            raise Truncated(f"the Docker daemon at {self.path} broke off") from None
        except http.client.HTTPException as error:
            raise ProtocolError(
                f"what answers at {self.path} is no Docker daemon: {type(error).__name__}"
            ) from None
        finally:
            connection.close()

    def _refused(self, answer: http.client.HTTPResponse, name: str) -> Exception:
        found = _parsed(answer.read(64 * 1024))
        said = found.get("message") if isinstance(found, dict) else None
        why = printable(said or answer.reason, 300)
        if answer.status == 404 and name:
            return self._absent(name)
        if answer.status >= 500:
            return ServerError(f"the Docker daemon failed: {why}", status=answer.status)
        return ProtocolError(f"the Docker daemon refused: {why}", status=answer.status)

    def _absent(self, name: str) -> ManifestNotFound:
        import difflib

        names: list[str] = []
        with contextlib.suppress(DidlabError):
            names = self.names()
        close = tuple(difflib.get_close_matches(name, names, 5, 0.5))
        return ManifestNotFound(
            f"the Docker daemon has no image {printable(name, 200)}",
            available=close,
            reference=name,
            hint=f"there is {', '.join(close)}" if close else "docker images lists what it has",
        )


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        family = getattr(socket, "AF_UNIX", None)
        if family is None:
            raise Unsupported(
                "Python has no Unix sockets on this system",
                hint="docker save NAME -o FILE works; then open the file",
            )
        made = socket.socket(family, socket.SOCK_STREAM)
        made.settimeout(PATIENCE)
        try:
            made.connect(self._path)
        except OSError as error:
            made.close()
            raise _no_connection(self._path, error) from None
        self.sock = made


def _no_connection(path: str, error: OSError) -> ConnectFailed | AuthDenied:
    why = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM):
        return AuthDenied(
            f"the Docker daemon's socket {path} is not yours to use: {why}",
            hint="be root, or a member of the group docker",
        )
    return ConnectFailed(
        f"no Docker daemon at {path}: {why}",
        hint="start it, or name its socket by DOCKER_HOST=unix:///PATH",
    )


def _all(answer: http.client.HTTPResponse) -> bytes:
    raw = answer.read(_ANSWER)
    _check_end(answer)
    return raw


def _check_end(answer: http.client.HTTPResponse) -> None:
    # Reading piece by piece, http.client takes an early end for the end.
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)


def quoted(name: str) -> str:
    """Return an image's name as a part of a path of the daemon's API."""
    return quote(name, safe="/:@")


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None
