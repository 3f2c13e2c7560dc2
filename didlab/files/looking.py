"""Looks at work: the facts that a pass gathers, file by file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial

from didlab.errors import printable
from didlab.files import tar_sparse
from didlab.files.looks import Facts, Look, Sieve, Whole
from didlab.files.picking import guarded, linked, wants
from didlab.files.table import Table

#: What one file told, as JSON.
Encoded = bytes

#: Bytes of facts that one look may keep of one layer.
KEPT = 64 * 1024 * 1024
#: What a path with its facts takes besides their bytes.
_EACH = 200

_log = logging.getLogger("didlab")


def encoded(facts: Facts) -> Encoded:
    """Return facts as they are kept; TypeError or ValueError where JSON has no such value."""
    return json.dumps(facts, separators=(",", ":"), allow_nan=False).encode()


def _facts(look: Look, path: bytes, sieve: Sieve) -> Encoded:
    facts = look.facts(path, sieve.finish())
    return encoded(facts) if facts else b""


class View:
    """One file while its content comes by; several looks may want it, each under its name."""

    def __init__(
        self,
        looking: Looking,
        wanted: Sequence[tuple[Look, bytes, Sieve]],
        offset: int,
        size: int,
        regions: tar_sparse.Regions | None,
    ) -> None:
        self._looking = looking
        self._wanted = wanted
        self._hungry = list(wanted)
        self._offset = offset
        self._size = size
        self._regions = regions
        self._stored = bytearray()

    def feed(self, data: bytes) -> bool:
        """Take the next bytes, of a sparse file those that are stored; False: no more."""
        if self._regions is not None:
            self._stored += data
            return True
        if self._hungry:
            self._hungry = [one for one in self._hungry if self._takes(*one, data)]
        return bool(self._hungry)

    def _takes(self, look: Look, path: bytes, sieve: Sieve, data: bytes) -> bool:
        def feed() -> bool:
            sieve.feed(data)
            return not getattr(sieve, "over", False)

        hungry = guarded(look, path, feed, None)
        if hungry is None:
            self._wanted = [one for one in self._wanted if one[2] is not sieve]
        return bool(hungry)

    def finish(self) -> None:
        """Turn what came into facts; the content is let go."""
        if self._regions is not None:
            count = sum(length for _, length in self._regions)
            filled = tar_sparse.filled(self._stored[:count], self._regions, self._size)
            self._regions, self._stored = None, bytearray()
            self.feed(bytes(filled))
        for look, path, sieve in self._wanted:
            found = guarded(look, path, partial(_facts, look, path, sieve), b"")
            self._looking.keep(look, path, self._offset, found)
        self._wanted, self._hungry = [], []


class Looking:
    """What looks learn of one layer.

    Of a path that comes twice the last one holds. A file is known by where its content begins
    in the tar.
    """

    def __init__(self, looks: Sequence[Look]) -> None:
        self.looks = tuple({look.name: look for look in looks}.values())
        self._found: dict[str, dict[bytes, tuple[int, Encoded]]] = {
            look.name: {} for look in self.looks
        }
        self._seen: dict[str, set[int]] = {look.name: set() for look in self.looks}
        self._weights = dict.fromkeys(self._found, 0)
        self._full: set[str] = set()

    def view(
        self, path: bytes, offset: int, size: int, regions: tar_sparse.Regions | None = None
    ) -> View | None:
        """Return what takes the content of a file, or None where nobody wants it."""
        if not size:
            return None
        named = [(look, path) for look in self.looks if wants(look, path, size)]
        return self.view_of(named, offset, size, regions) if named else None

    def view_of(
        self,
        named: Sequence[tuple[Look, bytes]],
        offset: int,
        size: int,
        regions: tar_sparse.Regions | None = None,
    ) -> View | None:
        """Return what takes the content of a file that these looks want under these names."""
        wanted = []
        for look, path in named:
            self._seen[look.name].add(offset)
            sieve = guarded(look, path, partial(look.sieve, path, size), None)
            if sieve is None:
                continue
            # A sparse file is put together in memory, whatever would be kept of it.
            if size > look.most and (isinstance(sieve, Whole) or regions is not None):
                shown = printable(path.decode("utf-8", "backslashreplace"), 300)
                _log.info("%s: %s has %d bytes, it is passed over", look.name, shown, size)
                continue
            wanted.append((look, path, sieve))
        return View(self, wanted, offset, size, regions) if wanted else None

    def keep(self, look: Look, path: bytes, offset: int, found: Encoded) -> None:
        """Keep what a file told, unless a later one of its path is there."""
        known = self._found[look.name]
        before = known.get(path)
        if before is not None:
            if before[0] > offset:
                return
            del known[path]
            self._weights[look.name] -= _EACH + len(path) + len(before[1])
        if not found:
            return
        weight = self._weights[look.name] + _EACH + len(path) + len(found)
        if weight <= KEPT:
            self._weights[look.name] = weight
            known[path] = offset, found
        elif look.name not in self._full:
            self._full.add(look.name)
            _log.warning("%s: more than %d bytes of facts, the rest is left out", look.name, KEPT)

    @property
    def paths(self) -> set[bytes]:
        """Paths that something is known of."""
        return {path for found in self._found.values() for path in found}

    def only_last(self, last: Mapping[bytes, int]) -> None:
        """Drop what is not of the last entry of its path; ``last`` has offsets by path."""
        for found in self._found.values():
            for path in [path for path, (at, _) in found.items() if last.get(path, at) != at]:
                del found[path]

    def told(self) -> dict[str, dict[bytes, Encoded]]:
        """Return what each look learned, by its name and the file's path."""
        return {
            name: {path: facts for path, (_, facts) in found.items()}
            for name, found in self._found.items()
        }

    def finish(self, table: Table) -> dict[str, dict[bytes, Encoded]]:
        """Return what each look learned, by its name and the file's path.

        A hard link has the facts of the file that it shares. Where a look wants a hard link, but
        not the file under its own name, that file went by: then nothing is told of that look.
        """
        missed: set[str] = set()
        for look in self.looks:
            found = self._found[look.name]
            seen = self._seen[look.name]
            for row, target in linked(look, table):
                path, shared = table.paths[row], table.paths[target]
                known = found.get(shared)
                if known is not None and known[0] == table.offsets[target]:
                    # Another entry may have taken the name since.
                    if table.find(path) == row:
                        found[path] = known
                elif table.offsets[target] not in seen or table.find(shared) != target:
                    missed.add(look.name)
                    break
        return {name: found for name, found in self.told().items() if name not in missed}
