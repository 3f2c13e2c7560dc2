"""How to talk with one registry: what the user asked for, checked once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from didlab.errors import InvalidArgument
from didlab.transport import checks
from didlab.transport.secret import Secret

#: Seconds to wait for a connection, and for the next byte of an answer.
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 30.0

#: Certificate bundles, as requests, curl and OpenSSL know them.
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")

_PROXY_SCHEMES = {
    "http": "http",
    "https": "https",
    # Names are resolved at the proxy: behind a border the local answer is wrong or watched.
    "socks5": "socks5h",
    "socks5h": "socks5h",
    "socks4": "socks4a",
    "socks4a": "socks4a",
}


@dataclass(frozen=True)
class Proxy:
    """A proxy address; its password stays out of sight. `DIRECT` stands for none at all."""

    scheme: str
    netloc: str
    username: str | None = None
    password: Secret | None = None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}" if self.netloc else self.scheme

    @property
    def host(self) -> str:
        """The host alone, an IPv6 address without brackets."""
        name, colon, port = self.netloc.rpartition(":")
        return (name if colon and port.isdigit() else self.netloc).strip("[]")

    def reveal(self) -> str:
        """Return the address with user and password, as the connection needs it."""
        if self.username is None:
            return str(self)
        secret = f":{self.password.reveal()}" if self.password else ""
        return f"{self.scheme}://{self.username}{secret}@{self.netloc}"


#: No proxy, whatever the environment says.
DIRECT = Proxy("direct", "")


@dataclass(frozen=True)
class Options:
    """Everything that makes two connections to one registry differ.

    Compared and hashed as a whole, secrets included, to find a connection that can be shared;
    pickled without its secrets (:meth:`public`), and without what this machine's environment and
    configuration added: another machine has its own.
    """

    mirrors: tuple[str, ...] = ()
    proxy: Proxy | None = None
    username: str | None = None
    password: Secret | None = None
    token: Secret | None = None
    #: True: the registry itself; names: those hosts (``host`` or ``host:port``).
    insecure: bool | tuple[str, ...] = False
    ca: str | None = None
    client_cert: tuple[str, ...] | None = None
    auth_hosts: tuple[str, ...] = ()
    timeout: tuple[float, float] = (CONNECT_TIMEOUT, READ_TIMEOUT)
    trust_env: bool = True
    #: Nothing is sent anywhere; what is not in the local store is not there.
    offline: bool = False
    #: (host, NAME) of docker-credential-NAME, as the user's configuration says.
    helpers: tuple[tuple[str, str], ...] = ()
    #: Which registry these were made for, and what was given as an argument.
    registry: str | None = field(default=None, compare=False, repr=False)
    given: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def public(self) -> Options:
        """Return the same without secrets: what may travel to another process."""
        proxy = self.proxy and replace(self.proxy, username=None, password=None)
        return replace(self, username=None, password=None, token=None, proxy=proxy)

    def __reduce__(self) -> tuple[Any, ...]:
        bare = self.public()
        if self.registry is not None:
            return _elsewhere, (self.registry, {name: getattr(bare, name) for name in self.given})
        return type(self), tuple(getattr(bare, name) for name in self.__dataclass_fields__)

    def helper(self, host: str) -> str | None:
        """Return the credential helper that the user's configuration names for a host."""
        return dict(self.helpers).get(host)

    def is_insecure(self, host: str, port: int, *, registry: bool) -> bool:
        """Whether ``insecure=`` names this place."""
        if isinstance(self.insecure, bool):
            return self.insecure and registry
        name = f"[{host}]" if ":" in host else host
        return not {host, name, f"{name}:{port}"}.isdisjoint(self.insecure)


def _elsewhere(registry: str, given: dict[str, Any]) -> Options:
    from didlab.transport import effective

    # Not checked again: a file that is missing here is told when it is needed.
    found = effective.resolve(registry, {})
    return replace(found, **given, given=tuple(given))


def make(
    *,
    mirrors: str | Iterable[str] = (),
    proxy: str | None = None,
    username: str | None = None,
    password: str | Secret | None = None,
    token: str | Secret | None = None,
    insecure: bool | str | Iterable[str] = False,
    ca: str | os.PathLike[str] | None = None,
    client_cert: str | os.PathLike[str] | tuple[str | os.PathLike[str], ...] | None = None,
    auth_hosts: str | Iterable[str] = (),
    timeout: float | tuple[float, float] | None = None,
    trust_env: bool = True,
    offline: bool = False,
) -> Options:
    """Check the keyword arguments of ``Registry(…)`` and make options of them.

    Raises
    ------
    InvalidArgument
        A value that cannot be meant that way; secrets are never repeated.
    """
    if (username is None) != (password is None):
        raise InvalidArgument(
            "username= and password= belong together",
            hint="give both, or neither and let docker's config.json answer",
        )
    if token is not None and username is not None:
        raise InvalidArgument("give either token= or username= and password=, not both")
    return Options(
        mirrors=checks.mirrors(mirrors),
        proxy=None if proxy is None else parse_proxy(checks.text(proxy, "proxy")),
        username=None if username is None else checks.text(username, "username"),
        password=_secret(password, "password"),
        token=_token(token),
        insecure=checks.insecure(insecure),
        ca=None if ca is None else checks.ca(ca),
        client_cert=None if client_cert is None else checks.client_cert(client_cert),
        auth_hosts=checks.auth_hosts(auth_hosts),
        timeout=(CONNECT_TIMEOUT, READ_TIMEOUT) if timeout is None else checks.timeout(timeout),
        trust_env=checks.flag(trust_env, "trust_env"),
        offline=checks.flag(offline, "offline"),
    )


def parse_proxy(text: str) -> Proxy:
    """Read a proxy address; ``socks5`` becomes ``socks5h`` (names resolved at the proxy).

    ``direct`` is none at all, also where the environment or the configuration has one.
    """
    if text == "direct":
        return DIRECT
    shown = text.rpartition("@")[2]
    problem = InvalidArgument(
        f"not a proxy address: {shown!r}",
        hint="write http://host:port, https://host:port or socks5h://host:port",
    )
    if "://" not in text:
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise problem from None
    scheme = _PROXY_SCHEMES.get(parts.scheme.lower())
    if scheme is None or not parts.hostname or parts.path not in ("", "/"):
        raise problem
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port is None else f"{host}:{port}"
    return Proxy(scheme, netloc, parts.username, Secret(parts.password) if parts.password else None)


def environment_ca(environ: Mapping[str, str]) -> str | None:
    """Return the certificate bundle that the environment names, as requests and OpenSSL do."""
    for name in CA_VARIABLES:
        if environ.get(name):
            return environ[name]
    return None


def _secret(value: str | Secret | None, name: str) -> Secret | None:
    # Its type is told, never what it is.
    return value if value is None or isinstance(value, Secret) else Secret(checks.text(value, name))


def _token(value: str | Secret | None) -> Secret | None:
    secret = _secret(value, "token")
    if secret is None:
        return None
    # A file that a token was read from ends with a line end.
    bare = Secret(secret.reveal().strip())
    if not checks.is_token(bare):
        raise InvalidArgument(
            "token= is empty, or has blanks, control or other characters that no token has",
            hint="give the token alone, without the word Bearer",
        )
    return bare
