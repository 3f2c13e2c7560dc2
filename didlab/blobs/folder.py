"""Where the local store lies, and whether that folder can be trusted.

::

    ROOT/CACHEDIR.TAG                  backups leave it out
    ROOT/v1/blobs/sha256/<encoded>     whole and verified content
    ROOT/v1/ingest/<random>            content on its way, each file one process's own
    ROOT/v1/tags/<sha256 of a name>.json
    ROOT/v1/derived/<sha256 of a name>  indexes of layers: what was worked out from blobs

Names are hashes and random numbers only: no path is ever made of remote text. Another format
gets another version; files that are none of these are left alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from didlab.blobs.refusals import translated
from didlab.errors import InvalidArgument, WriteFailed, printable
from didlab.oci import digest as digests

VERSION = "v1"
#: What the store may hold where nobody says.
DEFAULT_LIMIT = 10 * 1000**3

ALGORITHMS = ("sha256", "sha512")

_UNITS = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "tb": 1000**4}
_SIZE = re.compile(r"([0-9]{1,15})\s*([a-z]{0,2})", re.ASCII)

_TAG = """\
Signature: 8a477f597d28d172789f06886806bc55
# Content of container images that didlab keeps; it can be removed at any time.
"""


def chosen(environ: Mapping[str, str]) -> tuple[Path, int] | None:
    """Return folder and limit in bytes that the environment asks for; None for no store.

    Raises
    ------
    InvalidArgument
        ``DIDLAB_CACHE`` is no absolute path, or ``DIDLAB_CACHE_LIMIT`` no size.

    Examples
    --------
    >>> chosen({"DIDLAB_CACHE": "0"}) is None
    True
    """
    text = environ.get("DIDLAB_CACHE")
    limit = _limit(environ.get("DIDLAB_CACHE_LIMIT", ""))
    if text in ("", "0") or limit == 0:
        return None
    if text is None:
        root = _usual(environ)
        return None if root is None else (root, limit)
    try:
        root = Path(text).expanduser()
    except RuntimeError:
        root = Path(text)
    if not root.is_absolute() or "\0" in text:
        raise InvalidArgument(
            f"DIDLAB_CACHE is {printable(text, 200)!r}, which is no absolute path",
            hint="name a folder from the root on; 0 switches the local store off",
        )
    return root, limit


def _usual(environ: Mapping[str, str]) -> Path | None:
    from platformdirs import user_cache_path

    given = environ.get("XDG_CACHE_HOME", "").strip()
    try:
        if given and os.name == "posix" and not Path(given).is_absolute():
            # The XDG specification: a relative path is ignored.
            root = Path.home() / ".cache" / "didlab"
        else:
            root = user_cache_path("didlab", appauthor=False)
    except RuntimeError:  # no home
        return None
    return root if root.is_absolute() and ".." not in root.parts else None


def _limit(text: str) -> int:
    if not text.strip():
        return DEFAULT_LIMIT
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise InvalidArgument(
            f"DIDLAB_CACHE_LIMIT is {printable(text, 100)!r}", hint="write bytes, or 20GB"
        )
    return int(match[1]) * _UNITS[match[2]]


def make(root: Path) -> None:
    """Make the folders that are missing, and refuse a root that others could write to.

    Whoever can write there could swap content after it was verified.

    Raises
    ------
    WriteFailed
        The folder belongs to somebody else, is writable by others, or cannot be made.
    """
    with translated(root):
        root.parent.mkdir(parents=True, exist_ok=True)
        root.mkdir(mode=0o700, exist_ok=True)
        _check(root)
        for part in ("blobs", "ingest", "tags", "derived"):
            for path in (root / VERSION, root / VERSION / part):
                path.mkdir(mode=0o700, exist_ok=True)
                _check(path)
        for name in ALGORITHMS:
            (root / VERSION / "blobs" / name).mkdir(mode=0o700, exist_ok=True)
    mark = root / "CACHEDIR.TAG"
    with contextlib.suppress(OSError):
        if not mark.exists():
            mark.write_text(_TAG, encoding="ascii")


def _check(path: Path) -> None:
    # Followed: a home folder's .cache may well be a link to another disk.
    status = path.stat()
    why = None
    if not stat.S_ISDIR(status.st_mode):
        why = "is no folder"
    elif hasattr(os, "geteuid"):
        if status.st_uid != os.geteuid():
            why = "belongs to another user"
        elif status.st_mode & 0o022:
            why = "can be written to by other users"
    if why is not None:
        raise WriteFailed(
            f"{path} {why}",
            path=str(path),
            hint="chmod go-w makes it private; DIDLAB_CACHE names another folder, or 0 for none",
        )


def blob_path(root: Path, digest: str) -> Path:
    """Return where a blob lies; `InvalidArgument` for what is no digest."""
    encoded = digests.encoded(digest)
    return root / VERSION / "blobs" / digests.algorithm(digest) / encoded


def ingest_path(root: Path) -> Path:
    """Return a fresh name that nobody can guess."""
    return root / VERSION / "ingest" / secrets.token_hex(16)


def sync(folder: Path) -> None:
    """Make a name in a folder survive a power cut, where the system has that."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
