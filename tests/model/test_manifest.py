"""A Manifest against a real registry, and its corners against a source in memory."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rig.faults import FaultServer, respond
from rig.images import (
    CREATED,
    OCI_LAYER,
    BuiltImage,
    dump,
    make_artifact,
    make_attestation,
    make_image,
    make_index,
    push_image,
    sha256,
)
from rig.registries import Registry as LabRegistry

import didlab
from didlab import Manifest
from didlab.errors import (
    InvalidArgument,
    LayerNotFound,
    LimitExceeded,
    ManifestInvalid,
    ManifestNotFound,
    NotAnImage,
    PlatformNotFound,
    RepositoryNotFound,
)
from didlab.model import saving
from didlab.oci.digest import of
from didlab.sources.cached import shared
from model.sources import MemorySource

LAYERS: list[dict[str, Any]] = [{"a": b"a"}, {"b": b"b"}]
AMD64 = make_image(LAYERS, Cmd=["/amd64"])
ARM64 = make_image(LAYERS, "linux/arm64/v8", Cmd=["/arm64"])
ARMV6 = make_image(LAYERS, "linux/arm/v6")
ARMV7 = make_image(LAYERS, "linux/arm/v7")
INDEX = make_index((AMD64, ARM64, ARMV6, ARMV7))


@pytest.fixture(autouse=True)
def amd64(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same default platform on every machine, and nothing known from another test."""
    shared.clear()
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")


@pytest.fixture
def app(lab: LabRegistry) -> Callable[..., Manifest]:
    def open_tag(tag: str, platform: str | None = None) -> Manifest:
        return didlab.open(f"{lab.host}/lab/app:{tag}", platform)

    return open_tag


# --- platforms --------------------------------------------------------------------------------


def test_platforms_of_an_index(app: Callable[..., Manifest]) -> None:
    m = app("multi")
    table = m.platforms()
    assert list(table["platform"]) == [
        "linux/amd64", "linux/arm64/v8", "linux/arm/v7", "unknown/unknown",
    ]  # fmt: skip
    assert list(table["kind"]) == ["image"] * 3 + ["attestation"]
    assert list(table["architecture"])[:3] == ["amd64", "arm64", "arm"]
    assert list(table["variant"][1:3]) == ["v8", "v7"]
    assert table["variant"].isna().tolist() == [True, False, False, True]
    rows = m.json()["manifests"]
    assert list(table["digest"]) == [row["digest"] for row in rows]
    assert list(table["manifest_size"]) == [row["size"] for row in rows]
    assert table.attrs["reference"] == str(m.reference)


def test_platforms_of_a_docker_list(app: Callable[..., Manifest]) -> None:
    table = app("list").platforms()
    assert list(table["platform"]) == ["linux/amd64", "linux/arm64/v8"]
    assert set(table["kind"]) == {"image"}
    assert app("list").media_type().endswith("manifest.list.v2+json")


@pytest.mark.parametrize("tag", ["latest", "oci"])
def test_platforms_of_a_single_image(app: Callable[..., Manifest], tag: str) -> None:
    m = app(tag)
    table = m.platforms()
    assert len(table) == 1
    row = table.iloc[0]
    assert (row["platform"], row["kind"]) == ("linux/amd64", "image")
    assert row["digest"] == m.digest() == of(m.raw())
    assert row["manifest_size"] == len(m.raw())


def test_platforms_with_sizes(app: Callable[..., Manifest]) -> None:
    m = app("multi")
    table = m.platforms(sizes=True)
    assert list(table["layers"].iloc[:3]) == [11, 4, 4]
    assert table[["layers", "size"]].isna().all(axis=1).tolist() == [False, False, False, True]
    for row in table[table["kind"] == "image"].itertuples():
        assert row.size == m[str(row.platform)].layers()["size"].sum()
    single = app("latest").platforms(sizes=True)
    assert list(single["layers"]) == [11]


def test_platforms_request_counts(lab: LabRegistry, app: Callable[..., Manifest]) -> None:
    didlab.open(f"{lab.host}/lab/app:list").digest()  # whether the place speaks TLS is known
    m = app("multi")
    for call, most in ((m.platforms, 1), (m.platforms, 0)):
        with lab.record() as seen:
            call()
        assert len(seen) <= most, seen
    with lab.record() as seen:
        m.platforms(sizes=True)
    assert len(seen) == 3  # one for each image row
    with lab.record() as seen:
        m.platforms(sizes=True)
        m["linux/arm64"].size()
    assert seen == []


@pytest.mark.parametrize(("tag", "most"), [("multi", 3), ("latest", 4)])
def test_cold_with_tokens(registry_token: LabRegistry, tag: str, most: int) -> None:
    # Challenge, token, manifest, and a single image's config; a client of its own each.
    hub = didlab.Registry(registry_token.host, timeout=(5, 20 + most))
    hub["lab/app"][tag].platforms()
    assert len(hub.requests()) <= most, hub.requests()
    hub["lab/app"]["list"].platforms()
    hub["lab/app"][tag].platforms()  # asks what the tag names now; its config is known
    assert len(hub.requests()) <= most + 2, hub.requests()


# --- choosing a platform ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("linux/amd64", AMD64),
        ("amd64", AMD64),
        ("linux/x86_64", AMD64),
        ("linux/arm64", ARM64),
        ("linux/arm64/v8", ARM64),
        ("aarch64", ARM64),
        ("linux/arm", ARMV7),
        ("linux/arm/v7", ARMV7),
        ("linux/arm/v6", ARMV6),
    ],
)
def test_platforms_match_as_containerd_matches(asked: str, found: BuiltImage) -> None:
    m = MemorySource(latest=INDEX).manifest("latest")
    assert m[asked].digest() == found.digest
    assert m.platform(asked).digest() == found.digest
    assert m.platform(asked) == m[asked]


def test_a_missing_platform_lists_what_there_is(app: Callable[..., Manifest]) -> None:
    m = app("multi")
    for call in (
        lambda: m.platform("linux/s390x"),
        lambda: m["linux/s390x"].digest(),
        lambda: app("multi", "linux/s390x").layers(),
    ):
        with pytest.raises(PlatformNotFound) as caught:
            call()
        error = caught.value
        assert isinstance(error, KeyError)
        assert error.available == ("linux/amd64", "linux/arm64/v8", "linux/arm/v7")
        assert error.reference == str(m.reference)
        for name in (*error.available, "linux/s390x"):
            assert name in str(error)
        assert 'm["linux/amd64"]' in str(error)
        assert "unknown" not in str(error)


def test_indexing_asks_nobody_until_the_index_is_known(lab: LabRegistry) -> None:
    m = didlab.open(f"{lab.host}/lab/app:multi")
    with lab.record() as seen:
        lazy = m["linux/s390x"]
    assert seen == []
    m.digest()
    with lab.record() as seen, pytest.raises(PlatformNotFound):
        m["linux/s390x"]
    assert seen == []
    with pytest.raises(PlatformNotFound):
        lazy.digest()


def test_a_single_image_is_what_it_is(
    app: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/s390x")
    m = app("latest")
    assert m.config().architecture == "amd64"
    assert m["linux/amd64"].digest() == m.digest()
    with pytest.raises(PlatformNotFound, match="linux/arm64") as caught:
        m.platform("linux/arm64")
    assert caught.value.available == ("linux/amd64",)


def test_the_default_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    source = MemorySource(latest=INDEX)
    for text, found in (("linux/arm64", ARM64), ("linux/arm/v6", ARMV6), ("linux/amd64", AMD64)):
        monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", text)
        m = source.manifest("latest")
        assert m.image_id() == found.image_id
        assert m.config().cmd == tuple(json.loads(found.config)["config"].get("Cmd", ()))
        assert m.digest() == INDEX.digest  # the index's own
        assert m.size() == len(found.config) + sum(layer["size"] for layer in found.layers)


def test_a_default_platform_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/s390x")
    m = MemorySource(latest=INDEX).manifest("latest")
    with pytest.raises(PlatformNotFound, match="default platform") as caught:
        m.layers()
    assert "linux/arm64/v8" in caught.value.available
    assert m.platforms()["platform"].tolist()[0] == "linux/amd64"
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "a/b/c/d")
    with pytest.raises(InvalidArgument, match="DOCKER_DEFAULT_PLATFORM"):
        MemorySource(latest=INDEX).manifest("latest").layers()


@pytest.mark.parametrize("wrong", [0, None, b"linux/amd64", ("linux", "amd64")])
def test_a_manifest_is_indexed_by_platforms(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="platform"):
        MemorySource(latest=INDEX).manifest("latest")[wrong]


def test_a_platforms_manifest_is_about_no_other() -> None:
    source = MemorySource(latest=INDEX)
    arm = source.manifest("latest", "linux/arm64")
    assert arm["linux/arm64/v8"] == arm["aarch64"] == arm.platform("arm64") == arm
    for call in (
        lambda: arm["linux/amd64"],
        lambda: arm.platform("linux/arm64/v9"),
        lambda: arm.save("never.tar", platform="linux/amd64"),
        lambda: arm.save("never.tar", platform=["linux/arm64", "linux/amd64"]),
        lambda: arm.save("never.tar", platform="all"),
    ):
        with pytest.raises(InvalidArgument, match=r"is about linux/arm64 already.*without a plat"):
            call()
    assert saving.gather(arm, ["linux/arm64/v8"]).images[0].manifest.digest == ARM64.digest
    assert saving.gather(arm, "arm64").images[0].manifest.digest == ARM64.digest


def test_no_platform_is_not_all_of_them() -> None:
    m = MemorySource(latest=INDEX).manifest("latest")
    for nothing in ([], (), set()):
        with pytest.raises(InvalidArgument, match="no platform was named"):
            m.save("never.tar", platform=nothing)  # type: ignore[arg-type]


def test_an_index_digest_is_not_shown_as_a_platforms() -> None:
    m = MemorySource(latest=INDEX).manifest("latest")
    arm = m["linux/arm64"]
    m.digest()
    short = INDEX.digest[7:19]
    assert short in repr(m)
    assert repr(arm).endswith("not fetched>")
    assert "digest" not in arm._facts()
    assert "media_type" not in arm._facts()
    arm.size()
    assert ARM64.digest[7:19] in repr(arm)
    assert arm._facts()["digest"] == ARM64.digest
    assert arm._facts()["media_type"] == ARM64.media_type
    assert short in repr(m)


# --- unusual indexes --------------------------------------------------------------------------


def test_a_nested_index(own_registry: LabRegistry) -> None:
    inner = make_index((ARM64, ARMV7))
    outer = make_index((AMD64, inner))
    push_image(own_registry.host, "lab/nested", "1", outer)
    m = didlab.open(f"{own_registry.host}/lab/nested:1")
    table = m.platforms(sizes=True)
    assert list(table["kind"]) == ["image", "index", "image", "image"]
    assert list(table["digest"]) == [one.digest for one in (AMD64, inner, ARM64, ARMV7)]
    assert list(table["platform"])[2:] == ["linux/arm64/v8", "linux/arm/v7"]
    assert table["layers"].isna().tolist() == [False, True, False, False]
    assert m["linux/arm64"].digest() == ARM64.digest
    assert m._ipython_key_completions_() == ["linux/amd64", "linux/arm64/v8", "linux/arm/v7"]
    with pytest.raises(PlatformNotFound):
        m["linux/s390x"].digest()


def test_indexes_nested_too_deep() -> None:
    nested: Any = make_index((AMD64,))
    for depth in range(12):
        nested = make_index((nested,), annotations={"depth": str(depth)})
    with pytest.raises(LimitExceeded):
        MemorySource(latest=nested).manifest("latest").platforms()


def test_the_same_child_again_and_again_is_walked_once() -> None:
    nested: Any = make_index((AMD64,))
    for _ in range(6):
        row = nested.descriptor()
        nested = make_index((nested,), descriptors=[row] * 20)
    source = MemorySource(latest=nested)
    assert len(source.manifest("latest").platforms()) == 6 * 20 + 1
    assert source.asked.count("fetch") <= 6


def without_platform(built: BuiltImage) -> dict[str, Any]:
    row = built.descriptor()
    del row["platform"]
    return row


def test_entries_without_a_platform_are_looked_into() -> None:
    index = make_index(
        (AMD64, ARM64), descriptors=[without_platform(AMD64), without_platform(ARM64)]
    )
    m = MemorySource(latest=index).manifest("latest")
    assert list(m.platforms()["kind"]) == ["image", "image"]
    assert m["linux/arm64"].digest() == ARM64.digest
    assert m.config().cmd == ("/amd64",)
    with pytest.raises(PlatformNotFound) as caught:
        m["linux/s390x"].digest()
    assert "unknown" not in str(caught.value)
    # What was looked into is offered: it can be asked for.
    assert caught.value.available == ("linux/amd64", "linux/arm64/v8")
    assert m._ipython_key_completions_() == []


def test_the_only_entry_without_a_platform_is_the_image() -> None:
    index = make_index((ARM64,), descriptors=[without_platform(ARM64)])
    assert MemorySource(latest=index).manifest("latest").config().cmd == ("/arm64",)


def test_an_attestation_is_never_chosen() -> None:
    attestation = make_attestation(AMD64)
    row = attestation.descriptor()  # unknown/unknown, without the annotation
    index = make_index((attestation, ARM64), descriptors=[row, ARM64.descriptor()])
    m = MemorySource(latest=index).manifest("latest")
    with pytest.raises(PlatformNotFound) as caught:
        m.config()
    assert caught.value.available == ("linux/arm64/v8",)


def test_an_empty_index() -> None:
    m = MemorySource(latest=make_index(())).manifest("latest")
    assert m.platforms().empty
    assert m.platforms(sizes=True).empty
    with pytest.raises(PlatformNotFound, match="nothing"):
        m.layers()


# --- artifacts and schema 1 -------------------------------------------------------------------

CHART = make_artifact(
    b'{"name": "chart", "version": "1.0.0"}',
    "application/vnd.cncf.helm.config.v1+json",
    [
        {
            "mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
            "digest": sha256(b"chart"),
            "size": 5,
        }
    ],
    {sha256(b"chart"): b"chart"},
)


def test_an_artifact_has_layers_but_is_no_image(own_registry: LabRegistry) -> None:
    push_image(own_registry.host, "lab/chart", "1", CHART)
    m = didlab.open(f"{own_registry.host}/lab/chart:1")
    assert m.raw() == CHART.manifest
    assert m.json() == json.loads(CHART.manifest)
    assert m.digest() == CHART.digest
    layers = m.layers()
    assert list(layers["digest"]) == [sha256(b"chart")]
    assert layers["diff_id"].isna().all()
    assert layers["created"].isna().all()
    assert b"".join(m.layer(0).stream()) == b"chart"
    assert list(m.platforms()["kind"]) == ["other"]
    assert m.size() == len(CHART.config) + 5
    for call in (m.config, m.history, lambda: m["linux/amd64"].layers()):
        with pytest.raises(NotAnImage, match="helm"):
            call()
    with pytest.raises(NotAnImage):
        m.save("never.tar")
    assert "helm" in m._repr_html_()
    assert repr(m).startswith("<Manifest ")


def test_schema_1_is_shown_as_an_image_and_marked(lab: LabRegistry) -> None:
    m = didlab.open(f"{lab.host}/lab/old:1")
    assert m.platforms()["platform"].tolist() == ["linux/amd64"]
    assert m.config().cmd == ("/hello",)
    assert "converted from schema 1" in repr(m)
    assert "converted from schema 1" in m._repr_html_()


# --- what is not there ------------------------------------------------------------------------


def test_a_missing_tag(lab: LabRegistry) -> None:
    with pytest.raises(ManifestNotFound, match="none") as caught:
        didlab.open(f"{lab.host}/lab/app:none").digest()
    assert isinstance(caught.value, KeyError)
    assert caught.value.host == lab.host


def test_a_missing_digest(lab: LabRegistry) -> None:
    digest = sha256(b"nothing")
    with pytest.raises(ManifestNotFound, match=digest):
        didlab.open(f"{lab.host}/lab/app@{digest}").digest()


def test_a_missing_repository(lab: LabRegistry) -> None:
    with pytest.raises((RepositoryNotFound, ManifestNotFound)):
        didlab.open(f"{lab.host}/lab/none:1").digest()


def test_failures_are_not_remembered() -> None:
    source = MemorySource(latest=INDEX)
    m = source.manifest("latest")
    source.failures = [didlab.errors.TimedOut("too slow")]
    with pytest.raises(didlab.errors.TimedOut):
        m.digest()
    assert m.digest() == INDEX.digest


# --- layers, history, config ------------------------------------------------------------------


def test_history_lines_up_with_layers(app: Callable[..., Manifest]) -> None:
    m = app("latest")
    history, layers = m.history(), m.layers()
    assert len(layers) == 11
    assert len(history) == 13
    assert int(history["empty_layer"].sum()) == 2
    assert history["layer"].isna().tolist() == history["empty_layer"].tolist()
    made = history[~history["empty_layer"]]
    assert list(made["layer"]) == list(range(11))
    assert list(made["digest"]) == list(layers["digest"])
    assert list(made["size"]) == list(layers["size"])
    assert list(made["created_by"]) == list(layers["created_by"])
    assert list(layers["created"]) == [pd.Timestamp(CREATED)] * 11
    assert history["created_by"].iloc[-1] == 'CMD ["--help"]'
    assert list(history["position"]) == list(range(13))


def test_layers_are_those_of_manifest_and_config(app: Callable[..., Manifest]) -> None:
    m = app("oci")
    layers = m.layers()
    document = m.json()
    assert list(layers["digest"]) == [row["digest"] for row in document["layers"]]
    assert list(layers["size"]) == [row["size"] for row in document["layers"]]
    assert list(layers["media_type"]) == [row["mediaType"] for row in document["layers"]]
    assert list(layers["diff_id"]) == m.config()["rootfs"]["diff_ids"]
    assert m.image_id() == document["config"]["digest"] == of(m.config().raw)
    assert m.size() == document["config"]["size"] + sum(
        {row["digest"]: row["size"] for row in document["layers"]}.values()
    )


def test_a_layer_listed_twice_is_downloaded_once() -> None:
    image = make_image([{"a": b"a"}, {"b": b"b"}, {"a": b"a"}])
    m = MemorySource(latest=image).manifest("latest")
    sizes = {layer["digest"]: layer["size"] for layer in image.layers}
    assert len(sizes) == 2
    assert len(m.layers()) == 3
    assert m.size() == len(image.config) + sum(sizes.values())


def test_a_history_that_does_not_fit_leaves_gaps() -> None:
    short = make_image(LAYERS, history=[{"created_by": "only one"}])
    m = MemorySource(latest=short).manifest("latest")
    assert m.layers()["created_by"].iloc[0] == "only one"
    assert m.layers()["created_by"].isna().tolist() == [False, True]
    none = make_image(LAYERS, history=[])
    m = MemorySource(latest=none).manifest("latest")
    assert m.history().empty
    assert m.layers()["created_by"].isna().all()
    long = make_image(LAYERS, history=[{"created_by": str(n)} for n in range(4)])
    history = MemorySource(latest=long).manifest("latest").history()
    assert history["layer"].isna().tolist() == [False, False, True, True]


def test_a_config_with_another_number_of_layers() -> None:
    wrong = make_image(
        LAYERS, config_json={"rootfs": {"type": "layers", "diff_ids": [sha256(b"x")]}}
    )
    m = MemorySource(latest=wrong).manifest("latest")
    with pytest.raises(ManifestInvalid, match="2 layers, but the config 1"):
        m.layers()
    assert m.layer(1).diff_id is None
    m.config()
    assert m.layer(1).diff_id is None
    assert repr(m.layer(1))


def test_layer_by_position_and_digest(app: Callable[..., Manifest]) -> None:
    m = app("latest")
    digests = list(m.layers()["digest"])
    assert m.layer(0).digest == digests[0]
    assert m.layer(-1).digest == digests[-1]
    assert m.layer(-1).position == 10
    assert m.layer(digests[3]).position == 3
    assert m.layer(digests[3]) == m.layer(3)
    assert [layer.digest for layer in m.iter_layers()] == digests


def test_layer_by_the_beginning_of_its_digest(app: Callable[..., Manifest]) -> None:
    m = app("latest")
    for position, name in enumerate(m.layers()["digest"]):
        encoded = name.removeprefix("sha256:")
        for text in (encoded[:7], name[:14], name[:30], encoded):
            assert m.layer(text).digest == name
            assert m.layer(text).position <= position
        for text in (encoded[:6], name[:13], encoded[1:12], f"sha512:{encoded[:9]}"):
            with pytest.raises(LayerNotFound):
                m.layer(text)


def test_a_beginning_of_several_digests() -> None:
    """Two layers that begin alike, and one that is there twice."""
    names = [f"sha256:{start}{'0' * (64 - len(start))}" for start in ("abcdef01", "abcdef02")]
    rows = [{"mediaType": OCI_LAYER, "digest": name, "size": 1} for name in (*names, names[0])]
    artifact = make_artifact(b"{}", "application/vnd.x", rows, {})
    m = MemorySource(latest=artifact).manifest("latest")
    with pytest.raises(InvalidArgument, match=r"2 layers .* begin with abcdef0") as caught:
        m.layer("abcdef0")
    assert caught.value.available == tuple(names)
    assert m.layer("abcdef01").position == 0
    assert m.layer(f"{names[1][:15]}").position == 1


@pytest.mark.parametrize("which", [11, -12, sha256(b"none"), "sha256:abc", ""])
def test_a_layer_that_is_not_there(app: Callable[..., Manifest], which: int | str) -> None:
    m = app("latest")
    with pytest.raises(LayerNotFound) as caught:
        m.layer(which)
    error = caught.value
    assert isinstance(error, IndexError)
    assert isinstance(error, KeyError)
    assert len(error.available) == 11
    assert error.reference == str(m.reference)


@pytest.mark.parametrize("which", [True, None, 1.0, b"sha256:", np.bool_(True), np.float64(1)])
def test_what_is_no_layer(which: Any) -> None:
    source = MemorySource(latest=AMD64)
    with pytest.raises(InvalidArgument, match=f"whole number.*not by {type(which).__name__}"):
        source.manifest("latest").layer(which)
    assert source.asked == []


@pytest.mark.parametrize("kind", [np.int64, np.uint8])
def test_a_position_out_of_a_dataframe(kind: Any) -> None:
    m = MemorySource(latest=AMD64).manifest("latest")
    assert m.layer(kind(1)) == m.layer(1)
    position = m.history()["layer"].iloc[1]
    assert m.layer(position).position == 1
    with pytest.raises(LayerNotFound, match="has 2 layers, there is no layer 7"):
        m.layer(kind(7))


def test_one_layer_is_one_layer() -> None:
    m = MemorySource(latest=make_image(LAYERS[:1])).manifest("latest")
    assert "1 layer" in repr(m.config())
    assert "1 layer," in repr(m)
    assert "1 layer," in m._repr_html_()
    with pytest.raises(LayerNotFound, match="has 1 layer, there"):
        m.layer(1)
    several = MemorySource(latest=make_index((AMD64,))).manifest("latest")
    several.digest()
    assert repr(several).endswith("1 platform>")


def test_json_is_a_copy() -> None:
    m = MemorySource(latest=INDEX).manifest("latest")
    m.json()["manifests"].clear()
    assert len(m.json()["manifests"]) == 4
    assert m.raw() == INDEX.manifest


def test_annotations() -> None:
    index = make_index((AMD64,), annotations={"a": "b"})
    assert MemorySource(latest=index).manifest("latest").annotations() == {"a": "b"}


# --- identity ---------------------------------------------------------------------------------


def test_the_digest_is_pinned_though_the_tag_moves(own_registry: LabRegistry) -> None:
    host = own_registry.host
    push_image(host, "lab/moving", "1", AMD64)
    m = didlab.open(f"{host}/lab/moving:1")
    assert m.digest() == AMD64.digest
    push_image(host, "lab/moving", "1", ARM64)
    assert m.digest() == AMD64.digest
    assert m.config().cmd == ("/amd64",)
    pinned = pickle.loads(pickle.dumps(m))
    assert pinned.digest() == AMD64.digest
    assert pinned == m
    fresh = m.refresh()
    assert fresh == m
    assert fresh.digest() == ARM64.digest
    assert fresh.config().cmd == ("/arm64",)
    assert pinned.refresh().digest() == ARM64.digest
    assert didlab.open(f"{host}/lab/moving:1").digest() == ARM64.digest
    assert didlab.open(f"{host}/lab/moving@{AMD64.digest}").config().cmd == ("/amd64",)


def test_an_unasked_pickle_pins_nothing(own_registry: LabRegistry) -> None:
    host = own_registry.host
    push_image(host, "lab/later", "1", AMD64)
    packed = pickle.dumps(didlab.open(f"{host}/lab/later:1"))
    push_image(host, "lab/later", "1", ARM64)
    assert pickle.loads(packed).digest() == ARM64.digest


def test_platforms_of_one_manifest_share_its_pin() -> None:
    source = MemorySource(latest=INDEX)
    m = source.manifest("latest")
    arm64 = m["linux/arm64"]
    m.digest()
    source.put("latest", make_index((ARMV7,)))
    assert arm64.digest() == ARM64.digest
    assert source.asked.count("resolve") == 1


def test_equality_and_hash_do_not_change_as_data_arrives() -> None:
    source = MemorySource(latest=INDEX, other=INDEX)
    m, same = source.manifest("latest"), source.manifest("latest")
    before = hash(m)
    m.config()
    assert m == same
    assert hash(m) == before == hash(same)
    assert m != source.manifest("other")
    assert m != m["linux/arm64"]
    assert m["arm64"] == m["linux/arm64"]
    assert m["linux/arm64"] != m["linux/amd64"]
    assert didlab.open("nginx") == didlab.open("docker.io/library/nginx:latest")
    assert didlab.open("nginx") != didlab.open("nginx:1")


def test_threads_that_ask_at_once_make_one_request() -> None:
    source = MemorySource(latest=INDEX)
    source.slow = 0.05
    m = source.manifest("latest")
    gate = threading.Barrier(8)

    def ask(_: int) -> tuple[str, str, int]:
        gate.wait(30)
        return m.digest(), m.image_id(), len(m.layers())

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(ask, range(8)))
    assert answers == {(INDEX.digest, AMD64.image_id, 2)}
    assert sorted(source.asked) == ["fetch", "fetch", "resolve"]  # manifest, config, index


def test_threads_over_http() -> None:
    with FaultServer() as server:
        server.add_image("lab/app", "1", INDEX)
        m = didlab.open(f"{server.host}/lab/app:1", trust_env=False)
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(lambda _: m.image_id(), range(16)))) == 1
        assert len(server.asked("/manifests/1")) == 1
        assert len(server.asked("/manifests/sha256")) == 1


# --- opening ----------------------------------------------------------------------------------


def test_open_takes_text_and_references() -> None:
    reference = didlab.Reference.parse("ghcr.io/o/i:1")
    assert didlab.open(reference) == didlab.open("ghcr.io/o/i:1")
    assert didlab.open("docker://ghcr.io/o/i:1") == didlab.open(reference)
    assert didlab.open("nginx", "arm64") == didlab.open("nginx")["linux/arm64"]


@pytest.mark.parametrize(
    ("what", "options", "error"),
    [
        ("UPPER/case", {}, didlab.errors.InvalidReference),
        ("https://nginx", {}, didlab.errors.InvalidReference),
        (5, {}, didlab.errors.InvalidReference),
        ("nginx", {"platform": 5}, InvalidArgument),
        ("nginx", {"platform": "a/b/c/d"}, InvalidArgument),
        ("nginx", {"nonsense": 1}, InvalidArgument),
        ("nginx", {"username": "alice"}, InvalidArgument),
    ],
)
def test_open_refuses_what_cannot_be_meant(what: Any, options: Any, error: type) -> None:
    with pytest.raises(error):
        didlab.open(what, **options)


def test_a_lying_digest_is_refused() -> None:
    with FaultServer() as server:
        server.add_image("lab/app", "1", AMD64)
        kind = {"Content-Type": AMD64.media_type}
        server.rule(
            lambda request: request.path.endswith(AMD64.digest),
            respond(200, kind, ARM64.manifest),
        )
        m = didlab.open(f"{server.host}/lab/app@{AMD64.digest}", trust_env=False)
        with pytest.raises(didlab.errors.DigestMismatch) as caught:
            m.digest()
        assert caught.value.expected == AMD64.digest
        assert caught.value.actual == ARM64.digest


def test_a_config_with_lying_bytes_is_refused() -> None:
    source = MemorySource(latest=AMD64)
    with FaultServer() as server:
        server.add_image("lab/app", "1", AMD64)
        wrong = dump({**json.loads(AMD64.config), "os": "linuy"})
        assert len(wrong) == len(AMD64.config)
        server.blobs[AMD64.image_id] = wrong
        with pytest.raises(didlab.errors.DigestMismatch):
            didlab.open(f"{server.host}/lab/app:1", trust_env=False).config()
    assert source.manifest("latest").config().os == "linux"
