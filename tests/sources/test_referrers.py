"""The referrers API, as the specification has it and as it is got wrong; the tag in its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from rig.attached import (
    BUNDLE,
    SPDX,
    attach_bundle,
    attach_sbom,
    fallback_index,
    make_referrer,
)
from rig.faults import FaultServer, hang_up, respond
from rig.images import OCI_INDEX, dump, make_image, make_index, push_image
from rig.lab import make_small
from rig.registries import Registry as LabRegistry

from didlab import errors
from didlab.oci.attached import Referrer, fallback_tag
from didlab.oci.descriptor import Descriptor
from didlab.oci.reference import Reference
from didlab.sources import chain
from didlab.sources import referrers as module
from didlab.sources.registry import RegistrySource
from didlab.transport.options import make

IMAGE = make_image([{"a": b"a"}])
SBOM, BUNDLED = attach_sbom(IMAGE), attach_bundle(IMAGE)
BARE = make_referrer(IMAGE, None, [])  # its type is its config's
TAG = fallback_tag(IMAGE.digest)
INDEX = {"Content-Type": OCI_INDEX}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        made.add_image("lab/app", "1", IMAGE)
        yield made


def source(server: FaultServer | LabRegistry, **options: Any) -> RegistrySource:
    return RegistrySource(server.host, make(trust_env=False, **options), "lab/app")


def found(place: RegistrySource, artifact_type: str | None = None) -> dict[str, str]:
    """Return how each digest was found."""
    listed = list(place.referrers(IMAGE.digest, artifact_type))
    assert all(isinstance(one, Referrer) for one in listed)
    return {one.digest: one.found for one in listed if isinstance(one, Referrer)}


def everything(how: str) -> dict[str, str]:
    return dict.fromkeys((SBOM.digest, BUNDLED.digest, BARE.digest), how)


def serve_all(server: FaultServer) -> None:
    for one in (SBOM, BUNDLED, BARE):
        server.attach("lab/app", one)


# --- the API ----------------------------------------------------------------------------------


def test_the_api_in_one_request(server: FaultServer) -> None:
    server.referrers_api = True
    serve_all(server)
    place = source(server)
    assert found(place) == everything("api")
    assert [one.target for one in server.requests] == [f"/v2/lab/app/referrers/{IMAGE.digest}"]
    assert OCI_INDEX in server.requests[0].headers["accept"]
    rows = {one.digest: one for one in place.referrers(IMAGE.digest)}
    assert rows[SBOM.digest].artifact_type == SPDX
    assert rows[SBOM.digest].size == len(SBOM.manifest)
    assert rows[BUNDLED.digest].annotations["dev.sigstore.bundle.content"] == "dsse-envelope"


def test_nothing_attached_is_an_empty_list_and_no_question_about_tags(server: FaultServer) -> None:
    server.referrers_api = True
    assert found(source(server)) == {}
    assert len(server.requests) == 1


@pytest.mark.parametrize("filters", [True, False])
def test_filtered_there_or_here(server: FaultServer, filters: bool) -> None:
    server.referrers_api, server.referrers_filter = True, filters
    serve_all(server)
    assert found(source(server), SPDX) == {SBOM.digest: "api"}
    assert server.requests[0].query == {"artifactType": [SPDX]}
    assert found(source(server), "application/none") == {}


@pytest.mark.parametrize("artifact_type", [None, BUNDLE])
def test_pages(server: FaultServer, artifact_type: str | None) -> None:
    server.referrers_api, server.referrers_page = True, 2
    many = [make_referrer(IMAGE, BUNDLE, [], annotations={"n": str(n)}) for n in range(5)]
    for one in many:
        server.attach("lab/app", one)
    assert set(found(source(server), artifact_type)) == {one.digest for one in many}
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "link",
    [
        "{path}?page=2",
        "http://internal.example{path}?page=2",
        "/v2/lab/app/referrers/sha256%3A{hex}?page=2",
        "./{digest}?page=2",
    ],
)
def test_links_of_all_kinds(server: FaultServer, link: str) -> None:
    path = f"/v2/lab/app/referrers/{IMAGE.digest}"
    target = link.format(path=path, hex=IMAGE.digest[7:], digest=IMAGE.digest)
    first, second = fallback_index(SBOM), fallback_index(BUNDLED)
    more = {**INDEX, "Link": f'<{target}>; rel="next"'}
    server.rule(lambda r: r.target == path, respond(200, more, first.manifest))
    server.rule(lambda r: r.target == f"{path}?page=2", respond(200, INDEX, second.manifest))
    assert set(found(source(server))) == {SBOM.digest, BUNDLED.digest}


@pytest.mark.parametrize(
    "link",
    ["{path}", "{path}?", "/v2/lab/other/tags/list?n=1", "/v2/lab/app/referrers/sha256:x?n=1", "<"],
)
def test_links_that_lead_nowhere(server: FaultServer, link: str) -> None:
    path = f"/v2/lab/app/referrers/{IMAGE.digest}"
    headers = {**INDEX, "Link": f'<{link.format(path=path)}>; rel="next"'}
    server.rule(lambda r: True, respond(200, headers, fallback_index(SBOM).manifest))
    with pytest.raises(errors.BadLink):
        found(source(server))


def test_pages_in_a_circle_and_without_end(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/v2/lab/app/referrers/{IMAGE.digest}"
    server.referrers_api = True
    circle = {**INDEX, "Link": f'<{path}?page=2>; rel="next"'}
    server.rule(lambda r: True, respond(200, circle, fallback_index(SBOM).manifest))
    with pytest.raises(errors.BadLink, match="circle"):
        found(source(server))
    server.rules.clear()
    serve_all(server)
    server.referrers_page = 1
    monkeypatch.setattr(module, "MAX_PAGES", 2)
    with pytest.raises(errors.LimitExceeded, match="pages"):
        found(source(server))
    monkeypatch.setattr(module, "MAX_PAGES", 3)
    assert len(found(source(server))) == 3
    monkeypatch.setattr(module, "MAX_REFERRERS", 2)
    with pytest.raises(errors.LimitExceeded) as caught:
        found(source(server))
    assert (caught.value.limit, caught.value.seen) == (2, 3)


def test_a_page_that_is_gone_is_no_end(server: FaultServer) -> None:
    server.referrers_api, server.referrers_page = True, 1
    serve_all(server)
    server.rule(lambda r: "from" in r.query, respond(404))
    with pytest.raises(errors.NotFound):
        found(source(server))


# --- answers that are none --------------------------------------------------------------------

GOOD = {"mediaType": OCI_INDEX, "digest": SBOM.digest, "size": 1}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", errors.ManifestInvalid),
        (b"[]", errors.ManifestInvalid),
        (b"{}", errors.ManifestInvalid),
        (b'{"schemaVersion":2}', errors.ManifestInvalid),
        (b'{"schemaVersion":1,"manifests":[]}', errors.ManifestInvalid),
        (b'{"schemaVersion":2,"manifests":{}}', errors.ManifestInvalid),
        (b'{"schemaVersion":2,"manifests":[null]}', errors.ManifestInvalid),
        (dump({"schemaVersion": 2, "manifests": [{**GOOD, "size": -1}]}), errors.ManifestInvalid),
        (dump({"schemaVersion": 2, "manifests": [{**GOOD, "size": 1e9}]}), errors.ManifestInvalid),
        (
            dump({"schemaVersion": 2, "manifests": [{**GOOD, "digest": "../x"}]}),
            errors.ManifestInvalid,
        ),
        (
            dump({"schemaVersion": 2, "manifests": [GOOD, {**GOOD, "size": 2}]}),
            errors.ManifestInvalid,
        ),
        (
            dump({"schemaVersion": 2, "manifests": [{**GOOD, "annotations": {"a": 1}}]}),
            errors.ManifestInvalid,
        ),
        (
            dump({"schemaVersion": 2, "manifests": [{**GOOD, "artifactType": "a\r\nb"}]}),
            errors.ManifestInvalid,
        ),
        (b'{"schemaVersion":2,"manifests":[],"layers":[]}', errors.TypeConfusion),
        (b'{"schemaVersion":2,"Manifests":[],"manifests":[]}', errors.TypeConfusion),
        (SBOM.manifest, errors.TypeConfusion),
        (b"[" * 100_000, errors.ManifestInvalid),
        (b" " * (5 << 20), errors.LimitExceeded),
        (b"<html>", errors.BadContentType),
    ],
)
@pytest.mark.parametrize("where", ["api", "tag"])
def test_nonsense_is_typed_and_no_empty_list(
    server: FaultServer, body: bytes, kind: type[Exception], where: str
) -> None:
    part = "/referrers/" if where == "api" else f"/manifests/{TAG}"
    server.rule(lambda r: part in r.path, respond(200, INDEX, body))
    with pytest.raises(kind) as caught:
        found(source(server))
    assert isinstance(caught.value, errors.DidlabError)
    if not isinstance(caught.value, errors.LimitExceeded):
        assert caught.value.host == server.host


def test_an_image_in_the_lists_place(server: FaultServer) -> None:
    plain = {"Content-Type": "application/json"}
    server.rule(lambda r: "/referrers/" in r.path, respond(200, plain, SBOM.manifest))
    with pytest.raises(errors.ManifestInvalid, match="should be an index"):
        found(source(server))


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (INDEX, b'{"schemaVersion":2,"manifests":null}'),
        (INDEX, b'{"schemaVersion": 2, "manifests": null, "annotations": null}'),
        ({"Content-Type": "application/json"}, b'{"schemaVersion":2,"manifests":[]}'),
        ({"Content-Type": f"{OCI_INDEX}; charset=utf-8"}, b'{"schemaVersion":2,"manifests":[]}'),
        ({}, b'{"schemaVersion":2,"manifests":[],"x":null}'),
    ],
)
def test_empty_lists_as_they_are_written(
    server: FaultServer, headers: dict[str, str], body: bytes
) -> None:
    server.rule(lambda r: "/referrers/" in r.path, respond(200, headers, body))
    assert found(source(server)) == {}
    assert len(server.requests) == 1


def test_the_same_thing_listed_twice_comes_once(server: FaultServer) -> None:
    row = {"mediaType": SBOM.media_type, "digest": SBOM.digest, "size": len(SBOM.manifest)}
    body = dump({"schemaVersion": 2, "manifests": [row, row]})
    server.rule(lambda r: "/referrers/" in r.path, respond(200, INDEX, body))
    assert len(list(source(server).referrers(IMAGE.digest))) == 1


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_refusal_is_no_empty_list(server: FaultServer, status: int) -> None:
    server.rule(lambda r: "/referrers/" in r.path, respond(status, {"Retry-After": "9999"}))
    with pytest.raises((errors.AuthError, errors.TransportError)):
        found(source(server))
    assert not server.asked(f"/manifests/{TAG}")


def test_a_broken_line_is_mended(server: FaultServer) -> None:
    server.referrers_api = True
    serve_all(server)
    server.rule(lambda r: "/referrers/" in r.path, hang_up, times=1)
    assert found(source(server)) == everything("api")


# --- the tag in its place ---------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 400, 405, 406, 501])
def test_without_the_api_the_tag(server: FaultServer, status: int) -> None:
    server.rule(lambda r: "/referrers/" in r.path, respond(status))
    server.attach("lab/app", fallback_index(SBOM, BUNDLED, BARE), TAG)
    place = source(server)
    assert found(place) == everything("tag")
    asked = [one.path.rpartition("/")[2] for one in server.requests]
    # A registry that says 501 is asked again before it is believed.
    assert asked[0] == IMAGE.digest
    assert asked[-1] == TAG
    assert len(asked) == 2 or status == 501
    before = len(server.requests)
    assert found(place, SPDX) == {SBOM.digest: "tag"}
    assert [one.path.rpartition("/")[2] for one in server.requests[before:]] == [TAG]


def test_neither_api_nor_tag(server: FaultServer) -> None:
    assert found(source(server)) == {}
    assert len(server.requests) == 2  # and none for a list of tags, for near misses
    with pytest.raises(errors.ManifestNotFound):
        source(server).resolve(Reference.parse(f"{server.host}/lab/app:{TAG}.sig"))
    assert not server.asked("/tags/")


def test_an_unknown_manifest_does_not_prove_that_there_is_no_api(server: FaultServer) -> None:
    body = dump({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "no"}]})
    server.rule(lambda r: "/referrers/" in r.path, respond(404, {}, body), times=1)
    server.referrers_api = True
    serve_all(server)
    place = source(server)
    assert found(place) == {}
    assert found(place) == everything("api")


def test_types_that_the_tag_does_not_say_stay_for_whoever_looks(server: FaultServer) -> None:
    server.attach("lab/app", fallback_index(SBOM, typed=False), TAG)
    assert found(source(server), SPDX) == {SBOM.digest: "tag"}


def test_a_real_registry_without_the_api(own_registry: LabRegistry) -> None:
    host = own_registry.host
    push_image(host, "lab/app", "1", IMAGE)
    place = source(own_registry)
    assert found(place) == {}
    push_image(host, "lab/app", TAG, fallback_index(SBOM, BUNDLED))
    with own_registry.record() as entries:
        assert found(source(own_registry)) == {SBOM.digest: "tag", BUNDLED.digest: "tag"}
    assert [(one.status, one.path.rpartition("/")[2]) for one in entries] == [
        (404, IMAGE.digest),
        (200, TAG),
    ]
    (row,) = place.referrers(IMAGE.digest, SPDX)
    assert json.loads(place.fetch(row))["subject"]["digest"] == IMAGE.digest


# --- mirrors, offline, what lies around -------------------------------------------------------


def test_a_mirror_that_lists_nothing_is_not_believed(server: FaultServer) -> None:
    server.referrers_api = True
    serve_all(server)
    with FaultServer("127.0.0.2") as mirror:
        mirror.add_image("lab/app", "1", IMAGE)
        for api in (False, True):
            mirror.referrers_api = api
            assert found(source(server, mirrors=[mirror.url])) == everything("api")
        before = len(server.requests)
        mirror.attach("lab/app", SBOM)
        assert found(source(server, mirrors=[mirror.url])) == {SBOM.digest: "api"}
        assert len(server.requests) == before


def test_offline_refuses_and_asks_nobody(server: FaultServer) -> None:
    place = chain.registry(server.host, make(offline=True, trust_env=False), "lab/app")
    with pytest.raises(errors.Unsupported, match="offline"):
        place.referrers(IMAGE.digest)
    assert not server.requests


def test_the_sources_around_pass_it_on(server: FaultServer) -> None:
    server.referrers_api = True
    serve_all(server)
    place = chain.registry(server.host, make(trust_env=False), "lab/app")
    listed = list(place.referrers(IMAGE.digest, SPDX))
    assert [one.digest for one in listed] == [SBOM.digest]
    assert isinstance(listed[0], Referrer)


def test_an_index_may_be_attached_and_have_things_attached(server: FaultServer) -> None:
    server.referrers_api = True
    index = make_index([IMAGE], subject=json.loads(SBOM.manifest)["subject"])
    server.attach("lab/app", index)
    server.attach("lab/app", attach_sbom(index))
    place = source(server)
    (row,) = place.referrers(IMAGE.digest)
    assert (row.digest, row.media_type) == (index.digest, OCI_INDEX)
    assert len(list(place.referrers(index.digest))) == 1


def test_other_digests(server: FaultServer) -> None:
    small = make_small(1)
    server.referrers_api = True
    serve_all(server)
    assert list(source(server).referrers(small.digest)) == []
    assert isinstance(next(source(server).referrers(IMAGE.digest)), Descriptor)
