"""Archives that are compressed as a whole: written in order, and compared with what is there."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path

from didlab.blobs.refusals import translated
from didlab.errors import DidlabError
from didlab.export import formats, partial, stream
from didlab.export.encode import Compression, encoder
from didlab.export.output import durable, exists, sync_folder
from didlab.export.plan import Piece, SavePlan
from didlab.export.running import Manner
from didlab.export.staging import SourceOf
from didlab.oci import digest as digests
from didlab.oci.digest import Verifier

_KINDS = {"none": "tar", "gzip": "gzip", "zstd": "zstd"}
_READ = 1024 * 1024
#: How far into a file its ``manifest.json`` or ``index.json`` is looked for.
_HEAD = 256 * 1024


def save(
    planned: SavePlan, source_of: SourceOf, target: Path, whole: Compression, manner: Manner
) -> int:
    """Write a plan through a compressor into a file; return its size.

    The file appears under its name when it is complete.
    """
    path = partial.own_name(target, secrets.token_hex(8))
    partial.live.add(path.name)
    try:
        with translated(target):
            file = path.open("xb")
        with file:
            encoding = encoder(whole)

            def write(data: bytes) -> None:
                ready = encoding.feed(data)
                with translated(target):
                    file.write(ready)

            stream.write_plan(planned, source_of, write, manner, title=f"writing {target.name}")
            with translated(target):
                file.write(encoding.end())
                file.flush()
                size = file.tell()
                durable(file.fileno())
        with translated(target):
            if not manner.overwrite and os.path.lexists(target):
                raise exists(target)
            path.replace(target)
        sync_folder(target.parent)
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        partial.live.discard(path.name)
    return size


def taken(target: Path, planned: SavePlan, whole: Compression, *, overwrite: bool) -> bool:
    """Whether the target holds just what would be written, however well compressed.

    Raises
    ------
    DestinationExists
        It holds something else, and may not be replaced.
    """
    if not _is_there(target, overwrite=overwrite):
        return False
    if _holds(target, planned, whole):
        return True
    if not overwrite:
        raise exists(target)
    return False


def check_taken(target: Path, image_ids: Collection[str], *, overwrite: bool) -> bool:
    """Return whether there is a file that holds these images, as far as its head tells.

    Raises
    ------
    DestinationExists
        It holds something else, and may not be replaced.
    """
    if not _is_there(target, overwrite=overwrite):
        return False
    head = b""
    try:
        for piece in _plain(target):
            head += piece
            if len(head) > _HEAD:
                break
    except (OSError, DidlabError):
        head = b""
    holds = all(digests.encoded(image_id).encode() in head for image_id in image_ids)
    if not holds and not overwrite:
        raise exists(target)
    return holds


def sizes(target: Path) -> dict[str, int]:
    """Return the sizes of a tar's members by name; none where it cannot be read."""
    kind = formats.whole(target.name)
    if kind == "zstd":
        return {}  # tarfile reads it from Python 3.14 on
    try:
        with tarfile.open(target, "r|gz" if kind else "r:") as tar:
            return {member.name: member.size for member in tar}
    except (OSError, tarfile.TarError, EOFError, ValueError):
        return {}


def _is_there(target: Path, *, overwrite: bool) -> bool:
    with translated(target):
        try:
            found = target.stat()
        except FileNotFoundError:
            if os.path.lexists(target) and not overwrite:
                raise exists(target) from None
            return False
    if not stat.S_ISREG(found.st_mode):
        raise exists(target)
    return True


def _holds(target: Path, planned: SavePlan, whole: Compression) -> bool:
    """Compare a compressed file with a plan: known bytes as they are, blobs by their digests."""
    try:
        plain = _Reader(_plain(target, whole))
        for part in planned.parts:
            if isinstance(part, Piece):
                if b"".join(plain.take(len(part.data))) != part.data:
                    return False
                continue
            descriptor = part.descriptor
            verifier = Verifier(descriptor.digest, descriptor.size, where=str(target))
            for data in plain.take(descriptor.size):
                verifier.update(data)
            verifier.check()
        return not any(plain.take(1))
    except (OSError, ValueError, DidlabError):
        return False


class _Reader:
    """Takes exact lengths off an iterator of pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def take(self, size: int) -> Iterator[bytes]:
        """Yield ``size`` bytes, fewer at the end."""
        while size > 0:
            if not self._left:
                piece = next(self._pieces, None)
                if piece is None:
                    return
                self._left = memoryview(piece)
                continue
            data = self._left[:size]
            self._left = self._left[size:]
            size -= len(data)
            yield bytes(data)


def _plain(target: Path, whole: Compression | None = None) -> Iterator[bytes]:
    """Yield a file's bytes, decompressed."""
    from didlab.files import sniff
    from didlab.files.decompress import decoder

    with target.open("rb") as file:
        head, rest = sniff.beginning(iter(lambda: file.read(_READ), b""))
        kind = sniff.kind(head)
        if whole is not None and kind != _KINDS[whole]:
            return
        decoding = decoder(kind, points=False)
        yield from decoding.feed(head)
        for piece in rest:
            yield from decoding.feed(piece)
        decoding.end()
