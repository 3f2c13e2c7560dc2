"""Platforms: parsed from text, and matched as containerd matches them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from didlab import errors

__all__ = ["Platform", "default_platform", "select"]

_SYSTEMS = re.compile(
    "aix|android|darwin|dragonfly|freebsd|illumos|ios|js|linux|netbsd|openbsd|plan9|solaris|"
    "wasi|wasip1|windows|zos"
)
_SYSTEM_ALIASES = {"macos": "darwin"}
_ARCHITECTURES = re.compile(
    "386|amd64|arm|arm64|loong64|mips|mips64|mips64le|mipsle|ppc64|ppc64le|riscv64|s390x|wasm"
)
# Names by `uname -m`, Debian and Docker Hub's organisations.
_ARCHITECTURE_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "arm64v8": ("arm64", "v8"),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv8l": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "arm32v7": ("arm", "v7"),
    "arm32v6": ("arm", "v6"),
    "arm32v5": ("arm", "v5"),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "loongarch64": ("loong64", ""),
    "ppc64el": ("ppc64le", ""),
}
# What an absent variant means: containerd compares platforms in this normal form.
_DEFAULT_VARIANT = {"amd64": "v1", "arm64": "v8", "arm": "v7"}

_SYSTEM = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]*)\))?")
_PART = re.compile(r"[A-Za-z0-9_.-]+")
_LEVEL = re.compile(r"v?([0-9]{1,3})(?:\.([0-9]{1,3}))?")


@dataclass(frozen=True, slots=True)
class Platform:
    """Operating system, architecture and variant, as declared.

    ``str()`` is the usual spelling; an OS version, which sets Windows images of one
    architecture apart, is written as containerd does and parses back.

    Examples
    --------
    >>> str(Platform("linux", "arm64", "v8"))
    'linux/arm64/v8'
    >>> Platform.parse("arm64")
    Platform(os='linux', architecture='arm64', variant='', os_version='', os_features=())
    >>> str(Platform.parse("Windows(10.0.17763.1)/x86_64"))
    'windows(10.0.17763.1)/amd64'
    """

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``os``, ``architecture``, ``os/architecture`` or ``os/architecture/variant``."""
        parts = text.split("/") if isinstance(text, str) else []
        first = _SYSTEM.fullmatch(parts[0]) if 1 <= len(parts) <= 3 else None
        if first is None or not all(_PART.fullmatch(part) for part in parts[1:]):
            # A lone part may be an architecture with a dot in it: none is known.
            raise _nonsense(text)
        name, version = first[1].lower(), first[2] or ""
        name = _SYSTEM_ALIASES.get(name, name)
        if len(parts) == 1:
            if _SYSTEMS.fullmatch(name):
                return replace(machine(), os=name, os_version=version)
            architecture, variant = _ARCHITECTURE_ALIASES.get(name, (name, ""))
            if not _ARCHITECTURES.fullmatch(architecture) or version:
                raise _nonsense(text)
            return cls("linux", architecture, variant)
        name_of_cpu = parts[1].lower()
        architecture, variant = _ARCHITECTURE_ALIASES.get(name_of_cpu, (name_of_cpu, ""))
        if len(parts) == 3:
            variant = parts[2].lower()
        return cls(name, architecture, variant, version)

    def __str__(self) -> str:
        if not self.os or not self.architecture:
            return "unknown"
        version = f"({self.os_version})" if self.os_version else ""
        variant = f"/{self.variant}" if self.variant else ""
        return f"{self.os}{version}/{self.architecture}{variant}"

    def normalized(self) -> Platform:
        """Return the form in which equal platforms are equal: aliases and defaults written out.

        >>> Platform("linux", "aarch64").normalized() == Platform("linux", "arm64", "v8")
        True
        """
        system = self.os.lower()
        architecture = self.architecture.lower()
        variant = self.variant.lower()
        architecture, implied = _ARCHITECTURE_ALIASES.get(architecture, (architecture, ""))
        variant = variant or implied or _DEFAULT_VARIANT.get(architecture, "")
        if architecture in _DEFAULT_VARIANT and variant[:1].isdigit():
            variant = "v" + variant
        return replace(
            self,
            os=_SYSTEM_ALIASES.get(system, system),
            architecture=architecture,
            variant=variant,
        )


def _nonsense(text: object) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"'{errors.printable(text, 100)}' is not a platform",
        hint="write os/architecture or os/architecture/variant, such as linux/arm64",
    )


def machine() -> Platform:
    """Return the Linux platform that containers on this machine run as.

    Linux also on macOS and Windows, where containers live in a Linux virtual machine.
    """
    import platform as facts

    name = facts.machine().lower()
    architecture, variant = _ARCHITECTURE_ALIASES.get(name, (name, ""))
    if not _ARCHITECTURES.fullmatch(architecture):
        architecture, variant = "amd64", ""
    return Platform("linux", architecture, variant)


def default_platform(environ: Mapping[str, str] = os.environ) -> Platform:
    """Return ``DOCKER_DEFAULT_PLATFORM``, else Linux on this machine's architecture.

    >>> str(default_platform({"DOCKER_DEFAULT_PLATFORM": "linux/arm/v7"}))
    'linux/arm/v7'
    """
    text = environ.get("DOCKER_DEFAULT_PLATFORM", "")
    if not text:
        return machine()
    try:
        return Platform.parse(text)
    except errors.InvalidArgument as failure:
        raise errors.InvalidArgument(
            f"DOCKER_DEFAULT_PLATFORM: {failure.message}", hint=failure.hint
        ) from None


def select(wanted: Platform, offered: Sequence[Platform | None]) -> int | None:
    """Return the index of the best match, None when there is none.

    Within one architecture the highest variant that ``wanted`` can run is best, and among equals
    the first. Another architecture is never taken, though some machines could run it.

    >>> select(Platform.parse("linux/arm"), [Platform("linux", "arm", v) for v in ("v5", "v6")])
    1
    """
    want = wanted.normalized()
    best: tuple[tuple[int, int], int] | None = None
    for index, platform in enumerate(offered):
        if platform is None:
            continue
        rank = _rank(want, platform.normalized())
        if rank is not None and (best is None or rank > best[0]):
            best = rank, index
    return None if best is None else best[1]


def _rank(want: Platform, have: Platform) -> tuple[int, int] | None:
    """Return how good ``have`` is for ``want``, None when it cannot serve."""
    if have.os in ("", "unknown") or not have.architecture:
        return None
    if (have.os, have.architecture) != (want.os, want.architecture):
        return None
    if want.os_version and not f"{have.os_version}.".startswith(f"{want.os_version}."):
        return None
    if have.variant == want.variant:
        return _level(have) or (0, 0)
    has, needs = _level(have), _level(want)
    # Variants that are no levels (power9, rva23u64 …) only match themselves.
    if has is None or needs is None or has > needs:
        return None
    return has


def _level(platform: Platform) -> tuple[int, int] | None:
    """Return a variant that is a step of a ladder (v7, v8.2) as numbers."""
    if platform.architecture not in _DEFAULT_VARIANT:
        return None
    match = _LEVEL.fullmatch(platform.variant)
    return (int(match[1]), int(match[2] or 0)) if match else None
