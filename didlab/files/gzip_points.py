"""Gzip, with seek points made in the same pass."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from enum import Enum, auto

from didlab.errors import CompressionInvalid
from didlab.files import gzip_budget as budget
from didlab.files import inflate
from didlab.files.inflate import BLOCK, BOUNDARY, LAST_BLOCK, NO_FLUSH, UNUSED, WINDOW
from didlab.files.limits import Limits
from didlab.files.sniff import Kind
from didlab.files.windows import Mark, needed, pack, unpack

#: A point is made at the next end of a block after so many bytes came, or came out.
SPACING = 448 * 1024
OUT_SPACING = 8 * 1024 * 1024
#: Bytes of one piece that is handed on.
ROOM = 1024 * 1024
#: FEXTRA, FNAME and FCOMMENT, 64 KiB each.
HEADER = 3 * 65536 + 64
#: Compressed bytes that may come for 32 KiB of output before a window is kept whole.
LATE = 256 * 1024
#: Bytes of windows that points made for their output alone may take, and 1/32 of what came.
KEPT = 1024 * 1024
#: CRC-32 and length behind a member.
TRAILER = 8


class _At(Enum):
    START = auto()  # of a member, or in the padding after one
    HEADER = auto()
    BODY = auto()
    PRIME = auto()  # before a byte that belongs to the rest with its upper bits only
    TRAILER = auto()  # of a member that was entered at a mark: nothing to check it against


class Gzip:
    """Decode gzip, piece by piece.

    Parameters
    ----------
    limits : Limits
        What the stream may cost.
    library : inflate.Library
        What to decode with.
    points : bool
        Whether to make seek points.
    """

    kind: Kind = "gzip"

    def __init__(self, limits: Limits, library: inflate.Library, *, points: bool = True) -> None:
        self.marks = [Mark(0, 0, 0, b"")]
        self._budget = budget.Budget(limits)
        self._library = library
        self._stream = inflate.Stream(library, inflate.GZIP)
        self._out = ctypes.create_string_buffer(ROOM)
        self._points = points
        self._at = _At.START
        self._start = 0  # of the member
        self._skip = 0  # bytes of a trailer
        self._bits = 0  # of the byte before the stream
        self._window = b""
        self._kept = 0  # bytes of windows
        self._pending: _Pending | None = None
        self._raw: inflate.Stream | None = None

    def enter(self, mark: Mark) -> None:
        """Begin at ``mark``; the first byte to come is the one that ``bits`` are of, if any."""
        self._budget.came = mark.compressed - bool(mark.bits)
        if not mark.window:
            return  # a member's start
        self._stream = inflate.Stream(self._library, inflate.RAW)
        self._bits = mark.bits
        self._at = _At.PRIME if mark.bits else _At.BODY
        self._budget.members = 1
        self._skip = TRAILER
        self._window = unpack(mark.window)
        if not mark.bits:
            self._stream.look_back(self._window)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what comes out of ``data``, to the last byte; to be exhausted each time."""
        came, end, position = self._budget.came, len(data), 0
        base = inflate.address(data)
        out = ctypes.addressof(self._out)
        filled = 0
        more = False  # output that waits for room
        stuck = False
        while position < end or more:
            if self._at not in (_At.BODY, _At.HEADER):
                position = self._between(data, position)
                continue
            take, room, flush = self._aim(end - position, ROOM - filled, came + position)
            z = self._stream.z
            z.next_in, z.avail_in = base + position, take
            z.next_out, z.avail_out = out + filled, room
            status = self._library.inflate(self._stream.ref, flush)
            used, made = take - z.avail_in, room - z.avail_out
            begin, position = position, position + used
            filled += made
            self._budget.out += made
            if self._pending is not None:
                self._pending.data += data[begin:position]
                # Not asked from the library: at a member's end it has not noted the last bytes.
                self._pending.truth += ctypes.string_at(out + filled - made, made)
            if status == inflate.STREAM_END:
                self._leave()
                more = False
            elif status == inflate.OK or (status == inflate.BUF_ERROR and not stuck):
                # The end of a block that lay in bits read before comes as BUF_ERROR, once.
                stuck = status == inflate.BUF_ERROR and position < end
                more = made == room
                self._look(data, position)
            else:
                raise self._damaged(came + position)
            if filled == ROOM:
                self._budget.check_out()
                yield ctypes.string_at(out, filled)
                filled = 0
        self._budget.came += end
        if filled:
            self._budget.check_out()
            yield ctypes.string_at(out, filled)

    def end(self) -> None:
        """Say that nothing more comes; everything must have been complete."""
        if self._at is not _At.START or not self._budget.members:
            raise budget.cut("gzip", self._budget.came)

    def _aim(self, take: int, room: int, position: int) -> tuple[int, int, int]:
        """How much to read and write in the next call, and whether to stop at a block's end.

        Stops cost a call each, so they are asked for only where a point is due.
        """
        if self._at is _At.HEADER:
            return take, room, BLOCK
        if not self._points:
            return take, room, NO_FLUSH
        pending = self._pending
        if pending is not None:
            room = min(room, pending.mark.decompressed + WINDOW - self._budget.out)
            return min(take, LATE), room, NO_FLUSH
        before, before_out = self._before(position)
        if before <= 0 or before_out <= 0:
            return take, room, BLOCK
        return min(take, before), min(room, before_out), NO_FLUSH

    def _before(self, position: int) -> tuple[int, int]:
        """How many bytes may come, and come out, before a point is due."""
        mark = self.marks[-1]
        before_out = mark.decompressed + OUT_SPACING - self._budget.out
        if self._kept > KEPT + position // 32:
            before_out = OUT_SPACING  # a bomb: no more points for its output alone
        return mark.compressed + SPACING - position, before_out

    def _between(self, data: bytes, position: int) -> int:
        """Go on where no deflate is: return the next position."""
        if self._at is _At.PRIME:
            self._stream.prime(self._bits, data[position])
            self._stream.look_back(self._window)
            self._at = _At.BODY
            return position + 1
        if self._at is _At.TRAILER:
            step = min(self._skip, len(data) - position)
            self._skip -= step
            if not self._skip:
                self._stream = inflate.Stream(self._library, inflate.GZIP)
                self._at = _At.START
            return position + step
        end = self._budget.begin_gzip(data, position)
        if end > position:
            return end
        came = self._budget.came + position
        self._stream.reset()
        self._at = _At.HEADER
        self._start = came
        mark = self.marks[-1]
        # Half the way will do here: such a point costs nothing.
        if self._points and (
            came - mark.compressed >= SPACING // 2
            or self._budget.out - mark.decompressed >= OUT_SPACING // 2
        ):
            self.marks.append(Mark(came, 0, self._budget.out, b""))
        return position

    def _look(self, data: bytes, position: int) -> None:
        """See where a call has led: behind the header, or to a place for a point."""
        came = self._budget.came + position
        if self._at is _At.HEADER:
            if self._stream.z.data_type & BOUNDARY:
                self._at = _At.BODY
            elif came - self._start > HEADER:
                raise budget.damaged("gzip", self._start, "its header does not end")
            return
        if not self._points:
            return
        pending, out = self._pending, self._budget.out
        if pending is not None:
            if out >= pending.mark.decompressed + WINDOW or len(pending.data) > LATE:
                self._settle()
            return
        before, before_out = self._before(came)
        if before > 0 and before_out > 0:
            return
        if position and self._stream.z.data_type & (BOUNDARY | LAST_BLOCK) == BOUNDARY:
            bits = self._stream.z.data_type & UNUSED
            mark = Mark(came, bits, out, b"")
            self.marks.append(mark)
            head = data[position - 1 : position] if bits else b""
            self._pending = _Pending(mark, self._stream.window(), bytearray(head))

    def _leave(self) -> None:
        """Go behind a member."""
        self._settle()
        self._at = _At.TRAILER if self._skip else _At.START

    def _settle(self) -> None:
        """Reduce the last point's window to what turned out to be needed."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        window = pending.window
        if len(pending.data) <= LATE:
            truth = bytes(pending.truth)
            if self._raw is None:
                self._raw = inflate.Stream(self._library, inflate.RAW)
            window = needed(window, truth, self._raw, pending.mark.bits, bytes(pending.data))
        pending.mark.window = pack(window)
        self._kept += len(pending.mark.window)

    def _damaged(self, at: int) -> CompressionInvalid:
        if self._at is _At.HEADER and self._budget.members > 1 and at - self._start < 2:
            return budget.garbage("gzip", self._start)
        return budget.damaged("gzip", at, self._stream.message())


class _Pending:
    """A point whose next 32 KiB of output have not all come yet."""

    __slots__ = ("data", "mark", "truth", "window")

    def __init__(self, mark: Mark, window: bytes, data: bytearray) -> None:
        self.mark = mark
        self.window = window
        self.data = data
        self.truth = bytearray()
