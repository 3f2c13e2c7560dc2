"""The sources around a registry's: what is kept in memory, then what is kept on disk."""

from __future__ import annotations

from didlab.sources.cached import CachedSource
from didlab.sources.registry import RegistrySource
from didlab.sources.stored import StoredSource
from didlab.transport.options import Options


def registry(name: str, options: Options, repository: str) -> CachedSource:
    """Return the source for one repository at a registry: no I/O."""
    inner = RegistrySource(name, options, repository)
    return CachedSource(StoredSource(inner, options.offline))
