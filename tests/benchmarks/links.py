"""Save over bad lines: throttled for each connection, and reset again and again.

    python tests/benchmarks/links.py [slow] [resets] [--rounds 3]

*slow*: nginx lets each connection have 4 MB a second; 146 MB. *resets*: every connection is reset
after 50 MB; 1 GB. Peers: skopeo, and crane, regctl where they are on PATH. Ends with 1 when a goal
is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.timing import emptied, once
from rig.cutting import CuttingProxy
from rig.lab import push_big
from rig.processes import Service, free_port, require
from rig.registries import start_registry

RATE = 4_000_000
CONNECTIONS = 8
#: Goals: times faster than skopeo; share of connections x rate; bytes on the wire; slow-down.
FASTER, SHARE, WIRE, SLOWDOWN = 6.5, 0.9, 1.005, 2.0

SAVE = "import sys, didlab; didlab.open(sys.argv[1]).save(sys.argv[2], progress=False)"
_NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://{upstream};
      proxy_set_header Host $http_host;
      proxy_max_temp_file_size 0;
      limit_rate {rate};
    }}
  }}
}}
"""


class Throttle(Service):
    """nginx that lets each connection have so many bytes a second."""

    def __init__(self, folder: Path, upstream: str, rate: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.host = f"127.0.0.1:{port}"
        config = folder / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, port=port, upstream=upstream, rate=rate))
        self._access = folder / "access.log"
        super().__init__(
            "nginx",
            [require("nginx", "nginx-light"), "-c", str(config), "-p", str(folder)],
            folder=folder,
            ready=self._answers,
        )

    def _answers(self) -> bool:
        import urllib.request

        try:
            with urllib.request.urlopen(f"http://{self.host}/v2/", timeout=1):
                return True
        except OSError:
            return False

    def measure(self, path: str) -> float:
        """Return the bytes a second that one connection really gets, burst included."""
        import urllib.request

        began = time.monotonic()
        with urllib.request.urlopen(f"http://{self.host}{path}") as answer:
            size = len(answer.read())
        return size / (time.monotonic() - began)


def peers(reference: str, out: Path) -> dict[str, list[str | Path]]:
    """Return the commands of those that are here."""
    import shutil

    host = reference.partition("/")[0]
    commands: dict[str, list[str | Path]] = {
        "skopeo oci-archive": [
            "skopeo", "copy", "-q", "--src-tls-verify=false", "--retry-times", "5",
            f"docker://{reference}", f"oci-archive:{out}/skopeo.tar",
        ],
    }  # fmt: skip
    if shutil.which("crane"):
        commands["crane"] = ["crane", "pull", "--insecure", reference, out / "crane.tar"]
    if shutil.which("regctl"):
        commands["regctl"] = [
            "regctl", "--host", f"reg={host},tls=disabled", "image", "export", reference,
            out / "regctl.tar",
        ]  # fmt: skip
    return commands


def slow(folder: Path, registry: str, rounds: int) -> bool:
    """Compare on a line that is slow for each connection."""
    built = push_big(registry, folder, 146)
    line = Throttle(folder / "nginx", registry, RATE)
    line.start()
    out = folder / "out"
    empty = emptied(out)
    good = True
    try:
        reference = f"{line.host}/lab/big:146"
        layers = json.loads(built.manifest)["layers"]
        second = sorted(layers, key=lambda layer: layer["size"])[-2]["digest"]
        rate = line.measure(f"/v2/lab/big/blobs/{second}")
        took = []
        for _ in range(rounds):
            empty()
            wall, _, _ = once([sys.executable, "-c", SAVE, reference, out / "didlab.tar"])
            took.append(wall)
        ours = statistics.median(took)
        size = (out / "didlab.tar").stat().st_size
        share = size / ours / (CONNECTIONS * rate)
        print(f"146 MB, {rate / 1e6:.2f} MB/s for one connection, median of {rounds}")
        print(f"didlab                {ours:7.2f} s  {share:.2f} of {CONNECTIONS} x rate")
        good &= share >= SHARE
        for name, argv in peers(reference, out).items():
            empty()
            theirs, _, _ = once(argv)
            faster = theirs / ours
            good &= faster >= FASTER
            print(f"{name:<21} {theirs:7.2f} s  didlab is {faster:.1f} x faster (goal {FASTER})")
    finally:
        line.stop()
    return good


def resets(folder: Path, registry: str, rounds: int) -> bool:
    """Compare on a line whose connections are reset after 50 MB."""
    push_big(registry, folder, 1000)
    out = folder / "out"
    empty = emptied(out)
    good = True
    walls: dict[str, list[float]] = {"undisturbed": [], "reset": []}
    wire = []
    for _ in range(rounds):
        for name, after in (("undisturbed", None), ("reset", 50_000_000)):
            with CuttingProxy(registry, after=after) as line:
                empty()
                reference = f"{line.host}/lab/big:1000"
                wall, _, _ = once([sys.executable, "-c", SAVE, reference, out / "didlab.tar"])
                walls[name].append(wall)
                if after:
                    wire.append(line.passed / (out / "didlab.tar").stat().st_size)
    undisturbed, broken = (statistics.median(walls[n]) for n in ("undisturbed", "reset"))
    print(f"1 GB, each connection reset after 50 MB, median of {rounds}")
    print(f"didlab, undisturbed   {undisturbed:7.2f} s")
    print(
        f"didlab, reset         {broken:7.2f} s  {broken / undisturbed:.2f} x "
        f"(goal <= {SLOWDOWN}), bytes on the wire {max(wire):.4f} x (goal <= {WIRE})"
    )
    good &= broken <= SLOWDOWN * undisturbed and max(wire) <= WIRE
    with CuttingProxy(registry, after=50_000_000) as line:
        for name, argv in peers(f"{line.host}/lab/big:1000", out).items():
            empty()
            began = time.monotonic()
            try:
                once(argv)
                outcome = "completes"
            except RuntimeError:
                outcome = "fails"
            print(f"{name:<21} {time.monotonic() - began:7.2f} s  {outcome}")
    return good


def main() -> int:
    """Run the benchmarks that are named, or both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("which", nargs="*", choices=["slow", "resets", []])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for name in ("slow", "resets"):
            (folder / name).mkdir()
        registry = start_registry(folder / "registry", "registry")
        try:
            runs = {"slow": slow, "resets": resets}
            chosen = options.which or list(runs)
            met = [runs[name](folder / name, registry.host, options.rounds) for name in chosen]
        finally:
            registry.stop()
    print("goals met" if all(met) else "a goal was MISSED")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
