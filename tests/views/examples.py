"""Facts of every card with every field set, as the model makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

from didlab.views import cards

DIGEST = "sha256:" + "0123456789abcdef" * 4
OTHER = "sha256:" + "fedcba9876543210" * 4

CONFIG: dict[str, Any] = {
    "platform": "linux/amd64",
    "created": datetime(2024, 2, 29, tzinfo=UTC),
    "entrypoint": ("/entry.sh",),
    "cmd": ("serve", "-g", "daemon off;"),
    "user": "www",
    "env": {"PATH": "/bin"},
    "labels": {"maintainer": "somebody"},
    "working_dir": "/srv",
    "ports": ("80/tcp",),
    "volumes": ("/data",),
    "layers": 2,
}

IMAGE: dict[str, Any] = {
    "reference": "nginx:1.27",
    "location": "docker.io/library/nginx",
    "platform": "linux/amd64",
    "digest": DIGEST,
    "artifact_type": None,
    "annotations": {"title": "web"},
    "layers": [(DIGEST, 30_000_000), (OTHER, 12_345)],
    "media_types": ["application/vnd.oci.image.layer.v1.tar+gzip"] * 2,
    "made_by": ["/bin/sh -c #(nop) ADD file:0 in / ", "RUN /bin/sh -c make # buildkit"],
    "size": 30_013_000,
    "config": CONFIG,
    "attested": True,
    "converted": "converted from schema 1",
    "os": {"name": "Debian GNU/Linux 10", "end_of_life": date(2024, 6, 30)},
}

ROW = {"platform": "linux/amd64", "kind": "image", "digest": DIGEST, "chosen": True}
INDEX: dict[str, Any] = {
    "reference": "nginx:1.27",
    "location": "docker.io/library/nginx",
    "platform": None,
    "digest": OTHER,
    "config": {"platform": "linux/amd64"},
    "layers": IMAGE["layers"],
    "size": IMAGE["size"],
    "platforms": ["linux/amd64", "linux/arm64"],
    "index": [
        {**ROW, "size": 30_013_000, "attested": True},
        {**ROW, "platform": "linux/arm64", "size": None, "chosen": False, "attested": False},
        {**ROW, "kind": "index", "platform": "unknown", "size": 5, "attested": False},
    ],
}
ARTIFACT: dict[str, Any] = {
    **{name: IMAGE[name] for name in ("reference", "digest", "annotations", "layers", "size")},
    "artifact_type": "application/vnd.example",
    "media_types": ["application/x", "application/y"],
}
JSON = {"architecture": "amd64", "config": {"Env": ["A=1"], "Labels": {"a": "b"}}, "list": [["x"]]}


def _manifest(facts: Mapping[str, Any]) -> str:
    return cards.manifest(lambda: facts, lambda: None, seconds=60)


CARDS: dict[str, tuple[Callable[[Mapping[str, Any]], str], dict[str, Any]]] = {
    "image": (_manifest, IMAGE),
    "index": (_manifest, INDEX),
    "artifact": (_manifest, ARTIFACT),
    "registry": (
        cards.registry,
        {
            "name": "docker.io",
            "mirrors": ("https://mirror.example/a",),
            "proxy": "socks5h://127.0.0.1:1080",
            "login": "alice",
            "requests": 3,
            "bytes": 4000,
            "repositories": ["library/nginx"],
            "insecure": True,
            "offline": True,
        },
    ),
    "repository": (
        cards.repository,
        {"registry": "docker.io", "name": "library/nginx", "tags": ["1.27", "latest"]},
    ),
    "layer": (
        cards.layer,
        {
            "position": 1,
            "digest": DIGEST,
            "size": 12_345,
            "media_type": "application/vnd.oci.image.layer.v1.tar+gzip",
            "diff_id": OTHER,
            "created_by": "RUN /bin/sh -c make # buildkit",
            "annotations": {"a": "b"},
            "reference": "nginx:1.27",
            "count": 2,
            "image_size": 30_000_000,
        },
    ),
    "config": (cards.config, {**CONFIG, "image_id": DIGEST, "json": JSON}),
    "attestation": (
        cards.attestation,
        {
            "predicate_type": "https://slsa.dev/provenance/v1",
            "digest": DIGEST,
            "attached_to": OTHER,
            "names_image": False,
            "json": JSON,
        },
    ),
    "saved": (
        cards.saved,
        {
            "path": "/home/me/nginx.tar",
            "platform": "linux/amd64",
            "size": 72_000_000,
            "seconds": 4.2,
            "downloaded": 40_000_000,
            "reused": 32_000_000,
            "digest": DIGEST,
            "image_id": OTHER,
            "images": [("nginx:1.27", DIGEST, "linux/amd64"), ("redis:7", OTHER, "linux/amd64")],
            "served": {"mirror.example": 40_000_000},
            "notes": ("mirror.example: left out",),
        },
    ),
    "loaded": (
        cards.loaded,
        {
            "images": [("nginx:1.27", DIGEST, "linux/amd64")],
            "messages": ("Loaded image: nginx:1.27",),
            "daemon": "24.0.5",
            "size": 72_000_000,
            "seconds": 4.2,
            "downloaded": 72_000_000,
            "reused": 0,
            "served": {"mirror.example": 40_000_000},
            "notes": ("again",),
        },
    ),
    "copied": (
        cards.copied,
        {
            "reference": "harbor.example/lab/nginx:1.27",
            "digest": DIGEST,
            "manifests": 3,
            "uploaded": 2,
            "mounted": 4,
            "present": 1,
            "uploaded_bytes": 20,
            "mounted_bytes": 40,
            "present_bytes": 10,
            "seconds": 3.2,
            "notes": ("again",),
        },
    ),
    "extracted": (
        cards.extracted,
        {
            "path": "/tmp/out",
            "files": 12,
            "directories": 3,
            "links": 1,
            "bytes": 4_000,
            "skipped": (("/dev/null", "a device"),),
        },
    ),
}

#: Facts whose own keys come from an image or a registry, too.
REMOTE_KEYS = {"env", "labels", "annotations", "served", "json"}


def poisoned(facts: Any, payload: str, remote: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield copies of facts, the payload in place of one text each, with that text's place."""
    if isinstance(facts, str):
        yield "", payload
    elif isinstance(facts, Mapping):
        for key, value in facts.items():
            inner = remote or key in REMOTE_KEYS
            for place, changed in poisoned(value, payload, inner):
                yield f".{key}{place}", {**facts, key: changed}
            if remote:
                rest = {name: facts[name] for name in facts if name != key}
                yield f".{key} itself", {payload: value, **rest}
    elif isinstance(facts, list | tuple):
        for at, value in enumerate(facts):
            for place, changed in poisoned(value, payload, remote):
                copy = [*facts]
                copy[at] = changed
                yield f"[{at}]{place}", type(facts)(copy)


def everywhere(facts: Any, payload: str) -> Any:
    """Return a copy of facts, the payload in place of all text at once."""
    if isinstance(facts, str):
        return payload
    if isinstance(facts, Mapping):
        return {key: everywhere(value, payload) for key, value in facts.items()}
    if isinstance(facts, list | tuple):
        return type(facts)(everywhere(value, payload) for value in facts)
    return facts
