"""m.sbom(): valid by the published schemas, true to packages(), the same for the same image."""

from __future__ import annotations

import io
import json
import pickle
import re
import string
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.schema._res import SPDX_JSON
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from license_expression import get_spdx_licensing
from packageurl import PackageURL
from rig.faults import FaultServer
from rig.images import make_artifact, make_image, push_image
from rig.registries import Registry
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

import didlab
from didlab.audits.distribution import OperatingSystem
from didlab.audits.ecosystems.package import Package
from didlab.audits.ecosystems.purl import purl
from didlab.audits.packages import Installed
from didlab.audits.sbom import cyclonedx, spdx
from didlab.audits.sbom.document import Sbom
from didlab.audits.sbom.licenses import expression
from didlab.audits.sbom.material import Image, Material, entries_of, stamp
from didlab.audits.sbom.spdx_ids import EXCEPTIONS, LICENSES
from didlab.errors import DestinationExists, InvalidArgument, NotAnImage, WriteFailed
from didlab.files import blocks, kept
from didlab.sources.cached import shared

FORMATS = ("cyclonedx", "spdx")
OS = b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
APK = b"""\
P:musl
V:1.2.5-r0
A:x86_64
L:MIT
o:musl

P:busybox
V:1.36.1-r15
A:x86_64
L:GPL-2.0-only
o:busybox

P:odd
V:1-r0
A:x86_64
L:GPL2+ BSD
o:odd
"""


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    shared.clear()
    kept.forget()
    blocks.forget()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


def opened(server: FaultServer, *layers: dict[str, Any], tag: str = "1") -> didlab.Manifest:
    server.add_image("lab/app", tag, make_image(layers))
    return didlab.open(f"{server.host}/lab/app:{tag}", trust_env=False)


def paragraph(name: str, version: str, **fields: str) -> bytes:
    told = {"Package": name, "Status": "install ok installed", "Architecture": "amd64"}
    told |= {"Version": version, **fields}
    return "".join(f"{key}: {value}\n" for key, value in told.items()).encode() + b"\n"


def metadata(name: str, version: str, license_: str) -> bytes:
    lines = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: {license_}\n"
    return lines.encode()


def everything() -> tuple[dict[str, bytes], ...]:
    """Layers with packages of several ecosystems, licenses in many spellings, and twins."""
    site = "usr/lib/python3/dist-packages"
    return (
        {
            "etc/os-release": OS,
            "var/lib/dpkg/status": paragraph("libc6", "2.36-9", Source="glibc")
            + paragraph("tar", "1:1.34+dfsg-1.2"),
            "lib/apk/db/installed": APK,
        },
        {
            f"{site}/requests-2.0.dist-info/METADATA": metadata("requests", "2.0", "Apache-2.0"),
            f"{site}/odd-1.dist-info/METADATA": metadata("odd", "1", "BSD, see LICENSE"),
            "app/node_modules/@babel/core/package.json": json.dumps(
                {"name": "@babel/core", "version": "7.0.0", "license": "(MIT OR Apache-2.0)"}
            ).encode(),
            "app/node_modules/left/node_modules/@babel/core/package.json": json.dumps(
                {"name": "@babel/core", "version": "7.0.0", "license": "mit"}
            ).encode(),
        },
    )


def fields(required: str = "", **known: Any) -> dict[str, Any]:
    """An object of the fields that are known, and no others; plain ones are text."""
    names = required.split()
    properties = {name: {"type": "string"} for name in names} | known
    return {
        "type": "object", "properties": properties, "required": names,
        "additionalProperties": False,
    }  # fmt: skip


def several(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": items}


TEXT, FALSE = {"type": "string"}, {"const": False}
#: As much of the published schema of SPDX 2.3 as a bill has.
SPDX = fields(
    "spdxVersion dataLicense SPDXID documentNamespace name",
    creationInfo=fields(
        "licenseListVersion",
        created={"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"},
        creators=several(TEXT),
    ),
    packages=several(
        fields(
            "name supplier downloadLocation licenseConcluded licenseDeclared copyrightText",
            SPDXID={"type": "string", "pattern": "^SPDXRef-[a-zA-Z0-9.-]+$"},
            filesAnalyzed=FALSE,
            versionInfo=TEXT,
            comment=TEXT,
            summary=TEXT,
            sourceInfo=TEXT,
            primaryPackagePurpose={"enum": ["CONTAINER", "OPERATING-SYSTEM"]},
            checksums=several(
                fields(
                    "checksumValue",
                    algorithm={"enum": ["SHA256", "SHA384", "SHA512"]},
                )
            ),
            externalRefs=several(
                fields(
                    "referenceLocator referenceType",
                    referenceCategory={"const": "PACKAGE-MANAGER"},
                )
            ),
        )
    ),
    relationships=several(fields("spdxElementId relationshipType relatedSpdxElement")),
    hasExtractedLicensingInfos=several(fields("licenseId name extractedText")),
)


def problems(bill: Sbom) -> list[str]:
    """What the field's own validators say against it."""
    if bill.format == "cyclonedx":
        problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.json())
        return [] if problem is None else [str(problem)]
    parsed = JsonLikeDictParser().parse(json.loads(bill.json()))
    found = [one.message for one in Draft7Validator(SPDX).iter_errors(json.loads(bill.json()))]
    return found + [one.validation_message for one in validate_full_spdx_document(parsed)]


# --- valid, and true -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_valid_and_the_same_as_packages(server: FaultServer, form: str) -> None:
    m = opened(server, *everything())
    listed = m.packages()
    assert set(listed["ecosystem"]) == {"deb", "apk", "pypi", "npm"}
    bill = m.sbom(form)
    assert problems(bill) == []
    found = bill.packages()
    for column in ("name", "version", "purl"):
        assert sorted(found[column]) == sorted(listed[column]), column
    assert len(found) == 9
    assert dict(zip(found["name"], found["license"], strict=True))["requests"] == "Apache-2.0"


def test_the_validators_find_mistakes(server: FaultServer) -> None:
    """Else the test above would prove nothing."""
    m = opened(server, *everything())
    for form, key, wrong in (
        ("cyclonedx", "components", [{"type": "library"}]),
        ("cyclonedx", "components", [{"type": "library", "name": "a", "licenses": [
            {"license": {"id": "GPLv3+"}}]}]),
        ("spdx", "relationships", []),
    ):  # fmt: skip
        made = {**m.sbom(form).to_dict(), key: wrong}
        assert problems(Sbom(form, made, "a", "sha256:0", {})), (form, key)


def test_a_real_system(registry: Registry) -> None:
    """The packages of the system that this runs on."""
    status = Path("/var/lib/dpkg/status")
    if not status.exists():
        pytest.skip("no dpkg here")
    files = {"etc/os-release": OS, "var/lib/dpkg/status": status.read_bytes()}
    push_image(registry.host, "audits/bill", "1", make_image([files]))
    m = didlab.open(f"{registry.host}/audits/bill:1", trust_env=False)
    for form in FORMATS:
        bill = m.sbom(form)
        assert problems(bill) == []
        assert sorted(bill.packages()["purl"]) == sorted(m.packages()["purl"])


def test_cyclonedx(server: FaultServer) -> None:
    m = opened(server, *everything())
    bill = m.sbom()
    assert (bill.format, bill["specVersion"]) == ("cyclonedx", "1.6")
    image = bill["metadata"]["component"]
    digest = m.digest()
    assert image["type"] == "container"
    assert image["version"] == digest == bill.digest
    assert image["hashes"] == [{"alg": "SHA-256", "content": digest.partition(":")[2]}]
    url = PackageURL.from_string(image["purl"])
    assert (url.type, url.name, url.version) == ("oci", "app", digest)
    assert url.qualifiers == {
        "arch": "amd64",
        "repository_url": f"{server.host}/lab/app",
        "tag": "1",
    }
    system, *packages = bill["components"]
    assert (system["type"], system["name"], system["version"]) == (
        "operating-system", "debian", "12",
    )  # fmt: skip
    references = [one["bom-ref"] for one in bill["components"]]
    assert len(set(references)) == len(references)
    assert bill["dependencies"] == [{"ref": image["bom-ref"], "dependsOn": references}]
    licenses = {
        (one.get("group", ""), one["name"], one["bom-ref"][-2:]): one.get("licenses")
        for one in packages
    }
    declared = {"acknowledgement": "declared"}
    assert licenses["", "musl", "12"] == [{"license": {"id": "MIT", **declared}}]
    assert licenses["", "odd", "12"] == [{"license": {"name": "GPL2+ BSD", **declared}}]
    assert licenses["", "odd", "@1"] == [{"license": {"name": "BSD, see LICENSE", **declared}}]
    assert licenses["@babel", "core", ".0"] == [{"expression": "(MIT OR Apache-2.0)", **declared}]
    assert licenses["@babel", "core", "#2"] == [{"license": {"id": "MIT", **declared}}]
    assert licenses["", "libc6", "bc"] is None
    layers = [layer.digest for layer in m.iter_layers()]
    (babel, _) = (one for one in packages if one.get("group"))
    assert {"name": "didlab:location:layer", "value": layers[1]} in babel["properties"]
    where = babel["evidence"]["occurrences"]
    assert where == [{"location": "/app/node_modules/@babel/core/package.json"}]


def test_spdx(server: FaultServer) -> None:
    m = opened(server, *everything())
    bill = m.sbom("spdx")
    image, system, *packages = bill["packages"]
    encoded = m.digest().partition(":")[2]
    assert image["checksums"] == [{"algorithm": "SHA256", "checksumValue": encoded}]
    assert image["primaryPackagePurpose"] == "CONTAINER"
    assert (system["name"], system["versionInfo"]) == ("debian", "12")
    identifiers = [one["SPDXID"] for one in bill["packages"]]
    assert len(set(identifiers)) == len(identifiers)
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", one) for one in identifiers)
    (describes, *contains) = bill["relationships"]
    assert describes == {
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relationshipType": "DESCRIBES",
        "relatedSpdxElement": image["SPDXID"],
    }
    assert [one["relatedSpdxElement"] for one in contains] == identifiers[1:]
    licenses = {one["name"]: one["licenseDeclared"] for one in packages}
    assert licenses["musl"] == "MIT"
    assert licenses["libc6"] == "NOASSERTION"
    told = {one["licenseId"]: one["name"] for one in bill["hasExtractedLicensingInfos"]}
    assert sorted(told.values()) == ["BSD, see LICENSE", "GPL2+ BSD"]
    assert told[licenses["odd"]] in told.values()
    assert "built from glibc" in {one["name"]: one["sourceInfo"] for one in packages}["libc6"]


# --- the same image, the same bill ---------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_twice(server: FaultServer, form: str) -> None:
    m = opened(server, *everything())
    first = m.sbom(form)
    shared.clear()
    kept.forget()
    again = didlab.open(f"{server.host}/lab/app:1", trust_env=False).sbom(form)
    assert first.json() == again.json()
    assert first == again == pickle.loads(pickle.dumps(first))
    other = opened(server, *everything(), {"more": b""}, tag="2").sbom(form)
    name = {"cyclonedx": "serialNumber", "spdx": "documentNamespace"}[form]
    assert other[name] != first[name]


def time_of(bill: Sbom) -> str:
    made = bill["metadata"]["timestamp"] if bill.format == "cyclonedx" else None
    return made or bill["creationInfo"]["created"]


@pytest.mark.parametrize("form", FORMATS)
def test_its_time(server: FaultServer, form: str) -> None:
    m = opened(server, *everything())
    of_image = m.config().created
    assert time_of(m.sbom(form)) == stamp(of_image or datetime(1970, 1, 1, tzinfo=UTC))
    late = datetime(2026, 11, 24, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    bill = m.sbom(form, created=late)
    assert time_of(bill) == "2026-11-23T23:30:00Z"
    assert problems(bill) == []
    with pytest.raises(InvalidArgument, match="time zone"):
        m.sbom(form, created=datetime(2026, 1, 1))


def test_what_is_asked_is_checked_first(server: FaultServer) -> None:
    m = opened(server, *everything())
    with pytest.raises(InvalidArgument, match="attached_sbom") as caught:
        m.sbom("https://spdx.dev/Document")
    assert "cyclonedx, spdx" in str(caught.value)
    assert server.requests == []


def test_nothing_in_it_and_no_image(server: FaultServer) -> None:
    m = opened(server, {"etc/passwd": b""})
    for form in FORMATS:
        bill = m.sbom(form)
        assert problems(bill) == []
        assert len(bill.packages()) == 0
        assert bill
    server.add_image("lab/chart", "1", make_artifact(b"{}", "application/x", [], {}))
    with pytest.raises(NotAnImage):
        didlab.open(f"{server.host}/lab/chart:1", trust_env=False).sbom()


def test_after_packages_it_costs_nothing(server: FaultServer) -> None:
    m = opened(server, *everything())
    m.packages()
    m.config()
    before = len(server.requests)
    m.sbom()
    m.sbom("spdx")
    assert len(server.requests) == before


# --- as an object --------------------------------------------------------------------------------


def test_saving(server: FaultServer, tmp_path: Path) -> None:
    bill = opened(server, *everything()).sbom()
    target = tmp_path / "app.cdx.json"
    assert bill.save(target) == target
    assert json.loads(target.read_bytes()) == bill.to_dict() == dict(bill)
    written = target.stat().st_mtime_ns
    bill.save(str(target))
    assert target.stat().st_mtime_ns == written, "the same content is left as it is"
    target.write_text("else")
    with pytest.raises(DestinationExists):
        bill.save(target)
    assert target.read_text() == "else"
    bill.save(target, overwrite=True)
    assert json.loads(target.read_bytes()) == bill.to_dict()
    with pytest.raises(InvalidArgument, match="folder"):
        bill.save(tmp_path)
    with pytest.raises(WriteFailed):
        bill.save(tmp_path / "missing" / "a.json")
    assert [one.name for one in tmp_path.iterdir()] == ["app.cdx.json"]


def test_it_is_read_only(server: FaultServer) -> None:
    bill = opened(server, *everything()).sbom()
    text = bill.json()
    bill["components"].clear()
    bill.to_dict()["components"].clear()
    assert bill.json() == text
    assert json.loads(bill.json(indent=None)) == json.loads(text)
    assert list(bill)[:3] == ["$schema", "bomFormat", "specVersion"]
    assert bill._ipython_key_completions_() == list(bill)


def test_how_it_looks(server: FaultServer) -> None:
    m = opened(server, *everything())
    assert repr(m.sbom("spdx")).endswith("/lab/app:1 · SPDX 2.3 · 9 packages>")
    shown = m.sbom()._repr_html_()
    assert "CycloneDX 1.6" in shown
    assert len(shown) < 5000
    odd = Sbom("spdx", {}, "<script>\x1b[31m", "sha256:0", {"<b>": 1})
    assert "<script>" not in odd._repr_html_()
    assert "<b>&" not in odd._repr_html_()
    assert "\x1b" not in repr(odd) + odd._repr_html_()


# --- licenses ------------------------------------------------------------------------------------


def test_the_list_is_the_published_one() -> None:
    published = set(json.loads(Path(SPDX_JSON).read_bytes())["enum"])
    # A later list of theirs may have more.
    assert published >= LICENSES | EXCEPTIONS
    assert len(LICENSES | EXCEPTIONS) > 700
    assert not LICENSES & EXCEPTIONS
    known = get_spdx_licensing().known_symbols
    told = {name: known[name].is_exception for name in LICENSES | EXCEPTIONS if name in known}
    assert len(told) > 700
    assert {name for name, is_exception in told.items() if not is_exception} <= LICENSES
    # Old names of a license with its exception are licenses to SPDX, not to that library.
    odd = {name for name, is_exception in told.items() if is_exception} - EXCEPTIONS
    assert {name for name in odd if "-with-" not in name} == {"eCos-2.0"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("MIT", "MIT"),
        ("mit", "MIT"),
        (" GPL-2.0+ ", "GPL-2.0+"),
        ("Apache-2.0+", "Apache-2.0+"),
        ("MIT and (BSD-3-Clause or Zlib)", "MIT AND (BSD-3-Clause OR Zlib)"),
        ("GPL-2.0-only WITH classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("LicenseRef-Fedora-Public-Domain AND MIT", "LicenseRef-Fedora-Public-Domain AND MIT"),
        *((text, None) for text in ("GPLv3+", "BSD", "MIT BSD", "MIT,Zlib", "MIT AND", "AND", "")),
        *((text, None) for text in ("(MIT", "MIT)", "()", "MIT And Zlib", "MIT WITH Zlib")),
        *((text, None) for text in ("MIT OR OR Zlib", "see LICENSE", "(" * 5000 + "MIT")),
        ("(" * 40 + "MIT" + ")" * 40, None),
        ("MIT WITH Classpath-exception-2.0 WITH Classpath-exception-2.0", None),
    ],
)
def test_expressions(text: str, shown: str | None) -> None:
    found = expression(text)
    assert (found and found.text) == shown
    # SPDX's ``+`` behind an identifier is unknown to that library.
    if found is not None and not found.references and "Apache-2.0+" not in found.text:
        assert get_spdx_licensing().validate(found.text).errors == []


WORDS = ["MIT", "zlib", "GPL-2.0+", "Foo", "Classpath-exception-2.0", "and", "OR", "WITH", "(", ")"]


@given(st.lists(st.sampled_from(WORDS), max_size=8))
@settings(max_examples=300, deadline=None)
def test_what_is_taken_for_valid_is_valid(words: list[str]) -> None:
    found = expression(" ".join(words))
    if found is not None:
        # The library prints what it does not know.
        with redirect_stdout(io.StringIO()):
            assert get_spdx_licensing().validate(found.text).errors == []
        again = expression(found.text)
        assert again is not None
        assert again.text == found.text


# --- whatever the packages are -------------------------------------------------------------------

DIGEST = "sha256:" + "a" * 64
TEXTS = st.text(max_size=12)
LICENSE = st.sampled_from(
    [
        "MIT",
        "GPLv3+",
        "LicenseRef-GPLv3-",
        "LicenseRef-x OR MIT",
        "LicenseRef-x",
        "BSD",
        " ",
        "a\nb",
    ]
)


def packages() -> st.SearchStrategy[Package]:
    return st.builds(
        Package,
        st.sampled_from(["deb", "rpm", "npm", "golang", "pypi", "apk"]),
        st.sampled_from(["a", "@s/b", "example.org/m", "c++", "ü", "Image"]),
        st.none() | TEXTS,
        st.none() | st.sampled_from(["amd64", "noarch"]),
        st.none() | TEXTS,
        st.none() | TEXTS,
        st.none() | LICENSE | TEXTS,
    )


@given(st.lists(packages(), max_size=8), st.text(string.printable, min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_valid_whatever_the_packages_are(found: list[Package], name: str) -> None:
    listed = [Installed(one, b"/var/lib/x\xff", 0) for one in found]
    entries = entries_of(listed, [purl(one) for one in found], [DIGEST])
    image = Image(name, DIGEST, DIGEST, "linux/amd64", f"pkg:oci/a@{DIGEST}", (DIGEST,))
    system = OperatingSystem("odd os", None, None, "Odd\x1b")
    made_of = Material(image, system, entries, "2026-01-01T00:00:00Z", "0.1")
    for form, maker in (("cyclonedx", cyclonedx), ("spdx", spdx)):
        bill = Sbom(form, maker.document(made_of), "a", DIGEST, {})
        assert problems(bill) == [], bill.json()
        turned = entries_of(listed[::-1], [purl(one) for one in found[::-1]], [DIGEST])
        assert maker.document(made_of._replace(packages=turned)) == dict(bill)
