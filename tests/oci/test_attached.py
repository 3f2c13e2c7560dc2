"""Kinds of what is attached, statements in all their wrappings, SBOMs, artifacts' names."""

from __future__ import annotations

import base64
import json
import pickle

import pytest
from rig.attached import (
    BUNDLE,
    CYCLONEDX_DOCUMENT,
    DSSE,
    EMPTY,
    IN_TOTO,
    SLSA,
    SPDX,
    SPDX_DOCUMENT,
    SPDX_PREDICATE,
    attach_sbom,
    buildkit,
    bundle,
    cosign_attestation,
    cosign_sbom,
    cosign_signature,
    envelope,
    make_referrer,
    statement,
)
from rig.images import OCI_CONFIG, dump, make_artifact, make_attestation, make_image, make_index

from didlab import errors
from didlab.oci import artifacts, attached, manifest, sbom
from didlab.oci import statement as statements
from didlab.oci.attached import Referrer
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import ImageManifest
from didlab.oci.reference import valid_tag

A = "sha256:" + "a" * 64
LONG = "sha512:" + "b" * 128
IMAGE = make_image([{"a": b"a"}])


# --- names ------------------------------------------------------------------------------------


def test_tags_made_of_digests() -> None:
    assert attached.fallback_tag(A) == "sha256-" + "a" * 64
    assert attached.fallback_tag(LONG) == "sha512-" + "b" * 64
    assert attached.cosign_tags(A) == {
        f"sha256-{'a' * 64}.sig": "signature",
        f"sha256-{'a' * 64}.att": "attestation",
        f"sha256-{'a' * 64}.sbom": "sbom",
    }
    assert attached.cosign_tags(LONG) == {}
    made = [attached.fallback_tag(A), attached.fallback_tag(LONG), *attached.cosign_tags(A)]
    assert all(map(valid_tag, made))
    assert all(map(attached.is_made_tag, made))


@pytest.mark.parametrize("tag", ["latest", "sha256-abc", "x" + "sha256-" + "a" * 64, "sha256-1.0"])
def test_tags_of_people(tag: str) -> None:
    assert not attached.is_made_tag(tag)


def test_buildkits_annotations() -> None:
    key, digest = "vnd.docker.reference.type", "vnd.docker.reference.digest"
    good = {key: "attestation-manifest", digest: A}
    for said, expected in (
        (good, A),
        ({digest: A}, None),
        ({key: "attestation-manifest"}, None),
        ({**good, digest: "sha256:zz"}, None),
        ({**good, key: "other"}, None),
    ):
        entry = Descriptor("application/x", LONG, 1, annotations=said)
        assert attached.in_index(entry) == expected


def test_a_referrer_is_a_descriptor_that_travels() -> None:
    plain = Descriptor("application/x", A, 3, annotations={"a": "b"}, artifact_type="t/x")
    found = Referrer.of(plain, "tag")
    assert isinstance(found, Descriptor)
    again = pickle.loads(pickle.dumps(found))
    assert (again, again.found, again.annotations) == (found, "tag", {"a": "b"})


# --- kinds ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("artifact_type", "annotations", "expected"),
    [
        (None, {}, "other"),
        ("", {}, "other"),
        ("application/x", {}, "other"),
        ("application/vnd.cncf.helm.config.v1+json", {}, "other"),
        ("application/vnd.cncf.notary.signature", {}, "signature"),
        ("application/vnd.dev.cosign.artifact.sig.v1+json", {}, "signature"),
        (SPDX, {}, "sbom"),
        ("text/spdx; charset=utf-8", {}, "sbom"),
        ("application/vnd.cyclonedx+json", {}, "sbom"),
        ("application/vnd.syft+json", {}, "sbom"),
        ("application/vnd.goharbor.harbor.sbom.v1", {}, "sbom"),
        (IN_TOTO, {}, "attestation"),
        (IN_TOTO, {"in-toto.io/predicate-type": SLSA}, "provenance"),
        (IN_TOTO, {"in-toto.io/predicate-type": SPDX_PREDICATE}, "sbom"),
        (DSSE, {"predicateType": "https://x.example/tests"}, "attestation"),
        (BUNDLE, {}, "signature"),
        (BUNDLE, {"dev.sigstore.bundle.content": "message-signature"}, "signature"),
        (BUNDLE, {"dev.sigstore.bundle.content": "dsse-envelope"}, "attestation"),
        (BUNDLE, {"dev.sigstore.bundle.predicateType": SLSA}, "provenance"),
        (
            "application/vnd.dev.sigstore.bundle+json;version=0.2",
            {"dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1"},
            "signature",
        ),
    ],
)
def test_kind(artifact_type: str | None, annotations: dict[str, str], expected: str) -> None:
    assert attached.kind(artifact_type, annotations) == expected


def test_cosigns_attestations_are_told_apart_where_all_agree() -> None:
    slsa, spdx = statement(IMAGE, SLSA, {}), statement(IMAGE, SPDX_PREDICATE, {})
    for built, expected in (
        (cosign_attestation(slsa, slsa), "provenance"),
        (cosign_attestation(spdx), "sbom"),
        (cosign_attestation(slsa, spdx), "attestation"),
        (cosign_attestation(slsa, annotated=False), "attestation"),
    ):
        parsed = manifest.parse(built.manifest)
        assert isinstance(parsed, ImageManifest)
        assert attached.of_tagged("attestation", parsed) == expected
        assert attached.of_tagged("signature", parsed) == "signature"


# --- statements -------------------------------------------------------------------------------

PLAIN = statement(IMAGE, SLSA, {"buildType": "x"})


@pytest.mark.parametrize(
    "raw",
    [
        PLAIN,
        envelope(PLAIN),
        bundle(PLAIN),
        dump({**json.loads(envelope(PLAIN)), "payload": base64.urlsafe_b64encode(PLAIN).decode()}),
        dump(
            {
                **json.loads(envelope(PLAIN)),
                "payload": base64.b64encode(PLAIN).decode().rstrip("="),
            }
        ),
    ],
    ids=["plain", "envelope", "bundle", "urlsafe", "unpadded"],
)
def test_a_statement_in_all_its_wrappings(raw: bytes) -> None:
    found = statements.parse(raw)
    assert found is not None
    assert found.raw == PLAIN
    assert found.json == json.loads(PLAIN)
    assert found.predicate_type == SLSA
    (subject,) = found.subjects
    assert subject.name == "rig"
    assert subject.is_digest(IMAGE.digest)
    assert not subject.is_digest(A)
    assert not subject.is_digest("sha512:" + IMAGE.digest[7:])
    assert not subject.is_digest("sha256:")


def test_a_bare_signature_states_nothing() -> None:
    assert statements.parse(dump({"messageSignature": {"signature": "x"}})) is None


def test_a_statement_about_nothing() -> None:
    found = statements.parse(statement(None, SLSA, None))
    assert found is not None
    assert found.subjects == ()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"_type":"https://in-toto.io/Statement/v1"}',
        b'{"_type":"https://in-toto.io/Statement/v1","predicateType":1}',
        b'{"_type":"other","predicateType":"x"}',
        b'{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","subject":[1]}',
        b'{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","subject":[{"digest":[]}]}',
        b'{"_type":"https://in-toto.io/Statement/v1","predicateType":"x",'
        b'"subject":[{"digest":{"sha256":1}}]}',
        envelope(b"{}"),
        envelope(b"not json"),
        envelope(PLAIN, "application/json"),
        envelope(envelope(PLAIN)),
        b'{"payloadType":"application/vnd.in-toto+json","payload":"!"}',
        b'{"payloadType":"application/vnd.in-toto+json","payload":1}',
        b'{"payloadType":"application/vnd.in-toto+json","payload":"\xc3\xbc"}',
        b'{"dsseEnvelope":1}',
        b'{"dsseEnvelope":{}}',
        PLAIN.replace(b'"predicate":', b'"predicateType":"twice","predicate":'),
    ],
)
def test_what_is_no_statement_is_refused(raw: bytes) -> None:
    with pytest.raises(errors.MalformedContent):
        statements.parse(raw)


def test_what_is_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    many = json.loads(PLAIN)
    many["subject"] = [{"name": "a"}] * 11
    monkeypatch.setattr(statements, "SUBJECT_LIMIT", 10)
    with pytest.raises(errors.MalformedContent, match="subject"):
        statements.parse(dump(many))
    monkeypatch.setattr(statements, "STATEMENT_LIMIT", len(PLAIN) - 1)
    with pytest.raises(errors.LimitExceeded):
        statements.parse(PLAIN)


# --- SBOMs ------------------------------------------------------------------------------------

SPDX_ROWS = [
    ("bash", "5.2.15-2", "deb", "GPL-3.0-or-later", "pkg:deb/debian/bash@5.2.15-2"),
    ("rig", None, None, None, None),
]


@pytest.mark.parametrize(
    "document",
    [
        SPDX_DOCUMENT,
        {"Data": json.dumps(SPDX_DOCUMENT), "Timestamp": "2024-01-01T00:00:00Z"},
        {"Data": SPDX_DOCUMENT, "Timestamp": ""},
    ],
)
def test_spdx(document: dict[str, object]) -> None:
    assert sbom.packages(document) == SPDX_ROWS


def test_cyclonedx() -> None:
    purl = "pkg:npm/%40scope/left-pad@1.3.0"
    assert sbom.packages(CYCLONEDX_DOCUMENT) == [
        ("@scope/left-pad", "1.3.0", "npm", "WTFPL AND odd", purl),
        ("inner", None, None, "MIT OR Apache-2.0", None),
        ("last", "2", None, None, None),
    ]


@pytest.mark.parametrize("value", [None, 1, "x", {}, [None, 1, "x", []], [{"name": 1}]])
def test_odd_members_lose_no_neighbours(value: object) -> None:
    spdx = {"spdxVersion": "SPDX-2.3", "packages": value}
    bom = {"bomFormat": "CycloneDX", "components": value}
    one = isinstance(value, list) and value[0] == {"name": 1}
    assert len(sbom.packages(spdx)) == len(sbom.packages(bom)) == one
    odd = [{"externalRefs": value, "name": "a"}, {"name": "b"}]
    assert [p.name for p in sbom.packages({**spdx, "packages": odd})] == ["a", "b"]
    odd = [{"licenses": value, "components": value, "name": "a"}, {"name": "b"}]
    assert [p.name for p in sbom.packages({**bom, "components": odd}) if p.name] == ["a", "b"]


@pytest.mark.parametrize("document", [{}, {"@graph": []}, {"artifacts": []}, {"bomFormat": "x"}])
def test_other_formats_are_refused(document: dict[str, object]) -> None:
    with pytest.raises(errors.Unsupported, match="neither SPDX 2 nor CycloneDX"):
        sbom.packages(document)


def test_too_many_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sbom, "PACKAGE_LIMIT", 2)
    with pytest.raises(errors.LimitExceeded):
        sbom.packages(CYCLONEDX_DOCUMENT)


# --- artifacts --------------------------------------------------------------------------------

CHART = make_artifact(b"{}", "application/vnd.cncf.helm.config.v1+json", [], {})


@pytest.mark.parametrize(
    ("built", "kind", "name"),
    [
        (IMAGE, None, None),
        (make_image([]), None, None),
        (make_image([{"a": b"a"}], layer_type="application/x-encrypted"), None, None),
        (make_image([{"a": b"a"}], manifest_json={"artifactType": OCI_CONFIG}), None, None),
        (make_index([IMAGE]), None, None),
        (make_index([IMAGE], artifactType="application/x"), "application/x", None),
        (CHART, "application/vnd.cncf.helm.config.v1+json", "Helm chart"),
        (
            cosign_signature(IMAGE),
            "application/vnd.dev.cosign.simplesigning.v1+json",
            "cosign signature",
        ),
        (cosign_attestation(PLAIN), DSSE, "signed attestation"),
        (cosign_sbom(), "text/spdx+json", "SPDX SBOM"),
        (buildkit(IMAGE, provenance={})[0], IN_TOTO, "in-toto attestation"),
        (make_attestation(IMAGE), IN_TOTO, "in-toto attestation"),
        (attach_sbom(IMAGE), SPDX, "SPDX SBOM"),
        (make_referrer(IMAGE, BUNDLE, []), BUNDLE, "Sigstore bundle"),
        (make_artifact(b"{}", EMPTY, [], {}), EMPTY, None),
    ],
)
def test_what_an_artifact_is(built: object, kind: str | None, name: str | None) -> None:
    parsed = manifest.parse(built.manifest)  # type: ignore[attr-defined]
    assert artifacts.type_of(parsed) == kind
    if isinstance(parsed, ImageManifest):
        assert parsed.is_image is (kind is None)
    if kind is not None:
        assert artifacts.name(kind) == name
        assert kind in artifacts.described(kind)


def test_a_type_is_no_way_into_a_terminal() -> None:
    assert "\x1b" not in artifacts.described("application/\x1b[31m")
