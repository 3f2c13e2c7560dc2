"""Bytes from file to file at given offsets, by the kernel alone where it can."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from didlab import _pausing as pausing

#: Bytes read at a time.
CHUNK = 1024 * 1024
#: Bytes that the kernel copies in one call, during which nothing can be called off.
STRETCH = 16 * 1024 * 1024

# O_NONBLOCK: opening a pipe that somebody put in a file's place would wait for ever.
_FLAGS = ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_NOINHERIT")


def open_file(path: Path, how: int) -> int:
    """Open a file itself, never where a link leads; the mode of a new one is 0600."""
    flags = how
    for name in _FLAGS:
        flags |= getattr(os, name, 0)
    return os.open(path, flags, 0o600)


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Return up to ``size`` bytes; the position of the descriptor may move."""
    if hasattr(os, "pread"):
        data: bytes = os.pread(descriptor, size, offset)
        return data
    os.lseek(descriptor, offset, os.SEEK_SET)  # Windows
    return os.read(descriptor, size)


def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of ``data``; the position of the descriptor may move."""
    view = memoryview(data)
    while view:
        if hasattr(os, "pwrite"):
            written = os.pwrite(descriptor, view, offset)
        else:
            os.lseek(descriptor, offset, os.SEEK_SET)
            written = os.write(descriptor, view)
        view = view[written:]
        offset += written


def pieces(descriptor: int, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes of a file from ``start`` to ``stop``, or to its end if that comes first."""
    while start < stop:
        pausing.check()
        data = read_at(descriptor, min(CHUNK, stop - start), start)
        if not data:
            return
        start += len(data)
        yield data


def by_kernel(source: int, source_offset: int, target: int, target_offset: int, count: int) -> int:
    """Copy without the bytes passing through this process; return how many were."""
    done = 0
    if not hasattr(os, "copy_file_range"):
        return done
    try:
        while done < count:
            pausing.check()
            moved = os.copy_file_range(
                source,
                target,
                min(STRETCH, count - done),
                source_offset + done,
                target_offset + done,
            )
            if moved == 0:
                break
            done += moved
    except OSError:
        # Two file systems, an old kernel, a full disk: plain reads and writes go on, and meet
        # again what is real.
        return done
    return done


def copy(source: int, source_offset: int, target: int, target_offset: int, count: int) -> int:
    """Copy ``count`` bytes; return how many there were to copy."""
    done = by_kernel(source, source_offset, target, target_offset, count)
    for data in pieces(source, source_offset + done, source_offset + count):
        write_at(target, data, target_offset + done)
        done += len(data)
    return done
