"""Write files of an image to the local disk: below one folder, and nowhere else.

What an image says about itself is not trusted. Folders are entered step by step and held
(`didlab.files.below`), links are made last and none is followed, each file is written under a
name of its own and renamed when it is whole, and a new tree is built in a private folder beside
its destination.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from didlab.blobs.refusals import translated
from didlab.errors import (
    DestinationExists,
    InvalidArgument,
    PathNotFound,
    UnsafeContent,
    Unsupported,
    printable,
)
from didlab.files import extract_room as room
from didlab.files.below import Folder
from didlab.files.extract_dest import made, opened
from didlab.files.extract_ground import Ground
from didlab.files.extract_making import Content, taken
from didlab.files.extract_names import WINDOWS, allowed, shown, split
from didlab.files.extract_private import hidden, sweep
from didlab.files.extract_writer import Options, Tally, Writer
from didlab.files.table import DIR, Entry
from didlab.sizes import human

Rows = Iterator[tuple[Entry, Content | None]]


@dataclass(frozen=True)
class Extracted:
    """What an extraction wrote; stands for its path wherever a path is taken.

    Attributes
    ----------
    path : Path
        The file or folder.
    files, directories, links : int
        How many entries were written; hard links are files.
    bytes : int
        Of all files together.
    skipped : tuple of (str, str)
        What was left out, and why.
    """

    path: Path
    files: int
    directories: int
    links: int
    bytes: int
    skipped: tuple[tuple[str, str], ...] = ()

    def __fspath__(self) -> str:
        return str(self.path)

    def _repr_html_(self) -> str:
        from didlab.views import cards

        return cards.extracted(self._facts())

    def _facts(self) -> dict[str, object]:
        return {
            "path": str(self.path),
            "files": self.files,
            "directories": self.directories,
            "links": self.links,
            "bytes": self.bytes,
            "skipped": self.skipped,
        }

    def __repr__(self) -> str:
        what = [
            f"{number} {name if number != 1 else one}"
            for number, name, one in (
                (self.files, "files", "file"),
                (self.directories, "directories", "directory"),
                (self.links, "links", "link"),
            )
            if number
        ]
        left = f"; {len(self.skipped)} skipped: .skipped tells why" if self.skipped else ""
        done = ", ".join([*what, human(self.bytes)])
        return f"<Extracted {printable(self.path)}: {done}{left}>"


def extract(
    entries: Iterable[tuple[Entry, Content | None]],
    dest: Path,
    *,
    root: bytes = b"/",
    name: bytes | None = None,
    into: bool = False,
    needed: int = 0,
    devices: bool = False,
    overwrite: bool = False,
    portable: bool = False,
    owner: bool = False,
) -> Extracted:
    """Write entries below ``dest``, as ``cp -r`` would.

    A file goes to the path ``dest``, or into it if that is a folder. A folder becomes ``dest``,
    or a folder in it if there is one already; the image's root has no name and is written right
    into it. A folder that is there and not empty is taken with ``overwrite`` only: then files and
    links in it are replaced, other content stays. Else nothing is seen under the final name
    before all is written.

    Files have the permissions that they have in the image without setuid, setgid, sticky and
    what others could write, as the umask allows; hard links become copies.

    Symlinks are kept as they are if they lead to something below what is extracted. Those that
    are absolute, go through a folder above, or climb in their middle are written as the shortest
    relative way to the same place. Those that lead to other places in the image are left out and
    reported.

    Parameters
    ----------
    entries : iterable of (Entry, callable or None)
        Sorted by path, each path once, all of them at or below ``root``. The callable yields the
        content of a file, or of a hard link's target.
    dest : Path
        Where to.
    root : bytes
        The path in the image that was asked for.
    name : bytes, optional
        What it is called in a folder; else the last component of ``root``.
    into : bool
        ``dest`` is a folder, as a slash at its end says; made if it is missing.
    needed : int
        Bytes that are going to be written, as far as known: looked for before anything is.
    devices : bool
        Make devices and fifos too (as root); else they are left out and reported.
    overwrite : bool
        Replace what is there. A symlink itself is replaced, never what it leads to.
    portable : bool
        Refuse names that Windows or macOS would not keep apart or could not have, here too.
    owner : bool
        Set the owners as in the image (as root).

    Raises
    ------
    PathEscape, LinkEscape, NameCollision, UnsafeContent
        Content that is not safe to write.
    DestinationExists, DiskFull, WriteFailed
    """
    if (owner or devices) and WINDOWS:
        raise Unsupported("owners, devices and fifos cannot be made on Windows")
    base = split(root)
    own = base[-1] if base else b""
    own = own if name is None else name
    if b"/" in own or own in (b".", b".."):
        raise InvalidArgument(f"{shown(own)} is not the name of a file")
    rest = iter(entries)
    first = next(rest, None)
    if first is None and base:
        raise PathNotFound(f"there is nothing at {shown(root)}", path=shown(root))
    rows = rest if first is None else chain([first], rest)
    single = first is not None and first[0].type != DIR and split(first[0].path) == base != ()
    options = Options(
        base[:-1] if single else base,  # one link alone may lead to what lies beside it
        devices=devices,
        overwrite=overwrite,
        portable=portable,
        owner=owner,
    )
    with made(dest, empty=own != b"") if into else contextlib.nullcontext():
        with translated(dest):
            inside = own != b"" and dest.is_dir()
        if inside:
            allowed(own, root, portable=portable)
        target = dest / os.fsdecode(own) if inside else dest
        if single:
            done = _one(options, rows, target, needed)
        else:
            done = _several(options, rows, target, needed, given=not inside)
    return Extracted(
        target, done.files, done.directories, done.links, done.written, tuple(done.skipped)
    )


def _one(options: Options, rows: Rows, target: Path, needed: int) -> Tally:
    """Write one file, link or device under the name of ``target``."""
    with opened(target) as beside:
        room.check(target, needed)
        entry, content = next(rows)
        ground = Ground(beside, target.parent, fresh=False)
        writer = Writer(options, ground)
        try:
            writer.write(entry, content, (os.fsencode(target.name),))
            for below, _ in rows:
                raise UnsafeContent(
                    f"{shown(below.path)} lies below something that is no directory",
                    where=shown(below.path),
                )
            writer.finish()
        finally:
            ground.close()
    return writer.tally


def _several(options: Options, rows: Rows, target: Path, needed: int, *, given: bool) -> Tally:
    """Write a tree: into a folder that is there, or build it beside and give it its name."""
    with translated(target):
        # Only what the user named is followed if it is a link.
        there = target.is_dir() if given else target.is_dir() and not target.is_symlink()
        if there:
            full = next(target.iterdir(), None) is not None
        elif os.path.lexists(target) and not options.overwrite:
            raise taken(target)
    if there:
        if full and not options.overwrite:
            raise DestinationExists(
                f"{target} exists and is not empty",
                path=str(target),
                hint="name a folder that does not exist, or pass overwrite=True to replace files",
            )
        room.check(target, needed, merged=full)
        with translated(target):
            top = Folder.open(target)
        with top:
            sweep(top)
            return _fill(options, rows, Ground(top, target, fresh=False))
    with opened(target) as beside:
        room.check(target, needed)
        sweep(beside)
        private = hidden(target.name)
        try:
            with translated(target):
                beside.make(private, 0o700)
                top = beside.enter(private)
            with top:
                with translated(target):
                    top.mode(0o700)  # whatever the umask took
                done = _fill(options, rows, Ground(top, target, fresh=True))
            with translated(target):
                _appear(beside, private, target, overwrite=options.overwrite)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.remove(private)
            raise
    return done


def _fill(options: Options, rows: Rows, ground: Ground) -> Tally:
    writer = Writer(options, ground)
    try:
        writer.probe()
        for entry, content in rows:
            writer.write(entry, content, writer.place(entry))
        writer.finish()
    finally:
        ground.close()
    return writer.tally


def _appear(beside: Folder, private: bytes, target: Path, *, overwrite: bool) -> None:
    final = os.fsencode(target.name)
    found = beside.look(final)
    if found is not None:
        if not overwrite or stat.S_ISDIR(found.st_mode):
            raise taken(target)
        beside.unlink(final)
    try:
        beside.rename(private, final)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise taken(target) from None  # it appeared meanwhile
        raise
