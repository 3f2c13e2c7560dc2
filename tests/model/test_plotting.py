"""``m.plot``, ``repository.plot`` and ``didlab.plot`` over real (small) registries."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")
import matplotlib.pyplot as plt

import didlab
from didlab.demo.content import (
    OCI,
    RepositoryContent,
    Step,
    directory,
    file,
    layer,
    link,
    symlink,
    whiteout,
)
from didlab.demo.server import DemoServer
from didlab.errors import InvalidArgument, NotAFolder, PathNotFound
from model.sources import ASKED

AMD64 = {"architecture": "amd64", "os": "linux"}


@pytest.fixture(autouse=True)
def _figures(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
    before = plt.get_backend()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.switch_backend(before)


@pytest.fixture(scope="module")
def hub() -> Iterator[didlab.Registry]:
    with didlab.sandbox() as made:
        yield made


def image(content: RepositoryContent, tag: str, created: str, *steps: Step) -> None:
    made = content.add_image(OCI, platform=AMD64, created=created, config={}, steps=steps)
    content.tags[tag] = made["digest"]


@pytest.fixture(scope="module")
def odd() -> Iterator[didlab.Registry]:
    """Many layers, no layers, names of one content, dates that mean nothing."""
    content = RepositoryContent("odd/app")
    base = layer(
        *map(directory, ("a", "a/b", "c", "d")),
        file("a/b/one", bytes(1000)),
        file("a/two", bytes(500)),
        link("c/three", "a/two"),
        file("d/gone", bytes(70)),
        link("d/left", "d/gone"),
        file("d/empty", b""),
        symlink("e", "a"),
    )
    image(
        content, "linked", "2024-01-01T00:00:00Z",
        Step("COPY a", base), Step("RUN rm", layer(whiteout("d/gone"))),
    )  # fmt: skip
    image(
        content, "many", "2024-02-01T00:00:00Z",
        *(Step(f"RUN {n}", layer(file(f"f{n}", bytes(n)))) for n in range(127)),
    )  # fmt: skip
    image(content, "empty", "1970-01-01T00:00:00Z")
    with DemoServer(repositories={"odd/app": content}) as server:
        yield didlab.Registry(server.host, trust_env=False)


def texts(ax: Any) -> list[str]:
    ax.figure.canvas.draw()
    return [text.get_text() for text in ax.texts if text.get_text()]


def areas(ax: Any) -> dict[str, float]:
    """Name of each leaf with its part of the whole, where the name is seen."""
    ax.figure.canvas.draw()
    leaves = [patch for patch in ax.patches if patch.get_fill()]
    whole = sum(p.get_width() * p.get_height() for p in leaves)
    return {
        text.get_text().partition("\n")[0]: patch.get_width() * patch.get_height() / whole
        for text, patch in zip(ax.texts, leaves, strict=True)
    }


# --- the calls --------------------------------------------------------------------------------


def test_layers_are_those_of_the_frame(hub: didlab.Registry) -> None:
    m = hub["demo/web"]["1.27"]
    ax = m.plot.layers()
    assert [bar.get_width() for bar in ax.patches] == list(m.layers()["size"])
    assert ax.get_title(loc="left").startswith(f"{hub.name}/demo/web:1.27 · linux/amd64\n7 layers")
    assert "3  COPY dir:assets in /srv/www/assets" in texts(ax)
    title = m["linux/arm64"].plot.layers().get_title(loc="left")
    assert "linux/arm64" in title


def test_layers_of_many_and_of_none(odd: didlab.Registry) -> None:
    repo = odd["odd/app"]
    ax = repo["many"].plot.layers(rows=10)
    assert len(ax.patches) <= 10
    assert sum(bar.get_width() for bar in ax.patches) == repo["many"].layers()["size"].sum()
    assert texts(repo["empty"].plot.layers()) == ["no layers"]


def test_waste_is_that_of_the_frame_by_the_layers_that_make_it(hub: didlab.Registry) -> None:
    m = hub["demo/web"]["1.27"]
    ax = m.plot.waste()
    frame = m.waste()
    by_pair = frame.groupby(["layer", "by_layer"])["size"].sum()
    assert len(by_pair) > 2
    assert [bar.get_width() for bar in ax.patches] == list(by_pair)
    assert "stored in vain" in ax.get_title(loc="left")
    shown = [text for text in texts(ax) if "←" in text]
    assert [text.split("  ")[0] for text in shown] == [f"{a} ← {b}" for a, b in by_pair.index]
    assert any("rm -rf /var/lib/apt/lists" in text for text in shown)
    few = [bar.get_width() for bar in m.plot.waste(rows=3).patches]
    assert len(few) <= 3 < len(by_pair)
    assert sum(few) == by_pair.sum() == frame.attrs["wasted"]
    assert texts(hub["demo/single"]["1.0"].plot.waste()) == ["nothing is stored in vain"]
    with pytest.raises(InvalidArgument, match="rows="):
        m.plot.waste(rows=0)


def test_a_treemap_is_what_du_says(hub: didlab.Registry) -> None:
    m = hub["demo/web"]["1.27"]
    files = m.files()
    files = files[files["type"] == "file"]
    sizes = files.groupby(files["path"].str.split("/").str[1:3].str.join("/"))["size"].sum()
    found = areas(m.plot.treemap())
    assert found["srv/www"] == pytest.approx(sizes["srv/www"] / sizes.sum())
    ax = m.plot.treemap("usr", 1)
    assert areas(ax)["lib"] == pytest.approx(
        files[files["path"].str.startswith("/usr/lib/")]["size"].sum()
        / files[files["path"].str.startswith("/usr/")]["size"].sum()
    )
    assert ax.get_title(loc="left").endswith(" in files below /usr")
    # Links are followed, as everywhere.
    assert m.plot.treemap("/lib").get_title(loc="left").endswith("below /usr/lib")


def test_content_of_several_names_counts_once(odd: didlab.Registry) -> None:
    m = odd["odd/app"]["linked"]
    assert areas(m.plot.treemap()) == pytest.approx(
        {"a/b": 1000 / 1570, "a/two": 500 / 1570, "left": 70 / 1570}
    )
    # Below a folder that has but the second name.
    assert areas(m.plot.treemap("/c")) == {"three": 1.0}
    assert list(areas(m.plot.treemap("/", 3))) == ["a/b/one", "a/two", "left"]
    assert texts(odd["odd/app"]["empty"].plot.treemap()) == ["no files with content"]


def test_a_treemap_of_what_is_no_folder_is_refused(hub: didlab.Registry) -> None:
    plot = hub["demo/web"]["1.27"].plot
    with pytest.raises(PathNotFound):
        plot.treemap("/nowhere")
    with pytest.raises(NotAFolder, match="/etc/passwd"):
        plot.treemap("/etc/passwd")
    for depth in (0, 9, 1.5, True, "2"):
        with pytest.raises(InvalidArgument, match="depth"):
            plot.treemap(depth=depth)
    for rows in (0, None, 2.0):
        with pytest.raises(InvalidArgument, match="rows"):
            plot.layers(rows=rows)
    assert plt.get_fignums() == []


def test_growth_goes_over_tags_by_date(hub: didlab.Registry) -> None:
    repo = hub["demo/web"]
    ax = repo.plot.growth()
    sizes = [repo[tag].size() for tag in ("1.26", "1.27")]
    assert list(ax.lines[0].get_ydata()) == sizes
    assert {"1.26", "1.27, latest"} <= set(texts(ax))
    only = repo.plot.growth("1.2?")
    assert "latest" not in " ".join(texts(only))
    assert list(repo.plot.growth(["1.27"]).lines[0].get_ydata()) == sizes[1:]


def test_growth_names_what_it_leaves_out(odd: didlab.Registry) -> None:
    ax = odd["odd/app"].plot.growth(["linked", "many", "empty", "gone"])
    assert ax.get_title(loc="left").endswith("\nwithout a date: empty\nnot read: gone")
    assert len(ax.lines[0].get_ydata()) == 2


def test_growth_does_not_ask_for_a_thousand_tags() -> None:
    with didlab.sandbox(tags=150) as many:
        repo = many["demo/single"]
        with pytest.raises(InvalidArgument, match="152 tags, and each takes"):
            repo.plot.growth()
        with pytest.raises(InvalidArgument, match="tags like b\\*"):
            repo.plot.growth("b*")
        with pytest.raises(InvalidArgument, match="no tag"):
            repo.plot.growth("x*")
        asked = [path for _, path, _ in many.server.requests]
        assert not any("/manifests/" in path for path in asked)
        assert len(repo.plot.growth("build-0000?").lines[0].get_ydata()) == 1


def test_shared_takes_what_open_takes(hub: didlab.Registry, tmp_path: Path) -> None:
    m = hub["demo/web"]["1.27"]
    report = m.save(tmp_path / "web.tar", progress=False)
    names = [f"{hub.name}/demo/web:1.26", m, report.path, f"{hub.name}/demo/hello:1.1"]
    ax = didlab.plot.shared(names, trust_env=False)
    values = ax.collections[0].get_array().reshape(4, 6)
    sizes = [{row.digest: row.size for row in didlab.open(n, trust_env=False).layers().itertuples()}
             if not isinstance(n, didlab.Manifest) else
             {row.digest: row.size for row in n.layers().itertuples()} for n in names]  # fmt: skip
    for row, one in enumerate(sizes):
        for column, other in enumerate(sizes):
            assert values[row, column] == sum(one[digest] for digest in one.keys() & other.keys())
    assert values[1, 1] == values[1, 2] == values[2, 1]  # the tar has the registry's own bytes
    assert values[3, 5] == values[3, 3]
    assert "demo/hello" not in ax.get_title(loc="left")
    again = didlab.plot.shared(names[:2], share=True, trust_env=False)
    assert again.collections[0].get_array()[0, 0] == 1.0


def test_shared_tells_platforms_apart(hub: didlab.Registry) -> None:
    index = hub["demo/web"]["1.27"]
    found = texts(didlab.plot.shared([index["linux/amd64"], index["linux/arm64"]]))
    assert any("linux/arm64" in text for text in found)


def test_shared_refuses_what_is_no_list(hub: didlab.Registry) -> None:
    for one in ("nginx", hub["demo/web"]["1.27"], Path("x.tar")):
        with pytest.raises(InvalidArgument, match="several"):
            didlab.plot.shared(one)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="101 images"):
        didlab.plot.shared([hub["demo/web"]["1.27"]] * 101)


# --- what is free, and what is missing --------------------------------------------------------


def test_the_accessor_is_one_line_and_travels(hub: didlab.Registry) -> None:
    before = len(ASKED)
    m = hub["demo/web"]["1.27"].refresh()
    assert repr(m.plot) == f"<ImagePlots {hub.name}/demo/web:1.27 · layers() treemap() waste()>"
    assert repr(m.repository.plot) == "<RepositoryPlots demo/web · growth()>"
    assert m.plot == m.plot
    assert pickle.loads(pickle.dumps(m.plot)) == m.plot
    assert len(ASKED) == before


_WITHOUT = """
import json, sys
sys.modules["matplotlib"] = None
import didlab
m = didlab.open("127.0.0.1:1/none:1", trust_env=False)
said = []
for call in (m.plot.layers, m.plot.treemap, m.plot.waste, m.repository.plot.growth,
             lambda: didlab.plot.shared(["127.0.0.1:1/none:1"])):
    try:
        call()
    except ImportError as error:
        said.append(str(error))
print(json.dumps(said))
"""


def test_without_matplotlib_the_command_is_said_before_anything_is_asked() -> None:
    root = str(Path(didlab.__file__).parent.parent)
    code = f"import sys; sys.path.insert(0, {root!r})\n{_WITHOUT}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    calls = ("m.plot.layers()", "m.plot.treemap()", "m.plot.waste()",
             "repository.plot.growth()", "didlab.plot.shared()")  # fmt: skip
    assert said == [f'{call} needs matplotlib: pip install "didlab[plot]"' for call in calls]
