"""Descriptors: strict types, a place in every error, embedded data only when true."""

from __future__ import annotations

import base64
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from didlab import errors
from didlab.oci import digest as digests
from didlab.oci.descriptor import Descriptor
from didlab.oci.platform import Platform

A = "sha256:" + "a" * 64


def make(**fields):
    return {"mediaType": "application/x", "digest": A, "size": 1, **fields}


def read(value):
    return Descriptor.from_json(value, "layers[3]")


def test_all_fields():
    found = read(
        make(
            platform={
                "os": "windows",
                "architecture": "amd64",
                "variant": None,
                "os.version": "10.0",
                "os.features": ["win32k"],
            },
            annotations={"a": "b"},
            urls=["https://example.com/x"],
            artifactType="application/y",
            unknown=[{}],
        )
    )
    assert found == Descriptor(
        "application/x",
        A,
        1,
        Platform("windows", "amd64", "", "10.0", ("win32k",)),
        urls=("https://example.com/x",),
        artifact_type="application/y",
    )
    assert found.annotations == {"a": "b"}
    assert found.data is None


def test_null_is_absent():
    nulls = dict.fromkeys(["platform", "annotations", "urls", "data", "artifactType"])
    assert read(make(**nulls)) == read(make())


def test_a_value_that_hashes_and_pickles():
    one = read(make(annotations={"a": "b"}))
    assert one == read(make())
    assert hash(one) == hash(read(make()))
    assert pickle.loads(pickle.dumps(one)).annotations == {"a": "b"}


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (None, "layers[3]"),
        ([], "layers[3]"),
        ("x", "layers[3]"),
        ({}, "layers[3].mediaType"),
        (make(mediaType=""), "layers[3].mediaType"),
        (make(mediaType=5), "layers[3].mediaType"),
        (make(mediaType="a/b\r\nX: y"), "layers[3].mediaType"),
        (make(mediaType="a/é"), "layers[3].mediaType"),
        (make(mediaType="a" * 256), "layers[3].mediaType"),
        (make(artifactType=5), "layers[3].artifactType"),
        (make(digest=None), "layers[3].digest"),
        (make(digest="sha256:../../x"), "layers[3].digest"),
        (make(digest=A + "\n"), "layers[3].digest"),
        (make(digest=A.upper()), "layers[3].digest"),
        (make(size=None), "layers[3].size"),
        (make(size=True), "layers[3].size"),
        (make(size=False), "layers[3].size"),
        (make(size=1.0), "layers[3].size"),
        (make(size="1"), "layers[3].size"),
        (make(size=-1), "layers[3].size"),
        (make(size=2**63), "layers[3].size"),
        (make(platform="linux"), "layers[3].platform"),
        (make(platform={"os": 5}), "layers[3].platform.os"),
        (make(platform={"os.features": "x"}), "layers[3].platform.os.features"),
        (make(platform={"os.features": [1]}), "layers[3].platform.os.features[0]"),
        (make(annotations=[]), "layers[3].annotations"),
        (make(annotations={"a": 1}), "layers[3].annotations['a']"),
        (make(urls="x"), "layers[3].urls"),
        (make(urls=["x", None]), "layers[3].urls[1]"),
        (make(data=5), "layers[3].data"),
    ],
)
def test_refused_with_the_place(value, where):
    with pytest.raises(errors.ManifestInvalid) as caught:
        read(value)
    assert caught.value.where == where
    assert where in str(caught.value)


@pytest.mark.parametrize("size", [0, 1, 2**63 - 1])
def test_sizes(size):
    assert read(make(size=size)).size == size


@pytest.mark.parametrize(
    "value",
    [
        make(Digest=A),
        make(DIGEST="sha256:" + "b" * 64),
        make(mediatype="x/y"),
        {"MediaType": "application/x", "digest": A, "size": 1},
        {**make(), "\u017fize": 2},
        make(platform={"os": "linux", "OS": "windows"}),
    ],
)
def test_keys_that_only_look_like_a_field(value):
    with pytest.raises(errors.TypeConfusion):
        read(value)


@given(st.binary(max_size=100), st.sampled_from(["sha256", "sha512"]))
def test_true_data_is_kept(data, name):
    text = base64.b64encode(data).decode()
    found = read(make(data=text, size=len(data), digest=digests.of(data, name)))
    assert found.data == data


@pytest.mark.parametrize(
    "text",
    [
        "aGVsbG8",  # no padding
        "aGVsbG8=\n",
        "aGVs bG8=",
        "!aGVsbG8=",
        "aGVsbG9=",  # bits after the last byte
        "aGVsbG8-",
        "é" * 8,
        "",
        base64.b64encode(b"jello").decode(),
        base64.b64encode(b"hello!").decode(),
    ],
)
def test_other_data_is_ignored(text):
    found = read(make(data=text, size=5, digest=digests.of(b"hello")))
    assert found.data is None


def test_data_of_another_size_is_ignored():
    text = base64.b64encode(b"hello").decode()
    assert read(make(data=text, size=4, digest=digests.of(b"hello"))).data is None


def test_data_stays_out_of_the_repr():
    text = base64.b64encode(b"hello").decode()
    found = read(make(data=text, size=5, digest=digests.of(b"hello")))
    assert "hello" not in repr(found)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
_FIELDS = ["mediaType", "digest", "size", "platform", "annotations", "urls", "data", "Size"]


@given(st.sampled_from(_FIELDS), _JSON)
def test_any_value_in_any_field_gives_a_descriptor_or_a_typed_error(field, value):
    try:
        found = read(make(**{field: value}))
    except (errors.ManifestInvalid, errors.TypeConfusion):
        return
    assert type(found.size) is int
    assert digests.is_digest(found.digest)
    hash(found)
