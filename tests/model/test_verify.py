"""What `didlab.verify` finds: nothing in what the tools write, and every kind of damage by name."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from command import Command
from rig.faults import FaultServer
from rig.images import (
    DOCKER_MANIFEST,
    OCI_LAYER,
    BuiltImage,
    gzipped,
    make_artifact,
    make_image,
    make_index,
    make_tar,
    sha256,
    write_layout,
)
from rig.loaders import Containerd, Docker, Podman, skopeo
from rig.processes import CommandFailed
from rig.schema1 import make_old, serve_old
from sources.test_local_suite import docker_members, layout_members, pack, zstd

import didlab
from didlab import errors
from didlab.oci import loaders
from didlab.oci.loaders import ArchiveFacts, EntryFacts, ImageFacts, LayerFacts

TARS = [
    make_tar({"etc": None, "etc/motd": b"hello" * 999}),
    make_tar({"etc/.wh.motd": b""}),
    make_tar({"srv": None, "srv/data": bytes(range(256)) * 40}),
]
GZIP = OCI_LAYER + "+gzip"
IMAGE = make_image(TARS, Cmd=["/bin/sh"])
ARM = make_image(TARS[:1], platform="linux/arm64")
ZSTD = make_image(TARS, compress=zstd, layer_type=OCI_LAYER + "+zstd")
NAME = "registry.example/lab/app:1"


def bad(found: pd.DataFrame) -> pd.DataFrame:
    return found[~found["passed"] & (found["severity"] != "info")]


def rows(found: pd.DataFrame, check: str, **facts: Any) -> list[dict[str, Any]]:
    some = found[found["check"] == check]
    for name, value in facts.items():
        some = some[some[name] == value]
    return some.to_dict("records")


def errors_of(found: pd.DataFrame) -> set[tuple[str, str]]:
    """Check and subject of every error, loaders' aside."""
    some = found[(found["severity"] == "error") & (found["check"] != "loader")]
    return set(zip(some["check"], some["subject"], strict=True))


def write(path: Path, members: dict[str, Any]) -> Path:
    path.write_bytes(pack(members))
    return path


def combined(folder: Path, image: BuiltImage = IMAGE, name: str = NAME) -> dict[str, Any]:
    """The members of what didlab saves: an OCI layout with manifest.json beside it."""
    members = layout_members(folder / "combined", {"1": image})
    index = json.loads(members["index.json"])
    index["manifests"][0]["annotations"]["io.containerd.image.name"] = name
    members["index.json"] = json.dumps(index).encode()
    item = {
        "Config": f"blobs/sha256/{image.image_id[7:]}",
        "RepoTags": [name],
        "Layers": [f"blobs/sha256/{layer['digest'][7:]}" for layer in image.layers],
    }
    members["manifest.json"] = json.dumps([item]).encode()
    return members


def flipped(data: bytes, at: int = -20) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0x10
    return bytes(changed)


# --- what tools write -------------------------------------------------------------------------


def test_what_docker_podman_skopeo_and_ctr_write(
    dockerd: Docker,
    podman: Podman,
    ctr: Containerd,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layout = write_layout(tmp_path / "layout", {"1": IMAGE, "m": make_index([IMAGE, ARM])})
    made = [layout, tmp_path / "skopeo.tar", tmp_path / "oci.tar"]
    skopeo("copy", f"oci:{layout}:1", f"docker-archive:{made[1]}:{NAME}")
    skopeo("copy", f"oci:{layout}:1", f"oci-archive:{made[2]}:{NAME}")
    dockerd.run("load", "-i", made[1])
    dockerd.run("save", "-o", tmp_path / "docker.tar", NAME)
    podman.run("load", "-i", made[1])
    for kind in ("docker-archive", "oci-archive"):
        made.append(tmp_path / f"podman-{kind}.tar")
        podman.run("save", "--format", kind, "-o", made[-1], NAME)
    ctr.load(made[1])
    ctr.run("images", "export", tmp_path / "ctr.tar", NAME)
    for path in [*made, tmp_path / "docker.tar", tmp_path / "ctr.tar"]:
        found = didlab.verify(path)
        assert errors_of(found) == set(), path
        assert bad(found).empty or path == layout, path
        assert len(rows(found, "diff_id", passed=True)) >= 3, path
    monkeypatch.setenv("DOCKER_HOST", dockerd.host)
    found = didlab.verify(f"docker-daemon:{NAME}")
    assert bad(found).empty
    assert len(rows(found, "diff_id", passed=True)) == 3
    # The IDs are those that the stores show.
    found = didlab.verify(made[1])
    (shown,) = rows(found, "image id", loader="docker")
    assert shown["actual"] == dockerd.inspect(NAME)["Id"] == IMAGE.image_id
    (shown,) = rows(found, "image id", loader="containerd")
    assert shown["actual"] == ctr.images()[NAME]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What didlab saves, in every form, and some that others write."""
    folder = tmp_path_factory.mktemp("saved")
    with FaultServer() as server:
        images = {"1": IMAGE, "2": make_image([*TARS, TARS[0]]), "zstd": ZSTD,
                  "multi": make_index([IMAGE, ARM])}  # fmt: skip
        for tag, built in images.items():
            server.add_image("lab/app", tag, built)
        one, two = f"{server.host}/lab/app:1", f"{server.host}/lab/app:2"
        m = didlab.open(one)
        m.save(folder / "archive.tar")
        m.save(folder / "docker.tar", format="docker")
        m.save(folder / "whole.tar.gz")
        m.save(folder / "whole.tar.zst")
        m.save(folder / "layout", format="oci-dir")
        didlab.open(f"{server.host}/lab/app:zstd").save(folder / "zstd.tar")
        didlab.open(f"{server.host}/lab/app:multi").save(folder / "all.tar", platform="all")
        didlab.open(two).save(folder / "thin.tar", since=one)
        didlab.save([one, two], folder / "bundle.tar")
        didlab.save([one, two], folder / "several-oci.tar", format="oci-archive")
    members, _ = docker_members({"1": TARS})
    (folder / "docker.tar.gz").write_bytes(gzip.compress(pack(members)))
    for name, tag in (("untagged.tar", "lab/app"), ("nameless.tar", "Lab/App:1")):
        item = json.loads(members["manifest.json"])
        item[0]["RepoTags"] = [tag]
        members["manifest.json"] = json.dumps(item).encode()
        write(folder / name, members)
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize(
    "name", ["archive.tar", "docker.tar", "layout", "all.tar", "bundle.tar", "zstd.tar"]
)
def test_what_didlab_saves(saved: dict[str, Path], name: str) -> None:
    found = didlab.verify(saved[name])
    assert errors_of(found) == set()
    assert rows(found, "unreferenced") == []
    assert all(row["check"] == "loader" for row in bad(found).to_dict("records"))


# --- loaders: what the rules say, real ones do ------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["archive.tar", "docker.tar", "whole.tar.gz", "whole.tar.zst", "zstd.tar", "thin.tar",
     "bundle.tar", "several-oci.tar", "docker.tar.gz", "untagged.tar", "nameless.tar"],
)  # fmt: skip
def test_real_loaders_agree(
    saved: dict[str, Path],
    name: str,
    dockerd: Docker,
    podman: Podman,
    ctr: Containerd,
    tmp_path: Path,
) -> None:
    path = saved[name]
    several = name in ("bundle.tar", "several-oci.tar")
    label, tag = (":@0", ":2") if several else ("", "")
    real: dict[tuple[str, str], Callable[[], object]] = {
        ("docker", "docker load"): lambda: dockerd.run("load", "-i", path),
        ("podman", "podman load"): lambda: podman.run("load", "-i", path),
        ("ctr", "ctr images import"): lambda: ctr.load(path),
        ("skopeo", "docker-archive:"): lambda: skopeo(
            "copy", f"docker-archive:{path}{label}", f"dir:{tmp_path}/a"
        ),
        ("skopeo", "oci-archive:"): lambda: skopeo(
            "copy", f"oci-archive:{path}{tag}", f"dir:{tmp_path}/b"
        ),
    }
    found = didlab.verify(path)
    says: dict[tuple[str, str], bool] = {}
    for row in rows(found, "loader"):
        # The daemon of the rig is older than 23.
        command = row["subject"].removesuffix(", before 23")
        key = (row["loader"], command)
        says[key] = says.get(key, True) and row["passed"]
    does = {}
    for key, load in real.items():
        try:
            load()
        except CommandFailed:
            does[key] = False
        else:
            does[key] = True
    assert {key: says[key] for key in real} == does


def test_a_thin_tar_says_what_it_needs(saved: dict[str, Path]) -> None:
    found = didlab.verify(saved["thin.tar"])
    assert errors_of(found) == set()
    needed = {row["subject"] for row in rows(found, "thin", passed=False)}
    # The base comes again on top, where the other side does not have it.
    assert needed == {layer["digest"] for layer in IMAGE.layers[1:]}
    (docker,) = rows(found, "loader", loader="docker")
    assert "only where the daemon has them" in docker["detail"]
    assert docker["severity"] == "warning"


def facts(*images: ImageFacts, **more: Any) -> ArchiveFacts:
    entries = tuple(EntryFacts(one.subject, "sha256:" + "0" * 64, one.subject, (one,))
                    for one in images)  # fmt: skip
    return ArchiveFacts(**{"packed": "tar", "layout": True, "docker": images, "oci": entries,
                           **more})  # fmt: skip


FINE = ImageFacts("a:1", "sha256:1", (LayerFacts("l", "gzip"),))


@pytest.mark.parametrize(
    ("archive", "refused"),
    [
        (facts(FINE), set()),
        (facts(FINE, docker=None), {"docker", "skopeo docker-archive:", "crane"}),
        (facts(FINE, oci=None, layout=False), {"skopeo oci-archive:"}),
        (facts(FINE, packed="gzip"), {"ctr", "skopeo docker-archive:", "crane"}),
        (facts(FINE, layout=False, docker=None),
         {"docker", "containerd", "ctr", "skopeo docker-archive:", "crane"}),
        (facts(ImageFacts("a:1", "sha256:1", (LayerFacts("l", "gzip"), LayerFacts("m", "tar")))),
         {"crane"}),
        (facts(FINE, oci=(EntryFacts("a:1", "sha256:2", "a:1", (FINE,), absent=1),)), {"ctr"}),
        (facts(ImageFacts("a", "sha256:1", bad_tags=("a",))), {"docker"}),
    ],
)  # fmt: skip
def test_the_rules(archive: ArchiveFacts, refused: set[str]) -> None:
    found = set()
    for one in loaders.verdicts(archive):
        if not one.takes:
            found.add(f"skopeo {one.command}" if one.loader == "skopeo" else one.loader)
    assert found == refused


@pytest.mark.parametrize(
    "image",
    [
        ImageFacts("a:1", None, FINE.layers),
        ImageFacts("a:1", "sha256:1", FINE.layers, sound=False),
        ImageFacts("a:1", "sha256:1", FINE.layers, counted=False),
        ImageFacts("a:1", "sha256:1", (LayerFacts("l", "gzip", sound=False),)),
        ImageFacts("a:1", "sha256:1", (LayerFacts("l", None),)),
    ],
)
def test_no_loader_takes_what_is_broken(image: ImageFacts) -> None:
    assert [(one.takes, one.severity) for one in loaders.verdicts(facts(image))] == [
        (False, "error")
    ] * 7


# --- damage -----------------------------------------------------------------------------------

LAYER = IMAGE.layers[0]["digest"]
BLOB = f"blobs/sha256/{LAYER[7:]}"
CONFIG = f"blobs/sha256/{IMAGE.image_id[7:]}"
MANIFEST = f"blobs/sha256/{IMAGE.digest[7:]}"


def test_the_archive_that_is_damaged_below_is_fine(tmp_path: Path) -> None:
    assert bad(didlab.verify(write(tmp_path / "a.tar", combined(tmp_path)))).empty


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (BLOB, {("digest", LAYER), ("diff_id", LAYER)}),
        (CONFIG, {("digest", IMAGE.image_id)}),
        (MANIFEST, {("digest", IMAGE.digest)}),
    ],
)
def test_a_flipped_bit(tmp_path: Path, member: str, expected: set[tuple[str, str]]) -> None:
    members = combined(tmp_path)
    members[member] = flipped(members[member])
    found = didlab.verify(write(tmp_path / "a.tar", members))
    assert expected <= errors_of(found)
    (row,) = rows(found, "digest", passed=False)
    assert row["actual"] == sha256(members[member])
    # podman goes on to manifest.json where index.json leads to nothing good.
    taken = [row["passed"] for row in rows(found, "loader", loader="podman")]
    assert taken == [member != BLOB]


def test_a_flipped_bit_where_only_diff_ids_tell(tmp_path: Path) -> None:
    members, _ = docker_members({"1": TARS})
    name = f"{sha256(TARS[0])[7:]}/layer.tar"
    members[name] = flipped(members[name], 600)
    found = didlab.verify(write(tmp_path / "a.tar", members))
    assert errors_of(found) == {("diff_id", name)}
    (row,) = rows(found, "diff_id", passed=False)
    assert (row["expected"], row["actual"]) == (sha256(TARS[0]), sha256(members[name]))


def test_a_config_that_is_not_what_its_name_says(tmp_path: Path) -> None:
    members, built = docker_members({"1": TARS})
    name = f"{built['1'].image_id[7:]}.json"
    members[name] += b" "
    found = didlab.verify(write(tmp_path / "a.tar", members))
    assert errors_of(found) == {("digest", name)}


@pytest.mark.parametrize("cut", [0, 700, 3000])
@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_that_was_not_copied_whole(tmp_path: Path, cut: int, packed: bool) -> None:
    raw = pack(combined(tmp_path))
    whole = gzip.compress(raw, 0) if packed else raw
    (tmp_path / "a.tar").write_bytes(whole[: -cut - 9] if packed else raw[: 5120 + cut])
    found = didlab.verify(tmp_path / "a.tar")
    assert ("archive", str(tmp_path / "a.tar")) in errors_of(found)


def test_a_wrong_diff_id_and_swapped_layers(tmp_path: Path) -> None:
    rootfs = {"type": "layers", "diff_ids": [sha256(TARS[1]), sha256(TARS[0]), sha256(TARS[2])]}
    image = make_image(TARS, config_json={"rootfs": rootfs})
    found = didlab.verify(write(tmp_path / "a.tar", combined(tmp_path, image)))
    assert errors_of(found) == {("diff_id", layer["digest"]) for layer in image.layers[:2]}

    members, _ = docker_members({"1": TARS})
    items = json.loads(members["manifest.json"])
    items[0]["Layers"][:2] = items[0]["Layers"][1::-1]
    members["manifest.json"] = json.dumps(items).encode()
    found = didlab.verify(write(tmp_path / "b.tar", members))
    assert errors_of(found) == {("diff_id", name) for name in items[0]["Layers"][:2]}


def test_a_layer_that_was_packed_damaged(tmp_path: Path) -> None:
    """Its digest is right, but it breaks off before gzip's own sum."""
    image = make_image(TARS[:1], compress=lambda tar: gzipped(tar)[:-4], layer_type=GZIP)
    found = didlab.verify(write(tmp_path / "a.tar", combined(tmp_path, image)))
    assert errors_of(found) == {("diff_id", image.layers[0]["digest"])}
    (row,) = rows(found, "diff_id", passed=False)
    assert "gzip" in row["detail"]
    xz = make_image(TARS[:1], compress=lambda tar: b"\xfd7zXZ\0" + tar, layer_type=GZIP)
    found = didlab.verify(write(tmp_path / "b.tar", combined(tmp_path / "b", xz)))
    assert "xz" in rows(found, "diff_id", passed=False)[0]["detail"]


def test_a_layer_too_many(tmp_path: Path) -> None:
    rootfs = {"type": "layers", "diff_ids": [sha256(TARS[0])]}
    image = make_image(TARS, config_json={"rootfs": rootfs})
    found = didlab.verify(write(tmp_path / "a.tar", combined(tmp_path, image)))
    assert errors_of(found) == {("layer count", image.digest), ("layer count", config_path(image))}


def config_path(image: BuiltImage) -> str:
    return f"blobs/sha256/{image.image_id[7:]}"


@pytest.mark.parametrize(
    ("member", "subject"), [(BLOB, LAYER), (CONFIG, IMAGE.image_id), (MANIFEST, IMAGE.digest)]
)
def test_a_missing_blob(tmp_path: Path, member: str, subject: str) -> None:
    members = combined(tmp_path)
    del members[member]
    found = didlab.verify(write(tmp_path / "a.tar", members))
    assert ("reference target", subject) in errors_of(found)


def test_a_wrong_size(tmp_path: Path) -> None:
    members = combined(tmp_path)
    members[BLOB] += bytes(3)
    found = didlab.verify(write(tmp_path / "a.tar", members))
    (row,) = rows(found, "size", passed=False)
    assert (row["subject"], row["actual"]) == (LAYER, str(len(members[BLOB])))


@pytest.mark.parametrize("tag", ["lab/app", "Lab/App:1", "lab/app@sha256:" + "0" * 64, ":1"])
def test_a_bad_tag(tmp_path: Path, tag: str) -> None:
    found = didlab.verify(write(tmp_path / "a.tar", combined(tmp_path, name=tag)))
    assert errors_of(found) == {("tag", tag)}
    assert rows(found, "name", passed=False)[0]["subject"] == tag
    assert not rows(found, "loader", loader="docker")[0]["passed"]


def test_two_images_under_one_name(tmp_path: Path) -> None:
    members = combined(tmp_path)
    other = make_image(TARS[:1], Cmd=["/other"])
    members[f"{other.image_id[7:]}.json"] = other.config
    items = json.loads(members["manifest.json"])
    items[0].update(Config=f"{other.image_id[7:]}.json", Layers=items[0]["Layers"][:1])
    members["manifest.json"] = json.dumps(items).encode()
    found = didlab.verify(write(tmp_path / "a.tar", members))
    assert errors_of(found) == {("agreement", NAME)}
    (row,) = rows(found, "agreement", passed=False)
    assert (row["expected"], row["actual"]) == (other.image_id, IMAGE.image_id)
    ids = {row["loader"]: row["actual"] for row in rows(found, "image id")}
    assert ids == {"docker": other.image_id, "containerd": IMAGE.digest}


def test_zstd_layers(tmp_path: Path) -> None:
    found = didlab.verify(write(tmp_path / "a.tar", combined(tmp_path, ZSTD)))
    assert errors_of(found) == set()
    (row,) = bad(found).to_dict("records")
    assert (row["loader"], row["subject"]) == ("docker", "docker load, before 23")
    # A type that lies about it is odd, but read by everybody who looks at the bytes.
    lying = make_image(TARS, compress=zstd, layer_type=OCI_LAYER + "+gzip")
    found = didlab.verify(write(tmp_path / "b.tar", combined(tmp_path / "b", lying)))
    assert len(rows(found, "media type", passed=False, severity="warning")) == 3


def test_members_that_nobody_refers_to(tmp_path: Path) -> None:
    members = combined(tmp_path)
    extra = f"blobs/sha256/{'0' * 64}"
    members |= {"notes.txt": b"hello", extra: b"not that"}
    found = didlab.verify(write(tmp_path / "a.tar", members))
    assert {row["subject"] for row in rows(found, "unreferenced")} == {
        "notes.txt",
        "sha256:" + "0" * 64,
    }
    assert errors_of(found) == {("digest", "sha256:" + "0" * 64)}
    members["notes.txt"] = tarfile.TarInfo()
    members["notes.txt"].type, members["notes.txt"].linkname = tarfile.SYMTYPE, "../../etc"
    assert rows(didlab.verify(write(tmp_path / "b.tar", members)), "member", passed=False)


@pytest.mark.parametrize("name", ["index.json", "manifest.json", "oci-layout"])
@pytest.mark.parametrize("content", [b"", b"{", b"null", b'{"imageLayoutVersion": "2"}'])
def test_lists_that_cannot_be_read(tmp_path: Path, name: str, content: bytes) -> None:
    members = combined(tmp_path)
    members[name] = content
    found = didlab.verify(write(tmp_path / "a.tar", members))
    assert any(subject == name for _, subject in errors_of(found))


def test_children_of_an_index(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {"m": make_index([IMAGE, ARM])})
    (layout / "blobs" / "sha256" / ARM.digest[7:]).unlink()
    found = didlab.verify(layout)
    assert errors_of(found) == set()
    (row,) = rows(found, "reference target", passed=False)
    assert (row["subject"], row["severity"]) == (ARM.digest, "warning")
    (layout / "blobs" / "sha256" / IMAGE.digest[7:]).unlink()
    assert any(check == "reference target" for check, _ in errors_of(didlab.verify(layout)))

    # One that says it is for another platform, or of another type.
    said = IMAGE.descriptor(platform={"os": "linux", "architecture": "s390x"})
    lied = IMAGE.descriptor(mediaType=DOCKER_MANIFEST)
    index = make_index([IMAGE], descriptors=[said])
    found = didlab.verify(write_layout(tmp_path / "b", {"m": index}))
    assert rows(found, "platform", passed=False)[0]["actual"] == "linux/amd64"
    found = didlab.verify(
        write_layout(tmp_path / "c", {"m": make_index([IMAGE], descriptors=[lied])})
    )
    assert ("media type", IMAGE.digest) in errors_of(found)


def test_two_names_of_one_index(tmp_path: Path) -> None:
    index = make_index([IMAGE, ARM])
    found = didlab.verify(write_layout(tmp_path / "layout", {"a": index, "b": index}))
    assert {row["subject"] for row in rows(found, "image id")} == {"a", "b"}
    assert errors_of(found) == set()


ODD = [None, 0, -1, "", "x", [], {}, [None], True, 1.5, 2**70, "sha256:" + "0" * 64,
       "../../etc/passwd", "\ud800", "a\0b", "blobs"]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


@pytest.mark.parametrize("name", ["index.json", "manifest.json", "oci-layout", MANIFEST, CONFIG])
def test_whatever_is_in_a_document_is_a_row(tmp_path: Path, name: str) -> None:
    members = combined(tmp_path)
    chance = random.Random(name)
    for path in places(json.loads(members[name])):
        document = json.loads(members[name])
        odd = chance.choice(ODD)
        if path:
            place = document
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = odd
        else:
            document = odd
        changed = {**members, name: json.dumps(document).encode()}
        found = didlab.verify(write(tmp_path / "a.tar", changed))
        assert not found.empty
        if name in (MANIFEST, CONFIG):
            assert any(check == "digest" for check, _ in errors_of(found)), (path, odd)


def test_damage_anywhere_is_a_row_or_an_error_of_its_own(tmp_path: Path) -> None:
    chance = random.Random(5)
    packed = [pack(combined(tmp_path)), pack(docker_members({"1": TARS}, compress=True)[0])]
    for number in range(150):
        raw = bytearray(packed[number % 2])
        for _ in range(chance.choice((1, 2, 20))):
            raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        (tmp_path / "a.tar").write_bytes(raw)
        with contextlib.suppress(errors.CompressionInvalid, errors.NotAnImage):
            assert not didlab.verify(tmp_path / "a.tar").empty


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "picture.tar").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(1, 200)) * 9)
    (tmp_path / "empty.tar").write_bytes(b"")
    write(tmp_path / "files.tar", {"etc/passwd": b"root", "usr/bin/x": b"x"})
    for name, error in (
        ("picture.tar", errors.CompressionInvalid),
        ("empty.tar", errors.TarInvalid),
        ("files.tar", errors.NotAnImage),
        ("absent.tar", errors.PathNotFound),
    ):
        with pytest.raises(error):
            didlab.verify(tmp_path / name)
    with pytest.raises(errors.CompressionInvalid, match=r"picture\.tar is no tar"):
        didlab.verify(tmp_path / "picture.tar")
    with pytest.raises(errors.InvalidArgument, match="whole"):
        didlab.verify(tmp_path / "files.tar", platform="linux/amd64")


# --- images -----------------------------------------------------------------------------------


@pytest.fixture
def server() -> Any:
    with FaultServer() as server:
        server.add_image("lab/app", "1", IMAGE)
        server.add_image("lab/app", "multi", make_index([ARM, IMAGE]))
        yield server


def test_an_image_at_a_registry(server: Any, store: Any) -> None:
    m = didlab.open(f"{server.host}/lab/app:1")
    m.save(store.root.parent / "a.tar", keep=True)
    before = len(server.requests)
    found = m.verify(progress=False)
    assert bad(found).empty
    assert len(rows(found, "diff_id", passed=True)) == 3
    ids = {row["loader"]: row["actual"] for row in rows(found, "image id")}
    assert ids == {"docker": IMAGE.image_id, "containerd": IMAGE.digest}
    # Every layer was asked of the registry, once, although the store has it.
    asked = [one.path for one in server.requests[before:] if "/blobs/" in one.path]
    for layer in IMAGE.layers:
        assert sum(layer["digest"] in path for path in asked) == 1


def test_platforms_of_an_index(server: Any) -> None:
    name = f"{server.host}/lab/app:multi"
    found = didlab.verify(name, platform="linux/arm64")
    assert [row["actual"] for row in rows(found, "image id", loader="docker")] == [ARM.image_id]
    found = didlab.verify(name, platform="all")
    assert {row["actual"] for row in rows(found, "image id", loader="docker")} == {
        ARM.image_id,
        IMAGE.image_id,
    }
    with pytest.raises(errors.PlatformNotFound):
        didlab.verify(name, platform="linux/s390x")


def test_damage_at_a_registry(server: Any) -> None:
    digest = IMAGE.layers[2]["digest"]
    blob = IMAGE.blobs[digest]
    server.blobs[digest] = flipped(blob)
    found = didlab.verify(f"{server.host}/lab/app:1")
    assert {("digest", digest)} <= errors_of(found)
    assert len(rows(found, "digest", passed=False)) == 1
    del server.blobs[digest]
    found = didlab.verify(f"{server.host}/lab/app:1")
    assert errors_of(found) == {("reference target", digest)}
    with pytest.raises(errors.ManifestNotFound):
        didlab.verify(f"{server.host}/lab/app:none")


def test_an_image_of_schema_1(server: Any) -> None:
    name = serve_old(server, "lab/old", "1", make_old(list(TARS[:2])))
    m = didlab.open(name)
    found = m.verify()
    assert bad(found).empty
    assert {row["actual"] for row in rows(found, "diff_id")} == set(map(sha256, TARS[:2]))
    assert rows(found, "image id", loader="docker")[0]["actual"] == m.image_id()
    assert any("schema 1" in text for text in found["detail"].dropna())


def test_an_artifact(server: Any, tmp_path: Path) -> None:
    note = b"some text"
    about = {"mediaType": "text/plain", "digest": sha256(note), "size": len(note)}
    chart = make_artifact(b"{}", "application/vnd.example.chart", [about], {sha256(note): note})
    server.add_image("lab/chart", "1", chart)
    found = didlab.verify(f"{server.host}/lab/chart:1")
    assert bad(found).empty
    assert {sha256(note), sha256(b"{}")} <= {row["subject"] for row in rows(found, "digest")}
    assert rows(found, "diff_id") == rows(found, "image id", loader="docker") == []
    server.blobs[sha256(note)] = b"other txt"
    assert errors_of(didlab.verify(f"{server.host}/lab/chart:1")) == {("digest", sha256(note))}


def test_one_image_of_an_archive(saved: dict[str, Path]) -> None:
    found = didlab.verify(f"docker-archive:{saved['bundle.tar']}:@0")
    assert bad(found).empty
    assert {row["actual"] for row in rows(found, "image id", loader="docker")} == {IMAGE.image_id}
    assert len(rows(didlab.verify(saved["bundle.tar"]), "image id", loader="docker")) == 2


def test_progress(saved: dict[str, Path]) -> None:
    class Bar:
        seen = 0

        def update(self, n: int) -> None:
            self.seen += n

    bar = Bar()
    didlab.verify(saved["archive.tar"], progress=bar)
    with tarfile.open(saved["archive.tar"]) as tar:
        sizes = {member.name: member.size for member in tar if member.isfile()}
    # Each blob once; the config twice, by either list.
    assert sum(sizes.values()) <= bar.seen <= sum(sizes.values()) + len(IMAGE.config)


# --- the command line -------------------------------------------------------------------------


def test_the_command(tmp_path: Path, saved: dict[str, Path]) -> None:
    (tmp_path / "run").mkdir()
    command = Command(tmp_path / "run")
    done = command("verify", saved["archive.tar"])
    assert (done.returncode, "0 errors" in done.stderr) == (0, True)
    assert IMAGE.image_id in done.stdout
    assert "diff_id" not in done.stdout
    assert "diff_id" in command("verify", "--all", saved["archive.tar"]).stdout
    members = combined(tmp_path)
    members[BLOB] = gzipped(TARS[0], 1)[:-1] + b"\0"
    path = write(tmp_path / "a.tar", members)
    done = command("verify", path)
    assert done.returncode == 1
    assert LAYER in done.stdout
    rows = json.loads(command("verify", "--json", path).stdout)
    assert {"check", "passed", "severity"} <= rows[0].keys()
    assert command("verify", tmp_path / "absent.tar").returncode == 1
