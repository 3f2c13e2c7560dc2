"""What the signatures of a schema 1 manifest are about: its payload, whose digest is its own.

A registry makes the signatures anew, with a key of its own, for every answer; they are not
verified here (libtrust's "pretty signature", in a member of the document itself).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

from didlab import errors
from didlab.oci import media_types, strict_json
from didlab.oci.descriptor import Descriptor
from didlab.oci.fields import Members, Names

__all__ = ["MANIFEST_LIMIT", "NAMES", "SignedDescriptor", "described", "loads", "payload", "split"]

#: The same as for newer manifests.
MANIFEST_LIMIT = 4 * 1024 * 1024

#: The members of the document, and those that a newer one has.
NAMES = Names(
    "schemaVersion mediaType name tag architecture fsLayers history signatures "
    "config layers manifests"
)
_SIGNATURE_NAMES = Names("header signature protected")
_PROTECTED_NAMES = Names("formatLength formatTail time")


@dataclass(frozen=True, slots=True)
class SignedDescriptor(Descriptor):
    """The descriptor of a payload, with the signed document that it came in."""

    sent: bytes = field(default=b"", compare=False, repr=False)


def described(raw: bytes, content: bytes, digest: str) -> SignedDescriptor:
    """Return the descriptor of a payload that came in ``raw``."""
    return SignedDescriptor(media_types.SCHEMA1, digest, len(content), data=content, sent=raw)


def loads(raw: bytes) -> dict[str, Any]:
    """Parse a document strictly, which is an object."""
    document = strict_json.loads(
        raw, limit=MANIFEST_LIMIT, error=errors.ManifestInvalid, what="the schema 1 manifest"
    )
    Members(document, "", errors.ManifestInvalid)
    assert isinstance(document, dict)
    return document


def payload(raw: bytes) -> bytes:
    """Return the part that the signatures are about, or all of an unsigned manifest.

    It is the document up to where signatures were put in, and the end that they took along.

    Raises
    ------
    ManifestInvalid, LimitExceeded
    """
    return split(raw, loads(raw))[0]


def split(raw: bytes, document: dict[str, Any]) -> tuple[bytes, int]:
    """Return the payload, and how many signatures it has."""
    if "signatures" not in document:
        return raw, 0
    members = Members(document, "", errors.ManifestInvalid, NAMES)
    signatures = members.array("signatures")
    formats = {_format(value, f"signatures[{at}]") for at, value in enumerate(signatures)}
    if len(formats) != 1:
        why = "disagree about what they sign" if formats else "are empty"
        members.refuse_member("signatures", why)
    ((length, tail),) = formats
    if length > len(raw):
        members.refuse_member("signatures", "sign more than there is")
    return raw[:length] + tail, len(signatures)


def _format(value: object, where: str) -> tuple[int, bytes]:
    """Return how long the signed part is, and what ends it (libtrust's pretty signature)."""
    members = Members(value, where, errors.ManifestInvalid, _SIGNATURE_NAMES)
    raw = _base64(members, "protected")
    header = Members(
        strict_json.loads(
            raw,
            limit=MANIFEST_LIMIT,
            error=errors.ManifestInvalid,
            what=f"the protected header of {where}",
        ),
        members.path("protected"),
        errors.ManifestInvalid,
        _PROTECTED_NAMES,
    )
    return header.integer("formatLength", 2**31), _base64(header, "formatTail")


def _base64(members: Members, key: str) -> bytes:
    text = members.text(key)
    if text is None:
        members.refuse_member(key, "is missing")
    text = text.replace("\n", "").replace(" ", "")
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        members.refuse_member(key, "is not base64url")
