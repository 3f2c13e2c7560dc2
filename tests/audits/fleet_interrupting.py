"""A process that audits until it is interrupted, and tells what it has. See `test_fleet.py`."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import didlab


def mine(image: object) -> bool:
    return True


def tell(path: Path) -> None:
    # A line for each image that is in the report, below the first one.
    while not path.exists() or path.read_bytes().count(b"\n") < 5:
        time.sleep(0.01)
    print("four are done", flush=True)


def main(host: str, path: Path) -> None:
    threading.Thread(target=tell, args=(path,), daemon=True).start()
    names = [f"{host}/lab/app:{number}" for number in range(5)]
    report = didlab.audit(names, mine, resume=path, trust_env=False)
    errors = [None if error != error else error for error in report.images["error"]]
    print(json.dumps({"complete": report.complete, "errors": errors}), flush=True)


# Not when doctests are looked for in it.
if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
