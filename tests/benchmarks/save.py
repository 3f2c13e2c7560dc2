"""Save one image from a loopback registry to a tar: didlab against its peers, in one run.

    python tests/benchmarks/save.py [--size 1000] [--rounds 5] [--docker]

Peers: skopeo (Debian), and crane and regctl where they are on PATH; with ``--docker`` also docker
pull and docker save, once, by a dockerd of its own (as root, minutes). Prints medians and ratios,
and ends with 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.timing import emptied, in_turn, ratio
from rig.lab import push_big
from rig.registries import start_registry

#: Peer -> the largest ratio of didlab's time to its, and the same for memory in MiB.
GOALS = {"skopeo docker-archive": 0.12, "crane": 0.7}
PEAK = 64.0

SAVE = "import sys, didlab; didlab.open(sys.argv[1]).save(sys.argv[2], progress=False)"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=1000, help="megabytes (default 1000)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--docker", action="store_true", help="docker pull + save, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        registry = start_registry(Path(folder) / "registry", "registry")
        try:
            met = compare(registry.host, Path(folder), options)
            return 0 if met else 1
        finally:
            registry.stop()


def docker(reference: str, folder: Path) -> float:
    """Return the seconds of docker pull and docker save."""
    from rig.loaders import Docker, require_root, short_folder

    require_root("dockerd")
    with short_folder() as home:
        daemon = Docker(home)
        try:
            began = time.monotonic()
            daemon.run("pull", "-q", reference)
            daemon.run("save", "-o", folder / "docker.tar", reference)
            return time.monotonic() - began
        finally:
            daemon.service.stop()


def compare(host: str, folder: Path, options: argparse.Namespace) -> bool:
    """Time all in turn, print what came out, and tell whether the goals are met."""
    size, rounds = options.size, options.rounds
    push_big(host, folder, size)
    reference = f"{host}/lab/big:{size}"
    out = folder / "out"
    commands: dict[str, list[str | Path]] = {
        "didlab": [sys.executable, "-c", SAVE, reference, out / "didlab.tar"],
        "skopeo docker-archive": [
            "skopeo", "copy", "-q", "--src-tls-verify=false",
            f"docker://{reference}", f"docker-archive:{out}/skopeo.tar",
        ],
        "skopeo oci-archive": [
            "skopeo", "copy", "-q", "--src-tls-verify=false",
            f"docker://{reference}", f"oci-archive:{out}/skopeo-oci.tar",
        ],
    }  # fmt: skip
    if shutil.which("crane"):
        commands["crane"] = ["crane", "pull", "--insecure", reference, out / "crane.tar"]
    if shutil.which("regctl"):
        commands["regctl"] = [
            "regctl", "--host", f"reg={host},tls=disabled", "image", "export", reference,
            out / "regctl.tar",
        ]  # fmt: skip
    found = in_turn(commands, rounds=rounds, before=emptied(out))
    print(f"{size} MB, 7 layers, {rounds} rounds in turn, median (min-max), whole process")
    for name, runs in found.items():
        print(runs.line(name))
    missed = 0
    for name, runs in found.items():
        if name == "didlab":
            continue
        value = ratio(found["didlab"], runs)
        goal = GOALS.get(name)
        verdict = (
            "" if goal is None else f"  goal <= {goal}: {'met' if value <= goal else 'MISSED'}"
        )
        missed += goal is not None and value > goal
        print(f"didlab / {name:<25} {value:6.3f}{verdict}")
    if options.docker:
        theirs = docker(reference, folder)
        value = statistics.median(found["didlab"].wall) / theirs
        print(f"didlab / docker pull + save ({theirs:.1f} s, once) {value:.4f}  goal <= 0.025")
        missed += value > 0.025
    peak = max(found["didlab"].peak)
    print(f"peak memory {peak:.1f} MiB  goal <= {PEAK:.0f}: {'met' if peak <= PEAK else 'MISSED'}")
    return not missed and peak <= PEAK


if __name__ == "__main__":
    sys.exit(main())
