"""A package as a fact and as a package URL."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.processes import missing

from didlab.audits.ecosystems.package import ECOSYSTEMS, Package
from didlab.audits.ecosystems.purl import Distro, purl
from didlab.errors import MalformedContent

DEBIAN = Distro("debian", "12")
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
maybe = st.none() | texts
packages = st.builds(Package, st.sampled_from(ECOSYSTEMS), texts, maybe, maybe, maybe, maybe, maybe)


@given(packages)
def test_facts_come_back(package: Package) -> None:
    assert Package.from_fact(json.loads(json.dumps(package.to_fact()))) == package


@pytest.mark.parametrize(
    "fact",
    [None, [], {}, "deb", ["deb", "x"], ["deb", None, *[None] * 5], ["deb", "x", 1, *[None] * 4],
     ["deb", "x", *[None] * 6]],
)  # fmt: skip
def test_other_facts_are_refused(fact: object) -> None:
    with pytest.raises(MalformedContent):
        Package.from_fact(fact)


@pytest.mark.parametrize(
    ("package", "distro", "expected"),
    [
        (Package("deb", "curl", "7.50.3-1", "i386"), DEBIAN,
         "pkg:deb/debian/curl@7.50.3-1?arch=i386&distro=debian-12"),
        (Package("deb", "libc6", "1:2+b1~x", "amd64", "glibc", "1:2"), Distro("ubuntu", "24.04"),
         "pkg:deb/ubuntu/libc6@1:2%2Bb1~x?arch=amd64&distro=ubuntu-24.04&upstream=glibc"),
        (Package("deb", "x", "1", "all", "x", "1"), None, "pkg:deb/debian/x@1?arch=all"),
        (Package("apk", "musl", "1.2-r0", "x86"), Distro("alpine", "3.20.1"),
         "pkg:apk/alpine/musl@1.2-r0?arch=x86&distro=alpine-3.20.1"),
        (Package("apk", "a", "1"), Distro("wolfi", "20230201"),
         "pkg:apk/wolfi/a@1?distro=wolfi-20230201"),
        (Package("rpm", "perl-Core", "4:5.32-1.el9", "x86_64"), Distro("rhel", "9.4"),
         "pkg:rpm/redhat/perl-Core@5.32-1.el9?arch=x86_64&distro=rhel-9.4&epoch=4"),
        (Package("rpm", "curl", "7-1", "noarch"), Distro("opensuse-tumbleweed", "20250101"),
         "pkg:rpm/opensuse/curl@7-1?arch=noarch&distro=opensuse-tumbleweed-20250101"),
        (Package("rpm", "curl", "0:7-1"), None, "pkg:rpm/curl@7-1?epoch=0"),
        (Package("pypi", "Zope.Interface_x", "1.0"), None, "pkg:pypi/zope.interface-x@1.0"),
        (Package("npm", "@angular/core", "16.0.0-rc.1"), None,
         "pkg:npm/%40angular/core@16.0.0-rc.1"),
        (Package("npm", "foo"), None, "pkg:npm/foo"),
        (Package("golang", "golang.org/x/sys", "v0.1.0+incompatible", "amd64"), DEBIAN,
         "pkg:golang/golang.org/x/sys@v0.1.0%2Bincompatible"),
        (Package("golang", "stdlib", "1.22.0"), None, "pkg:golang/stdlib@1.22.0"),
    ],
)  # fmt: skip
def test_purls(package: Package, distro: Distro | None, expected: str) -> None:
    assert purl(package, distro) == expected


words = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.+~_:-]{0,12}", fullmatch=True)
pairs = st.builds("@{}/{}".format, words, words)


@settings(deadline=None, max_examples=50)
@given(
    st.builds(Package, st.sampled_from(ECOSYSTEMS), *[words] * 4)
    | st.builds(Package, st.sampled_from(["npm", "golang"]), pairs),
    st.none() | st.builds(Distro, words, st.none() | words),
)  # fmt: skip
def test_purls_are_canonical(package: Package, distro: Distro | None) -> None:
    try:
        import packageurl
    except ImportError:
        missing("packageurl-python is missing in this environment")
    told = purl(package, distro)
    read = packageurl.PackageURL.from_string(told)
    assert read.type == package.ecosystem
    # It writes names of some types in small letters after quoting: %2b for %2B.
    assert re.sub("%[0-9a-f]{2}", lambda found: found[0].upper(), read.to_string()) == told
