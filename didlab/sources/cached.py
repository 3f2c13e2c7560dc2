"""Small content that is known by its digest is not asked for again."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any

from didlab.oci.descriptor import Descriptor
from didlab.oci.reference import Reference
from didlab.sources.base import Source, WrapperSource

#: Bytes of manifests and configs that one process keeps.
BUDGET = 64 * 1024 * 1024


class ContentCache:
    """Verified bytes by location and digest; the least recently used go first.

    The location is part of the key: whoever may read one repository may not therefore read
    another's content by its digest.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    def get(self, location: str, digest: str) -> bytes | None:
        """Return the content, or None."""
        with self._lock:
            raw = self._kept.get((location, digest))
            if raw is not None:
                self._kept.move_to_end((location, digest))
            return raw

    def put(self, location: str, digest: str, raw: bytes) -> None:
        """Keep verified content."""
        with self._lock:
            old = self._kept.pop((location, digest), None)
            self._held += len(raw) - (len(old) if old is not None else 0)
            self._kept[location, digest] = raw
            while self._held > self._budget and self._kept:
                _, dropped = self._kept.popitem(last=False)
                self._held -= len(dropped)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._held = 0


#: One for the process: tags of a repository share their configs.
shared = ContentCache()

if hasattr(os, "register_at_fork"):
    # A lock held by another thread at the fork would stay held for ever in the child.
    os.register_at_fork(after_in_child=lambda: setattr(shared, "_lock", threading.Lock()))


class CachedSource(WrapperSource):
    """Keeps what `fetch` gave, and what came along with `resolve`. Tags are never kept."""

    def __init__(self, inner: Source, cache: ContentCache = shared) -> None:
        super().__init__(inner)
        self._cache = cache

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.inner,)

    def resolve(self, reference: Reference) -> Descriptor:
        """Ask the inner source, and keep what came along."""
        descriptor = self.inner.resolve(reference)
        if descriptor.data is not None:
            self._cache.put(self.location, descriptor.digest, descriptor.data)
        return descriptor

    def fetch(self, descriptor: Descriptor) -> bytes:
        """Return kept content, else fetch and keep it."""
        raw = self._cache.get(self.location, descriptor.digest)
        if raw is None or len(raw) != descriptor.size:
            raw = self.inner.fetch(descriptor)
            self._cache.put(self.location, descriptor.digest, raw)
        return raw
