"""Lists in pages: tags and repositories."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote

from didlab._pausing import Patience, patience
from didlab.errors import (
    BadLink,
    DidlabError,
    LimitExceeded,
    MalformedContent,
    NotFound,
    OriginRefused,
    ProtocolError,
    printable,
)
from didlab.oci import strict_json
from didlab.transport import urls
from didlab.transport.client import Client, expect_json
from didlab.transport.endpoint import Endpoint
from didlab.transport.wire import Answer

PAGE_LIMIT = 4 * 1024 * 1024
MAX_PAGES = 10_000
MAX_NAMES = 1_000_000
#: The most that ECR takes; others cap it by themselves.
PAGE = 1000


def names(
    client: Client,
    endpoint: Endpoint,
    repository: str,
    rest: str,
    field: str,
    *,
    what: str,
    missing: type[NotFound],
    scope: str | None = None,
) -> Iterator[object]:
    """Yield the members of a paged list, as they are, page after page.

    ``Link`` headers may be relative, absolute, or name an internal host: only their query is
    used, at the same endpoint, and only when it moves on.

    Raises
    ------
    BadLink
        A link that leads to another endpoint or in a circle.
    LimitExceeded
        More than 10,000 pages or 1,000,000 names.
    """
    count = 0
    pages = documents(
        client,
        endpoint,
        repository,
        rest,
        what=what,
        missing=missing,
        query={"n": str(PAGE)},
        scope=scope,
    )
    for raw, answer in pages:
        for name in _page(raw, answer, field, what):
            count += 1
            if count > MAX_NAMES:
                raise LimitExceeded(
                    f"{answer.host} lists more than {MAX_NAMES} names",
                    what="names in a list",
                    limit=MAX_NAMES,
                    seen=count,
                    host=answer.host,
                )
            yield name


def documents(
    client: Client,
    endpoint: Endpoint,
    repository: str,
    rest: str,
    *,
    what: str,
    missing: type[NotFound],
    query: dict[str, str],
    accept: str = "application/json",
    scope: str | None = None,
    limit: int = MAX_PAGES,
) -> Iterator[tuple[bytes, Answer]]:
    """Yield the pages of a list as they came: one request each.

    Raises
    ------
    BadLink
        As `names`.
    LimitExceeded
        More than ``limit`` pages, or one of more than 4 MiB.
    """
    seen: set[tuple[tuple[str, str], ...]] = set()
    for _ in range(limit):
        seen.add(tuple(sorted(query.items())))
        raw, answer = client.small(
            endpoint,
            repository,
            rest,
            what=what,
            missing=missing,
            limit=PAGE_LIMIT,
            accept=accept,
            query=query,
            scope=scope,
        )
        yield raw, answer
        link = answer.headers.get("Link")
        if not link:
            return
        following = _next(link, rest, answer)
        if following is None:
            return
        if tuple(sorted(following.items())) in seen:
            raise BadLink(f"the pages of {what} at {answer.host} run in a circle", host=answer.host)
        query = following
    raise LimitExceeded(
        f"{endpoint.place.name} lists {what} in more than {limit} pages",
        what="pages",
        limit=limit,
        seen=limit + 1,
    )


def first_page(endpoint: Endpoint, repository: str, rest: str, field: str) -> list[object]:
    """Return the first page of a list, for a hint: one request, no wait, nothing on any failure."""
    scope = endpoint.place.scope(repository)
    token = patience.set(Patience(0))
    try:
        answer = endpoint.request(
            "GET",
            repository,
            rest,
            scope=scope,
            accept="application/json",
            query={"n": str(PAGE)},
            attempts=1,
        )
        if answer.status != 200:
            answer.drain()
            return []
        return _page(answer.read(PAGE_LIMIT, rest), answer, field, rest)
    except DidlabError:
        return []
    finally:
        patience.reset(token)


def _page(raw: bytes, answer: Answer, field: str, what: str) -> list[object]:
    expect_json(raw, answer, what)
    try:
        document = strict_json.loads(raw, limit=PAGE_LIMIT, error=MalformedContent, what=what)
    except ValueError as error:
        raise ProtocolError(
            f"{answer.host} sent no JSON for {what}: {error}", host=answer.host
        ) from None
    found: object = ()
    if isinstance(document, dict) and (field in document or "name" in document):
        found = document.get(field)
    if found is None:
        return []  # an empty repository, at some registries
    if not isinstance(found, list):
        raise ProtocolError(f"{answer.host} sent no list of names for {what}", host=answer.host)
    return found


def _next(link: str, rest: str, answer: Answer) -> dict[str, str] | None:
    """Return the query of the next page; None when there is none."""
    host = answer.host
    for part in re.split(r",\s*(?=<)", link):
        target, closed, parameters = part.strip().lstrip("<").partition(">")
        if not closed:
            raise BadLink(f"{host} sent a Link that cannot be read", host=host)
        relations = [
            p.partition("=")[2].strip().strip('"').lower()
            for p in parameters.split(";")
            if p.strip().lower().startswith("rel")
        ]
        if relations and "next" not in " ".join(relations).split():
            continue
        try:
            url = urls.join(answer.url, target)
        except OriginRefused as error:
            raise BadLink(f"{host} sent a Link that leads nowhere: {error}", host=host) from None
        # A digest's colon comes back escaped from some.
        if not unquote(url.path).rstrip("/").endswith("/" + rest.rstrip("/")):
            raise BadLink(f"{host} links to another list: {printable(url.path, 200)!r}", host=host)
        if not url.query:
            raise BadLink(f"{host} sent a Link that leads nowhere", host=host)
        return dict(parse_qsl(url.query, keep_blank_values=True))
    return None
