"""The first card of an image from a registry on this machine, against pandas showing its rows.

Usage: ``python tests/benchmarks/card.py [rounds]``. Modules are loaded before (a warm import),
objects are new each time, so that a card costs its requests. Goals: a median of 150 ms, 100 kB of
HTML, and the ratio to what IPython's HTML of the layers' DataFrame takes once it is there.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import didlab

#: Milliseconds of a first card, bytes of its HTML.
MOST_MS = 150.0
MOST_BYTES = 100_000


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    good = True
    with didlab.sandbox() as hub:
        for name in ("demo/web:latest", "demo/hello:latest"):
            reference = f"{hub.host}/{name}"
            didlab.open(reference)._repr_html_()
            layers = didlab.open(reference).layers()
            layers._repr_html_()
            cards, frames = [], []
            for _ in range(rounds):
                made = didlab.open(reference)
                cards.append(_timed(made._repr_html_))
                frames.append(_timed(layers._repr_html_))
            size = len(made._repr_html_().encode())
            first = 1000 * statistics.median(cards)
            again = 1000 * statistics.median(_timed(made._repr_html_) for _ in range(rounds))
            plain = 1000 * statistics.median(frames)
            print(
                f"{name}: first card {first:.1f} ms ({1000 * min(cards):.1f}-"
                f"{1000 * max(cards):.1f}), again {again:.2f} ms, {size} bytes; "
                f"pandas {plain:.2f} ms; first / pandas {first / plain:.1f}, "
                f"again / pandas {again / plain:.2f}"
            )
            good &= first <= MOST_MS and size <= MOST_BYTES
    print("ok" if good else "MISSED")
    return 0 if good else 1


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
