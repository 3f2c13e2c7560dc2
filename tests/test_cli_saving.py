"""``didlab save`` for several images and platforms; what it leaves; what it would take."""

from __future__ import annotations

import csv
import io
import json
import random
import subprocess
import tarfile
from pathlib import Path

import pytest
from command import Command
from rig.faults import FaultServer, half_close_after, hang_up, respond, too_many
from rig.images import make_image
from rig.loaders import skopeo
from rig.registries import Registry

import didlab
from didlab.views.frames import SCHEMAS

GOES_ON = "what came is kept: the same command goes on from there"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    folder = tmp_path / "work"
    folder.mkdir()
    return Command(folder)


@pytest.fixture
def names(lab: Registry) -> list[str]:
    return [f"{lab.host}/lab/small:{tag}" for tag in (1, 2)]


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def tagged(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        file = tar.extractfile("manifest.json")
        assert file is not None
        return [name for entry in json.load(file) for name in entry["RepoTags"]]


# --- several images -------------------------------------------------------------------------


def test_a_bundle(command: Command, names: list[str], tmp_path: Path) -> None:
    assert ok(command("save", *names, "-o", "bundle.tar")) == "bundle.tar\n"
    found = command.folder / "bundle.tar"
    assert tagged(found) == names
    same = didlab.save([didlab.open(name, "linux/amd64") for name in names], tmp_path / "b.tar")
    assert found.read_bytes() == same.path.read_bytes()
    # The same again is recognised; another image under the name is not replaced.
    (first, second) = json.loads(ok(command("save", "--json", *names, "-o", "bundle.tar")))
    assert (first["downloaded"], first["reference"]) == (0, names[0])
    assert [row["image_id"] for row in (first, second)] == [i.image_id for i in same.images]
    assert first["path"] == second["path"] == "bundle.tar"
    done = command("save", names[1], "-o", "bundle.tar")
    assert done.returncode == 1
    assert "give --overwrite" in done.stderr
    assert tagged(found) == names


def test_a_bundle_is_complete_or_not_there(command: Command, names: list[str]) -> None:
    for wrong in (f"{names[0]}-no", "BAD"):
        done = command("save", *names, wrong, "-o", "bundle.tar")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        assert list(command.folder.iterdir()) == []


def test_a_directory_that_is_called_like_a_tar(command: Command, names: list[str]) -> None:
    (command.folder / "x.tar").mkdir()
    assert len(ok(command("save", *names, "-o", "x.tar")).splitlines()) == 2
    assert len(list((command.folder / "x.tar").iterdir())) == 2


# --- several platforms ----------------------------------------------------------------------


def test_all_platforms(command: Command, lab: Registry) -> None:
    name = f"{lab.host}/lab/app:multi"
    assert ok(command("save", "--platform", "all", name)) == "lab_app_multi.tar\n"
    raw = skopeo("inspect", "--raw", f"oci-archive:{command.folder}/lab_app_multi.tar")
    assert raw.encode() == didlab.open(name).raw()


def test_some_platforms(command: Command, lab: Registry) -> None:
    name = f"{lab.host}/lab/app:multi"
    wanted = ["--platform", "linux/arm64", "--platform", "amd64"]
    (row,) = json.loads(ok(command("save", "--json", *wanted, name, "-o", "two.tar")))
    assert row["platform"] == "linux/amd64, linux/arm64/v8"
    done = command("save", *wanted, "--platform", "s390x", name, "-o", "three.tar")
    assert (done.returncode, done.stdout) == (1, "")
    assert "s390x" in done.stderr
    assert not (command.folder / "three.tar").exists()


def test_one_platform_twice_is_one(command: Command, lab: Registry) -> None:
    name = f"{lab.host}/lab/app:multi"
    path = ok(command("save", "--platform", "arm64", "--platform", "arm64", name))
    assert path == "lab_app_multi_linux_arm64_v8.tar\n"


# --- layouts --------------------------------------------------------------------------------


def test_a_layout_of_several(command: Command, lab: Registry) -> None:
    # Of OCI's types: skopeo does not find others in a layout.
    names = [f"{lab.host}/lab/app:{tag}" for tag in ("oci", "multi")]
    options = ["--platform", "amd64", "--format", "oci-dir", "-o", "layout"]
    assert ok(command("save", *options, names[0])) == "layout\n"
    assert ok(command("save", *options, *names)) == "layout\n"
    for tag in ("oci", "multi"):
        skopeo("copy", f"oci:{command.folder}/layout:{tag}", f"dir:{command.folder}/{tag}")


def test_a_layout_has_the_image_s_name(command: Command, lab: Registry) -> None:
    name = f"{lab.host}/lab/app:multi"
    path = ok(command("save", "--format", "oci-dir", "--platform", "arm64", name))
    assert path == "lab_app_multi_linux_arm64_v8\n"
    assert (command.folder / path.strip() / "index.json").exists()


def test_the_workers_are_passed_on(command: Command, names: list[str]) -> None:
    ok(command("save", "--workers", "1", names[0], "-o", "one.tar"))
    ok(command("save", "--workers", "9", names[0], "-o", "nine.tar"))
    one, nine = (command.folder / name for name in ("one.tar", "nine.tar"))
    assert one.read_bytes() == nine.read_bytes()
    assert "--workers" in command("save", "--workers", "65", names[0]).stderr


def test_a_rate_limit_is_waited_for_as_long_as_is_said(command: Command) -> None:
    with FaultServer() as server:
        server.add_image("lab/x", "1", make_image([{"a": random.Random(5).randbytes(50_000)}]))
        name = f"{server.host}/lab/x:1"
        digest = didlab.open(name).layer(0).digest
        for seconds, status in (("0", 1), ("9", 0)):
            server.rule(lambda request: digest in request.path, too_many("1"), times=1)
            done = command("save", "--wait", seconds, name)
            assert (done.returncode, bool(done.stdout)) == (status, not status), done
        assert len(server.asked(digest)) == 3


# --- going on -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "path"),
    [([], "lab_x_1_linux_amd64.tar"), (["--format", "oci-dir", "-o", "layout"], "layout")],
)
def test_what_broke_goes_on(command: Command, options: list[str], path: str) -> None:
    built = make_image([{"a": random.Random(5).randbytes(900_000)}])
    with FaultServer() as server:
        name = f"{server.host}/lab/x:1"
        server.add_image("lab/x", "1", built)
        digest = didlab.open(name).layer(0).digest
        server.rule(lambda request: digest in request.path, half_close_after(500_000), times=1)
        rule = server.rule(lambda request: digest in request.path, hang_up)
        done = command("save", *options, name)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        assert done.stderr.count(GOES_ON) == 1
        # A failure that has nothing to do with it does not say so.
        other = command("save", f"{server.host}/lab/x:no")
        assert "404" in other.stderr
        assert "goes on" not in other.stderr
        server.rules.remove(rule)
        (row,) = json.loads(ok(command("save", "--json", *options, name)))
    assert row["reused"] >= 250_000
    assert row["path"] == path
    assert not list(command.folder.rglob(".*.part"))


def test_a_failure_in_the_middle_says_that_it_goes_on(command: Command) -> None:
    """Also one whose own words do not: here the server forbids the rest."""
    with FaultServer() as server:
        server.add_image("lab/x", "1", make_image([{"a": random.Random(5).randbytes(900_000)}]))
        name = f"{server.host}/lab/x:1"
        digest = didlab.open(name).layer(0).digest
        server.rule(lambda request: digest in request.path, half_close_after(500_000), times=1)
        server.rule(lambda request: digest in request.path, respond(404))
        done = command("save", name)
    assert done.returncode == 1
    assert done.stderr.endswith(f"; {GOES_ON}\n")


# --- what it would take ---------------------------------------------------------------------


def test_plan(command: Command, names: list[str]) -> None:
    head, *lines = ok(command("plan", *names)).splitlines()
    assert head.split() == ["KIND", "SIZE", "STORED", "DIGEST", "IMAGES"]
    found = json.loads(ok(command("plan", "--json", *names)))
    assert list(found[0]) == [column.name for column in SCHEMAS["plan"]]
    assert [row["digest"] for row in found] == [line.split()[3] for line in lines]
    assert sum(row["size"] for row in found) == didlab.plan(names)["size"].sum()
    shared = [row for row in found if row["images"] == ", ".join(names)]
    assert shared
    assert not any(row["stored"] for row in found), "there is no store here"
    assert list(command.folder.iterdir()) == []


def test_plan_of_platforms(command: Command, lab: Registry) -> None:
    name = f"{lab.host}/lab/app:multi"

    def manifests(*options: str) -> int:
        found = json.loads(ok(command("plan", "--json", *options, name)))
        return [row["kind"] for row in found].count("manifest")

    assert manifests() == 1
    assert manifests("--platform", "all") == 4
    assert manifests("--platform", "arm64", "--platform", "amd64") == 3


def test_endpoints(command: Command, registry_token: Registry) -> None:
    name = f"{registry_token.host}/lab/app:latest"
    head, *lines = ok(command("endpoints", name)).splitlines()
    assert head.split() == ["HOST", "SCHEME", "ROLE", "REGISTRY"]
    assert {line.split()[0] for line in lines} == {
        registry_token.host,
        registry_token.tokens.host,
    }
    table = list(csv.reader(io.StringIO(ok(command("endpoints", "--csv", name)), newline="")))
    assert table[0] == ["host", "scheme", "role", "registry"]


# --- the local store ------------------------------------------------------------------------


def test_cache(command: Command, names: list[str], tmp_path: Path) -> None:
    here = {"DIDLAB_CACHE": str(tmp_path / "cache")}
    ok(command("config", names[0], **here))
    found = json.loads(ok(command("cache", "--json", **here)))
    assert found["path"] == str(tmp_path / "cache")
    assert found["blobs"] >= 2
    assert 0 < found["bytes"] < found["limit"]
    text = ok(command("cache", **here))
    assert f"bytes          {found['bytes']}\n" in text
    offline = command("config", "--offline", names[0], **here)
    assert offline.returncode == 0
    assert offline.stdout == ok(command("config", names[0], **here))
    freed = json.loads(ok(command("cache", "--clear", "--json", **here)))
    assert freed["freed"] >= found["bytes"]
    assert json.loads(ok(command("cache", "--json", **here)))["blobs"] == 0
    done = command("config", "--offline", names[0], **here)
    assert done.returncode == 1
    assert "without --offline" in done.stderr


def test_what_is_kept_is_not_fetched_again(
    command: Command, names: list[str], lab: Registry, tmp_path: Path
) -> None:
    here = {"DIDLAB_CACHE": str(tmp_path / "cache")}
    ok(command("save", "--keep", names[0], "-o", "one.tar", **here))
    with lab.record() as seen:
        (row,) = json.loads(ok(command("save", "--json", names[0], "-o", "two.tar", **here)))
    assert row["downloaded"] == 0
    assert not [entry for entry in seen if "/blobs/" in entry.path]
    assert all(row["stored"] for row in json.loads(ok(command("plan", "--json", names[0], **here))))


def test_no_cache(command: Command) -> None:
    assert json.loads(ok(command("cache", "--json")))["path"] is None
    assert "path           -\n" in ok(command("cache"))
    assert ok(command("cache", "--clear")).split() == ["FIELD", "VALUE", "freed", "0"]


# --- with a person --------------------------------------------------------------------------


def test_a_person_sees_sums_and_units(command: Command, names: list[str], tmp_path: Path) -> None:
    pytest.importorskip("termios", reason="Windows has other terminals")
    with command.terminal("plan", *names) as terminal:
        status, shown = terminal.finish()
    assert status == 0
    count = len(didlab.plan(names))
    assert shown.splitlines()[-1].startswith(f"{count} blobs, ")
    with command.terminal("plan", "-q", *names) as terminal:
        assert f"{count} blobs" not in terminal.finish()[1]
    with command.terminal("save", *names, "-o", "bundle.tar") as terminal:
        assert terminal.finish()[1].endswith(
            "bundle.tar\nLoad it with: docker load -i bundle.tar\n"
        )
    with command.terminal("save", "--format", "oci-dir", *names, "-o", "layout") as terminal:
        assert "docker load" not in terminal.finish()[1]
