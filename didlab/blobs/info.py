"""`didlab.cache_info` and `didlab.clear_cache`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from didlab.blobs import store, trimming
from didlab.sizes import human


@dataclass(frozen=True, repr=False)
class CacheInfo:
    """What the local store holds.

    Attributes
    ----------
    path : Path or None
        Its folder; None where there is no store.
    blobs : int
        Blobs in it.
    bytes : int
        Their size together.
    derived : int
        Bytes of what was worked out from blobs: the indexes of layers, merged file systems.
    limit : int
        How much it may hold.
    partial_bytes : int
        Content on its way into it, or left by processes that died.
    """

    path: Path | None
    blobs: int
    bytes: int
    derived: int
    limit: int
    partial_bytes: int

    def __repr__(self) -> str:
        if self.path is None:
            return "<CacheInfo: no local store>"
        partial = f" · {human(self.partial_bytes)} on their way" if self.partial_bytes else ""
        indexes = f" · {human(self.derived)} of indexes" if self.derived else ""
        noun = "blob" if self.blobs == 1 else "blobs"
        return (
            f"<CacheInfo {self.path} · {self.blobs} {noun} · {human(self.bytes)} of "
            f"{human(self.limit)}{indexes}{partial}>"
        )


def cache_info() -> CacheInfo:
    """Look at the local store: where it lies and how full it is.

    ``DIDLAB_CACHE`` names its folder (empty or ``0``: no store), ``DIDLAB_CACHE_LIMIT`` how much
    it may hold (bytes, or ``20GB``; 10 GB if not set).

    Returns
    -------
    CacheInfo
    """
    found = store.default()
    if found is None:
        return CacheInfo(None, 0, 0, 0, 0, 0)
    sizes = [one.size for one in trimming.blobs(found.root)]
    partial = sum(one.size for one in trimming.partials(found.root))
    derived = sum(one.size for one in trimming.derived(found.root))
    return CacheInfo(found.root, len(sizes), sum(sizes), derived, found.limit, partial)


def clear_cache() -> int:
    """Empty the local store.

    What another process reads just now stays readable for it.

    Returns
    -------
    int
        Bytes freed.
    """
    found = store.default()
    return 0 if found is None else trimming.clear(found.root)
