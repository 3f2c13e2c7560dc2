"""The packages that a bill of materials lists: SPDX 2 and CycloneDX, as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from didlab.errors import LimitExceeded, Unsupported, printable
from didlab.oci.statement import json_object

__all__ = ["Package", "packages"]

#: The most packages that are listed.
PACKAGE_LIMIT = 1_000_000
_PURL_TYPE = re.compile(r"pkg:/*([A-Za-z][A-Za-z0-9.+-]*)/")
_NOTHING = frozenset({"", "NOASSERTION", "NONE"})


class Package(NamedTuple):
    """One package; None where the document does not say."""

    name: str | None
    version: str | None
    type: str | None
    license: str | None
    purl: str | None


def packages(document: dict[str, Any]) -> list[Package]:
    """Return the packages of an SBOM in the document's order.

    Raises
    ------
    Unsupported
        It is neither SPDX 2 nor CycloneDX.
    LimitExceeded
    """
    found = []
    for package in _read(document):
        found.append(package)
        if len(found) > PACKAGE_LIMIT:
            raise LimitExceeded(
                f"the SBOM lists more than {PACKAGE_LIMIT} packages",
                what="packages of an SBOM",
                limit=PACKAGE_LIMIT,
                seen=len(found),
            )
    return found


def _read(document: dict[str, Any]) -> Iterator[Package]:
    inner = document.get("Data")
    if isinstance(inner, str) and "spdxVersion" not in document:
        # cosign's generic wrapping: the SBOM as a string.
        document = json_object(inner.encode("utf-8", "replace"), "the SBOM")
    if isinstance(inner, dict):
        document = inner
    if isinstance(document.get("spdxVersion"), str):
        return _spdx(document)
    if document.get("bomFormat") == "CycloneDX":
        return _cyclonedx(document)
    kind = "SPDX 3" if "@graph" in document else printable(", ".join(document) or "nothing", 100)
    raise Unsupported(
        f"the SBOM is neither SPDX 2 nor CycloneDX in JSON (it has {kind})",
        hint="attestation(…) and layer(…).stream() give it as it is",
    )


def _spdx(document: dict[str, Any]) -> Iterator[Package]:
    for package in _dicts(document.get("packages")):
        purl = next(
            (
                _text(reference.get("referenceLocator"))
                for reference in _dicts(package.get("externalRefs"))
                if reference.get("referenceType") == "purl"
            ),
            None,
        )
        declared = (package.get("licenseConcluded"), package.get("licenseDeclared"))
        license_ = next((text for text in map(_text, declared) if text not in _NOTHING), None)
        yield _package(package.get("name"), package.get("versionInfo"), license_, purl)


def _cyclonedx(document: dict[str, Any]) -> Iterator[Package]:
    # A stack of iterators, not recursion: the parser allows 64 levels, order stays.
    ahead = [iter(_dicts(document.get("components")))]
    while ahead:
        component = next(ahead[-1], None)
        if component is None:
            ahead.pop()
            continue
        group, name = _text(component.get("group")), _text(component.get("name"))
        whole = f"{group}/{name}" if group and name else name
        licenses = [text for text in map(_license, _dicts(component.get("licenses"))) if text]
        shown = " AND ".join(licenses) or None
        yield _package(whole, component.get("version"), shown, _text(component.get("purl")))
        ahead.append(iter(_dicts(component.get("components"))))


def _license(choice: dict[str, Any]) -> str | None:
    inner = choice.get("license")
    if isinstance(inner, dict):
        return _text(inner.get("id")) or _text(inner.get("name"))
    return _text(choice.get("expression"))


def _package(name: object, version: object, license_: str | None, purl: str | None) -> Package:
    match = _PURL_TYPE.match(purl or "")
    kind = match[1].lower() if match else None
    return Package(_text(name), _text(version), kind, license_ or None, purl)


def _dicts(value: object) -> list[dict[str, Any]]:
    # Tools disagree about what may be null; a package is not lost for one odd neighbour.
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value or None if isinstance(value, str) else None
