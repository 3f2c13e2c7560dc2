"""The command ``didlab`` with a person in front of it: tables that fit, and a choice."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import SECONDS, Command
from rig.faults import FaultServer, stall
from rig.images import make_image, make_index
from rig.registries import Registry

import didlab

pytest.importorskip("termios", reason="Windows has other terminals")


@pytest.fixture
def command(tmp_path: Path) -> Command:
    folder = tmp_path / "work"
    folder.mkdir()
    return Command(folder)


def saved(command: Command) -> list[str]:
    return sorted(path.name for path in command.folder.iterdir())


def test_a_table_fits(command: Command, lab: Registry) -> None:
    name = f"{lab.host}/lab/app:latest"
    first = didlab.open(name).layer(0).digest
    for columns in (70, 250):
        with command.terminal("layers", name, columns=columns) as terminal:
            status, shown = terminal.finish()
        assert status == 0
        lines = shown.splitlines()
        assert len(lines) == 12
        assert max(map(len, lines)) <= columns
        assert "kB" in shown
        assert (first in shown) == (columns == 250)
        assert first[:19] in shown


def test_the_page(command: Command, lab: Registry) -> None:
    with command.terminal("inspect", f"{lab.host}/lab/app:multi", columns=80) as terminal:
        status, shown = terminal.finish()
    assert status == 0
    assert "to download" in shown
    assert r"\x1b[31m" in shown
    assert "\x1b" not in shown
    # Digests are there to be copied: the only lines that may be too long for the terminal.
    long = [line.split()[0] for line in shown.splitlines() if len(line) > 80]
    assert set(long) <= {"digest", "image"}


def test_json_on_a_terminal_is_harmless(command: Command, lab: Registry) -> None:
    with command.terminal("config", "--json", f"{lab.host}/lab/app:latest") as terminal:
        status, shown = terminal.finish()
    assert status == 0
    assert "\\u001b[31m" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("2", "lab_app_multi_linux_arm64_v8.tar"),
        ("", "lab_app_multi_linux_amd64.tar"),
        ("arm/v7", None),
        ("linux/arm/v7", "lab_app_multi_linux_arm_v7.tar"),
    ],
)
def test_a_platform_is_chosen(
    command: Command, lab: Registry, answer: str, name: str | None
) -> None:
    with command.terminal("save", f"{lab.host}/lab/app:multi") as terminal:
        shown = terminal.expect("q to quit] ")
        for number, platform in enumerate(("linux/amd64", "linux/arm64/v8", "linux/arm/v7"), 1):
            line = next(line for line in shown.splitlines() if platform in line)
            assert line.split()[0] == str(number)
            assert "B" in line.split()[3]
            assert ("(default here)" in line) == (number == 1)
        assert "unknown" not in shown, "an attestation is nothing to choose"
        terminal.send(f"{answer}\n")
        if name is None:
            terminal.expect("There is no such platform.")
            terminal.send("q\n")
            assert terminal.finish()[0] == 130
            assert saved(command) == []
            return
        status, shown = terminal.finish()
    assert status == 0
    assert saved(command) == [name]
    assert f"\n{name}\nLoad it with: docker load -i {name}\n" in shown


@pytest.mark.parametrize("keys", ["q\n", "\x04", "\x03"])
def test_thinking_better_of_it(command: Command, lab: Registry, keys: str) -> None:
    with command.terminal("save", f"{lab.host}/lab/app:multi") as terminal:
        terminal.expect("q to quit] ")
        terminal.send(keys)
        status, shown = terminal.finish()
    assert status == 130
    assert shown.endswith("didlab: interrupted\n")
    assert "Traceback" not in shown
    assert saved(command) == []


def test_the_question_does_not_wait_for_sizes(command: Command) -> None:
    """A registry that is silent about one platform: the others can still be saved."""
    images = [make_image([{"a": b"a"}], platform) for platform in ("linux/amd64", "linux/arm64")]
    with FaultServer() as server:
        server.add_image("lab/x", "1", make_index(images))
        server.rule(lambda request: images[1].digest in request.path, stall(4 * SECONDS))
        name = f"{server.host}/lab/x:1"
        with command.terminal("save", name, "--timeout", "300") as terminal:
            shown = terminal.expect("q to quit] ")
            sizes = [line.split()[2] for line in shown.splitlines() if "linux/" in line]
            terminal.send("1\n")
            status, _ = terminal.finish()
    assert (sizes[0] == "?", sizes[1]) == (False, "?")
    assert status == 0
    assert saved(command) == ["lab_x_1_linux_amd64.tar"]


def test_wrong_answers_are_asked_again(command: Command, lab: Registry) -> None:
    with command.terminal("save", f"{lab.host}/lab/app:multi") as terminal:
        terminal.expect("q to quit] ")
        for asked, answer in enumerate(("0", "4", "s390x", "nonsense"), 2):
            terminal.send(f"{answer}\n")
            terminal.expect_times("q to quit] ", asked)
        assert terminal.seen.count("There is no such platform.") == 4
        terminal.send("3\n")
        assert terminal.finish()[0] == 0
    assert saved(command) == ["lab_app_multi_linux_arm_v7.tar"]


@pytest.mark.parametrize("args", [["--platform", "linux/arm64", "lab/app:multi"], ["lab/small:1"]])
def test_no_question_where_there_is_no_choice(
    command: Command, lab: Registry, args: list[str]
) -> None:
    *options, name = args
    with command.terminal("save", *options, f"{lab.host}/{name}") as terminal:
        status, shown = terminal.finish()
    assert status == 0
    assert "Which one?" not in shown
    assert len(saved(command)) == 1


def test_the_question_leaves_stdout_alone(command: Command, lab: Registry, tmp_path: Path) -> None:
    """``path=$(didlab save …)``: stdout is a pipe, the person is still there."""
    out = tmp_path / "out"
    with (
        out.open("wb") as file,
        command.terminal("save", f"{lab.host}/lab/app:list", stdout=file) as terminal,
    ):
        terminal.expect("q to quit] ")
        terminal.send("2\n")
        assert terminal.finish()[0] == 0
    assert out.read_text() == "lab_app_list_linux_arm64_v8.tar\n"


def test_every_question_comes_before_the_first_download(command: Command, lab: Registry) -> None:
    names = [f"{lab.host}/lab/app:{tag}" for tag in ("multi", "list")]
    with command.terminal("save", *names) as terminal:
        terminal.expect("q to quit] ")
        terminal.send("2\n")
        terminal.expect("lab/app:list is made for")
        assert saved(command) == []
        terminal.expect_times("q to quit] ", 2)
        terminal.send("\n")
        assert terminal.finish()[0] == 0
    assert saved(command) == [
        "lab_app_list_linux_amd64.tar",
        "lab_app_multi_linux_arm64_v8.tar",
    ]


def test_quiet(command: Command, lab: Registry) -> None:
    with command.terminal("save", "-q", f"{lab.host}/lab/small:1") as terminal:
        assert terminal.finish() == (0, "lab_small_1_linux_amd64.tar\n")


def test_the_password_is_asked_for_and_not_shown(
    command: Command, registry_htpasswd: Registry
) -> None:
    server = registry_htpasswd
    name = f"{server.host}/private/app"
    with command.terminal("tags", "--username", server.user, name) as terminal:
        terminal.expect(f"Password for {server.user}: ")
        terminal.send(f"{server.password}\n")
        status, shown = terminal.finish()
    assert status == 0
    assert shown.endswith("\n1\n")
    assert server.password not in shown
    with command.terminal("tags", "--username", server.user, name) as terminal:
        terminal.expect("Password")
        terminal.send("\x03")
        status, shown = terminal.finish()
    assert status == 130
    assert "Traceback" not in shown
