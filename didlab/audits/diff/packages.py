"""Which packages differ between two images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cmp_to_key
from typing import Any, TypeAlias

from didlab.audits.diff.versions import order
from didlab.audits.packages import Installed

#: Ecosystem, name and architecture.
Key: TypeAlias = tuple[str, str, str | None]
#: What is there: versions, each with its layer.
Packages: TypeAlias = dict[Key, dict[str, int]]
#: Version and layer of one of them.
There: TypeAlias = tuple[str, int]


def rows(
    before: Iterable[Installed], after: Iterable[Installed], *, across: bool = False
) -> list[tuple[Any, ...]]:
    """Return the rows of ``diff_packages``, sorted.

    Of several versions of one package those in common are left out, the others matched in
    order. Of images for different platforms (``across``) a package that each has for another
    architecture is the same one.
    """
    old, new = _by_key(before), _by_key(after)
    if across:
        old = _as_there(old, new)
    made: list[tuple[Any, ...]] = []
    for key in sorted(old.keys() | new.keys(), key=lambda key: (*key[:2], key[2] or "")):
        one, two = old.get(key, {}), new.get(key, {})
        gone = _sorted(key[0], [(name, at) for name, at in one.items() if name not in two])
        came = _sorted(key[0], [(name, at) for name, at in two.items() if name not in one])
        pairs = min(len(gone), len(came))
        # The newest with the newest: what is left over is older.
        lone_gone, gone = gone[: len(gone) - pairs], gone[len(gone) - pairs :]
        lone_came, came = came[: len(came) - pairs], came[len(came) - pairs :]
        for (name, at), (other, to) in zip(gone, came, strict=True):
            made.append((*key, _change(key[0], name, other), name or None, other or None, at, to))
        made += [(*key, "removed", name or None, None, at, None) for name, at in lone_gone]
        made += [(*key, "added", None, name or None, None, to) for name, to in lone_came]
    return made


def _as_there(old: Packages, new: Packages) -> Packages:
    """Return packages under the architecture that the other side has them for."""
    theirs: dict[tuple[str, str], set[str | None]] = {}
    ours: dict[tuple[str, str], set[str | None]] = {}
    for side, other, found in ((old, new, ours), (new, old, theirs)):
        for key in side:
            if key not in other:
                found.setdefault(key[:2], set()).add(key[2])
    made: Packages = {}
    for key, versions in old.items():
        alone = ours.get(key[:2], set()), theirs.get(key[:2], set())
        if key not in new and [len(side) for side in alone] == [1, 1]:
            made[key[0], key[1], next(iter(alone[1]))] = versions
        else:
            made[key] = versions
    return made


def _by_key(installed: Iterable[Installed]) -> Packages:
    """Return versions with their layers; a package without one is there, too."""
    found: Packages = {}
    for package, _, layer in installed:
        key = (package.ecosystem, package.name, package.architecture)
        versions = found.setdefault(key, {})
        version = package.version or ""
        versions[version] = min(layer, versions.get(version, layer))
    return found


def _sorted(ecosystem: str, versions: Sequence[There]) -> list[There]:
    def compare(one: There, two: There) -> int:
        known = order(ecosystem, one[0], two[0])
        return known or (one[0] > two[0]) - (one[0] < two[0])

    # An order that is known for some pairs only may be none: any row is right then.
    return sorted(versions, key=cmp_to_key(compare))


def _change(ecosystem: str, before: str, after: str) -> str:
    if not before or not after:
        return "changed"
    found = order(ecosystem, before, after)
    return "upgraded" if found == -1 else "downgraded" if found == 1 else "changed"
