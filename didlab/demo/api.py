"""The registry API as a function: request in, answer out, no sockets.

Everything answered comes from dictionaries in memory; a path is matched by a pattern and never
becomes a file name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs, quote, unquote

from didlab.demo.content import OCI, RepositoryContent
from didlab.demo.tokens import LIFETIME, SERVICE, TokenServer

__all__ = ["Answer", "Api", "problem"]

_PAGE = 100
_LARGEST_PAGE = 1000
_COMPONENT = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
_ROUTE = re.compile(
    rf"/v2/({_COMPONENT}(?:/{_COMPONENT})*)/(tags(?=/list$)|manifests|blobs|referrers)/([^/\n]+)",
    re.ASCII,
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, headers and a body; the body's size is the content length."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | memoryview = b""


def _json(status: int, document: object, headers: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps(document).encode() + b"\n"
    return Answer(status, {"Content-Type": "application/json", **(headers or {})}, body)


def problem(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return an error in the specification's shape."""
    return _json(status, {"errors": [{"code": code, "message": message}]}, headers)


_NO_SUCH_PATH = problem(404, "UNSUPPORTED", "not a path of the registry API")


class Api:
    """Answers GET and HEAD for a set of repositories.

    Parameters
    ----------
    repositories : mapping of str to RepositoryContent
        What there is.
    host : str
        ``HOST:PORT`` for the token server's address.
    tokens : TokenServer, optional
        Asks every caller for a token; without it everybody may read.
    """

    def __init__(
        self,
        repositories: Mapping[str, RepositoryContent],
        host: str,
        tokens: TokenServer | None = None,
    ) -> None:
        self._repositories = dict(repositories)
        self._host = host
        self._tokens = tokens
        self._handlers: dict[str, Callable[[_Request, RepositoryContent, str], Answer]] = {
            "tags": self._tags,
            "manifests": self._manifest,
            "blobs": self._blob,
            "referrers": self._referrers,
        }

    def answer(self, method: str, target: str, headers: Mapping[str, str]) -> Answer:
        """Return the answer to one request; ``headers`` has lower-case names."""
        if method not in {"GET", "HEAD"}:
            return problem(405, "UNSUPPORTED", "the sandbox is read-only", {"Allow": "GET, HEAD"})
        path, _, query = target.partition("?")
        try:
            fields = parse_qs(query, keep_blank_values=True, max_num_fields=50)
        except ValueError:
            return problem(400, "UNSUPPORTED", "the query has too many fields")
        request = _Request(method, unquote(path), fields, headers)
        if self._tokens and request.path == "/token":
            return self._token(self._tokens, request)
        return self._route(request)

    def _route(self, request: _Request) -> Answer:
        if request.path in {"/v2", "/v2/"}:
            return self._refused(request, None) or _json(200, {})
        if request.path == "/v2/_catalog":
            refused = self._refused(request, "registry:catalog:*")
            return refused or _page(request, "repositories", sorted(self._repositories), {})
        match = _ROUTE.fullmatch(request.path)
        if match is None:
            return _NO_SUCH_PATH
        name, kind, value = match.groups()
        # Asked before looking: who may not read learns nothing about what exists.
        if refused := self._refused(request, f"repository:{name}:pull"):
            return refused
        repository = self._repositories.get(name)
        if repository is None:
            return problem(404, "NAME_UNKNOWN", "repository name not known to registry")
        return self._handlers[kind](request, repository, value)

    # --- logging in ---------------------------------------------------------------------------

    def _refused(self, request: _Request, scope: str | None) -> Answer | None:
        if self._tokens is None:
            return None
        reason = self._tokens.refusal(request.headers.get("authorization", ""), scope)
        if reason is None:
            return None
        challenge = f'Bearer realm="http://{self._host}/token",service="{SERVICE}"'
        if scope:
            challenge += f',scope="{scope}"'
        if reason:
            challenge += f',error="{reason}"'
        return problem(
            401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge}
        )

    def _token(self, tokens: TokenServer, request: _Request) -> Answer:
        if not tokens.login(request.headers.get("authorization", "")):
            return problem(
                401,
                "UNAUTHORIZED",
                "incorrect username or password",
                {"WWW-Authenticate": f'Basic realm="{SERVICE}"'},
            )
        if request.query.get("service", [SERVICE]) != [SERVICE]:
            return problem(400, "DENIED", "tokens are for another service")
        scopes = [scope for value in request.query.get("scope", []) for scope in value.split()]
        token = tokens.issue(scopes)
        issued = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return _json(
            200,
            {
                "token": token,
                "access_token": token,
                "expires_in": LIFETIME,
                "issued_at": issued,
            },
            {"Cache-Control": "no-store"},
        )

    # --- reading ------------------------------------------------------------------------------

    def _tags(self, request: _Request, repository: RepositoryContent, value: str) -> Answer:
        return _page(request, "tags", sorted(repository.tags), {"name": repository.name})

    def _manifest(self, request: _Request, repository: RepositoryContent, reference: str) -> Answer:
        digest = repository.tags.get(reference, reference)
        if digest not in repository.manifests:
            return problem(404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type, raw = repository.manifests[digest]
        if not _accepts(request.headers.get("accept", ""), media_type):
            # As Docker's registry does it; an index is not turned into one of its manifests.
            return problem(
                404, "MANIFEST_UNKNOWN", f"the Accept header does not support {media_type}"
            )
        headers = {
            "Content-Type": media_type,
            "Docker-Content-Digest": digest,
            "ETag": f'"{digest}"',
        }
        return Answer(200, headers, raw)

    def _blob(self, request: _Request, repository: RepositoryContent, digest: str) -> Answer:
        if not _DIGEST.fullmatch(digest):
            return problem(400, "DIGEST_INVALID", "this is not a digest")
        blob = repository.blobs.get(digest)
        if blob is None:
            return problem(404, "BLOB_UNKNOWN", "blob unknown to registry")
        headers = {
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": digest,
            "ETag": f'"{digest}"',
            "Accept-Ranges": "bytes",
            "Cache-Control": "max-age=31536000",
        }
        wanted = request.headers.get("range", "") if request.method == "GET" else ""
        if request.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
            wanted = ""
        span = _span(wanted, len(blob))
        if span is None:
            return Answer(200, headers, blob)
        if not span:
            return problem(
                416,
                "UNSUPPORTED",
                "nothing of the blob lies in this range",
                {"Content-Range": f"bytes */{len(blob)}"},
            )
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{len(blob)}"
        return Answer(206, headers, memoryview(blob)[span.start : span.stop])

    def _referrers(self, request: _Request, repository: RepositoryContent, digest: str) -> Answer:
        if not _DIGEST.fullmatch(digest):
            return problem(400, "DIGEST_INVALID", "this is not a digest")
        index = {"schemaVersion": 2, "mediaType": OCI.index, "manifests": []}
        return _json(200, index, {"Content-Type": OCI.index})


@dataclass(slots=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]


def _page(request: _Request, key: str, names: Sequence[str], head: Mapping[str, object]) -> Answer:
    asked = request.query.get("n", [str(_PAGE)])[-1]
    if not re.fullmatch(r"[0-9]{1,9}", asked, re.ASCII):
        return problem(400, "PAGINATION_NUMBER_INVALID", "n is not a number of results")
    number = min(int(asked), _LARGEST_PAGE)
    last = request.query.get("last", [""])[-1]
    rest = [name for name in names if name > last]
    page = rest[:number]
    headers = {}
    if page and len(rest) > len(page):
        after = quote(page[-1], safe="")
        headers["Link"] = f'<{request.path}?last={after}&n={number}>; rel="next"'
    return _json(200, {**head, key: page}, headers)


def _accepts(accept: str, media_type: str) -> bool:
    """Tell whether a client that sent this ``Accept`` takes ``media_type``."""
    if not accept.strip():
        return True
    family = media_type.partition("/")[0] + "/*"
    for item in accept.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        if name in {media_type, family, "*/*"}:
            weights = [value for value in parameters if value.startswith("q=")]
            return not any(re.fullmatch(r"q=0(?:\.0*)?", value) for value in weights)
    return False


def _span(header: str, size: int) -> range | None:
    """Return the bytes a ``Range`` header asks for: an empty range where there are none.

    None means the whole: no header, several ranges, or something that is no range (which
    RFC 9110 says to ignore).
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        return range(max(0, size - int(match[2])), size)
    start = int(match[1])
    stop = int(match[2]) + 1 if match[2] else max(size, start + 1)
    if stop <= start:
        return None
    return range(start, min(stop, size))
