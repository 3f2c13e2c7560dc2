"""Writing a plan in order, into whatever takes bytes: a pipe, a socket, a compressor.

Each blob's last piece is held back until its digest is known to be right, and the end marker
follows only what is complete: after a failure no reader takes what it got for an archive.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from didlab import _pausing as pausing
from didlab.blobs import store as stores
from didlab.errors import InvalidArgument, WriteFailed
from didlab.export import progress
from didlab.export.content import Content
from didlab.export.fetch import resuming
from didlab.export.foreign import explained
from didlab.export.plan import Hole, Piece, SavePlan
from didlab.export.report import Made
from didlab.export.running import Manner, over_the_network
from didlab.export.staging import SourceOf
from didlab.oci.digest import Verifier
from didlab.sources.base import Source

#: Takes all of some bytes, or raises.
Write = Callable[[bytes], None]


def is_stream(target: object) -> bool:
    """Whether a target is something to write into, rather than a path."""
    return callable(getattr(target, "write", None)) and not hasattr(target, "__fspath__")


def writer(stream: Any) -> Write:
    """Return what writes into a user's binary file object; only its ``write`` is used.

    Raises
    ------
    InvalidArgument
        It takes text.
    """
    # Not all that take text are io's own: notebooks and test runners replace sys.stdout.
    if isinstance(stream, io.TextIOBase) or isinstance(getattr(stream, "encoding", None), str):
        raise InvalidArgument(
            "an archive is bytes, and this stream takes text",
            hint="hand over sys.stdout.buffer, or a file opened in mode 'wb'",
        )

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                took = stream.write(view)
            except OSError as error:
                raise WriteFailed(
                    f"the stream took no more: {error.strerror or error}",
                    hint="what it got is no complete archive",
                ) from error
            except TypeError:
                raise InvalidArgument(
                    "an archive is bytes, and this stream does not take them",
                    hint="open the file in mode 'wb'",
                ) from None
            # Files without a buffer may take a part; many others do not say.
            view = view[took if isinstance(took, int) else len(view) :]

    return write


def write_plan(
    planned: SavePlan, source_of: SourceOf, write: Write, manner: Manner, *, title: str
) -> Made:
    """Write everything in order, each blob verified on its way."""
    began = time.monotonic()
    bar = progress.start(manner.progress, planned.to_fetch, title)
    served: Counter[str] = Counter()
    reused = 0
    try:
        with manner.waiting():
            for part in planned.parts:
                if isinstance(part, Piece):
                    write(part.data)
                else:
                    came = _copy(part, source_of(part.descriptor.digest), write, bar, served)
                    reused += part.descriptor.size - came
    finally:
        bar.close()
    sources = (source_of(hole.descriptor.digest) for hole in planned.holes)
    came, hosts = over_the_network(planned.to_fetch - reused, served, sources)
    return Made(
        downloaded=came,
        reused=planned.to_fetch - came,
        seconds=time.monotonic() - began,
        served=hosts,
    )


def _copy(hole: Hole, source: Source, write: Write, bar: Any, served: Counter[str]) -> int:
    """Write one blob; return the bytes of it that the local store did not have."""
    descriptor = hole.descriptor
    known = stores.default()
    kept = known.open(descriptor.digest, descriptor.size) if known is not None else None
    if kept is not None:
        with kept:
            for data in kept.pieces(0, descriptor.size):
                write(data)
                bar.update(len(data))
        return 0
    reader = source.open(descriptor)
    verifier = Verifier(descriptor.digest, descriptor.size, where=source.location)
    held = b""
    stream = resuming(reader)
    with contextlib.closing(stream):  # type: ignore[type-var]
        for data in _explained(stream, hole):
            verifier.update(data)
            write(held)
            held = bytes(data)
            served[reader.served_by or ""] += len(data)
            bar.update(len(data))
            pausing.check()
    verifier.check()
    write(held)
    return descriptor.size


def _explained(pieces: Iterator[bytes], hole: Hole) -> Iterator[bytes]:
    try:
        yield from pieces
    except Exception as error:
        better = explained(error, hole.descriptor)
        if better is error:
            raise
        raise better from None


def title(contents: Sequence[Content]) -> str:
    """Return what a bar is called where there is no file name."""
    names = [content.reference.familiar() for content in contents]
    return names[0] if len(names) == 1 else f"{len(names)} images"
