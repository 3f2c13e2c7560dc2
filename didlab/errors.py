"""Every exception that didlab raises on purpose.

::

    DidlabError
    ├── InvalidReference (ValueError)          text that is not an image reference
    ├── InvalidArgument (ValueError)           an argument that cannot be meant that way
    ├── Unsupported (NotImplementedError)      this place or this version cannot answer
    ├── ConfigError (ValueError)               a credentials or configuration file is broken
    │   └── HelperError                        a docker-credential-* program failed
    ├── AuthError (PermissionError)
    │   ├── AuthRequired                       the registry wants a login and none was found
    │   ├── AuthDenied                         the login was refused, or may not do this
    │   ├── RealmRefused                       the token server is not trusted with credentials
    │   └── TokenInvalid                       the token server's answer is no token
    ├── NotFound (KeyError)
    │   ├── RepositoryNotFound · ManifestNotFound · BlobNotFound
    │   ├── PlatformNotFound                   with the platforms that there are
    │   ├── LayerNotFound (IndexError)
    │   └── PathNotFound (FileNotFoundError)   no such file in this image, or on this machine
    ├── TransportError (ConnectionError)
    │   ├── ConnectFailed · TlsFailed · ProxyError
    │   ├── TimedOut (TimeoutError)            no answer, or silence, for too long
    │   ├── Truncated                          the answer ended early, again and again
    │   ├── RateLimited                        429: what is left and when it resets
    │   ├── ServerError                        5xx after all attempts
    │   ├── TooManyRedirects
    │   └── OriginRefused                      a redirect or link to a forbidden place
    ├── ProtocolError                          an answer that is not the registry API
    │   ├── BadContentType · BadRange · BadLink · BadHeader
    │   └── ContentEncodingRefused
    ├── PushRefused                            a registry does not take what it is sent
    │   ├── RegistryReadOnly                   it takes nothing at all
    │   ├── TooLarge                           more than one request may bring
    │   └── QuotaExceeded
    ├── IntegrityError (ValueError)
    │   ├── DigestMismatch · SizeMismatch
    │   ├── FileChanged                        a local file is another one than was looked into
    │   └── TypeConfusion                      one document, two readings
    ├── LimitExceeded                          a budget: what, limit, seen
    ├── MalformedContent (ValueError)
    │   ├── ManifestInvalid · ConfigInvalid
    │   ├── NotAnImage                         an artifact asked for something only images have
    │   ├── CompressionInvalid · TarInvalid    a layer that cannot be read to its end
    │   ├── PackagesInvalid                    a package database that is damaged, or is none
    │   └── UnsafeContent                      names that lead out of the image
    │       └── PathEscape · LinkEscape · NameCollision
    ├── PathError (OSError)                    a path, or local file, that cannot be read so
    │   ├── NotAFile (IsADirectoryError) · NotAFolder (NotADirectoryError)
    │   ├── LinkLoop                           links that lead in a circle, or through too many
    │   └── SpecialFile                        a device or fifo: there is nothing to read
    └── LocalStoreError (OSError)
        ├── DiskFull                           needed and available bytes
        ├── WriteFailed                        the operating system refused to write
        └── DestinationExists (FileExistsError)

Every error says what happened, where, and (``hint``) what to do. Its fields (``host``,
``reference`` …) are attributes; ``retryable`` says whether the same call may succeed later.
All of them pickle, and none ever holds a secret.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "AuthDenied",
    "AuthError",
    "AuthRequired",
    "BadContentType",
    "BadHeader",
    "BadLink",
    "BadRange",
    "BlobNotFound",
    "CompressionInvalid",
    "ConfigError",
    "ConfigInvalid",
    "ConnectFailed",
    "ContentEncodingRefused",
    "DestinationExists",
    "DidlabError",
    "DigestMismatch",
    "DiskFull",
    "FileChanged",
    "HelperError",
    "IntegrityError",
    "InvalidArgument",
    "InvalidReference",
    "LayerNotFound",
    "LimitExceeded",
    "LinkEscape",
    "LinkLoop",
    "LocalStoreError",
    "MalformedContent",
    "ManifestInvalid",
    "ManifestNotFound",
    "NameCollision",
    "NotAFile",
    "NotAFolder",
    "NotAnImage",
    "NotFound",
    "OriginRefused",
    "PackagesInvalid",
    "PathError",
    "PathEscape",
    "PathNotFound",
    "PlatformNotFound",
    "ProtocolError",
    "ProxyError",
    "PushRefused",
    "QuotaExceeded",
    "RateLimited",
    "RealmRefused",
    "RegistryReadOnly",
    "RepositoryNotFound",
    "ServerError",
    "SizeMismatch",
    "SpecialFile",
    "TarInvalid",
    "TimedOut",
    "TlsFailed",
    "TokenInvalid",
    "TooLarge",
    "TooManyRedirects",
    "TransportError",
    "Truncated",
    "TypeConfusion",
    "UnsafeContent",
    "Unsupported",
    "WriteFailed",
]

# U+202A–202E and U+2066–2069 reorder text. U+00AD, U+180E, U+200B–200F, U+2060–2064, U+FEFF and
# the tags (U+E0000–E007F) hide in it.
_INVISIBLE = frozenset(
    [
        *(0x7F, 0xAD, 0x061C, 0x180E, 0xFEFF),
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2065),
        *range(0x2066, 0x206A),
        *range(0xE0000, 0xE0080),
    ]
)


def printable(text: object, limit: int = 500) -> str:
    r"""``text`` with control, bidirectional and invisible characters written as escapes.

    Remote text ends up in messages, tables and terminals; an escape sequence in a label must
    never reach them as such. Longer texts are cut at ``limit`` characters.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    value = str(text)
    if len(value) > limit:
        value = value[: limit - 1] + "…"
    if value.isascii() and value.isprintable():
        return value
    out = []
    for char in value:
        code = ord(char)
        control = code < 0x20 or 0x80 <= code < 0xA0
        unprintable = 0xD800 <= code < 0xE000 or code in (0x2028, 0x2029)
        out.append(_escape(code) if control or unprintable or code in _INVISIBLE else char)
    return "".join(out)


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _rebuild(cls: type[DidlabError], message: str, fields: dict[str, Any]) -> DidlabError:
    return cls(message, **fields)


class DidlabError(Exception):
    """Base of everything that didlab raises on purpose.

    Parameters
    ----------
    message : str
        What happened and where, in one sentence.
    hint : str, optional
        What to do about it.
    **fields
        Facts about the failure; each becomes an attribute.
    """

    retryable: ClassVar[bool] = False
    #: Fields that every instance has, with their values when nobody gave them.
    defaults: ClassVar[dict[str, Any]] = {}

    hint: str | None
    host: str | None
    reference: str | None

    def __init__(self, message: str, *, hint: str | None = None, **fields: Any) -> None:
        super().__init__(message)
        self.message = printable(message, 2000)
        self._fields = {"hint": hint, **fields}
        everything: dict[str, Any] = {"host": None, "reference": None}
        for cls in reversed(type(self).__mro__):
            everything.update(vars(cls).get("defaults", {}))
        everything.update(self._fields)
        for name, value in everything.items():
            setattr(self, name, value)

    def fields(self) -> dict[str, Any]:
        """Return the facts that this error was made with, ``hint`` among them."""
        return dict(self._fields)

    def __str__(self) -> str:
        # KeyError would show the message in quotes, OSError with an errno.
        if self.hint:
            return f"{self.message} ({printable(self.hint, 2000)})"
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self._fields)

    def _render_traceback_(self) -> list[str]:
        # IPython asks for it: dozens of frames inside didlab explain nothing to who called.
        from didlab.views import tracebacks

        return tracebacks.render(self)


class InvalidReference(DidlabError, ValueError):
    """Text that is not an image reference.

    ``text`` is what was given (credentials masked), ``position`` the index of the first
    character that cannot be, ``reason`` the rule it breaks, ``hint`` what to write instead.
    """

    defaults: ClassVar[dict[str, Any]] = {"text": "", "position": 0, "reason": ""}
    text: str
    position: int
    reason: str


class InvalidArgument(DidlabError, ValueError):
    """An argument that cannot be meant that way."""


class Unsupported(DidlabError, NotImplementedError):
    """What was asked cannot be done at this place, or by this version of didlab."""


class ConfigError(DidlabError, ValueError):
    """A credentials or configuration file cannot be used; ``path`` names it."""

    defaults: ClassVar[dict[str, Any]] = {"path": None}
    path: str | None


class HelperError(ConfigError):
    """A ``docker-credential-*`` program is missing, failed, or answered nonsense."""

    defaults: ClassVar[dict[str, Any]] = {"helper": None}
    helper: str | None


class AuthError(DidlabError, PermissionError):
    """Something about logging in."""


class AuthRequired(AuthError):
    """The registry wants a login and no credentials were found for it."""


class AuthDenied(AuthError):
    """The registry refused the credentials, or they may not do this."""


class RealmRefused(AuthError):
    """The token server lies elsewhere and is not trusted with credentials (``realm``)."""

    defaults: ClassVar[dict[str, Any]] = {"realm": None}
    realm: str | None


class TokenInvalid(AuthError):
    """The token server's answer is no token."""


class NotFound(DidlabError, KeyError):
    """What was asked for is not there; ``available`` lists near misses where known."""

    defaults: ClassVar[dict[str, Any]] = {"available": ()}
    available: tuple[str, ...]


class RepositoryNotFound(NotFound):
    """The registry has no such repository (or hides it from you)."""


class ManifestNotFound(NotFound):
    """The repository has no such tag or digest."""


class BlobNotFound(NotFound):
    """The repository does not have this blob."""


class PlatformNotFound(NotFound):
    """The image is not made for this platform; ``available`` says for which it is."""


class LayerNotFound(NotFound, IndexError):
    """The image has no such layer."""


class PathNotFound(NotFound, FileNotFoundError):
    """No such file in the layer or image, or on this machine; ``path`` is what was asked for."""

    defaults: ClassVar[dict[str, Any]] = {"path": None}
    path: str | None


class TransportError(DidlabError, ConnectionError):
    """The network, or the other side, failed."""

    retryable: ClassVar[bool] = True


class ConnectFailed(TransportError):
    """No connection: refused, unreachable, or the name does not resolve."""


class TlsFailed(TransportError):
    """No trusted TLS connection; ``not_tls`` when the other side speaks no TLS at all."""

    retryable: ClassVar[bool] = False
    defaults: ClassVar[dict[str, Any]] = {"not_tls": False}
    not_tls: bool


class ProxyError(TransportError):
    """The proxy refused, wants a password, or answered nonsense."""


class TimedOut(TransportError, TimeoutError):
    """No answer, or silence in the middle of one, for longer than allowed."""


class Truncated(TransportError):
    """The answer ended early and could not be completed; ``received`` of ``size`` bytes came."""

    defaults: ClassVar[dict[str, Any]] = {"received": None, "size": None}
    received: int | None
    size: int | None


class RateLimited(TransportError):
    """429: too many requests.

    ``limit`` and ``remaining`` as the registry told (None where it did not), ``retry_after``
    in seconds, ``resets`` as an aware UTC datetime.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "limit": None,
        "remaining": None,
        "retry_after": None,
        "resets": None,
    }
    limit: int | None
    remaining: int | None
    retry_after: float | None
    resets: Any


class ServerError(TransportError):
    """The registry answered with 5xx, or 408, after all attempts; ``status`` is the last one."""

    defaults: ClassVar[dict[str, Any]] = {"status": None}
    status: int | None


class TooManyRedirects(TransportError):
    """A chain of redirects that is too long or runs in a circle."""

    retryable: ClassVar[bool] = False


class OriginRefused(TransportError):
    """A redirect, token realm or link points to a place that didlab will not contact."""

    retryable: ClassVar[bool] = False


class ProtocolError(DidlabError):
    """An answer that the registry API does not have; ``status`` where there was one."""

    defaults: ClassVar[dict[str, Any]] = {"status": None}
    status: int | None


class BadContentType(ProtocolError):
    """An answer of another type than asked, often a proxy's or a login page."""


class BadRange(ProtocolError):
    """A partial answer that is not the range that was asked for."""


class BadLink(ProtocolError):
    """A ``Link`` header that leads nowhere, elsewhere, or in a circle."""


class BadHeader(ProtocolError):
    """A header that cannot be read."""


class ContentEncodingRefused(ProtocolError):
    """A blob was sent with a content coding that nobody asked for."""


class PushRefused(DidlabError):
    """The registry does not take what it was sent; ``status``, and its own ``code`` for why."""

    defaults: ClassVar[dict[str, Any]] = {"status": None, "code": None}
    status: int | None
    code: str | None


class RegistryReadOnly(PushRefused):
    """The registry takes nothing: a mirror, a cache, or one under maintenance."""


class TooLarge(PushRefused):
    """413: more than the registry, or a proxy before it, takes in one request."""


class QuotaExceeded(PushRefused):
    """There is no more room for this user or project."""


class IntegrityError(DidlabError, ValueError):
    """Content is not what its descriptor says."""

    defaults: ClassVar[dict[str, Any]] = {"expected": None, "actual": None}
    expected: Any
    actual: Any


class DigestMismatch(IntegrityError):
    """The bytes have another digest (``actual``) than asked for (``expected``)."""


class SizeMismatch(IntegrityError):
    """The bytes are more or fewer than their descriptor says."""


class FileChanged(IntegrityError):
    """A local file changed since it was looked into; ``path`` names it."""

    defaults: ClassVar[dict[str, Any]] = {"path": None}
    path: str | None


class TypeConfusion(IntegrityError):
    """One document that different tools would read differently."""


class LimitExceeded(DidlabError):
    """A budget was exceeded: ``what``, ``limit`` and how much was ``seen``."""

    defaults: ClassVar[dict[str, Any]] = {"what": None, "limit": None, "seen": None}
    what: str | None
    limit: int | None
    seen: int | None


class MalformedContent(DidlabError, ValueError):
    """Content that breaks its own format; ``where`` is the path inside it."""

    defaults: ClassVar[dict[str, Any]] = {"where": None}
    where: str | None


class ManifestInvalid(MalformedContent):
    """Not a manifest or index."""


class ConfigInvalid(MalformedContent):
    """Not an image config."""


class NotAnImage(MalformedContent):
    """An artifact (chart, SBOM, signature …) was asked for what only images have."""


class CompressionInvalid(MalformedContent):
    """Compressed content that is damaged, cut, or of a kind that layers do not have."""


class TarInvalid(MalformedContent):
    """A layer that is no tar archive, or breaks off; ``where`` is the offset in the tar."""


class PackagesInvalid(MalformedContent):
    """A database of packages, or one package's own file, that breaks its format."""


class UnsafeContent(MalformedContent):
    """Content that would reach what it must not; ``where`` names the entry."""


class PathEscape(UnsafeContent):
    """A path that leads above the image's root."""


class LinkEscape(UnsafeContent):
    """A link that leads above the image's root, or out of the folder of an extraction."""


class NameCollision(UnsafeContent):
    """Two entries that the local file system would take for one."""


class PathError(DidlabError, OSError):
    """A path, in an image or here, cannot be used that way; ``path`` is what was asked for."""

    defaults: ClassVar[dict[str, Any]] = {"path": None}
    path: str | None


class NotAFile(PathError, IsADirectoryError):
    """A directory was asked for what only files have."""


class NotAFolder(PathError, NotADirectoryError):
    """A file was asked for what only directories have."""


class LinkLoop(PathError):
    """Links that lead in a circle, or through more than 40 of them."""


class SpecialFile(PathError):
    """A device or fifo: there is nothing to read."""


class LocalStoreError(DidlabError, OSError):
    """The local file system said no; ``path`` names the place."""

    defaults: ClassVar[dict[str, Any]] = {"path": None}
    path: str | None


class DiskFull(LocalStoreError):
    """Not enough room: ``needed`` and ``available`` bytes."""

    defaults: ClassVar[dict[str, Any]] = {"needed": None, "available": None}
    needed: int | None
    available: int | None


class WriteFailed(LocalStoreError):
    """A file could not be written: no permission, a read-only disk, too long a name."""


class DestinationExists(LocalStoreError, FileExistsError):
    """There is another file at the destination; pass ``overwrite=True`` to replace it."""
