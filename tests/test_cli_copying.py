"""``didlab copy`` and the words of its errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Command
from rig.images import make_image, write_layout
from rig.uploads import PushServer

import didlab

ONE, TWO = make_image([{"1": b"one"}]), make_image([{"2": b"two"}])


@pytest.fixture
def command(tmp_path: Path) -> Command:
    folder = tmp_path / "work"
    folder.mkdir()
    made = Command(folder)
    write_layout(folder / "layout", {"one": ONE, "two": TWO})
    return made


@pytest.fixture
def server() -> Iterator[PushServer]:
    with PushServer() as made:
        made.add_image("lab/one", "1", ONE)
        made.add_image("lab/two", "1", TWO)
        yield made


def hinted(stderr: str) -> str:
    """The name that an error tells to write."""
    return stderr.rpartition("name one: ")[2].rstrip().removesuffix(")")


@pytest.mark.parametrize(
    ("form", "transport"), [("archive", "oci-archive"), ("docker", "docker-archive")]
)
def test_a_bundle_wants_the_name_of_an_image(
    server: PushServer, command: Command, form: str, transport: str
) -> None:
    names = [f"{server.host}/lab/one:1", f"{server.host}/lab/two:1"]
    didlab.save(names, command.folder / "bundle.tar", format=form, progress=False)
    target = f"{server.host}/lab/copy:1"
    refused = command("copy", "bundle.tar", target)
    assert refused.returncode == 1
    name = hinted(refused.stderr)
    assert name == f"{transport}:bundle.tar:{names[0]}"
    assert "didlab.open" not in refused.stderr
    done = command("copy", name, target)
    assert (done.returncode, done.stdout) == (0, f"{target}\n"), done.stderr
    # As for every command that takes one image.
    assert hinted(command("save", "bundle.tar", "-o", "x.tar").stderr) == name
    assert command("cat", name, "/1").stdout == "one"


def test_so_does_a_layout(command: Command) -> None:
    refused = command("layers", "./layout")
    assert refused.returncode == 1
    assert hinted(refused.stderr) == "oci:./layout:one"
    assert command("layers", "oci:./layout:one").returncode == 0


def test_a_layer_by_the_beginning_of_its_digest(command: Command) -> None:
    start = ONE.layers[0]["digest"][:20]
    done = command("cat", "oci:layout:one", "/1", "--layer", start)
    assert (done.returncode, done.stdout) == (0, "one"), done.stderr
