"""What is in the store, and making room in it."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from didlab.blobs.folder import ALGORITHMS, VERSION

#: Blobs used within so many seconds are left alone, but by `clear`.
RECENT = 60.0
#: Seconds without a write after which content on its way is somebody's who died.
STALE = 6 * 3600.0
#: Names of tags that are remembered.
TAGS = 10_000

_BLOB = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}
_INGEST = re.compile(r"[0-9a-f]{32}")
_DERIVED = re.compile(r"[0-9a-f]{64}")
_TAG = re.compile(r"[0-9a-f]{64}\.json")


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the store; ``used`` is when it was used last."""

    path: Path
    size: int
    used: float

    def age(self, now: float) -> float:
        """Seconds since it was used; none where the clock went back."""
        return max(0.0, now - self.used)


def _files(folder: Path, name: re.Pattern[str]) -> Iterator[Kept]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if name.fullmatch(entry.name) is None:
                    continue
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        used = max(status.st_atime, status.st_mtime)
                        yield Kept(Path(entry.path), status.st_size, used)
    except OSError:
        return


def blobs(root: Path) -> Iterator[Kept]:
    """Yield the blobs; what has another name than a digest is not the store's."""
    for algorithm in ALGORITHMS:
        yield from _files(root / VERSION / "blobs" / algorithm, _BLOB[algorithm])


def partials(root: Path) -> Iterator[Kept]:
    """Yield content on its way."""
    return _files(root / VERSION / "ingest", _INGEST)


def tags(root: Path) -> Iterator[Kept]:
    """Yield the files that remember tags."""
    return _files(root / VERSION / "tags", _TAG)


def derived(root: Path) -> Iterator[Kept]:
    """Yield what was worked out from blobs."""
    return _files(root / VERSION / "derived", _DERIVED)


def trim(root: Path, limit: int) -> None:
    """Remove what the dead left, then what was not used for longest until the limit holds."""
    now = time.time()
    total = 0
    for one in partials(root):
        if one.age(now) < STALE or not _remove(one):
            total += one.size
    kept = [*blobs(root), *derived(root)]
    total += sum(one.size for one in kept)
    if total > limit:
        # Somewhat below the limit, so that not every commit has to look for room.
        _shrink(kept, total - limit * 9 // 10, now)
    remembered = sorted(tags(root), key=lambda one: one.used)
    for one in remembered[: max(0, len(remembered) - TAGS)]:
        _remove(one)


def _shrink(kept: list[Kept], excess: int, now: float) -> None:
    for one in sorted(kept, key=lambda one: one.used):
        if excess <= 0:
            return
        if one.used > now + RECENT:
            # Written while the clock was wrong: its age counts from now on.
            with contextlib.suppress(OSError):
                os.utime(one.path, (now, now))
        elif one.age(now) >= RECENT and _drop(one):
            excess -= one.size


def _drop(one: Kept) -> bool:
    """Remove a file unless another process began to use it since the folder was listed."""
    try:
        status = os.lstat(one.path)
    except FileNotFoundError:
        return True  # another process makes room as well, and more need not go
    except OSError:
        return False
    return max(status.st_atime, status.st_mtime) <= one.used and _remove(one)


def clear(root: Path) -> int:
    """Remove everything that is not being written just now; return the bytes freed."""
    now = time.time()
    old = [one for one in partials(root) if one.age(now) >= RECENT]
    return sum(
        one.size for one in [*blobs(root), *derived(root), *old, *tags(root)] if _remove(one)
    )


def _remove(one: Kept) -> bool:
    # A reader keeps its open handle; on Windows the file stays until the next time.
    try:
        one.path.unlink()
    except OSError:
        return False
    return True
