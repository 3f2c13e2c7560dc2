"""A package, as its own database tells it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from didlab.errors import MalformedContent, printable

__all__ = ["ECOSYSTEMS", "PACKAGE_LIMIT", "TEXT_LIMIT", "Package"]

#: Packages that one file may tell of.
PACKAGE_LIMIT = 100_000
#: Characters that any of a package's texts may have.
TEXT_LIMIT = 4096
#: Types of package URLs that are known here.
ECOSYSTEMS = ("deb", "apk", "rpm", "pypi", "npm", "golang")


@dataclass(frozen=True, slots=True)
class Package:
    """One package that is there.

    Attributes
    ----------
    ecosystem : str
        Its type in package URLs: ``deb apk rpm pypi npm golang``.
    name : str
        With the scope of an npm package (``@babel/core``) and the path of a Go module.
    version : str or None
        As the ecosystem writes it: ``1:2.36-9`` (an rpm's epoch too, unless it has none),
        ``v1.8.0`` of a Go module. None where it is not told.
    architecture : str or None
        As the ecosystem writes it: ``amd64``, ``x86_64``, ``noarch``.
    source, source_version : str or None
        What it was built from: the source package of deb and rpm, the origin of apk.
    license : str or None
        As the database has it; not an SPDX expression, unless the packager wrote one.
    """

    ecosystem: str
    name: str
    version: str | None = None
    architecture: str | None = None
    source: str | None = None
    source_version: str | None = None
    license: str | None = None

    def to_fact(self) -> list[str | None]:
        """Return it as a list that JSON can hold: the attributes in their order."""
        return [getattr(self, name) for name in _NAMES]

    @classmethod
    def from_fact(cls, fact: Any) -> Package:
        """Return what `to_fact` made a list of.

        Raises
        ------
        MalformedContent
            It is another list, or none.
        """
        whole = (
            isinstance(fact, list)
            and len(fact) == len(_NAMES)
            and all(isinstance(text, str) for text in fact[:2])
            and all(text is None or isinstance(text, str) for text in fact[2:])
        )
        if not whole:
            raise MalformedContent(f"no package: {printable(repr(fact), 100)}")
        return cls(*fact)


_NAMES = tuple(field.name for field in dataclasses.fields(Package))
