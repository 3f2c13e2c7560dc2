"""What package managers and builds left behind: files that nobody reads when the image runs."""

from __future__ import annotations

import re
from typing import NamedTuple

from didlab.files.table import FILE, HARDLINK, Table

__all__ = ["CACHES", "Cache", "left"]

#: Who leaves it, and its folder, as a regular expression: from the root, or anywhere.
CACHES: tuple[tuple[str, str], ...] = (
    ("apt lists", r"\A/var/lib/apt/lists"),
    ("apt archives", r"\A/var/cache/apt"),
    ("apk", r"\A/(?:var/cache/apk|etc/apk/cache)"),
    ("dnf", r"\A/var/cache/(?:yum|dnf|libdnf5?|rpm-ostree)"),
    ("zypper", r"\A/var/cache/zypp"),
    ("pacman", r"\A/var/(?:cache/pacman/pkg|lib/pacman/sync)"),
    ("man-db", r"\A/var/cache/man"),
    ("tmp", r"\A/(?:var/)?tmp"),
    ("pip", r"/\.cache/pip"),
    ("uv", r"/\.cache/uv"),
    ("poetry", r"/\.cache/pypoetry"),
    ("conda", r"/(?:(?:ana|mini)?conda|mambaforge|miniforge|micromamba|mamba)3?/pkgs"),
    ("npm", r"/(?:\.npm/_(?:cacache|logs|npx)|\.cache/node-gyp)"),
    ("yarn", r"/(?:\.cache/yarn|\.yarn/(?:berry/)?cache)"),
    ("pnpm", r"/(?:\.local/share/pnpm/store|\.cache/pnpm)"),
    ("go", r"/(?:\.cache/go-build|go/pkg/mod/cache)"),
    ("cargo", r"/(?:\.cargo|local/cargo)/(?:registry|git)"),
    ("gem", r"/(?:(?:gems|ruby)/[0-9.]+|bundle)/cache"),
    ("composer", r"/(?:\.composer/cache|\.cache/composer)"),
    ("gradle", r"/\.gradle/(?:caches|daemon|wrapper/dists)"),
    ("ccache", r"/(?:\.cache/ccache|\.ccache)"),
    ("git", r"/\.git"),
)
_FOLDERS = re.compile(
    "(?:{})/".format("|".join(f"({folder})" for _, folder in CACHES)).encode(), re.DOTALL
)


class Cache(NamedTuple):
    """A folder's files, as far as one layer has them.

    Attributes
    ----------
    kind : str
        Who left it.
    path : bytes
        The folder.
    files, size : int
        How many, and the bytes of their content.
    layer : int
    """

    kind: str
    path: bytes
    files: int
    size: int
    layer: int


def left(table: Table) -> list[Cache]:
    """Return the caches in a merged file system, the largest first.

    Content that has a name outside, too, is not counted: it would stay if the cache went.
    """
    if table.homes is None or table.origins is None:
        return []
    found: dict[tuple[str, bytes, int], list[int]] = {}
    outside = _outside(table) if HARDLINK in table.types else set()
    rows = zip(table.paths, table.types, table.sizes, table.homes, table.origins, strict=True)
    for path, kind, size, home, origin in rows:
        if kind != FILE or not size:
            continue
        match = _FOLDERS.search(path)
        if match is None or (home, origin) in outside:
            continue
        name = CACHES[(match.lastindex or 1) - 1][0]
        sums = found.setdefault((name, path[: match.end() - 1], home), [0, 0])
        sums[0] += 1
        sums[1] += size
    made = [
        Cache(name, path, count, size, layer)
        for (name, path, layer), (count, size) in found.items()
    ]
    return sorted(made, key=lambda one: (-one.size, one.path, one.layer))


def _outside(table: Table) -> set[tuple[int, int]]:
    """Return the content of hard links outside of every cache."""
    if table.homes is None or table.origins is None:
        return set()
    return {
        (home, origin)
        for path, kind, home, origin in zip(
            table.paths, table.types, table.homes, table.origins, strict=True
        )
        if kind == HARDLINK and _FOLDERS.search(path) is None
    }
