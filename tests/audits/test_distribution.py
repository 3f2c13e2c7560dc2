"""os(): what os-release says, and ends of life as Debian's own package has them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.faults import FaultServer
from rig.images import make_image, symlink
from rig.processes import missing

import didlab
from didlab.audits import endoflife
from didlab.audits.distribution import OperatingSystem, described, fields
from didlab.errors import InvalidArgument

DATA = Path("/usr/share/distro-info")
BOOKWORM = b"""\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
HOME_URL="https://www.debian.org/"
"""


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


def opened(server: FaultServer, files: dict[str, Any], tag: str = "1") -> didlab.Manifest:
    server.add_image("lab/app", tag, make_image([files, {"x": b"x"}]))
    return didlab.open(f"{server.host}/lab/app:{tag}", trust_env=False)


# --- the table ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "longer"), [("debian", "eol-lts"), ("ubuntu", "eol-esm")], ids=["debian", "ubuntu"]
)
def test_distro_info_data_says_the_same(name: str, longer: str) -> None:
    """Newer versions of the package know more releases, and shift days that were not over."""
    path = DATA / f"{name}.csv"
    if not path.exists():
        missing("distro-info-data is missing: apt-get install distro-info-data")
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["version"]]
    assert len(rows) > 15
    seen = 0
    for row in rows:
        ours = endoflife.release(name, None, row["series"])
        if ours is None:
            assert (row["created"] or "9999") > "2025", row["series"]
            continue
        seen += 1
        assert ours.version == row["version"].removesuffix(" LTS")
        end = max(row["eol"] or "", row.get("eol-server") or "")
        for day, told in ((ours.eol, end), (ours.eol_lts, row.get(longer) or "")):
            said = day.isoformat() if day else ""
            if said != told:
                assert min(said or "9999", told or "9999") >= endoflife.DATED.isoformat()
        assert ours.released is None or ours.eol is None or ours.released < ours.eol
    assert seen >= 15


def test_dates_by_hand() -> None:
    found = endoflife.release("debian", "11", None)
    assert found is not None
    assert (found.codename, found.eol) == ("bullseye", date(2024, 8, 14))
    assert endoflife.release("ubuntu", "24.04", None) == endoflife.release("ubuntu", "", "noble")
    assert endoflife.release("debian", "99", None) is None
    assert endoflife.release("", None, None) is None


# --- what an image says ---------------------------------------------------------------------------


def test_a_debian(server: FaultServer) -> None:
    m = opened(
        server,
        {"usr/lib/os-release": BOOKWORM, "etc/os-release": symlink("../usr/lib/os-release")},
    )
    found = m.os()
    assert (found.id, found.version, found.codename) == ("debian", "12", "bookworm")
    assert found.pretty_name == "Debian GNU/Linux 12 (bookworm)"
    assert (found.eol, found.eol_lts) == (date(2026, 7, 11), date(2028, 6, 30))
    assert found.dated is not None
    assert "distro-info-data" in str(found.source)
    assert "\n" not in repr(found)
    assert repr(found).startswith("<OperatingSystem Debian GNU/Linux 12 (bookworm) · ")
    assert "distro-info-data" in found._repr_html_()
    assert found._facts() == {
        "name": "Debian GNU/Linux 12 (bookworm)",
        "end_of_life": date(2028, 6, 30),
    }
    asked = len(server.requests)
    assert m.os() == found
    assert len(server.requests) == asked


def test_supported() -> None:
    bookworm = described(fields(BOOKWORM))
    assert bookworm.supported(date(2026, 7, 11)) is True
    assert bookworm.supported(date(2026, 7, 12)) is False
    assert bookworm.supported(datetime(2026, 7, 12, 5), lts=True) is True
    assert bookworm.supported(date(2028, 7, 1), lts=True) is False
    assert isinstance(bookworm.supported(), bool)
    assert OperatingSystem("alpine").supported() is None
    with pytest.raises(InvalidArgument, match="date"):
        bookworm.supported("2026-07-11")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('ID=ubuntu\nVERSION_ID="22.04"\n', ("ubuntu", "22.04", "jammy", date(2027, 6, 1))),
        ('ID=debian\nVERSION="7 (wheezy)"\n', ("debian", "7", "wheezy", date(2016, 4, 25))),
        ("ID=debian\nVERSION_ID='8.11'\n", ("debian", "8.11", "jessie", date(2018, 6, 17))),
        ("ID=alpine\nVERSION_ID=3.20.1\n", ("alpine", "3.20.1", None, None)),
        ("NAME=x\n", (None, None, None, None)),
        ("ID=debian\nVERSION_CODENAME=forky\n", ("debian", "14", "forky", None)),
    ],
)  # fmt: skip
def test_others(text: str, told: tuple[Any, ...]) -> None:
    found = described(fields(text.encode()))
    assert (found.id, found.version, found.codename, found.eol) == told


def test_an_image_that_does_not_say(server: FaultServer) -> None:
    found = opened(server, {"a": b"a"}).os()
    assert found == OperatingSystem()
    assert repr(found) == "<OperatingSystem unknown>"
    assert found.supported() is None
    assert opened(server, {"etc/os-release": symlink("os-release")}, "2").os() == found


def test_hostile(server: FaultServer) -> None:
    name = b'ID=x\nPRETTY_NAME="\x1b[31m<script>\xff' + b"y" * 100_000 + b'"\n'
    found = opened(server, {"etc/os-release": name}).os()
    assert "\x1b" not in repr(found)
    assert "<script>" not in found._repr_html_()
    assert len(repr(found)) < 1000


@given(st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    repr(described(fields(content)))
    described(fields(b"ID=debian\n" + content))._repr_html_()


def test_the_card_warns_once_it_is_known(server: FaultServer) -> None:
    """The card itself reads no layer: it says what somebody found out."""
    old = BOOKWORM.replace(b"12", b"9").replace(b"bookworm", b"stretch")
    m = opened(server, {"etc/os-release": old})
    assert "end of life" not in m._repr_html_()
    m.os()
    assert "Debian GNU/Linux 9 (stretch)" in m._repr_html_()
