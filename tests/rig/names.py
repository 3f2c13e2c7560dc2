"""A SOCKS5 server that knows names of its own: hosts of the internet, played on loopback.

It tells whether a name came as a name (socks5h) or resolved by the client (socks5), and lets
a test speak to "registry.example:443" without any DNS.
"""

from __future__ import annotations

import contextlib
import ipaddress
import selectors
import socket
import socketserver
import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class SocksRequest:
    """What a client wanted: ``kind`` is "name", "ipv4" or "ipv6"."""

    kind: str
    host: str
    port: int


class NamesProxy:
    """Use as a context manager.

    Parameters
    ----------
    names : dict of str to str
        "registry.example" or "registry.example:443" to "127.0.0.1:PORT". Anything that is
        not in it, addresses included, is refused as unreachable.
    """

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names
        self.requests: list[SocksRequest] = []
        rig = self

        class Bound(_Handler):
            proxy = rig

        self._server = _Server(("127.0.0.1", 0), Bound)
        self.port = self._server.server_address[1]
        self.stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True, name="names-proxy"
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"socks5h://127.0.0.1:{self.port}"

    def target(self, request: SocksRequest) -> tuple[str, int] | None:
        found = self.names.get(f"{request.host}:{request.port}") or self.names.get(request.host)
        if found is None:
            return None
        host, _, port = found.rpartition(":")
        return host.strip("[]"), int(port)

    def stop(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def __enter__(self) -> NamesProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = False
    block_on_close = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that broke off is no news


class _Handler(socketserver.BaseRequestHandler):
    proxy: NamesProxy

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.request.recv(count - len(data))
            if not more:
                raise ConnectionError
            data += more
        return data

    def _wanted(self) -> SocksRequest:
        _, count = self._read(2)
        self._read(count)
        self.request.sendall(b"\x05\x00")
        kind = self._read(4)[3]
        if kind == 3:
            name, host = "name", self._read(self._read(1)[0]).decode()
        elif kind == 1:
            name, host = "ipv4", str(ipaddress.IPv4Address(self._read(4)))
        else:
            name, host = "ipv6", str(ipaddress.IPv6Address(self._read(16)))
        return SocksRequest(name, host, int.from_bytes(self._read(2)))

    def handle(self) -> None:
        self.request.settimeout(30)
        request = self._wanted()
        self.proxy.requests.append(request)
        target = self.proxy.target(request)
        status, upstream = 4, None
        if target is not None:
            with contextlib.suppress(OSError):
                upstream = socket.create_connection(target, timeout=10)
                status = 0
        self.request.sendall(bytes([5, status, 0, 1, 0, 0, 0, 0, 0, 0]))
        if upstream is not None:
            with upstream:
                self._pump(upstream)

    def _pump(self, upstream: socket.socket) -> None:
        """Copy both ways until both sides have said their last."""
        ways = {self.request: upstream, upstream: self.request}
        with selectors.DefaultSelector() as selector:
            for sock in ways:
                selector.register(sock, selectors.EVENT_READ)
            while selector.get_map() and not self.proxy.stopping.is_set():
                for key, _ in selector.select(0.1):
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    data = source.recv(65536)
                    if data:
                        ways[source].sendall(data)
                        continue
                    selector.unregister(source)
                    with contextlib.suppress(OSError):
                        ways[source].shutdown(socket.SHUT_WR)
