"""Manifests and indexes: every legal form, and no document that reads in two ways."""

from __future__ import annotations

import base64
import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didlab import errors
from didlab.oci import digest as digests
from didlab.oci import manifest as manifests
from didlab.oci import media_types as mt
from didlab.oci import schema1
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import ImageIndex, ImageManifest, kind, parse
from didlab.oci.platform import Platform

A, B, C = ("sha256:" + letter * 64 for letter in "abc")


def descriptor(media_type, digest=A, size=10, **more):
    return {"mediaType": media_type, "digest": digest, "size": size, **more}


def image(**fields):
    return {
        "schemaVersion": 2,
        "mediaType": mt.OCI_MANIFEST,
        "config": descriptor(mt.OCI_CONFIG),
        "layers": [descriptor(mt.OCI_LAYER_GZIP, B, 20), descriptor(mt.OCI_LAYER_ZSTD, C, 30)],
        **fields,
    }


def docker_image(**fields):
    return {
        "schemaVersion": 2,
        "mediaType": mt.DOCKER_MANIFEST,
        "config": descriptor(mt.DOCKER_CONFIG),
        "layers": [descriptor(mt.DOCKER_LAYER, B, 20)],
        **fields,
    }


def index(**fields):
    return {
        "schemaVersion": 2,
        "mediaType": mt.OCI_INDEX,
        "manifests": [
            descriptor(mt.OCI_MANIFEST, A, platform={"os": "linux", "architecture": "amd64"})
        ],
        **fields,
    }


def raw(document):
    return json.dumps(document).encode()


def without(document, *keys):
    return {key: value for key, value in document.items() if key not in keys}


def test_image():
    data = raw(image(annotations={"a": "b"}, subject=descriptor(mt.OCI_MANIFEST, C)))
    found = parse(data)
    assert isinstance(found, ImageManifest)
    assert found.raw is data
    assert found.digest == digests.of(data)
    assert found.media_type == mt.OCI_MANIFEST
    assert found.config == Descriptor(mt.OCI_CONFIG, A, 10)
    assert [layer.digest for layer in found.layers] == [B, C]
    assert found.annotations == {"a": "b"}
    assert found.subject == Descriptor(mt.OCI_MANIFEST, C, 10)
    assert found.artifact_type is None
    assert found.is_image
    assert pickle.loads(pickle.dumps(found)) == found
    assert len({found, parse(data)}) == 1


def test_spacing_changes_the_digest_and_so_the_value():
    document = image()
    one, other = (
        parse(json.dumps(document).encode()),
        parse(json.dumps(document, indent=3).encode()),
    )
    assert one.digest != other.digest
    assert one != other


def test_index():
    data = raw(
        index(
            manifests=[
                descriptor(mt.OCI_MANIFEST, A, platform={"os": "linux", "architecture": "arm64"}),
                descriptor(mt.OCI_MANIFEST, B),
                descriptor(mt.OCI_INDEX, C),
                descriptor(
                    mt.OCI_MANIFEST,
                    "sha256:" + "d" * 64,
                    platform={"os": "unknown", "architecture": "unknown"},
                    annotations={"vnd.docker.reference.type": "attestation-manifest"},
                ),
            ]
        )
    )
    found = parse(data, mt.OCI_INDEX)
    assert isinstance(found, ImageIndex)
    assert found.digest == digests.of(data)
    assert found.manifests[0].platform == Platform("linux", "arm64")
    assert [kind(entry) for entry in found.manifests] == ["image", "image", "index", "attestation"]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Descriptor(mt.DOCKER_MANIFEST, A, 1), "image"),
        (Descriptor(mt.DOCKER_LIST, A, 1), "index"),
        (Descriptor(mt.SCHEMA1_SIGNED, A, 1), "other"),
        (Descriptor("application/x", A, 1), "other"),
        (Descriptor(mt.OCI_MANIFEST, A, 1, Platform("unknown", "unknown")), "other"),
        (Descriptor(mt.OCI_MANIFEST, A, 1, Platform("", "")), "image"),
        (Descriptor(mt.OCI_MANIFEST, A, 1, artifact_type="application/x"), "other"),
        (Descriptor(mt.OCI_MANIFEST, A, 1, artifact_type=mt.OCI_CONFIG), "image"),
    ],
)
def test_kind(entry, expected):
    assert kind(entry) == expected


def test_embedded_data():
    text = base64.b64encode(b"{}").decode()
    config = descriptor(mt.OCI_EMPTY, digests.of(b"{}"), 2, data=text)
    found = parse(raw(image(config=config)))
    assert found.config.data == b"{}"
    assert not found.is_image


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (image(), True),
        (docker_image(), True),
        (image(config=descriptor("application/vnd.cncf.helm.config.v1+json")), False),
        (image(config=descriptor(mt.OCI_EMPTY)), False),
        (image(artifactType="application/vnd.example"), False),
        (image(config=descriptor("application/octet-stream")), False),
        (docker_image(config=descriptor("application/octet-stream")), True),
        (docker_image(config=descriptor(mt.DOCKER_PLUGIN_CONFIG)), False),
        (image(layers=[]), True),
    ],
)
def test_images_and_artifacts_both_parse(document, expected):
    assert parse(raw(document)).is_image is expected


def test_empty_index_and_unknown_fields():
    found = parse(raw(index(manifests=[], extra={"x": [None]}, artifactType="application/x")))
    assert found.manifests == ()
    assert found.artifact_type == "application/x"


_TYPES = {
    mt.OCI_MANIFEST: image,
    mt.DOCKER_MANIFEST: docker_image,
    mt.OCI_INDEX: index,
    mt.DOCKER_LIST: index,
}
_USELESS = [
    None,
    "",
    "text/html",
    "application/json",
    "application/json; charset=utf-8",
    "application/octet-stream",
    "text/plain",
    ";;",
    "application/vnd.oci.image.config.v1+json",
]


@pytest.mark.parametrize("says", [None, "", *_TYPES])
@pytest.mark.parametrize("came_as", [*_USELESS, *_TYPES])
@pytest.mark.parametrize("shape", [image, index])
def test_types_agree_or_are_refused(says, came_as, shape):
    document = without(shape(), "mediaType") | ({} if says is None else {"mediaType": says})
    known = {kind for kind in (says, came_as) if kind in _TYPES}
    fits = all(mt.is_index(kind) == (shape is index) for kind in known)
    if len(known) <= 1 and fits:
        found = parse(raw(document), came_as)
        assert isinstance(found, ImageIndex if shape is index else ImageManifest)
        default = mt.OCI_INDEX if shape is index else mt.OCI_MANIFEST
        assert found.media_type == (known.pop() if known else default)
    else:
        with pytest.raises(errors.TypeConfusion):
            parse(raw(document), came_as)


@pytest.mark.parametrize("suffix", ["; charset=utf-8", ";charset=ISO-8859-1", " ; a=b", ";"])
def test_content_types_have_parameters(suffix):
    data = raw(without(image(), "mediaType"))
    assert parse(data, mt.OCI_MANIFEST + suffix).media_type == mt.OCI_MANIFEST
    assert parse(data, mt.OCI_MANIFEST.upper() + suffix).media_type == mt.OCI_MANIFEST
    with pytest.raises(errors.TypeConfusion):
        parse(data, mt.OCI_INDEX + suffix)


def test_without_any_type_the_config_tells_docker_from_oci():
    assert parse(raw(without(docker_image(), "mediaType"))).media_type == mt.DOCKER_MANIFEST


@pytest.mark.parametrize("media_type", [None, *_TYPES])
@pytest.mark.parametrize(
    "document",
    [
        {**index(), **image()},
        {**image(), **index()},
        {**without(image(), "config"), **index()},
        {**without(image(), "layers"), **index()},
        image(manifests=[]),
        image(manifests=None),
        index(layers=[]),
        index(config=None),
        image(fsLayers=[]),
        index(fsLayers=[]),
        image(schemaVersion=1, fsLayers=[]),
    ],
)
def test_fields_of_two_kinds(document, media_type):
    # CVE-2021-41190
    for candidate in (document, without(document, "mediaType")):
        with pytest.raises(errors.TypeConfusion):
            parse(raw(candidate), media_type)


@pytest.mark.parametrize("key", ["Layers", "CONFIG", "Manifests", "mediatype", "\u017fubject"])
def test_keys_in_other_letters(key):
    for document in (image(), index()):
        with pytest.raises(errors.TypeConfusion):
            parse(raw({**document, key: []}))
    with pytest.raises(errors.TypeConfusion):
        parse(raw(image(layers=[descriptor(mt.OCI_LAYER, B, Digest=A)])))


@pytest.mark.parametrize(
    ("document", "where"),
    [
        (None, ""),
        ([], ""),
        ("x", ""),
        (5, ""),
        ({}, ""),
        ({"schemaVersion": 2}, ""),
        (image(schemaVersion=3), "schemaVersion"),
        (image(schemaVersion=0), "schemaVersion"),
        (image(schemaVersion=True), "schemaVersion"),
        (image(schemaVersion="2"), "schemaVersion"),
        (image(schemaVersion=2.0), "schemaVersion"),
        (without(image(), "schemaVersion"), "schemaVersion"),
        (without(index(), "schemaVersion"), "schemaVersion"),
        (image(mediaType=5), "mediaType"),
        (image(mediaType="text/html"), "mediaType"),
        (image(mediaType=mt.OCI_MANIFEST + ";a=b"), "mediaType"),
        (image(layers=None), "layers"),
        (image(layers={}), "layers"),
        (image(layers="x"), "layers"),
        (image(layers=[None]), "layers[0]"),
        (without(image(), "layers"), "layers"),
        (without(image(), "config"), "config"),
        (image(config=None), "config"),
        (image(config="x"), "config"),
        (image(config={}), "config.mediaType"),
        (image(annotations=[]), "annotations"),
        (image(annotations={"a": None}), "annotations['a']"),
        (image(subject="x"), "subject"),
        (image(subject={}), "subject.mediaType"),
        (image(artifactType=5), "artifactType"),
        (index(manifests=None), "manifests"),
        (index(manifests={}), "manifests"),
        (index(manifests=[{}]), "manifests[0].mediaType"),
        (index(manifests=[descriptor(mt.OCI_MANIFEST, size=-1)]), "manifests[0].size"),
        (
            image(layers=[descriptor(mt.OCI_LAYER, B), descriptor(mt.OCI_LAYER, B, 11)]),
            "layers[1]",
        ),
        (
            image(layers=[descriptor(mt.OCI_LAYER, B), descriptor(mt.OCI_LAYER_GZIP, B)]),
            "layers[1]",
        ),
        (
            index(manifests=[descriptor(mt.OCI_MANIFEST), descriptor(mt.OCI_MANIFEST, size=1)]),
            "manifests[1]",
        ),
    ],
)
def test_refused_with_the_place(document, where):
    with pytest.raises(errors.ManifestInvalid) as caught:
        parse(raw(document))
    assert caught.value.where == where


def test_the_same_layer_twice_is_legal():
    layer = descriptor(mt.OCI_LAYER, B)
    assert len(parse(raw(image(layers=[layer, layer]))).layers) == 2
    entries = [
        descriptor(mt.OCI_MANIFEST, platform={"os": "linux", "architecture": "arm64", "variant": v})
        for v in ("", "v8")
    ]
    assert len(parse(raw(index(manifests=entries))).manifests) == 2


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>", b"{}{}", raw(image()) + b"\n{}", b'{"a":1,"a":2}', b"\xff\xfe{\x00}\x00"],
)
def test_not_strict_json(data):
    with pytest.raises(errors.ManifestInvalid):
        parse(data, mt.OCI_MANIFEST)


def test_size_limit():
    fill = "x" * (manifests.MANIFEST_LIMIT - len(raw(image(fill=""))))
    assert len(raw(image(fill=fill))) == 4 * 1024 * 1024
    assert parse(raw(image(fill=fill)))
    with pytest.raises(errors.LimitExceeded) as caught:
        parse(raw(image(fill=fill + "x")))
    assert caught.value.limit == manifests.MANIFEST_LIMIT


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        ({"schemaVersion": 1, "fsLayers": [], "history": []}, None),
        ({"schemaVersion": 1, "fsLayers": [], "history": []}, mt.SCHEMA1_SIGNED),
        ({"schemaVersion": 1, "fsLayers": [], "history": []}, mt.SCHEMA1 + "; charset=utf-8"),
        ({"schemaVersion": 1, "name": "x", "tag": "y"}, "application/json"),
        ({"schemaVersion": 1, "mediaType": mt.SCHEMA1, "fsLayers": []}, None),
        ({"schemaVersion": 2, "fsLayers": []}, None),
    ],
)
def test_schema1_is_refused_by_name(document, media_type):
    with pytest.raises(errors.Unsupported, match="schema 1") as caught:
        parse(raw(document), media_type)
    assert "by itself" in str(caught.value)
    assert schema1.is_schema1(document)


@pytest.mark.parametrize("media_type", [mt.SCHEMA1, mt.SCHEMA1_SIGNED])
def test_schema1_types_with_newer_fields(media_type):
    with pytest.raises(errors.TypeConfusion):
        parse(raw(image()), media_type)
    with pytest.raises(errors.DidlabError):
        parse(raw(without(image(), "mediaType")), media_type)


def test_accept_has_all_six_types():
    assert len(set(mt.ACCEPT)) == 6
    assert all(map(mt.is_known_manifest, mt.ACCEPT))
    families = (mt.is_index, mt.is_manifest, mt.is_schema1)
    assert [sum(map(family, mt.ACCEPT)) for family in families] == [2, 2, 2]


@pytest.mark.parametrize(
    ("media_type", "compression", "apart"),
    [
        (mt.OCI_LAYER, "", False),
        (mt.OCI_LAYER_GZIP, "gzip", False),
        (mt.OCI_LAYER_ZSTD, "zstd", False),
        (mt.DOCKER_LAYER, "gzip", False),
        (mt.DOCKER_FOREIGN_LAYER, "gzip", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "zstd", True),
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", None, False),
        ("", None, False),
    ],
)
def test_layer_types(media_type, compression, apart):
    assert mt.compression(media_type) == compression
    assert mt.is_layer(media_type) is (compression is not None)
    assert mt.is_nondistributable(media_type) is apart


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
_KEYS = st.sampled_from(
    [
        "schemaVersion",
        "mediaType",
        "config",
        "layers",
        "manifests",
        "fsLayers",
        "subject",
        "annotations",
        "Layers",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([image(), index(), docker_image()]),
    st.dictionaries(_KEYS, _JSON, max_size=2),
    st.sets(_KEYS, max_size=2),
    st.sampled_from([None, "text/html", *mt.ACCEPT]),
)
def test_any_change_gives_a_manifest_or_a_typed_error(document, changes, gone, media_type):
    mutated = without(document, *gone) | changes
    try:
        found = parse(raw(mutated), media_type)
    except (errors.ManifestInvalid, errors.TypeConfusion, errors.Unsupported):
        return
    assert isinstance(found, ImageIndex) == ("manifests" in mutated)
    assert isinstance(found, ImageManifest) == ("layers" in mutated)
    assert found.digest == digests.of(found.raw)
    assert media_type in (None, "text/html", found.media_type)
