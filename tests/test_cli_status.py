"""Exit statuses, and the one line that tells why."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import SECONDS, Command, interrupt
from rig.faults import Action, Exchange, FaultServer, respond, stall
from rig.images import make_image
from rig.processes import free_port
from rig.registries import Registry

from didlab.cli import entry


@pytest.fixture
def command(tmp_path: Path) -> Command:
    folder = tmp_path / "work"
    folder.mkdir()
    return Command(folder)


def failed(done: subprocess.CompletedProcess[str], *parts: str) -> str:
    """Status 1, nothing on stdout, one harmless line on stderr with all ``parts``."""
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.endswith("\n")
    line = done.stderr.removesuffix("\n")
    assert line.startswith("didlab: ")
    assert line.isprintable(), "one line without control characters"
    for part in parts:
        assert part in line
    assert "Traceback" not in line
    return line


@pytest.mark.parametrize("name", ["save", "platforms", "layers", "config", "history", "inspect"])
def test_unknown_tag(command: Command, lab: Registry, name: str) -> None:
    failed(command(name, f"{lab.host}/lab/app:no-such"), f"{lab.host}", "no-such", "404")
    assert list(command.folder.iterdir()) == []


def test_unknown_repository_and_platform(command: Command, lab: Registry) -> None:
    failed(command("tags", f"{lab.host}/lab/nothing"), "lab/nothing")
    done = command("layers", "--platform", "linux/s390x", f"{lab.host}/lab/app:multi")
    failed(done, "linux/s390x", "--platform linux/amd64")
    failed(command("layers", "--platform", "nonsense", f"{lab.host}/lab/app"), "'nonsense'")


@pytest.mark.parametrize("host", ["127.0.0.1:26875", "127.0.0.1", "localhost:5000"])
def test_tags_of_a_registry(command: Command, host: str) -> None:
    failed(command("tags", host), f"{host}/NAME", f"didlab repositories {host}")


def test_registry_down(command: Command) -> None:
    host = f"127.0.0.1:{free_port()}"
    failed(command("tags", f"{host}/x", "--timeout", "5"), host)


def test_wrong_password(
    command: Command, registry_htpasswd: Registry, registry_token: Registry
) -> None:
    for server in (registry_htpasswd, registry_token):
        done = command(
            "tags", "--username", server.user, f"{server.host}/private/app", text="wr0ng-one"
        )
        line = failed(done, server.host, "refused the credentials")
        assert "wr0ng-one" not in line


def test_a_login_is_needed(command: Command, registry_htpasswd: Registry) -> None:
    failed(command("tags", f"{registry_htpasswd.host}/private/app"), "give --username")


def test_no_password(command: Command) -> None:
    done = command("tags", "--username", "u", "127.0.0.1:1/x")
    failed(done, "no password came on standard input")
    done = command("tags", "--username", "u", "127.0.0.1:1/x", text="x" * 70_000)
    failed(done, "too long")


@pytest.mark.parametrize(
    ("text", "hint"),
    [("https://docker.io/nginx", "scheme"), ("Upper/case", "Upper/case"), ("a\x1b[31m", r"\x1b")],
)
def test_bad_reference(command: Command, text: str, hint: str) -> None:
    failed(command("layers", text), "is not an image reference", hint)


def test_bad_options(command: Command) -> None:
    failed(command("tags", "--proxy", "ftp://u:s3cret@h:1", "x"), "not a proxy address")
    assert "s3cret" not in command("tags", "--proxy", "ftp://u:s3cret@h:1", "x").stderr
    failed(command("tags", "--ca", "nowhere.pem", "x"), "nowhere.pem")
    failed(command("tags", "--client-key", "key.pem", "x"), "--client-key needs --client-cert")


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["frobnicate"],
        ["save"],
        ["tags", "a", "b"],
        ["tags", "x", "--json", "--csv"],
        ["tags", "x", "--timeout", "0"],
        ["tags", "x", "--timeout", "nan"],
        ["sandbox", "--port", "70000"],
        ["save", "x", "--over"],
        ["save", "x", "--workers", "0"],
        ["save", "x", "--wait", "-1"],
        ["save", "x", "--platform", "all", "--platform", "amd64"],
        ["plan", "x", "--platform", "amd64", "--platform", "all"],
        ["save", "x", "--format", "squashfs"],
        ["save", "x", "y", "--format", "oci-dir"],
    ],
)
def test_wrong_usage(command: Command, args: list[str]) -> None:
    done = command(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: didlab")


def test_several_images_and_one_file(command: Command) -> None:
    (command.folder / "x").write_bytes(b"mine")
    for options in ([], ["--format", "oci-dir"]):
        done = command("save", "a", "b", "-o", "x", *options)
        assert done.returncode == 2
        assert "directory" in done.stderr
    assert (command.folder / "x").read_bytes() == b"mine"


@pytest.mark.parametrize("words", [["--password", "s3cret"], ["--password=s3cret"]])
@pytest.mark.parametrize("args", [["tags", "x"], ["save", "x"]])
def test_there_is_no_password_option(command: Command, args: list[str], words: list[str]) -> None:
    done = command(*args, *words)
    assert done.returncode == 2
    assert "--username" in done.stderr
    assert "s3cret" not in done.stderr + done.stdout
    assert "--password" not in command(args[0], "--help").stdout


def test_remote_text_is_harmless(command: Command) -> None:
    evil = b'{"errors":[{"code":"DENIED","message":"\\u001b[2J\\r\\nfake: done\\u202e"}]}'
    with FaultServer() as server:
        server.rule(lambda _: True, respond(403, {"Content-Type": "application/json"}, evil))
        failed(command("tags", f"{server.host}/x"))


def test_a_mistake_of_ours_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> int:
        raise RuntimeError("boom\x1b")

    monkeypatch.setattr("didlab.cli.commands.tags", broken)
    assert entry.main(["tags", "x"]) == 1
    err = capsys.readouterr().err
    assert err == "didlab: this is a mistake in didlab: RuntimeError: boom\\x1b; -v shows where\n"
    assert entry.main(["tags", "-v", "x"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="a process has no SIGINT to send there")
@pytest.mark.parametrize("after", [0, 1000])
def test_interrupted(command: Command, after: int) -> None:
    """Ctrl+C in the middle of a layer that does not come: at once, and no tar is there."""
    with FaultServer() as server:
        server.add_image("lab/x", "1", make_image([{"a": os.urandom(200_000)}]))
        # Longer than the test may take: it must not wait for the worker that reads.
        server.rule(
            lambda request: "/blobs/" in request.path and request.method == "GET",
            _if_large(stall(4 * SECONDS, after)),
        )
        process = command.start("save", f"{server.host}/lab/x:1", "--timeout", "300")
        try:
            until = time.monotonic() + SECONDS
            while not any(p.name.endswith(".part") for p in command.folder.iterdir()):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < until
                time.sleep(0.02)
            interrupt(process)
            out, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
            process.wait(SECONDS)
    # What had come waits, hidden, for the next try; and the line says so when there is something.
    left = [path.name for path in command.folder.iterdir()]
    assert all(name.startswith(".") and name.endswith(".part") for name in left), left
    kept = "; what came is kept: the same command goes on from there" if left else ""
    line = f"didlab: interrupted{kept}\n"
    assert (process.returncode, out, err) == (130, b"", line.encode())
    assert len(left) <= (1 if after else 0)


@pytest.mark.skipif(sys.platform == "win32", reason="a process has no SIGINT to send there")
def test_interrupted_while_others_wait(command: Command) -> None:
    """Threads that wait for a silent registry do not hold the process up."""
    with FaultServer() as server:
        for number in range(20):
            server.add_image("lab/x", f"t{number}", make_image([{"a": bytes([number])}]))
        server.rule(lambda request: "/blobs/" in request.path, stall(4 * SECONDS))
        process = command.start("tags", "--details", f"{server.host}/lab/x", "--timeout", "300")
        try:
            until = time.monotonic() + SECONDS
            while not server.asked("/blobs/"):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < until
                time.sleep(0.02)
            interrupt(process)
            out, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
            process.wait(SECONDS)
    assert (process.returncode, out, err) == (130, b"", b"didlab: interrupted\n")


def _if_large(action: Action) -> Action:
    """Let small blobs (configs) through."""

    def act(exchange: Exchange) -> None:
        if len(exchange.answer.body) > 10_000:
            action(exchange)
        else:
            exchange.finish()

    return act


@pytest.mark.skipif(sys.platform == "win32", reason="there is no /dev/full")
def test_a_full_disk_behind_stdout(command: Command, lab: Registry) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "didlab", "tags", f"{lab.host}/lab/small"],
            stdout=full, stderr=subprocess.PIPE, cwd=command.folder, timeout=SECONDS, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == b"didlab: No space left on device\n"


@pytest.mark.parametrize("args", [["tags"], ["--help"]])
def test_a_closed_pipe_is_quiet(command: Command, lab: Registry, args: list[str]) -> None:
    if args == ["tags"]:
        args = ["tags", f"{lab.host}/lab/many"]
    process = command.start(*args)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()  # as `head` does, but before anything was written
    err = process.stderr.read()
    process.stderr.close()
    process.wait(SECONDS)
    assert (process.returncode, err) == (141, b"")
