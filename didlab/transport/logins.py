"""The user's logins for one place, and the headers that are made of them."""

from __future__ import annotations

import base64
from collections.abc import Callable

from didlab.transport.credentials import Credential
from didlab.transport.secret import Secret

#: The user's name where a credential is a token and nothing else.
TOKEN_NAME = "<token>"  # noqa: S105


class Logins:
    """Looks up which credential serves which repository, each once until `forget`.

    ``look_up`` answers for a repository; for ``""`` it may only look at what the user gave.
    """

    def __init__(self, look_up: Callable[[str], Credential | None]) -> None:
        self._look_up = look_up
        # In a tuple each: None is an answer too.
        self._found: dict[str, tuple[Credential | None]] = {}

    def find(self, repository: str) -> Credential | None:
        """Return the credential for a repository; files and helpers may be asked."""
        kept = self._found.get(repository)
        if kept is None:
            kept = self._found[repository] = (self._look_up(repository),)
        return kept[0]

    def account(self, repository: str) -> str:
        """Return whose login it is, "" without one: tokens of one account serve no other."""
        credential = self.find(repository)
        return (credential.username or TOKEN_NAME) if credential else ""

    def direct(self, repository: str) -> Secret | None:
        """Return a header from a token that needs no exchange; no file or helper is asked."""
        (credential,) = self._found.get(repository, (None,))
        if credential is None:
            credential = self._given()
        if credential is not None and credential.registry_token is not None:
            return bearer(credential.registry_token)
        return None

    def forget(self) -> None:
        """Look everything up anew: the user may log in meanwhile."""
        self._found.clear()

    def _given(self) -> Credential | None:
        # Arguments cost nothing to look at; files and helpers wait for a challenge.
        credential = self._look_up("")
        return credential if credential and credential.source == "arguments" else None


def basic(username: str, password: Secret) -> Secret:
    """Return the header for a user and a password (RFC 7617)."""
    pair = f"{username}:{password.reveal()}".encode()
    return Secret("Basic " + base64.b64encode(pair).decode("ascii"))


def bearer(token: Secret) -> Secret:
    """Return the header for a token (RFC 6750)."""
    return Secret(f"Bearer {token.reveal()}")
