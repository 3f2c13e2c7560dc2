"""A registry with its mirrors: whom to ask, in which order, and what to make of refusals."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TypeVar

from didlab._pausing import pause, wait
from didlab.errors import (
    AuthDenied,
    BadContentType,
    ConnectFailed,
    DidlabError,
    InvalidArgument,
    NotFound,
    ServerError,
    TimedOut,
    Truncated,
)
from didlab.transport import answers, place
from didlab.transport.endpoint import Endpoint
from didlab.transport.log import RequestLog
from didlab.transport.options import Options
from didlab.transport.wire import Answer, Wire

T = TypeVar("T")

#: How often a small document is asked for when its body breaks off.
READS = 3
#: Connections of that many registries are kept open by one process.
KEPT = 64

_clients: OrderedDict[tuple[int, str, Options], Client] = OrderedDict()
_clients_lock = threading.Lock()


def connect(registry: str, options: Options) -> Client:
    """Return the process's client for a registry and these options: no I/O.

    Objects that talk to the same registry in the same way share connections, tokens and the log
    of requests. A forked child starts with its own.
    """
    key = (os.getpid(), registry, options)
    with _clients_lock:
        client = _clients.get(key)
        if client is None:
            client = _clients[key] = Client(registry, options)
        _clients.move_to_end(key)
        while len(_clients) > KEPT:
            _clients.popitem(last=False)
    return client


class Client:
    """Asks the mirrors in order, then the registry itself; for every kind of call."""

    def __init__(self, registry: str, options: Options) -> None:
        self.registry = registry
        self.log = RequestLog()
        home = place.registry(registry)
        wire = Wire(options, (home.host, home.port or 443), self.log)
        mirrors = [Endpoint(place.mirror(text), options, wire) for text in options.mirrors]
        self.origin = Endpoint(home, options, wire)
        self.endpoints = (*mirrors, self.origin)

    def endpoint(self, name: str) -> Endpoint:
        """Return one of the places by its name."""
        return next(e for e in self.endpoints if e.place.name == name)

    def contacts(self) -> list[tuple[str, str, str]]:
        """Return each place asked so far: ``(host, scheme, role)``."""
        return list(dict.fromkeys((row.host, row.scheme, row.role) for row in self.log))

    def first(self, job: Callable[[Endpoint], T]) -> T:
        """Do ``job`` at the first place where it succeeds.

        Raises
        ------
        DidlabError
            The registry's own refusal; ``attempts`` tells what the mirrors said before.
        """
        awake = [e for e in self.endpoints if not (e.place.mirror and e.down)]
        told: list[str] = []
        for endpoint in awake:
            try:
                return job(endpoint)
            except InvalidArgument:
                raise
            except DidlabError as error:
                if isinstance(error, ConnectFailed | TimedOut | ServerError):
                    endpoint.mark_down()
                if endpoint is awake[-1]:
                    raise _with_attempts(error, told) if told else error from None
                told.append(f"{endpoint.place.name}: {error.message}")
        raise AssertionError("unreachable: the last place returns or raises")

    def small(
        self,
        endpoint: Endpoint,
        repository: str,
        rest: str,
        *,
        what: str,
        missing: type[NotFound],
        limit: int,
        accept: str = "application/json",
        query: Mapping[str, str] | None = None,
        scope: str | None = None,
    ) -> tuple[bytes, Answer]:
        """GET a small document at one place and return its bytes with the answer's headers.

        Raises
        ------
        NotFound, AuthError, RateLimited, ServerError, ProtocolError
            By the answer's status.
        LimitExceeded
            More than ``limit`` bytes.
        """
        if scope is None and repository:
            scope = endpoint.place.scope(repository)
        attempt = 0
        while True:
            attempt += 1
            answer = endpoint.request(
                "GET", repository, rest, scope=scope, accept=accept, query=query
            )
            if answer.status != 200:
                raise self.refusal(endpoint, answer, repository, what, missing)
            try:
                return answer.read(limit, what), answer
            except (Truncated, TimedOut):
                if attempt >= (1 if endpoint.place.mirror else READS):
                    raise
            wait(pause(attempt))

    def refusal(
        self,
        endpoint: Endpoint,
        answer: Answer,
        repository: str,
        what: str,
        missing: type[NotFound],
    ) -> DidlabError:
        """Return the error for an answer without success."""
        if answer.status in (401, 403) and answer.strayed:
            answer.close()  # a store's answer, XML mostly
            return AuthDenied(
                f"{answer.host}, where {endpoint.place.name} redirects, refused {what} "
                f"({answer.status})",
                host=answer.host,
                hint="logins are never sent to where a redirect leads; try again later",
            )
        if answer.status in (401, 403):
            _, message = answers.detail(answer)
            return endpoint.auth.denial(repository, answer.status, message)
        return answers.failure(answer, what, missing)


def expect_json(raw: bytes, answer: Answer, what: str) -> None:
    """Refuse a page that a proxy or a login form put in the registry's place.

    Raises
    ------
    BadContentType
        The type says HTML, or the body begins like it.
    """
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if raw.lstrip()[:1] == b"<" or (kind == "text/html" and raw.lstrip()[:1] not in (b"{", b"[")):
        raise BadContentType(
            f"{answer.host} answered the request for {what} with a web page",
            host=answer.host,
            status=answer.status,
            hint="a proxy or a login page answered in the registry's place",
        )


def _with_attempts(error: DidlabError, told: list[str]) -> DidlabError:
    """Return the same error, its message telling what the mirrors said before."""
    fields = {**error.fields(), "attempts": tuple(told)}
    return type(error)(f"{error.message}; before that, mirrors failed: {'; '.join(told)}", **fields)
