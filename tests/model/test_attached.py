"""What is attached to an image: what the calls list, what they cost, what not."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from command import Command
from rig.attached import (
    BUNDLE,
    CYCLONEDX_DOCUMENT,
    CYCLONEDX_PREDICATE,
    DSSE,
    IN_TOTO,
    SIMPLE_SIGNING,
    SLSA,
    SPDX,
    SPDX_DOCUMENT,
    SPDX_PREDICATE,
    attach_bundle,
    attach_sbom,
    blob,
    buildkit,
    cosign_attestation,
    cosign_sbom,
    cosign_signature,
    cosign_tag,
    envelope,
    fallback_index,
    make_referrer,
    statement,
)
from rig.faults import FaultServer, corrupt, respond
from rig.images import (
    OCI_CONFIG,
    dump,
    make_artifact,
    make_image,
    make_index,
    push_image,
    sha256,
    write_layout,
)
from rig.registries import Registry as LabRegistry

import didlab
from didlab import errors
from didlab.model import attached as module
from didlab.model.manifest import Manifest
from didlab.oci.attached import fallback_tag
from didlab.oci.reference import Reference
from didlab.sources.memory import MemorySource

AMD64, ARM64 = make_image([{"a": b"a"}]), make_image([{"b": b"b"}], "linux/arm64/v8")
BUILDKIT, ROW = buildkit(AMD64, provenance={"buildType": "x"}, sbom=SPDX_DOCUMENT)
INDEX = make_index(
    [AMD64, ARM64, BUILDKIT], descriptors=[AMD64.descriptor(), ARM64.descriptor(), ROW]
)
SBOM, PROVENANCE = attach_sbom(ARM64, "2024-01-02T03:04:05Z"), attach_bundle(INDEX)
SIGNATURE = cosign_signature(INDEX)
CLAIM = statement(AMD64, CYCLONEDX_PREDICATE, CYCLONEDX_DOCUMENT)
CLAIMED = cosign_attestation(CLAIM)
OLD_SBOM = cosign_sbom()
LISTED = {
    (INDEX.digest, PROVENANCE.digest): ("provenance", "api", BUNDLE, None),
    (INDEX.digest, SIGNATURE.digest): ("signature", "cosign tag", SIMPLE_SIGNING, None),
    (AMD64.digest, BUILDKIT.digest): ("attestation", "index", None, "linux/amd64"),
    (AMD64.digest, CLAIMED.digest): ("sbom", "cosign tag", DSSE, "linux/amd64"),
    (ARM64.digest, SBOM.digest): ("sbom", "api", SPDX, "linux/arm64/v8"),
    (ARM64.digest, OLD_SBOM.digest): ("sbom", "cosign tag", "text/spdx+json", "linux/arm64/v8"),
}


@pytest.fixture(autouse=True)
def _amd64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        made.referrers_api = True
        made.add_image("lab/app", "1", INDEX)
        made.add_image("lab/app", "single", ARM64)
        for one in (SBOM, PROVENANCE):
            made.attach("lab/app", one)
        made.attach("lab/app", SIGNATURE, cosign_tag(INDEX, "sig"))
        made.attach("lab/app", CLAIMED, cosign_tag(AMD64, "att"))
        made.attach("lab/app", OLD_SBOM, cosign_tag(ARM64, "sbom"))
        yield made


def opened(server: FaultServer | LabRegistry, tag: str = "1", **options: Any) -> Manifest:
    return didlab.open(f"{server.host}/lab/app:{tag}", trust_env=False, **options)


def plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with None for what is missing."""
    records = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in records]


def listed(table: pd.DataFrame) -> dict[tuple[str, str], tuple[Any, ...]]:
    names = ("kind", "found", "artifact_type", "platform")
    return {
        (row["subject"], row["digest"]): tuple(row[name] for name in names) for row in plain(table)
    }


# --- referrers --------------------------------------------------------------------------------


def test_everything_attached_to_an_index_and_its_images(server: FaultServer) -> None:
    m = opened(server)
    table = m.referrers()
    assert listed(table) == LISTED
    assert list(dict.fromkeys(table["subject"])) == [INDEX.digest, AMD64.digest, ARM64.digest]
    # The manifest; for three digests the API and three tags.
    assert len(server.requests) == 1 + 3 * 4
    sizes = dict(zip(table["digest"], table["size"], strict=True))
    assert sizes[SBOM.digest] == len(SBOM.manifest)
    times = dict(zip(table["digest"], table["created"], strict=True))
    assert times[SBOM.digest] == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert times[PROVENANCE.digest] == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert pd.isna(times[SIGNATURE.digest])
    assert not {"verified", "trusted", "valid"} & set(table.columns)
    before = len(server.requests)
    assert listed(m.referrers()) == LISTED
    assert len(server.requests) == before + 12, "asked anew, like tags"


def test_a_platform_has_its_own(server: FaultServer) -> None:
    m = opened(server)
    arm = m["linux/arm64"].referrers()
    assert listed(arm) == {key: row for key, row in LISTED.items() if key[0] == ARM64.digest}
    assert len(server.requests) == 2 + 4
    amd = m["linux/amd64"].referrers()
    assert listed(amd) == {key: row for key, row in LISTED.items() if key[0] == AMD64.digest}
    single = listed(opened(server, "single").referrers())
    assert {row[:3] for row in single.values()} == {row[:3] for row in listed(arm).values()}
    assert {row[3] for row in single.values()} == {None}, "its config was never asked for"
    known = opened(server, "single")
    known.config()
    assert {row[3] for row in listed(known.referrers()).values()} == {"linux/arm64/v8"}


def test_of_one_type(server: FaultServer) -> None:
    m = opened(server)
    assert list(m.referrers(SPDX)["digest"]) == [SBOM.digest]
    assert list(m.referrers(DSSE)["digest"]) == [CLAIMED.digest]
    assert m.referrers("application/none").empty
    assert {one.query["artifactType"][0] for one in server.asked("/referrers/")} == {
        SPDX,
        DSSE,
        "application/none",
    }


def test_without_the_api(server: FaultServer) -> None:
    server.referrers_api = False
    server.attach("lab/app", fallback_index(PROVENANCE), fallback_tag(INDEX.digest))
    server.attach("lab/app", fallback_index(SBOM, typed=False), fallback_tag(ARM64.digest))
    expected = {
        key: (row[0], "tag" if row[1] == "api" else row[1], *row[2:]) for key, row in LISTED.items()
    }
    table = opened(server).referrers()
    assert listed(table) == expected
    # One to find that there is no API, and one to look into what does not say its type.
    assert len(server.requests) == 1 + 3 * 4 + 2
    assert len(server.asked("/referrers/")) == 1
    times = dict(zip(table["digest"], table["created"], strict=True))
    assert times[SBOM.digest] == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert not server.asked("/tags/"), "no near misses for names that nobody wrote"


def test_the_same_in_a_real_registry(own_registry: LabRegistry) -> None:
    host = own_registry.host
    push_image(host, "lab/app", "1", INDEX)
    for tag, built in (
        (fallback_tag(INDEX.digest), fallback_index(PROVENANCE)),
        (fallback_tag(ARM64.digest), fallback_index(SBOM)),
        (cosign_tag(INDEX, "sig"), SIGNATURE),
        (cosign_tag(AMD64, "att"), CLAIMED),
        (cosign_tag(ARM64, "sbom"), OLD_SBOM),
    ):
        push_image(host, "lab/app", tag, built)
    m = opened(own_registry)
    with own_registry.record() as entries:
        table = m.referrers()
    assert set(listed(table)) == set(LISTED)
    assert set(table["found"]) == {"tag", "cosign tag", "index"}
    assert len(entries) == 1 + 3 * 4 + 1
    assert len(m.attestations()) == 4
    assert m.attestation("provenance").names_image
    assert len(m["linux/arm64"].attached_sbom(0)) == 2
    signature = opened(own_registry, cosign_tag(INDEX, "sig"))
    assert json.loads(b"".join(signature.layer(0).stream()))["critical"]["image"] == {
        "docker-manifest-digest": INDEX.digest
    }


def test_what_is_attached_to_what_is_attached(server: FaultServer) -> None:
    signed = make_referrer(SBOM, "application/vnd.cncf.notary.signature", [])
    server.attach("lab/app", signed)
    m = didlab.open(f"{server.host}/lab/app@{SBOM.digest}", trust_env=False)
    (row,) = plain(m.referrers())
    assert (row["kind"], row["digest"], row["platform"]) == ("signature", signed.digest, None)


def test_an_image_without_anything(server: FaultServer) -> None:
    server.add_image("lab/app", "bare", make_image([]))
    m = opened(server, "bare")
    assert m.referrers().empty
    assert m.attestations().empty
    with pytest.raises(errors.NotFound):
        m.attestation()
    with pytest.raises(errors.NotFound) as caught:
        m.attached_sbom()
    assert isinstance(caught.value, KeyError)


def test_limits(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    m = opened(server)
    monkeypatch.setattr(module, "MAX_SUBJECTS", 2)
    with pytest.raises(errors.LimitExceeded) as caught:
        m.referrers()
    assert "linux/amd64" in str(caught.value.hint)
    monkeypatch.undo()
    monkeypatch.setattr(module, "MAX_PARTS", 3)
    with pytest.raises(errors.LimitExceeded):
        m.attestations()


def test_only_so_many_are_looked_into(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.referrers_api = False
    many = [make_referrer(ARM64, SPDX, [], annotations={"n": str(n)}) for n in range(4)]
    server.attach("lab/app", fallback_index(*many, typed=False), fallback_tag(ARM64.digest))
    monkeypatch.setattr(module, "MAX_UNTYPED", 3)
    table = opened(server, "single").referrers()
    assert sorted(table[table["found"] == "tag"]["kind"]) == ["other", "sbom", "sbom", "sbom"]


def test_what_is_listed_but_gone(server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    server.referrers_api = False
    server.attach("lab/app", fallback_index(SBOM, PROVENANCE), fallback_tag(ARM64.digest))
    server.attach("lab/app", fallback_index(SBOM, typed=False), fallback_tag(AMD64.digest))
    for one in (SBOM, PROVENANCE):
        del server.types[one.digest], server.blobs[one.digest]
    m = opened(server)
    assert {SBOM.digest, PROVENANCE.digest} <= set(m.referrers()["digest"])
    with caplog.at_level(logging.WARNING, "didlab"):
        assert len(m.attestations()) == 3
    assert PROVENANCE.digest in caplog.text


@pytest.mark.parametrize("part", ["/referrers/", ".sig", ".att"])
def test_nonsense_is_an_error_and_no_short_list(server: FaultServer, part: str) -> None:
    server.rule(lambda r: part in r.path, respond(200, {}, b'{"schemaVersion":2,"layers":[]}'))
    with pytest.raises(errors.ManifestInvalid):
        opened(server).referrers()
    server.rules.clear()
    server.rule(lambda r: part in r.path, respond(403))
    with pytest.raises(errors.AuthError):
        opened(server).referrers()


def test_offline_says_that_only_the_registry_knows(server: FaultServer, store: object) -> None:
    opened(server).referrers()
    before = len(server.requests)
    m = opened(server, offline=True)
    for call in (m.referrers, m.attestations, m.attestation, m.attached_sbom):
        with pytest.raises(errors.Unsupported, match="offline"):
            call()
    assert len(server.requests) == before


def test_other_sources_do_it_too() -> None:
    source = MemorySource()
    for data in {**AMD64.blobs, **SBOM.blobs, **ARM64.blobs, **BUILDKIT.blobs}.values():
        source.add(data, "application/octet-stream")
    for one in (AMD64, ARM64, BUILDKIT, SBOM):
        source.add(one.manifest, one.media_type)
    source.add(INDEX.manifest, INDEX.media_type, tag="1")
    m = Manifest(source, Reference.parse("memory.example/lab/app:1"))
    assert set(listed(m.referrers())) == {
        (AMD64.digest, BUILDKIT.digest),
        (ARM64.digest, SBOM.digest),
    }
    assert list(m["linux/arm64"].attached_sbom()["name"]) == ["bash", "rig"]
    assert m.attestation("sbom").names_image


# --- attestations -----------------------------------------------------------------------------


def test_the_statements(server: FaultServer) -> None:
    m = opened(server)
    table = m.attestations()
    assert [
        (row["kind"], row["predicate_type"], row["media_type"], row["subject"], row["manifest"])
        for row in plain(table)
    ] == [
        ("provenance", SLSA, BUNDLE, INDEX.digest, PROVENANCE.digest),
        ("provenance", SLSA, IN_TOTO, AMD64.digest, BUILDKIT.digest),
        ("sbom", SPDX_PREDICATE, IN_TOTO, AMD64.digest, BUILDKIT.digest),
        ("sbom", CYCLONEDX_PREDICATE, DSSE, AMD64.digest, CLAIMED.digest),
    ]
    assert [row["found"] for row in plain(table)] == ["api", "index", "index", "cosign tag"]
    assert [row["platform"] for row in plain(table)] == [None] + ["linux/amd64"] * 3
    assert not {"verified", "trusted", "valid", "signed"} & set(table.columns)
    # As referrers(), and the manifests of the bundle, of BuildKit's, and of the plain SBOM.
    assert len(server.requests) == 1 + 3 * 4 + 3
    assert not server.asked("/blobs/")
    m.attestations()
    assert len(server.requests) == 16, "remembered"
    m.refresh().attestations()
    assert len(server.requests) > 16


def test_one_statement(server: FaultServer) -> None:
    m = opened(server)
    bundled = m.attestation(0)
    assert bundled.predicate_type == SLSA == bundled["predicateType"]
    assert bundled.predicate == {"buildDefinition": {}}
    assert bundled.subjects == (("rig", {"sha256": INDEX.digest[7:]}),)
    assert (bundled.attached_to, bundled.names_image) == (INDEX.digest, True)
    assert bundled.to_dict() == json.loads(bundled.raw)
    assert len(server.asked("/blobs/")) == 1
    claim = m.attestation(CYCLONEDX_PREDICATE)
    assert claim.raw == CLAIM
    assert claim.digest == sha256(envelope(CLAIM))
    assert m.attestation(claim.digest) == claim == m.attestation(CLAIMED.digest)
    assert m.attestation(-1) == claim
    assert list(claim.packages()["version"].dropna()) == ["1.3.0", "2"]
    assert pickle.loads(pickle.dumps(claim)) == claim
    assert hash(claim) == hash(m.attestation(3))
    assert claim != bundled
    claim["subject"].clear()
    assert claim["subject"]
    assert "not verified" in repr(claim)
    assert "not verified" in claim._repr_html_()
    assert "predicateType" in claim._ipython_key_completions_()
    with pytest.raises(errors.Unsupported):
        bundled.packages()


def test_the_default_platform_goes_first(server: FaultServer) -> None:
    m = opened(server)
    assert m.attestation("provenance").attached_to == AMD64.digest
    assert m["linux/amd64"].attestation("provenance") == m.attestation(1)
    with pytest.raises(errors.InvalidArgument, match="has 2 attached") as caught:
        m.attached_sbom()
    assert sha256(envelope(CLAIM)) in str(caught.value.hint)
    with pytest.raises(errors.NotFound):
        m["linux/arm64"].attestation("provenance")


def test_wrong_choices(server: FaultServer) -> None:
    m = opened(server)
    for which in (4, -5, "sha256:" + "0" * 64, "nothing"):
        with pytest.raises(errors.NotFound) as caught:
            m.attestation(which)
        assert len(caught.value.available) == 4
    for odd in (1.0, None, True, b"x"):
        with pytest.raises(errors.InvalidArgument):
            m.attestation(odd)  # type: ignore[arg-type]


def test_sboms_in_statements_and_as_they_are(server: FaultServer) -> None:
    m = opened(server)
    inside = m.attached_sbom(SPDX_PREDICATE)
    assert list(inside.columns) == ["name", "version", "type", "license", "purl"]
    assert plain(inside)[0] == {
        "name": "bash",
        "version": "5.2.15-2",
        "type": "deb",
        "license": "GPL-3.0-or-later",
        "purl": "pkg:deb/debian/bash@5.2.15-2",
    }
    assert inside.attrs["reference"] == str(m.reference)
    arm = m["linux/arm64"]
    for which in (0, 1, SBOM.digest, OLD_SBOM.digest):
        pd.testing.assert_frame_equal(arm.attached_sbom(which), inside)
    assert list(m.attached_sbom(CYCLONEDX_PREDICATE)["type"].dropna()) == ["npm"]


def test_an_sbom_about_something_else(
    server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = cosign_attestation(statement(ARM64, SPDX_PREDICATE, SPDX_DOCUMENT))
    bare = make_image([{"c": b"c"}])
    server.add_image("lab/app", "bare", bare)
    server.attach("lab/app", foreign, cosign_tag(bare, "att"))
    m = opened(server, "bare")
    assert not m.attestation().names_image
    assert "about something else" in repr(m.attestation())
    with caplog.at_level(logging.WARNING, "didlab"):
        assert len(m.attached_sbom()) == 2
    assert "about something else" in caplog.text
    caplog.clear()
    opened(server).attached_sbom(SPDX_PREDICATE)
    assert not caplog.text


def test_a_statement_that_no_annotation_describes_is_read(server: FaultServer) -> None:
    bare = make_image([{"c": b"c"}])
    server.add_image("lab/app", "bare", bare)
    mixed = cosign_attestation(
        statement(bare, SLSA, {}), statement(bare, "https://x.example/t", {}), annotated=False
    )
    server.attach("lab/app", mixed, cosign_tag(bare, "att"))
    m = opened(server, "bare")
    assert list(m.referrers()["kind"]) == ["attestation"]
    assert list(m.attestations()["kind"]) == ["provenance", "attestation"]
    assert len(server.asked("/blobs/")) == 2


def test_bare_signatures_are_no_statements(server: FaultServer) -> None:
    data = dump({"mediaType": BUNDLE, "messageSignature": {"signature": "x"}})
    bare = make_image([{"c": b"c"}])
    server.add_image("lab/app", "bare", bare)
    said = {"dev.sigstore.bundle.content": "message-signature"}
    for how in (said, {"dev.sigstore.bundle.content": "dsse-envelope"}):
        one = make_referrer(bare, BUNDLE, [(blob(data, BUNDLE), data)], annotations=how)
        server.attach("lab/app", one)
    m = opened(server, "bare")
    assert sorted(m.referrers()["kind"]) == ["attestation", "signature"]
    assert m.attestations().empty


def test_content_is_verified_and_bounded(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = opened(server)
    m.attestations()
    server.rule(lambda r: "/blobs/" in r.path, corrupt(5))
    with pytest.raises(errors.DigestMismatch):
        m.attestation(2)
    server.rules.clear()
    monkeypatch.setattr(module, "FETCH_LIMIT", 10)  # as if it were large: read as a stream
    assert m.attestation(3).raw == CLAIM
    server.rule(lambda r: "/blobs/" in r.path, corrupt(5))
    with pytest.raises(errors.DigestMismatch):
        m.attestation(2)
    server.rules.clear()
    monkeypatch.setattr(module.statement, "STATEMENT_LIMIT", 100)
    with pytest.raises(errors.LimitExceeded, match="too many for a statement"):
        m.attestation(3)


def test_content_that_is_no_statement(server: FaultServer) -> None:
    data = b'{"hello": "world"}'
    row = blob(data, IN_TOTO)
    row["annotations"] = {"in-toto.io/predicate-type": SPDX_PREDICATE}
    bare = make_image([{"c": b"c"}])
    server.add_image("lab/app", "bare", bare)
    server.attach("lab/app", make_referrer(bare, IN_TOTO, [(row, data)]))
    m = opened(server, "bare")
    assert len(m.attestations()) == 1
    for call in (m.attestation, m.attached_sbom):
        with pytest.raises(errors.MalformedContent):
            call()


# --- artifacts --------------------------------------------------------------------------------


CHART = make_artifact(
    b"{}",
    "application/vnd.cncf.helm.config.v1+json",
    [blob(b"chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")],
    {sha256(b"chart"): b"chart"},
)
WASM = make_artifact(
    b"{}",
    "application/vnd.wasm.config.v0+json",
    [blob(b"\0asm", "application/wasm")],
    {sha256(b"\0asm"): b"\0asm"},
)


@pytest.mark.parametrize(
    ("built", "name", "content"),
    [
        (CHART, "Helm chart", b"chart"),
        (WASM, "WebAssembly component", b"\0asm"),
        (SBOM, "SPDX SBOM", dump(SPDX_DOCUMENT)),
        (SIGNATURE, "cosign signature", None),
        (BUILDKIT, "in-toto attestation", None),
    ],
    ids=["chart", "wasm", "sbom", "signature", "buildkit"],
)
def test_artifacts_are_shown_for_what_they_are(
    server: FaultServer, tmp_path: Path, built: Any, name: str, content: bytes | None
) -> None:
    server.attach("lab/app", built, "artifact")
    m = opened(server, "artifact")
    m.digest()
    assert f"· {name} ·" in repr(m)
    assert f"no image: {name} (" in m._repr_html_()
    assert "NotAnImage" not in m._repr_html_()
    assert list(m.layers()["digest"]) == [row["digest"] for row in built.layers]
    assert list(m.platforms()["kind"]) == ["other"]
    if content is not None:
        assert b"".join(m.layer(0).stream()) == content
        assert Path(m.layer(0).save(tmp_path / "saved")).read_bytes() == content
    for call in (
        m.config,
        m.history,
        m.image_id,
        m.files,
        lambda: m["linux/amd64"].layers(),
        lambda: m.save(tmp_path / "no.tar"),
    ):
        with pytest.raises(errors.NotAnImage, match=name) as caught:
            call()
        assert "layer(0).save()" in str(caught.value.hint)
    assert not (tmp_path / "no.tar").exists()


def test_images_are_still_images(server: FaultServer) -> None:
    m = opened(server, "single")
    m.digest()
    assert "1 layer" in repr(m)
    assert "no image" not in m._repr_html_()
    assert m.image_id() == ARM64.image_id
    foreign = make_artifact(ARM64.config, OCI_CONFIG, list(ARM64.layers), ARM64.blobs,
                            manifest_json={"artifactType": OCI_CONFIG})  # fmt: skip
    server.attach("lab/app", foreign, "declared")
    assert opened(server, "declared").config()["os"] == "linux"


# --- from a shell -----------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path: Path) -> Command:
    folder = tmp_path / "folder"
    folder.mkdir()
    return Command(folder)


def test_commands(server: FaultServer, command: Command) -> None:
    name = f"{server.host}/lab/app:1"
    done = command("referrers", "--json", name)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {(row["subject"], row["digest"]) for row in rows} == set(LISTED)
    assert rows[0]["created"] == "2024-05-06T07:08:09Z"
    done = command("referrers", "--artifact-type", SPDX, "--platform", "arm64", name)
    head, line = done.stdout.splitlines()
    assert head.split() == ["KIND", "DIGEST", "PLATFORM", "FOUND", "ARTIFACT", "TYPE"]
    assert line.split() == ["sbom", SBOM.digest, "linux/arm64/v8", "api", SPDX]
    done = command("attestations", name)
    assert len(done.stdout.splitlines()) == 5
    done = command("attestations", "--show", "provenance", name)
    assert json.loads(done.stdout)["predicate"] == {"buildType": "x"}
    done = command("attestations", "--show", "9", name)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") <= 3
    assert "4" in done.stderr


def test_inspect_says_what_an_artifact_is(server: FaultServer, command: Command) -> None:
    server.attach("lab/app", CHART, "chart")
    done = command("inspect", f"{server.host}/lab/app:chart")
    assert "Helm chart (application/vnd.cncf.helm.config.v1+json)" in done.stdout
    facts = json.loads(command("inspect", "--json", f"{server.host}/lab/app:chart").stdout)
    assert facts["artifact_type"] == "application/vnd.cncf.helm.config.v1+json"
    assert facts["config"] is facts["image_id"] is None


def test_in_a_layout_by_tags_without_a_repository(tmp_path: Path) -> None:
    """What is beside an image there is looked for by its tag alone."""
    signature = cosign_signature(AMD64)
    layout = write_layout(tmp_path / "layout", {"1": AMD64, cosign_tag(AMD64, "sig"): signature})
    found = didlab.open(f"oci:{layout}:1").referrers()
    assert found["digest"].tolist() == [signature.digest]
    assert found["found"].tolist() == ["cosign tag"]
