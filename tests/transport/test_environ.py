"""The proxies of the environment: as requests has them, and as soon as they change."""

from __future__ import annotations

import os

import pytest
import requests

from didlab.transport import environ
from didlab.transport.environ import environ_proxies

ORIGIN = "http://registry.example:5000/"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"http_proxy": "http://p:1"},
        {"HTTP_PROXY": "http://p:1"},
        {"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"},
        {"Http_Proxy": "http://p:1"},
        {"https_proxy": "http://p:1", "all_proxy": "socks5://q:2"},
        {"http_proxy": "http://p:1", "no_proxy": "registry.example"},
        {"http_proxy": "http://p:1", "NO_PROXY": "example:5000,registry.example:5000"},
        {"http_proxy": "http://p:1", "no_proxy": "*"},
        {"http_proxy": "http://p:1", "no_proxy": "other.example"},
    ],
)
def test_as_requests_finds_them(monkeypatch: pytest.MonkeyPatch, said: dict[str, str]) -> None:
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    for origin in (ORIGIN, "https://registry.example/", "http://127.0.0.1:5000/"):
        expected = requests.utils.get_environ_proxies(origin)
        assert environ_proxies(origin) == expected
        assert environ_proxies(origin) == expected


def test_a_change_holds_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environ_proxies(ORIGIN) == {}
    monkeypatch.setenv("HTTP_PROXY", "http://p:1")
    assert environ_proxies(ORIGIN) == {"http": "http://p:1"}
    monkeypatch.setenv("NO_PROXY", "registry.example")
    assert environ_proxies(ORIGIN) == {}
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTP_PROXY", "http://q:2")
    assert environ_proxies(ORIGIN) == {"http": "http://q:2"}


def test_the_environment_is_gone_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://p:1")
    environ_proxies(ORIGIN)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(environ.requests.utils, "get_environ_proxies", never)
    assert environ_proxies(ORIGIN) == {"http": "http://p:1"}


def test_what_is_changed_by_the_caller_stays_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://p:1")
    environ_proxies(ORIGIN).clear()
    assert environ_proxies(ORIGIN) == {"http": "http://p:1"}
