"""Which of several images another one was built on: by the layers that both begin with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NamedTuple

from didlab.errors import InvalidArgument, NotAnImage, PlatformNotFound
from didlab.model.manifest import Manifest
from didlab.model.opening import open as open_image
from didlab.model.repository import Repository
from didlab.oci.manifest import ImageIndex
from didlab.oci.reference import Reference
from didlab.views import frames

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["frame"]

#: Candidates that are asked for at the same time.
_PARALLEL = 8
_HINT = 'm.base(["debian:12", "debian:13"]), or a Repository for all of its tags'

Candidates = str | Reference | Manifest | Repository | Iterable[str | Reference | Manifest]


class Chain(NamedTuple):
    """An image's layers, the base first: digests as stored, those of the tars, and sizes."""

    platform: str
    digest: str
    digests: Sequence[str]
    diff_ids: Sequence[str | None]
    sizes: Sequence[int]


def frame(manifest: Manifest, candidates: Candidates) -> pd.DataFrame:
    """Return the table ``base``.

    Raises
    ------
    InvalidArgument, NotAnImage, ManifestNotFound, TransportError
    """
    asked = list(_candidates(candidates))
    own = _chain(manifest)
    pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="didlab-base")
    try:
        waiting = [pool.submit(copy_context().run, _row, own, one) for one in asked]
        rows = [one.result() for one in waiting]
    finally:
        # Not `with`: after Ctrl+C that would wait for every one that is left.
        pool.shutdown(wait=False, cancel_futures=True)
    # Of equally long chains the one that adds least, which a base does not at all.
    rows.sort(key=lambda row: (-row[0][3], row[1], row[0][0]))
    return frames.frame("base", [row for row, _ in rows], reference=str(manifest.reference))


def _candidates(given: Any) -> Iterator[Manifest]:
    if isinstance(given, Repository):
        yield from (given[tag] for tag in given._source.tags())
    elif isinstance(given, Manifest):
        yield given
    elif isinstance(given, str | Reference):
        yield open_image(given)
    elif isinstance(given, Iterable):
        for one in given:
            if not isinstance(one, str | Reference | Manifest | Repository):
                raise InvalidArgument(f"{type(one).__name__} is no image", hint=_HINT)
            yield from _candidates(one)
    else:
        raise InvalidArgument(f"{type(given).__name__} is no list of images", hint=_HINT)


def _row(own: Chain, candidate: Manifest) -> tuple[tuple[Any, ...], int]:
    """Return a candidate's row, and how many layers it has that the image lacks."""
    reference = str(candidate.reference)
    try:
        if candidate._platform is None and own.platform:
            candidate = _for(candidate, own.platform)
        chain = _chain(candidate)
    except (PlatformNotFound, NotAnImage):
        return (reference, None, None, 0, 0, False), 0
    shared = _shared(own, chain)
    more = len(chain.digests) - shared
    is_base = shared > 0 and not more and chain.digest != own.digest
    row = (reference, chain.platform, chain.digest, shared, sum(own.sizes[:shared]), is_base)
    return row, more


def _for(candidate: Manifest, platform: str) -> Manifest:
    # A single image is what it is; its own platform is in its row.
    root = candidate._snapshot.root()
    return candidate[platform] if isinstance(root, ImageIndex) else candidate


def _shared(own: Chain, other: Chain) -> int:
    """Return how many layers both begin with: the same blob, or the same tar packed otherwise."""
    count = 0
    pairs = zip(own.digests, own.diff_ids, other.digests, other.diff_ids, strict=False)
    for digest, diff_id, other_digest, other_diff_id in pairs:
        if digest != other_digest and (diff_id is None or diff_id != other_diff_id):
            break
        count += 1
    return count


def _chain(manifest: Manifest) -> Chain:
    image = manifest._image()
    config = manifest._config()
    platform = "/".join(one for one in (config.os, config.architecture, config.variant) if one)
    return Chain(
        platform,
        image.digest,
        [layer.digest for layer in image.layers],
        manifest._snapshot.diff_ids(image),
        [layer.size for layer in image.layers],
    )
