"""Text that keeps within a box, whatever becomes of the figure: fitted whenever it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from didlab.views.plots.labels import Lettering

#: Points around a text, and the smallest type that is still read.
_PAD = 3.0
_SMALLEST = 5.5
#: A text that is cut to less is left out.
_FEWEST = 3


@cache
def _kind() -> type[Any]:
    from matplotlib.text import Text
    from matplotlib.transforms import IdentityTransform

    class Fitted(Text):
        """Text in a box of data coordinates: the first of its forms that fits, else cut."""

        def __init__(self, forms: Sequence[str], box: Sequence[float], **style: Any) -> None:
            self.forms, self.box = tuple(forms), tuple(box)
            self.cut_start = style.pop("cut_start", False)
            self.whole = style.pop("whole", False)
            self.beside = style.pop("beside", None)
            super().__init__(0, 0, "", transform=IdentityTransform(), **style)
            self.largest = self.get_fontsize()
            self._fitted: Any = None

        def draw(self, renderer: Any) -> None:
            self.fit(renderer)
            super().draw(renderer)

        def get_window_extent(self, renderer: Any = None, dpi: float | None = None) -> Any:
            # Canvases of files have a renderer only while they draw.
            canvas: Any = self.figure.canvas if self.figure is not None else None
            if renderer is None and hasattr(canvas, "get_renderer"):
                renderer = canvas.get_renderer()
            if renderer is not None and self.axes is not None:
                self.fit(renderer)
            return super().get_window_extent(renderer, dpi)

        def fit(self, renderer: Any) -> None:
            """Choose form, size and place; touch nothing that is right already."""
            left, right, bottom, top, point = self._room()
            if self.beside is not None and self.beside.get_text():
                right = self.beside.get_window_extent(renderer).x0
            if self._fitted == (left, right, bottom, top, point):
                return
            self._fitted = (left, right, bottom, top, point)
            font = self.get_fontproperties().copy()

            def width(line: str) -> float:
                found: float = renderer.get_text_width_height_descent(line, font, False)[0]
                return found

            shown = ""
            size: Any = self.get_fontsize()
            for form in self.forms:
                lines = form.split("\n")
                high = (top - bottom) / (len(lines) * 1.25 * point)
                if high < _SMALLEST:
                    continue
                size = min(self.largest, high)
                font.set_size(size)
                room, needed = right - left, max(map(width, lines))
                if self.whole and needed > room:
                    # Letters do not shrink quite in proportion.
                    size *= 0.97 * room / needed
                    if size < _SMALLEST:
                        continue
                    needed = room
                if needed <= room:
                    shown = form
                    break
                if form is self.forms[-1]:
                    shown = self._cut(form, room, width)
            place = ({"left": left, "right": right}.get(self.get_horizontalalignment(),
                     (left + right) / 2), (bottom + top) / 2)  # fmt: skip
            if shown != self.get_text():
                self.set_text(shown)
            if size != self.get_fontsize():
                self.set_fontsize(size)
            if place != self.get_position():
                self.set_position(place)

        def _room(self) -> tuple[float, float, float, float, float]:
            """Return the edges of the box in pixels, as far as it is seen, and of a point."""
            x0, y0, x1, y1 = self.box
            axes: Any = self.axes
            corners = axes.transData.transform([(x0, y0), (x1, y1)])
            seen = axes.bbox
            point = axes.figure.dpi / 72
            left, right = sorted(corners[:, 0])
            bottom, top = sorted(corners[:, 1])
            return (
                max(left, seen.x0) + _PAD * point,
                min(right, seen.x1) - _PAD * point,
                max(bottom, seen.y0),
                min(top, seen.y1),
                point,
            )

        def _cut(self, text: str, room: float, width: Any) -> str:
            def made(count: int) -> str:
                return f"…{text[-count:]}" if self.cut_start else f"{text[:count].rstrip()}…"

            few, many = 0, len(text)
            while few + 1 < many:
                middle = (few + many) // 2
                few, many = (middle, many) if width(made(middle)) <= room else (few, middle)
            return made(few) if few >= _FEWEST else ""

    return Fitted


def add(
    ax: Axes,
    forms: Sequence[str],
    box: tuple[float, float, float, float],
    letters: Lettering,
    **style: Any,
) -> Any:
    """Put a text into a box of an Axes, in data coordinates: x0, y0, x1, y1.

    Parameters
    ----------
    forms : sequence of str
        The text, from its longest form to its shortest; lines are separated by newlines. What
        holds nothing remote but what went through ``letters``.
    cut_start : bool
        Cut the beginning, where even the shortest form is too long.
    whole : bool
        Cut nothing: shrink, or leave out. A number that is cut is another number.
    beside : Text
        Another text of this kind at the right edge of the same box, which goes first.
    """
    style.setdefault("va", "center")
    made = _kind()(
        forms, box, fontfamily=list(letters.families), parse_math=False, usetex=False, **style
    )
    made.set_in_layout(False)
    ax.add_artist(made)
    made.set_clip_on(True)
    made.set_clip_path(ax.patch)
    return made
