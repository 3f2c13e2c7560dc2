"""Digests of what files hold: learned of layers only when somebody asks, and kept with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from didlab.files import kept, toc
from didlab.files.content import pieces
from didlab.files.looks import Facts, Look, Sieve
from didlab.files.table import FILE, Table
from didlab.model import learning
from didlab.model.indexing import known_index

if TYPE_CHECKING:
    from didlab.files.content import Content
    from didlab.files.kept import Merged
    from didlab.model.inside import Layers

#: From this part of a layer's content on, all of it is hashed: the next question may be about
#: the rest, and all of the layer is read anyway.
_MUCH = 3
#: Files that are read one by one: those whose layer has another one of their name. Images have
#: none or few.
_ALONE = 100


class DigestsLook(Look):
    """The SHA-256 of files' content: of all of them, or of some paths."""

    def __init__(self, paths: frozenset[bytes] | None = None) -> None:
        self.name = "digests 1"
        self._paths = paths
        if paths is not None:
            named = hashlib.sha256(b"\0".join(sorted(paths))).hexdigest()
            self.name = f"digests 1 of {named}"

    def wants(self, path: bytes, size: int) -> bool:
        """Whether a file is asked about."""
        return size > 0 and (self._paths is None or path in self._paths)

    def maybe(self, paths: bytes) -> bool:
        """Whether a file among the paths is asked about."""
        return self._paths is None or not self._paths.isdisjoint(paths.split(b"\0"))

    def sieve(self, path: bytes, size: int) -> Sieve:
        """Return what hashes the content and keeps none of it."""
        del path, size
        return _Hash()

    def facts(self, path: bytes, content: bytes) -> Facts:
        """Return the digest's encoded part."""
        del path
        return [content.hex()]


class _Hash:
    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._hash.update(data)

    def finish(self) -> bytes:
        """Return the digest."""
        return self._hash.digest()


def digests(layers: Layers, merged: Merged, rows: Sequence[int], *, read: bool) -> list[str | None]:
    """Return the encoded SHA-256 of files of a merged file system, None where it is not known.

    Parameters
    ----------
    rows : sequence of int
        Files with content.
    read : bool
        Learn what is not known: at most 10 requests for a layer, or one for all of it. Else
        nothing is asked of anybody.

    Raises
    ------
    As `Layers.learn`.
    """
    table = merged.table
    if table.homes is None or table.origins is None:
        raise AssertionError("a merged table says where content lies")
    asked: dict[int, dict[int, bytes]] = {}
    homes = {table.homes[row] for row in rows} - {-1}
    plain = {home: _Known(layers, merged, home, read=read) for home in homes}
    if not any(read or known.looked for known in plain.values()):
        return [None] * len(rows)
    for row in rows:
        home, origin = table.homes[row], table.origins[row]
        if home >= 0 and (path := plain[home].path(origin)) is not None:
            asked.setdefault(home, {})[origin] = path
    told = {home: plain[home].facts() for home in asked}
    if read:
        _learn(layers, {home: plain[home] for home in asked}, asked, told)
    found: list[str | None] = []
    alone = 0
    for row in rows:
        home, origin = table.homes[row], table.origins[row]
        path = asked.get(home, {}).get(origin)
        if path is not None:
            found.append(told[home].get(path))
        elif read and home >= 0 and alone < _ALONE:
            alone += 1
            found.append(_read(layers.merged_content(row, merged)))
        else:
            found.append(None)
    return found


def _read(content: Content) -> str:
    """Return the digest of one of the few files whose layer has another one of its name."""
    hashed = hashlib.sha256()
    for piece in pieces(content):
        hashed.update(piece)
    return hashed.hexdigest()


class _Known:
    """What is known of one layer."""

    def __init__(self, layers: Layers, merged: Merged, home: int, *, read: bool) -> None:
        self.descriptor = layers._wanted[home].descriptor
        self._kept = kept.facts(
            self.descriptor.digest,
            self.descriptor.size,
            DigestsLook().name,
            toc.vouched(self.descriptor),
        )
        self.looked = self._kept is not None
        index = None
        if read:
            index = layers.index(home)
        elif self._kept is not None:
            index = known_index(self.descriptor)
        # Listed in another way since, its rows are others.
        if index is not None and index.kind != merged.kinds[home]:
            index = None
        self.table: Table | None = None if index is None else index.table
        self._last: dict[bytes, int] = {}
        if self.table is not None:
            self._last = dict(zip(self.table.paths, range(len(self.table)), strict=True))

    def path(self, origin: int) -> bytes | None:
        """Return the path that facts about a row are known by; None where they are another's."""
        if self.table is None:
            return None
        path = self.table.paths[origin]
        # Of a path that comes twice the last one is looked at.
        return path if self._last[path] == origin else None

    def facts(self) -> _Told:
        """Return what all files' digests are, where the layer was looked at before."""
        told = _Told()
        if self._kept is not None:
            told.layers.append(self._kept)
        return told

    def much(self, paths: Mapping[int, bytes]) -> bool:
        """Whether so many files are most of the layer."""
        if self.table is None:
            return False
        wanted = sum(self.table.sizes[row] for row in paths)
        kinds = zip(self.table.types, self.table.sizes, strict=True)
        return wanted * _MUCH > sum(size for kind, size in kinds if kind == FILE)


class _Told:
    """Digests by path, from facts."""

    def __init__(self) -> None:
        self.layers: list[Mapping[bytes, Any]] = []

    def get(self, path: bytes) -> str | None:
        """Return a file's digest."""
        for facts in self.layers:
            found = facts.get(path)
            if isinstance(found, bytes):
                found = json.loads(found)
            if isinstance(found, list) and len(found) == 1 and isinstance(found[0], str):
                return found[0]
        return None


def _learn(
    layers: Layers,
    known: Mapping[int, _Known],
    asked: Mapping[int, Mapping[int, bytes]],
    told: Mapping[int, _Told],
) -> None:
    """Add to what is told what is not known yet."""
    whole: list[int] = []
    some: dict[int, set[bytes]] = {}
    for home, paths in asked.items():
        missing = {row: path for row, path in paths.items() if told[home].get(path) is None}
        if missing and told[home].layers:
            continue  # it was looked at, and passed over: too many files
        if missing and known[home].much(missing):
            whole.append(home)
        elif missing:
            some[home] = set(missing.values())
    title = layers._title(layers._wanted).replace("listing", "comparing files of", 1)
    looks: list[tuple[DigestsLook, list[int]]] = [(DigestsLook(), whole)]
    if some:
        looks.append((DigestsLook(frozenset().union(*some.values())), list(some)))
    for look, homes in looks:
        if not homes:
            continue
        wanted = [layers._wanted[home] for home in homes]
        found = learning.learned(layers._source, wanted, [look], title, layers._manner)
        for home, facts in zip(homes, found[look.name], strict=True):
            told[home].layers.append(facts)
