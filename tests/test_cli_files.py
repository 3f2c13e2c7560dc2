"""``didlab files``, ``tree``, ``cat`` and ``extract``, run as a user runs them."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import SECONDS, Command
from rig.faults import FaultServer, corrupt
from rig.images import hardlink, make_image, make_index, symlink

from didlab.cli import inside
from didlab.cli.entry import PIPE_CLOSED
from didlab.cli.messages import describe
from didlab.cli.tables import Table
from didlab.errors import DidlabError, InvalidArgument
from didlab.views.frames import SCHEMAS

#: Every byte value, line ends of all kinds, and more than goes through a pipe at once.
BINARY = bytes(range(256)) + b"\r\n\n\r" + random.Random(4).randbytes(2_500_000)
PASSWD = b"root:x:0:0:root:/root:/bin/sh\n"


def fifo() -> tarfile.TarInfo:
    entry = tarfile.TarInfo()
    entry.type = tarfile.FIFOTYPE
    return entry


def owned() -> tarfile.TarInfo:
    entry = tarfile.TarInfo()
    entry.mode, entry.uid, entry.gid, entry.mtime = 0o4750, 1000, 50, 1709208000
    return entry


BASE: dict[str, Any] = {
    "etc": None,
    "etc/passwd": PASSWD,
    "etc/gone": b"to be deleted",
    "etc/no newline": b"the end",
    "etc/nasty": b"\x1b]0;owned\x07\x1b[2J",
    "etc/größe": "größer\r\n\tals 1\f\n".encode(),
    "bin": symlink("usr/bin"),
    "usr": None,
    "usr/bin": None,
    "usr/bin/tool": (owned(), BINARY),
    "usr/bin/again": hardlink("usr/bin/tool"),
    "usr/bin/pipe": fifo(),
    "usr/bin/out": symlink("/etc/passwd"),
}
TOP: dict[str, Any] = {"etc/.wh.gone": b"", "etc/passwd": PASSWD * 2}
IMAGE = make_image([BASE, TOP])
OTHER = make_image([{"arm": b"64"}], "linux/arm64")


@pytest.fixture
def command(tmp_path: Path) -> Command:
    folder = tmp_path / "work"
    folder.mkdir()
    return Command(folder)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        made.add_image("lab/app", "1", IMAGE)
        made.add_image("lab/app", "multi", make_index([IMAGE, OTHER]))
        yield made


@pytest.fixture
def name(server: FaultServer) -> str:
    return f"{server.host}/lab/app:1"


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def raw(command: Command, *args: object) -> tuple[int, bytes, bytes]:
    """Status, stdout and stderr, byte for byte."""
    process = command.start(*args)
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def columns(*names: str) -> list[str]:
    return [column.name for name in names for column in SCHEMAS[name]]


# --- files ----------------------------------------------------------------------------------


def test_files_like_ls(command: Command, name: str) -> None:
    head, *lines = ok(command("files", name, "/{etc/passwd,bin,usr/bin/*}")).splitlines()
    assert head.split() == ["PERMISSIONS", "UID", "GID", "SIZE", "MTIME", "LAYER", "PATH"]
    cells = {line.split()[6]: line.split() for line in lines}
    assert list(cells) == [
        "/bin", "/etc/passwd", "/usr/bin/again", "/usr/bin/out", "/usr/bin/pipe", "/usr/bin/tool",
    ]  # fmt: skip
    assert cells["/usr/bin/tool"] == [
        "-rwsr-x---", "1000", "50", str(len(BINARY)), "2024-02-29T12:00:00Z", "0", "/usr/bin/tool",
    ]  # fmt: skip
    assert cells["/etc/passwd"][3:6:2] == [str(2 * len(PASSWD)), "1"]
    assert cells["/bin"][6:] == ["/bin", "->", "usr/bin"]
    assert cells["/usr/bin/again"][6:] == ["/usr/bin/again", "link", "to", "/usr/bin/tool"]
    assert cells["/usr/bin/pipe"][0][0] == "p"


def test_files_for_programs(command: Command, name: str) -> None:
    found = json.loads(ok(command("files", "--json", name)))
    assert list(found[0]) == columns("files")
    by_path = {row["path"]: row for row in found}
    assert "/etc/gone" not in by_path
    assert by_path["/usr/bin/tool"]["mode"] == 0o4750
    assert by_path["/bin"]["linkname"] == "usr/bin"
    assert by_path["/usr"]["linkname"] is None
    # Options may stand between the image and the pattern.
    table = list(csv.reader(io.StringIO(ok(command("files", name, "--csv", "/bin")), newline="")))
    assert table[0] == columns("files")
    assert [row[0] for row in table[1:]] == ["/bin"]


def test_files_of_a_layer(command: Command, name: str) -> None:
    by_digest = ok(command("files", name, "--layer", IMAGE.layers[1]["digest"]))
    assert [line.split()[-1] for line in by_digest.splitlines()[1:]] == [
        "/etc/.wh.gone",
        "/etc/passwd",
    ]
    assert ok(command("files", name, "--layer", "-1")) == by_digest
    found = json.loads(ok(command("files", name, "--layer", "1", "--json")))
    assert list(found[0]) == columns("files", "files+layer")
    assert [row["whiteout"] for row in found] == ["file", None]


def test_changes(command: Command, name: str) -> None:
    text = ok(command("files", "--changes", name, "--layer", "1"))
    assert [line.split() for line in text.splitlines()] == [
        ["LAYER", "CHANGE", "PERMISSIONS", "SIZE", "BEFORE", "SIZE", "PATH"],
        ["1", "deleted", "-rw-r--r--", "13", "-", "/etc/gone"],
        ["1", "replaced", "-rw-r--r--", str(len(PASSWD)), str(2 * len(PASSWD)), "/etc/passwd"],
    ]
    found = json.loads(ok(command("files", "--changes", "--json", name, "/etc/pass*")))
    assert list(found[0]) == columns("changes")
    assert [(row["path"], row["layer"], row["change"]) for row in found] == [
        ("/etc/passwd", 0, "added"),
        ("/etc/passwd", 1, "replaced"),
    ]


def test_what_is_refused_costs_no_layer(command: Command, server: FaultServer, name: str) -> None:
    for args, why in (
        (["--changes", "--layer", "7"], "has 2 layers, there is no layer 7"),
        (["--changes", "/[z"], "without its ']'"),
        (["--layer", "sha256:0a"], "has no layer 'sha256:0a'"),
    ):
        server.requests.clear()
        done = command("files", name, *args)
        assert (done.returncode, done.stdout) == (1, "")
        assert why in done.stderr
        assert not [one for one in server.requests if "/blobs/" in one.path]


def test_a_platform(command: Command, server: FaultServer) -> None:
    multi = f"{server.host}/lab/app:multi"
    assert ok(command("cat", "--platform", "arm64", multi, "arm")) == "64"
    assert "/arm" not in ok(command("files", multi))


def test_links_are_shown_where_they_are() -> None:
    table = Table(("path", "type", "linkname"), [("/a", "file", None), ("/b", "symlink", "a")])
    assert inside._with_links(table).rows == [["/a", "file", None], ["/b -> a", "symlink", "a"]]


# --- tree -----------------------------------------------------------------------------------


def test_tree(command: Command, name: str) -> None:
    assert ok(command("tree", name, "--depth", "1", "usr")) == "/usr\n└── bin/\n"
    lines = ok(command("tree", name)).splitlines()
    assert lines[0] == "/"
    assert "├── bin -> usr/bin" in lines
    assert "gone" not in "".join(lines)
    assert "gone" in ok(command("tree", name, "/etc", "--layer", "0"))


def test_tree_where_nothing_can_draw(command: Command, name: str) -> None:
    done = command("tree", name, "/usr", "--depth", "1", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert ok(done) == "/usr\n`-- bin/\n"


# --- cat ------------------------------------------------------------------------------------


def test_cat_is_byte_for_byte(command: Command, name: str) -> None:
    assert raw(command, "cat", name, "/usr/bin/tool") == (0, BINARY, b"")
    # Through a link to its folder, by another name, several, and nothing is added between.
    status, out, err = raw(command, "cat", name, "bin/again", "/etc/no newline", "etc/passwd")
    assert (status, err) == (0, b"")
    assert out == BINARY + b"the end" + PASSWD * 2


def test_cat_without_buffers(command: Command, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-u", "-m", "didlab", "cat", name, "/usr/bin/tool"],
        capture_output=True,
        cwd=command.folder,
        env={**os.environ, "DIDLAB_CACHE": "0"},
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, BINARY)


class _Reluctant(io.RawIOBase):
    """Takes a few bytes at a time, as a pipe of Windows does."""

    def __init__(self) -> None:
        self.took = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.took += bytes(data[:1000])
        return min(len(data), 1000)


def test_what_does_not_go_at_once_goes_later() -> None:
    out: Any = _Reluctant()
    inside._pour(io.BufferedReader(io.BytesIO(BINARY)), out)
    assert bytes(out.took) == BINARY


def test_a_deleted_file_is_in_its_layer(command: Command, name: str) -> None:
    assert ok(command("cat", name, "--layer", "0", "/etc/gone")) == "to be deleted"
    done = command("cat", name, "--layer", "1", "/etc/gone")
    assert (done.returncode, done.stdout) == (1, "")
    assert "without --layer" in done.stderr


def test_a_missing_path_names_near_misses(command: Command, name: str) -> None:
    done = command("cat", name, "/etc/pasword", "/etc/passwd", "/usr/bin", "/usr/bin/pipe")
    assert done.returncode == 1
    assert done.stdout.encode() == PASSWD * 2, "one that fails does not stop the others"
    missing, folder, special = done.stderr.splitlines()
    assert missing == f"didlab: there is no /etc/pasword in {name} (did you mean /etc/passwd?)"
    assert "didlab tree list it" in folder
    assert "fifo" in special


def test_a_pipe_that_closes(command: Command, name: str) -> None:
    process = command.start("cat", name, "/usr/bin/tool")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(5) == BINARY[:5]
    process.stdout.close()  # as `head -c 5` does
    err = process.stderr.read()
    process.stderr.close()
    process.wait(SECONDS)
    assert (process.returncode, err) == (PIPE_CLOSED, b"")


def test_without_verification(command: Command) -> None:
    image = make_image([{"first": b"the end", **{f"f{number}": b"" for number in range(3000)}}])
    digest = image.layers[0]["digest"]
    with FaultServer() as changed:
        changed.add_image("lab/app", "1", image)
        # A bit of the time in gzip's header: nothing but the digest tells.
        changed.rule(lambda request: digest in request.path, corrupt(4))
        there = f"{changed.host}/lab/app:1"
        for more in ([], ["--layer", "0"]):
            done = command("cat", "--no-verify", there, "first", *more)
            assert (done.returncode, done.stdout) == (0, "the end")
            assert done.stderr.startswith("didlab: warning: /first was read from ")
            assert done.stderr.count("\n") == 1
        assert ok(command("cat", "-q", "--no-verify", there, "first")) == "the end"
        done = command("cat", there, "first")
        assert (done.returncode, done.stdout) == (1, "")
        assert digest in done.stderr


def test_keep_adds_to_the_local_store(
    command: Command, server: FaultServer, name: str, tmp_path: Path
) -> None:
    store = {"DIDLAB_CACHE": str(tmp_path / "store")}

    def facts() -> Any:
        return json.loads(ok(command("cache", "--json", **store)))

    ok(command("cat", name, "/etc/passwd", **store))
    assert facts()["bytes"] < IMAGE.layers[0]["size"]
    ok(command("cache", "--clear", **store))
    ok(command("cat", "--keep", name, "/etc/passwd", **store))
    assert facts()["bytes"] >= sum(layer["size"] for layer in IMAGE.layers)
    server.requests.clear()
    assert ok(command("cat", "-q", "--offline", name, "/etc/no newline", **store)) == "the end"
    assert not server.requests


def test_cat_loads_no_pandas(command: Command, name: str) -> None:
    program = (
        "import sys\n"
        "from didlab.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "print('pandas' in sys.modules, 'didlab.cli.inside' in sys.modules, file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    for args in (["cat", name, "/etc/passwd"], ["tree", name], ["extract", name, "/etc", "x"]):
        done = command.python("-c", program, *args, PYTHONWARNINGS="error")
        assert (done.returncode, done.stderr) == (0, "False True\n")


# --- on a terminal --------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other terminals")
def test_a_terminal_gets_text_only(command: Command, name: str) -> None:
    with command.terminal("cat", name, "/etc/größe", "/etc/nasty", "/usr/bin/tool") as terminal:
        status, shown = terminal.finish()
    assert status == 1
    # Typescripts have CR LF for each LF.
    assert shown.replace("\r", "").startswith("größer\n\tals 1\f\n")
    assert shown.count("is not text that a terminal can show safely (redirect it") == 2
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert raw(command, "cat", name, "/etc/nasty")[1] == BASE["etc/nasty"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other terminals")
def test_files_on_a_terminal(command: Command, name: str) -> None:
    with command.terminal("files", name, "/usr/bin/tool", columns=90) as terminal:
        status, shown = terminal.finish()
    assert status == 0
    assert shown.splitlines()[-1].split() == [
        "-rwsr-x---", "1000", "50", "2.5", "MB", "2024-02-29", "12:00", "0", "/usr/bin/tool",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("", True),
        ("größe 漢字\r\n\t\f\n", True),
        ("a\rb", False),
        ("\x1b[1m", False),
        ("\x00", False),
        ("\x9b31m", False),
        ("\u202egpj", False),
        ("x" * 9000, True),
        ("x" * 9000 + "\x08", False),
    ],
)
def test_what_a_terminal_may_see(text: str, may: bool) -> None:
    assert inside.harmless(text) is may


def test_long_text_comes_in_pieces(capsys: pytest.CaptureFixture[str]) -> None:
    # Between two pieces: a character of two bytes, and a CR from its LF.
    for text in ("x" + "é" * 200_000, "x" * (inside._FIRST - 1) + "\r\n"):
        inside._show(io.BufferedReader(io.BytesIO(text.encode())), "x")
        assert capsys.readouterr().out == text
        for end in (b"\xc3", b"\r", b"\x1b"):
            bad: Any = io.BytesIO(text.encode() + end)
            with pytest.raises(InvalidArgument):
                inside._show(io.BufferedReader(bad), "x")
        capsys.readouterr()


# --- extract --------------------------------------------------------------------------------


def test_extract_a_file(command: Command, name: str) -> None:
    assert ok(command("extract", name, "/usr/bin/tool", "tool")) == "tool\n"
    assert (command.folder / "tool").read_bytes() == BINARY
    done = command("extract", name, "/etc/passwd", "tool")
    assert (done.returncode, done.stdout) == (1, "")
    assert "give --overwrite" in done.stderr
    ok(command("extract", name, "/etc/passwd", "tool", "--overwrite"))
    assert (command.folder / "tool").read_bytes() == PASSWD * 2
    ok(command("extract", "--layer", "0", name, "/etc/gone", "."))
    assert (command.folder / "gone").read_bytes() == b"to be deleted"


def test_extract_a_folder_and_what_is_left_out(command: Command, name: str) -> None:
    done = command("extract", name, "usr/bin", "out")
    assert (done.returncode, done.stdout) == (0, "out\n")
    told = "".join(sorted(done.stderr.splitlines(keepends=True)))
    assert told.startswith("didlab: warning: /usr/bin/out was left out: it leads to /etc/passwd")
    assert "\ndidlab: warning: /usr/bin/pipe was left out: " in told
    assert told.count("\n") == 2
    assert sorted(path.name for path in (command.folder / "out").iterdir()) == ["again", "tool"]
    assert ok(command("extract", "-q", name, "usr/bin", "quiet")) == "quiet\n"
    done = command("extract", "--json", name, "/usr/bin", "json")
    found = json.loads(done.stdout)
    assert found["path"] == "json"
    assert (found["files"], found["directories"], found["links"]) == (2, 1, 0)
    assert found["bytes"] == 2 * len(BINARY)
    assert sorted(one["path"] for one in found["skipped"]) == ["/usr/bin/out", "/usr/bin/pipe"]
    head, row = command("extract", "--csv", name, "/usr/bin", "csv").stdout.splitlines()
    assert head == "path,files,directories,links,bytes,skipped"
    assert row == f"csv,2,1,0,{2 * len(BINARY)},2"


def test_extract_into_a_new_folder(command: Command, name: str) -> None:
    done = command("extract", name, "/etc/passwd", "new/")
    assert ok(done).strip() == os.path.join("new", "passwd")  # noqa: PTH118
    assert (command.folder / "new/passwd").read_bytes() == PASSWD * 2


def test_extract_portable_names_only(command: Command, server: FaultServer) -> None:
    server.add_image("lab/app", "unportable", make_image([{"d": None, "d/nul": b"x"}]))
    name = f"{server.host}/lab/app:unportable"
    for flags in ([], ["--layer", "0"]):
        done = command("extract", "--portable", *flags, name, "/d", "out")
        assert done.returncode == 1
        assert "device on Windows" in done.stderr
    assert not (command.folder / "out").exists()
    if os.name == "posix":
        ok(command("extract", name, "/d", "out"))


def test_extract_all(command: Command, name: str) -> None:
    done = command("extract", name, "/", "all")
    assert done.returncode == 0
    top = command.folder / "all"
    assert sorted(path.name for path in top.iterdir()) == ["bin", "etc", "usr"]
    assert (top / "etc/passwd").read_bytes() == PASSWD * 2
    assert not (top / "etc/gone").exists()


# --- the rest -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ["cat", "x"],
        ["cat", "x", "y", "--json"],
        ["extract", "x", "/etc"],
        ["extract", "x", "/etc", "y", "z"],
        ["files", "x", "y", "z"],
        ["files", "x", "y", "--json", "z"],
        ["files", "x", "--frob", "y"],
        ["tree", "x", "--depth", "-1"],
        ["tree", "x", "--depth", "two"],
    ],
)
def test_wrong_usage(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from didlab.cli import arguments

    with pytest.raises(SystemExit) as end:
        arguments.parse(args)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"usage: didlab {args[0]}")


def test_words_behind_options() -> None:
    from didlab.cli import arguments

    assert arguments.parse(["files", "x", "--layer", "-1", "/etc/*"]).pattern == "/etc/*"
    assert arguments.parse(["tree", "x", "--depth", "0", "/etc"]).path == "/etc"
    assert arguments.parse(["cat", "x", "a", "-q", "b", "c"]).paths == ["a", "b", "c"]
    assert arguments.parse(["cat", "--layer", "3", "x", "--", "-a"]).paths == ["-a"]


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        ("only root may: extract without owner=True", "only root may: extract without --owner"),
        ("extract without devices=True", "extract without --devices"),
        ("files() and tree() list it", "didlab files and didlab tree list it"),
    ],
)
def test_hints_speak_of_options(hint: str, shown: str) -> None:
    assert describe(DidlabError("what", hint=hint)) == f"what ({shown})"
