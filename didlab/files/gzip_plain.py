"""Gzip without seek points, by Python's modules: where no C library can be called."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

from didlab.errors import Unsupported
from didlab.files import gzip_budget as budget
from didlab.files import gzip_points
from didlab.files.inflate import GZIP
from didlab.files.limits import Limits
from didlab.files.sniff import Kind
from didlab.files.windows import Mark

_ROOM = 1024 * 1024
#: What is given to a member at first, then twice as much: many small ones must not make each
#: copy all the rest.
_FIRST, _MOST = 4096, 1024 * 1024


@cache
def module() -> Any:
    """Return the fastest module that has zlib's interface and reads every header.

    isal's loses its place in a header that comes in several pieces.
    """
    try:
        from zlib_ng import zlib_ng
    except ImportError:
        return zlib
    return zlib_ng


class PlainGzip:
    """Decode gzip; marks are made where members start only."""

    kind: Kind = "gzip"

    def __init__(self, limits: Limits, *, points: bool = True) -> None:
        self.marks = [Mark(0, 0, 0, b"")]
        self._budget = budget.Budget(limits)
        self._points = points
        self._module = module()
        self._member: Any = None
        self._begun = 0

    def enter(self, mark: Mark) -> None:
        """Begin at ``mark``, which must be a member's start."""
        if mark.window or mark.bits:
            raise Unsupported(
                "this seek point needs a zlib that can be entered inside a stream",
                hint="pip install zlib-ng",
            )
        self._budget.came = mark.compressed

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what comes out of ``data``; to be exhausted each time."""
        came, position, end = self._budget.came, 0, len(data)
        step = _FIRST if self._member is None else _MOST
        while position < end:
            if self._member is None:
                position = self._start(data, position)
                step = _FIRST
                continue
            given = data[position : position + step]
            position += len(given)
            step = min(2 * step, _MOST)
            more = True
            while more:
                out, given = self._decode(given, came + position)
                # All may have been read, and yet something waits for room.
                more = bool(given) or len(out) == _ROOM
                if self._member.eof:
                    position -= len(self._member.unused_data)
                    self._member = None
                    more = False
                if out:
                    self._budget.produced(len(out))
                    yield out
        self._budget.came += end

    def end(self) -> None:
        """Say that nothing more comes; everything must have been complete."""
        if self._member is not None or not self._budget.members:
            raise budget.cut("gzip", self._budget.came)

    def _decode(self, given: bytes, at: int) -> tuple[bytes, bytes]:
        try:
            out = self._member.decompress(given, _ROOM)
        except (self._module.error, zlib.error, EOFError) as error:
            raise budget.damaged("gzip", at, str(error)) from error
        rest: bytes = self._member.unconsumed_tail
        if out:
            self._begun = -1
        elif self._begun >= 0 and at - self._begun > 2 * (gzip_points.HEADER + _MOST):
            raise budget.damaged("gzip", self._begun, "its header does not end")
        return out, rest

    def _start(self, data: bytes, position: int) -> int:
        end = self._budget.begin_gzip(data, position)
        if end > position:
            return end
        came = self._budget.came + position
        self._member = self._module.decompressobj(GZIP)
        self._begun = came
        mark = self.marks[-1]
        if self._points and (
            came - mark.compressed >= gzip_points.SPACING
            or self._budget.out - mark.decompressed >= gzip_points.OUT_SPACING
        ):
            self.marks.append(Mark(came, 0, self._budget.out, b""))
        return position
