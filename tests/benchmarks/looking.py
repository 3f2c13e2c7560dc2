"""One measurement of `look.py` in a process of its own: ``python looking.py WHAT ARGUMENT…``.

Prints JSON: the seconds of the call alone (imports come before), and the MiB that it needed beyond
what was there before.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PIECE = 256 * 1024


def tarfile_stream(path: str) -> Callable[[], Any]:
    """Python's own reader over the local file, to tuples."""

    def run() -> int:
        with tarfile.open(path, "r|gz") as tar:
            rows = [
                (one.name, one.type, one.size, one.mode, one.uid, one.gid, one.mtime, one.linkname)
                for one in tar
            ]
        return len(rows)

    return run


def inflate(path: str) -> Callable[[], Any]:
    """Inflate alone: by isal where it is installed, by zlib-ng, or by zlib."""
    try:
        from isal import isal_zlib as library
    except ImportError:
        try:
            from zlib_ng import zlib_ng as library  # type: ignore[no-redef]
        except ImportError:
            import zlib as library  # type: ignore[no-redef]

    def run() -> int:
        decoding = library.decompressobj(31)
        length = 0
        with Path(path).open("rb") as file:
            while piece := file.read(PIECE):
                length += len(decoding.decompress(piece))
        return length

    return run


def inflate_two(*paths: str) -> Callable[[], Any]:
    """Inflate several files on two threads, the largest first."""

    def run() -> int:
        waiting = sorted(paths, key=lambda path: Path(path).stat().st_size)
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    if not waiting:
                        return
                    path = waiting.pop()
                inflate(path)()

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(paths)

    return run


def decoder(path: str, points: str) -> Callable[[], Any]:
    """Didlab's decoder alone, with seek points or without."""
    from didlab.files.decompress import decoder as make

    def run() -> tuple[int, int]:
        decoding = make("gzip", points=points == "points")
        with Path(path).open("rb") as file:
            while piece := file.read(PIECE):
                for _ in decoding.feed(piece):
                    pass
        decoding.end()
        return len(decoding.marks), sum(len(mark.window) for mark in decoding.marks)

    return run


def network(reference: str) -> Callable[[], Any]:
    """All layers, four at a time, neither verified nor looked at."""
    import didlab

    layers = list(didlab.open(reference).iter_layers())

    def run() -> int:
        waiting = sorted(layers, key=lambda layer: layer.size)
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    if not waiting:
                        return
                    layer = waiting.pop()
                source = layer.manifest._snapshot.source
                for _ in source.open(layer._descriptor).stream():
                    pass

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(layers)

    return run


def files(reference: str, layer: str = "") -> Callable[[], Any]:
    """List one layer, or the merged image, to a DataFrame."""
    import didlab

    m = didlab.open(reference)
    m.layers()
    return lambda: len(m.layer(int(layer)).files() if layer else m.files())


def moved(reference: str) -> Callable[[], Any]:
    """List one layer; return its rows, and the bytes that came for it."""
    import didlab

    m = didlab.open(reference)
    m.layers()
    m.config()

    def run() -> list[int]:
        known = len(m.registry.requests()) if m.registry else 0
        rows = len(m.layer(0).files())
        came = m.registry.requests()["bytes"].tolist()[known:] if m.registry else []
        return [rows, int(sum(came)), len(came)]

    return run


def read(reference: str, path: str) -> Callable[[], Any]:
    """Read 4 KiB of one file, out of an index that is stored."""
    import requests  # noqa: F401 - imports are not what is measured

    import didlab
    from didlab.files import decompress, gzip_points, inflate, reading  # noqa: F401
    from didlab.model import imagefiles, inside, opening  # noqa: F401
    from didlab.sources import chain  # noqa: F401
    from didlab.transport import client, wire  # noqa: F401

    def run() -> int:
        with didlab.open(reference).open(path) as file:
            return len(file.read(4096))

    return run


def many(reference: str, count: str) -> Callable[[], Any]:
    """Read many random small files; the single times are what counts."""
    import didlab
    from didlab.files import blocks

    m = didlab.open(reference)
    df = m.files()
    small = df[(df["type"] == "file") & (df["size"] > 0) & (df["size"] < 65536)]["path"]
    chosen = random.Random(7).sample(list(small), int(count))

    def run() -> dict[str, list[float]]:
        seconds = []
        before = m.registry.requests() if m.registry else None
        known = 0 if before is None else len(before)
        for path in chosen:
            blocks.forget()
            began = time.perf_counter()
            m.read(path)
            seconds.append(time.perf_counter() - began)
        moved = m.registry.requests()["bytes"].tolist()[known:] if m.registry else []
        return {"seconds": seconds, "moved": moved}

    return run


WHAT: dict[str, Callable[..., Callable[[], Any]]] = {
    "tarfile": tarfile_stream,
    "inflate": inflate,
    "inflate-two": inflate_two,
    "decoder": decoder,
    "network": network,
    "files": files,
    "moved": moved,
    "read": read,
    "many": many,
}


def main() -> None:
    """Do what the arguments name."""
    import pandas as pd

    pd.DataFrame({"a": ["x"]}).dtypes  # noqa: B018 - what pandas loads on first use
    run = WHAT[sys.argv[1]](*sys.argv[2:])
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = (after.ru_maxrss - before.ru_maxrss) / 1024
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak, "result": result}))


if __name__ == "__main__":
    main()
