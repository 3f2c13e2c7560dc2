"""Sizes for people."""

from __future__ import annotations


def human(size: int | float) -> str:
    """Return a size for people, in powers of 1000 as registries and disks count.

    >>> human(0), human(999), human(1000), human(1_059_800_000)
    ('0 B', '999 B', '1.0 kB', '1.1 GB')
    """
    value = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")
