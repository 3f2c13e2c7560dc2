"""`didlab.complete`: a thin tar made whole."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from didlab.errors import BlobNotFound, InvalidArgument, MalformedContent
from didlab.export import compressed, formats, plan, recode, staging, thin
from didlab.export.archive import save_planned
from didlab.export.plan import SavePlan
from didlab.export.report import Made, SaveReport
from didlab.export.running import Manner
from didlab.export.staging import SourceOf, Staged
from didlab.export.thin import Missing
from didlab.model import destination
from didlab.model import since as bases
from didlab.model.manifest import Manifest
from didlab.oci import digest as digests
from didlab.oci import media_types
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import ImageManifest
from didlab.oci.reference import Reference
from didlab.sources.base import FETCH_LIMIT, Source, local_place, mismatch
from didlab.sources.local import archive
from didlab.sources.local import members as tars
from didlab.sources.local.members import Member, Members

#: What has the layers that a thin tar lacks.
Base = str | os.PathLike[str] | Reference | Manifest
#: All documents of a thin tar together, in memory.
_DOCUMENTS = 4 * FETCH_LIMIT


def complete(
    path: str | os.PathLike[str],
    base: str | os.PathLike[str] | Reference | Manifest,
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Any = None,
    workers: int | None = None,
    wait: float = 20.0,
    **options: Any,
) -> SaveReport:
    """Make a thin tar whole: with the layers that it left out, from what has them.

    The result is, byte for byte, what the save would have written without ``since=``.

    Parameters
    ----------
    path : path-like
        The thin tar, made by ``m.save(…, since=…)``.
    base : path, reference or Manifest
        What has the missing layers: the tar that was carried over before, an OCI layout, a
        reference, ``docker-daemon:NAME`` (for tars of ``format="docker"``: a daemon keeps no
        compressed layers).
    out : path-like
        The file to write.
    overwrite, progress, workers, wait
        As for `Manifest.save`.
    **options
        As `didlab.open` takes them, for a reference.

    Returns
    -------
    SaveReport

    Raises
    ------
    InvalidArgument
        The tar is not thin.
    BlobNotFound
        ``base`` does not have a layer.
    DigestMismatch, DestinationExists, DiskFull, WriteFailed
    """
    began = time.monotonic()
    manner = Manner(overwrite=overwrite, progress=progress, workers=workers, wait=wait)
    target = destination.file(out, lambda _: Path(os.fspath(path)).name)
    inside = archive.members(os.fspath(destination.given(path)))
    needed, whole = _needs(inside)
    with manner.waiting():
        found = _found(needed.layers, base, options)
    with _plain(found, target, manner) as ready:
        parts: dict[str, bytes | Descriptor] = dict(_documents(inside, whole.documents))
        blobs = Staged(inside.name)
        for name in whole.layers:
            if name in ready:
                parts[name] = ready[name].descriptor
            else:
                parts[name] = _own(inside, name, blobs)
        planned = plan.lay_out(parts.items())
        sources = {one.descriptor.digest: one.source for one in ready.values()}

        def source_of(digest: str) -> Source:
            return blobs if digest in blobs else sources[digest]

        size, made = _write(planned, source_of, target, manner)
    return SaveReport(
        path=target,
        digest=None,
        image_id=None,
        platform=None,
        size=size,
        downloaded=made.downloaded,
        reused=made.reused,
        seconds=time.monotonic() - began,
        served=made.served,
        notes=made.notes,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """Where a missing layer is; ``plain`` if it is to be decompressed to what is missing."""

    source: Source
    descriptor: Descriptor
    plain: str | None = None


def _needs(inside: Members) -> tuple[thin.Needs, thin.Whole]:
    member = inside.find(thin.MEMBER)
    if member is None:
        raise InvalidArgument(
            f"{inside.name} is not thin: nothing is missing that anybody wrote down",
            hint="thin tars are made by save with since=",
        )
    return thin.parse(tars.read(inside, member, thin.LIMIT))


def _documents(inside: Members, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield what is small."""
    room = _DOCUMENTS
    for name in names:
        data = tars.read(inside, _member(inside, name), min(FETCH_LIMIT, room))
        room -= len(data)
        digest = thin.digest_of(name)
        if digest is not None and digests.of(data, digests.algorithm(digest)) != digest:
            raise mismatch(digest, digests.of(data, digests.algorithm(digest)), inside.name)
        yield name, data


def _own(inside: Members, name: str, blobs: Staged) -> Descriptor:
    """Return the descriptor of a layer that a thin tar has, and take it in."""
    member = _member(inside, name)
    digest = thin.digest_of(name)
    assert digest is not None  # or the list of what is needed had been refused

    def read(start: int, size: int) -> bytes:
        return b"".join(inside.pieces(member, start, start + size))

    blobs.add(digest, read)
    return Descriptor(media_types.OCI_LAYER, digest, member.size)


def _member(inside: Members, name: str) -> Member:
    member = inside.find(name)
    if member is None:
        raise MalformedContent(f"{inside.name} lacks {name}, and does not say so", where=name)
    return member


def _found(layers: Sequence[Missing], base: Base, options: dict[str, Any]) -> dict[str, _Found]:
    """Return where each missing layer is, by its path."""
    left = {layer.path: layer for layer in layers}
    found: dict[str, _Found] = {}
    for source, descriptor, diff_id in _layers(base, options) if left else ():
        for path, layer in list(left.items()):
            if layer.digest == descriptor.digest:
                if layer.size in (None, descriptor.size):
                    found[path] = _Found(source, descriptor)
                    del left[path]
            elif layer.digest == layer.diff_id == diff_id:
                found[path] = _Found(source, descriptor, diff_id)
                del left[path]
        if not left:
            break
    if left:
        raise _absent(next(iter(left.values())), len(left), base)
    return found


def _absent(layer: Missing, count: int, base: Base) -> BlobNotFound:
    more = f", nor {count - 1} more" if count > 1 else ""
    name = base.reference if isinstance(base, Manifest) else base
    return BlobNotFound(
        f"{os.fspath(name) if isinstance(name, os.PathLike) else name} does not have the layer "
        f"{layer.digest}{more}",
        hint="the tar or image that since= named has them, in the same compression; a tar of "
        "docker save has none, for that save with format='docker'",
    )


def _layers(base: Base, options: dict[str, Any]) -> Iterator[tuple[Source, Descriptor, str]]:
    """Yield every layer of every image of a base, with its diff_id."""
    for manifest in bases.opened(base, options=options):
        snapshot, own = manifest._snapshot, manifest._platform
        entries = [] if own is not None else snapshot.entries()
        if entries:
            documents = [snapshot.document(e.descriptor) for e in entries if e.kind == "image"]
        else:
            documents = [snapshot.manifest(own)]
        for document in documents:
            if isinstance(document, ImageManifest):
                diff_ids = snapshot.config(document).diff_ids
                for layer, diff_id in zip(document.layers, diff_ids, strict=False):
                    yield snapshot.source, layer, diff_id


@contextlib.contextmanager
def _plain(
    found: Mapping[str, _Found], target: Path, manner: Manner
) -> Iterator[Mapping[str, _Found]]:
    """Decompress what is missing as a tar and found compressed."""
    packed = {path: one for path, one in found.items() if one.plain is not None}
    if not packed:
        yield found
        return
    sources = {one.descriptor.digest: one.source for one in packed.values()}
    jobs = {
        one.descriptor.digest: recode.Job(one.descriptor, one.plain or "")
        for one in packed.values()
    }
    blobs = [job.descriptor for job in jobs.values()]
    with (
        staging.fetched(blobs, sources.__getitem__, target, manner, title=target.name) as (had, _),
        recode.layers(jobs, lambda _: had, target, "none", progress=False) as (made, staged, _),
    ):
        ready = {path: _Found(staged, made[one.descriptor.digest]) for path, one in packed.items()}
        yield {**found, **ready}


def _write(
    planned: SavePlan, source_of: SourceOf, target: Path, manner: Manner
) -> tuple[int, Made]:
    whole = formats.whole(target.name)
    if whole is None:
        return planned.size, save_planned(planned, source_of, target, manner)
    if compressed.taken(target, planned, whole, overwrite=manner.overwrite):
        return target.stat().st_size, Made(0, planned.to_fetch, 0.0)
    size = compressed.save(planned, source_of, target, whole, manner)
    blobs = [hole.descriptor for hole in planned.holes]
    here = sum(blob.size for blob in blobs if local_place(source_of(blob.digest)) is not None)
    return size, Made(planned.to_fetch - here, here, 0.0)
