"""Decompress layers as they come, and take up in the middle.

`decoder` for the whole layer, with the seek points (`Mark`) it finds on the way; `span` from one
of them on. What the bytes are, `didlab.files.sniff` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from didlab.files import gzip_budget, inflate, zstdlib
from didlab.files.gzip_plain import PlainGzip
from didlab.files.gzip_points import Gzip
from didlab.files.limits import DEFAULT, Limits
from didlab.files.sniff import Kind
from didlab.files.windows import Mark
from didlab.files.zstd import Zstd

__all__ = ["SPAN", "Decoder", "Mark", "can_seek", "decoder", "span"]

#: Bytes between two marks of a layer that is not compressed.
SPAN = 768 * 1024
_ROOM = 1024 * 1024


class Decoder(Protocol):
    """What turns a layer's bytes into a tar.

    Attributes
    ----------
    kind : {"gzip", "zstd", "tar"}
        How the layer is compressed.
    marks : list of Mark
        Where decoding can be taken up, appended as they are found; the first is the start. Their
        windows are complete after `end`.
    """

    @property
    def kind(self) -> Kind: ...  # noqa: D102

    marks: list[Mark]

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what comes out of the next bytes; each iterator is to be exhausted."""
        ...

    def end(self) -> None:
        """Say that nothing more comes: CompressionInvalid if the layer is cut off."""
        ...

    def enter(self, mark: Mark) -> None:
        """Begin at a mark instead of the start; before anything is fed."""
        ...


class Plain:
    """A tar as it is."""

    kind: Kind = "tar"

    def __init__(self, limits: Limits, *, points: bool = True) -> None:
        self.marks = [Mark(0, 0, 0, b"")]
        self._budget = gzip_budget.Budget(limits)
        self._points = points

    def enter(self, mark: Mark) -> None:
        """Begin at ``mark``."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the bytes."""
        for start in range(0, len(data), _ROOM):
            piece = data[start : start + _ROOM]
            first = self.marks[-1].compressed + SPAN
            self._budget.produced(len(piece))
            if self._points:
                # Not at the end: there must be something behind a mark.
                places = range(first, self._budget.out, SPAN)
                self.marks += [Mark(place, 0, place, b"") for place in places]
            yield piece

    def end(self) -> None:
        """Whether a tar is complete, its reader knows."""


def decoder(kind: Kind, limits: Limits = DEFAULT, points: bool = True) -> Decoder:
    """Return a decoder for a layer of this kind, with or without seek points.

    Raises
    ------
    Unsupported
        The layer is zstd, and there is no module for it.
    """
    if kind == "tar":
        return Plain(limits, points=points)
    if kind == "zstd":
        return Zstd(limits, points=points)
    library = inflate.library()
    if library is None:
        return PlainGzip(limits, points=points)
    return Gzip(limits, library, points=points)


def can_seek(kind: Kind) -> bool:
    """Whether marks are made inside a stream of this kind, and can be used."""
    if kind == "gzip":
        return inflate.library() is not None
    return kind == "tar" or zstdlib.module() is not None


def span(
    kind: Kind, mark: Mark, pieces: Iterable[bytes], limits: Limits = DEFAULT
) -> Iterator[bytes]:
    """Yield the tar's bytes from ``mark`` on, as far as ``pieces`` reach.

    Parameters
    ----------
    pieces
        The blob's bytes from ``mark.compressed`` on, from one byte before if it has ``bits``.
    """
    entered = decoder(kind, limits, points=False)
    entered.enter(mark)
    for piece in pieces:
        yield from entered.feed(piece)
