"""Names of an extraction: which this disk can have, and which it would take for one."""

from __future__ import annotations

import re
import sys
import unicodedata

from didlab.errors import NameCollision, PathEscape, UnsafeContent

#: A path by its components.
Parts = tuple[bytes, ...]

WINDOWS = sys.platform == "win32"
_RESERVED = re.compile(
    rb"(con|prn|aux|nul|conin\$|conout\$|clock\$|(com|lpt)([0-9]|\xc2[\xb9\xb2\xb3])) *(\..*)?",
    re.IGNORECASE | re.DOTALL,
)
_FORBIDDEN = re.compile(rb'[\x00-\x1f<>:"|?*\\]')
#: Characters that some file systems of macOS do not see in names.
_UNSEEN = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")


class Names:
    """The names that an extraction has used; refuses two that the disk takes for one.

    Parameters
    ----------
    base : tuple of bytes
        The path in the image that lies at the top.
    folded : bool
        Whether the disk does not see case or the ways to write an accent.
    """

    def __init__(self, base: Parts, *, folded: bool) -> None:
        self.folded = folded
        self._base = base
        self._used: dict[str, Parts] = {}

    def claim(self, parts: Parts, path: bytes) -> None:
        """Note that a path is used, and those above it."""
        if not self.folded:
            return
        folded = ""
        for depth, part in enumerate(parts, 1):
            folded += "/" + fold(part)
            mine = parts[:depth]
            other = self._used.setdefault(folded, mine)
            if other != mine:
                twin = b"/" + b"/".join((*self._base, *other))
                raise NameCollision(
                    f"{shown(path)} and {shown(twin)} would be one file here",
                    where=shown(path),
                    hint="extract them one by one, or to a disk that keeps such names apart",
                )

    def used(self, parts: Parts) -> Parts:
        """Return a path in the spelling that it was used with."""
        if not self.folded:
            return parts
        return self._used.get("".join("/" + fold(part) for part in parts), parts)


def fold(name: bytes) -> str:
    r"""Return what names have in common that some file systems take for one.

    >>> fold(b"README") == fold(b"readme"), fold("é".encode()) == fold(b"e\xcc\x81")
    (True, True)
    """
    if name.isascii():
        return name.decode("ascii").lower()
    text = _UNSEEN.sub("", name.decode("utf-8", "surrogateescape"))
    text = unicodedata.normalize("NFD", text).upper().casefold()
    return unicodedata.normalize("NFD", text)


def allowed(name: bytes, path: bytes, *, portable: bool) -> bytes:
    """Return a name that a file here can have; raise where it cannot."""
    why = None
    if b"\0" in name:
        why = "a NUL"
    elif portable or WINDOWS:
        if _FORBIDDEN.search(name):
            why = "a character that Windows does not have in names"
        elif name[-1:] in (b".", b" "):
            why = "a dot or space at its end, which Windows does not see"
        elif _RESERVED.fullmatch(name):
            why = "a name that is a device on Windows"
        else:
            try:
                name.decode("utf-8")
            except UnicodeDecodeError:
                why = "bytes that are not UTF-8"
    if why is not None:
        raise UnsafeContent(
            f"{shown(path)} cannot be written: {shown(name)} has {why}", where=shown(path)
        )
    return name


def split(path: bytes) -> Parts:
    """Return the components of a path; raise where it climbs.

    >>> split(b"/etc//./passwd")
    (b'etc', b'passwd')
    """
    parts = tuple(part for part in path.split(b"/") if part not in (b"", b"."))
    if b".." in parts:
        raise PathEscape(f"{shown(path)} leads out of its folder", where=shown(path))
    return parts


def shown(path: bytes) -> str:
    """Return a path as messages have it."""
    return path.decode("utf-8", "backslashreplace")
