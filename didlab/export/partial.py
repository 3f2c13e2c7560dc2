"""Partial files: who owns one, what it already holds, how another process takes it over.

A partial file lies beside its target. Its name tells the plan (so only a save of the same content
takes it over) and its owner. Behind the bytes of the finished file lies a journal, a line for each
stretch that arrived; it is cut off at the end. One file holds both, so that taking over is a single
atomic rename, and no correctness hangs on locks, which lie on network disks.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Seconds without a sign of life after which an owner on another machine counts as dead.
SILENCE = 120.0
#: Seconds after which what nobody came back for is removed.
KEEP = 7 * 24 * 3600.0

_NAME = re.compile(
    r"\.(?P<stem>.*)\.(?P<plan>[0-9a-f]{16})\.(?P<owner>free|[0-9a-f]{8}-[0-9]{1,10})"
    r"-(?P<random>[0-9a-f]{16})\.part",
    re.ASCII | re.DOTALL,
)
_LINE = re.compile(
    rb"(?P<blob>[0-9]{1,6}) (?P<start>[0-9]{1,19}) (?P<stop>[0-9]{1,19}) "
    rb"(?P<digest>[0-9a-f]{64}) (?P<check>[0-9a-f]{8})\n"
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of one blob that arrived: half-open, with the sha256 of just these bytes."""

    blob: int
    start: int
    stop: int
    sha256: str

    def line(self) -> bytes:
        """Return the stretch as a line of the journal."""
        text = f"{self.blob} {self.start} {self.stop} {self.sha256}"
        return f"{text} {_check(text.encode())}\n".encode()


#: How a journal begins. A file without it is as long as it should be and has been finished:
#: somebody was about to give it its name.
HEAD = b"didlab partial file 1\n"


def read_journal(data: bytes) -> list[Stretch]:
    """Read a journal as far as it is whole; of several lines for one start the last holds.

    >>> lines = Stretch(0, 0, 5, "0" * 64).line() + Stretch(0, 0, 9, "1" * 64).line()
    >>> [(s.start, s.stop) for s in read_journal(HEAD + lines + b"0 9")]
    [(0, 9)]
    """
    found = {(stretch.blob, stretch.start): stretch for stretch, _ in _lines(data)}
    return sorted(found.values(), key=lambda stretch: (stretch.blob, stretch.start))


def journal_length(data: bytes) -> int:
    """Return how much of a journal is whole: what comes next goes there; 0 without its head."""
    ends = [end for _, end in _lines(data)]
    return ends[-1] if ends else len(HEAD) * data.startswith(HEAD)


def _lines(data: bytes) -> Iterator[tuple[Stretch, int]]:
    position = len(HEAD) if data.startswith(HEAD) else len(data)
    while match := _LINE.match(data, position):
        position = match.end()
        if match["check"].decode() != _check(match[0].rpartition(b" ")[0]):
            return
        yield (
            Stretch(
                int(match["blob"]),
                int(match["start"]),
                int(match["stop"]),
                match["digest"].decode(),
            ),
            position,
        )


def _check(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:8]


#: Names of partial files that threads of this process are at work on.
live: set[str] = set()


def own_name(target: Path, plan: str) -> Path:
    """Return a fresh name for this process's partial file."""
    return _name(target, plan, f"{_host()}-{os.getpid()}")


def free_name(target: Path, plan: str) -> Path:
    """Return a fresh name for a partial file that nobody owns."""
    return _name(target, plan, "free")


def _name(target: Path, plan: str, owner: str) -> Path:
    return target.with_name(f".{_stem(target)}.{plan}.{owner}-{secrets.token_hex(8)}.part")


def _stem(target: Path) -> str:
    # Bytes that are no UTF-8, which Linux allows in names, are left out.
    return target.name.encode(errors="ignore")[:120].decode(errors="ignore")


def take_over(target: Path, plan: str) -> Path | None:
    """Take over an abandoned partial file for this plan; return its new name, or None.

    Of several processes that try, the rename lets one succeed.
    """
    candidates = []
    for path in _siblings(target):
        match = _NAME.fullmatch(path.name)
        if match is None or match["plan"] != plan or path.name in live:
            continue
        try:
            status = path.stat()
        except OSError:
            continue
        if _abandoned(match["owner"], status.st_mtime):
            candidates.append((status.st_mtime, path))
    for _, path in sorted(candidates, reverse=True):
        mine = own_name(target, plan)
        live.add(mine.name)  # before it is there: no other thread may take it for abandoned
        try:
            os.utime(path)  # a sign of life, for savers on other machines
            path.rename(mine)
        except OSError:
            live.discard(mine.name)
            continue
        return mine
    return None


def sweep(target: Path) -> None:
    """Remove partial files for this target that nobody came back for within `KEEP`."""
    for path in _siblings(target):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        try:
            modified = path.stat().st_mtime
            old = time.time() - modified > KEEP and path.name not in live
            if old and _abandoned(match["owner"], modified):
                path.unlink()
        except OSError:
            continue


def _siblings(target: Path) -> list[Path]:
    stem = _stem(target)
    try:
        return [
            path
            for path in target.parent.iterdir()
            if path.name.startswith(f".{stem}.") and path.name.endswith(".part")
        ]
    except OSError:
        return []


def _abandoned(owner: str, modified: float) -> bool:
    if owner == "free":
        return True
    host, _, pid = owner.partition("-")
    if host == _host() and os.name == "posix":
        return int(pid) == os.getpid() or not _runs(int(pid))
    return time.time() - modified > SILENCE


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    try:
        # One that was killed and that nobody has waited for answers signals, but does nothing.
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (OSError, LookupError, ValueError):
        return True
    return state not in ("Z", "X")


@functools.cache
def _host() -> str:
    """Return what names this machine and, in containers, this space of process numbers."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
