"""How large blobs are whose sizes nobody told: schema 1 lists digests alone."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Protocol, runtime_checkable

from didlab import _pausing as pausing
from didlab.errors import Unsupported
from didlab.sources.base import Source, WrapperSource

#: Questions at the same time.
TOGETHER = 4
#: What Docker before 1.10 wrote for steps that changed nothing: an empty tar, compressed.
EMPTY_LAYER = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"
_WELL_KNOWN = {EMPTY_LAYER: 32}


@runtime_checkable
class Sizing(Protocol):
    """A source that can be asked for the size of a blob."""

    def blob_size(self, digest: str) -> int:
        """Return how many bytes a blob has as stored."""


def blob_size(source: Source, digest: str) -> int:
    """Return how many bytes a blob has.

    Raises
    ------
    BlobNotFound, AuthError, TransportError, ProtocolError
    Unsupported
        The source cannot tell.
    """
    asked = source
    while isinstance(asked, WrapperSource) and not isinstance(asked, Sizing):
        asked = asked.inner
    if not isinstance(asked, Sizing):
        raise Unsupported(f"{source.location} cannot tell how large a blob is")
    return asked.blob_size(digest)


def blob_sizes(source: Source, digests: Iterable[str]) -> dict[str, int]:
    """Return how many bytes each blob has: one question for each, several at a time."""
    found = {digest: _WELL_KNOWN.get(digest, -1) for digest in digests}
    asked = [digest for digest, size in found.items() if size < 0]
    stop = pausing.Stop()
    pool = ThreadPoolExecutor(TOGETHER, thread_name_prefix="didlab-size")

    def ask(digest: str) -> int:
        pausing.stop.set(stop)
        return blob_size(source, digest)

    try:
        jobs = [pool.submit(copy_context().run, ask, digest) for digest in asked]
        waiting = set(jobs)
        while waiting:
            # With a timeout: a bare wait cannot be interrupted on Windows.
            done, waiting = wait(waiting, pausing.LOOK, FIRST_EXCEPTION)
            for job in done:
                job.result()
            pausing.check()
        found.update(zip(asked, (job.result() for job in jobs), strict=True))
    finally:
        # Not `with`: after Ctrl-C, or a failure, that would wait for all that is left.
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
    return found
