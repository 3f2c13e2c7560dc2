"""Whole processes, timed in turn, so that a machine whose speed drifts is fair to all."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Runs:
    """What the counted runs of one command took."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)

    def line(self, name: str) -> str:
        if not self.wall:
            return f"{name:<34} not counted"
        wall, cpu = statistics.median(self.wall), statistics.median(self.cpu)
        spread = f"{min(self.wall):.2f}-{max(self.wall):.2f}"
        return (
            f"{name:<34} {wall:7.3f} s ({spread})  cpu {cpu:6.3f} s  peak {max(self.peak):6.1f} MiB"
        )


def once(argv: Sequence[str | Path]) -> tuple[float, float, float]:
    """Run a command; return its wall seconds, CPU seconds and peak MiB."""
    began = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in argv], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    said = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - began
    if process.stderr:
        process.stderr.close()
    if process.returncode:
        raise RuntimeError(f"{argv[0]} ended with {process.returncode}: {said.decode()[-500:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def in_turn(
    commands: Mapping[str, Sequence[str | Path]],
    *,
    rounds: int,
    before: Callable[[], object],
) -> dict[str, Runs]:
    """Run each command once unseen, then ``rounds`` times, one after the other."""
    found = {name: Runs() for name in commands}
    for number in range(rounds + 1):
        for name, argv in commands.items():
            before()
            wall, cpu, peak = once(argv)
            if number:
                found[name].wall.append(wall)
                found[name].cpu.append(cpu)
                found[name].peak.append(peak)
    return found


def ratio(ours: Runs, theirs: Runs) -> float:
    """Return the median of the rounds' own ratios."""
    return statistics.median(a / b for a, b in zip(ours.wall, theirs.wall, strict=True))


def emptied(folder: Path) -> Callable[[], None]:
    """Return what makes a folder empty: nobody overwrites an old file."""

    def empty() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    return empty
