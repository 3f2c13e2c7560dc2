"""What can be learned of a layer's files while the layer streams by: facts, kept instead of bytes.

A `Look` names the files that it wants and turns the content of each into facts: small values
that JSON can hold. They are kept with the layer's digest, so a layer is looked at once, whatever
the number of images that have it.
"""

from __future__ import annotations

from typing import Any, Protocol

#: What is learned of one file: values that JSON can hold.
Facts = list[Any]

#: What a look takes into memory of one file where it does not say otherwise.
WHOLE = 64 * 1024 * 1024


class Sieve(Protocol):
    """Takes a file's content as it streams by and keeps what matters.

    One with an attribute ``over`` that is True is fed no more.
    """

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""

    def finish(self) -> bytes:
        """Return what was kept, when the file is over."""


class Whole:
    """Keeps everything."""

    def __init__(self) -> None:
        self._content = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._content += data

    def finish(self) -> bytes:
        """Return the content."""
        return bytes(self._content)


class Look:
    """Something to learn of files' content; pure, and the same for the same bytes.

    Attributes
    ----------
    name : str
        What it is about, with a number that changes when its facts do: ``"packages 1"``. Facts
        are kept under it.
    most : int
        Larger files are passed over where `sieve` would keep all of their content.
    """

    name: str
    most: int = WHOLE

    def wants(self, path: bytes, size: int) -> bool:
        """Whether a regular file's content is wanted, by its absolute path and size."""
        raise NotImplementedError

    def maybe(self, paths: bytes) -> bool:
        """Whether any file of at most 1 MiB may be wanted among paths joined by NULs.

        Asked for thousands at once, before each of them is asked for; larger files are always
        asked for one by one.
        """
        del paths
        return True

    def sieve(self, path: bytes, size: int) -> Sieve:
        """Return what takes the content; by default, what keeps all of it."""
        del path, size
        return Whole()

    def facts(self, path: bytes, content: bytes) -> Facts:
        """Return what the file tells; nothing where it is not what its name says.

        ``content`` is what the sieve kept. Never raises for bad content: a hostile file must not
        hide the others. What went wrong may be a fact.
        """
        raise NotImplementedError
