"""Small files that everybody asks an image for: they ride along in a layer's index."""

from __future__ import annotations

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


def is_wellknown(path: bytes, size: int) -> bool:
    """Whether the content of a file of this path and size is kept with the index."""
    # Asked for every file of a layer: one look where the answer is no.
    return (path in _PATHS or path.startswith(_FOLDER)) and size <= EACH
