"""An OCI image layout, in a folder or a tar (OCI image specification, image-layout.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from didlab import errors
from didlab.errors import Unsupported, printable
from didlab.oci import digest as digests
from didlab.oci import manifest as manifests
from didlab.oci import media_types, strict_json
from didlab.oci.descriptor import Descriptor
from didlab.oci.local_name import CONTAINERD_NAME, REF_NAME
from didlab.oci.manifest import MANIFEST_LIMIT, ImageIndex
from didlab.sources.local import members as inside
from didlab.sources.local.members import Member, Members
from didlab.sources.local.view import Listed

_LAYOUT_LIMIT = 4096


class OciView:
    """The images of a layout's index, and its blobs by digest."""

    format = "oci"

    def __init__(self, members: Members, index: Member, layout: Member | None) -> None:
        self.members = members
        if layout is not None:
            self._check(layout)
        raw = inside.read(members, index, MANIFEST_LIMIT)
        document = manifests.parse(raw, media_types.OCI_INDEX)
        if not isinstance(document, ImageIndex):
            raise errors.ManifestInvalid(f"index.json of {members.name} is no index")
        self._listed = tuple(
            Listed(
                position,
                _names(descriptor)[:1],
                partial(_plain, descriptor),
                descriptor.digest,
                manifests.kind(descriptor) in ("image", "index"),
                _names(descriptor)[1:],
            )
            for position, descriptor in enumerate(document.manifests)
        )

    def _check(self, layout: Member) -> None:
        raw = inside.read(self.members, layout, _LAYOUT_LIMIT)
        found = strict_json.loads(
            raw, limit=_LAYOUT_LIMIT, error=errors.ManifestInvalid, what="oci-layout"
        )
        version = found.get("imageLayoutVersion") if isinstance(found, dict) else None
        if version != "1.0.0":
            raise Unsupported(
                f"{self.members.name} is an image layout of the version "
                f"{printable(version, 40)}, only 1.0.0 is known"
            )

    def listed(self) -> Sequence[Listed]:
        """Return the index's entries."""
        return self._listed

    def document(self, digest: str) -> bytes | None:
        """Return None: everything is a file."""
        return None

    def find(self, digest: str) -> Member | None:
        """Return the file of a blob."""
        return self.members.find(f"blobs/{digests.algorithm(digest)}/{digests.encoded(digest)}")


def _plain(descriptor: Descriptor, _: str | None) -> Descriptor:
    # What the layout holds is looked at, never what the index carries along.
    return replace(descriptor, data=None)


def _names(descriptor: Descriptor) -> tuple[str, ...]:
    """Return the full name, and the tag beside it; or what there is of them."""
    found = (descriptor.annotations.get(key) for key in (CONTAINERD_NAME, REF_NAME))
    return tuple(dict.fromkeys(name for name in found if name))
