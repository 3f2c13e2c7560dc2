"""Saving: look at what is there, write beside it, put it in place."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from didlab import settings
from didlab.errors import DestinationExists, InvalidArgument
from didlab.export import engine, pace, plan, progress
from didlab.export.blobwork import NOTE, BlobWork
from didlab.export.engine import Transfer
from didlab.export.output import PartialFile, exists, translated
from didlab.export.plan import SavePlan
from didlab.export.report import SaveReport
from didlab.oci.config import ImageConfig
from didlab.oci.descriptor import Descriptor
from didlab.oci.digest import Verifier
from didlab.oci.manifest import ImageManifest
from didlab.oci.platform import Platform
from didlab.oci.reference import Reference
from didlab.sources.base import Source

_READ = 1024 * 1024


def save_image(
    source: Source,
    manifest: ImageManifest,
    config: ImageConfig,
    reference: Reference,
    target: Path,
    *,
    overwrite: bool,
    progress: Any,
    workers: int | None,
) -> SaveReport:
    """Write one image as the combined archive. See `didlab.Manifest.save`."""
    platform = Platform(
        config.os or "unknown", config.architecture or "unknown", config.variant or ""
    )
    planned = plan.image_archive(manifest, config.raw, platform, reference)
    made = _save(source, planned, target, overwrite, progress, workers, title=target.name)
    return SaveReport(
        path=target,
        digest=manifest.digest,
        image_id=manifest.config.digest,
        platform=str(platform),
        size=planned.size,
        downloaded=made.downloaded,
        reused=made.reused,
        seconds=made.seconds,
        served=made.served,
    )


def save_blob(
    source: Source, descriptor: Descriptor, target: Path, *, overwrite: bool, progress: Any
) -> SaveReport:
    """Write one blob as it is stored. See `didlab.Layer.save`."""
    planned = plan.single_blob(descriptor)
    made = _save(source, planned, target, overwrite, progress, 1, title=target.name)
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
    )


@dataclass(frozen=True, slots=True)
class _Made:
    """What a save came to."""

    downloaded: int
    reused: int
    seconds: float
    served: dict[str, int]


def _save(
    source: Source,
    planned: SavePlan,
    target: Path,
    overwrite: bool,
    shown: Any,
    workers: int | None,
    *,
    title: str,
) -> _Made:
    began = time.monotonic()
    if workers is None:
        workers, most = settings.current().workers, pace.MOST
    else:
        most = workers
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= 64:
        raise InvalidArgument("workers= goes from 1 to 64")
    if _taken(target, planned, overwrite):
        return _Made(0, planned.to_fetch, time.monotonic() - began, {})
    output = PartialFile(target, planned.size, planned.identity())
    keep = False
    try:
        # Killed at any moment, all lanes together lose one percent, or one MiB.
        note_every = max(NOTE, planned.to_fetch // 100 // pace.MOST)
        works = [
            BlobWork(number, hole, source, output, note_every)
            for number, hole in enumerate(planned.holes)
        ]
        kept = engine.restore(works, output) if output.taken_over else 0
        transfer = Transfer(works, start=workers, most=max(workers, most))
        bar = progress.start(shown, planned.to_fetch, title)
        try:
            if kept:
                bar.update(kept)
            with output.handle() as handle:
                for piece in planned.pieces:
                    handle.write_at(piece.offset, piece.data)
            with output.flushed_behind():
                transfer.run(bar)
        finally:
            keep = kept + transfer.came > 0
            bar.close()
        try:
            output.commit(overwrite=overwrite)
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
    return _Made(planned.to_fetch - kept, kept, time.monotonic() - began, dict(transfer.served))


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
    except ValueError:  # an IntegrityError is one
        return False
    return True
