"""Things attached to images, as the tools that attach them lay them out (by their public specs).

OCI: image-spec 1.1, "guidelines for artifact usage". cosign: its SIGNATURE_SPEC, ATTESTATION_SPEC
and BUNDLE_SPEC. Signatures are invented: nobody who reads this verifies them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rig.images import (
    OCI_CONFIG,
    OCI_INDEX,
    BuiltImage,
    BuiltIndex,
    dump,
    make_artifact,
    sha256,
)

EMPTY = "application/vnd.oci.empty.v1+json"
IN_TOTO = "application/vnd.in-toto+json"
DSSE = "application/vnd.dsse.envelope.v1+json"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SPDX = "application/spdx+json"
SLSA = "https://slsa.dev/provenance/v1"
SPDX_PREDICATE = "https://spdx.dev/Document"
CYCLONEDX_PREDICATE = "https://cyclonedx.org/bom"

SPDX_DOCUMENT: dict[str, Any] = {
    "spdxVersion": "SPDX-2.3",
    "name": "rig",
    "packages": [
        {
            "name": "bash",
            "versionInfo": "5.2.15-2",
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "GPL-3.0-or-later",
            "externalRefs": [
                {"referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:a:gnu:bash"},
                {"referenceType": "purl", "referenceLocator": "pkg:deb/debian/bash@5.2.15-2"},
            ],
        },
        {"name": "rig", "licenseConcluded": "NONE"},
    ],
}
CYCLONEDX_DOCUMENT: dict[str, Any] = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "components": [
        {
            "type": "library",
            "group": "@scope",
            "name": "left-pad",
            "version": "1.3.0",
            "purl": "pkg:npm/%40scope/left-pad@1.3.0",
            "licenses": [{"license": {"id": "WTFPL"}}, {"license": {"name": "odd"}}],
            "components": [{"name": "inner", "licenses": [{"expression": "MIT OR Apache-2.0"}]}],
        },
        {"name": "last", "version": "2"},
    ],
}


def statement(
    subject: BuiltImage | BuiltIndex | None, predicate_type: str, predicate: object
) -> bytes:
    """An in-toto statement about an image (or about nothing)."""
    about = [] if subject is None else [{"name": "rig", "digest": {"sha256": subject.digest[7:]}}]
    return dump(
        {
            "_type": "https://in-toto.io/Statement/v0.1",
            "subject": about,
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def envelope(payload: bytes, kind: str = IN_TOTO) -> bytes:
    """A DSSE envelope."""
    text = base64.b64encode(payload).decode()
    return dump({"payloadType": kind, "payload": text, "signatures": [{"sig": "bm9uZQ=="}]})


def bundle(payload: bytes) -> bytes:
    """A Sigstore bundle around an envelope."""
    inner = json.loads(envelope(payload))
    return dump({"mediaType": BUNDLE, "verificationMaterial": {}, "dsseEnvelope": inner})


def blob(data: bytes, media_type: str, **annotations: str) -> dict[str, Any]:
    """The descriptor of a blob; keywords' ``__`` stand for ``/`` and ``_`` for ``-``."""
    row: dict[str, Any] = {"mediaType": media_type, "digest": sha256(data), "size": len(data)}
    named = {k.replace("__", "/").replace("_", "-"): v for k, v in annotations.items()}
    return {**row, "annotations": named} if named else row


def make_referrer(
    subject: BuiltImage | BuiltIndex,
    artifact_type: str | None,
    blobs: Sequence[tuple[dict[str, Any], bytes]],
    *,
    config: tuple[bytes, str] = (b"{}", EMPTY),
    annotations: Mapping[str, str] | None = None,
) -> BuiltImage:
    """A manifest whose subject is an image: what ``oras attach`` makes."""
    about = {
        "mediaType": subject.media_type,
        "digest": subject.digest,
        "size": len(subject.manifest),
    }
    more: dict[str, Any] = {"artifactType": artifact_type, "subject": about}
    if annotations:
        more["annotations"] = dict(annotations)
    rows, content = [row for row, _ in blobs], {row["digest"]: data for row, data in blobs}
    return make_artifact(*config, rows, content, manifest_json=more)


def attach_sbom(subject: BuiltImage | BuiltIndex, created: str | None = None) -> BuiltImage:
    """An SBOM as it is, attached by its subject."""
    data = dump(SPDX_DOCUMENT)
    said = {"org.opencontainers.image.created": created} if created else None
    return make_referrer(subject, SPDX, [(blob(data, SPDX), data)], annotations=said)


def attach_bundle(subject: BuiltImage | BuiltIndex, predicate_type: str = SLSA) -> BuiltImage:
    """What cosign 3 and GitHub attach: a Sigstore bundle."""
    data = bundle(statement(subject, predicate_type, {"buildDefinition": {}}))
    said = {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": predicate_type,
        "org.opencontainers.image.created": "2024-05-06T07:08:09Z",
    }
    return make_referrer(subject, BUNDLE, [(blob(data, BUNDLE), data)], annotations=said)


def fallback_index(*referrers: BuiltImage, typed: bool = True) -> BuiltIndex:
    """The index under the tag that takes the API's place, as its clients keep it."""
    rows = []
    for one in referrers:
        document = json.loads(one.manifest)
        row = {"mediaType": one.media_type, "digest": one.digest, "size": len(one.manifest)}
        if typed:
            row["artifactType"] = document.get("artifactType") or document["config"]["mediaType"]
            if document.get("annotations"):
                row["annotations"] = document["annotations"]
        rows.append(row)
    raw = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": rows})
    return BuiltIndex(raw, OCI_INDEX, tuple(referrers))


def cosign_tag(subject: BuiltImage | BuiltIndex, suffix: str) -> str:
    return f"sha256-{subject.digest[7:]}.{suffix}"


def _dressed(rows: list[tuple[dict[str, Any], bytes]]) -> BuiltImage:
    """Cosign's way: an image whose layers are what was attached."""
    config = dump(
        {
            "architecture": "",
            "created": "0001-01-01T00:00:00Z",
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [row["digest"] for row, _ in rows]},
            "config": {},
        }
    )
    content = {row["digest"]: data for row, data in rows}
    return make_artifact(config, OCI_CONFIG, [row for row, _ in rows], content)


def cosign_signature(subject: BuiltImage | BuiltIndex) -> BuiltImage:
    """What ``cosign sign`` puts under ``.sig``."""
    payload = dump(
        {
            "critical": {
                "identity": {"docker-reference": "rig"},
                "image": {"docker-manifest-digest": subject.digest},
                "type": "cosign container image signature",
            },
            "optional": None,
        }
    )
    row = blob(payload, SIMPLE_SIGNING)
    row["annotations"] = {"dev.cosignproject.cosign/signature": "bm9uZQ=="}
    return _dressed([(row, payload)])


def cosign_attestation(*payloads: bytes, annotated: bool = True) -> BuiltImage:
    """What ``cosign attest`` puts under ``.att``: an envelope for each statement."""
    rows = []
    for payload in payloads:
        data = envelope(payload)
        row = blob(data, DSSE)
        row["annotations"] = {"dev.cosignproject.cosign/signature": ""}
        if annotated:
            row["annotations"]["predicateType"] = json.loads(payload)["predicateType"]
        rows.append((row, data))
    return _dressed(rows)


def cosign_sbom() -> BuiltImage:
    """What ``cosign attach sbom`` puts under ``.sbom``."""
    data = dump(SPDX_DOCUMENT)
    return _dressed([(blob(data, "text/spdx+json"), data)])


def buildkit(subject: BuiltImage, **predicates: object) -> tuple[BuiltImage, dict[str, Any]]:
    """BuildKit's attestations of an image, and their row in the index.

    ``provenance=…`` and ``sbom=…`` are the predicates.
    """
    types = {"provenance": SLSA, "sbom": SPDX_PREDICATE}
    rows = []
    for name, predicate in predicates.items():
        data = statement(subject, types[name], predicate)
        row = blob(data, IN_TOTO)
        row["annotations"] = {"in-toto.io/predicate-type": types[name]}
        rows.append((row, data))
    config = dump(
        {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [row["digest"] for row, _ in rows]},
        }
    )
    content = {row["digest"]: data for row, data in rows}
    made = make_artifact(config, OCI_CONFIG, [row for row, _ in rows], content)
    about = {
        "vnd.docker.reference.digest": subject.digest,
        "vnd.docker.reference.type": "attestation-manifest",
    }
    return made, made.descriptor(annotations=about)
