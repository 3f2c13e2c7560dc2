"""Column names, order and dtypes of every DataFrame are an API: written down here a second time.

A change here is a change for users: say it in the changelog.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
from rig.faults import FaultServer
from rig.images import make_artifact, make_attestation, make_image, make_index, sha256

import didlab
from didlab import Layer, Manifest, Registry, Repository
from didlab.audits.diff.difference import Diff
from didlab.audits.fleet.builtin import CHECKS
from didlab.views import frames

TEXT = pd.Series(["x"]).dtype
TIME = "datetime64[us, UTC]"

#: frame -> column -> kind
CONTRACT: dict[str, dict[str, str]] = {
    "platforms": {
        "platform": "category",
        "os": "category",
        "architecture": "category",
        "variant": "category",
        "os_version": "text",
        "kind": "category",
        "digest": "text",
        "manifest_size": "int64",
    },
    "platforms+sizes": {"layers": "Int64", "size": "Int64"},
    "layers": {
        "position": "int64",
        "digest": "text",
        "diff_id": "text",
        "media_type": "category",
        "size": "int64",
        "created": TIME,
        "created_by": "text",
        "comment": "text",
    },
    "history": {
        "position": "int64",
        "created": TIME,
        "created_by": "text",
        "comment": "text",
        "author": "text",
        "empty_layer": "bool",
        "layer": "Int64",
        "digest": "text",
        "size": "Int64",
    },
    "tags": {"tag": "text"},
    "tags+details": {
        "tag": "text",
        "digest": "text",
        "created": TIME,
        "size": "Int64",
        "platforms": "text",
    },
    "repositories": {"repository": "text"},
    "requests": {
        "started": TIME,
        "method": "category",
        "host": "category",
        "path": "text",
        "status": "Int64",
        "bytes": "int64",
        "seconds": "float64",
        "attempt": "int64",
        "mirror": "category",
        "error": "category",
    },
    "show_config": {"option": "text", "value": "text", "source": "text"},
    "plan": {
        "digest": "text",
        "kind": "category",
        "media_type": "category",
        "size": "int64",
        "stored": "bool",
        "images": "text",
    },
    "files": {
        "path": "text",
        "type": "category",
        "size": "int64",
        "mode": "int64",
        "permissions": "category",
        "uid": "int64",
        "gid": "int64",
        "mtime": TIME,
        "linkname": "text",
        "layer": "int64",
    },
    "files+layer": {"whiteout": "category"},
    "changes": {
        "path": "text",
        "change": "category",
        "type": "category",
        "size": "Int64",
        "size_before": "Int64",
        "mode": "Int64",
        "permissions": "category",
        "uid": "Int64",
        "gid": "Int64",
        "mtime": TIME,
        "linkname": "text",
        "layer": "int64",
        "created_by": "category",
    },
    "referrers": {
        "kind": "category",
        "artifact_type": "category",
        "digest": "text",
        "size": "int64",
        "subject": "text",
        "platform": "category",
        "created": TIME,
        "found": "category",
    },
    "attestations": {
        "kind": "category",
        "predicate_type": "category",
        "digest": "text",
        "size": "int64",
        "media_type": "category",
        "subject": "text",
        "platform": "category",
        "manifest": "text",
        "found": "category",
    },
    "sbom": {
        "name": "text",
        "version": "text",
        "type": "category",
        "license": "text",
        "purl": "text",
    },
    "images": {
        "position": "int64",
        "name": "text",
        "kind": "category",
        "platform": "text",
        "digest": "text",
        "image_id": "text",
        "layers": "Int64",
        "size": "Int64",
        "format": "category",
    },
    "packages": {
        "ecosystem": "category",
        "name": "text",
        "version": "text",
        "architecture": "category",
        "source": "text",
        "license": "text",
        "purl": "text",
        "path": "text",
        "layer": "int64",
    },
    "secrets": {
        "rule": "category",
        "severity": "category",
        "where": "category",
        "path": "text",
        "line": "Int64",
        "name": "text",
        "redacted": "text",
        "deleted": "bool",
        "layer": "Int64",
        "created_by": "text",
    },
    "setuid": {
        "path": "text",
        "kind": "category",
        "permissions": "category",
        "uid": "int64",
        "gid": "int64",
        "size": "int64",
        "capabilities": "text",
        "layer": "int64",
    },
    "users": {
        "user": "text",
        "uid": "Int64",
        "gid": "Int64",
        "groups": "text",
        "home": "text",
        "shell": "text",
        "password": "category",
        "layer": "int64",
    },
    "certificates": {
        "subject": "text",
        "issuer": "text",
        "not_before": TIME,
        "not_after": TIME,
        "expired": "bool",
        "serial": "text",
        "key": "category",
        "ca": "bool",
        "path": "text",
        "layer": "int64",
        "sha256": "text",
    },
    "base": {
        "reference": "text",
        "platform": "category",
        "digest": "text",
        "shared_layers": "int64",
        "shared_bytes": "int64",
        "is_base": "bool",
    },
    "diff_files": {
        "path": "text",
        "change": "category",
        "changed": "category",
        "content": "category",
        "type": "category",
        "size_before": "Int64",
        "size_after": "Int64",
        "permissions_before": "category",
        "permissions_after": "category",
        "owner_before": "category",
        "owner_after": "category",
        "layer_before": "Int64",
        "layer_after": "Int64",
    },
    "diff_packages": {
        "ecosystem": "category",
        "name": "text",
        "architecture": "category",
        "change": "category",
        "before": "text",
        "after": "text",
        "layer_before": "Int64",
        "layer_after": "Int64",
    },
    "diff_config": {
        "key": "text",
        "change": "category",
        "before": "text",
        "after": "text",
    },
    "diff_layers": {
        "status": "category",
        "position_before": "Int64",
        "position_after": "Int64",
        "digest": "text",
        "size_before": "Int64",
        "size_after": "Int64",
        "created_by": "text",
    },
    "diff_sizes": {
        "name": "text",
        "before": "int64",
        "after": "int64",
        "delta": "int64",
    },
    "waste": {
        "path": "text",
        "kind": "category",
        "size": "int64",
        "layer": "int64",
        "by_layer": "int64",
        "created_by": "category",
    },
    "duplicates": {
        "digest": "text",
        "path": "text",
        "size": "int64",
        "copies": "int64",
        "wasted": "int64",
        "layer": "int64",
    },
    "caches": {
        "kind": "category",
        "path": "text",
        "files": "int64",
        "size": "int64",
        "layer": "int64",
        "created_by": "category",
    },
    "verify": {
        "check": "category",
        "subject": "text",
        "loader": "category",
        "passed": "bool",
        "severity": "category",
        "expected": "text",
        "actual": "text",
        "detail": "text",
    },
    "audit_images": {
        "reference": "text",
        "platform": "category",
        "digest": "text",
        "created": TIME,
        "size": "Int64",
        "layers": "Int64",
        "error": "text",
        "seconds": "float64",
    },
    "audit_errors": {
        "reference": "text",
        "platform": "category",
        "digest": "text",
        "check": "category",
        "error": "text",
    },
    "audit_config": {
        "user": "text",
        "entrypoint": "text",
        "cmd": "text",
        "working_dir": "text",
        "ports": "text",
        "volumes": "text",
        "healthcheck": "bool",
        "env": "text",
        "labels": "text",
    },
    "audit_labels": {"name": "text", "value": "text"},
    "audit_size": {
        "size": "int64",
        "layers": "int64",
        "largest": "Int64",
        "largest_layer": "Int64",
    },
    "audit_os": {
        "id": "category",
        "version": "category",
        "codename": "category",
        "name": "category",
        "eol": "text",
        "eol_lts": "text",
        "supported": "bool",
    },
    "policy": {
        "reference": "text",
        "platform": "category",
        "digest": "text",
        "rule": "category",
        "severity": "category",
        "passed": "bool",
        "evidence": "text",
    },
    "endpoints": {
        "host": "text",
        "scheme": "category",
        "role": "category",
        "registry": "category",
    },
}
LONG = {**CONTRACT["platforms"], **CONTRACT["platforms+sizes"]}

#: frame -> the method whose docstring describes it
METHODS: dict[str, Callable[..., Any]] = {
    "platforms": Manifest.platforms,
    "platforms+sizes": Manifest.platforms,
    "layers": Manifest.layers,
    "history": Manifest.history,
    "tags": Repository.tags,
    "tags+details": Repository.tags,
    "repositories": Registry.repositories,
    "requests": Registry.requests,
    "show_config": didlab.show_config,
    "plan": didlab.plan,
    "endpoints": didlab.endpoints,
    "images": didlab.images,
    "packages": Manifest.packages,
    "secrets": Manifest.secrets,
    "setuid": Manifest.setuid,
    "users": Manifest.users,
    "certificates": Manifest.certificates,
    "base": Manifest.base,
    "diff_files": Diff.files,
    "diff_packages": Diff.packages,
    "diff_config": Diff.config,
    "diff_layers": Diff.layers,
    "diff_sizes": Diff.sizes,
    "waste": Manifest.waste,
    "duplicates": Manifest.duplicates,
    "caches": Manifest.caches,
    "verify": didlab.verify,
    "audit_images": didlab.Report.images.fget,
    "audit_errors": didlab.Report.errors.fget,
    "audit_config": CHECKS["config"].function,
    "audit_labels": CHECKS["labels"].function,
    "audit_size": CHECKS["size"].function,
    "audit_os": CHECKS["os"].function,
    "policy": didlab.policy,
    "files": Manifest.files,
    "files+layer": Layer.files,
    "changes": Manifest.changes,
    "referrers": Manifest.referrers,
    "attestations": Manifest.attestations,
    "sbom": Manifest.attached_sbom,
}


def check(table: pd.DataFrame, contract: dict[str, str]) -> None:
    assert list(table.columns) == list(contract)
    for name, kind in contract.items():
        dtype = table[name].dtype
        if kind == "text":
            assert dtype == TEXT, name
        elif kind == "category":
            assert isinstance(dtype, pd.CategoricalDtype), name
            assert dtype.categories.dtype == TEXT, name
            assert not dtype.ordered, name
        else:
            assert str(dtype) == kind, name
    assert isinstance(table.index, pd.RangeIndex)
    assert type(table) is pd.DataFrame


# --- the schemas ------------------------------------------------------------------------------


def test_every_frame_has_a_contract() -> None:
    assert set(frames.SCHEMAS) == set(CONTRACT) == set(METHODS)


@pytest.mark.parametrize("name", CONTRACT)
def test_the_empty_frame(name: str) -> None:
    if name == "platforms+sizes":
        check(frames.frame("platforms", [], also=name), LONG)
    else:
        check(frames.frame(name, []), CONTRACT[name])


VALUES: dict[str, list[Any]] = {
    "text": ["a", None, "é\x1b[31m", ""],
    "category": ["a", None, "a", "b"],
    "int64": [0, 1, 2**63 - 1, 5],
    "Int64": [0, None, 2**63 - 1, 2**53 + 1],
    "float64": [0.0, 1.5, 2.0, 3.0],
    "bool": [True, False, True, False],
    TIME: [
        datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC),
        None,
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
    ],
}


@pytest.mark.parametrize("name", [name for name in CONTRACT if name != "platforms+sizes"])
def test_values_arrive_as_they_are(name: str) -> None:
    contract = CONTRACT[name]
    rows = list(zip(*(VALUES[kind] for kind in contract.values()), strict=True))
    table = frames.frame(name, rows, reference="r.example/a:1")
    check(table, contract)
    assert table.attrs == {"reference": "r.example/a:1"}
    for column, kind in contract.items():
        for got, given in zip(table[column], VALUES[kind], strict=True):
            assert pd.isna(got) if given is None else got == given


@pytest.mark.parametrize("name", [name for name in CONTRACT if name != "platforms+sizes"])
def test_nothing_but_missing_values(name: str) -> None:
    optional = {"text", "category", "Int64", TIME}
    contract = CONTRACT[name]
    row = [None if kind in optional else VALUES[kind][0] for kind in contract.values()]
    check(frames.frame(name, [row]), contract)


def test_a_row_of_another_length_is_a_mistake() -> None:
    with pytest.raises((AssertionError, ValueError)):
        frames.frame("tags", [("a", "b")])


@pytest.mark.parametrize("name", CONTRACT)
def test_the_documentation_names_every_column(name: str) -> None:
    lines = frames.documentation(name).splitlines()
    assert [line.partition(" : ")[0] for line in lines] == list(CONTRACT[name])
    for line, kind in zip(lines, CONTRACT[name].values(), strict=True):
        assert line.partition(" : ")[2].startswith(kind)
        assert line.partition(" — ")[2]


@pytest.mark.parametrize("name", CONTRACT)
def test_the_docstring_names_every_column_with_its_dtype(name: str) -> None:
    text = re.sub(r"\s+", " ", inspect.getdoc(METHODS[name]) or "")
    for column, kind in CONTRACT[name].items():
        assert re.search(rf"\b{column} : {re.escape(kind)}", text), column


@pytest.mark.parametrize("name", ["platforms", "layers", "history", "requests", "files", "changes"])
def test_the_docstring_has_the_columns_in_order(name: str) -> None:
    text = (inspect.getdoc(METHODS[name]) or "").partition("\nReturns\n")[2]
    found = re.findall(r"\b(\w+) : (?:text|category|u?[iI]nt64|bool|float64|datetime64)", text)
    expected = list(LONG if name == "platforms" else CONTRACT[name])
    assert found == expected


# --- what the methods give --------------------------------------------------------------------

IMAGE = make_image(
    [{"a": b"a"}, {"b": b"b"}],
    history=[
        {"created": "2024-02-29T12:00:00Z", "created_by": "one", "comment": "c", "author": "me"},
        {"created_by": "two", "empty_layer": True},
        {"created": "9999-12-31T23:59:59Z", "created_by": "three"},
    ],
)
WINDOWS = make_image([{"a": b"a"}], "windows/amd64", config_json={"os.version": "10.0.1"})
ATTESTATION = make_attestation(IMAGE)
INDEX = make_index((IMAGE, WINDOWS, ATTESTATION))
ARTIFACT = make_artifact(
    b"{}",
    "application/vnd.oci.empty.v1+json",
    [{"mediaType": "application/x", "digest": sha256(b"x"), "size": 1}],
    {sha256(b"x"): b"x"},
)
BARE = make_image([], history=[])


def test_the_methods_keep_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
    with FaultServer() as server:
        tags = {"image": IMAGE, "index": INDEX, "artifact": ARTIFACT, "bare": BARE}
        for tag, built in tags.items():
            server.add_image("lab/app", tag, built)
        look = didlab.open(f"{server.host}/lab/app:image", trust_env=False)
        check(look.files(), CONTRACT["files"])
        check(look.files("/nowhere"), CONTRACT["files"])
        check(look.layer(0).files(), {**CONTRACT["files"], **CONTRACT["files+layer"]})
        check(look.changes(), CONTRACT["changes"])
        server.tags["lab/none"] = {}
        hub = didlab.Registry(server.host, trust_env=False)
        repo = hub["lab/app"]
        for tag in tags:
            m = repo[tag]
            name = str(m.reference)
            made = {
                "platforms": (m.platforms(), CONTRACT["platforms"]),
                "sizes": (m.platforms(sizes=True), LONG),
                "layers": (m.layers(), CONTRACT["layers"]),
                "referrers": (m.referrers(), CONTRACT["referrers"]),
                "attestations": (m.attestations(), CONTRACT["attestations"]),
            }
            if tag != "artifact":
                made["history"] = (m.history(), CONTRACT["history"])
            for table, contract in made.values():
                check(table, contract)
                assert table.attrs["reference"] == name
                assert table.query("index >= 0").attrs["reference"] == name
        for repository in ("lab/app", "lab/none"):
            where = f"{server.host}/{repository}"
            for details, contract_name in ((False, "tags"), (True, "tags+details")):
                table = hub[repository].tags(details=details)
                check(table, CONTRACT[contract_name])
                assert table.attrs["reference"] == where
                assert len(table) == (0 if repository == "lab/none" else 4)
        check(hub.repositories(), CONTRACT["repositories"])
        check(hub.requests(), CONTRACT["requests"])
        assert hub.repositories().attrs["reference"] == server.host
        assert hub.requests().attrs["reference"] == server.host
        check(didlab.Registry(server.host, timeout=(3, 4)).requests(), CONTRACT["requests"])


def test_impossible_and_far_times_do_not_break_a_frame() -> None:
    with FaultServer() as server:
        server.add_image("lab/app", "1", IMAGE)
        history = didlab.open(f"{server.host}/lab/app:1", trust_env=False).history()
    assert history["created"].isna().tolist() == [False, True, False]
    assert history["created"].iloc[2].year == 9999
    assert history["layer"].tolist()[0] == 0
    assert pd.isna(history["layer"].iloc[1])


def test_text_that_nobody_wrote_is_missing() -> None:
    empty = {"created_by": "", "comment": "", "author": ""}
    image = make_image([{"a": b"a"}, {"b": b"b"}], history=[{}, empty], config_json={"os": None})
    index = make_index((image,), descriptors=[image.descriptor(platform={})])
    with FaultServer() as server:
        server.add_image("lab/app", "1", image)
        server.add_image("lab/app", "2", index)
        m = didlab.open(f"{server.host}/lab/app:1", trust_env=False)
        tables = {
            "layers": (m.layers(), ["created", "created_by", "comment"]),
            "history": (m.history(), ["created", "created_by", "comment", "author"]),
            "platforms": (m.platforms(), ["variant", "os_version"]),
            "declared": (
                didlab.open(f"{server.host}/lab/app:2", trust_env=False).platforms(),
                ["os", "architecture", "variant", "os_version"],
            ),
            "tags": (m.repository.tags(details=True), []),  # type: ignore[union-attr]
        }
    for name, (table, missing) in tables.items():
        assert len(table) >= 1, name
        assert table[missing].isna().all(axis=None), name
        assert not table.astype(object).eq("").any(axis=None), name
    assert not tables["history"][0]["empty_layer"].any()


def test_lone_surrogates_become_escapes() -> None:
    # They can neither be sent to a notebook nor kept by Arrow.
    table = frames.frame("tags", [("a\ud800b",), ("ü",), (None,)])
    assert table["tag"].tolist()[:2] == ["a\\ud800b", "ü"]
    row = [VALUES[kind][0] for kind in CONTRACT["requests"].values()]
    row[2] = "\udfff"
    assert frames.frame("requests", [row])["host"].tolist() == ["\\udfff"]
    json.dumps(table._repr_html_(), ensure_ascii=False).encode()
