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
import re
import secrets
import stat
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from pathlib import Path

from didlab import _pausing as pausing
from didlab.blobs.refusals import translated
from didlab.errors import (
    DestinationExists,
    InvalidArgument,
    LimitExceeded,
    LinkEscape,
    NameCollision,
    PathEscape,
    PathNotFound,
    SizeMismatch,
    UnsafeContent,
    Unsupported,
    WriteFailed,
    printable,
)
from didlab.files.below import Folder, Tree
from didlab.files.limits import DEFAULT
from didlab.files.table import (
    BLOCK,
    CHAR,
    DIR,
    FIFO,
    FILE,
    HARDLINK,
    NO_TIME,
    SYMLINK,
    TYPES,
    Entry,
)
from didlab.sizes import human

Content = Callable[[], Iterator[bytes]]
Parts = tuple[bytes, ...]

#: Components of a path below the destination: each is an open folder on the way.
DEPTH = 256
#: Bytes of a link's target: Linux has none longer.
_TARGET = 4095
#: Steps that may be taken to see where links lead which climb in their middle.
_STEPS = 2_000_000
#: Permissions that an image can give: no setuid, setgid, sticky, nothing for others to write.
_MODES = 0o755
_NODES = {
    CHAR: getattr(stat, "S_IFCHR", 0),
    BLOCK: getattr(stat, "S_IFBLK", 0),
    FIFO: getattr(stat, "S_IFIFO", 0),
}
_WINDOWS = sys.platform == "win32"
_RESERVED = re.compile(
    rb"(con|prn|aux|nul|conin\$|conout\$|clock\$|(com|lpt)([0-9]|\xc2[\xb9\xb2\xb3])) *(\..*)?",
    re.IGNORECASE | re.DOTALL,
)
_FORBIDDEN = re.compile(rb'[\x00-\x1f<>:"|?*\\]')
#: Characters that some file systems of macOS do not see in names.
_UNSEEN = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")


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
    if (owner or devices) and _WINDOWS:
        raise Unsupported("owners, devices and fifos cannot be made on Windows")
    base = _parts(root, root)
    own = base[-1] if base else b""
    own = own if name is None else name
    if b"/" in own or own in (b".", b".."):
        raise InvalidArgument(f"{_shown(own)} is not the name of a file")
    rest = iter(entries)
    first = next(rest, None)
    if first is None and base:
        raise PathNotFound(f"there is nothing at {_shown(root)}", path=_shown(root))
    rows = rest if first is None else chain([first], rest)
    with translated(dest):
        target = (
            dest / os.fsdecode(allowed(own, root, portable=portable))
            if own and dest.is_dir()
            else dest
        )
    single = first is not None and first[0].type != DIR and _parts(first[0].path, root) == base
    single = single and base != ()
    writer = _Writer(
        base[:-1] if single else base,  # one link alone may lead to what lies beside it
        devices=devices,
        overwrite=overwrite,
        portable=portable,
        owner=owner,
    )
    if single:
        _one(writer, rows, target)
    else:
        _several(writer, rows, target, given=target is dest)
    return writer.report(target)


def _one(writer: _Writer, rows: Iterator[tuple[Entry, Content | None]], target: Path) -> None:
    """Write one file, link or device under the name of ``target``."""
    with _opened(target) as beside:
        entry, content = next(rows)
        writer.start(beside, target.parent, fresh=False)
        try:
            writer.write(entry, content, (os.fsencode(target.name),))
            for below, _ in rows:
                raise UnsafeContent(
                    f"{_shown(below.path)} lies below something that is no directory",
                    where=_shown(below.path),
                )
            writer.finish()
        finally:
            writer.close()


def _several(
    writer: _Writer,
    rows: Iterator[tuple[Entry, Content | None]],
    target: Path,
    *,
    given: bool,
) -> None:
    """Write a tree: into a folder that is there, or build it beside and give it its name."""
    with translated(target):
        # Only what the user named is followed if it is a link.
        there = target.is_dir() if given else target.is_dir() and not target.is_symlink()
        if there:
            full = next(target.iterdir(), None) is not None
        elif os.path.lexists(target) and not writer.overwrite:
            raise _taken(target)
    if there:
        if full and not writer.overwrite:
            raise DestinationExists(
                f"{target} exists and is not empty",
                path=str(target),
                hint="name a folder that does not exist, or pass overwrite=True to replace files",
            )
        with translated(target):
            top = Folder.open(target)
        with top:
            _fill(writer, rows, top, target, fresh=False)
        return
    with _opened(target) as beside:
        hidden = _hidden(target.name)
        try:
            with translated(target):
                beside.make(hidden, 0o700)
                top = beside.enter(hidden)
            with top:
                with translated(target):
                    top.mode(0o700)  # whatever the umask took
                _fill(writer, rows, top, target, fresh=True)
            with translated(target):
                _appear(beside, hidden, target, overwrite=writer.overwrite)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.remove(hidden)
            raise


def _fill(
    writer: _Writer,
    rows: Iterator[tuple[Entry, Content | None]],
    top: Folder,
    target: Path,
    *,
    fresh: bool,
) -> None:
    try:
        writer.start(top, target, fresh=fresh)
        writer.probe()
        for entry, content in rows:
            writer.write(entry, content, writer.place(entry))
        writer.finish()
    finally:
        writer.close()


def _appear(beside: Folder, hidden: bytes, target: Path, *, overwrite: bool) -> None:
    final = os.fsencode(target.name)
    found = beside.look(final)
    if found is not None:
        if not overwrite or stat.S_ISDIR(found.st_mode):
            raise _taken(target)
        beside.unlink(final)
    try:
        beside.rename(hidden, final)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise _taken(target) from None  # it appeared meanwhile
        raise


class _Writer:
    """Writes entries below a folder that is held."""

    def __init__(
        self,
        base: Parts,
        *,
        devices: bool,
        overwrite: bool,
        portable: bool,
        owner: bool,
    ) -> None:
        self.base = base
        self.overwrite = overwrite
        self._devices = devices
        self.portable = portable
        self._owner = owner
        self._names = Names(base, folded=portable)
        self._links = Links(base, self._names, self._there, portable=portable)
        #: What the umask leaves of 0777.
        self._usual = 0o777
        self._files = self._directories = self._made = self._bytes = 0
        self._skipped: list[tuple[str, str]] = []
        #: Folders that no entry has stated yet.
        self._implied: set[Parts] = set()
        #: Folders to be finished: permissions (None where they are right), entry.
        self._unfinished: list[tuple[Parts, int | None, Entry | None]] = []
        #: A folder that is known to lie below no link.
        self._clear: Parts | None = None

    def start(self, top: Folder, target: Path, *, fresh: bool) -> None:
        """Begin in a folder that is, or will be, ``target``; ``fresh`` when private and empty."""
        self._target = target
        self._top = top
        self._tree = Tree(top)
        self._fresh = fresh

    def close(self) -> None:
        """Let go of the folders."""
        self._tree.close()

    def report(self, path: Path) -> Extracted:
        """Return what was done."""
        return Extracted(
            path, self._files, self._directories, self._made, self._bytes, tuple(self._skipped)
        )

    def probe(self) -> None:
        """Find out what the umask is, and whether names are kept apart here."""
        with translated(self._target):
            tag = secrets.token_hex(8)
            name = f".didlab-{tag}-\u00e9"
            try:
                try:
                    self._top.make(name.encode(), 0o777)
                except OSError as error:
                    if error.errno not in (errno.EINVAL, errno.EILSEQ):
                        raise
                    self._names.folded = True  # a file system with a small alphabet
                    name = f".didlab-{tag}"
                    self._top.make(name.encode(), 0o777)
                made = self._top.look(name.encode())
                self._usual = 0o777 if made is None else made.st_mode & 0o777
                for twin in (name.swapcase(), unicodedata.normalize("NFD", name)):
                    if twin != name and self._top.look(twin.encode()) is not None:
                        self._names.folded = True
                self._top.rmdir(name.encode())
            except BaseException:
                with contextlib.suppress(OSError):
                    self._top.rmdir(name.encode())
                raise

    def place(self, entry: Entry) -> Parts:
        """Return where an entry goes, below the top."""
        parts = _parts(entry.path, entry.path)
        if parts[: len(self.base)] != self.base:
            raise PathEscape(
                f"{_shown(entry.path)} does not lie in {_shown(b'/' + b'/'.join(self.base))}",
                where=_shown(entry.path),
            )
        return parts[len(self.base) :]

    def write(self, entry: Entry, content: Content | None, parts: Parts) -> None:
        """Write one entry; links, and times and modes of folders, wait for `finish`."""
        pausing.check()
        if not parts:
            self._root(entry)
            return
        if entry.type in _NODES and not self._devices:
            self.skip(
                entry.path, f"a {TYPES[entry.type]} device" if entry.type != FIFO else "a fifo"
            )
            return
        if len(parts) > DEPTH:
            raise LimitExceeded(
                f"{_shown(entry.path[:200])}… lies more than {DEPTH} folders deep",
                what="components of a path",
                limit=DEPTH,
                seen=len(parts),
            )
        for part in parts:
            allowed(part, entry.path, portable=self.portable)
        self._names.claim(parts, entry.path)
        if entry.type == SYMLINK:
            self._links.add(entry, parts)
            return
        parent = self._parent(parts, entry.path)
        if entry.type == DIR:
            self._directory(parent, entry, parts)
        elif entry.type in _NODES:
            self._node(parent, entry, parts)
        elif content is None and (entry.type == HARDLINK or entry.size):
            self.skip(entry.path, "its content is not in the image")
        else:
            self._file(parent, entry, content, parts)

    def _root(self, entry: Entry) -> None:
        if entry.type != DIR:
            self.skip(entry.path, f"the root cannot be a {TYPES[entry.type]}")
        elif self.base:  # the image's own root says nothing about the user's folder
            self._directories += 1
            if self._fresh:
                self._unfinished.append(((), entry.mode & _MODES, entry))

    def skip(self, path: bytes, why: str) -> None:
        """Note what is left out."""
        self._skipped.append((_shown(path), why))

    def whole(self, parts: Parts) -> bytes:
        """Return the path in the image."""
        return b"/" + b"/".join((*self.base, *parts))

    def _local(self, parts: Parts) -> Path:
        return self._target.joinpath(*map(os.fsdecode, parts)) if parts else self._target

    def _parent(self, parts: Parts, path: bytes) -> Folder:
        above = parts[:-1]
        if above != self._clear:
            for depth in range(1, len(parts)):
                if parts[:depth] in self._links.pending:
                    raise self._through(parts[:depth], path)
            self._clear = above
        return self._folder(above, path)

    def _through(self, link: Parts, path: bytes) -> LinkEscape:
        return LinkEscape(
            f"{_shown(path)} would be written through the link {_shown(self.whole(link))}",
            where=_shown(path),
        )

    def _folder(self, parts: Parts, path: bytes) -> Folder:
        with translated(self._local(parts)):
            try:
                return self._tree.folder(parts, self._imply)
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.ESTALE):
                    raise
                raise self._blocked(parts, path) from None

    def _blocked(self, parts: Parts, path: bytes) -> UnsafeContent:
        here = self._top.path
        for part in parts:
            here /= os.fsdecode(part)
            if here.is_symlink():
                return LinkEscape(
                    f"{_shown(path)} would be written through the link {here}",
                    where=_shown(path),
                    hint="remove the link, or extract into a new folder",
                )
        return UnsafeContent(
            f"{_shown(path)} lies below something that is no directory", where=_shown(path)
        )

    def _imply(self, parent: Folder, parts: Sequence[bytes]) -> None:
        path = tuple(parts)
        self._make(parent, path, _MODES)
        self._implied.add(path)

    def _make(self, parent: Folder, parts: Parts, mode: int) -> None:
        """Make a folder that can be written into until it is finished."""
        parent.make(parts[-1], mode | 0o700)
        if self._usual & 0o700 != 0o700:
            with parent.enter(parts[-1]) as made:
                made.mode((mode | 0o700) & (self._usual | 0o700))

    def _directory(self, parent: Folder, entry: Entry, parts: Parts) -> None:
        mode = entry.mode & _MODES
        made = True
        with translated(self._local(parts)):
            try:
                self._make(parent, parts, mode)
            except FileExistsError:
                found = parent.look(parts[-1])
                made = parts in self._implied
                if found is None:
                    raise
                if not stat.S_ISDIR(found.st_mode):
                    self._vacate(parent, entry, parts, found)
                    parent.unlink(parts[-1])
                    self._make(parent, parts, mode)
                    made = True
        self._directories += 1
        if made:  # a folder of the user's own stays as it is
            right = mode & 0o700 == self._usual & 0o700 == 0o700 and parts not in self._implied
            self._unfinished.append((parts, None if right else mode, entry))
            self._implied.discard(parts)

    def _vacate(self, parent: Folder, entry: Entry, parts: Parts, found: os.stat_result) -> None:
        """Raise unless what is at an entry's place may be replaced."""
        if self._fresh:
            raise NameCollision(
                f"{_shown(entry.path)} is there twice, or under another name",
                where=_shown(entry.path),
            )
        if stat.S_ISDIR(found.st_mode):
            raise DestinationExists(
                f"{self._local(parts)} is a folder, {_shown(entry.path)} is none",
                path=str(self._local(parts)),
                hint="remove it first",
            )
        if not self.overwrite:
            raise _taken(self._local(parts))

    def _put(
        self, parent: Folder, entry: Entry, parts: Parts, make: Callable[[bytes], None]
    ) -> None:
        """Have something made under a name of its own, then under its real one."""
        name = parts[-1]
        where = self._local(parts)
        if self._fresh:  # nobody sees it before the whole tree is complete
            try:
                make(name)
            except FileExistsError:
                with translated(where):
                    found = parent.look(name)
                if found is not None:
                    self._vacate(parent, entry, parts, found)
                raise
            return
        with translated(where):
            if (found := parent.look(name)) is not None:
                self._vacate(parent, entry, parts, found)
        own = _hidden("")
        try:
            make(own)
            with translated(where):
                if (found := parent.look(name)) is not None:
                    self._vacate(parent, entry, parts, found)
                parent.rename(own, name)
        except BaseException:
            with contextlib.suppress(OSError):
                parent.unlink(own)
            raise

    def _file(self, parent: Folder, entry: Entry, content: Content | None, parts: Parts) -> None:
        where = self._local(parts)
        written = 0

        def make(name: bytes) -> None:
            nonlocal written
            with _refused(where):
                descriptor = parent.create(name, entry.mode & _MODES)
            try:
                written = self._pour(descriptor, entry, content, where)
                with translated(where):
                    self._settle(parent, descriptor, entry)
            finally:
                with translated(where):
                    os.close(descriptor)
            if os.utime not in os.supports_fd and entry.mtime != NO_TIME:
                parent.time(name, entry.mtime * 1000)

        self._put(parent, entry, parts, make)
        self._files += 1
        self._bytes += written

    def _pour(self, descriptor: int, entry: Entry, content: Content | None, where: Path) -> int:
        holes = bool(entry.extra and "sparse" in entry.extra)
        limit = entry.size if entry.type == FILE or entry.size else None
        written = 0
        pieces = iter(()) if content is None else content()
        try:
            for piece in pieces:
                pausing.check()
                written += len(piece)
                if limit is not None and written > limit:
                    break
                with translated(where):
                    if holes and piece.count(0) == len(piece):
                        os.lseek(descriptor, len(piece), os.SEEK_CUR)
                        continue
                    view = memoryview(piece)
                    while view:
                        view = view[os.write(descriptor, view) :]
        finally:
            if (close := getattr(pieces, "close", None)) is not None:
                close()
        if limit is not None and written != limit:
            raise SizeMismatch(
                f"{_shown(entry.path)} has {'more' if written > limit else 'fewer'} bytes "
                f"than the {limit} it should have",
                expected=limit,
                actual=written,
            )
        if holes:
            with translated(where):
                os.ftruncate(descriptor, written)
        return written

    def _settle(self, parent: Folder, descriptor: int, entry: Entry) -> None:
        if self._owner:
            self._own(parent, descriptor, entry)
        if entry.mtime != NO_TIME and os.utime in os.supports_fd:
            with contextlib.suppress(OSError, OverflowError):
                os.utime(descriptor, ns=(entry.mtime * 1000, entry.mtime * 1000))

    def _own(self, folder: Folder, name: bytes | int | None, entry: Entry) -> None:
        if not (0 <= entry.uid < 2**32 - 1 and 0 <= entry.gid < 2**32 - 1):
            raise UnsafeContent(
                f"{_shown(entry.path)} belongs to {entry.uid}:{entry.gid}, which no system has",
                where=_shown(entry.path),
                hint="extract without owner=True",
            )
        try:
            folder.owner(name, entry.uid, entry.gid)
        except PermissionError as error:
            raise WriteFailed(
                f"the owner of {_shown(entry.path)} cannot be set: {error.strerror}",
                path=str(self._target),
                hint="only root may: extract without owner=True",
            ) from None

    def _node(self, parent: Folder, entry: Entry, parts: Parts) -> None:
        numbers = (entry.extra or {}).get("device") or (0, 0)
        device = None if entry.type == FIFO else (int(numbers[0]), int(numbers[1]))

        def make(name: bytes) -> None:
            try:
                with _refused(self._local(parts), PermissionError):
                    parent.node(name, _NODES[entry.type] | entry.mode & _MODES, device)
            except (PermissionError, OverflowError) as error:
                raise WriteFailed(
                    f"the {TYPES[entry.type]} {_shown(entry.path)} cannot be made: "
                    f"{getattr(error, 'strerror', None) or error}",
                    path=str(self._local(parts)),
                    hint="only root may: extract without devices=True",
                ) from None
            if self._owner:
                self._own(parent, name, entry)
            if entry.mtime != NO_TIME:
                parent.time(name, entry.mtime * 1000)

        self._put(parent, entry, parts, make)
        self._files += 1

    def _there(self, parts: Parts) -> bytes | None:
        """Return where a link leads that was in the folder before."""
        if self._fresh or len(parts) > DEPTH:
            return None
        try:
            parent = self._tree.folder(parts[:-1], _absent)
            found = parent.look(parts[-1])
            if found is not None and stat.S_ISLNK(found.st_mode):
                return parent.target(parts[-1])
        except OSError:
            return None
        return None

    def finish(self) -> None:
        """Make the links, then give folders their times and permissions, the deepest first."""
        # All are looked at before one is made: each may lead through others.
        links = [
            (parts, self._links.straightened(parts), entry)
            for parts, (_, entry) in self._links.pending.items()
        ]
        for parts, target, entry in links:
            if target is None:
                self.skip(entry.path, f"it leads to {_shown(entry.link)}, which is not extracted")
            else:
                self._symlink(parts, target, entry)
        if self._fresh and not any(not parts for parts, _, _ in self._unfinished):
            self._unfinished.append(((), 0o777, None))
        self._unfinished += [(parts, _MODES, None) for parts in self._implied if not self._plain]
        for parts, mode, stated in sorted(self._unfinished, key=itemgetter(0), reverse=True):
            pausing.check()
            folder = self._folder(parts, self.whole(parts))
            with translated(self._local(parts)):
                if stated is not None and self._owner:
                    self._own(folder, None, stated)
                if stated is not None and stated.mtime != NO_TIME:
                    folder.time(None, stated.mtime * 1000)
                if mode is not None:
                    folder.mode(mode & self._usual)

    @property
    def _plain(self) -> bool:
        return self._usual & 0o700 == 0o700

    def _symlink(self, parts: Parts, target: bytes, entry: Entry) -> None:
        pausing.check()
        parent = self._folder(parts[:-1], entry.path)

        def make(name: bytes) -> None:
            inside = self._local(parts[:-1]) / os.fsdecode(target) if _WINDOWS else None
            with _refused(self._local(parts)):
                parent.link(name, target, folder=inside is not None and inside.is_dir())
            if self._owner:
                self._own(parent, name, entry)
            if entry.mtime != NO_TIME:
                parent.time(name, entry.mtime * 1000)

        try:
            self._put(parent, entry, parts, make)
        except WriteFailed:
            if not _WINDOWS:
                raise
            self.skip(entry.path, "Windows lets only some accounts make links")
            return
        self._made += 1


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
                    f"{_shown(path)} and {_shown(twin)} would be one file here",
                    where=_shown(path),
                    hint="extract them one by one, or to a disk that keeps such names apart",
                )

    def used(self, parts: Parts) -> Parts:
        """Return a path in the spelling that it was used with."""
        if not self.folded:
            return parts
        return self._used.get("".join("/" + fold(part) for part in parts), parts)


class Links:
    """The symlinks of an extraction: where each may lead.

    What is written has one form: it climbs first, no further than the top, and then only
    descends. Such a link cannot lead out, whatever others there are, today or after another
    extraction: it starts in a real folder, and so does each link on its way.

    Parameters
    ----------
    base : tuple of bytes
        The path in the image that lies at the top.
    names : Names
    there : callable
        Tells where a link leads that was on the disk before.
    portable : bool
        Whether targets must be names that Windows can have.
    """

    def __init__(
        self,
        base: Parts,
        names: Names,
        there: Callable[[Parts], bytes | None],
        *,
        portable: bool,
    ) -> None:
        self._base = base
        self._names = names
        self._there = there
        self._portable = portable
        self._steps = 0
        #: Where the links are and where they lead, not straightened yet.
        self.pending: dict[Parts, tuple[Parts | None, Entry]] = {}

    def add(self, entry: Entry, parts: Parts) -> None:
        """Note a link that is to be made."""
        if parts in self.pending:
            raise NameCollision(f"{_shown(entry.path)} is there twice", where=_shown(entry.path))
        self.pending[parts] = (self._aim(entry, parts), entry)

    def _aim(self, entry: Entry, parts: Parts) -> Parts | None:
        """Return the steps from a link's folder; None if they begin with what is not here."""
        link = entry.link
        if not link or b"\0" in link or len(link) > _TARGET:
            return None
        steps = _steps(link)
        for step in steps:
            if step != b"..":
                allowed(step, entry.path, portable=self._portable)
        climb = _climb(steps)
        inside = parts[:-1]
        if link.startswith(b"/"):
            above: Parts = ()  # in an image, above the root is the root
        elif climb <= len(inside):
            return steps
        else:
            above = (*self._base, *inside)
            if climb > len(above):
                raise self._escape(entry)
            above = above[: len(above) - climb]
        full = (*above, *steps[climb:])
        if full[: len(self._base)] != self._base:
            return None
        return (b"..",) * len(inside) + full[len(self._base) :]

    def straightened(self, parts: Parts) -> bytes | None:
        """Return the target that a link gets; None where it would lead out of the top."""
        steps, entry = self.pending[parts]
        if steps is None:
            return None
        climb = _climb(steps)
        if climb < len(parts) and b".." not in steps[climb:]:
            same = not entry.link.startswith(b"/") and _steps(entry.link) == steps
            return entry.link if same else b"/".join(steps) or b"."
        last = len(steps) - steps[::-1].index(b"..")
        at = self._followed(parts, steps[:last], entry)
        if at is None:
            return None
        here = parts[:-1]
        pairs = zip(here, at, strict=False)
        common = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(here), len(at)))
        return b"/".join([b".."] * (len(here) - common) + [*at[common:], *steps[last:]]) or b"."

    def _followed(self, parts: Parts, steps: Parts, entry: Entry) -> Parts | None:
        """Return where steps lead from a link's folder, through other links too."""
        at = list(parts[:-1])
        todo = list(steps[::-1])
        hops = 0
        while todo:
            self._count()
            step = todo.pop()
            if step == b"..":
                if not at:
                    todo.append(step)
                    if _climb(todo[::-1]) > len(self._base):
                        raise self._escape(entry)
                    return None
                at.pop()
                continue
            at.append(step)
            known = self.pending.get(self._names.used(tuple(at)))
            if known is None:
                target = self._there(tuple(at))
                if target is None:
                    continue
                if target.startswith((b"/", b"\\")):
                    return None  # the user's own, to anywhere
                further: Parts | None = _steps(target)
            else:
                further = known[0]
            hops += 1
            if further is None or hops > DEFAULT.hops:
                return None
            at.pop()
            todo += further[::-1]
        return tuple(at)

    def _count(self) -> None:
        self._steps += 1
        if self._steps > _STEPS:
            raise LimitExceeded(
                "the links lead through too many others",
                what="steps of links",
                limit=_STEPS,
                seen=self._steps,
            )

    def _escape(self, entry: Entry) -> LinkEscape:
        return LinkEscape(
            f"the link {_shown(entry.path)} leads above the image's root: {_shown(entry.link)}",
            where=_shown(entry.path),
        )


def _steps(target: bytes) -> Parts:
    return tuple(step for step in target.split(b"/") if step not in (b"", b"."))


def _climb(steps: Sequence[bytes]) -> int:
    return next((n for n, step in enumerate(steps) if step != b".."), len(steps))


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
    elif portable or _WINDOWS:
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
            f"{_shown(path)} cannot be written: {_shown(name)} has {why}", where=_shown(path)
        )
    return name


def _parts(path: bytes, shown: bytes) -> Parts:
    parts = tuple(part for part in path.split(b"/") if part not in (b"", b"."))
    if b".." in parts:
        raise PathEscape(f"{_shown(shown)} leads out of its folder", where=_shown(shown))
    return parts


def _hidden(name: str) -> bytes:
    """Return a name for what is not complete, that nobody can guess."""
    stem = name.encode(errors="ignore")[:120].decode(errors="ignore")
    return f".{stem}.didlab-{secrets.token_hex(16)}.part".encode()


@contextlib.contextmanager
def _refused(path: Path, *others: type[OSError]) -> Iterator[None]:
    """Tell refusals as `translated` does, but for those that the caller knows more about."""
    try:
        yield
    except OSError as error:
        if isinstance(error, (FileExistsError, *others)):
            raise
        with translated(path):
            raise


@contextlib.contextmanager
def _opened(target: Path) -> Iterator[Folder]:
    """Hold the folder that ``target`` goes into."""
    try:
        with translated(target):
            folder = Folder.open(target.parent)
    except WriteFailed:
        if target.parent.is_dir():
            raise
        raise WriteFailed(
            f"the folder {target.parent} does not exist", path=str(target), hint="make it first"
        ) from None
    with folder:
        yield folder


def _absent(parent: Folder, parts: Sequence[bytes]) -> None:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _taken(target: Path) -> DestinationExists:
    return DestinationExists(
        f"{target} exists", path=str(target), hint="pass overwrite=True to replace it"
    )


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
