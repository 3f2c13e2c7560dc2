"""Python's own zstd: the standard library's from 3.14 on, its backport before."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def module() -> Any:
    """Return ``compression.zstd`` or ``backports.zstd``."""
    try:
        return import_module("compression.zstd")
    except ImportError:
        return import_module("backports.zstd")
