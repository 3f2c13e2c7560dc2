"""An image of a whole Debian system: 50,000 real files, and two layers of changes by umoci.

====  ==========================================================================================
0     what a Debian system lacks: devices, fifos, capabilities, holes, long and odd names
1     the system at hand by GNU tar, with a hard link and whiteouts that reach into layer 0
2, 3  what umoci makes of changes to the unpacked files: deleted, replaced, retyped, linked again
====  ==========================================================================================
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rig.images import gzipped, hardlink, make_image, make_tar, symlink, write_layout
from rig.loaders import require_root, short_folder, skopeo, umoci
from rig.processes import CommandFailed, clean_environ, missing, require, run
from rig.registries import Registry

#: Of the base layer, at least.
ENTRIES = 52_000
#: Bytes of a file that is taken along: many files, few bytes.
_SMALL = 32 * 1024
#: Where Debian keeps its files, and how many entries of each are taken.
_TREES = {
    "etc": ENTRIES,
    "var/lib/dpkg": ENTRIES,
    "usr/bin": ENTRIES,
    "usr/sbin": ENTRIES,
    "usr/share": 30_000,
    "usr/lib": 14_000,
    "usr/include": ENTRIES,
    "usr/local": ENTRIES,
    "var/lib": ENTRIES,
}
#: Nothing secret, and nothing that changes or vanishes meanwhile.
_LEFT_OUT = ("shadow", "gshadow", "private", "ssh", "key", "secret", "sudoers", "lock", "docker",
             "containers", "containerd", "lists", "cache", "__pycache__")  # fmt: skip
_TIME = 1_700_000_000_000_000_000
TAG = "changed"
REPOSITORY = "lab/bigdebian"


@dataclass(frozen=True)
class BigImage:
    """The image in a layout and in a registry."""

    layout: Path
    reference: str
    #: What umoci unpacks.
    rootfs: Path


@contextlib.contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder for many small files, in memory where there is enough: minutes on some disks."""
    with short_folder() as folder:
        mounted = False
        with contextlib.suppress(OSError, IndexError, CommandFailed):
            known = Path("/proc/meminfo").read_text()
            if int(known.partition("MemAvailable:")[2].split()[0]) > 6 << 20:
                run("mount", "-t", "tmpfs", "-o", "mode=755,size=4g", "didlab-test", folder)
                mounted = True
        try:
            yield folder
        finally:
            if mounted:
                run("umount", "-l", folder)  # with what daemons mounted in it


@pytest.fixture(scope="session")
def big_debian(registry: Registry) -> Iterator[BigImage]:
    """The image, built and pushed once."""
    require_root("an image with devices and owners")
    if not Path("/var/lib/dpkg/status").exists():
        missing("the files of a Debian system")
    require("umoci", "umoci")
    require("skopeo", "skopeo")
    with memory_folder() as folder:
        layout = _built(folder)
        bundle = folder / "bundle"
        umoci("unpack", "--image", f"{layout}:base", bundle)
        root = os.fsencode(bundle / "rootfs")
        _first_changes(root)
        umoci("repack", "--refresh-bundle", "--image", f"{layout}:second", bundle)
        _second_changes(root)
        umoci("repack", "--image", f"{layout}:{TAG}", bundle)
        shutil.rmtree(bundle)
        reference = f"{registry.host}/{REPOSITORY}:{TAG}"
        skopeo(
            *("copy", "--quiet", "--dest-tls-verify=false"),
            *(f"oci:{layout}:{TAG}", f"docker://{reference}"),
        )
        umoci("raw", "unpack", "--image", f"{layout}:{TAG}", folder / "rootfs")
        yield BigImage(layout, reference, folder / "rootfs")


def _built(folder: Path) -> Path:
    """A layout with layers 0 and 1."""
    odd = folder / "odd"
    _odd_files(odd)
    small, large = folder / "small.tar", folder / "large.tar"
    names = b"\0".join(sorted(os.fsencode(path.relative_to(odd)) for path in odd.rglob("*")))
    _tar("-c", small, odd, names, "--sparse", "--xattrs", "--xattrs-include=*")
    large.write_bytes(_reaching_down())
    entries = _system()
    names = b"\0".join(entries)
    _tar("-r", large, Path("/"), names)
    for copy in range(1, -(-ENTRIES // len(entries))):
        # A small installation: the same again elsewhere.
        move = f"flags=rhS;s|^|srv/again/{copy}/|"
        _tar("-r", large, Path("/"), names, f"--transform={move}")
    image = make_image(
        [small.read_bytes(), large.read_bytes()],
        compress=lambda tar: gzipped(tar, 2),
        Cmd=["/bin/true"],
        Env=["PATH=/usr/bin"],
    )
    for done in (small, large):
        done.unlink()
    return write_layout(folder / "layout", {"base": image})


def _tar(mode: str, target: Path, source: Path, names: bytes, *options: str) -> None:
    """GNU tar over a list of names; without the times that nobody asks for."""
    argv: list[str | Path] = [
        *(require("tar", "tar"), mode, "-f", target, "-C", source, "--format=posix"),
        *("--pax-option=delete=atime,delete=ctime", "--numeric-owner", "--no-recursion"),
        *("--ignore-failed-read", *options, "--null", "--files-from=-"),
    ]
    done = subprocess.run(
        argv, input=names, capture_output=True, env=clean_environ(), check=False, timeout=120
    )
    # 1: a file changed while it was read. What the archive holds is the truth here.
    if done.returncode not in (0, 1):
        raise RuntimeError(f"tar ended with {done.returncode}\n{done.stderr.decode()[-4000:]}")


def _system() -> list[bytes]:
    """Names of files of the system at hand, parents first."""
    found: dict[bytes, None] = {}
    for link in (b"bin", b"sbin", b"lib", b"lib64"):
        if os.path.lexists(b"/" + link):
            found[link] = None
    for name, most in _TREES.items():
        room = min(most, ENTRIES - len(found))
        parts = os.fsencode(name).split(b"/")
        for count in range(1, len(parts)):
            found[b"/".join(parts[:count])] = None
        for path in _below(b"/" + os.fsencode(name)):
            if room <= 0:
                break
            if path[1:] not in found:
                found[path[1:]] = None
                room -= 1
    return list(found)


def _below(path: bytes) -> Iterator[bytes]:
    """A folder and what lies in it, in an order that is always the same."""
    with contextlib.suppress(OSError):
        yield path
        for entry in sorted(os.scandir(path), key=lambda one: one.name):
            if any(word.encode() in entry.name for word in _LEFT_OUT):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path)
            elif entry.is_symlink():
                yield entry.path
            elif entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                if status.st_size <= (_SMALL if status.st_mode & 0o6000 == 0 else 4 * _SMALL):
                    yield entry.path


def _odd_files(folder: Path) -> None:
    """What layer 0 is made of."""
    top = folder / "odd"
    top.mkdir(parents=True)
    root = os.fsencode(top)
    (top / "one").write_text("one")
    for number in range(5):
        os.link(top / "one", top / f"one-{number}")
    (top / "to-be-linked").write_text("from layer 1")
    (top / "ping").write_bytes(b"\x7fELF" + bytes(1000))
    (top / "private").write_text("s")
    (top / "private").chmod(0o6750)
    os.chown(top / "private", 4_000_000_000, 3_000_000_000)
    (top / "private").chmod(0o6750)  # chown takes setuid away
    (top / "sticky").mkdir()
    (top / "sticky").chmod(0o3777)
    (top / "empty").touch()
    (top / "mit Leerzeichen -> und Pfeil").write_text("x")
    (top / 'quoted " back\\slash').write_text("x")
    (top / "new\nline\ttab").write_text("x")
    (top / "grün-文件").write_text("x")
    Path(os.fsdecode(root + b"/latin-\xe9")).write_text("no UTF-8")
    (top / "latin-link").symlink_to(os.fsdecode(b"latin-\xe9"))
    (top / ("n" * 150)).write_text("longer than a header's field")
    (top / "far").symlink_to("t" * 160)
    (top / "dangling").symlink_to("/nowhere/at/all")
    deep = top
    for letter in "abcdef":
        deep /= letter * 90
    deep.mkdir(parents=True)
    (deep / "leaf").write_text("too deep for ustar")
    os.link(deep / "leaf", top / "leaf")
    with (top / "holes").open("wb") as file:
        for at in range(0, 3 << 20, 1 << 16):
            file.seek(at)
            file.write(b"#" * 4096)
        file.truncate(5 << 20)
    try:
        os.mkfifo(top / "fifo", 0o640)
        os.mknod(top / "null", 0o20666, os.makedev(1, 3))
        os.mknod(top / "disk", 0o60660, os.makedev(259, 300))
        os.mknod(top / "gone-device", 0o20600, os.makedev(5, 1))
        capability = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
        os.setxattr(top / "ping", "security.capability", capability)
    except OSError as error:
        missing(f"devices and capabilities cannot be made here: {error}")
    with contextlib.suppress(OSError):  # a file system without such attributes
        os.setxattr(top / "one", "user.colour", b"red\0blue")
    for name in ("deleted", "replaced"):
        (top / f"{name}-0").write_text(name)
        for number in (1, 2):
            os.link(top / f"{name}-0", top / f"{name}-{number}")
    for name in ("kept", "hidden", "hidden/deep"):
        (top / "opaque" / name).mkdir(parents=True)
    for name in ("kept/a", "hidden/b", "hidden/deep/c", "d"):
        (top / "opaque" / name).write_text("hidden by layer 1")
    (top / "white").mkdir()
    (top / "white" / "gone").write_text("deleted by layer 1")
    (top / "white" / "kept").write_text("stays")
    for name in ("becomes-file", "becomes-link"):
        (top / name / "deep").mkdir(parents=True)
        (top / name / "deep" / "file").write_text("hidden by layer 1")
    (top / "becomes-folder").write_text("x")
    for number, path in enumerate(sorted(top.rglob("*"))):
        time = _TIME if path.name == "to-be-linked" else _TIME + number * 1_000_001_001
        os.utime(path, ns=(time, time), follow_symlinks=False)


def _linked() -> tarfile.TarInfo:
    """A hard link to a file of layer 0, which says of its owner and time what that one says."""
    entry = hardlink("odd/to-be-linked")
    entry.mtime = _TIME // 1_000_000_000
    return entry


def _reaching_down() -> bytes:
    """The beginning of layer 1: what no tar program makes of a disk."""
    return make_tar(
        {
            "odd/opaque/.wh..wh..opq": b"",
            "odd/opaque/kept": None,
            "odd/opaque/kept/new": b"new",
            "odd/opaque/d": symlink("kept/new"),
            "odd/white/.wh.gone": b"",
            "odd/becomes-file": b"a folder until now",
            "odd/becomes-link": symlink("white"),
            "odd/becomes-folder": None,
            "odd/becomes-folder/inside": b"a file until now",
            "odd/linked": _linked(),
            # The names that others are links to: deleted, and another file.
            "odd/.wh.deleted-0": b"",
            "odd/replaced-0": b"no longer what the others are",
            "odd/unstated/parents/file": b"below folders that no layer states",
        }
    )


# --- changes to unpacked files -------------------------------------------------------------------


def _write(path: bytes, content: bytes, mode: int = 0o644) -> None:
    with open(path, "wb") as file:  # noqa: PTH123 (bytes)
        file.write(content)
    os.chmod(path, mode)  # noqa: PTH101
    os.utime(path, ns=(0, 1_600_000_000_250_000_000))


def _symlink(target: bytes, path: bytes) -> None:
    os.symlink(target, path)  # noqa: PTH211 (bytes)
    os.utime(path, ns=(0, 1_600_000_000_250_000_000), follow_symlinks=False)


def _kinds(root: bytes, below: bytes) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Files, symlinks and folders of a tree, sorted."""
    files: list[bytes] = []
    links: list[bytes] = []
    folders: list[bytes] = []
    for path in _walked(root + below):
        mode = os.lstat(path).st_mode
        kind = files if stat.S_ISREG(mode) else links if stat.S_ISLNK(mode) else folders
        kind.append(path)
    return files, links, folders


def _walked(top: bytes) -> Iterator[bytes]:
    for folder, folders, files in os.walk(top):
        folders.sort()
        for name in sorted([*folders, *files]):
            yield folder + b"/" + name


def _first_changes(root: bytes) -> None:
    """Layer 2."""
    files, links, folders = _kinds(root, b"/usr/share")
    sizes: dict[bytes, int] = {}
    for path in (*files, *links, *folders):
        folder = path.rpartition(b"/")[0]
        while len(folder) > len(root) + len(b"/usr/share"):
            sizes[folder] = sizes.get(folder, 0) + 1
            folder = folder.rpartition(b"/")[0]
    large = max((size, folder) for folder, size in sizes.items() if size < 1500)
    assert large[0] >= 200, "a Debian system has large folders"
    gone = large[1]
    shutil.rmtree(gone)
    _symlink(gone[len(root) :], root + b"/odd/what-is-gone")

    def there(paths: list[bytes]) -> list[bytes]:
        return [path for path in paths if not path.startswith(gone + b"/") and path != gone]

    files, links, folders = there(files), there(links), there(folders)
    some = files[:: len(files) // 120][:120]
    for number, path in enumerate(some):
        if number < 30:
            os.unlink(path)  # noqa: PTH108
        elif number < 60:
            _write(path, b"replaced %d\n" % number, 0o640)
        elif number < 75:
            os.chmod(path, 0o4711)  # noqa: PTH101
        elif number < 90:
            os.lchown(path, 1234, 70_000 + number)
        elif number < 100:
            os.link(path, path + b".hard")  # another name of a file of a lower layer
        elif number < 110:
            os.unlink(path)  # noqa: PTH108
            _symlink(b"/etc/hostname", path)
        else:
            os.unlink(path)  # noqa: PTH108
            os.mkdir(path)  # noqa: PTH102
            _write(path + b"/inside", b"a file became a folder\n")
    for number, path in enumerate(links[:: len(links) // 20][:20]):
        os.unlink(path)  # noqa: PTH108
        if number % 3 == 0:
            _symlink(b"elsewhere", path)
        elif number % 3 == 1:
            _write(path, b"a link became a file\n")
    # umoci states whiteouts below what was a folder: podman and dockerd refuse such a layer, so
    # that only empty ones change their type here. Layer 1 does it to others.
    leaves = [path for path in folders if path not in sizes]
    for number, path in enumerate(leaves[:: max(1, len(leaves) // 6)][:6]):
        os.rmdir(path)  # noqa: PTH106
        if number % 2:
            _symlink(b"/usr", path)
        else:
            _write(path, b"a folder became a file\n")
    odd = root + b"/odd/"
    for name in (b"gone-device", b"one-4", b"latin-link"):
        os.unlink(odd + name)  # noqa: PTH108
    _symlink(b"one", odd + b"latin-link")
    _write(odd + b"holes", b"no holes\n")
    os.mkdir(root + b"/opt")  # noqa: PTH102
    for number in range(300):
        _write(root + b"/opt/file-%03d" % number, b"%d\n" % number * number)


def _second_changes(root: bytes) -> None:
    """Layer 3: some of it back again, some of the new gone."""
    gone = root + os.readlink(root + b"/odd/what-is-gone")  # noqa: PTH115
    os.mkdir(gone)  # noqa: PTH102
    for number in range(50):
        _write(gone + b"/again-%d" % number, b"made again\n")
    for number, path in enumerate(list(_walked(root + b"/usr/share"))):
        if path.endswith(b".hard"):
            if number % 2:
                os.unlink(path[:-5])  # noqa: PTH108 (the other name stays)
        elif path.endswith(b"/inside"):
            shutil.rmtree(path.rpartition(b"/")[0])
    opaque = root + b"/opt"
    shutil.rmtree(opaque)
    os.mkdir(opaque)  # noqa: PTH102
    _write(opaque + b"/file-007", b"all others are gone\n")
    odd = root + b"/odd/"
    shutil.rmtree(odd + b"opaque")
    os.mkdir(odd + b"opaque")  # noqa: PTH102
    _write(odd + b"opaque/last", b"and nothing else\n")
    os.unlink(odd + b"one")  # noqa: PTH108
    _write(odd + b"one", b"no longer what the others are\n")
    os.unlink(odd + b"null")  # noqa: PTH108
    os.mkdir(odd + b"null")  # noqa: PTH102
    os.rename(odd + b"white", odd + b"whiter")  # noqa: PTH104
