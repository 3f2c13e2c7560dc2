"""Requests on behalf of one place: to itself, and to where its answers point."""

from __future__ import annotations

from dataclasses import dataclass

from didlab.errors import InvalidArgument
from didlab.transport import urls
from didlab.transport.options import Options
from didlab.transport.place import Place
from didlab.transport.secret import Secret
from didlab.transport.urls import Url
from didlab.transport.wire import Answer, Wire

#: Logins among them are `Secret` until they are sent.
Headers = dict[str, str | Secret]


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt to ask one API endpoint: all but the scheme, and the login that is found."""

    method: str
    path: str
    query: str
    headers: Headers
    #: What a login is asked for: the repository, and the scope that reading it takes.
    repository: str = ""
    scope: str | None = None
    attempt: int = 1

    def headers_with(self, authorization: Secret | None) -> Headers:
        """Return the headers, with a login where there is one."""
        if authorization is None:
            return self.headers
        return {**self.headers, "Authorization": authorization}


class Sender:
    """Sends for a place, and knows which way each address is to be reached.

    ``insecure`` tells whether the user allowed this place to go without verified TLS,
    ``loopback`` whether it is on this machine.
    """

    def __init__(self, place: Place, options: Options, wire: Wire) -> None:
        self.place = place
        self.loopback = urls.is_loopback(place.host)
        self.insecure = options.is_insecure(
            place.host, place.port or 443, registry=not place.mirror
        ) or (place.port is None and options.is_insecure(place.host, 80, registry=False))
        if place.scheme == "http" and not (self.loopback or self.insecure):
            raise InvalidArgument(
                f"the mirror {place.name} is given with plain http",
                hint=f"write https://, or allow it by insecure=[{place.name!r}]",
            )
        self._options = options
        self._wire = wire

    def send(
        self,
        method: str,
        url: Url,
        headers: Headers,
        attempt: int,
        *,
        foreign: bool,
        body: Secret | None = None,
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
