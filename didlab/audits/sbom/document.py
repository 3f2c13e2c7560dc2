"""A bill of materials as users hold it: a read-only mapping over its JSON."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from didlab.audits import saving
from didlab.audits.sbom import cyclonedx, material, spdx
from didlab.errors import InvalidArgument, printable
from didlab.oci import sbom
from didlab.views.cards import bill as card

if TYPE_CHECKING:
    import pandas as pd

    from didlab.model.inside import Layers
    from didlab.model.manifest import Manifest

__all__ = ["FORMATS", "Sbom", "make"]

_MAKERS = {"cyclonedx": cyclonedx, "spdx": spdx}
FORMATS = tuple(_MAKERS)
_SPECIFICATIONS = {"cyclonedx": cyclonedx.SPECIFICATION, "spdx": spdx.SPECIFICATION}
_MEDIA_TYPES = {
    "cyclonedx": f"application/vnd.cyclonedx+json; version={cyclonedx.SPECIFICATION}",
    "spdx": "application/spdx+json",
}


def check(form: object, created: object) -> None:
    """Refuse what is no format, and no time.

    Raises
    ------
    InvalidArgument
    """
    if not isinstance(form, str) or form not in _MAKERS:
        raise InvalidArgument(
            f"sbom() makes no {printable(repr(form), 200)}",
            hint="one of " + ", ".join(FORMATS) + "; attached_sbom() lists what others attached",
        )
    if created is not None and not (isinstance(created, datetime) and created.tzinfo):
        raise InvalidArgument(
            "created= takes a time with its time zone",
            hint="datetime.datetime.now(datetime.UTC)",
        )


def make(manifest: Manifest, layers: Layers, form: str, created: datetime | None) -> Sbom:
    """Return the bill of an image, in a format that was checked."""
    found = material.gather(manifest, layers, created)
    counts = Counter(one.package.ecosystem for one in found.packages)
    return Sbom(
        form, _MAKERS[form].document(found), str(manifest.reference), found.image.digest, counts
    )


class Sbom(Mapping[str, Any]):
    """The bill of materials of an image: what didlab found in it, as CycloneDX or SPDX.

    A mapping over the JSON; made by `Manifest.sbom`. All attributes are free. The same image
    under the same name gives the same bytes with the same version of didlab.

    Attributes
    ----------
    format, specification : str
        ``cyclonedx`` and ``1.6``, or ``spdx`` and ``2.3``.
    media_type : str
        What registries know it by.
    reference, digest : str
        The image that it is about: its name, and the digest of its manifest.
    """

    __slots__ = ("_counts", "_digest", "_form", "_json", "_reference")

    def __init__(
        self,
        form: str,
        document: dict[str, Any],
        reference: str,
        digest: str,
        counts: Mapping[str, int],
    ) -> None:
        self._form = form
        self._json = document
        self._reference = reference
        self._digest = digest
        self._counts = dict(counts)

    def __getitem__(self, key: str) -> Any:
        # A copy: whoever changes it changes nothing here.
        return deepcopy(self._json[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._json)

    def __len__(self) -> int:
        return len(self._json)

    def __bool__(self) -> bool:
        return True

    def __hash__(self) -> int:
        return hash((self._form, self._digest))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sbom):
            return self._json == other._json
        return self._json == dict(other) if isinstance(other, Mapping) else NotImplemented

    def __reduce__(self) -> tuple[Any, ...]:
        return Sbom, (self._form, self._json, self._reference, self._digest, self._counts)

    @property
    def format(self) -> str:
        """``cyclonedx`` or ``spdx``."""
        return self._form

    @property
    def specification(self) -> str:
        """Version of the format's specification."""
        return _SPECIFICATIONS[self._form]

    @property
    def media_type(self) -> str:
        """What registries know it by."""
        return _MEDIA_TYPES[self._form]

    @property
    def reference(self) -> str:
        """Name of the image that it is about."""
        return self._reference

    @property
    def digest(self) -> str:
        """Digest of that image's manifest."""
        return self._digest

    def json(self, indent: int | None = 2) -> str:
        """Return the JSON as text, in ASCII; on one line with ``indent=None``."""
        text = json.dumps(self._json, indent=indent, allow_nan=False)
        return text.replace("\x7f", "\\u007f")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON as plain dicts and lists, a copy."""
        return deepcopy(self._json)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the JSON to a file, which appears complete or not at all.

        Parameters
        ----------
        path : path-like
            The file; ``~`` is expanded. Names that scanners know end in ``.cdx.json`` and
            ``.spdx.json``.
        overwrite : bool
            Replace another file that is there. The same content is left as it is.

        Returns
        -------
        Path

        Raises
        ------
        DestinationExists, WriteFailed, DiskFull
        """
        return saving.save(f"{self.json()}\n".encode(), path, overwrite=overwrite)

    def packages(self) -> pd.DataFrame:
        """List the packages in it; columns as of `Manifest.attached_sbom`."""
        from didlab.views import frames

        rows = [row for row in sbom.packages(self._json) if row.type in self._counts]
        return frames.frame("sbom", rows, reference=self._reference)

    def _facts(self) -> dict[str, Any]:
        return {
            "format": {"cyclonedx": "CycloneDX", "spdx": "SPDX"}[self._form],
            "specification": self.specification,
            "reference": self._reference,
            "digest": self._digest,
            "counts": self._counts,
        }

    def __repr__(self) -> str:
        return card.line(self._facts())

    def _repr_html_(self) -> str:
        return card.bill(self._facts())

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._json)
