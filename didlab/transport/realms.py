"""Token servers: where a challenge sends, and whether logins may go there. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from didlab.errors import OriginRefused, RealmRefused, TokenInvalid, printable
from didlab.transport import trust, urls
from didlab.transport.challenge import Challenge
from didlab.transport.urls import Origin, Url

#: Whether what is sent to an origin stays on this machine; proxies are looked at, too.
IsLocal = Callable[[Origin], bool]


def is_local(origin: Origin) -> bool:
    """Judge by the address alone, for whoever uses no proxy."""
    return urls.is_loopback(origin.host)


def locate(
    challenge: Challenge, origin: Origin, registry: str, is_local: IsLocal = is_local
) -> Url:
    """Return the address of the token server that a challenge names.

    Raises
    ------
    TokenInvalid
        It names none.
    RealmRefused
        No place to go to, or one without TLS where the registry has it.
    """
    text = challenge.parameters.get("realm", "")
    if not text:
        raise TokenInvalid(f"{registry} asks for a token but names no realm", host=registry)
    try:
        realm = urls.split(text)
    except OriginRefused:
        shown = printable(text.partition("?")[0].rpartition("@")[2], 200)
        raise RealmRefused(
            f"{registry} names a token server that is no place to go to: {shown!r}",
            host=registry,
            realm=shown,
        ) from None
    weaker = origin.scheme == "https" and realm.origin.scheme == "http"
    if weaker and not (is_local(origin) and is_local(realm.origin)):
        raise RealmRefused(
            f"{registry} sends token requests to {realm.redacted()}, without TLS",
            host=registry,
            realm=realm.redacted(),
            hint="the registry is set up wrongly, often behind a TLS proxy",
        )
    return realm


def refusal(
    realm: Url,
    origin: Origin,
    auth_hosts: Sequence[str],
    registry: str,
    is_local: IsLocal = is_local,
) -> RealmRefused | None:
    """Return the error for a token server that may not get the registry's logins, or None.

    The rules are those of `didlab.transport.trust.may_receive`.
    """
    reason = trust.may_receive(origin, realm, auth_hosts, is_local)
    if reason is None:
        return None
    return RealmRefused(
        f"{registry} sends logins to {realm.redacted()}, {reason}",
        host=registry,
        realm=realm.redacted(),
        hint=f"auth_hosts=[{realm.origin.netloc!r}] allows it, if you trust it",
    )
