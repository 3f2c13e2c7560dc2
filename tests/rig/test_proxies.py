"""Proxies of the rig, spoken to by requests."""

from __future__ import annotations

import pytest
import requests

from rig.faults import FaultServer
from rig.names import NamesProxy


def fetch(url, proxy, **options):
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": proxy, "https": proxy}
        with session.get(url, timeout=10, **options) as answer:
            return answer.status_code


@pytest.fixture
def target():
    with FaultServer() as server:
        yield server


def test_http_proxy(http_proxy, target, registry_tls):
    assert fetch(target.url + "/v2/", http_proxy.url) == 200
    assert f"GET {target.url}/v2/" in http_proxy.seen()
    assert fetch(registry_tls.url + "/v2/", http_proxy.url, verify=str(registry_tls.ca)) == 200
    assert f"CONNECT {registry_tls.host}" in http_proxy.seen()


def test_http_proxy_with_a_password(http_proxy_auth, target):
    assert fetch(target.url + "/v2/", http_proxy_auth.url) == 200
    assert fetch(target.url + "/v2/", http_proxy_auth.bare_url) == 407
    assert len(target.requests) == 1


def test_socks_proxy(socks_proxy, socks_proxy_auth, target):
    for proxy in (socks_proxy, socks_proxy_auth):
        assert fetch(target.url + "/v2/", proxy.url) == 200
        assert target.host in proxy.seen()
    with pytest.raises(requests.ConnectionError):
        fetch(target.url + "/v2/", socks_proxy_auth.bare_url)
    assert len(target.requests) == 2


def test_a_stopped_proxy_refuses(socks_proxy, target):
    socks_proxy.stop()
    with pytest.raises(requests.ConnectionError):
        fetch(target.url + "/v2/", socks_proxy.url)
    socks_proxy.start()
    assert fetch(target.url + "/v2/", socks_proxy.url) == 200


def test_names_proxy_tells_names_from_addresses(target):
    with NamesProxy({"registry.example": target.host, "127.0.0.1:81": target.host}) as proxy:
        assert fetch("http://registry.example/v2/", proxy.url) == 200
        assert fetch("http://127.0.0.1:81/v2/", proxy.url) == 200
        with pytest.raises(requests.ConnectionError):
            fetch("http://elsewhere.example/v2/", proxy.url)
    assert [(one.kind, one.host, one.port) for one in proxy.requests][:2] == [
        ("name", "registry.example", 80),
        ("ipv4", "127.0.0.1", 81),
    ]
    assert [one.headers["host"] for one in target.requests] == ["registry.example", "127.0.0.1:81"]
