"""Saving and the local store: what is there is copied, what came may stay."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from didlab.blobs import store
from didlab.blobs.refusals import translated
from didlab.errors import DidlabError
from didlab.export.blobwork import BlobWork


def fill_in(works: Sequence[BlobWork]) -> int:
    """Copy blobs of the local store to their places; return the bytes.

    The store has verified them; the system copies without a way through this process where it
    can.
    """
    known = store.default()
    if known is None:
        return 0
    copied = 0
    for work in works:
        descriptor = work.hole.descriptor
        if work.done or not known.present(descriptor.digest, descriptor.size):
            continue
        had = work.size - work.left
        with work.output.handle() as handle:
            with translated(work.output.target):
                there = known.copy_into(
                    descriptor.digest, descriptor.size, handle, work.hole.offset
                )
            if not there:
                continue
            stretch = work.filled()
            if stretch is not None:
                work.output.note(handle, stretch)
        copied += work.size - had
    return copied


def keep(blobs: Iterable[tuple[str, int, Path, int]]) -> None:
    """Add blobs that lie in files, as ``(digest, size, file, offset)``, to the local store.

    The store is a convenience: what it cannot take is left.
    """
    known = store.default()
    if known is None:
        return
    for digest, size, path, offset in blobs:
        if not known.present(digest, size):
            with contextlib.suppress(DidlabError):
                known.put_file(digest, size, path, offset)
