"""diff().files() of two large images that are listed already, against pandas' merge.

    python tests/benchmarks/diffs.py [--rounds 5] [--files 50000]

The second image is the first one built again: another layer, a tenth of the files changed. The
yardstick merges the two files() frames by path and compares size, mode, owner and type. Each run
is a process of its own with the indexes in the local store. Prints medians and ratios, and ends
with 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig.images import LayerSpec, make_image, make_tar, write_layout

#: Seconds, and the ratio to pandas.
SECONDS, RATIO = 1.0, 1.5


def main() -> int:
    """Run the benchmark; or one job, in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        return one_job(*options.job)
    with tempfile.TemporaryDirectory() as text:
        layout = write_layout(
            Path(text) / "layout",
            {tag: make_image(_layers(options.files, tag), compress=False) for tag in ("1", "2")},
        )
        store = Path(text) / "store"
        job("list", layout, store)
        names = ("files", "waste", "pandas")
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for _ in range(options.rounds):
            for name in names:
                found[name].append(job(name, layout, store))
    good = True
    for name, runs in found.items():
        times = [one["seconds"] for one in runs]
        print(
            f"{name:<8} {statistics.median(times):6.3f} s ({min(times):.3f}-{max(times):.3f})  "
            f"again {statistics.median(one['again'] for one in runs):6.3f} s  "
            f"{runs[0]['rows']} rows"
        )
    seconds = statistics.median(one["seconds"] for one in found["files"])
    pairs = zip(found["files"], found["pandas"], strict=True)
    ratio = statistics.median(ours["seconds"] / theirs["seconds"] for ours, theirs in pairs)
    for what, value, goal in (
        ("diff().files(), s", seconds, SECONDS),
        ("diff().files() / pandas' merge", ratio, RATIO),
    ):
        met = value <= goal
        good = good and met
        print(f"  {what:<32} {value:7.3f}  goal {goal:g}  {'met' if met else 'MISSED'}")
    return 0 if good else 1


def _layers(count: int, tag: str) -> list[LayerSpec]:
    members = []
    for number in range(count):
        changed = tag == "2" and number % 10 == 0
        entry = tarfile.TarInfo()
        entry.mtime = 1_700_000_000 + number + (5 if changed and number % 20 else 0)
        entry.mode = 0o755 if changed and number % 30 == 0 else 0o644
        content = b"x" * (number % 97 + (changed and number % 20 == 0))
        members.append((f"usr/lib/{number % 700}/package/file{number}", (entry, content)))
    return [make_tar(members), {"only": tag.encode()}]


def job(name: str, layout: Path, store: Path) -> dict[str, Any]:
    """Run one job in a process of its own."""
    environ = dict(os.environ, DIDLAB_CACHE=str(store), DIDLAB_PROGRESS="0")
    argv = [sys.executable, __file__, "--job", name, str(layout)]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv}: {done.stderr[-1000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def one_job(name: str, layout: str) -> int:
    """Do one thing twice; print what it took."""
    import pandas as pd

    import didlab

    one, two = (didlab.open(f"oci:{layout}:{tag}") for tag in ("1", "2"))
    one.config(), two.config()

    def merged() -> int:
        same = ["size", "mode", "uid", "gid", "type"]
        both = one.files().merge(
            two.files(), on="path", how="outer", suffixes=("_before", "_after"), indicator=True
        )
        differs = both["_merge"] != "both"
        for column in same:
            differs |= both[f"{column}_before"].ne(both[f"{column}_after"])
        return len(both[differs])

    jobs = {
        "list": lambda: len(one.files()) + len(two.files()),
        "files": lambda: len(one.diff(two).files()),
        "waste": lambda: len(one.waste()),
        "pandas": merged,
    }
    pd.DataFrame({"warm": ["x"]}).astype("category")
    took = []
    for _ in range(2):
        began = time.perf_counter()
        rows = jobs[name]()
        took.append(time.perf_counter() - began)
    print(json.dumps({"seconds": took[0], "again": took[1], "rows": rows}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
