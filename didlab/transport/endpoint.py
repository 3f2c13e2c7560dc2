"""One place that answers for a registry: scheme, login, redirects and retries."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from urllib.parse import urlencode

from didlab._pausing import pause, wait
from didlab.errors import (
    AuthDenied,
    BadHeader,
    ConnectFailed,
    DidlabError,
    InvalidArgument,
    OriginRefused,
    ProtocolError,
    RateLimited,
    TlsFailed,
    TooManyRedirects,
    TransportError,
    Truncated,
)
from didlab.transport import answers, credentials, notices, retry, urls
from didlab.transport.auth import Authorizer
from didlab.transport.challenge import Challenge
from didlab.transport.challenge import parse as parse_challenges
from didlab.transport.credentials import Credential
from didlab.transport.options import Options
from didlab.transport.place import Place
from didlab.transport.secret import Secret
from didlab.transport.urls import Origin, Url
from didlab.transport.wire import Answer, Wire

MAX_REDIRECTS = 5
_API_VERSION = "Docker-Distribution-Api-Version"
#: Logins among them are `Secret` until they are sent.
Headers = dict[str, str | Secret]

# Which scheme a place without a certain one was found to speak; shared by the process.
_spoken: dict[tuple[str, int | None], str] = {}


class Endpoint:
    """A registry, or one of its mirrors, as a place to ask."""

    def __init__(self, place: Place, options: Options, wire: Wire) -> None:
        self.place = place
        self._options = options
        self._wire = wire
        self._loopback = urls.is_loopback(place.host)
        self._insecure = options.is_insecure(
            place.host, place.port or 443, registry=not place.mirror
        ) or (place.port is None and options.is_insecure(place.host, 80, registry=False))
        if place.scheme == "http" and not (self._loopback or self._insecure):
            raise InvalidArgument(
                f"the mirror {place.name} is given with plain http",
                hint=f"write https://, or allow it by insecure=[{place.name!r}]",
            )
        self.auth = Authorizer(place.name, self._credential, options.auth_hosts, self._ask_token)
        self._down_until = 0.0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Endpoint {self.place.name}>"

    # --- state -------------------------------------------------------------------------------

    @property
    def down(self) -> bool:
        """Whether this mirror failed to answer a moment ago."""
        return time.monotonic() < self._down_until

    def mark_down(self, seconds: float = 60.0) -> None:
        """Leave this mirror alone for a while."""
        self._down_until = time.monotonic() + seconds

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

    # --- requests ----------------------------------------------------------------------------

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
        attempts: int = retry.ATTEMPTS,
    ) -> Answer:
        """Ask one API endpoint, with as many attempts as it takes; redirects are followed.

        ``attempts`` is the most, fewer at mirrors: another place is at hand then. Returns the
        answer whatever its status, except for what is handled here.

        Raises
        ------
        TransportError, AuthError, ProtocolError
            After the last attempt, or at once where another one cannot help.
        """
        path = self.place.path(repository, rest)
        parts = [urlencode(query) if query else "", self.place.query]
        text = "&".join(part for part in parts if part)
        everything: Headers = {"Accept": accept, **(headers or {})}
        attempts = min(attempts, 2 if self.place.mirror else retry.ATTEMPTS)
        connects = 1 if self.place.mirror else min(attempts, retry.CONNECT_ATTEMPTS)
        attempt = 0
        while True:
            attempt += 1
            seconds = pause(attempt)
            try:
                answer = self._once(method, path, text, everything, repository, scope, attempt)
            except TransportError as error:
                most = connects if isinstance(error, ConnectFailed) else attempts
                if isinstance(error, RateLimited):
                    seconds = max(seconds, error.retry_after or 0.0)
                if not error.retryable or attempt >= most or seconds > retry.LONGEST_WAIT:
                    raise
                wait(seconds)
                continue
            # A signed address may have expired; the registry gives a new one.
            expired = answer.status == 403 and answer.strayed and attempt == 1
            if answer.status not in retry.PASSING and not expired:
                return answer
            if answer.status in (429, 503):
                told = retry.limits(answer.headers)
                asked = told["retry_after"]
                if isinstance(asked, float):
                    seconds = max(seconds, asked)
                empty = told["remaining"] == 0 and asked is None
                if empty or seconds > retry.LONGEST_WAIT:
                    return answer
            if attempt >= attempts:
                return answer
            answer.drain()
            wait(seconds)

    def _once(
        self,
        method: str,
        path: str,
        query: str,
        headers: Headers,
        repository: str,
        scope: str | None,
        attempt: int,
    ) -> Answer:
        """Make one attempt: send, log in where asked to, follow redirects."""
        origin = self._origin()
        authorization = self.auth.known(origin, repository, scope)
        answer = self._send(method, path, query, _with(headers, authorization), attempt)
        notices.show(answer)
        if self._wants_login(answer):
            answer = self._login(
                answer, method, path, query, headers, repository, scope, attempt, authorization
            )
        if answer.status in (301, 302, 303, 307, 308):
            answer = self._follow(answer, method, headers, attempt)
        return answer

    @staticmethod
    def _wants_login(answer: Answer) -> bool:
        if answer.status == 401:
            return True
        challenge = answer.headers.get("WWW-Authenticate", "")
        return answer.status == 403 and "insufficient_scope" in challenge

    def _login(
        self,
        answer: Answer,
        method: str,
        path: str,
        query: str,
        headers: Headers,
        repository: str,
        scope: str | None,
        attempt: int,
        rejected: Secret | None,
    ) -> Answer:
        origin = answer.url.origin
        status, values, message = _refusal(answer)
        if not values and rejected is None:
            # Some answer 401 without a challenge; the API's root has it then.
            root = self._send("GET", self.place.path("", ""), self.place.query, {}, attempt)
            values = _challenges(root)
            root.drain()
            if not values:
                raise self.auth.denial(repository, 401, "it did not say how to log in")
        header = self.auth.respond(values, origin, repository, scope, rejected)
        if header is not None:
            answer = self._send(method, path, query, _with(headers, header), attempt)
            if not self._wants_login(answer):
                return answer
            status, again, message = _refusal(answer)
            values = again or values
        header = self.auth.wider(values, origin, repository, scope)
        if header is not None:
            answer = self._send(method, path, query, _with(headers, header), attempt)
            if not self._wants_login(answer):
                return answer
            status, _, message = _refusal(answer)
        raise self.auth.denial(repository, status, message)

    # --- redirects ---------------------------------------------------------------------------

    def _follow(self, answer: Answer, method: str, headers: Headers, attempt: int) -> Answer:
        """Follow redirects by hand: without the login as soon as the origin is another.

        Once dropped it stays dropped (CVE-2024-45336), and TLS is never given up.
        """
        request = answer.url
        home = request.origin
        seen = {request}
        authorization: Secret | None = None
        at_home = True
        for _ in range(MAX_REDIRECTS):
            target = _target(answer)
            answer.drain()
            if not isinstance(target, Url):
                raise target
            if answer.url.origin.scheme == "https" and target.origin.scheme == "http":
                raise OriginRefused(
                    f"{answer.host} redirects from https to {target.redacted()}", host=answer.host
                )
            if target in seen:
                raise TooManyRedirects(f"{answer.host} redirects in a circle", host=answer.host)
            seen.add(target)
            at_home = at_home and target.origin == home
            if at_home and authorization is None:
                authorization = answer.sent_authorization
            kept = _with(headers, authorization if at_home else None)
            answer = self._send_to(method, target, kept, attempt, foreign=target.origin != home)
            answer.sent_authorization = authorization if at_home else None
            answer.strayed = not at_home
            if answer.status == 401 and not at_home:
                answer = self._anonymous(answer, method, target, headers, attempt)
            if answer.status not in (301, 302, 303, 307, 308):
                return answer
        answer.close()
        raise TooManyRedirects(
            f"{self.place.name} redirects more than {MAX_REDIRECTS} times", host=self.place.name
        )

    def _anonymous(
        self, answer: Answer, method: str, target: Url, headers: Headers, attempt: int
    ) -> Answer:
        """Get an anonymous token where a redirect leads; logins do not go there."""
        stranger = Authorizer(target.origin.netloc, lambda _: None, (), self._ask_token)
        values = _challenges(answer)
        answer.drain()
        scope = next(
            (c.parameters["scope"] for c in _parsed(values) if "scope" in c.parameters), None
        )
        try:
            header = stranger.respond(values, target.origin, "", scope, None)
        except TransportError:
            raise
        except DidlabError as error:
            raise AuthDenied(
                f"{target.origin}, where {self.place.name} redirects, wants a login",
                host=target.origin.netloc,
                hint="logins are never sent to where a redirect leads",
            ) from error
        answer = self._send_to(method, target, _with(headers, header), attempt, foreign=True)
        answer.strayed = True
        return answer

    # --- sending -----------------------------------------------------------------------------

    def _schemes(self) -> tuple[str, ...]:
        if self.place.scheme is not None:
            return (self.place.scheme,)
        spoken = _spoken.get((self.place.host, self.place.port))
        if spoken is not None and (self._loopback or self._insecure):
            return (spoken,)
        if self._loopback:
            # Most registries on this machine speak http, and asking so costs no handshake.
            return ("http", "https")
        return ("https", "http") if self._insecure else ("https",)

    def _origin(self, scheme: str | None = None) -> Origin:
        scheme = scheme or self._schemes()[0]
        return Origin(
            scheme, self.place.host, self.place.port or (443 if scheme == "https" else 80)
        )

    def _send(self, method: str, path: str, query: str, headers: Headers, attempt: int) -> Answer:
        schemes = self._schemes()
        if len(schemes) == 1:
            # What was learned may be out of date: another program has the port now.
            try:
                answer = self._send_as(schemes[0], method, path, query, headers, attempt)
            except (TlsFailed, Truncated) as error:
                # Once is a kept connection that was closed meanwhile.
                if attempt > 1 or isinstance(error, TlsFailed):
                    _spoken.pop((self.place.host, self.place.port), None)
                raise
            if _is_misunderstood(answer):
                _spoken.pop((self.place.host, self.place.port), None)
            return answer
        answer = self._find_scheme(schemes, method, path, query, headers, attempt)
        _spoken[self.place.host, self.place.port] = answer.url.origin.scheme
        return answer

    def _find_scheme(
        self,
        schemes: tuple[str, ...],
        method: str,
        path: str,
        query: str,
        headers: Headers,
        attempt: int,
    ) -> Answer:
        first, second = schemes
        answer: Answer | None = None
        failed: DidlabError | None = None
        try:
            answer = self._send_as(first, method, path, query, headers, attempt)
            if not (first == "http" and _is_misunderstood(answer)):
                return answer
        except TlsFailed as error:
            if not error.not_tls:
                raise
            failed = error
        except ConnectFailed as error:
            if self.place.port is not None:
                raise
            failed = error  # another scheme is another port
        except (Truncated, ProtocolError) as error:
            if first == "https" or isinstance(error, BadHeader):
                raise
            failed = error
        try:
            other = self._send_as(second, method, path, query, headers, attempt)
        except DidlabError as error:
            if answer is not None:
                answer.close()
            certificate = isinstance(error, TlsFailed) and not error.not_tls
            if certificate or (failed is None and answer is None):
                raise
            if answer is not None:
                return answer
            assert failed is not None
            raise failed from None
        if answer is not None:
            answer.close()
        return other

    def _send_as(
        self,
        scheme: str,
        method: str,
        path: str,
        query: str,
        headers: Headers,
        attempt: int,
    ) -> Answer:
        url = Url(self._origin(scheme), path, query)
        answer = self._send_to(method, url, headers, attempt, foreign=False)
        login = headers.get("Authorization")
        answer.sent_authorization = login if isinstance(login, Secret) else None
        return answer

    def _send_to(
        self,
        method: str,
        url: Url,
        headers: Headers,
        attempt: int,
        *,
        foreign: bool,
        body: Secret | None = None,
    ) -> Answer:
        if foreign:
            lax = self._options.is_insecure(url.origin.host, url.origin.port, registry=False)
        else:
            lax = self._insecure
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

    def _ask_token(self, method: str, url: Url, headers: Headers, body: Secret | None) -> Answer:
        """Ask a token server once: the request that needs the token is what is tried again."""
        foreign = (url.origin.host, url.origin.port) != (self.place.host, self._origin().port)
        return self._send_to(method, url, headers, 1, foreign=foreign, body=body)


def _target(answer: Answer) -> Url | DidlabError:
    """Return where a redirect leads, or what is wrong with it.

    Raises nothing: tracebacks with locals would show the signature in its query.
    """
    location = answer.headers.get("Location")
    if not location:
        return ProtocolError(
            f"{answer.host} redirects ({answer.status}) to nowhere",
            host=answer.host,
            status=answer.status,
        )
    try:
        return urls.join(answer.url, location)
    except OriginRefused as error:
        return OriginRefused(f"{answer.host} redirects: {error.message}", host=answer.host)


def _is_misunderstood(answer: Answer) -> bool:
    """Whether this may be a TLS server's answer to plain http: 400, but not a registry's."""
    own = "json" in answer.headers.get("Content-Type", "")
    return answer.status == 400 and not own and _API_VERSION not in answer.headers


def _with(headers: Headers, authorization: Secret | None) -> Headers:
    return headers if authorization is None else {**headers, "Authorization": authorization}


def _refusal(answer: Answer) -> tuple[int, list[str], str]:
    """Return status, challenges and message of an answer, and close it."""
    return answer.status, _challenges(answer), answers.detail(answer)[1]


def _challenges(answer: Answer) -> list[str]:
    return answer.all_headers("WWW-Authenticate")


def _parsed(values: list[str]) -> list[Challenge]:
    try:
        return parse_challenges(values)
    except BadHeader:
        return []
