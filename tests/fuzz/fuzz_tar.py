"""Fuzz the tar walker: any bytes give a table or a typed error, the same in both ways of reading.

Run by hand, with atheris installed::

    python tests/fuzz/fuzz_tar.py -max_total_time=600 [FOLDER WITH ARCHIVES]

The first byte of an input says how the rest is cut into pieces; checksums are made right, so
that mutations reach what lies behind them.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from rig.tars import signed  # noqa: E402

from didlab.errors import LimitExceeded, TarInvalid  # noqa: E402
from didlab.files import walk  # noqa: E402

LIMITS = walk.Limits(
    entries=200, header=8192, records=100, regions=100, whole_file=100_000, path=4096
)


def outcome(data: bytes, size: int, *, batch: bool) -> object:
    walker = walk.Walker(LIMITS, lambda path, size: size < 10_000, batch=batch)
    try:
        for at in range(0, len(data), size):
            walker.feed(data[at : at + size])
        table = walker.finish()
    except (TarInvalid, LimitExceeded) as error:
        return type(error)
    offset = -1
    for entry in table:
        if entry.type == 0:
            if not offset < entry.offset <= len(data):
                raise RuntimeError("offsets do not grow")
            offset = entry.offset
    return list(table), walker.captured, walker.warnings


def one(data: bytes) -> None:
    """Read one input in two ways."""
    size = 1 + 3 * (data[0] if data else 0)
    changed = bytearray(data[1:])
    for start in range(0, len(changed) - 511, 512):
        if changed[start + 257 : start + 262] == b"ustar":
            changed[start : start + 512] = signed(changed[start : start + 512])
    mutated = bytes(changed)
    if outcome(mutated, 1 << 20, batch=True) != outcome(mutated, size, batch=False):
        raise RuntimeError("two readings of one archive")


if __name__ == "__main__":
    # Not for everybody who collects doctests here.
    import atheris

    walk._WORTH = 0
    atheris.instrument_all()
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
