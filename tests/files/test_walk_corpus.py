"""Archives of every tar program, read as tarfile and GNU tar read them."""

from __future__ import annotations

import base64
import io
import os
import re
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rig import tars
from rig.processes import require, run

from didlab.files import walk
from didlab.files.table import TYPES, Entry, Table
from didlab.files.tar_header import absolute
from didlab.files.walk import Walker

LETTERS = dict(zip("-dlhcbpC", [*TYPES, "file"], strict=True))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tars.tree(tmp_path_factory.mktemp("tars") / "tree")


@pytest.fixture(scope="module", params=[*tars.NAMES, "go"])
def archive(
    request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("archive") / f"{request.param}.tar"
    if request.param == "go":
        path.write_bytes(tars.go_style())
    else:
        tars.make(request.param, source, path)
    return path


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "_WORTH", 512)


def walked(data: bytes, size: int = 1 << 20, **options: object) -> tuple[Table, Walker]:
    walker = Walker(**options)  # type: ignore[arg-type]
    for piece in tars.pieces(data, size):
        walker.feed(piece)
    return walker.finish(), walker


def kind(info: tarfile.TarInfo) -> str:
    for name, check in (
        ("dir", info.isdir()),
        ("symlink", info.issym()),
        ("hardlink", info.islnk()),
        ("char", info.ischr()),
        ("block", info.isblk()),
        ("fifo", info.isfifo()),
    ):
        if check:
            return name
    return "file"


def micros(info: tarfile.TarInfo) -> int:
    text = info.pax_headers.get("mtime")
    if text is None:
        return int(info.mtime) * 1_000_000
    whole, _, fraction = text.partition(".")
    parts = int(fraction[:6].ljust(6, "0")) if fraction else 0
    return int(whole) * 1_000_000 + (-parts if whole.startswith("-") else parts)


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def test_like_tarfile(archive: Path) -> None:
    data = archive.read_bytes()
    table, walker = walked(data)
    infos = tars.members(data)
    assert len(infos) > 8
    for entry, info in zip(table, infos, strict=True):
        link = raw(info.linkname) if info.issym() else b""
        if info.islnk():
            link = absolute(raw(info.linkname))
        assert entry[:8] == (
            absolute(raw(info.name)),
            TYPES.index(kind(info)),
            info.mode,
            info.uid,
            info.gid,
            info.size if info.isfile() else 0,
            micros(info),
            link,
        )
        if info.ischr() or info.isblk():
            assert entry.extra == {"device": [info.devmajor, info.devminor]}
    assert walker.warnings == []


def test_like_gnu_tar(archive: Path) -> None:
    tar = require("tar", "tar")
    environ = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}
    listing = run(
        *(tar, "--list", "--verbose", "--full-time", "--numeric-owner"),
        *("--quoting-style=escape", "--warning=no-unknown-keyword", "--absolute-names"),
        *("--file", archive),
        environ=environ,
    )
    table, _ = walked(archive.read_bytes())
    rows = [gnu_row(line) for line in listing.splitlines()]
    assert rows == [our_row(entry) for entry in table]


_LINE = re.compile(r"(\S)(\S{9})\+? +(\d+)/(\d+) +(\d+|\d+,\d+) (\S+ \S+) (.*)", re.DOTALL)


def gnu_row(line: str) -> tuple[object, ...]:
    match = _LINE.fullmatch(line)
    assert match, line
    letter, permissions, uid, gid, size, when, rest = match.groups()
    # Times are as wide as the widest one so far.
    name, link = rest.lstrip(" "), ""
    for between in (" -> ", " link to "):
        if between in name:
            name, link = name.split(between)
    whole, _, fraction = when.partition(".")
    moment = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    mtime = int(moment.timestamp()) * 1_000_000 + int(fraction[:6].ljust(6, "0"))
    path = absolute(unescaped(name))
    target = absolute(unescaped(link)) if letter == "h" else unescaped(link)
    return LETTERS[letter], permissions, int(uid), int(gid), size, mtime, path, target


def unescaped(text: str) -> bytes:
    plain = text.encode().decode("unicode_escape").encode("latin-1") if "\\" in text else b""
    return plain or text.encode()


def our_row(entry: Entry) -> tuple[object, ...]:
    extra = entry.extra or {}
    size = ",".join(map(str, extra["device"])) if "device" in extra else str(entry.size)
    row = (entry.uid, entry.gid, size, entry.mtime, entry.path, entry.link)
    return TYPES[entry.type], permissions(entry.mode), *row


def permissions(mode: int) -> str:
    letters = ["rwx"[n % 3] if mode & (0o400 >> n) else "-" for n in range(9)]
    for bit, at, letter in ((0o4000, 2, "s"), (0o2000, 5, "s"), (0o1000, 8, "t")):
        if mode & bit:
            letters[at] = letter if letters[at] == "x" else letter.upper()
    return "".join(letters)


def test_contents(archive: Path) -> None:
    data = archive.read_bytes()
    table, walker = walked(data, 100_000, capture=lambda path, size: True)
    seen = 0
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8") as reader:
        for entry, info in zip(table, reader.getmembers(), strict=True):
            if not info.isfile():
                assert entry.offset == -1
                continue
            content = reader.extractfile(info)
            assert content is not None
            expected = content.read()
            assert walker.captured[entry.path] == expected
            assert stored(data, entry) == expected
            seen += 1
    assert seen == len(walker.captured) > 3


def stored(data: bytes, entry: Entry) -> bytes:
    """The content as the table says where it is."""
    extra = entry.extra or {}
    if "sparse" not in extra:
        return data[entry.offset : entry.offset + entry.size]
    content, at = bytearray(entry.size), entry.offset
    for offset, length in extra["sparse"]:
        content[offset : offset + length] = data[at : at + length]
        at += length
    assert at <= entry.offset + extra["stored"]
    return bytes(content)


@pytest.mark.parametrize("size", [1, 511, 513, 4096, 65_537])
def test_pieces_of_any_size(archive: Path, size: int) -> None:
    data = archive.read_bytes()[: 60_000 if size == 1 else None]
    if size == 1:
        data = data[: len(data) // 512 * 512]
        end = boundary(data)
        data = data[:end]
    expected, plain = walked(data, len(data), batch=False, capture=lambda path, size: True)
    table, walker = walked(data, size, capture=lambda path, size: True)
    assert list(table) == list(expected)
    assert walker.captured == plain.captured
    assert walker.warnings == plain.warnings


def boundary(data: bytes) -> int:
    """Where the last whole entry ends."""
    for end in range(len(data), 0, -512):
        try:
            walked(data[:end], end, batch=False)
        except ValueError:
            continue
        return end
    return 0


def test_the_corpus_has_what_it_should(source: Path, tmp_path: Path) -> None:
    def entries(name: str) -> dict[bytes, Entry]:
        tars.make(name, source, tmp_path / name)
        return {entry.path: entry for entry in walked((tmp_path / name).read_bytes())[0]}

    for name in ("gnu-sparse-old", "gnu-sparse-0.0", "gnu-sparse-0.1", "gnu-sparse-1.0"):
        found = entries(name)
        extra = found[b"/holes"].extra or {}
        assert len(extra["sparse"]) == 40, name
        assert extra["stored"] == 40 * 4096, name
        assert found[b"/sparse"].size == 5 << 20
    try:
        os.getxattr(source / "one", "user.colour")
    except (OSError, AttributeError):
        return
    value = base64.b64encode(b"red\0blue").decode()
    for name in ("gnu-posix", "bsd-pax"):
        extra = entries(name)[b"/one"].extra or {}
        assert extra["xattrs"]["user.colour"] == value, name
