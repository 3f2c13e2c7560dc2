"""JSON that two readers could read differently is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from didlab import errors
from didlab.oci import strict_json


def loads(raw, limit=10_000_000, error=errors.ManifestInvalid):
    return strict_json.loads(raw, limit=limit, error=error, what="the manifest")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "Expecting value"),
        (b" ", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"{}{}", "Extra data"),
        (b"{} x", "Extra data"),
        (b"{}\x00", "Extra data"),
        (b"{'a': 1}", "Expecting property name"),
        (b'{"a": 1,}', "not JSON"),
        (b"[1,]", "not JSON"),
        (b"// c\n{}", "Expecting value"),
        (b'"\n"', "Invalid control character"),
        (b"True", "Expecting value"),
        (b"[01]", "not JSON"),
        (b"[+1]", "not JSON"),
        (b"[.5]", "not JSON"),
        (b"[0x1]", "not JSON"),
        ("[１]".encode(), "not JSON"),
        ("[1\u00a0]".encode(), "not JSON"),
        # Encodings.
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "not UTF-8"),
        ("{}".encode("utf-16-le"), "not JSON"),
        ("{}".encode("utf-16-be"), "not JSON"),
        ("{}".encode("utf-32"), "not UTF-8"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\xc0\xaf"}', "not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        # Numbers.
        (b"[NaN]", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "Infinity"),
        (b"[1e999]", "beyond all range"),
        (b"[-1e999]", "beyond all range"),
        (b"[1" + b"0" * 19 + b"]", "digits"),
        (b"[-1" + b"0" * 19 + b"]", "digits"),
        (b"[" + b"1" * 10_000 + b"]", "digits"),
        # Keys.
        (b'{"a": 1, "a": 1}', "'a' twice"),
        (b'{"a": 1, "\\u0061": 2}', "'a' twice"),
        (b'{"x": [{"b": {}, "b": {}}]}', "'b' twice"),
        (b'{"\\ud800": 1}', "surrogate"),
        (b'{"a\\udfffb": 1}', "surrogate"),
    ],
)
def test_refused(raw, reason):
    with pytest.raises(errors.ManifestInvalid, match=reason) as caught:
        loads(raw)
    assert "the manifest" in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_caller_chooses_the_error():
    with pytest.raises(errors.ConfigInvalid):
        loads(b"", error=errors.ConfigInvalid)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"null", None),
        (b" {} \n", {}),
        (b'{"a": 9223372036854775807}', {"a": 2**63 - 1}),
        (b"[-9223372036854775808]", [-(2**63)]),
        (b"[1" + b"0" * 18 + b"]", [10**18]),
        (b"[1.5, 1e3]", [1.5, 1000.0]),
        (b'{"a": "\\ud800"}', {"a": "\ud800"}),
        (b'{"\\ud83d\\ude00": 1}', {"😀": 1}),
        ('{"é": "ü"}'.encode(), {"é": "ü"}),
        (b'{"a": 1, "A": 2}', {"a": 1, "A": 2}),
    ],
)
def test_accepted(raw, value):
    assert loads(raw) == value


def test_size_limit():
    assert loads(b'"12345678"', limit=10) == "12345678"
    with pytest.raises(errors.LimitExceeded) as caught:
        loads(b'"123456789"', limit=10)
    assert (caught.value.what, caught.value.limit, caught.value.seen) == ("the manifest", 10, 11)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth(opening, closing):
    for depth in (64,):
        assert loads((opening * depth + "1" + closing * depth).encode()) is not None
    for depth in (65, 100_000):
        with pytest.raises(errors.ManifestInvalid, match="nested deeper than 64"):
            loads((opening * depth + "1" + closing * depth).encode())
        # Unfinished ones recurse just as well.
        with pytest.raises(errors.ManifestInvalid, match="nested deeper than 64"):
            loads((opening * depth).encode())


def test_brackets_in_strings_are_no_depth():
    text = "[{" * 1000 + '"\\'
    assert loads(json.dumps([text, {text: text}]).encode()) == [text, {text: text}]
    assert len(loads(b"[" + b"[],{}," * 1000 + b"1]")) == 2001


def test_the_depth_scan_is_linear():
    # Each escaped quote could start the scan of an unclosed string again.
    raw = b"[" * 65 + b'"' + b'\\"' * 2_000_000
    with pytest.raises(errors.ManifestInvalid):
        loads(raw)
    with pytest.raises(errors.ManifestInvalid):
        loads(b'"' + b'\\"[' * 2_000_000)


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(_VALUES, st.booleans())
def test_what_json_writes_is_read_as_it_was(value, escape):
    assert loads(json.dumps(value, ensure_ascii=escape).encode()) == value


@given(st.binary(max_size=60) | st.text(st.sampled_from('[]{}",:\\u0dDaeNn19-. ')).map(str.encode))
def test_any_bytes_give_a_value_or_one_error(raw):
    try:
        value = loads(raw)
    except errors.ManifestInvalid:
        return
    assert value == json.loads(raw.decode())
