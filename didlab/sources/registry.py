"""A repository at a registry, over the distribution API."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Any

from didlab.errors import (
    BlobNotFound,
    DidlabError,
    ManifestInvalid,
    ManifestNotFound,
    NotFound,
    ProtocolError,
    RepositoryNotFound,
    Unsupported,
)
from didlab.oci import attached, media_types, schema1
from didlab.oci import digest as digests
from didlab.oci import manifest as manifests
from didlab.oci.attached import Referrer
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import MANIFEST_LIMIT
from didlab.oci.reference import Reference, valid_tag
from didlab.sources import referrers
from didlab.sources.base import FETCH_LIMIT, BlobReader, check_small, mismatch, verify
from didlab.transport import paging
from didlab.transport.blob import Blob, measure
from didlab.transport.client import Client, connect, expect_json
from didlab.transport.endpoint import Endpoint
from didlab.transport.options import Options
from didlab.transport.wire import Answer

#: One line, comma-joined: registries before distribution 2.5 compare lines, but those serve
#: schema 2 when asked for it alone, which `_newer` does.
_ACCEPT = ", ".join(media_types.ACCEPT)


class RegistrySource:
    """Manifests and blobs of one repository, from its registry or the registry's mirrors."""

    def __init__(self, registry: str, options: Options, repository: str) -> None:
        self.registry = registry
        self.options = options
        self._repository = repository
        #: Places that were found to have no referrers API.
        self._without_api: set[str] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        # Options drop their secrets when pickled: a worker finds its own.
        return type(self), (self.registry, self.options, self._repository)

    @property
    def location(self) -> str:
        """Return ``registry/repository``."""
        return f"{self.registry}/{self._repository}"

    @property
    def repository(self) -> str:
        """Return the repository's name at the registry."""
        return self._repository

    @property
    def _client(self) -> Client:
        return connect(self.registry, self.options)

    def resolve(self, reference: Reference) -> Descriptor:
        """Ask for a tag or digest: one GET (HEAD would save nothing and is often wrong).

        The digest is computed from the bytes; a ``Docker-Content-Digest`` header is not trusted.

        Raises
        ------
        ManifestNotFound, RepositoryNotFound, AuthError, TransportError
        DigestMismatch
            The content is not what the reference's digest says.
        """
        name = reference.digest or reference.tag or "latest"

        def job(endpoint: Endpoint) -> Descriptor:
            raw, answer = self._manifest(endpoint, name, _ACCEPT)
            if _is_schema1(answer, raw):
                raw, answer = self._newer(endpoint, name, raw, answer)
            kind = _media_type(answer, raw)
            if media_types.is_schema1(kind):
                return _schema1(raw, kind, reference, answer, strict=endpoint.place.mirror)
            if endpoint.place.mirror:
                manifests.parse(raw, kind)  # nonsense from a mirror: the next place is asked
            if reference.digest is None:
                actual = digests.of(raw)
            else:
                actual = digests.of(raw, digests.algorithm(reference.digest))
                if actual != reference.digest:
                    raise mismatch(reference.digest, actual, answer.host, host=answer.host)
            return Descriptor(media_type=kind, digest=actual, size=len(raw), data=raw)

        try:
            return self._client.first(job)
        except ManifestNotFound as error:
            if reference.digest is not None or attached.is_made_tag(name):
                raise
            raise self._with_near_misses(error, name) from None

    def _with_near_misses(self, error: ManifestNotFound, tag: str) -> ManifestNotFound:
        """Return the error with tags that may have been meant: one request."""
        there = paging.first_page(self._client.origin, self._repository, "tags/list", "tags")
        names = [name for name in there if isinstance(name, str) and valid_tag(name)]
        close = tuple(difflib.get_close_matches(tag, names, 5))
        if not close:
            return error
        hint = f"there is {', '.join(close)}"
        return ManifestNotFound(
            error.message, **{**error.fields(), "available": close, "hint": hint}
        )

    def _manifest(self, endpoint: Endpoint, name: str, accept: str) -> tuple[bytes, Answer]:
        colon = "@" if ":" in name else ":"
        raw, answer = self._client.small(
            endpoint,
            self._repository,
            f"manifests/{name}",
            what=f"manifest {self._repository}{colon}{name}",
            missing=ManifestNotFound,
            limit=MANIFEST_LIMIT,
            accept=accept,
        )
        expect_json(raw, answer, f"{self._repository}{colon}{name}")
        return raw, answer

    def _newer(
        self, endpoint: Endpoint, name: str, raw: bytes, answer: Answer
    ) -> tuple[bytes, Answer]:
        """Ask again with schema 2 alone: old registries do not understand a list of types."""
        try:
            again, second = self._manifest(endpoint, name, media_types.DOCKER_MANIFEST)
        except (NotFound, ProtocolError):
            return raw, answer
        return (raw, answer) if _is_schema1(second, again) else (again, second)

    def fetch(self, descriptor: Descriptor) -> bytes:
        """Get a manifest or config by its digest: one GET, none where the bytes came along.

        Raises
        ------
        BlobNotFound, ManifestNotFound, TransportError, LimitExceeded
        DigestMismatch, SizeMismatch
            After every mirror and the registry itself gave something else.
        """
        if descriptor.data is not None:
            return verify(descriptor, descriptor.data, "the descriptor's data")
        check_small(descriptor)
        manifest = (
            media_types.is_manifest(descriptor.media_type)
            or media_types.is_index(descriptor.media_type)
            or media_types.is_schema1(descriptor.media_type)
        )
        order: tuple[str, ...] = ("manifests", "blobs") if manifest else ("blobs", "manifests")

        def job(endpoint: Endpoint) -> bytes:
            try:
                return self._get(endpoint, order[0], descriptor)
            except NotFound as error:
                # Few registries serve a config, or a manifest, only at the other address.
                return _or(lambda: self._get(endpoint, order[1], descriptor), error)

        return self._client.first(job)

    def _get(self, endpoint: Endpoint, kind: str, descriptor: Descriptor) -> bytes:
        raw, answer = self._client.small(
            endpoint,
            self._repository,
            f"{kind}/{descriptor.digest}",
            what=f"{kind[:-1]} {descriptor.digest}",
            missing=ManifestNotFound if kind == "manifests" else BlobNotFound,
            limit=FETCH_LIMIT,
            accept=_ACCEPT if kind == "manifests" else "*/*",
        )
        if media_types.is_schema1(descriptor.media_type):
            raw = schema1.payload(raw)
        return verify(descriptor, raw, answer.host)

    def blob_size(self, digest: str) -> int:
        """Ask how many bytes a blob has: one HEAD, more where a place does not answer it well.

        Raises
        ------
        BlobNotFound, AuthError, TransportError, ProtocolError
        """
        return measure(self._client, self._repository, digest)

    def open(self, descriptor: Descriptor) -> BlobReader:
        """Return a reader of a blob; no request until it is read."""
        return Blob(self._client, self._repository, descriptor.digest, descriptor.size)

    def tags(self) -> Iterator[str]:
        """Yield the tags, in the registry's order: one GET for each page of up to 1,000.

        Names that are no tags (Artifactory lists digests, Nexus null) are left out.

        Raises
        ------
        RepositoryNotFound, AuthError, TransportError, BadLink, LimitExceeded
        """

        def job(endpoint: Endpoint) -> list[str]:
            found = paging.names(
                self._client,
                endpoint,
                self._repository,
                "tags/list",
                "tags",
                what=f"list of tags of {self._repository}",
                missing=RepositoryNotFound,
            )
            return [name for name in found if isinstance(name, str) and valid_tag(name)]

        return iter(dict.fromkeys(self._client.first(job)))

    def referrers(self, digest: str, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """Yield what is attached by its ``subject``, with how it was found (`Referrer`).

        Asks the referrers API, a GET for each page; where the registry has none (404), the tag
        that takes its place: one more GET, and no further question to the API from this object.
        Filtered by what the listing says, whether or not the registry filtered; entries that do
        not say their artifact type stay.

        Raises
        ------
        AuthError, TransportError, ProtocolError, BadLink, MalformedContent, LimitExceeded
        """

        def job(endpoint: Endpoint) -> list[Referrer]:
            found = referrers.ask(
                self._client,
                endpoint,
                self._repository,
                digest,
                artifact_type,
                without_api=self._without_api,
            )
            if not found and endpoint.place.mirror:
                # A mirror holds what somebody pulled through it; the registry may know more.
                raise ManifestNotFound(f"{endpoint.place.name} lists nothing attached to {digest}")
            return found

        return iter(self._client.first(job))


def _schema1(
    raw: bytes, kind: str, reference: Reference, answer: Answer, *, strict: bool
) -> Descriptor:
    """Return the descriptor of a schema 1 manifest: its digest is that of the signed part."""
    if strict:
        schema1.parse(raw, kind)
    content = schema1.payload(raw)
    expected = reference.digest
    algorithm = "sha256" if expected is None else digests.algorithm(expected)
    actual = digests.of(content, algorithm)
    if expected not in (None, actual):
        raise mismatch(str(expected), actual, answer.host, host=answer.host)
    return schema1.described(raw, content, actual)


def _media_type(answer: Answer, raw: bytes) -> str:
    """Return what a manifest is: by its header, or where that says nothing by its content."""
    kind = media_types.essence(answer.headers.get("Content-Type"))
    if media_types.is_known_manifest(kind):
        return kind
    try:
        return manifests.parse(raw).media_type
    except Unsupported:
        return media_types.SCHEMA1
    except DidlabError:
        return "application/octet-stream"  # whoever parses it says what is wrong


def _is_schema1(answer: Answer, raw: bytes) -> bool:
    kind = answer.headers.get("Content-Type", "")
    return media_types.is_schema1(kind.partition(";")[0].strip().lower()) or (
        b'"fsLayers"' in raw and b'"schemaVersion"' in raw and b'"layers"' not in raw
    )


def _or(job: Callable[[], bytes], first: DidlabError) -> bytes:
    try:
        return job()
    except (NotFound, ManifestInvalid):
        raise first from None
