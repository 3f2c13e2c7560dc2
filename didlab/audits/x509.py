"""Certificates (RFC 5280) in PEM and DER, read by the package cryptography."""

from __future__ import annotations

import binascii
import re
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from didlab._extras import need
from didlab.errors import MalformedContent

__all__ = ["LIMIT", "Certificate", "certificates"]

#: Certificates in one file.
LIMIT = 5000
#: What one has, at the very most.
_SIZE = 256 * 1024
_TEXT = 1000
_PEM = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(?P<body>[A-Za-z0-9+/=\s]{64,400000}?)"
    rb"-----END (?:X509 |TRUSTED )?CERTIFICATE-----"
)
_SPACE = re.compile(rb"\s+")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Certificate(NamedTuple):
    """What is told of a certificate; times in seconds since 1970, UTC."""

    subject: str
    issuer: str
    not_before: int
    not_after: int
    serial: str
    key: str
    ca: bool
    sha256: str

    @classmethod
    def from_fact(cls, fact: Any) -> Certificate:
        """Return one of the list that JSON held.

        Raises
        ------
        MalformedContent
            It is another list, or none.
        """
        match fact:
            case [str(), str(), int(), int(), str(), str(), bool(), str()]:
                return cls(*fact)
        raise MalformedContent("no facts about certificates")


def certificates(content: bytes) -> Iterator[Certificate]:
    """Yield the certificates in a content; what is none is passed over.

    Raises
    ------
    ImportError
        cryptography is not installed.
    """
    load = need("cryptography.x509", "audit", "m.certificates()").load_der_x509_certificate
    for count, raw in enumerate(_raw(content)):
        if count >= LIMIT:
            break
        try:
            with warnings.catch_warnings():
                # Of serial numbers and names that the RFC forbids, and roots have.
                warnings.simplefilter("ignore")
                yield _told(load(raw))
        except Exception:  # noqa: BLE001, S112 - it raises many things for what is no certificate
            continue


def _raw(content: bytes) -> Iterator[bytes]:
    if b"-----BEGIN" in content:
        for match in _PEM.finditer(content):
            try:
                raw = binascii.a2b_base64(_SPACE.sub(b"", match["body"]))
            except ValueError:
                continue
            yield _exactly(raw)
    elif content[:1] == b"\x30" and len(content) <= _SIZE:
        yield _exactly(content)


def _exactly(raw: bytes) -> bytes:
    """Return a DER sequence without what follows: OpenSSL's TRUSTED CERTIFICATE has more."""
    if len(raw) < 4 or raw[1] < 0x80:
        return raw
    count = raw[1] & 0x7F
    return raw[: 2 + count + int.from_bytes(raw[2 : 2 + count], "big")]


def _told(certificate: Any) -> Certificate:
    from cryptography.hazmat.primitives.hashes import SHA256

    return Certificate(
        certificate.subject.rfc4514_string()[:_TEXT],
        certificate.issuer.rfc4514_string()[:_TEXT],
        _seconds(certificate.not_valid_before_utc),
        _seconds(certificate.not_valid_after_utc),
        format(certificate.serial_number, "x"),
        _key(certificate),
        _ca(certificate),
        certificate.fingerprint(SHA256()).hex(),
    )


def _seconds(when: datetime) -> int:
    delta = when - _EPOCH
    return delta.days * 86400 + delta.seconds


def _key(certificate: Any) -> str:
    try:
        key = certificate.public_key()
    except Exception:  # noqa: BLE001 - of a kind, or on a curve, that it does not know
        return "unknown"
    kind = type(key).__name__.removesuffix("PublicKey").removeprefix("_").upper()
    if hasattr(key, "curve"):
        return f"EC {key.curve.name}"
    return f"{kind} {key.key_size}" if hasattr(key, "key_size") else kind.title()


def _ca(certificate: Any) -> bool:
    from cryptography.x509 import BasicConstraints

    try:
        found = certificate.extensions.get_extension_for_class(BasicConstraints)
    except Exception:  # noqa: BLE001 - not there, or not readable
        return False
    return bool(found.value.ca)
