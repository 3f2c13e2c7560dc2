"""One round trip over HTTP, and the answer: every failure a typed error."""

from __future__ import annotations

import contextlib
import http.client
import logging
import threading
import time
from collections.abc import Iterator, Mapping

import requests
import requests.utils
import urllib3.exceptions as u3

from didlab._pausing import check, cutting
from didlab.errors import (
    BadHeader,
    ContentEncodingRefused,
    InvalidArgument,
    LimitExceeded,
    OriginRefused,
    ProtocolError,
    ProxyError,
    TimedOut,
    Truncated,
    Unsupported,
    printable,
)
from didlab.transport import failures
from didlab.transport.adapter import Adapter, Refused, Sendable, open_answer
from didlab.transport.environ import environ_proxies
from didlab.transport.log import RequestLog, Row
from didlab.transport.options import DIRECT, Options, Proxy, parse_proxy
from didlab.transport.secret import Secret
from didlab.transport.tls import Contexts
from didlab.transport.trust import less_public
from didlab.transport.urls import PUBLIC, Url, address_class, host_class

log = logging.getLogger("didlab")

#: Large enough that Python's share of the work vanishes, small enough to stay in the cache.
CHUNK = 256 * 1024
#: The longest that a small answer may take once it has begun.
SMALL_DEADLINE = 60.0

#: A proxy that there is, but nobody can say where.
UNKNOWN = Proxy("http", "(unreadable)")

_USER_AGENT = "didlab"


class Answer:
    """An answer whose body is still on the line. Close it, or read it to its end."""

    def __init__(self, response: requests.Response, url: Url, row: Row) -> None:
        self._response = response
        self._row = row
        self.url = url
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        #: The login that this answer's request carried, for a redirect within the origin.
        self.sent_authorization: Secret | None = None
        #: Whether a redirect led here, away from the place that was asked.
        self.strayed = False

    @property
    def host(self) -> str:
        """Return the host that answered, with its port where that is unusual."""
        return self.url.origin.netloc

    def all_headers(self, name: str) -> list[str]:
        """Return every header of this name apart, as it was sent."""
        return list(self._response.raw.headers.getlist(name))

    def content_length(self) -> int | None:
        """Return the announced length of the body; digits only, or BadHeader."""
        text = self.headers.get("Content-Length")
        coding = self.headers.get("Transfer-Encoding")
        if text is not None and coding is not None:
            self.close()  # two readers would see the end at two places
            raise BadHeader(
                f"{self.host} sent both a Content-Length and a Transfer-Encoding", host=self.host
            )
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            self.close()
            raise BadHeader(
                f"{self.host} sent a Content-Length that is no number: {printable(text, 60)!r}",
                host=self.host,
            )
        return int(text)

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it was sent, in pieces as they arrive; closes at the end.

        Raises
        ------
        ContentEncodingRefused
            The body is in a coding that nobody asked for: its digest could not be checked.
        Truncated, TimedOut
            The body broke off.
        """
        coding = self.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            self.close()
            raise ContentEncodingRefused(
                f"{self.host} sent content in the coding {printable(coding, 40)!r}",
                host=self.host,
                hint="a proxy on the way may add it; try another way, or a mirror",
            )
        transfer = self.headers.get("Transfer-Encoding", "chunked").strip().lower()
        if transfer not in ("chunked", "identity"):
            self.close()
            raise ContentEncodingRefused(
                f"{self.host} sent content in the transfer coding {printable(transfer, 40)!r}",
                host=self.host,
            )
        self.content_length()  # one that cannot be read is refused, with ranges too
        yield from self._raw(decode=False)

    def _raw(self, *, decode: bool) -> Iterator[bytes]:
        raw = self._response.raw
        row = self._row
        try:
            while True:
                data: bytes = raw.read1(CHUNK, decode_content=decode)
                if not data:
                    if decode and not getattr(raw, "closed", True):
                        # A decoder may have nothing to give yet; only the end is the end.
                        data = raw.read(CHUNK, decode_content=True)
                    if not data:
                        break
                row.bytes += len(data)
                row.touch()
                yield data
        except (u3.HTTPError, OSError, http.client.HTTPException) as error:
            check()  # it may have been cut off on purpose
            failure = self._broken(error)
            row.error = type(failure).__name__
            raise failure from None
        finally:
            row.touch()
            self.close()

    def _broken(self, error: Exception) -> Exception:
        host = self.host
        if isinstance(error, u3.ReadTimeoutError | TimeoutError):
            return TimedOut(
                f"{host} went silent in the middle of an answer after {self._row.bytes} bytes",
                host=host,
                hint="the same call may work; a larger timeout= waits longer",
            )
        if isinstance(error, u3.DecodeError):
            return ProtocolError(f"{host} sent a body that does not decode", host=host)
        return Truncated(
            f"the answer of {host} broke off after {self._row.bytes} bytes",
            host=host,
            received=self._row.bytes,
            size=self.content_length(),
        )

    def read(self, limit: int, what: str) -> bytes:
        """Return the whole body, decoded, if it has at most ``limit`` bytes.

        Raises
        ------
        LimitExceeded
            After ``limit + 1`` bytes, however many were announced.
        """
        self.content_length()  # one that is no number is refused
        parts: list[bytes] = []
        total = 0
        end = time.monotonic() + SMALL_DEADLINE
        with cutting(self.abort):
            for data in self._raw(decode=True):
                total += len(data)
                if total > limit:
                    self.close()
                    raise LimitExceeded(
                        f"{what} from {self.host} is larger than {limit} bytes",
                        what=what,
                        limit=limit,
                        seen=total,
                        host=self.host,
                    )
                if time.monotonic() > end:
                    self.close()
                    raise TimedOut(
                        f"{what} from {self.host} took longer than {SMALL_DEADLINE:.0f} s",
                        host=self.host,
                    )
                parts.append(data)
        check()
        return b"".join(parts)

    def drain(self) -> None:
        """Read away a short rest so that the connection can serve again; else close it."""
        try:
            self.read(64 * 1024, "an answer's rest")
        except Exception:  # noqa: BLE001 - the answer is of no interest any more
            self.close()

    def close(self) -> None:
        """Give the connection back, or end it when its body was not read."""
        self._response.close()

    def abort(self) -> None:
        """Shut the connection, from another thread: whoever reads from it sees its end."""
        shut = getattr(self._response.raw, "shutdown", None)
        if shut is not None:  # urllib3 2.3 and newer; else the read timeout ends it
            with contextlib.suppress(Exception):
                shut()


class Wire:
    """Sends single requests for one registry. Three ways, by whom the user named.

    *named* places (the registry, its mirrors) are the user's own choice. *Foreign* places, where
    redirects and token servers point, may not be less public than the registry. *Lax* ones are
    those that ``insecure=`` names.
    """

    def __init__(self, options: Options, registry: tuple[str, int], log: RequestLog) -> None:
        self._options = options
        self._log = log
        self._contexts = contexts = Contexts(options, registry)
        # How public the places that the user named were found to be, by host.
        self._met: dict[str, int] = {}
        self._named = Adapter(contexts.verified, self._meet)
        self._lax = Adapter(contexts.unverified, self._meet)
        # One for each class of who points there: a connection that a private registry may use
        # must not serve a public one.
        self._foreign: dict[int, Adapter] = {}
        self._lock = threading.Lock()

    def _meet(self, host: str, address: str) -> None:
        self._met[host] = max(address_class(address), self._met.get(host, 0))

    def home_class(self, host: str) -> int:
        """Return how public a place that the user named is.

        A name that was only ever reached through a proxy counts as public: it may not lead to
        addresses of this machine or network.
        """
        literal = host_class(host)
        return self._met.get(host, PUBLIC) if literal is None else literal

    def _adapter(self, way: str, home: int) -> Adapter:
        if way != "foreign":
            return self._lax if way == "lax" else self._named

        def judge(_: str, address: str) -> None:
            if less_public(address_class(address), home):
                raise Refused(address)

        with self._lock:
            if home not in self._foreign:
                self._foreign[home] = Adapter(self._contexts.verified, judge)
            return self._foreign[home]

    def proxies(self, url: Url) -> dict[str, Secret]:
        """Return the proxies for an address: the given one, else the environment's."""
        if self._options.proxy == DIRECT:
            return {}
        if self._options.proxy is not None:
            return {"all": Secret(self._options.proxy.reveal())}
        if not self._options.trust_env:
            return {}
        return {
            name: Secret("socks5h" + value[6:] if value.startswith("socks5:") else value)
            for name, value in environ_proxies(str(Url(url.origin, "/"))).items()
        }

    def proxy(self, url: Url) -> Proxy | None:
        """Return the proxy that a request to an address goes through, None where it goes straight.

        One whose address cannot be read is `UNKNOWN`.
        """
        ways = self.proxies(url)
        if not ways:
            return None
        chosen = requests.utils.select_proxy(str(url), {k: v.reveal() for k, v in ways.items()})
        if not chosen:
            return None
        try:
            return parse_proxy(chosen)
        except InvalidArgument:
            return UNKNOWN

    def send(
        self,
        method: str,
        url: Url,
        headers: Mapping[str, str | Secret],
        *,
        way: str,
        home: str,
        attempt: int = 1,
        mirror: str | None = None,
        body: Sendable | None = None,
    ) -> Answer:
        """Send one request; ``way`` is ``"named"``, ``"lax"`` or ``"foreign"``.

        ``home`` is the host that the user named and that led here.

        Raises
        ------
        TransportError
            One of its leaves: no connection, no TLS, no answer in time.
        Unsupported
            The options say offline.
        OriginRefused
            A foreign place with an address less public than the registry's.
        """
        if self._options.offline:
            raise Unsupported(
                f"offline: {url.origin.netloc} is not asked",
                host=url.origin.netloc,
                hint="leave offline=True out",
            )
        home_class = self.home_class(home)
        if way == "foreign":
            _refuse_literal(url, home_class)
        role = "mirror" if mirror else "registry"
        if way == "foreign":
            # Whoever asks for a token takes what comes; content is asked for by its types.
            role = "content" if "Accept" in headers else "token server"
        row = self._log.begin(
            Row(method, url.origin.netloc, url.path, attempt, mirror, role, url.origin.scheme)
        )
        adapter = self._adapter(way, home_class)
        proxies: dict[str, Secret] = {}
        everything: dict[str, str | Secret] = {
            "User-Agent": _USER_AGENT,
            "Accept-Encoding": "identity",
            **headers,
        }
        try:
            proxies = self.proxies(url)
            response = open_answer(
                adapter,
                method,
                str(url),
                headers=everything,
                body=body,
                timeout=self._options.timeout,
                proxies=proxies,
            )
        except Refused as refusal:
            row.error = "OriginRefused"
            raise OriginRefused(
                f"{url.origin} has the address {refusal}, which is less public than the "
                "registry's own; nothing was sent to it",
                host=url.origin.netloc,
            ) from None
        except (requests.RequestException, u3.HTTPError, OSError, ValueError) as error:
            row.touch()
            check()  # it may have been cut off on purpose
            failure = failures.translate(error, url.origin, proxied=bool(proxies))
            row.error = type(failure).__name__
            log.debug("%s %s: %s", method, printable(url.redacted()), row.error)
            raise failure from None
        row.touch()
        row.status = response.status_code
        log.debug("%s %s: %d", method, printable(url.redacted()), row.status)
        if response.status_code == 407:
            response.close()
            row.error = "ProxyError"
            raise ProxyError(
                f"the proxy on the way to {url.origin.netloc} wants a login (407)",
                host=url.origin.netloc,
                hint="write it into the address: http://user:password@host:port",
                retryable=False,
            )
        return Answer(response, url, row)


def _refuse_literal(url: Url, home: int) -> None:
    # Behind a proxy the address is not seen, so what the name says must do.
    target = host_class(url.origin.host)
    if target is not None and less_public(target, home):
        raise OriginRefused(
            f"{url.origin} is less public than the registry that points to it; "
            "nothing was sent to it",
            host=url.origin.netloc,
        )
