"""Digests: recognised strictly, computed, and checked while bytes arrive."""

from __future__ import annotations

import hashlib
import re
from typing import TypeGuard

from didlab import errors

__all__ = ["Verifier", "algorithm", "encoded", "is_digest", "of"]

# A digest becomes part of paths and URLs, so nothing but these two shapes is one. Explicit
# ASCII classes: \d and \w would take full-width digits.
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


def is_digest(text: object) -> TypeGuard[str]:
    """Whether ``text`` is a sha256 or sha512 digest in its one spelling.

    >>> is_digest("sha256:" + "0" * 64), is_digest("SHA256:" + "0" * 64)
    (True, False)
    """
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def of(data: bytes, algorithm: str = "sha256") -> str:
    """Digest of ``data``.

    >>> of(b"")
    'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    """
    if algorithm not in ("sha256", "sha512"):
        raise errors.InvalidArgument(
            f"'{errors.printable(algorithm, 40)}' is no digest algorithm",
            hint="use sha256 or sha512",
        )
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def algorithm(digest: str) -> str:
    """Return the part before the colon."""
    return _split(digest)[0]


def encoded(digest: str) -> str:
    """Return the hexadecimal part; safe as a file name, because only a digest gets through.

    >>> encoded("sha256:" + "0" * 64) == "0" * 64
    True
    """
    return _split(digest)[1]


def _split(digest: object) -> tuple[str, str]:
    if not is_digest(digest):
        raise errors.InvalidArgument(
            f"'{errors.printable(digest, 160)}' is not a digest",
            hint="a digest is sha256: and 64, or sha512: and 128, lower-case hexadecimal digits",
        )
    name, _, value = digest.partition(":")
    return name, value


class Verifier:
    """Hashes bytes as they arrive and says whether they are what was promised.

    Parameters
    ----------
    digest : str
        What the bytes must hash to.
    size : int, optional
        How many they must be; None when nobody said.
    where : str
        Where the bytes come from, for messages.

    Attributes
    ----------
    received : int
        Bytes seen so far.
    """

    __slots__ = ("_hash", "digest", "received", "size", "where")

    def __init__(self, digest: str, size: int | None = None, *, where: str = "") -> None:
        self._hash = hashlib.new(algorithm(digest))
        self.digest = digest
        self.size = size
        self.where = where
        self.received = 0

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take the next bytes; `SizeMismatch` at once when they are too many."""
        # A memoryview counts items, not bytes.
        count = chunk.nbytes if isinstance(chunk, memoryview) else len(chunk)
        if self.size is not None and self.received + count > self.size:
            # Without this an endless answer would fill the disk before its digest is compared.
            raise self._wrong_size(f"more than {self.size}", self.received + count)
        self._hash.update(chunk)
        self.received += count

    def check(self) -> None:
        """Raise `SizeMismatch` or `DigestMismatch` unless exactly the promised bytes came."""
        if self.size is not None and self.received != self.size:
            raise self._wrong_size(f"{self.received}, not {self.size}", self.received)
        actual = f"{algorithm(self.digest)}:{self._hash.hexdigest()}"
        if actual != self.digest:
            raise errors.DigestMismatch(
                f"{self._subject()} has digest {actual}, not {self.digest}",
                hint="the content was altered or damaged on its way; nothing of it was kept",
                expected=self.digest,
                actual=actual,
            )

    def _wrong_size(self, says: str, actual: int) -> errors.SizeMismatch:
        return errors.SizeMismatch(
            f"{self._subject()} is {says} bytes",
            hint="the answer is not the content its descriptor names",
            expected=self.size,
            actual=actual,
        )

    def _subject(self) -> str:
        return errors.printable(self.where or f"content of {self.digest[:19]}…", 300)
