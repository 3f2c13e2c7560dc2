"""Layers that lie elsewhere, by their descriptors' ``urls``: only for whoever asks for them.

Publishers of some base images do not allow copies of their layers at registries ("foreign" to
Docker, "non-distributable" to OCI). Their descriptors name addresses, which are anybody's.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Generator
from typing import Any

from didlab.errors import (
    BadRange,
    DidlabError,
    InvalidArgument,
    LimitExceeded,
    NotFound,
)
from didlab.oci.descriptor import Descriptor
from didlab.sources.base import BlobReader, Source, WrapperSource
from didlab.sources.registry import RegistrySource
from didlab.transport import checks, effective, foreign
from didlab.transport.client import connect
from didlab.transport.foreign import Outside
from didlab.transport.options import Options

#: The registry for which the options of a local file are made: none of those that have a name.
_NOWHERE = ""


class ForeignSource(WrapperSource):
    """Asks the inner source for a layer, then the layer's own addresses, in order.

    Parameters
    ----------
    inner : Source
    options : Options, optional
        How to connect; of a registry's source its own.
    """

    def __init__(self, inner: Source, options: Options | None = None) -> None:
        super().__init__(inner)
        self._options = options
        #: Digests that the inner source was found not to have.
        self.lacking: set[str] = set()
        self._wires: dict[int, Outside] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.inner, self._options)

    def open(self, descriptor: Descriptor) -> BlobReader:
        """Return a reader; no request until it is read."""
        inner = self.inner.open(descriptor)
        if not descriptor.urls:
            return inner
        return ForeignReader(self, inner, descriptor, self._wire())

    def _wire(self) -> Outside:
        # A forked child has connections of its own.
        key = os.getpid()
        wire = self._wires.get(key)
        if wire is None:
            wire = self._wires.setdefault(key, self._made())
        return wire

    def _made(self) -> Outside:
        source = self.inner
        if isinstance(source, RegistrySource):
            return Outside(source.options, connect(source.registry, source.options))
        return Outside(self._options or effective.resolve(_NOWHERE, {}), None)


def following(source: Source, wanted: object, options: dict[str, Any] | None = None) -> Source:
    """Return a source that goes where layers' ``urls`` lead, where that is wanted.

    ``options`` are those of the user, for what is local. No I/O but that for the user's file.

    Raises
    ------
    InvalidArgument
        ``wanted`` is no bool.
    """
    if not checks.flag(wanted, "foreign") or follows(source):
        return source
    return _around(source, options)


def _around(source: Source, options: dict[str, Any] | None) -> Source:
    """Return the source with its innermost one wrapped: what is kept goes before all asking."""
    if isinstance(source, WrapperSource):
        made = copy.copy(source)
        made.inner = _around(source.inner, options)
        return made
    local = options is not None and not isinstance(source, RegistrySource)
    return ForeignSource(source, effective.resolve(_NOWHERE, options or {}) if local else None)


def follows(source: Source) -> bool:
    """Whether a source goes where layers' ``urls`` lead."""
    while isinstance(source, WrapperSource):
        if isinstance(source, ForeignSource):
            return True
        source = source.inner
    return False


class ForeignReader:
    """One layer: at the inner source, else at one of its addresses."""

    def __init__(
        self, source: ForeignSource, inner: BlobReader, descriptor: Descriptor, wire: Outside
    ) -> None:
        self._source = source
        self._inner = inner
        self._digest = descriptor.digest
        self.size = descriptor.size
        found, self._refused = foreign.usable(descriptor.urls, wire.options)
        self._outside = foreign.blob(wire, found, descriptor.digest, descriptor.size)
        self._current: BlobReader = inner
        self._here = tuple(inner.places) or (source.location,)

    @property
    def places(self) -> tuple[str, ...]:
        """Those of the inner source, then the addresses."""
        return (*self._here, *self._outside.places)

    @property
    def ranged(self) -> bool | None:
        """Whether the place that was asked last serves ranges."""
        return self._current.ranged

    @property
    def served_by(self) -> str | None:
        """The place that served last."""
        return self._current.served_by

    def read_at(self, start: int, stop: int) -> bytes:
        """Return exactly the bytes from ``start`` to ``stop`` (half-open)."""
        if not 0 <= start <= stop <= self.size:
            raise InvalidArgument(f"there are no bytes {start} to {stop} in {self.size}")
        return b"".join(self.stream(start, stop))

    def stream(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        place: str | None = None,
        strict: bool = False,
    ) -> Generator[bytes]:
        """Yield the bytes from ``start`` to ``stop``.

        An address is asked only after the inner source was: also where it is the ``place``.

        Raises
        ------
        BlobNotFound
            Nobody has it.
        """
        outside = self._outside
        lacking = self._digest in self._source.lacking
        # Who asks there again, although it is not there, has been at the addresses in vain.
        if not outside.places or (place in self._here and not lacking):
            yield from self._inside(start, stop, place, strict=strict)
            return
        before: list[DidlabError] = []
        if not lacking:
            began = False
            try:
                for data in self._inside(start, stop, None, strict=strict):
                    began = True
                    yield data
            except (BadRange, InvalidArgument, LimitExceeded):
                raise
            except DidlabError as error:
                if began:
                    raise
                before.append(error)
            else:
                return
        self._current = outside
        at = place if place in outside.places else None
        try:
            yield from outside.stream(start, stop, place=at, strict=strict)
        except DidlabError as error:
            raise foreign.after(*before, last=error) from None

    def _inside(
        self, start: int, stop: int | None, place: str | None, *, strict: bool
    ) -> Generator[bytes]:
        self._current = self._inner
        named = place if place in self._inner.places else None
        try:
            yield from self._inner.stream(start, stop, place=named, strict=strict)
        except NotFound as error:
            if named in (None, self._here[-1]):
                self._source.lacking.add(self._digest)
            raise foreign.absent(
                error.message, **{**error.fields(), "hint": self._hint()}
            ) from None

    def _hint(self) -> str | None:
        if self._outside.places:
            return None
        return f"its urls cannot be asked: {'; '.join(self._refused[:4])}"

    def abort(self) -> None:
        """End the stream under way, from another thread."""
        self._current.abort()
