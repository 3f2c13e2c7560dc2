"""One archive with two lists: whether manifest.json has the image that index.json has."""

from __future__ import annotations

from didlab.errors import DidlabError, printable
from didlab.oci import digest as digests
from didlab.oci import manifest as manifests
from didlab.oci.config import CONFIG_LIMIT
from didlab.oci.descriptor import Descriptor
from didlab.oci.local_name import CONTAINERD_NAME, same_name
from didlab.oci.manifest import MANIFEST_LIMIT, ImageIndex
from didlab.sources.local import docker
from didlab.sources.local import members as inside
from didlab.sources.local.view import View

#: Images of an index that are looked at.
_CHILDREN = 64


def disagreement(seen: View, found: Descriptor, raw: bytes) -> str | None:
    """Return what is odd where Docker's list has another image under the name, else None.

    ``found`` is what OCI's list has, ``raw`` its manifest or index.
    """
    name = found.annotations.get(CONTAINERD_NAME)
    try:
        listed = seen.members.find("manifest.json") if name is not None else None
        if listed is None or name is None:
            return None
        items = docker.parse(inside.read(seen.members, listed, MANIFEST_LIMIT), seen.members.name)
        for item in items:
            if not any(same_name(tag, name) for tag in item.tags):
                continue
            config = seen.members.find(item.config)
            if config is None:
                return None
            image_id = digests.of(inside.read(seen.members, config, CONFIG_LIMIT))
            if image_id in _configs(seen, found, raw):
                return None
            return (
                f"{seen.members.name} has two images under {printable(name, 200)}: this is the one "
                f"of index.json; manifest.json, by which older Dockers go, has {image_id}"
            )
    except DidlabError as error:
        return f"manifest.json of {seen.members.name} cannot be compared: {error}"
    return None


def _configs(seen: View, found: Descriptor, raw: bytes) -> set[str]:
    """Return the image IDs behind a manifest or index, of those that are here."""
    parsed = manifests.parse(raw, found.media_type)
    if not isinstance(parsed, ImageIndex):
        return {parsed.config.digest}
    ids: set[str] = set()
    for descriptor in parsed.manifests[:_CHILDREN]:
        member = seen.find(descriptor.digest)
        if member is not None and member.size <= MANIFEST_LIMIT:
            child = manifests.parse(
                inside.read(seen.members, member, MANIFEST_LIMIT), descriptor.media_type
            )
            if not isinstance(child, ImageIndex):
                ids.add(child.config.digest)
    return ids
