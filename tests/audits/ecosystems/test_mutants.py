"""Thousands of damaged databases: each gives packages or the one error, and never much."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from audits.ecosystems.databases import APK, STATUS, RpmDatabases
from hypothesis import given, settings
from hypothesis import strategies as st

from didlab.audits.ecosystems import (
    apk,
    dpkg,
    golang,
    npm,
    python,
    rpm_bdb,
    rpm_header,
    rpm_ndb,
    rpm_sqlite,
)
from didlab.audits.ecosystems.golang import BuildInfoSieve
from didlab.audits.ecosystems.package import Package
from didlab.errors import PackagesInvalid

COUNT = 2000
METADATA = (
    b"Metadata-Version: 2.1\nName: a-name\nVersion: 1.0\nLicense: MIT\n"
    b"Classifier: License :: OSI Approved :: MIT License\n\nText\n"
)
DOCUMENT = json.dumps(
    {"name": "@a/b", "version": "1.0.0", "licenses": [{"type": "MIT"}], "x": {"y": [1, 2.5, None]}}
).encode()
_MARKS = (
    bytes.fromhex("3077af0c9274080241e1c107e6d618e6"),
    bytes.fromhex("f932433186182072008242104116d8f2"),
)
_LINES = b"path\ta/b\nmod\ta\tv1\t\ndep\tc\tv2\th1:x\n=>\td\tv3\t\nbuild\tGOARCH=amd64\n"
PROGRAM = (
    b"\x7fELF".ljust(64, b"\0")
    + b"\xff Go buildinf:\x08\x02".ljust(32, b"\0")
    + b"\x08go1.22.3"
    + bytes([len(_LINES) + 32])
    + _MARKS[0] + _LINES + _MARKS[1] + b"\0" * 64
)  # fmt: skip

Parser = Callable[[bytes], Iterator[Package]]


def from_program(content: bytes) -> Iterator[Package]:
    sieve = BuildInfoSieve()
    for start in range(0, len(content), 50):
        sieve.feed(content[start : start + 50])
    return golang.packages(sieve.finish())


def mutants(seed: bytes, count: int, dice: random.Random) -> Iterator[bytes]:
    """Bytes changed, numbers made extreme, pieces cut, doubled, moved and joined."""
    extremes = [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\1", b"\1\0\0\0"]
    # Most of a database is empty: damage goes where there is something.
    full = [at for at in range(0, len(seed), 4) if any(seed[at : at + 4])] or [0]
    for _ in range(count):
        made = bytearray(seed)
        for _ in range(dice.choice([1, 1, 2, 8])):
            anywhere = dice.randrange(len(made) + 1)
            at = min(dice.choice([dice.choice(full), anywhere, dice.randrange(100)]), len(made))
            size = dice.choice([1, 4, 16, 100, 5000])
            match dice.randrange(7):
                case 0 if at < len(made):
                    made[at] ^= 1 << dice.randrange(8)
                case 1:
                    made[at : at + 4] = dice.choice(extremes)
                case 2:
                    del made[at:]
                case 3:
                    del made[at : at + size]
                case 4:
                    made[at:at] = made[at : at + size]
                case 5:
                    source = dice.choice(full)
                    made[at : at + size] = made[source : source + size]
                case _:
                    made[at : at + size] = dice.randbytes(size)
            if not made:
                break
        yield bytes(made)


def check(parser: Parser, content: bytes) -> tuple[int, bool]:
    """Read one; what comes is bounded by what there was."""
    packages, problem = [], False
    try:
        for package in parser(content):
            packages.append(package)
    except PackagesInvalid:
        problem = True
    size = 0
    for package in packages:
        texts: list[Any] = package.to_fact()
        assert all(text is None or (text and len(text) <= 4096) for text in texts)
        json.dumps(texts).encode("utf-8")
        "".join(filter(None, texts)).encode("utf-8")
        size += sum(len(text or "") for text in texts)
    assert size <= 12 * len(content) + 100
    return len(packages), problem


SEEDS: dict[str, tuple[Parser, bytes]] = {
    "dpkg": (dpkg.packages, STATUS),
    "dpkg.d": (lambda content: dpkg.packages(content, states=False), STATUS),
    "apk": (apk.packages, APK),
    "python": (python.packages, METADATA),
    "npm": (npm.packages, DOCUMENT),
    "go": (golang.packages, PROGRAM[64:-64]),
    "program": (from_program, PROGRAM),
}


@pytest.mark.parametrize("name", SEEDS)
def test_mutants_of_texts(name: str) -> None:
    parser, seed = SEEDS[name]
    assert check(parser, seed) >= (1, False)
    seen = {check(parser, made) for made in mutants(seed, COUNT, random.Random(name))}
    # Both happened, or nothing was tested.
    assert {problem for _, problem in seen} == {True, False}


@pytest.mark.parametrize("name", ["sqlite", "ndb", "bdb", "big_endian_bdb"])
def test_mutants_of_rpm(name: str, rpms: RpmDatabases) -> None:
    parser = {"sqlite": rpm_sqlite.packages, "ndb": rpm_ndb.packages}.get(name, rpm_bdb.packages)
    seed = getattr(rpms, name)
    assert check(parser, seed) == (5, False)
    seen = {check(parser, made) for made in mutants(seed, COUNT, random.Random(name))}
    assert {problem for _, problem in seen} == {True, False}
    assert len(seen) > 2


def test_mutants_of_headers(rpms: RpmDatabases) -> None:
    import sqlite3

    connection = sqlite3.connect(rpms.folder / "rpmdb.sqlite")
    (blob,) = connection.execute("SELECT min(blob) FROM Packages").fetchone()
    connection.close()

    def parser(content: bytes) -> Iterator[Package]:
        return iter([rpm_header.package(content)])

    seen = {check(parser, made) for made in mutants(blob, 3000, random.Random(1))}
    assert seen == {(0, True), (1, False)}


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(SEEDS)), st.binary(max_size=300))
def test_noise(name: str, content: bytes) -> None:
    check(SEEDS[name][0], content)
