"""Text of images made harmless for plots, in letters that the fonts have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from didlab.errors import printable
from didlab.sizes import human

#: Looked for, in this order, where the style's fonts lack a letter.
_FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "SimHei",
    "Heiti TC",
    "Arial Unicode MS",
    "Droid Sans Fallback",
    "DejaVu Sans",
)
_LONGEST = 300


@dataclass(frozen=True)
class Lettering:
    """The fonts that a plot's texts need, and how to write with them."""

    families: tuple[str, ...]
    lacking: frozenset[str]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Lettering:
        """Choose fonts for texts: the style's, and one more for letters that those lack."""
        from matplotlib import font_manager, rcParams

        families = list(rcParams["font.family"])
        # What is put in, too: an ellipsis, or an escape.
        letters = {char for text in texts for char in plain(text)} | set("…·□")
        own = [font_manager.FontProperties(family=[name]) for name in families]
        missing = letters - _letters(map(font_manager.findfont, own), letters)
        installed = {entry.name: entry.fname for entry in font_manager.fontManager.ttflist}
        for name in _FALLBACKS:
            if missing and name in installed:
                found = _letters([installed[name]], missing)
                if found:
                    families.append(name)
                    missing -= found
        return cls(tuple(families), frozenset(missing))

    def __call__(self, text: str) -> str:
        """Return a text as it is written: without what breaks lines, cut, no letter missing."""
        shown = plain(text)
        if not self.lacking:
            return shown
        instead = "?" if "□" in self.lacking else "□"
        return "".join(instead if char in self.lacking else char for char in shown)


def _letters(fonts: Iterable[str], wanted: set[str]) -> set[str]:
    from matplotlib import font_manager

    found = set()
    for path in dict.fromkeys(fonts):
        try:
            known = font_manager.get_font(path).get_charmap()
        except (OSError, RuntimeError):
            continue  # removed since matplotlib listed the fonts, or broken
        found |= {char for char in wanted if ord(char) in known}
    return found


def plain(text: str) -> str:
    r"""Return remote text as one harmless line.

    >>> print(plain("a\n  b\x1b"))
    a b\x1b
    """
    return printable(" ".join(str(text)[: 4 * _LONGEST].split()), _LONGEST)


def end_of(text: str, length: int) -> str:
    """Cut the beginning: of a name the end tells most.

    >>> end_of("registry.example/team/app:1", 10)
    '…eam/app:1'
    """
    return text if len(text) <= length else "…" + text[len(text) - length + 1 :]


def start_of(text: str, length: int) -> str:
    """Cut the end.

    >>> start_of("7 layers, 5 MB", 9)
    '7 layers…'
    """
    return text if len(text) <= length else text[: length - 1].rstrip(" ,;") + "…"


def size(value: float) -> str:
    """Return a size for people, without a point where three digits tell enough.

    >>> size(1_234_000), size(123_400_000)
    ('1.2 MB', '123 MB')
    """
    number, unit = human(value).split()
    return f"{float(number):.0f} {unit}" if float(number) >= 100 else f"{number} {unit}"


def unit(largest: float) -> tuple[int, str]:
    """Return the unit for an axis up to a size.

    >>> unit(2_000_000), unit(0)
    ((1000000, 'MB'), (1, 'B'))
    """
    name = human(largest).split()[1]
    return 1000 ** ("B", "kB", "MB", "GB", "TB").index(name), name
