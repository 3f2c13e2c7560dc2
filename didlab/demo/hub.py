"""`Sandbox`: the demo server as the `Registry` that talks to it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from didlab.demo.server import DemoServer
from didlab.model.registry import Registry

if TYPE_CHECKING:
    from didlab.demo.content import RepositoryContent

__all__ = ["Sandbox"]


class Sandbox(Registry):
    """A registry that runs in this process and holds the demo images.

    It is a `didlab.Registry` like any other; `didlab.sandbox` makes one and documents the
    parameters. Its pickle is a plain `Registry` of the same host, not logged in, which answers
    while this one is open.
    """

    #: The server behind it; ``server.requests`` lists what it was asked.
    server: DemoServer

    def __init__(
        self,
        *,
        auth: bool | tuple[str, str] = False,
        port: int = 0,
        tags: int = 0,
        fleet: bool = False,
    ) -> None:
        server = DemoServer(auth=auth, port=port, tags=tags, repositories=_content(fleet)).start()
        # Also at the interpreter's exit. It holds the server, which does not hold this object.
        weakref.finalize(self, server.stop, wait=False)
        try:
            # The environment's proxies and logins have no say on a loopback port of our own.
            super().__init__(
                server.host,
                username=server.username,
                password=server.password,
                trust_env=False,
            )
        except BaseException:
            server.stop()
            raise
        self.server = server

    def __repr__(self) -> str:
        state = "" if self.server.running else " closed"
        return f"<Sandbox {self.server.host}{state}>"

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return Registry, (self.server.host,)

    @property
    def host(self) -> str:
        """``127.0.0.1:PORT``, as written in front of a repository's name."""
        return self.server.host

    def close(self) -> None:
        """Stop the server; may be called again."""
        self.server.stop()


def _content(fleet: bool) -> dict[str, RepositoryContent] | None:
    """Return what the registry has; None for what it always has."""
    if not fleet:
        return None
    from didlab.demo import images
    from didlab.demo.fleet import fleet as made

    return {**images.repositories(), **made()}
