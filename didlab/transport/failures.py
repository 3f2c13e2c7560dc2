"""What requests, urllib3 and the system raise, told in didlab's errors."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from typing import Any

import requests
import urllib3.exceptions as u3

from didlab.errors import (
    BadHeader,
    ConnectFailed,
    DidlabError,
    InvalidArgument,
    ProtocolError,
    ProxyError,
    TimedOut,
    TlsFailed,
    Truncated,
    printable,
)
from didlab.transport.urls import Origin

#: How Python's HTTP and PySocks tell that a proxy does not want to.
_REFUSALS = (
    "Tunnel connection failed: 401",
    "Tunnel connection failed: 403",
    "Tunnel connection failed: 407",
    "Connection not allowed by ruleset",
)


def translate(error: Exception, origin: Origin, *, proxied: bool) -> DidlabError:
    """Return the typed error for what requests and urllib3 raise."""
    host = origin.netloc
    causes = list(_causes(error))
    if isinstance(error, requests.exceptions.InvalidSchema) and "SOCKS" in str(error):
        return InvalidArgument(
            "SOCKS proxies need PySocks", hint='pip install "requests[socks]"', host=host
        )
    if isinstance(error, requests.exceptions.InvalidProxyURL):
        return InvalidArgument("the proxy's address cannot be read", host=host)
    if isinstance(error, requests.exceptions.ProxyError) or any(
        type(c).__module__.startswith("socks") for c in causes
    ):
        return ProxyError(
            f"the proxy on the way to {host} refused: {_reason(causes)}",
            host=host,
            hint="check proxy= or HTTP_PROXY, HTTPS_PROXY, ALL_PROXY; and its user and password",
            # A login that is wrong, and a place that is forbidden, will be so again.
            retryable=not any(map(_is_refusal, causes)),
        )
    if isinstance(error, requests.exceptions.SSLError) or any(
        isinstance(c, ssl.SSLError) for c in causes
    ):
        return _tls_failure(causes, host)
    # A refused connection is a kind of timeout to urllib3: it is asked for first.
    if any(isinstance(c, u3.NameResolutionError) for c in causes):
        return ConnectFailed(
            f"the name {origin.host} does not resolve",
            host=host,
            hint="check the spelling; behind a proxy give proxy='socks5h://…' or HTTPS_PROXY",
        )
    if any(isinstance(c, u3.NewConnectionError) for c in causes):
        return ConnectFailed(
            f"no connection to {host}: {_reason(causes)}",
            host=host,
            hint="is it running, and reachable from here?",
        )
    if isinstance(error, requests.exceptions.Timeout) or any(
        isinstance(c, TimeoutError | u3.TimeoutError) for c in causes
    ):
        return TimedOut(
            f"{host} did not answer in time",
            host=host,
            hint="a proxy= or mirrors= may reach it; timeout= waits longer",
        )
    # requests has one name for headers that it cannot send and for those that came.
    received = any(isinstance(c, u3.InvalidHeader) for c in causes)
    if (isinstance(error, UnicodeError | requests.exceptions.InvalidHeader) and not received) or (
        type(error) is ValueError and "Invalid header" in str(error)
    ):
        # Before anything was sent; what it holds may be secret.
        return InvalidArgument(
            f"the request to {host} has a header that cannot be sent",
            host=host,
            hint="is there a blank or a control character in a login?",
        )
    unreadable = (http.client.LineTooLong, u3.InvalidHeader)
    if any(isinstance(c, unreadable) for c in causes) or any(
        isinstance(c, http.client.HTTPException) and "headers" in str(c) for c in causes
    ):
        return BadHeader(f"{host} sent headers beyond any use", host=host)
    if any(isinstance(c, http.client.BadStatusLine) and not _is_closed(c) for c in causes):
        return ProtocolError(f"{host} sent something that is not HTTP", host=host)
    return Truncated(
        f"{host} closed the connection without an answer: {_reason(causes)}",
        host=host,
        received=0,
    )


def _is_refusal(error: BaseException) -> bool:
    return type(error).__name__ == "SOCKS5AuthError" or any(m in str(error) for m in _REFUSALS)


def _is_closed(error: BaseException) -> bool:
    return isinstance(error, http.client.RemoteDisconnected)


def _tls_failure(causes: list[BaseException], host: str) -> DidlabError:
    text = " ".join(str(c) for c in causes)
    markers = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER", "PACKET_LENGTH", "UNKNOWN_P")
    if any(isinstance(c, ssl.SSLCertVerificationError) for c in causes):
        reason = next(
            (c.verify_message for c in causes if isinstance(c, ssl.SSLCertVerificationError)), ""
        )
        expired = "expired" in reason or "not yet valid" in reason
        return TlsFailed(
            f"the certificate of {host} is not trusted: {printable(reason, 200)}",
            host=host,
            hint="is this machine's clock right?"
            if expired
            else "pass ca='/path/to/ca.pem'; insecure=True switches the check off for this host",
        )
    if any(marker in text.upper().replace(" ", "_") for marker in markers):
        return TlsFailed(
            f"{host} does not speak TLS", host=host, hint="insecure=True allows http", not_tls=True
        )
    if any(isinstance(c, ssl.SSLEOFError | ssl.SSLZeroReturnError) for c in causes):
        # As a bad line does it, too: another try may work.
        return TlsFailed(
            f"{host} broke off the TLS handshake", host=host, not_tls=True, retryable=True
        )
    return TlsFailed(f"no TLS with {host}: {_reason(causes)}", host=host)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk through wrapped exceptions: arguments, reasons, causes."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        item = waiting.pop(0)
        if not isinstance(item, BaseException) or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        waiting += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]


def _reason(causes: list[BaseException]) -> str:
    """Return the innermost explanation, in words without addresses of Python objects."""
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.strerror:
            return printable(cause.strerror, 200)
    for cause in reversed(causes):
        text = str(cause)
        if text and "object at 0x" not in text:
            return printable(text.split("\n", 1)[0], 200)
    return type(causes[0]).__name__
