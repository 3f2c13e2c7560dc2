"""Secrets that tell what they are: tokens with a prefix, keys in the form that a service gives."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from didlab.audits.secrets.placeholders import entropy, is_placeholder
from didlab.audits.secrets.rule import Span

__all__ = ["TOKENS", "Token", "spans"]

#: Places in one file that are looked at closely for one rule.
_HITS = 2000


@dataclass(frozen=True, slots=True)
class Token:
    """A rule for secrets of one kind.

    Attributes
    ----------
    name, severity : str
    needles : tuple of bytes
        One of them is in every content that has such a secret.
    pattern : Pattern
        Its group ``secret`` (else all of it) is the secret, ``prefix`` what is public of it.
    """

    name: str
    severity: str
    needles: tuple[bytes, ...]
    pattern: re.Pattern[bytes]


def _token(name: str, severity: str, needles: str, pattern: str) -> Token:
    # Nothing that a longer word merely contains; the bound also keeps hostile runs linear.
    bounded = rf"(?<![\w-])(?:{pattern})(?![\w])"
    return Token(
        name,
        severity,
        tuple(needle.encode() for needle in needles.split()),
        re.compile(bounded.encode()),
    )


TOKENS: tuple[Token, ...] = (
    _token("aws-access-key", "medium", "AKIA ASIA", r"(?P<prefix>AKIA|ASIA)[A-Z2-7]{16}"),
    _token(
        "aws-secret-key",
        "high",
        "aws AWS",
        r"(?i:aws_?)(?:[\w.-]{0,20})(?i:secret|sk)(?:[\w.-]{0,20})[\"']?[ \t]{0,5}(?:=>|[:=,])"
        r"[ \t]{0,5}[\"']?(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
    ),
    _token("google-api-key", "medium", "AIza", r"(?P<prefix>AIza)[\w-]{35}"),
    _token(
        "azure-key",
        "high",
        "AccountKey= SharedAccessKey= 8Q~ 7Q~",
        r"(?:Account|SharedAccess)Key=(?P<secret>[A-Za-z0-9+/]{42,86}={1,2})"
        r"|[\w.~]{3}[78]Q~[\w.~-]{31,34}",
    ),
    _token(
        "github-token",
        "high",
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        r"(?P<prefix>gh[pousr]_|github_pat_)\w{36,255}",
    ),
    _token(
        "gitlab-token",
        "high",
        "glpat- gldt- glrt-",
        r"(?P<prefix>gl(?:pat|dt|rt)-)[\w.-]{20,300}",
    ),
    _token(
        "slack-token",
        "high",
        "xox xapp- hooks.slack.com",
        r"(?P<prefix>xox[abeoprs]-|xapp-)[\w-]{10,300}"
        r"|https://hooks\.slack\.com/(?:services|workflows)/(?P<secret>[\w/+-]{40,100})",
    ),
    _token("stripe-key", "high", "k_live_", r"(?P<prefix>[sr]k_live_)[0-9A-Za-z]{16,250}"),
    _token("npm-token", "high", "npm_", r"(?P<prefix>npm_)[A-Za-z0-9]{36}"),
    _token("pypi-token", "high", "pypi-AgE", r"(?P<prefix>pypi-)AgE[\w-]{50,1000}"),
    _token("docker-token", "high", "dckr_", r"(?P<prefix>dckr_(?:pat|oat)_)[\w-]{20,100}"),
    _token(
        "openai-key",
        "high",
        "sk-",
        r"(?P<prefix>sk-)(?:(?:proj|ant|svcacct|admin)-[\w-]{20,300}|[A-Za-z0-9]{48})",
    ),
    _token("huggingface-token", "high", "hf_", r"(?P<prefix>hf_)[A-Za-z]{34}"),
    _token("sendgrid-key", "high", "SG.", r"(?P<prefix>SG\.)[\w-]{22}\.[\w-]{43}"),
    _token("digitalocean-token", "high", "_v1_", r"(?P<prefix>do[opr]_v1_)[a-f0-9]{64}"),
    _token("vault-token", "high", "hvs. hvb.", r"(?P<prefix>hv[sb]\.)[\w-]{24,300}"),
    _token("age-key", "high", "AGE-SECRET-KEY-1", r"(?P<prefix>AGE-)SECRET-KEY-1[0-9A-Z]{58}"),
    _token(
        "jwt",
        "medium",
        "eyJ",
        r"(?P<prefix>eyJ)[\w-]{10,2000}\.eyJ[\w-]{10,8000}\.[\w-]{20,2000}",
    ),
    _token(
        "authorization",
        "high",
        "uthorization UTHORIZATION",
        r"(?i:(?:proxy-)?authorization)\\?[\"']?[ \t]{0,5}[:=][ \t]{0,5}\\?[\"']?"
        r"(?i:basic|bearer|token)[ \t]{1,5}(?P<secret>[\w+/=.~-]{16,4000})",
    ),
    _token(
        "url-password",
        "high",
        "://",
        r"[A-Za-z][A-Za-z0-9+.-]{1,20}://(?P<user>[^\s/@:\"'<>(){},;]{0,200}):"
        r"(?P<secret>[^\s/@\"'<>]{3,300})@(?P<host>[^\s/:@\"'<>(){},;]{1,300})",
    ),
)


def spans(content: bytes) -> Iterator[Span]:
    """Yield the secrets in a content that tell what they are."""
    for rule in TOKENS:
        if not any(needle in content for needle in rule.needles):
            continue
        for count, match in enumerate(rule.pattern.finditer(content)):
            if count >= _HITS:
                break
            if (span := _span(rule, match)) is not None:
                yield span


def _span(rule: Token, match: re.Match[bytes]) -> Span | None:
    groups = match.groupdict()
    group: str | int = "secret" if groups.get("secret") is not None else 0
    secret = match[group]
    if is_placeholder(secret) or not _telling(rule.name, secret, groups):
        return None
    prefix = groups.get("prefix") or b""
    return Span(rule.name, rule.severity, match.start(group), match.end(group), prefix)


def _telling(rule: str, secret: bytes, groups: dict[str, bytes | None]) -> bool:
    """Whether a match may be real: what only looks like it has no entropy, or cannot be read."""
    if rule == "url-password":
        return _in_url(secret, groups.get("user") or b"", groups.get("host") or b"")
    if rule == "jwt":
        return _is_jwt(secret)
    if rule == "authorization":
        return entropy(secret) > 3
    return entropy(secret) > 2.5


_DUMMY_HOSTS = re.compile(
    rb"(?i:.*\bexample(?:\.(?:com|org|net|edu))?|.*\.(?:example|invalid|test)|host(?:name)?|server|[$%{*].*"
    rb"|.*\.tld|(?:www\.)?(?:foo|bar|my|some)\w*(?:\.\w+)?|somewhere.*)\.?"
)
_DUMMY_USERS = re.compile(
    rb"(?i:user|usr|username|joe|me|foo|bar|login|name|bob|alice|u|uid|id)\d?"
)


def _in_url(secret: bytes, user: bytes, host: bytes) -> bool:
    if _DUMMY_HOSTS.fullmatch(host):
        return False
    # Documentation's, all over: user:password@, user:pass@, foo:bar@.
    return not (_DUMMY_USERS.fullmatch(user) and (len(secret) < 6 or secret.isalpha()))


def _is_jwt(secret: bytes) -> bool:
    header = secret.partition(b".")[0]
    try:
        told = json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return False
    # The payload of jwt.io's example: {"sub":"1234567890"
    return isinstance(told, dict) and "alg" in told and b".eyJzdWIiOiIxMjM0NTY3ODkw" not in secret
