"""Image references, as a user writes them and as registries need them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import NoReturn

from didlab import errors
from didlab.oci import digest as digests

__all__ = [
    "DEFAULT_REGISTRY",
    "Reference",
    "parse_registry",
    "valid_repository",
    "valid_tag",
]

DEFAULT_REGISTRY = "docker.io"
#: Docker Hub's other names. Credentials and ``library/`` depend on there being one.
_HUB_ALIASES = frozenset({"index.docker.io", "registry-1.docker.io"})
REPOSITORY_LIMIT = 255
HOST_LIMIT = 253  # DNS has no longer names

# Explicit ASCII classes and possessive repeats: no full-width digits, linear time on any text.
# Groups repeat greedily: possessive ones go wrong before Python 3.11.5, and each turn of theirs
# begins with a mark of its own.
_LABEL = "[A-Za-z0-9]++(?:-++[A-Za-z0-9]++)*"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]++\])(?::[0-9]++)?"
_COMPONENT = r"[a-z0-9]++(?:(?:\.|__?+|-++)[a-z0-9]++)*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG_TEXT = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}+"
_DIGEST = "sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})"

_REFERENCE = re.compile(rf"(?:({_HOST})/)?({_PATH})(?::({_TAG_TEXT}))?(?:@({_DIGEST}))?")
_REGISTRY = re.compile(_HOST)
_REPOSITORY = re.compile(_PATH)
_TAG = re.compile(_TAG_TEXT)
_HEX = re.compile("[0-9a-f]{64}")
_PORT = re.compile("[1-9][0-9]{0,4}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A registry, a repository in it, and a tag, a digest or both.

    Where both are given the digest says what is meant and the tag is its label. ``str()`` is the
    canonical form, which parses to an equal reference.

    Examples
    --------
    >>> ref = Reference.parse("nginx")
    >>> ref.registry, ref.repository, ref.tag, ref.digest
    ('docker.io', 'library/nginx', 'latest', None)
    >>> str(ref), ref.familiar()
    ('docker.io/library/nginx:latest', 'nginx')
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        # Everything here goes into URLs and file names, whoever made it.
        if _canonical_host(self.registry) != self.registry:
            _refuse_part(self.registry, "is not a registry in canonical form")
        if not valid_repository(self.repository):
            _refuse_part(self.repository, "is not a repository name")
        if self.registry == DEFAULT_REGISTRY and "/" not in self.repository:
            _refuse_part(self.repository, "lacks the namespace that Docker Hub needs")
        if self.tag is not None and not valid_tag(self.tag):
            _refuse_part(self.tag, "is not a tag")
        if self.digest is not None and not digests.is_digest(self.digest):
            _refuse_part(self.digest, "is not a digest")
        if self.tag is None and self.digest is None:
            object.__setattr__(self, "tag", "latest")

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference as Docker does; `InvalidReference` says what is wrong and where."""
        reference = _parse(text)
        if reference is None:
            from didlab.oci import reference_errors

            raise reference_errors.explain(text, _parse)
        return reference

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def target(self) -> str:
        """What to ask the registry for: the digest, else the tag."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    def familiar(self) -> str:
        """Return the shortest form that parses to this reference.

        >>> Reference.parse("docker.io/library/redis:7").familiar()
        'redis:7'
        >>> Reference.parse("docker.io/localhost/x:1").familiar()
        'docker.io/localhost/x:1'
        """
        path = self.repository
        if self.registry == DEFAULT_REGISTRY:
            first, _, rest = path.partition("/")
            if first == "library" and "/" not in rest:
                path = rest
            elif _is_host(first):
                path = self.name
        else:
            path = self.name
        if self.digest is not None:
            tag = f":{self.tag}" if self.tag is not None else ""
            return f"{path}{tag}@{self.digest}"
        if self.tag == "latest" and not _HEX.fullmatch(path):
            return path
        short = f"{path}:{self.tag}"
        # A repository "sha256" with a tag of 64 digits reads as a digest.
        return str(self) if digests.is_digest(short) else short

    def with_digest(self, digest: str) -> Reference:
        """Return the same name pinned to ``digest``; a tag stays as its label."""
        return Reference(self.registry, self.repository, self.tag, digest)

    def with_tag(self, tag: str) -> Reference:
        """Return the same repository at ``tag``; a digest is dropped, since it would win."""
        return Reference(self.registry, self.repository, tag)


def valid_tag(text: object) -> bool:
    """Whether ``text`` can be a tag.

    >>> valid_tag("v1.0_x"), valid_tag("-1"), valid_tag("a" * 129)
    (True, False, False)
    """
    return isinstance(text, str) and _TAG.fullmatch(text) is not None


def valid_repository(text: object) -> bool:
    """Whether ``text`` can be a repository's name within its registry.

    >>> valid_repository("library/nginx"), valid_repository("a//b"), valid_repository("A")
    (True, False, False)
    """
    return (
        isinstance(text, str)
        and len(text) <= REPOSITORY_LIMIT
        and _REPOSITORY.fullmatch(text) is not None
    )


def parse_registry(text: str) -> str:
    """Return a registry's host, with its port where given, in canonical form.

    >>> parse_registry("Registry-1.docker.io"), parse_registry("[::1]:5000")
    ('docker.io', '[::1]:5000')
    """
    host = _canonical_host(text)
    if host is None:
        from didlab.oci import reference_errors

        raise reference_errors.explain_registry(text, _canonical_host)
    return host


def _parse(text: object) -> Reference | None:
    match = _REFERENCE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    host, path, tag, digest = match.groups()
    if host is None:
        # A first part like foo_bar.com can be no host, but was meant as one.
        first, slash, _ = path.partition("/")
        if slash and _is_host(first):
            return None
        if not slash and tag is None and digest is None and _HEX.fullmatch(path):
            return None
        if not slash and digest is None and tag and digests.is_digest(f"{path}:{tag}"):
            return None
        registry = DEFAULT_REGISTRY
    elif _is_host(host):
        canonical = _canonical_host(host)
        if canonical is None:
            return None
        registry = canonical
    elif host == host.lower():
        registry, path = DEFAULT_REGISTRY, f"{host}/{path}"
    else:
        # A host only by its capitals: folded, it would be somebody's namespace on Docker Hub.
        return None
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = f"library/{path}"
    if len(path) > REPOSITORY_LIMIT:
        return None
    if tag is None and digest is None:
        tag = "latest"
    reference = object.__new__(Reference)
    # The parts were just checked; __post_init__ would check them again.
    object.__setattr__(reference, "registry", registry)
    object.__setattr__(reference, "repository", path)
    object.__setattr__(reference, "tag", tag)
    object.__setattr__(reference, "digest", digest)
    return reference


def _is_host(first: str) -> bool:
    """Whether the part before the first slash is a registry, by Docker's rule."""
    return "." in first or ":" in first or first.lower() == "localhost"


def _canonical_host(text: object) -> str | None:
    """Return ``host[:port]`` in lower case, Docker Hub by its one name, None when it is none."""
    if not isinstance(text, str) or not _REGISTRY.fullmatch(text):
        return None
    host = text.lower()
    if host.startswith("["):
        end = host.index("]")
        try:
            ipaddress.IPv6Address(host[1:end])
        except ValueError:
            return None
        port = host[end + 2 :] if end + 1 < len(host) else None
    else:
        name, colon, digits = host.partition(":")
        port = digits if colon else None
        if len(name) > HOST_LIMIT:
            return None
        if name in _HUB_ALIASES and port is None:
            return DEFAULT_REGISTRY
        if name == "hub.docker.com":
            # Web pages, never a registry; people paste their addresses all the time.
            return None
    if port is not None and not _PORT.fullmatch(port):
        return None
    return None if port is not None and int(port) > 65535 else host


def _refuse_part(text: object, why: str) -> NoReturn:
    from didlab.oci import reference_pasted

    shown = reference_pasted.masked(text)
    raise errors.InvalidReference(
        f"'{shown}' {why}",
        text=shown,
        reason=why,
        hint="use Reference.parse() for names as people write them",
    )
