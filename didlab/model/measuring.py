"""What some bytes are: read once, hashed as they are and as what they unpack to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from didlab import _pausing as pausing
from didlab.errors import CompressionInvalid, DidlabError, LimitExceeded, TarInvalid, Unsupported
from didlab.files import sniff
from didlab.files.decompress import Decoder, decoder
from didlab.files.gzip_budget import Budget
from didlab.files.limits import DEFAULT

#: bzip2 and xz: not read here.
_MAGIC = b"\x1f\x8b\x08"
_OTHERS = (b"BZh", b"\xfd7zXZ\0")
_ALGORITHMS = ("sha256", "sha512")


@dataclass(slots=True)
class Measured:
    """What came.

    Attributes
    ----------
    size : int
    digests, unpacked : dict
        Algorithm -> digest, of the bytes as they are and of the tar in them. Nothing is unpacked
        where ``problem`` says why.
    kind : str
        ``tar``, ``gzip``, ``zstd``; ``other`` for what no layer is.
    """

    size: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    unpacked: dict[str, str] = field(default_factory=dict)
    kind: str = "other"
    problem: str | None = None
    #: Whether that is for want of a tool, and nothing is known to be wrong.
    unknown: bool = False
    #: What follows the end of gzip, if anything does: some readers pass over that.
    behind: str = ""


class _Budget(Budget):
    """Passes over what follows the last member of gzip, and notes it."""

    behind = ""
    _garbage = False

    def begin_gzip(self, data: bytes, position: int) -> int:
        if self.members and not self._garbage:
            rest = data[position : position + 3]
            if rest[0] == 0:
                self.behind = "zeros follow the end of gzip"
                rest = data[position:].lstrip(b"\0")[:3]
            self._garbage = not _MAGIC.startswith(rest)
        if self._garbage:
            self.behind = "something that is not gzip follows its end"
            return len(data)
        return super().begin_gzip(data, position)


class _Hashes:
    def __init__(self, algorithms: Iterable[str]) -> None:
        self._all = {name: hashlib.new(name) for name in algorithms}

    def update(self, data: bytes) -> None:
        for one in self._all.values():
            one.update(data)

    def digests(self) -> dict[str, str]:
        return {name: f"{name}:{one.hexdigest()}" for name, one in self._all.items()}


def measure(
    pieces: Iterable[bytes],
    algorithms: Iterable[str] = ("sha256",),
    progress: Callable[[int], object] = lambda _: None,
    media_type: str = "",
) -> Measured:
    """Read ``pieces`` to their end, in bounded memory; damage is told, not raised."""
    made = Measured()
    algorithms = [name for name in _ALGORITHMS if name in {"sha256", *algorithms}]
    plain, inner = _Hashes(algorithms), _Hashes(algorithms)
    head, rest = sniff.beginning(pieces)
    decoding: Decoder | None = None
    budget = _Budget(DEFAULT)
    try:
        made.kind = sniff.kind(head, media_type)
        if made.kind != "tar":
            decoding = decoder(made.kind, points=False)
        if made.kind == "gzip":
            decoding._budget = budget  # type: ignore[union-attr]
    except (CompressionInvalid, Unsupported) as error:
        made.problem = error.message
        # docker load and podman read the others, too.
        made.unknown = isinstance(error, Unsupported) or head.startswith(_OTHERS)

    def take(data: bytes) -> None:
        nonlocal decoding
        pausing.check()
        made.size += len(data)
        plain.update(data)
        progress(len(data))
        if decoding is not None:
            try:
                for out in decoding.feed(data):
                    inner.update(out)
            except (CompressionInvalid, TarInvalid, LimitExceeded, Unsupported) as error:
                decoding, made.problem = None, error.message

    take(head)
    for piece in rest:
        take(piece)
    if decoding is not None:
        try:
            decoding.end()
        except DidlabError as error:
            decoding, made.problem = None, error.message
    made.behind = budget.behind
    made.digests = plain.digests()
    if made.kind == "tar":
        made.unpacked = made.digests
    elif decoding is not None:
        made.unpacked = inner.digests()
    return made
