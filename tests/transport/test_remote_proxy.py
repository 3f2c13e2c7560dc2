"""A registry on this machine behind a proxy elsewhere: nothing leaves it in clear text."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from rig.faults import FaultServer, respond

import didlab
from didlab import errors
from didlab.transport import trust, urls
from didlab.transport.options import make

pytestmark = pytest.mark.usefixtures("alone")

NAME = "proxy.corp.example"
LOGIN = {"username": "alice", "password": "wonder:land/42"}


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """It takes plain requests, and answers them with a challenge of its own."""
    look_up = socket.getaddrinfo

    def here(host, *rest, **options):
        return look_up("127.0.0.1" if host == NAME else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    with FaultServer() as made:
        made.rule(lambda r: True, respond(401, {"WWW-Authenticate": 'Basic realm="proxy"'}))
        yield made


def address(proxy: FaultServer) -> str:
    return f"http://{NAME}:{proxy.port}"


@pytest.mark.parametrize("how", ["argument", "HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("login", [LOGIN, {"token": "abc"}], ids=["password", "token"])
def test_no_login_in_clear_text(server, proxy, at, ref, waits, monkeypatch, how, login):
    options = dict(login)
    if how == "argument":
        options["proxy"] = address(proxy)
    else:
        monkeypatch.setenv(how, address(proxy))
    source = at(server, **options)
    with pytest.raises(errors.TransportError) as caught:
        source.resolve(ref(source))
    assert {r.method for r in proxy.requests} <= {"CONNECT"}
    assert not [r for r in proxy.requests if "authorization" in r.headers]
    if how != "HTTP_PROXY":  # https has no proxy then, and the registry no TLS
        assert proxy.requests
    assert f"NO_PROXY={server.address}" in str(caught.value.hint)
    assert NAME in str(caught.value.hint)


def test_what_was_found_without_the_proxy_does_not_count(
    server, proxy, at, ref, waits, monkeypatch
):
    source = at(server)
    source.resolve(ref(source))
    monkeypatch.setenv("HTTP_PROXY", address(proxy))
    with pytest.raises(errors.TransportError):
        source.resolve(ref(source))
    assert not proxy.requests


@pytest.mark.parametrize("way", ["NO_PROXY", "direct", "insecure"])
def test_it_is_reached_where_the_user_says_so(server, proxy, at, ref, waits, monkeypatch, way):
    monkeypatch.setenv("HTTP_PROXY" if way == "insecure" else "ALL_PROXY", address(proxy))
    options = {"proxy": "direct"} if way == "direct" else {}
    if way == "NO_PROXY":
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    if way == "insecure":
        # As any other host: https, then http, since the user allows it.
        source = at(server, insecure=True)
        with pytest.raises(errors.AuthRequired, match="the proxy at"):
            source.resolve(ref(source))
        return
    source = at(server, **options)
    source.resolve(ref(source))
    assert not proxy.requests


def test_a_mirror_in_clear_text(proxy, other, monkeypatch):
    with pytest.raises(errors.InvalidArgument, match="plain http"):
        didlab.Registry("registry.example", mirrors=[other.url], proxy=address(proxy))
    hub = didlab.Registry("registry.example", mirrors=[other.url])
    monkeypatch.setenv("ALL_PROXY", address(proxy))
    with pytest.raises(errors.InvalidArgument, match="plain http"):
        hub["lab/app"].tags()
    assert not proxy.requests


def test_a_token_server_behind_it(server, other, proxy, at, ref, waits, monkeypatch):
    """The registry is reached straight; its token server, on this machine too, is not."""
    monkeypatch.setenv("HTTP_PROXY", address(proxy))
    monkeypatch.setenv("NO_PROXY", server.address)
    challenge = f'Bearer realm="http://{other.host}/token",service="x"'
    answer = respond(401, {"WWW-Authenticate": challenge})
    server.rule(lambda r: "authorization" not in r.headers, answer)
    source = at(server, **LOGIN)
    with pytest.raises(errors.AuthError):
        source.resolve(ref(source))
    assert not [r for r in proxy.requests if "authorization" in r.headers]
    assert not [r for r in proxy.requests if "account" in r.path]


@pytest.mark.parametrize("registry", ["http://127.0.0.1:5000", "https://127.0.0.1:5000"])
@pytest.mark.parametrize("hosts", [(), ("127.0.0.1",)])
def test_the_rule(registry, hosts):
    realm = urls.split("http://127.0.0.1:5001/token")
    origin = urls.split(registry).origin
    assert trust.may_receive(origin, realm, hosts) is None
    assert trust.may_receive(origin, realm, hosts, lambda o: o.port == 5000) is not None


@pytest.mark.parametrize(
    ("address", "host"),
    [("http://[::1]:3128", "::1"), ("socks5://localhost", "localhost"), ("http://a.b:1", "a.b")],
)
def test_the_host_of_a_proxy(address, host):
    proxy = make(proxy=address).proxy
    assert proxy is not None
    assert proxy.host == host
