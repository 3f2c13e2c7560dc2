"""Writes entries below a folder that is held: each at its place, links and folders' modes last."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from operator import itemgetter

from didlab import _pausing as pausing
from didlab.blobs.refusals import translated
from didlab.errors import LimitExceeded, LinkEscape, PathEscape, WriteFailed
from didlab.files.below import Folder
from didlab.files.extract_ground import DEPTH, MODES, Ground
from didlab.files.extract_links import Links
from didlab.files.extract_making import NODES, Content, Maker
from didlab.files.extract_names import WINDOWS, Names, Parts, allowed, shown, split
from didlab.files.table import DIR, FIFO, HARDLINK, NO_TIME, SYMLINK, TYPES, Entry


@dataclass(frozen=True, slots=True)
class Options:
    """How an extraction goes about it.

    Attributes
    ----------
    base : tuple of bytes
        The path in the image that lies at the top.
    overwrite, devices, portable, owner : bool
        As `didlab.files.extract.extract`.
    """

    base: Parts
    overwrite: bool = False
    devices: bool = False
    portable: bool = False
    owner: bool = False


@dataclass(slots=True)
class Tally:
    """What an extraction did so far."""

    files: int = 0
    directories: int = 0
    links: int = 0
    written: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def skip(self, path: bytes, why: str) -> None:
        """Note what is left out."""
        self.skipped.append((shown(path), why))


class Writer:
    """Writes entries.

    Parameters
    ----------
    options : Options
    ground : Ground
        Where to.
    """

    def __init__(self, options: Options, ground: Ground) -> None:
        self.tally = Tally()
        self._options = options
        self._ground = ground
        self._maker = Maker(ground, overwrite=options.overwrite, owner=options.owner)
        self._names = Names(options.base, folded=options.portable)
        self._links = Links(options.base, self._names, ground.link, portable=options.portable)
        #: Folders to be finished: permissions (None where they are right), entry.
        self._unfinished: list[tuple[Parts, int | None, Entry | None]] = []
        #: A folder that is known to lie below no link.
        self._clear: Parts | None = None

    def probe(self) -> None:
        """Find out what the umask is, and whether names are kept apart here."""
        self._names.folded |= self._ground.probe()

    def place(self, entry: Entry) -> Parts:
        """Return where an entry goes, below the top."""
        parts = split(entry.path)
        base = self._options.base
        if parts[: len(base)] != base:
            raise PathEscape(
                f"{shown(entry.path)} does not lie in {shown(b'/' + b'/'.join(base))}",
                where=shown(entry.path),
            )
        return parts[len(base) :]

    def write(self, entry: Entry, content: Content | None, parts: Parts) -> None:
        """Write one entry; links, and times and modes of folders, wait for `finish`."""
        pausing.check()
        if not parts:
            self._root(entry)
            return
        if entry.type in NODES and not self._options.devices:
            kind = "a fifo" if entry.type == FIFO else f"a {TYPES[entry.type]} device"
            self.tally.skip(entry.path, kind)
            return
        if len(parts) > DEPTH:
            raise LimitExceeded(
                f"{shown(entry.path[:200])}… lies more than {DEPTH} folders deep",
                what="components of a path",
                limit=DEPTH,
                seen=len(parts),
            )
        for part in parts:
            allowed(part, entry.path, portable=self._options.portable)
        self._names.claim(parts, entry.path)
        if entry.type == SYMLINK:
            self._links.add(entry, parts)
            return
        parent = self._parent(parts, entry.path)
        if entry.type == DIR:
            self._directory(parent, entry, parts)
        elif entry.type in NODES:
            self._maker.node(parent, entry, parts)
            self.tally.files += 1
        elif content is None and (entry.type == HARDLINK or entry.size):
            self.tally.skip(entry.path, "its content is not in the image")
        else:
            self.tally.written += self._maker.file(parent, entry, content, parts)
            self.tally.files += 1

    def _root(self, entry: Entry) -> None:
        if entry.type != DIR:
            self.tally.skip(entry.path, f"the root cannot be a {TYPES[entry.type]}")
        elif self._options.base:  # the image's own root says nothing about the user's folder
            self.tally.directories += 1
            if self._ground.fresh:
                self._unfinished.append(((), entry.mode & MODES, entry))

    def _whole(self, parts: Parts) -> bytes:
        """Return the path in the image."""
        return b"/" + b"/".join((*self._options.base, *parts))

    def _parent(self, parts: Parts, path: bytes) -> Folder:
        above = parts[:-1]
        if above != self._clear:
            self._through(parts, path)
            self._clear = above
        return self._ground.folder(above, path)

    def _through(self, parts: Parts, path: bytes) -> None:
        """Raise if a link of the image lies on the way, made or left out."""
        for depth in range(1, len(parts)):
            if parts[:depth] in self._links.pending:
                link = self._whole(parts[:depth])
                raise LinkEscape(
                    f"{shown(path)} would be written through the link {shown(link)}",
                    where=shown(path),
                )

    def _directory(self, parent: Folder, entry: Entry, parts: Parts) -> None:
        mode = entry.mode & MODES
        ground = self._ground
        made = True
        with translated(ground.local(parts)):
            try:
                ground.make(parent, parts, mode)
            except FileExistsError:
                found = parent.look(parts[-1])
                made = parts in ground.implied
                if found is None:
                    raise
                if not stat.S_ISDIR(found.st_mode):
                    self._maker.vacate(entry, parts, found)
                    parent.unlink(parts[-1])
                    ground.make(parent, parts, mode)
                    made = True
        self.tally.directories += 1
        if made:  # a folder of the user's own stays as it is
            kept = mode & 0o700 == 0o700 and ground.plain and parts not in ground.implied
            self._unfinished.append((parts, None if kept else mode, entry))
            ground.implied.discard(parts)

    def finish(self) -> None:
        """Make the links, then give folders their times and permissions, the deepest first."""
        for parts, (_, entry) in self._links.pending.items():
            self._through(parts, entry.path)
        # All are looked at before one is made: each may lead through others.
        links = [
            (parts, self._links.straightened(parts), entry)
            for parts, (_, entry) in self._links.pending.items()
        ]
        for parts, target, entry in links:
            if target is None:
                self.tally.skip(entry.path, self._links.why(parts))
            else:
                self._symlink(parts, target, entry)
        ground = self._ground
        if ground.fresh and not any(not parts for parts, _, _ in self._unfinished):
            self._unfinished.append(((), 0o777, None))
        if not ground.plain:
            self._unfinished += [(parts, MODES, None) for parts in ground.implied]
        for parts, mode, stated in sorted(self._unfinished, key=itemgetter(0), reverse=True):
            pausing.check()
            folder = ground.folder(parts, self._whole(parts))
            with translated(ground.local(parts)):
                if stated is not None and self._options.owner:
                    self._maker.own(folder, None, stated)
                if stated is not None and stated.mtime != NO_TIME:
                    folder.time(None, stated.mtime * 1000)
                if mode is not None:
                    folder.mode(mode & ground.usual)

    def _symlink(self, parts: Parts, target: bytes, entry: Entry) -> None:
        pausing.check()
        parent = self._ground.folder(parts[:-1], entry.path)
        try:
            self._maker.symlink(parent, entry, target, parts)
        except WriteFailed:
            if not WINDOWS:
                raise
            self.tally.skip(entry.path, "Windows lets only some accounts make links")
            return
        self.tally.links += 1
