"""What is known of an index without asking: for cards."""

from __future__ import annotations

from typing import Any

from didlab.model.snapshot import Snapshot
from didlab.oci import manifest as manifests
from didlab.oci.manifest import ImageIndex, ImageManifest


def platforms(snapshot: Snapshot, chosen: ImageManifest | None) -> list[dict[str, Any]]:
    """Return a dict for each entry of an index that is here already; no request.

    ``platform``, ``kind``, ``digest``; ``size`` (bytes to download, None unless the image's
    manifest is here), ``chosen`` (whether it is that image), ``attested``. Attestations are no
    entries of their own.
    """
    root = snapshot.known_root
    if not isinstance(root, ImageIndex):
        return []
    rows = snapshot.known_entries()
    descriptors = [row.descriptor for row in rows] if rows else list(root.manifests)
    about = {
        descriptor.annotations.get("vnd.docker.reference.digest")
        for descriptor in descriptors
        if manifests.kind(descriptor) == "attestation"
    }
    found = []
    for descriptor in descriptors:
        kind = manifests.kind(descriptor)
        if kind == "attestation":
            continue
        once = snapshot._manifests.get(descriptor.digest)
        child = once.known if once is not None else None
        size = None
        if isinstance(child, ImageManifest):
            blobs = {layer.digest: layer.size for layer in child.layers}
            size = child.config.size + sum(blobs.values())
        found.append(
            {
                "platform": str(descriptor.platform or "unknown"),
                "kind": kind,
                "digest": descriptor.digest,
                "size": size,
                "chosen": chosen is not None and chosen.digest == descriptor.digest,
                "attested": descriptor.digest in about,
            }
        )
    return found
