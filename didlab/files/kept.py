"""Indexes and facts where they can be found again: in this process, and in the local store."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from didlab._once import Once
from didlab.blobs import derived
from didlab.blobs import store as stores
from didlab.errors import LocalStoreError, MalformedContent
from didlab.files import codec
from didlab.files.index import LayerIndex
from didlab.files.table import Table

T = TypeVar("T")

#: Entries of indexes and merged file systems that stay in memory, least recently used first out;
#: about 150 bytes each.
ENTRIES = 500_000
#: Bytes of facts that stay in memory, as JSON.
FACTS = 64 * 1024 * 1024
#: What a path with its facts takes besides their bytes.
_EACH = 200

_log = logging.getLogger("didlab")


class Merged:
    """A merged file system, and what its layers' indexes were: it refers to rows of theirs.

    Attributes
    ----------
    rows : int
        How many entries there are.
    kinds, diff_ids : tuple
        Of each layer's index.
    """

    def __init__(
        self,
        table: Callable[[], Table],
        rows: int,
        kinds: tuple[str, ...],
        diff_ids: tuple[str | None, ...],
        around: Callable[[bytes], Table | None] = lambda _: None,
    ) -> None:
        self._table = Once(table)
        self._around = around
        self.rows = rows
        self.kinds = kinds
        self.diff_ids = diff_ids

    @property
    def table(self) -> Table:
        """All entries, sorted by path."""
        return self._table()

    def near(self, path: bytes) -> Table:
        """Return a table that has this path, if there is one: all entries, or those around it."""
        known = self._table.known
        return known or self._around(path) or self.table


class _Recent(Generic[T]):
    """The results used last, by key, bounded by what they weigh together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._known: OrderedDict[object, tuple[T, int]] = OrderedDict()
        self._weight = 0

    def get(self, key: object) -> T | None:
        with self._lock:
            found = self._known.get(key)
            if found is None:
                return None
            self._known.move_to_end(key)
            return found[0]

    def put(self, key: object, value: T, weight: int) -> None:
        with self._lock:
            before = self._known.pop(key, None)
            if before is not None:
                self._weight -= before[1]
            self._known[key] = (value, weight)
            self._weight += weight
            while self._weight > self._limit and len(self._known) > 1:
                _, (_, dropped) = self._known.popitem(last=False)
                self._weight -= dropped

    def drop(self, key: object) -> None:
        with self._lock:
            _, weight = self._known.pop(key, (None, 0))
            self._weight -= weight

    def clear(self) -> None:
        with self._lock:
            self._known.clear()
            self._weight = 0

    def after_fork(self) -> None:
        """Begin anew: the fork may have come in the middle of a change."""
        self._lock = threading.Lock()
        self._known = OrderedDict()
        self._weight = 0


_indexes: _Recent[LayerIndex] = _Recent(ENTRIES)
_merged: _Recent[Merged] = _Recent(ENTRIES)
_facts: _Recent[Mapping[bytes, bytes]] = _Recent(FACTS)

if hasattr(os, "register_at_fork"):
    # A lock that another thread held at the fork would stay held for ever in the child.
    os.register_at_fork(after_in_child=_indexes.after_fork)
    os.register_at_fork(after_in_child=_merged.after_fork)
    os.register_at_fork(after_in_child=_facts.after_fork)


def index(digest: str, size: int, table: str = "") -> LayerIndex | None:
    """Return the index of a layer if it was made before; no I/O beyond the local store.

    ``table`` names the table of contents that an image's manifest vouches for: an index made of it
    is for images only that vouch for the same. One that was made by a pass is for all of them.
    """
    found = _index(digest, size, "")
    return _index(digest, size, table) if found is None and table else found


def _index(digest: str, size: int, table: str) -> LayerIndex | None:
    key = (digest, size, table)
    found = _indexes.get(key)
    if found is None:
        found = _load(
            _index_name(digest, table), lambda raw: codec.load_index(raw, digest, size, table)
        )
        if found is not None:
            _indexes.put(key, found, found.rows)
    return found


def _index_name(digest: str, table: str) -> str:
    return " ".join(filter(None, ["index", digest, table]))


def keep_index(made: LayerIndex) -> None:
    """Remember an index, in the local store as well where there is one."""
    _indexes.put((made.digest, made.size, made.vouched), made, made.rows)
    _keep(_index_name(made.digest, made.vouched), lambda: codec.dump_index(made))


def facts(digest: str, size: int, look: str, table: str = "") -> Mapping[bytes, bytes] | None:
    """Return what a look learned of a layer, JSON by path; None where it never looked.

    ``look`` is its name, ``table`` as for `index`: what was read by a table of contents is known
    to images only that vouch for the same.
    """
    found = _look(digest, size, look, "")
    return _look(digest, size, look, table) if found is None and table else found


def _look(digest: str, size: int, look: str, table: str) -> Mapping[bytes, bytes] | None:
    key = (digest, size, look, table)
    found = _facts.get(key)
    if found is None:
        found = _load(
            _facts_name(digest, look, table),
            lambda raw: codec.load_facts(raw, digest, size, look, table),
        )
        if found is not None:
            _facts.put(key, found, _weight(found))
    return found


def keep_facts(
    digest: str, size: int, look: str, found: Mapping[bytes, bytes], table: str = ""
) -> None:
    """Remember what a look learned of a layer, in the local store as well where there is one."""
    _facts.put((digest, size, look, table), found, _weight(found))
    name = _facts_name(digest, look, table)
    _keep(name, lambda: codec.dump_facts(found, digest, size, look, table))


def _facts_name(digest: str, look: str, table: str) -> str:
    # Whoever names a look may put anything into it.
    return "\0".join(["facts", digest, table, look])


def _weight(found: Mapping[bytes, bytes]) -> int:
    return _EACH + sum(_EACH + len(path) + len(text) for path, text in found.items())


def merged(layers: Sequence[str]) -> Merged | None:
    """Return the merged file system of layers, base first, if it was made before.

    ``layers`` are digests, each with the table of contents that is vouched for, if there is one.
    """
    key = tuple(layers)
    found = _merged.get(key)
    if found is None:
        found = _load(_name(key), lambda raw: _stored(raw, key))
        if found is not None:
            _merged.put(key, found, found.rows)
    return found


def _stored(raw: bytes, layers: Sequence[str]) -> Merged:
    grouped, rows, kinds, diff_ids = codec.load_merged(raw, layers)
    return Merged(grouped.whole, rows, kinds, diff_ids, grouped.around)


def keep_merged(layers: Sequence[str], made: Merged) -> None:
    """Remember a merged file system."""
    key = tuple(layers)
    _merged.put(key, made, made.rows)
    _keep(_name(key), lambda: codec.dump_merged(made.table, key, made.kinds, made.diff_ids))


def forget_merged(layers: Sequence[str]) -> None:
    """Forget one whose layers were listed anew in another way."""
    key = tuple(layers)
    _merged.drop(key)
    store = stores.default()
    if store is not None:
        derived.discard(store.root, _name(key))


def forget() -> None:
    """Forget what this process remembers; the local store keeps what it has."""
    _indexes.clear()
    _merged.clear()
    _facts.clear()


def _name(layers: Sequence[str]) -> str:
    return " ".join(["merged", *layers])


def _load(name: str, parse: Callable[[bytes], T]) -> T | None:
    store = stores.default()
    raw = None if store is None else derived.load(store.root, name)
    if store is None or raw is None:
        return None
    try:
        return parse(raw)
    except MalformedContent:
        derived.discard(store.root, name)
        return None


def _keep(name: str, content: Callable[[], bytes]) -> None:
    store = stores.default()
    if store is None:
        return
    try:
        derived.keep(store.root, name, content())
    except LocalStoreError as error:
        _log.warning("an index could not be kept: %s", error)
