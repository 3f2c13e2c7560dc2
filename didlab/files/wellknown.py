"""Small files that everybody asks an image for: they ride along in a layer's index."""

from __future__ import annotations

from collections.abc import Callable

#: What each may have; a package database of a few thousand packages is well below.
EACH = 8 * 1024 * 1024
#: What they may have together, for one layer.
TOGETHER = 32 * 1024 * 1024

_PATHS = frozenset(
    {
        b"/etc/alpine-release",
        b"/etc/debian_version",
        b"/etc/group",
        b"/etc/os-release",
        b"/etc/passwd",
        b"/lib/apk/db/installed",
        b"/usr/lib/apk/db/installed",
        b"/usr/lib/os-release",
        b"/var/lib/dpkg/status",
    }
)
#: Distroless images have a file for each package.
_FOLDER = b"/var/lib/dpkg/status.d/"
_MARKS = (*(b"\0%b\0" % path for path in sorted(_PATHS)), b"\0" + _FOLDER)

#: Whether a file's content is wanted along the way, by path and size.
Capture = Callable[[bytes, int], bool]


def is_wellknown(path: bytes, size: int) -> bool:
    """Whether the content of a file of this path and size is kept with the index."""
    return (path in _PATHS or path.startswith(_FOLDER)) and size <= EACH


class One:
    """Wants one file, unless it is larger than ``most``."""

    def __init__(self, path: bytes, most: int) -> None:
        self._path = path
        self._mark = b"\0%b\0" % path
        self._most = most

    def __call__(self, path: bytes, size: int) -> bool:
        """Whether the file is wanted."""
        return path == self._path and size <= self._most

    def maybe(self, paths: bytes) -> bool:
        """Whether it is among paths that are joined by NULs: asked of thousands at once."""
        return self._mark in paths


class Riding:
    """Wants the well-known files up to a total, and what somebody else wants besides."""

    def __init__(self, other: Capture | None) -> None:
        self._other = other
        self._came = 0
        self._ask = None if other is None else getattr(other, "maybe", lambda _: True)

    def __call__(self, path: bytes, size: int) -> bool:
        """Whether a file is wanted."""
        if is_wellknown(path, size) and self._came + size <= TOGETHER:
            self._came += size
            return True
        return self._other is not None and self._other(path, size)

    def maybe(self, paths: bytes) -> bool:
        """Whether any of many paths, joined by NULs, may be wanted."""
        if self._ask is not None and self._ask(paths):
            return True
        return any(mark in paths for mark in _MARKS)
