"""Debian's docker-registry in the ways that didlab meets it, as fixtures."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rig.processes import Service, clean_environ, free_port, listening, require, run
from rig.tokens import PASSWORD, USER, TokenServer

# Apache's combined format, which docker-registry and nginx share.
_ACCESS = re.compile(
    r'^\S+ \S+ (?P<user>\S+) \[[^\]]*\] "(?P<method>\S+) (?P<target>\S+) [^"]*"'
    r' (?P<status>\d+) (?P<sent>\d+|-) "[^"]*" "(?P<agent>[^"]*)"'
)
RIG_AGENT = "test-rig"


@dataclass(frozen=True)
class AccessEntry:
    """One line of an access log; ``sent`` counts bytes of the body."""

    method: str
    path: str
    query: str
    status: int
    sent: int
    agent: str


class Registry:
    """A registry that is one service; ``stop()`` and ``start()`` keep the port."""

    scheme = "http"
    user, password = USER, PASSWORD
    tokens: TokenServer
    ca: Path

    def __init__(self, name: str, argv: list[str], port: int, folder: Path, access: Path) -> None:
        self.port = port
        self.access = access
        self.service = Service(
            name,
            argv,
            folder=folder,
            ready=lambda: listening(port),
            environ=clean_environ("REGISTRY_", "OTEL_"),
        )
        self.storage = folder / "storage"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    def start(self) -> None:
        self.service.start()

    def stop(self) -> None:
        self.service.stop()

    def requests(self, since: int = 0) -> list[AccessEntry]:
        """All requests so far, the rig's own left out; ``since`` comes from `mark`."""
        # A line is written after the answer; a request of our own flushes those before it.
        if self.service.running:
            self._flush()
        text = self.access.read_bytes()[since:].decode(errors="replace")
        entries = []
        for line in text.splitlines():
            found = _ACCESS.match(line)
            if found is None or found["agent"] == RIG_AGENT:
                continue
            path, _, query = found["target"].partition("?")
            sent = int(found["sent"].replace("-", "0"))
            entries.append(
                AccessEntry(
                    found["method"], path, query, int(found["status"]), sent, found["agent"]
                )
            )
        return entries

    def mark(self) -> int:
        """A place in the log, for ``requests(since=…)``."""
        if self.service.running:
            self._flush()
        return self.access.stat().st_size

    @contextlib.contextmanager
    def record(self) -> Iterator[list[AccessEntry]]:
        """``with registry.record() as seen:`` fills ``seen`` when the block ends."""
        seen: list[AccessEntry] = []
        start = self.mark()
        yield seen
        seen.extend(self.requests(start))

    def _flush(self) -> None:
        # Each request is served by a thread of its own: on a busy machine ours may overtake one
        # whose answer is out and whose line is not. So several, and nothing new between them.
        quiet = 0
        while quiet < 3:
            size = self.access.stat().st_size
            self._mark_once()
            lines = self.access.read_bytes()[size:].splitlines()
            quiet = quiet + 1 if all(RIG_AGENT.encode() in line for line in lines) else 0

    def _mark_once(self) -> None:
        marker = f"/v2/?marker={uuid.uuid4().hex}"
        connection = self._connect()
        try:
            connection.request("GET", marker, headers={"User-Agent": RIG_AGENT})
            connection.getresponse().read()
        finally:
            connection.close()
        for _ in range(500):
            with self.access.open("rb") as log:
                log.seek(max(0, self.access.stat().st_size - 65536))
                if marker.encode() in log.read():
                    return
            time.sleep(0.01)
        raise RuntimeError(f"{self.service.name} does not write its log\n{self.service.log()}")

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def blob_path(self, digest: str) -> Path:
        """The file that holds a blob or manifest, to be damaged by a test."""
        algorithm, _, encoded = digest.partition(":")
        root = self.storage / "docker/registry/v2/blobs"
        return root / algorithm / encoded[:2] / encoded / "data"


def start_registry(
    folder: Path, name: str = "registry", *, storage: Path | None = None, **config: Any
) -> Registry:
    """Start a docker-registry; ``config`` adds sections (auth, proxy …) to its file.

    With ``storage`` it serves the content of another one, read-only.
    """
    program = require("docker-registry", "docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    place = storage or folder / "storage"
    settings: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": str(place), "maxthreads": 100},
            "delete": {"enabled": True},
            "maintenance": {
                "uploadpurging": {"enabled": False},
                "readonly": {"enabled": storage is not None},
            },
        },
        "http": {"addr": f"127.0.0.1:{port}", "secret": "not a secret"},
        # So that schema 1 can be pushed, to be converted.
        "compatibility": {"schema1": {"enabled": True}},
        **config,
    }
    path = folder / f"{name}.yml"
    path.write_text(json.dumps(settings))  # JSON is YAML
    argv = [program, "serve", str(path)]
    registry = Registry(name, argv, port, folder, folder / f"{name}.out")
    registry.storage = place
    registry.start()
    return registry


class TlsRegistry(Registry):
    """nginx with a certificate of an own CA (``.ca``) in front of a registry."""

    scheme = "https"

    def __init__(self, folder: Path, behind: Registry) -> None:
        import trustme

        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        self.authority = authority
        leaf = authority.issue_cert("localhost", "127.0.0.1", "::1")
        leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
        port = free_port()
        config = folder / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, port=port, upstream=behind.host))
        program = require("nginx", "nginx-light")
        argv = [program, "-c", str(config), "-p", str(folder), "-e", str(folder / "nginx.log")]
        access = folder / "access.log"
        super().__init__("nginx", argv, port, folder, access)
        self.storage = behind.storage
        self.start()

    def _connect(self) -> http.client.HTTPConnection:
        import ssl

        context = ssl.create_default_context(cafile=str(self.ca))
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=context)


_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 512; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 0;
  server {{
    listen 127.0.0.1:{port} ssl;
    server_name localhost 127.0.0.1;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.pem;
    location / {{
      proxy_pass http://{upstream};
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Proto https;
    }}
  }}
}}
"""


def htpasswd_file(path: Path, user: str = USER, password: str = PASSWORD) -> Path:
    """A password file; docker-registry takes bcrypt only."""
    program = require("htpasswd", "apache2-utils")
    path.write_text(run(program, "-niBC", "4", user, text=password))
    return path


def start_token_registry(folder: Path, storage: Path | None = None) -> Registry:
    """A registry with bearer tokens; its token server is ``.tokens``."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = TokenServer(folder)
    auth = {
        "realm": tokens.url,
        "service": tokens.service,
        "issuer": tokens.issuer,
        "rootcertbundle": str(tokens.root_certificates),
    }
    try:
        registry = start_registry(folder, "token", storage=storage, auth={"token": auth})
    except BaseException:
        tokens.stop()
        raise
    registry.tokens = tokens
    return registry


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Plain, writable, without content of its own (ask for ``lab`` to have images)."""
    server = start_registry(tmp_path_factory.mktemp("plain"), "plain")
    yield server
    server.stop()


@pytest.fixture
def own_registry(tmp_path: Path) -> Iterator[Registry]:
    """An empty plain registry for one test, to be filled, damaged and stopped at will."""
    server = start_registry(tmp_path / "own", "own")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def registry_htpasswd(
    lab: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    """The lab's images behind Basic auth (``.user``, ``.password``)."""
    folder = tmp_path_factory.mktemp("htpasswd")
    auth = {"htpasswd": {"realm": "rig", "path": str(htpasswd_file(folder / "users"))}}
    server = start_registry(folder, "htpasswd", storage=lab.storage, auth=auth)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _token_registry(lab: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    server = start_token_registry(tmp_path_factory.mktemp("token"), lab.storage)
    yield server
    server.stop()
    server.tokens.stop()


@pytest.fixture
def registry_token(_token_registry: Registry) -> Registry:
    """The lab's images behind bearer tokens; ``.tokens`` starts each test with defaults."""
    _token_registry.tokens.reset()
    return _token_registry


@pytest.fixture(scope="session")
def registry_tls(lab: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRegistry]:
    """The lab's images over TLS; ``.ca`` is the authority's file."""
    server = TlsRegistry(tmp_path_factory.mktemp("tls"), lab)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def registry_mirror(lab: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A pull-through mirror of the lab, with storage of its own."""
    proxy = {"remoteurl": lab.url}
    server = start_registry(tmp_path_factory.mktemp("mirror"), "mirror", proxy=proxy)
    yield server
    server.stop()
