"""The operating system of an image, as its os-release says, and until when it is looked after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from didlab.audits import endoflife
from didlab.errors import InvalidArgument, PathError, UnsafeContent, printable
from didlab.views import html

if TYPE_CHECKING:
    from didlab.model.inside import Layers

__all__ = ["OperatingSystem", "fields", "of"]

#: os-release(5): the first one that is there holds.
_PATHS = (b"/etc/os-release", b"/usr/lib/os-release")
_SIZE = 64 * 1024
_TEXT = 200


@dataclass(frozen=True, slots=True)
class OperatingSystem:
    """What an image says of its distribution (os-release(5)), and when its support ends.

    Attributes
    ----------
    id, version, codename, pretty_name : str or None
        ``debian``, ``12``, ``bookworm``, ``Debian GNU/Linux 12 (bookworm)``; None where it does
        not say, all of them where the image has no os-release.
    eol : date or None
        Until when the distribution itself looks after it. None where that is not known: only
        Debian and Ubuntu are.
    eol_lts : date or None
        Until when it does for longer: Debian's LTS, or Ubuntu's ESM (which needs Ubuntu Pro).
    source : str or None
        Where these dates are from.
    dated : date or None
        The day of that source.
    """

    id: str | None = None
    version: str | None = None
    codename: str | None = None
    pretty_name: str | None = None
    eol: date | None = None
    eol_lts: date | None = None
    source: str | None = None
    dated: date | None = None

    def supported(self, on: date | None = None, *, lts: bool = False) -> bool | None:
        """Whether it gets security updates on a day; None where the end is not known.

        Parameters
        ----------
        on : date, optional
            The day; today (in UTC) if not given.
        lts : bool
            Count the longer time, too: Debian's LTS, Ubuntu's ESM.
        """
        if on is not None and not isinstance(on, date):
            raise InvalidArgument(
                f"on= takes a date, not {type(on).__name__}", hint="datetime.date(2027, 1, 1)"
            )
        day = on.date() if isinstance(on, datetime) else on or datetime.now(UTC).date()
        ends = [end for end in (self.eol, self.eol_lts if lts else None) if end is not None]
        return day <= max(ends) if ends else None

    def _facts(self) -> dict[str, Any]:
        """Return what an image's card wants of it: ``name``, and ``end_of_life`` (a date)."""
        # ESM is for subscribers: who has none gets no updates after the end.
        longer = None if self.id == "ubuntu" else self.eol_lts
        return {"name": self.pretty_name or self.id, "end_of_life": longer or self.eol}

    def _parts(self) -> list[str]:
        name = self.pretty_name or " ".join(filter(None, (self.id, self.version))) or "unknown"
        parts = [name]
        if self.eol:
            longer = "ESM" if self.id == "ubuntu" else "LTS"
            if self.supported():
                parts.append(f"supported until {self.eol}")
            elif self.eol_lts and self.supported(lts=True):
                parts.append(f"{longer} until {self.eol_lts}, else ended {self.eol}")
            else:
                parts.append(f"ended {max(self.eol, self.eol_lts or self.eol)}")
        return parts

    def __repr__(self) -> str:
        return f"<OperatingSystem {' · '.join(printable(part, _TEXT) for part in self._parts())}>"

    def _repr_html_(self) -> str:
        name, *notes = self._parts()
        return html.wrap(
            html.heading(name, *notes),
            html.note(f"dates: {self.source}, {self.dated}") if self.source else "",
        )


def of(layers: Layers) -> OperatingSystem:
    """Return the operating system of an image. Raises as `Layers.merged`."""
    for path in _PATHS:
        try:
            content = layers.file(path)
        except (PathError, UnsafeContent):
            continue
        if content is not None:
            return described(fields(content.read_at(0, min(content.size, _SIZE))))
    return OperatingSystem()


def described(told: Mapping[str, str]) -> OperatingSystem:
    """Return what the fields of an os-release mean."""
    name, version, codename = (
        told.get(key) or None for key in ("ID", "VERSION_ID", "VERSION_CODENAME")
    )
    if codename is None and "(" in told.get("VERSION", ""):
        codename = told["VERSION"].partition("(")[2].partition(")")[0] or None
    known = endoflife.release(name or "", version, codename)
    made = OperatingSystem(name, version, codename, told.get("PRETTY_NAME") or None)
    if known is None:
        return made
    return OperatingSystem(
        *(name, version or known.version, codename or known.codename, made.pretty_name),
        *(known.eol, known.eol_lts, endoflife.SOURCE, endoflife.DATED),
    )


def fields(raw: bytes) -> dict[str, str]:
    r"""Return the fields of an os-release: shell assignments, quotes and backslashes undone.

    >>> fields(b'# x\nID=debian\nNAME="a \\"b\\""\n')
    {'ID': 'debian', 'NAME': 'a "b"'}
    """
    found: dict[str, str] = {}
    for line in raw[:_SIZE].decode("utf-8", "replace").splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name.startswith("#"):
            continue
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            quote, value = value[0], value[1:-1]
            if quote == '"':
                for char in '"$`\\':
                    value = value.replace("\\" + char, char)
        found[name[:_TEXT]] = value[:_TEXT]
    return found
