"""A registry in this process, with a few small real images: `sandbox`.

For demos, documentation and the tests of those who use didlab.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from didlab.demo.hub import Sandbox as Sandbox

__all__ = ["Sandbox", "sandbox"]


def sandbox(
    *, auth: bool | tuple[str, str] = False, port: int = 0, tags: int = 0, fleet: bool = False
) -> Sandbox:
    """Start a small registry on this machine and return it, ready to be looked into.

    Parameters
    ----------
    auth : bool or tuple of str, default False
        Let the registry ask for a login. True means user ``demo`` with password ``demo``; a
        tuple is another user name and password. The returned object is logged in.
    port : int, default 0
        The port on 127.0.0.1; 0 takes a free one.
    tags : int, default 0
        So many more tags of ``demo/single``, to see lists of several pages.
    fleet : bool, default False
        Seven more repositories, ``shop/…``: images with something to find for audits.

    Returns
    -------
    Sandbox
        A `didlab.Registry` that ends with its ``with`` block, with ``close()``, or when nobody
        holds it any more.

    Examples
    --------
    >>> with didlab.sandbox() as hub:  # doctest: +SKIP
    ...     hub["demo/web"].tags()
    ...     didlab.open(f"{hub.host}/demo/hello:latest").platforms()
    """
    from didlab.demo.hub import Sandbox

    return Sandbox(auth=auth, port=port, tags=tags, fleet=fleet)


def __getattr__(name: str) -> Any:
    if name == "Sandbox":
        from didlab.demo.hub import Sandbox

        return Sandbox
    raise AttributeError(f"module 'didlab.demo' has no attribute {name!r}")
