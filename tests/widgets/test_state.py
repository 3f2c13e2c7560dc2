"""The explorer's state over real images: what is asked, what is shown, what can be stopped."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from rig.actions import delay, respond, stall

import didlab
from didlab.widgets.folders import ROOT
from didlab.widgets.state import PAGE, State


def opened(manifest, *, listed: bool = True) -> State:
    state = State(manifest)
    state.load()
    settled(state)
    if listed:
        state.list()
        settled(state)
    return state


def settled(state: State) -> None:
    assert state.jobs.wait(60)


def row(state: State, path: str) -> int:
    assert state.files is not None
    found = state.files.row(path.encode())
    assert found is not None
    return found


def names(state: State) -> list[str]:
    assert state.files is not None
    return [state.files.name(one).decode() for one in state.rows]


@pytest.fixture
def state(server):
    state = opened(didlab.open(f"{server.host}/lab/app:1"))
    yield state
    state.close()


# --- the image -----------------------------------------------------------------------------------


def test_nothing_large_is_read_until_somebody_says_so(server) -> None:
    state = opened(didlab.open(f"{server.host}/lab/app:1"), listed=False)
    assert state.image
    assert [size for _, size, _ in state.layers] == [layer.size for layer in layers(server)]
    assert state.files is None
    assert state.cost() == state.to_list == sum(layer.size for layer in layers(server))
    assert not [one for one in server.requests if server.large in one.path]
    state.list()
    settled(state)
    assert state.cost() == 0
    assert len(server.asked(server.large)) == 1


def layers(server):
    return list(didlab.open(f"{server.host}/lab/app:1").iter_layers())


def test_what_is_known_is_listed_at_once(server) -> None:
    manifest = didlab.open(f"{server.host}/lab/app:1")
    manifest.files()
    state = opened(manifest, listed=False)
    assert state.files is not None
    assert state.listing.state == "done"


def test_platforms_can_be_chosen(hub, monkeypatch) -> None:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
    state = opened(hub["demo/hello"]["1.1"])
    assert state.platforms == ["linux/amd64", "linux/arm64/v8", "linux/arm/v7"]
    assert state.platform == "linux/amd64"
    first = state.manifest
    state.look(row(state, "/hello"))
    state.choose_platform("linux/arm64/v8")
    assert state.files is None
    settled(state)
    assert state.platform == "linux/arm64/v8"
    assert state.manifest != first
    assert state.config is not None
    assert state.config.architecture == "arm64"


def test_what_comes_after_another_platform_was_chosen_is_dropped(hub) -> None:
    state = opened(hub["demo/hello"]["1.1"])
    go = threading.Event()
    came: list[object] = []
    state._do("late", lambda _: go.wait(30), came.append)
    state.choose_platform("linux/arm/v7")
    go.set()
    settled(state)
    assert came == []


def test_a_platform_that_was_asked_for_stays(hub) -> None:
    state = opened(hub["demo/hello"]["1.1"]["linux/arm64"])
    assert state.platforms == []
    assert state.config is not None
    assert state.config.architecture == "arm64"


def test_errors_are_one_line_that_says_what_to_do(server) -> None:
    state = opened(didlab.open(f"{server.host}/lab/app:2"), listed=False)
    assert "2" in state.error
    assert "\n" not in state.error
    server.rule(lambda request: "/blobs/" in request.path, respond(404, {}, b""))
    state = opened(didlab.open(f"{server.host}/lab/app:1"), listed=False)
    assert "(404)" in state.error
    assert state.trouble == state.error
    assert not state.image
    server.rules.clear()
    state.load()  # once more, and it is there
    settled(state)
    assert state.image
    assert (state.trouble, state.error) == ("", "")


# --- files ---------------------------------------------------------------------------------------


def test_folders_are_opened_filtered_and_turned(state: State) -> None:
    assert names(state) == ["bin", "broken", "data", "etc", "many", "usr"]
    state.select(row(state, "/many"))
    assert state.folder == b"/many"
    assert (len(state.rows), state.pages) == (2300, 3)
    state.turn(5)
    assert state.page == 2
    state.set_filter("f0001")
    assert (state.page, len(state.rows)) == (0, 10)
    state.up()
    assert (state.folder, state.filter) == (b"/", "")
    state.select(row(state, "/bin"))  # through a link
    assert state.folder == b"/usr/bin"
    state.open_folder(b"/nowhere")
    assert state.folder == b"/usr/bin"
    assert PAGE == 1000


@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        ("/etc/new", "text", "new"),
        ("/etc/empty", "empty", ""),
        ("/usr/bin/tool", "hex", "7f 45"),
        ("/broken", "special", ""),
        ("/bin", "folder", ""),
        ("/etc", "folder", ""),
    ],
)
def test_previews(state: State, path: str, kind: str, text: str) -> None:
    state.look(row(state, path))
    settled(state)
    assert state.preview is not None
    assert state.preview.kind == kind
    assert text in state.preview.text
    assert state.error == ""


def test_a_preview_that_fails_says_so_instead_of_reading_on(state: State, server) -> None:
    server.rule(lambda request: "/blobs/" in request.path, respond(404, {}, b""))
    state.select(row(state, "/data/noise"))
    settled(state)
    assert state.preview is not None
    assert state.preview.kind == "failed"
    assert "404" in state.preview.note


def test_a_preview_reads_a_part_of_a_large_file(state: State, server) -> None:
    before = state.traffic()
    state.look(row(state, "/data/noise"))
    settled(state)
    after = state.traffic()
    assert state.preview is not None
    assert state.preview.kind == "hex"
    assert before is not None
    assert after is not None
    assert after[0] > before[0]
    assert state.traffic() is not None


def test_one_layer_as_it_is(state: State) -> None:
    state.choose_layer(2)
    settled(state)
    assert names(state) == ["etc"]
    state.reveal(row(state, "/etc/new"))
    settled(state)
    assert state.folder == b"/etc"
    assert state.preview is not None
    assert state.preview.text == "new"
    state.choose_layer(0)
    settled(state)
    assert state.folder == b"/etc"  # where one was
    assert names(state) == ["empty", "motd"]
    state.choose_layer(None)
    settled(state)
    assert names(state) == ["empty", "new"]


def test_search_and_what_a_layer_did(state: State) -> None:
    state.search("TOOL")
    settled(state)
    assert state.files is not None
    assert [state.files.path(one) for one in state.found] == [b"/usr/bin/tool"]
    state.search("[")
    settled(state)
    assert "[" in state.error
    state.show_changes()
    assert state.changes == {}
    state.choose_layer(2)
    state.show_changes()
    settled(state)
    assert [one[:2] for one in state.changes[2].rows] == [
        ("deleted", "/etc/motd"),
        ("added", "/etc/new"),
    ]


def test_a_listing_can_be_stopped_and_begun_again(server) -> None:
    server.rule(lambda request: server.large in request.path, stall(1000, after=1000))
    state = opened(didlab.open(f"{server.host}/lab/app:1"), listed=False)
    state.list()
    assert state.listing.state == "running"
    while not server.asked(server.large):
        assert state.jobs.busy("list")
    state.stop_listing()
    settled(state)
    assert state.listing.state == "stopped"
    assert state.files is None
    server.rules.clear()
    state.list()
    settled(state)
    assert state.files is not None


def test_an_artifact_has_layers_and_no_files(hub) -> None:
    index = hub["demo/hello"]["1.1"]
    frame = index.platforms()
    digest = frame.loc[frame["kind"] == "attestation", "digest"].iloc[0]
    state = opened(didlab.open(f"{hub.host}/demo/hello@{digest}"), listed=False)
    assert state.image
    assert state.config is None
    assert state.error == ""


def test_a_local_file_costs_no_requests(hub, tmp_path) -> None:
    hub["demo/single"]["1.0"].save(tmp_path / "single.tar")
    state = opened(didlab.open(tmp_path / "single.tar"))
    assert state.traffic() is None
    assert state.files is not None
    assert state.files.size(ROOT) > 0


# --- saving --------------------------------------------------------------------------------------


def test_a_save_is_stopped_and_goes_on(server, tmp_path) -> None:
    server.rule(lambda request: server.large in request.path, stall(1000, after=100_000))
    state = opened(didlab.open(f"{server.host}/lab/app:1"), listed=False)
    target = tmp_path / "app.tar"
    state.save(os.fspath(target))
    while state.saving.done < 100_000:
        assert state.saving.state == "running", state.saving
    state.save("elsewhere")  # one at a time
    state.stop_saving()
    settled(state)
    assert state.saving.state == "stopped"
    assert "goes on" in state.saving.text
    assert not target.exists()
    [partial] = tmp_path.iterdir()
    assert partial.name.endswith(".part")
    server.rules.clear()
    state.save(os.fspath(target))
    settled(state)
    assert state.saving.state == "done", state.saving
    assert state.saving.share == 1.0
    assert "reused" in state.saving.text
    assert [path.name for path in tmp_path.iterdir()] == ["app.tar"]


def test_a_stop_ends_also_what_asks_before_the_layers(server, tmp_path) -> None:
    server.rule(lambda request: "/manifests/" in request.path, delay(1000))
    state = State(didlab.open(f"{server.host}/lab/app:1"))
    state.save(os.fspath(tmp_path / "app.tar"))
    while not server.asked("/manifests/"):
        assert state.jobs.busy("save")
    state.stop_saving()
    settled(state)
    assert state.saving.state == "stopped"
    assert list(tmp_path.iterdir()) == []


def test_another_file_is_replaced_only_when_said_again(hub, tmp_path) -> None:
    state = opened(hub["demo/single"]["1.0"], listed=False)
    target = tmp_path / "single.tar"
    target.write_bytes(b"something else")
    state.save(os.fspath(target))
    settled(state)
    assert (state.saving.state, state.saving.exists) == ("failed", True)
    assert target.read_bytes() == b"something else"
    state.save(os.fspath(target), overwrite=True)
    settled(state)
    assert state.saving.state == "done"
    assert didlab.open(target).image_id() == hub["demo/single"]["1.0"].image_id()


def test_an_empty_path_is_the_current_folder(hub, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = opened(hub["demo/single"]["1.0"], listed=False)
    state.save("  ")
    settled(state)
    assert [path.name for path in Path().iterdir()] == ["demo_single_1.0_linux_amd64.tar"]
