"""Programs that a test starts, waits for and ends."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

START_SECONDS = 30.0
STOP_SECONDS = 10.0
_handed_out: set[int] = set()
_dice = random.SystemRandom()


def require(program: str, package: str) -> str:
    """Path of ``program``; without it the test is skipped, or fails where CI is set."""
    # Debian keeps servers in sbin, which an ordinary user's PATH leaves out.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    found = shutil.which(program, path=path)
    if found is None:
        missing(f"the program {program} is missing: apt-get install {package}")
    return found


def missing(reason: str) -> NoReturn:
    """Skip with ``reason``, or fail where CI is set: there, nothing may be left out silently."""
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(f"NOT TESTED: {reason}", pytrace=False)
    pytest.skip(f"NOT TESTED: {reason}")


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on.

    It lies below every system's ephemeral range: while a stopped service waits for its
    restart, no outgoing connection can take its port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(1000):
        port = _dice.randrange(20000, 32000)
        if port in _handed_out:
            continue
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        _handed_out.add(port)
        return port
    raise RuntimeError("no free port")


def listening(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def clean_environ(*prefixes: str) -> dict[str, str]:
    """The environment without proxies and without variables that start with a prefix."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(prefixes)
    }


class Service:
    """A program in its own process group; ``ready`` tells when it answers.

    What it writes is kept in ``folder`` as ``NAME.out`` and ``NAME.err``, over restarts.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        folder: Path,
        ready: Callable[[], bool],
        environ: Mapping[str, str] | None = None,
        quits: float = STOP_SECONDS,
    ) -> None:
        self.name = name
        self.argv = [str(word) for word in argv]
        self.folder = folder
        self.out = folder / f"{name}.out"
        self.err = folder / f"{name}.err"
        self._ready = ready
        self._environ = dict(clean_environ() if environ is None else environ)
        self._quits = quits
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    def start(self) -> None:
        """Start, and return when it answers; shows its log when it never does."""
        if self.running:
            return
        argv = self.argv
        # A killed test run must not leave servers behind. The kernel watches the thread
        # that started them, so only the main thread may ask for that.
        setpriv = shutil.which("setpriv")
        if (
            setpriv
            and sys.platform == "linux"
            and threading.current_thread() is threading.main_thread()
        ):
            argv = [setpriv, "--pdeathsig", "TERM", "--", *argv]
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self._environ,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                status = self._process.returncode
                raise RuntimeError(f"{self.name} ended with {status}\n{self.log()}")
            if self._ready() and self._process.poll() is None:
                return
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"{self.name} does not answer\n{self.log()}")

    def stop(self) -> None:
        """End it: politely, then by force, with all its children."""
        process, self._process = self._process, None
        if process is None:
            return
        self._signal(process, "SIGTERM")
        try:
            process.wait(self._quits)
        except subprocess.TimeoutExpired:
            self._signal(process, "SIGKILL")
            process.wait()
        self._signal(process, "SIGKILL")  # children that outlived their parent

    @staticmethod
    def _signal(process: subprocess.Popen[bytes], name: str) -> None:
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                process.terminate()
            else:
                os.killpg(process.pid, getattr(signal, name))

    def log(self, limit: int = 6000) -> str:
        """The end of what it wrote."""
        parts = [" ".join(self.argv)]
        for path in (self.out, self.err):
            if path.exists():
                parts.append(f"--- {path.name}\n{path.read_text(errors='replace')[-limit:]}")
        return "\n".join(parts)


def run(
    *argv: str | Path,
    timeout: float = 120,
    environ: Mapping[str, str] | None = None,
    text: str | None = None,
) -> str:
    """Run a program to its end and return its stdout; a failure shows all it said."""
    words = [str(word) for word in argv]
    done = subprocess.run(
        words,
        check=False,
        capture_output=True,
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        timeout=timeout,
        encoding="utf-8",
        errors="replace",
        env=dict(clean_environ() if environ is None else environ),
    )
    if done.returncode:
        raise CommandFailed(words, done.returncode, done.stdout, done.stderr)
    return done.stdout


class CommandFailed(Exception):
    """A program ended with a status other than 0; ``status``, ``stdout`` and ``stderr``."""

    def __init__(self, argv: list[str], status: int, stdout: str, stderr: str) -> None:
        super().__init__(f"{' '.join(argv)} ended with {status}\n{stdout}{stderr}")
        self.argv, self.status, self.stdout, self.stderr = argv, status, stdout, stderr
