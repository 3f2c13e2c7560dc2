"""What ``import didlab`` costs over a bare interpreter: the median of 15 fresh ones each.

Run it with ``python tests/benchmarks/import_cost.py``; the promise is at most 60 ms.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time


def seconds(code: str) -> float:
    """Return how long a fresh interpreter takes to run ``code`` and end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def main() -> int:
    """Print the medians; the exit status says whether the promise holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--limit", type=float, default=60, help="milliseconds over the bare one")
    options = parser.parse_args()
    snippets = {
        "bare": "pass",
        "import didlab": "import didlab",
        "open + repr": "import didlab; repr(didlab.open('nginx'))",
    }
    for code in snippets.values():
        seconds(code)  # byte code and the disk's cache, once
    # In turns: a busy machine is then busy for all of them.
    taken: dict[str, list[float]] = {name: [] for name in snippets}
    for _ in range(options.rounds):
        for name, code in snippets.items():
            taken[name].append(seconds(code))
    bare = statistics.median(taken["bare"])
    for name, values in taken.items():
        median = statistics.median(values)
        print(f"{name:15} {median * 1000:7.1f} ms   {(median - bare) * 1000:+7.1f} ms")
    over = (statistics.median(taken["import didlab"]) - bare) * 1000
    print(f"import didlab costs {over:.1f} ms over a bare interpreter (limit {options.limit:g})")
    return 0 if over <= options.limit else 1


if __name__ == "__main__":
    sys.exit(main())
