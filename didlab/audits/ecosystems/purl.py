"""Package URLs, by the purl specification (ECMA-427) and its types' own rules."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

from didlab.audits.ecosystems.package import Package

__all__ = ["Distro", "purl"]

#: Who the namespace names where no os-release says it: those who keep the format.
_KEEPERS = {"deb": "debian", "apk": "alpine"}
#: Where the namespace is not os-release's ID.
_VENDORS = {"rhel": "redhat", "sles": "suse", "sled": "suse"}


class Distro(NamedTuple):
    """The distribution that an image is made of: ``ID`` and ``VERSION_ID`` of os-release."""

    id: str
    version: str | None = None

    @property
    def vendor(self) -> str:
        """What package URLs call who makes it: ``redhat`` for ``rhel``."""
        name = self.id.lower()
        return "opensuse" if name.startswith("opensuse") else _VENDORS.get(name, name)

    def __str__(self) -> str:
        return f"{self.id.lower()}-{self.version}" if self.version else self.id.lower()


def purl(package: Package, distro: Distro | None = None) -> str:
    """Return a package's URL; ``distro`` matters to deb, apk and rpm.

    Without it deb is taken for Debian's and apk for Alpine's; an rpm gets no namespace.

    Examples
    --------
    >>> purl(Package("deb", "libc6", "2.36-9", "amd64"), Distro("debian", "12"))
    'pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12'
    >>> purl(Package("npm", "@babel/core", "7.0.0"))
    'pkg:npm/%40babel/core@7.0.0'
    """
    kind, name, version = package.ecosystem, package.name, package.version
    namespace = ""
    qualifiers: dict[str, str | None] = {}
    if kind in ("deb", "apk", "rpm"):
        namespace = distro.vendor if distro else _KEEPERS.get(kind, "")
        qualifiers = {"arch": package.architecture, "distro": str(distro) if distro else None}
        if kind == "rpm":
            version, qualifiers["epoch"] = _without_epoch(version)
        else:
            name = name.lower()
        if package.source and package.source != package.name:
            qualifiers["upstream"] = package.source
    elif kind == "pypi":
        name = name.replace("_", "-").lower()
    elif kind in ("npm", "golang"):
        namespace, _, name = name.strip("/").rpartition("/")
        name = name.lower() if kind == "npm" else name
    parts = ["pkg:", kind, "/"]
    parts += [_quoted(part) + "/" for part in namespace.split("/") if part]
    parts.append(_quoted(name))
    if version:
        parts += ["@", _quoted(version)]
    told = [f"{key}={_quoted(value)}" for key, value in sorted(qualifiers.items()) if value]
    if told:
        parts += ["?", "&".join(told)]
    return "".join(parts)


def _without_epoch(version: str | None) -> tuple[str | None, str | None]:
    epoch, colon, rest = (version or "").partition(":")
    return (rest, epoch) if colon else (version, None)


def _quoted(text: str) -> str:
    # A lone surrogate cannot come from bytes decoded here; from a stored fact it might.
    return quote(text.encode("utf-8", "replace"), safe=":")
