"""The demo registry's HTTP server: loopback only, one thread for each connection."""

from __future__ import annotations

import http.server
import re
import socket
import socketserver
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from didlab.demo.api import Answer, Api, problem
from didlab.demo.content import RepositoryContent
from didlab.demo.images import repositories as demo_repositories
from didlab.demo.tokens import TokenServer
from didlab.errors import InvalidArgument

__all__ = ["DemoServer", "serve_forever"]

_LOOPBACK = "127.0.0.1"
_LONGEST_TARGET = 4096
_IDLE = 120  # seconds that a silent connection is kept
_REMEMBERED = 100_000
_MOST_TAGS = 100_000


class DemoServer:
    """A registry with the demo images on a loopback port; nobody is logged about it.

    Parameters
    ----------
    auth : bool or tuple of str
        Ask for a token; True means user ``demo`` with password ``demo``, a tuple is another
        user name and password.
    port : int
        0 takes a free one.
    tags : int
        So many more tags of ``demo/single``, to have lists of several pages.
    repositories : mapping, optional
        Other content than the demo images.
    """

    username: str | None
    password: str | None

    def __init__(
        self,
        *,
        auth: bool | tuple[str, str] = False,
        port: int = 0,
        tags: int = 0,
        repositories: Mapping[str, RepositoryContent] | None = None,
    ) -> None:
        self.username, self.password = _login(auth)
        self._port = _whole_number("port", port, 65535)
        self._tags = _whole_number("tags", tags, _MOST_TAGS)
        self._repositories = repositories
        self._requests: deque[tuple[str, str, int]] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        state = "serving" if self.running else "stopped"
        return f"<DemoServer {self.host} {state}>"

    def __enter__(self) -> DemoServer:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def host(self) -> str:
        """``127.0.0.1:PORT``, as written in front of a repository's name."""
        return f"{_LOOPBACK}:{self._port}"

    @property
    def running(self) -> bool:
        """Whether it answers now."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def requests(self) -> list[tuple[str, str, int]]:
        """Method, path (with query) and status of the requests so far, in order of answers."""
        with self._lock:
            return list(self._requests)

    def start(self) -> DemoServer:
        """Begin to serve, in a thread of its own; a server starts once."""
        if self._thread is not None:
            raise InvalidArgument("this server was already started", hint="make another one")
        content = dict(demo_repositories() if self._repositories is None else self._repositories)
        if self._tags:
            single = content["demo/single"]
            more = {f"build-{n:05}": single.tags["latest"] for n in range(1, self._tags + 1)}
            content["demo/single"] = replace(single, tags={**single.tags, **more})
        try:
            server = _Server((_LOOPBACK, self._port), self._record)
        except OSError as error:
            raise InvalidArgument(
                f"cannot serve on {self.host}: {error.strerror or error}",
                hint="port=0 takes a free port",
            ) from error
        self._port = server.server_address[1]
        tokens = None
        if self.username is not None and self.password is not None:
            tokens = TokenServer(self.username, self.password)
        server.api = Api(content, self.host, tokens)
        self._thread = threading.Thread(
            target=_serve,
            args=(server, self._stopping),
            name=f"didlab sandbox {self.host}",
            daemon=True,
        )
        self._thread.start()
        return self

    def stop(self, *, wait: bool = True) -> None:
        """Stop serving and cut open connections; may be called again.

        With ``wait=False`` it returns at once, as a finalizer must: that runs in any thread,
        also in one that this would wait for.
        """
        self._stopping.set()
        if wait and self._thread is not None:
            self._thread.join()

    def _record(self, method: str, target: str, status: int) -> None:
        with self._lock:
            self._requests.append((method, target, status))


def serve_forever(
    announce: Callable[[str], object],
    *,
    auth: bool | tuple[str, str] = False,
    port: int = 0,
    tags: int = 0,
) -> None:
    """Serve until the user interrupts (Ctrl+C), then return.

    Parameters
    ----------
    announce : callable
        Called once with ``127.0.0.1:PORT`` when the registry answers there.
    auth, port, tags
        As in `DemoServer`.
    """
    with DemoServer(auth=auth, port=port, tags=tags) as server, suppress(KeyboardInterrupt):
        announce(server.host)
        while server.running:
            time.sleep(0.5)  # on Windows an untimed wait would not see Ctrl+C


def _login(auth: object) -> tuple[str, str] | tuple[None, None]:
    if isinstance(auth, bool):
        return ("demo", "demo") if auth else (None, None)
    if isinstance(auth, tuple) and len(auth) == 2:
        username, password = auth
        if (
            isinstance(username, str)
            and isinstance(password, str)
            and re.fullmatch(r"[^:\x00-\x1f\x7f]+", username)
        ):
            return username, password
    raise InvalidArgument(
        "auth is neither True nor False nor a user name and password",
        hint='write auth=True or auth=("user", "password"); the name has no colon',
    )


def _whole_number(name: str, value: object, most: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
        return value
    raise InvalidArgument(f"{name} is not a whole number from 0 to {most}: {value!r}")


# --- sockets --------------------------------------------------------------------------------


def _serve(server: _Server, stopping: threading.Event) -> None:
    try:
        while not stopping.is_set():
            server.handle_request()  # returns after server.timeout at the latest
    finally:
        server.server_close()
        server.cut_connections()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    timeout = 0.1
    # Windows lets two servers share a port where this is set.
    allow_reuse_address = sys.platform != "win32"
    allow_reuse_port = False

    def __init__(self, address: tuple[str, int], record: Callable[[str, str, int], None]) -> None:
        self.api = Api({}, "")
        self.record = record
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer asks for the machine's name here, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        """Wake the threads that wait for more requests, so that they end."""
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients go away in the middle of answers; only a mistake of ours is worth a traceback.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "didlab-sandbox"
    sys_version = ""
    timeout = _IDLE
    disable_nagle_algorithm = True  # headers and body are two writes

    def _answer(self) -> None:
        if len(self.path) > _LONGEST_TARGET:
            self.close_connection = True
            self._send(problem(414, "UNSUPPORTED", "the path is too long"))
            return
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            key = name.lower()  # clients send Accept several times
            headers[key] = f"{headers[key]},{value}" if key in headers else value
        if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
            self.close_connection = True  # a body that is not read would be the next request
        self._send(self.server.api.answer(self.command, self.path, headers))

    do_GET = do_HEAD = _answer  # noqa: N815 - the names that the base class looks for

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        # Called by the base class: for requests it cannot read, and methods without a do_….
        self.close_connection = True
        self.request_version = self.protocol_version  # "HTTP/0.9" would get no status line
        if code == 501 and self.command:
            self._send(self.server.api.answer(self.command, self.path, {}))
        else:
            self._send(problem(int(code), "UNSUPPORTED", "the request cannot be read"))

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        # Before the answer goes out: who has read it finds it recorded.
        target = getattr(self, "path", "")[:_LONGEST_TARGET]
        self.server.record(self.command or "", target, int(code))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass
