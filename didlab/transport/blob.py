"""One blob over HTTP: streams and ranges, each answer held against what was asked for."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping

from didlab._pausing import check
from didlab.errors import (
    BadRange,
    BlobNotFound,
    InvalidArgument,
    ProtocolError,
    SizeMismatch,
    Truncated,
    printable,
)
from didlab.transport.client import Client
from didlab.transport.endpoint import Endpoint
from didlab.transport.wire import Answer

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.ASCII)


def measure(client: Client, repository: str, digest: str) -> int:
    """Return the size of a blob that nobody told: one HEAD.

    Where a HEAD is not answered, or not with a length (addresses that are signed for GET alone),
    a GET of the first byte tells; of its body nothing is read.

    Raises
    ------
    BlobNotFound, AuthError, TransportError, ProtocolError
    """

    def ask(endpoint: Endpoint, method: str, headers: Mapping[str, str]) -> Answer:
        scope = endpoint.place.scope(repository)
        return endpoint.request(method, repository, f"blobs/{digest}", scope=scope, headers=headers)

    def job(endpoint: Endpoint) -> int:
        answer = ask(endpoint, "HEAD", {})
        length = _told(answer)
        answer.drain()
        if length is not None:
            return length
        answer = ask(endpoint, "GET", {"Range": "bytes=0-0"})
        if answer.status == 416:  # there is no first byte
            answer.close()
            answer = ask(endpoint, "GET", {})
        length = _told(answer)
        if length is None and answer.status not in (200, 206):
            raise client.refusal(endpoint, answer, repository, f"blob {digest}", BlobNotFound)
        answer.close()
        if length is None:
            raise ProtocolError(
                f"{answer.host} does not tell how large the blob {digest} is", host=answer.host
            )
        return length

    return client.first(job)


def _told(answer: Answer) -> int | None:
    """Return the size of the whole that an answer's headers tell."""
    if answer.status == 206:
        values = answer.all_headers("Content-Range")
        match = _CONTENT_RANGE.fullmatch(values[0].strip()) if len(values) == 1 else None
        return int(match[3]) if match is not None and match[3] != "*" else None
    if answer.status != 200 or "Content-Encoding" in answer.headers:
        return None
    return answer.content_length()


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
        #: The place that served last, for reports.
        self.served_by: str | None = None
        self._etags: dict[str, str] = {}
        self._answer: Answer | None = None

    def read_at(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop`` (half-open); unverified.

        One request. Where ranges are not honoured, what stands before is read and dropped.

        Raises
        ------
        Truncated
            The answer broke off.
        """
        if not 0 <= start <= stop <= self.size:
            raise InvalidArgument(f"there are no bytes {start} to {stop} in {self.size}")
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

    @property
    def places(self) -> tuple[str, ...]:
        """The mirrors in order, then the registry."""
        return tuple(endpoint.place.name for endpoint in self._client.endpoints)

    def stream(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        place: str | None = None,
        strict: bool = False,
    ) -> Generator[bytes]:
        """Yield the bytes from ``start`` to ``stop`` in pieces, as they arrive; unverified.

        One request; one broken connection ends it with an error. More than ``size`` bytes are
        refused before they are passed on.

        Raises
        ------
        BadRange
            ``strict``, and the place does not honour the range.
        SizeMismatch, Truncated, TimedOut, BlobNotFound
        """
        stop = self.size if stop is None else stop
        position = start
        for data in self._pieces(start, stop, place, strict=strict):
            position += len(data)
            if position > self.size:
                raise self._too_long(position)
            if position > stop:  # the place sends the whole, whatever was asked for
                yield data[: stop - position]
                return
            yield data
        if position < stop:
            raise self._short(position - start, stop - start)

    def abort(self) -> None:
        """End the stream under way, from another thread."""
        answer = self._answer
        if answer is not None:
            answer.abort()

    def _pieces(
        self, start: int, stop: int, place: str | None = None, *, strict: bool = False
    ) -> Iterator[bytes]:
        if stop <= start:
            return
        if place is not None:
            endpoint = self._client.endpoint(place)
            answer, skip = self._open(endpoint, start, stop, strict=strict)
        else:
            answer, skip = self._client.first(
                lambda endpoint: self._open(endpoint, start, stop, strict=strict)
            )
        self._answer = answer
        try:
            check()  # called off before it could be aborted
            for data in answer.chunks():
                check()
                if skip:
                    dropped = min(skip, len(data))
                    skip -= dropped
                    data = data[dropped:]  # noqa: PLW2901
                if data:
                    yield data
        finally:
            self._answer = None
            answer.close()

    def _open(
        self, endpoint: Endpoint, start: int, stop: int, *, strict: bool = False
    ) -> tuple[Answer, int]:
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
        ignored = headers and answer.status == 200 and not partial
        if strict and (ignored or wrong or (headers and answer.status in (400, 416))):
            self.ranged = False
            raise self._not_the_range(answer, start, stop)
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
            # Whoever reads a blob counts failures by itself, since the last progress.
            attempts=2,
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
