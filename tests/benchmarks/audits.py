"""Audits of images at a loopback registry: what they cost besides listing.

    python tests/benchmarks/audits.py [--rounds 5] [--folder FOLDER] [--fleet]

The image is made of the Debian system that this runs on: seven layers of about 1 GB together, as
`look.py --large` makes them (minutes; they stay in --folder), and its package database. With
``--fleet`` it is 200 images of 24 layers that they share, instead. Prints medians and ratios, and
ends with 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import look
from rig.registries import start_registry


def main() -> int:
    """Run the benchmark; or one job, in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where layers are made and stay")
    parser.add_argument("--fleet", action="store_true")
    parser.add_argument("--job", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        return one_job(*options.job)
    with tempfile.TemporaryDirectory() as text:
        folder = options.folder or Path(text)
        folder.mkdir(parents=True, exist_ok=True)
        registry = start_registry(Path(text) / "registry", "registry")
        try:
            met = Audits(registry.host, folder, Path(text) / "store", options.rounds)
            if options.fleet:
                met.fleet()
            else:
                met.packages()
        finally:
            registry.stop()
    return 0 if met.good else 1


class Audits(look.Comparison):
    """Measurements in turn; ``good`` until a goal is missed."""

    def packages(self) -> None:
        """packages() of a large image: cold, of listed layers, and of layers listed without."""
        layers = [
            look.packed(self._folder / f"seven{number}.tar", names)
            for number, names in enumerate(_seven())
        ]
        size = sum(layer.stat().st_size for layer in layers)
        reference = self._push("seven", layers)
        print(f"seven layers, {size / 1e6:.0f} MB")
        found: dict[str, list[Any]] = {"plain": [], "files": [], "packages": []}
        for number in range(self._rounds + 1):
            for name, runs in found.items():
                shutil.rmtree(self._store, ignore_errors=True)
                measured = self._job(name, reference)
                if number:
                    runs.append(measured)
        for name, runs in found.items():
            seconds = [one["seconds"] for one in runs]
            cpu = statistics.median(one["cpu"] for one in runs)
            print(
                f"  {name:<12} {statistics.median(seconds):7.3f} s ({min(seconds):.3f})  "
                f"cpu {cpu:.3f} s"
            )
        self._goal("cold: packages() / files()", self._ratio(found, "packages", "files"), 1.15)
        # Of processors: seconds say little of some percent where anything else runs.
        pairs = zip(found["packages"], found["plain"], strict=True)
        cpu = statistics.median(ours["cpu"] / theirs["cpu"] for ours, theirs in pairs)
        self._goal("cold: packages() / a pass without looks, processors", cpu, 1.15)
        print(f"  {found['packages'][0]['result']} packages")
        again = self._job("packages", reference)
        self._goal("listed: requests for layers", again["requests"], 0)
        self._goal("listed: seconds", again["seconds"], 1)
        # Layers that a version without looks listed, and a look that wants small files only.
        shutil.rmtree(self._store)
        self._job("plain", reference)
        few = self._job("few", reference)
        self._goal("small files: bytes / image", few["bytes"] / size, 0.02)
        self._goal("small files: requests of a layer", few["most"], 10)
        print(f"  {few['result']} of {len(layers)} layers, {few['seconds']:.3f} s")

    def fleet(self) -> None:
        """audit() of 200 images that share 24 layers, against reading these once."""
        layers = [
            look.packed(self._folder / f"shared{number}.tar", names)
            for number, names in enumerate(_shared())
        ]
        size = sum(layer.stat().st_size for layer in layers)
        everything = self._push("shared", layers)
        for number in range(200):
            # A base, and three others: no two alike.
            rest = [5 + (number // 5 + step * (1 + number % 7)) % 19 for step in range(3)]
            chosen = dict.fromkeys([number % 5, *rest])
            self._push(f"fleet{number}", [layers[one] for one in chosen])
        print(f"{len(layers)} layers, {size / 1e6:.0f} MB")
        found: dict[str, list[Any]] = {"listed": [], "audit": []}
        for number in range(self._rounds + 1):
            for name, runs in found.items():
                shutil.rmtree(self._store, ignore_errors=True)
                measured = self._job(name, everything)
                if number:
                    runs.append(measured)
        for name, runs in found.items():
            seconds = statistics.median(one["seconds"] for one in runs)
            cpu = statistics.median(one["cpu"] for one in runs)
            print(f"  {name:<12} {seconds:7.3f} s  cpu {cpu:.3f} s")
        self._goal("audit / reading the layers", self._ratio(found, "audit", "listed"), 1.3)
        self._goal("bytes / layers", found["audit"][0]["result"] / size, 1.05)
        again = self._job("audit", everything)
        print(f"  again        {again['seconds']:7.3f} s")
        self._goal("again: bytes / layers", again["result"] / size, 0.01)

    def _job(self, name: str, reference: str) -> Any:
        environ = dict(os.environ, DIDLAB_CACHE=str(self._store), DIDLAB_PROGRESS="0")
        argv = [sys.executable, __file__, "--job", name, reference]
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{argv}: {done.stderr[-1000:]}")
        return json.loads(done.stdout)


def _shared() -> list[list[Path]]:
    """Cut what is there into 24 layers of about 50 MB, five with the package database."""
    layers: list[list[Path]] = [[] for _ in range(24)]
    at = total = 0
    for path, length in look._walk(20_000_000, "/usr/lib", "/usr/share", "/usr/bin"):
        layers[at].append(path)
        total += length
        if total > 50_000_000:
            at, total = at + 1, 0
        if at == len(layers):
            break
    for base in layers[:5]:
        base += [Path("/var/lib/dpkg/status"), Path("/etc/os-release")]
    return layers


def _seven() -> list[list[Path]]:
    layers = look._seven()
    layers[1].append(Path("/var/lib/dpkg/status"))
    return layers


# --- in a process of its own ----------------------------------------------------------------------


def one_job(name: str, reference: str) -> int:
    """Do one thing; print what it took."""
    import pandas as pd

    import didlab

    pd.DataFrame({"a": ["x"]}).dtypes  # noqa: B018 - what pandas loads on first use
    m = didlab.open(reference)
    m.digest()
    assert m.registry is not None
    before = len(m.registry.requests())
    began, worked = time.perf_counter(), time.process_time()
    result = JOBS[name](m)
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    asked = m.registry.requests()[before:]
    asked = asked[asked["path"].str.contains("/blobs/") & (asked["path"] != _config(m))]
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu": cpu,
                "result": result,
                "requests": len(asked),
                "most": int(asked["path"].value_counts().max()) if len(asked) else 0,
                "bytes": int(asked["bytes"].sum()),
            }
        )
    )
    return 0


def _config(m: Any) -> str:
    return f"/v2/{m.reference.repository}/blobs/{m.image_id()}"


def plain(m: Any) -> int:
    """files() as it was before passes had looks."""
    from didlab.audits import looks

    looks.always = tuple
    return len(m.files())


def few(m: Any) -> list[int]:
    """A look at small files that lie here and there: how many of each layer."""
    from didlab.files.looks import Facts, Look
    from didlab.model.indexing import Manner

    class Database(Look):
        name = "database 1"

        def wants(self, path: bytes, size: int) -> bool:
            return size < 1 << 20 and (
                path.endswith((b".dist-info/METADATA", b"/Makefile")) or b"lib/dpkg/status" in path
            )

        def maybe(self, paths: bytes) -> bool:
            return any(
                mark in paths for mark in (b"/METADATA\0", b"/Makefile\0", b"lib/dpkg/status")
            )

        def facts(self, path: bytes, content: bytes) -> Facts:
            return [len(content)]

    return [len(found) for found in m._layers(Manner()).learn([Database()])["database 1"]]


def listed(m: Any) -> int:
    """Every layer read once, and nothing else."""
    from didlab.model.indexing import Manner

    return sum(index.rows for index in m._layers(Manner()).indexes())


def audit(m: Any) -> int:
    """The fleet; how many bytes came."""
    import didlab

    names = [f"{m.registry.name}/bench/fleet{number}" for number in range(200)]
    report = didlab.audit(names, ["packages", "os", "config"])
    if not report.errors.empty or not len(report["packages"]):
        raise SystemExit(report.errors.to_string())
    return int(m.registry.requests()["bytes"].sum())


JOBS: dict[str, Callable[[Any], Any]] = {
    "listed": listed,
    "audit": audit,
    "plain": plain,
    "files": lambda m: len(m.files()),
    "packages": lambda m: len(m.packages()),
    "few": few,
}


if __name__ == "__main__":
    sys.exit(main())
