"""What is attached to an image, copied along: to be found at the target as it was at the source."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from didlab.errors import LimitExceeded, NotFound
from didlab.export.content import Document
from didlab.model.attached import MAX_SUBJECTS, beside, parallel
from didlab.model.manifest import Manifest
from didlab.model.snapshot import Snapshot
from didlab.oci import attached, media_types
from didlab.oci import digest as digests
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import MANIFEST_LIMIT, ImageIndex, ImageManifest
from didlab.oci.reference import Reference
from didlab.sources.base import Source
from didlab.views import text

#: Signatures are attached to SBOMs, which are attached to images: so far down.
MAX_DEPTH = 4
#: Things attached, all subjects together.
MAX_ATTACHED = 10_000

#: Adds a document, with all that it lists and its blobs, to what is copied.
Take = Callable[[ImageManifest | ImageIndex], None]


@dataclass(slots=True)
class Attachments:
    """What is to be written besides the image: tags, and lists of referrers.

    Attributes
    ----------
    tags : dict of str to Document
        cosign's tags.
    referrers : dict of str to list of Descriptor
        By the digest that they refer to.
    count : int
        How many things there are.
    """

    tags: dict[str, Document] = field(default_factory=dict)
    referrers: dict[str, list[Descriptor]] = field(default_factory=dict)
    count: int = 0


def gather(
    manifest: Manifest, subjects: Sequence[str], take: Take, notes: list[str]
) -> Attachments:
    """Find what is attached to documents, and to that again, and hand it to ``take``.

    Raises
    ------
    LimitExceeded, AuthError, TransportError
    """
    if len(subjects) > MAX_SUBJECTS:
        raise LimitExceeded(
            f"{manifest.reference} has {len(subjects)} manifests to ask about",
            what="manifests with something attached",
            limit=MAX_SUBJECTS,
            seen=len(subjects),
            hint='choose platforms: platform=["linux/amd64"]',
        )
    snapshot = manifest._snapshot
    made = Attachments()
    seen = set(subjects)
    level = list(subjects)
    for depth in range(MAX_DEPTH + 1):
        found = _asked(snapshot, level)
        made.count += len(found)
        if found and (made.count > MAX_ATTACHED or depth == MAX_DEPTH):
            deep = depth == MAX_DEPTH
            raise LimitExceeded(
                f"more is attached to {manifest.reference} than can be copied",
                what="depth of what is attached" if deep else "things attached",
                limit=MAX_DEPTH if deep else MAX_ATTACHED,
                seen=depth + 1 if deep else made.count,
            )
        level = []
        for subject, one, tag in found:
            try:
                document = snapshot.document(one)
                take(document)
            except NotFound as error:
                # A list of referrers may name what was deleted.
                notes.append(f"{one.digest}, attached to {subject}, left out: {error.message}")
                continue
            if tag is not None:
                made.tags[tag] = Document(document.digest, document.media_type, document.raw)
            else:
                made.referrers.setdefault(subject, []).append(_described(one, document))
            if document.digest not in seen:
                seen.add(document.digest)
                level.append(document.digest)
        if not level:
            break
    if made.count:
        notes.append(f"{text.count(made.count, 'thing')} attached copied along")
    return made


#: Subject, what is attached to it, and the tag that it has for that.
_Found = tuple[str, Descriptor, str | None]


def _asked(snapshot: Snapshot, subjects: Sequence[str]) -> list[_Found]:
    """Return what is attached to documents: a few requests for each, several at a time."""

    def of(subject: str) -> list[_Found]:
        found: list[_Found] = [(subject, one, None) for one in source.referrers(subject)]
        for tag in attached.cosign_tags(subject):
            with contextlib.suppress(NotFound):
                found.append((subject, source.resolve(beside(snapshot.reference, tag)), tag))
        return found

    source = snapshot.source
    # The first by itself: where the registry has no API, nobody else need ask it.
    rows = of(subjects[0]) if subjects else []
    for some in parallel(of, subjects[1:]):
        rows += some
    return rows


def _described(found: Descriptor, document: ImageManifest | ImageIndex) -> Descriptor:
    """Return the entry of a list of referrers (distribution specification 1.1)."""
    kind = document.artifact_type
    if kind is None and isinstance(document, ImageManifest):
        kind = document.config.media_type
    return Descriptor(
        document.media_type,
        document.digest,
        len(document.raw),
        annotations=dict(document.annotations) or dict(found.annotations),
        artifact_type=kind,
    )


def listed(
    target: Source, repository: Reference, made: Attachments
) -> Iterator[tuple[str, Document]]:
    """Yield the tags to write at the target once the manifests are there.

    A registry with the referrers API lists by itself; where it does not, the tag that takes the
    API's place gets what it lacks, and keeps what it has.
    """
    yield from made.tags.items()
    for subject, wanted in made.referrers.items():
        there = {one.digest for one in target.referrers(subject)}
        missing = [one for one in wanted if one.digest not in there]
        if missing:
            tag = attached.fallback_tag(subject)
            yield tag, _extended(_kept(target, repository.with_tag(tag)), missing)


def _kept(target: Source, reference: Reference) -> dict[str, Any]:
    """Return the list at the target, as it is written there."""
    try:
        found = target.resolve(reference)
    except NotFound:
        return {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": []}
    kept: dict[str, Any] = json.loads(target.fetch(found))
    return kept


def _extended(value: dict[str, Any], more: Iterable[Descriptor]) -> Document:
    # No list at all is how Go writes an empty one.
    value = {**value, "manifests": [*(value["manifests"] or ()), *map(_row, more)]}
    raw = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    if len(raw) > MANIFEST_LIMIT:
        raise LimitExceeded(
            "the list of what is attached gets too long for a tag",
            what="size of an index",
            limit=MANIFEST_LIMIT,
            seen=len(raw),
        )
    return Document(digests.of(raw), media_types.OCI_INDEX, raw)


def _row(one: Descriptor) -> dict[str, Any]:
    row: dict[str, Any] = {"mediaType": one.media_type, "digest": one.digest, "size": one.size}
    if one.artifact_type is not None:
        row["artifactType"] = one.artifact_type
    if one.annotations:
        row["annotations"] = dict(one.annotations)
    return row
