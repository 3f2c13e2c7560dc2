"""Look inside images at a loopback registry: didlab against tarfile and bare inflating.

    python tests/benchmarks/look.py [--rounds 5] [--toc] [--large]

Layers are made of the Debian system that this runs on: 57,000 entries; with ``--toc`` the same as
eStargz and zstd:chunked, and with ``--large`` one of about 458 MB and seven of 1 GB together
(minutes to make; they stay in --folder). Prints medians and ratios, and ends with 1 when a goal is
missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig.images import DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, Pusher, dump, make_artifact
from rig.registries import start_registry
from rig.tocs import Tabled, chunked, estargz

LOOKING = Path(__file__).with_name("looking.py")
ENTRIES = 57_000


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--toc", action="store_true")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--folder", type=Path, help="where layers are made and stay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = options.folder or Path(text)
        folder.mkdir(parents=True, exist_ok=True)
        registry = start_registry(Path(text) / "registry", "registry")
        try:
            met = Comparison(registry.host, folder, Path(text) / "store", options.rounds)
            met.many_entries()
            if options.toc:
                met.tables()
            if options.large:
                met.one_large()
                met.seven()
        finally:
            registry.stop()
    return 0 if met.good else 1


class Comparison:
    """Measurements in turn; ``good`` until a goal is missed."""

    def __init__(self, host: str, folder: Path, store: Path, rounds: int) -> None:
        self._host = host
        self._folder = folder
        self._store = store
        self._rounds = rounds
        self.good = True

    def many_entries(self) -> None:
        """57,000 entries in one layer."""
        layer = packed(self._folder / "entries.tar", _many_small(ENTRIES))
        reference = self._push("entries", [layer])
        found = self._in_turn(
            {
                "tarfile": ["tarfile", layer],
                "inflate": ["inflate", layer],
                "no points": ["decoder", layer, "none"],
                "points": ["decoder", layer, "points"],
                "files": ["files", reference, "0"],
            }
        )
        size = layer.stat().st_size
        print(f"one layer, {found['files'][0]['result']} entries, {size / 1e6:.0f} MB")
        self._goal("files() / tarfile", self._ratio(found, "files", "tarfile"), 0.2)
        self._goal("files() / inflate", self._ratio(found, "files", "inflate"), 1.6)
        self._goal("points / no points", self._ratio(found, "points", "no points"), 1.25)
        self._goal("peak beyond pandas, MiB", max(one["peak"] for one in found["files"]), 80)
        windows = found["points"][0]["result"][1]
        self._goal("windows / blob", windows / size, 0.01)
        self._goal("decoder's peak, MiB", max(one["peak"] for one in found["points"]), 64)
        self._again(reference)

    def _again(self, reference: str) -> None:
        """The same in another process, from the stored index."""
        self._run(["files", reference])
        times = [self._run(["files", reference])["seconds"] for _ in range(self._rounds)]
        self._goal("files() again, s (with the DataFrame)", statistics.median(times), 0.1)

    def tables(self) -> None:
        """The 57,000 entries with a table of contents, against a pass over the same blob."""
        tar = packed(self._folder / "entries.tar", _many_small(ENTRIES)).with_suffix("")
        for name, build in (("estargz", estargz), ("chunked", chunked)):
            blob, annotations = _tabled(tar, name, build)
            listed = self._push(f"{name}-listed", [blob], annotations)
            found = self._in_turn(
                {
                    "plain pass": ["moved", self._push(f"{name}-plain", [blob])],
                    "table": ["moved", listed],
                }
            )
            rows, moved, requests = found["table"][0]["result"]
            size = blob.stat().st_size
            print(f"{name}: {rows} entries, {size / 1e6:.0f} MB, {requests} requests")
            self._goal("bytes moved / blob", moved / size, 0.04)
            self._goal("table / plain pass", self._ratio(found, "table", "plain pass"), 0.25)

    def one_large(self) -> None:
        """A small file at the end of a large layer."""
        layer = packed(self._folder / "large.tar", _large(), last=4096)
        reference = self._push("large", [layer])
        print(f"one layer of {layer.stat().st_size / 1e6:.0f} MB")
        self._run(["files", reference])
        digest = self._pinned(reference)
        times = [
            self._run(["read", digest, "/last.bin"])["seconds"] for _ in range(self._rounds * 2)
        ]
        self._goal("4 KiB at the end, ms", statistics.median(times) * 1000, 20)
        many = self._run(["many", digest, "200"])["result"]
        self._goal("200 files: median ms", statistics.median(many["seconds"]) * 1000, 15)
        self._goal("200 files: median MB", statistics.median(many["moved"]) / 1e6, 1)
        self._goal("200 files: most MB", max(many["moved"]) / 1e6, 1)
        self._goal("200 files: requests", len(many["moved"]), 200)

    def seven(self) -> None:
        """Seven layers, 1 GB together."""
        layers = [
            packed(self._folder / f"seven{number}.tar", lists)
            for number, lists in enumerate(_seven())
        ]
        reference = self._push("seven", layers)
        found = self._in_turn(
            {
                "network": ["network", reference],
                "inflate": ["inflate-two", *layers],
                "files": ["files", reference],
            }
        )
        size = sum(layer.stat().st_size for layer in layers)
        print(f"seven layers, {found['files'][0]['result']} rows, {size / 1e6:.0f} MB")
        slowest = [
            max(network["seconds"], inflating["seconds"])
            for network, inflating in zip(found["network"], found["inflate"], strict=True)
        ]
        ratios = [
            one["seconds"] / limit for one, limit in zip(found["files"], slowest, strict=True)
        ]
        self._goal("files() / slowest of network, inflate", statistics.median(ratios), 1.3)

    # --- how ---------------------------------------------------------------------------------

    def _in_turn(self, jobs: dict[str, list[Any]]) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {name: [] for name in jobs}
        for number in range(self._rounds + 1):
            for name, argv in jobs.items():
                shutil.rmtree(self._store, ignore_errors=True)
                measured = self._run(argv)
                if number:
                    found[name].append(measured)
        for name, runs in found.items():
            seconds = [one["seconds"] for one in runs]
            print(
                f"  {name:<12} {statistics.median(seconds):7.3f} s "
                f"({min(seconds):.3f}-{max(seconds):.3f})  "
                f"cpu {statistics.median(one['cpu'] for one in runs):.3f} s"
            )
        return found

    def _run(self, argv: Sequence[Any]) -> Any:
        environ = dict(os.environ, DIDLAB_CACHE=str(self._store), DIDLAB_PROGRESS="0")
        done = subprocess.run(
            [sys.executable, LOOKING, *map(str, argv)],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{argv}: {done.stderr[-1000:]}")
        return json.loads(done.stdout)

    @staticmethod
    def _ratio(found: dict[str, list[Any]], ours: str, theirs: str) -> float:
        pairs = zip(found[ours], found[theirs], strict=True)
        return statistics.median(a["seconds"] / b["seconds"] for a, b in pairs)

    def _goal(self, name: str, value: float, most: float) -> None:
        met = value <= most
        self.good &= met
        print(f"  {'ok    ' if met else 'MISSED'} {name}: {value:.3g} (goal {most:g})", flush=True)

    def _push(
        self, name: str, layers: Sequence[Path], annotations: dict[str, str] | None = None
    ) -> str:
        repository = f"bench/{name}"
        descriptors: list[dict[str, Any]] = []
        with Pusher(self._host) as pusher:
            for layer in layers:
                digest = digest_of(layer)
                pusher.blob(repository, layer, digest)
                size = layer.stat().st_size
                descriptors.append({"mediaType": DOCKER_LAYER, "digest": digest, "size": size})
                if annotations:
                    descriptors[-1]["annotations"] = annotations
            diff_ids = [digest_of(layer.with_suffix("")) for layer in layers]
            config = dump(
                {
                    "architecture": "amd64",
                    "os": "linux",
                    "config": {},
                    "rootfs": {"type": "layers", "diff_ids": diff_ids},
                    "history": [{"created_by": "bench"} for _ in layers],
                }
            )
            image = make_artifact(
                config, DOCKER_CONFIG, descriptors, {}, media_type=DOCKER_MANIFEST
            )
            pusher.blob(repository, config)
            pusher.manifest(repository, "latest", image.manifest, image.media_type)
        return f"{self._host}/{repository}:latest"

    def _pinned(self, reference: str) -> str:
        import didlab

        return f"{reference.rpartition(':')[0]}@{didlab.open(reference).digest()}"


def digest_of(path: Path) -> str:
    """Digest of a file; written down beside it, as the files are large."""
    import hashlib

    note = path.with_name(path.name + ".digest")
    if not note.exists():
        with path.open("rb") as file:
            note.write_text("sha256:" + hashlib.file_digest(file, "sha256").hexdigest())
    return note.read_text()


def packed(tar: Path, names: Sequence[Path], last: int = 0) -> Path:
    """Return a stock ``gzip -6`` of a tar of these files, with PAX headers; made once."""
    made = tar.with_name(tar.name + ".gz")
    if made.exists():
        return made
    listing = tar.with_suffix(".list")
    # As in layers: names from the root, without the slash.
    listing.write_bytes(b"\0".join(os.fsencode(name.relative_to("/")) for name in names))
    command = ["tar", "--format=posix", "--no-recursion", "--null", "-cf", tar, "-C", "/"]
    command += ["-T", listing]
    if last:
        (tar.parent / "last.bin").write_bytes(os.urandom(last))
        command += ["-C", tar.parent, "last.bin"]
    # What changes while it is read is as good as what does not.
    subprocess.run(command, check=False, capture_output=True)
    subprocess.run(["gzip", "-6", "-k", tar], check=True)
    return made


def _tabled(tar: Path, name: str, build: Callable[..., Tabled]) -> tuple[Path, dict[str, str]]:
    """Return a blob with a table of contents of a tar, and its annotations; made once.

    Beside it lies what it decompresses to, for the config's ``diff_id``.
    """
    blob = tar.with_name(f"{name}.tar.packed")
    note = blob.with_name(blob.name + ".annotations")
    if not note.exists():
        with tarfile.open(tar) as archive:
            members = [
                (info, data.read() if info.isreg() and (data := archive.extractfile(info)) else b"")
                for info in archive
            ]
        made = build(members)
        blob.write_bytes(made.blob)
        blob.with_suffix("").write_bytes(made.tar)
        note.write_text(json.dumps(made.annotations))
    return blob, json.loads(note.read_text())


def _walk(limit: int, *roots: str) -> list[tuple[Path, int]]:
    found = []
    for root in roots:
        for folder, folders, files in os.walk(root):
            for name in sorted([*folders, *files]):
                path = Path(folder, name)
                status = path.lstat()
                if status.st_size <= limit:
                    found.append((path, status.st_size))
    return found


def _many_small(count: int) -> list[Path]:
    found = _walk(64 * 1024, "/usr/share", "/usr/lib", "/usr/include")
    if len(found) < count:
        raise SystemExit(f"this system has {len(found)} small files, {count} are needed")
    return [path for path, _ in found[:count]]


def _large(size: int = 1_600_000_000) -> list[Path]:
    names, total = [], 0
    for path, length in _walk(20_000_000, "/usr/bin", "/usr/share", "/usr/lib"):
        names.append(path)
        total += length
        if total > size:
            break
    return names


def _seven() -> list[list[Path]]:
    """Cut what is there into seven layers that compress to about 1 GB together."""
    layers: list[list[Path]] = [[] for _ in range(7)]
    shares = [0.05, 0.2, 0.2, 0.25, 0.2, 0.05, 0.05]
    names = _walk(50_000_000, "/usr/bin", "/usr/share", "/usr/lib")
    goal, total, at = 2_600_000_000, 0, 0
    ends = [goal * sum(shares[: number + 1]) for number in range(7)]
    for path, length in names:
        while at < 6 and total > ends[at]:
            at += 1
        if total > goal:
            break
        layers[at].append(path)
        total += length
    return layers


if __name__ == "__main__":
    sys.exit(main())
