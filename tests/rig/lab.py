"""The images of the lab, as users would find them, and the fixture that pushes them.

================  ==========================================================================
lab/app:latest    Docker schema 2, linux/amd64, 11 layers of Debian packages with whiteouts
lab/app:oci       the same as an OCI image
lab/app:multi     OCI index: amd64, arm64/v8, arm/v7 and an attestation
lab/app:list      Docker manifest list: amd64, arm64/v8
lab/small:1, :2   two small Docker images that share a layer
lab/old:1         schema 1
lab/many          250 tags (t000 … t249) of one manifest
private/app:1     small:1 again, where anonymous may not pull
lab/big:200       200 MB in 7 layers; and lab/big:1000: by ``big_image(size)`` only
================  ==========================================================================
"""

from __future__ import annotations

import copy
import hashlib
import random
import struct
import tarfile
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from rig.debian import PACKAGES, download, package_layer
from rig.images import (
    CREATED,
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    BuiltImage,
    BuiltIndex,
    Member,
    Pusher,
    attestation_descriptor,
    dump,
    hardlink,
    make_attestation,
    make_image,
    make_index,
    sha256,
    symlink,
    write_layout,
)
from rig.processes import CommandFailed, require, run
from rig.registries import Registry

MANY = 250


def whiteout_layer() -> dict[str, Member]:
    """Removes a file, and hides all of a directory before putting something new there."""
    return {
        "etc/.wh.issue": b"",
        "usr/share/doc/.wh..wh..opq": b"",
        "usr/share/doc/README": b"All other documentation was removed.\n",
        "home": symlink("srv"),  # a directory until now
    }


def app_layer(architecture: str) -> dict[str, Member]:
    """Names, links, types and modes that are seldom seen but legal."""
    setuid = tarfile.TarInfo()
    setuid.mode, setuid.uid, setuid.gid = 0o4755, 1000, 1000
    fifo = tarfile.TarInfo()
    fifo.type, fifo.mode = tarfile.FIFOTYPE, 0o600
    nested = "/".join(["a-directory-with-a-long-name"] * 6)
    return {
        "srv": None,
        "srv/app": None,
        "srv/app/main": (setuid, b"#!/bin/sh\necho hello from " + architecture.encode() + b"\n"),
        "srv/app/link to main": symlink("main"),
        "srv/app/absolute": symlink("/srv/app/main"),
        "srv/app/again": hardlink("srv/app/main"),
        "srv/app/queue": fifo,
        "srv/app/ünïcode ☃.txt": "grüße\n".encode(),
        f"srv/app/{nested}/file": b"deep\n",
        "srv/app/empty": b"",
    }


def _app_history(names: list[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"created": CREATED, "created_by": f"RUN install {name} # buildkit"} for name in names
    ]
    empty = {"created": CREATED, "comment": "buildkit.dockerfile.v0", "empty_layer": True}
    rows.insert(1, {**empty, "created_by": "ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin"})
    rows.append({**empty, "created_by": 'CMD ["--help"]'})
    return rows


_CONFIG: dict[str, Any] = {
    "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LAB=1=2", "EMPTY="],
    "Entrypoint": ["/srv/app/main"],
    "Cmd": ["--help"],
    "User": "1000:1000",
    "WorkingDir": "/srv/app",
    "ExposedPorts": {"8080/tcp": {}},
    "Volumes": {"/data": {}},
    "Labels": {"org.opencontainers.image.title": "lab", "odd": "<b>\x1b[31m</b>"},
    "StopSignal": "SIGTERM",
}


def make_app(cache: Path) -> dict[str, BuiltImage | BuiltIndex]:
    """The tags of lab/app as they are before skopeo pushes them."""
    download(PACKAGES, cache)
    layers: list[dict[str, Member]] = []
    status = b""
    for package in PACKAGES:
        members, paragraph = package_layer(package, cache)
        status += paragraph + b"\n"
        members["var/lib/dpkg/status"] = status
        layers.append(members)
    tail: list[dict[str, Member]] = [
        {"etc/motd": b"lab\n", "etc/hosts": None, "etc/hosts/not-a-file": b""},
        whiteout_layer(),
    ]
    names = [*PACKAGES, "motd", "whiteouts", "app"]
    history = _app_history(names)

    def build(platform: str, parts: list[dict[str, Member]], **options: Any) -> BuiltImage:
        # TarInfo objects are renamed while they are written: every image gets its own.
        own = copy.deepcopy([*parts, app_layer(platform)])
        return make_image(own, platform, **options, **_CONFIG)

    amd64 = build("linux/amd64", layers + tail, history=history)
    # Programs of another architecture cannot be had on the spot, files without one can.
    shared = [layers[1], *tail]
    arm64 = build("linux/arm64/v8", shared)
    arm32 = build("linux/arm/v7", shared)
    attestation = make_attestation(amd64)
    rows = [image.descriptor() for image in (amd64, arm64, arm32)]
    rows.append(attestation_descriptor(attestation, amd64))
    children = (amd64, arm64, arm32, attestation)
    return {
        "oci": amd64,
        "multi": make_index(children, descriptors=rows),
        "list": make_index((amd64, arm64)),
    }


def make_small(number: int) -> BuiltImage:
    """lab/small:1 and lab/small:2; the second adds a layer."""
    layers: list[dict[str, Member]] = [{"hello.txt": b"hello\n"}, {"again.txt": b"again\n"}]
    return make_image(layers[:number], docker=True, Cmd=["/hello"])


def push_lab(registry: Registry, folder: Path, cache: Path) -> None:
    """Push everything but the big images."""
    skopeo = require("skopeo", "skopeo")
    layout = write_layout(folder / "layout", make_app(cache))
    copies = [
        ("oci", "latest", ["--format", "v2s2"]),
        ("oci", "oci", ["--format", "oci"]),
        ("multi", "multi", ["--all"]),
        ("list", "list", ["--all", "--format", "v2s2"]),
    ]
    for source, tag, options in copies:
        _copy(skopeo, options, f"oci:{layout}:{source}", registry, f"lab/app:{tag}")
    with Pusher(registry.host) as pusher:
        for number in (1, 2):
            pusher.image("lab/small", str(number), make_small(number))
        pusher.image("private/app", "1", make_small(1))
        many = make_image([{"many.txt": b"many\n"}])
        pusher.image("lab/many", None, many)
        for number in range(MANY):
            pusher.manifest("lab/many", f"t{number:03}", many.manifest, many.media_type)
    source = f"docker://{registry.host}/lab/small:1"
    old = ["--format", "v2s1", "--src-tls-verify=false"]
    _copy(skopeo, old, source, registry, "lab/old:1")


def _copy(skopeo: str, options: list[str], source: str, registry: Registry, target: str) -> None:
    name = f"docker://{registry.host}/{target}"
    try:
        run(
            skopeo, "--insecure-policy", "copy", "-q", *options, "--dest-tls-verify=false",
            source, name,
        )  # fmt: skip
    except CommandFailed as error:
        raise RuntimeError(f"{error}\n{registry.service.log()}") from None


@pytest.fixture(scope="session")
def lab(
    registry: Registry, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Registry:
    """The plain registry, filled: see the table above."""
    folder = tmp_path_factory.mktemp("lab")
    # Without pytest's cache (-p no:cacheprovider) the packages are fetched every time.
    store = getattr(pytestconfig, "cache", None)
    cache = store.mkdir("debian-packages") if store is not None else folder / "packages"
    cache.mkdir(exist_ok=True)
    push_lab(registry, folder, cache)
    return registry


BigImage = Callable[[int], str]


@pytest.fixture(scope="session")
def big_image(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> BigImage:
    """``big_image(200)`` pushes lab/big:200 once and returns ``HOST/lab/big:200``."""
    folder = tmp_path_factory.mktemp("big")

    @lru_cache
    def push(size_mb: int) -> str:
        push_big(registry.host, folder, size_mb)
        return f"{registry.host}/lab/big:{size_mb}"

    return push


#: Parts of the compressed size, as in a real image with one dominating layer.
_SHARES = (0.05, 0.18, 0.09, 0.19, 0.485, 0.0, 0.005)


def push_big(host: str, folder: Path, size_mb: int) -> BuiltImage:
    """Make and push lab/big:SIZE: seven layers that sum up to ``size_mb`` compressed.

    As in real images, half of that is one layer that does not compress; the rest unpacks to 2.6
    times its size, so the image to about 1.8 times.
    """
    diff_ids, descriptors = [], []
    with Pusher(host) as pusher:
        for number, share in enumerate(_SHARES):
            path = folder / f"layer-{number}"
            bytes_wanted = int(share * size_mb * 1_000_000)
            noise_only = share == max(_SHARES)
            digest, diff_id = _big_layer(path, bytes_wanted, number, noise_only=noise_only)
            size = path.stat().st_size
            diff_ids.append(diff_id)
            descriptors.append({"mediaType": DOCKER_LAYER, "digest": digest, "size": size})
            pusher.blob("lab/big", path, digest)
            path.unlink()
        config = dump(
            {
                "created": CREATED,
                "os": "linux",
                "architecture": "amd64",
                "config": {"Cmd": ["/bin/sh"]},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
                "history": [{"created": CREATED, "created_by": f"big {n}"} for n in range(7)],
            }
        )
        manifest = dump(
            {
                "schemaVersion": 2,
                "mediaType": DOCKER_MANIFEST,
                "config": {
                    "mediaType": DOCKER_CONFIG, "digest": sha256(config), "size": len(config),
                },
                "layers": descriptors,
            }
        )  # fmt: skip
        pusher.blob("lab/big", config)
        pusher.manifest("lab/big", str(size_mb), manifest, DOCKER_MANIFEST)
    return BuiltImage(manifest, DOCKER_MANIFEST, config, tuple(descriptors), {})


class _GzipFile:
    """One gzip member stitched of blocks that were deflated before.

    Deflating hundreds of megabytes would take minutes; a block that ended with a full flush
    can be repeated as it is.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._packed, self._plain = hashlib.sha256(), hashlib.sha256()
        self._crc = self._size = self.written = 0
        self._put(b"\x1f\x8b\x08\0\0\0\0\0\0\xff")

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._packed.update(data)
        self.written += len(data)

    def add(self, plain: bytes, packed: bytes) -> None:
        self._put(packed)
        self._plain.update(plain)
        self._crc = zlib.crc32(plain, self._crc)
        self._size += len(plain)

    def close(self) -> tuple[str, str]:
        """Digests of the file and of what is in it."""
        self._put(b"\x03\0" + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))
        self._file.close()
        return f"sha256:{self._packed.hexdigest()}", f"sha256:{self._plain.hexdigest()}"


def _block(plain: bytes, level: int) -> bytes:
    deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
    return deflate.compress(plain) + deflate.flush(zlib.Z_FULL_FLUSH)


@lru_cache
def _prose() -> tuple[bytes, bytes]:
    dice = random.Random(7)
    words = ["".join(dice.choices("etaoinshrdlu", k=dice.randint(2, 9))) for _ in range(3000)]
    plain = " ".join(dice.choices(words, k=400_000)).encode()[: 1 << 20]
    return plain, _block(plain, 6)


def _big_layer(path: Path, size: int, seed: int, *, noise_only: bool) -> tuple[str, str]:
    """A layer of files of 4 MiB: noise that does not compress, or text that does."""
    dice = random.Random(seed)
    out = _GzipFile(path)
    number = 0
    while True:
        chunks = []
        remaining = max(0, size - out.written)
        left = min(4, remaining >> 20)
        for _ in range(left):
            if not noise_only:
                chunks.append(_prose())
            else:
                noise = dice.randbytes(1 << 20)
                chunks.append((noise, _block(noise, 0)))
        small = dice.randbytes(2000 if left else remaining)
        rest = small + bytes(-len(small) % 512)
        chunks.append((rest, _block(rest, 0)))
        entry = tarfile.TarInfo(f"data/{seed}/{number:05}.bin")
        entry.size = (left << 20) + len(small)
        header = entry.tobuf(tarfile.USTAR_FORMAT)
        out.add(header, _block(header, 6))
        for plain, packed in chunks:
            out.add(plain, packed)
        number += 1
        if left == 0:
            break
    end = bytes(1024)
    out.add(end, _block(end, 6))
    return out.close()
