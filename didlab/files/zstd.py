"""Zstandard: frames one after the other, with a mark where one starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from didlab.errors import CompressionInvalid, LimitExceeded
from didlab.files import gzip_budget as budget
from didlab.files import zstdlib
from didlab.files.gzip_budget import MIB
from didlab.files.limits import Limits
from didlab.files.sniff import Kind
from didlab.files.windows import Mark
from didlab.files.zstdlib import MAGIC, SKIPPABLE
from didlab.sizes import human

#: A mark is made at the next start of a frame after so many bytes came, or came out.
SPACING = 512 * 1024
OUT_SPACING = 8 * MIB
_ROOM = MIB
#: What is given to a frame at first, then twice as much: many small ones must not make each
#: copy all the rest.
_FIRST, _MOST = 4096, MIB
#: Bytes of a header up to the end of the dictionary's number.
_HEAD = 10


class Zstd:
    """Decode zstd; a frame's window is the memory it takes."""

    kind: Kind = "zstd"

    def __init__(self, limits: Limits, *, points: bool = True) -> None:
        self._module = zstdlib.needed("this layer")
        self.marks = [Mark(0, 0, 0, b"")]
        self._limits = limits
        self._budget = budget.Budget(limits)
        self._points = points
        self._frame: Any = None
        self._silent = False  # nothing came out of the frame yet
        self._skip = 0  # bytes of a skippable frame
        self._head = b""  # a header's first bytes, until it can be read
        self._frames = 0

    def enter(self, mark: Mark) -> None:
        """Begin at ``mark``."""
        self._budget.came = mark.compressed

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what comes out of ``data``; to be exhausted each time."""
        came = self._budget.came - len(self._head)
        data = self._head + data
        self._head = b""
        position, end, step = 0, len(data), _FIRST
        while position < end:
            if self._skip:
                taken = min(self._skip, end - position)
                self._skip -= taken
                position += taken
                continue
            if self._frame is None:
                size = self._start(data, position, came + position)
                if not size:
                    self._head = data[position:]
                    break
                step = _FIRST
                position += size if self._frame is None else 0
                continue
            given = data[position : position + step]
            position += len(given)
            step = min(2 * step, _MOST)
            while True:
                out = self._decode(given, came + position)
                given = b""
                if out:
                    self._silent = False
                    self._budget.produced(len(out))
                if self._frame.eof:
                    position -= len(self._frame.unused_data)
                    self._frame = None
                    if self._silent:
                        self._budget.member(came + position, "empty zstd frames")
                if out:
                    yield out
                if self._frame is None or self._frame.needs_input:
                    break
        self._budget.came = came + end

    def end(self) -> None:
        """Say that nothing more comes; everything must have been complete."""
        if self._frame is not None or self._skip or self._head or not self._frames:
            raise budget.cut("zstd", self._budget.came)

    def _decode(self, given: bytes, at: int) -> bytes:
        try:
            out: bytes = self._frame.decompress(given, _ROOM)
        except self._module.ZstdError as error:
            raise budget.damaged("zstd", at, str(error)) from error
        return out

    def _start(self, data: bytes, position: int, at: int) -> int:
        """Begin a frame and return its header's size, 0 if it has not all come."""
        head = data[position : position + _HEAD]
        if not MAGIC.startswith(head[:4]) and not _could_be_skippable(head[:4]):
            if self._frames:
                raise budget.garbage("zstd", at)
            raise budget.damaged("zstd", at, "no zstd header")
        if head[1:4] == SKIPPABLE:
            if len(head) < 8:
                return 0
            self._budget.member(at, "empty zstd frames")
            self._frames += 1
            self._skip = int.from_bytes(head[4:8], "little")
            return 8
        size = self._read(head, at)
        if not size:
            return 0
        from_parameter = self._module.DecompressionParameter
        # One more than a power of two needs the next one.
        log = (self._limits.window - 1).bit_length()
        self._frame = self._module.ZstdDecompressor(options={from_parameter.window_log_max: log})
        self._silent = True
        self._frames += 1
        mark = self.marks[-1]
        if self._points and (
            at - mark.compressed >= SPACING or self._budget.out - mark.decompressed >= OUT_SPACING
        ):
            self.marks.append(Mark(at, 0, self._budget.out, b""))
        return size

    def _read(self, head: bytes, at: int) -> int:
        """Refuse headers that ask for too much; return how many bytes were looked at."""
        if len(head) < 5:
            return 0
        flags = head[4]
        single = flags & 0x20
        numbered = (0, 1, 2, 4)[flags & 3]
        size = 5 + (0 if single else 1) + numbered
        if len(head) < size:
            return 0
        if any(head[size - numbered : size]):
            raise CompressionInvalid(
                f"the zstd frame at byte {at:,} needs a dictionary, which layers do not have",
                where=str(at),
            )
        if not single:
            base = 1 << (10 + (head[5] >> 3))
            window = base + (base >> 3) * (head[5] & 7)
            if window > self._limits.window:
                raise LimitExceeded(
                    f"the zstd frame at byte {at:,} asks for a window of {human(window)}; "
                    f"{human(self._limits.window)} are allowed",
                    hint="a larger `Limits.window` allows it, if you trust the image",
                    what="zstd window",
                    limit=self._limits.window,
                    seen=window,
                )
        return size


def _could_be_skippable(head: bytes) -> bool:
    return 0x50 <= head[0] <= 0x5F and SKIPPABLE.startswith(head[1:4])
