"""A bar in a notebook, which leaves its final state in the stored document.

tqdm's own widget is stored as it was drawn first, at 0 % (tqdm issue 1120). So the display is ours:
the widget while it runs, at the end a line of text and HTML in its place, which needs no kernel.
"""

from __future__ import annotations

import contextlib
import html
from collections.abc import Sequence
from typing import Any

from didlab.export.progress.handed import Progress
from didlab.export.progress.state import State
from didlab.export.progress.terminal import REDRAW, Bar, common


def bar(total: int, title: str, there: int, delay: float) -> Progress:
    """Return a bar of widgets; one of text where there are none."""
    try:
        return NotebookBar(total, title, there, delay)
    except ImportError:
        return Bar(total, title, there, delay)


class NotebookBar:
    """See the module."""

    ticks = True

    def __init__(self, total: int, title: str, there: int, delay: float) -> None:
        self.state = State(total, title, there)
        self._bar = _widget(total=total, initial=there, desc=title)
        self._delay = delay
        self._handle: Any = None
        self._postfix = ""
        self._drawn = self.state.now
        self._look()

    def update(self, n: int) -> None:
        """Count bytes."""
        self.state.update(n)
        self._bar.update(n)
        self._look()

    def tell(self, done: int, total: int, notes: Sequence[str]) -> None:
        """Show layers that are done and what happened."""
        self.state.tell(done, total, notes)
        postfix, now = self.state.postfix, self.state.now
        if postfix != self._postfix or now - self._drawn >= REDRAW:
            self._bar.set_postfix_str(postfix, refresh=True)
            self._drawn, self._postfix = now, postfix
        self._look()

    def close(self) -> None:
        """Put the final state in the widget's place."""
        self._bar.close()
        if self._handle is not None:
            self._handle.update(_summary(self.state), raw=True)
        for widget in (*self._bar.container.children, self._bar.container):
            with contextlib.suppress(Exception):
                widget.close()

    def _look(self) -> None:
        """Display the widget, once it is time."""
        if self._handle is None and self.state.seconds >= self._delay:
            from IPython.display import display

            self._handle = display(  # type: ignore[no-untyped-call]
                self._bar.container, display_id=True
            )


def _widget(**options: Any) -> Any:
    from tqdm import notebook

    if getattr(notebook, "IProgress", None) is None:
        raise ImportError("there are no widgets")

    class Widget(notebook.tqdm_notebook):  # type: ignore[type-arg]
        monitor_interval = 0  # no thread of its own

    return Widget(**common(), **options, display=False)


def _summary(state: State) -> dict[str, str]:
    text = state.summary
    colour = "rgba(76,175,80,.8)" if state.whole else "rgba(244,67,54,.8)"
    return {
        "text/plain": text,
        "text/html": (
            '<div style="max-width:48em">'
            '<div style="height:.4em;background:rgba(128,128,128,.25)">'
            f'<div style="height:.4em;width:{state.percent}%;background:{colour}"></div></div>'
            f"<small>{html.escape(text)}</small></div>"
        ),
    }
