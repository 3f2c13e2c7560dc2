"""requests' adapter with our TLS context, no cookies, bounded patience, a look at the address.

The address is judged after the connection stands and before anything is sent, so no name that
resolves to something else at the second look (DNS rebinding) gets past it.
"""

from __future__ import annotations

import logging
import ssl
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

import requests
import requests.adapters
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from didlab.transport.connections import interruptible
from didlab.transport.patience import patient
from didlab.transport.secret import Secret

#: Called with the host and the peer's address of each new connection; raises to refuse it.
Inspector = Callable[[str, str], None]


class Refused(Exception):
    """Raised by an inspector. No OSError, lest urllib3 take it for a passing fault."""


class Body(Protocol):
    """What a request sends, in pieces: begun anew each time that the request is sent."""

    @property
    def size(self) -> int:
        """How many bytes it has."""

    def pieces(self) -> Iterator[bytes]:
        """Yield them from the first on."""


#: What a request may carry: a form with secrets, small content, or much of it.
Sendable = Secret | bytes | Body


class _Stream:
    """A body as requests wants it, which asks for a length and then iterates."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def __len__(self) -> int:
        return self._body.size

    def __iter__(self) -> Iterator[bytes]:
        return self._body.pieces()


_sending: ContextVar[bool] = ContextVar("didlab_sending", default=False)


class _WithoutQueries(logging.Filter):
    """Cuts queries, where signatures travel, from what urllib3 logs about our requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _sending.get() and isinstance(record.args, tuple):
            record.args = tuple(
                arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args
            )
        return True


for _name in ("urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_WithoutQueries())


def _looked_at(base: type[Any], adapter: weakref.ref[Adapter]) -> type[Any]:
    # Weakly: urllib3 keeps idle connections until their pool is collected, and a connection that
    # led back to the pool would keep it, and so itself, for ever.
    class Looked(interruptible(patient(base))):  # type: ignore[misc]
        def _new_conn(self) -> Any:
            sock = super()._new_conn()
            try:
                owner = adapter()
                if owner is None:
                    raise ConnectionAbortedError
                owner.inspector(self.host, sock.getpeername()[0])
            except BaseException:
                sock.close()
                raise
            return sock

    Looked.__name__ = base.__name__
    return Looked


def _quiet(base: type[Any]) -> type[Any]:
    """Return a pool that does not warn: an unverified connection was asked for by `insecure=`."""

    class Quiet(base):  # type: ignore[misc]
        def _validate_conn(self, conn: Any) -> None:
            if conn.is_closed:
                conn.connect()

    Quiet.__name__ = base.__name__
    return Quiet


class Adapter(requests.adapters.HTTPAdapter):
    """One pool of connections; ``context(host, port)`` gives the TLS context for a place."""

    def __init__(self, context: Callable[[str, int], ssl.SSLContext], inspector: Inspector) -> None:
        self._context = context
        self.inspector = inspector
        super().__init__(pool_connections=32, pool_maxsize=16, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool manager, its connections looked at where there is an inspector."""
        super().init_poolmanager(*args, **kwargs)
        plain = type("_Pool", (HTTPConnectionPool,), {})
        plain.ConnectionCls = _looked_at(HTTPConnection, weakref.ref(self))  # type: ignore[attr-defined]
        tls = _quiet(HTTPSConnectionPool)
        tls.ConnectionCls = _looked_at(HTTPSConnection, weakref.ref(self))
        manager: urllib3.PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = {"http": plain, "https": tls}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Return the manager of connections through a proxy: nobody sees addresses there."""
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not known:
            pools = dict(manager.pool_classes_by_scheme)
            pools["https"] = _quiet(pools["https"])
            for scheme, pool in pools.items():
                connection = interruptible(patient(pool.ConnectionCls))
                pools[scheme] = type(pool.__name__, (pool,), {"ConnectionCls": connection})
            manager.pool_classes_by_scheme = pools
        return manager

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """Say which pool serves a request: by place and TLS context."""
        host_params, _ = super().build_connection_pool_key_attributes(request, True, None)
        if host_params["scheme"] != "https":
            return host_params, {}
        context = self._context(host_params["host"], host_params["port"] or 443)
        return host_params, {"ssl_context": context, "cert_reqs": context.verify_mode}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Do nothing: the context already has its certificates, loaded once."""


def open_answer(
    adapter: Adapter,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str | Secret],
    body: Sendable | None,
    timeout: tuple[float, float],
    proxies: Mapping[str, Secret],
) -> requests.Response:
    """Send one request and return the answer with its body unread.

    No session stands between, so no cookie is kept, no ``.netrc`` read, no redirect followed.
    Secrets are revealed here and in no frame above: a traceback with locals shows those.
    """
    plain = {name: _reveal(value) for name, value in headers.items()}
    prepared = requests.Request(method, url, headers=plain, data=_data(body)).prepare()
    ways = {name: value.reveal() for name, value in proxies.items()}
    proxy = requests.utils.select_proxy(url, ways)
    if proxy and proxy.startswith("http") and url.startswith("http:"):
        # Over plain http the proxy is spoken to in the request itself; requests leaves that
        # header to its session, which is not in use here.
        prepared.headers.update(adapter.proxy_headers(proxy))
    token = _sending.set(True)
    try:
        return adapter.send(prepared, stream=True, timeout=timeout, verify=True, proxies=ways)
    finally:
        _sending.reset(token)


def _reveal(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def _data(body: Sendable | None) -> Any:
    if body is None or isinstance(body, bytes):
        return body or b""
    return body.reveal() if isinstance(body, Secret) else _Stream(body)
