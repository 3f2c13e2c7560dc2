"""From a challenge to an ``Authorization`` header, for one place.

Follows the distribution project's token specification (``docs/content/spec/auth``) and what
registries do beside it. Credentials go to a token server only when
:func:`didlab.transport.trust.may_receive` has nothing against it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from didlab.errors import AuthDenied, AuthError, RealmRefused, TokenInvalid, TransportError
from didlab.transport import denials, realms, tokens
from didlab.transport.challenge import Challenge, choose, parse
from didlab.transport.credentials import Credential, forget
from didlab.transport.logins import Logins, basic, bearer
from didlab.transport.secret import Secret
from didlab.transport.urls import Origin

#: Seconds: what a token lives when nothing is said, and the bounds of what is believed.
SHORTEST_LIFE, LONGEST_LIFE = 60.0, 24 * 3600.0
#: Seconds between two times that a credential helper is asked again after a refusal.
_ASK_AGAIN = 5.0


@dataclass(frozen=True, slots=True)
class _Token:
    value: Secret
    expires: float

    def fresh(self) -> bool:
        return time.monotonic() < self.expires


class Authorizer:
    """Knows how one place wants to be spoken to, and keeps the tokens it gave.

    Tokens are kept by realm, service, scope and account; the origin is this object's own.
    """

    def __init__(
        self,
        registry: str,
        credential: Callable[[str], Credential | None],
        auth_hosts: tuple[str, ...],
        send: tokens.Send,
        *,
        is_local: realms.IsLocal = realms.is_local,
        proxy: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._registry = registry
        self._logins = Logins(credential)
        self._auth_hosts = auth_hosts
        self._send = send
        self._is_local = is_local
        self._proxy = proxy
        self._challenge: Challenge | None = None
        self._refusal: RealmRefused | None = None
        self._tokens: dict[tuple[str, str, str, str], _Token] = {}
        self._forgot = float("-inf")
        # One lock: eight workers that start together need one token, not eight.
        self._lock = threading.RLock()

    def known(self, origin: Origin, repository: str, scope: str | None) -> Secret | None:
        """Return the header for a first try, or None when nothing is known to be needed.

        What one repository asked for, another need not: without a header it gets to say so.
        """
        with self._lock:
            if self._challenge is None:
                return self._logins.direct(repository)
            try:
                return self._header(self._challenge, origin, repository, scope)
            except AuthError:
                return None

    def respond(
        self,
        values: list[str],
        origin: Origin,
        repository: str,
        scope: str | None,
        rejected: Secret | None,
    ) -> Secret | None:
        """Return the header that answers a challenge, or None when there is no new one.

        ``rejected`` is the header that the place has just refused: its token is forgotten.

        Raises
        ------
        AuthRequired, AuthDenied, RealmRefused, TokenInvalid
            No header can be had.
        """
        challenge = choose(parse(values))
        with self._lock:
            if challenge is None and self._challenge is None:
                raise self._denied("asks for a login in a way that didlab does not know")
            previous, self._challenge = self._challenge, challenge or self._challenge
            assert self._challenge is not None
            if rejected is not None:
                for key, token in list(self._tokens.items()):
                    if bearer(token.value) == rejected:
                        del self._tokens[key]
                if previous is None and self._logins.direct(repository) == rejected:
                    raise self._denied("refused the token")
            header = self._header(self._challenge, origin, repository, scope)
            return None if header == rejected else header

    def wider(
        self, values: list[str], origin: Origin, repository: str, scope: str | None
    ) -> Secret | None:
        """Return a header with the scope that the challenge names, where that is modest.

        For places whose names for a repository differ from the path (a prefix, an upstream).
        Anything beyond one repository, and what was to be done there, is not asked for.
        """
        challenge = choose(parse(values))
        asked = challenge.parameters.get("scope", "") if challenge else ""
        parts = asked.split(":")
        modest = (
            challenge is not None
            and challenge.scheme == "bearer"
            and asked != scope
            and len(parts) == 3
            and parts[0].split("(")[0] == "repository"
            and set(parts[2].split(",")) <= _actions(scope)
        )
        if not modest or challenge is None:
            return None
        with self._lock:
            header = self._header(challenge, origin, repository, asked)
            if header is not None and scope is not None:
                # What this place calls the repository is remembered under our name for it.
                account = self._logins.account(repository)
                token = self._tokens.get(_key(challenge, asked, account))
                if token is not None:
                    self._tokens[_key(self._challenge or challenge, scope, account)] = token
            return header

    def denial(self, repository: str, status: int, detail: str) -> AuthError:
        """Return the error for a place that said no to the best header there is."""
        if self._refusal is not None:
            return self._refusal
        credential = self._logins.find(repository)
        self._ask_again(credential)
        return denials.denial(self._registry, repository, status, detail, credential, self._proxy())

    def _ask_again(self, credential: Credential | None) -> None:
        """Look for another login at the next call: the user may log in anew meanwhile."""
        with self._lock:
            self._logins.forget()
            helper = credential is not None and credential.source.startswith("docker-credential-")
            # Not for each of many workers that are refused at once: helpers ask people.
            if helper and time.monotonic() - self._forgot > _ASK_AGAIN:
                self._forgot = time.monotonic()
                forget()

    def _denied(self, what: str) -> AuthDenied:
        return AuthDenied(f"{self._registry} {what}", host=self._registry)

    def _header(
        self, challenge: Challenge, origin: Origin, repository: str, scope: str | None
    ) -> Secret:
        credential = self._logins.find(repository)
        if credential is not None and credential.registry_token is not None:
            return bearer(credential.registry_token)
        if challenge.scheme == "basic":
            if credential is None or credential.password is None:
                raise self.denial(repository, 401, "")
            return basic(credential.username or "", credential.password)
        key = _key(challenge, scope, self._logins.account(repository))
        token = self._tokens.get(key)
        if token is None or not token.fresh():
            token = self._tokens[key] = self._fetch(challenge, origin, repository, scope)
        return bearer(token.value)

    def _fetch(
        self, challenge: Challenge, origin: Origin, repository: str, scope: str | None
    ) -> _Token:
        realm = realms.locate(challenge, origin, self._registry, self._is_local)
        host = realm.origin.netloc
        credential = self._logins.find(repository)
        self._refusal = None
        if credential is not None:
            self._refusal = realms.refusal(
                realm, origin, self._auth_hosts, self._registry, self._is_local
            )
            if self._refusal is not None:
                credential = None
        service = challenge.parameters.get("service", "")
        try:
            answer = tokens.ask(self._send, realm, service, scope, credential)
        except TransportError as error:
            said = f"{error.message}; it is the token server of {self._registry}"
            raise type(error)(said, **error.fields()) from None
        if answer.status != 200:
            answer.close()
            if answer.status in denials.REFUSALS:
                refused = f"its token server {host} refused"
                raise self.denial(repository, answer.status, refused)
            raise denials.token_server_failure(answer, host)
        given = tokens.read(answer)
        if isinstance(given, str):
            raise TokenInvalid(f"{host} {given}", host=host, hint="a login page may have answered")
        return _Token(given.value, time.monotonic() + _life(given.expires_in))


def _actions(scope: str | None) -> set[str]:
    """Return what a scope allows at the repository that it names first; pulling in any case."""
    first = (scope or "").partition(" ")[0]
    return {"pull", *(first.rpartition(":")[2].split(",") if first.count(":") == 2 else ())}


def _key(challenge: Challenge, scope: str | None, account: str) -> tuple[str, str, str, str]:
    service = challenge.parameters.get("service", "")
    return (challenge.parameters.get("realm", ""), service, scope or "", account)


def _life(value: object) -> float:
    """Seconds until a token is renewed: what the server says within reason, a little less."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return SHORTEST_LIFE
    if isinstance(value, float) and math.isnan(value):
        return SHORTEST_LIFE
    # Compared first: an integer may be too large for a float.
    return max(float(min(value, LONGEST_LIFE)) * 0.95, SHORTEST_LIFE)
