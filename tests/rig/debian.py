"""Layers of real files: Debian packages, from the network or from this machine."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rig.images import Member
from rig.processes import clean_environ

#: Small ones; the first makes the directories that the others expect.
PACKAGES = ("base-files", "netbase", "hostname", "sensible-utils", "gzip", "mawk", "dash", "sed")


def find_deb(package: str, cache: Path) -> Path | None:
    """The package's file, downloaded once into ``cache``; None without network or apt."""
    for folder in (cache, Path("/var/cache/apt/archives")):
        found = sorted(folder.glob(f"{package}_*.deb"))
        if found:
            return found[-1]
    return None


def download(packages: tuple[str, ...], cache: Path) -> None:
    """Ask apt for what ``cache`` lacks; silence is an answer."""
    wanted = [package for package in packages if find_deb(package, cache) is None]
    apt = shutil.which("apt-get")
    if not wanted or apt is None or shutil.which("dpkg-deb") is None:
        return
    # Another test process may look into the cache at any time: only whole files get there.
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        try:
            # apt wants its proxies, if any, from the environment it was configured for.
            subprocess.run(
                [apt, "-q", "-o", "Acquire::http::Timeout=5", "-o", "Acquire::Retries=0",
                 "download", *wanted],
                cwd=folder, check=False, timeout=15, capture_output=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return
        for path in Path(folder).glob("*.deb"):
            path.replace(cache / path.name)


def _output(*argv: str) -> bytes:
    return subprocess.run(argv, check=True, capture_output=True, env=clean_environ()).stdout


def package_layer(package: str, cache: Path) -> tuple[dict[str, Member], bytes]:
    """A package's files, and its paragraph for dpkg's status file."""
    deb = find_deb(package, cache)
    if deb is not None and shutil.which("dpkg-deb"):
        stream = _output("dpkg-deb", "--fsys-tarfile", str(deb))
        with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
            members = dict(_from_tar(tar))
        control = _output("dpkg-deb", "-f", str(deb))
    else:
        listed = _output("dpkg", "-L", package).decode().splitlines()
        members = dict(_from_disk(sorted(listed)))
        control = _output("dpkg-query", "-s", package)
        control = control.replace(b"Status: install ok installed\n", b"")
    first, rest = control.split(b"\n", 1)
    return members, b"%s\nStatus: install ok installed\n%s\n" % (first, rest)


def _tidy(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uname = entry.gname = ""
    entry.mtime = int(entry.mtime)
    entry.pax_headers = {}
    return entry


def _from_tar(tar: tarfile.TarFile) -> Iterator[tuple[str, Member]]:
    for entry in tar:
        name = entry.name.removeprefix("./").strip("/")
        if name in ("", "."):
            continue
        if entry.islnk():
            entry.linkname = entry.linkname.removeprefix("./")
        file = tar.extractfile(entry) if entry.isreg() else None
        yield name, (_tidy(entry), file.read() if file else b"")


def _from_disk(paths: list[str]) -> Iterator[tuple[str, Member]]:
    with tarfile.open(fileobj=io.BytesIO(), mode="w") as scratch:
        for path in paths:
            name = path.strip("/")
            if name in ("", ".") or path == "/.":
                continue
            try:
                entry = scratch.gettarinfo(path, name)
                data = Path(path).read_bytes() if entry.isreg() else b""
            except OSError:
                continue  # what an administrator removed, such as /usr/share/doc
            if entry.islnk():
                entry.type = tarfile.REGTYPE
                data = Path(path).read_bytes()
            yield name, (_tidy(entry), data)
