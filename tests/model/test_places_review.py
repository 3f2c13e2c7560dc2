"""What verify says of odd archives is what the loaders do; what counts as downloaded; bases."""

from __future__ import annotations

import bz2
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rig.faults import FaultServer
from rig.images import CREATED, dump, make_image, make_index, make_tar, sha256, write_layout
from rig.loaders import Containerd, Docker, Podman, skopeo
from rig.processes import CommandFailed

import didlab

TARS = [make_tar({"etc": None, "etc/motd": b"hello" * 99}), make_tar({"srv/data": b"x" * 5000})]
DIFF_IDS = [sha256(tar) for tar in TARS]
NAME = "registry.example/lab/odd:1"
LINKS = (tarfile.SYMTYPE, tarfile.LNKTYPE)


def config(**changes: Any) -> bytes:
    document: dict[str, Any] = {
        "architecture": "amd64",
        "os": "linux",
        "created": CREATED,
        "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": DIFF_IDS},
        "history": [{"created": CREATED, "created_by": "step"} for _ in TARS],
        **changes,
    }
    return dump(document)


def manifest(**changes: Any) -> bytes:
    item = {"Config": "c.json", "RepoTags": [NAME], "Layers": ["1.tar", "2.tar"], **changes}
    return dump([item])


def pack(*members: tuple[str, bytes | tuple[bytes, str]]) -> bytes:
    """A tar of files and links, in this order, names twice included."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                info.type, info.linkname = content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def archive(
    raw: bytes | None = None, about: bytes | None = None, first: Any = TARS[0], *more: Any
) -> bytes:
    return pack(
        ("manifest.json", raw or manifest()),
        ("c.json", about or config()),
        *more,
        ("1.tar", first),
        ("2.tar", TARS[1]),
    )


LAYOUT = ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
NO_IMAGE = ("index.json", b'{"schemaVersion":2,"manifests":[]}')
GONE = {
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "digest": sha256(b"not there"),
    "size": 9,
}
NOTHING_THERE = ("index.json", dump({"schemaVersion": 2, "manifests": [GONE]}))

#: An archive, and who takes it: d ocker, p odman, s kopeo's docker-archive, c tr.
ODD = {
    "fine": (archive(), "dpsc"),
    "no JSON": (archive(b'[{"Config":'), ""),
    "no list": (archive(b"{}"), ""),
    "a layout without an index": (archive(None, None, TARS[0], LAYOUT), "dps"),
    "an index without an image": (archive(None, None, TARS[0], LAYOUT, NO_IMAGE), "dps"),
    "an index without its manifest": (archive(None, None, TARS[0], LAYOUT, NOTHING_THERE), "dps"),
    "a symbolic link": (
        archive(None, None, (LINKS[0], "a/1.tar"), ("a/1.tar", TARS[0])),
        "dc",
    ),
    "a hard link": (archive(None, None, (LINKS[1], "a.tar"), ("a.tar", TARS[0])), "d"),
    "the same layer by a link": (
        pack(
            ("manifest.json", manifest()),
            ("c.json", config(rootfs={"type": "layers", "diff_ids": [DIFF_IDS[0]] * 2})),
            ("1.tar", TARS[0]),
            ("2.tar", (LINKS[0], "1.tar")),
        ),
        "dpsc",
    ),
    "more steps than layers": (
        archive(None, config(history=[{"created_by": "step"} for _ in range(5)])),
        "psc",
    ),
    "a time that is none": (archive(None, config(created="yesterday")), ""),
    "a step's time that is none": (archive(None, config(history=[{"created": "never"}])), ""),
    "a layer in bzip2": (archive(None, None, bz2.compress(TARS[0])), "dps"),
}
COMMANDS = {
    "d": ("docker", "docker load"),
    "p": ("podman", "podman load"),
    "s": ("skopeo", "docker-archive:"),
    "c": ("ctr", "ctr images import"),
}


def verdict(found: pd.DataFrame, loader: str, command: str) -> bool:
    some = found[(found["check"] == "loader") & (found["loader"] == loader)]
    return bool(some[some["subject"] == command]["passed"].item())


@pytest.mark.parametrize("name", ODD)
def test_verdicts_on_odd_archives(tmp_path: Path, name: str) -> None:
    raw, takers = ODD[name]
    path = tmp_path / "odd.tar"
    path.write_bytes(raw)
    found = didlab.verify(path)
    said = {key for key, row in COMMANDS.items() if verdict(found, *row)}
    assert said == set(takers)


#: Not tried with the loaders: another of these stands for them.
LIKE = {"no list", "an index without an image", "a step's time that is none"}


def test_the_loaders_do_so(
    tmp_path: Path, dockerd: Docker, podman: Podman, ctr: Containerd
) -> None:
    wrong = []
    path = tmp_path / "odd.tar"
    do = {
        "d": lambda: dockerd.run("load", "-i", path),
        "p": lambda: podman.run("load", "-i", path),
        "s": lambda: skopeo("copy", f"docker-archive:{path}", f"dir:{tmp_path}/{name}"),
        "c": lambda: ctr.load(path),
    }
    for name, (raw, takers) in ODD.items():
        if name in LIKE:
            continue
        path.write_bytes(raw)
        dockerd.remove_all()
        podman.remove_all()
        ctr.remove_all()
        for key, load in do.items():
            try:
                load()
                took = True
            except CommandFailed:
                took = False
            if took != (key in takers):
                wrong.append((name, key, took))
    assert wrong == []


def test_an_index_inside_an_index(tmp_path: Path) -> None:
    inner = make_index([make_image(TARS)])
    folder = write_layout(tmp_path / "layout", {"1": inner})
    outer = dump(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [inner.descriptor()],
        }
    )
    (folder / "blobs" / "sha256" / sha256(outer)[7:]).write_bytes(outer)
    entry = {**inner.descriptor(), "digest": sha256(outer), "size": len(outer)}
    (folder / "index.json").write_bytes(dump({"schemaVersion": 2, "manifests": [entry]}))
    assert not verdict(didlab.verify(folder), "skopeo", "oci:")
    with pytest.raises(CommandFailed, match="manifest list"):
        skopeo("copy", f"oci:{folder}", f"dir:{tmp_path}/copy")


@pytest.mark.parametrize("packed", [False, True])
def test_a_member_that_comes_twice_is_told(tmp_path: Path, packed: bool) -> None:
    raw = archive(None, None, TARS[0], ("1.tar", TARS[1]), ("etc", b""))
    path = tmp_path / ("odd.tar.gz" if packed else "odd.tar")
    if packed:
        import gzip

        raw = gzip.compress(raw)
    path.write_bytes(raw)
    found = didlab.verify(path)
    told = found[(found["check"] == "member") & ~found["passed"]]
    assert told["subject"].tolist() == ["1.tar"]
    assert told["severity"].tolist() == ["warning"]
    assert didlab.open(path).read("/etc/motd") == b"hello" * 99  # the last one counts


# --- what was on this machine already ------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Any:
    with FaultServer() as made:
        made.add_image("lab/app", "1", make_image(TARS[:1], docker=True))
        made.add_image("lab/app", "2", make_image(TARS, docker=True))
        yield made


@pytest.mark.parametrize("form", ["archive", "docker", "oci-dir", "oci-archive", ".tar.gz", "pipe"])
def test_what_is_read_from_a_file_is_not_downloaded(server: Any, tmp_path: Path, form: str) -> None:
    m = didlab.open(f"{server.host}/lab/app:2")
    first = m.save(tmp_path / "first.tar")
    assert first.downloaded > 0
    assert set(first.served) == {server.host}
    again = didlab.open(first)
    size = sum(again.layers()["size"])
    if form == "pipe":
        report = again.save(io.BytesIO())
    elif form == ".tar.gz":
        report = again.save(tmp_path / "again.tar.gz")
    else:
        report = again.save(tmp_path / "again", format=form)
    assert report.downloaded == 0
    assert report.reused >= size
    assert dict(report.served) == {}


@pytest.mark.parametrize("name", ["whole.tar", "whole.tar.gz"])
def test_what_completes_a_thin_tar(server: Any, tmp_path: Path, name: str) -> None:
    base = didlab.open(f"{server.host}/lab/app:1")
    thin = didlab.open(f"{server.host}/lab/app:2").save(tmp_path / "thin.tar", since=base)
    (layer,) = base.layers()["size"]
    assert didlab.complete(thin, base, tmp_path / name).downloaded == layer
    first = base.save(tmp_path / "first.tar")
    (tmp_path / name).unlink()
    assert didlab.complete(thin, first, tmp_path / name).downloaded == 0


def test_a_base_at_the_daemon_by_its_name(
    server: Any, tmp_path: Path, dockerd: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", dockerd.host)
    base = didlab.open(f"{server.host}/lab/app:1")
    m = didlab.open(f"{server.host}/lab/app:2")
    dockerd.run("load", "-i", str(base.save(tmp_path / "1.tar")))
    at = f"docker-daemon:{server.host}/lab/app:1"
    thin = m.save(tmp_path / "thin.tar", since=at, format="docker")
    with tarfile.open(thin) as tar:
        needs = json.load(tar.extractfile("didlab-needs.json"))  # type: ignore[arg-type]
    assert [layer["diffId"] for layer in needs["layers"]] == DIFF_IDS[:1]
    whole = didlab.complete(thin, at, tmp_path / "whole.tar")
    full = m.save(tmp_path / "full.tar", format="docker")
    assert Path(whole).read_bytes() == Path(full).read_bytes()
