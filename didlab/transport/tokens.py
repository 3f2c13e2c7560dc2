"""One exchange with a token server: what it is asked, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from didlab.errors import LimitExceeded
from didlab.transport.credentials import Credential
from didlab.transport.logins import TOKEN_NAME, basic
from didlab.transport.secret import Secret
from didlab.transport.urls import Url
from didlab.transport.wire import Answer

TOKEN_LIMIT = 128 * 1024
#: Answers to a POST that mean "this token server wants GET" (GCR 404, ACR 400, others 405 …).
_POST_UNKNOWN = frozenset({400, 401, 404, 405})

#: Sends one request to a token server: method, url, headers and body.
Send = Callable[[str, Url, dict[str, str | Secret], Secret | None], Answer]


@dataclass(frozen=True, slots=True)
class Given:
    """A token as it was given; ``expires_in`` is what the server says, of whatever type."""

    value: Secret
    expires_in: object


def ask(
    send: Send, realm: Url, service: str, scope: str | None, credential: Credential | None
) -> Answer:
    """Ask for a token: with an identity token by POST (OAuth 2), else by GET."""
    fields = {name: value for name, value in (("service", service), ("scope", scope)) if value}
    if credential is not None and credential.identity_token is not None:
        form = _form(fields, credential.identity_token)
        kind: dict[str, str | Secret] = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = send("POST", realm, kind, form)
        if answer.status not in _POST_UNKNOWN:
            return answer
        answer.close()
    headers: dict[str, str | Secret] = {}
    if credential is not None:
        secret = credential.password or credential.identity_token
        if secret is not None:
            headers["Authorization"] = basic(credential.username or TOKEN_NAME, secret)
            if credential.username:
                fields = {"account": credential.username, **fields}
    return send("GET", _with_query(realm, fields), headers, None)


def read(answer: Answer) -> Given | str:
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
    return Given(Secret(value), document.get("expires_in"))


def _form(fields: dict[str, str], token: Secret) -> Secret:
    form = {"grant_type": "refresh_token", "client_id": "didlab", **fields}
    return Secret(urlencode({**form, "refresh_token": token.reveal()}))


def _with_query(url: Url, fields: dict[str, str]) -> Url:
    pairs: list[tuple[str, str]] = []
    for name, value in fields.items():
        # Several scopes are several parameters here, and one text in a form.
        pairs += [(name, one) for one in (value.split(" ") if name == "scope" else [value])]
    query = "&".join(part for part in (url.query, urlencode(pairs)) if part)
    return Url(url.origin, url.path, query)
