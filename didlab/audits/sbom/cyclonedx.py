"""CycloneDX 1.6 in JSON (ECMA-424)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from didlab.audits.sbom.identity import uuid_of
from didlab.audits.sbom.licenses import expression
from didlab.audits.sbom.material import Entry, Image, Material

__all__ = ["SPECIFICATION", "document"]

SPECIFICATION = "1.6"
_HASHES = {"sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}
_SYSTEM = "operating-system"


def document(made_of: Material) -> dict[str, Any]:
    """Return the bill: the same for the same material."""
    image = made_of.image
    components = []
    system = made_of.system
    if system.id:
        components.append(
            _whole(
                {
                    "type": _SYSTEM,
                    "bom-ref": _SYSTEM,
                    "name": system.id,
                    "version": system.version,
                    "description": system.pretty_name,
                }
            )
        )
    seen: Counter[str] = Counter()
    for entry in made_of.packages:
        seen[entry.purl] += 1
        times = seen[entry.purl]
        components.append(_component(entry, entry.purl if times == 1 else f"{entry.purl}#{times}"))
    body = {
        "metadata": {
            "timestamp": made_of.created,
            "tools": {
                "components": [{"type": "application", "name": "didlab", "version": made_of.tool}]
            },
            "component": _image(image),
        },
        "components": components,
        # What packages depend on is not known: an entry without any would deny it.
        "dependencies": [{"ref": image.purl, "dependsOn": [one["bom-ref"] for one in components]}],
    }
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPECIFICATION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{uuid_of(body)}",
        "version": 1,
        **body,
    }


def _image(image: Image) -> dict[str, Any]:
    algorithm, _, encoded = image.digest.partition(":")
    hashes = [{"alg": _HASHES[algorithm], "content": encoded}] if algorithm in _HASHES else None
    told = [("image-id", image.image_id), ("platform", image.platform)]
    told += [("layer", digest) for digest in image.layers]
    return _whole(
        {
            "type": "container",
            "bom-ref": image.purl,
            "name": image.name,
            "version": image.digest,
            "hashes": hashes,
            "purl": image.purl,
            "properties": [_property(f"image:{key}", value) for key, value in told],
        }
    )


def _component(entry: Entry, reference: str) -> dict[str, Any]:
    package = entry.package
    group, name = None, package.name
    if package.ecosystem == "npm" and name.startswith("@") and "/" in name:
        group, _, name = name.partition("/")
    told = [
        ("package:architecture", package.architecture),
        ("package:source", package.source),
        ("package:source-version", package.source_version),
        ("location:layer", entry.layer),
    ]
    return _whole(
        {
            "type": "library",
            "bom-ref": reference,
            "group": group,
            "name": name,
            "version": package.version,
            "licenses": _licenses(package.license),
            "purl": entry.purl,
            "properties": [_property(key, value) for key, value in told if value],
            "evidence": {"occurrences": [{"location": entry.path}]},
        }
    )


def _licenses(text: str | None) -> list[dict[str, Any]] | None:
    if not text or not text.strip():
        return None
    found = expression(text)
    declared = {"acknowledgement": "declared"}
    if found is None or (len(found.references) == 1 and found.text == found.references[0]):
        return [{"license": {"name": text, **declared}}]
    if found.id is not None:
        return [{"license": {"id": found.id, **declared}}]
    return [{"expression": found.text, **declared}]


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"didlab:{name}", "value": value}


def _whole(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
