"""One blob over HTTP: streams and ranges, each answer held against what was asked for."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

from didlab._pausing import check
from didlab.errors import BadRange, BlobNotFound, SizeMismatch, Truncated, printable
from didlab.transport.client import Client
from didlab.transport.endpoint import Endpoint
from didlab.transport.wire import Answer

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.ASCII)


class Blob:
    """A blob of known size at a registry or its mirrors.

    ``ranged`` is None until the first range was asked for, then whether the place honoured it.
    """

    def __init__(self, client: Client, repository: str, digest: str, size: int) -> None:
        self._client = client
        self._repository = repository
        self._digest = digest
        self.size = size
        self.ranged: bool | None = None
        #: The place that served last, for reports and for `discredit`.
        self.served_by: str | None = None
        self._etags: dict[str, str] = {}
        self._bad: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def discredit(self) -> None:
        """Take the place that served last for a bad source of this blob."""
        with self._lock:
            if self.served_by is not None:
                self._bad |= {self.served_by}

    def read_at(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop`` (half-open); unverified.

        One request. Where ranges are not honoured, what stands before is read and dropped.

        Raises
        ------
        Truncated
            The answer broke off.
        """
        parts: list[bytes] = []
        left = stop - start
        for data in self._pieces(start, stop):
            parts.append(data[:left])
            left -= len(parts[-1])
            if left <= 0:
                break
        if left > 0:
            raise self._short(stop - start - left, stop - start)
        return b"".join(parts)

    def stream(self, start: int = 0) -> Iterator[bytes]:
        """Yield the bytes from ``start`` to the end in pieces, as they arrive; unverified.

        One request; one broken connection ends it with an error. More than ``size`` bytes are
        refused before they are passed on.

        Raises
        ------
        SizeMismatch, Truncated, TimedOut, BlobNotFound
        """
        position = start
        for data in self._pieces(start, self.size):
            position += len(data)
            if position > self.size:
                raise self._too_long(position)
            yield data
        if position < self.size:
            raise self._short(position - start, self.size - start)

    def _pieces(self, start: int, stop: int) -> Iterator[bytes]:
        if stop <= start:
            return
        answer, skip = self._client.first(
            lambda endpoint: self._open(endpoint, start, stop), skip=self._bad
        )
        try:
            for data in answer.chunks():
                check()
                if skip:
                    dropped = min(skip, len(data))
                    skip -= dropped
                    data = data[dropped:]  # noqa: PLW2901
                if data:
                    yield data
        finally:
            answer.close()

    def _open(self, endpoint: Endpoint, start: int, stop: int) -> tuple[Answer, int]:
        """Begin an answer at one place; return it and how many bytes of it to skip."""
        name = endpoint.place.name
        whole = start == 0 and stop == self.size
        headers: dict[str, str] = {}
        if not whole:
            headers["Range"] = f"bytes={start}-{stop - 1}"
            if name in self._etags:
                headers["If-Range"] = self._etags[name]
        answer = self._ask(endpoint, headers)
        partial = self._is_partial(answer, headers)
        wrong = partial and not self._is_range(answer, start, stop, headers)
        if headers and (wrong or answer.status in (400, 416)):
            # Some places take a range for a mistake, or answer with another one; the whole
            # always works.
            answer.close()
            self.ranged = False
            headers = {}
            answer = self._ask(endpoint, headers)
            partial = self._is_partial(answer, headers)
        if answer.status == 404 and not headers:
            # Few registries serve a config only where manifests live.
            alternative = self._ask(endpoint, headers, kind="manifests")
            if alternative.status == 200:
                answer.close()
                answer = alternative
            else:
                alternative.close()
        if answer.status not in (200, 206):
            raise self._client.refusal(
                endpoint, answer, self._repository, f"blob {self._digest}", BlobNotFound
            )
        self.served_by = name
        etag = answer.headers.get("ETag", "")
        if etag.startswith('"'):
            self._etags[name] = etag
        if partial:
            if not headers:
                raise self._not_the_range(answer, start, stop)
            self.ranged = True
            return answer, 0
        length = answer.content_length()
        if length is not None and length != self.size and "Content-Encoding" not in answer.headers:
            answer.close()
            raise SizeMismatch(
                f"{answer.host} announces {length} bytes for {self._digest}, "
                f"its descriptor says {self.size}",
                host=answer.host,
                expected=self.size,
                actual=length,
            )
        if not whole:
            self.ranged = False
        return answer, start

    def _ask(self, endpoint: Endpoint, headers: dict[str, str], kind: str = "blobs") -> Answer:
        return endpoint.request(
            "GET",
            self._repository,
            f"{kind}/{self._digest}",
            scope=endpoint.place.scope(self._repository),
            headers=headers,
        )

    def _is_partial(self, answer: Answer, headers: dict[str, str]) -> bool:
        if answer.status == 200 and headers and "Content-Range" in answer.headers:
            # Dragonfly sends a range as 200; others repeat the header over the whole.
            return answer.content_length() != self.size
        return answer.status == 206

    def _is_range(self, answer: Answer, start: int, stop: int, headers: dict[str, str]) -> bool:
        values = answer.all_headers("Content-Range")
        match = _CONTENT_RANGE.fullmatch(values[0].strip()) if len(values) == 1 else None
        return (
            "Range" in headers
            and match is not None
            and int(match[1]) == start
            and int(match[2]) == stop - 1
            and match[3] in ("*", str(self.size))
        )

    def _not_the_range(self, answer: Answer, start: int, stop: int) -> BadRange:
        answer.close()
        shown = printable(", ".join(answer.all_headers("Content-Range")) or "none", 100)
        return BadRange(
            f"{answer.host} answered bytes {start}-{stop - 1} of {self._digest} "
            f"with another range ({shown})",
            host=answer.host,
            status=206,
        )

    def _too_long(self, seen: int) -> SizeMismatch:
        return SizeMismatch(
            f"{self.served_by} sends more than {self.size} bytes for {self._digest}",
            host=self.served_by,
            expected=self.size,
            actual=seen,
        )

    def _short(self, received: int, wanted: int) -> Truncated:
        return Truncated(
            f"the answer of {self.served_by} for {self._digest} ended after {received} of "
            f"{wanted} bytes",
            host=self.served_by,
            received=received,
            size=wanted,
        )
