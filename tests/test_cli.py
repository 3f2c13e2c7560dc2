"""The command ``didlab``, run as a user runs it, against real registries."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import tarfile
from datetime import datetime
from pathlib import Path

import pytest
from command import Command, interrupt
from rig.images import make_image, push_image
from rig.lab import MANY
from rig.registries import Registry

import didlab
from didlab.views.frames import SCHEMAS


@pytest.fixture
def command(tmp_path: Path) -> Command:
    folder = tmp_path / "work"
    folder.mkdir()
    return Command(folder)


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def columns(name: str) -> list[str]:
    return [column.name for column in SCHEMAS[name]]


# --- what is loaded -------------------------------------------------------------------------


def _loaded(command: Command, *args: str) -> set[str]:
    program = (
        "import sys\n"
        "from didlab.cli import main\n"
        "try:\n    code = main(sys.argv[1:])\n"
        "except SystemExit as end:\n    code = end.code or 0\n"
        "print(*sys.modules, file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    done = command.python("-c", program, *args)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["save", "--help"]])
def test_help_is_cheap(command: Command, args: list[str]) -> None:
    heavy = {"pandas", "numpy", "requests", "urllib3", "tqdm", "ipywidgets"}
    assert not _loaded(command, *args) & heavy


def test_save_loads_no_pandas(command: Command, lab: Registry) -> None:
    loaded = _loaded(command, "save", f"{lab.host}/lab/app:multi")
    assert "requests" in loaded
    assert not loaded & {"pandas", "numpy", "IPython", "ipywidgets"}


def test_version(command: Command) -> None:
    assert ok(command("--version")) == f"didlab {didlab.__version__}\n"


def test_main_returns_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    from didlab.cli import main

    assert main(["tags", "NOT/valid"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


# --- tables ---------------------------------------------------------------------------------


def test_platforms(command: Command, lab: Registry) -> None:
    name = f"{lab.host}/lab/app:multi"
    head, *lines = ok(command("platforms", "--sizes", name)).splitlines()
    assert head.split() == ["PLATFORM", "KIND", "LAYERS", "SIZE", "DIGEST"]
    assert [line.split()[0] for line in lines[:3]] == [
        "linux/amd64",
        "linux/arm64/v8",
        "linux/arm/v7",
    ]
    for line in lines:
        platform, kind, count, size, digest = line.split()
        assert digest.startswith("sha256:")
        assert len(digest) == 71, "no terminal: the digest is whole"
        assert (count.isdigit() and size.isdigit()) == (kind == "image"), platform
    wanted = columns("platforms") + columns("platforms+sizes")
    found = json.loads(ok(command("platforms", "--sizes", "--json", name)))
    assert [list(row) for row in found] == [wanted] * len(lines)
    assert [row["digest"] for row in found] == [line.split()[-1] for line in lines]
    assert isinstance(found[0]["size"], int)
    assert found[-1]["size"] is None, "the attestation"
    assert rows(ok(command("platforms", "--csv", name)))[0] == columns("platforms")


def test_layers_and_history(command: Command, lab: Registry) -> None:
    name = f"{lab.host}/lab/app:latest"
    layers = json.loads(ok(command("layers", "--json", name)))
    assert [row["position"] for row in layers] == list(range(11))
    assert list(layers[0]) == columns("layers")
    created = datetime.fromisoformat(layers[0]["created"])
    assert layers[0]["created"].endswith("Z")
    assert created.tzinfo is not None
    head, *lines = ok(command("layers", name)).splitlines()
    assert head.startswith("POSITION")
    assert [int(line.split()[1]) for line in lines] == [row["size"] for row in layers]
    history = json.loads(ok(command("history", "--json", name)))
    assert list(history[0]) == columns("history")
    steps = [row for row in history if not row["empty_layer"]]
    assert [row["digest"] for row in steps] == [row["digest"] for row in layers]
    assert len(ok(command("history", name)).splitlines()) == len(history) + 1
    assert rows(ok(command("history", "--csv", name)))[0] == columns("history")


def test_platform_is_chosen(command: Command, lab: Registry) -> None:
    name = f"{lab.host}/lab/app:multi"
    got = {
        platform: json.loads(ok(command("config", "--json", "--platform", platform, name)))
        for platform in ("linux/arm64", "arm", "linux/amd64")
    }
    assert [config["architecture"] for config in got.values()] == ["arm64", "arm", "amd64"]


def test_config(command: Command, lab: Registry) -> None:
    name = f"{lab.host}/lab/app:oci"
    config = json.loads(ok(command("config", "--json", name)))
    assert config == didlab.open(name).config().to_dict()
    text = ok(command("config", name))
    assert text.startswith("FIELD")
    assert 'entrypoint   ["/srv/app/main"]' in text
    assert "env          LAB=1=2" in text
    assert r"odd=<b>\x1b[31m</b>" in text
    assert "\x1b" not in text
    table = rows(ok(command("config", "--csv", name)))
    assert table[0] == ["field", "value"]
    assert ["env", "LAB=1=2"] in table
    assert ["user", "1000:1000"] in table


def test_inspect(command: Command, lab: Registry) -> None:
    name = f"{lab.host}/lab/app:multi"
    found = json.loads(ok(command("inspect", "--json", name)))
    assert list(found) == [
        "reference",
        "digest",
        "media_type",
        "platforms",
        "config",
        "layers",
        "size",
        "image_id",
    ]
    image = didlab.open(name, "linux/amd64")
    assert found["digest"] == didlab.open(name).digest()
    assert found["image_id"] == image.image_id()
    assert found["size"] == image.size()
    assert found["config"] == image.config().to_dict()
    assert len(found["layers"]) == 11
    assert len(found["platforms"]) == 4
    page = ok(command("inspect", name))
    for part in (found["digest"], found["image_id"], "linux/arm/v7", '["--help"]', "11 layers"):
        assert part in page
    assert "\x1b" not in page
    assert re.search(rf"^size +{image.size()} to download for linux/amd64$", page, re.MULTILINE)
    other = json.loads(ok(command("inspect", "--json", "--platform", "arm64", name)))
    assert other["config"]["architecture"] == "arm64"
    assert other["digest"] in [row["digest"] for row in found["platforms"]]
    table = dict(rows(ok(command("inspect", "--csv", name)))[1:])
    assert table["digest"] == found["digest"]


def test_tags(command: Command, lab: Registry) -> None:
    names = [f"t{number:03}" for number in range(MANY)]
    # In the registry's order, which docker-registry takes from its disk.
    assert sorted(ok(command("tags", f"{lab.host}/lab/many")).splitlines()) == names
    found = json.loads(ok(command("tags", "--json", f"{lab.host}/lab/many")))
    assert sorted(found, key=lambda row: row["tag"]) == [{"tag": name} for name in names]


def test_tags_with_details(command: Command, lab: Registry) -> None:
    found = json.loads(ok(command("tags", "--details", "--json", f"{lab.host}/lab/app")))
    assert list(found[0]) == columns("tags+details")
    by_tag = {row["tag"]: row for row in found}
    assert by_tag["multi"]["platforms"] == "linux/amd64, linux/arm64/v8, linux/arm/v7"
    assert by_tag["multi"]["size"] == by_tag["oci"]["size"]
    assert "multi" in ok(command("tags", "--details", f"{lab.host}/lab/app"))


def test_a_tag_that_cannot_be_read_is_told(command: Command, own_registry: Registry) -> None:
    image = make_image([{"a": b"a"}])
    push_image(own_registry.host, "lab/broken", "1", image)
    own_registry.blob_path(image.image_id).unlink()
    done = command("tags", "--details", "--json", f"{own_registry.host}/lab/broken")
    assert done.returncode == 0
    assert json.loads(done.stdout)[0]["created"] is None
    assert done.stderr.startswith("didlab: warning: 1 tag could not be read, first 1: ")
    assert done.stderr.count("\n") == 1
    assert command("tags", "--details", "-q", f"{own_registry.host}/lab/broken").stderr == ""


def test_tags_wants_a_repository(command: Command, lab: Registry) -> None:
    done = command("tags", f"{lab.host}/lab/app:multi")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"write {lab.host}/lab/app" in done.stderr


def test_repositories(command: Command, lab: Registry) -> None:
    names = ok(command("repositories", lab.host)).splitlines()
    assert {"lab/app", "lab/many", "private/app"} <= set(names)
    head, *table = rows(ok(command("repositories", "--csv", lab.host)))
    assert head == ["repository"]
    assert sorted(table) == sorted([name] for name in names)


# --- saving ---------------------------------------------------------------------------------


def test_save_here(command: Command, lab: Registry) -> None:
    path = ok(command("save", f"{lab.host}/lab/small:1"))
    assert path == "lab_small_1_linux_amd64.tar\n"
    with tarfile.open(command.folder / path.strip()) as tar:
        assert "manifest.json" in tar.getnames()


def test_save_to_a_file_and_again(command: Command, lab: Registry) -> None:
    one, two = f"{lab.host}/lab/small:1", f"{lab.host}/lab/small:2"
    assert ok(command("save", one, "-o", "x.tar")) == "x.tar\n"
    before = (command.folder / "x.tar").read_bytes()
    assert ok(command("save", one, "-o", "x.tar")) == "x.tar\n"
    done = command("save", two, "-o", "x.tar")
    assert (done.returncode, done.stdout) == (1, "")
    assert "give --overwrite to replace it" in done.stderr
    assert (command.folder / "x.tar").read_bytes() == before
    ok(command("save", two, "-o", "x.tar", "--overwrite"))
    assert (command.folder / "x.tar").read_bytes() != before


def test_save_several(command: Command, lab: Registry) -> None:
    names = [f"{lab.host}/lab/small:{tag}" for tag in (1, 2, 1)]
    paths = ok(command("save", *names, "-o", "new/folder")).splitlines()
    assert paths == [str(Path("new/folder", f"lab_small_{n}_linux_amd64.tar")) for n in (1, 2)]
    assert sorted(path.name for path in (command.folder / "new/folder").iterdir()) == [
        Path(path).name for path in paths
    ]


def test_one_that_fails_does_not_stop_the_others(command: Command, lab: Registry) -> None:
    names = [f"{lab.host}/lab/small:{tag}" for tag in ("1", "no", "2")]
    done = command("save", *names, "BAD", "-o", "out")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("didlab: ") for line in lines)
    assert "'BAD'" in lines[0]
    assert "lab/small:no" in lines[1]


def test_one_file_name_for_two_images(
    command: Command, lab: Registry, registry_mirror: Registry
) -> None:
    names = [f"{host}/lab/small:1" for host in (lab.host, registry_mirror.host)]
    done = command("save", *names, "--overwrite")
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 1)
    assert "as another image just was" in done.stderr


def test_save_for_programs(command: Command, lab: Registry) -> None:
    name = f"{lab.host}/lab/app:multi"
    (report,) = json.loads(ok(command("save", "--json", "--platform", "arm64", name)))
    assert report["path"] == "lab_app_multi_linux_arm64_v8.tar"
    assert report["platform"] == "linux/arm64/v8"
    assert report["image_id"] == didlab.open(name, "arm64").image_id()
    assert report["size"] == (command.folder / report["path"]).stat().st_size
    assert report["downloaded"] > 0


def test_no_new_folder_for_an_image_that_is_not_there(command: Command, lab: Registry) -> None:
    assert command("save", f"{lab.host}/lab/small:no", "-o", "new/").returncode == 1
    assert list(command.folder.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe is no terminal there either")
def test_no_question_without_a_terminal(command: Command, lab: Registry) -> None:
    done = command("save", f"{lab.host}/lab/app:multi", text="2\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "lab_app_multi_linux_amd64.tar\n"


# --- registries -----------------------------------------------------------------------------


def test_password_on_standard_input(
    command: Command, registry_htpasswd: Registry, registry_token: Registry
) -> None:
    for server in (registry_htpasswd, registry_token):
        name = f"{server.host}/private/app"
        for end in ("", "\n", "\r\n"):
            done = command("tags", "--username", server.user, name, text=server.password + end)
            assert ok(done) == "1\n"


def test_password_stdin_as_docker_has_it(command: Command, registry_htpasswd: Registry) -> None:
    server = registry_htpasswd
    words = ("--username", server.user, "--password-stdin", f"{server.host}/private/app")
    assert ok(command("tags", *words, text=f"{server.password}\n")) == "1\n"
    done = command("tags", "--password-stdin", f"{server.host}/private/app", text="x\n")
    assert done.returncode == 2
    assert "--username" in done.stderr


def test_a_mirror(command: Command, lab: Registry, registry_mirror: Registry) -> None:
    with registry_mirror.record() as seen:
        ok(command("tags", "--mirror", registry_mirror.url, f"{lab.host}/lab/small"))
    assert [entry.path for entry in seen if "tags" in entry.path]


def test_an_own_authority(command: Command, registry_tls: Registry) -> None:
    name = f"localhost:{registry_tls.port}/lab/small"
    done = command("tags", name)
    assert done.returncode == 1
    assert "--ca FILE" in done.stderr
    for options in (["--ca", registry_tls.ca], ["--insecure"]):
        assert set(ok(command("tags", *options, name)).splitlines()) == {"1", "2"}


def test_sandbox(command: Command) -> None:
    process = command.start("sandbox", "--auth")
    try:
        assert process.stdout is not None
        host = process.stdout.readline().decode().strip()
        assert ok(command("tags", "--username", "demo", f"{host}/demo/single", text="demo\n"))
        assert command("tags", f"{host}/demo/single").returncode == 1
        interrupt(process)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait(60)
    if sys.platform != "win32":
        assert process.returncode == 0
    assert f"echo demo | didlab platforms --username demo {host}/demo/hello" in err.decode()
    assert "Traceback" not in err.decode()
