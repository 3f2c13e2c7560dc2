"""Descriptors: media type, digest and size of some content, the currency of everything here."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

from didlab import errors
from didlab.oci import digest as digests
from didlab.oci.fields import Members, Names
from didlab.oci.platform import Platform

__all__ = ["Descriptor"]

_NAMES = Names(
    "mediaType digest size platform annotations data urls artifactType",
)
_PLATFORM_NAMES = Names("os architecture variant os.version os.features")
# It may travel in an Accept header: printable ASCII, which also ends header injection.
_MEDIA_TYPE = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What some content is, so that it can be fetched and verified.

    ``data`` is the content itself where the descriptor carried it and it was true.
    """

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: dict[str, str] = field(default_factory=dict, compare=False)
    data: bytes | None = field(default=None, compare=False, repr=False)
    urls: tuple[str, ...] = ()
    artifact_type: str | None = None

    @classmethod
    def from_json(cls, value: object, where: str) -> Descriptor:
        """Read a descriptor strictly; `ManifestInvalid` names the place in the document."""
        members = Members(value, where, errors.ManifestInvalid, _NAMES)
        media_type = _media_type(members, "mediaType")
        if media_type is None:
            members.refuse_member("mediaType", "is missing")
        digest = members.raw("digest")
        if not digests.is_digest(digest):
            members.refuse_member("digest", "is not a sha256 or sha512 digest")
        size = members.integer("size", 2**63)
        return cls(
            media_type,
            digest,
            size,
            _platform(members.raw("platform"), members.path("platform")),
            members.strings("annotations"),
            _data(members.text("data"), digest, size),
            members.texts("urls"),
            _media_type(members, "artifactType"),
        )


def _media_type(members: Members, key: str) -> str | None:
    text = members.text(key)
    if text and not _MEDIA_TYPE.fullmatch(text):
        members.refuse_member(key, "is not a media type")
    return text or None


def _platform(value: object, where: str) -> Platform | None:
    if value is None:
        return None
    members = Members(value, where, errors.ManifestInvalid, _PLATFORM_NAMES)
    return Platform(
        members.text("os") or "",
        members.text("architecture") or "",
        members.text("variant") or "",
        members.text("os.version") or "",
        members.texts("os.features"),
    )


def _data(text: str | None, digest: str, size: int) -> bytes | None:
    # Not true means not there: the content is fetched, as by a tool that ignores the field.
    if text is None or len(text) != (size + 2) // 3 * 4:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    # b64decode lets bits after the last byte pass; then others may decode other bytes.
    if base64.b64encode(data).decode() != text or len(data) != size:
        return None
    return data if digests.of(data, digests.algorithm(digest)) == digest else None
