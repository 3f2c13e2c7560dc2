"""What an image consists of, as bytes: layer tars, configs, manifests, repositories.

Every function gives the same bytes for the same arguments, on every machine: fixed times, no
names of users or hosts, a gzip header written here because Python's differs between versions
and systems. (The compressed bytes still depend on the zlib that Python was built with.)
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "DOCKER",
    "OCI",
    "OCI_WITHOUT_MEDIA_TYPE",
    "Flavour",
    "Layer",
    "RepositoryContent",
    "Step",
    "digest_of",
    "directory",
    "file",
    "layer",
    "link",
    "noise",
    "opaque",
    "symlink",
    "whiteout",
]

_MTIME = 1_717_236_000  # 2024-06-01T10:00:00Z

Member = tuple[tarfile.TarInfo, bytes]


def digest_of(data: bytes) -> str:
    """Return the sha256 digest of ``data``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def noise(name: str, size: int) -> bytes:
    """Return ``size`` bytes that do not compress, always the same for one ``name``."""
    return hashlib.shake_256(name.encode()).digest(size)


# --- layers ---------------------------------------------------------------------------------


def _member(path: str, kind: bytes, mode: int, owner: int, data: bytes = b"") -> Member:
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.mtime = kind, mode, _MTIME
    info.uid = info.gid = owner
    info.size = len(data)
    return info, data


def directory(path: str, mode: int = 0o755, owner: int = 0) -> Member:
    """Return a directory's tar entry; ``owner`` is its uid and gid."""
    return _member(path, tarfile.DIRTYPE, mode, owner)


def file(path: str, data: bytes | str, mode: int = 0o644, owner: int = 0) -> Member:
    """Return a regular file's tar entry and content."""
    return _member(
        path, tarfile.REGTYPE, mode, owner, data.encode() if isinstance(data, str) else data
    )


def symlink(path: str, target: str) -> Member:
    """Return a symbolic link's tar entry."""
    info, data = _member(path, tarfile.SYMTYPE, 0o777, 0)
    info.linkname = target
    return info, data


def link(path: str, target: str, mode: int = 0o644) -> Member:
    """Return a hard link's tar entry; ``target`` is a path in the same layer."""
    info, data = _member(path, tarfile.LNKTYPE, mode, 0)
    info.linkname = target
    return info, data


def whiteout(path: str) -> Member:
    """Return the entry that deletes ``path`` of the layers below."""
    folder, _, name = path.rpartition("/")
    return file(f"{folder}/.wh.{name}".lstrip("/"), b"", 0o000)


def opaque(path: str) -> Member:
    """Return the entry that hides what layers below have in the directory ``path``."""
    return file(f"{path}/.wh..wh..opq", b"", 0o000)


@dataclass(frozen=True, slots=True)
class Layer:
    """A compressed layer: its bytes, and the digest of the tar inside."""

    blob: bytes = field(repr=False)
    diff_id: str


def layer(*members: Member) -> Layer:
    """Return the gzip-compressed layer made of ``members``, in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    raw = buffer.getvalue()
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    blob = b"".join(
        [
            b"\x1f\x8b\x08\0\0\0\0\0\0\xff",  # no name, no time, unknown system
            deflate.compress(raw) + deflate.flush(),
            struct.pack("<II", zlib.crc32(raw), len(raw)),
        ]
    )
    return Layer(blob, digest_of(raw))


# --- images ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flavour:
    """The media types of one family, and how its tools write manifests."""

    manifest: str
    index: str
    config: str
    layer: str
    indent: int
    states_media_type: bool = True


DOCKER = Flavour(
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    indent=3,
)
OCI = Flavour(
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    indent=2,
)
#: As umoci and older tools write it: the media type is told by the registry only.
OCI_WITHOUT_MEDIA_TYPE = Flavour(
    OCI.manifest, OCI.index, OCI.config, OCI.layer, indent=0, states_media_type=False
)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of an image's history; without a layer it is an empty one."""

    created_by: str
    layer: Layer | None = None
    comment: str = ""


Descriptor = dict[str, Any]


def _json(document: object, indent: int = 0) -> bytes:
    if indent:
        return json.dumps(document, indent=indent).encode()
    return json.dumps(document, separators=(",", ":")).encode()


@dataclass(slots=True)
class RepositoryContent:
    """One repository as a registry keeps it: tags, manifests and blobs by digest."""

    name: str
    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict, repr=False)
    blobs: dict[str, bytes] = field(default_factory=dict, repr=False)

    def add_blob(self, media_type: str, data: bytes, **more: Any) -> Descriptor:
        """Keep ``data`` and return its descriptor."""
        digest = digest_of(data)
        self.blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data), **more}

    def add_manifest(self, media_type: str, flavour: Flavour, fields: Descriptor) -> Descriptor:
        """Keep the manifest or index with these ``fields`` and return its descriptor."""
        head = {"mediaType": media_type} if flavour.states_media_type else {}
        raw = _json({"schemaVersion": 2, **head, **fields}, flavour.indent)
        digest = digest_of(raw)
        self.manifests[digest] = (media_type, raw)
        return {"mediaType": media_type, "digest": digest, "size": len(raw)}

    def add_image(
        self,
        flavour: Flavour,
        *,
        platform: Mapping[str, str],
        created: str,
        config: Mapping[str, Any],
        steps: Sequence[Step],
        annotations: Mapping[str, str] | None = None,
    ) -> Descriptor:
        """Keep one image and return its descriptor, with the platform in it."""
        layers = [step.layer for step in steps if step.layer]
        history = []
        for step in steps:
            line: dict[str, Any] = {"created": created, "created_by": step.created_by}
            if step.comment:
                line["comment"] = step.comment
            if step.layer is None:
                line["empty_layer"] = True
            history.append(line)
        document = {
            **platform,
            "config": dict(config),
            "created": created,
            "history": history,
            "rootfs": {"type": "layers", "diff_ids": [item.diff_id for item in layers]},
        }
        fields: Descriptor = {
            "config": self.add_blob(flavour.config, _json(document)),
            "layers": [self.add_blob(flavour.layer, item.blob) for item in layers],
        }
        if annotations:
            fields["annotations"] = dict(annotations)
        descriptor = self.add_manifest(flavour.manifest, flavour, fields)
        return {**descriptor, "platform": dict(platform)}

    def add_attestation(self, image: Descriptor, name: str, created: str) -> Descriptor:
        """Keep a provenance attestation of ``image``, in the shape BuildKit gives it."""
        predicate_type = "https://slsa.dev/provenance/v0.2"
        platform = "%2F".join(image["platform"].values())
        statement = _json(
            {
                "_type": "https://in-toto.io/Statement/v0.1",
                "predicateType": predicate_type,
                "subject": [
                    {
                        "name": f"pkg:docker/{name}?platform={platform}",
                        "digest": {"sha256": image["digest"].removeprefix("sha256:")},
                    }
                ],
                "predicate": {
                    "builder": {"id": ""},
                    "buildType": "https://mobyproject.org/buildkit@v1",
                    "materials": [],
                    "invocation": {"configSource": {"entryPoint": "Dockerfile"}},
                    "metadata": {"buildStartedOn": created, "buildFinishedOn": created},
                },
            }
        )
        unknown = {"architecture": "unknown", "os": "unknown"}
        rootfs = {"type": "layers", "diff_ids": [digest_of(statement)]}
        config = _json({**unknown, "config": {}, "rootfs": rootfs})
        descriptor = self.add_manifest(
            OCI.manifest,
            OCI,
            {
                "config": self.add_blob(OCI.config, config),
                "layers": [
                    self.add_blob(
                        "application/vnd.in-toto+json",
                        statement,
                        annotations={"in-toto.io/predicate-type": predicate_type},
                    )
                ],
            },
        )
        return {
            **descriptor,
            "annotations": {
                "vnd.docker.reference.digest": image["digest"],
                "vnd.docker.reference.type": "attestation-manifest",
            },
            "platform": unknown,
        }

    def add_index(self, flavour: Flavour, manifests: Sequence[Descriptor]) -> Descriptor:
        """Keep the index (or manifest list) of these ``manifests``."""
        return self.add_manifest(flavour.index, flavour, {"manifests": list(manifests)})
