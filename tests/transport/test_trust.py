"""Credentials stay with the registry they are for."""

import pytest

from didlab import errors
from didlab.transport import trust, urls


def _may(registry: str, realm: str, auth_hosts: tuple[str, ...] = ()) -> str | None:
    return trust.may_receive(urls.split(registry).origin, urls.split(realm), auth_hosts)


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("https://r.example.com", "https://r.example.com/token"),
        ("https://r.example.com", "HTTPS://R.EXAMPLE.COM.:443/token"),
        ("https://r.example.com:5000", "https://r.example.com/token"),
        ("https://r.example.com", "https://auth.example.com/token"),
        ("https://r.eu.example.co.uk", "https://example.co.uk/jwt"),
        ("https://registry-1.docker.io", "https://auth.docker.io/token"),
        ("https://index.docker.io", "https://auth.docker.io/token"),
        ("http://r.example.com", "https://r.example.com/token"),
        ("http://r.example.com:5000", "http://r.example.com:5001/token"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token"),
        ("https://127.0.0.1:5000", "http://127.0.0.2:5001/token"),
        ("http://localhost:5000", "https://[::1]/token"),
        ("http://a.localhost:5000", "http://127.1:80/token"),
        ("https://10.0.0.1", "https://10.0.0.1:8443/token"),
    ],
)
def test_may_receive(registry: str, realm: str) -> None:
    assert _may(registry, realm) is None


@pytest.mark.parametrize(
    ("registry", "realm", "reason"),
    [
        ("https://r.example.com", "https://evil.test/token", "does not belong"),
        ("https://r.example.com", "https://r.example.com.evil.test/token", "does not belong"),
        ("https://r.example.com", "https://evilexample.com/token", "does not belong"),
        ("https://r.example.com", "https://r-example.com/token", "does not belong"),
        ("https://x.github.io", "https://y.github.io/token", "does not belong"),
        ("https://a.co.uk", "https://b.co.uk/token", "does not belong"),
        ("https://docker.io.evil.test", "https://auth.docker.io/token", "does not belong"),
        ("https://registry", "https://auth/token", "does not belong"),
        ("https://r.example.com", "http://r.example.com/token", "only http"),
        ("https://r.example.com", "http://r.example.com:443/token", "only http"),
        ("https://r.example.com", "http://auth.example.com/token", "only http"),
        ("http://r.example.com", "http://auth.example.com/token", "only by http"),
        ("https://r.example.com", "http://169.254.169.254/token", "only http"),
        ("https://r.example.com", "https://169.254.169.254/token", "link-local"),
        ("https://r.example.com", "https://127.0.0.1/token", "loopback"),
        ("https://r.example.com", "https://2130706433/token", "loopback"),
        ("https://r.example.com", "https://localhost/token", "loopback"),
        ("https://r.example.com", "https://[::ffff:10.0.0.1]/token", "private"),
        ("https://r.example.com", "https://10.0.0.1/token", "private"),
        ("https://8.8.8.8", "https://10.0.0.1/token", "private"),
        ("https://10.0.0.1", "https://127.0.0.1/token", "loopback"),
        ("https://10.0.0.1", "https://10.0.0.2/token", "does not belong"),
        ("https://127.0.0.1", "https://evil.test/token", "does not belong"),
        ("https://10.0.0.1", "http://10.0.0.1/token", "only http"),
    ],
)
def test_may_not_receive(registry: str, realm: str, reason: str) -> None:
    said = _may(registry, realm)
    assert said is not None
    assert reason in said


def test_auth_hosts_add_hosts_but_never_weaken_the_scheme() -> None:
    registry = "https://r.example.com"
    assert _may(registry, "https://sso.test:8443/t", ("sso.test",)) is None
    assert _may(registry, "https://sso.test:8443/t", ("other.test", "SSO.test.:8443")) is None
    assert _may(registry, "https://sso.test/t", ("sso.test:443",)) is None
    assert _may(registry, "https://sso.test/t", ("sso.test:8443",))
    assert _may(registry, "https://a.sso.test/t", ("sso.test",))
    assert _may(registry, "http://sso.test/t", ("sso.test",))
    assert _may("http://r.example.com", "http://sso.test/t", ("sso.test",)) is None
    assert _may(registry, "https://10.0.0.9/t", ("10.0.0.9",)) is None
    assert _may(registry, "https://[fd00::1]:1/t", ("[fd00::1]:1",)) is None


@pytest.mark.parametrize("entry", ["", "https://sso.test", "sso.test/t", "u@sso.test", "a b", "*"])
def test_auth_hosts_are_hosts(entry: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        _may("https://r.example.com", "https://sso.test/t", (entry,))


def test_auth_hosts_is_no_string() -> None:
    with pytest.raises(errors.InvalidArgument):
        trust.may_receive(
            urls.split("https://r.example").origin, urls.split("https://s.test/"), "s.test"
        )


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("r.example.com", "example.com"),
        ("R.EXAMPLE.COM.", "example.com"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("a.x.github.io", "x.github.io"),
        ("github.io", None),
        ("com", None),
        ("registry", None),
        ("127.0.0.1", None),
        ("::1", None),
        ("0x7f.1", None),
        ("localhost", None),
        ("r.localhost", None),
    ],
)
def test_registrable_domain(host: str, domain: str | None) -> None:
    assert trust.registrable_domain(host) == domain


def test_less_public() -> None:
    assert trust.less_public(urls.PRIVATE, urls.PUBLIC)
    assert trust.less_public(urls.LOOPBACK, urls.PRIVATE)
    assert not trust.less_public(urls.PUBLIC, urls.PUBLIC)
    assert not trust.less_public(urls.PUBLIC, urls.LOOPBACK)
