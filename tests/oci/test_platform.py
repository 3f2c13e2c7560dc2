"""Platforms: spellings, defaults, and the best match."""

from __future__ import annotations

import platform as machine_facts

import pytest
from hypothesis import given
from hypothesis import strategies as st

from didlab import errors
from didlab.oci.platform import Platform, default_platform, select


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        ("linux/amd64", Platform("linux", "amd64"), "linux/amd64"),
        ("linux/arm64/v8", Platform("linux", "arm64", "v8"), "linux/arm64/v8"),
        ("Linux/ARM64/V8", Platform("linux", "arm64", "v8"), "linux/arm64/v8"),
        ("linux/arm/v7", Platform("linux", "arm", "v7"), "linux/arm/v7"),
        ("linux/x86_64", Platform("linux", "amd64"), "linux/amd64"),
        ("linux/x86-64", Platform("linux", "amd64"), "linux/amd64"),
        ("linux/aarch64", Platform("linux", "arm64"), "linux/arm64"),
        ("linux/armhf", Platform("linux", "arm", "v7"), "linux/arm/v7"),
        ("linux/armel", Platform("linux", "arm", "v6"), "linux/arm/v6"),
        ("linux/i386", Platform("linux", "386"), "linux/386"),
        ("macos/arm64", Platform("darwin", "arm64"), "darwin/arm64"),
        ("arm64", Platform("linux", "arm64"), "linux/arm64"),
        ("amd64", Platform("linux", "amd64"), "linux/amd64"),
        ("x86-64", Platform("linux", "amd64"), "linux/amd64"),
        ("armhf", Platform("linux", "arm", "v7"), "linux/arm/v7"),
        ("386", Platform("linux", "386"), "linux/386"),
        ("s390x", Platform("linux", "s390x"), "linux/s390x"),
        ("windows/amd64", Platform("windows", "amd64"), "windows/amd64"),
        (
            "windows(10.0.17763.1)/amd64",
            Platform("windows", "amd64", "", "10.0.17763.1"),
            "windows(10.0.17763.1)/amd64",
        ),
        ("wasi/wasm", Platform("wasi", "wasm"), "wasi/wasm"),
        ("unknown/unknown", Platform("unknown", "unknown"), "unknown/unknown"),
    ],
)
def test_parse(text, expected, shown):
    found = Platform.parse(text)
    assert found == expected
    assert str(found) == shown
    assert Platform.parse(shown) == found


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "linux/", "/amd64", "linux//v8", "a/b/c/d", "nonsense", "linux amd64"),
        *("linux/amd64\n", "linux/ämd64", "linux/amd64/", "arm64(1)", "linux(1/amd64"),
        *("linux/<b>", "10.0", "\u212aali/amd64", "linux/amd64;x", b"linux/amd64", None, 5),
    ],
)
def test_nonsense(text):
    with pytest.raises(errors.InvalidArgument, match="not a platform") as caught:
        Platform.parse(text)
    assert "linux/arm64" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ("x86_64", "linux/amd64"),
        ("AMD64", "linux/amd64"),
        ("arm64", "linux/arm64"),
        ("ARM64", "linux/arm64"),
        ("aarch64", "linux/arm64"),
        ("armv7l", "linux/arm/v7"),
        ("armv6l", "linux/arm/v6"),
        ("i686", "linux/386"),
        ("ppc64le", "linux/ppc64le"),
        ("s390x", "linux/s390x"),
        ("riscv64", "linux/riscv64"),
        ("loongarch64", "linux/loong64"),
        ("", "linux/amd64"),
        ("pdp11", "linux/amd64"),
    ],
)
def test_the_machine_is_the_default(monkeypatch, reported, expected):
    monkeypatch.setattr(machine_facts, "machine", lambda: reported)
    assert str(default_platform({})) == expected
    assert str(default_platform({"DOCKER_DEFAULT_PLATFORM": ""})) == expected
    assert Platform.parse("linux") == Platform.parse(expected)
    assert Platform.parse("windows").architecture == Platform.parse(expected).architecture


def test_the_environment_decides():
    assert default_platform({"DOCKER_DEFAULT_PLATFORM": "arm64"}) == Platform("linux", "arm64")
    with pytest.raises(errors.InvalidArgument, match="DOCKER_DEFAULT_PLATFORM"):
        default_platform({"DOCKER_DEFAULT_PLATFORM": "a/b/c/d"})


def test_the_environment_is_read_when_asked(monkeypatch):
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/s390x")
    assert default_platform() == Platform("linux", "s390x")


def test_str_without_os_or_architecture():
    assert str(Platform("", "")) == "unknown"
    assert str(Platform("linux", "")) == "unknown"
    assert str(Platform("", "amd64")) == "unknown"


def test_str_is_as_declared():
    assert str(Platform("Linux", "aarch64", "v8")) == "Linux/aarch64/v8"


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm64/8", "linux/arm64/v8", True),
        ("linux/arm", "linux/arm/v7", True),
        ("linux/arm/7", "linux/arm/v7", True),
        ("linux/amd64", "linux/amd64/v1", True),
        ("macos/arm64", "darwin/arm64", True),
        ("linux/arm", "linux/arm/v6", False),
        ("linux/amd64", "linux/amd64/v2", False),
        ("linux/386", "linux/amd64", False),
        ("linux/amd64", "windows/amd64", False),
    ],
)
def test_normalized(one, other, equal):
    assert (Platform.parse(one).normalized() == Platform.parse(other).normalized()) is equal


# wanted, offered, index of the best
CASES = [
    ("linux/amd64", ["linux/amd64"], 0),
    ("linux/amd64", [], None),
    ("linux/amd64", ["linux/arm64"], None),
    ("linux/amd64", ["linux/386"], None),
    ("linux/arm64", ["linux/arm/v7"], None),
    ("linux/arm64", ["linux/arm/v8"], None),
    ("linux/amd64", ["windows/amd64", "linux/amd64"], 1),
    ("darwin/arm64", ["linux/arm64"], None),
    # arm64: v8 is what no variant means.
    ("linux/arm64", ["linux/arm64/v8"], 0),
    ("linux/arm64/v8", ["linux/arm64"], 0),
    ("linux/arm64", ["linux/arm64/v9"], None),
    ("linux/arm64", ["linux/arm64/v8.2"], None),
    ("linux/arm64/v9", ["linux/arm64", "linux/arm64/v8.1", "linux/arm64/v9.1"], 1),
    ("linux/arm64", ["linux/arm64/v8", "linux/arm64"], 0),
    ("linux/arm64", ["linux/arm64", "linux/arm64/v8"], 0),
    # arm: the best the variant can run.
    ("linux/arm", ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], 2),
    ("linux/arm", ["linux/arm/v5", "linux/arm/v6"], 1),
    ("linux/arm", ["linux/arm/v5"], 0),
    ("linux/arm", ["linux/arm/v8"], None),
    ("linux/arm", ["linux/arm/v6", "linux/arm"], 1),
    ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5", "linux/arm/v6"], 2),
    ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5"], 1),
    ("linux/arm/v6", ["linux/arm"], None),
    ("linux/arm/v5", ["linux/arm/v7", "linux/arm/v6"], None),
    ("linux/arm/v8", ["linux/arm/v6", "linux/arm/v7"], 1),
    # amd64: micro-architecture levels.
    ("linux/amd64", ["linux/amd64/v2", "linux/amd64/v1"], 1),
    ("linux/amd64", ["linux/amd64/v3"], None),
    ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v4", "linux/amd64/v2"], 2),
    ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v3"], 1),
    ("linux/amd64/v2", ["linux/amd64"], 0),
    # Variants that are no levels match themselves.
    ("linux/ppc64le", ["linux/ppc64le/power9", "linux/ppc64le"], 1),
    ("linux/ppc64le/power9", ["linux/ppc64le"], None),
    ("linux/ppc64le/power9", ["linux/ppc64le/power8", "linux/ppc64le/power9"], 1),
    ("linux/arm/soft", ["linux/arm/v5"], None),
    ("linux/arm/soft", ["linux/arm/v5", "linux/arm/soft"], 1),
    # Windows versions: prefix by whole numbers.
    ("windows/amd64", ["windows(10.0.17763.1)/amd64", "windows(10.0.20348.1)/amd64"], 0),
    (
        "windows(10.0.20348)/amd64",
        ["windows(10.0.17763.1)/amd64", "windows(10.0.20348.1)/amd64"],
        1,
    ),
    ("windows(10.0.17763.1)/amd64", ["windows(10.0.17763.1)/amd64"], 0),
    ("windows(10.0.17763.1)/amd64", ["windows(10.0.17763.12)/amd64"], None),
    ("windows(10.0)/amd64", ["windows/amd64"], None),
    # Attestations are for no one.
    ("unknown/unknown", ["unknown/unknown"], None),
    ("linux/amd64", ["unknown/unknown", "linux/amd64"], 1),
]


@pytest.mark.parametrize(("wanted", "offered", "best"), CASES)
def test_select(wanted, offered, best):
    assert select(Platform.parse(wanted), [Platform.parse(text) for text in offered]) == best


def test_select_reads_declared_platforms_as_they_are():
    offered = [None, Platform("", ""), Platform("Linux", "AARCH64"), Platform("linux", "x86_64")]
    assert select(Platform("linux", "arm64"), offered) == 2
    assert select(Platform("linux", "amd64"), offered) == 3
    assert select(Platform("", ""), offered) is None


_PLATFORMS = st.builds(
    Platform,
    st.sampled_from(["linux", "windows", "unknown", "", "Linux", "<b>"]),
    st.sampled_from(["amd64", "arm", "arm64", "armhf", "386", "", "ppc64le"]),
    st.sampled_from(["", "v1", "v2", "v5", "v6", "v7", "v8", "v9", "8", "v8.1", "x", "v9999"]),
    st.sampled_from(["", "10.0", "10.0.1"]),
)


@given(_PLATFORMS, st.lists(_PLATFORMS, max_size=8))
def test_select_holds_its_rules(wanted, offered):
    want = wanted.normalized()
    index = select(wanted, offered)
    same = [have.normalized() for have in offered]
    if index is not None:
        assert (same[index].os, same[index].architecture) == (want.os, want.architecture)
        assert same[index].os != "unknown"
        # What comes after the choice does not change it.
        assert select(wanted, offered[: index + 1]) == index
        assert same[index] not in same[:index]
    elif want in same:
        assert want.os in ("unknown", "") or not want.architecture


@given(_PLATFORMS)
def test_normalized_is_stable(platform):
    assert platform.normalized().normalized() == platform.normalized()
