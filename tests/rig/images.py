"""Images made of Python values, and the few calls that put them anywhere.

>>> image = make_image([{"etc/motd": b"hello"}, {"etc/.wh.motd": b""}], Cmd=["/bin/sh"])
>>> len(image.layers), image.media_type
(2, 'application/vnd.oci.image.manifest.v1+json')
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
CREATED = "2024-02-29T12:00:00Z"

#: A file's content; None for a directory; a TarInfo (its name is replaced) for anything else.
Member = bytes | None | tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]
#: A layer by its members, or a finished uncompressed tar.
LayerSpec = Mapping[str, Member] | bytes


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def dump(value: object) -> bytes:
    """JSON as bytes, the same for the same value."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def symlink(target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo()
    entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
    return entry


def hardlink(target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo()
    entry.type, entry.linkname = tarfile.LNKTYPE, target
    return entry


def make_tar(members: Mapping[str, Member] | Iterable[tuple[str, Member]]) -> bytes:
    """A layer's tar, members in the order given; as pairs, names may come twice."""
    pairs = members.items() if isinstance(members, Mapping) else members
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, member in pairs:
            data = b""
            if isinstance(member, tuple):
                entry, data = member
            elif isinstance(member, tarfile.TarInfo):
                entry = member
            else:
                entry = tarfile.TarInfo()
                entry.mtime = 1709208000
                if member is None:
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                else:
                    data = member
            entry.name = name
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def gzipped(data: bytes, level: int = 6) -> bytes:
    """gzip without name and time: equal input, equal output."""
    deflate = zlib.compressobj(level, zlib.DEFLATED, 31)
    return deflate.compress(data) + deflate.flush()


@dataclass(frozen=True)
class BuiltImage:
    """An image, or anything else that is a manifest with a config and blobs."""

    manifest: bytes
    media_type: str
    config: bytes
    layers: tuple[dict[str, Any], ...]
    blobs: dict[str, bytes] = field(repr=False)
    platform: str = "linux/amd64"

    @property
    def digest(self) -> str:
        return sha256(self.manifest)

    @property
    def image_id(self) -> str:
        """Digest of the config, which is Docker's image ID."""
        return sha256(self.config)

    def descriptor(self, **extra: Any) -> dict[str, Any]:
        found: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": len(self.manifest),
            "platform": platform_json(self.platform),
        }
        return {**found, **extra}


@dataclass(frozen=True)
class BuiltIndex:
    """An index and its children."""

    manifest: bytes
    media_type: str
    children: tuple[BuiltImage | BuiltIndex, ...]

    @property
    def digest(self) -> str:
        return sha256(self.manifest)

    def descriptor(self, **extra: Any) -> dict[str, Any]:
        size = len(self.manifest)
        return {"mediaType": self.media_type, "digest": self.digest, "size": size, **extra}


def platform_json(text: str) -> dict[str, str]:
    names = ("os", "architecture", "variant")
    return dict(zip(names, text.split("/"), strict=False))


def make_image(
    layers: Sequence[LayerSpec],
    platform: str = "linux/amd64",
    docker: bool = False,
    *,
    compress: bool | Callable[[bytes], bytes] = True,
    layer_type: str | None = None,
    history: Sequence[Mapping[str, Any]] | None = None,
    config_json: Mapping[str, Any] | None = None,
    manifest_json: Mapping[str, Any] | None = None,
    **config: Any,
) -> BuiltImage:
    """Build an image; ``config`` are fields of its config section (``Env=[…]``, ``Cmd=[…]``).

    ``config_json`` and ``manifest_json`` replace whole fields of the documents (None removes
    one). ``compress`` is gzip, nothing, or a function of the tar (with its ``layer_type``).
    """
    diff_ids, descriptors, blobs = [], [], {}
    for layer in layers:
        tar = layer if isinstance(layer, bytes) else make_tar(layer)
        blob = compress(tar) if callable(compress) else gzipped(tar) if compress else tar
        kind = layer_type or (DOCKER_LAYER if docker else OCI_LAYER + ("+gzip" if compress else ""))
        if docker and not compress and layer_type is None:
            kind = DOCKER_LAYER.removesuffix(".gzip")
        diff_ids.append(sha256(tar))
        blobs[sha256(blob)] = blob
        descriptors.append({"mediaType": kind, "digest": sha256(blob), "size": len(blob)})
    if history is None:
        history = [
            {"created": CREATED, "created_by": f"rig: layer {number}"}
            for number in range(len(layers))
        ]
    document: dict[str, Any] = {
        "created": CREATED,
        **platform_json(platform),
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": list(history),
        **(config_json or {}),
    }
    raw_config = dump({name: value for name, value in document.items() if value is not None})
    return make_artifact(
        raw_config,
        DOCKER_CONFIG if docker else OCI_CONFIG,
        descriptors,
        blobs,
        media_type=DOCKER_MANIFEST if docker else OCI_MANIFEST,
        platform=platform,
        manifest_json=manifest_json,
    )


def make_artifact(
    config: bytes,
    config_type: str,
    layers: Sequence[Mapping[str, Any]],
    blobs: Mapping[str, bytes],
    *,
    media_type: str = OCI_MANIFEST,
    platform: str = "unknown/unknown",
    manifest_json: Mapping[str, Any] | None = None,
) -> BuiltImage:
    """A manifest over finished layer descriptors."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": config_type, "digest": sha256(config), "size": len(config)},
        "layers": [dict(layer) for layer in layers],
        **(manifest_json or {}),
    }
    raw = dump({name: value for name, value in document.items() if value is not None})
    found = {**blobs, sha256(config): config}
    descriptors = tuple(dict(layer) for layer in layers)
    return BuiltImage(raw, media_type, config, descriptors, found, platform)


def make_attestation(subject: BuiltImage) -> BuiltImage:
    """What buildkit stores beside an image: an in-toto statement dressed as an image."""
    statement = dump(
        {
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": "https://slsa.dev/provenance/v0.2",
            "subject": [{"name": "rig", "digest": {"sha256": subject.digest[7:]}}],
            "predicate": {"builder": {"id": ""}},
        }
    )
    layer = {
        "mediaType": "application/vnd.in-toto+json",
        "digest": sha256(statement),
        "size": len(statement),
        "annotations": {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"},
    }
    config = dump(
        {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [sha256(statement)]},
        }
    )
    return make_artifact(config, OCI_CONFIG, [layer], {sha256(statement): statement})


def attestation_descriptor(attestation: BuiltImage, subject: BuiltImage) -> dict[str, Any]:
    """The row of an index that carries an attestation."""
    return attestation.descriptor(
        annotations={
            "vnd.docker.reference.digest": subject.digest,
            "vnd.docker.reference.type": "attestation-manifest",
        }
    )


def make_index(
    children: Sequence[BuiltImage | BuiltIndex],
    docker: bool = False,
    *,
    descriptors: Sequence[Mapping[str, Any]] | None = None,
    **extra: Any,
) -> BuiltIndex:
    """An index over ``children``; ``descriptors`` replaces the rows, ``extra`` adds fields."""
    media_type = DOCKER_LIST if docker else OCI_INDEX
    rows = [child.descriptor() for child in children] if descriptors is None else descriptors
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [dict(row) for row in rows],
        **extra,
    }
    raw = dump({name: value for name, value in document.items() if value is not None})
    return BuiltIndex(raw, media_type, tuple(children))


def all_blobs(built: BuiltImage | BuiltIndex) -> dict[str, bytes]:
    """Everything below and including ``built``, by digest."""
    found = {built.digest: built.manifest}
    if isinstance(built, BuiltIndex):
        for child in built.children:
            found.update(all_blobs(child))
    else:
        found.update(built.blobs)
    return found


def write_layout(folder: Path, tags: Mapping[str, BuiltImage | BuiltIndex]) -> Path:
    """An OCI layout directory with these tags."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    rows = []
    for tag, built in tags.items():
        for digest, data in all_blobs(built).items():
            (blobs / digest[7:]).write_bytes(data)
        rows.append(built.descriptor(annotations={"org.opencontainers.image.ref.name": tag}))
    (folder / "oci-layout").write_bytes(dump({"imageLayoutVersion": "1.0.0"}))
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": rows}
    (folder / "index.json").write_bytes(dump(index))
    return folder


class Pusher:
    """Uploads to one plain registry over one connection."""

    def __init__(self, host: str) -> None:
        self._connection = http.client.HTTPConnection(host, timeout=60)

    def __enter__(self) -> Pusher:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _ask(
        self, method: str, url: str, body: bytes | IO[bytes] | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["User-Agent"] = "test-rig"
        self._connection.request(method, url, body=body, headers=named)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300 and not (method == "HEAD" and answer.status == 404):
            raise RuntimeError(f"{method} {url}: {answer.status} {text.decode(errors='replace')}")
        return answer

    def blob(self, repository: str, data: bytes | Path, digest: str | None = None) -> str:
        """Upload a blob (a path needs its digest); one that is there is left alone."""
        if isinstance(data, bytes):
            digest = digest or sha256(data)
        assert digest is not None
        if self._ask("HEAD", f"/v2/{repository}/blobs/{digest}").status == 200:
            return digest
        started = self._ask("POST", f"/v2/{repository}/blobs/uploads/", b"")
        parts = urlsplit(started.headers["Location"])
        target = (
            f"{parts.path}?{parts.query}&digest={digest}"
            if parts.query
            else (f"{parts.path}?digest={digest}")
        )
        kind = "application/octet-stream"
        if isinstance(data, bytes):
            self._ask("PUT", target, data, Content_Type=kind)
        else:
            with data.open("rb") as file:
                size = str(data.stat().st_size)
                self._ask("PUT", target, file, Content_Type=kind, Content_Length=size)
        return digest

    def manifest(self, repository: str, reference: str, raw: bytes, media_type: str) -> str:
        """Put a manifest under a tag or its digest."""
        self._ask("PUT", f"/v2/{repository}/manifests/{reference}", raw, Content_Type=media_type)
        return sha256(raw)

    def image(self, repository: str, reference: str | None, built: BuiltImage | BuiltIndex) -> str:
        """Upload everything; without ``reference`` it is known by digest only."""
        if isinstance(built, BuiltIndex):
            for child in built.children:
                self.image(repository, None, child)
        else:
            for digest, data in built.blobs.items():
                self.blob(repository, data, digest)
        return self.manifest(
            repository, reference or built.digest, built.manifest, built.media_type
        )


def put_blob(host: str, repository: str, data: bytes) -> str:
    """Upload one blob; returns its digest."""
    with Pusher(host) as pusher:
        return pusher.blob(repository, data)


def put_manifest(host: str, repository: str, reference: str, raw: bytes, media_type: str) -> str:
    """Upload one manifest; returns its digest."""
    with Pusher(host) as pusher:
        return pusher.manifest(repository, reference, raw, media_type)


def push_image(
    host: str, repository: str, reference: str | None, built: BuiltImage | BuiltIndex
) -> str:
    """Upload an image or index with all it needs; returns its digest."""
    with Pusher(host) as pusher:
        return pusher.image(repository, reference, built)
