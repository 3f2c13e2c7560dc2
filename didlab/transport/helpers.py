"""Credential helpers: programs named ``docker-credential-NAME`` that keep secrets.

The protocol is docker's: ``docker-credential-NAME get`` with the server's name on stdin answers
a JSON object with ``Username`` and ``Secret``. Helpers are programs of others: they hang, print
too much, and leave children behind.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final, cast

from didlab import errors
from didlab.transport.secret import Secret

__all__ = ["HUB_SERVER", "MAX_ANSWER", "TIMEOUT", "find_program", "get"]

#: What docker calls the Hub towards helpers.
HUB_SERVER: Final = "https://index.docker.io/v1/"
#: Seconds that a helper may take; some ask a person to unlock a keychain.
TIMEOUT: Final = 30.0
#: Most bytes read from each of a helper's outputs.
MAX_ANSWER: Final = 64 * 1024

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SERVER = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
# Variables that hold logins of didlab itself and are none of a helper's business.
_OURS = re.compile(r"DIDLAB_.*|DOCKER_AUTH_CONFIG\Z")
# A helper that is done may leave a child behind that keeps its outputs open.
_GRACE: Final = 0.5

_log = logging.getLogger("didlab")


def find_program(
    name: str, environ: Mapping[str, str], *, named_by: str | None = None
) -> Path | None:
    """Return the absolute path of the helper ``name``, None where PATH has none.

    Relative entries of PATH are passed over, the working directory too: a checkout that
    somebody else filled must not choose the program that gets to see credentials.

    Raises
    ------
    HelperError
        ``name`` cannot be part of a program's name.
    """
    if not _NAME.fullmatch(name):
        raise errors.HelperError(
            f"{named_by or 'the configuration'} names a credential helper that cannot be: "
            f"{errors.printable(name, 60)!r}",
            hint="a name has letters, digits, dots, dashes and underscores only",
            path=named_by,
        )
    program = f"docker-credential-{name}"
    suffixes = [""]
    if sys.platform == "win32":
        suffixes = [s for s in environ.get("PATHEXT", ".COM;.EXE;.BAT;.CMD").split(";") if s]
        if Path(program).suffix.upper() in (s.upper() for s in suffixes):
            suffixes.insert(0, "")
    for entry in environ.get("PATH", "").split(os.pathsep):
        # On Windows "\\bin" has no drive and is relative to the current one.
        if not entry or not Path(entry).is_absolute():
            continue
        for suffix in suffixes:
            path = Path(entry, program + suffix)
            if path.is_file() and os.access(path, os.X_OK):
                return path
    return None


def get(
    name: str, server: str, *, environ: Mapping[str, str], timeout: float = TIMEOUT
) -> tuple[str, Secret] | None:
    """Ask a helper for the login at ``server``.

    Parameters
    ----------
    name : str
        What follows ``docker-credential-``.
    server : str
        ``host`` or ``host:port``, or `HUB_SERVER`.
    environ : mapping
        Where PATH is looked up; the helper gets it too, without didlab's own variables.
    timeout : float, optional
        Seconds until the helper, with its children, is killed.

    Returns
    -------
    tuple of str and Secret, or None
        User name and secret; None where the helper has no login for the server.

    Raises
    ------
    HelperError
        No such helper, or it failed, took too long, or answered nonsense.
    InvalidArgument
        ``server`` is not a host.
    """
    if server != HUB_SERVER and not _SERVER.fullmatch(server):
        raise errors.InvalidArgument("a credential helper is asked for a host, or host:port, only")
    path = find_program(name, environ)
    if path is None:
        raise _failed(name, server, "is not installed", "install it, or remove it from the config")
    status, out, err = _run(name, path, server, environ, timeout)
    if status != 0:
        if any("credentials not found" in text.lower() for text in (out.reveal(), err)):
            return None
        # Never its stdout: that is where the secret is.
        said = errors.printable(" ".join(err.split()), 300)
        raise _failed(name, server, f"failed with status {status}" + (f": {said}" if said else ""))
    answer = _parse(out)
    if answer is None:
        raise _failed(name, server, "did not answer with a user name and a secret")
    username, secret, answered_for = answer
    if not username and not secret:
        return None
    if answered_for and _host(answered_for) != _host(server):
        _log.warning(
            "docker-credential-%s was asked for %s and answered for %s",
            name,
            server,
            errors.printable(_host(answered_for), 100),
        )
    return username, secret


def _parse(out: Secret) -> tuple[str, Secret, str] | None:
    # A function that cannot raise: a traceback with locals would show what it holds.
    try:
        answer = json.loads(out.reveal())
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict):
        return None
    # Go, in which helpers and docker are written, does not mind the case of names.
    fields = {key.lower(): value for key, value in answer.items()}
    username, secret, url = (fields.get(key, "") for key in ("username", "secret", "serverurl"))
    if (
        not isinstance(username, str)
        or not isinstance(secret, str)
        or fields.keys().isdisjoint({"username", "secret"})
    ):
        return None
    try:
        (username + secret).encode("utf-8")
    except UnicodeEncodeError:
        return None
    return username, Secret(secret), url if isinstance(url, str) else ""


def _host(server: str) -> str:
    return server.rpartition("://")[2].partition("/")[0].rpartition("@")[2].lower()


def _failed(name: str, server: str, what: str, hint: str | None = None) -> errors.HelperError:
    return errors.HelperError(
        f"docker-credential-{name}, asked for {server}, {what}",
        hint=hint or f"try: echo {server} | docker-credential-{name} get",
        helper=name,
        host=_host(server),
    )


class _Output:
    """What one output of a helper gave so far, read by its own thread."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.data = bytearray()
        self.overflow = threading.Event()
        self._stop = threading.Event()
        self._fd = stream.fileno()
        self.thread = threading.Thread(target=self._read, daemon=True, name="didlab-helper")
        self.thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError), selectors.DefaultSelector() as selector:
            if sys.platform != "win32":  # Windows cannot wait for pipes, there read() has to block
                selector.register(self._fd, selectors.EVENT_READ)
            while not self._stop.is_set():
                if sys.platform != "win32" and not selector.select(0.05):
                    continue
                chunk = os.read(self._fd, MAX_ANSWER)
                if not chunk:
                    return
                self.data += chunk
                if len(self.data) > MAX_ANSWER:
                    self.overflow.set()
                    return

    def text(self) -> str:
        return self.data.decode("utf-8", "replace")

    def finish(self, grace: float) -> bool:
        """Wait for the end of the output; False if somebody still holds it open."""
        self.thread.join(grace)
        self._stop.set()
        return not self.thread.is_alive()


def _run(
    name: str, path: Path, server: str, environ: Mapping[str, str], timeout: float
) -> tuple[int, Secret, str]:
    process = _start(path, environ)
    if isinstance(process, str):
        raise _failed(name, server, f"cannot be started: {process}")
    stdin, *streams = cast("list[IO[bytes]]", [process.stdin, process.stdout, process.stderr])
    outputs = [_Output(stream) for stream in streams]
    deadline = time.monotonic() + timeout
    try:
        # Two doors, since closing tries to write again; it may answer without reading.
        with contextlib.suppress(OSError):
            stdin.write(server.encode("ascii"))
        with contextlib.suppress(OSError):
            stdin.close()
        while True:
            if any(output.overflow.is_set() for output in outputs):
                raise _failed(name, server, f"answered more than {MAX_ANSWER} bytes")
            if time.monotonic() > deadline:
                raise _failed(name, server, f"gave no answer in {timeout:g} s")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
                break
    finally:
        # On an interrupt too: the helper must not outlive the question.
        if process.returncode is None:
            _kill(process)
        grace = time.monotonic() + _GRACE
        ended = [output.finish(max(0.0, grace - time.monotonic())) for output in outputs]
        if not all(ended):
            _kill(process)
            for output in outputs:
                output.thread.join(_GRACE)
        for output, stream in zip(outputs, streams, strict=True):
            if not output.thread.is_alive():  # else the thread still reads from it
                stream.close()
    if any(output.overflow.is_set() for output in outputs):
        raise _failed(name, server, f"answered more than {MAX_ANSWER} bytes")
    return process.returncode, Secret(outputs[0].text()), outputs[1].text()


def _start(path: Path, environ: Mapping[str, str]) -> subprocess.Popen[bytes] | str:
    """Start a helper; what went wrong, if it does not start."""
    try:
        return subprocess.Popen(
            [str(path), "get"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={k: v for k, v in environ.items() if not _OURS.match(k)},
            start_new_session=sys.platform != "win32",
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        return error.strerror or type(error).__name__


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a helper with what it started, and reap it."""
    if sys.platform == "win32":
        if process.returncode is None:
            root = os.environ.get("SYSTEMROOT", r"C:\Windows")
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(
                    [rf"{root}\System32\taskkill.exe", "/T", "/F", "/PID", str(process.pid)],
                    capture_output=True,
                    timeout=10,
                    check=False,
                )
    else:
        # The helper leads its own group, and the group outlives its leader.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        process.kill()
        process.wait()
