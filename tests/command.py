"""Run the command ``didlab`` as users do: in a process of its own, and on a terminal."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rig.processes import clean_environ

SECONDS = 60.0

# Makes the terminal the process's own, as a shell does: getpass and Ctrl+C need that.
_ON_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from didlab.cli import main
sys.exit(main())
"""


def environ(home: Path, **more: str) -> dict[str, str]:
    """An environment without this machine's logins, proxies and options."""
    return {
        **clean_environ("DIDLAB_", "DOCKER_", "REGISTRY_", "COLUMNS", "PYTHON"),
        "HOME": str(home),
        "USERPROFILE": str(home),
        "DOCKER_CONFIG": str(home / "docker"),
        "XDG_RUNTIME_DIR": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "DOCKER_DEFAULT_PLATFORM": "linux/amd64",
        "DIDLAB_CACHE": "0",
        "PYTHONUTF8": "1",
        **more,
    }


class Command:
    """``command("tags", "nginx")`` runs it in a folder of its own, ``command.folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder.parent / f"{folder.name}-home"
        self.home.mkdir()

    def __call__(
        self, *args: object, text: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "didlab", *args, text=text, **environment)

    def python(
        self, *args: object, text: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *map(str, args)],
            input=text.encode(),
            capture_output=True,
            cwd=self.folder,
            env=environ(self.home, **environment),
            timeout=SECONDS,
            check=False,
        )
        # Not text=True: that would hide CR LF.
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def start(self, *args: object, **options: Any) -> subprocess.Popen[bytes]:
        """Begin it; the caller waits for it."""
        group: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        return subprocess.Popen(
            [sys.executable, "-m", "didlab", *map(str, args)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env=environ(self.home),
            **group,
            **options,
        )

    def terminal(self, *args: object, columns: int = 100, **options: Any) -> Terminal:
        """Begin it on a terminal of that width."""
        return Terminal(
            [str(arg) for arg in args], self.folder, environ(self.home), columns, **options
        )


class Terminal:
    """A command on a pseudo-terminal; use as a context manager.

    Parameters
    ----------
    stdout : file, optional
        Where stdout goes instead of to the terminal.
    """

    def __init__(
        self,
        args: list[str],
        folder: Path,
        environment: dict[str, str],
        columns: int,
        *,
        stdout: Any = None,
    ) -> None:
        import termios

        self._ours, theirs = os.openpty()
        termios.tcsetwinsize(theirs, (40, columns))
        self.seen = ""
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ON_TERMINAL, *args],
            stdin=theirs,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            cwd=folder,
            env={**environment, "TERM": "dumb"},
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(SECONDS)
        os.close(self._ours)

    def _read(self, until: float) -> bool:
        """Take in what comes; False at the end."""
        left = until - time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self._ours, selectors.EVENT_READ)
            ready = selector.select(max(left, 0))
        if not ready:
            raise AssertionError(f"nothing more came after {self.seen!r}")
        data = b""
        with contextlib.suppress(OSError):  # Linux says EIO when the other side has closed
            data = os.read(self._ours, 65536)
        self.seen += data.decode()
        return bool(data)

    def expect(self, text: str) -> str:
        """Wait until ``text`` has come, and return everything until then."""
        return self.expect_times(text, 1)

    def expect_times(self, text: str, times: int) -> str:
        """Wait until ``text`` has come so often."""
        until = time.monotonic() + SECONDS
        while self.seen.count(text) < times:
            assert self._read(until), f"it ended without {text!r}: {self.seen!r}"
        return self.seen

    def send(self, text: str) -> None:
        """Type."""
        os.write(self._ours, text.encode())

    def finish(self) -> tuple[int, str]:
        """Wait for the end, and return status and everything that was shown."""
        until = time.monotonic() + SECONDS
        while self._read(until):
            pass
        return self._process.wait(SECONDS), self.seen.replace("\r\n", "\n")


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """What Ctrl+C does."""
    if sys.platform == "win32":
        process.send_signal(signal.CTRL_BREAK_EVENT)
    else:
        process.send_signal(signal.SIGINT)
