"""What the set-up commands share: a virtual environment of their own. Standard library only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)


class SetupFailed(Exception):
    """The set-up cannot go on; the text says what to do."""


def say(text: str) -> None:
    """Print a line that stands out between the output of programs, in order with theirs."""
    print(f"==> {text}", flush=True)


def run(*argv: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    """Run a program and show what it says; stop when it fails."""
    began = time.monotonic()
    line = " ".join(str(part) for part in argv)
    status = subprocess.run(
        argv, cwd=cwd, env=None if env is None else {**os.environ, **env}, check=False
    ).returncode
    if status != 0:
        raise SetupFailed(f"failed with status {status}: {line}")
    print(f"    ({time.monotonic() - began:.0f} s)", flush=True)


def check_python() -> None:
    """Refuse a Python that didlab does not run on."""
    if sys.version_info < OLDEST:
        raise SetupFailed(
            f"Python {sys.version_info[0]}.{sys.version_info[1]} is too old, "
            f"didlab needs {OLDEST[0]}.{OLDEST[1]} or newer"
        )


def python_of(folder: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    windows = sys.platform == "win32"
    return folder / ("Scripts/python.exe" if windows else "bin/python")


def make(folder: Path, base: str = sys.executable) -> Path:
    """Make a virtual environment of ``base``, or keep the one that is there; its interpreter."""
    python = python_of(folder)
    if _version(python) is not None and _version(python) == _version(base):
        return python
    say(f"making a virtual environment in {folder.name}")
    try:
        if base == sys.executable:
            venv.create(folder, clear=True, with_pip=True)
        else:
            subprocess.run([base, "-m", "venv", "--clear", folder], check=True)
    except subprocess.CalledProcessError:
        raise SetupFailed(
            "this Python cannot make virtual environments; on Debian and Ubuntu: "
            "apt-get install python3-venv"
        ) from None
    return python


def install(python: Path, *what: str | Path) -> None:
    """Install with pip, quietly."""
    say(f"installing {' '.join(Path(part).name or '.' for part in map(str, what))}")
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what)


def _version(python: str | Path) -> list[int] | None:
    try:
        done = subprocess.run(
            [python, "-c", "import json, sys; print(json.dumps(sys.version_info[:3]))"],
            capture_output=True,
            check=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    version: list[int] = json.loads(done.stdout)
    return version
