"""What ``docker save`` writes: images by ``manifest.json``, layers as plain or packed tars.

Such an archive has no manifests. A Docker schema 2 manifest is made of what is there, byte for
byte as containerd makes it when it loads one; the config's bytes are untouched.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from didlab import errors
from didlab.errors import BlobNotFound, ManifestInvalid, NotFound, printable
from didlab.oci import config as configs
from didlab.oci import digest as digests
from didlab.oci import media_types, strict_json
from didlab.oci.config import CONFIG_LIMIT
from didlab.oci.descriptor import Descriptor
from didlab.oci.fields import Members as Fields
from didlab.oci.local_name import CONTAINERD_NAME, reference_of
from didlab.oci.manifest import MANIFEST_LIMIT
from didlab.sources.local import members as inside
from didlab.sources.local.members import Member, Members
from didlab.sources.local.view import Listed, with_annotation

_BLOB = re.compile(r"(?:.*/)?blobs/(sha256|sha512)/([0-9a-f]+)")
_ZSTD = b"\x28\xb5\x2f\xfd"
#: Other formats that docker load unpacks; reading such a layer says what it is.
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")


@dataclass(frozen=True, slots=True)
class Item:
    """One image in ``manifest.json``."""

    config: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]


class DockerView:
    """The images of ``manifest.json``; their manifests are made when they are asked for."""

    format = "docker-archive"

    def __init__(self, members: Members, manifest: Member) -> None:
        self.members = members
        self._items = parse(inside.read(members, manifest, MANIFEST_LIMIT), members.name)
        #: Once: whoever asks for each image by its position would make it as often.
        self._listed = tuple(
            Listed(position, item.tags, partial(self._described, position), position)
            for position, item in enumerate(self._items)
        )
        self._lock = threading.RLock()
        self._made: dict[int, Descriptor] = {}
        self._documents: dict[str, bytes] = {}
        self._blobs: dict[str, Member] = {}
        self._hashed: dict[int | str, str] = {}

    def listed(self) -> Sequence[Listed]:
        """Return the items."""
        return self._listed

    def _described(self, position: int, name: str | None) -> Descriptor:
        found = self._manifest(position)
        if name is not None and reference_of(name) is not None:
            return with_annotation(found, CONTAINERD_NAME, name)
        return found

    def document(self, digest: str) -> bytes | None:
        """Return a manifest that was made."""
        self._make_until(digest)
        return self._documents.get(digest)

    def find(self, digest: str) -> Member | None:
        """Return the file of a config or layer."""
        self._make_until(digest)
        return self._blobs.get(digest)

    def _make_until(self, digest: str) -> None:
        """Make manifests until one is, or names, what has this digest."""
        for position in range(len(self._items)):
            if digest in self._documents or digest in self._blobs:
                return
            try:
                self._manifest(position)
            except (errors.MalformedContent, errors.IntegrityError, NotFound):
                continue  # another image of the archive may be whole

    # --- manifests ---------------------------------------------------------------------------

    def _manifest(self, position: int) -> Descriptor:
        with self._lock:
            known = self._made.get(position)
            if known is None:
                known = self._made[position] = self._make(self._items[position])
            return known

    def _make(self, item: Item) -> Descriptor:
        member = self._member(item.config, "config")
        raw = inside.read(self.members, member, CONFIG_LIMIT)
        config = configs.parse(raw)
        configs.check_layer_count(config, len(item.layers))
        blobs = {digests.of(raw): member}
        layers = []
        for name, diff_id in zip(item.layers, config.diff_ids, strict=True):
            layer = self._member(name, "layer")
            media_type, digest = self._layer(layer, diff_id)
            blobs[digest] = layer
            layers.append(_descriptor(media_type, digest, layer.size))
        document = {
            "schemaVersion": 2,
            "mediaType": media_types.DOCKER_MANIFEST,
            "config": _descriptor(media_types.DOCKER_CONFIG, digests.of(raw), len(raw)),
            "layers": layers,
        }
        made = json.dumps(document, separators=(",", ":")).encode()
        digest = digests.of(made)
        self._documents[digest] = made
        self._blobs.update(blobs)
        return Descriptor(media_types.DOCKER_MANIFEST, digest, len(made))

    def _member(self, name: str, what: str) -> Member:
        found = self.members.find(name)
        if found is None:
            raise BlobNotFound(
                f"{self.members.name} does not hold the {what} {printable(name, 200)}",
                hint="a thin or partial archive: what is missing has to be added first",
            )
        return found

    def _layer(self, member: Member, diff_id: str) -> tuple[str, str]:
        """Return what a layer is, and its digest: told, or for packed ones computed once."""
        first = b"".join(self.members.pieces(member, 0, min(6, member.size)))
        if first.startswith(_ZSTD):
            media_type = media_types.DOCKER_LAYER_ZSTD
        elif first.startswith(_PACKED):
            media_type = media_types.DOCKER_LAYER
        else:
            # Whoever reads it verifies it against this.
            return media_types.DOCKER_LAYER_TAR, diff_id
        named = _BLOB.fullmatch(member.name)
        claimed = f"{named[1]}:{named[2]}" if named else ""
        if digests.is_digest(claimed):
            return media_type, claimed
        if member.key not in self._hashed:
            hasher = hashlib.sha256(usedforsecurity=False)
            for piece in self.members.pieces(member, 0, member.size):
                hasher.update(piece)
            self._hashed[member.key] = f"sha256:{hasher.hexdigest()}"
        return media_type, self._hashed[member.key]


def parse(raw: bytes, where: str) -> tuple[Item, ...]:
    """Read ``manifest.json``.

    Raises
    ------
    ManifestInvalid
    """
    found = strict_json.loads(
        raw, limit=MANIFEST_LIMIT, error=ManifestInvalid, what=f"manifest.json of {where}"
    )
    if not isinstance(found, list):
        raise ManifestInvalid(f"manifest.json of {where} is no list of images")
    items = []
    for position, value in enumerate(found):
        fields = Fields(value, f"manifest.json[{position}]", ManifestInvalid)
        config = fields.text("Config")
        if not config:
            fields.refuse_member("Config", "is missing")
        items.append(Item(config, fields.texts("RepoTags"), fields.texts("Layers")))
    return tuple(items)


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": size}
