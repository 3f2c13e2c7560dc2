"""Schema 1 as it comes: its signed part, its digest, and what Docker would refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.images import sha256
from rig.schema1 import SCHEMA1, SIGNED, b64, document, make_old, sign, v1_id

from didlab import errors
from didlab.oci import manifest as manifests
from didlab.oci import media_types, schema1
from didlab.oci.schema1 import parse, payload

BLOBS = [sha256(b"%d" % number) for number in range(6)]


def v1(number: int, parent: int | None = None, **fields: Any) -> str:
    image: dict[str, Any] = {"id": v1_id(number), **fields}
    if parent is not None:
        image["parent"] = v1_id(parent)
    return json.dumps(image)


CHAIN = [(BLOBS[0], v1(0)), (BLOBS[1], v1(1, 0)), (BLOBS[2], v1(2, 1))]


# --- the signed part ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("end", [b"", b"\n", b" \n "], ids=["bare", "newline", "blanks"])
@pytest.mark.parametrize("indent", [None, 3])
def test_the_payload_is_what_was_signed(count, end, indent):
    body = json.dumps(json.loads(document(CHAIN)), indent=indent).encode() + end
    raw = sign(body, count)
    assert payload(raw) == body
    found = parse(raw, SIGNED)
    assert (found.raw, found.payload, found.digest) == (raw, body, sha256(body))
    assert found.media_type == media_types.SCHEMA1_SIGNED
    assert found.signatures == count
    assert found.layers == tuple(BLOBS[:3])


def test_unsigned_is_its_own_payload():
    raw = document(CHAIN)
    found = parse(raw, SCHEMA1)
    assert payload(raw) == found.payload == found.raw == raw
    assert (found.digest, found.media_type) == (sha256(raw), media_types.SCHEMA1)
    assert (found.name, found.tag, found.architecture) == ("lab/old", "1", "amd64")
    assert found.signatures == 0


def test_what_stands_behind_the_signed_part_is_not_looked_at():
    """Only the payload has the digest, so only the payload says what the image is."""
    raw = sign(document(CHAIN))
    evil = raw.replace(b'"signatures"', b'"name": "evil", "signatures"')
    with pytest.raises(errors.ManifestInvalid, match="twice"):
        parse(evil)
    evil = raw.replace(b'"signatures"', b'"Tag": "evil", "signatures"')
    with pytest.raises(errors.TypeConfusion):
        parse(evil)
    evil = raw.replace(b'"signatures"', b'"other": "evil", "signatures"')
    assert parse(evil).payload == document(CHAIN)


@given(st.integers(-5, 10_000), st.binary(max_size=8))
@settings(max_examples=50, deadline=None)
def test_any_length_and_tail_give_a_payload_or_an_error(length, tail):
    header = {"formatLength": length, "formatTail": b64(tail)}
    body = json.loads(document(CHAIN))
    body["signatures"] = [{"protected": b64(json.dumps(header).encode())}]
    raw = json.dumps(body).encode()
    try:
        found = payload(raw)
    except errors.ManifestInvalid:
        assert not 0 <= length <= len(raw)
    else:
        assert found == raw[:length] + tail


def protected(**header: Any) -> dict[str, str]:
    return {"protected": b64(json.dumps(header).encode())}


GOOD = {"formatLength": 5, "formatTail": b64(b"}")}


@pytest.mark.parametrize(
    "signatures",
    [
        [],
        None,
        {},
        "x",
        [None],
        [{}],
        [{"protected": 1}],
        [{"protected": "*"}],
        [{"protected": "A"}],
        [{"protected": "ü"}],
        [{"protected": b64(b"[]")}],
        [protected()],
        [protected(formatLength=5)],
        [protected(formatTail=b64(b"}"))],
        [protected(formatLength="5", formatTail="fQ")],
        [protected(formatLength=5.0, formatTail="fQ")],
        [protected(formatLength=True, formatTail="fQ")],
        [protected(formatLength=-1, formatTail="fQ")],
        [protected(formatLength=10**6, formatTail="fQ")],
        [protected(formatLength=5, formatTail="*")],
        [protected(**GOOD), protected(formatLength=6, formatTail=b64(b"}"))],
        [protected(**GOOD), protected(formatLength=5, formatTail=b64(b" }"))],
    ],
)
def test_signatures_that_say_nothing_clear_are_refused(signatures):
    body = {**json.loads(document(CHAIN)), "signatures": signatures}
    with pytest.raises(errors.ManifestInvalid):
        payload(json.dumps(body).encode())


def test_descriptor_leads_back():
    raw = sign(document(CHAIN))
    descriptor = parse(raw).descriptor
    assert descriptor.sent == raw
    assert descriptor.data == payload(raw)
    assert (descriptor.digest, descriptor.size) == (sha256(payload(raw)), len(payload(raw)))
    assert parse(descriptor.data).layers == parse(raw).layers


# --- what Docker refuses ------------------------------------------------------------------------


def test_steps_are_base_first_without_what_was_thrown_away():
    entries = [(BLOBS[0], v1(0)), (BLOBS[1], v1(1, 0, throwaway=True)), (BLOBS[2], v1(2, 1))]
    found = parse(document(entries))
    assert [step.id for step in found.steps] == [v1_id(0), v1_id(1), v1_id(2)]
    assert [step.throwaway for step in found.steps] == [False, True, False]
    assert found.layers == (BLOBS[0], BLOBS[2])


@pytest.mark.parametrize(
    ("order", "left"),
    [
        ([0, 0], [0]),
        ([0, 1, 1], [0, 2 - 1]),
        ([0, 0, 0, 1], [0, 3]),
        ([0, 1, 1, 2, 2, 2], [0, 1, 3]),
    ],
)
def test_repeated_entries_go_the_upper_ones(order, left):
    entries = [(BLOBS[at], v1(n, n - 1 if n else None)) for at, n in enumerate(order)]
    found = parse(document(entries))
    assert found.layers == tuple(BLOBS[at] for at in left)
    assert [step.id for step in found.steps] == [v1_id(n) for n in dict.fromkeys(order)]


def broken(**changes: Any) -> bytes:
    return json.dumps({**json.loads(document(CHAIN)), **changes}).encode()


@pytest.mark.parametrize(
    "raw",
    [
        broken(fsLayers=[], history=[]),
        broken(fsLayers=None, history=None),
        broken(history=[]),
        broken(fsLayers=[{"blobSum": BLOBS[0]}]),
        broken(fsLayers={}),
        broken(fsLayers=[None] * 3),
        broken(fsLayers=[{}] * 3),
        broken(fsLayers=[{"blobSum": "tarsum.v1+sha256:" + "0" * 64}] * 3),
        broken(history=[{}] * 3),
        broken(history=[{"v1Compatibility": "no JSON"}] * 3),
        broken(history=[{"v1Compatibility": "[]"}] * 3),
        broken(history=[{"v1Compatibility": "{}"}] * 3),
        broken(schemaVersion=2),
        broken(schemaVersion=True),
        broken(name=1),
        document([(BLOBS[0], v1(0)), (BLOBS[1], v1(1))]),  # no parent
        document([(BLOBS[0], v1(0)), (BLOBS[1], v1(1, 2))]),  # another parent
        document([(BLOBS[0], v1(0, 5))]),  # the base has one
        document([(BLOBS[0], v1(0)), (BLOBS[1], v1(1, 0)), (BLOBS[2], v1(0, 1))]),  # a circle
        document([(BLOBS[0], json.dumps({"id": "a" * 63}))]),
        document([(BLOBS[0], json.dumps({"id": "A" * 64}))]),
        document([(BLOBS[0], json.dumps({"id": "a" * 64 + "\n"}))]),
        document([(BLOBS[0], v1(0, throwaway="yes"))]),
        document([(BLOBS[0], v1(0, os=["linux"]))]),
        b"[]",
        b"nonsense",
        b"",
    ],
)
def test_refused(raw):
    with pytest.raises(errors.ManifestInvalid):
        parse(raw)


def test_the_base_of_windows_has_a_parent_elsewhere():
    found = parse(document([(BLOBS[0], v1(0, 5, os="windows")), (BLOBS[1], v1(1, 0))]))
    assert len(found.layers) == 2


@pytest.mark.parametrize(
    ("raw", "media_type"),
    [
        (broken(layers=[]), SCHEMA1),
        (broken(config={}), None),
        (broken(manifests=[]), None),
        (broken(FSLayers=[]), SCHEMA1),
        (broken(mediaType=media_types.OCI_MANIFEST), None),
        (broken(), media_types.DOCKER_MANIFEST),
        (broken(), media_types.OCI_INDEX + "; charset=utf-8"),
        (broken(history=[{"v1Compatibility": v1(0), "V1compatibility": v1(1)}] * 3), None),
        (document([(BLOBS[0], v1(0, Throwaway=True))]), None),
        (document([(BLOBS[0], v1(0, ID="b" * 64))]), None),
    ],
)
def test_what_others_would_read_otherwise(raw, media_type):
    with pytest.raises(errors.TypeConfusion):
        parse(raw, media_type)


@pytest.mark.parametrize("media_type", [None, "application/json", "text/html", SIGNED])
def test_types_that_say_nothing_do_no_harm(media_type):
    assert parse(broken(), media_type).layers == tuple(BLOBS[:3])


def test_limits():
    many = [(BLOBS[0], v1(n, n - 1 if n else None)) for n in range(schema1.LAYERS_LIMIT + 1)]
    assert len(parse(document(many[:-1])).steps) == schema1.LAYERS_LIMIT
    with pytest.raises(errors.LimitExceeded):
        parse(document(many))
    with pytest.raises(errors.LimitExceeded):
        parse(broken(name="x" * schema1.MANIFEST_LIMIT))


def test_where_a_newer_manifest_belongs_it_is_refused_by_name():
    raw = make_old([{"a": b"a"}]).raw
    with pytest.raises(errors.Unsupported, match="schema 1") as caught:
        manifests.parse(raw, SIGNED)
    assert caught.value.hint


def test_messages_name_the_place():
    with pytest.raises(errors.ManifestInvalid, match=r"history\[0\]\.v1Compatibility: the parent"):
        parse(document([(BLOBS[0], v1(0)), (BLOBS[1], v1(1, 2))]))
