"""The members of an archive while it is verified: each read once, and known to be used."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from didlab.errors import CompressionInvalid, DidlabError, NotAFile, TarInvalid, printable
from didlab.export.progress import Silent
from didlab.files import sniff
from didlab.files.table import HARDLINK, SYMLINK
from didlab.files.tar_header import BLOCK, ZERO
from didlab.model.checking import BROKEN
from didlab.model.findings import Findings
from didlab.model.measuring import Measured, measure
from didlab.model.verifying_twice import best, look, with_entries
from didlab.oci import digest as digests
from didlab.oci import media_types
from didlab.oci.config import CONFIG_LIMIT
from didlab.oci.descriptor import Descriptor
from didlab.oci.loaders import Link, Odd
from didlab.sources.local import archive
from didlab.sources.local import members as inside
from didlab.sources.local.backing import DiskFile
from didlab.sources.local.members import Member, Members, TarMembers

_BLOB = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]+)", re.ASCII)
#: Names by which tools say what a member's digest is: skopeo, docker, podman; crane.
_NAMED = re.compile(r"(?:sha256:)?([0-9a-f]{64})(?:\.json|\.tar|\.tar\.gz)?", re.ASCII)
#: What Dockers before 1.10 read, and nobody since.
_LEGACY = re.compile(r"[0-9a-f]{64}/(VERSION|json|layer\.tar)|repositories", re.ASCII)
#: Members that nobody refers to and that are told one by one.
_TOLD = 50


def open_members(path: str, found: Findings) -> Members | None:
    """Return the members; a tar that is cut off or damaged gives a row, a picture raises."""
    try:
        return archive.members(path)
    except (TarInvalid, CompressionInvalid) as error:
        with DiskFile(path).open() as file:
            size = file.identity.size
            try:
                sniff.kind(file.read_at(0, min(size, sniff.NEEDED)))
            except CompressionInvalid:
                raise error from None
        if not size:
            raise
        found.failed("archive", path, error)
        return None


class Inventory:
    """What is there, and what was looked at."""

    def __init__(self, members: Members, found: Findings) -> None:
        self.members = members
        self.found = found
        self.progress: Any = Silent()
        self._measured: dict[int | str, Measured] = {}
        self._used: set[str] = set()
        self._rooted: set[bytes] = set()
        #: With the first of members that come twice, and with those that their names tell.
        self.first: Members | None = None
        self.best: Members | None = None

    def look(self) -> None:
        """Look at all headers of a tar again, for what its members do not tell."""
        if not isinstance(self.members, TarMembers):
            return
        entries, self._rooted = look(self.members)
        if any(True for _ in self.members.twice()):
            first = with_entries(self.members, entries)
            self.first, self.best = first, best(self.members, first)

    def beside(self, members: Members) -> Inventory:
        """Return another look at the same archive, which tells nothing."""
        made = Inventory(members, Findings())
        made._rooted = self._rooted
        return made

    def named(self, name: str) -> tuple[Odd, ...]:
        """Tell of a name that some loaders do not find: they compare it with the members'."""
        found = self.members.find(name) if self._safe(name) else None
        if found is None:
            return ()
        there = posixpath.normpath("/" + name.lstrip("/"))
        if os.fsencode(there) not in self._rooted:
            there = there[1:]
        if name == there:
            return ()
        plain = posixpath.normpath(name)
        only = plain.replace("//", "/", 1) == there if plain.startswith("//") else plain == there
        odd = Odd(
            f"{name!r} is not how the member is called",
            ("containerd",) if only else ("containerd", "podman", "skopeo"),
        )
        self.found.check(
            "member", name, False, severity="warning", expected=there,
            detail=f"not found by {', '.join(odd.readers)}",
        )  # fmt: skip
        return (odd,)

    def _safe(self, name: str) -> bool:
        try:
            self.members.find(name)
        except (*BROKEN, UnicodeEncodeError):
            return False
        return True

    def ended(self) -> bool:
        """Check that a plain tar has its end: one cut between two members looks fine else."""
        if not isinstance(self.members, TarMembers) or self.members.kind != "tar":
            return True
        last = 0
        for entry in self.members._entries.values():
            last = max(last, entry.offset + -(-entry.size // BLOCK) * BLOCK)
        with DiskFile(self.members.name).open() as file:
            size = file.identity.size
            # What no reader looks at may follow; a part of the last member's padding may lack.
            end = file.read_at(min(last, size), min(size, last + BLOCK))
        return self.found.check(
            "archive",
            self.members.name,
            end == ZERO,
            expected="an end mark",
            detail=None if end == ZERO else "the tar has no end: it was not copied whole",
        )

    def once(self) -> None:
        """Tell of members that come twice: programs differ in which of the two they read."""
        if not isinstance(self.members, TarMembers):
            return
        names = sorted(self.members.twice())
        for name in names[:_TOLD]:
            self.found.check(
                "member", name, False, severity="warning",
                detail="it is there more than once: docker and ctr read the last, podman and "
                "skopeo by manifest.json the first",
            )  # fmt: skip
        if len(names) > _TOLD:
            self.found.check(
                "member", f"{len(names) - _TOLD} more", False, severity="warning",
                detail="there more than once",
            )  # fmt: skip

    def link(self, name: str) -> Link:
        """Return which kind of link a member is."""
        kind = self.members.link(name) if isinstance(self.members, TarMembers) else None
        return "" if kind is None else "symbolic" if kind == SYMLINK else "hard"

    def later(self) -> str:
        """Return a hard link to what comes behind it in the tar, or nothing."""
        if not isinstance(self.members, TarMembers):
            return ""
        before: set[bytes] = set()
        for path, entry in self.members._entries.items():
            before.add(path)
            if entry.type == HARDLINK and entry.link not in before:
                name = os.fsdecode(path[1:])
                self.found.check(
                    "member", name, False, severity="warning",
                    detail="a hard link to what comes later: docker load, and podman and skopeo "
                    "by index.json, cannot unpack it",
                )  # fmt: skip
                return printable(name, 200)
        return ""

    def total(self) -> int:
        """Return the bytes of all members."""
        if isinstance(self.members, TarMembers):
            return sum(entry.size for entry in self.members._entries.values())
        sizes = (self.find(name) for name in self._blobs())
        return sum(member.size for member in sizes if member is not None)

    def _blobs(self) -> Iterator[str]:
        """Yield the blobs of a folder."""
        for algorithm in ("sha256", "sha512"):
            folder = Path(self.members.name, "blobs", algorithm)
            if folder.is_dir():
                for path in sorted(folder.iterdir()):
                    yield f"blobs/{algorithm}/{path.name}"

    def find(self, name: str) -> Member | None:
        """Return a member; what cannot be one is told."""
        try:
            member = self.members.find(name)
        except BROKEN as error:
            self.found.failed("member", name, error)
            return None
        except UnicodeEncodeError:
            self.found.check("member", name, False, detail="the name cannot be one of a member")
            return None
        if member is not None:
            self._used |= {name.removeprefix("./"), member.name}
        return member

    def read(self, member: Member, limit: int) -> bytes:
        """Return a document."""
        raw = inside.read(self.members, member, limit)
        self.progress.update(len(raw))
        return raw

    def measure(self, member: Member, algorithms: Collection[str] = ()) -> Measured:
        """Read a member whole, once."""
        known = self._measured.get(member.key)
        if known is not None and set(algorithms) <= known.digests.keys():
            return known
        pieces = self.members.pieces(member, 0, member.size)
        made = measure(pieces, algorithms, self.progress.update)
        self._measured[member.key] = made
        return made

    # --- the port of the checker -------------------------------------------------------------

    def document(self, descriptor: Descriptor) -> bytes | None:
        """Return a small blob, unverified."""
        member = self.find(path_of(descriptor.digest))
        return None if member is None else self.read(member, CONFIG_LIMIT)

    def blob(self, descriptor: Descriptor, algorithms: Collection[str]) -> Measured | None:
        """Read a blob whole."""
        member = self.find(path_of(descriptor.digest))
        if member is None:
            return None
        if "+encrypted" in media_types.essence(descriptor.media_type):
            pieces = self.members.pieces(member, 0, member.size)
            return measure(pieces, algorithms, self.progress.update, descriptor.media_type)
        return self.measure(member, algorithms)

    def unreferenced(self) -> None:
        """Tell of members that were not looked at, and check those that have a digest."""
        names = self._blobs() if self.members.kind == "folder" else self.members.names()
        several = 0
        for name in names:
            if name in self._used or name in ("", ".") or _LEGACY.fullmatch(name):
                continue
            try:
                member = self.members.find(name)
            except NotAFile:
                continue  # a folder
            except DidlabError as error:
                self.found.failed("member", name, error, "warning")
                continue
            if member is None or member.name in self._used:
                continue
            several += 1
            if several > _TOLD:
                continue
            claimed = claim(name)
            if claimed is not None:
                self.claimed(name, self.measure(member, {algorithm_of(name)}).digests[
                    algorithm_of(name)])  # fmt: skip
            self.found.check(
                "unreferenced", subject_of(name), False, severity="info",
                actual=f"{member.size} bytes", detail="nothing in the archive leads to it",
            )  # fmt: skip
        if several > _TOLD:
            self.found.check(
                "unreferenced", f"{several - _TOLD} more", False, severity="info",
                detail="not looked at",
            )  # fmt: skip

    def claimed(self, name: str, actual: str | None) -> bool:
        """Check a digest that a member's name tells."""
        claimed = claim(name)
        return claimed is None or self.found.check(
            "digest", subject_of(name), actual == claimed, expected=claimed, actual=actual
        )


def path_of(digest: str) -> str:
    """Return where a layout has a blob."""
    return f"blobs/{digests.algorithm(digest)}/{digests.encoded(digest)}"


def claim(name: str) -> str | None:
    """Return the digest that a member's name tells."""
    match = _BLOB.fullmatch(name)
    if match is not None:
        digest = f"{match[1]}:{match[2]}"
        return digest if digests.is_digest(digest) else None
    match = _NAMED.fullmatch(name)
    return f"sha256:{match[1]}" if match is not None else None


def subject_of(name: str) -> str:
    """Return what a member is called: a blob of a layout by its digest."""
    claimed = claim(name) if _BLOB.fullmatch(name) else None
    return claimed or name


def algorithm_of(name: str) -> str:
    """Return the algorithm of the digest that a member's name tells."""
    claimed = claim(name)
    return digests.algorithm(claimed) if claimed else "sha256"
