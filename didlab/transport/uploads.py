"""Writing to a repository, as the distribution specification has it: blobs, then manifests.

A blob is uploaded to an address that the registry names, and a new one with each answer. It may
be elsewhere (a store, signed); the login does not go there, just as with redirects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from didlab._pausing import stop as stopping
from didlab.errors import (
    AuthDenied,
    AuthError,
    BlobNotFound,
    DidlabError,
    DigestMismatch,
    OriginRefused,
    ProtocolError,
    PushRefused,
    QuotaExceeded,
    RegistryReadOnly,
    RepositoryNotFound,
    ServerError,
    TooLarge,
)
from didlab.transport import answers, retry, urls
from didlab.transport.adapter import Body
from didlab.transport.client import Client
from didlab.transport.urls import Url
from didlab.transport.wire import Answer

_DONE = frozenset({200, 201, 202, 204})
#: What says that an upload is not known (any more), or not where it was thought to be.
_LOST = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "RANGE_INVALID"})
_RANGE = re.compile(r"(?:bytes[ =])?0-([0-9]{1,19})", re.ASCII)
_QUOTA = re.compile(r"quota|upper limit|insufficient storage", re.IGNORECASE)
_BYTES = {"Content-Type": "application/octet-stream"}


class Lost(Exception):
    """The registry does not know the upload any more: it has to begin anew."""


class Target:
    """A repository to write to: at the registry itself, its mirrors are for reading.

    ``mount_from`` is a repository of the same registry that has the blobs and may be read.
    """

    def __init__(self, client: Client, repository: str, mount_from: str | None = None) -> None:
        self._endpoint = client.origin
        self.repository = repository
        self.mount_from = mount_from if mount_from != repository else None
        #: How much one request may bring, as far as that is known.
        self.most: int | None = None

    @property
    def name(self) -> str:
        """Return ``registry/repository``."""
        return f"{self._endpoint.place.name}/{self.repository}"

    @property
    def _scope(self) -> str:
        place = self._endpoint.place
        own, origin = place.scope(self.repository, "pull,push"), self.mount_from
        # Together: one token for everything, and what may not be read is left out of it.
        return own if origin is None else f"{own} {place.scope(origin)}"

    # --- blobs -------------------------------------------------------------------------------

    def holds(self, digest: str, size: int) -> bool:
        """Whether the repository has a blob: one HEAD.

        Raises
        ------
        AuthError, RateLimited, TransportError
        """
        answer = self._ask("HEAD", f"blobs/{digest}")
        length = answer.headers.get("Content-Length", str(size))
        answer.close()
        if answer.status in retry.PASSING:
            raise self.refusal(answer, f"the question for {digest}")
        # Whatever else it answers, an upload will tell.
        return answer.status == 200 and length == str(size)

    def begin(self, digest: str, *, mount: bool = False) -> Upload | None:
        """Begin to upload a blob; None where it could be mounted, and is there now.

        Raises
        ------
        PushRefused, RepositoryNotFound, AuthError, TransportError
        """
        origin = self.mount_from if mount else None  # another thread may give it up meanwhile
        query = {} if origin is None else {"mount": digest, "from": origin}
        answer = self._ask("POST", "blobs/uploads/", query=query)
        if query and answer.status == 201:
            answer.drain()
            return None
        if query and answer.status not in (202, 429):
            answer.drain()  # some do not know how to mount
            answer = self._ask("POST", "blobs/uploads/")
        if answer.status != 202:
            raise self.refusal(answer, f"an upload of {digest}")
        answer.drain()
        return Upload(self, answer)

    # --- manifests ---------------------------------------------------------------------------

    def put_manifest(self, name: str, raw: bytes, media_type: str, digest: str) -> None:
        """Put a manifest or index under a tag or its digest.

        Raises
        ------
        BlobNotFound
            The registry does not have what the manifest names.
        DigestMismatch
            The registry keeps another manifest than it was given.
        PushRefused, AuthError, TransportError
        """
        what = f"the manifest {self.repository}{'@' if ':' in name else ':'}{name}"
        headers = {"Content-Type": media_type}
        answer = self._ask("PUT", f"manifests/{name}", headers=headers, body=raw)
        if answer.status not in _DONE:
            raise self.refusal(answer, what)
        answer.drain()
        said = answer.headers.get("Docker-Content-Digest", digest)
        if said.startswith("sha256:") and digest.startswith("sha256:") and said != digest:
            raise DigestMismatch(
                f"{answer.host} keeps {what} under another digest, {said}",
                hint="it changes manifests that it is given",
                host=answer.host,
                expected=digest,
                actual=said,
            )

    # --- asking, and what is refused ---------------------------------------------------------

    def _ask(
        self,
        method: str,
        rest: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        try:
            return self._endpoint.request(
                method,
                self.repository,
                rest,
                scope=self._scope,
                query=query,
                headers=headers,
                body=body,
            )
        except AuthError as error:
            if self.mount_from is None:
                raise _about_pushing(error, self.name) from None
        # Perhaps only the other repository may not be read: then its blobs are uploaded.
        self.mount_from = None
        left = {key: value for key, value in (query or {}).items() if key not in ("mount", "from")}
        return self._ask(method, rest, query=left, headers=headers, body=body)

    def proceed(
        self,
        method: str,
        url: Url,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Body | None = None,
        attempts: int = retry.ATTEMPTS,
    ) -> Answer:
        """Ask at the address of an upload."""
        try:
            return self._endpoint.proceed(
                method,
                url,
                self.repository,
                scope=self._scope,
                headers=headers,
                body=body,
                attempts=attempts,
            )
        except AuthError as error:
            raise _about_pushing(error, self.name) from None

    def refusal(self, answer: Answer, what: str) -> DidlabError:
        """Return what an answer without success means."""
        if retry.is_limited(answer.status, answer.headers):
            answer.close()
            return answers.rate_limited(answer)
        code, message = answers.detail(answer)
        host, status = answer.host, answer.status
        tail = f": {message}" if message else ""
        fields: dict[str, Any] = {"host": host, "status": status, "code": code or None}
        said = f"{host} does not take {what} ({status}){tail}"
        if status == 507 or (400 <= status < 500 and _QUOTA.search(message)):
            return QuotaExceeded(said, hint="make room there, or ask for a larger quota", **fields)
        if status in (401, 403) and answer.strayed:
            return AuthDenied(
                f"{host}, where {self.name} sends uploads, refused {what} ({status})",
                host=host,
                hint="logins are never sent to where a registry points",
            )
        if status in (401, 403):
            return _about_pushing(
                self._endpoint.auth.denial(self.repository, status, message), self.name
            )
        if status == 405 or code == "UNSUPPORTED":
            return RegistryReadOnly(
                said, hint="it is read-only: a mirror, a cache, or under maintenance", **fields
            )
        if status == 413:
            return TooLarge(
                said, hint="it, or a proxy before it, limits what one request may bring", **fields
            )
        if code == "DIGEST_INVALID":
            return DigestMismatch(
                f"{host} received {what} with another digest{tail}",
                host=host,
                hint="it was damaged on its way",
            )
        if code in ("MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"):
            return BlobNotFound(f"{host} lacks what {what} names{tail}", host=host)
        if status == 404:
            return RepositoryNotFound(
                f"{host} has no place for {what} ({status}){tail}",
                host=host,
                hint="many registries want the project or repository to be made first",
            )
        if status >= 500 or status in retry.PASSING:
            return ServerError(f"{host} answers {status} for {what}{tail}", **fields)
        return PushRefused(said, **fields)


class Upload:
    """One blob on its way.

    Attributes
    ----------
    offset : int
        How many bytes the registry has, as far as it told.
    smallest : int
        The least that a piece may have, but the last one.
    """

    def __init__(self, target: Target, answer: Answer) -> None:
        self._target = target
        located = _located(answer)
        if not isinstance(located, Url):
            raise located
        self._address = located
        self.offset = 0
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        self.smallest = int(least) if re.fullmatch(r"[0-9]{1,12}", least, re.ASCII) else 0

    def send(self, body: Body, *, whole: bool) -> None:
        """Send the next bytes, from `offset` on: one PATCH.

        ``whole`` is the blob in one piece: registries that know no pieces take that.

        Raises
        ------
        Lost
        TooLarge, PushRefused, AuthError, TransportError
        """
        stop = self.offset + body.size
        headers = {**_BYTES, "Content-Length": str(body.size)}
        if not whole:
            headers["Content-Range"] = f"{self.offset}-{stop - 1}"
        # Once: what the registry took of it has to be asked before it is sent again.
        answer = self._target.proceed(
            "PATCH", self._address, headers=headers, body=body, attempts=1
        )
        self._check(answer, "the next bytes of an upload")
        taken = _taken(answer)
        if taken > stop + 1:
            raise Lost("more is said to be there than was sent")
        # Untold (0-0, too) means all of it; some count one too many.
        self.offset = min(taken, stop) if taken else stop

    def ask(self) -> None:
        """Ask how much of it is there: one GET.

        Raises
        ------
        Lost
        """
        answer = self._target.proceed("GET", self._address)
        if answer.status in (404, 405):
            answer.drain()
            raise Lost("the upload is not known")
        self._check(answer, "the question for an upload")
        self.offset = _taken(answer)

    def commit(self, digest: str, raw: bytes | None = None) -> None:
        """Make a blob of it; ``raw`` is all of it where nothing was sent yet.

        Raises
        ------
        Lost
        DigestMismatch, PushRefused, AuthError, TransportError
        """
        answer = self._target.proceed(
            "PUT", _with_digest(self._address, digest), headers=_BYTES, body=raw
        )
        if answer.status not in _DONE:
            raise self._refusal(answer, f"blob {digest}")
        answer.drain()

    def abandon(self) -> None:
        """Tell the registry to forget it, as far as it listens."""
        token = stopping.set(None)  # also when everything was called off
        try:
            self._target.proceed("DELETE", self._address, attempts=1).close()
        except Exception:  # noqa: BLE001, S110 - it goes away by itself, later
            pass
        finally:
            stopping.reset(token)

    def _check(self, answer: Answer, what: str) -> None:
        if answer.status not in _DONE:
            raise self._refusal(answer, what)
        answer.drain()
        if answer.headers.get("Location"):
            located = _located(answer)
            if not isinstance(located, Url):
                raise located
            self._address = located

    def _refusal(self, answer: Answer, what: str) -> Exception:
        refusal = self._target.refusal(answer, what)
        lost = isinstance(refusal, PushRefused) and (refusal.code in _LOST or refusal.status == 416)
        # The repository was there when it began: what is not found is the upload.
        if lost or isinstance(refusal, RepositoryNotFound):
            return Lost(refusal.message)
        return refusal


def _located(answer: Answer) -> Url | DidlabError:
    """Return where an upload goes on, or what is wrong with that.

    Raises nothing: tracebacks with locals would show the signature in its query.
    """
    location = answer.headers.get("Location")
    here = answer.url.origin
    if not location:
        return ProtocolError(
            f"{answer.host} does not say where to upload to", host=answer.host, status=answer.status
        )
    try:
        url = urls.join(answer.url, location)
    except OriginRefused as error:
        return OriginRefused(f"{answer.host} sends uploads: {error.message}", host=answer.host)
    if here.scheme == "https" and url.origin.scheme == "http":
        if url.origin.host != here.host:
            return OriginRefused(
                f"{answer.host} sends uploads from https to {url.redacted()}", host=answer.host
            )
        # It does not know that there is TLS before it.
        return Url(here, url.path, url.query)
    return url


def _with_digest(url: Url, digest: str) -> Url:
    # By itself: a query holds a signature, and nothing raises here that would show it.
    more = urlencode({"digest": digest})
    return Url(url.origin, url.path, f"{url.query}&{more}" if url.query else more)


def _taken(answer: Answer) -> int:
    found = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
    # 0-0 is what most say when nothing is there.
    return int(found[1]) + 1 if found and int(found[1]) else 0


def _about_pushing(error: AuthError, name: str) -> AuthError:
    if not isinstance(error, AuthDenied):
        return error
    hint = f"check user, password and whether they may push to {name}"
    return AuthDenied(error.message, **{**error.fields(), "hint": hint})
