"""Files that checks read: their content, kept while layers stream by."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable

from didlab.files import paths
from didlab.files.looks import Facts, Look

#: Bytes of a file that is kept; larger ones are read from the layer when they are asked for.
MOST = 1024 * 1024
_GLOB = re.compile(r"[*?\[{]|//|/\.")


class ReadsLook(Look):
    """The content of files that match globs; facts hold it in base64."""

    most = MOST

    def __init__(self, globs: Iterable[str]) -> None:
        self.globs = tuple(sorted(set(globs)))
        named = hashlib.sha256("\0".join(self.globs).encode("utf-8", "surrogateescape"))
        self.name = f"reads 1 of {named.hexdigest()}"
        starts = [_GLOB.split("/" + one.removeprefix("/"), maxsplit=1)[0] for one in self.globs]
        self._starts = [one.encode("utf-8", "surrogateescape") for one in starts]

    def wants(self, path: bytes, size: int) -> bool:
        """Whether a file matches, and is small."""
        return 0 < size <= MOST and any(paths.matcher(one)(path) for one in self.globs)

    def maybe(self, paths: bytes) -> bool:
        """Whether a file among the paths may match."""
        return any(start in paths for start in self._starts)

    def facts(self, path: bytes, content: bytes) -> Facts:
        """Return the content."""
        del path
        return [base64.b64encode(content).decode()]


def content(facts: Facts) -> bytes | None:
    """Return what a fact holds; None where it is none."""
    try:
        (text,) = facts
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        return None
