"""Images with layers that lie elsewhere, and nginx as that elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from rig.images import BuiltImage, dump, make_image
from rig.processes import Service, clean_environ, free_port, listening, require

DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"

#: docker-registry takes such manifests only where it is told which addresses are fine.
VALIDATION = {"manifests": {"urls": {"allow": ["^https?://"]}}}


def publish(
    built: BuiltImage, urls: Sequence[str], position: int = 0, kind: str | None = None
) -> BuiltImage:
    """The image with one layer declared to lie elsewhere; its bytes stay in ``blobs``."""
    document = json.loads(built.manifest)
    docker = "docker" in built.media_type
    row = document["layers"][position]
    row["mediaType"] = kind or (DOCKER_FOREIGN if docker else OCI_FOREIGN)
    row["urls"] = list(urls)
    raw = dump(document)
    return BuiltImage(
        raw, built.media_type, built.config, tuple(document["layers"]), built.blobs, built.platform
    )


def without(built: BuiltImage, position: int = 0) -> BuiltImage:
    """The image as a registry holds it: its foreign layer's bytes are not there."""
    gone = built.layers[position]["digest"]
    kept = {digest: data for digest, data in built.blobs.items() if digest != gone}
    return BuiltImage(
        built.manifest, built.media_type, built.config, built.layers, kept, built.platform
    )


def windows(urls: Sequence[str], docker: bool = True, size: int = 3000) -> BuiltImage:
    """A base that lies elsewhere, and a layer of one's own."""
    import random

    base = random.Random(size).randbytes(size)
    made = make_image(
        [{"base": base, "etc/os-release": b"ID=base\n"}, {"own": b"own"}], docker=docker
    )
    return publish(made, urls)


@dataclass(frozen=True)
class Seen:
    """A request that nginx got, and what it carried."""

    path: str
    range: str
    status: int
    authorization: str
    cookie: str
    client: str


class Publisher:
    """nginx with TLS of an own CA (``ca``) and plain http; files of ``files`` at ``/``.

    ``/moved/…`` redirects there, ``/home/…`` to the address in ``home`` as it was at the start,
    ``/login/…`` wants a login.
    """

    def __init__(self, folder: Path, home: str = "http://127.0.0.1:1") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.files = folder / "files"
        self.files.mkdir()
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        leaf = authority.issue_cert("localhost", "127.0.0.1")
        leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
        client = authority.issue_cert("client")
        self.client_cert = folder / "client.pem"
        client.private_key_and_cert_chain_pem.write_to_path(str(self.client_cert))
        self.port, self.plain_port = free_port(), free_port()
        self.access = folder / "access.log"
        config = folder / "nginx.conf"
        config.write_text(
            _NGINX.format(folder=folder, port=self.port, plain=self.plain_port, home=home)
        )
        program = require("nginx", "nginx-light")
        self.service = Service(
            "publisher",
            [program, "-c", str(config), "-p", str(folder), "-e", str(folder / "nginx.log")],
            folder=folder,
            ready=lambda: listening(self.port) and listening(self.plain_port),
            environ=clean_environ(),
        )
        self.service.start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def plain(self) -> str:
        return f"http://127.0.0.1:{self.plain_port}"

    def serve(self, built: BuiltImage, position: int = 0) -> str:
        """Have a layer; returns its name here."""
        digest = built.layers[position]["digest"]
        (self.files / digest[7:]).write_bytes(built.blobs[digest])
        return str(digest[7:])

    def seen(self, part: str = "") -> list[Seen]:
        """What was asked, as far as the path contains ``part``."""
        rows: list[dict[str, Any]] = [
            json.loads(line) for line in self.access.read_text().splitlines()
        ]
        found = [Seen(**{**row, "status": int(row["status"])}) for row in rows]
        return [one for one in found if part in one.path]

    def stop(self) -> None:
        self.service.stop()


_NGINX = """
daemon off;
user root root;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 512; }}
http {{
  log_format seen escape=json '{{"path":"$uri","range":"$http_range","status":"$status",'
    '"authorization":"$http_authorization","cookie":"$http_cookie","client":"$ssl_client_s_dn"}}';
  access_log {folder}/access.log seen;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    listen 127.0.0.1:{plain};
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.pem;
    ssl_verify_client optional_no_ca;
    add_header Set-Cookie "track=me";
    root {folder}/files;
    location /moved/ {{ rewrite ^/moved(/.*)$ $1 redirect; }}
    location /home/ {{ return 302 {home}/; }}
    location /login/ {{
      add_header WWW-Authenticate 'Bearer realm="https://127.0.0.1:{port}/token"' always;
      return 401;
    }}
  }}
}}
"""
