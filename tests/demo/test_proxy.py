"""The demo's HTTP proxy: passes on, tells what it saw, limits, and ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

import didlab
from didlab.demo.proxy import Proxy
from didlab.errors import DidlabError, InvalidArgument


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as made:
        yield made


def test_requests_pass_and_are_told(proxy: Proxy) -> None:
    with didlab.sandbox() as hub:
        m = didlab.open(f"{hub.host}/demo/web:1.27", proxy=proxy.url)
        straight = hub["demo/web"]["1.27"]
        assert m.digest() == straight.digest()
        assert m["linux/amd64"].layers().equals(straight["linux/amd64"].layers())
        assert set(proxy.seen) == {f"GET {hub.host}"}
        assert proxy.passed > 0


def test_a_tunnel_passes_both_ways(proxy: Proxy) -> None:
    echo = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        far, _ = echo.accept()
        with far:
            while data := far.recv(100):
                far.sendall(data.upper())

    threading.Thread(target=serve, daemon=True).start()
    port = echo.getsockname()[1]
    host, _, own = proxy.url.removeprefix("http://").partition(":")
    with echo, socket.create_connection((host, int(own)), timeout=60) as near:
        # What follows the head at once gets through, too.
        near.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\nhello".encode())
        came = b""
        while not came.endswith(b"HELLO"):
            data = near.recv(1000)
            assert data, came
            came += data
        assert came.startswith(b"HTTP/1.1 200 ")
    assert proxy.seen == [f"CONNECT 127.0.0.1:{port}"]


def test_what_cannot_be_reached_is_a_502(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    host, _, own = proxy.url.removeprefix("http://").partition(":")
    for line in (f"GET http://127.0.0.1:{port}/ HTTP/1.1", f"CONNECT 127.0.0.1:{port} HTTP/1.1"):
        with socket.create_connection((host, int(own)), timeout=60) as near:
            near.sendall(f"{line}\r\n\r\n".encode())
            assert near.recv(1000).startswith(b"HTTP/1.1 502 ")


def test_a_rate_holds_for_all_connections_together(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    now = [0.0]
    monkeypatch.setattr("didlab.demo.proxy.time.monotonic", lambda: now[0])
    monkeypatch.setattr("didlab.demo.proxy.time.sleep", waits.append)
    with Proxy(rate=1000) as proxy:
        one, other = socket.socketpair()
        with one, other:
            for _ in range(3):
                proxy._pass(bytes(500), one)
            assert waits == [0.5, 1.0]
            proxy.rate = None
            proxy._pass(bytes(500), one)
            assert waits == [0.5, 1.0]
            assert proxy.passed == 2000


def test_closed_it_is_gone(proxy: Proxy) -> None:
    with didlab.sandbox() as hub:
        proxy.close()
        proxy.close()
        with pytest.raises(DidlabError):
            didlab.open(f"{hub.host}/demo/web:1.27", proxy=proxy.url).digest()


def test_a_rate_is_a_rate() -> None:
    with pytest.raises(InvalidArgument, match="rate"):
        Proxy(rate=0)
