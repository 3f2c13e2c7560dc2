"""The command ``didlab``: the library's calls from a shell, thin over them."""

from __future__ import annotations

from didlab.cli.entry import main

__all__ = ["main"]
