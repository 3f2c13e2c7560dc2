"""Saving into one file: look at what is there, write beside it, put it in place."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from didlab.blobs.refusals import translated
from didlab.errors import DestinationExists
from didlab.export import engine, plan, stored
from didlab.export.blobwork import BlobWork
from didlab.export.output import PartialFile, exists
from didlab.export.plan import Hole, SavePlan
from didlab.export.report import Made, SaveReport
from didlab.export.running import Manner, note_every, run
from didlab.oci.descriptor import Descriptor
from didlab.oci.digest import Verifier
from didlab.sources.base import Source

_READ = 1024 * 1024


def save_planned(
    planned: SavePlan, source_of: Callable[[str], Source], target: Path, manner: Manner
) -> Made:
    """Write an archive; ``source_of`` says where the blob with a digest comes from."""
    return _save(planned, lambda hole: source_of(hole.descriptor.digest), target, manner)


def save_blob(
    source: Source, descriptor: Descriptor, target: Path, *, overwrite: bool, progress: Any
) -> SaveReport:
    """Write one blob as it is stored. See `didlab.Layer.save`."""
    planned = plan.single_blob(descriptor)
    manner = Manner(overwrite=overwrite, progress=progress, workers=None)
    made = _save(planned, lambda _: source, target, manner)
    return SaveReport(
        path=target,
        digest=descriptor.digest,
        image_id=None,
        platform=None,
        size=planned.size,
        downloaded=made.downloaded,
        reused=made.reused,
        seconds=made.seconds,
        served=made.served,
        notes=made.notes,
    )


def _save(
    planned: SavePlan, source_of: Callable[[Hole], Source], target: Path, manner: Manner
) -> Made:
    began = time.monotonic()
    if _taken(target, planned, manner.overwrite):
        return Made(0, planned.to_fetch, time.monotonic() - began)
    output = PartialFile(target, planned.size, planned.identity())
    keep = output.taken_over
    try:
        every = note_every(planned.to_fetch)
        works = [
            BlobWork(number, hole, source_of(hole), output, every)
            for number, hole in enumerate(planned.holes)
        ]
        kept = engine.restore(works, output) if output.taken_over else 0
        kept += stored.fill_in(works)
        with output.handle() as handle:
            for piece in planned.pieces:
                handle.write_at(piece.offset, piece.data)
        try:
            with output.flushed_behind():
                made = run(works, kept, manner, title=target.name)
        finally:
            keep = any(work.left < work.size for work in works)
        try:
            output.commit(overwrite=manner.overwrite)
        except DestinationExists:
            # Somebody else saved the same meanwhile: then it is there.
            if not _same(target, planned):
                raise
    except BaseException:
        if keep:
            output.release()
        raise
    finally:
        output.abandon()
    if manner.keep:
        stored.keep(
            (b.digest, b.size, target, h.offset) for h in planned.holes for b in [h.descriptor]
        )
    return made.lasting(time.monotonic() - began)


def _taken(target: Path, planned: SavePlan, overwrite: bool) -> bool:
    """Whether the target holds just what would be written.

    Raises
    ------
    DestinationExists
        It holds something else, and may not be replaced.
    """
    with translated(target):
        try:
            found = os.lstat(target)
        except FileNotFoundError:
            return False
    if stat.S_ISLNK(found.st_mode):
        with contextlib.suppress(OSError):
            found = target.stat()  # a link to the same content will do as well
    if stat.S_ISREG(found.st_mode) and found.st_size == planned.size and _same(target, planned):
        return True
    if not overwrite or stat.S_ISDIR(found.st_mode):
        raise exists(target)
    return False


def _same(target: Path, planned: SavePlan) -> bool:
    """Compare a file with a plan: known bytes as they are, blobs by their digests."""
    try:
        with target.open("rb") as file:
            for piece in planned.pieces:
                file.seek(piece.offset)
                if file.read(len(piece.data)) != piece.data:
                    return False
            for hole in planned.holes:
                verifier = Verifier(hole.descriptor.digest, hole.descriptor.size, where=str(target))
                file.seek(hole.offset)
                left = hole.descriptor.size
                while left:
                    data = file.read(min(_READ, left))
                    if not data:
                        return False
                    left -= len(data)
                    verifier.update(data)
                verifier.check()
    except (OSError, ValueError):  # an IntegrityError is one
        return False
    return True
