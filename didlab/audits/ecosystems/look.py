"""The look that finds packages: which files tell of them, and who reads which."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from didlab.audits.ecosystems import (
    apk,
    dpkg,
    golang,
    npm,
    python,
    rpm_bdb,
    rpm_ndb,
    rpm_sqlite,
)
from didlab.audits.ecosystems.package import Package
from didlab.audits.ecosystems.texts import invalid
from didlab.errors import MalformedContent, PackagesInvalid
from didlab.files.looks import Facts, Look, Sieve, Whole

__all__ = ["Found", "PackagesLook", "found", "kind_of"]

_MIB = 1024 * 1024
#: A larger database is told of as a problem. The largest status file known has 8 MiB.
_DATABASE_LIMIT, _RPM_LIMIT, _DOCUMENT_LIMIT = 64 * _MIB, 256 * _MIB, 4 * _MIB
#: Go programs are larger: its runtime and ``fmt`` alone have 1.3 MiB. `Look.maybe` never sees
#: larger files, and this keeps thousands of small ones from being read at all.
_PROGRAM_SIZES = range(_MIB + 1, 2048 * _MIB)
_TOO_LARGE = b"\0larger than is read"

_RPM = re.compile(
    rb"/(?:var/lib/rpm|usr/lib/sysimage/rpm|usr/share/rpm)/"
    rb"(rpmdb\.sqlite(?:-wal)?|Packages\.db|Packages)"
)
_RPM_KINDS = {
    b"rpmdb.sqlite": "rpm sqlite",
    b"rpmdb.sqlite-wal": "rpm sqlite log",
    b"Packages.db": "rpm ndb",
    b"Packages": "rpm bdb",
}
_APK = frozenset([b"/lib/apk/db/installed", b"/usr/lib/apk/db/installed"])
_PYTHON = re.compile(
    rb"/(?:[^/]+\.dist-info/METADATA|[^/]+\.egg-info(?:/PKG-INFO)?|EGG-INFO/PKG-INFO)\Z"
)
#: Deeper ones tell Node how to load a folder. Yarn 1 comes in Node's images, by itself.
_NPM = re.compile(rb"(?:/node_modules/(?:@[^/]+/)?[^/.@][^/]*|\A/opt/yarn-v[^/]+)/package\.json\Z")
#: What programs are never called; Go's own may well be ``tool_v1.2.3_x5``.
_NO_PROGRAM = re.compile(
    rb"""\.(?:so(?:\.[0-9.]+)?|s?o|ko|a|la|lib|dylib|py[cdio]?|pl|pm|rb|js|mjs|cjs|ts|map|json|xml
    |ya?ml|toml|csv|tsv|txt|md|html?|css|svg|png|jpe?g|gif|ico|webp|pdf|ps|woff2?|ttf|otf|pf[ab]
    |gz|bz2|xz|zst|lz4|zip|tar|tgz|txz|jar|war|ear|class|whl|egg|deb|rpm|apk|gem|crate|nupkg
    |db|sqlite3?|mdb|dat|data|bin|img|iso|fw|ucode|wasm|bc|ll|h|hh|hpp|c|cc|cpp|rs|go|java|mo|po
    |gmo|log|crt|pem|pack|idx|npy|npz|pt|pth|onnx|safetensors|parquet|model|h5|mp[34]|ogg|wav
    |winmd|pdb|debug|elc|el|bfd|res|pak|rlib|rmeta|node|dll|sys|efi|jmod|jsa|tcl|qm|cache)\Z""",
    re.IGNORECASE | re.VERBOSE,
)
_PARSERS: dict[str, Callable[[bytes], Iterator[Package]]] = {
    "dpkg": dpkg.packages,
    "dpkg.d": lambda content: dpkg.packages(content, states=False),
    "apk": apk.packages,
    "rpm sqlite": rpm_sqlite.packages,
    "rpm ndb": rpm_ndb.packages,
    "rpm bdb": rpm_bdb.packages,
    "python": python.packages,
    "npm": npm.packages,
    "go": golang.packages,
}


class Found(NamedTuple):
    """What a file tells.

    Attributes
    ----------
    kind : str or None
        Of file: ``dpkg dpkg.d apk`` ``rpm sqlite`` ``rpm ndb`` ``rpm bdb`` ``python npm go``.
        None where it tells of no package.
    packages : list of Package
    problems : list of str
        What could not be read; not yet escaped for a terminal.
    """

    kind: str | None
    packages: list[Package]
    problems: list[str]


def found(facts: Facts) -> Found:
    """Return what the facts of `PackagesLook` mean.

    Raises
    ------
    MalformedContent
        They are no such facts.
    """
    kind: str | None = None
    packages: list[Package] = []
    problems: list[str] = []
    for row in facts:
        match row:
            case ["problem", str(problem)]:
                problems.append(problem)
            case [str(named), *fields] if named in _PARSERS:
                kind = named
                packages.append(Package.from_fact(fields))
            case _:
                raise MalformedContent("no facts about packages")
    return Found(kind, packages, problems)


def kind_of(path: bytes, size: int) -> str | None:
    """Return the kind of a file, by its absolute path and size; None of one that tells nothing."""
    if path.startswith(b"/var/lib/dpkg/status"):
        if path == b"/var/lib/dpkg/status":
            return "dpkg"
        if path.startswith(b"/var/lib/dpkg/status.d/") and not path.endswith(b".md5sums"):
            return "dpkg.d"
        return None
    if path.endswith(b"/package.json"):
        return "npm" if _NPM.search(path) else None
    if path.endswith((b"/METADATA", b"/PKG-INFO", b".egg-info")):
        return "python" if _PYTHON.search(path) else None
    if path in _APK:
        return "apk"
    if rpm := _RPM.fullmatch(path):
        return _RPM_KINDS[rpm[1]]
    if size in _PROGRAM_SIZES and not _NO_PROGRAM.search(path.rpartition(b"/")[2]):
        return "go"
    return None


def _limit(kind: str) -> int:
    if kind in ("python", "npm"):
        return _DOCUMENT_LIMIT
    return _RPM_LIMIT if kind.startswith("rpm") else _DATABASE_LIMIT


class PackagesLook(Look):
    """Packages of dpkg, apk, rpm, Python, npm and Go.

    Facts are rows: a file's kind and `Package.to_fact`, or ``"problem"`` and what is wrong; `found`
    reads them. At most 100,000 packages a file.
    """

    name = "packages 1"
    most = _RPM_LIMIT

    def wants(self, path: bytes, size: int) -> bool:
        """Whether a file tells of packages, or may: programs above 1 MiB may be Go's."""
        return size > 0 and kind_of(path, size) is not None

    def maybe(self, paths: bytes) -> bool:
        """Whether a small file among the paths may tell of packages."""
        return (
            (b"/package.json" in paths and (b"node_modules/" in paths or b"opt/yarn-v" in paths))
            or b".dist-info/METADATA" in paths
            or b".egg-info" in paths
            or b"EGG-INFO/PKG-INFO" in paths
            or b"lib/dpkg/status" in paths
            or b"lib/apk/db/installed" in paths
            or b"/rpm/Packages" in paths
            or b"/rpm/rpmdb.sqlite" in paths
        )

    def sieve(self, path: bytes, size: int) -> Sieve:
        """Return what takes the content: of programs the build information, else everything."""
        kind = kind_of(path, size)
        if kind == "go":
            return golang.BuildInfoSieve()
        if kind == "rpm sqlite log" or kind is None or size > _limit(kind):
            return _Refused(b"" if kind is None else _TOO_LARGE)
        return Whole()

    def facts(self, path: bytes, content: bytes) -> Facts:
        """Return a row for each package, and one for each problem."""
        # By what was kept: a Go program's size is not known here, but it is nothing else.
        kind = kind_of(path, 0) or "go"
        rows: Facts = []
        try:
            if kind == "rpm sqlite log":
                if content:
                    raise invalid("rpmdb.sqlite-wal may hold packages that rpmdb.sqlite lacks")
            elif content == _TOO_LARGE:
                raise invalid(f"larger than the {_limit(kind) // _MIB} MiB that are read")
            else:
                rows.extend([kind, *package.to_fact()] for package in _PARSERS[kind](content))
        except PackagesInvalid as failure:
            rows.append(["problem", failure.message])
        return rows


class _Refused:
    """Keeps nothing but the reason."""

    def __init__(self, reason: bytes) -> None:
        self.over = True
        self._reason = reason

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""

    def finish(self) -> bytes:
        """Return the reason."""
        return self._reason
