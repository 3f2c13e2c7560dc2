"""Draw the pictures of the documentation: ``python3 tools/pictures.py``; needs the extra plot.

They are committed, in ``docs/images``. What they show is an invented shop at a registry inside this
process: real calls, real layers, small ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
#: No picture may be larger, in bytes.
MOST = 60_000

_TREE = {
    "usr/lib/python3": 1500, "usr/lib/x86_64-linux-gnu": 1900, "usr/lib/gcc": 700,
    "usr/bin": 620, "usr/share/doc": 260, "usr/share/locale": 540, "usr/share/zoneinfo": 190,
    "var/lib/dpkg": 110, "etc/ssl": 90, "opt/conda/bin": 40,
}  # fmt: skip
_WHEELS = {
    "opt/venv/numpy": 1300, "opt/venv/pandas": 1150, "opt/venv/scipy": 1600,
    "opt/venv/requests": 60, "opt/venv/pip": 240,
}  # fmt: skip


def shop() -> dict[str, Any]:
    """Make the repositories: a shop in versions, and two tools on the same base."""
    from didlab.demo.content import OCI, RepositoryContent, Step, file, layer, noise

    def made(files: dict[str, int], salt: str = "") -> Any:
        """Make a layer of files of so many kilobytes."""
        return layer(*(file(f"{p}/data", noise(f"{p}{salt}", k * 1000)) for p, k in files.items()))

    def small(path: str) -> Any:
        return layer(file(path, f"{path}\n"))

    base = Step("/bin/sh -c #(nop) ADD file:4b1a9e in / ", made(_TREE))
    python = Step(
        "RUN /bin/sh -c apt-get update && apt-get install -y --no-install-recommends "
        "ca-certificates libpq5 tzdata && rm -rf /var/lib/apt/lists/* # buildkit",
        made({"usr/lib/libpq": 820, "usr/share/ca-certificates": 210}),
    )
    wheels = Step("RUN /bin/sh -c pip install -r requirements.txt # buildkit", made(_WHEELS))
    found = {}
    for name in ("shop", "worker", "cron"):
        found[f"team/{name}"] = content = RepositoryContent(f"team/{name}")
        for number in range(12 if name == "shop" else 1):
            date = datetime(2024, 1, 8, tzinfo=UTC) + timedelta(days=23 * number + number % 4 * 3)
            app = {"srv/app/static": 300 + 45 * number, "srv/app/models": 60 + 5 * number}
            if number > 6:
                app["srv/app/vendor"] = 2100
            code = Step("COPY src /srv/app # buildkit", made(app, f"{name}{number}"))
            steps = [
                base, python, *([wheels] if name != "cron" else []),
                Step("WORKDIR /srv/app # buildkit", small("srv/app/keep")), code,
                Step("RUN /bin/sh -c useradd --uid 1000 app # buildkit", small("etc/passwd")),
            ]  # fmt: skip
            image = content.add_image(
                OCI,
                platform={"architecture": "amd64", "os": "linux"},
                created=date.isoformat(),
                config={},
                steps=steps,
            )
            content.tags[f"1.{number}"] = image["digest"]
    return found


def pictures(hub: Any) -> dict[str, Callable[[], Any]]:
    """Give name and maker of every picture."""
    from matplotlib import pyplot as plt

    import didlab

    repository = hub["team/shop"]
    image = repository["1.11"]

    def pair() -> Any:
        with plt.style.context("dark_background"):
            figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained")
            image.plot.layers(ax=left)
            image.plot.treemap("/opt/venv", ax=right)
            return figure

    several = [repository["1.6"], repository["1.11"], hub["team/worker"]["1.0"],
               hub["team/cron"]["1.0"]]  # fmt: skip
    return {
        "plot-layers": lambda: image.plot.layers().figure,
        "plot-treemap": lambda: image.plot.treemap().figure,
        "plot-shared": lambda: didlab.plot.shared(several).figure,
        "plot-growth": lambda: repository.plot.growth().figure,
        "plot-dark": pair,
    }


def main() -> int:
    """Draw all."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    import didlab
    from didlab.demo.server import DemoServer

    FOLDER.mkdir(parents=True, exist_ok=True)
    with DemoServer(repositories=shop()) as server:
        hub = didlab.Registry(server.host, trust_env=False)
        for name, draw in pictures(hub).items():
            figure = draw()
            for ax in figure.axes:
                # The port is another one each time.
                text = ax.get_title(loc="left").replace(server.host, "registry.example")
                ax.set_title(text, loc="left")
            path = FOLDER / f"{name}.png"
            figure.savefig(path, dpi=90, metadata={"Software": None})
            plt.close(figure)
            size = path.stat().st_size
            print(path.name, size)
            if size > MOST:
                print(f"larger than {MOST} bytes", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
