"""A process that is interrupted and begun again: saves on command, tells how each ended.

Started by `test_interrupt.py`. Reads a line of JSON for each save, writes one. How long an
interrupt takes is measured here, from the signal's handler to the ``except``.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from unittest import mock

import didlab
from didlab.export.blobwork import BlobWork

sys.path.append(str(Path(__file__).parents[1]))
from rig.cutting import narrow

came: list[float] = []
#: Lets deaf calls end, so that they do not outlive their test.
over = threading.Event()


def tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def interrupted(*_: object) -> None:
    came.append(time.monotonic())
    raise KeyboardInterrupt


def deaf(*_: object, **__: object) -> None:
    """Stand for a system call that no signal ends."""
    end = time.monotonic() + 60
    told = False
    while time.monotonic() < end and not over.is_set():
        with suppress(KeyboardInterrupt):
            if not told:
                told = True
                tell(here=True)
            over.wait(end - time.monotonic())


@contextmanager
def patched(what: str | None):
    real = socket.getaddrinfo

    def look_up(host: str, *args: object, **kwargs: object):
        if host == "localhost" and "flags" not in kwargs:
            deaf()
        if host == "localhost":
            raise socket.gaierror("a name")
        return real(host, *args, **kwargs)

    def slowly(*_: object) -> None:
        tell(here=True)
        time.sleep(60)

    over.clear()
    with ExitStack() as stack:
        if what == "fsync":
            stack.enter_context(mock.patch.object(os, "fsync", deaf))
        elif what == "names":
            stack.enter_context(mock.patch.object(socket, "getaddrinfo", look_up))
        elif what == "hashing":
            stack.enter_context(mock.patch.object(BlobWork, "_check", slowly))
        yield


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("didlab")]


def left(seconds: float) -> list[str]:
    end = time.monotonic() + seconds
    while threads() and time.monotonic() < end:
        time.sleep(0.01)
    return threads()


def stacks() -> list[list[str]]:
    """Where the threads that are left stand: for whoever reads a failure."""
    frames = sys._current_frames()
    return [
        [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_stack(frames[one.ident])]
        for one in threading.enumerate()
        if one.name.startswith("didlab") and one.ident in frames
    ]


def main() -> None:
    signal.signal(signal.SIGINT, interrupted)
    narrow()
    tell(ready=True)
    for line in sys.stdin:
        order = json.loads(line)
        came.clear()
        with patched(order.get("patch")):
            try:
                image = didlab.open(order["reference"])
                report = image.save(order["target"], progress=False)
            except KeyboardInterrupt:
                seconds = time.monotonic() - came[0]
                tell(interrupted=seconds, threads=left(2.0), stacks=stacks())
            except BaseException as error:
                tell(error=repr(error))
            else:
                tell(downloaded=report.downloaded, reused=report.reused)
        over.set()
        left(5.0)


if __name__ == "__main__":
    main()
