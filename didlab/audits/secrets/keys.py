"""Private keys: in PEM and its relatives, in JSON, and bare DER."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from didlab.audits.secrets.rule import Span

__all__ = ["is_der", "spans"]

#: What a body may have: a key of RSA has 16 KiB at the very most.
_BODY = 65536
_HITS = 500
_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?)-----")
_END = re.compile(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
#: Real line ends; in JSON and environments they are written out.
_NOISE = re.compile(rb"\\[rnt]|[\s\"'+,\\]+")
_HEADER = re.compile(rb"(?m)^[A-Za-z][A-Za-z-]{1,40}: .{0,200}$")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{64,}={0,3}(?:=[A-Za-z0-9+/]{4})?")
_SERVICE = re.compile(rb"\"type\"\s{0,20}:\s{0,20}\"service_account\"")
_PUTTY = re.compile(rb"PuTTY-User-Key-File-[0-9]: [\w-]{1,40}\r?\nEncryption: ([\w-]{1,40})")
_PUTTY_KEY = re.compile(rb"Private-Lines: [0-9]{1,4}\r?\n((?:[A-Za-z0-9+/=]{1,80}\r?\n?){1,200})")


def spans(content: bytes) -> Iterator[Span]:
    """Yield the private keys in a content; of encrypted ones severity is low."""
    if b"PRIVATE KEY" in content:
        service = _SERVICE.search(content) is not None
        for count, match in enumerate(_LABEL.finditer(content)):
            if count >= _HITS:
                break
            if (span := _block(content, match, service)) is not None:
                yield span
    if b"PuTTY-User-Key-File-" in content:
        head, key = _PUTTY.search(content), _PUTTY_KEY.search(content)
        if head and key:
            plain = head[1] == b"none"
            yield _key(plain, key.start(1), key.end(1), "PUTTY PRIVATE KEY")


def _block(content: bytes, begin: re.Match[bytes], service: bool) -> Span | None:
    end = _END.search(content, begin.end(), begin.end() + _BODY)
    if end is None:
        return None
    stored = content[begin.end() : end.start()]
    written_out = b"\\n" in stored
    text = stored.replace(b"\\n", b"\n").replace(b"\\r", b"") if written_out else stored
    body = _NOISE.sub(b"", _HEADER.sub(b"", text))
    if not _BASE64.fullmatch(body):
        return None  # documentation: dots, or nothing, where the key would be
    label = begin[1].decode()
    if service and written_out:
        return Span("gcp-service-account", "high", begin.end(), end.start(), name=label)
    return _key(not _encrypted(label, text, body), begin.end(), end.start(), label)


def _key(plain: bool, start: int, stop: int, label: str) -> Span:
    if plain:
        return Span("private-key", "high", start, stop, name=label)
    return Span("encrypted-private-key", "low", start, stop, name=label)


def _encrypted(label: str, text: bytes, body: bytes) -> bool:
    if label.startswith("ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in text:
        return True
    if label.startswith("OPENSSH"):
        # openssh-key-v1, NUL, then a cipher's name with its length (PROTOCOL.key of OpenSSH)
        try:
            head = base64.b64decode(body[:64], validate=True)
        except (binascii.Error, ValueError):
            return False
        return head.startswith(b"openssh-key-v1\0") and head[15:23] != b"\0\0\0\4none"
    return False


def is_der(content: bytes) -> bool:
    """Whether a content begins as a private key in DER does: PKCS #8, PKCS #1 or SEC 1.

    A sequence that begins with the version, 0 or 1, and goes on as no certificate does (its
    version is tagged, and a certificate's first part is a sequence).
    """
    if len(content) < 32 or content[0] != 0x30:
        return False
    at = 2 + (content[1] & 0x7F if content[1] & 0x80 else 0)
    if at > 4 or content[at : at + 2] != b"\x02\x01" or content[at + 2] > 1:
        return False
    after = content[at + 3 : at + 8]
    # an algorithm's sequence with an OID; a modulus of 64 bytes or more; an EC key's octets
    pkcs8 = after[0] == 0x30 and after[2:3] == b"\x06"
    pkcs1 = content[at + 2] == 0 and after[:1] == b"\x02" and after[1] >= 0x40
    sec1 = content[at + 2] == 1 and after[0] == 0x04 and 16 <= after[1] <= 72
    return pkcs8 or pkcs1 or sec1
