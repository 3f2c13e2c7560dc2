"""What looks like a secret is not shown: an image's own passwords do not end up in a notebook.

Display only: `Manifest.config` and what it holds stay as they are.
"""

from __future__ import annotations

import re

#: What stands in a secret's place; its length tells nothing.
MASK = "••••"

_NAME = re.compile(
    r"passw(?:or)?d|passphrase|(?:^|_)pass$|(?:^|_)pwd$|secret|token|credential"
    r"|(?:^|_)(?:api|auth|access|account|admin|crypt|deploy|encryption|jwt|license|master"
    r"|private|rsa|service|signing|ssh|storage)?_?keys?$"
    r"|apikey|privatekey|accesskey|(?:^|_)auth$",
    re.IGNORECASE,
)
# Fingerprints and names of public keys, and words about secrets rather than secrets.
_HARMLESS = re.compile(
    r"gpg_?keys?$|public_?keys?$|pub_?keys?$|(?:^|_)keys?_?(?:id|ids|server|ring|type|size|length)"
    r"|_(?:file|path|dir|url|uri|ttl|timeout|expiry|length|size|type|name|header|endpoint|enabled"
    r"|version|sha256|sha512|checksum)$",
    re.IGNORECASE,
)
_VALUE = re.compile(r"(?:true|false|yes|no|on|off|none|null|[0-9]{1,4})", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\w+|\{[^}]*\})|[%<]\w+[%>]|/[\w./-]+")

_KNOWN = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{12,}"
    r"|\bgh[pousr]_[0-9A-Za-z]{16,}|\bgithub_pat_\w{16,}"
    r"|\bglpat-[\w-]{16,}|\bdckr_pat_[\w-]{16,}|\bnpm_[0-9A-Za-z]{20,}|\bpypi-AgE[\w-]{16,}"
    r"|\bhf_[0-9A-Za-z]{20,}|\bxox[abeoprs]-[\w-]{10,}|\b[rs]k_(?:live|test)_\w{10,}"
    r"|\bsk-[\w-]{20,}|\bAIza[\w-]{30,}"
    # Only where a word begins: each "eyJ" within one would be read to the word's end in vain.
    r"|(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?"
)
_PEM = re.compile(
    r"-----BEGIN (?![A-Z0-9 ]*(?:CERTIFICATE|PUBLIC KEY))[A-Z0-9 ]{1,60}-----"
    r"(?s:.*?)(?:-----END[A-Z0-9 ]{0,60}-----|\Z)"
)
_URL = re.compile(
    r"(\b[a-z][a-z0-9+.-]{1,20}://[^\s/@:\"']{0,200}:)[^\s/@\"']{1,500}@", re.IGNORECASE
)
# An option and its value may have a space between them; everything else has = or :.
_NAMED = re.compile(
    r"(?<![\w.-])(?:--?([A-Za-z][\w.-]{0,250})[ ]{1,2}(?!-)"
    r"|-{0,2}([A-Za-z_][\w.-]{0,250})\\?[\"']?[ ]{0,2}[=:][ ]{0,2})"
)
_GIVEN = re.compile(r"\\?\"[^\"]*\"?|\\?'[^']*'?|[^\s\"';&|,]+")


def is_name(name: str) -> bool:
    """Whether what goes by such a name is probably a secret.

    >>> is_name("DB_PASSWORD"), is_name("AWS_SECRET_ACCESS_KEY"), is_name("api-key")
    (True, True, True)
    >>> is_name("GPG_KEY"), is_name("TOKEN_FILE"), is_name("KEYBOARD"), is_name("PATH")
    (False, False, False, False)
    """
    # dots and dashes separate words in labels, capitals in others
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name[:200]).replace("-", "_").replace(".", "_")
    return bool(_NAME.search(plain)) and not _HARMLESS.search(plain)


def is_secret(name: str, value: str) -> bool:
    """Whether a named value is probably a secret: by its name, or by how it looks."""
    return (is_name(name) and _telling(value)) or mask(value) != value


def masked(name: str, value: str) -> str:
    """Return a named value to be shown, `MASK` in its place where the name tells of a secret.

    >>> masked("DB_PASSWORD", "hunter2"), masked("DB_PASSWORD", ""), masked("PATH", "/bin")
    ('••••', '', '/bin')
    """
    return MASK if is_name(name) and _telling(value) else mask(value)


def mask(text: str) -> str:
    """Return text with what looks like a secret replaced by `MASK`.

    >>> mask("curl -H 'Authorization: x' https://me:pw@host/ --password hunter2")
    "curl -H 'Authorization: x' https://me:••••@host/ --password ••••"
    >>> mask("ENV DB_PASSWORD=hunter2 PATH=/bin"), mask("ghp_0123456789abcdefghij")
    ('ENV DB_PASSWORD=•••• PATH=/bin', '••••')
    """
    found = _PEM.sub(MASK, text) if "-----BEGIN" in text else text
    found = _KNOWN.sub(MASK, found)
    if "://" in found:
        found = _URL.sub(rf"\1{MASK}@", found)
    return _named(found)


def _named(text: str) -> str:
    """Mask what follows a name that tells of a secret."""
    done, at, parts = 0, 0, []
    while match := _NAMED.search(text, at):
        at = match.end()
        value = _GIVEN.match(text, at) if is_name(match[1] or match[2]) else None
        if value is not None and _telling(value.group().strip("\\\"'")):
            parts += [text[done:at], MASK]
            done = at = value.end()
    return "".join([*parts, text[done:]])


def _telling(value: str) -> bool:
    """Whether a value could be a secret at all: neither a switch nor a reference to another."""
    return bool(value) and not _VALUE.fullmatch(value) and not _VARIABLE.fullmatch(value[:300])
