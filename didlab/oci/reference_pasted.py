"""Text that people paste where a reference is wanted: what may be shown of it, what it means."""

from __future__ import annotations

import re

from didlab import errors
from didlab.oci.reference_commands import image_of

__all__ = ["SCHEME", "TRANSPORT", "masked", "meant"]

_DIGEST_ATTEMPT = re.compile(r"(?:sha-?[0-9]+|md5|blake[0-9a-z]*)[:=+-][^/@]*|[0-9a-f]{32,}", re.I)
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
TRANSPORT = re.compile(
    r"(?:docker-daemon|docker-archive|oci-archive|oci|dir|containers-storage|docker):(?://)?"
)
#: A shell's prompt, a key of a compose file or a manifest, a Dockerfile's line.
_BEFORE = re.compile(r"\s*(?:[$#>%] +|(?:- +)?image: *|FROM +)(?=\S)")
_COMMAND = re.compile(r"\s*(?:[$#>%] +)?(?:sudo +)?(?:docker|podman|nerdctl|crane|skopeo|ctr)\s")
_LOGIN = re.compile(r"(\blogin)\s.*", re.DOTALL)
_OPTION = re.compile(r"(?<!\S)(--?[a-z-]*(?:creds|password|token)|-[pu])[ =]\S+")
#: Pages about images, and how the image is called that a page is about.
_PAGES = (
    (re.compile(r"hub\.docker\.com/_/([^/?#]+)"), r"\1"),
    (re.compile(r"hub\.docker\.com/(?:r|repository/docker)/([^/?#]+/[^/?#]+)"), r"\1"),
    (re.compile(r"hub\.docker\.com/layers/library/([^/?#]+)/([^/?#]+)"), r"\1:\2"),
    (re.compile(r"hub\.docker\.com/layers/([^/?#]+/[^/?#]+)/([^/?#]+)"), r"\1:\2"),
    (re.compile(r"quay\.io/repository/([^/?#]+/[^/?#]+)"), r"quay.io/\1"),
    (re.compile(r"gallery\.ecr\.aws/([^/?#]+/[^/?#]+)"), r"public.ecr.aws/\1"),
    (
        re.compile(r"github\.com/(?:orgs/)?([^/?#]+)/(?:[^/?#]+/)?pkgs/container/([^/?#]+)"),
        r"ghcr.io/\1/\2",
    ),
    (re.compile(r"([^/?#]+)/v2/([^?#]+)/manifests/(sha[0-9]+:[0-9a-f]+)"), r"\1/\2@\3"),
    (re.compile(r"([^/?#]+)/v2/([^?#]+)/manifests/([^/?#]+)"), r"\1/\2:\3"),
    (re.compile(r"([^/?#]+)/v2/([^?#]+)/tags/list"), r"\1/\2"),
)


def masked(text: object, *, host: bool = False) -> str:
    """Return ``text`` fit for a message: no credentials, no control characters, not too long.

    In a ``host`` an @ can only end credentials; in a reference ``nginx@1.27`` is a mere slip.

    >>> masked("https://user:secret@host/x?token=abc")
    'https://***@host/x?***'
    """
    if not isinstance(text, str):
        return errors.printable(type(text).__name__, 100)
    scheme = SCHEME.match(text)
    start = scheme.end() if scheme else 0
    body = _LOGIN.sub(r"\1 ***", _OPTION.sub(r"\1 ***", text[start:]))
    # The last @, because a password may hold one (and a ?); a digest's own @ does not count.
    at = body.rfind("@")
    if at >= 0 and _DIGEST_ATTEMPT.fullmatch(body, at + 1):
        at = body.rfind("@", 0, at)
    if at >= 0 and (host or scheme or ":" in body[:at] or "/" in body[at:]):
        body = f"***{body[at:]}"
    body, query, _ = body.partition("?")
    return errors.printable(text[:start] + body + (f"{query}***" if query else ""), 300)


def meant(text: str) -> str | None:
    """Return the reference that pasted text is about; not yet checked to be one."""
    name = text.strip()
    if _COMMAND.match(text):
        if _LOGIN.search(text):
            return None
        named = image_of(name.split())
        if named is None:
            return None
        name = named
    elif before := _BEFORE.match(text):
        name = text[before.end() :].split(maxsplit=1)[0].strip("'\"")
    scheme = SCHEME.match(name)
    if scheme:
        name = name[scheme.end() :]
    else:
        transport = TRANSPORT.match(name)
        if transport:
            name = name[transport.end() :]
    head, at, rest = name.rpartition("@")
    if at and not _DIGEST_ATTEMPT.fullmatch(rest):
        name = rest if scheme or ":" in head or "/" in rest else f"{head}:{rest}"
    for page, spelling in _PAGES:
        found = page.match(name)
        if found:
            name = found.expand(spelling)
            break
    else:
        if scheme:
            name = re.split("[?#]", name, maxsplit=1)[0]
        name = name.rstrip("/")
        if scheme and scheme[0].lower().startswith("http") and "/" not in name:
            # A bare host; without the scheme it would read as an image of Docker Hub.
            return None
    plain, at, digest = name.partition("@")
    path, colon, tag = plain.rpartition(":")
    if not colon or "/" in tag:
        path, colon, tag = plain, "", ""
    name = f"{path.lower()}{colon}{tag}{at}{digest.lower()}"
    return None if name == text else name
