"""Remember the first answer of a question; never a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_UNKNOWN = object()


class Once(Generic[T]):
    """The answer of ``ask``, asked once however many threads want it.

    ``functools.cached_property`` will not do: it has no lock since Python 3.12, IPython evaluates
    it on Tab, and a failure must not stick.
    """

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._answer: object = _UNKNOWN
        self._lock = threading.Lock()

    def __call__(self) -> T:
        """Return the answer, asking if need be."""
        if self._answer is _UNKNOWN:
            with self._lock:
                if self._answer is _UNKNOWN:
                    self._answer = self._ask()
        return self._answer  # type: ignore[return-value]

    @property
    def known(self) -> T | None:
        """The answer if there is one already, else None; never asks."""
        return None if self._answer is _UNKNOWN else self._answer  # type: ignore[return-value]
