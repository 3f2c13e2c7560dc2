"""Registries to push to: one in memory that keeps what came of a broken upload, and real ones."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from pathlib import Path
from typing import Any

from rig.actions import LINGER_ZERO, Action, Answer, Match, Request
from rig.faults import FaultServer, Rule
from rig.images import sha256
from rig.registries import Registry, htpasswd_file, start_registry, start_token_registry
from rig.tokens import TokenServer

_UPLOADS = re.compile(r"/v2/(.+)/blobs/uploads/([0-9]+)?")
_PUT = re.compile(r"/v2/(.+)/manifests/([^/]+)")


class PushServer(FaultServer):
    """A registry that takes pushes, to the letter of the distribution specification.

    Attributes
    ----------
    uploads : dict of int to bytearray
        What came of the uploads under way.
    where : str
        What stands before the path of an upload's Location: "" for a relative one.
    deleted : list of int
        Uploads that were called off.
    mounts : bool
        Whether it mounts what it has in another repository.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.uploads: dict[int, bytearray] = {}
        self.where = ""
        self.deleted: list[int] = []
        self.mounts = True
        #: Which repository has which blob.
        self.linked: set[tuple[str, str]] = set()
        self._begun = 0
        self._ruled: set[int] = set()

    def rule(self, match: Match, action: Action, times: int | None = None) -> Rule:
        """As of any server; what a rule answers to changes nothing here."""

        def marked(request: Request) -> bool:
            ruled = match(request)
            if ruled:
                self._ruled.add(id(request))
            return ruled

        return super().rule(marked, action, times)

    def honest(self, request: Request) -> Answer:
        if id(request) in self._ruled and request.method not in ("GET", "HEAD"):
            return Answer(500)
        found = _UPLOADS.fullmatch(request.path)
        put = _PUT.fullmatch(request.path) if request.method == "PUT" else None
        head = re.fullmatch(r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})", request.path)
        if head is not None and request.method == "HEAD" and not self._refused(request):
            if (head[1], head[2]) not in self.linked:
                return self._error(404, "BLOB_UNKNOWN")
            return Answer(200, {"Content-Length": str(len(self.blobs[head[2]]))})
        if found is None and put is None:
            return super().honest(request)
        if self._refused(request):
            return self._challenge(request)
        if put is not None:
            return self._manifest(request, *put.groups())
        assert found is not None
        return self._upload(request, found[1], int(found[2]) if found[2] else None)

    def _refused(self, request: Request) -> bool:
        return bool(self.auth) and not self._authorized(request)

    def _upload(self, request: Request, repository: str, number: int | None) -> Answer:
        if request.method == "POST":
            return self._begin(request, repository)
        came = self.uploads.get(number or 0)
        if number is None or came is None:
            return self._error(404, "BLOB_UPLOAD_UNKNOWN")
        if request.method == "DELETE":
            del self.uploads[number]
            self.deleted.append(number)
            return Answer(204)
        if request.method == "PATCH":
            start = request.headers.get("content-range", f"{len(came)}-").partition("-")[0]
            if int(start) != len(came):
                return Answer(416, self._where(repository, number))
            came += request.body
        if request.method == "PUT":
            came += request.body
            digest = request.query["digest"][0]
            del self.uploads[number]
            if sha256(bytes(came)) != digest:
                return self._error(400, "DIGEST_INVALID")
            self.blobs[digest] = bytes(came)
            self.linked.add((repository, digest))
            return Answer(201, {"Location": f"/v2/{repository}/blobs/{digest}"})
        return Answer(204 if request.method == "GET" else 202, self._where(repository, number))

    def _begin(self, request: Request, repository: str) -> Answer:
        wanted = request.query.get("mount", [""])[0], request.query.get("from", [""])[0]
        if self.mounts and wanted[::-1] in self.linked:
            self.linked.add((repository, wanted[0]))
            return Answer(201, {"Location": f"/v2/{repository}/blobs/{wanted[0]}"})
        self._begun += 1
        self.uploads[self._begun] = bytearray()
        return Answer(202, self._where(repository, self._begun))

    def _where(self, repository: str, number: int) -> dict[str, str]:
        last = max(0, len(self.uploads[number]) - 1)
        path = f"{self.where}/v2/{repository}/blobs/uploads/{number}?state={last}"
        return {"Location": path, "Range": f"0-{last}"}

    def _manifest(self, request: Request, repository: str, name: str) -> Answer:
        digest = sha256(request.body)
        self.blobs[digest] = request.body
        self.types[digest] = request.headers["content-type"]
        self.tags.setdefault(repository, {})[name] = digest
        return Answer(201, {"Docker-Content-Digest": digest})


class UploadCutter:
    """Passes everything on to ``target``, and resets a connection that sends too much.

    Parameters
    ----------
    target : str
        ``host:port``.
    after : int
        Bytes of requests on one connection after which it breaks.
    times : int
        How many connections break so.
    """

    def __init__(self, target: str, *, after: int, times: int) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._after, self.left = after, times
        #: Bytes of requests that were passed on.
        self.passed = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> UploadCutter:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError), socket.create_connection(self._target) as far:
            over = threading.Event()
            back = threading.Thread(target=self._back, args=(far, near, over), daemon=True)
            back.start()
            sent = 0
            while data := near.recv(65536):
                far.sendall(data)
                sent += len(data)
                with self._lock:
                    self.passed += len(data)
                    cut = sent >= self._after and self.left > 0
                    self.left -= cut
                if cut:
                    # What came so far is to arrive, and to be read, before anybody asks how much.
                    over.set()
                    far.shutdown(socket.SHUT_WR)
                    back.join(60)
                    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
                    return

    @staticmethod
    def _back(far: socket.socket, near: socket.socket, over: threading.Event) -> None:
        with contextlib.suppress(OSError, ValueError):
            while data := far.recv(65536):
                if not over.is_set():
                    near.sendall(data)


def token_registry(folder: Path) -> Registry:
    """A docker-registry with storage of its own, where alice may push (``.tokens``)."""
    registry = start_token_registry(folder)
    tokens: TokenServer = registry.tokens

    def grant(user: str, scopes: list[str]) -> list[dict[str, Any]]:
        granted = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            own = actions.split(",") if user == "alice" and not name.startswith("secret/") else []
            granted.append({"type": kind, "name": name, "actions": own})
        return granted

    tokens.grant = grant  # type: ignore[method-assign]
    return registry


def basic_registry(folder: Path) -> Registry:
    """A docker-registry behind Basic auth, with storage of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    auth = {"htpasswd": {"realm": "rig", "path": str(htpasswd_file(folder / "users"))}}
    return start_registry(folder, "basic", auth=auth)
