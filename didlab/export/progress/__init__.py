"""Progress that is handed in, or shown where somebody looks: a terminal, a notebook, a log."""

from __future__ import annotations

import sys
from typing import Any

from didlab import settings
from didlab.errors import InvalidArgument, printable
from didlab.export.progress.handed import Guarded, Progress, Silent

__all__ = ["Guarded", "Progress", "Silent", "check", "start", "teller"]


def check(progress: Any) -> None:
    """Raise InvalidArgument unless ``progress`` is True, False, None or has ``update``."""
    if progress is None or isinstance(progress, bool):
        return
    if isinstance(progress, type) or not callable(getattr(progress, "update", None)):
        raise InvalidArgument(
            "progress= takes True, False or an object with update(n), not "
            + (progress.__name__ if isinstance(progress, type) else type(progress).__name__),
            hint="hand over an object, not its class" if isinstance(progress, type) else None,
        )


def start(progress: Any, total: int, title: str, *, there: int = 0) -> Progress:
    """Return what shows the progress of ``total`` bytes, ``there`` of which are here already.

    ``progress`` is True, False, an object with ``update``, or None: then settings decide, and
    whether a person looks (a notebook, or a terminal on stderr).
    """
    if progress is not None and not isinstance(progress, bool):
        return Guarded(progress, total, there)
    if not _wanted(progress):
        return Silent()
    # Nobody needs a bar for what is over at once, unless it was asked for.
    delay = 0.0 if progress else 0.5
    title = printable(title, 80)
    if in_notebook():
        from didlab.export.progress import notebook

        return Guarded(notebook.bar(total, title, there, delay), total)
    if _at_terminal():
        from didlab.export.progress.terminal import Bar

        return Guarded(Bar(total, title, there, delay), total)
    from didlab.export.progress.lines import Lines

    return Guarded(Lines(total, title, there), total)


def teller(progress: Any) -> Any:
    """Return what tells a person of a wait while there is no bar yet; None where nobody looks."""
    if (progress is not None and not isinstance(progress, bool)) or not _wanted(progress):
        return None
    return lambda text, *_: print(printable(text), file=sys.stderr, flush=True)


def _wanted(progress: bool | None) -> bool:
    if progress is not None:
        return progress
    return settings.current().progress and (in_notebook() or _at_terminal())


def in_notebook() -> bool:
    """Whether this runs in a kernel: Jupyter's, or one derived from it, such as Colab's."""
    shells = sys.modules.get("IPython")
    shell = shells.get_ipython() if shells is not None else None
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)


def _at_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False
