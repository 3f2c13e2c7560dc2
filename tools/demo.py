"""The main job with all its set-up: ``python3 tools/demo.py [NAME]``.

Makes ``.venv``, installs didlab into it and runs ``examples/name_to_tar.py``: from an image's
name to a tar that ``docker load`` takes. Without a name it runs on an embedded registry and needs
no network beyond pip's; where pip has none either (docs/how-to/air-gap.md says what to carry
there), what this Python has is used.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import environment
from environment import ROOT

CORE = ("requests", "pandas", "tqdm", "publicsuffixlist")


def main() -> int:
    """Set up, then run the example."""
    job = [ROOT / "examples" / "name_to_tar.py", *sys.argv[1:]]
    env = None
    try:
        environment.check_python()
        try:
            python = environment.make(ROOT / ".venv")
            environment.install(python, "-e", ROOT)
        except environment.SetupFailed:
            if any(importlib.util.find_spec(name) is None for name in CORE):
                raise
            environment.say("not installed; using what this Python has")
            python, env = Path(sys.executable), {"PYTHONPATH": str(ROOT)}
        environment.run(python, *job, env=env)
    except environment.SetupFailed as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
