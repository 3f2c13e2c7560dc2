"""Compressed streams as the world's writers leave them."""

from __future__ import annotations

import gzip
import subprocess
import zlib
from collections.abc import Callable

from rig.processes import require


class Packers:
    """Writers of one content, or of another that is given."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def piped(self, *command: str, given: bytes | None = None) -> bytes:
        """What a command makes of it."""
        argv = [require(command[0], command[0]), *command[1:]]
        content = self.content if given is None else given
        return subprocess.run(argv, input=content, stdout=-1, check=True).stdout

    def flushed(self, mode: int, every: int = 5000) -> bytes:
        """As Go's writers leave it: a flush every few kilobytes."""
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        parts = []
        for start in range(0, len(self.content), every):
            parts += [packer.compress(self.content[start : start + every]), packer.flush(mode)]
        return b"".join([*parts, packer.flush()])

    def members(self, size: int, given: bytes | None = None, between: bytes = b"") -> bytes:
        """Gzip members of so many bytes each."""
        content = self.content if given is None else given
        parts = (content[at : at + size] for at in range(0, len(content), size))
        return between.join(gzip.compress(part, mtime=0) for part in parts)

    def zstd_frames(self, *options: str, size: int = 100_000) -> bytes:
        """Zstd frames of so many bytes each."""
        parts = (self.content[at : at + size] for at in range(0, len(self.content), size))
        return b"".join(self.piped("zstd", "-cq", *options, given=part) for part in parts)

    def gzips(self) -> dict[str, Callable[[], bytes]]:
        """Gzip by each writer."""
        return {
            "gzip-1": lambda: self.piped("gzip", "-1"),
            "gzip-6": lambda: self.piped("gzip", "-6"),
            "gzip-9": lambda: self.piped("gzip", "-9"),
            "pigz": lambda: self.piped("pigz", "-p2"),
            "pigz-128": lambda: self.piped("pigz", "-p2", "-b128"),
            "pigz-independent": lambda: self.piped("pigz", "-p2", "-i"),
            "sync-flush": lambda: self.flushed(zlib.Z_SYNC_FLUSH),
            "full-flush": lambda: self.flushed(zlib.Z_FULL_FLUSH),
            "stored": lambda: gzip.compress(self.content, 0, mtime=0),
        }


def skippable(size: int, number: int = 0) -> bytes:
    """A zstd frame that says nothing."""
    return bytes([0x50 + number]) + b"\x2a\x4d\x18" + size.to_bytes(4, "little") + bytes(size)
