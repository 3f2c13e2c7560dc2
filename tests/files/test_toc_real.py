"""zstd:chunked as skopeo writes it, against what `tar` says of the same layer."""

from __future__ import annotations

import io
import itertools
import json
import random
import stat
import tarfile
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rig import images
from rig.processes import require, run
from rig.registries import Registry
from rig.tocs import zstd_module

from didlab.files import toc
from didlab.files.table import TYPES
from didlab.oci.descriptor import Descriptor

_LETTERS = dict(zip(TYPES, "-dlhcbp", strict=True))


def _layer() -> bytes:
    noise = random.Random(6).randbytes(400_000)
    members: dict[str, images.Member] = {
        "etc/": None,
        "etc/motd": b"hello " * 1000,
        "usr/": None,
        "usr/big": bytes(range(256)) * 2000 + bytes(300_000) + noise,
        "empty": b"",
        "link": images.symlink("etc/motd"),
        "hard": images.hardlink("etc/motd"),
        "etc/.wh.gone": b"",
        "bücher/漢字": b"text",
    }
    for number in range(300):
        members[f"usr/file{number:03}"] = noise[number : number * 5]
    for name, kind in (("null", tarfile.CHRTYPE), ("sda", tarfile.BLKTYPE)):
        device = tarfile.TarInfo()
        device.type, device.devmajor, device.devminor, device.mode = kind, 8, 3, 0o600
        members[f"dev/{name}"] = device
    owned = tarfile.TarInfo()
    owned.uid, owned.gid, owned.mode, owned.mtime = 1000, 50, 0o4755, 1_700_000_000
    owned.pax_headers = {"SCHILY.xattr.user.note": "value"}
    members["usr/owned"] = (owned, b"owned")
    return images.make_tar(members)


def _by_tar(tar: bytes, folder: Path) -> list[tuple[str, ...]]:
    """What GNU tar says: mode, owner, size or device, time, name and link."""
    path = folder / "layer.tar"
    path.write_bytes(tar)
    text = run(
        require("tar", "tar"),
        "--utc",
        "--full-time",
        "--numeric-owner",
        "--quoting-style=literal",
        "-tvf",
        path,
    )
    rows = []
    for line in text.splitlines():
        mode, owner, size, day, time, name = line.split(None, 5)
        name, _, link = name.replace(" link to ", " -> ").partition(" -> ")
        rows.append((mode, owner, size, f"{day} {time}", name, link))
    return rows


@pytest.fixture(scope="module")
def copied(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> tuple[Descriptor, str]:
    """A layer that skopeo compressed as zstd:chunked, and its address."""
    skopeo = require("skopeo", "skopeo")
    layout = images.write_layout(
        tmp_path_factory.mktemp("layout"), {"latest": images.make_image([_layer()])}
    )
    run(
        skopeo, "--insecure-policy", "copy", "--dest-tls-verify=false",
        "--dest-compress", "--dest-compress-format", "zstd:chunked",
        f"oci:{layout}:latest", f"docker://{registry.host}/chunked:latest",
    )  # fmt: skip
    raw = run(skopeo, "inspect", "--raw", "--tls-verify=false", f"docker://{registry.host}/chunked")
    descriptor = Descriptor.from_json(json.loads(raw)["layers"][0], "layers[0]")
    return descriptor, f"{registry.url}/v2/chunked/blobs/{descriptor.digest}"


def _fetch(url: str, start: int, stop: int) -> bytes:
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-{stop - 1}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        assert answer.status == 206
        content: bytes = answer.read()
    return content


def test_listed_as_tar_lists_it(
    copied: tuple[Descriptor, str], registry: Registry, tmp_path: Path
) -> None:
    descriptor, url = copied
    finder = toc.find(descriptor)
    assert finder is not None
    with registry.record() as seen:
        table, _ = finder.read(lambda start, stop: _fetch(url, start, stop), descriptor.size)
    assert len(seen) == 1

    blob = _fetch(url, 0, descriptor.size)
    tar = zstd_module().decompress(blob)
    listed = []
    for row in table:
        kind = TYPES[row.type]
        size = str(row.size)
        if row.extra and "device" in row.extra:
            size = ",".join(map(str, row.extra["device"]))
        name = row.path.decode()[1:] + ("/" if kind == "dir" else "")
        link = row.link.decode().lstrip("/" if kind == "hardlink" else "")
        when = f"{row.mtime // 1_000_000}"
        listed.append((_mode(kind, row.mode), f"{row.uid}/{row.gid}", size, when, name, link))
    expected = [
        (mode, owner, size, _seconds(when), name, link)
        for mode, owner, size, when, name, link in _by_tar(tar, tmp_path)
    ]
    assert listed == expected
    assert len(listed) > 300
    owned = table.entry(table.find(b"/usr/owned"))
    assert owned.extra == {"xattrs": {"user.note": "dmFsdWU="}}


def test_contents_of_all_files(copied: tuple[Descriptor, str]) -> None:
    descriptor, url = copied
    finder = toc.find(descriptor)
    assert finder is not None
    blob = _fetch(url, 0, descriptor.size)
    table, chunks = finder.read(lambda start, stop: blob[start:stop], descriptor.size)
    most = 0
    with tarfile.open(fileobj=io.BytesIO(zstd_module().decompress(blob))) as archive:
        for row, info in enumerate(archive):
            reader = archive.extractfile(info) if info.isreg() else None
            pieces = chunks.of_row(row)
            content = b"".join(
                toc.decode(finder.kind, piece, blob[piece.start : piece.stop]) for piece in pieces
            )
            assert content == (reader.read() if reader else b"")
            most = max(most, len(pieces))
            # The pieces of a file lie one behind the other: one request fetches them.
            assert all(a.stop == b.start for a, b in itertools.pairwise(pieces))
    assert most > 3
    assert len(table) == row + 1
    assert any(not piece.digest for piece in chunks.of_row(table.find(b"/usr/big")))


def _mode(kind: str, mode: int) -> str:
    bits = stat.filemode(mode)[1:]
    return _LETTERS[kind] + bits


def _seconds(when: str) -> str:
    return str(int(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp()))
