"""In-toto statements: who says what about which content; plain, in an envelope or in a bundle.

Reading is not verifying: signatures are neither checked nor handed on.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from didlab.errors import MalformedContent
from didlab.oci import strict_json
from didlab.oci.fields import Members

__all__ = ["STATEMENT_LIMIT", "Statement", "Subject", "json_object", "parse"]

#: The most bytes a statement or SBOM may have: it is parsed in memory.
STATEMENT_LIMIT = 32 * 1024 * 1024
#: The most subjects that are taken in.
SUBJECT_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Subject:
    """What a statement is about: a name, and digests by algorithm."""

    name: str
    digest: Mapping[str, str] = field(hash=False)

    def is_digest(self, digest: str) -> bool:
        """Whether it names this content (``sha256:…``)."""
        algorithm, _, encoded = digest.partition(":")
        return bool(encoded) and self.digest.get(algorithm, "").lower() == encoded


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement; ``raw`` are its own bytes, without the envelope."""

    raw: bytes = field(repr=False)
    json: dict[str, Any] = field(repr=False, compare=False)
    predicate_type: str
    subjects: tuple[Subject, ...] = field(compare=False)


def json_object(raw: bytes, what: str) -> dict[str, Any]:
    """Return a document that is a JSON object.

    Raises
    ------
    MalformedContent, LimitExceeded
    """
    found = strict_json.loads(raw, limit=STATEMENT_LIMIT, error=MalformedContent, what=what)
    if not isinstance(found, dict):
        raise MalformedContent(f"{what} is no JSON object")
    return found


def parse(raw: bytes) -> Statement | None:
    """Read a statement: as it is, out of a DSSE envelope, or out of a Sigstore bundle.

    None for a bundle that holds a bare signature, and so states nothing.

    Raises
    ------
    MalformedContent
        It is none of them.
    LimitExceeded
    """
    document = json_object(raw, "the attestation")
    if "dsseEnvelope" in document or "messageSignature" in document:
        envelope = document.get("dsseEnvelope")
        if envelope is None:
            return None
        return _opened(envelope, "dsseEnvelope")
    if "payload" in document and "payloadType" in document:
        return _opened(document, "")
    return _statement(raw, document)


def _opened(envelope: object, where: str) -> Statement:
    members = Members(envelope, where, MalformedContent)
    kind = members.text("payloadType") or ""
    if not kind.startswith("application/vnd.in-toto"):
        members.refuse_member("payloadType", "is no in-toto statement's")
    text = members.text("payload") or ""
    # Both alphabets are allowed (DSSE protocol), Go writes the standard one.
    standard = text.translate({ord("-"): "+", ord("_"): "/"})
    try:
        payload = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        members.refuse_member("payload", "is not base64")
    return _statement(payload, json_object(payload, "the statement in the envelope"))


def _statement(raw: bytes, document: dict[str, Any]) -> Statement:
    members = Members(document, "", MalformedContent)
    kind = members.text("_type") or ""
    if not kind.startswith("https://in-toto.io/Statement/"):
        members.refuse_member("_type", "is no in-toto statement's")
    predicate_type = members.text("predicateType")
    if not predicate_type:
        members.refuse_member("predicateType", "is missing")
    values = members.array("subject")
    if len(values) > SUBJECT_LIMIT:
        members.refuse_member("subject", f"has more than {SUBJECT_LIMIT} members")
    subjects = []
    for position, value in enumerate(values):
        one = Members(value, f"subject[{position}]", MalformedContent)
        subjects.append(Subject(one.text("name") or "", one.strings("digest")))
    return Statement(raw, document, predicate_type, tuple(subjects))
