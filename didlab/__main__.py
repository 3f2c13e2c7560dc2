"""``python -m didlab``: the same as the command ``didlab``."""

from __future__ import annotations

import sys

from didlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
