"""Where a registry or a mirror is, as written by the user: pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from didlab.errors import InvalidArgument
from didlab.oci.reference import parse_registry
from didlab.transport import urls

#: Docker Hub's API does not live at its name.
_API_HOSTS = {"docker.io": "registry-1.docker.io"}
_NAMESPACE = re.compile(r"ns=[A-Za-z0-9.:_-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Host and paths of one registry API.

    ``root`` stands before ``/v2/`` (Artifactory's repository paths), ``prefix`` before the
    repository's name (``docker.io/`` at mirrors of many registries), ``query`` goes with every
    request (containerd's ``ns=docker.io``).
    """

    name: str
    host: str
    port: int | None
    scheme: str | None = None
    root: str = ""
    prefix: str = ""
    query: str = ""
    mirror: bool = False

    def path(self, repository: str, rest: str) -> str:
        """Return the path of an API endpoint: ``/v2/<repository>/<rest>``, or ``/v2/<rest>``."""
        name = f"{self.prefix}{repository}/" if repository else ""
        return f"{self.root}/v2/{quote(name, safe='/')}{rest}"

    def scope(self, repository: str, actions: str = "pull") -> str:
        """Return the scope for pulling, with the repository's name as this place knows it."""
        return f"repository:{self.prefix}{repository}:{actions}"


def registry(name: str) -> Place:
    """Return the place of a registry by its (already canonical) name."""
    host, port = _host_and_port(_API_HOSTS.get(name, name))
    return Place(name, host, port)


def mirror(text: str) -> Place:
    """Read a mirror's address: ``[https://]host[:port][/prefix][?ns=registry]``.

    A path is put before the repository's name; where the path holds a ``/v2`` segment, what
    stands before it is the API's root.

    >>> mirror("https://m.example/docker.io").path("library/nginx", "tags/list")
    '/v2/docker.io/library/nginx/tags/list'
    >>> mirror("https://art.example/api/docker/hub/v2").path("library/nginx", "tags/list")
    '/api/docker/hub/v2/library/nginx/tags/list'
    """
    scheme: str | None = None
    address = text.strip()
    if "://" in address:
        scheme = address.partition("://")[0].lower()
    else:
        address = f"https://{address}"
    try:
        url = urls.split(address)
    except Exception as error:
        raise InvalidArgument(
            f"not a mirror's address: {text.rpartition('@')[2]!r}",
            hint="write https://host[:port][/prefix]; logins come from docker's config.json",
        ) from error
    if url.query and not _NAMESPACE.fullmatch(url.query):
        raise InvalidArgument(
            f"a mirror's address with a query: {url.redacted()!r}",
            hint="the one that there is, is ?ns=registry, as containerd sends it",
        )
    segments = [segment for segment in url.path.split("/") if segment]
    root: list[str] = []
    if "v2" in segments:
        cut = segments.index("v2")
        root, segments = segments[:cut], segments[cut + 1 :]
    explicit = _has_port(address)
    return Place(
        name=url.origin.netloc,
        host=url.origin.host,
        port=url.origin.port if explicit else None,
        scheme=scheme,
        root="".join(f"/{segment}" for segment in root),
        prefix="".join(f"{segment}/" for segment in segments),
        query=url.query,
        mirror=True,
    )


def _has_port(address: str) -> bool:
    authority = address.partition("://")[2].partition("/")[0].partition("?")[0]
    return authority.rpartition("]")[2].rpartition(":")[1] == ":"


def _host_and_port(name: str) -> tuple[str, int | None]:
    parse_registry(name)
    host, colon, port = name.rpartition(":")
    if colon and port.isdigit() and not host.endswith(":"):
        return host.strip("[]"), int(port)
    return name.strip("[]"), None
