"""Tars that leave out what the other side has, and say so: pure.

Docker's classic store does not open a layer that it has at the same place of the same chain, so it
loads a `manifest.json` whose lower layers are not in the tar. What is missing is listed in a
member of its own, from which `didlab.complete` makes the tar whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from didlab.errors import InvalidArgument, MalformedContent
from didlab.export.content import Content, Image
from didlab.oci import config as configs
from didlab.oci import strict_json
from didlab.oci.digest import is_digest

#: What is missing, as a member of the tar.
MEMBER = "didlab-needs.json"
#: The most bytes that it may have.
LIMIT = 4 * 1024 * 1024
_DOCUMENTS = frozenset({"oci-layout", "index.json", "manifest.json", "repositories"})
_CONFIG = re.compile(r"([0-9a-f]{64}|[0-9a-f]{128})\.json", re.ASCII)
_LAYER = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]+)|([0-9a-f]{64})/layer\.tar", re.ASCII)


@dataclass(frozen=True, slots=True)
class Missing:
    """A layer that is not in the tar; ``size`` is None where nobody knows it yet."""

    path: str
    digest: str
    diff_id: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Needs:
    """What a thin tar needs.

    Attributes
    ----------
    images : tuple of str
        The references inside.
    since : str
        What the other side was said to have.
    layers : tuple of Missing
        In the order of the whole tar.
    """

    images: tuple[str, ...]
    since: str
    layers: tuple[Missing, ...]

    def dump(self, documents: Sequence[str], order: Sequence[str]) -> bytes:
        """Return the member; the paths are those of the whole tar: what is small, then layers."""
        value = {
            "didlabNeeds": 1,
            "images": list(self.images),
            "since": self.since,
            "layers": [
                {"path": one.path, "digest": one.digest, "diffId": one.diff_id, "size": one.size}
                for one in self.layers
            ],
            "documents": list(documents),
            "order": list(order),
        }
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Whole:
    """What a whole tar consists of, in order: paths of what is small, then those of layers."""

    documents: tuple[str, ...]
    layers: tuple[str, ...]


def parse(raw: bytes) -> tuple[Needs, Whole]:
    """Read the member; return what is needed, and what it is to become.

    Raises
    ------
    MalformedContent
    """
    value = strict_json.loads(raw, limit=LIMIT, error=MalformedContent, what=MEMBER)
    try:
        return _read(value)
    except (TypeError, LookupError, ValueError, AttributeError) as error:
        if isinstance(error, MalformedContent):
            raise
        raise MalformedContent(f"{MEMBER} is not what didlab writes", where=MEMBER) from None


def _read(value: Any) -> tuple[Needs, Whole]:
    if value["didlabNeeds"] != 1:
        raise MalformedContent(
            f"{MEMBER} is of another version", where=MEMBER, hint="a newer didlab may read it"
        )
    layers = []
    for entry in value["layers"]:
        missing = Missing(entry["path"], entry["digest"], entry["diffId"], entry["size"])
        size = missing.size
        sized = size is None or (type(size) is int and 0 <= size < 2**62)
        if not (is_digest(missing.diff_id) and sized):
            raise ValueError
        if digest_of(missing.path) != missing.digest:
            raise ValueError
        layers.append(missing)
    documents, order = tuple(value["documents"]), tuple(value["order"])
    if len({*documents, *order}) != len(documents) + len(order):
        raise ValueError
    if any(digest_of(path) is None for path in order) or not all(map(_is_document, documents)):
        raise ValueError
    if not {layer.path for layer in layers} <= set(order):
        raise ValueError
    images = tuple(map(str, value["images"]))
    return Needs(images, str(value["since"]), tuple(layers)), Whole(documents, order)


def _is_document(path: str) -> bool:
    return (
        path in _DOCUMENTS
        or _CONFIG.fullmatch(path) is not None
        or (path.startswith("blobs/") and digest_of(path) is not None)
    )


def digest_of(path: str) -> str | None:
    """Return the digest that a layer's path in a tar stands for; None for other paths.

    >>> digest_of("0" * 64 + "/layer.tar") == "sha256:" + "0" * 64, digest_of("etc/passwd")
    (True, None)
    """
    match = _LAYER.fullmatch(path)
    if match is None:
        return None
    digest = f"sha256:{match[3]}" if match[3] else f"{match[1]}:{match[2]}"
    return digest if is_digest(digest) else None


def diff_ids(image: Image) -> tuple[str, ...]:
    """Return what an image's config says of its layers."""
    return configs.parse(image.config).diff_ids


def left_out(contents: Iterable[Content], chains: Collection[Sequence[str]]) -> dict[str, str]:
    """Return the layers that the other side has in their places, digest -> diff_id.

    ``chains`` are the diff_ids of its images, base first. A layer that is also wanted where it
    does not have it stays inside.

    Raises
    ------
    InvalidArgument
        Several platforms of one image: they have several chains under one name.
    """
    has: dict[str, str] = {}
    wanted: set[str] = set()
    for content in contents:
        if len(content.images) > 1:
            raise InvalidArgument(
                f"{content.reference}: a thin tar holds one platform, not {len(content.images)}",
                hint="give platform=",
            )
        for image in content.images:
            own = diff_ids(image)
            common = max((_common(own, chain) for chain in chains), default=0)
            layers = image.manifest.layers
            for layer, diff_id in zip(layers[:common], own[:common], strict=True):
                has[layer.digest] = diff_id
            wanted |= {layer.digest for layer in layers[common:]}
    return {digest: diff_id for digest, diff_id in has.items() if digest not in wanted}


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def needs(
    contents: Sequence[Content],
    since: str,
    missing: Mapping[str, str],
    paths: Mapping[str, str],
    *,
    sized: bool,
) -> Needs:
    """Return what is to be said of the layers ``missing``, digest -> diff_id."""
    sizes = {blob.digest: blob.size for content in contents for blob in content.blobs}
    layers = tuple(
        Missing(paths[digest], digest, missing[digest], sizes[digest] if sized else None)
        for digest in sizes
        if digest in missing
    )
    return Needs(tuple(str(content.reference) for content in contents), since, layers)
