"""A registry, or rather: how one person talks with it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from didlab.errors import (
    AuthError,
    InvalidArgument,
    InvalidReference,
    ManifestNotFound,
    NotFound,
    ProtocolError,
    Unsupported,
)
from didlab.model.completion import Completer
from didlab.model.repository import Repository
from didlab.oci.reference import Reference, parse_registry
from didlab.sources import remarks
from didlab.transport import checks, effective, paging, retry
from didlab.transport.client import Client, connect
from didlab.transport.endpoint import Endpoint
from didlab.transport.options import Options
from didlab.views import cards, frames, text

if TYPE_CHECKING:
    import pandas as pd

#: Docker Hub answers about limits for this repository without counting (its documentation).
_HUB_PREVIEW = ("ratelimitpreview/test", "latest")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What a registry says about how much may be asked; None where it does not say.

    Attributes
    ----------
    limit, remaining : int or None
        Requests allowed in a window, and left in this one.
    window : int or None
        Seconds of the window.
    resets : datetime or None
        When there will be more; aware, UTC.
    source : str or None
        Whom the limit is counted for (an address, a user), as the registry says.
    """

    limit: int | None
    remaining: int | None
    window: int | None
    resets: datetime | None
    source: str | None


class Registry:
    """A registry: ``Registry("docker.io")["nginx"]["1.27"]``. Made without any request.

    Parameters
    ----------
    name : str
        Host, with its port where needed: ``docker.io``, ``ghcr.io``, ``127.0.0.1:5000``.
    mirrors : str or sequence of str
        Asked first, in order, for every kind of call: ``https://mirror.example``, with a prefix
        for the repository's name (``https://m.example/docker.io``) where it needs one.
    proxy : str
        ``http://…``, ``https://…`` or ``socks5h://…``, for everything about this registry, or
        ``direct`` for none; else ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``
        hold.
    username, password : str
        A login; else ``DOCKER_AUTH_CONFIG``, docker's ``config.json`` with its helpers, and
        podman's ``auth.json`` are asked, in that order.
    token : str
        A bearer token to send as it is.
    insecure : bool or sequence of str
        Allow unverified TLS and plain http for the registry (True) or the named hosts.
    ca : path
        A PEM file to trust besides the usual authorities.
    client_cert : path or (path, path)
        Certificate, or certificate and key, to show to the registry.
    auth_hosts : sequence of str
        Further hosts that may receive the login as token servers.
    timeout : float or (float, float)
        Seconds for a connection, and for the head of an answer and between two pieces of its
        body; default (10, 30). Bodies slower than 1 KiB/s over a minute are given up, too.
    trust_env : bool
        Whether proxies, mirrors and certificate bundles of the environment hold.
    offline : bool
        Send nothing: answer from the local store (see `didlab.cache_info`) what was looked at
        before; a tag stands for what it named then, as a warning says.
    foreign : bool
        Fetch layers that the registry may not have from their descriptors' ``urls``, without any
        login (see `didlab.open`).

    Raises
    ------
    InvalidReference
        ``name`` is no registry.
    InvalidArgument
        An option that cannot be meant that way.
    ConfigError
        ``didlab.toml`` is broken.

    Notes
    -----
    What is not given comes from ``DIDLAB_MIRRORS`` and ``DIDLAB_PROXY``, then from the user's
    ``didlab.toml``; `show_config` tells what holds.
    """

    def __init__(
        self,
        name: str = "docker.io",
        *,
        mirrors: str | Iterable[str] = (),
        proxy: str | None = None,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        insecure: bool | str | Iterable[str] | None = None,
        ca: str | os.PathLike[str] | None = None,
        client_cert: str | os.PathLike[str] | tuple[str | os.PathLike[str], ...] | None = None,
        auth_hosts: str | Iterable[str] = (),
        timeout: float | tuple[float, float] | None = None,
        trust_env: bool = True,
        offline: bool = False,
        foreign: bool = False,
    ) -> None:
        found = parse_registry(name)
        remarks.on_host(name, found)
        arguments = {
            "mirrors": mirrors,
            "proxy": proxy,
            "username": username,
            "password": password,
            "token": token,
            "insecure": insecure,
            "ca": ca,
            "client_cert": client_cert,
            "auth_hosts": auth_hosts,
            "timeout": timeout,
            "trust_env": trust_env,
            "offline": offline,
        }
        wanted = checks.flag(foreign, "foreign")
        self._set(found, effective.resolve(found, arguments), wanted)

    def _set(self, name: str, options: Options, foreign: bool) -> None:
        self._name = name
        self._options = options
        self._foreign = foreign
        self._completer = Completer(self._repository_names)
        # Wrong mirrors are told now, not at the first request.
        connect(name, options)

    @classmethod
    def _of(cls, name: str, options: Options, foreign: bool = False) -> Registry:
        made = Registry.__new__(Registry)
        made._set(name, options, foreign)
        return made

    @property
    def name(self) -> str:
        """Host, with its port where needed."""
        return self._name

    @property
    def mirrors(self) -> tuple[str, ...]:
        """The mirrors, in the order in which they are asked."""
        return self._options.mirrors

    @property
    def _client(self) -> Client:
        return connect(self._name, self._options)

    def __getitem__(self, name: str) -> Repository:
        if not isinstance(name, str):
            raise InvalidArgument(
                f"a registry is indexed by a repository's name, not by {type(name).__name__}"
            )
        path = self._without_host(name)
        reference = Reference.parse(f"{self._name}/{path}")
        if reference.digest is not None or reference.tag not in (None, "latest") or ":" in path:
            raise InvalidArgument(
                f"{name!r} is more than a repository's name",
                hint='one step at a time: registry["nginx"]["1.27"]',
            )
        remarks.on_name(reference)
        return Repository(self._name, self._options, reference.repository, self._foreign)

    def _without_host(self, name: str) -> str:
        """Return a name without this registry's own host, which people copy along."""
        host, slash, path = name.partition("/")
        if not slash or not ("." in host or ":" in host or host == "localhost"):
            return name
        try:
            return path if parse_registry(host) == self._name else name
        except InvalidReference:
            return name

    #: The repositories are a question, not a sequence in memory: ask `repositories`.
    __iter__ = None

    def repositories(self) -> pd.DataFrame:
        """List the repositories that the registry admits to (its catalog).

        Returns
        -------
        DataFrame
            repository : text.

        Raises
        ------
        Unsupported
            The registry does not list repositories (Docker Hub, GHCR).
        AuthError, TransportError

        Notes
        -----
        One request for each 1,000 names, or fewer as the registry decides.
        """
        rows = [(name,) for name in self._repository_names()]
        return frames.frame("repositories", rows, reference=self._name)

    def _repository_names(self) -> list[str]:
        client = self._client

        def job(endpoint: Endpoint) -> list[str]:
            found = paging.names(
                client,
                endpoint,
                "",
                "_catalog",
                "repositories",
                what="list of repositories",
                missing=NotFound,
                scope="registry:catalog:*",
            )
            return [name for name in found if isinstance(name, str)]

        try:
            # Not the mirrors: they list what they happen to have kept.
            return list(dict.fromkeys(job(client.origin)))
        except (NotFound, ProtocolError) as error:
            raise Unsupported(
                f"{self._name} does not list its repositories ({error.message})",
                host=self._name,
                hint="name the repository: registry['name']",
            ) from None
        except AuthError as error:
            hint = "many registries list repositories for administrators only, some for nobody"
            raise type(error)(error.message, **{**error.fields(), "hint": hint}) from None

    def rate_limit(self) -> RateLimit:
        """Return how many requests are allowed and left, as far as the registry tells.

        Docker Hub tells for a HEAD of a test repository, which does not count; elsewhere the
        headers of the API's root are read. One request, after a challenge and a token.

        Raises
        ------
        AuthError, TransportError
        """
        client = self._client
        endpoint = client.origin
        if self._name == "docker.io":
            repository, tag = _HUB_PREVIEW
            scope = endpoint.place.scope(repository)
            answer = endpoint.request("HEAD", repository, f"manifests/{tag}", scope=scope)
        else:
            answer = endpoint.request("GET", "", "", scope=None)
        answer.drain()
        if answer.status not in (200, 429) and self._name == "docker.io":
            raise client.refusal(
                endpoint, answer, _HUB_PREVIEW[0], "its rate limit", ManifestNotFound
            )
        told = retry.limits(answer.headers)
        return RateLimit(
            limit=told["limit"],  # type: ignore[arg-type]
            remaining=told["remaining"],  # type: ignore[arg-type]
            window=told["window"],  # type: ignore[arg-type]
            resets=told["resets"],  # type: ignore[arg-type]
            source=told["source"],  # type: ignore[arg-type]
        )

    def requests(self) -> pd.DataFrame:
        """List every request made to this registry in this process, oldest first: no request.

        Objects that talk to the registry in the same way share the list; token servers and where
        redirects led are in it, too. The last 20,000 are kept.

        Returns
        -------
        DataFrame
            started : datetime64[us, UTC], method : category, host : category, path : text (no
            query, where signatures travel), status : Int64, bytes : int64, seconds : float64,
            attempt : int64, mirror : category (missing for the registry itself),
            error : category.
        """
        rows = [
            (
                datetime.fromtimestamp(row.started, UTC),
                row.method,
                row.host,
                row.path,
                row.status,
                row.bytes,
                row.seconds,
                row.attempt,
                row.mirror,
                row.error,
            )
            for row in self._client.log
        ]
        return frames.frame("requests", rows, reference=self._name)

    def _contacted(self) -> list[tuple[str, str, str, str]]:
        """Return each host asked so far: ``(host, scheme, role, registry)``."""
        return [(*contact, self._name) for contact in self._client.contacts()]

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self._name == other._name if isinstance(other, Registry) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._name)

    def __reduce__(self) -> tuple[Any, ...]:
        # Options drop their secrets when pickled.
        return _restore, (self._name, self._options, self._foreign)

    def __repr__(self) -> str:
        return text.registry(self._facts())

    def _repr_html_(self) -> str:
        log = list(self._client.log)
        return cards.registry(
            {
                **self._facts(),
                "requests": len(log),
                "bytes": sum(row.bytes for row in log),
                "repositories": list(self._completer._names),
            }
        )

    def _facts(self) -> dict[str, Any]:
        options = self._options
        proxy = options.proxy
        return {
            "name": self._name,
            "mirrors": options.mirrors,
            "proxy": str(proxy) if proxy is not None else None,
            "login": options.username or ("with a token" if options.token else None),
            "insecure": bool(options.insecure),
            "offline": options.offline,
        }

    def _ipython_key_completions_(self) -> list[str]:
        return self._completer()


def _restore(name: str, options: Options, foreign: bool = False) -> Registry:
    return Registry._of(name, options, foreign)
