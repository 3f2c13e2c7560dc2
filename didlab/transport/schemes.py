"""Whether a place speaks https or http: told, remembered, or found by asking."""

from __future__ import annotations

from didlab.errors import (
    BadHeader,
    ConnectFailed,
    DidlabError,
    ProtocolError,
    TlsFailed,
    TransportError,
    Truncated,
)
from didlab.transport.place import Place
from didlab.transport.secret import Secret
from didlab.transport.sender import Headers, Request, Sender
from didlab.transport.urls import Origin, Url
from didlab.transport.wire import Answer

_API_VERSION = "Docker-Distribution-Api-Version"

#: Host and port -> the scheme that was found there.
Spoken = dict[tuple[str, int | None], str]


def candidates(sender: Sender, spoken: Spoken) -> tuple[str, ...]:
    """Return the schemes that a place may speak, the likelier one first.

    No scheme is certain on this machine, and at places that the user allowed to go without TLS:
    there ``spoken`` has what was found. Everywhere else there is https only; also at a place on
    this machine that is reached through a proxy elsewhere.
    """
    place = sender.place
    if place.scheme is not None:
        sender.check_scheme()  # a proxy of the environment may be new
        return (place.scheme,)
    found = spoken.get((place.host, place.port))
    if found is not None and (sender.loopback or sender.insecure):
        return (found,)
    if sender.loopback:
        # Most registries on this machine speak http, and asking so costs no handshake.
        return ("http", "https")
    return ("https", "http") if sender.insecure else ("https",)


def origin(place: Place, scheme: str) -> Origin:
    """Return a place as an origin, on the port that the scheme has there."""
    return Origin(scheme, place.host, place.port or (443 if scheme == "https" else 80))


def send(
    sender: Sender, spoken: Spoken, request: Request, authorization: Secret | None = None
) -> Answer:
    """Send a request to the place itself, and remember which scheme it was found to speak."""
    try:
        return _sent(sender, spoken, request, authorization)
    except TransportError as error:
        hint = sender.detour()
        if hint is None:
            raise
        raise type(error)(error.message, **{**error.fields(), "hint": hint}) from None


def _sent(sender: Sender, spoken: Spoken, request: Request, authorization: Secret | None) -> Answer:
    headers = request.headers_with(authorization)
    schemes = candidates(sender, spoken)
    key = (sender.place.host, sender.place.port)
    if len(schemes) == 2:
        answer = _find(sender, *schemes, request, headers)
        spoken[key] = answer.url.origin.scheme
        return answer
    # What was learned may be out of date: another program has the port now.
    try:
        answer = _send_as(sender, schemes[0], request, headers)
    except (TlsFailed, Truncated) as error:
        # Once is a kept connection that was closed meanwhile.
        if request.attempt > 1 or isinstance(error, TlsFailed):
            spoken.pop(key, None)
        raise
    if _is_misunderstood(answer):
        spoken.pop(key, None)
    return answer


def _find(sender: Sender, first: str, second: str, request: Request, headers: Headers) -> Answer:
    answer: Answer | None = None
    failed: DidlabError | None = None
    try:
        answer = _send_as(sender, first, request, headers)
        if not (first == "http" and _is_misunderstood(answer)):
            return answer
    except TlsFailed as error:
        if not error.not_tls:
            raise
        failed = error
    except ConnectFailed as error:
        if sender.place.port is not None:
            raise
        failed = error  # another scheme is another port
    except (Truncated, ProtocolError) as error:
        if first == "https" or isinstance(error, BadHeader):
            raise
        failed = error
    try:
        other = _send_as(sender, second, request, headers)
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


def _send_as(sender: Sender, scheme: str, request: Request, headers: Headers) -> Answer:
    url = Url(origin(sender.place, scheme), request.path, request.query)
    answer = sender.send(
        request.method, url, headers, request.attempt, foreign=False, body=request.body
    )
    login = headers.get("Authorization")
    answer.sent_authorization = login if isinstance(login, Secret) else None
    return answer


def _is_misunderstood(answer: Answer) -> bool:
    """Whether this may be a TLS server's answer to plain http: 400, but not a registry's."""
    own = "json" in answer.headers.get("Content-Type", "")
    return answer.status == 400 and not own and _API_VERSION not in answer.headers
