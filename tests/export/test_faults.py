"""The fault matrix for saving: what goes wrong while a layer is fetched, once and for ever.

One row for each fault, by its number in the list of faults. Every row is run twice: the fault on
the first request only (most often the save succeeds), and on every one (most often a typed error).
Counted each time: requests for the layer, and bytes of it on the wire.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import ssl
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import trustme
from rig.actions import (
    LINGER_ZERO,
    Action,
    Exchange,
    HangUp,
    Request,
    change,
    chunked,
    corrupt,
    dribble,
    half_close_after,
    hang_up,
    ignore_range,
    raw,
    redirect,
    reset_after,
    respond,
    stall,
    too_many,
    until_close,
    with_headers,
    wrong_range,
)
from rig.faults import FaultServer
from rig.images import make_image

import didlab
from didlab import _pausing, errors
from didlab.errors import (
    AuthDenied,
    AuthRequired,
    BadHeader,
    BlobNotFound,
    ConnectFailed,
    ContentEncodingRefused,
    DigestMismatch,
    OriginRefused,
    ProtocolError,
    RateLimited,
    RealmRefused,
    ServerError,
    SizeMismatch,
    TimedOut,
    TlsFailed,
    TokenInvalid,
    TooManyRedirects,
    Truncated,
)
from didlab.export import places
from didlab.transport import client, endpoint, patience

NOISE = random.Random(33).randbytes(150_000)
IMAGE = make_image([{"data": NOISE}, {"etc/motd": b"hello"}])
LARGE = max(json.loads(IMAGE.manifest)["layers"], key=lambda layer: layer["size"])["digest"]
SIZE: int = max(layer["size"] for layer in json.loads(IMAGE.manifest)["layers"])
HALF = SIZE // 2

#: An outcome: saved, or the error.
OK = None
Outcome = type[errors.DidlabError] | tuple[type[errors.DidlabError], ...] | None
Expected = tuple[Outcome, int, float]


@dataclass(frozen=True)
class Build:
    """Makes the action, when the places are there."""

    make: Callable[[Rig], Action]


@dataclass(frozen=True)
class Row:
    """A fault: what it does, what comes of it once and for ever, and at what price.

    ``once`` and ``ever``: the outcome, the number of requests for the layer at all places, and the
    most of it on the wire, in sizes of the layer. ``how`` is where the fault strikes:

    - ``""``: at every request for the layer;
    - ``"resumed"``: at requests for ranges, after a first answer that breaks off in the middle;
    - ``"token"``: at the token server, after the token has run out;
    - ``"expired"``: at the layer, in a registry with tokens, after the token has run out;
    - ``"mirror"``: at the layer, in a mirror;
    - ``"everywhere"``: at the layer, in a mirror and in the registry;
    - ``"tls"``: at the layer, in a registry that speaks TLS.
    """

    name: str
    action: Action | Build
    once: Expected
    ever: Expected
    how: str = ""


class Rig:
    """A registry, and places that it may send to, for one test."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.stack = stack
        self.places: list[FaultServer] = []
        self.server = self.place()

    def place(self, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> FaultServer:
        made = self.stack.enter_context(FaultServer(address, tls=tls))
        made.add_image("lab/app", "1", IMAGE)
        self.places.append(made)
        return made

    def asked(self) -> list[Request]:
        """Return every request for the layer, at whatever place."""
        return [one for place in self.places for one in place.asked(LARGE)]

    def port(self, serve: Callable[[socket.socket], None]) -> str:
        """Return ``host:port`` of a place where each connection is given to ``serve``."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.stack.callback(listener.close)
        ended = threading.Event()
        self.stack.callback(listener.shutdown, socket.SHUT_RDWR)
        self.stack.callback(ended.set)

        def accept() -> None:
            while not ended.is_set():
                try:
                    near, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError):
                    serve(near)
                self.stack.callback(near.close)

        threading.Thread(target=accept, daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(places, "_memories", {})
    # Pauses between attempts are not what this is about.
    monkeypatch.setattr(_pausing, "random", SimpleNamespace(uniform=lambda *_: 0.02))
    client._clients.clear()
    endpoint._spoken.clear()
    with contextlib.ExitStack() as stack:
        yield Rig(stack)


def large(request: Request) -> bool:
    return LARGE in request.path


def ranged(request: Request) -> bool:
    return large(request) and request.range != ""


# --- actions that only these rows need -----------------------------------------------------------


def head(edit: Callable[[bytes], bytes], close: bool = True) -> Action:
    """The honest answer, the bytes of its head edited."""

    def act(exchange: Exchange) -> None:
        exchange.request.status = exchange.answer.status
        exchange.send(edit(exchange.answer.head()), body=False)
        exchange.send(exchange.answer.body)
        if close:
            exchange.half_close()

    return act


def line(text: bytes) -> Action:
    """The honest answer with one more line in its head."""
    return head(lambda data: data.replace(b"\r\n", b"\r\n" + text + b"\r\n", 1), close=False)


def length(text: str) -> Action:
    """The honest answer with another Content-Length, ended by the end of the connection."""
    old = re.compile(rb"Content-Length: [0-9]+")
    return head(lambda data: old.sub(b"Content-Length: " + text.encode(), data))


def before(data: bytes, times: int = 1) -> Action:
    """Interim answers before the honest one."""

    def act(exchange: Exchange) -> None:
        for _ in range(times):
            exchange.send(data, body=False)
        exchange.finish()

    return act


def break_head(reset: bool) -> Action:
    """Half of the head, then the end of the connection."""

    def act(exchange: Exchange) -> None:
        data = exchange.answer.head()
        exchange.send(data[: len(data) // 2], body=False)
        if reset:
            exchange.wait(0.05)
            exchange.reset()
        exchange.half_close()

    return act


def slow_head(pause: float) -> Action:
    """The head, byte by byte: each within the timeout, the whole not."""

    def act(exchange: Exchange) -> None:
        for byte in exchange.answer.head():
            exchange.send(bytes([byte]), body=False)
            exchange.wait(pause)
        exchange.send(exchange.answer.body)

    return act


def reset(exchange: Exchange) -> None:
    exchange.reset()


def end_without_length(exchange: Exchange) -> None:
    headers = {**exchange.answer.headers, "Content-Length": "", "Connection": "close"}
    exchange.answer = replace(exchange.answer, headers=headers, body=exchange.answer.body[:HALF])
    exchange.finish()
    exchange.half_close()


def http10(exchange: Exchange) -> None:
    """HTTP/1.0, no length, the end of the connection ends the body."""
    exchange.request.status = 200
    exchange.send(b"HTTP/1.0 200 OK\r\n\r\n", body=False)
    exchange.send(exchange.answer.body)
    exchange.half_close()


def cut_chunked(exchange: Exchange) -> None:
    exchange.answer = replace(exchange.answer, body=exchange.answer.body[:HALF])
    chunked(end=False)(exchange)


def chunk_size(text: bytes) -> Action:
    """Transfer coding with a strange size of the first chunk."""

    def act(exchange: Exchange) -> None:
        headers = {**exchange.answer.headers, "Content-Length": "", "Transfer-Encoding": "chunked"}
        exchange.answer = replace(exchange.answer, headers=headers)
        exchange.head()
        exchange.send(text + b"\r\n", body=False)
        exchange.send(exchange.answer.body[:HALF])
        exchange.half_close()

    return act


def body(edit: Callable[[bytes], bytes]) -> Action:
    return change(lambda answer, _: replace(answer, body=edit(answer.body)))


def keep_length(edit: Callable[[bytes], bytes]) -> Action:
    """Another body under the announcement of the right length; then the end."""

    def act(exchange: Exchange) -> None:
        exchange.head()
        exchange.send(edit(exchange.answer.body))
        exchange.half_close()

    return act


def coded(coding: str) -> Action:
    return with_headers(Content_Encoding=coding)


def to(url: str, status: int = 307) -> Build:
    """Send to an address; ``{server}`` and ``{host}`` stand for the registry's own."""
    return Build(
        lambda rig: redirect(url.format(server=rig.server.url, host=rig.server.host), status)
    )


def same_path(base: str, status: int = 307, query: str = "") -> Action:
    """Send to the same path at another place."""
    return lambda exchange: redirect(base + exchange.request.target + query, status)(exchange)


def elsewhere(status: int = 307, address: str = "127.0.0.1") -> Build:
    """Send to another registry, which has the blob."""
    return Build(lambda rig: same_path(rig.place(address).url, status))


def dead(serve: Callable[[socket.socket], None], scheme: str = "http") -> Build:
    """Send to a place that does this to each connection."""
    return Build(lambda rig: redirect(f"{scheme}://{rig.port(serve)}/blob"))


def again(exchange: Exchange) -> None:
    """Send to the same with a query, once."""
    (Exchange.finish if exchange.request.query else same_path("", 301, "?again=1"))(exchange)


def close_after(exchange: Exchange) -> None:
    """A connection that could be kept is closed."""
    exchange.finish()
    raise HangUp


def reset_later(exchange: Exchange) -> None:
    """A connection that could be kept is reset."""
    exchange.finish()
    exchange.wait(0.05)
    exchange.reset()


def to_origin(rig: Rig) -> Action:
    return same_path(rig.server.url)


def realm(url: str) -> Build:
    """A challenge that sends to another token server."""

    def build(rig: Rig) -> Action:
        other = rig.place("127.0.0.2")
        where = url.format(server=rig.server.url, other=other.url)
        return challenge(f'Bearer realm="{where}",service="x",scope="repository:lab/app:pull"')

    return Build(build)


def token(text: str) -> Action:
    """An answer of the token server."""
    return respond(200, {"Content-Type": "application/json"}, text.encode())


def good_token(fields: str) -> Build:
    """A token that works, described in strange words."""

    def build(rig: Rig) -> Action:
        def act(exchange: Exchange) -> None:
            given = json.loads(exchange.answer.body)["token"]
            token(fields.replace("TOKEN", given))(exchange)

        return act

    return Build(build)


def rst(near: socket.socket) -> None:
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    near.close()


def rst_later(near: socket.socket) -> None:
    """Reset once the other side has begun to speak."""
    near.recv(1)
    rst(near)


def plain_http(near: socket.socket) -> None:
    near.recv(1)
    near.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def closed_port(_: Rig) -> Action:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return redirect(f"http://127.0.0.1:{port}/blob")


def full_backlog(rig: Rig) -> Action:
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    rig.stack.callback(listener.close)
    for _ in range(3):  # fill it; whoever comes next waits
        sock = socket.socket()
        rig.stack.callback(sock.close)
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
    return redirect(f"http://127.0.0.1:{listener.getsockname()[1]}/blob")


def tls_place(certificate: Callable[[trustme.CA], trustme.LeafCert]) -> Build:
    """Send to a place whose certificate is not to be trusted."""

    def build(rig: Rig) -> Action:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate(trustme.CA()).configure_cert(context)
        return same_path(rig.place(tls=context).url)

    return Build(build)


def day(offset: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=offset)


def tls_on_plain(rig: Rig) -> Action:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    other = rig.place(tls=context)
    return same_path(f"http://{other.host}")


def every_second(action: Action) -> Action:
    """Every second request fails."""
    seen = []

    def act(exchange: Exchange) -> None:
        seen.append(exchange)
        (action if len(seen) % 2 else Exchange.finish)(exchange)

    return act


def now_and_then(exchange: Exchange) -> None:
    """Some bytes, then a reset: more than what counts as progress."""
    reset_after(70_000)(exchange)


def twice(exchange: Exchange) -> None:
    """Two Content-Ranges."""
    data = exchange.answer.head()
    found = re.search(rb"Content-Range: [^\r]*\r\n", data)
    assert found is not None
    exchange.request.status = 206
    exchange.send(data.replace(found[0], found[0] * 2), body=False)
    exchange.send(exchange.answer.body)
    exchange.half_close()


def content_range(total: str = "", shift: int = 0, short: int = 0) -> Action:
    """The right bytes under another Content-Range."""

    def act(exchange: Exchange) -> None:
        first, last, size = re.findall(r"[0-9]+", exchange.answer.headers["Content-Range"])
        value = f"bytes {int(first) + shift}-{int(last) - short}/{total or size}"
        wrong_range(value)(exchange)

    return act


def multipart(exchange: Exchange) -> None:
    given = exchange.answer.headers["Content-Range"]
    part = f"--b\r\nContent-Range: {given}\r\n\r\n".encode() + exchange.answer.body + b"\r\n--b--"
    respond(206, {"Content-Type": "multipart/byteranges; boundary=b"}, part)(exchange)


def location_with_cr(exchange: Exchange) -> None:
    data = b"HTTP/1.1 307 Told\r\nLocation: /a\rX-Evil: 1\r\nContent-Length: 0\r\n\r\n"
    exchange.send(data, body=False)


def challenge(text: str) -> Action:
    return respond(401, {"WWW-Authenticate": text} if text else {})


def expired_address(rig: Rig) -> Action:
    """Ranges are redirected to an address that has expired."""
    store = rig.place("127.0.0.2")
    store.rule(large, respond(403, {}, b"<Error><Code>AccessDenied</Code></Error>"), times=None)
    return same_path(store.url)


def elsewhere_corrupt(exchange: Exchange) -> None:
    """What another host has under the name: other bytes, in the right range."""
    count = len(exchange.answer.body)
    exchange.answer = replace(exchange.answer, body=bytes(count))
    exchange.finish()


# --- the table -----------------------------------------------------------------------------------

ROWS: list[Row] = []
#: A reset may be seen while connecting, or by who reads then.
RESET = (ConnectFailed, Truncated)


def row(name: str, action: Action | Build, once: Expected, ever: Expected, how: str = "") -> None:
    ROWS.append(Row(name, action, once, ever, how))


row("N01", Build(closed_port), (OK, 2, 1.01), (ConnectFailed, 10, 0.01))
row("N02", dead(socket.socket.close), (OK, 2, 1.01), (Truncated, 10, 0.01))
row("N03", dead(rst), (OK, 2, 1.01), (RESET, 10, 0.01))
row("N04", Build(full_backlog), (OK, 2, 1.01), (TimedOut, 10, 0.01))
row("N05", to("http://nowhere.invalid/blob"), (OK, 2, 1.01), (ConnectFailed, 10, 0.01))
row("N08", reset, (OK, 2, 1.01), (Truncated, 10, 0.01))
row("N09", hang_up, (OK, 2, 1.01), (Truncated, 10, 0.01))
row("N10", break_head(reset=True), (OK, 2, 1.01), (Truncated, 10, 0.01))
row("N11", break_head(reset=False), (OK, 2, 1.01), (Truncated, 5, 0.01))
row("N12", reset_after(1), (OK, 2, 1.01), (Truncated, 5, 0.01))
row("N13", reset_after(HALF), (OK, 2, 1.01), (OK, 3, 1.01))
row("N14", reset_after(SIZE - 1), (OK, 2, 1.01), (OK, 2, 1.01))
row("N15", half_close_after(HALF), (OK, 2, 1.01), (OK, 3, 1.01))
row("N16", cut_chunked, (OK, 2, 1.01), (OK, 3, 1.01))
row("N17", end_without_length, (OK, 2, 1.01), (OK, 3, 1.01))
row("N18", stall(30), (OK, 2, 1.01), (TimedOut, 5, 0.01))
row("N19", stall(30, after=HALF), (OK, 2, 1.01), (OK, 3, 1.01))
row("N20", slow_head(0.05), (OK, 2, 1.01), (TimedOut, 10, 0.01))
row("N21", dribble(1, 0.05), (OK, 2, 1.01), (TimedOut, 5, 0.01))
row("N25", Build(lambda _: every_second(hang_up)), (OK, 2, 1.01), (OK, 2, 1.01))
row("N26", now_and_then, (OK, 2, 1.01), (OK, 3, 1.01))
row("N22", close_after, (OK, 1, 1.01), (OK, 1, 1.01))
row("N23", reset_later, (OK, 1, 1.01), (OK, 1, 1.01))
row(
    "T01",
    tls_place(lambda ca: ca.issue_cert("127.0.0.1")),
    (TlsFailed, 1, 0.01),
    (TlsFailed, 1, 0.01),
)
row(
    "T02",
    tls_place(lambda ca: ca.issue_cert("elsewhere.example")),
    (TlsFailed, 1, 0.01),
    (TlsFailed, 1, 0.01),
)
row(
    "T03",
    tls_place(lambda ca: ca.issue_cert("127.0.0.1", not_before=day(-9), not_after=day(-1))),
    (TlsFailed, 1, 0.01),
    (TlsFailed, 1, 0.01),
)
row(
    "T04",
    tls_place(lambda ca: ca.issue_cert("127.0.0.1", not_before=day(1), not_after=day(9))),
    (TlsFailed, 1, 0.01),
    (TlsFailed, 1, 0.01),
)
row("T07", dead(lambda _: None, "https"), (OK, 2, 1.01), (TimedOut, 10, 0.01))
row("T08", dead(rst_later, "https"), (OK, 2, 1.01), (Truncated, 10, 0.01))
row("T09", half_close_after(HALF), (OK, 2, 1.01), (OK, 3, 1.01), how="tls")
row("T10", dead(plain_http, "https"), (TlsFailed, 1, 0.01), (TlsFailed, 1, 0.01))
row("T11", Build(tls_on_plain), (OK, 2, 1.01), (Truncated, 10, 0.01))
row("S01", respond(400), (ProtocolError, 1, 0.01), (ProtocolError, 1, 0.01))
row("S02", challenge(""), (AuthRequired, 1, 0.01), (AuthRequired, 1, 0.01))
row("S04", respond(402), (ProtocolError, 1, 0.01), (ProtocolError, 1, 0.01))
row(
    "S05",
    respond(403, {"Content-Type": "application/json"}, b'{"errors":[{"code":"DENIED"}]}'),
    (AuthRequired, 1, 0.01),
    (AuthRequired, 1, 0.01),
)
row(
    "S06",
    respond(404, {}, b'{"errors":[{"code":"NAME_UNKNOWN"}]}'),
    (BlobNotFound, 2, 0.01),
    (BlobNotFound, 2, 0.01),
)
row(
    "S07",
    respond(404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'),
    (BlobNotFound, 2, 0.01),
    (BlobNotFound, 2, 0.01),
)
row(
    "S08",
    respond(404, {"Content-Type": "text/html"}, b"<html>no</html>"),
    (BlobNotFound, 2, 0.01),
    (BlobNotFound, 2, 0.01),
)
row("S09", respond(405), (ProtocolError, 1, 0.01), (ProtocolError, 1, 0.01))
row("S10", respond(406), (ProtocolError, 1, 0.01), (ProtocolError, 1, 0.01))
row("S11", respond(408), (OK, 2, 1.01), (ServerError, 10, 0.01))
row("S12", respond(409), (ProtocolError, 1, 0.01), (ProtocolError, 1, 0.01))
row("S13", respond(410), (BlobNotFound, 1, 0.01), (BlobNotFound, 1, 0.01))
row("S14", respond(412), (ProtocolError, 1, 0.01), (ProtocolError, 1, 0.01))
row("S15", respond(418), (ProtocolError, 1, 0.01), (ProtocolError, 1, 0.01))
row("S16", respond(421), (ProtocolError, 1, 0.01), (ProtocolError, 1, 0.01))
row("S17", too_many(""), (OK, 2, 1.01), (RateLimited, 2, 0.01))
row("S18", too_many("1"), (OK, 2, 1.01), (RateLimited, 3, 0.01))
row("S19", too_many("1000000000"), (RateLimited, 1, 0.01), (RateLimited, 1, 0.01))
row("S20", too_many("Wed, 21 Oct 2015 07:28:00 GMT"), (OK, 2, 1.01), (RateLimited, 2, 0.01))
row("S21", too_many("soon"), (OK, 2, 1.01), (RateLimited, 2, 0.01))
row("S22", respond(451), (ProtocolError, 1, 0.01), (ProtocolError, 1, 0.01))
row("S23", respond(500), (OK, 2, 1.01), (ServerError, 10, 0.01))
row("S24", respond(501), (OK, 2, 1.01), (ServerError, 5, 0.01))
row("S25", respond(502), (OK, 2, 1.01), (ServerError, 10, 0.01))
row("S26", respond(503, {"Retry-After": "1"}), (OK, 2, 1.01), (RateLimited, 3, 0.01))
row("S27", respond(504), (OK, 2, 1.01), (ServerError, 10, 0.01))
row("S28", respond(507), (OK, 2, 1.01), (ServerError, 5, 0.01))
row("S29", respond(511), (OK, 2, 1.01), (ServerError, 5, 0.01))
row(
    "S30",
    before(b"HTTP/1.1 100 Continue\r\n\r\n", 1000),
    (ProtocolError, 1, 1.01),
    (ProtocolError, 1, 1.01),
)
row("S31", before(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), (OK, 1, 1.01), (OK, 1, 1.01))
row("S32", respond(204), (ProtocolError, 1, 0.01), (ProtocolError, 1, 0.01))
row("S33", respond(304), (ProtocolError, 1, 0.01), (ProtocolError, 1, 0.01))
row("S34", respond(999), (ProtocolError, 1, 0.01), (ProtocolError, 1, 0.01))
row("H01", with_headers(Content_Type=""), (OK, 1, 1.01), (OK, 1, 1.01))
row("H02", with_headers(Content_Type="text/html"), (OK, 1, 1.01), (OK, 1, 1.01))
row(
    "H03",
    with_headers(Content_Type="application/octet-stream; charset=x"),
    (OK, 1, 1.01),
    (OK, 1, 1.01),
)
row("H04", line(b"Content-Type: text/html"), (OK, 1, 1.01), (OK, 1, 1.01))
row("H05", with_headers(Docker_Content_Digest=""), (OK, 1, 1.01), (OK, 1, 1.01))
row("H06", with_headers(Docker_Content_Digest="sha256:" + "0" * 64), (OK, 1, 1.01), (OK, 1, 1.01))
row("H07", with_headers(Docker_Content_Digest="nonsense"), (OK, 1, 1.01), (OK, 1, 1.01))
row("H08", with_headers(Docker_Content_Digest=LARGE.upper()), (OK, 1, 1.01), (OK, 1, 1.01))
row("H09", with_headers(Docker_Content_Digest="md5:" + "0" * 32), (OK, 1, 1.01), (OK, 1, 1.01))
row("H10", line(b"Docker-Content-Digest: sha256:" + b"0" * 64), (OK, 1, 1.01), (OK, 1, 1.01))
row("H11", until_close, (OK, 1, 1.01), (OK, 1, 1.01))
row("H12", length("0"), (OK, 2, 2.01), (SizeMismatch, 2, 2.01))
row("H13", length("100"), (OK, 2, 2.01), (SizeMismatch, 2, 2.01))
row("H14", length(str(SIZE + 1)), (OK, 2, 2.01), (SizeMismatch, 2, 2.01))
row("H15", length("-1"), (BadHeader, 1, 1.01), (BadHeader, 1, 1.01))
row("H16", length("+5"), (BadHeader, 1, 1.01), (BadHeader, 1, 1.01))
row("H17", length("1_000"), (BadHeader, 1, 1.01), (BadHeader, 1, 1.01))
row("H18", line(f"Content-Length: {SIZE - 1}".encode()), (BadHeader, 1, 1.01), (BadHeader, 1, 1.01))
row("H19", line(b"Transfer-Encoding: chunked"), (BadHeader, 1, 1.01), (BadHeader, 1, 1.01))
row("H20", line(b"Transfer-Encoding: gzip"), (BadHeader, 1, 1.01), (BadHeader, 1, 1.01))
row("H21", line(b"X-Folded: a\r\n b"), (OK, 1, 1.01), (OK, 1, 1.01))
row("H22", line(b"X-Long: " + b"x" * 1024 * 1024), (BadHeader, 1, 1.01), (BadHeader, 1, 1.01))
row(
    "H23",
    line(b"\r\n".join(b"X-%d: y" % n for n in range(10_000))),
    (BadHeader, 1, 1.01),
    (BadHeader, 1, 1.01),
)
row("H24", line(b"X-Nul: a\0b"), (OK, 1, 1.01), (OK, 1, 1.01))
row("H25", line(b"X-Bare: a\rb"), (OK, 1, 1.01), (OK, 1, 1.01))
row("H26", line("X-Name: \u5317\u4eac".encode()), (OK, 1, 1.01), (OK, 1, 1.01))
row("H27", coded("gzip"), (ContentEncodingRefused, 1, 1.01), (ContentEncodingRefused, 1, 1.01))
row(
    "H28",
    coded(", ".join(["gzip"] * 6)),
    (ContentEncodingRefused, 1, 1.01),
    (ContentEncodingRefused, 1, 1.01),
)
row(
    "H29",
    coded("brotli-of-tomorrow"),
    (ContentEncodingRefused, 1, 1.01),
    (ContentEncodingRefused, 1, 1.01),
)
row("H30", coded("identity"), (OK, 1, 1.01), (OK, 1, 1.01))
row("H31", raw(b"<html>hello</html>"), (ProtocolError, 1, 0.01), (ProtocolError, 1, 0.01))
row("H32", http10, (OK, 1, 1.01), (OK, 1, 1.01))
row("H33", with_headers(Set_Cookie="a=b; Path=/"), (OK, 1, 1.01), (OK, 1, 1.01))
row("H34", chunk_size(b"nonsense"), (OK, 2, 1.51), (Truncated, 5, 2.51))
row("H35", chunk_size(b"10000000000000000"), (OK, 2, 1.01), (OK, 3, 1.01))
row(
    "H36",
    head(lambda data: data.replace(b"\r\n", b"\r\nTrailer: X-After\r\n", 1)),
    (OK, 1, 1.01),
    (OK, 1, 1.01),
)
row("R01", ignore_range, (OK, 2, 1.51), (OK, 2, 1.51), how="resumed")
row("R02", content_range(shift=1), (OK, 3, 2.01), (OK, 3, 2.01), how="resumed")
row("R03", content_range(short=1), (OK, 3, 2.01), (OK, 3, 2.01), how="resumed")
row("R04", wrong_range(""), (OK, 3, 2.01), (OK, 3, 2.01), how="resumed")
row("R05", twice, (OK, 3, 2.01), (OK, 3, 2.01), how="resumed")
row("R06", content_range(total=str(SIZE + 1)), (OK, 3, 2.01), (OK, 3, 2.01), how="resumed")
row("R07", content_range(total="*"), (OK, 2, 1.01), (OK, 2, 1.01), how="resumed")
row("R08", multipart, (OK, 3, 2.01), (OK, 3, 2.01), how="resumed")
row("R09", body(lambda data: data + b"x"), (OK, 3, 1.51), (SizeMismatch, 3, 1.51), how="resumed")
row("R10", body(lambda data: data[:-1]), (OK, 3, 1.01), (Truncated, 6, 1.01), how="resumed")
row(
    "R11",
    respond(416, {"Content-Range": f"bytes */{SIZE}"}),
    (OK, 3, 1.51),
    (OK, 3, 1.51),
    how="resumed",
)
row(
    "R12",
    respond(416, {"Content-Range": "bytes */10"}),
    (OK, 3, 1.51),
    (OK, 3, 1.51),
    how="resumed",
)
row("R13", respond(416), (OK, 3, 1.51), (OK, 3, 1.51), how="resumed")
row("R14", with_headers(ETag='"other"'), (OK, 2, 1.01), (OK, 2, 1.01), how="resumed")
row("R15", with_headers(ETag='W/"weak"'), (OK, 2, 1.01), (OK, 2, 1.01), how="resumed")
row(
    "R16",
    with_headers(ETag="", Last_Modified="Wed, 21 Oct 2015 07:28:00 GMT"),
    (OK, 2, 1.01),
    (OK, 2, 1.01),
    how="resumed",
)
row("R17", elsewhere_corrupt, (OK, 3, 2.01), (OK, 3, 2.01), how="resumed")
row(
    "R18",
    coded("gzip"),
    (ContentEncodingRefused, 2, 1.01),
    (ContentEncodingRefused, 2, 1.01),
    how="resumed",
)
row("R20", with_headers(Accept_Ranges="none"), (OK, 2, 1.01), (OK, 2, 1.01), how="resumed")
row("R21", corrupt(-1), (OK, 3, 2.01), (OK, 3, 2.01), how="resumed")
row("R22", Exchange.finish, (OK, 2, 1.01), (OK, 2, 1.01), how="expired")
row("R23", Build(expired_address), (OK, 4, 1.01), (AuthDenied, 5, 0.51), how="resumed")
row("R25", half_close_after(64 * 1024), (OK, 2, 1.01), (OK, 3, 1.01))
row("D01", again, (OK, 2, 1.01), (OK, 2, 1.01))
row("D02", elsewhere(302, "127.0.0.2"), (OK, 2, 1.01), (OK, 2, 1.01))
row("D03", elsewhere(303), (OK, 2, 1.01), (OK, 2, 1.01))
row("D04", elsewhere(307, "127.0.0.2"), (OK, 2, 1.01), (OK, 2, 1.01))
row("D05", elsewhere(308), (OK, 2, 1.01), (OK, 2, 1.01))
row("D08", same_path(""), (TooManyRedirects, 1, 0.01), (TooManyRedirects, 1, 0.01))
row("D09", to("{server}/a"), (TooManyRedirects, 1, 0.01), (TooManyRedirects, 1, 0.01))
row("D10", to("{server}/chain/0"), (TooManyRedirects, 1, 0.01), (TooManyRedirects, 1, 0.01))
row("D16", to("file:///etc/passwd"), (OriginRefused, 1, 0.01), (OriginRefused, 1, 0.01))
row("D17", to("//nowhere.invalid/blob"), (OK, 2, 1.01), (ConnectFailed, 10, 0.01))
row("D18", to("http://user:secret@{host}/x"), (OriginRefused, 1, 0.01), (OriginRefused, 1, 0.01))
row("D19", location_with_cr, (TooManyRedirects, 1, 0.01), (TooManyRedirects, 1, 0.01))
row("D20", to("{server}/" + "a" * 65_000), (OriginRefused, 1, 0.01), (OriginRefused, 1, 0.01))
row("D21", respond(307), (ProtocolError, 1, 0.01), (ProtocolError, 1, 0.01))
row("D22", to("{server}/v2/../../etc/passwd"), (BlobNotFound, 2, 0.01), (BlobNotFound, 2, 0.01))
row("B01", corrupt(HALF), (OK, 2, 2.01), (DigestMismatch, 2, 2.01))
row("B02", body(lambda data: data[:-1]), (OK, 2, 2.01), (SizeMismatch, 2, 2.01))
row("B03", body(lambda data: data + b"x"), (OK, 2, 2.01), (SizeMismatch, 2, 2.01))
row("B04", body(lambda data: bytes(len(data))), (OK, 2, 2.01), (DigestMismatch, 2, 2.01))
row("B05", body(lambda data: b""), (OK, 2, 1.01), (SizeMismatch, 2, 0.01))
row("A01", realm("{other}/token"), (OK, 2, 1.01), (AuthRequired, 2, 0.01))
row("A02", realm("http://127.0.0.3:9/token"), (ConnectFailed, 1, 0.01), (ConnectFailed, 1, 0.01))
row("A04", realm("file:///etc/passwd"), (RealmRefused, 1, 0.01), (RealmRefused, 1, 0.01))
row(
    "A05",
    realm("http://user:secret@127.0.0.1/token"),
    (RealmRefused, 1, 0.01),
    (RealmRefused, 1, 0.01),
)
row("A06", challenge('Bearer service="x"'), (AuthDenied, 1, 0.01), (AuthDenied, 1, 0.01))
row("A07", challenge('Bearer realm=""'), (AuthDenied, 1, 0.01), (AuthDenied, 1, 0.01))
row("A08", realm("/token"), (RealmRefused, 1, 0.01), (RealmRefused, 1, 0.01))
row(
    "A09",
    challenge('Basic realm="x", Bearer realm="/token"'),
    (RealmRefused, 1, 0.01),
    (RealmRefused, 1, 0.01),
)
row("A10", challenge("Negotiate"), (AuthDenied, 1, 0.01), (AuthDenied, 1, 0.01))
row("A11", challenge('Bearer realm="x'), (BadHeader, 1, 0.01), (BadHeader, 1, 0.01))
row(
    "A12",
    challenge('Bearer realm="' + "x" * 64 * 1024 + '"'),
    (BadHeader, 1, 0.01),
    (BadHeader, 1, 0.01),
)
row("A15", respond(401), (AuthRequired, 1, 0.01), (AuthRequired, 1, 0.01), how="token")
row("A16", respond(403), (AuthRequired, 1, 0.01), (AuthRequired, 1, 0.01), how="token")
row(
    "A17",
    respond(200, {"Content-Type": "text/html"}, b"<html>log in</html>"),
    (TokenInvalid, 1, 0.01),
    (TokenInvalid, 1, 0.01),
    how="token",
)
row("A18", token("{}"), (TokenInvalid, 1, 0.01), (TokenInvalid, 1, 0.01), how="token")
row("A19", token('{"token": 7}'), (TokenInvalid, 1, 0.01), (TokenInvalid, 1, 0.01), how="token")
row(
    "A20",
    token('{"token": "a\\r\\nX: y"}'),
    (TokenInvalid, 1, 0.01),
    (TokenInvalid, 1, 0.01),
    how="token",
)
row(
    "A21",
    token('{"token": "' + "x" * 10_000_000 + '"}'),
    (TokenInvalid, 1, 0.01),
    (TokenInvalid, 1, 0.01),
    how="token",
)
row(
    "A22",
    good_token('{"token": "TOKEN", "expires_in": 0}'),
    (OK, 2, 1.01),
    (OK, 2, 1.01),
    how="token",
)
row(
    "A23",
    good_token('{"token": "TOKEN", "expires_in": -1}'),
    (OK, 2, 1.01),
    (OK, 2, 1.01),
    how="token",
)
row(
    "A24",
    good_token('{"token": "TOKEN", "expires_in": 1000000000000000000}'),
    (OK, 2, 1.01),
    (OK, 2, 1.01),
    how="token",
)
row(
    "A25",
    good_token('{"token": "TOKEN", "issued_at": "2999-01-01T00:00:00Z"}'),
    (OK, 2, 1.01),
    (OK, 2, 1.01),
    how="token",
)
row("A26", half_close_after(HALF), (OK, 2, 1.01), (OK, 4, 1.01), how="expired")
row(
    "A27",
    Build(lambda rig: same_path(rig.place("127.0.0.2").url)),
    (OriginRefused, 1, 0.01),
    (OriginRefused, 1, 0.01),
    how="token",
)
row("A28", respond(500), (OK, 2, 1.01), (ServerError, 1, 0.01), how="token")
row(
    "A29",
    good_token('{"token": "TOKEN", "access_token": "other"}'),
    (OK, 2, 1.01),
    (OK, 2, 1.01),
    how="token",
)
row("A30", realm("{server}/token"), (OK, 2, 1.01), (AuthRequired, 2, 0.01), how="expired")
row("P11", respond(404), (OK, 3, 1.01), (OK, 3, 1.01), how="mirror")
row("P12", respond(401), (OK, 2, 1.01), (OK, 2, 1.01), how="mirror")
row(
    "P13",
    respond(200, {"Content-Type": "text/html"}, b"<html>log in</html>"),
    (OK, 2, 1.01),
    (OK, 2, 1.01),
    how="mirror",
)
row("P14", corrupt(HALF), (OK, 2, 2.01), (OK, 2, 2.01), how="mirror")
row("P16", hang_up, (OK, 2, 1.01), (OK, 5, 1.01), how="mirror")
row("P17", hang_up, (OK, 2, 1.01), (Truncated, 14, 0.01), how="everywhere")
row("P18", Build(to_origin), (OK, 2, 1.01), (OK, 2, 1.01), how="mirror")


def matcher(how: str) -> Callable[[Request], bool]:
    if how == "token":
        return lambda request: request.path == "/token"
    return ranged if how == "resumed" else large


def save(rig: Rig, one: Row, times: int | None, target: Path) -> didlab.SaveReport:
    """Save through the fault."""
    server, more = rig.server, {}
    if one.how == "tls":
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        server = rig.place(tls=context)
        authority.cert_pem.write_to_path(str(target.with_suffix(".pem")))
        more["ca"] = target.with_suffix(".pem")
    if one.how in ("token", "expired"):
        server.auth = "bearer"
    # Where no row waits for it, only a machine that is too busy would meet it.
    seconds = 0.4 if one.name in QUICK else 60.0
    action = one.action.make(rig) if isinstance(one.action, Build) else one.action
    faulty = [server]
    if one.how in ("mirror", "everywhere"):
        mirror = rig.place("127.0.0.2")
        more["mirrors"] = [mirror.url]
        more["insecure"] = [mirror.host]
        faulty = [mirror] if one.how == "mirror" else [mirror, server]
    image = didlab.open(f"{server.host}/lab/app:1", timeout=(seconds, seconds), **more)
    image.config()
    server.valid.clear()
    if one.how == "resumed":
        server.rule(large, half_close_after(HALF), times=1)
    for place in faulty:
        place.rule(matcher(one.how), action, times=times)
    server.rule(lambda request: request.path == "/a", redirect(f"{server.url}/b"))
    server.rule(lambda request: request.path == "/b", redirect(f"{server.url}/a"))
    server.rule(lambda request: request.path.startswith("/chain/"), longer_chain)
    if one.how == "token":
        # The small layer needs a token as well. Asked for first, it would fetch the one for both,
        # or end the save: it comes second.
        server.rule(small, once_asked(rig))
    return image.save(target, progress=False, wait=2)


def small(request: Request) -> bool:
    return "/blobs/" in request.path and not large(request)


def once_asked(rig: Rig) -> Action:
    """Return an action that answers when the large layer was asked for."""

    def act(exchange: Exchange) -> None:
        while not rig.asked():
            exchange.wait(0.002)
        exchange.finish()

    return act


#: Rows about waiting: the limits are shortened.
QUICK = ("N04", "N18", "N19", "N20", "N21", "T07")


def longer_chain(exchange: Exchange) -> None:
    redirect(f"/chain/{int(exchange.request.path[7:]) + 1}")(exchange)


#: Rows of the list that cannot strike a layer on its way, and where they are looked at instead.
ELSEWHERE = {
    "N06 N07": "names are resolved for the first request: tests/transport/test_network.py",
    "N24": "a request for a layer has no body that could be cut short",
    "T05": "as T01: the rig's own authority is unknown to everybody",
    "T06": "today's OpenSSL does not serve TLS 1.0",
    "T12": "met at the first request: tests/transport/test_network.py",
    "S03": "A30",
    "R19": "Dragonfly's way: tests/transport/test_quirks.py",
    "R24": "nobody asks for a layer by HEAD",
    "A03": "addresses less public than the registry: tests/transport/test_canaries.py",
    "A13 A14": "what a challenge asks for: tests/transport/test_quirks.py",
    "D06": "needs a registry with TLS: tests/transport/test_canaries.py",
    "D07": "T01 to T04 go from http to https",
    "D11 D12 D13 D14 D15": "addresses less public: tests/transport/test_canaries.py",
    "P15": "a layer is asked for by its digest, so there is nothing stale",
}
#: The groups that concern a transfer, and how many there are of each.
GROUPS = {"N": 26, "T": 12, "S": 34, "H": 36, "R": 25, "A": 30, "D": 22}


def test_the_list_is_complete():
    wanted = [f"{group}{number:02}" for group, n in GROUPS.items() for number in range(1, n + 1)]
    wanted += [f"B{number:02}" for number in range(1, 6)]
    wanted += [f"P{number}" for number in range(11, 19)]
    there = [one.name for one in ROWS] + " ".join(ELSEWHERE).split()
    assert sorted(there) == sorted(wanted)


@pytest.mark.parametrize("times", [1, None], ids=["once", "ever"])
@pytest.mark.parametrize("one", ROWS, ids=lambda one: one.name)
def test_fault(rig, one, times, tmp_path, monkeypatch):
    monkeypatch.setattr(patience, "LEAST_RATE_OVER", 0.5)
    outcome, requests, wire = one.once if times else one.ever
    target = tmp_path / "app.tar"
    if outcome is OK:
        save(rig, one, times, target)
        assert layer_in(target) == rig.server.blobs[LARGE]
    else:
        with pytest.raises(errors.DidlabError) as caught:
            save(rig, one, times, target)
        assert type(caught.value) in (outcome if isinstance(outcome, tuple) else (outcome,))
        assert not target.exists()
        assert "secret" not in str(caught.value)
    asked = rig.asked()
    assert len(asked) == requests
    assert sum(request.sent for request in asked) <= wire * SIZE
    # Nothing is asked for endlessly elsewhere either: tokens, addresses, manifests.
    assert sum(len(place.requests) for place in rig.places) <= 40
    assert [t.name for t in threading.enumerate() if t.name.startswith("didlab-fetch")] == []


def layer_in(path: Path) -> bytes:
    """Read the layer from a saved file, as any tool would."""
    with tarfile.open(path) as tar:
        member = tar.extractfile("blobs/sha256/" + LARGE.partition(":")[2])
        assert member is not None
        return member.read()


def test_who_reads_slowly_is_not_to_blame(rig, monkeypatch):
    """Only waiting for the other side counts against its rate."""
    monkeypatch.setattr(patience, "LEAST_RATE_OVER", 0.5)
    monkeypatch.setattr(patience, "LEAST_RATE", 10**8)
    rig.server.rule(large, dribble(30_000, 0.01))
    layer = didlab.open(f"{rig.server.host}/lab/app:1").layer(LARGE)
    came = 0
    for number, piece in enumerate(layer.stream()):
        came += len(piece)
        if number < 2:
            time.sleep(0.7)
    assert came == SIZE
    assert len(rig.asked()) == 1
