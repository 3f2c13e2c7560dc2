"""Saving in every form: which steps a format, a compression and a target need."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from didlab.blobs.refusals import translated
from didlab.errors import InvalidArgument
from didlab.export import compressed, formats, recode, staging, stream, thin
from didlab.export.archive import save_planned
from didlab.export.content import Content
from didlab.export.encode import Compression
from didlab.export.layout import save_layout
from didlab.export.plan import SavePlan
from didlab.export.report import Made, SaveReport, report
from didlab.export.running import Manner
from didlab.export.staging import SourceOf
from didlab.oci.descriptor import Descriptor


@dataclass(frozen=True, slots=True)
class Since:
    """What the other side has: a name for it, and the diff_ids of its images."""

    name: str
    chains: Collection[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Form:
    """What is to come out; checked when made."""

    format: str = "archive"
    compression: str | None = None
    since: Since | None = None

    def __post_init__(self) -> None:
        formats.check(self.format, self.compression)
        check_thin(self.format, self.compression, thin=self.since is not None)

    @property
    def layers(self) -> Compression | None:
        """What layers are turned into; None for as they are."""
        return formats.layers(self.format, self.compression)


def check_thin(format: str, compression: str | None, *, thin: bool) -> None:  # noqa: A002
    """Refuse what cannot be left incomplete."""
    if thin and format not in ("archive", "docker"):
        raise InvalidArgument(
            f"since= leaves layers out, and nobody takes format={format!r} without them",
            hint="format='archive' or 'docker' can be thin: docker load takes them",
        )
    if thin and format != "docker" and compression not in (None, "keep"):
        raise InvalidArgument(
            "since= and compression= exclude each other: the digests of layers that are left out "
            "would be unknown",
            hint="format='docker' takes since=",
        )


@dataclass(frozen=True, slots=True)
class Ready:
    """Everything settled: what is written, and where its blobs are."""

    form: Form
    contents: Sequence[Content]
    source_of: SourceOf
    plan: SavePlan | None
    notes: tuple[str, ...]


def save(
    contents: Sequence[Content], source_of: SourceOf, target: Path, form: Form, manner: Manner
) -> SaveReport:
    """Write images to a path. See `didlab.Manifest.save` and `didlab.save`."""
    began = time.monotonic()
    whole = None if form.format == "oci-dir" else formats.whole(target.name)
    formats.check_platforms(contents, form.format)
    missing = _missing(contents, form)
    if _as_they_are(contents, form, missing) and whole is None:
        if form.format == "oci-dir":
            return save_layout(contents, source_of, target, manner)
        ready = _ready(contents, source_of, form, missing)
        made = save_planned(_plan(ready), source_of, target, manner)
        return _report(target, ready, made, _plan(ready).size)
    done = _there(contents, source_of, target, form, missing, manner)
    if done is not None:
        return done
    blobs = [b for content in contents for b in content.blobs if b.digest not in missing]
    # The download alone is what a handed-in bar measures.
    later = replace(manner, progress=_own(manner.progress), keep=False)
    with (
        staging.fetched(blobs, source_of, target, manner, title=target.name) as (staged, came),
        _settled(contents, lambda _: staged, target, form, missing, later) as ready,
    ):
        quiet = replace(later, progress=False)
        if form.format == "oci-dir":
            laid = save_layout(ready.contents, ready.source_of, target, quiet)
            size = laid.size
        elif whole is not None:
            size = compressed.save(_plan(ready), ready.source_of, target, whole, later)
        else:
            size = _plan(ready).size
            save_planned(_plan(ready), ready.source_of, target, quiet)
    return _report(target, ready, came.lasting(time.monotonic() - began), size)


def write(
    contents: Sequence[Content],
    source_of: SourceOf,
    sink: stream.Write,
    form: Form,
    manner: Manner,
) -> SaveReport:
    """Write images in order into a stream; what it gets is complete or recognisably not."""
    began = time.monotonic()
    title = stream.title(contents)
    formats.check_platforms(contents, form.format)
    missing = _missing(contents, form)
    if _as_they_are(contents, form, missing):
        ready = _ready(contents, source_of, form, missing)
        made = stream.write_plan(_plan(ready), source_of, sink, manner, title=title)
        return _report(None, ready, made, _plan(ready).size)
    blobs = [b for content in contents for b in content.blobs if b.digest not in missing]
    later = replace(manner, progress=_own(manner.progress), keep=False)
    with (
        _room() as beside,
        staging.fetched(blobs, source_of, beside, manner, title=title) as (staged, came),
        _settled(contents, lambda _: staged, beside, form, missing, later) as ready,
    ):
        quiet = replace(later, progress=False)
        stream.write_plan(_plan(ready), ready.source_of, sink, quiet, title=title)
    return _report(None, ready, came.lasting(time.monotonic() - began), _plan(ready).size)


@contextlib.contextmanager
def _room() -> Iterator[Path]:
    """Return a file's name in a folder of its own that goes afterwards."""
    with contextlib.ExitStack() as stack:
        with translated(Path(tempfile.gettempdir())):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="didlab-"))
        yield Path(folder) / "stream.tar"


@contextlib.contextmanager
def _settled(
    contents: Sequence[Content],
    source_of: SourceOf,
    beside: Path,
    form: Form,
    missing: dict[str, str],
    manner: Manner,
) -> Iterator[Ready]:
    if form.layers is None or _as_they_are(contents, form, missing):
        yield _ready(contents, source_of, form, missing)
        return
    with recode.recoded(
        contents, source_of, beside, form.layers, skip=missing, progress=manner.progress
    ) as made:
        # What was left out is known by its diff_id from here on.
        renamed = {diff_id: diff_id for diff_id in missing.values()}
        ready = _ready(made.contents, made.source_of, form, renamed)
        # A docker-archive has no manifest, and so no digest that could change.
        changed = made.notes if form.format != "docker" else ()
        yield replace(ready, notes=(*changed, *ready.notes))


def _as_they_are(contents: Sequence[Content], form: Form, missing: Mapping[str, str]) -> bool:
    """Whether no layer has to be written anew."""
    if form.layers is None:
        return True
    renamed = any(digest != diff_id for digest, diff_id in missing.items())
    return not renamed and not recode.jobs(contents, form.layers, missing)


def _missing(contents: Sequence[Content], form: Form) -> dict[str, str]:
    return {} if form.since is None else thin.left_out(contents, form.since.chains)


def _ready(
    contents: Sequence[Content], source_of: SourceOf, form: Form, missing: dict[str, str]
) -> Ready:
    if form.format == "oci-dir":
        return Ready(form, contents, source_of, None, ())
    needs = None
    notes: tuple[str, ...] = ()
    if form.since is not None:
        needs = thin.needs(
            contents,
            form.since.name,
            missing,
            formats.paths(form.format, missing),
            sized=form.layers is None,
        )
        notes = (_thinned(len(missing), form.since.name),)
    return Ready(form, contents, source_of, formats.planned(contents, form.format, needs), notes)


def _thinned(count: int, name: str) -> str:
    if not count:
        return f"thin: nothing could be left out, the layers of {name} begin otherwise"
    many = "1 layer is" if count == 1 else f"{count} layers are"
    return (
        f"thin: {many} left out, which {name} has; docker load takes it where that was loaded, "
        "didlab complete makes it whole for others"
    )


def _plan(ready: Ready) -> SavePlan:
    assert ready.plan is not None
    return ready.plan


def _there(
    contents: Sequence[Content],
    source_of: SourceOf,
    target: Path,
    form: Form,
    missing: dict[str, str],
    manner: Manner,
) -> SaveReport | None:
    """Look at what is at the target before anything is fetched; return a report if it is done.

    Raises
    ------
    DestinationExists
        It cannot be what would be written, and may not be replaced.
    """
    if form.format == "oci-dir":
        return None
    whole = formats.whole(target.name)
    if not _as_they_are(contents, form, missing):
        ids = [image.manifest.config.digest for content in contents for image in content.images]
        if not compressed.check_taken(target, ids, overwrite=manner.overwrite):
            return None
        if form.layers != "none":
            return None  # how well it was compressed nobody can tell
        sizes = compressed.sizes(target)
        layers = {
            digest: Descriptor(job.descriptor.media_type, job.diff_id, sizes[_path(form, job)])
            for digest, job in recode.jobs(contents, "none", missing).items()
            if _path(form, job) in sizes
        }
        layers |= {digest: Descriptor("", diff_id, 0) for digest, diff_id in missing.items()}
        contents = [recode.rewritten(content, layers, "none") for content in contents]
        missing = {diff_id: diff_id for diff_id in missing.values()}
    ready = _ready(contents, source_of, form, missing)
    planned = _plan(ready)
    if not compressed.taken(target, planned, whole or "none", overwrite=manner.overwrite):
        return None
    return _report(target, ready, Made(0, planned.to_fetch, 0.0), target.stat().st_size)


def _path(form: Form, job: recode.Job) -> str:
    return formats.paths(form.format, [job.diff_id])[job.diff_id]


def _own(progress: Any) -> Any:
    """Return whether didlab's own bar is to be shown once more."""
    return progress if progress is None or isinstance(progress, bool) else False


def _report(target: Path | None, ready: Ready, made: Made, size: int) -> SaveReport:
    done = report(target, ready.contents, size, made, manifests=ready.form.format != "docker")
    return replace(done, notes=(*done.notes, *ready.notes))
