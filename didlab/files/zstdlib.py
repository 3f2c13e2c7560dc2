"""Python's own zstd: the standard library's from 3.14 on, its backport before."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from didlab.errors import Unsupported

#: How a frame begins, and a skippable one, but for its first byte.
MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE = b"\x2a\x4d\x18"


@cache
def module() -> Any:
    """Return ``compression.zstd`` or ``backports.zstd``, None where neither is at hand."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        return None
    return zstd


def needed(what: str) -> Any:
    """Return the module that ``what`` cannot be read without.

    Raises
    ------
    Unsupported
        There is none.
    """
    found = module()
    if found is None:
        raise Unsupported(
            f"{what} is compressed with zstd, which is not at hand",
            hint="pip install backports.zstd",
        )
    return found
