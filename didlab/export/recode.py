"""Layers compressed in another way: decoded, held to their diff_ids, encoded anew.

The config stays byte for byte what it is, and so does the image ID. What names the layers by
their digests, manifests and indexes, is written anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from didlab import _pausing as pausing
from didlab.blobs.refusals import translated
from didlab.errors import DigestMismatch
from didlab.export import progress as bars
from didlab.export.content import Content, Document, Image
from didlab.export.encode import Compression, encoder
from didlab.export.staging import SourceOf, Staged
from didlab.files import sniff
from didlab.files.decompress import decoder
from didlab.oci import config as configs
from didlab.oci import digest as digests
from didlab.oci import manifest as manifests
from didlab.oci import media_types
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import ImageManifest
from didlab.sources.base import Source

#: Layers at the same time.
TOGETHER = max(1, min(4, os.cpu_count() or 1))
_OCI = {
    "none": media_types.OCI_LAYER,
    "gzip": media_types.OCI_LAYER_GZIP,
    "zstd": media_types.OCI_LAYER_ZSTD,
}
_DOCKER = {"none": media_types.DOCKER_LAYER_TAR, "gzip": media_types.DOCKER_LAYER}
#: Annotations that tell of the compressed bytes: tables of contents of eStargz and zstd:chunked.
_ABOUT_BYTES = ("containerd.io/snapshot/stargz/", "io.containers.", "io.github.containers.")
_SUBJECT = "vnd.docker.reference.digest"


@dataclass(frozen=True, slots=True)
class Job:
    """A layer to be written anew."""

    descriptor: Descriptor
    diff_id: str


@dataclass(slots=True)
class Recoded:
    """Images with other layers, and where those are."""

    contents: list[Content]
    source_of: SourceOf
    notes: list[str] = field(default_factory=list)


def jobs(
    contents: Sequence[Content], wanted: Compression, skip: Collection[str] = ()
) -> dict[str, Job]:
    """Return the layers that are not compressed as they should be, by digest."""
    found: dict[str, Job] = {}
    for content in contents:
        for image in content.images:
            diff_ids = configs.parse(image.config).diff_ids
            for layer, diff_id in zip(image.manifest.layers, diff_ids, strict=True):
                if layer.digest in skip or _is(layer, wanted, diff_id):
                    continue
                found.setdefault(layer.digest, Job(layer, diff_id))
    return found


def _is(layer: Descriptor, wanted: Compression, diff_id: str) -> bool:
    said = media_types.compression(layer.media_type)
    if wanted == "none":
        # Whatever its type says: what has the diff_id is the tar.
        return layer.digest == diff_id
    return said == wanted


@contextlib.contextmanager
def recoded(
    contents: Sequence[Content],
    source_of: SourceOf,
    beside: Path,
    wanted: Compression,
    *,
    skip: Mapping[str, str] | None = None,
    progress: Any = None,
) -> Iterator[Recoded]:
    """Write layers anew into nameless files beside ``beside``, for as long as the block runs.

    ``skip`` are layers, digest -> diff_id, that nobody will read: they count as uncompressed.

    Raises
    ------
    DigestMismatch
        A layer decompresses to something else than its image's config promises.
    CompressionInvalid, LimitExceeded, Unsupported, DiskFull
    """
    skip = skip or {}
    todo = jobs(contents, wanted, skip)
    with layers(todo, source_of, beside, wanted, progress=progress) as (done, staged, names):
        made = dict(done)
        for digest, diff_id in skip.items():
            made[digest] = Descriptor(_OCI["none"], diff_id, 0)

        def place(digest: str) -> Source:
            return staged if digest in staged else source_of(digest)

        result = Recoded([rewritten(one, made, wanted) for one in contents], place)
        result.notes += _notes(contents, result.contents, names)
        yield result


@contextlib.contextmanager
def layers(
    todo: Mapping[str, Job],
    source_of: SourceOf,
    beside: Path,
    wanted: Compression,
    *,
    progress: Any = None,
) -> Iterator[tuple[dict[str, Descriptor], Staged, set[str]]]:
    """Write layers anew; give their new descriptors by the old digests, where they are, by what.

    What is read is taken for verified.
    """
    names: set[str] = set()
    with contextlib.ExitStack() as stack:
        files: dict[str, IO[bytes]] = {}
        for digest in todo:
            with translated(beside):
                file: IO[bytes] = tempfile.TemporaryFile(dir=beside.parent)  # noqa: SIM115
            files[digest] = stack.enter_context(file)
        made = _all(todo, source_of, files, beside, wanted, names, progress)
        staged = Staged(str(beside.parent))
        for digest, file in files.items():
            staged.add(made[digest].digest, _reading(file, beside))
        yield made, staged, names


def _reading(file: IO[bytes], beside: Path) -> Callable[[int, int], bytes]:
    lock = threading.Lock()

    def read(start: int, size: int) -> bytes:
        with lock, translated(beside):
            file.seek(start)
            return file.read(size)

    return read


def _all(
    todo: Mapping[str, Job],
    source_of: SourceOf,
    files: Mapping[str, IO[bytes]],
    beside: Path,
    wanted: Compression,
    names: set[str],
    progress: Any,
) -> dict[str, Descriptor]:
    """Do every job, several at a time; Ctrl-C and the first failure end all of them."""
    stop = pausing.Stop()
    came = 0
    lock = threading.Lock()

    def look(count: int) -> None:
        nonlocal came
        pausing.check()
        with lock:
            came += count

    def do(digest: str) -> Descriptor:
        pausing.stop.set(stop)
        job = todo[digest]
        pieces = source_of(digest).open(job.descriptor).stream()
        with translated(beside):
            made, name = recode(job, pieces, wanted, files[digest], look)
        with lock:
            names.add(name)
        return made

    total = sum(job.descriptor.size for job in todo.values())
    bar = bars.start(progress, total, _title(wanted))
    shown = 0
    largest = sorted(todo, key=lambda digest: -todo[digest].descriptor.size)
    with ThreadPoolExecutor(TOGETHER, "didlab-recode") as pool:

        def begin() -> dict[str, Future[Descriptor]]:
            return {digest: pool.submit(copy_context().run, do, digest) for digest in largest}

        try:
            # Not in the main thread: Ctrl-C in the middle of a start would lose a thread.
            futures = pausing.aside(begin, "didlab-begin")
            waiting = set(futures.values())
            while waiting:
                done, waiting = wait(waiting, pausing.LOOK, FIRST_EXCEPTION)
                for future in done:
                    future.result()
                bar.update(came - shown)
                shown = came
                pausing.check()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
            bar.close()
    return {digest: futures[digest].result() for digest in todo}


def _title(wanted: Compression) -> str:
    return "decompressing" if wanted == "none" else f"compressing with {wanted}"


def recode(
    job: Job,
    pieces: Iterator[bytes],
    wanted: Compression,
    out: IO[bytes],
    look: Callable[[int], None] = lambda _: None,
) -> tuple[Descriptor, str]:
    """Write one layer anew; return its descriptor and what compressed it.

    The bytes that come are verified already; ``look`` is called with how many did.
    """
    head, rest = sniff.beginning(pieces)
    decoding = decoder(sniff.kind(head, job.descriptor.media_type), points=False)
    encoding = encoder(wanted)
    plain = hashlib.new(digests.algorithm(job.diff_id), usedforsecurity=False)
    stored = hashlib.sha256(usedforsecurity=False)
    size = 0

    def put(data: bytes) -> None:
        nonlocal size
        stored.update(data)
        size += len(data)
        out.write(data)

    for piece in _with(head, rest):
        for tar in decoding.feed(piece):
            plain.update(tar)
            put(encoding.feed(tar))
        look(len(piece))
    decoding.end()
    put(encoding.end())
    out.flush()
    actual = f"{plain.name}:{plain.hexdigest()}"
    if actual != job.diff_id:
        raise DigestMismatch(
            f"layer {job.descriptor.digest} decompresses to {actual}, the config promises "
            f"{job.diff_id}",
            expected=job.diff_id,
            actual=actual,
            hint="manifest and config do not belong together",
        )
    kept = {
        name: value
        for name, value in job.descriptor.annotations.items()
        if not name.startswith(_ABOUT_BYTES)
    }
    digest = f"sha256:{stored.hexdigest()}"
    return Descriptor(_OCI[wanted], digest, size, annotations=kept), encoding.name


def _with(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest


# --- documents: pure -----------------------------------------------------------------------------


def rewritten(content: Content, made: Mapping[str, Descriptor], wanted: Compression) -> Content:
    """Return the content over the layers ``made``, by the digests of those they stand for."""
    images: list[Image] = []
    fresh: dict[str, Document] = {}
    for image in content.images:
        manifest = _manifest(image.manifest, made, wanted)
        images.append(replace(image, manifest=manifest))
        if manifest is not image.manifest:
            document = Document(manifest.digest, manifest.media_type, manifest.raw)
            fresh[image.manifest.digest] = document
    documents = {document.digest: document for document in content.documents}
    for document in content.documents:
        _index(document, documents, fresh)
    layers = {layer.digest: layer for image in images for layer in image.manifest.layers}
    blobs = []
    for blob in content.blobs:
        new = made.get(blob.digest)
        # As the manifest names it.
        blobs.append(blob if new is None else layers.get(new.digest, new))
    return replace(
        content,
        root=fresh.get(content.root.digest, content.root),
        images=tuple(images),
        documents=tuple(fresh.get(one.digest, one) for one in content.documents),
        blobs=tuple(blobs),
    )


def _manifest(
    manifest: ImageManifest, made: Mapping[str, Descriptor], wanted: Compression
) -> ImageManifest:
    if not any(layer.digest in made for layer in manifest.layers):
        return manifest
    value = json.loads(manifest.raw)
    # Docker's own manifests have no type for zstd that everybody knows.
    to_oci = wanted == "zstd" and manifest.media_type == media_types.DOCKER_MANIFEST
    docker = manifest.media_type == media_types.DOCKER_MANIFEST and not to_oci
    entries = []
    for layer, entry in zip(manifest.layers, value["layers"], strict=True):
        new = made.get(layer.digest)
        if new is not None:
            entries.append(_entry(entry, new, (_DOCKER if docker else _OCI)[wanted]))
        elif to_oci:
            said = media_types.compression(layer.media_type)
            entries.append({**entry, "mediaType": _OCI[said or "none"]})
        else:
            entries.append(entry)
    value["layers"] = entries
    if to_oci:
        value["mediaType"] = media_types.OCI_MANIFEST
        value["config"]["mediaType"] = media_types.OCI_CONFIG
    raw = _json(value)
    parsed = manifests.parse(raw, value.get("mediaType") or manifest.media_type)
    assert isinstance(parsed, ImageManifest)
    return parsed


def _entry(entry: dict[str, Any], new: Descriptor, media_type: str) -> dict[str, Any]:
    """Return a layer's entry for its new bytes; what was said of the old ones goes."""
    made = {key: value for key, value in entry.items() if key not in ("data", "urls")}
    made |= {"mediaType": media_type, "digest": new.digest, "size": new.size}
    if "annotations" in made:
        made["annotations"] = new.annotations
        if not new.annotations:
            del made["annotations"]
    return made


def _index(
    document: Document, documents: Mapping[str, Document], fresh: dict[str, Document]
) -> None:
    """Have an index name the manifests that stand for its own now, those inside it first."""
    if document.digest in fresh or not media_types.is_index(document.media_type):
        return
    value = json.loads(document.raw)
    changed = False
    for entry in value["manifests"]:
        inner = documents.get(entry["digest"])
        if inner is not None:
            _index(inner, documents, fresh)
        new = fresh.get(entry["digest"])
        if new is not None:
            entry.pop("data", None)
            entry |= {"mediaType": new.media_type, "digest": new.digest, "size": len(new.raw)}
            changed = True
        annotations = entry.get("annotations")
        if isinstance(annotations, dict) and annotations.get(_SUBJECT) in fresh:
            annotations[_SUBJECT] = fresh[annotations[_SUBJECT]].digest
            changed = True
    if not changed:
        return
    media_type = document.media_type
    if any(entry["mediaType"] == media_types.OCI_MANIFEST for entry in value["manifests"]):
        media_type = media_types.OCI_INDEX
        value["mediaType"] = media_type
    raw = _json(value)
    fresh[document.digest] = Document(digests.of(raw), media_type, raw)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _notes(
    before: Sequence[Content], after: Sequence[Content], names: Collection[str]
) -> Iterator[str]:
    for old, new in zip(before, after, strict=True):
        if old.root.digest != new.root.digest:
            yield (
                f"{old.reference}: layers were written anew ({', '.join(sorted(names))}); its "
                f"digest was {old.root.digest}, signatures are of that; the image ID stays"
            )
