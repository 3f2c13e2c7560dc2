"""URLs and origins, read strictly, and how public an address is.

Every URL that comes from the network (a redirect, a token realm, a ``Link``) passes through
`split` or `join`, so that there is one reading of it: what is compared is what is contacted.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from didlab import errors

__all__ = [
    "LINK_LOCAL",
    "LOOPBACK",
    "MAX_URL",
    "PRIVATE",
    "PUBLIC",
    "SPECIAL",
    "Origin",
    "Url",
    "address_class",
    "class_name",
    "host_class",
    "is_loopback",
    "join",
    "literal_address",
    "split",
]

#: Longest URL that is read.
MAX_URL: Final = 8192

#: Classes of addresses, the higher the more public; compare them with ``<``.
SPECIAL: Final = 0
LINK_LOCAL: Final = 1
LOOPBACK: Final = 2
PRIVATE: Final = 3
PUBLIC: Final = 4

_CLASS_NAMES: Final = ("special-purpose", "link-local", "loopback", "private", "public")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_PORT = re.compile(r"[0-9]{1,5}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: what credentials belong to.

    Made by `split`; ``host`` is lower case, IDNA-encoded, without a final dot, an IPv6 address
    without brackets.
    """

    scheme: str
    host: str
    port: int

    @property
    def is_default_port(self) -> bool:
        """Whether the port is the scheme's own."""
        return self.port == _DEFAULT_PORTS[self.scheme]

    @property
    def netloc(self) -> str:
        """Host and, where it is not the default, port, as in a ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.is_default_port else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}"


@dataclass(frozen=True, slots=True)
class Url:
    """An origin, a path that starts with ``/``, and a query without its ``?``."""

    origin: Origin
    path: str
    query: str = ""

    def __str__(self) -> str:
        return f"{self.redacted()}?{self.query}" if self.query else self.redacted()

    def __repr__(self) -> str:
        # Signatures in queries are as good as passwords.
        return f"Url({self.redacted()!r})"

    def redacted(self) -> str:
        """Return the URL without its query, for messages and logs."""
        return f"{self.origin}{self.path}"


def split(text: str) -> Url:
    """Read an absolute http or https URL.

    Parameters
    ----------
    text : str
        The URL; a fragment is dropped, dot segments are resolved.

    Raises
    ------
    OriginRefused
        Another scheme, a user name, control characters, blanks, backslashes, no or a wrong
        host, a wrong port, or more than 8 KiB.

    Examples
    --------
    >>> str(split("HTTPS://Registry.Example.:443/v2/../v2/?n=1#x"))
    'https://registry.example/v2/?n=1'
    """
    _check_characters(text)
    scheme, colon, rest = text.partition("://")
    scheme = scheme.lower()
    if not colon or scheme not in _DEFAULT_PORTS:
        raise _refused(text, "it is not an http or https URL")
    end = min((i for i in map(rest.find, "/?#") if i >= 0), default=len(rest))
    origin = _origin(text, scheme, rest[:end])
    return _checked(Url(origin, *_path_and_query(rest[end:])), text)


def join(base: Url, location: str) -> Url:
    """Resolve ``location``, absolute or relative, against ``base`` (RFC 3986, section 5).

    Raises
    ------
    OriginRefused
        As `split` does.

    Examples
    --------
    >>> str(join(split("https://r.example/v2/a/tags/list?n=2"), "../../b?last=x"))
    'https://r.example/v2/b?last=x'
    """
    _check_characters(location)
    if location.startswith("//"):
        return split(f"{base.origin.scheme}:{location}")
    if _SCHEME.match(location):
        return split(location)
    if location.startswith("?"):
        return _checked(Url(base.origin, base.path, _path_and_query(location)[1]), location)
    if location.startswith("#") or not location:
        return base
    if not location.startswith("/"):
        location = base.path[: base.path.rfind("/") + 1] + location
    return _checked(Url(base.origin, *_path_and_query(location)), location)


def _checked(url: Url, text: str) -> Url:
    # Joining and escaping can lengthen; whatever is returned can be split again.
    if len(str(url)) > MAX_URL:
        raise _refused(text, f"it is longer than {MAX_URL} characters")
    return url


def _check_characters(text: str) -> None:
    if len(text) > MAX_URL:
        raise _refused(text, f"it is longer than {MAX_URL} characters")
    if _FORBIDDEN.search(text):
        raise _refused(text, "it contains a blank, a backslash or a control character")


def _refused(text: str, reason: str) -> errors.OriginRefused:
    # Neither a query nor a user name may reach a message.
    shown = re.split(r"[?#]", text[:300], maxsplit=1)[0]
    if "@" in shown:
        scheme, colon, rest = shown.partition("://")
        shown = f"{scheme if colon else ''}{colon}***@{rest.rpartition('@')[2]}"
    return errors.OriginRefused(f"the URL {errors.printable(shown, 200)!r} is refused: {reason}")


def _origin(text: str, scheme: str, authority: str) -> Origin:
    if "@" in authority:
        raise _refused(text, "it carries a user name")
    if authority.startswith("["):
        inside, bracket, tail = authority[1:].partition("]")
        host = _ipv6(inside) if bracket else None
        if tail and not tail.startswith(":"):
            host = None
        port_text = tail[1:] if tail else None
    else:
        name, colon, after = authority.partition(":")
        host = _name(name)
        port_text = after if colon else None
    if host is None:
        raise _refused(text, "its host is empty or malformed")
    port = _DEFAULT_PORTS[scheme]
    if port_text is not None:
        if not _PORT.fullmatch(port_text) or not 0 < int(port_text) < 65536:
            raise _refused(text, "its port is not a number from 1 to 65535")
        port = int(port_text)
    return Origin(scheme, host, port)


def _ipv6(text: str) -> str | None:
    if "%" in text:  # a zone belongs to this machine, never to a URL from elsewhere
        return None
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        return None


def _name(name: str) -> str | None:
    if not name.isascii():
        import idna  # comes with requests, and encodes as requests does

        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return None
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    if _NUMBER.fullmatch(labels[-1]):
        # Resolvers take every spelling of inet_aton; one spelling is what can be compared.
        return literal_address(name)
    return name


def _path_and_query(text: str) -> tuple[str, str]:
    path, _, query = text.partition("#")[0].partition("?")
    if not text.isascii():
        path, query = (quote(part, safe=_ASCII_SAFE) for part in (path, query))
    return _resolve_dots(path), query


_ASCII_SAFE = "".join(map(chr, range(0x21, 0x7F)))


def _resolve_dots(path: str) -> str:
    """Resolve ``.`` and ``..`` (and ``%2e``, which others decode before they resolve)."""
    out: list[str] = []
    segments = path.split("/")[1:]
    for position, segment in enumerate(segments):
        plain = segment.replace("%2e", ".").replace("%2E", ".")
        if plain in (".", ".."):
            if plain == ".." and out:
                out.pop()
            if position == len(segments) - 1:
                out.append("")
        else:
            out.append(segment)
    return "/" + "/".join(out)


_V4: Final = tuple(
    (ipaddress.IPv4Network(network), cls)
    for network, cls in (
        ("0.0.0.0/8", SPECIAL),
        ("10.0.0.0/8", PRIVATE),
        ("100.64.0.0/10", PRIVATE),
        ("127.0.0.0/8", LOOPBACK),
        ("169.254.0.0/16", LINK_LOCAL),
        ("172.16.0.0/12", PRIVATE),
        ("192.0.0.0/24", SPECIAL),
        ("192.0.2.0/24", SPECIAL),
        ("192.88.99.0/24", SPECIAL),
        ("192.168.0.0/16", PRIVATE),
        ("198.18.0.0/15", PRIVATE),  # benchmarks; local proxies hand these out as stand-ins
        ("198.51.100.0/24", SPECIAL),
        ("203.0.113.0/24", SPECIAL),
        ("224.0.0.0/3", SPECIAL),
    )
)
_V6: Final = tuple(
    (ipaddress.IPv6Network(network), cls)
    for network, cls in (
        ("::1/128", LOOPBACK),
        ("fc00::/7", PRIVATE),
        ("fec0::/10", PRIVATE),
        ("fe80::/10", LINK_LOCAL),
        ("2001::/23", SPECIAL),
        ("2001:db8::/32", SPECIAL),
        ("3fff::/20", SPECIAL),
        ("2000::/3", PUBLIC),
    )
)
# Where an IPv4 address sits in an IPv6 address: network, bits to shift, value to exclusive-or.
_EMBEDDED: Final = tuple(
    (ipaddress.IPv6Network(network), shift, flip)
    for network, shift, flip in (
        ("::ffff:0:0/96", 0, 0),
        ("::ffff:0:0:0/96", 0, 0),
        ("64:ff9b::/96", 0, 0),
        ("64:ff9b:1::/48", 0, 0),
        ("2002::/16", 80, 0),
        ("2001::/32", 0, 0xFFFFFFFF),
        ("::/96", 0, 0),
    )
)


def address_class(ip: str) -> int:
    """Return how public an IP address is: `PUBLIC` > `PRIVATE` > `LOOPBACK` > `LINK_LOCAL` > 0.

    An IPv4 address inside an IPv6 address (mapped, 6to4, NAT64, Teredo) decides.

    Raises
    ------
    InvalidArgument
        ``ip`` is not an address in its usual spelling.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        raise errors.InvalidArgument("not an IP address") from None
    if isinstance(address, ipaddress.IPv4Address):
        return next((cls for network, cls in _V4 if address in network), PUBLIC)
    address = ipaddress.IPv6Address(int(address))  # without its zone
    if int(address) == 1:
        return LOOPBACK
    for network, shift, flip in _EMBEDDED:
        if address in network:
            inner = ipaddress.IPv4Address(((int(address) >> shift) & 0xFFFFFFFF) ^ flip)
            return address_class(str(inner))
    return next((cls for network6, cls in _V6 if address in network6), SPECIAL)


def class_name(cls: int) -> str:
    """Return the word for a class, for messages, such as ``private``."""
    return _CLASS_NAMES[cls]


def literal_address(host: str) -> str | None:
    """Return the address that ``host`` spells, in its usual form, or None for a name.

    Takes what ``inet_aton`` takes, because resolvers do: one to four numbers, decimal, octal
    or hexadecimal, the last one filling the rest.

    Examples
    --------
    >>> literal_address("0x7f.1"), literal_address("2130706433"), literal_address("example.com")
    ('127.0.0.1', '127.0.0.1', None)
    """
    host = host.removesuffix(".")
    if ":" in host:
        host = host.removeprefix("[").removesuffix("]").partition("%")[0]
        return _ipv6(host)
    parts = host.split(".")
    if len(host) > 64 or len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    numbers = []
    for part in parts:
        try:
            if part[:2] in ("0x", "0X"):
                numbers.append(int(part[2:] or "0", 16))
            else:
                numbers.append(int(part, 8 if part.startswith("0") else 10))
        except ValueError:  # 8 or 9 in an octal number
            return None
    *head, last = numbers
    if any(number > 255 for number in head) or last >= 256 ** (4 - len(head)):
        return None
    value = last
    for position, number in enumerate(head):
        value |= number << (24 - 8 * position)
    return str(ipaddress.IPv4Address(value))


def host_class(host: str) -> int | None:
    """Return the class of an address or of a localhost name, None for any other name."""
    literal = literal_address(host)
    if literal is not None:
        return address_class(literal)
    return LOOPBACK if _is_localhost(host) else None


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine: 127.0.0.0/8, ::1, ``localhost`` or below it.

    This one grants, so IPv6 addresses that merely embed 127.0.0.1 are not counted.
    """
    literal = literal_address(host)
    if literal is None:
        return _is_localhost(host)
    return literal == "::1" or literal.startswith("127.")


def _is_localhost(host: str) -> bool:
    # ASCII only: str.lower would fold look-alikes.
    name = host.removesuffix(".")
    return name.isascii() and (name.lower() == "localhost" or name.lower().endswith(".localhost"))
