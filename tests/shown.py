"""Compare output that documents show with output that came: equal but for what may differ."""

from __future__ import annotations

import re

_MAY_DIFFER = (
    (re.compile(r"127\.0\.0\.1:\d+"), "HOST:PORT"),
    (re.compile(r"\d+\.\d+ s\b"), "SECONDS"),
    # zlib and zlib-ng compress to different bytes: sizes and digests of layers follow.
    (re.compile(r"\b[0-9a-f]{12,128}\b"), "DIGEST"),
    (re.compile(r"\b\d{3,}\b"), "NUMBER"),
    (re.compile(r"\b\d+\.\d [kM]B"), "SIZE"),
    # pandas 2 and 3 write what is missing differently, and their columns have other widths.
    (re.compile(r"\b(None|NaN)\b|<NA>"), "MISSING"),
    (re.compile(r"\s+"), " "),
)


def comparable(text: str) -> str:
    """Return ``text`` without what differs between runs, machines and versions.

    >>> comparable("127.0.0.1:4711  took 0.1 s")
    'HOST:PORT took SECONDS'
    """
    for pattern, instead in _MAY_DIFFER:
        text = pattern.sub(instead, text)
    return text.strip()
