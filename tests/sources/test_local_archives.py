"""Archives of every age and kind, and those that want something else than be read."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import signal
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.images import (
    OCI_INDEX,
    hardlink,
    make_image,
    make_index,
    make_tar,
    sha256,
    symlink,
    write_layout,
)
from rig.processes import require
from sources.test_local_suite import LAYERS, docker_members, pack, zstd

import didlab
from didlab import errors
from didlab.export.blobwork import BlobWork
from didlab.export.output import PartialFile
from didlab.export.plan import Hole
from didlab.files import blocks, kept
from didlab.oci.descriptor import Descriptor
from didlab.sources.local import archive
from didlab.sources.local import members as inside
from didlab.sources.local.backing import DiskFile, OpenFile
from didlab.sources.local.members import TarMembers
from didlab.sources.memory import MemorySource

IMAGE = make_image([LAYERS[0], LAYERS[1]])


@pytest.fixture(autouse=True)
def _forget() -> None:
    """Layers that other tests have listed would not be read."""
    kept.forget()
    blocks.forget()
    archive.forget()


@pytest.fixture(autouse=True)
def _alarm() -> Iterator[None]:
    """Whatever waits for a pipe's other end ends after a while."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(20)
    yield
    signal.alarm(0)


def put(path: Path, members: dict[str, Any]) -> Path:
    path.write_bytes(pack(members))
    return path


# --- shapes -----------------------------------------------------------------------------------


def test_links_for_layers_that_come_twice(tmp_path: Path) -> None:
    members, _ = docker_members({"1": [LAYERS[0], LAYERS[1], LAYERS[0]]})
    items = json.loads(members["manifest.json"])
    first = items[0]["Layers"][0]
    for name, link in (("again", symlink(f"../{first}")), ("hard", hardlink(first))):
        items[0]["Layers"][2] = f"{name}/layer.tar"
        path = put(
            tmp_path / f"{name}.tar",
            {**members, f"{name}/layer.tar": link, "manifest.json": json.dumps(items).encode()},
        )
        m = didlab.open(path)
        digests = m.layers()["digest"].tolist()
        assert digests[0] == digests[2] == sha256(LAYERS[0])
        assert b"".join(m.layer(2).stream()) == LAYERS[0]


def test_old_folders_beside_a_manifest_are_of_no_interest(tmp_path: Path) -> None:
    members, built = docker_members({"1": LAYERS})
    old = {"ab/VERSION": b"1.0", "ab/json": b"{}", "repositories": b"not even JSON"}
    m = didlab.open(put(tmp_path / "a.tar", {**old, **members}))
    assert m.digest() == built["1"].digest


def test_names_of_a_blob_are_believed_until_it_is_read(tmp_path: Path) -> None:
    """blobs/sha256/… says the digest: nothing is hashed to make the manifest."""
    members, _ = docker_members({"1": [LAYERS[0]]}, compress=True)
    items = json.loads(members["manifest.json"])
    blob = members.pop(items[0]["Layers"][0])
    for claimed in (sha256(blob), sha256(b"other")):
        items[0]["Layers"] = [f"blobs/sha256/{claimed[7:]}"]
        members["manifest.json"] = json.dumps(items).encode()
        m = didlab.open(put(tmp_path / "a.tar", {**members, items[0]["Layers"][0]: blob}))
        assert m.layer(0).digest == claimed
        if claimed == sha256(blob):
            assert b"".join(m.layer(0).stream()) == blob
        else:
            with pytest.raises(errors.DigestMismatch):
                b"".join(m.layer(0).stream())


def test_layers_packed_by_names_of_their_own(tmp_path: Path) -> None:
    members, built = docker_members({"1": LAYERS}, compress=True)
    m = didlab.open(put(tmp_path / "a.tar", members))
    assert m.digest() == built["1"].digest
    assert m.files()["path"].tolist()


def test_two_lists_in_one_archive(tmp_path: Path) -> None:
    """index.json by default, manifest.json for docker-archive:."""
    write_layout(tmp_path / "l", {"1": IMAGE})
    layout = {
        p.relative_to(tmp_path / "l").as_posix(): p.read_bytes()
        for p in (tmp_path / "l").rglob("*")
        if p.is_file()
    }
    members, built = docker_members({"1": LAYERS[:1]})
    path = put(tmp_path / "a.tar", {**members, **layout})
    assert didlab.open(path).digest() == IMAGE.digest
    assert didlab.open(f"oci-archive:{path}").digest() == IMAGE.digest
    assert didlab.open(f"docker-archive:{path}").digest() == built["1"].digest
    assert didlab.images(path)["format"].tolist() == ["oci"]
    assert didlab.images(f"docker-archive:{path}")["format"].tolist() == ["docker-archive"]


def test_two_lists_that_disagree_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = "registry.example/lab/app:1"
    for other, disagrees in ((LAYERS, False), (LAYERS[:1], True)):
        members, built = docker_members({"1": other}, compress=True)
        path = tmp_path / f"{disagrees}.tar"
        first = didlab.open(put(tmp_path / "first.tar", docker_members({"1": LAYERS})[0]))
        first.save(path)
        with tarfile.open(path) as tar:
            whole = {
                entry.name: tar.extractfile(entry).read()  # type: ignore[union-attr]
                for entry in tar
            }
        put(path, {**whole, **members})
        caplog.clear()
        m = didlab.open(path)
        assert m.image_id() == first.image_id()
        assert str(m.reference) == name
        assert (built["1"].image_id in caplog.text) == disagrees
        assert ("two images" in caplog.text) == disagrees


def layout_with(folder: Path, rows: list[dict[str, Any]], *images: Any) -> Path:
    write_layout(folder, {str(number): image for number, image in enumerate(images)})
    index = {"schemaVersion": 2, "manifests": rows}
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def test_which_image_is_meant(tmp_path: Path) -> None:
    other = make_image([{"a": b"1"}], platform="linux/arm64")
    name, tag = "io.containerd.image.name", "org.opencontainers.image.ref.name"
    rows = [
        IMAGE.descriptor(annotations={name: "docker.io/library/web:2", tag: "2"}),
        IMAGE.descriptor(annotations={name: "docker.io/library/web:latest", tag: "latest"}),
    ]
    # One image under two names is one image.
    m = didlab.open(layout_with(tmp_path / "same", rows, IMAGE))
    assert m.digest() == IMAGE.digest
    assert str(m.reference) == "docker.io/library/web:2"

    folder = layout_with(tmp_path / "two", [*rows, other.descriptor()], IMAGE, other)
    assert didlab.open(folder).digest() == IMAGE.digest  # the only one with a name
    for label in ("web", "web:latest", "latest", "docker.io/library/web", "@1", IMAGE.digest):
        assert didlab.open(folder, name=label).digest() == IMAGE.digest
    assert didlab.open(folder, name="@2").digest() == other.digest
    assert didlab.open(f"oci:{folder}:@2").digest() == other.digest
    assert didlab.open(folder, name=other.digest)["linux/arm64"].digest() == other.digest
    for label in ("web:3", "3", "@3", "@x", "sha256:" + "ab" * 32):
        with pytest.raises((errors.ManifestNotFound, errors.InvalidArgument)) as caught:
            didlab.open(folder, name=label).digest()
        assert label in str(caught.value)

    rows = [IMAGE.descriptor(annotations={tag: "a"}), other.descriptor(annotations={tag: "b"})]
    folder = layout_with(tmp_path / "bare", rows, IMAGE, other)
    with pytest.raises(errors.InvalidArgument, match="2 images: a, b") as several:
        didlab.open(folder).digest()
    assert several.value.fields()["available"] == ("a", "b")
    m = didlab.open(folder, name="b")
    assert (str(m.reference), m.repository, m.registry) == ("bare:b", None, None)


def test_no_image_at_all(tmp_path: Path) -> None:
    with pytest.raises(errors.ManifestNotFound, match="holds no image"):
        didlab.open(layout_with(tmp_path / "l", [])).digest()
    with pytest.raises(errors.ManifestNotFound, match="holds no image"):
        didlab.open(put(tmp_path / "a.tar", {"manifest.json": b"[]"})).digest()
    assert didlab.images(tmp_path / "a.tar").empty


def test_a_platform_that_the_archive_lacks(tmp_path: Path) -> None:
    arm = make_image([{"a": b"1"}], platform="linux/arm64")
    index = make_index([IMAGE, arm])
    write_layout(tmp_path / "l", {"1": index})
    (tmp_path / "l" / "blobs" / "sha256" / arm.digest[7:]).unlink()
    m = didlab.open(tmp_path / "l")
    assert len(m.platforms()) == 2
    assert m["linux/amd64"].read("/etc/issue")
    with pytest.raises(errors.ManifestNotFound, match="some platforms"):
        m["linux/arm64"].layers()


def test_a_thin_archive_says_what_is_missing(tmp_path: Path) -> None:
    members, built = docker_members({"1": LAYERS, "2": LAYERS[1:]})
    gone = f"{sha256(LAYERS[0])[7:]}/layer.tar"
    del members[gone]
    path = put(tmp_path / "thin.tar", members)
    with pytest.raises(errors.BlobNotFound, match=r"layer\.tar"):
        didlab.open(path, name="@0").digest()
    assert didlab.open(path, name="@1").digest() == built["2"].digest
    assert didlab.open(path, name=built["2"].digest).digest() == built["2"].digest
    assert didlab.images(path)["digest"].isna().tolist() == [True, False]


# --- what is no image archive -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "error", "says"),
    [
        ({"ab12/json": b"{}", "ab12/layer.tar": b""}, errors.Unsupported, "before Docker 1.10"),
        ({"repositories": b"{}"}, errors.Unsupported, "before Docker 1.10"),
        ({"etc/passwd": b"", "usr/bin/sh": b""}, errors.NotAnImage, "docker export"),
        ({"app/Chart.yaml": b"", "app/values.yaml": b""}, errors.NotAnImage, "Helm chart"),
        ({"blobs/sha256/ab": b""}, errors.NotAnImage, "index.json is missing"),
        ({"a.txt": b""}, errors.NotAnImage, "it holds a.txt"),
        ({}, errors.NotAnImage, "it is empty"),
        ({"manifest.json": b"null"}, errors.ManifestInvalid, "no list"),
        ({"manifest.json": b"[{}]"}, errors.ManifestInvalid, "Config is missing"),
        ({"manifest.json": b'[{"Config":"a","Layers":"b"}]'}, errors.ManifestInvalid, "list"),
        ({"manifest.json": b"{"}, errors.ManifestInvalid, "not JSON"),
        (
            {"index.json": b'{"schemaVersion":2,"manifests":[]}', "oci-layout": b"{}"},
            errors.Unsupported,
            "version",
        ),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_refused_by_name(
    tmp_path: Path, members: dict[str, Any], error: type[Exception], says: str, packed: bool
) -> None:
    raw = pack(members)
    (tmp_path / "a.tar").write_bytes(gzip.compress(raw) if packed else raw)
    with pytest.raises(error, match=says) as caught:
        didlab.open(tmp_path / "a.tar").layers()
    assert "a.tar" in str(caught.value)


def test_the_other_transport_is_named(tmp_path: Path) -> None:
    members, _ = docker_members({"1": LAYERS})
    path = put(tmp_path / "a.tar", members)
    with pytest.raises(errors.NotAnImage, match="is a docker-archive, not an OCI"):
        didlab.open(f"oci-archive:{path}").digest()
    write_layout(tmp_path / "l", {"1": IMAGE})
    with pytest.raises(errors.NotAnImage, match="is an OCI image layout, not a docker-archive"):
        didlab.open(f"docker-archive:{tmp_path / 'l'}").digest()


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (b"", errors.TarInvalid, "is empty"),
        (b"PK\x03\x04" + bytes(600), errors.CompressionInvalid, "zip"),
        (b"\xfd7zXZ\0" + bytes(600), errors.CompressionInvalid, "xz"),
        (b"{}" * 300, errors.CompressionInvalid, "JSON"),
        (b"\x1f\x8b" + bytes(600), errors.CompressionInvalid, "gzip"),
    ],
)
def test_no_tar(tmp_path: Path, content: bytes, error: type[Exception], says: str) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(error, match=says):
        didlab.open(tmp_path / "a.tar").digest()


def test_cut_anywhere(tmp_path: Path) -> None:
    """An archive that was not copied whole is never taken for one that was."""
    members, built = docker_members({"1": LAYERS[1:]})
    raw = pack(members)
    end = len(raw.rstrip(b"\0"))
    for packed in (False, True):
        data = gzip.compress(raw) if packed else raw
        for cut in range(1, len(data) if packed else end, 13 if packed else 97):
            (tmp_path / "a.tar").write_bytes(data[:cut])
            with pytest.raises(errors.DidlabError):
                didlab.open(tmp_path / "a.tar").digest()
    (tmp_path / "a.tar").write_bytes(raw)
    assert didlab.open(tmp_path / "a.tar").digest() == built["1"].digest


def test_cut_within_the_last_layer(tmp_path: Path) -> None:
    """Everything that is needed to list it is there; it is refused all the same, at once."""
    members, _ = docker_members({"1": LAYERS})
    names = sorted(members, key=lambda name: name.endswith("layer.tar"))
    raw = pack({name: members[name] for name in names})
    (tmp_path / "a.tar").write_bytes(raw[: len(raw.rstrip(b"\0")) - 100])
    with pytest.raises(errors.TarInvalid, match="not copied whole"):
        didlab.open(tmp_path / "a.tar").digest()


def test_damage_is_a_typed_error(tmp_path: Path) -> None:
    members, _ = docker_members({"1": LAYERS})
    whole = pack(members)
    noise = random.Random(5)
    seen = set()
    for packed in (False, True):
        raw = gzip.compress(whole) if packed else whole
        for _ in range(60):
            data = bytearray(raw)
            for _ in range(noise.choice((1, 1, 3, 30))):
                data[noise.randrange(len(data))] = noise.randrange(256)
            (tmp_path / "a.tar").write_bytes(data)
            kept.forget()
            try:
                m = didlab.open(tmp_path / "a.tar")
                m.files()
                m.layers()
            except errors.DidlabError as error:
                seen.add(type(error).__name__)
    assert {"DigestMismatch", "CompressionInvalid", "TarInvalid"} <= seen


# --- names that lead elsewhere ----------------------------------------------------------------


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(LAYERS[0])
    return path


@pytest.mark.parametrize("where", ["Config", "Layers"])
def test_names_are_looked_up_among_the_members(tmp_path: Path, secret: Path, where: str) -> None:
    for name in (str(secret), "../secret", "a/../../secret", "file:///secret", "http://x/y", "\0"):
        members, _ = docker_members({"1": LAYERS})
        items = json.loads(members["manifest.json"])
        items[0][where] = name if where == "Config" else [name, items[0]["Layers"][1]]
        members["manifest.json"] = json.dumps(items).encode()
        for place in ("tar", "folder"):
            path = tmp_path / "a.tar"
            if place == "tar":
                put(path, members)
            else:
                path = tmp_path / "folder"
                for member, content in members.items():
                    (path / member).parent.mkdir(parents=True, exist_ok=True)
                    (path / member).write_bytes(content)
            with pytest.raises((errors.BlobNotFound, errors.PathEscape)):
                didlab.open(path).digest()


@pytest.mark.parametrize(
    ("link", "error"),
    [
        (symlink("/etc/shadow"), errors.BlobNotFound),
        (symlink("../../../../../etc/shadow"), errors.LinkEscape),
        (symlink("layer.tar"), errors.LinkLoop),
        (hardlink("ab/layer.tar"), errors.LinkLoop),
        (hardlink("../x"), errors.BlobNotFound),
        (symlink("."), errors.BlobNotFound),
    ],
)
def test_links_stay_inside(tmp_path: Path, link: tarfile.TarInfo, error: type[Exception]) -> None:
    members, _ = docker_members({"1": LAYERS[:1]})
    items = json.loads(members["manifest.json"])
    items[0]["Layers"] = ["ab/layer.tar"]
    members["manifest.json"] = json.dumps(items).encode()
    path = put(tmp_path / "a.tar", {**members, "ab/layer.tar": link})
    with pytest.raises(error):
        didlab.open(path).digest()


def test_a_chain_of_links_is_followed_so_far(tmp_path: Path) -> None:
    for count, fine in ((8, True), (9, False)):
        members, _ = docker_members({"1": LAYERS[:1]})
        items = json.loads(members["manifest.json"])
        for number in range(count):
            target = f"../{items[0]['Layers'][0]}" if not number else f"../l{number - 1}/layer.tar"
            members[f"l{number}/layer.tar"] = symlink(target)
        items[0]["Layers"] = [f"l{count - 1}/layer.tar"]
        members["manifest.json"] = json.dumps(items).encode()
        m = didlab.open(put(tmp_path / f"{count}.tar", members))
        if fine:
            assert m.layer(0).digest == sha256(LAYERS[0])
        else:
            with pytest.raises(errors.LinkLoop):
                m.digest()


def test_a_fifo_or_folder_where_a_layer_should_be(tmp_path: Path) -> None:
    for kind, error in ((tarfile.FIFOTYPE, errors.SpecialFile), (tarfile.DIRTYPE, errors.NotAFile)):
        members, _ = docker_members({"1": LAYERS[:1]})
        items = json.loads(members["manifest.json"])
        odd = tarfile.TarInfo()
        odd.type = kind
        members[items[0]["Layers"][0]] = odd
        with pytest.raises(error):
            didlab.open(put(tmp_path / "a.tar", members)).digest()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no fifos here")
@pytest.mark.parametrize("what", ["index.json", "oci-layout", "config", "layer", "blobs"])
@pytest.mark.parametrize("kind", ["symlink", "fifo", "folder"])
def test_a_layout_of_links_and_pipes(tmp_path: Path, what: str, kind: str) -> None:
    folder = write_layout(tmp_path / "l", {"1": IMAGE})
    blobs = folder / "blobs" / "sha256"
    victim = {
        "config": blobs / IMAGE.image_id[7:],
        "layer": blobs / IMAGE.layers[0]["digest"][7:],
        "blobs": folder / "blobs",
    }.get(what, folder / what)
    moved = victim.rename(tmp_path / "elsewhere")
    if kind == "symlink":
        victim.symlink_to(moved)
    elif kind == "fifo":
        os.mkfifo(victim)
    else:
        victim.mkdir()
    with pytest.raises(errors.DidlabError) as caught:
        didlab.open(folder).files()
    if kind == "symlink":
        assert isinstance(caught.value, errors.LinkEscape)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no fifos here")
def test_an_archive_that_is_a_pipe_or_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tar")
    for path in (tmp_path / "a.tar", Path("/dev/zero")):
        with pytest.raises(errors.SpecialFile):
            didlab.open(path).digest()


def test_what_is_not_there(tmp_path: Path) -> None:
    put(tmp_path / "backup.tar", {})
    with pytest.raises(errors.PathNotFound, match=r"there is backup\.tar") as caught:
        didlab.open(tmp_path / "bakcup.tar").digest()
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.available == ("backup.tar",)
    with pytest.raises(errors.PathNotFound, match="nor does its folder"):
        didlab.images(tmp_path / "no" / "such.tar")


@pytest.mark.parametrize(
    "tag", ["<script>", "a b:1", "UPPER:1", "no-tag", "x:1@sha256:ab", "\x1b[31m:1"]
)
def test_names_that_are_none_never_become_one(tmp_path: Path, tag: str) -> None:
    members, _ = docker_members({"1": LAYERS[:1]})
    items = json.loads(members["manifest.json"])
    items[0]["RepoTags"] = [tag]
    members["manifest.json"] = json.dumps(items).encode()
    path = put(tmp_path / "a.tar", members)
    m = didlab.open(path)
    m.digest()
    assert str(m.reference) == "a.tar"
    m.save(tmp_path / "b.tar")
    with tarfile.open(tmp_path / "b.tar") as made:
        assert json.load(made.extractfile("manifest.json"))[0]["RepoTags"] == []  # type: ignore[arg-type]
        assert "annotations" not in json.load(made.extractfile("index.json"))["manifests"][0]  # type: ignore[arg-type]
    assert didlab.images(path)["name"].tolist() == [tag]


def test_a_hundred_thousand_names(tmp_path: Path) -> None:
    members, built = docker_members({"1": LAYERS[:1]})
    items = json.loads(members["manifest.json"])
    items[0]["RepoTags"] = [f"app:{number}" for number in range(100_000)]
    members["manifest.json"] = json.dumps(items).encode()
    path = put(tmp_path / "a.tar", members)
    assert didlab.open(path).digest() == built["1"].digest
    with pytest.raises(errors.ManifestNotFound) as caught:
        didlab.open(path, name="other:1").digest()
    assert len(str(caught.value)) < 2000


def test_a_config_that_fits_no_layers(tmp_path: Path) -> None:
    members, _ = docker_members({"1": LAYERS})
    items = json.loads(members["manifest.json"])
    items[0]["Layers"].pop()
    members["manifest.json"] = json.dumps(items).encode()
    with pytest.raises(errors.ManifestInvalid, match="1 layer"):
        didlab.open(put(tmp_path / "a.tar", members)).digest()


def test_a_layer_that_is_not_what_the_config_says(tmp_path: Path) -> None:
    members, _ = docker_members({"1": LAYERS[:1]})
    path = next(name for name in members if name.endswith("layer.tar"))
    wrong = bytearray(members[path])
    wrong[600] ^= 1
    m = didlab.open(put(tmp_path / "a.tar", {**members, path: bytes(wrong)}))
    with pytest.raises(errors.DigestMismatch):
        m.files()
    with pytest.raises(errors.DigestMismatch):
        m.save(tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()


def test_an_index_that_is_no_index(tmp_path: Path) -> None:
    folder = write_layout(tmp_path / "l", {"1": IMAGE})
    for raw in (IMAGE.manifest, b"[]", b'{"schemaVersion":2}', b"\xff"):
        (folder / "index.json").write_bytes(raw)
        with pytest.raises((errors.ManifestInvalid, errors.TypeConfusion)):
            didlab.open(folder).digest()
    (folder / "index.json").write_bytes(b" " * (5 * 1024 * 1024))
    with pytest.raises(errors.LimitExceeded):
        didlab.open(folder).digest()


def test_sparse_members_are_refused_by_name(tmp_path: Path) -> None:
    folder = write_layout(tmp_path / "l", {"1": IMAGE})
    hole = folder / "blobs" / "sha256" / IMAGE.layers[0]["digest"][7:]
    with hole.open("wb") as file:
        file.truncate(4_000_000)
        file.seek(2_000_000)
        file.write(b"x" * 9000)
    for kind in ("gnu", "posix"):
        argv = [require("tar", "tar"), "-S", "--format", kind, "-cf", tmp_path / "a.tar"]
        subprocess.run([*argv, "-C", folder, "."], check=True)
        m = didlab.open(tmp_path / "a.tar")
        assert m.digest() == IMAGE.digest
        with pytest.raises(errors.Unsupported, match="sparse"):
            b"".join(m.layer(0).stream())


# --- cost -------------------------------------------------------------------------------------


class Counted(DiskFile):
    """Counts the bytes that were read."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.read = 0

    def open(self) -> OpenFile:
        opened = super().open()
        pieces = opened.pieces

        def counted(start: int, stop: int) -> Iterator[bytes]:
            for piece in pieces(start, stop):
                self.read += len(piece)
                yield piece

        opened.pieces = counted  # type: ignore[method-assign]
        return opened


def test_a_plain_tar_costs_its_headers(tmp_path: Path) -> None:
    """200 MB of layers, and less than 1 MB is read to know where everything is."""
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(20):
            entry = tarfile.TarInfo(f"{number}/layer.tar")
            entry.size = 10_000_000
            tar.addfile(entry, io.BytesIO(bytes(entry.size)))
    backing = Counted(str(tmp_path / "a.tar"))
    listed = archive.of(backing)
    assert len(list(listed.names())) == 20
    assert listed.find("19/layer.tar").size == 10_000_000  # type: ignore[union-attr]
    assert backing.read < 1_000_000


def test_a_packed_archive_is_read_once(tmp_path: Path) -> None:
    noise = random.Random(3).randbytes(3_000_000)
    members, built = docker_members({"1": [make_tar({"a": noise[:9], "b": noise})], "2": LAYERS})
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(pack(members), 1))
    size = (tmp_path / "a.tar.gz").stat().st_size
    backing = Counted(str(tmp_path / "a.tar.gz"))
    listed = archive.of(backing)
    assert backing.read <= size + 1024
    assert archive.of(backing) is listed
    # A little of the end costs no way through the file.
    backing.read = 0
    member = listed.find(f"{built['1'].layers[0]['digest'][7:]}/layer.tar")
    assert member is not None
    content = b"".join(listed.pieces(member, member.size - 1024 * 12, member.size - 1024 * 11))
    assert content == built["1"].blobs[built["1"].layers[0]["digest"]][-1024 * 12 : -1024 * 11]
    assert backing.read < size / 2


class Reluctant(TarMembers):
    """An archive whose middle is far from every place where reading can begin."""

    ranged = False


def test_what_is_packed_in_one_piece_is_not_cut_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "TarMembers", Reluctant)
    members, _ = docker_members({"1": LAYERS})
    m = didlab.open(put(tmp_path / "a.tar", members))
    blob = m._snapshot.source.open(m.layer(0)._descriptor)
    assert b"".join(blob.stream(5)) == LAYERS[0][5:]
    assert blob.ranged is False
    assert b"".join(blob.stream(strict=True)) == LAYERS[0]
    with pytest.raises(errors.BadRange):
        list(blob.stream(5, strict=True))
    m.save(tmp_path / "b.tar", workers=8)
    assert didlab.open(tmp_path / "b.tar").digest() == m.digest()


def test_seek_points_near_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members, _ = docker_members({"1": [make_tar({"a": random.Random(1).randbytes(4_000_000)})]})
    for squeeze in (gzip.compress, zstd):
        (tmp_path / "a.tar").write_bytes(squeeze(pack(members)))
        listed = archive.of(DiskFile(str(tmp_path / "a.tar")))
        assert listed.ranged
        monkeypatch.setattr(inside, "NEAR", 3_000_000)
        assert listed.ranged == (squeeze is gzip.compress)
        monkeypatch.undo()


def test_bytes_on_their_way_to_the_disk_are_not_given_to_another(tmp_path: Path) -> None:
    """A stretch was cut where its lane was just writing: then no save came to an end."""
    content = bytes(1000)
    hole = Hole(0, Descriptor("x/y", sha256(content), len(content)))
    output = PartialFile(tmp_path / "x", len(content), "0" * 16)
    try:
        work = BlobWork(0, hole, MemorySource(), output)
        segment = work.segments[0]
        assert work.take(segment, object(), "")
        assert work.allow(segment, 600) == 600
        assert work.split(segment, 400) is None
        rest = work.split(segment, 700)
        assert rest is not None
        work.wrote(segment, content[:600], lambda stretch: None)
        assert (segment.left, rest.left, work.left) == (100, 300, 400)
    finally:
        output.abandon()


# --- change -----------------------------------------------------------------------------------


def test_a_file_that_changed(tmp_path: Path) -> None:
    first, old = docker_members({"1": LAYERS})
    second, new = docker_members({"1": LAYERS[:1]})
    path = put(tmp_path / "a.tar", first)
    m = didlab.open(path)
    assert m.digest() == old["1"].digest
    os.utime(put(path, second), ns=(1, 1))
    with pytest.raises(errors.FileChanged, match="refresh") as caught:
        b"".join(m.layer(0).stream())
    assert caught.value.path == str(path)
    assert m.refresh().digest() == new["1"].digest
    # What this one describes is not there any more, and nothing else passes for it.
    with pytest.raises(errors.BlobNotFound):
        b"".join(m.layer(1).stream())
    path.unlink()
    with pytest.raises(errors.PathNotFound):
        m.refresh().digest()


def test_a_layout_that_grows(tmp_path: Path) -> None:
    folder = write_layout(tmp_path / "l", {"1": IMAGE})
    m = didlab.open(folder)
    assert m.digest() == IMAGE.digest
    other = make_image([{"a": b"1"}])
    write_layout(folder, {"1": IMAGE, "2": other})
    assert b"".join(m.layer(0).stream()) == IMAGE.blobs[IMAGE.layers[0]["digest"]]
    assert didlab.open(folder, name="2").digest() == other.digest


def test_a_blob_that_grows_while_it_is_read(tmp_path: Path) -> None:
    folder = write_layout(tmp_path / "l", {"1": IMAGE})
    found = inside.FolderMembers(str(folder))
    member = found.find("oci-layout")
    assert member is not None
    (folder / "oci-layout").write_bytes(bytes(100))
    with pytest.raises(errors.FileChanged):
        list(found.pieces(member, 0, member.size))


def test_many_threads_list_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members, built = docker_members({"1": LAYERS})
    m = didlab.open(put(tmp_path / "a.tar", members))
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(m.digest())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [built["1"].digest] * 8


def test_what_refers_to_an_image_in_a_layout(tmp_path: Path) -> None:
    subject = {"mediaType": IMAGE.media_type, "digest": IMAGE.digest, "size": len(IMAGE.manifest)}
    note = make_image([{"a": b"1"}], manifest_json={"subject": subject, "artifactType": "x/note"})
    folder = layout_with(tmp_path / "l", [IMAGE.descriptor(), note.descriptor()], IMAGE, note)
    source = didlab.open(folder)._snapshot.source
    assert [found.digest for found in source.referrers(IMAGE.digest)] == [note.digest]
    assert list(source.referrers(IMAGE.digest, "other/type")) == []
    assert OCI_INDEX  # the index itself is never among them


def test_a_tar_without_its_end_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Cut between two members nothing else tells; `didlab.verify` says more."""
    members, built = docker_members({"1": list(LAYERS)})
    whole = put(tmp_path / "whole.tar", members)
    didlab.open(whole).config()
    assert caplog.messages == []
    with tarfile.open(whole) as tar:
        end = max(one.offset_data + -(-one.size // 512) * 512 for one in tar.getmembers())
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole.read_bytes()[:end])
    for _ in range(2):
        assert didlab.open(cut).image_id() == sha256(built["1"].config)
        archive.forget()
    assert len(caplog.messages) == 1
    assert f"{cut} has no end mark" in caplog.messages[0]
    assert "didlab verify" in caplog.messages[0]
    found = didlab.verify(cut)
    assert "an end mark" in set(found["expected"])
