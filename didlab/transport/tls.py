"""TLS contexts: whom to trust at which place."""

from __future__ import annotations

import functools
import os
import ssl
import threading

from didlab.errors import InvalidArgument
from didlab.transport.options import Options, environment_ca


class Contexts:
    """TLS contexts for one set of options, made when first needed and kept."""

    def __init__(self, options: Options, registry: tuple[str, int]) -> None:
        self._options = options
        self._registry = registry
        self._kept: dict[tuple[bool, bool], ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def verified(self, host: str, port: int) -> ssl.SSLContext:
        """Return the context for a place whose certificate must be right."""
        return self._get(checked=True, client=(host, port) == self._registry)

    def unverified(self, host: str, port: int) -> ssl.SSLContext:
        """Return the context for a place that ``insecure=`` names."""
        return self._get(checked=False, client=(host, port) == self._registry)

    def _get(self, *, checked: bool, client: bool) -> ssl.SSLContext:
        # The client's certificate is shown to the registry only, never to where it redirects.
        cert = self._options.client_cert if client else None
        with self._lock:
            key = (checked, cert is not None)
            if key not in self._kept:
                self._kept[key] = self._make(checked, cert)
            return self._kept[key]

    def _make(self, checked: bool, cert: tuple[str, ...] | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(["http/1.1"])
        if checked:
            environ = os.environ if self._options.trust_env else {}
            try:
                _load(context, environment_ca(environ) or _certifi())
                if self._options.ca is not None:
                    # In addition: an own registry often redirects to a public store.
                    _load(context, self._options.ca)
            except (OSError, ssl.SSLError) as error:
                raise InvalidArgument(f"the certificate bundle cannot be read: {error}") from None
        else:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if cert is not None:
            try:
                context.load_cert_chain(*cert)
            except (OSError, ssl.SSLError) as error:
                raise InvalidArgument(f"client_cert= cannot be used: {error}") from None
        return context


def _load(context: ssl.SSLContext, path: str) -> None:
    if os.path.isdir(path):  # noqa: PTH112
        context.load_verify_locations(capath=path)
    else:
        context.load_verify_locations(cafile=path)


@functools.cache
def _certifi() -> str:
    import certifi

    return certifi.where()
