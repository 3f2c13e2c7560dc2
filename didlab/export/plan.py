"""What a saved file consists of, byte for byte, before anything is downloaded: pure.

The combined archive: an OCI image layout and a docker-archive in one tar, over the same blobs
(OCI image specification, image-layout.md; Docker's ``manifest.json``). Headers have fixed owners,
modes and times, so equal images give equal files.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from didlab.export.content import Content, identity
from didlab.oci import digest as digests
from didlab.oci import media_types
from didlab.oci.descriptor import Descriptor
from didlab.oci.local_name import LocalName
from didlab.oci.platform import Platform
from didlab.oci.reference import Reference, valid_tag

BLOCK = 512
#: The file that makes a folder or tar an image layout (image-layout.md).
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
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
        parts = [str(self.size).encode()]
        parts += [b"%d %s" % (piece.offset, piece.data) for piece in self.pieces]
        parts += [f"{hole.offset} {hole.descriptor.digest}".encode() for hole in self.holes]
        return identity(parts)

    @property
    def parts(self) -> list[Piece | Hole]:
        """Pieces and holes in the order of the file."""
        found: list[Piece | Hole] = [*self.pieces, *self.holes]
        return sorted(found, key=lambda part: part.offset)

    @property
    def to_fetch(self) -> int:
        """Bytes of blobs."""
        return sum(hole.descriptor.size for hole in self.holes)


def archive(contents: Sequence[Content]) -> SavePlan:
    """Plan the combined archive of one or more images."""
    return lay_out(members(contents).items())


def members(contents: Sequence[Content]) -> dict[str, bytes | Descriptor]:
    """Return what the combined archive holds, in order.

    The three documents that readers look for come first, then everything small, then the layers,
    each blob once: a reader of a stream knows what it sees.
    """
    found: dict[str, bytes | Descriptor] = {
        "oci-layout": LAYOUT,
        "index.json": index_json(contents),
        "manifest.json": _docker_manifests(contents),
    }
    for content in contents:
        for document in content.documents:
            found.setdefault(blob_path(document.digest), document.raw)
    for content in contents:
        for blob in content.blobs:
            found.setdefault(blob_path(blob.digest), blob)
    return found


def single_blob(descriptor: Descriptor) -> SavePlan:
    """Plan a file that is one blob and nothing else."""
    return SavePlan(descriptor.size, (), (Hole(0, descriptor),))


def blob_path(digest: str) -> str:
    """Return a blob's path in an image layout."""
    return f"blobs/{digests.algorithm(digest)}/{digests.encoded(digest)}"


def lay_out(members: Iterable[tuple[str, bytes | Descriptor]]) -> SavePlan:
    """Return the tar of these members, each known content or a blob."""
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


def index_json(contents: Sequence[Content], others: Sequence[dict[str, Any]] = ()) -> bytes:
    """Return the ``index.json`` of an image layout; ``others`` are entries to keep before."""
    entries = [*others, *(entry(content) for content in contents)]
    return dump({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": entries})


def entry(content: Content) -> dict[str, Any]:
    """Return the entry of one image in ``index.json``."""
    root, reference = content.root, content.reference
    made: dict[str, Any] = {
        "mediaType": root.media_type,
        "digest": root.digest,
        "size": len(root.raw),
    }
    if reference.tag is not None:
        # containerd (and so Docker's newer store) takes the first name, others the second.
        made["annotations"] = {
            "io.containerd.image.name": _tagged(reference),
            "org.opencontainers.image.ref.name": reference.tag,
        }
    elif isinstance(reference, LocalName) and valid_tag(reference.label):
        # A layout's bare tag stays one; nobody says of which repository.
        made["annotations"] = {"org.opencontainers.image.ref.name": reference.label}
    if len(content.images) == 1 and root.digest == content.images[0].manifest.digest:
        made["platform"] = _platform(content.images[0].platform)
    return made


def _docker_manifests(contents: Sequence[Content]) -> bytes:
    """Return ``manifest.json``: one image for each name, for it knows no platforms."""
    items = []
    for content in contents:
        manifest = content.images[0].manifest
        items.append(
            {
                "Config": blob_path(manifest.config.digest),
                "RepoTags": repo_tags(content),
                "Layers": [blob_path(layer.digest) for layer in manifest.layers],
            }
        )
    return dump(items)


def repo_tags(content: Content) -> list[str]:
    """Return the names under which Docker and podman are to have an image."""
    return [] if content.reference.tag is None else [_familiar(content.reference)]


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


def dump(value: object) -> bytes:
    """Return JSON, the same for the same value."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
