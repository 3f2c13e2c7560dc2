"""Looking inside: files, changes, tree, read, open, extract of images and layers."""

from __future__ import annotations

import io
import logging
import os
import pickle
import random
import subprocess
import sys
import tarfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rig.actions import stall
from rig.faults import FaultServer, Request, corrupt, hang_up, ignore_range, reset_after
from rig.images import BuiltImage, hardlink, make_image, make_tar, symlink

import didlab
from didlab import Manifest
from didlab.blobs.store import BlobStore
from didlab.errors import (
    DigestMismatch,
    InvalidArgument,
    LinkEscape,
    LinkLoop,
    NotAFile,
    NotAFolder,
    NotAnImage,
    PathEscape,
    PathNotFound,
    SpecialFile,
    Truncated,
)
from didlab.files import blocks, kept
from didlab.sources.cached import shared
from didlab.views import tracebacks

RAW = random.Random(1).randbytes(3_000_000)
COLUMNS = [
    "path", "type", "size", "mode", "permissions", "uid", "gid", "mtime", "linkname", "layer",
]  # fmt: skip


def fifo() -> tarfile.TarInfo:
    entry = tarfile.TarInfo()
    entry.type = tarfile.FIFOTYPE
    return entry


BASE: dict[str, Any] = {
    "./": None,
    "etc": None,
    "etc/os-release": b"ID=rig\n",
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n",
    "etc/gone": b"to be deleted",
    "lib": symlink("usr/lib"),
    "usr": None,
    "usr/lib": None,
    "usr/lib/libc.so.6": RAW,
    "usr/lib/libc.so": symlink("libc.so.6"),
    "usr/lib/hard": hardlink("usr/lib/libc.so.6"),
    "cache": None,
    "cache/a": b"a" * 100,
    "cache/b": b"b" * 200,
    "pipe": fifo(),
    "loop": symlink("loop2"),
    "loop2": symlink("loop"),
    "evil": symlink("../../../etc/passwd"),
    "absolute": symlink("/etc/passwd"),
}
TOP: dict[str, Any] = {
    "etc": None,
    "etc/.wh.gone": b"",
    "etc/passwd": b"root:x:0:0:root:/root:/bin/bash\n",
    "cache": None,
    "cache/.wh..wh..opq": b"",
    "cache/c": b"c" * 300,
    "lib/late": b"through a link",
}
IMAGE = make_image([BASE, TOP], Cmd=["/bin/sh"])


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    shared.clear()
    kept.forget()
    blocks.forget()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        made.add_image("lab/app", "1", IMAGE)
        yield made


def opened(server: FaultServer, tag: str = "1", **options: Any) -> Manifest:
    return didlab.open(f"{server.host}/lab/app:{tag}", trust_env=False, **options)


def layers_asked(server: FaultServer, image: BuiltImage = IMAGE) -> list[Request]:
    digests = {layer["digest"] for layer in image.layers}
    return [one for one in server.requests if one.path.rpartition("/")[2] in digests]


# --- files ---------------------------------------------------------------------------------------


def test_the_merged_file_system(server: FaultServer) -> None:
    df = opened(server).files()
    assert list(df.columns) == COLUMNS
    rows = df.set_index("path")
    assert list(df["path"]) == sorted(df["path"])
    assert set(df["path"]) == {
        "/", "/absolute", "/cache", "/cache/c", "/etc", "/etc/os-release", "/etc/passwd", "/evil",
        "/lib", "/loop", "/loop2", "/pipe", "/usr", "/usr/lib", "/usr/lib/hard", "/usr/lib/late",
        "/usr/lib/libc.so", "/usr/lib/libc.so.6",
    }  # fmt: skip
    passwd = rows.loc["/etc/passwd"]
    assert (passwd["type"], passwd["size"], passwd["mode"]) == ("file", 32, 0o644)
    assert (passwd["permissions"], passwd["layer"]) == ("-rw-r--r--", 1)
    assert passwd["mtime"] == pd.Timestamp("2024-02-29T12:00:00Z")
    assert rows.loc["/etc", "layer"] == 1
    assert rows.loc["/usr/lib", "layer"] == 0
    assert rows.loc["/usr/lib/late", "layer"] == 1
    hard = rows.loc["/usr/lib/hard"]
    assert (hard["type"], hard["linkname"], hard["size"]) == (
        "hardlink", "/usr/lib/libc.so.6", len(RAW),
    )  # fmt: skip
    assert rows.loc["/lib", "linkname"] == "usr/lib"
    assert rows.loc["/pipe", "type"] == "fifo"
    assert df.attrs["reference"] == f"{server.host}/lab/app:1"
    assert str(df["permissions"].dtype) == "category"
    # Two layers, one request each, whatever is asked afterwards.
    assert len(layers_asked(server)) == 2
    opened(server).files()
    opened(server).changes()
    assert len(layers_asked(server)) == 2


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("/usr/lib/*.so*", ["/usr/lib/libc.so", "/usr/lib/libc.so.6"]),
        ("usr/**/*.so*", ["/usr/lib/libc.so", "/usr/lib/libc.so.6"]),
        ("/etc/passwd", ["/etc/passwd"]),
        ("**/passwd", ["/etc/passwd"]),
        ("/cache/?", ["/cache/c"]),
        ("/nowhere/**", []),
    ],
)
def test_files_by_pattern(server: FaultServer, pattern: str, found: list[str]) -> None:
    df = opened(server).files(pattern)
    assert list(df["path"]) == found
    assert list(df.columns) == COLUMNS
    with pytest.raises(InvalidArgument):
        opened(server).files("/etc/[a")


def test_a_layer_as_stored(server: FaultServer) -> None:
    df = opened(server).layer(1).files()
    assert list(df.columns) == [*COLUMNS, "whiteout"]
    assert list(df["path"]) == [
        "/etc", "/etc/.wh.gone", "/etc/passwd", "/cache", "/cache/.wh..wh..opq", "/cache/c",
        "/lib/late",
    ]  # fmt: skip
    marked = df.dropna(subset="whiteout").set_index("path")["whiteout"]
    assert dict(marked) == {"/etc/.wh.gone": "file", "/cache/.wh..wh..opq": "opaque"}
    assert set(df["layer"]) == {1}
    assert len(layers_asked(server)) == 1


def test_changes(server: FaultServer) -> None:
    df = opened(server).changes()
    top = df[df["layer"] == 1].set_index("path")
    assert dict(top["change"]) == {
        "/cache": "replaced", "/cache/a": "deleted", "/cache/b": "deleted", "/cache/c": "added",
        "/etc": "replaced", "/etc/gone": "deleted", "/etc/passwd": "replaced",
        "/usr/lib/late": "added",
    }  # fmt: skip
    assert top.loc["/cache/b", "size_before"] == 200
    assert pd.isna(top.loc["/cache/b", "size"])
    assert (top.loc["/etc/passwd", "size"], top.loc["/etc/passwd", "size_before"]) == (
        32, len(BASE["etc/passwd"]),
    )  # fmt: skip
    assert pd.isna(top.loc["/cache/c", "size_before"])
    assert set(top["created_by"]) == {"rig: layer 1"}
    assert set(df[df["layer"] == 0]["change"]) == {"added"}


def test_tree(server: FaultServer) -> None:
    m = opened(server)
    shown = m.tree("etc")
    assert repr(shown) == str(shown) == "/etc\n├── os-release  7 B\n└── passwd  32 B"
    assert m.tree("/", depth=1).count("\n") == len(m.files("/*"))
    assert "libc.so.6" in str(m.layer(0).tree("/usr"))
    with pytest.raises(PathNotFound):
        m.tree("/nowhere")


# --- reading -------------------------------------------------------------------------------------


#: Found through links: nobody knew beforehand what to take along.
LINKED = ("/lib/libc.so", "/usr/lib/hard", "/usr/lib/late", "/lib/late")


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/etc/passwd", TOP["etc/passwd"]),
        ("etc/passwd", TOP["etc/passwd"]),
        (b"/etc/passwd", TOP["etc/passwd"]),
        (Path("/etc/passwd"), TOP["etc/passwd"]),
        ("/etc/../etc/./passwd", TOP["etc/passwd"]),
        ("/absolute", TOP["etc/passwd"]),
        ("/lib/libc.so", RAW),
        ("/usr/lib/hard", RAW),
        ("/usr/lib/late", b"through a link"),
        ("/lib/late", b"through a link"),
        ("/cache/c", b"c" * 300),
        ("/etc/os-release", b"ID=rig\n"),
    ],
)
def test_read(server: FaultServer, path: Any, content: bytes) -> None:
    m = opened(server)
    assert m.read(path) == content
    # Each layer once, and a file of another name than asked for by one range more.
    asked = len(layers_asked(server))
    assert asked == 2 + (path in LINKED)
    assert m.read(path) == content
    with m.open(path) as file:
        assert file.read() == content
    # A file that came along with the listing is kept for that call only.
    assert len(layers_asked(server)) <= asked + 1


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/etc/gone", PathNotFound),
        ("/cache/a", PathNotFound),
        ("/nowhere/at/all", PathNotFound),
        ("/etc", NotAFile),
        ("/", NotAFile),
        ("", NotAFile),
        ("/etc/passwd/x", NotAFolder),
        ("/pipe", SpecialFile),
        ("/loop", LinkLoop),
        ("/evil", LinkEscape),
        ("../etc/passwd", PathEscape),
        ("/etc/../../etc/passwd", PathEscape),
        ("/etc/pass\0wd", InvalidArgument),
        (7, InvalidArgument),
    ],
)
def test_what_cannot_be_read(server: FaultServer, path: Any, error: type[Exception]) -> None:
    m = opened(server)
    with pytest.raises(error) as caught:
        m.read(path)
    pickle.loads(pickle.dumps(caught.value))
    with pytest.raises(error):
        m.open(path)


def test_near_misses_and_builtin_errors(server: FaultServer) -> None:
    m = opened(server)
    with pytest.raises(FileNotFoundError) as caught:
        m.read("/etc/pasword")
    assert "/etc/passwd" in caught.value.available  # type: ignore[attr-defined]
    with pytest.raises(IsADirectoryError):
        m.read("/etc")
    with pytest.raises(NotADirectoryError):
        m.read("/etc/passwd/x")


def test_deleted_files_are_in_their_layer(server: FaultServer) -> None:
    m = opened(server)
    assert m.layer(0).read("/etc/gone") == b"to be deleted"
    assert m.layer(0).read("etc/passwd") == BASE["etc/passwd"]
    assert m.layer(0).read("/usr/lib/libc.so") == RAW
    assert m.layer(0).read("/usr/lib/hard") == RAW
    assert m.layer(1).read("/etc/.wh.gone") == b""
    with pytest.raises(PathNotFound, match="has no file"):
        m.layer(1).read("/etc/os-release")
    with pytest.raises(LinkLoop):
        m.layer(0).read("/loop")
    with pytest.raises(NotAFile):
        m.layer(0).read("/etc")


def test_text_and_pandas(server: FaultServer) -> None:
    m = opened(server)
    assert io.TextIOWrapper(m.open("/etc/passwd"), "utf-8").readline().startswith("root:")
    df = pd.read_csv(m.open("/etc/passwd"), sep=":", header=None)
    assert df.loc[0, 6] == "/bin/bash"


def test_a_large_file_is_read_by_ranges(server: FaultServer) -> None:
    m = opened(server)
    m.files()
    before = len(server.requests)
    with m.open("/usr/lib/libc.so.6") as file:
        file.seek(2_000_000)
        assert file.read(4096) == RAW[2_000_000:2_004_096]
        file.seek(2_010_000)
        assert file.read(4096) == RAW[2_010_000:2_014_096]
    asked = server.requests[before:]
    # Buffered reading asks for a little more than wanted: one range, or two that meet there.
    assert 1 <= len(asked) <= 2
    assert all(one.headers["range"].startswith("bytes=") for one in asked)
    moved = sum(
        int(stop) - int(start) + 1
        for start, stop in (one.headers["range"][6:].split("-") for one in asked)
    )
    assert moved < 2_000_000


# --- not verified --------------------------------------------------------------------------------


def test_stop_early_when_told(server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    m = opened(server)
    with caplog.at_level(logging.WARNING):
        assert m.read("/cache/c", verified=False) == b"c" * 300
    assert "without verification" in caplog.text
    # Only the upper layer, where it is, was looked at.
    (asked,) = layers_asked(server)
    assert asked.path.endswith(IMAGE.layers[1]["digest"])
    assert kept.index(IMAGE.layers[1]["digest"], IMAGE.layers[1]["size"]) is None
    assert m.layer(0).read("/etc/gone", verified=False) == b"to be deleted"


@pytest.mark.parametrize("path", ["/etc/gone", "/cache/a"])
def test_what_an_upper_layer_deletes_is_not_found_early(server: FaultServer, path: str) -> None:
    with pytest.raises(PathNotFound):
        opened(server).read(path, verified=False)


def test_what_needs_all_layers_takes_all(server: FaultServer) -> None:
    assert opened(server).read("/lib/libc.so", verified=False) == RAW


# --- faults --------------------------------------------------------------------------------------


def test_a_spoiled_layer(server: FaultServer) -> None:
    digest = IMAGE.layers[0]["digest"]
    server.rule(lambda request: digest in request.path, corrupt(1000))
    with pytest.raises(DigestMismatch):
        opened(server).files()
    assert kept.index(digest, IMAGE.layers[0]["size"]) is None


def test_a_spoiled_range(server: FaultServer) -> None:
    m = opened(server)
    m.files()
    digest = IMAGE.layers[0]["digest"]
    server.rule(lambda request: digest in request.path, corrupt(1000))
    with pytest.raises(DigestMismatch, match="when the layer was listed"):
        m.read("/usr/lib/libc.so.6")


def test_a_broken_line_is_mended(server: FaultServer) -> None:
    digest = IMAGE.layers[0]["digest"]
    server.rule(lambda request: digest in request.path, reset_after(1_000_000), times=2)
    assert len(opened(server).files()) == 18
    server.rule(lambda request: digest in request.path, hang_up, times=1)
    assert opened(server).read("/usr/lib/libc.so.6") == RAW


def test_a_dead_line_is_told(server: FaultServer) -> None:
    digest = IMAGE.layers[0]["digest"]
    server.rule(lambda request: digest in request.path, reset_after(10))
    with pytest.raises(Truncated, match="gave up"):
        opened(server).files()


def test_without_ranges_it_still_works(server: FaultServer) -> None:
    server.rule(lambda request: "/blobs/" in request.path, ignore_range)
    m = opened(server)
    m.files()
    with m.open("/usr/lib/libc.so.6") as file:
        file.seek(1_000_000)
        assert file.read(10) == RAW[1_000_000:1_000_010]


def test_a_config_that_promises_another_content(server: FaultServer) -> None:
    lie = make_image(
        [BASE, TOP],
        config_json={"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64] * 2}},
    )
    server.add_image("lab/app", "lie", lie)
    for look in (Manifest.files, Manifest.changes, lambda m: m.layer(0).files()):
        with pytest.raises(DigestMismatch, match="do not belong together"):
            look(opened(server, "lie"))
    # What an honest image with the same layers left does not vouch for the other.
    opened(server).files()
    with pytest.raises(DigestMismatch, match="do not belong together"):
        opened(server, "lie").files()


def test_an_artifact_is_no_file_system(server: FaultServer) -> None:
    from rig.images import make_artifact, sha256

    blob = make_tar({"Chart.yaml": b"name: rig\n"})
    layer = {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
             "digest": sha256(blob), "size": len(blob)}  # fmt: skip
    chart = make_artifact(
        b"{}", "application/vnd.cncf.helm.config.v1+json", [layer], {sha256(blob): blob}
    )
    server.add_image("lab/app", "chart", chart)
    m = opened(server, "chart")
    with pytest.raises(NotAnImage):
        m.files()
    assert m.layer(0).read("Chart.yaml") == b"name: rig\n"
    assert list(m.layer(0).files()["path"]) == ["/Chart.yaml"]


def test_names_that_are_no_text(server: FaultServer) -> None:
    entry = tarfile.TarInfo()
    image = make_image([{"caf\udce9/na\nme": (entry, b"odd"), "x\x1b[31m": b"red"}])
    server.add_image("lab/app", "odd", image)
    m = opened(server, "odd")
    df = m.files()
    assert list(df["path"]) == ["/caf\\xe9", "/caf\\xe9/na\nme", "/x\x1b[31m"]
    df.to_json(date_format="iso")
    assert m.read(df["path"][1]) == b"odd"
    assert m.read(b"/caf\xe9/na\nme") == b"odd"
    assert m.read("/caf\udce9/na\nme") == b"odd"
    assert "\x1b" not in str(m.tree())
    with pytest.raises(PathNotFound) as caught:
        m.read("/y\x1b[31m")
    assert "\x1b" not in str(caught.value)


# --- progress, keep, store -----------------------------------------------------------------------


def test_progress_knows_the_bytes_beforehand(server: FaultServer) -> None:
    class Bar:
        total: int | None = None

        def __init__(self) -> None:
            self.came = 0
            self.closed = False

        def update(self, n: int) -> None:
            self.came += n

        def close(self) -> None:
            self.closed = True

    bar = Bar()
    opened(server).files(progress=bar)
    assert bar.total == bar.came == sum(layer["size"] for layer in IMAGE.layers)
    assert bar.closed
    with pytest.raises(InvalidArgument):
        opened(server).files(progress="yes")


def test_a_bar_hears_of_the_time_while_nothing_comes(server: FaultServer) -> None:
    """One that waits before it appears would else never do so on a line that stalls."""

    class Bar:
        ticks = True
        told: list[tuple[int, int]] = []  # noqa: RUF012

        def update(self, n: int) -> None: ...

        def tell(self, done: int, total: int, notes: object) -> None:
            self.told.append((done, total))
            if len(self.told) == 5:
                raise KeyboardInterrupt

    m = opened(server)
    m.config()
    server.rule(lambda request: "/blobs/" in request.path, stall(30, after=20))
    with pytest.raises(KeyboardInterrupt) as caught:
        m.files(progress=Bar())
    assert Bar.told == [(0, len(IMAGE.layers))] * 5
    # Who pressed Stop is not shown the way through didlab.
    assert len(traceback.extract_tb(tracebacks.pruned(caught.value.__traceback__))) <= 4
    assert "KeyboardInterrupt" in "".join(caught.value._render_traceback_())


def test_another_process_needs_no_layer(server: FaultServer, store: BlobStore) -> None:
    listed = opened(server).files()
    assert not store.present(IMAGE.layers[0]["digest"], IMAGE.layers[0]["size"])
    before = len(layers_asked(server))
    code = (
        "import didlab, sys\n"
        f"m = didlab.open({f'{server.host}/lab/app:1'!r}, trust_env=False)\n"
        "df = m.files()\n"
        "print(len(df), df['size'].sum(), len(m.layer(0).files()), m.read('/etc/os-release'))\n"
    )
    environ = dict(os.environ, DIDLAB_CACHE=str(store.root))
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[:3] == [
        str(len(listed)), str(listed["size"].sum()), str(len(BASE)),
    ]  # fmt: skip
    assert "b'ID=rig" in done.stdout
    assert len(layers_asked(server)) == before


def test_keep_puts_the_layers_into_the_store(server: FaultServer, store: BlobStore) -> None:
    opened(server).files(keep=True)
    for layer in IMAGE.layers:
        assert store.present(layer["digest"], layer["size"])
    before = len(layers_asked(server))
    assert opened(server).read("/usr/lib/libc.so.6") == RAW
    assert len(layers_asked(server)) == before
    offline = opened(server, offline=True)
    assert offline.read("/etc/passwd") == TOP["etc/passwd"]


def test_damaged_indexes_are_made_again(server: FaultServer, store: BlobStore) -> None:
    opened(server).files()
    folder = store.root / "v1" / "derived"
    files = sorted(folder.iterdir())
    # Two indexes, the packages that each layer tells of, the merged file system.
    assert len(files) == 5
    for path in files:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    kept.forget()
    before = len(layers_asked(server))
    assert len(opened(server).files()) == 18
    assert len(layers_asked(server)) == before + 2
    assert didlab.cache_info().derived > 0
    didlab.clear_cache()
    assert didlab.cache_info().derived == 0


# --- extract -------------------------------------------------------------------------------------


def test_extract(server: FaultServer, tmp_path: Path) -> None:
    m = opened(server)
    one = m.extract("/etc/passwd", tmp_path / "passwd")
    assert Path(one).read_bytes() == TOP["etc/passwd"]
    tree = m.extract("/usr", tmp_path / "usr")
    assert (tmp_path / "usr/lib/libc.so.6").read_bytes() == RAW
    assert (tmp_path / "usr/lib/hard").read_bytes() == RAW
    assert (tmp_path / "usr/lib/libc.so").readlink() == Path("libc.so.6")
    assert tree.files == 3
    m.layer(0).extract("/cache", tmp_path / "cache")
    assert (tmp_path / "cache/a").read_bytes() == b"a" * 100
    with pytest.raises(FileExistsError):
        m.extract("/etc/passwd", tmp_path / "passwd")
    with pytest.raises(PathNotFound):
        m.extract("/nowhere", tmp_path)
    whole = m.extract("/", tmp_path / "whole")
    assert (tmp_path / "whole/etc/os-release").read_bytes() == b"ID=rig\n"
    assert {path for path, _ in whole.skipped} >= {"/pipe", "/evil"}


def test_equal_layers_are_read_once(server: FaultServer) -> None:
    image = make_image([BASE, TOP, TOP])
    server.add_image("lab/app", "twice", image)
    df = opened(server, "twice").files()
    assert len(layers_asked(server)) == 2
    assert set(df.loc[df["path"] == "/cache/c", "layer"]) == {2}


def test_no_layers_at_all(server: FaultServer) -> None:
    server.add_image("lab/app", "empty", make_image([]))
    df = opened(server, "empty").files()
    assert list(df.columns) == COLUMNS
    assert len(df) == 0
    assert len(opened(server, "empty").changes()) == 0
