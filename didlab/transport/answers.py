"""What an answer that is no success means: status and body to a typed error."""

from __future__ import annotations

import json
from collections.abc import Mapping

from didlab.errors import (
    BlobNotFound,
    DidlabError,
    ManifestNotFound,
    NotFound,
    ProtocolError,
    RateLimited,
    RepositoryNotFound,
    ServerError,
    printable,
)
from didlab.transport import retry
from didlab.transport.wire import Answer

ERROR_LIMIT = 64 * 1024

_MISSING: Mapping[str, type[NotFound]] = {
    "NAME_UNKNOWN": RepositoryNotFound,
    "NAME_INVALID": RepositoryNotFound,
    "MANIFEST_UNKNOWN": ManifestNotFound,
    "BLOB_UNKNOWN": BlobNotFound,
}


def detail(answer: Answer) -> tuple[str, str]:
    """Return the code and message of an error body (distribution specification, error codes).

    Both empty where the body has another shape; reads at most 64 KiB, closes the answer.
    """
    try:
        document = json.loads(answer.read(ERROR_LIMIT, "an error message").decode("utf-8"))
        first = document["errors"][0]
        code, message = first.get("code"), first.get("message")
    except (DidlabError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        answer.close()
        return "", ""
    return (
        printable(code, 100) if isinstance(code, str) else "",
        printable(message, 500) if isinstance(message, str) else "",
    )


def failure(answer: Answer, what: str, missing: type[NotFound]) -> DidlabError:
    """Return the error for an answer that is neither a success nor about logging in.

    ``what`` names the thing asked for, ``missing`` is the error when it is not there.
    """
    code, message = detail(answer)
    host, status = answer.host, answer.status
    tail = f": {message}" if message else ""
    if retry.is_limited(status, answer.headers):
        return rate_limited(answer)
    if status in (404, 410):
        kind = _MISSING.get(code, missing)
        if missing is BlobNotFound:
            kind = BlobNotFound
        return kind(
            f"{host} has no {what} ({status}){tail}",
            host=host,
            hint="check the name and the tag; some registries answer like this without a login",
        )
    if 500 <= status < 600 or status in retry.PASSING:
        return ServerError(f"{host} answers {status} for {what}{tail}", host=host, status=status)
    return ProtocolError(
        f"{host} answers {status} for {what}{tail}",
        host=host,
        status=status,
        hint="is this a registry that speaks the HTTP API v2?" if not code else None,
    )


def rate_limited(answer: Answer) -> RateLimited:
    """Return the error for too many requests, with what the headers tell."""
    told = retry.limits(answer.headers)
    parts = []
    if told["remaining"] is not None:
        of = f" of {told['limit']}" if told["limit"] is not None else ""
        parts.append(f"{told['remaining']}{of} requests left")
    if told["resets"] is not None:
        parts.append(f"resets at {told['resets']:%Y-%m-%d %H:%M:%S} UTC")
    elif told["window"] is not None:
        parts.append(f"counted over {told['window']} s")
    facts = f": {', '.join(parts)}" if parts else ""
    return RateLimited(
        f"{answer.host} takes no more requests for now{facts}",
        host=answer.host,
        hint="log in for a higher limit, or set mirrors=",
        **told,
    )
