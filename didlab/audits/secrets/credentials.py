"""Files that hold credentials by their name: rules by path, each with what must be in the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from didlab.audits.secrets import keys
from didlab.audits.secrets.placeholders import is_placeholder
from didlab.audits.secrets.rule import Span, named

__all__ = ["FILES", "HEAD", "FileRule", "rule_of"]

#: Bytes that are taken of files that are no text.
HEAD = 64
_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class FileRule:
    """A rule for files of some name.

    Attributes
    ----------
    name, severity : str
    path : Pattern
        Searched in the absolute path.
    find : callable, optional
        Yields the secrets in the content, as groups of a match; without it the file itself is
        the secret.
    head : callable, optional
        Whether the first bytes are those of such a file, which is no text.
    """

    name: str
    severity: str
    path: re.Pattern[bytes]
    find: Callable[[bytes], Iterator[re.Match[bytes]]] | None = None
    head: Callable[[bytes], bool] | None = None

    def spans(self, content: bytes) -> Iterator[Span]:
        """Yield the secrets in a content; none where the rule is about the file as a whole."""
        content = _uncommented(content) if b"<!--" in content else content
        for count, match in enumerate(self.find(content) if self.find else ()):
            if count >= _ROWS:
                break
            known = match.groupdict()
            secret = match["secret"]
            prefix = known.get("prefix") or b""
            if is_placeholder(secret) and not prefix:
                continue
            name = named(known.get("name") or b"")
            yield Span(self.name, self.severity, *match.span("secret"), prefix, name)


def _uncommented(content: bytes) -> bytes:
    """Return XML with blanks where comments are."""
    kept, at = [], 0
    while (start := content.find(b"<!--", at)) >= 0 and (stop := content.find(b"-->", start)) >= 0:
        kept += [content[at:start], b" " * (stop - start)]
        at = stop
    return b"".join([*kept, content[at:]])


def _found(pattern: bytes) -> Callable[[bytes], Iterator[re.Match[bytes]]]:
    compiled = re.compile(pattern, re.MULTILINE | re.VERBOSE)
    return compiled.finditer


def _begins(*magic: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magic)


def _rule(name: str, severity: str, path: bytes, find: bytes | None = None) -> FileRule:
    return FileRule(name, severity, re.compile(path), _found(find) if find else None)


def _binary(name: str, severity: str, path: bytes, head: Callable[[bytes], bool]) -> FileRule:
    return FileRule(name, severity, re.compile(path, re.IGNORECASE), head=head)


#: A hash of crypt(5): ``$6$…``, ``$y$…``; or of DES.
_HASH = rb"(?P<secret>(?P<prefix>\$[\w-]{1,10}\$)[^:\s]{8,400}|(?:(?<=:)_?[A-Za-z0-9./]{13,20}))"

FILES: tuple[FileRule, ...] = (
    _rule(
        "password-hash",
        "high",
        rb"\A/etc/(?:shadow|gshadow|passwd|group)(?:-|\.org|\.bak)?\Z",
        rb"^(?P<name>[^:\s]{1,64}):!{0,2}" + _HASH + rb"(?=:)",
    ),
    _rule(
        "htpasswd",
        "medium",
        rb"/\.?htpasswd\Z",
        rb"^(?P<name>[^:\s]{1,64}):(?P<secret>(?P<prefix>\$\w{1,4}\$|\{SHA\})?\S{8,300})",
    ),
    _rule(
        "npmrc",
        "high",
        rb"/(?:\.|)(?:npmrc|yarnrc|yarnrc\.yml)\Z",
        rb"(?P<name>_authToken|_auth|_password|npmAuthToken|npmAuthIdent)"
        rb"[ \t\"]{0,3}[=:][ \t\"]{0,3}(?P<secret>[^\s\"]{6,500})",
    ),
    _rule(
        "pypirc",
        "high",
        rb"/\.pypirc\Z",
        rb"^\s{0,20}(?P<name>password)\s{0,5}[=:][ \t]{0,5}(?P<secret>\S{3,500})",
    ),
    _rule(
        "netrc",
        "high",
        rb"/[._]netrc\Z",
        rb"\b(?P<name>password)\s{1,20}(?P<secret>\S{3,500})",
    ),
    _rule(
        "git-credentials",
        "high",
        rb"/(?:\.git-credentials|git/credentials)\Z",
        rb"://[^\s:@/]{0,200}:(?P<secret>[^\s@/]{3,500})@",
    ),
    _rule(
        "docker-config",
        "high",
        rb"/(?:\.docker/config\.json|\.dockercfg|\.dockerconfigjson|containers/auth\.json"
        rb"|kaniko/config\.json)\Z",
        rb"\"(?P<name>auth|identitytoken|registrytoken|password)\"\s{0,20}:\s{0,20}"
        rb"\"(?P<secret>[^\"\s]{4,8000})\"",
    ),
    _rule(
        "kubeconfig",
        "high",
        rb"/(?:\.kube/config|[^/]*kubeconfig[^/]*|kubernetes/[^/]+\.conf)\Z",
        rb"\b(?P<name>client-key-data|token|password|id-token|refresh-token)\"?:\s{0,5}"
        rb"[\"']?(?P<secret>[^\s\"']{8,20000})",
    ),
    _rule(
        "aws-credentials",
        "high",
        rb"/\.aws/(?:credentials|config)\Z",
        rb"^\s{0,20}(?P<name>aws_secret_access_key|aws_session_token)[ \t]{0,5}=[ \t]{0,5}"
        rb"(?P<secret>\S{16,4000})",
    ),
    _rule(
        "gcloud-credentials",
        "high",
        rb"/gcloud/(?:application_default_credentials|legacy_credentials/.{1,200})\.json\Z",
        rb"\"(?P<name>refresh_token|client_secret)\"\s{0,9}:\s{0,9}\"(?P<secret>[^\"\s]{8,2000})\"",
    ),
    _rule(
        "azure-credentials",
        "high",
        rb"/\.azure/(?:accessTokens|msal_token_cache|servicePrincipal|service_principal)[^/]*\Z",
        rb"\"(?P<name>accessToken|refreshToken|secret|client_secret)\"\s{0,9}:\s{0,9}"
        rb"\"(?P<secret>[^\"\s]{8,8000})\"",
    ),
    _rule(
        "pgpass",
        "high",
        rb"/\.pgpass\Z",
        rb"^(?P<name>(?:[^:\n#]{1,200}:){3}[^:\n]{1,200}):(?P<secret>[^\n:]{1,300})$",
    ),
    _rule("vault-token", "high", rb"/\.vault-token\Z", rb"\A\s{0,9}(?P<secret>\S{8,500})"),
    _rule(
        "cargo-credentials",
        "high",
        rb"/\.cargo/credentials(?:\.toml)?\Z",
        rb"^\s{0,9}(?P<name>token)\s{0,5}=\s{0,5}\"(?P<secret>[^\"\s]{8,500})\"",
    ),
    _rule(
        "maven-settings",
        "high",
        rb"/(?:\.m2|conf|maven)/settings(?:-security)?\.xml\Z",
        rb"<(?P<name>password|passphrase|master)>\s{0,9}(?P<secret>[^<\s]{2,500})\s{0,9}</",
    ),
    _rule(
        "gem-credentials",
        "high",
        rb"/\.gem/credentials\Z",
        rb"^:(?P<name>\w{1,60}):\s{0,5}(?P<secret>\S{8,500})",
    ),
    _rule(
        "rclone",
        "high",
        rb"/rclone\.conf\Z",
        rb"^(?P<name>pass(?:word2?)?|token|secret_access_key|client_secret|key)\s{0,5}=\s{0,5}"
        rb"(?P<secret>\S{4,4000})",
    ),
    _rule(
        "wireguard",
        "high",
        rb"/wireguard/[^/]+\.conf\Z",
        rb"^(?P<name>PrivateKey|PresharedKey)\s{0,5}=\s{0,5}(?P<secret>[A-Za-z0-9+/]{42,44}=)",
    ),
    _rule(
        "gh-hosts",
        "high",
        rb"/(?:gh/hosts|hub)(?:\.yml)?\Z",
        rb"^\s{0,20}(?P<name>oauth_token):\s{0,5}(?P<secret>\S{8,500})",
    ),
    _rule(
        "terraform-state",
        "high",
        rb"\.tfstate(?:\.backup)?\Z",
        rb"\"(?P<name>\w{0,40}(?:password|secret|token|private_key|access_key)\w{0,20})\"\s{0,9}:"
        rb"\s{0,9}\"(?P<secret>[^\"\n]{4,8000})\"",
    ),
    _binary(
        "key-store",
        "medium",
        rb"/(?![^/]*trust|cacerts)[^/]+\.(?:jks|keystore|jceks|bks|p12|pfx)\Z",
        _begins(b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce", b"\x30\x82", b"\x30\x80", b"\x30\x83"),
    ),
    _binary("password-store", "medium", rb"\.kdbx?\Z", _begins(b"\x03\xd9\xa2\x9a")),
    _binary("private-key", "high", rb"\.(?:key|der|pk8|pkcs8|pem|priv)\Z", keys.is_der),
    _binary(
        "credentials-database",
        "high",
        rb"/gcloud/(?:credentials|access_tokens)\.db\Z",
        _begins(b"SQLite format 3"),
    ),
)


def rule_of(path: bytes) -> FileRule | None:
    """Return the rule for files of this path."""
    name = path.rpartition(b"/")[2]
    # Nearly all files end so; one look spares them the rest.
    if not _MAYBE.search(name):
        return None
    return next((rule for rule in FILES if rule.path.search(path)), None)


_MAYBE = re.compile(
    rb"""\A(?:g?shadow|passwd|group)[-.]?|htpasswd|npmrc|yarnrc|pypirc|netrc|credentials|docker|auth\.json|kubeconfig
    |\A(?:config(?:\.json)?|hub|hosts\.yml)\Z|\.conf\Z|token|ervicePrincipal|service_principal|pgpass|settings
    |\.(?:tfstate|backup|jks|keystore|jceks|bks|p12|pfx|kdbx?|key|der|pk8|pkcs8|pem|priv)\Z
    |\A(?:access_tokens|credentials)\.db\Z|\.json\Z""",
    re.VERBOSE | re.IGNORECASE,
)
