"""What real registries do beside the specification: one row each, played by a FaultServer."""

from __future__ import annotations

import gzip
import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from rig.faults import (
    Answer,
    FaultServer,
    Request,
    change,
    chunked,
    error_body,
    half_close_after,
    ignore_range,
    raw,
    redirect,
    respond,
    too_many,
    until_close,
    with_headers,
    wrong_range,
)
from rig.images import DOCKER_MANIFEST, OCI_MANIFEST, make_image, make_index, sha256
from rig.names import NamesProxy

from didlab import errors
from didlab.oci import manifest as manifests
from didlab.oci import media_types
from didlab.oci.descriptor import Descriptor
from didlab.transport.client import connect

pytestmark = pytest.mark.usefixtures("alone")
ALICE = {"username": "alice", "password": "wonder:land/42"}
JSON = {"Content-Type": "application/json"}


def on(part: str, *, method: str | None = None):
    return lambda request: part in request.path and method in (None, request.method)


def rows(*entries):
    """Rows of a table; the first value of each is its id."""
    return [pytest.param(*entry[1:], id=entry[0]) for entry in entries]


def to(server: FaultServer, query: str = ""):
    return change(lambda a, r: Answer(307, {"Location": f"{server.url}{r.path}{query}"}))


def tokens_asked(server: FaultServer) -> list[Request]:
    return server.asked("/token")


# --- challenge and token -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "bearer"),
    rows(
        ("token", {"token": "T"}, "T"),
        ("access_token", {"access_token": "A"}, "A"),
        ("both", {"token": "T", "access_token": "A"}, "T"),
        ("empty-token", {"token": "", "access_token": "A"}, "A"),
        ("hub-without-expiry", {"token": "T"}, "T"),
        ("expiry-zero", {"token": "T", "expires_in": 0}, "T"),
        ("expiry-negative", {"token": "T", "expires_in": -1}, "T"),
        ("expiry-huge", {"token": "T", "expires_in": 10**400}, "T"),
        ("expiry-text", {"token": "T", "expires_in": "abc"}, "T"),
        ("issued-next-year", {"token": "T", "issued_at": "2199-01-01T00:00:00Z"}, "T"),
        ("html", b"<html>log in</html>", None),
        ("empty", b"", None),
        ("list", [], None),
        ("missing", {"jwt": "T"}, None),
        ("number", {"token": 5}, None),
        ("header-injection", {"token": "T\r\nX-Evil: 1"}, None),
        ("blank", {"token": "T U"}, None),
        ("not-ascii", {"token": "Tü"}, None),
        ("ten-megabytes", {"token": "T" * 200_000}, None),
        ("deep", b"[" * 100_000, None),
        ("utf-16", json.dumps({"token": "T"}).encode("utf-16"), None),
    ),
)
def test_token_answers(server, at, ref, body, bearer):
    server.auth = "bearer"
    server.valid = {"T", "A"}
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    server.rule(on("/token"), respond(200, JSON, text))
    source = at(server)
    if bearer is None:
        with pytest.raises(errors.TokenInvalid):
            source.resolve(ref(source))
        assert not [r for r in server.asked("/manifests/") if "authorization" in r.headers]
        return
    source.resolve(ref(source))
    source.resolve(ref(source))
    assert len(tokens_asked(server)) == 1  # whatever it said, it lived for 60 s
    assert [r.bearer for r in server.asked("/manifests/")] == ["", bearer, bearer]


OWN = "repository:lab/app:pull"


@pytest.mark.parametrize(
    ("challenge", "service", "scope"),
    rows(
        ("usual", 'Bearer realm="R",service="s",scope="repository:lab/app:pull"', ["s"], [OWN]),
        ("nvcr-no-service", 'Bearer realm="R",scope="repository:lab/app:pull"', [], [OWN]),
        ("quay-no-scope", 'Bearer realm="R",service="s"', ["s"], [OWN]),
        ("oracle-empty-scope", 'Bearer realm="R",service="s",scope="::"', ["s"], [OWN]),
        ("blank-scope", 'Bearer realm="R",service="",scope=""', [], [OWN]),
        ("wide-scope", 'Bearer realm="R",scope="repository:o/x:pull,push registry:catalog:*"', [],
         [OWN]),
        ("artifactory-other-name", 'Bearer realm="R",scope="repository:app:pull"', [], [OWN]),
        ("gitlab-realm-with-query", 'Bearer realm="R?service=container_registry"',
         ["container_registry"], [OWN]),
        ("lower-case", 'bearer REALM="R", Service="s"', ["s"], [OWN]),
        ("unquoted", "Bearer realm=R,service=s", ["s"], [OWN]),
        ("basic-before", 'Basic realm="x", Bearer realm="R",service="s"', ["s"], [OWN]),
        ("negotiate", 'Negotiate, NTLM TlRMTVNTUAAB=, Bearer realm="R",service="s"', ["s"], [OWN]),
        ("two-headers", 'Negotiate\r\nWWW-Authenticate: Bearer realm="R",service="s"', ["s"],
         [OWN]),
    ),
)  # fmt: skip
def test_challenges(server, at, ref, challenge, service, scope):
    server.auth = "bearer"
    text = challenge.replace("=R", f"={server.url}/token").replace('"R', f'"{server.url}/token')
    head = {"WWW-Authenticate": text}
    server.rule(lambda r: "/manifests/" in r.path and not r.bearer, respond(401, head))
    source = at(server)
    source.resolve(ref(source))
    (asked,) = tokens_asked(server)
    assert asked.query.get("service", []) == service
    assert asked.query.get("scope", []) == scope


@pytest.mark.parametrize(
    "challenge",
    rows(
        ("none-known", "Negotiate"),
        ("no-realm", 'Bearer service="s"'),
        ("unbalanced", 'Bearer realm="http://x'),
        ("64-KiB", 'Bearer realm="' + "x" * 60_000 + '"'),
        ("commas", "Bearer " + "," * 1000),
    ),
)
def test_challenges_that_cannot_be_answered(server, at, ref, challenge):
    server.rule(on("/v2/"), respond(401, {"WWW-Authenticate": challenge}))
    source = at(server, **ALICE)
    with pytest.raises((errors.AuthError, errors.BadHeader)):
        source.resolve(ref(source))
    assert not [r for r in server.requests if "authorization" in r.headers]


def test_gcr_401_without_challenge_takes_the_one_of_the_root(server, at, ref):
    server.auth = "bearer"
    server.rule(lambda r: "/manifests/" in r.path and not r.bearer, respond(401))
    source = at(server)
    source.resolve(ref(source))
    assert [r.path for r in server.requests] == [
        "/v2/lab/app/manifests/1", "/v2/", "/token", "/v2/lab/app/manifests/1",
    ]  # fmt: skip


def test_gcr_no_scope_outside_of_repositories(server, at):
    server.auth = "bearer"
    answer = connect(server.host, at(server).options).origin.request("GET", "", "", scope=None)
    answer.close()
    assert answer.status == 200
    assert "scope" not in tokens_asked(server)[0].query


@pytest.mark.parametrize("status", [401, 403])
def test_insufficient_scope_is_answered_once(server, at, ref, status):
    # A place that knows the repository by another name says so in its challenge.
    server.auth = "bearer"
    wide = (
        f'Bearer realm="{server.url}/token",service="s",scope="repository:key/lab/app:pull",'
        'error="insufficient_scope"'
    )
    good: set[str] = set()

    def token(answer: Answer, request: Request) -> Answer:
        name = "wide" if "repository:key/lab/app:pull" in request.query["scope"] else "narrow"
        good.add(name)
        server.valid |= {"wide", "narrow"}
        return replace(answer, body=json.dumps({"token": name}).encode())

    server.rule(on("/token"), change(token))
    server.rule(lambda r: r.bearer == "narrow", respond(status, {"WWW-Authenticate": wide}))
    source = at(server)
    source.resolve(ref(source))
    assert good == {"narrow", "wide"}
    server.requests.clear()
    source.resolve(ref(source))
    assert [r.bearer for r in server.requests] == ["wide"]  # remembered


def test_always_401_is_given_up(server, at, ref):
    server.auth = "bearer"
    bearer = {"WWW-Authenticate": f'Bearer realm="{server.url}/token"'}
    server.rule(on("/manifests/"), respond(401, bearer))
    source = at(server, **ALICE)
    with pytest.raises(errors.AuthDenied):
        source.resolve(ref(source))
    assert len(server.asked("/manifests/")) == 2
    assert len(tokens_asked(server)) == 1


def test_ecr_basic_on_every_request(server, at, ref):
    server.auth, server.users = "basic", {"AWS": "p"}
    source = at(server, username="AWS", password="p")
    source.fetch(manifests.parse(source.resolve(ref(source)).data).config)
    assert [r.basic for r in server.requests] == [None, ("AWS", "p"), ("AWS", "p")]


def test_ecr_says_403_when_its_login_is_too_old(server, at, ref):
    server.rule(on("/v2/"), respond(403, JSON, error_body("DENIED", "token has expired")))
    source = at(server, username="AWS", password="p")
    with pytest.raises(errors.AuthDenied, match="token has expired"):
        source.resolve(ref(source))


def test_gitea_public_but_401_first(server, at, ref):
    server.auth = "bearer"
    source = at(server)
    source.resolve(ref(source))
    assert tokens_asked(server)[0].basic is None


@pytest.mark.parametrize("method", ["basic", "bearer"])
def test_nexus_wants_a_login_for_one_thing_and_not_for_another(server, at, ref, method):
    server.anonymous = False
    server.auth = method
    source = at(server)
    with pytest.raises(errors.AuthRequired):
        source.resolve(ref(source))
    server.auth = None
    source.resolve(ref(source))
    with pytest.raises(errors.AuthRequired):
        server.auth = method
        source.resolve(ref(source))


def test_harbor_cookies_are_not_kept_and_robots_have_dollars(server, at, ref):
    server.auth, server.users = "bearer", {"robot$ci+app": "p$"}
    server.rule(lambda r: bool(r.headers.get("cookie")), respond(401))
    server.rule(lambda r: bool(r.bearer), with_headers(Set_Cookie="sid=1; Path=/"))
    source = at(server, username="robot$ci+app", password="p$")
    for _ in range(2):
        source.resolve(ref(source))
    (asked,) = tokens_asked(server)
    assert asked.basic == ("robot$ci+app", "p$")
    assert asked.query["account"] == ["robot$ci+app"]


def test_acr_zeros_are_exchanged(server, at, ref):
    zeros = "00000000-0000-0000-0000-000000000000"
    server.auth, server.users, server.anonymous = "bearer", {zeros: "refresh"}, False
    source = at(server, username=zeros, password="refresh")
    source.resolve(ref(source))
    assert tokens_asked(server)[0].basic == (zeros, "refresh")
    assert "refresh" not in {r.bearer for r in server.requests}


def test_oracle_licence_is_told(server, at, ref):
    name = "container-registry.oracle.com:443"
    server.rule(on("/v2/"), respond(403, JSON, error_body("DENIED", "denied")))
    host = name.partition(":")[0]
    known = {f"{host}:443": server.host, f"{host}:80": server.host}
    with NamesProxy(known) as names:
        source = at(host, "database/free", proxy=names.url, insecure=True, timeout=1, **ALICE)
        with pytest.raises(errors.AuthDenied, match="licence"):
            source.resolve(ref(source))


def test_daocloud_other_service_for_each_upstream(server, at, ref, image):
    server.add_image("gcr/app", "1", image)
    server.auth = "bearer"
    for part in ("lab", "gcr"):
        text = f'Bearer realm="{server.url}/token",service="{part}"'
        server.rule(
            lambda r, part=part: f"/{part}/" in r.path and not r.bearer,
            respond(401, {"WWW-Authenticate": text}),
        )
    # The token server of one does not know the other's names.
    server.rule(
        lambda r: r.path == "/token" and r.query["service"][0] not in r.query["scope"][0],
        respond(400),
    )
    for repository in ("lab/app", "gcr/app", "lab/app"):
        source = at(server, repository)
        source.resolve(ref(source))


def test_pulp_token_fails_on_the_second_page(server, at):
    server.tags["lab/app"].update({f"t{n}": "x" for n in range(5)})
    server.auth, server.page = "bearer", 3
    first = {"page": True}

    def forget(answer: Answer, request: Request) -> Answer:
        if first.pop("page", False):
            server.valid.clear()
        return answer

    server.rule(lambda r: bool(r.bearer) and "last" not in r.query, change(forget))
    assert len(list(at(server).tags())) == 6
    assert len(tokens_asked(server)) == 2


@pytest.mark.parametrize("retry_after", ["1", "600"])
def test_token_server_limits(server, at, ref, waits, retry_after):
    server.auth = "bearer"
    server.rule(on("/token"), too_many(retry_after), times=1)
    source = at(server)
    if retry_after == "1":
        source.resolve(ref(source))
        assert waits == [pytest.approx(1.0)]
        return
    with pytest.raises(errors.RateLimited) as caught:
        source.resolve(ref(source))
    assert caught.value.retry_after == 600
    assert len(tokens_asked(server)) == 1


def test_token_server_that_fails_is_asked_five_times(server, at, ref, waits):
    server.auth = "bearer"
    server.rule(on("/token"), respond(502))
    source = at(server)
    with pytest.raises(errors.ServerError, match="token server"):
        source.resolve(ref(source))
    assert len(tokens_asked(server)) == 5


def test_token_server_that_redirects_is_not_followed(server, at, ref, other):
    server.auth = "bearer"
    server.rule(on("/token"), redirect(f"{other.url}/token"))
    source = at(server, **ALICE)
    with pytest.raises(errors.OriginRefused):
        source.resolve(ref(source))
    assert not other.requests


# --- manifests ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    rows(
        ("charset", OCI_MANIFEST + "; charset=utf-8"),
        ("charset-tight", OCI_MANIFEST + ";charset=ISO-8859-1"),
        ("upper-case", OCI_MANIFEST.upper()),
        ("artifactory-json", "application/json"),
        ("nexus-html", "text/html"),
        ("octets", "application/octet-stream"),
        ("schema1-lie-of-none", "text/plain; charset=utf-8"),
        ("missing", ""),
    ),
)
@pytest.mark.parametrize("says", [True, False], ids=["mediaType", "no-mediaType"])
def test_content_types(server, at, ref, kind, says):
    image = make_image([{"a": b"a"}], manifest_json={} if says else {"mediaType": None})
    server.add_image("lab/app", "1", image)
    server.rule(on("/manifests/"), with_headers(Content_Type=kind))
    source = at(server)
    found = source.resolve(ref(source))
    assert (found.media_type, found.digest) == (OCI_MANIFEST, image.digest)
    assert manifests.parse(source.fetch(found), found.media_type).digest == image.digest


@pytest.mark.parametrize("header", ["", "sha256:" + "0" * 64, "nonsense"])
def test_digest_header_is_not_trusted(server, at, ref, image, header):
    server.rule(on("/manifests/"), with_headers(Docker_Content_Digest=header))
    source = at(server)
    assert source.resolve(ref(source)).digest == image.digest


def test_accept_has_all_types_in_one_line(server, at, ref):
    source = at(server)
    source.resolve(ref(source))
    assert server.requests[0].headers["accept"].split(", ") == list(media_types.ACCEPT)


SCHEMA1 = json.dumps({"schemaVersion": 1, "name": "a", "fsLayers": [], "history": []}).encode()


def test_old_distribution_gives_schema1_unless_asked_for_schema2_alone(server, at, ref, image):
    kind = {"Content-Type": media_types.SCHEMA1_SIGNED}
    several = lambda r: "/manifests/" in r.path and "," in r.headers["accept"]  # noqa: E731
    server.rule(several, respond(200, kind, SCHEMA1))
    source = at(server)
    assert source.resolve(ref(source)).digest == image.digest
    assert server.requests[1].headers["accept"] == DOCKER_MANIFEST


@pytest.mark.parametrize("kind", [media_types.SCHEMA1_SIGNED, "application/json"])
def test_schema1_is_told_by_its_type(server, at, ref, kind):
    server.rule(on("/manifests/"), respond(200, {"Content-Type": kind}, SCHEMA1))
    source = at(server)
    found = source.resolve(ref(source))
    assert found.media_type == media_types.SCHEMA1
    assert source.fetch(found) == SCHEMA1
    with pytest.raises(errors.DigestMismatch):
        source.resolve(ref(source, "sha256:" + "1" * 64))


def test_looking_like_schema1_does_not_evade_the_digest(server, at, ref, image):
    evil = make_index([image], annotations={"fsLayers": "1"})
    server.rule(on("/manifests/"), respond(200, {"Content-Type": evil.media_type}, evil.manifest))
    source = at(server)
    with pytest.raises(errors.DigestMismatch):
        source.resolve(ref(source, image.digest))


@pytest.mark.parametrize(
    ("status", "code", "error"),
    rows(
        ("usual", 404, "MANIFEST_UNKNOWN", errors.ManifestNotFound),
        ("no-repository", 404, "NAME_UNKNOWN", errors.RepositoryNotFound),
        ("harbor-unknown", 404, "UNKNOWN", errors.ManifestNotFound),
        ("no-code", 404, "", errors.ManifestNotFound),
        ("gone", 410, "", errors.ManifestNotFound),
        ("artifactory-403", 403, "DENIED", errors.AuthRequired),
        ("not-acceptable", 406, "", errors.ProtocolError),
        ("no-content", 204, "", errors.ProtocolError),
        ("part-unasked", 206, "", errors.ProtocolError),
        ("not-modified", 304, "", errors.ProtocolError),
        ("999", 999, "", errors.DidlabError),
        ("server", 500, "", errors.ServerError),
    ),
)
def test_refusals(server, at, ref, waits, status, code, error):
    body = error_body(code, "not found \x1b[31m") if code else b"<xml>gone</xml>"
    server.rule(on("/manifests/"), respond(status, {}, b"" if status in (204, 304) else body))
    source = at(server)
    with pytest.raises(error) as caught:
        source.resolve(ref(source))
    assert "\x1b" not in str(caught.value)
    assert caught.value.host == server.host


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_json_is_decoded(server, at, ref, image, coding):
    import zlib

    pack = gzip.compress if coding == "gzip" else zlib.compress
    packed = change(lambda a, _: replace(a, headers={**a.headers, "Content-Encoding": coding},
                                         body=pack(a.body)))  # fmt: skip
    server.rule(on("/manifests/"), packed)
    source = at(server)
    assert source.resolve(ref(source)).digest == image.digest


def test_a_compressed_bomb_stops_at_the_limit(server, at, ref):
    body = gzip.compress(b"{" + b" " * 50_000_000)
    server.rule(on("/manifests/"), respond(200, {"Content-Encoding": "gzip"}, body))
    source = at(server)
    with pytest.raises(errors.LimitExceeded):
        source.resolve(ref(source))


@pytest.mark.parametrize("how", ["announced", "chunked"])
def test_four_mebibytes_are_the_limit(server, at, ref, how):
    server.rule(on("/manifests/"), respond(200, JSON, b"{" + b" " * (4 << 20)))
    if how == "chunked":
        server.rules.clear()
        server.tags["lab/app"]["1"] = digest = sha256(b"{" + b" " * (5 << 20))
        server.blobs[digest], server.types[digest] = b"{" + b" " * (5 << 20), OCI_MANIFEST
        server.rule(on("/manifests/"), chunked(65536))
    source = at(server)
    with pytest.raises(errors.LimitExceeded):
        source.resolve(ref(source))


@pytest.mark.parametrize("kind", ["manifests", "blobs"])
def test_config_and_manifest_may_live_at_the_other_address(server, at, ref, image, kind):
    source = at(server)
    config = manifests.parse(source.resolve(ref(source)).data).config
    whole = Descriptor(OCI_MANIFEST, image.digest, len(image.manifest))
    server.types[config.digest] = config.media_type
    server.rule(on("/blobs/" if kind == "manifests" else "/manifests/"), respond(404))
    assert sha256(source.fetch(config)) == config.digest
    assert source.fetch(whole) == image.manifest


def test_warnings_are_shown_once(server, at, ref, caplog):
    told = '299 - "use \\"v2\\" \x9b"'
    server.rule(on("/manifests/"), with_headers(Warning=told))
    source = at(server)
    with caplog.at_level(logging.WARNING, "didlab"):
        for _ in range(2):
            source.resolve(ref(source))
    (record,) = caplog.records
    assert server.host in record.getMessage()
    assert "\x9b" not in record.getMessage()


@pytest.mark.parametrize("count", [0, 1, 100])
def test_a_small_body_that_breaks_off_is_asked_for_again(server, at, ref, image, waits, count):
    server.rule(on("/manifests/"), half_close_after(count), times=2)
    source = at(server)
    assert source.resolve(ref(source)).digest == image.digest
    server.rule(on("/manifests/"), half_close_after(count))
    with pytest.raises(errors.Truncated):
        source.resolve(ref(source))


def test_a_portal_is_no_registry(server, at, ref):
    page = respond(200, {"Content-Type": "text/html"}, b"<!doctype html><p>log in")
    server.rule(on("/v2/"), page)
    source = at(server)
    with pytest.raises(errors.BadContentType, match="web page"):
        source.resolve(ref(source))
    with pytest.raises(errors.BadContentType):
        list(source.tags())


@pytest.mark.parametrize(
    ("head", "error"),
    rows(
        ("two-lengths", b"Content-Length: 2\r\nContent-Length: 3\r\n", errors.BadHeader),
        ("many-headers", b"X: y\r\n" * 200, errors.BadHeader),
        ("long-header", b"X: " + b"y" * 100_000 + b"\r\n", errors.BadHeader),
    ),
)
def test_headers_beyond_use(server, at, ref, waits, head, error):
    server.rule(on("/v2/"), raw(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n{}"))
    source = at(server)
    with pytest.raises(error):
        source.resolve(ref(source))


def test_something_else_than_http(server, at, ref, waits, http):
    http(server.host)
    server.rule(on("/v2/"), raw(b"220 mail.example ESMTP\r\n"))
    source = at(server)
    with pytest.raises(errors.ProtocolError, match="not HTTP"):
        source.resolve(ref(source))


UNTOLD = {"Content-Length": "", "Connection": "close"}


# --- blobs --------------------------------------------------------------------------------------


@pytest.fixture
def blob(server, at, image):
    layer = image.layers[0]
    data = image.blobs[layer["digest"]]
    return at(server).open(Descriptor(layer["mediaType"], layer["digest"], len(data))), data


def read(reader) -> bytes:
    return b"".join(reader.stream())


def test_s3_takes_only_one_way_of_auth(server, other, blob):
    server.auth = "bearer"
    server.rule(lambda r: "/blobs/" in r.path and bool(r.bearer),
                to(other, "?X-Amz=1"))  # fmt: skip
    other.rule(lambda r: "authorization" in r.headers, respond(400))
    reader, data = blob
    assert read(reader) == data
    assert reader.read_at(5, 10) == data[5:10]
    assert other.requests[-1].range == "bytes=5-9"
    assert "cookie" not in other.requests[-1].headers


def test_a_store_that_wants_its_own_anonymous_token(server, other, blob):
    server.auth = other.auth = "bearer"
    server.rule(lambda r: "/blobs/" in r.path and bool(r.bearer),
                to(other))  # fmt: skip
    reader, data = blob
    assert read(reader) == data
    assert [r.basic for r in tokens_asked(other)] == [None]
    assert not {r.bearer for r in server.requests if r.bearer} & {
        r.bearer for r in other.requests[:-1]
    }


def test_k8s_manifests_redirect_too(server, other, at, ref, image):
    server.rule(on("/manifests/"),
                to(other))  # fmt: skip
    source = at(server)
    assert source.resolve(ref(source)).digest == image.digest


def test_an_expired_address_is_fetched_anew(server, other, blob):
    server.rule(on("/blobs/"),
                to(other))  # fmt: skip
    xml = respond(403, {"Content-Type": "application/xml"}, b"<Error>expired</Error>")
    other.rule(on("/blobs/"), xml, times=1)
    reader, data = blob
    assert read(reader) == data
    assert len(server.asked("/blobs/")) == 2
    other.rule(on("/blobs/"), xml)
    with pytest.raises(errors.AuthDenied, match=other.host) as caught:
        read(reader)
    assert "username" not in str(caught.value)


def whole_with_range(exchange):
    exchange.request.headers.pop("range", None)
    whole = exchange.honest(exchange.request)
    headers = {**whole.headers, "Content-Range": "bytes 100-199/*"}
    exchange.answer = replace(whole, headers=headers)
    exchange.finish()


def fill(action, size: int):
    """The action, ``{size}`` in its headers replaced."""

    def act(exchange):
        inner = exchange.finish

        def finish():
            headers = {
                name: value.replace("{size}", str(size))
                for name, value in exchange.answer.headers.items()
            }
            exchange.answer = replace(exchange.answer, headers=headers)
            inner()

        exchange.finish = finish
        action(exchange)

    return act


@pytest.mark.parametrize(
    ("action", "asked"),
    rows(
        ("honoured", None, 1),
        ("zot-200", ignore_range, 1),
        ("total-unknown", wrong_range("bytes 100-199/*"), 1),
        ("no-content-range", wrong_range(""), 2),
        ("other-start", wrong_range("bytes 0-99/{size}"), 2),
        ("short-end", wrong_range("bytes 100-150/{size}"), 2),
        ("other-total", wrong_range("bytes 100-199/5"), 2),
        ("items", wrong_range("items 100-199/{size}"), 2),
        ("twice", wrong_range("bytes 100-199/{size}\r\nContent-Range: bytes 100-199/{size}"), 2),
        ("full-width", wrong_range("bytes \xb9-199/*"), 2),
        ("gitlab-400", respond(400), 2),
        ("416", respond(416), 2),
        ("multipart", with_headers(Content_Type="multipart/byteranges; boundary=:x",
                                   Content_Range=""), 2),
        ("dragonfly-200-with-range", change(lambda a, _: replace(a, status=200)), 1),
        ("200-whole-with-range", whole_with_range, 1),
        ("200-with-wrong-range", change(
            lambda a, _: Answer(200, {"Content-Range": "bytes 7-99/*"}, a.body[:93])), 2),
    ),
)  # fmt: skip
def test_ranges(server, blob, action, asked):
    reader, data = blob
    reader.read_at(0, 1)  # a first 400 would have TLS tried
    server.requests.clear()
    if action is not None:
        server.rule(lambda r: "/blobs/" in r.path and bool(r.range), fill(action, len(data)))
    assert reader.read_at(100, 200) == data[100:200]
    assert len(server.asked("/blobs/")) == asked
    assert reader.read_at(0, len(data)) == data


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "br", "gzip, gzip, gzip, gzip, gzip, gzip"])
def test_content_codings_are_refused_for_blobs(server, blob, coding):
    server.rule(on("/blobs/"), with_headers(Content_Encoding=coding))
    reader, _ = blob
    with pytest.raises(errors.ContentEncodingRefused):
        read(reader)
    assert server.requests[-1].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("how", [until_close, chunked(500)], ids=["close", "chunked"])
def test_length_may_be_missing(server, blob, how):
    server.rule(on("/blobs/"), how)
    reader, data = blob
    assert read(reader) == data


@pytest.mark.parametrize(
    ("action", "error"),
    rows(
        ("announced-longer", with_headers(Content_Length="999999"), errors.SizeMismatch),
        ("announced-shorter", with_headers(Content_Length="5"), errors.SizeMismatch),
        ("plus", with_headers(Content_Length="+5"), errors.BadHeader),
        ("underscore", with_headers(Content_Length="1_000"), errors.BadHeader),
        ("longer", change(lambda a, _: Answer(200, UNTOLD, a.body + b"x")), errors.SizeMismatch),
        ("shorter", half_close_after(100), errors.Truncated),
        ("chunks-without-end", chunked(100, end=False), errors.Truncated),
        ("part-unasked", respond(206, {"Content-Range": "bytes 0-4/5"}, b"12345"), errors.BadRange),
        ("not-there", respond(404), errors.BlobNotFound),
        ("name-unknown", respond(404, JSON, error_body("NAME_UNKNOWN")), errors.BlobNotFound),
    ),
)  # fmt: skip
def test_blobs_that_are_wrong(server, blob, waits, action, error):
    server.rule(on("/blobs/"), action)
    server.rule(on("/manifests/"), respond(404))
    with pytest.raises(error):
        read(blob[0])


def test_a_changed_etag_means_the_whole_again(server, blob):
    reader, data = blob
    assert reader.read_at(0, 10) == data[:10]
    server.rule(lambda r: "if-range" in r.headers, ignore_range, times=1)
    assert reader.read_at(10, 20) == data[10:20]
    assert server.requests[-1].headers["if-range"] == f'"{sha256(data)}"'


# --- listing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "tags"),
    rows(
        ("usual", {"name": "lab/app", "tags": ["b", "a"]}, ["b", "a"]),
        ("null", {"name": "lab/app", "tags": None}, []),
        ("no-tags", {"name": "lab/app"}, []),
        ("nexus-null-inside", {"tags": ["a", None, "b"]}, ["a", "b"]),
        ("artifactory-digests", {"tags": ["a", "sha256:" + "1" * 64, "sha256__" + "1" * 64]},
         ["a", "sha256__" + "1" * 64]),
        ("gcr-maps", {"child": [], "manifest": {"sha256:1": {"tag": ["a"]}}, "tags": ["a"]}, ["a"]),
        ("twice", {"tags": ["a", "a"]}, ["a"]),
        ("ecr-public-other-body", {"imageTagDetails": []}, None),
        ("text", {"tags": "abc"}, None),
        ("no-json", b"a b c", None),
        ("a-list", ["a"], None),
    ),
)  # fmt: skip
def test_bodies_of_lists(server, at, body, tags):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    server.rule(on("/tags/list"), respond(200, JSON, text))
    if tags is None:
        with pytest.raises(errors.ProtocolError):
            list(at(server).tags())
    else:
        assert list(at(server).tags()) == tags
    assert server.requests[0].headers["accept"] == "application/json"
    assert server.requests[0].query["n"] == ["1000"]


PATH = "/v2/lab/app/tags/list"


@pytest.mark.parametrize(
    ("link", "query"),
    rows(
        ("relative", f'<{PATH}?last=a&n=1>; rel="next"', {"last": ["a"], "n": ["1"]}),
        ("absolute", f'<http://SERVER{PATH}?last=a>; rel="next"', {"last": ["a"]}),
        ("internal-host", f'<https://10.0.0.1:5000{PATH}?last=a>; rel="next"', {"last": ["a"]}),
        ("only-query", '<?last=a>; rel="next"', {"last": ["a"]}),
        ("last-segment", '<list?last=a>; rel="next"', {"last": ["a"]}),
        ("behind-a-prefix", f'</api/docker/key{PATH}?last=a>; rel="next"', {"last": ["a"]}),
        ("rel-without-quotes", f"<{PATH}?last=a>; rel=next", {"last": ["a"]}),
        ("no-rel", f"<{PATH}?last=a>", {"last": ["a"]}),
        ("two-in-a-line", f'<{PATH}?last=0>; rel="prev", <{PATH}?last=a>; rel="next"',
         {"last": ["a"]}),
        ("two-headers", f'<{PATH}?last=0>; rel="first"\r\nLink: <{PATH}?last=a>; rel="next"',
         {"last": ["a"]}),
        ("ecr-opaque-last", f'<{PATH}?last={"x%2B%2F%3D" * 100}&n=1000>; rel="next"',
         {"last": ["x+/=" * 100], "n": ["1000"]}),
        ("only-prev", f'<{PATH}?last=0>; rel="prev"', None),
    ),
)  # fmt: skip
def test_links(server, at, link, query):
    first = lambda r: r.query == {"n": ["1000"]}  # noqa: E731
    head = {**JSON, "Link": link.replace("SERVER", server.host)}
    server.rule(first, respond(200, head, b'{"tags": ["a"]}'))
    server.rule(on("/tags/"), respond(200, JSON, b'{"tags": ["b"]}'))
    assert list(at(server).tags()) == (["a"] if query is None else ["a", "b"])
    if query is not None:
        assert server.requests[1].query == query
        assert server.requests[1].path == PATH


@pytest.mark.parametrize(
    "link",
    rows(
        ("circle", f'<{PATH}?last=a>; rel="next"'),
        ("same-page", f'<{PATH}?n=1000>; rel="next"'),
        ("other-list", '</v2/_catalog?last=a>; rel="next"'),
        ("no-query", f'<{PATH}>; rel="next"'),
        ("empty", '<>; rel="next"'),
        ("open", f"<{PATH}?last=a"),
        ("user-name", f'<http://a:b@c{PATH}?last=a>; rel="next"'),
        ("other-scheme", '<file:///etc/passwd?last=a>; rel="next"'),
        ("too-long", f'<{PATH}?last={"a" * 20_000}>; rel="next"'),
    ),
)
def test_links_that_lead_nowhere(server, at, link):
    server.rule(on("/tags/"), respond(200, {**JSON, "Link": link}, b'{"tags": ["a"]}'))
    with pytest.raises(errors.BadLink):
        list(at(server).tags())
    assert len(server.requests) <= 2


def test_many_pages(server, at):
    server.tags["lab/app"] = {f"t{n:03}": "x" for n in range(100)}
    server.page = 30
    assert list(at(server).tags()) == sorted(server.tags["lab/app"])
    assert len(server.requests) == 4


# --- rates --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "facts"),
    rows(
        ("hub", {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600"},
         {"limit": 100, "remaining": 0, "retry_after": None}),
        ("hub-web", {"X-RateLimit-Limit": "600", "X-RateLimit-Remaining": "0",
                     "Retry-After": "120"}, {"limit": 600, "remaining": 0, "retry_after": 120.0}),
        ("reset-seconds", {"RateLimit-Remaining": "0", "RateLimit-Reset": "300"},
         {"remaining": 0, "retry_after": 300.0}),
        ("far", {"Retry-After": "999999999"}, {"retry_after": 999999999.0}),
        ("absurd", {"Retry-After": "9" * 50, "RateLimit-Limit": "9" * 5000}, {"limit": None}),
        ("superscript", {"Retry-After": "60", "RateLimit-Limit": "\xb2"}, {"limit": None}),
    ),
)  # fmt: skip
def test_429_tells_what_is_left(server, at, ref, waits, headers, facts):
    server.rule(on("/manifests/"), respond(429, headers, error_body("TOOMANYREQUESTS")))
    source = at(server)
    with pytest.raises(errors.RateLimited) as caught:
        source.resolve(ref(source))
    assert {name: getattr(caught.value, name) for name in facts} == facts
    assert len(server.requests) == 1  # it would not help to ask again soon
    assert not waits


@pytest.mark.parametrize("how", ["seconds", "date", "garbage", "negative", "none"])
def test_a_short_retry_after_is_obeyed(server, at, ref, waits, how):
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=8), usegmt=True)
    value = {"seconds": "7", "date": soon, "garbage": "soon", "negative": "-5", "none": ""}[how]
    server.rule(on("/manifests/"), too_many(value), times=1)
    source = at(server)
    source.resolve(ref(source))
    (waited,) = waits
    assert 5 < waited < 9 if how in ("seconds", "date") else waited < 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 522, 408])
def test_passing_faults_pass(server, at, ref, waits, status):
    server.rule(on("/manifests/"), respond(status), times=4)
    source = at(server)
    source.resolve(ref(source))
    assert len(server.requests) == 5
    assert waits == sorted(waits)


# --- mirrors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mirror", "path", "query"),
    rows(
        ("docker-style", "", "/v2/lab/app/manifests/1", {}),
        ("containerd-ns", "?ns=docker.io", "/v2/lab/app/manifests/1", {"ns": ["docker.io"]}),
        ("daocloud-prefix", "/docker.io", "/v2/docker.io/lab/app/manifests/1", {}),
        ("harbor-project", "/v2/project", "/v2/project/lab/app/manifests/1", {}),
        ("artifactory-root", "/api/docker/key/v2/", "/api/docker/key/v2/lab/app/manifests/1", {}),
    ),
)
def test_forms_of_mirrors(server, other, at, ref, image, mirror, path, query):
    kind = {"Content-Type": OCI_MANIFEST}
    other.rule(on("/manifests/"), respond(200, kind, image.manifest))
    source = at(server, mirrors=[other.url + mirror])
    assert source.resolve(ref(source)).digest == image.digest
    (asked,) = other.requests
    assert (asked.path, asked.query) == (path, query)
    assert not server.requests
