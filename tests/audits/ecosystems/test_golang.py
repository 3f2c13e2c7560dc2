"""Go's build information: real programs, and made ones."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from rig.processes import require, run

from didlab.audits.ecosystems.golang import BuildInfoSieve, packages
from didlab.audits.ecosystems.package import Package
from didlab.errors import PackagesInvalid

MAGIC = b"\xff Go buildinf:"
START = bytes.fromhex("3077af0c9274080241e1c107e6d618e6")
END = bytes.fromhex("f932433186182072008242104116d8f2")
LINES = """\
path\texample.com/Tool/v2/cmd/tool
mod\texample.com/Tool/v2\tv2.1.0\t
dep\tgolang.org/x/sys\tv0.1.0\th1:abc=
dep\texample.com/old\tv1.0.0
=>\texample.com/fork\tv1.0.1\th1:def=
dep\texample.com/local\tv0.0.0
=>\t./local\t(devel)\t
build\t-compiler=gc
build\tGOARCH=arm64
build\tGOOS=linux
"""
EXPECTED = [
    Package("golang", "example.com/Tool/v2", "v2.1.0", "arm64"),
    Package("golang", "golang.org/x/sys", "v0.1.0", "arm64"),
    Package("golang", "example.com/fork", "v1.0.1", "arm64"),
    Package("golang", "example.com/local", None, "arm64"),
    Package("golang", "stdlib", "1.22.3", "arm64"),
]


def varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def inline(version: bytes = b"go1.22.3", lines: str | None = LINES) -> bytes:
    modules = b"" if lines is None else START + lines.encode() + END
    head = (MAGIC + b"\x08\x02").ljust(32, b"\0")
    return head + varint(len(version)) + version + varint(len(modules)) + modules


def program(*parts: bytes, magic: bytes = b"\x7fELF") -> bytes:
    """Parts at multiples of 16 bytes, some way into a file."""
    content = magic.ljust(4096, b"x")
    for part in parts:
        content += part + b"y" * (-len(part) % 16)
    return content + b"z" * 5000


def sieved(content: bytes, step: int = 65536) -> bytes:
    sieve = BuildInfoSieve()
    for start in range(0, len(content), step):
        sieve.feed(content[start : start + step])
    return sieve.finish()


def test_a_program_with_modules() -> None:
    assert list(packages(sieved(program(inline())))) == EXPECTED


@pytest.mark.parametrize("step", [1, 7, 16, 31, 4096, 4100])
def test_pieces_of_any_size(step: int) -> None:
    assert list(packages(sieved(program(inline()), step))) == EXPECTED


@pytest.mark.parametrize(
    "magic",
    [b"\x7fELF", b"MZ", b"\xfe\xed\xfa\xcf", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe",
     b"\xca\xfe\xba\xbe"],
)  # fmt: skip
def test_kinds_of_programs(magic: bytes) -> None:
    assert sieved(program(inline(), magic=magic)) == inline()


@pytest.mark.parametrize("magic", [b"#!/b", b"PK\3\4", b"\x7fELG", b"\0\0\0\0"])
def test_other_files_are_let_go_at_once(magic: bytes) -> None:
    sieve = BuildInfoSieve()
    sieve.feed(magic[:2])
    sieve.feed(magic[2:])
    assert sieve.over
    sieve.feed(inline())
    assert sieve.finish() == b""


def test_no_more_is_read_than_needed() -> None:
    sieve = BuildInfoSieve()
    sieve.feed(program(inline()))
    assert sieve.over


def test_decoys_before_it_change_nothing() -> None:
    # Programs that look for build information name its magic, too.
    decoys = [
        MAGIC,
        b"x" + inline(b"go1.1", None),
        (MAGIC + b"\x08\x02").ljust(32, b"\0") + b"\xff" * 16,
        (MAGIC + b"\x08\x02").ljust(32, b"\0") + b"\x03abc",
    ]
    assert sieved(program(*decoys, inline())) == inline()


def test_a_decoy_that_promises_more_than_there_is_hides_nothing() -> None:
    endless = (MAGIC + b"\x08\x02").ljust(32, b"\0") + varint(8) + b"go1.22.3" + varint(1 << 21)
    assert sieved(program(endless, endless, inline())) == inline()


def test_many_decoys_end_the_search() -> None:
    decoy = (MAGIC + b"\x08\x00").ljust(32, b"\0")
    assert sieved(program(*[decoy] * 1000, inline())) == b""


@pytest.mark.parametrize("step", [1, 15, 4096, 1 << 20])
def test_before_go_1_18_modules_are_found_by_their_markers(step: int) -> None:
    pointers = MAGIC + b"\x08\x00" + b"\x11" * 16
    content = program(START + LINES.encode() + END, pointers)
    assert list(packages(sieved(content, step))) == EXPECTED[:-1]


def test_without_modules_there_is_the_package_and_the_library() -> None:
    lines = "path\texample.com/cmd/x\nbuild\tGOARCH=amd64\n"
    assert list(packages(inline(lines=lines))) == [
        Package("golang", "example.com/cmd/x", None, "amd64"),
        Package("golang", "stdlib", "1.22.3", "amd64"),
    ]
    assert list(packages(inline(lines="path\tcommand-line-arguments\n"))) == [
        Package("golang", "stdlib", "1.22.3")
    ]
    assert list(packages(inline(lines=None))) == [Package("golang", "stdlib", "1.22.3")]


@pytest.mark.parametrize(
    ("version", "expected"),
    [(b"go1.21.0 X:nocoverageredesign", "1.21.0"), (b"go1.22rc1", "1.22rc1"),
     (b"devel go1.23-0a1b2c3 Mon Jan 1", "1.23-0a1b2c3"), (b"devel +0a1b2c3", None)],
)  # fmt: skip
def test_versions_of_go(version: bytes, expected: str | None) -> None:
    found = [p.version for p in packages(inline(version, None))]
    assert found == ([expected] if expected else [])


def test_a_broken_line_hides_no_other() -> None:
    found = []
    with pytest.raises(PackagesInvalid, match="2 lines"):
        for package in packages(inline(lines="=>\tx\tv1\n" + LINES + "dep\t\tv1\n")):
            found.append(package)
    assert found == EXPECTED[:-1]


@pytest.mark.parametrize(
    "content", [b"x", MAGIC, inline()[:-1], inline() + b"x", START, START + END[:-1]]
)
def test_garbage(content: bytes) -> None:
    with pytest.raises(PackagesInvalid):
        list(packages(content))


def test_nothing_is_nothing() -> None:
    assert list(packages(b"")) == []


def test_a_sieve_keeps_little() -> None:
    # Endless strings: both forms promise more than there may be.
    endless = program(
        START, (MAGIC + b"\x08\x02").ljust(32, b"\0") + varint(8) + b"go1.22.3" + varint(1 << 23)
    )
    sieve = BuildInfoSieve()
    sieve.feed(endless)
    dice = random.Random(1)
    for _ in range(160):
        sieve.feed(dice.randbytes(65536))
        kept = sum(len(part or b"") for part in (sieve._buffer, sieve._marking, sieve._marked))
        assert kept < 5 * 1024 * 1024
    assert sieve.finish() == b""


@pytest.mark.parametrize(
    ("name", "module"),
    [("skopeo", "github.com/containers/skopeo"), ("umoci", "github.com/opencontainers/umoci")],
)
def test_debian_programs(name: str, module: str) -> None:
    path = Path(require(name, name))
    content = path.read_bytes()
    found = list(packages(sieved(content)))
    assert found[0].name.startswith(module)
    stdlib = next(package for package in found if package.name == "stdlib")
    assert re.fullmatch(r"1\.\d+(\.\d+)?", stdlib.version or "")
    assert f"go{stdlib.version}".encode() in content
    machine = run("dpkg", "--print-architecture").strip() if Path("/usr/bin/dpkg").exists() else ""
    assert stdlib.architecture == machine or not machine


def test_other_programs_have_none() -> None:
    assert sieved(Path("/bin/sh").read_bytes()) == b""


def test_of_two_beginnings_the_last_before_the_end_holds() -> None:
    modules = START + LINES.encode() + END
    for decoy in (START + b"\0" * 100, (START + b"abc") * 400_000):
        assert sieved(program(decoy, modules)) == modules
