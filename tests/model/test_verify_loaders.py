"""Archives that are odd and whole, or whole for some: verify says of each what real loaders do."""

from __future__ import annotations

import functools
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rig.images import (
    CREATED,
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    dump,
    gzipped,
    make_tar,
    sha256,
)
from rig.loaders import Containerd, Docker, Podman, skopeo
from rig.processes import CommandFailed

import didlab

#: What a hard link leads to, in place of bytes.
Members = list[tuple[str, bytes | str]]
GZIP = OCI_LAYER + "+gzip"
LIE = "f" * 64
#: Docker archive and OCI archive: what each of these makes of it.
COMMANDS = {
    "d": ("docker", "docker load"),
    "p": ("podman", "podman load"),
    "s": ("skopeo", "docker-archive:"),
    "o": ("skopeo", "oci-archive:"),
    "c": ("ctr", "ctr images import"),
}
#: What the rig is: a daemon before 23, on Linux, and most likely on this platform.
HERE = ("", ", before 23", ", on Linux", ", on linux/amd64")


def same(members: Members) -> Members:
    return members


class Case:
    """An image whose layers no other case has: no loader knows any of it before."""

    def __init__(self, name: str) -> None:
        self.name = f"registry.example/odd/{sha256(name.encode())[7:19]}:1"
        self.tars = [make_tar({"etc": None, "etc/motd": name.encode()}),
                     make_tar({"srv/data": name.encode() * 99})]  # fmt: skip

    def config(self, run: Any = None, **changes: Any) -> bytes:
        document = {
            "architecture": "amd64",
            "os": "linux",
            "created": CREATED,
            "config": {"Cmd": ["/bin/sh"], **(run or {})},
            "rootfs": {"type": "layers", "diff_ids": [sha256(tar) for tar in self.tars]},
            "history": [{"created": CREATED, "created_by": "step"} for _ in self.tars],
            **changes,
        }
        return dump(document)

    def docker(
        self,
        config: bytes | None = None,
        layers: list[bytes] | None = None,
        said: tuple[str, str, str] = ("c.json", "1.tar", "2.tar"),
        there: tuple[str, str, str] | None = None,
        change: Callable[[Members], Members] = same,
        **item: Any,
    ) -> bytes:
        listed = {"Config": said[0], "RepoTags": [self.name], "Layers": said[1:], **item}
        contents = [config or self.config(), *(layers or self.tars)]
        files = list(zip(there or said, contents, strict=True))
        return pack(change([("manifest.json", dump([listed])), *files]))

    def oci(
        self,
        config: bytes | None = None,
        layers: list[bytes] | None = None,
        types: tuple[str | None, str, str] = (OCI_MANIFEST, OCI_CONFIG, GZIP),
        entry: Any = None,
        both: bool = False,
        change: Callable[[Members], Members] = same,
    ) -> bytes:
        about, blobs = config or self.config(), layers or [gzipped(tar) for tar in self.tars]
        own, of_config, of_layer = types
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": own,
            "config": describe(of_config, about),
            "layers": [describe(of_layer, blob) for blob in blobs],
        }
        if own is None:
            del document["mediaType"]
        raw = dump(document)
        names = {"io.containerd.image.name": self.name}
        listed = {**describe(own or DOCKER_MANIFEST, raw), "annotations": names, **(entry or {})}
        files = [
            ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
            ("index.json", dump({"schemaVersion": 2, "manifests": [listed]})),
            *((path(blob), blob) for blob in (raw, about, *blobs)),
        ]
        if both:
            item = {"Config": path(about), "RepoTags": [self.name], "Layers": [*map(path, blobs)]}
            files.append(("manifest.json", dump([item])))
        return pack(change(files))


def describe(media_type: str, raw: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(raw), "size": len(raw)}


def path(raw: bytes) -> str:
    return f"blobs/sha256/{sha256(raw)[7:]}"


def pack(members: Members) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.LNKTYPE, content
                tar.addfile(info)
                continue
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def twice(at: int, content: bytes, *, first: bool = False) -> Callable[[Members], Members]:
    """A second member of one name: which of the two counts?"""

    def change(members: Members) -> Members:
        again = (members[at][0], content)
        return [again, *members] if first else [*members, again]

    return change


def replaced(at: int, content: bytes) -> Callable[[Members], Members]:
    return lambda members: [*members[:at], (members[at][0], content), *members[at + 1 :]]


def followed(case: Case, tail: bytes) -> list[bytes]:
    return [gzipped(tar) + tail for tar in case.tars]


def typed(own: str | None, config: str, layer: str) -> Callable[[Case], bytes]:
    return lambda case: case.oci(types=(own, config, layer))


def docker_config(run: Any = None, **changes: Any) -> Callable[[Case], bytes]:
    return lambda case: case.docker(case.config(run, **changes))


def oci_config(run: Any = None, **changes: Any) -> Callable[[Case], bytes]:
    return lambda case: case.oci(case.config(run, **changes))


def names(config: str, layer: str = "1.tar", there: str = "c.json") -> Callable[[Case], bytes]:
    return lambda case: case.docker(said=(config, layer, "2.tar"), there=(there, "1.tar", "2.tar"))


def spaced(members: Members) -> Members:
    raw = members[2][1]
    assert isinstance(raw, bytes)
    return replaced(2, raw.replace(b":2", b": 2", 1))(members)


def moved(at: int, *, behind: bool = True) -> Callable[[Members], Members]:
    """A member that is a hard link to its content."""

    def change(members: Members) -> Members:
        name, content = members[at]
        target: Members = [("z", content)]
        rest: Members = [*members[:at], (name, "z"), *members[at + 1 :]]
        return rest + target if behind else target + rest

    return change


ZEROS, GARBAGE = bytes(512), b"garbage!" * 9
PLATFORM = {"platform": {"os": "linux", "architecture": "arm64"}}
OTHER = make_tar({"other": b"other"})

#: An archive, and who takes it; ``*``: tried with the loaders, for itself and for those below.
CASES: dict[str, tuple[Callable[[Case], bytes], str]] = {
    "* fine": (lambda case: case.oci(both=True), "dpsoc"),
    # Names.
    "* ./ before the config": (names("./c.json"), "dps"),
    "* / before the config": (names("/c.json"), "d"),
    "/ before both": (names("/c.json", there="/c.json"), "dpsc"),
    "/ before the member": (names("c.json", there="/c.json"), "d"),
    "./ before the member": (names("c.json", there="./c.json"), "dpsc"),
    "./ before a layer": (names("c.json", "./1.tar"), "dps"),
    "/ before a layer": (names("c.json", "/1.tar"), "d"),
    # Kinds of the config's fields.
    "* a Cmd of text": (docker_config({"Cmd": "text"}), "ds"),
    "* a Cmd of text, OCI": (oci_config({"Cmd": "text"}), "o"),
    "Entrypoint of text": (docker_config({"Entrypoint": "text"}), "ds"),
    "in other letters": (docker_config({"cmd": "text"}), "ds"),
    "* Env of text": (docker_config({"Env": "A=b"}), ""),
    "Labels in a list": (docker_config({"Labels": ["a=b"]}), ""),
    "a label that is a number": (docker_config({"Labels": {"a": 5}}), ""),
    "ExposedPorts in a list": (docker_config({"ExposedPorts": ["80"]}), ""),
    "a port that is a number": (docker_config({"ExposedPorts": {"80": 1}}), ""),
    "Labels in a list, OCI": (oci_config({"Labels": ["a=b"]}), "o"),
    "created is a number": (docker_config(created=5), ""),
    "created is a number, OCI": (oci_config(created=5), "o"),
    "an author who is a number": (docker_config(author=5), ""),
    "* a Hostname that is a number": (docker_config({"Hostname": 5}), "c"),
    "a Hostname that is a number, OCI": (oci_config({"Hostname": 5}), "poc"),
    "a Healthcheck in text": (docker_config({"Healthcheck": {"Interval": "5s"}}), "c"),
    "OnBuild of text": (docker_config({"OnBuild": "RUN x"}), "c"),
    "Shell of text": (docker_config({"Shell": "sh"}), "dpsc"),
    "a size with a fraction": (docker_config(size=1.5), "c"),
    "null everywhere": (docker_config({"Cmd": None, "Labels": None, "Env": [None]}), "dpsc"),
    "an unknown field": (docker_config({"Memory": "much"}), "dpsc"),
    "the layers' type is another": (
        lambda case: case.docker(case.config(rootfs={
            "type": "other", "diff_ids": [sha256(tar) for tar in case.tars]})), "dpsc"),
    "the layers' type is a number": (
        lambda case: case.docker(case.config(rootfs={
            "type": 5, "diff_ids": [sha256(tar) for tar in case.tars]})), ""),
    "a Parent that is a number": (lambda case: case.docker(Parent=5), "c"),
    "LayerSources in a list": (lambda case: case.docker(LayerSources=[]), "c"),
    # Behind the end of a layer.
    "* zeros behind gzip": (lambda case: case.docker(layers=followed(case, ZEROS)), "dc"),
    "* garbage behind gzip": (lambda case: case.oci(layers=followed(case, GARBAGE), both=True),
                              "doc"),
    "garbage behind gzip, Docker": (lambda case: case.docker(layers=followed(case, GARBAGE)), "dc"),
    "zeros behind gzip, OCI": (lambda case: case.oci(layers=followed(case, ZEROS)), "oc"),
    "another member of gzip": (lambda case: case.docker(layers=followed(case, gzipped(b""))),
                               "dpsc"),
    # Media types.
    "* an unknown layer in a Docker manifest": (
        typed(DOCKER_MANIFEST, DOCKER_CONFIG, "application/vnd.example.layer"), ""),
    "an unknown layer in an OCI manifest": (
        typed(OCI_MANIFEST, OCI_CONFIG, "application/vnd.example.layer"), "po"),
    "* OCI layers in a Docker manifest": (typed(DOCKER_MANIFEST, DOCKER_CONFIG, GZIP), "c"),
    "Docker layers in an OCI manifest": (typed(OCI_MANIFEST, OCI_CONFIG, DOCKER_LAYER), "poc"),
    "an OCI config in a Docker manifest": (typed(DOCKER_MANIFEST, OCI_CONFIG, DOCKER_LAYER), "poc"),
    "* a Docker config in an OCI manifest": (typed(OCI_MANIFEST, DOCKER_CONFIG, GZIP), "oc"),
    "* a Docker manifest without its type": (typed(None, DOCKER_CONFIG, DOCKER_LAYER), "c"),
    # Two members of one name.
    "* another layer before": (lambda case: case.docker(change=twice(2, OTHER, first=True)), "dc"),
    "* another layer after": (lambda case: case.docker(change=twice(2, OTHER)), "ps"),
    "another config before": (lambda case: case.docker(change=twice(1, b"{", first=True)), "dc"),
    "another list after": (lambda case: case.docker(change=twice(0, b"[]")), "ps"),
    "* another blob after": (lambda case: case.oci(change=twice(4, OTHER)), "c"),
    "another blob before": (lambda case: case.oci(change=twice(4, OTHER, first=True)), "poc"),
    "another blob after, both lists": (
        lambda case: case.oci(change=twice(4, OTHER), both=True), "psc"),
    # Links.
    "* a hard link to what comes later": (lambda case: case.docker(change=moved(3)), ""),
    "a config that is a hard link": (
        lambda case: case.docker(change=moved(1, behind=False)), "d"),
    "* a blob that is a hard link": (lambda case: case.oci(change=moved(4)), "c"),
    # Platforms.
    "* for another machine": (lambda case: case.oci(entry=PLATFORM), "po"),
    "for another machine, Docker": (docker_config(architecture="arm64"), "dps"),
    "for another machine, not said": (oci_config(architecture="arm64"), "poc"),
    "* for Windows": (docker_config(os="windows"), "ps"),
    "for nothing": (docker_config(architecture=""), "dps"),
    # Lies that no loader sees.
    "* a name that is no digest of it": (
        lambda case: case.docker(said=(f"{LIE}.json", f"{LIE}.tar", "2.tar")), "dpsc"),
    "a blob that is no digest of it": (
        lambda case: case.docker(said=(f"blobs/sha256/{LIE}", "1.tar", "2.tar")), "dpsc"),
    "* a manifest that is not the index's": (lambda case: case.oci(change=spaced), "po"),
    "a size that is not the manifest's": (lambda case: case.oci(entry={"size": 9**6}), "poc"),
    "no size of the manifest": (lambda case: case.oci(entry={"size": 0}), "po"),
    "a list that is cut off, beside an index": (
        lambda case: case.oci(both=True, change=replaced(6, b"[{")), "po"),
    "* diff_ids of others": (
        lambda case: case.oci(case.config(rootfs={
            "type": "layers", "diff_ids": [sha256(OTHER)] * 2})), "po"),
    "a layout of another version": (
        lambda case: case.oci(change=replaced(0, b'{"imageLayoutVersion":"2"}')), "po"),
}  # fmt: skip


@functools.cache
def made(name: str) -> bytes:
    return CASES[name][0](Case(name))


def says(found: pd.DataFrame) -> str:
    rows = found[found["check"] == "loader"]
    taken = ""
    for key, (loader, command) in COMMANDS.items():
        some = rows[(rows["loader"] == loader) & rows["subject"].isin([command + x for x in HERE])]
        taken += key if some["passed"].all() and len(some) else ""
    return taken


@pytest.mark.parametrize("name", CASES)
def test_verdicts(tmp_path: Path, name: str) -> None:
    (tmp_path / "odd.tar").write_bytes(made(name))
    found = didlab.verify(tmp_path / "odd.tar")
    assert says(found) == CASES[name][1]
    if len(CASES[name][1]) < 3 or "behind" in name:
        # What is refused by somebody who could take it is told by another row, too.
        assert (~found["passed"] & (found["check"] != "loader")).any() or "for " in name


def test_the_loaders_do_so(
    tmp_path: Path, dockerd: Docker, podman: Podman, ctr: Containerd
) -> None:
    """One archive of each group: the others were tried by hand with the same loaders."""
    file = tmp_path / "odd.tar"
    do: dict[str, Callable[[], object]] = {
        "d": lambda: dockerd.run("load", "-i", file),
        "p": lambda: podman.run("load", "-i", file),
        "s": lambda: skopeo("copy", f"docker-archive:{file}", f"dir:{tmp_path}/s"),
        "o": lambda: skopeo("copy", f"oci-archive:{file}", f"dir:{tmp_path}/o"),
        "c": lambda: ctr.load(file),
    }
    wrong = {}
    for name, (_, expected) in CASES.items():
        if not name.startswith("*"):
            continue
        raw = made(name)
        file.write_bytes(raw)
        docker = b"manifest.json" in raw
        took = ""
        for key, load in do.items():
            if (key in "ds" and not docker) or (key == "o" and b"oci-layout" not in raw):
                continue  # no form of theirs, which is no news
            try:
                load()
            except CommandFailed:
                continue
            took += key
        if "behind gzip" in name and shutil.which("unpigz") is None:
            expected = "".join(key for key in expected if key not in "dc")
        if took != expected:
            wrong[name] = (took, expected)
    assert wrong == {}


def rows(name: str, folder: Path, check: str) -> list[dict[str, Any]]:
    (folder / "odd.tar").write_bytes(made(name))
    found = didlab.verify(folder / "odd.tar")
    some: list[dict[str, Any]] = found[(found["check"] == check) & ~found["passed"]].to_dict(
        "records"
    )
    return some


def test_how_grave_it_is(tmp_path: Path) -> None:
    (lie, more) = rows("* a name that is no digest of it", tmp_path, "digest")
    assert (lie["severity"], lie["expected"]) == ("error", f"sha256:{LIE}")
    assert more["severity"] == "error"
    (row,) = rows("* a Cmd of text", tmp_path, "config")
    assert (row["severity"], row["actual"]) == ("warning", "config.Cmd")
    assert row["expected"] == "a list of strings"
    first, _ = rows("* zeros behind gzip", tmp_path, "layer")
    assert (first["severity"], "zeros" in first["detail"]) == ("warning", True)
    loaders = {row["subject"]: row for row in rows("* zeros behind gzip", tmp_path, "loader")}
    assert loaders["docker load, without pigz"]["severity"] == "warning"
    assert loaders["ctr images import, without pigz"]["loader"] == "ctr"
    loaders = {row["subject"]: row for row in rows("* for another machine", tmp_path, "loader")}
    assert loaders["ctr images import, on linux/amd64"]["severity"] == "info"
    assert "--platform linux/arm64" in loaders["ctr images import, on linux/amd64"]["detail"]
    loaders = {row["subject"]: row for row in rows("* for Windows", tmp_path, "loader")}
    assert loaders["docker load, on Linux"]["severity"] == "warning"


def test_a_hostile_name_of_a_field_is_cut_and_escaped(tmp_path: Path) -> None:
    case = Case("hostile")
    config = json.loads(case.config())
    config["config"]["labels"] = {"\x1b[31m" * 999: 5}
    (tmp_path / "odd.tar").write_bytes(case.docker(dump(config)))
    text = didlab.verify(tmp_path / "odd.tar").to_csv()
    assert "config.labels" in text
    assert "\x1b" not in text
