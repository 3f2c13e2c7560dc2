"""The fsspec file system: fsspec's own suite, its local file system, pandas; what it asks for."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import posixpath
import random
import stat
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import pandas as pd
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests
from fsspec.utils import get_protocol
from rig.faults import FaultServer, Request
from rig.images import hardlink, make_image, symlink

import didlab
from didlab import Manifest
from didlab.errors import (
    ConnectFailed,
    InvalidArgument,
    LayerNotFound,
    LinkEscape,
    LinkLoop,
    NotAFile,
    NotAFolder,
    PathEscape,
    PathNotFound,
    SpecialFile,
    UnsafeContent,
    Unsupported,
)
from didlab.files import blocks, kept
from didlab.filesystem import ImageFileSystem
from didlab.sources.cached import shared
from didlab.transport import client, endpoint

RAW = random.Random(3).randbytes(2_000_000)
POSIX = os.name == "posix"


def device(kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo()
    entry.type = kind
    return entry


def zipped(**members: bytes) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


BASE: dict[str, Any] = {
    "etc": None,
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n",
    "etc/gone": b"to be deleted",
    "etc/mtab": symlink("../proc/self/mounts"),
    "etc/alias": symlink("passwd"),
    "etc/odd": symlink("passwd/../passwd"),
    "lib": symlink("usr/lib"),
    "usr": None,
    "usr/lib": None,
    "usr/lib/raw": RAW,
    "usr/lib/raw.1": hardlink("usr/lib/raw"),
    "usr/lib/b.zip": zipped(inner=b"from a zip"),
    "usr/lib/sub": None,
    "usr/lib/sub/x.so": b"so",
    "usr/lib-x": b"beside",
    "caf\udce9": b"latin",
    "pipe": device(tarfile.FIFOTYPE),
    "loop": symlink("loop2"),
    "loop2": symlink("loop"),
    "evil": symlink("../../etc/passwd"),
    "top": symlink("/"),
}
TOP: dict[str, Any] = {
    "etc/.wh.gone": b"",
    "etc/passwd": b"root:x:0:0:root:/root:/bin/bash\n",
    "etc/twin": hardlink("etc/alias"),
    "usr/lib/raw.2": hardlink("usr/lib/raw"),
}
IMAGE = make_image([BASE, TOP])


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # fsspec's own way of naming an implementation, whatever is installed.
    fsspec.register_implementation("didlab", ImageFileSystem, clobber=True)
    for cache in (shared.clear, kept.forget, blocks.forget, ImageFileSystem.clear_instance_cache):
        cache()
    # The options of `didlab.open` reach it: loopback must not go through a proxy.
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    yield
    ImageFileSystem.clear_instance_cache()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        made.add_image("lab/app", "1", IMAGE)
        yield made


@pytest.fixture
def name(server: FaultServer) -> str:
    return f"{server.host}/lab/app:1"


@pytest.fixture
def fs(name: str) -> ImageFileSystem:
    made = fsspec.filesystem("didlab", image=name)
    assert isinstance(made, ImageFileSystem)
    return made


def layers_asked(server: FaultServer) -> list[Request]:
    digests = {layer["digest"] for layer in IMAGE.layers}
    return [one for one in server.requests if one.path.rpartition("/")[2] in digests]


# --- fsspec's own suite --------------------------------------------------------------------------


class Prepared(ImageFileSystem):
    """An image in which everything is already that fsspec's suite is about to make."""

    def mkdir(self, path: str, *_: Any, **__: Any) -> None:  # type: ignore[override]
        assert self.isdir(path)

    def touch(self, path: str, *_: Any, **__: Any) -> None:  # type: ignore[override]
        assert self.isfile(path)


def scenarios() -> dict[str, Any]:
    """The trees that fsspec's suite works on, each in a folder of its own."""
    bulk = ("file1", "file2", "subdir/subfile1", "subdir/subfile2", "subdir/nesteddir/nestedfile")
    globs = ["file1", "file2"]
    for sub in ("subdir0", "subdir1"):
        globs += [f"{sub}/{name}" for name in ("subfile1", "subfile2", "nesteddir/nestedfile")]
    hashed = {f"{hashlib.md5(str(i).encode()).hexdigest()}.txt": f"{i}".encode() for i in range(10)}
    trees: dict[str, dict[str, bytes]] = {
        "bulk": dict.fromkeys(bulk, b""),
        "globs": dict.fromkeys(globs, b""),
        "prefix": {"subdir.txt": b"", "subdir/subfile.txt": b""},
        "hashed": hashed,
    }
    members = {
        f"{tree}/source/{path}": content
        for tree, files in trees.items()
        for path, content in files.items()
    }
    return {**members, "work/src/file": b""}


@pytest.fixture(scope="module")
def served() -> Iterator[FaultServer]:
    with FaultServer() as made:
        made.add_image("lab/suite", "1", make_image([scenarios()]))
        yield made


class ImageFixtures(AbstractFixtures):
    @pytest.fixture
    def local_fs(self) -> LocalFileSystem:
        # Older releases of fsspec have it in a way that pytest warns about.
        return LocalFileSystem(auto_mkdir=True)

    @pytest.fixture
    def fs(self, served: FaultServer) -> ImageFileSystem:
        return Prepared(f"{served.host}/lab/suite:1")

    @pytest.fixture
    def fs_path(self) -> str:
        return "/work"

    @pytest.fixture
    def fs_join(self) -> Any:
        return posixpath.join

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self) -> str:
        return "/bulk/source"

    @pytest.fixture
    def fs_glob_edge_cases_files(self) -> str:
        return "/globs/source"

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self) -> str:
        return "/prefix/source"

    @pytest.fixture
    def fs_10_files_with_hashed_names(self) -> str:
        return "/hashed/source"


class TestGet(ImageFixtures, AbstractGetTests):
    """What of the suite only reads; copy, put, pipe, mv and exclusive opening write."""


# --- as the local file system --------------------------------------------------------------------


def random_tree(root: Path, dice: random.Random) -> None:
    """Folders, files, and links inside the tree, some of them to nothing or in circles."""
    folders, names = [root], ["a", "b", "b-", "b.txt", "c", "ü", "d e"]
    for _ in range(40):
        path = dice.choice(folders) / dice.choice(names)
        if os.path.lexists(path):
            continue
        kind = dice.choice("dffl" if POSIX else "dff")
        if kind == "d":
            path.mkdir()
            folders.append(path)
        elif kind == "f":
            path.write_bytes(dice.randbytes(dice.randrange(200)))
            path.chmod(dice.choice([0o644, 0o4755, 0o600]))
        else:
            target = dice.choice(folders) / dice.choice(names)
            path.symlink_to(os.path.relpath(target, path.parent))
    for path in [root, *root.rglob("*")]:
        if not path.is_symlink():
            os.utime(path, (1_700_000_000.25, dice.randrange(2_000_000_000)))


@pytest.mark.parametrize("seed", range(12))
def test_as_the_local_file_system(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    root = tmp_path / "tree"
    root.mkdir()
    random_tree(root, dice)
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(root, ".")
    local, base = LocalFileSystem(), root.as_posix()

    with FaultServer() as server:
        server.add_image("lab/tree", "1", make_image([out.getvalue()]))
        fs = ImageFileSystem(f"{server.host}/lab/tree:1")

        def there(path: str) -> str:
            return base + path if path != "/" else base

        def here(found: Any) -> Any:
            return sorted(one.removeprefix(base) or "/" for one in found)

        def walked(system: Any, start: str, prefix: str, **options: Any) -> Any:
            return [
                (folder.removeprefix(prefix) or "/", sorted(folders), sorted(files))
                for folder, folders, files in sorted(system.walk(start, **options))
            ]

        everything = here(local.find(base, withdirs=True))
        assert len(everything) > 8
        folders = [path for path in everything if local.isdir(there(path))]
        for path in [*everything, "/nowhere", "/a/nowhere", "/b.txt/below"]:
            for ask in ("exists", "lexists", "isdir", "isfile", "islink"):
                expected = getattr(local, ask)(there(path))
                assert getattr(fs, ask)(path) == expected, (ask, path)
            if local.isfile(there(path)):
                assert fs.cat_file(path) == local.cat_file(there(path))
                assert fs.cat_file(path, 3, -4) == Path(there(path)).read_bytes()[3:-4]
                with fs.open(path, "rb") as file:
                    assert file.read() == local.cat_file(there(path))
            try:
                expected = local.info(there(path))
            except OSError:
                with pytest.raises(OSError):
                    fs.info(path)
                continue
            found = fs.info(path)
            assert found["name"] == path
            for key in ("type", "islink", "mtime", *(["mode", "uid", "gid"] if POSIX else [])):
                assert found[key] == expected[key], (key, path)
            assert found.get("destination") == expected.get("destination")
            assert fs.modified(path) == local.modified(there(path))
            if found["type"] == "file":
                assert found["size"] == expected["size"] == fs.size(path)
        for path in folders:
            assert sorted(fs.ls(path, detail=False)) == here(local.ls(there(path), detail=False))
            for one in fs.ls(path):
                place = there(one["name"])
                assert one["islink"] == local.islink(place)
                # Described by what it leads to, or as a link where that is nothing.
                status = Path(place).stat() if local.exists(place) else Path(place).lstat()
                assert stat.S_IFMT(one["mode"]) == stat.S_IFMT(status.st_mode)
                assert one["type"] in (
                    local.info(place)["type"] if local.exists(place) else "",
                    "other",
                )
            assert walked(fs, path, "") == walked(local, there(path), base)
            assert walked(fs, path, "", maxdepth=2) == walked(local, there(path), base, maxdepth=2)
            for options in (
                {},
                {"withdirs": True},
                {"maxdepth": 1},
                {"maxdepth": 2, "withdirs": True},
            ):
                assert fs.find(path, **options) == here(local.find(there(path), **options))
            plain = {
                one: local.size(there(one))
                for one in fs.find(path)
                if local.isfile(there(one)) and not local.islink(there(one))
            }
            assert fs.du(path) == sum(plain.values())
        for pattern in (
            "/*", "/**", "/*/", "/**/b*", "/**/*.txt", "/b?", "/[a-b]/*", "/[!a]", "/**/ü/**", "/a",
            "/*/*/c", "/a/**/", "/[ab]/**/b",
        ):  # fmt: skip
            assert fs.glob(pattern) == here(local.glob(base + pattern)), pattern
            assert list(fs.glob(pattern, detail=True)) == fs.glob(pattern)
        assert fs.glob("/**", maxdepth=2) == here(local.glob(base + "/**", maxdepth=2))

        # And what comes to the disk is what was there, links followed.
        fs.get("/", f"{(tmp_path / 'copy').as_posix()}/", recursive=True)
        made = [path for path in (tmp_path / "copy").rglob("*") if path.is_dir()]
        assert len(made) == len([one for one in folders[1:] if not fs.islink(one)])
        copied = {
            path.relative_to(tmp_path / "copy").as_posix(): path.read_bytes()
            for path in (tmp_path / "copy").rglob("*")
            if path.is_file()
        }
        assert copied == {
            one[1:]: local.cat_file(there(one)) for one in everything if local.isfile(there(one))
        }


# --- looking -------------------------------------------------------------------------------------


def test_what_a_path_is(fs: ImageFileSystem) -> None:
    assert fs.info("/etc/passwd") == {
        "name": "/etc/passwd", "size": 32, "type": "file", "mode": stat.S_IFREG | 0o644, "uid": 0,
        "gid": 0, "mtime": 1709208000.0, "layer": 1, "islink": False,
    }  # fmt: skip
    link = fs.info("didlab://etc/alias/")
    assert (link["name"], link["type"], link["size"]) == ("/etc/alias", "file", 32)
    assert (link["islink"], link["destination"]) == (True, "passwd")
    assert fs.info("/lib")["type"] == "directory"
    assert fs.info("/usr/lib/raw.2")["size"] == len(RAW)
    assert fs.info("/pipe")["type"] == "other"
    # Nobody states the root: it is a folder all the same.
    assert fs.info("/")["type"] == fs.info("")["type"] == fs.info("/top")["type"] == "directory"
    assert fs.modified("/etc/passwd") == datetime(2024, 2, 29, 12, tzinfo=UTC)
    with pytest.raises(NotImplementedError, match="no layer says"):
        fs.modified("/")
    with pytest.raises(NotImplementedError, match="created"):
        fs.created("/etc/passwd")


def test_listings(fs: ImageFileSystem) -> None:
    names = ["alias", "mtab", "odd", "passwd", "twin"]
    assert fs.ls("/etc", detail=False) == [f"/etc/{name}" for name in names]
    for link in fs.ls("/etc")[1:3]:
        assert (link["type"], link["size"]) == ("other", 0)
        assert link["mode"] == stat.S_IFLNK | 0o777
    infos = {one["name"]: one for one in fs.ls("/")}
    assert infos["/usr"]["type"] == "directory"
    # Walked once: not through links.
    assert {infos[one]["type"] for one in ("/lib", "/top", "/loop", "/evil", "/pipe")} == {"other"}
    assert infos["/lib"]["islink"]
    assert infos["/top"]["destination"] == "/"
    assert fs.ls("/etc/passwd") == [fs.info("/etc/passwd")]
    # What lies behind a link has the name that it was asked by.
    assert fs.ls("/lib/sub", detail=False) == ["/lib/sub/x.so"]
    assert fs.find("/lib/sub") == fs.glob("/lib/**/*.so") == ["/lib/sub/x.so"]
    assert "/top/usr/lib/raw" in fs.find("/top")
    assert fs.glob("/lib/s*/*", detail=True)["/lib/sub/x.so"]["size"] == 2
    assert fs.find("/nowhere") == []
    assert fs.find("/lib/raw", detail=True)["/lib/raw"]["size"] == len(RAW)
    with pytest.raises(ValueError, match="maxdepth"):
        fs.find("/", maxdepth=0)
    assert fs.du("/usr/lib-x") == 6
    assert fs.du("/usr", total=False)["/usr/lib-x"] == 6
    assert fs.du("/etc") == 32
    # A name that is no UTF-8 comes as what `os.fsencode` takes back, and goes in as frames show it.
    assert "/caf\udce9" in fs.ls("/", detail=False)
    assert fs.cat_file("/caf\udce9") == fs.cat_file("/caf\\xe9") == b"latin"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/etc/gone", PathNotFound),
        ("/etc/mtab", PathNotFound),
        ("/etc/passwd/x", NotAFolder),
        ("/etc", NotAFile),
        ("/", NotAFile),
        ("/pipe", SpecialFile),
        ("/loop", LinkLoop),
        ("/evil", LinkEscape),
        ("/../etc/passwd", PathEscape),
        ("/etc/\0", InvalidArgument),
        (7, InvalidArgument),
    ],
)
def test_what_cannot_be_read(fs: ImageFileSystem, path: Any, error: type[Exception]) -> None:
    for ask in (fs.open, fs.cat_file, fs.read_bytes, fs.head):
        with pytest.raises(error):
            ask(path)
    (answer,) = fs.cat_ranges([path], 0, 1)
    assert type(answer) is error
    with pytest.raises(error):
        fs.cat_ranges([path], 0, 1, on_error="raise")


def test_the_builtin_errors(fs: ImageFileSystem) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no /etc/pasword"):
        fs.info("/etc/pasword")
    with pytest.raises(IsADirectoryError):
        fs.open("/etc")
    with pytest.raises(NotADirectoryError):
        fs.ls("/etc/passwd/x")


def test_what_cannot_be_known_is_no_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (client, endpoint):
        monkeypatch.setattr(module, "wait", lambda _: None)
    fs = ImageFileSystem("127.0.0.1:1/lab/app")
    for ask in (
        fs.exists,
        fs.isdir,
        fs.isfile,
        fs.islink,
        fs.lexists,
        fs.find,
        fs.glob,
        fs.du,
        fs.ls,
    ):
        with pytest.raises(ConnectFailed):
            ask("/etc/*")
    with pytest.raises(ConnectFailed):
        list(fs.walk("/"))


# --- reading -------------------------------------------------------------------------------------


def test_reading(fs: ImageFileSystem) -> None:
    with fs.open("/lib/raw", block_size=4096) as file:
        assert (file.size, file.path, file.mode) == (len(RAW), "/lib/raw", "rb")
        assert file.full_name == "didlab:///lib/raw"
        file.seek(1_000_000)
        assert file.read(10) == RAW[1_000_000:1_000_010]
        again = pickle.loads(pickle.dumps(file))
        assert again.tell() == 1_000_010
        assert again.read(3) == file.read(3)
    for start, end in (
        (None, None),
        (5, 9),
        (-7, None),
        (None, -3),
        (9, 5),
        (1, 10**9),
        (10**9, None),
    ):
        assert fs.cat_file("/lib/raw", start, end) == RAW[start:end]
    assert fs.read_text("/etc/passwd").startswith("root:")
    with fs.open("/etc/passwd", "r", encoding="utf-8") as file:
        assert file.readlines() == ["root:x:0:0:root:/root:/bin/bash\n"]
    assert fs.tail("/lib/raw", 5) == RAW[-5:]
    assert fs.read_block("/lib/raw", 10, 20) == RAW[10:30]
    assert fs.cat(["/etc/passwd", "/usr/lib-x"]) == {
        "/etc/passwd": TOP["etc/passwd"], "/usr/lib-x": b"beside",
    }  # fmt: skip
    assert fs.cat_file(PurePosixPath("/usr/lib-x")) == fs.cat_file(b"/usr/lib-x") == b"beside"


def test_ranges(server: FaultServer, fs: ImageFileSystem) -> None:
    dice = random.Random(5)
    names = ["/usr/lib/raw", "/lib/raw", "/usr/lib/raw.2", "/etc/passwd", "/nowhere"]
    content = dict.fromkeys(names[:3], RAW) | {"/etc/passwd": TOP["etc/passwd"]}
    paths = [dice.choice(names) for _ in range(60)]
    starts = [dice.randrange(-3000, len(RAW) + 99) for _ in paths]
    ends = [None if dice.random() < 0.1 else start + dice.randrange(-9, 20_000) for start in starts]
    found = fs.cat_ranges(paths, starts, ends)
    for path, start, end, data in zip(paths, starts, ends, found, strict=True):
        if path == "/nowhere":
            assert isinstance(data, PathNotFound)
        else:
            assert data == content[path][start:end]
    assert fs.cat_ranges(["/etc/passwd"] * 2, 0, [4, 6]) == [b"root", b"root:x"]
    assert fs.cat_ranges([], [], []) == []
    with pytest.raises(ValueError, match="as many"):
        fs.cat_ranges(["/etc/passwd"], [0, 1], 3)


def test_neighbouring_ranges_are_one(server: FaultServer, fs: ImageFileSystem) -> None:
    fs.find("/")
    before = len(server.requests)
    starts = list(range(900_000, 1_000_000, 10_000))
    random.Random(1).shuffle(starts)
    found = fs.cat_ranges(["/lib/raw"] * len(starts), starts, [start + 5000 for start in starts])
    assert found == [RAW[start : start + 5000] for start in starts]
    assert len(server.requests) - before == 1


def test_what_the_first_file_costs(server: FaultServer, name: str) -> None:
    df = pd.read_csv("didlab:///etc/passwd", storage_options={"image": name}, sep=":", header=None)
    assert df.loc[0, 6] == "/bin/bash"
    # Each layer once, nothing for the file; and nothing at all for the next one.
    assert len(layers_asked(server)) == len(IMAGE.layers)
    asked = len(server.requests)
    again = pd.read_csv(
        "didlab:///etc/alias", storage_options={"image": name}, sep=":", header=None
    )
    assert again.equals(df)
    fsspec.filesystem("didlab", image=name).find("/")
    assert len(server.requests) == asked


def test_made_without_a_request(server: FaultServer, name: str) -> None:
    fs = ImageFileSystem(name, layer=1, platform="linux/amd64")
    for look in (repr, hash, pickle.dumps, lambda one: (one.fsid, one.image, one.to_json())):
        assert look(fs)
    assert server.requests == []


def test_keep_and_the_next_process(
    server: FaultServer, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIDLAB_CACHE", str(tmp_path / "cache"))
    assert ImageFileSystem(name, keep=True).find("/usr/lib/sub") == ["/usr/lib/sub/x.so"]
    kept.forget()
    blocks.forget()
    asked = len(layers_asked(server))
    assert ImageFileSystem(didlab.open(name)).cat_file("/lib/raw", 7, 9) == RAW[7:9]
    assert len(layers_asked(server)) == asked


# --- fsspec's ways -------------------------------------------------------------------------------


def test_urls_and_chains(name: str, tmp_path: Path) -> None:
    options = {"image": name}
    with fsspec.open("didlab:///etc/passwd", "rt", **options) as file:
        assert file.read().startswith("root:")
    fs, path = fsspec.core.url_to_fs("didlab://etc/passwd", **options)
    assert (path, fs.unstrip_protocol(path)) == ("/etc/passwd", "didlab:///etc/passwd")
    for chain in ("simplecache", "filecache"):
        made = {"didlab": options, chain: {"cache_storage": str(tmp_path / chain)}}
        with fsspec.open(f"{chain}::didlab:///lib/raw", **made) as file:
            assert file.read() == RAW
    with fsspec.open("zip://inner::didlab:///usr/lib/b.zip", didlab=options) as file:
        assert file.read() == b"from a zip"
    files = fsspec.open_files("didlab:///usr/lib/raw*", **options)
    assert [file.path for file in files] == ["/usr/lib/raw", "/usr/lib/raw.1", "/usr/lib/raw.2"]
    assert fsspec.get_mapper("didlab:///usr", **options)["lib-x"] == b"beside"
    assert get_protocol("didlab:///etc/passwd") == "didlab"


def test_instances(server: FaultServer, name: str) -> None:
    fs = fsspec.filesystem("didlab", image=name)
    assert fsspec.filesystem("didlab", image=name) is fs
    assert fsspec.filesystem("didlab", image=name, layer=0) != fs
    assert fsspec.filesystem("didlab", image=name, platform="linux/amd64") != fs
    assert fs.from_json(fs.to_json()) is fs
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(fsspec.filesystem, "didlab", image=name).result()
    assert (other, hash(other), other.fsid) == (fs, hash(fs), fs.fsid)
    m = didlab.open(name)
    over = fsspec.filesystem("didlab", image=m)
    assert over == fs
    assert over.image is m
    assert over.__dask_tokenize__() == fs.__dask_tokenize__()


def test_manifests_are_told_apart(server: FaultServer, name: str) -> None:
    old = didlab.open(name)
    before = fsspec.filesystem("didlab", image=old)
    assert before.exists("/etc/passwd")
    server.add_image("lab/app", "1", make_image([{"new": b"new"}]))
    shared.clear()
    new = old.refresh()
    assert repr(new) != repr(old)
    assert fsspec.filesystem("didlab", image=new).find("/") == ["/new"]
    assert fsspec.filesystem("didlab", image=old).exists("/etc/passwd")
    # What was pinned travels along.
    assert pickle.loads(pickle.dumps(before)).exists("/etc/passwd")
    before.invalidate_cache()
    assert before.exists("/etc/passwd")


def test_a_name_asks_anew_when_told(server: FaultServer, fs: ImageFileSystem) -> None:
    assert fs.exists("/etc/passwd")
    key, checksum = fs.ukey("/usr/lib-x"), fs.checksum("/usr/lib-x")
    assert key == fs.ukey("didlab://usr/lib-x") != fs.ukey("/etc/passwd")
    server.add_image("lab/app", "1", make_image([{"usr/lib-x": b"new"}]))
    shared.clear()
    assert fs.exists("/etc/passwd")
    fs.invalidate_cache()
    assert fs.find("/") == ["/usr/lib-x"]
    assert fs.ukey("/usr/lib-x") != key
    assert fs.checksum("/usr/lib-x") != checksum
    with pytest.raises(FileNotFoundError):
        fs.ukey("/etc/passwd")


def test_pickled_without_secrets(server: FaultServer, name: str) -> None:
    fs = ImageFileSystem(name, username="me", password="geheim")
    data = pickle.dumps(fs)
    assert b"geheim" not in data
    assert pickle.loads(data) == fs


def test_in_another_process(fs: ImageFileSystem) -> None:
    code = (
        "import pickle, sys; fs = pickle.loads(sys.stdin.buffer.read())\n"
        "print(fs.cat_file('/usr/lib-x'), fs.fsid)"
    )
    root = str(Path(didlab.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(fs),
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.stdout.decode().split() == ["b'beside'", fs.fsid], done.stderr


def test_many_threads(server: FaultServer, fs: ImageFileSystem) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda at: fs.cat_file("/lib/raw", at, at + 9), range(0, 80_000, 999))
        )
    assert found == [RAW[at : at + 9] for at in range(0, 80_000, 999)]
    asked = [one for one in layers_asked(server) if "range" not in one.headers]
    assert len(asked) == len(IMAGE.layers)


# --- one layer -----------------------------------------------------------------------------------


def test_one_layer(server: FaultServer, name: str) -> None:
    lower = fsspec.filesystem("didlab", image=name, layer=0)
    assert lower.cat_file("/etc/gone") == b"to be deleted"
    assert lower.cat_file("/etc/alias") == BASE["etc/passwd"]
    assert len(layers_asked(server)) == 1
    assert lower.cat_file("/usr/lib/raw.1", 0, 5) == RAW[:5]
    upper = ImageFileSystem(didlab.open(name), layer=IMAGE.layers[1]["digest"])
    assert upper.find("/") == ["/etc/passwd", "/etc/twin", "/usr/lib/raw.2"]
    assert upper.info("/etc/passwd")["layer"] == 1
    with pytest.raises(PathNotFound, match="another layer"):
        upper.open("/usr/lib/raw.2")
    assert upper.info("/usr/lib/raw.2")["type"] == "other"
    with pytest.raises(NotAFile):
        upper.open("/etc")
    assert lower.ukey("/etc/passwd") != upper.ukey("/etc/passwd")
    with pytest.raises(LayerNotFound):
        ImageFileSystem(name, layer=7).ls("/")


# --- copying out ---------------------------------------------------------------------------------


def test_get_leaves_out_what_has_no_content(
    fs: ImageFileSystem, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    to = tmp_path / "to"
    with caplog.at_level(logging.WARNING, "didlab"):
        fs.get("/etc", str(to), recursive=True)
        fs.get("/*", f"{tmp_path / 'flat'}/")
    assert sorted(path.name for path in to.iterdir()) == ["alias", "passwd", "twin"]
    assert (to / "alias").read_bytes() == TOP["etc/passwd"]
    assert "2 paths with no content of their own were left out: /etc/mtab, /etc/odd" in caplog.text
    assert "/loop" in caplog.text
    assert len(list((tmp_path / "flat").iterdir())) == 1
    # Named itself it is an error.
    with pytest.raises(FileNotFoundError):
        fs.get("/etc/mtab", str(tmp_path / "x"))
    with pytest.raises(FileNotFoundError):
        fs.get(["/etc/passwd", "/etc/mtab"], f"{tmp_path / 'list'}/")
    assert not (tmp_path / "x").exists()
    fs.get("/lib", str(tmp_path / "lib"), recursive=True)
    assert (tmp_path / "lib" / "sub" / "x.so").read_bytes() == b"so"
    fs.get_file("/usr/lib-x", str(tmp_path / "one"))
    assert (tmp_path / "one").read_bytes() == b"beside"


@pytest.mark.parametrize("name", ["a\\..\\..\\x", "c:x"])
def test_names_that_mean_another_path_on_windows(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    server.add_image("lab/app", "odd", make_image([{name: b"odd"}]))
    fs = ImageFileSystem(f"{server.host}/lab/app:odd")
    assert fs.cat_file(name) == b"odd"
    with monkeypatch.context() as patch:
        patch.setattr(os, "sep", "\\")
        with pytest.raises(UnsafeContent, match="another path"):
            fs.get_file(f"/{name}", str(tmp_path / "to"))
    assert list(tmp_path.iterdir()) == []


# --- not writing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["wb", "ab", "xb", "r+b", "w", "x"])
def test_no_opening_to_write(fs: ImageFileSystem, mode: str) -> None:
    with pytest.raises(Unsupported, match="read-only"):
        fs.open("/etc/passwd", mode)


def test_no_writing(fs: ImageFileSystem, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    for write in (
        lambda: fs.mkdir("/x"),
        lambda: fs.makedirs("/x", exist_ok=True),
        lambda: fs.mkdirs("/x"),
        lambda: fs.rmdir("/etc"),
        lambda: fs.rm("/etc", recursive=True),
        lambda: fs.rm_file("/etc/passwd"),
        lambda: fs.delete("/etc/passwd"),
        lambda: fs.touch("/x"),
        lambda: fs.pipe("/x", b""),
        lambda: fs.pipe_file("/x", b""),
        lambda: fs.write_text("/x", ""),
        lambda: fs.write_bytes("/x", b""),
        lambda: fs.put(str(tmp_path / "x"), "/x"),
        lambda: fs.upload(str(tmp_path / "x"), "/x"),
        lambda: fs.cp("/etc/passwd", "/x"),
        lambda: fs.copy("/etc/passwd", "/x"),
        lambda: fs.mv("/etc/passwd", "/x"),
        lambda: fs.rename("/etc/passwd", "/x"),
        lambda: pd.DataFrame({"a": [1]}).to_csv(
            "didlab:///x.csv", storage_options={"image": fs.image}
        ),
    ):
        with pytest.raises(NotImplementedError, match="read-only"):
            write()


# --- what it is made with ------------------------------------------------------------------------


def test_arguments(name: str) -> None:
    with pytest.raises(InvalidArgument, match="storage_options"):
        fsspec.filesystem("didlab")
    with pytest.raises(InvalidArgument, match="password"):
        fsspec.filesystem("didlab", image=didlab.open(name), password="x")
    with pytest.raises(InvalidArgument, match="nonsense"):
        fsspec.filesystem("didlab", image=name, nonsense=1)
    with pytest.raises(InvalidArgument, match="progress"):
        fsspec.filesystem("didlab", image=name, progress=7)
    fs = fsspec.filesystem(
        "didlab", image=didlab.open(name), platform="linux/amd64", use_listings_cache=False
    )
    assert isinstance(fs.image, Manifest)
    assert str(fs.image._platform) == "linux/amd64"
    assert fsspec.filesystem("didlab", image=name, trust_env=False).isfile("/etc/passwd")


def test_without_fsspec() -> None:
    root = str(Path(didlab.__file__).parent.parent)
    code = (
        f"import sys; sys.path.insert(0, {root!r}); sys.modules['fsspec'] = None\n"
        "import didlab.filesystem"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (
        'ImportError: didlab.ImageFileSystem needs fsspec: pip install "didlab[fs]"'
        in (done.stderr.splitlines()[-1])
    )


def test_the_entry_point() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))
    value = project["project"]["entry-points"]["fsspec.specs"]["didlab"]
    # As fsspec itself reads it.
    module, _, attribute = value.replace(":", ".").rpartition(".")
    assert getattr(sys.modules[module], attribute) is ImageFileSystem
