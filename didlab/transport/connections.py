"""Connections that can be called off: while a name is looked up, they are made, or answer.

A socket knows no event. So connecting waits in short steps, and what waits inside the TLS
handshake or for the head of an answer says how it can be cut off from another thread.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from typing import Any

from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from didlab import _pausing as pausing

_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY})


def interruptible(base: type[Any]) -> type[Any]:
    """Return a class of connections, urllib3's or derived from it, that can be called off."""
    # One to a SOCKS proxy is made by PySocks, within the timeout for connecting.
    own = base._new_conn is HTTPConnection._new_conn

    class Interruptible(base):  # type: ignore[misc]
        _guard: socket.socket | None = None

        def _new_conn(self) -> Any:
            sock = _new_conn(self) if own else super()._new_conn()
            if pausing.stop.get() is not None:
                # Another handle on the same connection: wrapping in TLS takes this one away.
                self._guard = sock.dup()
                if _is_called_off():  # before there was anything to shut
                    sock.close()
                    raise pausing.Stopped
            return sock

        def connect(self) -> None:
            with pausing.cutting(lambda: _shut(self._guard)):
                try:
                    super().connect()
                finally:
                    guard, self._guard = self._guard, None
                    if guard is not None:
                        guard.close()  # else closing the connection would not end it

        def request(self, *args: Any, **options: Any) -> None:
            # A body may wait for a place that takes no more.
            with pausing.cutting(lambda: _shut(self.sock)):
                super().request(*args, **options)

        def getresponse(self) -> Any:
            sock = self.sock
            with pausing.cutting(lambda: _shut(sock)):
                return super().getresponse()

    Interruptible.__name__ = base.__name__
    return Interruptible


def _is_called_off() -> bool:
    job = pausing.stop.get()
    return job is not None and job.is_set()


def _shut(sock: Any) -> None:
    if isinstance(sock, socket.socket):
        # Not TLS's own: that takes the session away from under whoever is reading.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    elif sock is not None:
        sock.shutdown(socket.SHUT_RDWR)


def _new_conn(connection: Any) -> socket.socket:
    """Do as urllib3's ``HTTPConnection._new_conn``, errors included."""
    try:
        return _connected(connection)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except TimeoutError as error:
        said = f"Connection to {connection.host} timed out"
        raise ConnectTimeoutError(connection, said) from error
    except OSError as error:
        said = f"Failed to establish a new connection: {error}"
        raise NewConnectionError(connection, said) from error


def _connected(connection: Any) -> socket.socket:
    timeout = connection.timeout if isinstance(connection.timeout, int | float) else None
    failure = OSError("no address")
    for family, kind, protocol, _, address in _addresses(connection._dns_host, connection.port):
        pausing.check()
        sock = socket.socket(family, kind, protocol)
        try:
            for option in connection.socket_options or ():
                sock.setsockopt(*option)
            if connection.source_address:
                sock.bind(connection.source_address)
            _connect(sock, address, timeout)
        except OSError as error:
            failure = error
            sock.close()
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def _addresses(host: str, port: int) -> Any:
    """Look a name up; the system's call for it cannot be interrupted."""
    host = host.strip("[]")
    try:
        return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    try:
        host.encode("idna")
    except UnicodeError:
        raise socket.gaierror(f"{host!r}, label empty or too long") from None
    return pausing.aside(
        lambda: socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM), "didlab-resolve"
    )


def _connect(sock: socket.socket, address: Any, timeout: float | None) -> None:
    end = None if timeout is None else time.monotonic() + timeout
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code in _UNDER_WAY:
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_WRITE)
            while not selector.select(pausing.LOOK):
                pausing.check()
                if end is not None and time.monotonic() >= end:
                    raise TimeoutError("timed out")
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code not in (0, errno.EISCONN):
        raise OSError(code, os.strerror(code))
    sock.settimeout(timeout)
