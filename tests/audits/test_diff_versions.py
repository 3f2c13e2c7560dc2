"""Which version is newer: as dpkg, packaging and each ecosystem's own rules say."""

from __future__ import annotations

import itertools
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version
from rig.processes import require

from didlab.audits.diff.versions import order

#: Each list from the oldest to the newest.
ORDERED = {
    "deb": ["1.0~~", "1.0~rc1-1", "1.0-1~bpo1", "1.0-1", "1.0-1+b1", "1.0-1.1", "1.0a-1",
            "1.0+dfsg-1", "1.0.1-1", "1.10-1", "1:0.9-1", "2:0"],
    "rpm": ["1.a-1", "1.0~beta-1", "1.0-1", "1.0^git1-1", "1.0^git2-1", "1.0.1-1", "1.1-1",
            "1.1-1.el9_2", "1.1-2", "1.10-1", "1:0.1-1"],
    "apk": ["1.0_alpha", "1.0_beta2", "1.0_rc1-r0", "1.0-r0", "1.0-r1", "1.0_p1-r0", "1.0a-r0",
            "1.0.1-r0", "1.9-r0", "1.10-r0", "2.01-r0", "2.1-r0"],
    "pypi": ["1.dev0", "1.0a1.dev1", "1.0a1", "1.0b1", "1.0rc1", "1.0", "1.0+local.1",
             "1.0.post1.dev1", "1.0.post1", "1.1", "1.10", "1!0.1"],
    "npm": ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
            "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.2.0", "1.10.0"],
    "golang": ["v0.0.0-20210101000000-abcdefabcdef", "v0.0.0-20220101000000-abcdefabcdef",
               "v0.1.0", "v1.0.0-rc.1", "v1.0.0", "v1.10.0"],
}  # fmt: skip


@pytest.mark.parametrize("ecosystem", ORDERED)
def test_the_order(ecosystem: str) -> None:
    versions = ORDERED[ecosystem]
    for (one, older), (two, newer) in itertools.product(enumerate(versions), repeat=2):
        expected = (one > two) - (one < two)
        assert order(ecosystem, older, newer) == expected, (older, newer)


@pytest.mark.parametrize(
    ("ecosystem", "one", "two"),
    [
        ("deb", "1.0", "1.0-0"),
        ("deb", "0:1.01", "1.1"),
        ("rpm", "1.0-1", "0:1.00-1"),
        ("rpm", "1.0.", "1_0"),
        ("pypi", "1.0", "1"),
        ("pypi", "v1.0-1", "1.0.post1"),
        ("pypi", "1.0.ALPHA1", "1a1"),
        ("npm", "1.0.0+a", "1.0.0+b"),
    ],
)
def test_the_same(ecosystem: str, one: str, two: str) -> None:
    assert order(ecosystem, one, two) == 0


@pytest.mark.parametrize(
    ("ecosystem", "one", "two"),
    [
        ("other", "1", "2"),
        ("pypi", "1.0", "not a version"),
        ("npm", "1.0", "1.0.0"),
        ("apk", "1.0_other1", "1.0"),
        ("deb", "1" * 5000, "2"),
    ],
)
def test_not_known(ecosystem: str, one: str, two: str) -> None:
    assert order(ecosystem, one, two) is None


def test_of_go_itself() -> None:
    versions = ["go1.9", "go1.20beta1", "go1.20rc2", "go1.20", "go1.20.1", "go1.21.0"]
    for older, newer in itertools.pairwise(versions):
        assert order("golang", older, newer) == -1
        assert order("golang", newer, older) == 1


UPSTREAM = st.text("01ab.+~", min_size=1, max_size=6).map("0{}".format)
DEBIAN = st.one_of(
    UPSTREAM,
    st.tuples(UPSTREAM, UPSTREAM).map("-".join),
    st.tuples(st.sampled_from(["0", "1", "01"]), UPSTREAM).map(":".join),
)


@settings(max_examples=40, deadline=None)
@given(one=DEBIAN, two=DEBIAN)
def test_as_dpkg(one: str, two: str) -> None:
    dpkg = require("dpkg", "dpkg")
    words = {-1: "lt", 0: "eq", 1: "gt"}
    found = order("deb", one, two)
    assert found is not None
    done = subprocess.run(
        [dpkg, "--compare-versions", one, words[found], two], capture_output=True, check=False
    )
    assert done.returncode == 0, (one, two, found)


def test_as_rpm() -> None:
    """One process for many pairs."""
    parts = ["1", "0", "01", "10", "a", "ab", ".", "~", "^", "_"]
    versions = ["".join(words) for words in itertools.product(parts, repeat=2)]
    chosen = [one for number, one in enumerate(versions) if number % 3 == 0]
    pairs = [("1" + one, "1" + two) for one in chosen for two in chosen]
    lua = "".join(f'print(rpm.vercmp("{one}","{two}").." ") ' for one, two in pairs)
    done = subprocess.run(
        [require("rpm", "rpm"), "--eval", f"%{{lua: {lua}}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [int(word) for word in done.stdout.split()]
    assert len(expected) == len(pairs)
    assert [order("rpm", one, two) for one, two in pairs] == expected


NUMBERS = st.lists(st.integers(0, 11), min_size=1, max_size=3).map(lambda n: ".".join(map(str, n)))
PYTHON = st.tuples(
    st.sampled_from(["", "1!"]),
    NUMBERS,
    st.sampled_from(["", "a1", "b2", "rc1", "-alpha.1", "c"]),
    st.sampled_from(["", ".post1", "-2", ".rev3"]),
    st.sampled_from(["", ".dev0", ".dev2"]),
    st.sampled_from(["", "+1", "+a.1", "+ab"]),
).map("".join)


@settings(max_examples=300, deadline=None)
@given(one=PYTHON, two=PYTHON)
def test_as_packaging(one: str, two: str) -> None:
    left, right = Version(one), Version(two)
    assert order("pypi", one, two) == (left > right) - (left < right)
