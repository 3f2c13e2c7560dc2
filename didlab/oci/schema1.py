"""Docker's image manifest version 2, schema 1: signed or not, parsed and checked as Docker does.

The signatures are not verified: registries make them anew, with a key of their own, for every
answer. What they leave alone is the payload, and its digest is the manifest's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from didlab import errors
from didlab.oci import digest as digests
from didlab.oci import gojson, media_types, strict_json
from didlab.oci.fields import Members, Names
from didlab.oci.schema1_signed import (
    MANIFEST_LIMIT,
    NAMES,
    SignedDescriptor,
    described,
    loads,
    payload,
    split,
)

__all__ = [
    "LAYERS_LIMIT",
    "MANIFEST_LIMIT",
    "Schema1",
    "SignedDescriptor",
    "Step",
    "described",
    "is_schema1",
    "parse",
    "payload",
    "refuse",
]

#: Nothing runs with more than 127 layers; the size of each costs a request.
LAYERS_LIMIT = 1000

_LAYER_NAMES = Names("blobSum")
_HISTORY_NAMES = Names("v1Compatibility")
#: The members of a version 1 image that its conversion looks at.
_V1_NAMES = Names(
    "id parent comment created container container_config docker_version author config "
    "architecture variant os throwaway"
)
_ID = re.compile("[a-f0-9]{64}")


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the history with its layer.

    Attributes
    ----------
    blob : str
        Digest of the layer as stored.
    text : str
        The version 1 image, JSON as it stood in the manifest.
    json : dict
        The same, parsed.
    id : str
        Links entries; no digest of anything.
    throwaway : bool
        Whether the step changed no files: then there is no layer.
    """

    blob: str
    text: str = field(repr=False)
    json: dict[str, Any] = field(repr=False, compare=False)
    id: str
    throwaway: bool


@dataclass(frozen=True, slots=True)
class Schema1:
    """A schema 1 manifest, checked.

    Attributes
    ----------
    raw : bytes
        As received, with signatures where there were any.
    payload : bytes
        What was signed.
    digest : str
        Digest of the payload (sha256).
    name, tag, architecture : str
        As the manifest says; nothing holds it to them.
    steps : tuple of Step
        Base first, repeated entries taken out.
    signatures : int
        How many there are; none was verified.
    """

    raw: bytes = field(repr=False)
    payload: bytes = field(repr=False, compare=False)
    digest: str
    media_type: str
    name: str = field(compare=False)
    tag: str = field(compare=False)
    architecture: str = field(compare=False)
    steps: tuple[Step, ...] = field(compare=False, repr=False)
    signatures: int = field(compare=False, default=0)

    @property
    def layers(self) -> tuple[str, ...]:
        """Digests of the layers as stored, base first."""
        return tuple(step.blob for step in self.steps if not step.throwaway)

    @property
    def descriptor(self) -> SignedDescriptor:
        """What leads to it again, with its content."""
        return described(self.raw, self.payload, self.digest)


def is_schema1(document: dict[str, Any], media_type: str = "") -> bool:
    """Whether a parsed document, or the type it came with, is schema 1.

    >>> is_schema1({"schemaVersion": 1, "fsLayers": []})
    True
    """
    version = document.get("schemaVersion")
    return (
        media_types.is_schema1(media_type)
        or (type(version) is int and version == 1)
        or "fsLayers" in document
    )


def refuse() -> NoReturn:
    """Raise `Unsupported` for a schema 1 document where a newer manifest was expected."""
    raise errors.Unsupported(
        "there is a Docker schema 1 manifest where a newer one was expected",
        hint="didlab converts images of schema 1 that a tag or digest names by itself",
    )


def parse(raw: bytes, media_type: str | None = None) -> Schema1:
    """Parse a schema 1 manifest and check it.

    Parameters
    ----------
    raw : bytes
        The document as received, or its payload.
    media_type : str, optional
        What it came as; one that is no manifest type says nothing.

    Raises
    ------
    ManifestInvalid
        Docker would refuse it.
    TypeConfusion
        Other tools could read another image from it.
    LimitExceeded
    """
    document = loads(raw)
    content, signatures = split(raw, document)
    if signatures:
        document = loads(content)
    members = Members(document, "", errors.ManifestInvalid, NAMES)
    _check_types(members, media_type)
    if members.integer("schemaVersion", 2**31) != 1:
        members.refuse_member("schemaVersion", "is not 1")
    layers, history = members.array("fsLayers"), members.array("history")
    if len(layers) != len(history):
        members.refuse_member("history", f"has {len(history)} entries for {len(layers)} layers")
    if not layers:
        members.refuse_member("fsLayers", "is empty")
    if len(layers) > LAYERS_LIMIT:
        raise errors.LimitExceeded(
            f"the manifest has more than {LAYERS_LIMIT} layers",
            what="layers of a schema 1 manifest",
            limit=LAYERS_LIMIT,
            seen=len(layers),
        )
    entries = [_entry(*pair, at) for at, pair in enumerate(zip(layers, history, strict=True))]
    return Schema1(
        raw,
        content,
        digests.of(content),
        media_types.SCHEMA1_SIGNED if signatures else media_types.SCHEMA1,
        members.text("name") or "",
        members.text("tag") or "",
        members.text("architecture") or "",
        _linked(entries),
        signatures,
    )


def _check_types(members: Members, media_type: str | None) -> None:
    if any(key in members for key in ("config", "layers", "manifests")):
        raise errors.TypeConfusion(
            "the manifest has fields of schema 1 and of a newer type",
            hint="no honest tool writes such a document",
        )
    for kind in (media_types.essence(media_type), members.text("mediaType") or ""):
        if media_types.is_known_manifest(kind) and not media_types.is_schema1(kind):
            raise errors.TypeConfusion(
                f"the manifest is said to be {kind}, but has the fields of schema 1",
                expected=kind,
            )


# --- history --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entry:
    step: Step
    parent: str
    windows: bool
    where: str


def _entry(layer: object, history: object, position: int) -> _Entry:
    members = Members(layer, f"fsLayers[{position}]", errors.ManifestInvalid, _LAYER_NAMES)
    blob = members.text("blobSum")
    if not digests.is_digest(blob):
        members.refuse_member("blobSum", "is not a sha256 or sha512 digest")
    where = f"history[{position}]"
    outer = Members(history, where, errors.ManifestInvalid, _HISTORY_NAMES)
    text = gojson.whole(outer.text("v1Compatibility") or "")
    document = strict_json.loads(
        text.encode(),
        limit=MANIFEST_LIMIT,
        error=errors.ManifestInvalid,
        what=f"the image in {where}",
    )
    where = f"{where}.v1Compatibility"
    inner = Members(document, where, errors.ManifestInvalid, _V1_NAMES)
    assert isinstance(document, dict)
    own = inner.text("id") or ""
    if not _ID.fullmatch(own):
        inner.refuse_member("id", "is not 64 hexadecimal digits")
    return _Entry(
        Step(blob, text, document, own, inner.flag("throwaway")),
        inner.text("parent") or "",
        inner.text("os") == "windows",
        where,
    )


def _linked(entries: Sequence[_Entry]) -> tuple[Step, ...]:
    """Return the steps, base first, without repetitions; every one's parent is the one below."""
    base = entries[-1]
    # The base of Windows is not in the registry.
    if base.parent and not base.windows:
        _refuse("the lowest layer has a parent", base)
    steps = [base.step]
    seen = {base.step.id}
    for entry, below in zip(entries[-2::-1], entries[:0:-1], strict=True):
        if entry.step.id == below.step.id:
            continue
        if entry.step.id in seen:
            _refuse(f"the ID {entry.step.id} comes twice, not one after the other", entry)
        if entry.parent != below.step.id:
            _refuse(f"the parent is not {below.step.id}, the entry below", entry)
        seen.add(entry.step.id)
        steps.append(entry.step)
    return tuple(steps)


def _refuse(why: str, entry: _Entry) -> NoReturn:
    raise errors.ManifestInvalid(f"{entry.where}: {why}", where=entry.where)
