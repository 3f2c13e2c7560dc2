"""File names made of references: legal on every system."""

from __future__ import annotations

from didlab.oci import digest as digests
from didlab.oci import media_types
from didlab.oci.descriptor import Descriptor
from didlab.oci.local_name import LocalName
from didlab.oci.platform import Platform
from didlab.oci.reference import Reference

#: File systems allow 255 bytes; some room is left for a partial file's suffix.
LONGEST = 200
#: Of which the tag and what an image says of its platform get no more than this.
_LONGEST_TAIL = 160
#: Windows keeps these names for devices, whatever follows behind a dot.
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(10))]
)


def archive_name(reference: Reference, platform: Platform | None) -> str:
    """Return the file name of a saved image; without a platform there are several inside.

    >>> archive_name(Reference.parse("nginx:1.27"), Platform("linux", "amd64"))
    'nginx_1.27_linux_amd64.tar'
    >>> archive_name(Reference.parse("ghcr.io/o/app:2"), Platform("linux", "arm", "v7"))
    'o_app_2_linux_arm_v7.tar'
    >>> archive_name(Reference.parse("app"), Platform("windows", "amd64", "", "10.0.17763.1"))
    'app_latest_windows_amd64_10.0.17763.1.tar'
    >>> archive_name(LocalName.of("/srv/backup.tar.gz"), Platform("linux", "amd64"))
    'backup_linux_amd64.tar'
    """
    repository = reference.repository
    if reference.registry == "docker.io":
        repository = repository.removeprefix("library/")
    version = reference.tag
    if isinstance(reference, LocalName):
        version = reference.label or ""
    elif version is None:
        version = digests.encoded(reference.digest or "sha256:latest")[:12]
    parts: tuple[str, ...] = ()
    if platform is not None:
        parts = (platform.os, platform.architecture, platform.variant, platform.os_version)
    tail = _portable("_".join(part for part in (version, *parts) if part))[:_LONGEST_TAIL]
    name = f"{_portable(repository)[: LONGEST - len(tail) - 6]}_{tail}.tar"
    return f"_{name}" if name.partition(".")[0] in _RESERVED else name


def blob_name(descriptor: Descriptor) -> str:
    """Return the file name of a saved layer: ``sha256_<encoded>.tar.gz``."""
    suffix = {"gzip": ".tar.gz", "zstd": ".tar.zst", "none": ".tar"}.get(
        media_types.compression(descriptor.media_type) or "", ""
    )
    algorithm = digests.algorithm(descriptor.digest)
    return f"{algorithm}_{digests.encoded(descriptor.digest)}{suffix}"


def _portable(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in text)
