"""A small save without a network, for tests of what it asks of the operating system."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from didlab.errors import Truncated
from didlab.export import archive, output, running
from didlab.export.plan import Hole, Piece, SavePlan
from didlab.export.report import Made
from didlab.export.running import Manner
from didlab.oci.descriptor import Descriptor

_noise = random.Random(8)
BLOBS = tuple(_noise.randbytes(size) for size in (150_000, 60_000, 700))
PIECE = 4096


class Source:
    """Gives the blobs in small pieces; ``cut`` is the number of bytes after which it breaks off."""

    location = "memory:local"

    def __init__(self, cut: int | None = None) -> None:
        self.left = cut
        self._lock = threading.Lock()

    def open(self, descriptor: Descriptor) -> Any:
        return _Reader(self, descriptor)

    def spend(self, count: int) -> None:
        with self._lock:
            if self.left is not None:
                self.left -= count
                if self.left < 0:
                    raise Broken("the source broke off")


class Broken(Truncated):
    """Not worth another try."""

    retryable = False


class _Reader:
    ranged = True
    places: tuple[str, ...] = ()
    served_by = "local"

    def __init__(self, source: Source, descriptor: Descriptor) -> None:
        self._source = source
        self._content = next(blob for blob in BLOBS if digest(blob) == descriptor.digest)
        self.size = descriptor.size

    def stream(self, start: int = 0, stop: int | None = None, **_: object) -> Generator[bytes]:
        stop = self.size if stop is None else stop
        for at in range(start, stop, PIECE):
            piece = self._content[at : min(at + PIECE, stop)]
            self._source.spend(len(piece))
            yield piece

    def abort(self) -> None:
        pass


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _planned() -> tuple[SavePlan, bytes]:
    pieces, holes, whole = [], [], b""
    for number, blob in enumerate(BLOBS):
        known = b"%d" % number * 512
        pieces.append(Piece(len(whole), known))
        whole += known
        holes.append(Hole(len(whole), Descriptor("application/x", digest(blob), len(blob))))
        whole += blob
    pieces.append(Piece(len(whole), b"end" * 100))
    whole += b"end" * 100
    return SavePlan(len(whole), tuple(pieces), tuple(holes)), whole


#: What is saved, and how the file looks then.
PLAN, WHOLE = _planned()


def save(target: Path, cut: int | None = None, *, overwrite: bool = False) -> Made:
    source = Source(cut)
    manner = Manner(progress=False, workers=2, overwrite=overwrite)
    return archive._save(PLAN, lambda _: source, target, manner)  # type: ignore[arg-type,return-value]


class System:
    """Stands in the place of the module ``os``; ``before(name, call)`` sees each call.

    One call at a time, so that what is seen has one order.
    """

    def __init__(self, before: Callable[[str, Callable[[], Any], tuple[Any, ...]], Any]) -> None:
        self._before = before
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        real = getattr(output_os, name)
        if name not in WATCHED:
            return real

        def call(*arguments: Any, **named: Any) -> Any:
            with self._lock:
                return self._before(name, lambda: real(*arguments, **named), arguments)

        return call


#: The calls of the operating system that a partial file makes.
WATCHED = (
    "open",
    "dup",
    "posix_fallocate",
    "pwrite",
    "pread",
    "ftruncate",
    "fsync",
    "fdatasync",
)
output_os = output.os


def install(patch: pytest.MonkeyPatch, system: System) -> None:
    """Have partial files use ``system``; renaming and removing go through it as well."""
    patch.setattr(running, "NOTE", 16 * 1024)
    patch.setattr(output, "_FLUSH_EVERY", 0.002)
    patch.setattr(output, "os", system)
    for name in ("rename", "replace", "unlink"):
        real = getattr(Path, name)

        def call(
            path: Path, *arguments: Any, real: Any = real, name: str = name, **named: Any
        ) -> Any:
            with system._lock:
                return system._before(
                    name, lambda: real(path, *arguments, **named), (path, *arguments)
                )

        patch.setattr(Path, name, call)
