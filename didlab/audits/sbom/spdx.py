"""SPDX 2.3 in JSON."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from didlab.audits.sbom.identity import uuid_of
from didlab.audits.sbom.licenses import expression
from didlab.audits.sbom.material import Entry, Image, Material
from didlab.audits.sbom.spdx_ids import VERSION

__all__ = ["SPECIFICATION", "document"]

SPECIFICATION = "2.3"
_DOCUMENT = "SPDXRef-DOCUMENT"
_IMAGE = "SPDXRef-Image"
_UNKNOWN = "NOASSERTION"
_CHECKSUMS = {"sha256": "SHA256", "sha384": "SHA384", "sha512": "SHA512"}
#: Longer ones say the same in their beginning.
_LONGEST_ID = 120


class _Identifiers:
    """Hands out what stands for a text: letters, digits, ``.`` and ``-``, no two the same."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._taken: set[str] = set()
        self._times: Counter[str] = Counter()

    def new(self, text: str) -> str:
        plain = re.sub("[^A-Za-z0-9.]+", "-", text).strip("-")[:_LONGEST_ID] or "x"
        made = f"{self._prefix}{plain}"
        self._times[plain] += 1
        while made in self._taken:
            self._times[plain] += 1
            made = f"{self._prefix}{plain}-{self._times[plain] - 1}"
        self._taken.add(made)
        return made

    def take(self, identifier: str) -> None:
        self._taken.add(identifier)


class _Licenses:
    """Writes licenses as expressions; what is none gets a reference, explained at the end."""

    def __init__(self) -> None:
        self._identifiers = _Identifiers("LicenseRef-")
        self._named: dict[str, str] = {}
        self._infos: dict[str, dict[str, Any]] = {}

    def declared(self, text: str | None) -> str:
        if not text or not text.strip():
            return _UNKNOWN
        found = expression(text)
        if found is not None:
            for reference in found.references:
                self._identifiers.take(reference)
                self._infos.setdefault(reference, _info(reference, reference))
            return found.text
        if text not in self._named:
            made = self._identifiers.new(text)
            self._named[text] = made
            self._infos[made] = _info(made, text)
        return self._named[text]

    def infos(self) -> list[dict[str, Any]]:
        return [self._infos[name] for name in sorted(self._infos)]


def document(made_of: Material) -> dict[str, Any]:
    """Return the bill: the same for the same material."""
    identifiers = _Identifiers("SPDXRef-")
    identifiers.take(_IMAGE)
    identifiers.take(_DOCUMENT)
    licenses = _Licenses()
    # Those that are references already must not be taken for something else.
    for entry in made_of.packages:
        found = expression(entry.package.license or "")
        if found is not None and found.references:
            licenses.declared(entry.package.license)
    image = _image(made_of.image)
    packages = [image]
    system = made_of.system
    if system.id:
        packages.append(
            {
                **_common(identifiers.new(f"OperatingSystem-{system.id}"), system.id),
                **({"versionInfo": system.version} if system.version else {}),
                **({"summary": system.pretty_name} if system.pretty_name else {}),
                "primaryPackagePurpose": "OPERATING-SYSTEM",
            }
        )
    packages += [
        _package(
            entry,
            identifiers.new(f"Package-{entry.package.ecosystem}-{entry.package.name}"),
            licenses.declared(entry.package.license),
        )
        for entry in made_of.packages
    ]
    body: dict[str, Any] = {
        "name": made_of.image.name,
        "creationInfo": {
            "created": made_of.created,
            "creators": [f"Tool: didlab-{made_of.tool}"],
            "licenseListVersion": VERSION,
        },
        "packages": packages,
        "relationships": [
            _relation(_DOCUMENT, "DESCRIBES", image["SPDXID"]),
            *(_relation(image["SPDXID"], "CONTAINS", one["SPDXID"]) for one in packages[1:]),
        ],
    }
    infos = licenses.infos()
    if infos:
        body["hasExtractedLicensingInfos"] = infos
    return {
        "spdxVersion": f"SPDX-{SPECIFICATION}",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "documentNamespace": f"urn:uuid:{uuid_of(body)}",
        **body,
    }


def _image(image: Image) -> dict[str, Any]:
    algorithm, _, encoded = image.digest.partition(":")
    made = {
        **_common(_IMAGE, image.name),
        "versionInfo": image.digest,
        "comment": f"image ID {image.image_id}, platform {image.platform}",
        "primaryPackagePurpose": "CONTAINER",
        "externalRefs": [_purl(image.purl)],
    }
    if algorithm in _CHECKSUMS:
        made["checksums"] = [{"algorithm": _CHECKSUMS[algorithm], "checksumValue": encoded}]
    return made


def _package(entry: Entry, identifier: str, declared: str) -> dict[str, Any]:
    package = entry.package
    source = f"{package.source or ''} {package.source_version or ''}".strip()
    own = f"{package.name} {package.version or ''}".strip()
    return {
        **_common(identifier, package.name),
        **({"versionInfo": package.version} if package.version else {}),
        "sourceInfo": f"{entry.path} in layer {entry.layer}"
        + (f", built from {source}" if package.source and source != own else ""),
        "licenseDeclared": declared,
        "externalRefs": [_purl(entry.purl)],
    }


def _common(identifier: str, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "SPDXID": identifier,
        "supplier": _UNKNOWN,
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": _UNKNOWN,
        "copyrightText": _UNKNOWN,
    }


def _purl(url: str) -> dict[str, str]:
    return {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": url,
    }


def _info(identifier: str, text: str) -> dict[str, Any]:
    return {
        "licenseId": identifier,
        "name": text,
        "extractedText": f"The package's metadata names it: {text}",
    }


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
