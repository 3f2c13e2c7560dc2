"""The demo registry's token server: Basic login in, short-lived opaque tokens out."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["LIFETIME", "SERVICE", "TokenServer"]

LIFETIME = 300  # seconds
SERVICE = "didlab-sandbox"

_CATALOG = "registry:catalog:*"
_REPOSITORY_SCOPE = re.compile(r"repository:([a-z0-9._/-]{1,255}):([a-z,*]{1,64})", re.ASCII)
_AT_MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Grant:
    scopes: frozenset[str]
    expires: float


class TokenServer:
    """Checks logins and remembers which token may do what, until it expires.

    Parameters
    ----------
    username, password : str
        The only login there is.
    """

    def __init__(self, username: str, password: str) -> None:
        self._login = f"{username}:{password}".encode()
        self._grants: dict[str, _Grant] = {}
        self._lock = threading.Lock()

    def login(self, authorization: str) -> bool:
        """Tell whether the header ``Authorization`` holds the right Basic login."""
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(value.strip().encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError):
            return False
        return hmac.compare_digest(given, self._login)

    def issue(self, scopes: Iterable[str]) -> str:
        """Return a new token for those of ``scopes`` that this registry can grant."""
        granted = set()
        for scope in scopes:
            match = _REPOSITORY_SCOPE.fullmatch(scope)
            if match and {"pull", "*"} & set(match[2].split(",")):
                granted.add(f"repository:{match[1]}:pull")  # there is nothing else to do here
            elif scope == _CATALOG:
                granted.add(scope)
        token = secrets.token_urlsafe(32)
        now = time.monotonic()
        with self._lock:
            for old in [key for key, grant in self._grants.items() if grant.expires <= now]:
                del self._grants[old]
            while len(self._grants) >= _AT_MOST:
                del self._grants[next(iter(self._grants))]
            self._grants[token] = _Grant(frozenset(granted), now + LIFETIME)
        return token

    def refusal(self, authorization: str, scope: str | None) -> str | None:
        """Return why ``authorization`` does not allow ``scope``; None where it does.

        The empty string: nobody asked for a token yet; otherwise RFC 6750's error code.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return ""
        with self._lock:
            grant = self._grants.get(token.strip())
        if grant is None or grant.expires <= time.monotonic():
            return "invalid_token"
        if scope is not None and scope not in grant.scopes:
            return "insufficient_scope"
        return None
