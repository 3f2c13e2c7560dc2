"""Files of sections, with Python's zstd and without."""

from __future__ import annotations

import random

import pytest
from rig.images import gzipped, make_tar, sha256

from didlab.errors import MalformedContent
from didlab.files import codec, zstdlib
from didlab.files.pieces import Sections, build
from didlab.files.scan import Scan
from didlab.oci.digest import Verifier

SECTIONS = {
    "long": b"the same again " * 1000,
    "noise": random.Random(1).randbytes(1000),
    "short": b"xyz",
    "empty": b"",
}


@pytest.fixture(params=["zstd", "no zstd"])
def other(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "no zstd":
        monkeypatch.setattr(zstdlib, "module", lambda: None)


def everything(content: bytes) -> dict[str, bytes]:
    stored = Sections(content)
    assert stored.facts == {"a": 1}
    return {name: stored[name] for name in SECTIONS if name in stored}


@pytest.mark.usefixtures("other")
def test_there_and_back() -> None:
    content = build({"a": 1}, SECTIONS)
    assert everything(content) == SECTIONS
    assert len(content) < 2000
    assert "other" not in Sections(content)


def test_written_without_zstd_is_read_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(zstdlib, "module", lambda: None)
        content = build({"a": 1}, SECTIONS)
    assert zstdlib.module() is not None
    assert everything(content) == SECTIONS


def test_written_with_zstd_counts_as_absent_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    content = build({"a": 1}, SECTIONS)
    plain = build({"a": 1}, {"short": b"xyz"})
    monkeypatch.setattr(zstdlib, "module", lambda: None)
    with pytest.raises(MalformedContent, match="cannot read"):
        Sections(content)
    assert Sections(plain)["short"] == b"xyz"


@pytest.mark.usefixtures("other")
def test_an_index() -> None:
    blob = gzipped(make_tar({f"file-{number}": b"content" for number in range(50)}))
    made = Scan(Verifier(sha256(blob), len(blob), where="here")).run([blob], len(blob))
    loaded = codec.load_index(codec.dump_index(made), made.digest, made.size)
    assert list(loaded.table) == list(made.table)
    assert len(list(loaded.table)) == 50


@pytest.mark.parametrize("place", [0, 20, 60, -1])
def test_a_wrong_byte(place: int) -> None:
    content = bytearray(build({"a": 1}, SECTIONS))
    content[place] ^= 1
    with pytest.raises(MalformedContent):
        Sections(bytes(content))
