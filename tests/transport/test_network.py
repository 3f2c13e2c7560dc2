"""Proxies, TLS, schemes, mirrors and faults of the way: with real programs where there are any."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from contextvars import copy_context
from pathlib import Path

import pytest
import trustme
from rig.faults import (
    FaultServer,
    corrupt,
    delay,
    half_close_after,
    hang_up,
    raw,
    redirect,
    reset_after,
    respond,
    stall,
    too_many,
)
from rig.images import OCI_MANIFEST, make_image
from rig.names import NamesProxy
from rig.processes import free_port
from rig.proxies import PASSWORD as PROXY_PASSWORD

import didlab
from didlab import _pausing as pausing
from didlab import errors
from didlab.oci.descriptor import Descriptor
from didlab.transport import endpoint
from didlab.transport.client import connect
from didlab.transport.log import RequestLog
from didlab.transport.options import make
from didlab.transport.urls import split
from didlab.transport.wire import Wire

pytestmark = pytest.mark.usefixtures("alone")
ALICE = {"username": "alice", "password": "wonder:land/42"}
PROXIES = ["http_proxy", "http_proxy_auth", "socks_proxy", "socks_proxy_auth"]


# --- proxies ------------------------------------------------------------------------------------


@pytest.fixture
def proxy(request):
    return request.getfixturevalue(request.param)


def asked(proxy, registry) -> list[str]:
    return [line for line in proxy.seen() if registry.host in line]


@pytest.mark.parametrize("proxy", PROXIES, indirect=True)
@pytest.mark.parametrize("how", ["argument", "HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_for_http(lab, proxy, how, at, ref, monkeypatch):
    options = {}
    if how == "argument":
        options = {"proxy": proxy.url}
    else:
        monkeypatch.setenv(how, proxy.url)
    before = len(asked(proxy, lab))
    source = at(lab.host, "lab/small", **options)
    source.resolve(ref(source))
    assert len(asked(proxy, lab)) > before


@pytest.mark.parametrize("proxy", PROXIES, indirect=True)
@pytest.mark.parametrize("how", ["argument", "HTTPS_PROXY"])
def test_a_proxy_for_https(registry_tls, proxy, how, at, ref, monkeypatch):
    options = {"ca": registry_tls.ca}
    if how == "argument":
        options["proxy"] = proxy.url
    else:
        monkeypatch.setenv(how, proxy.url)
    source = at(registry_tls.host, "lab/small", **options)
    source.resolve(ref(source))
    assert asked(proxy, registry_tls)


@pytest.mark.parametrize("proxy", ["http_proxy_auth", "socks_proxy_auth"], indirect=True)
@pytest.mark.parametrize("kind", ["lab", "registry_tls"])
@pytest.mark.parametrize("login", ["none", "wrong"])
def test_a_proxy_that_wants_a_password(request, proxy, kind, login, at, ref, waits):
    registry = request.getfixturevalue(kind)
    wrong = proxy.url.replace(PROXY_PASSWORD, "Wr0ng")
    source = at(
        registry.host,
        "lab/small",
        proxy=proxy.bare_url if login == "none" else wrong,
        **({"ca": registry.ca} if kind == "registry_tls" else {}),
    )
    # tinyproxy answers a wrong password with 401, as if it were the registry.
    wanted = (errors.ProxyError, errors.AuthRequired) if login == "wrong" else errors.ProxyError
    with registry.record() as seen, pytest.raises(wanted) as caught:
        source.resolve(ref(source))
    assert not seen  # nobody went around it
    assert "Wr0ng" not in str(caught.value)
    assert caught.value.hint
    if isinstance(caught.value, errors.AuthRequired):
        assert f"the proxy at {proxy.host} wants its own login" in caught.value.hint
    # It will be wrong again.
    assert waits == []
    assert isinstance(caught.value, errors.AuthRequired) or not caught.value.retryable


def test_a_proxy_that_is_down(lab, at, ref, waits):
    source = at(lab.host, "lab/small", proxy=f"http://127.0.0.1:{free_port()}")
    with lab.record() as seen, pytest.raises(errors.ProxyError):
        source.resolve(ref(source))
    assert not seen


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(respond(407), id="407"),
        pytest.param(respond(502), id="502"),
        pytest.param(respond(403, {}, b"<html>not for you"), id="403"),
        pytest.param(redirect("http://127.0.0.2/"), id="redirect"),
        pytest.param(raw(b"<html>hello"), id="html"),
        pytest.param(hang_up, id="hang-up"),
    ],
)
def test_a_proxy_that_refuses_to_connect(server, at, ref, waits, answer):
    server.rule(lambda r: r.method == "CONNECT", answer)
    source = at("registry.example", proxy=server.url, **ALICE)
    with pytest.raises((errors.ProxyError, errors.ProtocolError, errors.Truncated)) as caught:
        source.resolve(ref(source))
    assert caught.value.host == "registry.example"
    assert {r.method for r in server.requests} == {"CONNECT"}
    assert not [r for r in server.requests if "authorization" in r.headers]


@pytest.mark.parametrize("status", [401, 403, 407])
def test_a_refusal_to_connect_is_for_good(server, at, ref, waits, status):
    server.rule(lambda r: r.method == "CONNECT", respond(status))
    source = at("registry.example", proxy=server.url)
    with pytest.raises(errors.ProxyError) as caught:
        source.resolve(ref(source))
    assert not caught.value.retryable
    assert len(server.requests) == 1


def test_a_proxy_that_wants_a_login_for_http(server, other, at, ref, waits):
    server.rule(lambda r: True, respond(407))
    source = at(other, proxy=server.url)
    with pytest.raises(errors.ProxyError) as caught:
        source.resolve(ref(source))
    assert not caught.value.retryable
    assert len(server.requests) == 1


TABLE = [
    ({}, "http://r.test/", ""),
    ({"HTTP_PROXY": "P"}, "http://r.test/", "P"),
    ({"http_proxy": "P"}, "http://r.test/", "P"),
    ({"HTTP_PROXY": "P"}, "https://r.test/", ""),
    ({"HTTPS_PROXY": "P"}, "https://r.test/", "P"),
    ({"https_proxy": "P"}, "https://r.test:5000/", "P"),
    ({"ALL_PROXY": "P"}, "https://r.test/", "P"),
    ({"all_proxy": "P"}, "http://r.test/", "P"),
    ({"ALL_PROXY": "A", "HTTPS_PROXY": "P"}, "https://r.test/", "P"),
    ({"HTTPS_PROXY": "P", "NO_PROXY": "r.test"}, "https://r.test/", ""),
    ({"HTTPS_PROXY": "P", "no_proxy": "r.test"}, "https://r.test/", ""),
    ({"HTTPS_PROXY": "P", "NO_PROXY": ".r.test"}, "https://a.r.test/", ""),
    ({"HTTPS_PROXY": "P", "NO_PROXY": "r.test"}, "https://a.r.test/", ""),
    ({"HTTPS_PROXY": "P", "NO_PROXY": "r.test"}, "https://ar.test.example/", "P"),
    ({"HTTPS_PROXY": "P", "NO_PROXY": "r.test:5000"}, "https://r.test:5000/", ""),
    ({"HTTPS_PROXY": "P", "NO_PROXY": "r.test:5000"}, "https://r.test:5001/", "P"),
    ({"HTTPS_PROXY": "P", "NO_PROXY": "10.0.0.0/8"}, "https://10.1.2.3/", ""),
    ({"HTTPS_PROXY": "P", "NO_PROXY": "10.0.0.0/8"}, "https://11.1.2.3/", "P"),
    ({"HTTPS_PROXY": "P", "NO_PROXY": "127.0.0.1"}, "https://127.0.0.1:5000/", ""),
    ({"HTTPS_PROXY": "P", "NO_PROXY": "a.test, r.test"}, "https://r.test/", ""),
    ({"HTTPS_PROXY": "P", "NO_PROXY": "*"}, "https://r.test/", ""),
]


@pytest.mark.parametrize(("environ", "url", "used"), TABLE)
def test_proxies_of_the_environment(monkeypatch, environ, url, used):
    for name, value in environ.items():
        monkeypatch.setenv(name, value if "NO_PROXY" in name.upper() else f"http://{value}:1")
    name = "http://p:1" if used else ""

    def chosen(**options: object) -> str:
        wire = Wire(make(**options), ("r.test", 443), RequestLog())  # type: ignore[arg-type]
        found = wire.proxies(split(url))
        secret = found.get(split(url).origin.scheme) or found.get("all")
        return secret.reveal().lower() if secret else ""

    assert chosen() == name
    assert chosen(trust_env=False) == ""
    assert chosen(proxy="socks5://mine:2") == "socks5h://mine:2"  # the argument goes first


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
@pytest.mark.parametrize("how", ["argument", "ALL_PROXY", "HTTP_PROXY"])
def test_socks_gets_names(server, at, ref, monkeypatch, scheme, how):
    host = "registry.example:5000"
    with NamesProxy({host: server.host}) as names:
        address = f"{scheme}://127.0.0.1:{names.port}"
        options = {"insecure": [host], "timeout": 1}
        if how == "argument":
            options["proxy"] = address
        else:
            monkeypatch.setenv("NO_PROXY", "")
            monkeypatch.setenv(how, address)
            monkeypatch.setenv("HTTPS_PROXY", address)
        monkeypatch.setattr(socket, "getaddrinfo", only_addresses)
        source = at(host, **options)
        source.resolve(ref(source))
        assert {(r.kind, r.host) for r in names.requests} == {("name", "registry.example")}


REAL = socket.getaddrinfo


def only_addresses(host, *args, **kwargs):
    assert host in (None, "127.0.0.1", "127.0.0.2"), f"the name {host} was looked up here"
    return REAL(host, *args, **kwargs)


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> trustme.CA:
    made = trustme.CA()
    made.path = tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(str(made.path))
    return made


def context(authority: trustme.CA, *names: str, **options) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1", "127.0.0.2", "localhost")), **options
                         ).configure_cert(made)  # fmt: skip
    return made


def test_own_authority(registry_tls, at, ref):
    source = at(registry_tls.host, "lab/small", ca=registry_tls.ca)
    assert source.resolve(ref(source)).size
    assert connect(registry_tls.host, source.options).origin._schemes() == ("https",)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_authority_of_the_environment(registry_tls, at, ref, monkeypatch, name):
    monkeypatch.setenv(name, str(registry_tls.ca))
    source = at(registry_tls.host, "lab/small")
    source.resolve(ref(source))
    source = at(registry_tls.host, "lab/small", trust_env=False)
    with pytest.raises(errors.TlsFailed):
        source.resolve(ref(source))


YEARS = datetime.timedelta(days=800)
NOW = datetime.datetime.now(datetime.UTC)


@pytest.mark.parametrize(
    ("names", "options", "trusted", "says"),
    [
        pytest.param((), {}, False, "ca=", id="unknown"),
        pytest.param(("wrong.test",), {}, True, "certificate", id="wrong-name"),
        pytest.param((), {"not_after": NOW - datetime.timedelta(days=1)}, True, "clock",
                     id="expired"),
        pytest.param((), {"not_before": NOW + YEARS / 800, "not_after": NOW + YEARS}, True, "clock",
                     id="not-yet"),
    ],
)  # fmt: skip
def test_certificates(authority, at, ref, image, names, options, trusted, says):
    ca = {"ca": authority.path} if trusted else {}
    with FaultServer(tls=context(authority, *names, **options)) as server:
        server.add_image("lab/app", "1", image)
        source = at(server, **ca, **ALICE)
        for _ in range(2):
            with pytest.raises(errors.TlsFailed) as caught:
                source.resolve(ref(source))
            assert says in str(caught.value)
            assert not caught.value.not_tls
            assert not caught.value.retryable
        assert not server.requests  # a certificate error never leads to http
        for insecure in (True, [server.host], ["127.0.0.1"]):
            source = at(server, **ca, insecure=insecure)
            assert source.resolve(ref(source)).digest == image.digest


def test_insecure_is_for_the_named_host_only(authority, at, ref, image):
    with (
        FaultServer(tls=context(authority)) as server,
        FaultServer("127.0.0.2", tls=context(authority)) as store,
    ):
        server.add_image("lab/app", "1", image)
        store.add_image("lab/app", "1", image)
        server.rule(lambda r: True, redirect(f"{store.url}/v2/lab/app/manifests/1"))
        source = at(server, insecure=True)
        with pytest.raises(errors.TlsFailed, match=store.host):
            source.resolve(ref(source))
        source = at(server, insecure=[server.host, store.host])
        source.resolve(ref(source))


def test_client_certificates(authority, at, ref, image, tmp_path):
    pem = tmp_path / "me.pem"
    authority.issue_cert("me@example.com").private_key_and_cert_chain_pem.write_to_path(str(pem))
    asking = context(authority)
    authority.configure_trust(asking)
    asking.verify_mode = ssl.CERT_REQUIRED
    with (
        FaultServer(tls=asking) as server,
        FaultServer("127.0.0.2", tls=asking) as store,
    ):
        server.add_image("lab/app", "1", image)
        source = at(server, ca=authority.path, client_cert=pem)
        source.resolve(ref(source))
        with pytest.raises(errors.TransportError):
            source = at(server, ca=authority.path)
            source.resolve(ref(source))
        assert len(server.requests) == 1
        # It is shown to the registry, not to where the registry points.
        server.rule(lambda r: True, redirect(f"{store.url}/v2/lab/app/manifests/1"))
        source = at(server, ca=authority.path, client_cert=pem)
        with pytest.raises(errors.TransportError):
            source.resolve(ref(source))
        assert not store.requests


@pytest.mark.parametrize("option", ["ca", "client_cert"])
def test_files_that_are_none(at, ref, tmp_path, option, lab):
    with pytest.raises(errors.InvalidArgument, match=option):
        make(**{option: tmp_path / "missing"})  # type: ignore[arg-type]
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("hello")
    if option == "ca":
        with pytest.raises(errors.InvalidArgument, match="without a certificate"):
            make(ca=nonsense)
        nonsense.write_text("-----BEGIN CERTIFICATE-----\nhello\n")
    source = at("127.0.0.1:1", **{option: nonsense})
    with pytest.raises(errors.DidlabError):
        source.resolve(ref(source))


# --- schemes ------------------------------------------------------------------------------------


def test_http_on_loopback_is_found_and_remembered(server, at, ref):
    source = at(server)
    for _ in range(2):
        source.resolve(ref(source))
    assert server.connections == 1


@pytest.mark.parametrize("address", ["127.0.0.2", "::1", "localhost"])
@pytest.mark.parametrize("tls", [False, True])
def test_spellings_of_loopback(authority, at, ref, image, address, tls):
    made = context(authority, "127.0.0.2", "::1", "localhost") if tls else None
    try:
        server = FaultServer("127.0.0.1" if address == "localhost" else address, tls=made)
    except OSError:
        pytest.skip(f"no {address} here")
    with server:
        server.add_image("lab/app", "1", image)
        host = server.host.replace("127.0.0.1", "localhost") if address == "localhost" else None
        source = at(host or server, ca=authority.path)
        for _ in range(2):
            assert source.resolve(ref(source)).digest == image.digest
        assert server.connections == (2 if tls else 1)


def test_tls_without_a_port(authority, at, ref, image):
    try:
        server = FaultServer("127.0.0.77", 443, tls=context(authority, "127.0.0.77"))
    except OSError:
        pytest.skip("port 443 cannot be had")
    with server:
        server.add_image("lab/app", "1", image)
        source = at("127.0.0.77", ca=authority.path)
        for _ in range(2):
            source.resolve(ref(source))


def test_a_port_that_learns_tls(authority, at, ref, image):
    with FaultServer() as server:
        server.add_image("lab/app", "1", image)
        source = at(server, ca=authority.path)
        source.resolve(ref(source))
        port = server.port
    connect(server.host, source.options)  # the same client lives on
    with FaultServer(port=port, tls=context(authority)) as server:
        server.add_image("lab/app", "1", image)
        source.resolve(ref(source))


def test_nginx_says_400_to_plain_http(registry_tls, at, ref):
    source = at(registry_tls.host, "lab/small", ca=registry_tls.ca)
    endpoint._spoken["127.0.0.1", registry_tls.port] = "http"  # what was there before
    with pytest.raises(errors.ProtocolError):
        source.resolve(ref(source))
    source.resolve(ref(source))


@pytest.mark.parametrize("insecure", [False, ["other.example"], True, ["registry.example:5000"]])
def test_plain_http_elsewhere_only_where_it_is_allowed(server, at, ref, insecure, waits):
    host = "registry.example:5000"
    with NamesProxy({host: server.host}) as names:
        source = at(host, proxy=names.url, insecure=insecure, timeout=1)
        server.rule(lambda r: r.method == "never", hang_up)
        if insecure is True or insecure == [host]:
            source.resolve(ref(source))
            return
        with pytest.raises(errors.TransportError):
            source.resolve(ref(source))
        assert not [r for r in server.requests if r.method == "GET"]


# --- mirrors ------------------------------------------------------------------------------------


def test_a_real_mirror(lab, registry_mirror, at, ref):
    hub = didlab.Registry(lab.host, mirrors=[registry_mirror.url])
    with lab.record() as direct:
        digest = hub["lab/small"]["1"].digest()
    source = at(registry_mirror.host, "lab/small")
    assert source.resolve(ref(source)).digest == digest
    rows = hub.requests()
    assert set(rows["mirror"]) == {registry_mirror.host}
    assert set(rows["host"]) == {registry_mirror.host}
    assert not [r for r in direct if "didlab" in r.agent]


HTML = respond(200, {"Content-Type": "text/html"}, b"<html>log in")
NONSENSE = respond(200, {"Content-Type": OCI_MANIFEST}, b'{"error": "log in"}')


@pytest.mark.parametrize(
    ("action", "why"),
    [
        pytest.param(respond(404), "no manifest", id="404"),
        pytest.param(respond(401), "login", id="401"),
        pytest.param(respond(403), "login", id="403"),
        pytest.param(respond(500), "500", id="500"),
        pytest.param(HTML, "web page", id="html"),
        pytest.param(NONSENSE, "", id="nonsense"),
        pytest.param(half_close_after(10), "broke off", id="cut"),
        pytest.param(too_many("60"), "no more requests", id="429"),
        pytest.param(stall(5), "went silent", id="stall"),
        pytest.param(delay(5), "in time", id="silent"),
        pytest.param(hang_up, "closed", id="hang-up"),
        pytest.param(redirect("http://169.254.169.254/"), "less public", id="redirect-inside"),
    ],
)
def test_mirrors_that_fail(server, other, at, ref, image, waits, action, why):
    other.rule(lambda r: True, action)
    source = at(server, mirrors=[other.url], timeout=0.4)
    assert source.resolve(ref(source)).digest == image.digest
    assert list(source.tags()) == ["1"]
    server.tags.clear()
    other.rules.clear()
    other.rule(lambda r: True, action)
    connect(server.host, source.options).endpoints[0].mark_down(-1)
    with pytest.raises(errors.RepositoryNotFound) as caught:
        source.resolve(ref(source))
    (attempt,) = caught.value.attempts
    assert attempt.startswith(f"{other.host}: ")
    assert why in attempt
    assert attempt in str(caught.value)


def test_a_dead_mirror_is_left_alone(server, at, ref, waits):
    dead = f"http://127.0.0.1:{free_port()}"
    source = at(server, mirrors=[dead])
    for _ in range(3):
        source.resolve(ref(source))
    log = list(connect(server.host, source.options).log)
    assert [row.error for row in log] == ["ConnectFailed", None, None, None]


def test_wrong_bytes_from_a_mirror(server, other, at, ref, image, waits):
    other.rule(lambda r: True, corrupt(5))
    source = at(server, mirrors=[other.url])
    assert source.resolve(ref(source, image.digest)).digest == image.digest
    whole = Descriptor(OCI_MANIFEST, image.digest, len(image.manifest))
    assert source.fetch(whole) == image.manifest
    layer = image.layers[0]
    data = image.blobs[layer["digest"]]
    blob = source.open(Descriptor(layer["mediaType"], layer["digest"], len(data)))
    assert b"".join(blob.stream()) != data
    assert blob.served_by == other.host
    assert blob.places == (other.host, server.host)
    assert b"".join(blob.stream(place=server.host)) == data
    assert blob.served_by == server.host


def test_three_mirrors_in_order(server, other, at, ref, image, waits):
    with FaultServer("127.0.0.3") as third:
        third.rule(lambda r: True, respond(404))
        source = at(server, mirrors=[third.url, other.url])
        source.resolve(ref(source))
        assert (len(third.requests), len(other.requests), len(server.requests)) == (1, 1, 0)


def test_a_mirror_gets_no_login_of_the_registry(server, other, at, ref, alone):
    for method in ("basic", "bearer"):
        other.auth, other.anonymous = method, False
        source = at(server, mirrors=[other.url], **ALICE)
        server.auth = method
        source.resolve(ref(source))
        source = at(server, mirrors=[other.url], token="opaque")
        with pytest.raises(errors.AuthError):
            source.resolve(ref(source))
    assert not [r for r in other.requests if "authorization" in r.headers]
    assert [r for r in server.requests if "authorization" in r.headers]


def test_a_mirror_has_a_login_of_its_own(server, other, at, ref, monkeypatch):
    import base64
    import json

    auth = base64.b64encode(b"alice:wonder:land/42").decode()
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {other.host: {"auth": auth}}}))
    other.auth = "basic"
    source = at(server, mirrors=[other.url])
    source.resolve(ref(source))
    assert not server.requests


@pytest.mark.parametrize(
    "mirror", ["http://mirror.example", "ftp://x", "https://", "https://a:b@c", "https://x y"]
)
def test_what_is_no_mirror(mirror):
    with pytest.raises(errors.InvalidArgument) as caught:
        didlab.Registry("docker.io", mirrors=[mirror])
    assert "a:b" not in str(caught.value)


# --- faults of the way --------------------------------------------------------------------------


def test_a_registry_that_is_down(at, ref, waits):
    host = f"127.0.0.1:{free_port()}"
    source = at(host)
    with pytest.raises(errors.ConnectFailed) as caught:
        source.resolve(ref(source))
    assert isinstance(caught.value, ConnectionError)
    assert caught.value.host == host
    assert caught.value.hint
    assert len(list(connect(host, source.options).log)) == 3


def test_a_name_that_does_not_resolve(at, ref, waits, monkeypatch):
    def nobody(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    source = at("registry.invalid")
    with pytest.raises(errors.ConnectFailed, match="does not resolve"):
        source.resolve(ref(source))


@pytest.mark.parametrize(
    ("action", "error", "count"),
    [
        pytest.param(delay(5), errors.TimedOut, 5, id="silence"),
        pytest.param(stall(5), errors.TimedOut, 3, id="silence-in-the-body"),
        pytest.param(reset_after(10), errors.Truncated, 3, id="reset"),
        pytest.param(hang_up, errors.Truncated, 5, id="hang-up"),
        pytest.param(respond(503), errors.ServerError, 5, id="503"),
        pytest.param(respond(429, {"Retry-After": "3"}), errors.RateLimited, 7, id="429"),
    ],
)
def test_faults_after_all_attempts(server, at, ref, waits, action, error, count):
    source = at(server, timeout=(1, 0.2))
    source.resolve(ref(source))
    server.requests.clear()
    server.rule(lambda r: True, action)
    with pytest.raises(error) as caught:
        source.resolve(ref(source))
    assert caught.value.retryable
    assert len(server.requests) >= count  # one more looks whether it speaks TLS now
    assert len(waits) == count - 1
    server.rules.clear()
    source.resolve(ref(source))


def test_a_kept_connection_that_died(server, at, ref, waits):
    source = at(server)
    source.resolve(ref(source))
    server.rule(lambda r: r.connection == 1, hang_up)
    source.resolve(ref(source))
    assert len(waits) == 1


def test_bytes_behind_an_answer_are_no_answer(server, at, ref, image):
    body = b'{"evil": 1}'
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {OCI_MANIFEST}\r\n"
    length = f"Content-Length: {len(image.manifest)}\r\n\r\n"

    def act(exchange):
        exchange.send(head.encode() + length.encode() + image.manifest + smuggled)

    server.rule(lambda r: True, act, times=1)
    source = at(server)
    for _ in range(3):
        assert source.resolve(ref(source)).digest == image.digest


def test_where_the_frame_says_it_went(server, other, at, waits):
    other.rule(lambda r: True, respond(500))
    hub = didlab.Registry(server.host, mirrors=[other.url])
    hub["lab/app"].tags()
    rows = hub.requests()
    assert list(rows["status"]) == [500, 500, 200]
    assert list(rows["attempt"]) == [1, 2, 1]
    assert list(rows["mirror"].astype(object).where(rows["mirror"].notna(), None)) == [
        other.host, other.host, None,
    ]  # fmt: skip
    assert rows["bytes"].iloc[2] > 0
    assert (rows["seconds"] >= 0).all()
    assert list(rows["path"]) == ["/v2/lab/app/tags/list"] * 3


def test_the_folder_of_certificates_is_no_file(tmp_path: Path):
    with pytest.raises(errors.InvalidArgument):
        make(ca=tmp_path)


def test_what_is_called_off_does_not_wait_for_a_small_body(monkeypatch):
    """A button in a notebook, for one: the server keeps silent in the middle of a manifest."""
    monkeypatch.setenv("DIDLAB_CACHE", "")
    stop, ended = pausing.Stop(), []

    def ask(image):
        pausing.stop.set(stop)
        try:
            image.json()
        except pausing.Stopped as error:
            ended.append(error)

    with FaultServer() as server:
        server.add_image("lab/app", "1", make_image([{"a": b"a"}]))
        server.rule(lambda request: "/manifests/" in request.path, stall(60, after=10))
        image = didlab.open(f"{server.host}/lab/app:1", timeout=(250, 250))
        thread = threading.Thread(target=copy_context().run, args=(ask, image), daemon=True)
        thread.start()
        until = time.monotonic() + 30
        while not any(request.sent for request in server.requests):
            assert time.monotonic() < until
            time.sleep(0.01)
        stop.set()
        thread.join(30)
        assert [type(error) for error in ended] == [pausing.Stopped]
