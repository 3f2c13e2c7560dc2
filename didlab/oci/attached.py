"""What is attached to an image: the ways in which it is found, and what kind of thing it is.

Three customs are in use. OCI: a manifest whose ``subject`` is the image, listed by the referrers
API, or under a tag made of the image's digest where a registry lacks it (distribution
specification 1.1). cosign: tags made of the digest with ``.sig``, ``.att`` and ``.sbom``. BuildKit:
manifests in the image's own index, with annotations that name the image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from didlab.oci import digest as digests
from didlab.oci import media_types
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import ImageManifest

__all__ = [
    "BUNDLE",
    "Referrer",
    "cosign_tags",
    "fallback_tag",
    "in_index",
    "is_made_tag",
    "kind",
    "of_predicate",
    "of_tagged",
    "predicate_type",
]

#: Sigstore's bundles, which hold a signature or a statement; versions follow.
BUNDLE = "application/vnd.dev.sigstore.bundle"
#: Where BuildKit, cosign and Sigstore write the type of a statement's predicate.
_PREDICATE_KEYS = (
    "in-toto.io/predicate-type",
    "predicateType",
    "dev.sigstore.bundle.predicateType",
)
_SUFFIXES = {"sig": "signature", "att": "attestation", "sbom": "sbom"}
_MADE_TAG = re.compile(r"sha(?:256|512)-[0-9a-f]{64}(?:\.[a-z]+)?", re.ASCII)

_KINDS = {
    "application/vnd.dev.cosign.simplesigning.v1+json": "signature",
    "application/vnd.dev.cosign.artifact.sig.v1+json": "signature",
    "application/vnd.cncf.notary.signature": "signature",
    "application/vnd.cncf.notary.v2.signature": "signature",
    "application/vnd.dev.cosign.artifact.att.v1+json": "attestation",
    "application/vnd.dsse.envelope.v1+json": "attestation",
    "application/vnd.docker.attestation.manifest.v1+json": "attestation",
    "application/vnd.dev.cosign.artifact.sbom.v1+json": "sbom",
    "application/vnd.goharbor.harbor.sbom.v1": "sbom",
}


@dataclass(frozen=True, slots=True)
class Referrer(Descriptor):
    """A descriptor of something attached, with the way in which it was found."""

    found: str = "api"

    @classmethod
    def of(cls, descriptor: Descriptor, found: str) -> Referrer:
        """Return a descriptor as one that was found that way."""
        return cls(
            descriptor.media_type,
            descriptor.digest,
            descriptor.size,
            descriptor.platform,
            descriptor.annotations,
            descriptor.data,
            descriptor.urls,
            descriptor.artifact_type,
            found,
        )


def fallback_tag(digest: str) -> str:
    """Return the tag that lists referrers where a registry has no API for them.

    >>> fallback_tag("sha256:" + "ab" * 32) == "sha256-" + "ab" * 32
    True
    >>> len(fallback_tag("sha512:" + "ab" * 64))
    71
    """
    # The specification cuts the encoded part at 64 characters, so that it is a tag.
    return f"{digests.algorithm(digest)}-{digests.encoded(digest)[:64]}"


def cosign_tags(digest: str) -> dict[str, str]:
    """Return cosign's tags for a digest, and what kind of thing each names.

    >>> list(cosign_tags("sha256:" + "ab" * 32).values())
    ['signature', 'attestation', 'sbom']
    """
    if digests.algorithm(digest) != "sha256":
        return {}  # a longer one would be no tag
    base = f"sha256-{digests.encoded(digest)}"
    return {f"{base}.{suffix}": kind for suffix, kind in _SUFFIXES.items()}


def is_made_tag(tag: str) -> bool:
    """Whether a tag was made of a digest by a tool, rather than chosen by a person."""
    return _MADE_TAG.fullmatch(tag) is not None


def in_index(descriptor: Descriptor) -> str | None:
    """Return the digest of the image that an index's entry is an attestation of (BuildKit)."""
    annotations = descriptor.annotations
    about = annotations.get("vnd.docker.reference.digest")
    is_one = annotations.get("vnd.docker.reference.type") == "attestation-manifest"
    return about if is_one and digests.is_digest(about) else None


def predicate_type(*annotations: dict[str, str]) -> str | None:
    """Return the type of the predicate, as far as annotations tell."""
    for one in annotations:
        for key in _PREDICATE_KEYS:
            if one.get(key):
                return one[key]
    return None


def of_predicate(predicate: str) -> str:
    """Return the kind of a statement by the type of its predicate.

    >>> of_predicate("https://slsa.dev/provenance/v1"), of_predicate("https://spdx.dev/Document")
    ('provenance', 'sbom')
    """
    text = predicate.lower()
    if "slsa.dev/provenance" in text or "in-toto.io/provenance" in text:
        return "provenance"
    if "spdx" in text or "cyclonedx" in text:
        return "sbom"
    if "sigstore.dev/cosign/sign" in text:
        return "signature"
    return "attestation"


def kind(artifact_type: str | None, annotations: dict[str, str] | None = None) -> str:
    """Return what something attached is: signature, attestation, provenance, sbom or other.

    >>> kind("application/spdx+json"), kind("application/x")
    ('sbom', 'other')
    """
    said = annotations or {}
    text = media_types.essence(artifact_type)
    known = _KINDS.get(text)
    if known is not None and known != "attestation":
        return known
    if text.startswith(BUNDLE):
        predicate = predicate_type(said)
        if predicate is not None:
            return of_predicate(predicate)
        statement = said.get("dev.sigstore.bundle.content") == "dsse-envelope"
        return "attestation" if statement else "signature"
    if known == "attestation" or text.startswith("application/vnd.in-toto"):
        predicate = predicate_type(said)
        return "attestation" if predicate is None else of_predicate(predicate)
    if any(word in text for word in ("spdx", "cyclonedx", "syft", "sbom")):
        return "sbom"
    return "other"


def of_tagged(tagged: str, manifest: ImageManifest) -> str:
    """Return the kind behind one of cosign's tags: more exactly where all statements agree."""
    if tagged != "attestation":
        return tagged
    kinds = {
        of_predicate(predicate) if predicate else tagged
        for predicate in (predicate_type(layer.annotations) for layer in manifest.layers)
    }
    return kinds.pop() if len(kinds) == 1 else tagged
