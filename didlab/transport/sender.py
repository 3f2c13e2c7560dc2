"""Requests on behalf of one place: to itself, and to where its answers point."""

from __future__ import annotations

from dataclasses import dataclass, field

from didlab.errors import InvalidArgument
from didlab.transport import urls
from didlab.transport.adapter import Sendable
from didlab.transport.options import Options
from didlab.transport.place import Place
from didlab.transport.secret import Secret
from didlab.transport.urls import Origin, Url
from didlab.transport.wire import Answer, Wire

#: Logins among them are `Secret` until they are sent.
Headers = dict[str, str | Secret]


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt to ask one API endpoint: all but the scheme, and the login that is found."""

    method: str
    path: str
    #: May hold a signature.
    query: str = field(repr=False)
    headers: Headers
    #: What a login is asked for: the repository, and the scope that it takes.
    repository: str = ""
    scope: str | None = None
    attempt: int = 1
    #: What it sends; the same again at every attempt.
    body: Sendable | None = None
    #: Where to, when the place named another one for it: the login does not go there.
    elsewhere: Url | None = None

    def headers_with(self, authorization: Secret | None) -> Headers:
        """Return the headers, with a login where there is one."""
        if authorization is None:
            return self.headers
        return {**self.headers, "Authorization": authorization}


class Sender:
    """Sends for a place, and knows which way each address is to be reached.

    ``insecure`` tells whether the user allowed this place to go without verified TLS.
    """

    def __init__(self, place: Place, options: Options, wire: Wire) -> None:
        self.place = place
        self.insecure = options.is_insecure(
            place.host, place.port or 443, registry=not place.mirror
        ) or (place.port is None and options.is_insecure(place.host, 80, registry=False))
        self._options = options
        self._wire = wire
        self.check_scheme()

    def check_scheme(self) -> None:
        """Refuse plain http where nobody allowed it.

        Raises
        ------
        InvalidArgument
        """
        place = self.place
        if place.scheme == "http" and not (self.loopback or self.insecure):
            raise InvalidArgument(
                f"the mirror {place.name} is given with plain http",
                hint=self.detour() or f"write https://, or allow it by insecure=[{place.name!r}]",
            )

    @property
    def loopback(self) -> bool:
        """Whether plain http to this place stays on this machine."""
        return self.is_local(self._plain())

    def is_local(self, origin: Origin) -> bool:
        """Whether what is sent to an origin stays on this machine.

        Through a proxy elsewhere it does not, whatever the address says.
        """
        if not urls.is_loopback(origin.host):
            return False
        proxy = self._wire.proxy(Url(origin, "/"))
        return proxy is None or urls.is_loopback(proxy.host)

    def proxy(self, origin: Origin) -> str | None:
        """Return the proxy that may have answered in an origin's place: only plain http has one."""
        proxy = self._wire.proxy(Url(origin, "/")) if origin.scheme == "http" else None
        return None if proxy is None else proxy.netloc

    def detour(self) -> str | None:
        """Return what to do where a place on this machine is reached by a proxy elsewhere."""
        if self.insecure or self.loopback or not urls.is_loopback(self.place.host):
            return None
        return (
            f"the proxy {self._wire.proxy(Url(self._plain(), '/'))} is used for this machine's own "
            f"{self.place.name}, by https only; proxy='direct' or NO_PROXY={self.place.host} "
            "goes straight"
        )

    def _plain(self) -> Origin:
        return Origin("http", self.place.host, self.place.port or 80)

    def send(
        self,
        method: str,
        url: Url,
        headers: Headers,
        attempt: int,
        *,
        foreign: bool,
        body: Sendable | None = None,
    ) -> Answer:
        """Send one request; ``foreign`` are addresses that the place named, not the user."""
        if foreign:
            lax = self._options.is_insecure(url.origin.host, url.origin.port, registry=False)
        else:
            lax = self.insecure
        way = "lax" if lax else "foreign" if foreign else "named"
        return self._wire.send(
            method,
            url,
            headers,
            way=way,
            home=self.place.host,
            attempt=attempt,
            mirror=self.place.name if self.place.mirror else None,
            body=body,
        )
