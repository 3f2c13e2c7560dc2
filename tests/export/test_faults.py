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
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from rig.actions import (
    LINGER_ZERO,
    Action,
    Answer,
    Exchange,
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
    ContentEncodingRefused,
    DigestMismatch,
    OriginRefused,
    ProtocolError,
    RateLimited,
    SizeMismatch,
    TlsFailed,
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
Outcome = type[errors.DidlabError] | None


@dataclass(frozen=True)
class Row:
    """A fault: what it does, what comes of it once and for ever, and at what price.

    ``requests`` and ``wire`` (in sizes of the layer) are those of the fault for ever, ``once`` those of
    the fault on the first request. ``resumed``: it hits requests for ranges, after a first answer
    that breaks off in the middle.
    """

    name: str
    action: Action | Callable[[Rig], Action]
    once: tuple[Outcome, int, float]
    ever: tuple[Outcome, int, float]
    resumed: bool = False


class Rig:
    """A registry, and places that it may send to, for one test."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.server = self.place()
        self.canary: FaultServer | None = None

    def place(self, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> FaultServer:
        made = self._stack.enter_context(FaultServer(address, tls=tls))
        made.add_image("lab/app", "1", IMAGE)
        return made

    def port(self, serve: Callable[[socket.socket], None]) -> str:
        """Return ``host:port`` of a place where each connection is given to ``serve``."""
        listener = socket.create_server(("127.0.0.1", 0))
        self._stack.callback(listener.close)
        ended = threading.Event()
        self._stack.callback(listener.shutdown, socket.SHUT_RDWR)
        self._stack.callback(ended.set)

        def accept() -> None:
            while not ended.is_set():
                try:
                    near, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError):
                    serve(near)
                self._stack.callback(near.close)

        threading.Thread(target=accept, daemon=True).start()
        return "%s:%d" % listener.getsockname()


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


def to(url: str, status: int = 307) -> Callable[[Rig], Action]:
    return lambda rig: redirect(url.format(server=rig.server.url, host=rig.server.host), status)


def blob_path(request: Request) -> str:
    return request.target


def elsewhere(status: int = 307, address: str = "127.0.0.1") -> Callable[[Rig], Action]:
    """Send to another registry, which has the blob."""

    def build(rig: Rig) -> Action:
        other = rig.place(address)
        return lambda exchange: redirect(other.url + exchange.request.target, status)(exchange)

    return build


def dead(serve: Callable[[socket.socket], None]) -> Callable[[Rig], Action]:
    """Send to a place that does this to each connection."""

    def build(rig: Rig) -> Action:
        return redirect(f"http://{rig.port(serve)}/blob")

    return build


def tls_dead(serve: Callable[[socket.socket], None]) -> Callable[[Rig], Action]:
    return lambda rig: redirect(f"https://{rig.port(serve)}/blob")


def rst(near: socket.socket) -> None:
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    near.close()


def closed_port(_: Rig) -> Action:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return redirect(f"http://127.0.0.1:{port}/blob")


def full_backlog(rig: Rig) -> Action:
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    rig._stack.callback(listener.close)
    for _ in range(3):  # fill it; whoever comes next waits
        sock = socket.socket()
        rig._stack.callback(sock.close)
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
    return redirect("http://%s:%d/blob" % listener.getsockname())


def tls_place(certificate: Callable[[trustme.CA], trustme.LeafCert], **more: Any) -> Any:
    """Send to a place whose certificate is not to be trusted."""

    def build(rig: Rig) -> Action:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate(trustme.CA()).configure_cert(context)
        for name, value in more.items():
            setattr(context, name, value)
        other = rig.place(tls=context)
        return lambda exchange: redirect(other.url + exchange.request.target)(exchange)

    return build


def day(offset: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=offset)


def plain_on_tls(rig: Rig) -> Action:
    other = rig.place()
    return lambda exchange: redirect(f"https://{other.host}{exchange.request.target}")(exchange)


def tls_on_plain(rig: Rig) -> Action:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    other = rig.place(tls=context)
    return lambda exchange: redirect(f"http://{other.host}{exchange.request.target}")(exchange)


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


def challenge(text: str) -> Action:
    return respond(401, {"WWW-Authenticate": text} if text else {})


# --- the table -----------------------------------------------------------------------------------

ROWS: list[Row] = []


def row(name: str, action: Any, once: Any = None, ever: Any = None, **more: Any) -> None:
    ROWS.append(Row(name, action, once or (OK, 0, 0), ever or (OK, 0, 0), **more))


row("N01", closed_port)
row("N02", dead(socket.socket.close))
row("N03", dead(rst))
row("N04", full_backlog)
row("N05", to("http://nowhere.invalid/blob"))
row("N08", reset)
row("N09", hang_up)
row("N10", break_head(reset=True))
row("N11", break_head(reset=False))
row("N12", reset_after(1))
row("N13", reset_after(HALF))
row("N14", reset_after(SIZE - 1))
row("N15", half_close_after(HALF))
row("N16", cut_chunked)
row("N17", end_without_length)
row("N18", stall(30))
row("N19", stall(30, after=HALF))
row("N20", slow_head(0.05))
row("N21", dribble(1, 0.05))
row("N25", lambda _: every_second(hang_up))
row("N26", now_and_then)
row("T01", tls_place(lambda ca: ca.issue_cert("127.0.0.1")))
row("T02", tls_place(lambda ca: ca.issue_cert("elsewhere.example")))
row("T03", tls_place(lambda ca: ca.issue_cert("127.0.0.1", not_before=day(-9), not_after=day(-1))))
row("T04", tls_place(lambda ca: ca.issue_cert("127.0.0.1", not_before=day(1), not_after=day(9))))
row("T07", tls_dead(lambda _: None))
row("T08", tls_dead(rst))
row("T10", plain_on_tls)
row("T11", tls_on_plain)
row("S01", respond(400))
row("S02", challenge(""))
row("S04", respond(402))
row("S05", respond(403, {"Content-Type": "application/json"}, b'{"errors":[{"code":"DENIED"}]}'))
row("S06", respond(404, {}, b'{"errors":[{"code":"NAME_UNKNOWN"}]}'))
row("S07", respond(404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'))
row("S08", respond(404, {"Content-Type": "text/html"}, b"<html>no</html>"))
for number, status in enumerate([405, 406, 408, 409, 410, 412, 418, 421], 9):
    row(f"S{number:02}", respond(status))
row("S17", too_many(""))
row("S18", too_many("1"))
row("S19", too_many("1000000000"))
row("S20", too_many("Wed, 21 Oct 2015 07:28:00 GMT"))
row("S21", too_many("soon"))
row("S22", respond(451))
row("S23", respond(500))
row("S24", respond(501))
row("S25", respond(502))
row("S26", respond(503, {"Retry-After": "1"}))
row("S27", respond(504))
row("S28", respond(507))
row("S29", respond(511))
row("S30", before(b"HTTP/1.1 100 Continue\r\n\r\n", 1000))
row("S31", before(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"))
row("S32", respond(204))
row("S33", respond(304))
row("S34", respond(999))
row("H01", with_headers(Content_Type=""))
row("H02", with_headers(Content_Type="text/html"))
row("H03", with_headers(Content_Type="application/octet-stream; charset=x"))
row("H04", line(b"Content-Type: text/html"))
row("H05", with_headers(Docker_Content_Digest=""))
row("H06", with_headers(Docker_Content_Digest="sha256:" + "0" * 64))
row("H07", with_headers(Docker_Content_Digest="nonsense"))
row("H08", with_headers(Docker_Content_Digest=LARGE.upper()))
row("H09", with_headers(Docker_Content_Digest="md5:" + "0" * 32))
row("H10", line(b"Docker-Content-Digest: sha256:" + b"0" * 64))
row("H11", until_close)
row("H12", length("0"))
row("H13", length("100"))
row("H14", length(str(SIZE + 1)))
row("H15", length("-1"))
row("H16", length("+5"))
row("H17", length("1_000"))
row("H18", line(f"Content-Length: {SIZE - 1}".encode()))
row("H19", line(b"Transfer-Encoding: chunked"))
row("H20", line(b"Transfer-Encoding: gzip"))
row("H21", line(b"X-Folded: a\r\n b"))
row("H22", line(b"X-Long: " + b"x" * 1024 * 1024))
row("H23", line(b"\r\n".join(b"X-%d: y" % n for n in range(10_000))))
row("H24", line(b"X-Nul: a\0b"))
row("H25", line(b"X-Bare: a\rb"))
row("H26", line("X-Name: \u5317\u4eac".encode()))
row("H27", coded("gzip"))
row("H28", coded(", ".join(["gzip"] * 6)))
row("H29", coded("brotli-of-tomorrow"))
row("H30", keep_length(lambda data: data) if False else coded("identity"))
row("H31", raw(b"<html>hello</html>"))
row("H32", http10)
row("H33", with_headers(Set_Cookie="a=b; Path=/"))
row("H34", chunk_size(b"nonsense"))
row("H35", chunk_size(b"10000000000000000"))
row("H36", head(lambda data: data.replace(b"\r\n", b"\r\nTrailer: X-After\r\n", 1)))
row("R01", ignore_range, resumed=True)
row("R02", content_range(shift=1), resumed=True)
row("R03", content_range(short=1), resumed=True)
row("R04", wrong_range(""), resumed=True)
row("R05", twice, resumed=True)
row("R06", content_range(total=str(SIZE + 1)), resumed=True)
row("R07", content_range(total="*"), resumed=True)
row("R08", multipart, resumed=True)
row("R09", body(lambda data: data + b"x"), resumed=True)
row("R10", body(lambda data: data[:-1]), resumed=True)
row("R11", respond(416, {"Content-Range": f"bytes */{SIZE}"}), resumed=True)
row("R12", respond(416, {"Content-Range": "bytes */10"}), resumed=True)
row("R13", respond(416), resumed=True)
row("R14", with_headers(ETag='"other"'), resumed=True)
row("R15", with_headers(ETag='W/"weak"'), resumed=True)
row("R16", with_headers(ETag="", Last_Modified="Wed, 21 Oct 2015 07:28:00 GMT"), resumed=True)
row("R18", coded("gzip"), resumed=True)
row("R20", with_headers(Accept_Ranges="none"), resumed=True)
row("R21", corrupt(-1), resumed=True)
row("R25", half_close_after(64 * 1024))
row("D01", lambda rig: lambda exchange: redirect(exchange.request.target + "?", 301)(exchange))
row("D02", elsewhere(302, "127.0.0.2"))
row("D03", elsewhere(303))
row("D04", elsewhere(307, "127.0.0.2"))
row("D05", elsewhere(308))
row("D08", lambda rig: lambda exchange: redirect(exchange.request.target)(exchange))
row("D09", to("{server}/a"))
row("D10", to("{server}/chain/0"))
row("D14", to("http://2130706433/x"))
row("D16", to("file:///etc/passwd"))
row("D17", to("//nowhere.invalid/blob"))
row("D18", to("http://user:secret@{host}/x"))
row(
    "D19",
    head(lambda data: b"HTTP/1.1 307 X\r\nLocation: /a\rX-Evil: 1\r\nContent-Length: 0\r\n\r\n"),
)
row("D20", to("{server}/" + "a" * 65_000))
row("D21", respond(307))
row("D22", to("{server}/v2/../../etc/passwd"))
row("B01", corrupt(HALF))
row("B02", body(lambda data: data[:-1]))
row("B03", body(lambda data: data + b"x"))
row("B04", body(lambda data: bytes(len(data))))
row("B05", body(lambda data: b""))


def save(rig: Rig, row: Row, times: int | None, folder: Any) -> tuple[Outcome, str]:
    server = rig.server
    image = didlab.open(f"{server.host}/lab/app:1", timeout=(1, 1))
    image.config()
    action = row.action
    if getattr(action, "__code__", None) is not None and action.__code__.co_varnames[:1] != (
        "exchange",
    ):
        action = action(rig)
    if row.resumed:
        server.rule(large, half_close_after(HALF), times=1)
        server.rule(ranged, action, times=times)
    else:
        server.rule(large, action, times=times)
    server.rule(lambda r: r.path == "/a", redirect(f"{server.url}/b"))
    server.rule(lambda r: r.path == "/b", redirect(f"{server.url}/a"))
    server.rule(
        lambda r: r.path.startswith("/chain/"),
        lambda e: redirect(f"/chain/{int(e.request.path[7:]) + 1}")(e),
    )
    try:
        image.save(folder / "app.tar", progress=False)
    except errors.DidlabError as error:
        return type(error), str(error)
    return OK, ""


def test_discover(tmp_path_factory, monkeypatch):
    import time

    monkeypatch.setattr(_pausing, "random", SimpleNamespace(uniform=lambda *_: 0.02))
    for one in ROWS:
        for times in (1, None):
            client._clients.clear()
            endpoint._spoken.clear()
            places._memories.clear()
            with contextlib.ExitStack() as stack:
                rig = Rig(stack)
                began = time.monotonic()
                try:
                    outcome, text = save(rig, one, times, tmp_path_factory.mktemp("x"))
                    name = outcome.__name__ if outcome else "OK"
                except BaseException as error:
                    name, text = "!!!" + repr(error), ""
                asked = rig.server.asked(LARGE)
                sent = sum(r.sent for r in asked) / SIZE
                print(
                    f"{one.name} {'once' if times else 'EVER'} {name} {len(asked)} {sent:.2f} {time.monotonic() - began:.1f}s {text[:110]}",
                    flush=True,
                )
