"""One place that answers for a registry: it is asked as often as it takes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlencode

from didlab._pausing import patience, pause, wait
from didlab.errors import ConnectFailed, RateLimited, TransportError
from didlab.transport import credentials, login, notices, redirects, retry, schemes
from didlab.transport.adapter import Sendable
from didlab.transport.addresses import Addresses
from didlab.transport.auth import Authorizer
from didlab.transport.credentials import Credential
from didlab.transport.options import Options
from didlab.transport.place import Place
from didlab.transport.schemes import Spoken
from didlab.transport.secret import Secret
from didlab.transport.sender import Headers, Request, Sender
from didlab.transport.urls import Origin, Url
from didlab.transport.wire import Answer, Wire

# Which scheme a place without a certain one was found to speak; shared by the process.
_spoken: Spoken = {}


class Endpoint:
    """A registry, or one of its mirrors, as a place to ask."""

    def __init__(self, place: Place, options: Options, wire: Wire) -> None:
        self.place = place
        self._options = options
        self._sender = Sender(place, options, wire)
        self.auth = Authorizer(
            place.name,
            self._credential,
            options.auth_hosts,
            self._ask_token,
            is_local=self._sender.is_local,
            proxy=lambda: self._sender.proxy(self._origin()),
        )
        self._addresses = Addresses()
        self._down_until = 0.0

    def __repr__(self) -> str:
        return f"<Endpoint {self.place.name}>"

    @property
    def down(self) -> bool:
        """Whether this mirror failed to answer a moment ago."""
        return time.monotonic() < self._down_until

    def mark_down(self, seconds: float = 60.0) -> None:
        """Leave this mirror alone for a while."""
        self._down_until = time.monotonic() + seconds

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
        """Ask one API endpoint, with as many attempts as it takes; redirects are followed.

        ``attempts`` is the most, fewer at mirrors: another place is at hand then. ``body`` is sent
        again with each of them. Returns the answer whatever its status, except for what is handled
        here.

        Raises
        ------
        TransportError, AuthError, ProtocolError
            After the last attempt, or at once where another one cannot help.
        """
        parts = [urlencode(query) if query else "", self.place.query]
        text = "&".join(part for part in parts if part)
        everything: Headers = {"Accept": accept, **(headers or {})}
        path = self.place.path(repository, rest)
        request = Request(method, path, text, everything, repository, scope, body=body)
        return self._persist(request, attempts)

    def proceed(
        self,
        method: str,
        url: Url,
        repository: str,
        *,
        scope: str,
        headers: Mapping[str, str] | None = None,
        body: Sendable | None = None,
        attempts: int = retry.ATTEMPTS,
    ) -> Answer:
        """Ask at an address that this place gave for an upload: as `request`.

        Where it is another origin the login does not go along, and it may not be less public.
        """
        elsewhere = None if url.origin == self._origin() else url
        everything: Headers = {"Accept": "*/*", **(headers or {})}
        request = Request(
            method, url.path, url.query, everything, repository, scope, body=body,
            elsewhere=elsewhere,
        )  # fmt: skip
        return self._persist(request, attempts)

    def _persist(self, request: Request, attempts: int) -> Answer:
        attempts = min(attempts, 2 if self.place.mirror else retry.ATTEMPTS)
        connects = 1 if self.place.mirror else min(attempts, retry.CONNECT_ATTEMPTS)
        # At a mirror nobody waits long: another place is at hand.
        rests = retry.Rests(patience.get().longest, attempts, patient=not self.place.mirror)
        attempt = 0
        while True:
            attempt += 1
            seconds = pause(attempt)
            try:
                answer = self._once(replace(request, attempt=attempt))
            except RateLimited as error:
                quiet = rests.after(error.retry_after, error.remaining, seconds)
                if quiet is None:
                    raise
                self._keep_quiet(quiet)
                continue
            except TransportError as error:
                most = connects if isinstance(error, ConnectFailed) else attempts
                if not error.retryable or attempt >= most:
                    raise
                wait(seconds)
                continue
            # A signed address may have expired; the registry gives a new one.
            expired = answer.status == 403 and answer.strayed and attempt == 1
            if answer.status not in retry.PASSING and not expired:
                return answer
            if retry.is_limited(answer.status, answer.headers):
                told = retry.limits(answer.headers)
                quiet = rests.after(told["retry_after"], told["remaining"], seconds)
                if quiet is None:
                    return answer
                answer.drain()
                self._keep_quiet(quiet)
                continue
            if attempt >= attempts:
                return answer
            answer.drain()
            wait(seconds)

    def _keep_quiet(self, seconds: float) -> None:
        patience.get().told(self.place.name, seconds)
        wait(seconds)

    def _once(self, request: Request) -> Answer:
        """Make one attempt: send, log in where asked to, follow redirects.

        A range of content that was found elsewhere before is asked for there at once.
        """
        if request.elsewhere is not None:
            answer = self._sender.send(
                request.method, request.elsewhere, request.headers, request.attempt, foreign=True,
                body=request.body,
            )  # fmt: skip
            answer.strayed = True
            return answer
        ranged = request.method == "GET" and "Range" in request.headers
        known = self._addresses.find(request.path) if ranged else None
        if known is not None:
            try:
                answer = self._sender.send(
                    "GET", known, request.headers, request.attempt, foreign=True
                )
            except TransportError:
                self._addresses.forget(request.path, known)
                raise
            answer.strayed = True
            if answer.status in (200, 206):
                return answer
            self._addresses.forget(request.path, known)
            answer.drain()
        authorization = self.auth.known(self._origin(), request.repository, request.scope)
        answer = self._send(request, authorization)
        notices.show(answer)
        if login.is_wanted(answer):
            path, query = self.place.path("", ""), self.place.query
            answer = login.login(
                answer,
                request,
                authorization,
                auth=self.auth,
                send=self._send,
                root=Request("GET", path, query, {}, attempt=request.attempt),
            )
        answer = redirects.follow(answer, request, self._sender, self._ask_token)
        if answer.strayed and answer.status in (200, 206) and request.method == "GET":
            self._addresses.keep(request.path, answer.url)
        return answer

    def _send(self, request: Request, authorization: Secret | None) -> Answer:
        return schemes.send(self._sender, _spoken, request, authorization)

    def _schemes(self) -> tuple[str, ...]:
        return schemes.candidates(self._sender, _spoken)

    def _origin(self) -> Origin:
        return schemes.origin(self.place, self._schemes()[0])

    def _ask_token(self, method: str, url: Url, headers: Headers, body: Secret | None) -> Answer:
        """Ask a token server once: the request that needs the token is what is tried again."""
        home = self._origin()
        foreign = (url.origin.host, url.origin.port) != (home.host, home.port)
        return self._sender.send(method, url, headers, 1, foreign=foreign, body=body)

    def _credential(self, repository: str) -> Credential | None:
        options = self._options
        if not self.place.mirror:
            # What the user gave is for the registry; a mirror has its own, or none.
            if options.token is not None:
                return Credential(registry_token=options.token, source="arguments")
            if options.username is not None:
                return Credential(
                    username=options.username, password=options.password, source="arguments"
                )
        if not repository:
            return None
        return credentials.find(
            self.place.name,
            f"{self.place.prefix}{repository}",
            helper=options.helper(self.place.name),
        )
