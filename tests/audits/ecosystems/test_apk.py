"""Alpine's database, by its format."""

from __future__ import annotations

import pytest
from audits.ecosystems.databases import APK

from didlab.audits.ecosystems import apk
from didlab.audits.ecosystems.package import Package
from didlab.errors import PackagesInvalid


def test_fields() -> None:
    assert list(apk.packages(APK)) == [
        Package("apk", "musl", "1.2.5-r9", "x86_64", "musl", "1.2.5-r9", "MIT"),
        Package("apk", "ssl_client", "1.37.0-r12", "x86_64", "busybox", "1.37.0-r12",
                "GPL-2.0-only"),
        Package("apk", "py3-what+ever", "3.0_alpha1_p20250101-r0", "noarch", "py3-what+ever",
                "3.0_alpha1_p20250101-r0", "Apache-2.0 AND (MIT OR BSD-3-Clause)"),
    ]  # fmt: skip


def test_letters_count() -> None:
    # p: is what it provides, v: nothing.
    assert [p.name for p in apk.packages(b"p:so:x\nP:a\nv:2\nV:1\n")] == ["a"]


@pytest.mark.parametrize("content", [b"", b"\n", b"\n\n\n"])
def test_an_empty_one(content: bytes) -> None:
    assert list(apk.packages(content)) == []


@pytest.mark.parametrize("broken", [b"ADB.\x00\x01", b"P:a", b"V:1", b"P:a b\nV:1"])
def test_a_broken_paragraph_hides_no_other(broken: bytes) -> None:
    names = []
    with pytest.raises(PackagesInvalid, match="1 paragraphs"):
        for package in apk.packages(broken + b"\n\n" + APK):
            names.append(package.name)
    assert names == ["musl", "ssl_client", "py3-what+ever"]
