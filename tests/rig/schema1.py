"""Images of schema 1, signed with a key made on the spot as libtrust signs them.

>>> old = make_old([{"a": b"a"}, None, {"b": b"b"}])
>>> len(old.ids), len(old.blobs)
(3, 3)
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from rig.honest import HonestRegistry
from rig.images import LayerSpec, Pusher, gzipped, make_tar, sha256

SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
CREATED = "2015-03-04T05:06:07.120000000Z"
#: What Docker wrote for steps that changed nothing: two zero blocks.
EMPTY = bytes.fromhex("1f8b080000096e8800ff621805a360148c5800080000ffff2eafb5ef00040000")


@lru_cache(maxsize=1)
def _key() -> Any:
    # cryptography comes with trustme.
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def b64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _jwk() -> dict[str, str]:
    from cryptography.hazmat.primitives import serialization

    public = _key().public_key()
    numbers = public.public_numbers()
    der = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    name = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode().rstrip("=")
    return {
        "crv": "P-256",
        "kid": ":".join(name[at : at + 4] for at in range(0, len(name), 4)),
        "kty": "EC",
        "x": b64(numbers.x.to_bytes(32, "big")),
        "y": b64(numbers.y.to_bytes(32, "big")),
    }


def sign(payload: bytes, count: int = 1) -> bytes:
    """The payload with signatures put in before its closing brace."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    length = len(payload.rstrip().removesuffix(b"}").rstrip())
    header = {
        "formatLength": length,
        "formatTail": b64(payload[length:]),
        "time": "2015-03-04T05:06:07Z",
    }
    protected = b64(json.dumps(header).encode())
    signatures = []
    for _ in range(count):
        der = _key().sign(f"{protected}.{b64(payload)}".encode(), ec.ECDSA(hashes.SHA256()))
        numbers = utils.decode_dss_signature(der)
        signatures.append(
            {
                "header": {"jwk": _jwk(), "alg": "ES256"},
                "signature": b64(b"".join(n.to_bytes(32, "big") for n in numbers)),
                "protected": protected,
            }
        )
    inside = json.dumps(signatures, indent=3).replace("\n", "\n   ").encode()
    return payload[:length] + b',\n   "signatures": ' + inside + b"\n}"


def v1_id(number: int) -> str:
    """An ID, which is no digest of anything."""
    return hashlib.sha256(b"%d" % number).hexdigest()


@dataclass(frozen=True)
class OldImage:
    """An image of schema 1: ``payload`` is what its digest is of, ``raw`` is signed."""

    payload: bytes
    blobs: dict[str, bytes] = field(repr=False)
    ids: tuple[str, ...]

    @property
    def digest(self) -> str:
        return sha256(self.payload)

    @property
    def raw(self) -> bytes:
        return sign(self.payload)


def document(entries: Sequence[tuple[str, str]], **extra: Any) -> bytes:
    """A manifest of (layer's digest, version 1 image as text), base first."""
    newest = list(reversed(entries))
    body = {
        "schemaVersion": 1,
        "name": "lab/old",
        "tag": "1",
        "architecture": "amd64",
        "fsLayers": [{"blobSum": blob} for blob, _ in newest],
        "history": [{"v1Compatibility": text} for _, text in newest],
        **extra,
    }
    return json.dumps({k: v for k, v in body.items() if v is not None}, indent=3).encode()


def make_old(
    layers: Sequence[LayerSpec | None],
    top: Mapping[str, Any] | str | None = None,
    steps: Mapping[int, Mapping[str, Any]] | None = None,
    write: Callable[[Any], str] = json.dumps,
    **extra: Any,
) -> OldImage:
    """An image; None in place of a layer is a step thrown away.

    ``steps`` adds fields to an entry by its position (base is 0), ``top`` to the last one, or is
    its text with ``%(id)s`` and ``%(parent)s``; ``write`` writes them as JSON.
    """
    blobs: dict[str, bytes] = {}
    entries: list[tuple[str, str]] = []
    for at, layer in enumerate(layers):
        tar = b"" if layer is None else layer if isinstance(layer, bytes) else make_tar(layer)
        blob = EMPTY if layer is None else gzipped(tar)
        blobs[sha256(blob)] = blob
        image: dict[str, Any] = {"id": v1_id(at), "created": CREATED}
        if at:
            image["parent"] = v1_id(at - 1)
        image["container_config"] = {"Cmd": ["/bin/sh", "-c", f"step {at} <&>"]}
        if layer is None:
            image["throwaway"] = True
        image |= (steps or {}).get(at, {})
        text = ""
        if at == len(layers) - 1 and isinstance(top, str):
            text = top % {"id": v1_id(at), "parent": v1_id(at - 1)}
        elif at == len(layers) - 1:
            image |= {"os": "linux", "architecture": "amd64", **(top or {})}
        entries.append((sha256(blob), text or write(image)))
    return OldImage(document(entries, **extra), blobs, tuple(map(v1_id, range(len(layers)))))


def push_old(host: str, repository: str, tag: str, old: OldImage) -> str:
    """Upload an image, signed; returns ``HOST/REPOSITORY:TAG``. The registry checks it."""
    with Pusher(host) as pusher:
        for digest, data in old.blobs.items():
            pusher.blob(repository, data, digest)
        pusher.manifest(repository, tag, old.raw, SIGNED)
    return f"{host}/{repository}:{tag}"


def serve_old(server: HonestRegistry, repository: str, tag: str, old: OldImage) -> str:
    """Serve an image, signed, from a registry in memory; returns ``HOST/REPOSITORY:TAG``."""
    server.blobs.update(old.blobs)
    server.blobs[old.digest] = old.raw
    server.types[old.digest] = SIGNED
    server.tags.setdefault(repository, {})[tag] = old.digest
    return f"{server.url.partition('://')[2]}/{repository}:{tag}"
