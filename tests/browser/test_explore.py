"""The explorer, clicked through in a browser: folders, previews, search, save, stop, go on."""

from __future__ import annotations

import json
import re
import struct
import zlib

import pytest
from rig.actions import stall
from rig.faults import FaultServer
from rig.images import make_image, symlink

MB = 1_000_000
#: A store of its own: another test's has the files listed already.
EMPTY = "import os, didlab\nos.environ['DIDLAB_CACHE'] = os.path.abspath('cache')"
EVIL = "<img src=x onerror=console.error('ran')>"


def png(width: int, height: int) -> bytes:
    """A picture of one colour."""
    rows = (b"\0" + bytes([64, 128, 192]) * width) * height
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    made = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        crc = zlib.crc32(name + data)
        made += struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)
    return made


@pytest.fixture(scope="module")
def image():
    import random

    noise = random.Random(11)
    base = {
        "etc": None,
        "etc/os-release": b'PRETTY_NAME="Lab Linux 1"\n',
        f"etc/{EVIL.replace('/', '')}": EVIL.encode(),
        "usr": None,
        "usr/share": None,
        "usr/share/logo.png": png(96, 64),
        "usr/share/data.json": b'{"name": "lab", "list": [1, 2]}',
        "usr/lib": None,
        "lib": symlink("usr/lib"),
        "many": None,
        **{f"many/file-{number:05}": b"x" for number in range(2500)},
    }
    history = [
        {"created_by": f"/bin/sh -c #(nop) ADD file:rootfs in / {EVIL}"},
        {"created_by": "RUN make install # buildkit"},
        {"created_by": "RUN rm /usr/share/data.json"},
    ]
    return make_image(
        [base, {"usr/lib/noise.bin": noise.randbytes(3 * MB)}, {"usr/share/.wh.data.json": b""}],
        history=history,
        Labels={"evil": EVIL},
        Env=["PATH=/bin"],
        Cmd=["/bin/sh"],
    )


@pytest.fixture
def server(image):
    with FaultServer() as server:
        server.add_image("lab/app", "1", image)
        layers = json.loads(image.manifest)["layers"]
        server.large = max(layers, key=lambda layer: layer["size"])["digest"]
        yield server


def begins(request, digest: str) -> bool:
    """Whether a request is for a blob from its first byte on."""
    return digest in request.path and (not request.range or request.range.startswith("bytes=0-"))


def choose(page, box: str, text: str) -> None:
    """Choose a line of a list as a click does."""
    select = page.output(f".didlab-{box} select")
    option = select.locator("option", has_text=re.compile(text)).first
    option.wait_for(state="attached")
    select.select_option(value=option.get_attribute("value"))


def button(page, name: str):
    # An icon counts as a character of the name.
    return page.output("").get_by_role("button", name=re.compile(rf"^\W*{re.escape(name)}$"))


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_a_person_clicks_through(jupyter, server, app):
    explore = f"didlab.open('{server.host}/lab/app:1').explore(tree=False)"
    cells = [EMPTY, explore, "runs = globals().get('runs', 0) + 1\nprint('run', runs)"]
    with jupyter.notebook(cells, app=app) as page:
        page.run()
        button(page, "List the files").click()
        # A folder, a file.
        choose(page, "entries", r"etc/$")
        choose(page, "entries", r"os-release$")
        preview = page.output(".didlab-preview")
        preview.get_by_text("Lab Linux 1").wait_for()
        choose(page, "entries", "onerror")
        preview.locator("pre").get_by_text("<img src=x").wait_for()
        page.picture(f"{app}-file")
        # Through a link, up again, a picture.
        page.output(".didlab-crumb").first.click()
        choose(page, "entries", "lib.→")
        choose(page, "entries", r"\.\.$")
        choose(page, "entries", r"share/$")
        choose(page, "entries", "logo.png")
        preview.locator("img").wait_for()
        page.picture(f"{app}-picture")
        # Many files: the filter, the pages.
        page.output(".didlab-crumb").first.click()
        choose(page, "entries", r"many/$")
        choose(page, "entries", "1,500.more")
        page.output("").get_by_text("page 2 of 3").wait_for()
        page.output("").get_by_placeholder("filter this folder").fill("-0001")
        page.output("").get_by_text("10 of 2,500 entries").wait_for()
        # Search.
        page.output("").get_by_role("tab", name="Search").click()
        page.output("input[placeholder^='name, part']").fill("*.png")
        page.page.keyboard.press("Enter")
        choose(page, "found", "logo.png")
        preview.locator("img").wait_for()
        # What a layer did.
        choose(page, "layers", r"rm.*data.json$")
        page.output("").get_by_role("tab", name="Changed").click()
        button(page, "What did layer 2 do?").click()
        page.output(".didlab-changes").get_by_text("/usr/share/data.json").wait_for()
        page.picture(f"{app}-changed")
        for name in ("Config", "History"):
            page.output("").get_by_role("tab", name=name).click()
            page.picture(f"{app}-{name.lower()}")
        # Save, stop, go on.
        server.rule(lambda request: begins(request, server.large), stall(1000, after=2 * MB))
        server.rule(lambda request: server.large in request.path, stall(1000))
        button(page, "Save").click()
        page.output(".didlab-saved").get_by_text(re.compile(r"[23]\.\d MB of 3\.\d MB")).wait_for()
        page.picture(f"{app}-saving")
        page.begin(2)  # the kernel is free
        page.output("pre").get_by_text("run 2").wait_for()
        button(page, "Stop").last.click()
        page.output(".didlab-saved").get_by_text(re.compile("stopped at [23]")).wait_for()
        assert not list(page.folder.glob("*.tar"))
        server.rules.clear()
        button(page, "Save").click()
        page.output(".didlab-saved").get_by_text("reused").wait_for()
        page.picture(f"{app}-saved")
        assert [path.name for path in page.folder.glob("*.tar*")] == ["lab_app_1_linux_amd64.tar"]
        requests = page.output(".didlab-traffic").inner_text()
        assert re.fullmatch(r"\d+ requests · \d\.\d MB fetched", requests.strip())


def test_the_tree_opens_what_is_large(jupyter, server):
    """The tree of `didlab[tree]`, in a dark theme: pages come as they come into sight."""
    cells = [
        EMPTY,
        f"explorer = didlab.open('{server.host}/lab/app:1').explore(tree=True)\nexplorer",
    ]
    with jupyter.notebook(cells) as page, page.dark():
        page.run()
        button(page, "List the files").click()
        rows = page.output(".didlab-tree-row:visible")
        rows.filter(has_text="many").click()
        rows.filter(has_text="file-00000").wait_for()
        # To the end of the folder, without what lies between.
        page.output(".didlab-tree").evaluate("(tree) => { tree.scrollTop = tree.scrollHeight }")
        rows.filter(has_text="file-02499").wait_for()
        assert rows.count() < 40
        page.picture("tree-end")
        page.output(".didlab-tree").evaluate("(tree) => { tree.scrollTop = 0 }")
        rows.filter(has_text="etc").click()
        rows.filter(has_text="os-release").click()
        page.output(".didlab-preview").get_by_text("Lab Linux 1").wait_for()
        rows.filter(has_text="onerror").click()
        page.output(".didlab-preview").get_by_text("<img src=x").wait_for()
        # By keyboard: up to the folder, and closed.
        page.page.keyboard.press("ArrowUp")
        page.page.keyboard.press("ArrowUp")
        page.page.keyboard.press("ArrowLeft")
        rows.filter(has_text="os-release").wait_for(state="detached")
        page.picture("tree")


def test_the_window_names_and_opens_an_image(jupyter, server):
    with jupyter.notebook([EMPTY, "didlab.explore()"]) as page:
        page.run()
        window = page.output(".didlab-window")
        name = window.locator("input[placeholder^='nginx']")
        name.fill("Not A Name")
        button(page, "Open").click()
        window.locator(".didlab-window-error").get_by_text("Not A Name").wait_for()
        button(page, "Settings").click()
        window.locator("input[type=password]").fill("s3cret")
        page.page.keyboard.press("Tab")
        window.locator("input[placeholder^='taken']").wait_for()
        page.picture("window-settings")
        name.fill(f"{server.host}/lab/app:1")
        button(page, "Open").click()
        page.output(".didlab-layers").get_by_text("make install").wait_for(state="attached")
        page.picture("window")
        state = "async () => (await window.jupyterapp.commands.execute('docmanager:save'))"
        page.page.evaluate(state)
        assert "s3cret" not in (page.folder / "nb.ipynb").read_text()
