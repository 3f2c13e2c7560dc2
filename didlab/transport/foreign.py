"""Content at addresses that a manifest names, not the user: nobody is logged in there.

By the rules for redirects: no login, cookie or client certificate, addresses no less public than
the registry's, https unless the user allowed the host to go without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

from didlab.errors import (
    AuthDenied,
    BlobNotFound,
    DidlabError,
    InvalidArgument,
    NotFound,
    OriginRefused,
    TransportError,
    printable,
)
from didlab.transport import answers, redirects, retry, urls
from didlab.transport.adapter import Sendable
from didlab.transport.blob import Blob
from didlab.transport.client import Client
from didlab.transport.endpoint import Endpoint
from didlab.transport.log import RequestLog
from didlab.transport.options import Options
from didlab.transport.place import Place
from didlab.transport.secret import Secret
from didlab.transport.sender import Headers, Request, Sender
from didlab.transport.urls import PUBLIC, Url
from didlab.transport.wire import Answer, Wire

T = TypeVar("T")

#: The most addresses of one layer that are asked, and that are looked at for these.
MOST, SEEN = 4, 64
#: Statuses after which the same address need not be asked in another way.
_FINAL = frozenset({401, 403, 404, 410})
_HINT = "nobody logs in at the urls of a layer"


class Outside(Wire):
    """Connections to where manifests point, on behalf of a registry; or of a local file."""

    def __init__(self, options: Options, registry: Client | None) -> None:
        bare = replace(
            options, mirrors=(), username=None, password=None, token=None, client_cert=None,
            auth_hosts=(), helpers=(),
        )  # fmt: skip
        super().__init__(bare, ("", 0), RequestLog() if registry is None else registry.log)
        self.options = bare
        self._registry = registry

    @property
    def home(self) -> str:
        """The host on whose behalf is asked; empty for a local file."""
        return "" if self._registry is None else self._registry.origin.place.host

    def home_class(self, host: str) -> int:
        """Return how public the registry is; who wrote a local file may have been anybody."""
        registry = self._registry
        return PUBLIC if registry is None else registry.origin._sender._wire.home_class(host)


def usable(texts: Iterable[str], options: Options) -> tuple[list[Url], list[str]]:
    """Return the addresses that may be asked, in order, and what is wrong with others."""
    found: dict[Url, None] = {}
    refused: list[str] = []
    for number, text in enumerate(texts):
        if number >= SEEN or len(found) >= MOST:
            break
        try:
            url = urls.split(text)
            check(url, options)
        except OriginRefused as error:
            refused.append(f"{error.message} ({error.hint})" if error.hint else error.message)
        else:
            found.setdefault(url)
    return list(found), refused


def check(url: Url, options: Options) -> None:
    """Refuse plain http, but at a host that ``insecure=`` names.

    Raises
    ------
    OriginRefused
    """
    origin = url.origin
    if origin.scheme == "http" and not options.is_insecure(
        origin.host, origin.port, registry=False
    ):
        raise OriginRefused(
            f"{printable(url.redacted(), 200)} is plain http",
            host=origin.netloc,
            hint=f"insecure=[{origin.netloc!r}] allows it",
        )


def blob(wire: Outside, addresses: Iterable[Url], digest: str, size: int) -> Blob:
    """Return a reader of a blob at several addresses, asked in order: no I/O."""
    return _UrlBlob(_Addresses(wire, addresses), "", digest, size)


class _Sender(Sender):
    """Judges every address, those that redirects lead to as well."""

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
        del foreign
        check(url, self._options)
        return super().send(method, url, headers, attempt, foreign=True, body=body)


class _Address(Endpoint):
    """One address of one blob."""

    def __init__(self, name: str, url: Url, wire: Outside) -> None:
        place = Place(name, wire.home, None, "https")
        super().__init__(place, wire.options, wire)
        self._sender = _Sender(place, wire.options, wire)
        self._url = url

    def request(
        self,
        method: str,
        repository: str,
        rest: str,
        *,
        scope: str | None,
        accept: str = "*/*",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Sendable | None = None,
        attempts: int = retry.ATTEMPTS,
    ) -> Answer:
        """Ask at the address; what an API would be told is left out."""
        del repository, rest, scope, query, body
        everything: Headers = {"Accept": accept, **(headers or {})}
        return self._persist(Request(method, self._url.path, "", everything), attempts)

    def _once(self, request: Request) -> Answer:
        answer = self._sender.send(
            request.method, self._url, request.headers, request.attempt, foreign=True
        )
        return redirects.follow(answer, request, self._sender, _nobody)


def _nobody(method: str, url: Url, headers: Headers, body: Secret | None) -> NoReturn:
    """Ask no token server: whom a stranger names is asked nothing."""
    del method, headers, body
    raise AuthDenied(f"{url.origin} is not asked for a token", host=url.origin.netloc, hint=_HINT)


class _Addresses(Client):
    """The addresses of one blob, as places to ask in order."""

    def __init__(self, wire: Outside, addresses: Iterable[Url]) -> None:
        self.registry = ""
        self.log = RequestLog()  # each request is in that of the registry
        found: dict[str, _Address] = {}
        for url in addresses:
            shown = printable(url.redacted(), 200)
            name = shown if shown not in found else f"{shown} ({len(found) + 1})"
            found[name] = _Address(name, url, wire)
        self.endpoints = tuple(found.values())
        self._good: Endpoint | None = None

    def first(self, job: Callable[[Endpoint], T]) -> T:
        """Do ``job`` at the first address where it succeeds; it stays the first.

        Raises
        ------
        DidlabError
            What may pass goes before what will not.
        """
        failed: list[DidlabError] = []
        for endpoint in sorted(self.endpoints, key=lambda one: one is not self._good):
            try:
                made = job(endpoint)
            except InvalidArgument:
                raise
            except DidlabError as error:
                failed.append(error)
            else:
                self._good = endpoint
                return made
        passing = [e for e in failed if isinstance(e, TransportError) and e.retryable]
        raise after(*[e for e in failed if e is not (passing or failed)[-1]],
                    last=(passing or failed)[-1])  # fmt: skip

    def refusal(
        self,
        endpoint: Endpoint,
        answer: Answer,
        repository: str,
        what: str,
        missing: type[NotFound],
    ) -> DidlabError:
        """Return the error for an answer without success."""
        del endpoint, repository
        host, status = answer.host, answer.status
        if status in (401, 403):
            answer.close()
            return AuthDenied(f"{host} refused {what} ({status})", host=host, hint=_HINT)
        if status in (404, 410):
            answer.close()
            return absent(f"{host} has no {what} ({status})", host=host)
        error = answers.failure(answer, what, missing)
        # What is to be done at a registry does not help here.
        return type(error)(error.message, **{**error.fields(), "hint": None})


class _UrlBlob(Blob):
    """As a blob of a registry: ranges, sizes and lengths are held against what was asked for."""

    def _ask(self, endpoint: Endpoint, headers: dict[str, str], kind: str = "blobs") -> Answer:
        answer = super()._ask(endpoint, headers, kind)
        if answer.status in _FINAL:
            what = f"layer {self._digest}"
            raise self._client.refusal(endpoint, answer, "", what, BlobNotFound)
        return answer


def absent(message: str, **fields: Any) -> BlobNotFound:
    """Return the error for a blob that nobody has; ``followed`` says that ``urls`` were, too."""
    return BlobNotFound(message, **{**fields, "followed": True})


def after(*before: DidlabError, last: DidlabError) -> DidlabError:
    """Return the last error, its message telling what was said before."""
    if not before:
        return last
    told = tuple(error.message for error in before)
    fields = {**last.fields(), "attempts": (*last.fields().get("attempts", ()), *told)}
    return type(last)(f"{last.message}; before that: {'; '.join(told)}", **fields)
