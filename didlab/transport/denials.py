"""The errors for a place, or its token server, that said no."""

from __future__ import annotations

from typing import Any

from didlab.errors import (
    AuthDenied,
    AuthRequired,
    OriginRefused,
    RateLimited,
    ServerError,
    TransportError,
)
from didlab.transport import retry
from didlab.transport.credentials import Credential
from didlab.transport.wire import Answer

#: What a token server answers to a login that it does not take.
REFUSALS = frozenset({400, 401, 403})

#: Where a refusal may mean something that only its web site tells.
_LICENCES = {
    "container-registry.oracle.com": "the image's licence has to be accepted once, on "
    "https://container-registry.oracle.com; else check"
}


def denial(
    registry: str,
    repository: str,
    status: int,
    detail: str,
    credential: Credential | None,
    proxy: str | None = None,
) -> AuthRequired | AuthDenied:
    """Return the error for a registry that refused a credential, or the lack of one.

    ``proxy`` is one that can have answered in the registry's place.
    """
    where = f"{registry}/{repository}" if repository else registry
    tail = f": {detail}" if detail else ""
    maybe = f"; or the proxy at {proxy} wants its own login" if proxy else ""
    if credential is None:
        return AuthRequired(
            f"{where} wants a login ({status}){tail}",
            host=registry,
            hint="pass username= and password=, or log in with docker or podman once; "
            f"a wrong name may be answered like this too{maybe}",
        )
    return AuthDenied(
        f"{where} refused the credentials from {credential.source} ({status}){tail}",
        host=registry,
        hint=f"{_LICENCES.get(registry, 'check')} user, password and what they may "
        f"read; a wrong name may be answered like this too{maybe}",
    )


def token_server_failure(answer: Answer, host: str) -> TransportError:
    """Return the error for a token server's answer that is neither a token nor a refusal."""
    status = answer.status
    if status == 429:
        told: dict[str, Any] = dict(retry.limits(answer.headers))
        return RateLimited(f"{host} gives no more tokens for now", host=host, **told)
    if status >= 500:
        return ServerError(f"the token server {host} answers {status}", host=host, status=status)
    if 300 <= status < 400:
        return OriginRefused(
            f"the token server {host} points elsewhere; logins do not follow", host=host
        )
    return TransportError(f"the token server {host} answers {status}", host=host)
