"""The widgets themselves, driven without a kernel: values set, buttons clicked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import ipywidgets
import pytest
from rig.actions import stall

import didlab
from didlab.errors import InvalidArgument
from didlab.widgets import exploring, recent
from didlab.widgets.explorer import NEXT, UP, Explorer
from didlab.widgets.window import Window


def settled(explorer) -> None:
    assert explorer.state.jobs.wait(60)


def plain(html: str) -> str:
    return re.sub(r"<[^>]*>", "", html)


def lines(select) -> list[str]:
    return [label.replace("\u00a0", " ").strip() for label, _ in select.options]


def pick(explorer, select, part: str) -> None:
    """Choose the line that a pattern finds."""
    [value] = [
        value
        for label, value in select.options
        if re.search(part, label.replace("\u00a0", " "))
    ]  # fmt: skip
    select.value = value
    settled(explorer)


@pytest.fixture
def explorer(server):
    made = Explorer(didlab.open(f"{server.host}/lab/app:1"))
    settled(made)
    yield made
    made.close()


@pytest.fixture
def listed(explorer):
    explorer.list.click()
    settled(explorer)
    return explorer


def test_the_first_look(explorer, server) -> None:
    assert f"{server.host}/lab/app:1" in plain(explorer.head.value)
    assert "3 layers" in plain(explorer.head.value)
    assert re.search(r"1  +300\.\d kB  █{10}  rig: layer 1", "\n".join(lines(explorer.layers)))
    assert explorer.platform.layout.display == "none"
    assert explorer.list.layout.display is None
    assert "are read once" in plain(explorer.listed.value)
    assert lines(explorer.entries) == []
    assert explorer.path.value == "lab_app_1_linux_amd64.tar"
    assert re.fullmatch(r"\d requests · \d\.\d kB fetched", plain(explorer.traffic.value))
    assert "/bin/sh" in plain(explorer.config.value)
    assert "rig: layer 2" in plain(explorer.history.value)
    assert repr(explorer).startswith("<Explorer ")


def test_nothing_says_list_the_files_once_they_are(listed) -> None:
    assert "choose a file" in plain(listed.about.value)
    assert plain(listed.count_found.value) == ""


def test_folders_by_click(listed) -> None:
    assert lines(listed.entries)[:2] == ["bin → usr/bin", "broken → /nowhere"]
    assert listed.entries.index is None
    pick(listed, listed.entries, "etc/$")
    assert lines(listed.entries) == ["..", "0 B  empty", "3 B  new"]
    assert [button.description for button in listed.crumbs.children] == ["/", "etc /"]
    pick(listed, listed.entries, "new$")
    assert plain(listed.preview.value) == "new"
    assert "/etc/new" in plain(listed.about.value)
    listed.crumbs.children[0].click()
    assert listed.state.folder == b"/"
    pick(listed, listed.entries, "^ *bin ")
    assert listed.state.folder == b"/usr/bin"
    listed.entries.value = UP
    assert listed.state.folder == b"/usr"


def test_pages_and_the_filter(listed) -> None:
    pick(listed, listed.entries, "many/$")
    assert len(listed.entries.options) == 1002  # the way up, a thousand, the way on
    assert "page 1 of 3" in plain(listed.count.value)
    listed.entries.value = NEXT
    assert lines(listed.entries)[2] == "1 B  f01000"
    listed.filter.value = "f0229"
    assert len(listed.entries.options) == 11
    assert "10 of 2,300 entries" in plain(listed.count.value)
    listed.filter.value = ""
    assert "page 1 of 3" in plain(listed.count.value)


def test_search_shows_where_it_is(listed) -> None:
    listed.tabs.selected_index = 1
    listed.query.value = "*ool"
    settled(listed)
    assert lines(listed.found) == ["5 B  /usr/bin/tool"]
    listed.found.index = 0
    settled(listed)
    assert listed.tabs.selected_index == 0
    assert listed.state.folder == b"/usr/bin"
    assert listed.entries.label.endswith("tool")
    assert "7f 45 4c 46" in plain(listed.preview.value)


def test_a_layer_and_what_it_did(listed) -> None:
    assert "choose a layer" in plain(listed.changes.value)
    pick(listed, listed.layers, "rig: layer 2")
    assert lines(listed.entries) == ["3 B  etc/"]
    listed.compare.click()
    settled(listed)
    assert "/etc/motd" in plain(listed.changes.value)
    assert listed.layers.index == 3


def test_platforms(hub, monkeypatch) -> None:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
    explorer = Explorer(hub["demo/hello"]["1.1"])
    settled(explorer)
    assert explorer.platform.value == "linux/amd64"
    assert "amd64" in explorer.path.value
    explorer.platform.value = "linux/arm/v7"
    settled(explorer)
    assert "linux/arm/v7" in plain(explorer.head.value)
    assert explorer.platform.value == "linux/arm/v7"
    assert "arm_v7" in explorer.path.value
    explorer.path.value = "mine.tar"
    explorer.platform.value = "linux/amd64"
    settled(explorer)
    assert explorer.path.value == "mine.tar"
    explorer.close()


def test_saving_with_its_buttons(explorer, server, tmp_path) -> None:
    server.rule(lambda request: server.large in request.path, stall(1000, after=100_000))
    target = tmp_path / "app.tar"
    explorer.path.value = os.fspath(target)
    assert explorer.stop_save.disabled
    explorer.save.click()
    while explorer.saved_bar.value < 0.3:
        assert explorer.state.jobs.busy("save")
    assert explorer.save.disabled
    explorer.stop_save.click()
    settled(explorer)
    assert "stopped at" in plain(explorer.saved.value)
    assert explorer.saved_bar.bar_style == "warning"
    server.rules.clear()
    explorer.save.click()
    settled(explorer)
    assert "reused" in plain(explorer.saved.value)
    assert explorer.saved_bar.bar_style == "success"
    assert target.exists()
    # Another file of that name: the button says what a second press does.
    target.write_bytes(b"mine")
    explorer.save.click()
    settled(explorer)
    assert explorer.save.description == "Replace the file"
    assert target.read_bytes() == b"mine"
    explorer.path.value = os.fspath(tmp_path / "other.tar")
    (tmp_path / "other.tar").write_bytes(b"mine too")
    explorer.save.click()  # another path: asked anew
    settled(explorer)
    assert (tmp_path / "other.tar").read_bytes() == b"mine too"
    explorer.save.click()
    settled(explorer)
    assert "saved" in plain(explorer.saved.value)


def test_errors_are_shown_in_the_widget(server, built) -> None:
    explorer = Explorer(didlab.open(f"{server.host}/lab/app:nothing"))
    settled(explorer)
    assert "nothing" in plain(explorer.error.value)
    assert "asking" not in plain(explorer.head.value)
    empty = (explorer.layers, explorer.tabs, explorer._save_row)
    assert {one.layout.display for one in empty} == {"none"}
    assert explorer.again.layout.display is None
    server.add_image("lab/app", "nothing", built)
    explorer.again.click()
    settled(explorer)
    assert plain(explorer.error.value) == ""
    assert {one.layout.display for one in empty} == {None}
    assert explorer.again.layout.display == "none"
    assert "3 layers" in plain(explorer.head.value)

    class Broken:
        def start(self, *_: object) -> None:
            raise RuntimeError("<b>boom</b>")

    jobs, explorer.state.jobs = explorer.state.jobs, Broken()
    explorer.list.click()
    assert "&lt;b&gt;boom" in explorer.error.value
    explorer.state.jobs = jobs
    explorer.close()


def test_no_widget_hides_a_method_of_ipywidgets(explorer) -> None:
    for made in (explorer, Window(None, {})):
        own = vars(made).keys()
        assert not {name for name in own if callable(getattr(ipywidgets.VBox, name, None))}


# --- the window ----------------------------------------------------------------------------------


@pytest.fixture
def window():
    made = Window(None, {})
    yield made
    made.close()


def test_the_window_opens_names_and_remembers_them(window, server) -> None:
    window.go.click()
    assert "name an image" in plain(window.error.value)
    window.name.value = "Not A Name"
    window.go.click()
    assert "Not A Name" in plain(window.error.value)
    assert recent.names() == []
    name = f"{server.host}/lab/app:1"
    window.name.value = f" {name} "
    window.go.click()
    settled(window.explorer)
    assert window.error.value == ""
    assert window.children[-1] is window.explorer
    assert recent.names() == [name]
    assert [value for _, value in window.recent.options] == ["", name]
    first = window.explorer
    window.name.value = ""
    window.recent.value = name
    assert window.name.value == name
    window.go.click()
    assert window.explorer is not first
    assert window.explorer in window.children
    assert first not in window.children


def test_settings_reach_the_registry_and_the_password_nothing_else(window) -> None:
    window.name.value = "registry.example/app:1"
    window.mirrors.value = "https://one.example, https://two.example"
    window.proxy.value = "direct"
    window.username.value = "alice"
    window.password.value = "s3cret"
    assert window.password.value == ""
    window.insecure.value = window.insecure.options[1]
    given = window._given()
    assert given == {
        "mirrors": ["https://one.example", "https://two.example"],
        "proxy": "direct",
        "username": "alice",
        "password": "s3cret",
        "insecure": True,
    }
    window.proxy.value = "socks5h://bob:s3cret@proxy.example:1080"
    window.mirrors.value = "https://u:s3cret@one.example, https://two.example"
    assert window.proxy.value == "socks5h://login1@proxy.example:1080"
    given = window._given()
    assert given["proxy"] == "socks5h://bob:s3cret@proxy.example:1080"
    assert given["mirrors"][0] == "https://u:s3cret@one.example"
    # without a scheme, and with what ends a login elsewhere in it
    for address in (
        "bob:s3cret@proxy.example:1080",
        r"http://bob:\1s3cret/s3@cret@proxy.example:1",
    ):
        window.proxy.value = address
        assert re.fullmatch(r"(http://)?login\d@proxy\.example:\d+", window.proxy.value)
        assert window._given()["proxy"] == address
    window.username.value = "bob"  # another user: the password was not his
    assert "password" not in window._given()
    stored = [widget.get_state() for widget in _widgets(window)]
    assert len(stored) > 10
    assert "s3cret" not in repr(window) + repr(window.password) + repr(stored)


def _widgets(box):
    for child in getattr(box, "children", ()):
        yield child
        yield from _widgets(child)


# --- where there is no notebook ------------------------------------------------------------------


def test_without_a_notebook_there_is_the_card(hub) -> None:
    found = hub["demo/single"]["1.0"].explore()
    first, why = repr(found).splitlines()
    assert first.startswith("<Manifest ")
    assert "needs a notebook" in why
    html = found._repr_html_()
    assert "demo/single" in html
    assert "needs a notebook" in html
    assert repr(didlab.explore()) == why


def test_without_ipywidgets_there_is_the_card(hub, monkeypatch) -> None:
    monkeypatch.setattr(exploring, "in_notebook", lambda: True)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert "pip install ipywidgets" in repr(didlab.explore(hub["demo/single"]["1.0"]))


def test_in_a_notebook_there_is_the_explorer(hub, monkeypatch) -> None:
    monkeypatch.setattr(exploring, "in_notebook", lambda: True)
    for made in (
        hub["demo/single"]["1.0"].explore(tree=False),
        didlab.explore(f"{hub.host}/demo/single:1.0", tree=False),
    ):
        assert isinstance(made, Explorer)
        settled(made)
        assert made.tree is None
        made.close()
    assert isinstance(didlab.explore(tree=False), Window)
    with pytest.raises(InvalidArgument, match="tree="):
        didlab.explore("nginx", tree="yes")


def test_the_tree_is_taken_where_it_can_be_shown(hub, monkeypatch) -> None:
    monkeypatch.setattr(exploring, "in_notebook", lambda: True)
    for name in [name for name in os.environ if name.startswith("VSCODE_")]:
        monkeypatch.delenv(name)
    assert exploring._fit()
    made = hub["demo/single"]["1.0"].explore()
    assert made.tree is not None
    made.close()
    monkeypatch.setenv("VSCODE_PID", "1")
    made = hub["demo/single"]["1.0"].explore()
    assert made.tree is None
    made.close()


def test_an_extra_that_is_missing_is_named(hub, monkeypatch) -> None:
    from didlab.widgets import tree

    monkeypatch.setattr(exploring, "in_notebook", lambda: True)
    tree._widget.cache_clear()
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(ImportError, match=r'pip install "didlab\[tree\]"'):
        hub["demo/single"]["1.0"].explore(tree=True)
    made = hub["demo/single"]["1.0"].explore()
    assert made.tree is None
    made.close()
    tree._widget.cache_clear()


def test_exploring_loads_no_widgets_before_it_must() -> None:
    code = (
        "import sys, didlab; didlab.explore; print(repr(didlab.open('nginx').explore()));"
        "assert not {'ipywidgets', 'anywidget', 'pandas'} & set(sys.modules)"
    )
    root = Path(didlab.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# --- the tree ------------------------------------------------------------------------------------


def test_pages_of_the_tree(listed) -> None:
    from didlab.widgets import tree

    made = tree.embedded()(listed.state)
    made.show(listed.state.files)
    assert made.count == 6
    made.wanted = [[-1, 0]]
    [[row, number, kids]] = made.pages
    assert (row, number) == (-1, 0)
    assert [kid[1] for kid in kids] == [
        "bin → usr/bin",
        "broken → /nowhere",
        "data",
        "etc",
        "many",
        "usr",
    ]
    many = kids[4]
    assert many[3] == 2300
    made.wanted = [
        [many[0], 0],
        [many[0], 4],
        [many[0], 5],
        [many[0], -1],
        [10**9, 0],
        [kids[0][0], 0],
    ]
    assert [len(page) for _, _, page in made.pages] == [500, 300, 0, 0, 0, 0]
    # A choice is looked at.
    [etc] = [kid for kid in kids if kid[1] == "etc"]
    made.wanted = [[etc[0], 0]]
    new = made.pages[0][2][1]
    made.selected = new[0]
    settled(listed)
    assert plain(listed.preview.value) == "new"
    made.selected = 10**9
    settled(listed)
    made.close()


def test_the_tree_alone_for_marimo(server, monkeypatch) -> None:
    monkeypatch.setattr(exploring, "_in_marimo", lambda: True)
    made = didlab.open(f"{server.host}/lab/app:1").explore()
    assert made.state.jobs.wait(60)
    assert made.count == 6
    made.selected = made._folders.row(b"/etc/new")
    assert made.state.jobs.wait(60)
    assert made.preview["title"] == "/etc/new"
    assert made.preview["text"] == "new"
    made.state.close()
    assert "marimo" in repr(didlab.open("nginx").explore(tree=False))
    # no widget of ipywidgets, which marimo shows as a complaint
    assert repr(didlab.explore()).startswith("marimo shows an image")
