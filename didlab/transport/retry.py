"""When to try again, and how long to wait: pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

#: Attempts of one request at one place; the field agrees on five.
ATTEMPTS = 5
#: A refused connection is seldom better within seconds.
CONNECT_ATTEMPTS = 3

#: Passing faults, nginx's 499 and Cloudflare's 52x included.
PASSING = frozenset({408, 425, 429, 499, 500, 502, 503, 504, 520, 521, 522, 523, 524})


def retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for (RFC 9110, 10.2.3): a number or a date.

    None when there is none or it cannot be read; never negative.

    >>> retry_after("120"), retry_after("soon"), retry_after("1_0")
    (120.0, None, None)
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) < 12 else 1e12
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def quota(value: str | None) -> tuple[int | None, int | None]:
    """Read ``100;w=21600``: how many, and in how many seconds.

    >>> quota("100;w=21600"), quota("7"), quota("many")
    ((100, 21600), (7, None), (None, None))
    """
    if value is None:
        return None, None
    count, _, rest = value.partition(";")
    window = None
    for part in rest.split(";"):
        name, _, number = part.strip().partition("=")
        if name == "w":
            window = _number(number)
    return _number(count.strip()), window


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def limits(headers: Mapping[str, str], *, now: datetime | None = None) -> dict[str, object]:
    """Return what a registry's headers say about rates.

    The keys are ``limit remaining window retry_after resets source``.

    Docker Hub's ``RateLimit-*`` and the ``X-RateLimit-*`` of others; each None where untold.
    """
    now = now or datetime.now(UTC)
    limit, window = quota(headers.get("RateLimit-Limit") or headers.get("X-RateLimit-Limit"))
    remaining, window2 = quota(
        headers.get("RateLimit-Remaining") or headers.get("X-RateLimit-Remaining")
    )
    wait = retry_after(headers.get("Retry-After"), now=now)
    reset = headers.get("RateLimit-Reset") or headers.get("X-RateLimit-Reset") or ""
    resets: datetime | None = None
    if wait is None and reset.isascii() and reset.isdigit() and len(reset) < 12:
        # Small numbers are seconds from now, large ones seconds since 1970.
        seconds = float(reset)
        wait = seconds if seconds < 1e8 else max(0.0, seconds - now.timestamp())
    if wait is not None:
        try:
            resets = now + timedelta(seconds=wait)
        except OverflowError:
            resets = None
    return {
        "limit": limit,
        "remaining": remaining,
        "window": window if window is not None else window2,
        "retry_after": wait,
        "resets": resets,
        "source": headers.get("docker-ratelimit-source"),
    }


def is_limited(status: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer is about too many requests: 429, or 503 that says when to come again.

    >>> is_limited(503, {"Retry-After": "5"}), is_limited(503, {})
    (True, False)
    """
    return status == 429 or (status == 503 and retry_after(headers.get("Retry-After")) is not None)


class Rests:
    """The waits of one request for a place that takes no more for now.

    ``longest`` bounds all of them together. As long as a place says when to come again they do
    not count as attempts, unless ``patient`` is False.

    >>> rests = Rests(10, attempts=2)
    >>> [rests.after(asked, None, 0.1) for asked in (4.0, 4.0, 4.0)]
    [4.0, 4.0, None]
    """

    def __init__(self, longest: float, attempts: int, *, patient: bool = True) -> None:
        self._longest = longest
        self._left = attempts - 1
        self._patient = patient

    def after(self, asked: object, remaining: object, pause: float) -> float | None:
        """Return the seconds to wait after a refusal; None when waiting is not to be.

        ``asked`` are the seconds that the place named, ``pause`` those to wait where it did not.
        """
        named = asked if isinstance(asked, float) else 0.0
        if remaining == 0 and asked is None:
            return None  # the quota is used up, and nobody knows until when
        if not (self._patient and named):
            if self._left <= 0:
                return None
            self._left -= 1
        seconds = max(named, pause)
        if seconds > self._longest:
            return None
        self._longest -= seconds
        return seconds
