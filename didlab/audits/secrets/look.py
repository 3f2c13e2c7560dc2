"""The look at a layer's files for secrets; what it keeps are findings, never a secret."""

from __future__ import annotations

from collections.abc import Iterator

from didlab.audits.secrets import assignments, credentials, keys, places, tokens
from didlab.audits.secrets.rule import FINDINGS, Finding, Span, redacted
from didlab.files.looks import Facts, Look, Sieve

__all__ = ["MOST", "SecretsLook", "findings"]

#: Text files up to this size are read, and those that a rule knows by name up to the next.
MOST = 1024 * 1024
_NAMED = 8 * 1024 * 1024
#: Where a NUL tells that a file is no text.
_FIRST = 8192
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class SecretsLook(Look):
    """Secrets in text files of at most 1 MiB, and in files that are known by their names.

    Facts are rows of `Finding.to_fact`, `findings` reads them: rule, line, and a form that tells
    nothing. At most 100 a file.
    """

    name = "secrets 1"
    most = _NAMED

    def wants(self, path: bytes, size: int) -> bool:
        """Whether a file may be text, or is known by its name."""
        if not size:
            return False
        if size <= MOST:
            return not places.is_binary(path) or credentials.rule_of(path) is not None
        return size <= _NAMED and credentials.rule_of(path) is not None

    def sieve(self, path: bytes, size: int) -> Sieve:
        """Return what keeps the content of text, and else what tells a file's kind."""
        rule = credentials.rule_of(path)
        return _Text(credentials.HEAD if rule is not None and rule.head is not None else 0)

    def facts(self, path: bytes, content: bytes) -> Facts:
        """Return a row for each secret."""
        return [finding.to_fact() for finding in findings(path, content)]


class _Text:
    """Keeps what is text; of everything else ``head`` bytes.

    None where no rule is about them: without the NUL behind them they would be searched as text.
    """

    def __init__(self, head: int) -> None:
        self.over = False
        self._head = head
        self._content = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        known = len(self._content)
        self._content += data
        if known < _FIRST and _is_binary(self._content):
            del self._content[self._head :]
            self.over = True

    def finish(self) -> bytes:
        """Return the content, or its first bytes."""
        return bytes(self._content)


def _is_binary(content: bytes | bytearray) -> bool:
    return b"\0" in content[:_FIRST] and not content.startswith(_UTF16)


def findings(path: bytes, content: bytes) -> list[Finding]:
    """Return what is secret in a file.

    Worst first, and of the same text only what the most telling rule says.
    """
    rule = credentials.rule_of(path)
    if rule is not None and rule.head is not None and rule.head(content[: credentials.HEAD]):
        return [Finding(rule.name, rule.severity)]
    if _is_binary(content):
        return []
    if content.startswith(_UTF16):
        content = content.decode("utf-16", "replace").encode()
    sample = places.is_sample(path)
    found = told(content, _spans(path, content, rule, sample))
    # Keys of tests, and of packages that everybody has.
    known = sample or places.is_vendored(path)
    return [one._replace(severity="low") for one in found] if known else found


def _spans(
    path: bytes, content: bytes, rule: credentials.FileRule | None, sample: bool
) -> Iterator[Span]:
    if rule is not None:
        yield from rule.spans(content)
    yield from keys.spans(content)
    others = places.is_others(path)
    for span in tokens.spans(content):
        # Manuals and other people's programs are full of such.
        if not ((sample or others) and span.rule in ("url-password", "authorization", "jwt")):
            yield span
    manner = places.manner(path)
    if manner is not None:
        yield from assignments.spans(content, manner)


def told(content: bytes, spans: Iterator[Span], most: int = FINDINGS) -> list[Finding]:
    """Return findings, by line; where spans overlap, the first one holds."""
    taken: list[Span] = []
    for span in spans:
        if len(taken) >= most:
            break
        if all(span.stop <= other.start or other.stop <= span.start for other in taken):
            taken.append(span)
    taken.sort(key=lambda span: span.start)
    found, line, at = [], 1, 0
    for span in taken:
        line += content.count(b"\n", at, span.start)
        at = span.start
        hidden = redacted(content[span.start : span.stop], span.prefix)
        found.append(Finding(span.rule, span.severity, line, hidden, _shown(span.name)))
    return found


def _shown(name: str) -> str | None:
    """Return a name to be kept; one that has a token in it is none."""
    telling = any(True for _ in tokens.spans(name.encode("utf-8", "replace")))
    return name if name and not telling else None
