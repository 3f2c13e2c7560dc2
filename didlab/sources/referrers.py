"""What is attached to a manifest at a registry: the referrers API, or the tag in its place."""

from __future__ import annotations

from collections.abc import Iterator

from didlab.errors import (
    LimitExceeded,
    MalformedContent,
    ManifestInvalid,
    ManifestNotFound,
    NotFound,
    ProtocolError,
    ServerError,
    TypeConfusion,
    Unsupported,
)
from didlab.oci import attached, media_types, strict_json
from didlab.oci import manifest as manifests
from didlab.oci.attached import Referrer
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import MANIFEST_LIMIT, ImageIndex
from didlab.transport import paging
from didlab.transport.client import Client, expect_json
from didlab.transport.endpoint import Endpoint
from didlab.transport.wire import Answer

#: The most pages of one list, and the most entries.
MAX_PAGES = 100
MAX_REFERRERS = 10_000
#: Besides 404, what registries without the API were seen to answer.
_LACKING = frozenset({400, 405, 406, 501})


def ask(
    client: Client,
    endpoint: Endpoint,
    repository: str,
    digest: str,
    artifact_type: str | None,
    *,
    without_api: set[str],
) -> list[Referrer]:
    """Return what one place lists for a digest; ``without_api`` remembers who lacks the API.

    Entries known to be of another artifact type are left out.
    """
    found = None
    if endpoint.place.name not in without_api:
        found = _by_api(client, endpoint, repository, digest, artifact_type, without_api)
    if found is None:
        found = [Referrer.of(one, "tag") for one in _tagged(client, endpoint, repository, digest)]
    unique = {one.digest: one for one in found}
    return [
        one
        for one in unique.values()
        if artifact_type is None or one.artifact_type in (artifact_type, None)
    ]


def _by_api(
    client: Client,
    endpoint: Endpoint,
    repository: str,
    digest: str,
    artifact_type: str | None,
    without_api: set[str],
) -> list[Referrer] | None:
    """Return the API's list; None where there is no API, or it does not know the manifest."""
    found: list[Referrer] = []
    try:
        for one in _listed(client, endpoint, repository, digest, artifact_type):
            found.append(Referrer.of(one, "api"))
            if len(found) > MAX_REFERRERS:
                raise LimitExceeded(
                    f"{endpoint.place.name} lists more than {MAX_REFERRERS} things attached to "
                    f"{digest}",
                    what="referrers",
                    limit=MAX_REFERRERS,
                    seen=len(found),
                    host=endpoint.place.name,
                    hint="artifact_type= asks for those of one type",
                )
    except NotFound as error:
        if found:
            raise  # a page in the middle is gone
        # Where the code names the manifest or repository, the API may be there all the same.
        if type(error) is NotFound:
            without_api.add(endpoint.place.name)
        return None
    except (ProtocolError, ServerError) as error:
        if error.status not in _LACKING:
            raise
        without_api.add(endpoint.place.name)
        return None
    return found


def _listed(
    client: Client,
    endpoint: Endpoint,
    repository: str,
    digest: str,
    artifact_type: str | None,
) -> Iterator[Descriptor]:
    what = f"list of what is attached to {digest}"
    pages = paging.documents(
        client,
        endpoint,
        repository,
        f"referrers/{digest}",
        what=what,
        missing=NotFound,
        accept=media_types.OCI_INDEX,
        # The answer says in OCI-Filters-Applied whether it was heard; it is filtered here anyway.
        query={} if artifact_type is None else {"artifactType": artifact_type},
        limit=MAX_PAGES,
    )
    for raw, answer in pages:
        yield from _read(raw, answer, what)


def _tagged(
    client: Client, endpoint: Endpoint, repository: str, digest: str
) -> tuple[Descriptor, ...]:
    """Return what the tag made of the digest lists; nothing where there is none: one GET."""
    tag = attached.fallback_tag(digest)
    what = f"manifest {repository}:{tag}"
    try:
        raw, answer = client.small(
            endpoint,
            repository,
            f"manifests/{tag}",
            what=what,
            missing=ManifestNotFound,
            limit=MANIFEST_LIMIT,
            accept=", ".join(media_types.ACCEPT),
        )
    except NotFound:
        return ()
    return _read(raw, answer, what)


def _read(raw: bytes, answer: Answer, what: str) -> tuple[Descriptor, ...]:
    """Return the entries of an answer, which is an index.

    Raises
    ------
    BadContentType, ManifestInvalid, TypeConfusion, LimitExceeded
    """
    expect_json(raw, answer, what)
    kind = media_types.essence(answer.headers.get("Content-Type"))
    try:
        if b"null" in raw and _is_null(raw):
            return ()
        found = manifests.parse(raw, kind)
    except Unsupported as error:
        message = f"{answer.host} sent an unusable {what}: {error.message}"
        raise ManifestInvalid(message, host=answer.host) from None
    except (MalformedContent, TypeConfusion) as error:
        message = f"{answer.host} sent an unusable {what}: {error.message}"
        raise type(error)(message, **{**error.fields(), "host": answer.host}) from None
    if not isinstance(found, ImageIndex):
        raise ManifestInvalid(
            f"{answer.host} sent an image manifest as the {what}, which should be an index",
            host=answer.host,
        )
    return found.manifests


def _is_null(raw: bytes) -> bool:
    """Whether it lists null: how Go writes an empty list that was never made."""
    document = strict_json.loads(raw, limit=MANIFEST_LIMIT, error=ManifestInvalid, what="the list")
    return (
        isinstance(document, dict)
        and document.get("schemaVersion") == 2
        and document.get("manifests", ()) is None
    )
