"""A process that is killed and begun again: saves in forked children, on command.

Started by `test_kill.py`; reads ``save TARGET`` lines, forks a warm child for each, prints its
process number, and then how it ended. Warm, because a hundred imports would cost minutes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import didlab
import didlab.export.archive
import didlab.model.manifest
import didlab.transport.client

sys.path.append(str(Path(__file__).parents[1]))
from rig.cutting import narrow


def main() -> None:
    narrow()
    reference = sys.argv[1]
    for line in sys.stdin:
        target = line.strip()
        child = os.fork()
        if child == 0:
            try:
                didlab.open(reference).save(target, progress=False, workers=4)
            except BaseException as error:
                print("child:", repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
