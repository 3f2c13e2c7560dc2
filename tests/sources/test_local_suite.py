"""The suite that every source passes, over every form of local image."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from rig.images import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    BuiltImage,
    BuiltIndex,
    gzipped,
    make_image,
    make_index,
    make_tar,
    sha256,
    write_layout,
)
from sources.suite import Place, SourceSuite

from didlab.files import zstdlib
from didlab.sources.local.source import LocalSource

LAYERS = [
    make_tar({"etc": None, "etc/motd": b"hello" * 200, "etc/issue": bytes(range(256)) * 8}),
    make_tar({"etc/.wh.motd": b"", "srv": None}),
]
IMAGE = make_image([LAYERS[0], LAYERS[1]], Cmd=["/bin/sh"])
ARM = make_image([{"a": b"arm"}], platform="linux/arm64")
BUILT: dict[str, BuiltImage | BuiltIndex] = {
    "1": IMAGE,
    "arm": ARM,
    "multi": make_index([IMAGE, ARM]),
    "nested": make_index([make_index([ARM])]),
}


def pack(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    """A tar; a TarInfo stands for a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                tar.addfile(content)
                continue
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def layout_members(folder: Path, tags: dict[str, BuiltImage | BuiltIndex]) -> dict[str, Any]:
    write_layout(folder, tags)
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def docker_members(
    images: dict[str, list[bytes]], *, compress: bool = False
) -> tuple[dict[str, Any], dict[str, BuiltImage]]:
    """A docker-archive as docker 24 writes it, and what its manifests must be."""
    members: dict[str, Any] = {}
    items, built = [], {}
    for name, layers in images.items():
        config = make_image(list(layers), Env=[f"IMAGE={name}"]).config
        rows, blobs, paths = [], {sha256(config): config}, []
        for tar in layers:
            blob = gzipped(tar) if compress else tar
            path = f"{sha256(tar)[7:]}/layer.tar"
            paths.append(path)
            members[path] = blobs[sha256(blob)] = blob
            kind = DOCKER_LAYER if compress else DOCKER_LAYER.removesuffix(".gzip")
            rows.append({"mediaType": kind, "digest": sha256(blob), "size": len(blob)})
        path = f"{sha256(config)[7:]}.json"
        members[path] = config
        items.append({"Config": path, "RepoTags": [f"registry.example/lab/app:{name}"],
                      "Layers": paths})  # fmt: skip
        about = {"mediaType": DOCKER_CONFIG, "digest": sha256(config), "size": len(config)}
        document = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": about,
                    "layers": rows}  # fmt: skip
        raw = json.dumps(document, separators=(",", ":")).encode()
        built[name] = BuiltImage(raw, DOCKER_MANIFEST, config, tuple(rows), blobs)
    members["manifest.json"] = json.dumps(items).encode()
    return members, built


def zstd(data: bytes) -> bytes:
    """One frame, as the zstd command makes it."""
    module = zstdlib.module()
    if module is None:
        pytest.skip("no module for zstd")
    packed: bytes = module.compress(data)
    return packed


class TestLayoutFolder(SourceSuite):
    @pytest.fixture
    def place(self, tmp_path):
        write_layout(tmp_path / "layout", BUILT)
        return Place(LocalSource(str(tmp_path / "layout"), "oci"), BUILT)


class TestLayoutTar(SourceSuite):
    @pytest.fixture(params=["tar", "gzip", "zstd"])
    def place(self, request, tmp_path):
        raw = pack(layout_members(tmp_path / "layout", BUILT))
        squeeze = {"tar": bytes, "gzip": gzip.compress, "zstd": zstd}[request.param]
        (tmp_path / "a.tar").write_bytes(squeeze(raw))
        return Place(LocalSource(str(tmp_path / "a.tar"), "oci-archive"), BUILT)


class TestDockerArchive(SourceSuite):
    @pytest.fixture(params=["tar", "gzip", "layers"])
    def place(self, request, tmp_path):
        members, built = docker_members(
            {"1": LAYERS, "2": LAYERS[:1]}, compress=request.param == "layers"
        )
        raw = pack(members)
        (tmp_path / "a.tar").write_bytes(gzip.compress(raw) if request.param == "gzip" else raw)
        tags = frozenset(f"registry.example/lab/app:{tag}" for tag in built)
        return Place(LocalSource(str(tmp_path / "a.tar")), dict(built), tags=tags)


class TestUnpackedDockerArchive(SourceSuite):
    @pytest.fixture
    def place(self, tmp_path):
        members, built = docker_members({"1": LAYERS})
        for name, content in members.items():
            (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "a" / name).write_bytes(content)
        tags = frozenset({"registry.example/lab/app:1"})
        return Place(LocalSource(str(tmp_path / "a")), dict(built), tags=tags)
