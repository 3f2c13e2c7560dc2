"""What every gzip reader, and zstd's, holds against hostile streams."""

from __future__ import annotations

from didlab.errors import CompressionInvalid, LimitExceeded
from didlab.files.limits import Limits
from didlab.sizes import human

MIB = 1024 * 1024


class Budget:
    """Counts what came and what came out, and says when it is too much."""

    __slots__ = ("_limits", "came", "members", "out")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        #: Bytes of earlier pieces, members begun, and bytes decompressed.
        self.came = 0
        self.members = 0
        self.out = 0

    def produced(self, size: int) -> None:
        """Count ``size`` bytes more, before anybody sees them."""
        self.out += size
        self.check_out()

    def check_out(self) -> None:
        """Refuse more output than a layer may have."""
        limit = self._limits.decompressed
        if self.out > limit:
            raise LimitExceeded(
                f"the layer decompresses to more than {human(limit)}",
                hint="a larger `Limits.decompressed` allows it, if you trust the image",
                what="decompressed bytes",
                limit=limit,
                seen=self.out,
            )

    def member(self, at: int, word: str = "gzip members") -> None:
        """Count a member that begins at offset ``at``: each costs time, however small."""
        self.members += 1
        limit = self._limits.members * (1 + at // MIB)
        if self.members > limit:
            raise LimitExceeded(
                f"too many {word}: {self.members:,} in the first {human(max(at, 1))}",
                what=word,
                limit=limit,
                seen=self.members,
            )

    def begin_gzip(self, data: bytes, position: int) -> int:
        """Count the gzip member that begins in ``data``; its place, or the end of padding there.

        Only zeros may come between members and after the last.

        Raises
        ------
        CompressionInvalid
            There is neither.
        """
        if data[position] == 0 and self.members:
            return len(data) - len(data[position:].lstrip(b"\0"))
        at = self.came + position
        if data[position] != 0x1F:
            raise garbage("gzip", at) if self.members else damaged("gzip", at, "no gzip header")
        self.member(at)
        return position


def damaged(kind: str, at: int, why: str) -> CompressionInvalid:
    """Return the error for a stream that cannot be decoded beyond ``at``."""
    return CompressionInvalid(
        f"the {kind} stream is damaged near byte {at:,}" + (f": {why}" if why else ""),
        where=str(at),
    )


def cut(kind: str, at: int) -> CompressionInvalid:
    """Return the error for a stream that ends before its end."""
    return CompressionInvalid(f"the {kind} stream is cut off after {at:,} bytes", where=str(at))


def garbage(kind: str, at: int) -> CompressionInvalid:
    """Return the error for bytes after the end that are neither a member nor padding."""
    return CompressionInvalid(
        f"after the end of the {kind} stream, at byte {at:,}, there is something else",
        where=str(at),
    )
