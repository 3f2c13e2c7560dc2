"""The files inside an archive or a folder, by name: how large they are, and their bytes.

Names come from documents that nobody vouches for. They are looked up among the members only, and
links lead from member to member only; nothing is ever opened on disk by what an archive says.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from didlab.errors import (
    DidlabError,
    LimitExceeded,
    LinkEscape,
    LinkLoop,
    NotAFile,
    PathEscape,
    SpecialFile,
    Unsupported,
)
from didlab.files import decompress
from didlab.files.decompress import Mark
from didlab.files.sniff import Kind
from didlab.files.table import DIR, FILE, HARDLINK, SYMLINK, Entry
from didlab.files.tar_header import absolute
from didlab.sources.local import backing
from didlab.sources.local.backing import Backing, Identity

#: Bytes to be decompressed, at most, before the first one that is wanted, where an archive is
#: said to be readable from the middle.
NEAR = 64 * 1024 * 1024
#: Links followed on the way to one member.
HOPS = 8


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file inside: ``key`` finds it again."""

    name: str
    size: int
    key: int | str


class Members(Protocol):
    """The files of one archive or folder, as they were when they were listed."""

    @property
    def name(self) -> str:
        """What messages call the archive."""

    @property
    def kind(self) -> str:
        """``tar``, ``gzip``, ``zstd``, or ``folder``."""

    @property
    def ranged(self) -> bool:
        """Whether reading can begin in the middle without a long way there."""

    def current(self) -> bool:
        """Whether it is still what was listed."""

    def find(self, name: str) -> Member | None:
        """Return the file of a name, links followed; None where there is none."""

    def names(self) -> Iterable[str]:
        """Yield what there is, folders' names included."""

    def pieces(self, member: Member, start: int, stop: int) -> Generator[bytes]:
        """Yield the bytes of a member from ``start`` to ``stop``, or raise."""


def read(members: Members, member: Member, limit: int) -> bytes:
    """Return a small member whole.

    Raises
    ------
    LimitExceeded
    """
    if member.size > limit:
        raise LimitExceeded(
            f"{member.name} in {members.name} has {member.size} bytes, too many for metadata",
            what="size of a document",
            limit=limit,
            seen=member.size,
        )
    return b"".join(members.pieces(member, 0, member.size))


class TarMembers:
    """The members of a tar, plain or compressed, by where their contents lie."""

    def __init__(
        self,
        source: Backing,
        identity: Identity,
        entries: Mapping[bytes, Entry],
        kind: Kind = "tar",
        marks: Sequence[Mark] = (),
        captured: Mapping[bytes, bytes] | None = None,
        twice: Iterable[bytes] = (),
    ) -> None:
        self._source = source
        self._identity = identity
        self._entries = entries
        self._kind = kind
        self._marks = marks
        self._places = [mark.decompressed for mark in marks]
        self._captured = captured or {}
        self._twice = twice
        end = max((entry.offset + entry.size for entry in entries.values()), default=0)
        places = [*self._places, end] if marks else []
        self._gap = max((after - before for before, after in pairwise(places)), default=0)

    @property
    def name(self) -> str:
        """The file's."""
        return self._source.name

    @property
    def kind(self) -> str:
        """How the archive as a whole is compressed."""
        return self._kind

    @property
    def ranged(self) -> bool:
        """Whether there are seek points all along."""
        return self._gap <= NEAR

    @property
    def identity(self) -> Identity:
        """What the file was when it was listed."""
        return self._identity

    def current(self) -> bool:
        """Whether the file is still the same."""
        with self._source.open() as file:
            return file.identity == self._identity

    def names(self) -> Iterable[str]:
        """Yield the members' names."""
        return (_text(path) for path in self._entries)

    def twice(self) -> Iterator[str]:
        """Yield the names of files and links that come more than once; the last one counts."""
        return (_text(path) for path in self._twice if self._entries[path].type != DIR)

    def link(self, name: str) -> int | None:
        """Return which kind of link a name is, ``SYMLINK`` or ``HARDLINK``; None for none."""
        entry = self._entries.get(_inside(name, self.name))
        return entry.type if entry is not None and entry.type in (SYMLINK, HARDLINK) else None

    def find(self, name: str) -> Member | None:
        """Return the regular file of a name.

        Raises
        ------
        PathEscape, LinkEscape, LinkLoop
        SpecialFile, NotAFile
            It is none.
        """
        path = _inside(name, self.name)
        for _ in range(HOPS + 1):
            entry = self._entries.get(path)
            if entry is None:
                return None
            if entry.type == FILE:
                return self._member(path, entry)
            if entry.type == HARDLINK:
                path = entry.link
            elif entry.type == SYMLINK:
                path = self._aim(path, entry.link)
            else:
                kind = NotAFile if entry.type == DIR else SpecialFile
                raise kind(f"{_text(path)} in {self.name} is no regular file", path=_text(path))
        raise LinkLoop(f"{name} in {self.name} leads through more than {HOPS} links", path=name)

    def _aim(self, path: bytes, link: bytes) -> bytes:
        parts = [] if link.startswith(b"/") else path.split(b"/")[1:-1]
        for part in link.split(b"/"):
            if part == b"..":
                if not parts:
                    raise LinkEscape(
                        f"{_text(path)} in {self.name} is a link out of the archive, "
                        f"to {_text(link)}",
                        where=_text(path),
                    )
                parts.pop()
            elif part not in (b"", b"."):
                parts.append(part)
        return b"/" + b"/".join(parts)

    def _member(self, path: bytes, entry: Entry) -> Member:
        if entry.extra and "sparse" in entry.extra:
            raise Unsupported(
                f"{_text(path)} in {self.name} is stored as a sparse file",
                hint="pack the archive without --sparse",
            )
        return Member(_text(path), entry.size, entry.offset)

    def pieces(self, member: Member, start: int, stop: int) -> Generator[bytes]:
        """Yield the bytes of a member.

        Raises
        ------
        FileChanged
            The file is not what was listed.
        """
        known = self._captured.get(b"/" + os.fsencode(member.name))
        if known is not None and len(known) == member.size:
            if start < stop:
                yield known[start:stop]
            return
        assert isinstance(member.key, int)
        begin, end = member.key + start, member.key + stop
        with self._source.open() as file:
            file.check(self._identity)
            if self._kind == "tar":
                yield from file.pieces(begin, end)
            elif begin < end:
                yield from self._decoded(file, begin, end)

    def _decoded(self, file: backing.OpenFile, begin: int, end: int) -> Generator[bytes]:
        mark = self._marks[bisect_right(self._places, begin) - 1]
        first = mark.compressed - (1 if mark.bits else 0)
        at = mark.decompressed
        packed = file.pieces(first, self._identity.size)
        for out in decompress.span(self._kind, mark, packed):
            piece = out[max(0, begin - at) : max(0, end - at)]
            at += len(out)
            if piece:
                yield piece
            if at >= end:
                return
        raise backing.changed(self.name)


class FolderMembers:
    """The files of a folder; each is looked at and opened when it is asked for."""

    kind = "folder"
    ranged = True

    def __init__(self, path: str) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """The folder's path."""
        return self._path

    def current(self) -> bool:
        """Say no: a layout may get images at any time, and to look is cheap."""
        return False

    def names(self) -> Iterable[str]:
        """Yield what lies at the top."""
        try:
            return sorted(path.name for path in Path(self._path).iterdir())
        except OSError as error:
            raise backing.unreadable(self._path, error) from None

    def find(self, name: str) -> Member | None:
        """Return the regular file of a name; a link on the way is refused.

        Raises
        ------
        PathEscape, LinkEscape, SpecialFile, NotAFile
        """
        parts = os.fsdecode(_inside(name, self._path)).split("/")[1:]
        path = self._path
        status = None
        for part in parts:
            if os.name == "nt" and any(character in part for character in '\\:<>"|?*'):
                return None
            path = f"{path}{os.sep}{part}"
            try:
                status = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                return None
            except (OSError, ValueError) as error:
                raise _odd(path, error) from None
            if stat.S_ISLNK(status.st_mode):
                raise LinkEscape(
                    f"{path} is a symbolic link, which a layout must not have",
                    where=name,
                    hint="cp -rL makes a copy with the files themselves",
                )
        if status is None or stat.S_ISDIR(status.st_mode):
            raise NotAFile(f"{path} is a folder", path=path)
        if not stat.S_ISREG(status.st_mode):
            raise SpecialFile(f"{path} is a device, socket or fifo, no file", path=path)
        return Member("/".join(parts), status.st_size, path)

    def pieces(self, member: Member, start: int, stop: int) -> Generator[bytes]:
        """Yield the bytes of a file.

        Raises
        ------
        FileChanged
            It has another size by now.
        """
        assert isinstance(member.key, str)
        with backing.open_regular(member.key, member.key) as file:
            if file.identity.size != member.size:
                raise backing.changed(member.key)
            yield from file.pieces(start, stop)


def _inside(name: str, where: str) -> bytes:
    """Return a name as a path from the archive's root."""
    try:
        raw = absolute(os.fsencode(name))
    except UnicodeEncodeError:
        raise PathEscape(f"{name!r} is no name that {where} could hold", where=where) from None
    if b".." in raw.split(b"/"):
        raise PathEscape(f"{name} would lead out of {where}", where=name)
    return raw


def _text(path: bytes) -> str:
    return os.fsdecode(path.removeprefix(b"/"))


def _odd(path: str, error: Exception) -> DidlabError:
    if isinstance(error, OSError):
        return backing.unreadable(path, error)
    return PathEscape(f"{path} cannot be a path", where=path)
