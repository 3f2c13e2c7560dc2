"""Who may receive a registry's credentials: pure rules, no I/O.

A registry names its token server itself, so a hostile or broken one could name anybody. The
rules: credentials stay on the host, on its registrable domain over https, in a built-in pair,
on a host the user named, or on this machine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from didlab import errors
from didlab.transport import urls

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

__all__ = ["DOCKER_HUB", "auth_host", "less_public", "may_receive", "registrable_domain"]

#: One registry under three names.
DOCKER_HUB: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})

_PAIRS: Final = {host: frozenset({"auth.docker.io"}) for host in DOCKER_HUB}


@functools.cache
def _suffixes() -> PublicSuffixList:
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()


def registrable_domain(host: str) -> str | None:
    """Return the part of ``host`` that somebody registered, None for addresses and localhost.

    Private suffixes count: ``x.github.io`` and ``y.github.io`` belong to different people.

    Examples
    --------
    >>> registrable_domain("auth.eu.example.co.uk"), registrable_domain("x.github.io")
    ('example.co.uk', 'x.github.io')
    """
    name = host.removesuffix(".")
    if urls.host_class(name) is not None or not name.isascii():
        return None
    found = _suffixes().privatesuffix(name.lower())
    return None if found is None else str(found)


def less_public(target_class: int, source_class: int) -> bool:
    """Whether a request that came from ``source_class`` must not go on to ``target_class``.

    A public registry may not send its clients to their own machine or network.
    """
    return target_class < source_class


def may_receive(
    credentials_for: urls.Origin,
    realm: urls.Url,
    auth_hosts: Sequence[str] = (),
    is_local: Callable[[urls.Origin], bool] = lambda origin: urls.is_loopback(origin.host),
) -> str | None:
    """Judge whether a token server may get the credentials of a registry.

    Parameters
    ----------
    credentials_for : Origin
        The registry that the user's credentials are for.
    realm : Url
        The token server it named.
    auth_hosts : sequence of str, optional
        Hosts (``host`` or ``host:port``) that the user trusts as token servers.
    is_local : callable, optional
        Tells whether what is sent to an origin stays on this machine: a proxy elsewhere may be
        used for it.

    Returns
    -------
    str or None
        None when it may, else the reason why not.

    Raises
    ------
    InvalidArgument
        An entry of ``auth_hosts`` is no host.
    """
    target = realm.origin
    named = _named(target, auth_hosts)
    if is_local(credentials_for) and is_local(target):
        return None
    if target.scheme == "http" and urls.is_loopback(target.host) and is_local(credentials_for):
        return "which is reached by http through a proxy elsewhere"
    if credentials_for.scheme == "https" and target.scheme != "https":
        return "the registry speaks https and its token server only http"
    if target.host == credentials_for.host or named:
        return None
    target_class = urls.host_class(target.host)
    source_class = urls.host_class(credentials_for.host)
    if target_class is not None and less_public(
        target_class, urls.PUBLIC if source_class is None else source_class
    ):
        return f"{target.host} is a {urls.class_name(target_class)} address"
    pair = target.host in _PAIRS.get(credentials_for.host, ())
    domain = registrable_domain(target.host)
    same_domain = domain is not None and domain == registrable_domain(credentials_for.host)
    if not pair and not same_domain:
        return f"{target.host} does not belong to {credentials_for.host}"
    if target.scheme != "https":
        return f"{target.host} is another host, and it is reached only by http"
    return None


def _named(target: urls.Origin, auth_hosts: Sequence[str]) -> bool:
    if isinstance(auth_hosts, str):
        raise errors.InvalidArgument("auth_hosts is a list of hosts, not one string")
    for entry in auth_hosts:
        allowed = auth_host(entry, target.scheme)
        has_port = entry.rpartition("]")[2].find(":") >= 0
        if allowed.host == target.host and (not has_port or allowed.port == target.port):
            return True
    return False


def auth_host(entry: str, scheme: str = "https") -> urls.Origin:
    """Read an entry of ``auth_hosts``; the scheme fills in a port that is not there.

    Raises
    ------
    InvalidArgument
        It is no host.
    """
    try:
        if not set(entry) & set("/?#"):
            return urls.split(f"{scheme}://{entry}").origin
    except errors.OriginRefused:
        pass
    shown = errors.printable(entry.rpartition("@")[2], 100)
    raise errors.InvalidArgument(
        f"auth_hosts: {shown!r} is not a host",
        hint="write host or host:port, as in auth.example.com",
    )
