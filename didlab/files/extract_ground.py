"""The folder that an extraction writes into: entered step by step, held, never by a link."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from didlab.blobs.refusals import translated
from didlab.errors import LinkEscape, UnsafeContent
from didlab.files.below import Folder, Tree
from didlab.files.extract_names import Parts, shown
from didlab.files.extract_private import sweep, trial

#: Components of a path below the destination: each is an open folder on the way.
DEPTH = 256
#: Permissions that an image can give: no setuid, setgid, sticky, nothing for others to write.
MODES = 0o755


class Ground:
    """The folders of an extraction.

    Parameters
    ----------
    top : Folder
        Where it begins, held by the caller.
    target : Path
        What that is, or will be called.
    fresh : bool
        Whether it is private and was empty.
    """

    def __init__(self, top: Folder, target: Path, *, fresh: bool) -> None:
        self.top = top
        self.target = target
        self.fresh = fresh
        self._tree = Tree(top)
        #: What the umask leaves of 0777.
        self.usual = 0o777
        #: Folders that were made and that no entry has stated yet.
        self.implied: set[Parts] = set()
        self._swept: set[Parts] = set()

    def close(self) -> None:
        """Let go of the folders but the top."""
        self._tree.close()

    def local(self, parts: Parts) -> Path:
        """Return the path on this disk."""
        return self.target.joinpath(*map(os.fsdecode, parts)) if parts else self.target

    def probe(self) -> bool:
        """Find out what the umask is; return whether names are not kept apart here."""
        folded = False
        with translated(self.target):
            tag = trial()
            name = f"{tag}-\u00e9"
            try:
                try:
                    self.top.make(name.encode(), 0o777)
                except OSError as error:
                    if error.errno not in (errno.EINVAL, errno.EILSEQ):
                        raise
                    folded = True  # a file system with a small alphabet
                    name = tag
                    self.top.make(name.encode(), 0o777)
                made = self.top.look(name.encode())
                self.usual = 0o777 if made is None else made.st_mode & 0o777
                for twin in (name.swapcase(), unicodedata.normalize("NFD", name)):
                    if twin != name and self.top.look(twin.encode()) is not None:
                        folded = True
                self.top.rmdir(name.encode())
            except BaseException:
                with contextlib.suppress(OSError):
                    self.top.rmdir(name.encode())
                raise
        return folded

    def folder(self, parts: Parts, path: bytes) -> Folder:
        """Return a folder, made where it is missing; ``path`` is what wants it, for messages."""
        with translated(self.local(parts)):
            try:
                return self._tree.folder(parts, self._imply)
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.ESTALE):
                    raise
                raise self._blocked(parts, path) from None

    def _blocked(self, parts: Parts, path: bytes) -> UnsafeContent:
        here = self.top.path
        for part in parts:
            here /= os.fsdecode(part)
            if here.is_symlink():
                return LinkEscape(
                    f"{shown(path)} would be written through the link {here}",
                    where=shown(path),
                    hint="remove the link, or extract into a new folder",
                )
        return UnsafeContent(
            f"{shown(path)} lies below something that is no directory", where=shown(path)
        )

    def _imply(self, parent: Folder, parts: Sequence[bytes]) -> None:
        path = tuple(parts)
        self.make(parent, path, MODES)
        self.implied.add(path)

    def make(self, parent: Folder, parts: Parts, mode: int) -> None:
        """Make a folder that can be written into until it is finished."""
        parent.make(parts[-1], mode | 0o700)
        if not self.plain:
            with parent.enter(parts[-1]) as made:
                made.mode((mode | 0o700) & (self.usual | 0o700))

    @property
    def plain(self) -> bool:
        """Whether the umask leaves the owner everything."""
        return self.usual & 0o700 == 0o700

    def sweep(self, parent: Folder, parts: Parts) -> None:
        """Remove what killed extractions left in a folder that was there before, once."""
        if parts not in self._swept:
            self._swept.add(parts)
            sweep(parent)

    def link(self, parts: Parts) -> bytes | None:
        """Return where a link leads that was here before."""
        if self.fresh or len(parts) > DEPTH:
            return None
        try:
            parent = self._tree.folder(parts[:-1], _absent)
            found = parent.look(parts[-1])
            if found is not None and stat.S_ISLNK(found.st_mode):
                return parent.target(parts[-1])
        except OSError:
            return None
        return None


def _absent(parent: Folder, parts: Sequence[bytes]) -> None:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
