"""What an audit has to do: distinct images, and the distinct layers that they wait for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from didlab.audits.fleet.check import Check
from didlab.audits.fleet.resolving import Found, Unit
from didlab.errors import DidlabError
from didlab.files.underway import Key
from didlab.model.indexing import Wanted
from didlab.sources.base import Source

#: Places that a layer is asked of.
_PLACES = 3


class Layer:
    """A distinct layer, the places that may have it, and the images that wait for it."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.sources: dict[str, Source] = {}
        self.waiting: list[Image] = []
        #: Bytes that progress was told of.
        self.counted = 0
        self.over = False
        #: Why nothing is known of it.
        self.error: str | None = None


class Image:
    """A distinct image, its names, and how many of its layers are not known yet."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.references: list[str] = []
        self.checks: list[Check] = []
        self.pending = 0
        self.broken: dict[str, str] = {}
        self.attempts = 0

    @property
    def layers(self) -> Sequence[Wanted]:
        """The layers that its checks look into."""
        return self.unit.layers if any(check.layers for check in self.checks) else ()


class Work:
    """All of it, and what can be done now.

    Attributes
    ----------
    images : dict
        By digest; those that are done are taken out.
    layers : dict
    ready : deque of Image
        All their layers are known.
    queue : deque of Layer
        In the order in which images need them.
    """

    def __init__(self) -> None:
        self.images: dict[str, Image] = {}
        self.layers: dict[Key, Layer] = {}
        self.ready: deque[Image] = deque()
        self.queue: deque[Layer] = deque()

    def name(self, found: Iterable[Found]) -> None:
        """Take note of images, in the order of their names."""
        for one in found:
            if one.unit is not None:
                image = self.images.setdefault(one.unit.digest, Image(one.unit))
                image.references.append(one.reference)

    def need(self, unit: Unit) -> list[Layer]:
        """Have an image's layers learned; return each once."""
        needed: dict[Key, Layer] = {}
        for one in unit.layers:
            key = (one.descriptor.digest, one.descriptor.size)
            layer = self.layers.get(key)
            if layer is None:
                layer = self.layers[key] = Layer(one)
                self.queue.append(layer)
            if len(layer.sources) < _PLACES:
                layer.sources.setdefault(unit.source.location, unit.source)
            needed[key] = layer
        return list(needed.values())

    def add(self, image: Image) -> None:
        """Have an image done, whose checks are known now."""
        for layer in self.need(image.unit) if image.layers else ():
            if not layer.over:
                layer.waiting.append(image)
                image.pending += 1
            elif layer.error is not None:
                image.broken[layer.wanted.descriptor.digest] = layer.error
        if not image.pending:
            self.ready.append(image)

    def learned(self, layer: Layer, error: str | None = None) -> None:
        """Take note of a layer that is known now, or why it will not be."""
        layer.over, layer.error = True, error
        for image in layer.waiting:
            if error is not None:
                image.broken[layer.wanted.descriptor.digest] = error
            image.pending -= 1
            if not image.pending:
                self.ready.append(image)
        layer.waiting = []


def documents(unit: Unit) -> tuple[tuple[str, bytes], ...]:
    """Return manifest and config of an image, for processes that never saw them."""
    if unit.whole is not None:
        return ()
    found = []
    for descriptor in (unit.pin, unit.config):
        try:
            found.append((descriptor.digest, unit.source.fetch(descriptor)))
        except (DidlabError, OSError):
            continue  # asked for there, with the same answer
    return tuple(found)


def sizes(layers: Mapping[Key, Layer]) -> int:
    """Return the bytes of distinct layers."""
    return sum(size for _, size in layers)
