"""From a challenge to an ``Authorization`` header, for one place.

Follows the distribution project's token specification (``docs/content/spec/auth``) and what
registries do beside it. Credentials go to a token server only when
:func:`didlab.transport.trust.may_receive` has nothing against it.
"""

from __future__ import annotations

import base64
import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from didlab.errors import (
    AuthDenied,
    AuthError,
    AuthRequired,
    LimitExceeded,
    OriginRefused,
    RateLimited,
    RealmRefused,
    ServerError,
    TokenInvalid,
    TransportError,
    printable,
)
from didlab.transport import retry, trust, urls
from didlab.transport.challenge import Challenge, choose, parse
from didlab.transport.credentials import Credential, forget
from didlab.transport.secret import Secret
from didlab.transport.urls import Origin, Url
from didlab.transport.wire import Answer

TOKEN_LIMIT = 128 * 1024
#: Seconds: what a token lives when nothing is said, and the bounds of what is believed.
SHORTEST_LIFE, LONGEST_LIFE = 60.0, 24 * 3600.0
#: Answers to a POST that mean "this token server wants GET" (GCR 404, ACR 400, others 405 …).
_POST_UNKNOWN = frozenset({400, 401, 404, 405})

#: Seconds between two times that a credential helper is asked again after a refusal.
_ASK_AGAIN = 5.0
#: Where a refusal may mean something that only its web site tells.
_LICENCES = {
    "container-registry.oracle.com": "the image's licence has to be accepted once, on "
    "https://container-registry.oracle.com; else check"
}

#: Sends one request to a token server: method, url, headers, body, and whether it is foreign.
Send = Callable[[str, Url, dict[str, str | Secret], Secret | None], Answer]


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
        send: Send,
    ) -> None:
        self._registry = registry
        self._credential = credential
        self._auth_hosts = auth_hosts
        self._send = send
        self._challenge: Challenge | None = None
        self._refusal: RealmRefused | None = None
        self._tokens: dict[tuple[str, str, str, str], _Token] = {}
        self._found: dict[str, Credential | None] = {}
        self._forgot = float("-inf")
        # One lock: eight workers that start together need one token, not eight.
        self._lock = threading.RLock()

    def known(self, origin: Origin, repository: str, scope: str | None) -> Secret | None:
        """Return the header for a first try, or None when nothing is known to be needed.

        What one repository asked for, another need not: without a header it gets to say so.
        """
        with self._lock:
            if self._challenge is None:
                return self._direct(repository)
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
                    if _bearer(token.value) == rejected:
                        del self._tokens[key]
                if previous is None and self._direct(repository) == rejected:
                    raise self._denied("refused the token")
            header = self._header(self._challenge, origin, repository, scope)
            return None if header == rejected else header

    def wider(
        self, values: list[str], origin: Origin, repository: str, scope: str | None
    ) -> Secret | None:
        """Return a header with the scope that the challenge names, where that is modest.

        For places whose names for a repository differ from the path (a prefix, an upstream).
        Anything beyond pulling from one repository is not asked for.
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
            and parts[2] == "pull"
        )
        if not modest or challenge is None:
            return None
        with self._lock:
            header = self._header(challenge, origin, repository, asked)
            if header is not None and scope is not None:
                # What this place calls the repository is remembered under our name for it.
                account = self._account(repository)
                token = self._tokens.get(_key(challenge, asked, account))
                if token is not None:
                    self._tokens[_key(self._challenge or challenge, scope, account)] = token
            return header

    def denial(self, repository: str, status: int, detail: str) -> Exception:
        """Return the error for a place that said no to the best header there is."""
        if self._refusal is not None:
            return self._refusal
        where = f"{self._registry}/{repository}" if repository else self._registry
        tail = f": {detail}" if detail else ""
        credential = self._find(repository)
        self._ask_again(credential)
        if credential is None:
            return AuthRequired(
                f"{where} wants a login ({status}){tail}",
                host=self._registry,
                hint="pass username= and password=, or log in with docker or podman once; "
                "a wrong name may be answered like this too",
            )
        return AuthDenied(
            f"{where} refused the credentials from {credential.source} ({status}){tail}",
            host=self._registry,
            hint=f"{_LICENCES.get(self._registry, 'check')} user, password and what they may "
            "read; a wrong name may be answered like this too",
        )

    def _ask_again(self, credential: Credential | None) -> None:
        """Look for another login at the next call: the user may log in anew meanwhile."""
        with self._lock:
            self._found.clear()
            helper = credential is not None and credential.source.startswith("docker-credential-")
            # Not for each of many workers that are refused at once: helpers ask people.
            if helper and time.monotonic() - self._forgot > _ASK_AGAIN:
                self._forgot = time.monotonic()
                forget()

    def _denied(self, what: str) -> AuthDenied:
        return AuthDenied(f"{self._registry} {what}", host=self._registry)

    def _find(self, repository: str) -> Credential | None:
        if repository not in self._found:
            self._found[repository] = self._credential(repository)
        return self._found[repository]

    def _account(self, repository: str) -> str:
        credential = self._find(repository)
        return (credential.username or "<token>") if credential else ""

    def _direct(self, repository: str) -> Secret | None:
        """Return a header from a token that needs no exchange."""
        credential = self._find(repository) if repository in self._found else None
        if credential is None:
            credential = self._given()
        if credential is not None and credential.registry_token is not None:
            return _bearer(credential.registry_token)
        return None

    def _given(self) -> Credential | None:
        # Arguments cost nothing to look at; files and helpers wait for a challenge.
        credential = self._credential("")
        return credential if credential and credential.source == "arguments" else None

    def _header(
        self, challenge: Challenge, origin: Origin, repository: str, scope: str | None
    ) -> Secret:
        credential = self._find(repository)
        if credential is not None and credential.registry_token is not None:
            return _bearer(credential.registry_token)
        if challenge.scheme == "basic":
            return self._basic(repository, credential)
        key = _key(challenge, scope, self._account(repository))
        token = self._tokens.get(key)
        if token is None or not token.fresh():
            token = self._tokens[key] = self._fetch(challenge, origin, repository, scope)
        return _bearer(token.value)

    def _basic(self, repository: str, credential: Credential | None) -> Secret:
        if credential is None or credential.password is None:
            raise self.denial(repository, 401, "")
        return _basic(credential.username or "", credential.password)

    def _fetch(
        self, challenge: Challenge, origin: Origin, repository: str, scope: str | None
    ) -> _Token:
        realm = self._realm(challenge, origin)
        credential = self._find(repository)
        self._refusal = None
        if credential is not None:
            reason = trust.may_receive(origin, realm, self._auth_hosts)
            if reason is not None:
                self._refusal = RealmRefused(
                    f"{self._registry} sends logins to {realm.redacted()}, {reason}",
                    host=self._registry,
                    realm=realm.redacted(),
                    hint=f"auth_hosts=[{realm.origin.netloc!r}] allows it, if you trust it",
                )
                credential = None
        query = [("service", challenge.parameters.get("service", "")), ("scope", scope or "")]
        fields = {name: value for name, value in query if value}
        try:
            answer = self._ask(realm, fields, credential)
        except TransportError as error:
            said = f"{error.message}; it is the token server of {self._registry}"
            raise type(error)(said, **error.fields()) from None
        return self._read(answer, realm, repository, credential)

    def _realm(self, challenge: Challenge, origin: Origin) -> Url:
        text = challenge.parameters.get("realm", "")
        if not text:
            raise TokenInvalid(
                f"{self._registry} asks for a token but names no realm", host=self._registry
            )
        try:
            realm = urls.split(text)
        except OriginRefused:
            raise RealmRefused(
                f"{self._registry} names a token server that is no place to go to: "
                f"{printable(text.partition('?')[0].rpartition('@')[2], 200)!r}",
                host=self._registry,
                realm=printable(text.partition("?")[0].rpartition("@")[2], 200),
            ) from None
        weaker = origin.scheme == "https" and realm.origin.scheme == "http"
        loopback = urls.is_loopback(origin.host) and urls.is_loopback(realm.origin.host)
        if weaker and not loopback:
            raise RealmRefused(
                f"{self._registry} sends token requests to {realm.redacted()}, without TLS",
                host=self._registry,
                realm=realm.redacted(),
                hint="the registry is set up wrongly, often behind a TLS proxy",
            )
        return realm

    def _ask(self, realm: Url, fields: dict[str, str], credential: Credential | None) -> Answer:
        if credential is not None and credential.identity_token is not None:
            form = _form(fields, credential.identity_token)
            kind: dict[str, str | Secret] = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._send("POST", realm, kind, form)
            if answer.status not in _POST_UNKNOWN:
                return answer
            answer.close()
        headers: dict[str, str | Secret] = {}
        if credential is not None:
            secret = credential.password or credential.identity_token
            if secret is not None:
                name = credential.username or "<token>"
                headers["Authorization"] = _basic(name, secret)
                if credential.username:
                    fields = {"account": credential.username, **fields}
        return self._send("GET", _with_query(realm, fields), headers, None)

    def _read(
        self, answer: Answer, realm: Url, repository: str, credential: Credential | None
    ) -> _Token:
        host = realm.origin.netloc
        if answer.status != 200:
            answer.close()
            raise self._refused(answer, repository, credential, host)
        token = _token(answer)
        if isinstance(token, str):
            raise TokenInvalid(f"{host} {token}", host=host, hint="a login page may have answered")
        return token

    def _refused(
        self, answer: Answer, repository: str, credential: Credential | None, host: str
    ) -> Exception:
        if answer.status == 429:
            return RateLimited(f"{host} gives no more tokens for now", host=host, **_told(answer))
        if answer.status in (400, 401, 403):
            return self.denial(repository, answer.status, f"its token server {host} refused")
        if answer.status >= 500:
            return ServerError(
                f"the token server {host} answers {answer.status}", host=host, status=answer.status
            )
        if 300 <= answer.status < 400:
            return OriginRefused(
                f"the token server {host} points elsewhere; logins do not follow", host=host
            )
        return TransportError(f"the token server {host} answers {answer.status}", host=host)


def _token(answer: Answer) -> _Token | str:
    """Read the answer of a token server; a text says what is wrong with it.

    Once something is read nothing raises here: tracebacks with locals would show the token.
    """
    try:
        document = json.loads(answer.read(TOKEN_LIMIT, "a token answer").decode("utf-8"))
    except (ValueError, RecursionError, LimitExceeded):  # bad UTF-8 and JSON are ValueErrors
        document = None
    if not isinstance(document, dict):
        return "answered a token request with something else"
    value = document.get("token") or document.get("access_token")
    if not isinstance(value, str):
        return "answered a token request without a token"
    if not (value.isascii() and value.isprintable()) or " " in value:
        return "gave a token that cannot be sent"
    return _Token(Secret(value), time.monotonic() + _life(document.get("expires_in")))


def _told(answer: Answer) -> dict[str, Any]:
    return dict(retry.limits(answer.headers))


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


def _basic(username: str, password: Secret) -> Secret:
    pair = f"{username}:{password.reveal()}".encode()
    return Secret("Basic " + base64.b64encode(pair).decode("ascii"))


def _bearer(token: Secret) -> Secret:
    return Secret(f"Bearer {token.reveal()}")


def _form(fields: dict[str, str], token: Secret) -> Secret:
    form = {"grant_type": "refresh_token", "client_id": "didlab", **fields}
    return Secret(urlencode({**form, "refresh_token": token.reveal()}))


def _with_query(url: Url, fields: dict[str, str]) -> Url:
    query = "&".join(part for part in (url.query, urlencode(fields)) if part)
    return Url(url.origin, url.path, query)
