"""What is attached to an image, copied along to real registries and to one with the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Command
from rig.attached import (
    attach_bundle,
    attach_sbom,
    blob,
    cosign_attestation,
    cosign_sbom,
    cosign_signature,
    cosign_tag,
    fallback_index,
    make_referrer,
    statement,
)
from rig.images import (
    BuiltImage,
    BuiltIndex,
    all_blobs,
    attestation_descriptor,
    make_attestation,
    make_image,
    make_index,
    push_image,
    put_manifest,
    sha256,
    write_layout,
)
from rig.processes import require, run
from rig.registries import Registry, start_registry
from rig.uploads import PushServer

import didlab
from didlab import errors
from didlab.oci.attached import fallback_tag
from didlab.transport import client

ONE = make_image([{"a": b"attached"}], "linux/amd64")
TWO = make_image([{"b": b"attached"}], "linux/arm64")
NOTE = make_attestation(ONE)
INDEX = make_index(
    (ONE, TWO, NOTE),
    descriptors=[ONE.descriptor(), TWO.descriptor(), attestation_descriptor(NOTE, ONE)],
)
SBOM, BUNDLE = attach_sbom(ONE), attach_bundle(INDEX)
#: A signature of the SBOM.
ON_SBOM = make_referrer(
    SBOM, "application/vnd.cncf.notary.signature", [(blob(b"s", "application/jose+json"), b"s")]
)
SIGNATURE = cosign_signature(INDEX)
ATTESTATION = cosign_attestation(statement(TWO, "https://slsa.dev/provenance/v1", {}))


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    client._clients.clear()


def attach(host: str, repository: str, subject: BuiltImage | BuiltIndex, *made: BuiltImage) -> None:
    """As ``oras attach`` does where there is no API."""
    for one in made:
        push_image(host, repository, None, one)
    index = fallback_index(*made)
    put_manifest(host, repository, fallback_tag(subject.digest), index.manifest, index.media_type)


@pytest.fixture(scope="module")
def from_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    server = start_registry(tmp_path_factory.mktemp("from"), "from")
    host = server.host
    push_image(host, "lab/app", "1", INDEX)
    attach(host, "lab/app", INDEX, BUNDLE)
    attach(host, "lab/app", ONE, SBOM)
    attach(host, "lab/app", SBOM, ON_SBOM)
    push_image(host, "lab/app", cosign_tag(INDEX, "sig"), SIGNATURE)
    push_image(host, "lab/app", cosign_tag(TWO, "att"), ATTESTATION)
    push_image(host, "lab/app", cosign_tag(ONE, "sbom"), cosign_sbom())
    yield server
    server.stop()


@pytest.fixture(scope="module")
def to(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    server = start_registry(tmp_path_factory.mktemp("to"), "to")
    yield server
    server.stop()


def attached_to(m: didlab.Manifest) -> set[tuple[str, str, str]]:
    frame = m.referrers()
    return set(zip(frame["kind"], frame["digest"], frame["subject"], strict=True))


def raw(name: str) -> bytes:
    program = require("skopeo", "skopeo")
    return run(program, "inspect", "--raw", "--tls-verify=false", f"docker://{name}").encode()


def test_all_of_it_arrives(from_: Registry, to: Registry, tmp_path: Path) -> None:
    m = didlab.open(f"{from_.host}/lab/app:1")
    report = m.copy_to(f"{to.host}/corp/all:1", attached=True, progress=False)
    assert report.digest == INDEX.digest
    assert any("6 things attached" in note for note in report.notes)
    there = didlab.open(f"{to.host}/corp/all:1")
    assert attached_to(there) == attached_to(m)
    assert len(attached_to(m)) == 6  # the note of the index, and five of the above
    assert {"signature", "sbom"} <= set(there.referrers()["kind"])
    # What another tool finds.
    assert raw(f"{to.host}/corp/all:{cosign_tag(INDEX, 'sig')}") == SIGNATURE.manifest
    for subject, made in ((INDEX, BUNDLE), (ONE, SBOM), (SBOM, ON_SBOM)):
        listed = json.loads(raw(f"{to.host}/corp/all:{fallback_tag(subject.digest)}"))
        assert [row["digest"] for row in listed["manifests"]] == [made.digest]
        kind = json.loads(made.manifest)["artifactType"]
        assert [row["artifactType"] for row in listed["manifests"]] == [kind]
        assert raw(f"{to.host}/corp/all@{made.digest}") == made.manifest
    # With its blobs.
    name = f"docker://{to.host}/corp/all:{cosign_tag(TWO, 'att')}"
    skopeo = require("skopeo", "skopeo")
    run(skopeo, "--insecure-policy", "copy", "-q", "--src-tls-verify=false", name,
        f"oci:{tmp_path}/layout:x")  # fmt: skip
    assert there["linux/arm64"].attestations()["digest"].to_list()


def test_not_unless_asked(from_: Registry, to: Registry) -> None:
    didlab.copy(f"{from_.host}/lab/app:1", f"{to.host}/corp/bare:1", progress=False)
    found = didlab.open(f"{to.host}/corp/bare:1").referrers()
    assert set(found["found"]) == {"index"}


def test_what_is_there_stays(from_: Registry, to: Registry) -> None:
    """The list under the tag is merged, and not touched when nothing is new."""
    name = f"{to.host}/corp/merge:1"
    other = make_referrer(ONE, "application/x", [(blob(b"own", "text/plain"), b"own")])
    attach(to.host, "corp/merge", ONE, other)
    didlab.copy(f"{from_.host}/lab/app:1", name, attached=True, progress=False)
    tag = f"{to.host}/corp/merge:{fallback_tag(ONE.digest)}"
    first = raw(tag)
    assert [row["digest"] for row in json.loads(first)["manifests"]] == [other.digest, SBOM.digest]
    with to.record() as seen:
        didlab.copy(f"{from_.host}/lab/app:1", name, attached=True, progress=False)
    assert raw(tag) == first
    puts = [one.path for one in seen if one.method == "PUT"]
    assert puts
    assert not any(path.endswith(fallback_tag(ONE.digest)) for path in puts)


def test_of_one_platform(from_: Registry, to: Registry) -> None:
    m = didlab.open(f"{from_.host}/lab/app:1", "linux/arm64")
    m.copy_to(f"{to.host}/corp/one:1", attached=True, progress=False)
    there = didlab.open(f"{to.host}/corp/one:1")
    assert attached_to(there) == attached_to(m)
    assert {digest for _, digest, _ in attached_to(there)} == {ATTESTATION.digest}


def test_of_some_platforms(from_: Registry, to: Registry) -> None:
    """The index is cut, so nothing is attached to it; to its images is what was."""
    m = didlab.open(f"{from_.host}/lab/app:1")
    report = m.copy_to(
        f"{to.host}/corp/some:1", platform=["linux/arm64"], attached=True, progress=False
    )
    assert report.digest != INDEX.digest
    there = didlab.open(f"{to.host}/corp/some:1")
    assert {digest for _, digest, _ in attached_to(there)} == {ATTESTATION.digest}


def test_to_a_registry_with_the_api(from_: Registry) -> None:
    with PushServer() as server:
        server.referrers_api = True
        didlab.copy(
            f"{from_.host}/lab/app:1", f"{server.host}/a/app:1", attached=True, progress=False
        )
        tags = server.tags["a/app"]
        assert {tag for tag in tags if tag.startswith("sha256-")} == {
            cosign_tag(INDEX, "sig"), cosign_tag(TWO, "att"), cosign_tag(ONE, "sbom"),
        }  # fmt: skip
        for one in (BUNDLE, SBOM, ON_SBOM, SIGNATURE):
            for digest, data in all_blobs(one).items():
                assert server.blobs[digest] == data
        # The name comes when all else is there, but for what is found by tags.
        puts = [one.path.rpartition("/")[2] for one in server.asked("/manifests/", "PUT")]
        at = puts.index("1")
        assert set(puts[at + 1 :]) == {tag for tag in tags if tag.startswith("sha256-")}


def test_out_of_a_layout(to: Registry, tmp_path: Path) -> None:
    tags = {"x": INDEX, "sbom": SBOM, cosign_tag(INDEX, "sig"): SIGNATURE}
    write_layout(tmp_path / "layout", tags)
    report = didlab.copy(
        f"oci:{tmp_path}/layout:x", f"{to.host}/corp/layout:1", attached=True, progress=False
    )
    assert any("2 things attached" in note for note in report.notes)
    found = didlab.open(f"{to.host}/corp/layout:1").referrers()
    assert {SBOM.digest, SIGNATURE.digest} <= set(found["digest"])


def test_what_is_listed_but_gone(to: Registry, from_: Registry) -> None:
    index = fallback_index(attach_sbom(TWO), attach_bundle(TWO))
    push_image(from_.host, "lab/gone", "1", TWO)
    push_image(from_.host, "lab/gone", None, attach_sbom(TWO))
    tag = fallback_tag(TWO.digest)
    with PushServer() as source:
        source.add_image("lab/gone", "1", TWO)
        source.attach("lab/gone", attach_sbom(TWO))
        source.attach("lab/gone", index, tag)
        del source.blobs[attach_bundle(TWO).digest], source.types[attach_bundle(TWO).digest]
        report = didlab.copy(
            f"{source.host}/lab/gone:1", f"{to.host}/corp/gone:1", attached=True, progress=False
        )
    assert any(attach_bundle(TWO).digest in note for note in report.notes)
    found = didlab.open(f"{to.host}/corp/gone:1").referrers()
    assert list(found["digest"]) == [attach_sbom(TWO).digest]


def test_endless_chains(to: Registry) -> None:
    with PushServer() as source:
        source.add_image("lab/deep", "1", TWO)
        source.referrers_api = True
        subject: BuiltImage = TWO
        for _ in range(6):
            subject = attach_sbom(subject)
            source.attach("lab/deep", subject)
        with pytest.raises(errors.LimitExceeded):
            didlab.copy(
                f"{source.host}/lab/deep:1", f"{to.host}/corp/deep:1", attached=True, progress=False
            )


@pytest.mark.parametrize("dst", ["oci:layout", "a.tar"])
def test_files_do_not_take_it(from_: Registry, tmp_path: Path, dst: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="attached="):
        didlab.copy(
            f"{from_.host}/lab/app:1", dst.replace("a.tar", f"{tmp_path}/a.tar"), attached=True
        )


def test_command(from_: Registry, to: Registry, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    command = Command(tmp_path / "work")
    name = f"{to.host}/corp/command:1"
    done = command("copy", "--attached", f"{from_.host}/lab/app:1", name)
    assert (done.returncode, done.stdout) == (0, f"{name}\n"), done.stderr
    assert sha256(raw(f"{to.host}/corp/command:{cosign_tag(INDEX, 'sig')}")) == SIGNATURE.digest
