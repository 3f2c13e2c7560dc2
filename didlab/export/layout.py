"""Saving as an OCI image layout: a folder of blobs (OCI image specification, image-layout.md)."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from didlab.blobs.refusals import translated
from didlab.errors import DestinationExists, WriteFailed
from didlab.export import engine, plan, stored
from didlab.export.alone import alone
from didlab.export.blobwork import BlobWork
from didlab.export.content import Content, identity
from didlab.export.output import PartialFile
from didlab.export.plan import Hole
from didlab.export.report import SaveReport, report
from didlab.export.running import Manner, note_every, run
from didlab.oci.descriptor import Descriptor
from didlab.oci.digest import Verifier
from didlab.sources.base import Source

_READ = 1024 * 1024
_INDEX_LIMIT = 4 * 1024 * 1024


def save_layout(
    contents: Sequence[Content],
    source_of: Callable[[str], Source],
    folder: Path,
    manner: Manner,
) -> SaveReport:
    """Write images into a layout, which may hold others already; its index comes last.

    Raises
    ------
    DestinationExists
        The folder is there and is no image layout; or a name is taken by another image and
        ``overwrite`` is not set.

    Notes
    -----
    Several may write into one layout at the same time, of this machine at least.
    """
    began = time.monotonic()
    # To refuse before anything is fetched; whoever writes meanwhile is seen at the end.
    _others(folder, contents, overwrite=manner.overwrite)
    blobs = {blob.digest: blob for content in contents for blob in content.blobs}
    documents = {
        document.digest: document for content in contents for document in content.documents
    }
    with translated(folder):
        for digest in [*blobs, *documents]:
            (folder / plan.blob_path(digest)).parent.mkdir(parents=True, exist_ok=True)
    for document in documents.values():
        _write(folder / plan.blob_path(document.digest), document.raw)
    missing = [b for b in blobs.values() if b.digest not in documents and not _holds(folder, b)]
    there = sum(blob.size for blob in blobs.values()) - sum(blob.size for blob in missing)
    with _partial_files(folder, missing) as outputs:
        every = note_every(sum(blob.size for blob in missing))
        works = [
            BlobWork(0, Hole(0, blob), source_of(blob.digest), outputs[blob.digest], every)
            for blob in missing
        ]
        kept = sum(engine.restore([work], work.output) for work in works if work.output.taken_over)
        kept += stored.fill_in(works)
        made = run(works, kept, manner, title=folder.name)
        for output in outputs.values():
            output.commit(overwrite=True)
    if manner.keep:
        stored.keep((b.digest, b.size, folder / plan.blob_path(b.digest), 0) for b in missing)
    _write(folder / "oci-layout", plan.LAYOUT)
    with alone(folder):
        others = _others(folder, contents, overwrite=manner.overwrite)
        _write(folder / "index.json", plan.index_json(contents, others))
    size = sum(content.size for content in contents)
    done = report(folder, contents, size, made.lasting(time.monotonic() - began))
    return _with_reused(done, there)


def _with_reused(done: SaveReport, there: int) -> SaveReport:
    from dataclasses import replace

    return replace(done, reused=done.reused + there)


@contextlib.contextmanager
def _partial_files(folder: Path, blobs: Sequence[Descriptor]) -> Iterator[dict[str, PartialFile]]:
    outputs: dict[str, PartialFile] = {}
    try:
        for blob in blobs:
            target = folder / plan.blob_path(blob.digest)
            outputs[blob.digest] = PartialFile(target, blob.size, identity([blob.digest.encode()]))
        yield outputs
    except BaseException:
        for output in outputs.values():
            output.release()
        raise
    finally:
        for output in outputs.values():
            output.abandon()


def _holds(folder: Path, blob: Descriptor) -> bool:
    """Whether a layout has a blob already, whole and right."""
    path = folder / plan.blob_path(blob.digest)
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_size != blob.size:
            return False
        verifier = Verifier(blob.digest, blob.size, where=str(path))
        with path.open("rb") as file:
            while data := file.read(_READ):
                verifier.update(data)
        verifier.check()
    except (OSError, ValueError):
        return False
    return True


def _others(folder: Path, contents: Sequence[Content], *, overwrite: bool) -> list[dict[str, Any]]:
    """Return the entries of a layout that stay beside the new ones."""
    if not os.path.lexists(folder):
        with translated(folder):
            folder.mkdir(exist_ok=True)
        return []
    if not folder.is_dir():
        raise DestinationExists(f"{folder} is no folder", path=str(folder))
    index = folder / "index.json"
    if not index.exists():
        if any(folder.iterdir()) and not (folder / "blobs").is_dir():
            raise DestinationExists(
                f"the folder {folder} is not empty and no image layout", path=str(folder)
            )
        return []
    entries = _entries(index)
    fresh = [plan.entry(content) for content in contents]
    names = {_name(entry): entry["digest"] for entry in fresh if _name(entry)}
    kept = []
    for entry in entries:
        name = _name(entry)
        if name in names and entry.get("digest") != names[name] and not overwrite:
            raise DestinationExists(
                f"{folder} has another image under the name {name}",
                path=str(folder),
                hint="pass overwrite=True to replace it",
            )
        if name not in names and entry not in fresh:
            kept.append(entry)
    return kept


def _entries(index: Path) -> list[dict[str, Any]]:
    with translated(index):
        raw = index.read_bytes()[: _INDEX_LIMIT + 1]
    try:
        entries = json.loads(raw)["manifests"]
        if not all(isinstance(entry, dict) for entry in entries):
            raise ValueError
    except (ValueError, LookupError, TypeError):
        raise WriteFailed(
            f"{index} is there, and no index of an image layout", path=str(index)
        ) from None
    return list(entries)


def _name(entry: dict[str, Any]) -> str | None:
    annotations = entry.get("annotations")
    if not isinstance(annotations, dict):
        return None
    name = annotations.get("io.containerd.image.name") or annotations.get(
        "org.opencontainers.image.ref.name"
    )
    return name if isinstance(name, str) else None


def _write(path: Path, data: bytes) -> None:
    """Write a small file so that it is there whole or not at all; the same is left as it is."""
    try:
        if path.read_bytes() == data:
            return
    except OSError:
        pass
    output = PartialFile(path, len(data), identity([data]))
    try:
        with output.handle() as handle:
            handle.write_at(0, data)
        output.commit(overwrite=True)
    finally:
        output.abandon()
