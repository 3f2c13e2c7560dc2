"""The bar of an audit: bytes of the distinct layers, layers and images that are done."""

from __future__ import annotations

import threading
import time
from typing import Any

from didlab.export import progress as bars
from didlab.views import text

#: Seconds between two notes of how many images are done.
_NOTE = 10.0


class Drawing:
    """Numbers from any thread; drawn by the one that waits."""

    def __init__(self, progress: Any) -> None:
        bars.check(progress)
        self._progress = progress
        self._lock = threading.Lock()
        self._drawing = threading.Lock()
        self._bar: Any = None
        self._total: int | None = None
        self._came = self._shown = 0
        self._layers = (0, 0)
        self._images = (0, 0)
        self._noted = time.monotonic()

    def plan(self, total: int, layers: int, images: int) -> None:
        """Say how much there is, once that is known."""
        with self._lock:
            self._total = total
            self._layers, self._images = (0, layers), (0, images)

    def came(self, n: int) -> None:
        """Count bytes."""
        with self._lock:
            self._came += n

    def done(self, layers: int, images: int) -> None:
        """Say what is done."""
        with self._lock:
            self._layers = (layers, self._layers[1])
            self._images = (images, self._images[1])

    def draw(self) -> None:
        """Show what is new, unless another thread is at it."""
        if self._drawing.acquire(blocking=False):
            try:
                self._draw()
            finally:
                self._drawing.release()

    def _draw(self) -> None:
        with self._lock:
            total, came = self._total, self._came
            layers, images = self._layers, self._images
        if total is None:
            return
        if self._bar is None:
            title = f"auditing {text.count(images[1], 'image')}"
            self._bar = bars.start(self._progress, total, title)
        if came != self._shown:
            self._bar.update(came - self._shown)
            self._shown = came
        tell = getattr(self._bar, "tell", None)
        if tell is not None:
            notes = []
            if images[0] < images[1] and time.monotonic() - self._noted >= _NOTE:
                self._noted = time.monotonic()
                notes = [f"{images[0]:,} of {images[1]:,} images"]
            tell(*layers, notes)

    def close(self) -> None:
        """Leave the bar as it is."""
        with self._drawing:
            if self._bar is not None:
                self._bar.close()
            self._bar = self._total = None
