"""Plots, by what is on them: widths, labels, colours; every label within its place."""

from __future__ import annotations

import datetime as dt
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

matplotlib = pytest.importorskip("matplotlib")
from matplotlib import font_manager  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.colors import to_rgb  # noqa: E402

from didlab.views.plots import bars, folders, heatmap, labels, line  # noqa: E402
from didlab.views.plots.line import Point  # noqa: E402

COMMANDS = [
    "/bin/sh -c #(nop) ADD file:rootfs.tar in / ",
    "RUN /bin/sh -c apt-get update && apt-get install -y " + "a-long-name " * 30 + "# buildkit",
    "COPY 文件 /应用/目录 # buildkit",
    "RUN echo $HOME costs $5 and $x^2$ and $\\frac{1}{2}$",
    None,
    "RUN evil\n\x1b[31m \u202e rtl \x00 {x} %s",
    "",
]
SIZES = [28_000_000, 120_000_000, 2_000, 165, 32, 0, 5_000_000]
TREE = {
    ("usr", "lib"): 60_000_000,
    ("usr", "share"): 30_000_000,
    ("var", "lib"): 9_000_000,
    ("srv", "应用数据"): 8_000_000,
    ("srv", "$a$"): 7_000_000,
    ("vmlinuz",): 5_000_000,
    **{("etc", f"conf{n}\n"): 100 + n for n in range(60)},
    ("x" * 255, "y" * 255): 600_000,
}
IMAGES = [
    ("r.example:5000/web:1", {"a": 30_000_000, "b": 2_000_000, "c": 5}),
    ("r.example:5000/web:2", {"a": 30_000_000, "b": 2_000_000, "d": 7_000_000}),
    ("r.example:5000/" + "long-name/" * 20 + "x:3", {"a": 30_000_000}),
    ("r.example:5000/数据/$库$:7", {"e": 9}),
    ("r.example:5000/empty:1", {}),
]


def at(day: int, year: int = 2024) -> dt.datetime:
    return dt.datetime(year, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=day)


POINTS = [
    Point((f"1.{n}",), at(7 * n + n % 3), 50_000_000 + 1_000_000 * n + 20_000_000 * (n > 11))
    for n in range(30)
]
#: Every picture: of an Axes, or of None.
PICTURES: dict[str, Callable[[Any], Any]] = {
    "layers": lambda ax: bars.layers(SIZES, COMMANDS, "app:1 · linux/amd64", rows=40, ax=ax),
    "127 layers": lambda ax: bars.layers(
        [(n * 7919) % 100_003 for n in range(127)], ["RUN x"] * 127, "app:127", rows=40, ax=ax
    ),
    "one layer": lambda ax: bars.layers([5], ["COPY a /"], "app:one", rows=40, ax=ax),
    "layers of nothing": lambda ax: bars.layers([0, 0], [None, None], "app:0", rows=40, ax=ax),
    "no layers": lambda ax: bars.layers([], [], "app:none", rows=40, ax=ax),
    "waste": lambda ax: bars.waste(
        [(0, 3, 5_000, COMMANDS[1]), (2, 3, 7, COMMANDS[5]), (2, 4, 900_000, None)],
        "app:1 · linux/amd64",
        rows=40,
        ax=ax,
    ),
    "much waste": lambda ax: bars.waste(
        [(n, n + 1, (n * 7919) % 100_003, "RUN x") for n in range(127)], "app:127", rows=40, ax=ax
    ),
    "no waste": lambda ax: bars.waste([], "app:1", rows=40, ax=ax),
    "treemap": lambda ax: folders.treemap(TREE, "app:1", "/", ax=ax),
    "one file": lambda ax: folders.treemap({("a",): 1}, "app:1", "/", ax=ax),
    "no files": lambda ax: folders.treemap({}, "app:1", "/empty", ax=ax),
    "shared": lambda ax: heatmap.shared(IMAGES, share=False, ax=ax),
    "shared parts": lambda ax: heatmap.shared(IMAGES * 3, share=True, ax=ax),
    "one image": lambda ax: heatmap.shared(IMAGES[:1], share=False, ax=ax),
    "no image": lambda ax: heatmap.shared([], share=False, ax=ax),
    "growth": lambda ax: line.growth(POINTS, "r.example/app", ax=ax),
    "one tag": lambda ax: line.growth(POINTS[:1], "r.example/app", ax=ax),
    "no tag": lambda ax: line.growth([], "r.example/app", ax=ax),
    "no dates": lambda ax: line.growth([Point(("a", "b"), None, 5)], "x", unread=["c"], ax=ax),
}
every = pytest.mark.parametrize("name", PICTURES)


@pytest.fixture(autouse=True)
def _agg() -> Iterator[None]:
    before = matplotlib.get_backend()
    plt.switch_backend("agg")
    with warnings.catch_warnings(), plt.style.context("default"):
        warnings.simplefilter("error")
        yield
    plt.close("all")
    plt.switch_backend(before)


def drawn(ax: Any) -> Any:
    ax.figure.canvas.draw()
    return ax.figure.canvas.get_renderer()


def texts(ax: Any) -> list[str]:
    drawn(ax)
    return [text.get_text() for text in ax.texts if text.get_text()]


# --- every picture ----------------------------------------------------------------------------


@every
@pytest.mark.parametrize("style", ["default", "ggplot"])
def test_labels_lie_within_their_boxes_and_the_axes(name: str, style: str) -> None:
    with plt.style.context(style):
        ax = PICTURES[name](None)
        renderer = drawn(ax)
        frame = ax.bbox.padded(0.5)
        places = []
        for text in ax.texts:
            if not text.get_text():
                continue
            extent = text.get_window_extent(renderer)
            assert frame.x0 <= extent.x0, text
            assert extent.x1 <= frame.x1, text
            assert frame.y0 <= extent.y0, text
            assert extent.y1 <= frame.y1, text
            places.append(extent)
        for number, one in enumerate(places):
            for other in places[number + 1 :]:
                across = min(one.x1, other.x1) - max(one.x0, other.x0)
                up = min(one.y1, other.y1) - max(one.y0, other.y0)
                # Letters have room above and below them.
                assert across <= 1 or up <= 0.35 * min(one.height, other.height)


@every
def test_the_axes_that_is_given_is_drawn_on_and_returned(name: str) -> None:
    _, (first, second) = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
    assert PICTURES[name](second) is second
    assert second.get_title(loc="left")
    assert not first.has_data()
    assert plt.get_fignums() == [1]


@every
def test_no_setting_is_changed_and_nothing_shown(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(matplotlib.rcParams)
    shown: list[object] = []
    monkeypatch.setattr(plt, "show", lambda *a, **k: shown.append(a))
    drawn(PICTURES[name](None))
    assert dict(matplotlib.rcParams) == before
    assert shown == []


@pytest.mark.parametrize("name", ["layers", "treemap", "shared", "growth"])
@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_it_becomes_a_file_of_vectors(name: str, kind: str) -> None:
    file = io.BytesIO()
    PICTURES[name](None).figure.savefig(file, format=kind, bbox_inches="tight")
    assert file.tell() > 1000


@pytest.mark.parametrize("name", ["layers", "treemap", "shared", "growth"])
def test_text_is_told_from_what_lies_under_it_on_light_and_dark(name: str) -> None:
    for style in ("default", "dark_background"):
        with plt.style.context(style):
            ax = PICTURES[name](None)
            drawn(ax)
            text = luminance(to_rgb(ax.texts[0].get_color()))
            ground = to_rgb(ax.get_facecolor())
            faces = [patch.get_facecolor() for patch in ax.patches if patch.get_fill()]
            faces += [face for mesh in ax.collections for face in mesh.get_facecolors()]
            for red, green, blue, alpha in faces:
                under = luminance(
                    tuple(
                        alpha * c + (1 - alpha) * g
                        for c, g in zip((red, green, blue), ground, strict=True)
                    )
                )
                light, dark = max(text, under), min(text, under)
                assert (light + 0.05) / (dark + 0.05) > 4.5  # WCAG 2.2, AA


def luminance(colour: tuple[float, ...]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", ["layers", "treemap", "shared"])
def test_labels_fit_after_the_figure_shrank(name: str) -> None:
    ax = PICTURES[name](None)
    large = sum(map(len, texts(ax)))
    ax.figure.set_size_inches(2.5, 1.8)
    renderer = drawn(ax)
    assert sum(len(text.get_text()) for text in ax.texts) < large
    for text in ax.texts:
        if text.get_text():
            extent = text.get_window_extent(renderer)
            assert extent.x1 <= ax.bbox.x1 + 0.5
            assert extent.x0 >= ax.bbox.x0 - 0.5


def test_numbers_are_never_cut() -> None:
    for width in (2, 3, 4, 6, 9):
        _, ax = plt.subplots(figsize=(width, 3))
        found = texts(PICTURES["shared"](ax))
        numbers = [text for text in found if text[0].isdigit()]
        assert not any("…" in number for number in numbers)
        assert all(number.isdigit() or number.endswith("B") for number in numbers)
    assert "32.0 MB" in numbers


@pytest.mark.parametrize("name", PICTURES)
def test_titles_are_cut_to_their_place(name: str) -> None:
    _, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
    ax = PICTURES[name](axes[0])
    renderer = drawn(ax)
    assert ax._left_title.get_window_extent(renderer).x1 < axes[1].get_window_extent().x0


# --- each -------------------------------------------------------------------------------------


def test_bars_are_the_sizes_and_the_base_is_uppermost() -> None:
    ax = PICTURES["layers"](None)
    assert [bar.get_width() for bar in ax.patches] == SIZES
    tops = [ax.transData.transform((0, bar.get_y()))[1] for bar in ax.patches]
    assert tops == sorted(tops, reverse=True)
    assert len({bar.get_facecolor() for bar in ax.patches}) == 1
    # What is too narrow to be seen has an edge that is.
    assert [bar.get_linewidth() > 0 for bar in ax.patches] == [
        size < 0.004 * max(SIZES) for size in SIZES
    ]
    found = texts(ax)
    assert "0  ADD file:rootfs.tar in /" in found
    assert "3  RUN echo $HOME costs $5 and $x^2$ and $\\frac{1}{2}$" in found
    assert "4  –" in found
    assert "5  RUN evil \\x1b[31m \\u202e rtl \\x00 {x} %s" in found
    assert "78% · 120 MB" in found
    assert "165 B" in found
    assert any(text.startswith("1  RUN apt-get update") and text.endswith("…") for text in found)
    assert ax.get_title(loc="left") == "app:1 · linux/amd64\n7 layers, 153 MB"
    ticks = [tick.get_text() for tick in ax.get_xticklabels()]
    assert {"0 MB", "100 MB"} <= set(ticks)


def test_many_layers_share_rows_and_lose_nothing() -> None:
    ax = PICTURES["127 layers"](None)
    assert len(ax.patches) <= 40
    assert sum(bar.get_width() for bar in ax.patches) == sum(
        (n * 7919) % 100_003 for n in range(127)
    )
    assert any("small layers" in text for text in texts(ax))
    assert ax.figure.get_size_inches()[1] < 13


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no layers", "no layers"),
        ("no files", "no files with content"),
        ("no image", "no images"),
        ("no tag", "no image with a date"),
        ("no dates", "no image with a date"),
    ],
)
def test_nothing_is_said_so(name: str, says: str) -> None:
    assert texts(PICTURES[name](None)) == [says]


def test_treemap_has_areas_of_the_sizes_and_a_colour_for_each_folder() -> None:
    ax = PICTURES["treemap"](None)
    leaves = [patch for patch in ax.patches if patch.get_fill()]
    areas = sorted((p.get_width() * p.get_height() for p in leaves), reverse=True)
    total = sum(TREE.values())
    for area, size in zip(areas, sorted(TREE.values(), reverse=True)[:6], strict=False):
        assert area / sum(areas) == pytest.approx(size / total)
    found = texts(ax)
    assert "usr/lib\n60.0 MB" in found
    assert any(text.startswith("srv/$a$") for text in found)
    hues = {patch.get_facecolor()[:3] for patch in leaves}
    assert len(hues) == len({path[0] for path in TREE})
    assert ax.get_title(loc="left") == "app:1\n120 MB in files below /"


def test_heatmap_says_what_is_shared_and_what_is_alone() -> None:
    ax = PICTURES["shared"](None)
    (mesh,) = ax.collections
    values = mesh.get_array().reshape(5, 7)
    assert values[0, 1] == values[1, 0] == 32_000_000
    assert values[0, 0] == 32_000_005
    assert list(values[:, 6]) == [5, 7_000_000, 0, 9, 0]
    assert values.mask[:, 5].all()  # the gap before what is alone
    found = texts(ax)
    assert "web:1  1" in found
    assert any(text.startswith("…") and text.endswith("x:3  3") for text in found)
    assert "only here" in found
    assert ax.get_title(loc="left").endswith("39.0 MB together, 101 MB one by one")
    parts = PICTURES["shared parts"](None).collections[0].get_array()
    assert parts.max() == 1.0


def test_many_images_are_told_by_colours_alone() -> None:
    ax = heatmap.shared([(f"a:{n}", {str(n): 5, "all": 7}) for n in range(100)], share=True)
    assert len(ax.texts) == 100 + 101  # rows and columns
    assert ax.collections[0].get_array().size == 100 * 102


def test_a_bar_of_colours_can_be_added() -> None:
    ax = PICTURES["shared"](None)
    ax.figure.colorbar(ax.collections[0])
    drawn(ax)


def test_growth_goes_by_date_and_names_first_last_and_the_jump() -> None:
    mixed = [*POINTS[::-1], Point(("old",), at(0, 1970), 1), Point(("late",), at(0, 9999), 2)]
    ax = line.growth(mixed, "r.example/app", unread=["gone"])
    heights = [list(one.get_ydata()) for one in ax.lines]
    assert heights[0] == heights[1] == [point.size for point in POINTS]
    assert ax.get_ylim()[0] == 0
    found = texts(ax)
    assert {"1.0", "1.12", "1.29"} <= set(found)
    title = ax.get_title(loc="left")
    assert title.startswith("r.example/app\n30 tags, 50.0 MB to 99.0 MB (+49.0 MB)")
    assert title.endswith("\nwithout a date: old, late\nnot read: gone")


def test_size_axes_count_in_round_numbers() -> None:
    for largest, expected in ((2_117_000, "2 MB"), (340, "300 B"), (7_300_000_000, "6 GB")):
        ax = bars.layers([largest], ["x"], "x", rows=40)
        drawn(ax)
        assert expected in [tick.get_text() for tick in ax.get_xticklabels()], largest


# --- letters ----------------------------------------------------------------------------------


def font_with(path: Path, name: str, letters: str) -> None:
    """A font file of square letters."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    pen.moveTo((50, 0))
    pen.lineTo((50, 800))
    pen.lineTo((900, 800))
    pen.closePath()
    square = pen.glyph()
    names = [".notdef", *(f"u{ord(char):04x}" for char in letters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(char): f"u{ord(char):04x}" for char in letters})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular", "psName": "Test"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(path)


def test_dollars_are_no_mathematics() -> None:
    bad = "$\\nosuch{ $"  # an error, as mathematics
    for usetex in (False, True):
        with matplotlib.rc_context({"text.usetex": usetex}):
            ax = bars.layers([5], [f"RUN {bad}"], bad, rows=40)
            ax.set_xticks([])  # matplotlib's own labels do want TeX, when it is asked for
            assert f"0  RUN {bad}" in texts(ax)
            assert ax.get_title(loc="left").startswith(bad)
    drawn(line.growth([Point((bad,), at(0), 5)], bad, unread=[bad]))
    drawn(folders.treemap({(bad,): 1}, bad, bad))
    drawn(heatmap.shared([(bad, {"a": 1})], share=False))


def test_letters_that_no_font_has_are_boxes_and_no_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(labels, "_FALLBACKS", ("DejaVu Sans",))
    found = texts(bars.layers([5], ["COPY 文件 /x"], "仓库:1", rows=40))
    assert "0  COPY □□ /x" in found


def test_a_font_that_was_removed_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    font_with(tmp_path / "test.ttf", "SimHei", "文件")
    manager = font_manager.fontManager
    monkeypatch.setattr(labels, "_FALLBACKS", ("SimHei",))
    monkeypatch.setattr(manager, "ttflist", list(manager.ttflist))
    manager.addfont(tmp_path / "test.ttf")
    (tmp_path / "test.ttf").unlink()
    assert "0  COPY □□" in texts(bars.layers([5], ["COPY 文件"], "x", rows=40))


def test_an_installed_font_is_found_for_chinese(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    font_with(tmp_path / "test.ttf", "SimHei", "文件仓库")
    manager = font_manager.fontManager
    monkeypatch.setattr(labels, "_FALLBACKS", ("SimHei",))
    monkeypatch.setattr(manager, "ttflist", list(manager.ttflist))
    manager.addfont(tmp_path / "test.ttf")
    ax = bars.layers([5], ["COPY 文件 /好"], "仓库:1", rows=40)
    assert "0  COPY 文件 /□" in texts(ax)  # drawn without a warning, which is an error here
    assert ax.get_title(loc="left").startswith("仓库:1")
