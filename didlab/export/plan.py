"""What a saved file consists of, byte for byte, before anything is downloaded: pure.

The combined archive: an OCI image layout and a docker-archive in one tar, over the same blobs
(OCI image specification, image-layout.md; Docker's ``manifest.json``). Headers have fixed owners,
modes and times, so equal images give equal files.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from didlab.oci import digest as digests
from didlab.oci import media_types
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import ImageManifest
from didlab.oci.platform import Platform
from didlab.oci.reference import Reference

BLOCK = 512
#: Two zero blocks end a tar (POSIX pax, "ustar Interchange Format").
END = bytes(2 * BLOCK)


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that are known beforehand, at their place in the file."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Hole:
    """A blob that belongs at ``offset``."""

    offset: int
    descriptor: Descriptor

    @property
    def end(self) -> int:
        """Where the blob ends in the file."""
        return self.offset + self.descriptor.size


@dataclass(frozen=True, slots=True)
class SavePlan:
    """A file as pieces and holes, in order; together they fill it."""

    size: int
    pieces: tuple[Piece, ...]
    holes: tuple[Hole, ...]

    def identity(self) -> str:
        """Return sixteen hexadecimal digits that stand for the file's content."""
        hasher = hashlib.sha256(str(self.size).encode())
        for piece in self.pieces:
            hasher.update(f" {piece.offset} ".encode() + piece.data)
        for hole in self.holes:
            hasher.update(f" {hole.offset} {hole.descriptor.digest}".encode())
        return hasher.hexdigest()[:16]

    @property
    def to_fetch(self) -> int:
        """Bytes of blobs."""
        return sum(hole.descriptor.size for hole in self.holes)


def image_archive(
    manifest: ImageManifest, config: bytes, platform: Platform, reference: Reference
) -> SavePlan:
    """Plan the combined archive of one image.

    The three documents that readers look for come first, then manifest and config, then the
    layers: a reader of a stream knows what it sees.
    """
    members: list[tuple[str, bytes | Descriptor]] = [
        ("oci-layout", _json({"imageLayoutVersion": "1.0.0"})),
        ("index.json", _index(manifest, platform, reference)),
        ("manifest.json", _docker_manifest(manifest, reference)),
        (blob_path(manifest.digest), manifest.raw),
        (blob_path(manifest.config.digest), config),
    ]
    taken = {manifest.digest, manifest.config.digest}
    for layer in manifest.layers:
        if layer.digest not in taken:
            taken.add(layer.digest)
            members.append((blob_path(layer.digest), layer))
    return _lay_out(members)


def single_blob(descriptor: Descriptor) -> SavePlan:
    """Plan a file that is one blob and nothing else."""
    return SavePlan(descriptor.size, (), (Hole(0, descriptor),))


def blob_path(digest: str) -> str:
    """Return a blob's path in an image layout."""
    return f"blobs/{digests.algorithm(digest)}/{digests.encoded(digest)}"


def _lay_out(members: Iterable[tuple[str, bytes | Descriptor]]) -> SavePlan:
    pieces: list[Piece] = []
    holes: list[Hole] = []
    offset = 0
    waiting = b""  # known bytes not yet placed: neighbours become one piece, one write
    start = 0
    for name, content in members:
        size = len(content) if isinstance(content, bytes) else content.size
        header = _header(name, size)
        waiting += header
        offset += len(header)
        padding = bytes(-size % BLOCK)
        if isinstance(content, bytes):
            waiting += content + padding
        else:
            pieces.append(Piece(start, waiting))
            holes.append(Hole(offset, content))
            start, waiting = offset + size, padding
        offset += size + len(padding)
    waiting += END
    offset += len(END)
    pieces.append(Piece(start, waiting))
    return SavePlan(offset, tuple(pieces), tuple(holes))


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    # POSIX extended headers only where a name or size needs one.
    return info.tobuf(tarfile.PAX_FORMAT)


def _index(manifest: ImageManifest, platform: Platform, reference: Reference) -> bytes:
    entry: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": len(manifest.raw),
    }
    if reference.tag is not None:
        # containerd (and so Docker's newer store) takes the first name, others the second.
        entry["annotations"] = {
            "io.containerd.image.name": _tagged(reference),
            "org.opencontainers.image.ref.name": reference.tag,
        }
    entry["platform"] = _platform(platform)
    return _json({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [entry]})


def _docker_manifest(manifest: ImageManifest, reference: Reference) -> bytes:
    tags = [] if reference.tag is None else [_familiar(reference)]
    return _json(
        [
            {
                "Config": blob_path(manifest.config.digest),
                "RepoTags": tags,
                "Layers": [blob_path(layer.digest) for layer in manifest.layers],
            }
        ]
    )


def _tagged(reference: Reference) -> str:
    return f"{reference.registry}/{reference.repository}:{reference.tag}"


def _familiar(reference: Reference) -> str:
    # docker load wants the tag spelled out, latest too, and refuses a digest behind it.
    short = Reference.parse(_tagged(reference)).familiar()
    return short if short.endswith(f":{reference.tag}") else f"{short}:{reference.tag}"


def _platform(platform: Platform) -> dict[str, Any]:
    made: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
    if platform.os_version:
        made["os.version"] = platform.os_version
    if platform.variant:
        made["variant"] = platform.variant
    return made


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
