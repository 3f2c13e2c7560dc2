"""From a name to a tar: look at an image in a registry, then save it, without Docker.

``python examples/name_to_tar.py [NAME]``; without a name, on an embedded registry.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import didlab


def main() -> int:
    """Show platforms, layers and config, and save the image to ``build/``."""
    target = Path("build")
    target.mkdir(exist_ok=True)
    with ExitStack() as stack:
        if len(sys.argv) > 1:
            m = didlab.open(sys.argv[1])
        else:
            hub = stack.enter_context(didlab.sandbox())
            m = hub["demo/web"]["1.27"]
        print(m)
        print(m.platforms(sizes=True)[["platform", "kind", "layers", "size"]].to_string())
        print(m.layers()[["size", "created_by"]])
        print(m.config())
        report = m.save(target, overwrite=True)
    print(repr(report))
    print(f"docker load -i {report}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except didlab.errors.DidlabError as error:
        sys.exit(f"{type(error).__name__}: {error}")
