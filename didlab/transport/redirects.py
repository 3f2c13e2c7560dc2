"""Following redirects by hand, so that a login never goes along to another origin."""

from __future__ import annotations

from didlab.errors import (
    AuthDenied,
    BadHeader,
    DidlabError,
    OriginRefused,
    ProtocolError,
    TooManyRedirects,
    TransportError,
)
from didlab.transport import urls
from didlab.transport.auth import Authorizer
from didlab.transport.challenge import Challenge, parse
from didlab.transport.login import challenges
from didlab.transport.secret import Secret
from didlab.transport.sender import Request, Sender
from didlab.transport.tokens import Send
from didlab.transport.urls import Url
from didlab.transport.wire import Answer

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Those that are followed whatever the method is; 303 means: look there, by GET.
_FOR_ALL = _REDIRECTS - {303}


def follow(answer: Answer, request: Request, sender: Sender, ask_token: Send) -> Answer:
    """Go where an answer points, if it does: without the login as soon as the origin is another.

    Once dropped it stays dropped (CVE-2024-45336), and TLS is never given up.

    Raises
    ------
    OriginRefused
        A redirect from https to http, or to no place to go to.
    TooManyRedirects
        More than five, or a circle.
    AuthDenied
        Where it leads wants a login.
    """
    followed = _REDIRECTS if request.method in ("GET", "HEAD") else _FOR_ALL
    if answer.status not in followed:
        return answer
    name = sender.place.name
    first = answer.url
    home = first.origin
    seen = {first}
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
        kept = request.headers_with(authorization if at_home else None)
        foreign = target.origin != home
        answer = sender.send(
            request.method, target, kept, request.attempt, foreign=foreign, body=request.body
        )
        answer.sent_authorization = authorization if at_home else None
        answer.strayed = not at_home
        if answer.status == 401 and not at_home:
            answer = _anonymous(answer, target, request, sender, ask_token)
        if answer.status not in followed:
            return answer
    answer.close()
    raise TooManyRedirects(f"{name} redirects more than {MAX_REDIRECTS} times", host=name)


def _anonymous(
    answer: Answer, target: Url, request: Request, sender: Sender, ask_token: Send
) -> Answer:
    """Get an anonymous token where a redirect leads; logins do not go there."""
    stranger = Authorizer(
        target.origin.netloc, lambda _: None, (), ask_token, is_local=sender.is_local
    )
    values = challenges(answer)
    answer.drain()
    scope = next((c.parameters["scope"] for c in _parsed(values) if "scope" in c.parameters), None)
    try:
        header = stranger.respond(values, target.origin, "", scope, None)
    except TransportError:
        raise
    except DidlabError as error:
        raise AuthDenied(
            f"{target.origin}, where {sender.place.name} redirects, wants a login",
            host=target.origin.netloc,
            hint="logins are never sent to where a redirect leads",
        ) from error
    headers = request.headers_with(header)
    answer = sender.send(
        request.method, target, headers, request.attempt, foreign=True, body=request.body
    )
    answer.strayed = True
    return answer


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


def _parsed(values: list[str]) -> list[Challenge]:
    try:
        return parse(values)
    except BadHeader:
        return []
