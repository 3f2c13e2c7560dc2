"""Short tracebacks in IPython and notebooks: the user's frames, not those inside didlab.

An expected error says what is wrong and what to do; twenty frames of its way through didlab
only hide that.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

_OWN = str(Path(__file__).resolve().parents[1]) + os.sep
_STDLIB = str(Path(os.__file__).resolve().parent) + os.sep


def render(error: BaseException) -> list[str]:
    """Return what IPython shows for an error, in the mode that the user chose (``%xmode``).

    Of the frames inside didlab the first (what was called) and the last (what raised) are left;
    the exception itself keeps them all, for debuggers and logs.
    """
    kept = pruned(error.__traceback__)
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        return traceback.format_exception(type(error), error, kept)
    shown: list[str] = shell.InteractiveTB.structured_traceback(
        type(error), error, kept, tb_offset=0
    )
    return shown


def shorten(interrupt: KeyboardInterrupt) -> None:
    """Have IPython show an interrupt by `render`, too: who pressed Stop knows what happened."""
    if not hasattr(interrupt, "_render_traceback_"):
        # On the object, where IPython looks first: the class is Python's.
        interrupt._render_traceback_ = functools.partial(  # type: ignore[attr-defined]
            render, interrupt
        )


def pruned(found: TracebackType | None) -> TracebackType | None:
    """Return a traceback without IPython's own frames and those in the middle of didlab."""
    kept: TracebackType | None = None
    steps = list(_steps(found))
    for at, step in reversed(list(enumerate(steps))):
        if _is_shell(step):
            continue
        middle = 0 < at < len(steps) - 1 and all(map(_is_own, steps[at - 1 : at + 2]))
        if not middle:
            kept = TracebackType(kept, step.tb_frame, step.tb_lasti, step.tb_lineno)
    return kept


def _steps(found: TracebackType | None) -> Iterator[TracebackType]:
    while found is not None:
        yield found
        found = found.tb_next


def _is_own(step: TracebackType) -> bool:
    # Python's own machinery between two frames of didlab (contextlib, concurrent.futures) is
    # on the way, too.
    name = step.tb_frame.f_code.co_filename
    return name.startswith(_OWN) or (name.startswith(_STDLIB) and "site-packages" not in name)


def _is_shell(step: TracebackType) -> bool:
    name = step.tb_frame.f_globals.get("__name__", "")
    return isinstance(name, str) and name.partition(".")[0] in ("IPython", "ipykernel")
