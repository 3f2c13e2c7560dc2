"""Credentials never reach a canary, and requests never a forbidden place.

The ids name the rows A1-A27 and D1-D6 of the threat table. A canary is a host on 127.0.0.2 or
a name behind a `NamesProxy` that logs every header.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import logging
import pickle
import ssl
import traceback
import urllib.parse
from dataclasses import replace

import pytest
import trustme
from rig.faults import Answer, FaultServer, change, hang_up, redirect, respond, with_headers
from rig.images import OCI_MANIFEST, make_artifact, sha256
from rig.names import NamesProxy

import didlab
from didlab import errors
from didlab.oci.descriptor import Descriptor
from didlab.transport import wire
from didlab.transport.client import connect
from didlab.transport.options import make
from didlab.transport.urls import LOOPBACK, PRIVATE, PUBLIC

pytestmark = pytest.mark.usefixtures("alone")
PASSWORD = "wonder:land/42"
ALICE = {"username": "alice", "password": PASSWORD}
SECRETS = ("authorization", "cookie", "proxy-authorization")


def on(part):
    return lambda request: part in request.path


def unharmed(canary: FaultServer, *, asked: bool | None = None) -> None:
    """I4: nothing that reached the canary carried a login."""
    for request in canary.requests:
        assert not set(SECRETS) & set(request.headers), request
        assert b"refresh_token" not in request.body
    if asked is not None:
        assert bool(canary.requests) is asked


@pytest.fixture
def names(server, other):
    """registry.test:5000 and evil.test:5000, :80 by plain http (insecure= allows the first)."""
    known = {"registry.test:5000": server.host}
    known |= {f"evil.test:{port}": other.host for port in (80, 443, 5000)}
    with NamesProxy(known) as made:
        yield made


@pytest.fixture
def far(names, http):
    http("registry.test:5000")
    return {"proxy": names.url, "insecure": ["registry.test:5000"], "timeout": 1}


@pytest.fixture
def layer(image):
    one = image.layers[0]
    return Descriptor(one["mediaType"], one["digest"], one["size"])


def bytes_of(source, descriptor) -> bytes:
    return b"".join(source.open(descriptor).stream())


# --- A1, D6: urls of foreign layers -------------------------------------------------------------


def test_a1_d6_urls_are_not_used(server, other, at, waits):
    data = b"foreign"
    kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    urls = [f"{other.url}/x", "file:///etc/passwd", "ftp://evil.test/x", "data:,x"] * 2500
    row = {"mediaType": kind, "digest": sha256(data), "size": len(data), "urls": urls[:4]}
    server.add_image("lab/app", "2", make_artifact(b"{}", OCI_MANIFEST, [row], {}))
    source = at(server, **ALICE)
    with pytest.raises(errors.BlobNotFound):
        bytes_of(source, Descriptor.from_json({**row, "urls": urls}, "layers[0]"))
    unharmed(other, asked=False)


# --- A2-A6, A12, A19: realms --------------------------------------------------------------------


@pytest.mark.parametrize(
    "realm",
    [
        pytest.param("http://evil.test/token", id="A2-other-host"),
        pytest.param("http://evil.test:5000/token", id="A2-other-host-same-port"),
        pytest.param("http://169.254.169.254/latest", id="A4-link-local"),
        pytest.param("http://127.0.0.1:2375/", id="A4-loopback"),
        pytest.param("http://10.0.0.1/token", id="A4-private"),
        pytest.param("file:///etc/passwd", id="A4-file"),
        pytest.param("gopher://evil.test/", id="A4-gopher"),
        pytest.param("/token", id="A4-relative"),
        pytest.param("http://registry.test:5000@evil.test/token", id="A5-user-name"),
        pytest.param("http://registry.test:5000\\\\@evil.test/token", id="A5-backslash"),
        pytest.param("http://registry.test.evil.test/token", id="A5-longer-name"),
        pytest.param("http://evil.test./token", id="A5-dot"),
        pytest.param("HTTP://EVIL.TEST:80/token", id="A5-upper"),
        pytest.param("http://registr\tytest/token", id="A5-tab"),
        pytest.param("http://r\u212agistry.test/token", id="A5-look-alike"),
        pytest.param("http://[::ffff:127.0.0.1]:5000/", id="D2-mapped"),
        pytest.param("http://2130706433/", id="D2-decimal"),
        pytest.param("http://localhost./", id="D2-localhost"),
    ],
)
@pytest.mark.parametrize("anonymous", [True, False], ids=["good-anonymous-token", "none"])
def test_realms(server, other, far, names, at, ref, waits, realm, anonymous):
    server.auth = "bearer"
    head = {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'.encode().decode("latin-1")}
    server.rule(lambda r: not r.bearer, respond(401, head))
    server.valid, other.anonymous = other.valid, anonymous
    source = at("registry.test:5000", **far, **ALICE)
    try:
        source.resolve(ref(source))
        assert anonymous
    except (errors.AuthError, errors.OriginRefused, errors.BadHeader, errors.ProxyError):
        pass
    unharmed(other)
    assert not [r for r in server.requests if r.basic]
    # Addresses less public than a name are not even connected to.
    assert {r.host for r in names.requests} <= {"registry.test", "evil.test",
                                                "registry.test.evil.test"}  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = trustme.CA()
    made.path = tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(str(made.path))
    return made


def tls(authority, *hosts):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*hosts).configure_cert(made)
    return made


@pytest.fixture
def secure(authority, image):
    """https://registry.test behind a names proxy."""
    with FaultServer(tls=tls(authority, "registry.test")) as made:
        made.add_image("lab/app", "1", image)
        yield made


@pytest.mark.parametrize(
    "realm", ["http://registry.test/token", "http://auth.registry.test/token", "http://evil.test/"]
)
def test_a3_https_registry_with_a_realm_without_tls(secure, other, authority, at, ref, realm):
    secure.auth, secure.realm = "bearer", realm
    known = {"registry.test:443": secure.host}
    for host in ("registry.test", "auth.registry.test", "evil.test"):
        known[f"{host}:80"] = other.host
    with NamesProxy(known) as names:
        source = at("registry.test", proxy=names.url, ca=authority.path, **ALICE)
        with pytest.raises(errors.RealmRefused, match=realm.split("/")[2]):
            source.resolve(ref(source))
    unharmed(other, asked=False)


def test_a12_wide_scopes_are_not_asked_for(server, at, ref):
    wide = "repository:other/private:pull,push,delete registry:catalog:*"
    head = {"WWW-Authenticate": f'Bearer realm="{server.url}/token",scope="{wide}"'}
    server.auth = "bearer"
    server.rule(lambda r: "/v2/" in r.path, respond(401, head))
    source = at(server, **ALICE)
    with pytest.raises(errors.AuthDenied):
        source.resolve(ref(source))
    assert {r.query["scope"][0] for r in server.asked("/token")} == {"repository:lab/app:pull"}


def test_a19_insecure_registry_does_not_make_its_token_server_so(authority, at, ref, image):
    with (
        FaultServer(tls=tls(authority, "127.0.0.1")) as server,
        FaultServer("127.0.0.2", tls=tls(authority, "127.0.0.2")) as tokens,
    ):
        server.add_image("lab/app", "1", image)
        server.auth, server.realm = "bearer", f"{tokens.url}/token"
        source = at(server, insecure=True, **ALICE)
        with pytest.raises(errors.TlsFailed, match="token server"):
            source.resolve(ref(source))
        assert not tokens.requests


# --- A7-A10, D1, D2: redirects ------------------------------------------------------------------


def to(target, status=307):
    return change(lambda a, r: Answer(status, {"Location": f"{target}{r.path}"}))


@pytest.mark.parametrize("auth", ["basic", "bearer"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a7_the_login_stays_at_home(server, other, at, layer, image, auth, status):
    server.auth = auth
    server.rule(lambda r: "/blobs/" in r.path and "authorization" in r.headers,
                to(other.url, status))  # fmt: skip
    source = at(server, **ALICE)
    assert bytes_of(source, layer) == image.blobs[layer.digest]
    unharmed(other, asked=True)


@pytest.mark.parametrize("detour", [False, True], ids=["at-once", "after-a-hop-at-home"])
def test_a8_it_does_not_come_back(server, other, at, layer, image, detour):
    server.auth = "basic"
    if detour:
        server.rule(
            lambda r: r.path.startswith("/v2/") and "authorization" in r.headers,
            change(lambda a, r: Answer(307, {"Location": f"/hop{r.path}"})),
        )
    server.rule(lambda r: "/blobs/" in r.path and "authorization" in r.headers, to(other.url))
    other.rule(
        on("/blobs/"), change(lambda a, r: Answer(307, {"Location": f"{server.url}/home{r.path}"}))
    )
    server.rule(on("/home/"), respond(200, {}, image.blobs[layer.digest]))
    source = at(server, **ALICE)
    assert bytes_of(source, layer) == image.blobs[layer.digest]
    unharmed(other, asked=True)
    (back,) = server.asked("/home/")
    assert "authorization" not in back.headers
    assert bool(server.asked("/hop/")) is detour
    assert all("authorization" in request.headers for request in server.asked("/hop/v2/")[:1])


def test_within_the_origin_it_is_kept(server, at, layer, image):
    server.auth = "basic"
    server.rule(lambda r: "/blobs/" in r.path and "authorization" in r.headers,
                redirect("/home"))  # fmt: skip
    server.rule(on("/home"), respond(200, {}, image.blobs[layer.digest]))
    source = at(server, **ALICE)
    assert bytes_of(source, layer) == image.blobs[layer.digest]
    assert server.asked("/home")[0].basic == ("alice", PASSWORD)


def test_a9_another_port_is_another_origin(server, at, layer, image):
    server.auth = "basic"
    with FaultServer("127.0.0.1") as neighbour:
        neighbour.add_image("lab/app", "1", image)
        server.rule(lambda r: "authorization" in r.headers, to(neighbour.url))
        source = at(server, **ALICE)
        assert bytes_of(source, layer) == image.blobs[layer.digest]
        unharmed(neighbour, asked=True)


@pytest.mark.parametrize("target", ["http://registry.test", "http://evil.test"])
def test_a9_tls_is_never_given_up(secure, other, authority, at, ref, target):
    known = {"registry.test:443": secure.host, "registry.test:80": other.host,
             "evil.test:80": other.host}  # fmt: skip
    secure.rule(on("/v2/"), to(target))
    with NamesProxy(known) as names:
        options = {"proxy": names.url, "ca": authority.path, **ALICE}
        for insecure in (False, True, ["evil.test"]):
            source = at("registry.test", insecure=insecure, **options)
            with pytest.raises(errors.OriginRefused):
                source.resolve(ref(source))
    unharmed(other, asked=False)


@pytest.mark.parametrize("challenge", ['Basic realm="evil"', "BEARER", "Negotiate", ""])
def test_a10_a_401_elsewhere_is_not_answered(server, other, at, layer, challenge):
    server.auth = "basic"
    server.rule(lambda r: "authorization" in r.headers, to(other.url))
    text = challenge.replace("BEARER", f'Bearer realm="{other.url}/token"')
    other.anonymous = False
    other.rule(on("/v2/"), respond(401, {"WWW-Authenticate": text}))
    source = at(server, **ALICE)
    with pytest.raises(errors.AuthDenied, match=other.host):
        bytes_of(source, layer)
    unharmed(other, asked=True)


LESS_PUBLIC = [
    "http://127.0.0.1:2375/", "http://127.1/", "http://0x7f.1/", "http://0177.0.0.1/",
    "http://2130706433/", "http://[::1]/", "http://[::ffff:127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://localhost./",
    "http://a.localhost/", "http://0/", "http://169.254.169.254/", "http://10.0.0.1/",
    "http://192.168.1.1/", "http://172.16.0.1/", "http://100.64.0.1/", "http://224.0.0.1/",
    "http://[fe80::1]/", "http://[fc00::1]/", "http://[fe80::1%25eth0]/", "http://240.0.0.1/",
]  # fmt: skip


@pytest.mark.parametrize("target", LESS_PUBLIC)
def test_d1_d2_d4_redirects_of_a_public_name(server, far, names, at, ref, target):
    server.rule(on("/v2/"), redirect(target))
    source = at("registry.test:5000", **far, **ALICE)
    with pytest.raises(errors.OriginRefused):
        source.resolve(ref(source))
    assert {r.host for r in names.requests} == {"registry.test"}


@pytest.mark.parametrize("target", LESS_PUBLIC[-10:])
def test_d1_a_loopback_registry_may_point_to_anything_but_worse(server, at, ref, target):
    server.rule(on("/v2/"), redirect("http://169.254.169.254/"))
    source = at(server)
    with pytest.raises(errors.OriginRefused):
        source.resolve(ref(source))


@pytest.fixture
def classes(monkeypatch):
    """Addresses by the class they play; everything resolves to 127.0.0.x."""
    table = {"127.0.0.1": PUBLIC, "127.0.0.2": PRIVATE, "127.0.0.3": LOOPBACK}
    monkeypatch.setattr(wire, "address_class", lambda address: table[address])
    return table


@pytest.fixture
def resolver(monkeypatch):
    """Names of this test: a list of addresses for each, taken in turn."""
    import socket

    real, table = socket.getaddrinfo, {}

    def look_up(host, port, *args, **kwargs):
        if host in table:
            answers = table[host]
            host = answers.pop(0) if len(answers) > 1 else answers[0]
        assert host.startswith("127."), f"{host} was looked up"
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return table


@pytest.mark.parametrize("home", ["127.0.0.1", "127.0.0.2", "127.0.0.3"])
def test_d1_the_connected_address_decides(classes, resolver, at, ref, image, http, home):
    with FaultServer(home) as server, FaultServer("127.0.0.2") as store:
        for one in (server, store):
            one.add_image("lab/app", "1", image)
        resolver |= {"registry.test": [home], "store.test": ["127.0.0.2"]}
        server.rule(on("/v2/"), to(f"http://store.test:{store.port}"))
        name = f"registry.test:{server.port}"
        http(name)
        source = at(name, insecure=[name])
        if classes[home] > PRIVATE:
            with pytest.raises(errors.OriginRefused, match=r"127\.0\.0\.2"):
                source.resolve(ref(source))
            assert not store.requests
        else:
            assert source.resolve(ref(source)).digest == image.digest


def test_d3_rebinding(classes, resolver, at, ref, image, http):
    with FaultServer("127.0.0.1") as server, FaultServer("127.0.0.3", server.port) as inside:
        server.add_image("lab/app", "1", image)
        # Public when somebody looks, loopback when somebody connects.
        resolver |= {"registry.test": ["127.0.0.1"], "store.test": ["127.0.0.3"]}
        server.rule(on("/v2/"), to(f"http://store.test:{server.port}"))
        name = f"registry.test:{server.port}"
        http(name)
        source = at(name, insecure=[name])
        for _ in range(3):
            with pytest.raises(errors.OriginRefused):
                source.resolve(ref(source))
        assert not inside.requests


def test_d1_a_connection_that_one_may_use_another_may_not(classes, resolver, at, ref, image, http):
    # A private mirror may point to a private store; the public registry may not, although a
    # connection to it stands.
    with (
        FaultServer("127.0.0.1") as server,
        FaultServer("127.0.0.2") as mirror,
        FaultServer("127.0.0.2") as store,
    ):
        for one in (server, mirror, store):
            one.add_image("lab/app", "1", image)
        resolver |= {"registry.test": ["127.0.0.1"], "mirror.test": ["127.0.0.2"],
                     "store.test": ["127.0.0.2"]}  # fmt: skip
        for one in (server, mirror):
            one.rule(on("/v2/"), to(f"http://store.test:{store.port}"))
        hosts = [f"registry.test:{server.port}", f"mirror.test:{mirror.port}"]
        http(hosts[0])
        source = at(hosts[0], insecure=hosts, mirrors=[f"http://{hosts[1]}"])
        assert source.resolve(ref(source)).digest == image.digest
        mirror.rules.clear()
        mirror.rule(on("/v2/"), respond(404))
        with pytest.raises(errors.OriginRefused):
            source.resolve(ref(source))
        assert len(store.requests) == 1


@pytest.mark.parametrize("kind", ["self", "circle", "chain", "nowhere", "long"])
def test_redirects_end(server, at, ref, kind):
    def act(answer, request):
        number = int(request.query.get("n", ["0"])[0])
        location = {
            "self": request.target,
            "circle": f"/v2/?n={(number + 1) % 2}",
            "chain": f"/v2/?n={number + 1}",
            "nowhere": "",
            "long": "/" + "x" * 20_000,
        }[kind]
        return Answer(307, {"Location": location})

    server.rule(on("/v2/"), change(act))
    source = at(server)
    wanted = {"nowhere": errors.ProtocolError, "long": errors.OriginRefused}
    with pytest.raises(wanted.get(kind, errors.TooManyRedirects)):
        source.resolve(ref(source))
    assert len(server.requests) <= 6


# --- A11, A14-A18, A20-A25 ----------------------------------------------------------------------


def test_a11_bearer_before_basic(server, at, ref):
    both = f'Basic realm="x", Bearer realm="{server.url}/token"'
    server.auth = "bearer"
    server.rule(lambda r: "/v2/" in r.path and not r.bearer,
                respond(401, {"WWW-Authenticate": both}))  # fmt: skip
    source = at(server, **ALICE)
    source.resolve(ref(source))
    assert not [r for r in server.asked("/v2/") if r.basic]


def test_a16_tokens_are_for_one_repository_and_one_place(server, other, at, ref, image):
    server.auth = other.auth = "bearer"
    server.add_image("lab/two", "1", image)
    for repository in ("lab/app", "lab/two"):
        source = at(server, repository, mirrors=[other.url])
        source.resolve(ref(source))
    by_path: dict[str, set[str]] = {}
    for host in (server, other):
        for request in host.requests:
            if request.bearer:
                key = f"{host.host}/{request.path.split('/')[3]}"
                by_path.setdefault(key, set()).add(f"{host.host} {request.bearer}")
    assert len(by_path) == len(set.union(*by_path.values())) >= 2


def test_a17_a_helper_that_is_missing_gives_no_other_login(server, at, ref, alone):
    folder = alone / ".docker"
    folder.mkdir()
    entry = {"auth": base64.b64encode(b"alice:other").decode()}
    text = json.dumps({"credsStore": "nonexistent", "auths": {"private.test": entry}})
    (folder / "config.json").write_text(text)
    server.auth, server.anonymous = "basic", False
    source = at(server)
    with pytest.raises(errors.AuthRequired):
        source.resolve(ref(source))
    unharmed(server, asked=True)


@pytest.mark.parametrize(
    "key",
    ["127.0.0.1", "127.0.0.1:1", "HOST.evil.test", "evil-HOST", "HOST0", "http://127.0.0.1/v1/",
     "127.0.0.2:PORT", "HOST/other", "https://index.docker.io/v1/", "*"],
)  # fmt: skip
def test_a18_entries_of_others(server, at, ref, monkeypatch, key):
    key = key.replace("HOST", server.host).replace("PORT", str(server.port))
    entry = {"auth": base64.b64encode(b"alice:wonder:land/42").decode()}
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {key: entry}}))
    server.auth = "basic"
    source = at(server)
    with pytest.raises(errors.AuthRequired):
        source.resolve(ref(source))
    unharmed(server, asked=True)


def test_a20_no_http_where_https_was_meant(other, at, ref, waits):
    with NamesProxy({"registry.test:443": other.host, "registry.test:80": other.host}) as names:
        source = at("registry.test", proxy=names.url, timeout=1, **ALICE)
        with pytest.raises(errors.TransportError):
            source.resolve(ref(source))
        assert {r.port for r in names.requests} == {443}
    unharmed(other)
    assert not [r for r in other.requests if r.method == "GET"]


def test_a21_a_login_in_a_name():
    for text in (f"https://alice:{PASSWORD}@registry.test/app", f"alice:{PASSWORD}@r.test/app:1"):
        with pytest.raises(errors.InvalidReference) as caught:
            didlab.open(text)
        assert "land" not in str(caught.value) + repr(caught.value) + str(vars(caught.value))


def test_a22_mirrors_are_strangers(server, other, at, ref):
    other.auth, other.anonymous = "bearer", False
    server.auth = "bearer"
    source = at(server, mirrors=[other.url], **ALICE)
    source.resolve(ref(source))
    unharmed(other, asked=True)


def test_a23_a_proxy_s_login_stays_with_the_proxy(registry_tls, http_proxy_auth, at, ref, server):
    # Through CONNECT nothing of it travels on; over plain http tinyproxy takes it off.
    source = at(server, proxy=http_proxy_auth.url)
    source.resolve(ref(source))
    unharmed(server, asked=True)
    source = at(registry_tls.host, "lab/small", proxy=http_proxy_auth.url, ca=registry_tls.ca)
    source.resolve(ref(source))
    rows = list(connect(registry_tls.host, source.options).log)
    assert rows[-1].status == 200


def test_a23_not_to_a_redirect_either(server, other, at, ref, http):
    http("registry.test:5000")
    # A proxy that passes everything on: the registry itself plays it.
    server.rule(lambda r: "evil.test" not in r.target, redirect("http://evil.test/x"))
    server.rule(lambda r: "evil.test" in r.target, to(other.url))
    source = at("registry.test:5000", proxy=f"http://pat:s3cret@{server.host}",
                insecure=["registry.test:5000"])  # fmt: skip
    with pytest.raises(errors.DidlabError):
        source.resolve(ref(source))
    assert server.requests[0].headers["proxy-authorization"]
    unharmed(other)


def test_a24_netrc_is_not_read(server, other, at, layer, alone, monkeypatch):
    netrc = alone / ".netrc"
    netrc.write_text("machine 127.0.0.1 login n password N\nmachine 127.0.0.2 login n password N\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.rule(on("/blobs/"), to(other.url))
    bytes_of(at(server), layer)
    unharmed(server, asked=True)
    unharmed(other, asked=True)


def test_a25_no_cookies(server, other, at, ref, layer):
    server.rule(on("/manifests/"), with_headers(Set_Cookie="sid=1; Path=/"))
    server.rule(on("/blobs/"), change(lambda a, r: Answer(
        307, {"Location": f"{other.url}{r.path}", "Set-Cookie": "b=2"})))  # fmt: skip
    other.rule(on("/"), with_headers(Set_Cookie="c=3; Domain=127.0.0.2"))
    source = at(server)
    for _ in range(2):
        source.resolve(ref(source))
        bytes_of(source, layer)
    unharmed(server, asked=True)
    unharmed(other, asked=True)


# --- A26, J13-J15: what is shown ----------------------------------------------------------------


def spellings(secret: str) -> set[str]:
    """A secret as it is and as it would travel."""
    raw = secret.encode()
    pair = f"alice:{secret}".encode()
    return {
        secret,
        urllib.parse.quote(secret, safe=""),
        base64.b64encode(raw).decode(),
        base64.b64encode(pair).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        raw.hex(),
    }


def shown(error: BaseException) -> str:
    """Everything that a verbose traceback of this error shows, locals included."""
    seen = traceback.TracebackException.from_exception(error, capture_locals=True)

    # The frames of this test file hold the secret by right; didlab's must not.
    def own(one):
        one.stack[:] = [f for f in one.stack if "/tests/" not in f.filename.replace("\\", "/")]
        for more in (one.__cause__, one.__context__):
            if more is not None:
                own(more)

    own(seen)
    return "".join(seen.format()) + repr(error) + str(vars(error))


FAULTS = {
    "refused": respond(401, {"WWW-Authenticate": 'Basic realm="x"'}),
    "forbidden": respond(403),
    "server": respond(500),
    "html": respond(200, {"Content-Type": "text/html"}, b"<html>"),
    "cut": hang_up,
    "redirect": redirect("http://169.254.169.254/?X-Amz-Signature=hunter22&token=hunter22"),
    "redirect-http": redirect("ftp://x/?X-Amz-Signature=hunter22"),
    "odd-headers": respond(200, {"Content-Length": "+5"}, b"12345"),
    "limited": respond(429, {"Retry-After": "1000"}),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("login", ["password", "token", "identity", "proxy"])
def test_a26_j13_j15_secrets_are_not_shown(
    server, other, at, ref, waits, caplog, monkeypatch, fault, login
):
    secret = "hunter22/:correct horse" if login in ("password", "proxy") else "hunter22.token"
    options = {
        "password": {"username": "alice", "password": secret},
        "token": {"token": secret},
        "identity": {},
        "proxy": {"proxy": f"http://alice:{urllib.parse.quote(secret, safe='')}@{server.host}"},
    }[login]
    options["timeout"] = 1
    server.auth = "bearer"
    server.users["alice"] = secret
    if login == "identity":
        text = json.dumps({"auths": {server.host: {"identitytoken": secret}}})
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", text)
    server.rule(
        lambda r: "/manifests/" in r.path and (r.bearer != "" or r.basic is not None),
        FAULTS[fault],
    )
    if login == "proxy":
        server.auth = None
        server.rule(lambda r: True, FAULTS[fault])
    hub = didlab.Registry(server.host, **options)
    text = io.StringIO()
    with caplog.at_level(logging.DEBUG):
        source = at(server, **options)
        try:
            source.resolve(ref(source))
        except errors.DidlabError as error:
            text.write(shown(error) + shown(pickle.loads(pickle.dumps(error))))
        else:
            pytest.fail("nothing went wrong")
    text.write(caplog.text + repr(source.options) + str(source.options) + repr(vars(source)))
    text.write(repr(hub) + hub.requests().to_csv() + repr(list(connect(server.host, source.options)
                                                               .log)))  # fmt: skip
    text.write(repr(vars(connect(server.host, source.options).origin.auth)))
    for packed in (pickle.dumps(source), pickle.dumps(hub), pickle.dumps(source.options)):
        text.write(packed.decode("latin-1"))
    for spelling in {*spellings(secret), "hunter22"}:
        assert spelling not in text.getvalue()


def test_a26_the_address_of_a_store_is_shown_without_its_query(server, other, at, layer, caplog):
    caplog.set_level(logging.DEBUG)
    server.rule(on("/blobs/"), change(lambda a, r: Answer(
        307, {"Location": f"{other.url}{r.path}?X-Amz-Signature=hunter22"})))  # fmt: skip
    other.rule(on("/blobs/"), respond(404, {}, b"<Error>hunter23</Error>"))
    source = at(server)
    with pytest.raises(errors.BlobNotFound) as caught:
        bytes_of(source, layer)
    log = repr(list(connect(server.host, source.options).log))
    assert "hunter2" not in shown(caught.value) + log + caplog.text
    assert "GET" in caplog.text
    assert other.host in log


def test_j14_copies_and_pickles(at):
    options = make(**ALICE, proxy="http://pat:s3cret@127.0.0.1:1")
    for made in (pickle.loads(pickle.dumps(options)), copy.copy(options), copy.deepcopy(options)):
        text = repr(made) + repr(vars(made))
        assert PASSWORD not in text
        assert "s3cret" not in text
    assert pickle.loads(pickle.dumps(options)).password is None
    assert pickle.loads(pickle.dumps(options)) == replace(
        options, username=None, password=None,
        proxy=replace(options.proxy, username=None, password=None),
    )  # fmt: skip
