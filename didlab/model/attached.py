"""What is attached to an image: found, told apart, and read as far as somebody asks."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from didlab.errors import LimitExceeded, NotFound
from didlab.export.fetch import resuming
from didlab.model.snapshot import Snapshot, config_platform
from didlab.oci import artifacts, attached, media_types, statement
from didlab.oci.attached import Referrer
from didlab.oci.config import parse_time
from didlab.oci.descriptor import Descriptor
from didlab.oci.digest import Verifier
from didlab.oci.local_name import LocalName
from didlab.oci.manifest import ImageIndex, ImageManifest
from didlab.oci.platform import Platform
from didlab.oci.reference import Reference
from didlab.sources.base import FETCH_LIMIT, Source

if TYPE_CHECKING:
    from didlab.model.manifest import Manifest

T = TypeVar("T")
S = TypeVar("S")

#: Requests at a time.
_PARALLEL = 8
#: The most images of an index that are asked about together.
MAX_SUBJECTS = 256
#: Entries that do not say their artifact type are looked into, so many of them.
MAX_UNTYPED = 100
#: The most statements and SBOMs that are listed.
MAX_PARTS = 10_000

_log = logging.getLogger("didlab")


@dataclass(frozen=True, slots=True)
class Attached:
    """One thing attached to ``subject``, the digest of a manifest or index."""

    descriptor: Descriptor
    subject: str
    platform: Platform | None
    kind: str
    artifact_type: str | None
    created: datetime | None
    found: str


@dataclass(frozen=True, slots=True)
class Part:
    """One statement or SBOM: a blob of something attached."""

    descriptor: Descriptor
    kind: str
    predicate_type: str | None
    #: An in-toto statement; if not, an SBOM as it is.
    is_statement: bool
    origin: Attached


@dataclass(frozen=True, slots=True)
class _Subject:
    digest: str
    platform: Platform | None


# --- finding ---------------------------------------------------------------------------------


def gather(manifest: Manifest, artifact_type: str | None = None) -> list[Attached]:
    """Return what is attached, in the order of the index, each thing once for each subject."""
    snapshot = manifest._snapshot
    subjects = _subjects(manifest)
    found: list[Attached] = _in_index(snapshot, subjects)
    source = snapshot.source

    def listed(subject: _Subject) -> list[Attached]:
        return [_read(snapshot, subject, one) for one in source.referrers(subject.digest, wanted)]

    def tagged(job: tuple[_Subject, str, str]) -> Attached | None:
        return _tagged(snapshot, *job)

    wanted = artifact_type
    # The first by itself: where the registry has no API, nobody else need ask it.
    found += listed(subjects[0])
    for some in parallel(listed, subjects[1:]):
        found += some
    tags = [
        (subject, tag, kind)
        for subject in subjects
        for tag, kind in attached.cosign_tags(subject.digest).items()
    ]
    found += [one for one in parallel(tagged, tags) if one is not None]
    found = _typed(snapshot, found)
    order = {subject.digest: position for position, subject in enumerate(subjects)}
    unique: dict[tuple[str, str], Attached] = {}
    for one in sorted(found, key=lambda one: order[one.subject]):
        if artifact_type in (None, one.artifact_type):
            unique.setdefault((one.subject, one.descriptor.digest), one)
    return list(unique.values())


def _subjects(manifest: Manifest) -> list[_Subject]:
    """Return what something may be attached to: this document and, of an index, its members."""
    snapshot = manifest._snapshot
    document = manifest._document()
    if isinstance(document, ImageManifest):
        return [_Subject(document.digest, _platform_of(manifest, document))]
    found = {document.digest: _Subject(document.digest, None)}
    for entry in snapshot.entries():
        if entry.kind in ("image", "index"):
            digest = entry.descriptor.digest
            found.setdefault(digest, _Subject(digest, entry.descriptor.platform))
    if len(found) > MAX_SUBJECTS:
        raise LimitExceeded(
            f"{manifest.reference} has {len(found) - 1} members to ask about",
            what="members of an index",
            limit=MAX_SUBJECTS,
            seen=len(found),
            hint='ask one of them: m["linux/amd64"].referrers()',
        )
    return list(found.values())


def _platform_of(manifest: Manifest, document: ImageManifest) -> Platform | None:
    snapshot = manifest._snapshot
    for entry in snapshot.known_entries() or ():
        if entry.descriptor.digest == document.digest:
            return entry.descriptor.platform or manifest._platform
    config = snapshot.known_config(document) if document.is_image else None
    return manifest._platform if config is None else config_platform(config)


def _in_index(snapshot: Snapshot, subjects: list[_Subject]) -> list[Attached]:
    """Return BuildKit's attestations: no request beyond those for the index."""
    if not isinstance(snapshot.root(), ImageIndex):
        return []
    known = {subject.digest: subject for subject in subjects}
    made = []
    for entry in snapshot.entries():
        subject = known.get(attached.in_index(entry.descriptor) or "")
        if subject is not None:
            made.append(_of(subject, Referrer.of(entry.descriptor, "index"), "attestation"))
    return made


def _read(snapshot: Snapshot, subject: _Subject, descriptor: Descriptor) -> Attached:
    kind = attached.kind(descriptor.artifact_type, descriptor.annotations)
    return _of(subject, descriptor, kind)


def _of(subject: _Subject, descriptor: Descriptor, kind: str) -> Attached:
    annotations = descriptor.annotations
    return Attached(
        replace(descriptor, data=None),
        subject.digest,
        # Nothing runs on unknown/unknown: it says nothing.
        subject.platform if subject.platform and subject.platform.os != "unknown" else None,
        kind,
        descriptor.artifact_type,
        parse_time(annotations.get("org.opencontainers.image.created")),
        descriptor.found if isinstance(descriptor, Referrer) else "index",
    )


def _tagged(snapshot: Snapshot, subject: _Subject, tag: str, kind: str) -> Attached | None:
    """Return what one of cosign's tags names, None where there is none: one request."""
    try:
        descriptor = snapshot.source.resolve(beside(snapshot.reference, tag))
    except NotFound:
        return None
    # It came along, or is kept by now.
    return _detailed(snapshot, _of(subject, Referrer.of(descriptor, "cosign tag"), kind))


def beside(reference: Reference, tag: str) -> Reference:
    """Return the name of a tag next to another one, in a repository or a local file."""
    if isinstance(reference, LocalName):
        return LocalName.of(reference.file, tag)
    return reference.with_tag(tag)


def _typed(snapshot: Snapshot, found: list[Attached]) -> list[Attached]:
    """Look into what a listing named without saying what it is: one request each."""
    silent = [one for one in found if one.artifact_type is None and one.kind == "other"]
    silent = silent[:MAX_UNTYPED]
    looked = parallel(lambda one: _detailed(snapshot, one), silent)
    instead = {id(old): new for old, new in zip(silent, looked, strict=True)}
    return [instead.get(id(one), one) for one in found]


def _detailed(snapshot: Snapshot, one: Attached) -> Attached:
    try:
        document = snapshot.document(one.descriptor)
    except NotFound:
        return one  # listed, but gone
    kind, declared = one.kind, artifacts.type_of(document)
    if one.found == "cosign tag":
        if isinstance(document, ImageManifest):
            kind = attached.of_tagged(kind, document)
    else:
        kind = attached.kind(declared, document.annotations)
    made = parse_time(document.annotations.get("org.opencontainers.image.created"))
    return replace(one, kind=kind, artifact_type=declared, created=one.created or made)


# --- statements ------------------------------------------------------------------------------

#: What the parts of an image are is remembered for as long as it is: positions stay.
_known: weakref.WeakKeyDictionary[Snapshot, dict[Platform | None, list[Part]]]
_known = weakref.WeakKeyDictionary()
_known_lock = threading.Lock()


def parts(manifest: Manifest) -> list[Part]:
    """Return the statements and SBOMs that are attached; what was found once is remembered."""
    snapshot, platform = manifest._snapshot, manifest._platform
    with _known_lock:
        kept = _known.get(snapshot, {}).get(platform)
    if kept is not None:
        return kept
    holders = [one for one in gather(manifest) if _may_hold(one)]
    made = [part for some in parallel(lambda one: _parts(snapshot, one), holders) for part in some]
    if len(made) > MAX_PARTS:
        raise LimitExceeded(
            f"more than {MAX_PARTS} statements are attached to {manifest.reference}",
            what="attestations",
            limit=MAX_PARTS,
            seen=len(made),
        )
    with _known_lock:
        return _known.setdefault(snapshot, {}).setdefault(platform, made)


def _may_hold(one: Attached) -> bool:
    if one.kind in ("attestation", "provenance", "sbom"):
        return True
    return one.kind == "signature" and media_types.essence(one.artifact_type).startswith(
        attached.BUNDLE
    )


def _parts(snapshot: Snapshot, origin: Attached) -> list[Part]:
    """Return the parts of one thing: its manifest, and statements that do not say their type."""
    try:
        document = snapshot.document(origin.descriptor)
    except NotFound:
        _log.warning(
            "%s is listed as attached to %s, but is not there",
            origin.descriptor.digest,
            origin.subject,
        )
        return []
    if not isinstance(document, ImageManifest):
        return []
    found = []
    for layer in document.layers:
        form = media_types.essence(layer.media_type)
        sbom = attached.kind(form) == "sbom"
        if not sbom and not _is_statement(form):
            continue
        predicate = attached.predicate_type(
            layer.annotations, document.annotations, origin.descriptor.annotations
        )
        bare = document.annotations.get("dev.sigstore.bundle.content") == "message-signature"
        if sbom:
            found.append(Part(layer, "sbom", None, False, origin))
        elif not bare:
            predicate = predicate or _stated(snapshot.source, layer)
            if predicate is not None:
                kind = attached.of_predicate(predicate)
                found.append(Part(layer, kind, predicate, True, origin))
    return found


def _is_statement(form: str) -> bool:
    return form.startswith((attached.BUNDLE, "application/vnd.in-toto", "application/vnd.dsse."))


def _stated(source: Source, layer: Descriptor) -> str | None:
    found = statement.parse(content(source, layer))
    return None if found is None else found.predicate_type


def content(source: Source, descriptor: Descriptor) -> bytes:
    """Return the bytes of a statement or SBOM, verified: one request the first time.

    Raises
    ------
    LimitExceeded, DigestMismatch, SizeMismatch, BlobNotFound, TransportError
    """
    if descriptor.size > statement.STATEMENT_LIMIT:
        raise LimitExceeded(
            f"{descriptor.digest} has {descriptor.size} bytes, too many for a statement or SBOM",
            what="size of a statement or SBOM",
            limit=statement.STATEMENT_LIMIT,
            seen=descriptor.size,
        )
    if descriptor.size <= FETCH_LIMIT:
        return source.fetch(descriptor)
    verifier = Verifier(descriptor.digest, descriptor.size, where=source.location)
    pieces = []
    for data in resuming(source.open(descriptor)):
        verifier.update(data)
        pieces.append(data)
    verifier.check()
    return b"".join(pieces)


def parallel(job: Callable[[S], T], over: Sequence[S]) -> Iterable[T]:
    """Do a job over several, some at a time; results in their order."""
    if len(over) < 2:
        return [job(one) for one in over]
    pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="didlab-attached")
    try:
        return list(pool.map(job, over))
    finally:
        # Not `with`: after Ctrl+C that would wait for every one that is left.
        pool.shutdown(wait=False, cancel_futures=True)
