"""Digests: one spelling, and bytes checked as they come."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from didlab import errors
from didlab.oci import digest as digests

A = "a" * 64
WRONG = [
    "",
    A,
    ":" + A,
    "sha256:",
    "sha256:" + A[1:],
    "sha256:" + A + "a",
    "sha256:" + "A" * 64,
    "sha256:" + "g" * 64,
    "SHA256:" + A,
    "Sha256:" + A,
    " sha256:" + A,
    "sha256:" + A + " ",
    "sha256:" + A + "\n",
    "sha256:" + A + "\x00",
    "sha256::" + A[1:],
    "sha256-" + A,
    "sha256/" + A,
    "sha256:" + "１" * 64,
    "sha256:" + "\u0661" * 64,
    "sha256:" + "../" * 21 + "x",
    "sha256:../../../etc/x",
    "sha256:" + A[:-3] + "/..",
    "sha512:" + A,
    "sha512:" + "a" * 127,
    "sha512:" + "a" * 129,
    "sha256:" + "a" * 128,
    "sha384:" + "a" * 96,
    "sha1:" + "a" * 40,
    "md5:" + "a" * 32,
    "sha256+b64:" + A,
    "x@sha256:" + A,
    None,
    5,
    b"sha256:" + A.encode(),
    ["sha256:" + A],
]


@pytest.mark.parametrize("text", WRONG)
def test_no_digest(text):
    assert not digests.is_digest(text)
    for use in (digests.algorithm, digests.encoded, digests.Verifier):
        with pytest.raises(errors.InvalidArgument, match="not a digest"):
            use(text)


@pytest.mark.parametrize("name", ["sha256", "sha512"])
def test_both_algorithms(name):
    digest = digests.of(b"hello", name)
    assert digest == f"{name}:{hashlib.new(name, b'hello').hexdigest()}"
    assert digests.is_digest(digest)
    assert digests.algorithm(digest) == name
    assert f"{name}:{digests.encoded(digest)}" == digest


def test_other_algorithms_are_refused():
    with pytest.raises(errors.InvalidArgument):
        digests.of(b"", "md5")


@given(st.text())
def test_what_is_a_digest_is_safe_in_paths(text):
    if digests.is_digest(text):
        assert text.isascii()
        assert "/" not in text
        assert "." not in text


@given(st.lists(st.binary(max_size=20), max_size=8), st.sampled_from(["sha256", "sha512"]))
def test_the_promised_bytes_pass_however_they_are_cut(chunks, name):
    data = b"".join(chunks)
    verifier = digests.Verifier(digests.of(data, name), len(data))
    for chunk in chunks:
        verifier.update(memoryview(chunk))
    assert verifier.received == len(data)
    verifier.check()
    verifier.check()


def test_other_bytes_of_the_same_size():
    verifier = digests.Verifier(digests.of(b"good"), 4, where="layer 2 of ghcr.io/x")
    verifier.update(b"evil")
    with pytest.raises(errors.DigestMismatch, match=r"layer 2 of ghcr\.io/x") as caught:
        verifier.check()
    assert caught.value.expected == digests.of(b"good")
    assert caught.value.actual == digests.of(b"evil")


def test_too_many_bytes_are_refused_before_the_end():
    verifier = digests.Verifier(digests.of(b"good"), 4)
    verifier.update(b"goo")
    with pytest.raises(errors.SizeMismatch, match="more than 4 bytes"):
        verifier.update(b"d!")
    assert verifier.received == 3


def test_too_few_bytes():
    verifier = digests.Verifier(digests.of(b"good"), 4)
    verifier.update(b"goo")
    with pytest.raises(errors.SizeMismatch, match="3, not 4 bytes") as caught:
        verifier.check()
    assert (caught.value.expected, caught.value.actual) == (4, 3)


def test_without_a_size_the_digest_decides():
    verifier = digests.Verifier(digests.of(b"good"), None)
    verifier.update(bytearray(b"good"))
    verifier.check()
    verifier.update(b"!")
    with pytest.raises(errors.DigestMismatch):
        verifier.check()


def test_a_memoryview_counts_its_bytes():
    import array

    items = array.array("I", [1, 2, 3])
    data = items.tobytes()
    verifier = digests.Verifier(digests.of(data), len(data))
    verifier.update(memoryview(items))
    verifier.check()


def test_where_cannot_write_to_the_terminal():
    verifier = digests.Verifier(digests.of(b"good"), 4, where="a\x1b[31m")
    with pytest.raises(errors.SizeMismatch) as caught:
        verifier.check()
    assert str(caught.value).isprintable()
