"""HTTP and SOCKS proxies, with and without a password, as fixtures."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rig.processes import Service, free_port, listening, require

USER, PASSWORD = "pat", "s3cret"


class Proxy:
    """A running proxy; ``url`` carries its user and password where it has them."""

    def __init__(self, service: Service, scheme: str, port: int, log: Path, auth: bool) -> None:
        self.service, self.scheme, self.port, self._log = service, scheme, port, log
        self.user, self.password = (USER, PASSWORD) if auth else ("", "")
        service.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def bare_url(self) -> str:
        """The address without user and password."""
        return f"{self.scheme}://{self.host}"

    @property
    def url(self) -> str:
        login = f"{self.user}:{self.password}@" if self.user else ""
        return f"{self.scheme}://{login}{self.host}"

    def seen(self) -> list[str]:
        """Targets it was asked for: "CONNECT 127.0.0.1:443" (tinyproxy), "127.0.0.1:443"."""
        # Lines are written before bytes flow; only the last one may lag behind a little.
        size = -1
        while size != (now := self._log.stat().st_size):
            size = now
            time.sleep(0.02)
        text = self._log.read_text(errors="replace")
        if self.scheme == "http":
            return re.findall(r"Request \(file descriptor \d+\): (\S+ \S+) HTTP", text)
        return re.findall(r"connected to (\S+)", text)

    def start(self) -> None:
        self.service.start()

    def stop(self) -> None:
        self.service.stop()


def start_http_proxy(folder: Path, auth: bool = False) -> Proxy:
    """tinyproxy; CONNECT may go to any port."""
    program = require("tinyproxy", "tinyproxy-bin")
    port, log = free_port(), folder / "tinyproxy.log"
    lines = [
        f"Port {port}",
        "Listen 127.0.0.1",
        "Allow 127.0.0.1",
        "Timeout 60",
        "MaxClients 100",
        "LogLevel Connect",
        f'LogFile "{log}"',
        f'PidFile "{folder / "tinyproxy.pid"}"',
    ]
    if auth:
        lines.append(f"BasicAuth {USER} {PASSWORD}")
    config = folder / "tinyproxy.conf"
    config.write_text("\n".join(lines) + "\n")
    argv = [program, "-d", "-c", str(config)]
    service = Service("tinyproxy", argv, folder=folder, ready=lambda: listening(port))
    return Proxy(service, "http", port, log, auth)


def start_socks_proxy(folder: Path, auth: bool = False) -> Proxy:
    """microsocks; names are resolved by it (socks5h)."""
    program = require("microsocks", "microsocks")
    port = free_port()
    argv = [program, "-i", "127.0.0.1", "-p", str(port)]
    if auth:
        argv += ["-u", USER, "-P", PASSWORD]
    service = Service("microsocks", argv, folder=folder, ready=lambda: listening(port))
    return Proxy(service, "socks5h", port, service.err, auth)


def _started(
    start: Callable[[Path, bool], Proxy], factory: pytest.TempPathFactory, auth: bool
) -> Iterator[Proxy]:
    proxy = start(factory.mktemp("proxy"), auth)
    yield proxy
    proxy.stop()


@pytest.fixture(scope="session")
def http_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """An HTTP proxy for everybody."""
    yield from _started(start_http_proxy, tmp_path_factory, False)


@pytest.fixture(scope="session")
def http_proxy_auth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """An HTTP proxy that wants Basic auth."""
    yield from _started(start_http_proxy, tmp_path_factory, True)


@pytest.fixture(scope="session")
def socks_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A SOCKS5 proxy for everybody."""
    yield from _started(start_socks_proxy, tmp_path_factory, False)


@pytest.fixture(scope="session")
def socks_proxy_auth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A SOCKS5 proxy that wants a user and a password."""
    yield from _started(start_socks_proxy, tmp_path_factory, True)
