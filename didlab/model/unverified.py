"""One file out of a layer that is not listed yet, without waiting for the layer's end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator
from typing import TYPE_CHECKING

from didlab.export.fetch import resuming
from didlab.files import paths
from didlab.files.content import Bytes
from didlab.files.limits import DEFAULT
from didlab.files.streamed import first_files
from didlab.files.walk import Walker

if TYPE_CHECKING:
    from didlab.model.layer import Layer

_log = logging.getLogger("didlab")


def first(layer: Layer, path: bytes) -> Bytes | None:
    """Return the content of the first regular file of that path, and stop there.

    What was not read cannot be verified, nor can what was: a proxy could have changed it, and the
    layer could state the path again. None where the layer came to
    its end without it.
    """
    source, descriptor = layer._manifest._snapshot.source, layer._descriptor
    walker = Walker(capture=lambda found, size: found == path and size <= DEFAULT.whole_file)
    pieces = resuming(source.open(descriptor))
    with contextlib.closing(_generator(pieces)) as stream:
        for content in first_files(stream, descriptor.media_type):
            walker.feed(content)
            walker.flush()
            if path in walker.captured:
                _log.warning(
                    "%s was read from %s without verification: only the layer's end tells "
                    "whether its bytes are what its digest promises",
                    paths.shown(path),
                    layer.digest,
                )
                return Bytes(walker.captured[path])
    return None


def _generator(pieces: object) -> Generator[bytes]:
    yield from pieces  # type: ignore[misc]
