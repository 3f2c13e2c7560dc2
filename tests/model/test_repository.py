"""A Repository: its tags and what they name."""

from __future__ import annotations

import pickle
from typing import Any

import pandas as pd
import pytest
from rig.faults import FaultServer, respond, with_headers
from rig.images import CREATED, make_artifact, make_image, make_index, push_image, sha256
from rig.lab import MANY
from rig.registries import Registry as LabRegistry

import didlab
from didlab.errors import (
    BadLink,
    InvalidArgument,
    InvalidReference,
    ManifestNotFound,
    RepositoryNotFound,
)
from didlab.sources.cached import shared

IMAGE = make_image([{"a": b"a"}])
ARM64 = make_image([{"a": b"a"}], "linux/arm64/v8")


@pytest.fixture(autouse=True)
def amd64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
    shared.clear()


def test_tags(lab: LabRegistry) -> None:
    tags = didlab.Registry(lab.host)["lab/app"].tags()
    assert list(tags.columns) == ["tag"]
    assert sorted(tags["tag"]) == ["latest", "list", "multi", "oci"]
    assert tags.attrs["reference"] == f"{lab.host}/lab/app"


def test_tags_over_several_pages(lab: LabRegistry) -> None:
    tags = didlab.Registry(lab.host)["lab/many"].tags()
    assert sorted(tags["tag"]) == [f"t{number:03}" for number in range(MANY)]
    with FaultServer() as server:
        for number in range(25):
            server.add_image("lab/app", f"t{number:02}", IMAGE)
        server.page = 10
        repo = didlab.Registry(server.host, trust_env=False)["lab/app"]
        assert list(repo.tags()["tag"]) == [f"t{number:02}" for number in range(25)]
        assert len(server.asked("/tags/list")) == 3


def test_tags_are_asked_for_every_time(lab: LabRegistry) -> None:
    repo = didlab.Registry(lab.host)["lab/small"]
    with lab.record() as seen:
        repo.tags()
        repo.tags()
    assert [entry.path for entry in seen] == ["/v2/lab/small/tags/list"] * 2


def test_tags_with_details(lab: LabRegistry) -> None:
    repo = didlab.Registry(lab.host)["lab/app"]
    table = repo.tags(details=True).set_index("tag")
    assert table.loc["multi", "platforms"] == "linux/amd64, linux/arm64/v8, linux/arm/v7"
    assert table.loc["latest", "platforms"] == "linux/amd64"
    for tag in table.index:
        m = repo[tag]
        assert table.loc[tag, "digest"] == m.digest()
        assert table.loc[tag, "size"] == m.size()
        assert table.loc[tag, "created"] == pd.Timestamp(CREATED)


def test_details_of_what_is_no_image_or_cannot_be_read(
    own_registry: LabRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = own_registry.host
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/s390x")
    layer = {"mediaType": "application/x", "digest": sha256(b"x"), "size": 1}
    artifact = make_artifact(
        b"{}", "application/vnd.oci.empty.v1+json", [layer], {sha256(b"x"): b"x"}
    )
    broken = make_image([{"b": b"b"}], config_json={"history": 5})
    push_image(host, "lab/mixed", "artifact", artifact)
    push_image(host, "lab/mixed", "broken", broken)
    push_image(host, "lab/mixed", "image", IMAGE)
    push_image(host, "lab/mixed", "index", make_index((ARM64, IMAGE)))
    details = didlab.Registry(host)["lab/mixed"].tags(details=True)
    table = details.set_index("tag")
    assert sorted(table.index) == ["artifact", "broken", "image", "index"]
    assert table.loc["artifact", "size"] == 3
    assert pd.isna(table.loc["artifact", "platforms"])
    assert table.loc["image", "platforms"] == "linux/amd64"
    # Without the default platform the first one stands for the tag.
    assert table.loc["index", "size"] == len(ARM64.config) + ARM64.layers[0]["size"]
    assert table.loc["broken", "digest"] == broken.digest
    assert pd.isna(table.loc["broken", "size"])
    assert list(details.attrs["errors"]) == ["broken"]
    assert "history" in details.attrs["errors"]["broken"]


def test_a_missing_repository(lab: LabRegistry) -> None:
    with pytest.raises(RepositoryNotFound, match="lab/none") as caught:
        didlab.Registry(lab.host)["lab/none"].tags()
    assert isinstance(caught.value, KeyError)


def test_names_that_are_no_tags_are_left_out() -> None:
    body = b'{"name": "lab/app", "tags": ["1", null, "<img src=x>", "../x", 5, "1", "sha256:abc"]}'
    with FaultServer() as server:
        server.add_image("lab/app", "1", IMAGE)
        json_type = {"Content-Type": "application/json"}
        server.rule(lambda request: "/tags/" in request.path, respond(200, json_type, body))
        repo = didlab.Registry(server.host, trust_env=False)["lab/app"]
        assert list(repo.tags()["tag"]) == ["1"]


@pytest.mark.parametrize("body", [b'{"tags": null}', b'{"tags": []}', b'{"name": "lab/app"}'])
def test_no_tags(body: bytes) -> None:
    with FaultServer() as server:
        server.add_image("lab/app", "1", IMAGE)
        json_type = {"Content-Type": "application/json"}
        server.rule(lambda request: "/tags/" in request.path, respond(200, json_type, body))
        repo = didlab.Registry(server.host, trust_env=False)["lab/app"]
        assert repo.tags().empty
        assert repo.tags(details=True).empty
        assert repo.tags(details=True).attrs["errors"] == {}


def test_pages_that_lead_in_a_circle() -> None:
    with FaultServer() as server:
        server.add_image("lab/app", "1", IMAGE)
        link = '</v2/lab/app/tags/list?n=1&last=1>; rel="next"'
        server.rule(lambda request: "/tags/" in request.path, with_headers(Link=link))
        with pytest.raises(BadLink):
            didlab.Registry(server.host, trust_env=False)["lab/app"].tags()


def test_down_to_a_manifest(lab: LabRegistry) -> None:
    repo = didlab.Registry(lab.host)["lab/app"]
    m = repo["multi"]
    assert str(m.reference) == f"{lab.host}/lab/app:multi"
    assert repo.manifest("multi") == m == didlab.open(f"{lab.host}/lab/app:multi")
    assert repo.manifest("multi", platform="linux/arm64") == m["linux/arm64"]
    assert repo.manifest().reference.tag == "latest"
    digest = m.digest()
    for text in (digest, f"@{digest}", f"multi@{digest}"):
        assert repo[text].reference.digest == digest
        assert repo[text].digest() == digest
    assert repo[f"multi@{digest}"].reference.tag == "multi"
    with pytest.raises(ManifestNotFound):
        repo["none"].digest()


@pytest.mark.parametrize("wrong", ["", "a b", "a/b", "sha256:abc", "@", ":", "ü", "a:b", "-a"])
def test_what_is_no_tag(wrong: str) -> None:
    with pytest.raises(InvalidReference):
        didlab.Registry("registry.invalid")["lab/app"][wrong]


@pytest.mark.parametrize("wrong", [0, None, b"1", slice(None)])
def test_a_repository_is_indexed_by_text(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="tag"):
        didlab.Registry("registry.invalid")["lab/app"][wrong]


def test_a_second_tag_costs_one_request(registry_token: LabRegistry) -> None:
    hub = didlab.Registry(registry_token.host)
    with registry_token.record() as seen:
        hub["lab/app"]["multi"].platforms()
    # The token server is another one: challenge and manifest are seen here.
    assert len(seen) <= 2
    with registry_token.record() as seen:
        hub["lab/app"]["list"].platforms()
    assert [entry.path for entry in seen] == ["/v2/lab/app/manifests/list"]
    rows = hub.requests()
    assert len(rows) <= 4
    assert "token" not in " ".join(rows["path"]).replace("/token", "")


def test_identity() -> None:
    hub = didlab.Registry("registry.invalid")
    repo = hub["lab/app"]
    assert repo == hub["lab/app"]
    assert hash(repo) == hash(hub["lab/app"])
    assert repo != hub["lab/other"]
    assert repo != didlab.Registry("other.invalid")["lab/app"]
    assert pickle.loads(pickle.dumps(repo)) == repo
    assert repo.name == "lab/app"
    assert repo.registry == hub
    assert repr(repo) == "<Repository registry.invalid/lab/app>"
    assert didlab.Registry()["nginx"].name == "library/nginx"
    assert didlab.Registry()["library/nginx"] == didlab.Registry("index.docker.io")["nginx"]
