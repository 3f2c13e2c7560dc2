"""The certificates of an image: trust stores, and those that lie about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from didlab._extras import need
from didlab.audits import x509
from didlab.audits.holding import holding
from didlab.audits.x509 import Certificate
from didlab.errors import MalformedContent
from didlab.files import paths as names
from didlab.files.looks import Facts, Look
from didlab.views import frames

if TYPE_CHECKING:
    import pandas as pd

    from didlab.model.inside import Layers

__all__ = ["CertificatesLook", "check", "frame"]

_PATH = re.compile(
    rb"\.(?:pem|crt|cer|der|cert)\Z|/(?:cacert|ca-bundle|ca-certificates|tls-ca-bundle)[^/]*\Z"
    rb"|/etc/(?:ssl|pki)/(?:[^/]+/)*[^/]+\.0\Z",
    re.IGNORECASE,
)
_MARKS = (b".pem", b".crt", b".cer", b".der", b"cacert", b"ca-bundle", b"ca-certificates", b".0\0")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CertificatesLook(Look):
    """Certificates in files that are named for them, of at most 4 MiB. Needs cryptography.

    Facts are rows of `Certificate`.
    """

    name = "certificates 1"
    most = 4 * 1024 * 1024

    def wants(self, path: bytes, size: int) -> bool:
        """Whether a file may have certificates, by its name."""
        return 0 < size <= self.most and _PATH.search(path) is not None

    def maybe(self, paths: bytes) -> bool:
        """Whether a file among the paths may."""
        lower = paths.lower() + b"\0"
        return any(mark in lower for mark in _MARKS)

    def facts(self, path: bytes, content: bytes) -> Facts:
        """Return a row for each certificate."""
        del path
        return [list(one) for one in x509.certificates(content)]


def check() -> None:
    """See that certificates can be read, before anything is learned and kept.

    Raises
    ------
    ImportError
        cryptography is not installed.
    """
    need("cryptography.x509", "audit", "m.certificates()")


def frame(layers: Layers, reference: str) -> pd.DataFrame:
    """Return the table ``certificates``. Raises as `check` and `Layers.learn`."""
    check()
    now = datetime.now(UTC)
    made = sorted(_rows(layers, now), key=lambda row: (row[8], row[0], row[10]))
    return frames.frame("certificates", made, reference=reference)


def _rows(layers: Layers, now: datetime) -> Iterator[tuple[Any, ...]]:
    look = CertificatesLook()
    told = layers.learn([look])[look.name]
    for held in holding(layers, look, told):
        for fact in told[held.layer][held.key]:
            try:
                one = Certificate.from_fact(fact)
                begins, ends = (
                    _EPOCH + timedelta(seconds=s) for s in (one.not_before, one.not_after)
                )
            except (MalformedContent, OverflowError):
                continue
            yield (
                *(one.subject, one.issuer, begins, ends, ends < now, one.serial, one.key, one.ca),
                *(names.shown(held.path), held.layer, one.sha256),
            )
