"""Copies to real registries, and to one that breaks off: what arrives, and what it takes."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from command import Command
from rig.faults import (
    FaultServer,
    HangUp,
    corrupt,
    delay,
    error_body,
    half_close_after,
    hang_up,
    reset_after,
    respond,
)
from rig.images import (
    BuiltImage,
    BuiltIndex,
    all_blobs,
    attestation_descriptor,
    make_artifact,
    make_attestation,
    make_image,
    make_index,
    push_image,
    sha256,
    write_layout,
)
from rig.processes import require, run
from rig.registries import Registry, TlsRegistry, start_registry
from rig.tokens import PASSWORD, USER
from rig.uploads import PushServer, UploadCutter, basic_registry, token_registry

import didlab
from didlab import _pausing as pausing
from didlab import errors
from didlab.export import push, push_lanes
from didlab.export.push_content import STEP, Held, Read
from didlab.oci.descriptor import Descriptor
from didlab.transport import client, endpoint

LOGIN = {"username": USER, "password": PASSWORD}
MB = 1_000_000


def make_multi() -> BuiltIndex:
    """An index of two images that share a layer, with an attestation."""
    shared = {"shared": b"shared"}
    one = make_image([{"a": os.urandom(6 * MB)}, shared], "linux/amd64")
    two = make_image([{"b": b"b"}, shared], "linux/arm64")
    note = make_attestation(one)
    rows = [one.descriptor(), two.descriptor(), attestation_descriptor(note, one)]
    return make_index((one, two, note), descriptors=rows)


@pytest.fixture(scope="module")
def multi() -> BuiltIndex:
    return make_multi()


@pytest.fixture(scope="module")
def from_(multi: BuiltIndex, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A docker-registry with lab/app:1 (an index), to copy from."""
    server = start_registry(tmp_path_factory.mktemp("from"), "from")
    push_image(server.host, "lab/app", "1", multi)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def to_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    server = token_registry(tmp_path_factory.mktemp("to-token"))
    yield server
    server.stop()
    server.tokens.stop()


@pytest.fixture(scope="module")
def to_basic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    server = basic_registry(tmp_path_factory.mktemp("to-basic"))
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_AUTH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    client._clients.clear()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits."""
    seconds: list[float] = []
    for module in (endpoint, client, pausing):
        monkeypatch.setattr(module, "wait", seconds.append)
    return seconds


@pytest.fixture
def pushed() -> Iterator[PushServer]:
    with PushServer() as made:
        yield made


def skopeo(*args: str, login: bool = True) -> str:
    program = require("skopeo", "skopeo")
    creds = {
        "inspect": ["--creds", f"{USER}:{PASSWORD}"],
        "copy": ["--src-creds", f"{USER}:{PASSWORD}"],
    }
    tls = {"inspect": "--tls-verify=false", "copy": "--src-tls-verify=false"}
    verb, rest = args[0], args[1:]
    return run(
        program, "--insecure-policy", verb, tls[verb], *(creds[verb] if login else ()), *rest
    )


def held_by(server: PushServer, name: str, root: str, built: BuiltImage | BuiltIndex) -> None:
    """Assert that a server has exactly an image, byte for byte, under a tag."""
    repository, _, tag = name.partition(":")
    assert server.tags[repository][tag] == root
    for digest, data in all_blobs(built).items():
        assert server.blobs[digest] == data


# --- real registries ----------------------------------------------------------------------------


def test_with_tokens(
    from_: Registry, to_token: Registry, multi: BuiltIndex, tmp_path: Path
) -> None:
    m = didlab.open(f"{from_.host}/lab/app:1")
    target = f"{to_token.host}/corp/app:2"
    report = m.copy_to(target, **LOGIN)
    blobs = all_blobs(multi)
    manifests = {multi.digest, *(child.digest for child in multi.children)}
    layers = {digest: len(data) for digest, data in blobs.items() if digest not in manifests}
    assert (report.reference, report.digest) == (target, multi.digest)
    assert (report.uploaded, report.mounted, report.present) == (len(layers), 0, 0)
    assert report.uploaded_bytes == sum(layers.values())
    assert report.manifests == len(manifests)
    # skopeo finds the same bytes, and takes all of it from there.
    raw = skopeo("inspect", "--raw", f"docker://{target}")
    assert sha256(raw.encode()) == multi.digest
    skopeo("copy", "-q", "--all", f"docker://{target}", f"oci:{tmp_path}/layout:x")
    for digest, data in blobs.items():
        assert (tmp_path / "layout/blobs/sha256" / digest[7:]).read_bytes() == data


def test_what_is_there_stays(from_: Registry, to_basic: Registry, multi: BuiltIndex) -> None:
    m = didlab.open(f"{from_.host}/lab/app:1")
    target = f"{to_basic.host}/corp/app:2"
    first = m.copy_to(target, **LOGIN)
    with to_basic.record() as seen, from_.record() as read:
        again = m.copy_to(target, **LOGIN)
    assert (again.uploaded, again.mounted, again.present) == (0, 0, first.uploaded)
    assert again.present_bytes == first.uploaded_bytes
    assert {one.method for one in seen if one.status != 401} == {"HEAD", "PUT"}
    assert read == []  # nothing was read to be thrown away
    assert json.loads(skopeo("inspect", "--raw", f"docker://{target}"))["manifests"]


def test_mounted_across_repositories(to_token: Registry, from_: Registry) -> None:
    m = didlab.open(f"{from_.host}/lab/app:1")
    first = m.copy_to(f"{to_token.host}/corp/base:1", **LOGIN)
    with to_token.record() as seen:
        report = didlab.copy(
            f"{to_token.host}/corp/base:1", f"{to_token.host}/corp/other:1", **LOGIN
        )
    assert (report.mounted, report.uploaded) == (first.uploaded, 0)
    assert report.mounted_bytes == first.uploaded_bytes
    mounts = [one for one in seen if "mount=" in one.query and one.status == 201]
    assert len(mounts) == report.mounted
    assert not any(one.method in ("PATCH", "GET") and "/blobs/" in one.path for one in seen)
    assert sha256(skopeo("inspect", "--raw", f"docker://{report}").encode()) == report.digest


def test_the_login_of_the_source_serves_its_own_registry(to_basic: Registry) -> None:
    image = make_image([{"f": b"own"}])
    here = didlab.copy(local(image), f"{to_basic.host}/own/app:1", **LOGIN)
    report = didlab.open(str(here), **LOGIN).copy_to(f"{to_basic.host}/own/copy:1")
    assert (report.mounted, report.digest) == (2, image.digest)


def test_denied(from_: Registry, to_token: Registry) -> None:
    m = didlab.open(f"{from_.host}/lab/app:1")
    with pytest.raises(errors.AuthDenied, match="may push to"):
        m.copy_to(f"{to_token.host}/secret/app:1", **LOGIN)
    with pytest.raises(errors.AuthRequired):
        m.copy_to(f"{to_token.host}/corp/app:1")
    with pytest.raises(errors.AuthDenied):
        m.copy_to(f"{to_token.host}/corp/app:1", username=USER, password="wrong")


def test_read_only(from_: Registry, tmp_path: Path) -> None:
    server = start_registry(tmp_path / "read-only", storage=tmp_path)
    try:
        with pytest.raises(errors.RegistryReadOnly):
            didlab.open(f"{from_.host}/lab/app:1").copy_to(f"{server.host}/corp/app:1")
    finally:
        server.stop()


def test_one_platform_or_some(from_: Registry, to_basic: Registry, multi: BuiltIndex) -> None:
    m = didlab.open(f"{from_.host}/lab/app:1")
    name = f"{to_basic.host}/corp/one"
    one, two, note = multi.children
    alone = m.copy_to(f"{name}:arm", platform="linux/arm64", **LOGIN)
    assert (alone.digest, alone.manifests) == (two.digest, 1)
    assert m["linux/arm64"].copy_to(f"{name}:same", **LOGIN).digest == two.digest
    some = m.copy_to(f"{name}:some", platform=["linux/amd64"], **LOGIN)
    document = json.loads(skopeo("inspect", "--raw", f"docker://{name}:some"))
    assert [row["digest"] for row in document["manifests"]] == [one.digest, note.digest]
    assert some.digest not in (multi.digest, one.digest)
    assert m.copy_to(f"{name}:all", platform="all", **LOGIN).digest == multi.digest
    with pytest.raises(errors.PlatformNotFound):
        m.copy_to(f"{name}:none", platform="linux/s390x", **LOGIN)
    with pytest.raises(errors.InvalidArgument):
        m["linux/arm64"].copy_to(f"{name}:none", platform="all", **LOGIN)


def test_schema1_is_converted(lab: Registry, own_registry: Registry) -> None:
    m = didlab.open(f"{lab.host}/lab/old:1")
    report = m.copy_to(f"{own_registry.host}/lab/new:1")
    assert any("converted from schema 1" in note for note in report.notes)
    copy = didlab.open(report.reference)
    assert (copy.digest(), copy.image_id()) == (report.digest, m.image_id())
    assert skopeo("inspect", f"docker://{report}", login=False)


def test_through_tls_and_a_proxy_that_waits_for_the_whole_request(
    from_: Registry, own_registry: Registry, multi: BuiltIndex, tmp_path: Path
) -> None:
    """nginx sends on what is complete: a broken piece is not there, what was before it stays."""
    front = TlsRegistry(tmp_path / "tls", own_registry)
    config = front.access.parent / "nginx.conf"
    text = config.read_text().replace("proxy_request_buffering off", "proxy_request_buffering on")
    config.write_text(
        text.replace(
            "client_max_body_size 0", "client_max_body_size 5m; client_body_buffer_size 6m"
        )
    )
    front.stop()
    front.start()
    try:
        report = didlab.open(f"{from_.host}/lab/app:1").copy_to(
            f"{front.host}/corp/app:1", ca=str(front.ca)
        )
    finally:
        front.stop()
    # 6 MB are more than it takes at once: sent again in smaller pieces.
    assert any("at once" in note for note in report.notes)
    raw = skopeo("inspect", "--raw", f"docker://{own_registry.host}/corp/app:1", login=False)
    assert sha256(raw.encode()) == report.digest == multi.digest


def test_an_upload_that_breaks_at_a_real_registry(
    from_: Registry, own_registry: Registry, multi: BuiltIndex, waits: list[float]
) -> None:
    """docker-registry forgets an upload that broke: it begins anew, and is whole at last."""
    m = didlab.open(f"{from_.host}/lab/app:1")
    with UploadCutter(own_registry.host, after=3 * MB, times=2) as cutter:
        report = m.copy_to(f"{cutter.host}/corp/app:1")
        assert cutter.left == 0
    assert any("begin anew" in note for note in report.notes)
    raw = skopeo("inspect", "--raw", f"docker://{own_registry.host}/corp/app:1", login=False)
    assert sha256(raw.encode()) == multi.digest
    big = max(all_blobs(multi).values(), key=len)
    assert own_registry.blob_path(sha256(big)).read_bytes() == big


# --- from files ---------------------------------------------------------------------------------


_folders: list[Path] = []


@pytest.fixture(autouse=True)
def _local(tmp_path: Path) -> None:
    _folders.append(tmp_path)


def local(built: BuiltImage | BuiltIndex) -> str:
    """The name of a layout with an image in it."""
    return f"oci:{write_layout(_folders[-1] / 'made', {'x': built})}:x"


def test_the_air_gap(from_: Registry, to_token: Registry, tmp_path: Path) -> None:
    """Saved on one side, copied on the other: the digest stays."""
    m = didlab.open(f"{from_.host}/lab/app:1")
    saved = m.save(tmp_path / "bundle.tar", platform="all")
    report = didlab.copy(saved.path, f"{to_token.host}/gap/app:1", **LOGIN)
    assert report.digest == m.digest()
    assert sha256(skopeo("inspect", "--raw", f"docker://{report}").encode()) == m.digest()


def test_to_a_layout_and_a_tar(from_: Registry, multi: BuiltIndex, tmp_path: Path) -> None:
    name = f"{from_.host}/lab/app:1"
    report = didlab.copy(name, f"oci:{tmp_path / 'out'}:new")
    assert report.digest == multi.digest
    index = json.loads((tmp_path / "out/index.json").read_text())
    annotations = index["manifests"][0]["annotations"]
    assert annotations["org.opencontainers.image.ref.name"] == "new"
    tar = didlab.copy(name, tmp_path / "out.tar", platform="linux/arm64")
    assert didlab.open(tmp_path / "out.tar").digest() == tar.digest == multi.children[1].digest
    with pytest.raises(errors.InvalidArgument, match="username"):
        didlab.copy(name, tmp_path / "more.tar", **LOGIN)
    with pytest.raises(errors.Unsupported):
        didlab.copy(name, tmp_path / "folder")


def test_an_artifact(pushed: PushServer) -> None:
    chart = b"a chart"
    layer = {
        "mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        "digest": sha256(chart),
        "size": len(chart),
    }
    kind = "application/vnd.cncf.helm.config.v1+json"
    built = make_artifact(b'{"name":"chart"}', kind, [layer], {sha256(chart): chart})
    report = didlab.copy(local(built), f"{pushed.host}/charts/one:1")
    held_by(pushed, "charts/one:1", report.digest, built)


def test_nested_indexes_children_first(pushed: PushServer) -> None:
    one, two = (make_image([{"f": b"%d" % n}]) for n in range(2))
    inner = make_index((one,))
    outer = make_index((inner, two))
    report = didlab.copy(local(outer), f"{pushed.host}/lab/nested:1")
    assert report.digest == outer.digest
    held_by(pushed, "lab/nested:1", outer.digest, outer)
    puts = [one.path.rpartition("/")[2] for one in pushed.asked("/manifests/", "PUT")]
    assert puts == [one.digest, inner.digest, two.digest, "1"]


def test_what_is_listed_again_and_again_is_copied_once(pushed: PushServer) -> None:
    """Eight indexes, each listing the next three times: thousands of ways to the image."""
    built: BuiltImage | BuiltIndex = make_image([{"f": b"f"}])
    for _ in range(8):
        built = make_index((built,) * 3)
    didlab.copy(local(built), f"{pushed.host}/lab/many:1")
    assert len(pushed.asked("/manifests/", "PUT")) == 9
    with pytest.raises(errors.LimitExceeded):
        didlab.copy(local(make_index((built,))), f"{pushed.host}/lab/more:1")


def test_layers_that_are_not_to_be_distributed_are_left_out(pushed: PushServer) -> None:
    foreign = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": sha256(b"elsewhere"),
        "size": 9,
        "urls": ["https://example.com/layer"],
    }
    config = make_image([{"f": b"f"}]).config
    built = make_artifact(
        config, "application/vnd.docker.container.image.v1+json", [foreign], {},
        media_type="application/vnd.docker.distribution.manifest.v2+json",
    )  # fmt: skip
    report = didlab.copy(local(built), f"{pushed.host}/lab/windows:1")
    assert any(foreign["digest"] in note for note in report.notes)
    assert foreign["digest"] not in pushed.blobs
    assert report.digest == built.digest


# --- names --------------------------------------------------------------------------------------


def test_a_digest_for_a_name(pushed: PushServer) -> None:
    image = make_image([{"f": b"f"}])
    source, place = local(image), f"{pushed.host}/lab/app"
    with pytest.raises(errors.InvalidArgument, match="another digest"):
        didlab.copy(source, f"{place}@{sha256(b'')}")
    assert pushed.requests == []
    didlab.copy(source, f"{place}@{image.digest}")
    assert pushed.tags["lab/app"] == {image.digest: image.digest}
    didlab.copy(source, f"docker://{place}:1@{image.digest}")
    assert pushed.tags["lab/app"]["1"] == image.digest


@pytest.mark.parametrize("dst", ["app.tar", "./layout", "oci:x", 7])
def test_copy_to_copies_to_registries(pushed: PushServer, dst: Any) -> None:
    m = didlab.open(local(make_image([{"f": b"f"}])))
    with pytest.raises(errors.InvalidArgument, match="to a registry"):
        m.copy_to(dst)


def test_a_manifest_has_its_source(pushed: PushServer) -> None:
    m = didlab.open(local(make_image([{"f": b"f"}])))
    with pytest.raises(errors.InvalidArgument, match="source="):
        didlab.copy(m, f"{pushed.host}/a/b:1", source={})


def test_the_report_travels_and_shows() -> None:
    report = push.CopyReport("r.example/a:1", sha256(b""), 1, 2, 0, 3, 2000, 0, 30, 1.5, ("x",))
    assert pickle.loads(pickle.dumps(report)) == report
    assert str(report) == "r.example/a:1"
    assert repr(report) == (
        "<CopyReport r.example/a:1 · sha256:e3b0c44298fc · 2 uploaded (2.0 kB), 3 there already "
        "(30 B) in 1.5 s>"
    )


# --- what breaks --------------------------------------------------------------------------------


@cache
def big() -> BuiltImage:
    return make_image([{"f": os.urandom(20 * MB)}], compress=False)


def layer_of(image: BuiltImage) -> bytes:
    return max(image.blobs.values(), key=len)


def test_a_broken_upload_goes_on_from_where_it_broke(
    pushed: PushServer, waits: list[float]
) -> None:
    image = big()
    with UploadCutter(pushed.host, after=8 * MB, times=2) as cutter:
        report = didlab.copy(local(image), f"{cutter.host}/lab/app:1")
        assert cutter.left == 0
        sent = cutter.passed
    assert report.digest == image.digest
    held_by(pushed, "lab/app:1", image.digest, image)
    assert pushed.deleted == []
    assert len(pushed.asked("uploads", "POST")) == 2  # layer and config
    patches = pushed.asked("uploads", "PATCH")
    starts = [int(one.headers.get("content-range", "0-").partition("-")[0]) for one in patches]
    assert len(starts) >= 3
    assert starts == sorted(starts)
    # Nothing was sent twice but what was on the way when it broke.
    assert sent < len(layer_of(image)) + 3 * MB


def test_the_answers_to_an_upload_are_lost(pushed: PushServer, waits: list[float]) -> None:
    """It is all there, or not there at all: neither is taken for the other."""
    image = big()
    pushed.rule(lambda r: r.method == "PATCH", hang_up, times=1)
    pushed.rule(lambda r: r.method == "PUT" and "uploads" in r.path, hang_up, times=1)
    didlab.copy(local(image), f"{pushed.host}/lab/app:1")
    held_by(pushed, "lab/app:1", image.digest, image)


def test_the_end_arrived_though_its_answer_did_not(pushed: PushServer, waits: list[float]) -> None:
    image = big()
    layer = layer_of(image)

    def store_silently(exchange: Any) -> None:
        number = int(exchange.request.path.rpartition("/")[2])
        assert bytes(pushed.uploads.pop(number)) == layer
        pushed.blobs[sha256(layer)] = layer
        pushed.linked.add(("lab/app", sha256(layer)))
        raise HangUp

    ends = lambda r: r.method == "PUT" and sha256(layer) in r.query.get("digest", [])  # noqa: E731
    pushed.rule(ends, store_silently, times=1)
    report = didlab.copy(local(image), f"{pushed.host}/lab/app:1")
    assert report.uploaded == 2
    assert len(pushed.asked("uploads", "PATCH")) == 1
    held_by(pushed, "lab/app:1", image.digest, image)


def test_no_end_of_failures(pushed: PushServer, waits: list[float]) -> None:
    pushed.rule(lambda r: r.method == "PATCH", hang_up)
    with pytest.raises(errors.Truncated, match="gave up to upload"):
        didlab.copy(local(big()), f"{pushed.host}/lab/app:1")
    assert len(pushed.asked("uploads", "PATCH")) == 5
    assert pushed.uploads.keys() - set(pushed.deleted) == set()
    assert pushed.asked("/manifests/") == []


def test_damaged_on_its_way_is_sent_again(pushed: PushServer, waits: list[float]) -> None:
    image = big()
    wrong = error_body("DIGEST_INVALID")
    json_ = {"Content-Type": "application/json"}
    ends = lambda r: r.method == "PUT" and sha256(layer_of(image)) in str(r.query)  # noqa: E731
    pushed.rule(ends, respond(400, json_, wrong), times=1)
    report = didlab.copy(local(image), f"{pushed.host}/lab/app:1")
    assert any("damaged" in note for note in report.notes)
    held_by(pushed, "lab/app:1", image.digest, image)


def test_no_more_than_so_much_at_once(pushed: PushServer) -> None:
    """As behind a proxy that limits bodies: pieces get smaller until they pass."""
    image = big()
    too_long = lambda r: r.method == "PATCH" and len(r.body) > 6 * MB  # noqa: E731
    limit = pushed.rule(too_long, respond(413))
    didlab.copy(local(image), f"{pushed.host}/lab/app:1", workers=1)
    held_by(pushed, "lab/app:1", image.digest, image)
    assert limit.hits == 1  # 20 MB, then 5 at a time


def test_what_is_too_much_for_one_blob_is_so_for_the_next(pushed: PushServer) -> None:
    image = make_image([{"f": os.urandom(20 * MB)}, {"g": os.urandom(10 * MB)}], compress=False)
    limit = pushed.rule(lambda r: r.method == "PATCH" and len(r.body) > 6 * MB, respond(413))
    didlab.copy(local(image), f"{pushed.host}/lab/app:1", workers=1)
    held_by(pushed, "lab/app:1", image.digest, image)
    assert limit.hits == 1


def test_the_smallest_piece_is_too_large(pushed: PushServer) -> None:
    pushed.rule(lambda r: r.method == "PATCH", respond(413))
    with pytest.raises(errors.TooLarge):
        didlab.copy(local(big()), f"{pushed.host}/lab/app:1")
    assert pushed.deleted


# --- a source that lies or breaks ---------------------------------------------------------------


@pytest.fixture
def lying() -> Iterator[FaultServer]:
    with FaultServer("127.0.0.2") as made:
        yield made


@pytest.mark.parametrize("size", [1000, 20 * MB])
def test_a_lie_does_not_arrive(pushed: PushServer, lying: FaultServer, size: int) -> None:
    image = big() if size > MB else make_image([{"f": os.urandom(size)}])
    digest = sha256(layer_of(image))
    lying.add_image("lab/app", "1", image)
    lying.rule(lambda r: digest in r.path, corrupt(500))
    with pytest.raises(errors.DigestMismatch) as caught:
        didlab.copy(
            f"{lying.host}/lab/app:1", f"{pushed.host}/lab/app:1",
            source={"insecure": True},
        )  # fmt: skip
    assert caught.value.expected == digest
    assert digest not in pushed.blobs
    assert not pushed.uploads  # it was called off, the registry told
    assert pushed.deleted
    assert pushed.asked("/manifests/") == []
    # Not even asked to take it.
    assert not [one for one in pushed.asked("uploads", "PUT") if digest in str(one.query)]


def test_a_source_that_breaks_is_read_on(
    pushed: PushServer, lying: FaultServer, waits: list[float]
) -> None:
    image = big()
    digest = sha256(layer_of(image))
    lying.add_image("lab/app", "1", image)
    lying.rule(lambda r: digest in r.path, reset_after(7 * MB), times=2)
    source = {"insecure": True}
    didlab.copy(f"{lying.host}/lab/app:1", f"{pushed.host}/lab/app:1", source=source)
    held_by(pushed, "lab/app:1", image.digest, image)
    assert len(pushed.asked("uploads", "PATCH")) == 1  # one request all the while
    assert len([one for one in lying.asked(digest) if one.range]) == 2


def test_a_source_that_ends_early_is_no_fault_of_the_target(
    pushed: PushServer, lying: FaultServer, waits: list[float]
) -> None:
    image = big()
    digest = sha256(layer_of(image))
    lying.add_image("lab/app", "1", image)
    lying.rule(lambda r: digest in r.path, half_close_after(1000))
    with pytest.raises(errors.TransportError) as caught:
        source = {"insecure": True}
        didlab.copy(f"{lying.host}/lab/app:1", f"{pushed.host}/lab/app:1", source=source)
    assert caught.value.host == lying.host
    assert not pushed.uploads


def test_no_login_for_one_goes_to_the_other(pushed: PushServer, lying: FaultServer) -> None:
    image = make_image([{"f": b"f"}])
    lying.add_image("lab/app", "1", image)
    lying.auth, pushed.auth = "basic", "basic"
    to = {"username": "alice", "password": "wonder:land/42"}
    with pytest.raises(errors.AuthRequired):
        didlab.copy(f"{lying.host}/lab/app:1", f"{pushed.host}/lab/app:1", **to)
    assert not any("authorization" in one.headers for one in lying.requests)
    lying.users = {"bob": "builder"}
    from_ = {"insecure": True, "username": "bob", "password": "builder"}
    didlab.copy(f"{lying.host}/lab/app:1", f"{pushed.host}/lab/app:1", source=from_, **to)
    users = {one.basic[0] for one in pushed.requests if one.basic}
    assert users == {"alice"}
    assert {one.basic[0] for one in lying.requests if one.basic} == {"bob"}


# --- content that is read again -----------------------------------------------------------------


class Reader:
    """A reader in memory that tells from where it was read."""

    ranged = True
    served_by = "memory"
    places = ()

    def __init__(self, data: bytes, size: int | None = None) -> None:
        self.data, self.size = data, len(data) if size is None else size
        self.starts: list[int] = []

    def stream(self, start: int = 0, stop: int | None = None, **_: Any) -> Generator[bytes]:
        self.starts.append(start)
        for at in range(start, len(self.data), 1 << 20):
            yield self.data[at : at + (1 << 20)]


def read(data: bytes, given: bytes | None = None) -> tuple[Read, Reader]:
    reader = Reader(data if given is None else given, len(data))
    descriptor = Descriptor("application/octet-stream", sha256(data), len(data))
    return Read(descriptor, lambda: reader), reader  # type: ignore[arg-type, return-value]


def test_pieces_one_after_the_other_are_one_stream() -> None:
    data = os.urandom(5 * MB)
    content, reader = read(data)
    edges = [0, 1, 1_500_000, 1_500_001, 4 * MB, 5 * MB]
    for start, stop in itertools.pairwise(edges):
        assert b"".join(content.pieces(start, stop)) == data[start:stop]
    content.check()
    assert reader.starts == [0]


def test_back_to_any_place() -> None:
    data = os.urandom(2 * STEP + 5 * MB)
    content, reader = read(data)
    assert b"".join(content.pieces(0, len(data))) == data
    for start in (len(data) - 1, STEP + 7 * MB, 17, 2 * STEP):
        assert b"".join(content.pieces(start, len(data))) == data[start:]
        content.check()
    # Read again from the last state of the hash before it, not from the start.
    assert all(at <= want < at + STEP + (1 << 20) for at, want in zip(
        reader.starts[1:], (len(data) - 1, STEP + 7 * MB, 17, 2 * STEP), strict=True
    ))  # fmt: skip


def test_a_reading_that_was_left_in_the_middle() -> None:
    data = os.urandom(3 * MB)
    content, _ = read(data)
    half = content.pieces(0, len(data))
    next(half)
    half.close()  # type: ignore[attr-defined]
    assert b"".join(content.pieces(0, len(data))) == data
    content.check()


@pytest.mark.parametrize("damage", ["byte", "short", "long"])
def test_other_bytes_are_found_out(damage: str) -> None:
    data = os.urandom(3 * MB)
    other = {"byte": b"x" + data[1:], "short": data[:-1], "long": data + b"x"}[damage]
    content, _ = read(data, other)
    with pytest.raises(errors.IntegrityError):
        list(content.pieces(0, len(data)))
        content.check()


def test_other_bytes_at_the_second_reading_are_found_out() -> None:
    data = os.urandom(3 * MB)
    content, reader = read(data)
    assert b"".join(content.pieces(0, len(data))) == data
    content.check()
    reader.data = data[:-1] + bytes([data[-1] ^ 1])
    list(content.pieces(2 * MB, len(data)))
    with pytest.raises(errors.DigestMismatch):
        content.check()


def test_held_bytes_are_checked() -> None:
    with pytest.raises(errors.DigestMismatch):
        Held(Descriptor("x", sha256(b"a"), 1), lambda: b"b").check()


# --- lanes --------------------------------------------------------------------------------------


def test_lanes_end_with_the_first_failure() -> None:
    began: list[int] = []
    waiting = threading.Event()

    def job(number: int) -> Callable[[], None]:
        def run() -> None:
            began.append(number)
            if number == 1:
                waiting.wait(5)
                raise ValueError("one")
            waiting.set()
            pausing.wait(60)

        return run

    with pytest.raises(ValueError, match="one"):
        push_lanes.run([job(n) for n in range(9)], 2, lambda: None)
    assert sorted(began) == [0, 1]


def test_no_jobs_and_no_lanes() -> None:
    looks: list[int] = []
    push_lanes.run([], 4, lambda: looks.append(1))
    assert looks


def test_ctrl_c_calls_the_upload_off(pushed: PushServer) -> None:
    image = big()
    arrived = threading.Event()

    class Impatient:
        def update(self, n: int) -> None:
            # The layer's upload is under way, and the config's over: one is there to call off.
            assert arrived.wait(100)
            while sha256(image.config) not in pushed.blobs:
                time.sleep(0.01)
            raise KeyboardInterrupt

        def close(self) -> None:
            pass

    def silence(exchange: Any) -> None:
        arrived.set()
        delay(300)(exchange)

    pushed.rule(lambda r: r.method == "PATCH", silence)
    with pytest.raises(KeyboardInterrupt):
        didlab.copy(local(image), f"{pushed.host}/lab/app:1", progress=Impatient())
    # It is not waited for without end that the registry hears of it.
    for thread in threading.enumerate():
        if thread.name.startswith("didlab-push"):
            thread.join(20)  # the answer would take longer
            assert not thread.is_alive()
    assert len(pushed.deleted) == 1
    assert pushed.asked("/manifests/") == []


def test_a_token_that_runs_out_on_the_way(pushed: PushServer) -> None:
    """The registry refuses an upload after all its bytes came: it is read, and sent, again."""
    image = big()
    pushed.auth, pushed.anonymous = "bearer", False
    stale = lambda r: r.method == "PATCH" and bool(pushed.valid.clear()) is False  # noqa: E731
    challenge = f'Bearer realm="{pushed.url}/token",service="faults"'
    pushed.rule(stale, respond(401, {"WWW-Authenticate": challenge}), times=1)
    report = didlab.copy(
        local(image), f"{pushed.host}/lab/app:1", username="alice", password="wonder:land/42",
        workers=1,
    )  # fmt: skip
    assert report.digest == image.digest
    assert [len(one.body) for one in pushed.asked("uploads", "PATCH")] == [len(layer_of(image))] * 2
    held_by(pushed, "lab/app:1", image.digest, image)


def test_progress_counts_every_byte_once(pushed: PushServer, waits: list[float]) -> None:
    image = big()
    total = sum(map(len, image.blobs.values()))

    class Bar:
        n = 0

        def update(self, n: int) -> None:
            self.n += n

        def close(self) -> None:
            pass

    bar = Bar()
    with UploadCutter(pushed.host, after=8 * MB, times=1) as cutter:
        didlab.copy(local(image), f"{cutter.host}/lab/app:1", progress=bar)
    assert bar.n == total
    again = Bar()
    didlab.copy(local(image), f"{pushed.host}/lab/app:1", progress=again)
    assert again.n == total


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path: Path) -> Command:
    folder = tmp_path / "work"
    folder.mkdir()
    return Command(folder)


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_the_command(
    command: Command, from_: Registry, to_token: Registry, multi: BuiltIndex
) -> None:
    name = f"{to_token.host}/shell/app:1"
    login = ("--username", USER)
    out = command("copy", f"{from_.host}/lab/app:1", name, *login, text=PASSWORD)
    assert done(out) == f"{name}\n"
    out = command("copy", name, f"{to_token.host}/shell/b:1", "--json", *login, text=PASSWORD)
    (row,) = json.loads(done(out))
    assert (row["digest"], row["uploaded"], row["present"]) == (multi.digest, 0, 0)
    assert row["mounted"] > 0
    out = command("copy", f"{from_.host}/lab/app:1", "oci:out:1", "--platform", "linux/arm64")
    assert done(out) == "out\n"
    out = command("copy", "oci:out:1", name, "--json", *login, text=PASSWORD)
    assert json.loads(done(out))[0]["digest"] == multi.children[1].digest
    out = command("copy", f"{from_.host}/lab/app:1", name)
    assert out.returncode == 1
    assert "wants a login" in out.stderr
