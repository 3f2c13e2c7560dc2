"""Media types of manifests, configs and layers, and the families they form."""

from __future__ import annotations

__all__ = [
    "ACCEPT",
    "DOCKER_CONFIG",
    "DOCKER_FOREIGN_LAYER",
    "DOCKER_LAYER",
    "DOCKER_LAYER_TAR",
    "DOCKER_LAYER_ZSTD",
    "DOCKER_LIST",
    "DOCKER_MANIFEST",
    "DOCKER_PLUGIN_CONFIG",
    "IN_TOTO",
    "OCI_CONFIG",
    "OCI_EMPTY",
    "OCI_INDEX",
    "OCI_LAYER",
    "OCI_LAYER_GZIP",
    "OCI_LAYER_ZSTD",
    "OCI_MANIFEST",
    "SCHEMA1",
    "SCHEMA1_SIGNED",
    "compression",
    "essence",
    "is_companion",
    "is_config",
    "is_index",
    "is_known_manifest",
    "is_layer",
    "is_manifest",
    "is_nondistributable",
    "is_schema1",
]

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

#: What to ask a registry for. All six, always: one that lacks the stored type answers 404,
#: or converts the image down to schema 1.
ACCEPT = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST, SCHEMA1_SIGNED, SCHEMA1)

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_PLUGIN_CONFIG = "application/vnd.docker.plugin.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
IN_TOTO = "application/vnd.in-toto+json"

OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
DOCKER_LAYER_TAR = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER = DOCKER_LAYER_TAR + ".gzip"
DOCKER_LAYER_ZSTD = DOCKER_LAYER_TAR + ".zstd"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

_COMPANIONS = (
    "application/vnd.in-toto",
    "application/vnd.dsse.",
    "application/vnd.dev.cosign.",
    "application/vnd.dev.sigstore.",
    "application/vnd.cyclonedx",
    "application/vnd.syft",
    "application/spdx",
    "text/spdx",
)

_OCI_NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_NONDISTRIBUTABLE = {
    _OCI_NONDISTRIBUTABLE: "",
    _OCI_NONDISTRIBUTABLE + "+gzip": "gzip",
    _OCI_NONDISTRIBUTABLE + "+zstd": "zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar": "",
    DOCKER_FOREIGN_LAYER: "gzip",
}
_COMPRESSION = {
    OCI_LAYER: "",
    OCI_LAYER_GZIP: "gzip",
    OCI_LAYER_ZSTD: "zstd",
    DOCKER_LAYER_TAR: "",
    DOCKER_LAYER: "gzip",
    DOCKER_LAYER_ZSTD: "zstd",
    **_NONDISTRIBUTABLE,
}


def essence(content_type: str | None) -> str:
    """Return a ``Content-Type`` without its parameters, in lower case.

    >>> essence("Application/vnd.oci.image.index.v1+json; charset=utf-8") == OCI_INDEX
    True
    """
    return (content_type or "").partition(";")[0].strip(" \t").lower()


def is_index(media_type: str) -> bool:
    """Whether it is an OCI index or a Docker manifest list."""
    return media_type in (OCI_INDEX, DOCKER_LIST)


def is_manifest(media_type: str) -> bool:
    """Whether it is an image manifest (OCI or Docker schema 2)."""
    return media_type in (OCI_MANIFEST, DOCKER_MANIFEST)


def is_schema1(media_type: str) -> bool:
    """Whether it is a Docker schema 1 manifest, signed or not."""
    return media_type in (SCHEMA1, SCHEMA1_SIGNED)


def is_known_manifest(media_type: str) -> bool:
    """Whether it is one of the six types a manifests endpoint may answer with."""
    return media_type in ACCEPT


def is_config(media_type: str) -> bool:
    """Whether it is the config of an image, not of an artifact."""
    return media_type in (OCI_CONFIG, DOCKER_CONFIG)


def is_layer(media_type: str) -> bool:
    """Whether it is a file system changeset."""
    return media_type in _COMPRESSION


def is_companion(media_type: str) -> bool:
    """Whether it is a signature, an attestation or an SBOM.

    cosign and BuildKit store them as layers of what is otherwise dressed as an image.

    >>> is_companion(IN_TOTO), is_companion(OCI_LAYER)
    (True, False)
    """
    return media_type.startswith(_COMPANIONS)


def is_nondistributable(media_type: str) -> bool:
    """Whether the layer is meant to be fetched from its ``urls``."""
    return media_type in _NONDISTRIBUTABLE


def compression(media_type: str) -> str | None:
    """Return how a layer is said to be compressed: ``"gzip"``, ``"zstd"``, ``""``; None unknown.

    Only a hint: layers whose type lies about it exist, so readers look at the first bytes.

    >>> compression(DOCKER_LAYER), compression(OCI_LAYER), compression("text/plain")
    ('gzip', '', None)
    """
    return _COMPRESSION.get(media_type)
