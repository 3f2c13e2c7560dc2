"""One attestation as users hold it: a read-only mapping over the statement's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from didlab.oci import sbom, statement
from didlab.oci.statement import Statement
from didlab.views import cards, frames, text

if TYPE_CHECKING:
    import pandas as pd


class Attestation(Mapping[str, Any]):
    """An in-toto statement that is attached to an image: what somebody claims about it.

    A mapping over the statement (``_type``, ``subject``, ``predicateType``, ``predicate``); taken
    out of its DSSE envelope or Sigstore bundle where it came in one. All attributes are free.

    **Nothing here is verified but the digest of the bytes.** Who made the statement, and whether
    its signature is good, is for ``cosign verify-attestation`` and the like to say.

    Attributes
    ----------
    raw : bytes
        The statement as received, without its envelope.
    digest : str
        Digest of the blob it came in.
    predicate_type : str
        What kind of statement it is.
    subjects : tuple of (str, dict)
        What it says that it is about: names, and digests by algorithm.
    attached_to : str
        Digest of the manifest that it is attached to.
    names_image : bool
        Whether that digest is among the subjects.
    """

    __slots__ = ("_attached_to", "_digest", "_statement")

    def __init__(self, found: Statement, digest: str, attached_to: str) -> None:
        self._statement = found
        self._digest = digest
        self._attached_to = attached_to

    def __getitem__(self, key: str) -> Any:
        # A copy: whoever changes it changes nothing here.
        return deepcopy(self._statement.json[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._statement.json)

    def __len__(self) -> int:
        return len(self._statement.json)

    def __bool__(self) -> bool:
        return True

    def __hash__(self) -> int:
        return hash(self.raw)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Attestation):
            return self.raw == other.raw
        return dict(self) == other if isinstance(other, Mapping) else NotImplemented

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.raw, self._digest, self._attached_to)

    @property
    def raw(self) -> bytes:
        """The statement as received, without its envelope."""
        return self._statement.raw

    @property
    def digest(self) -> str:
        """Digest of the blob it came in."""
        return self._digest

    @property
    def predicate_type(self) -> str:
        """What kind of statement it is."""
        return self._statement.predicate_type

    @property
    def subjects(self) -> tuple[tuple[str, dict[str, str]], ...]:
        """What it says that it is about: names, and digests by algorithm."""
        return tuple((one.name, dict(one.digest)) for one in self._statement.subjects)

    @property
    def attached_to(self) -> str:
        """Digest of the manifest that it is attached to."""
        return self._attached_to

    @property
    def names_image(self) -> bool:
        """Whether what it is attached to is among its subjects."""
        return any(one.is_digest(self._attached_to) for one in self._statement.subjects)

    @property
    def predicate(self) -> dict[str, Any]:
        """The claim itself, a copy; empty where it is no object."""
        found = self._statement.json.get("predicate")
        return deepcopy(found) if isinstance(found, dict) else {}

    def packages(self) -> pd.DataFrame:
        """List the packages where this is a bill of materials. See `Manifest.attached_sbom`.

        Raises
        ------
        Unsupported
            It is none, or of another format than SPDX 2 and CycloneDX.
        """
        return package_frame(self._packages_of())

    def _packages_of(self) -> dict[str, Any]:
        found = self._statement.json.get("predicate")
        return found if isinstance(found, dict) else {}

    def to_dict(self) -> dict[str, Any]:
        """Return the statement as plain dicts and lists, a copy."""
        copy: dict[str, Any] = json.loads(self.raw)
        return copy

    def _facts(self) -> dict[str, Any]:
        return {
            "predicate_type": self.predicate_type,
            "digest": self._digest,
            "attached_to": self._attached_to,
            "names_image": self.names_image,
        }

    def __repr__(self) -> str:
        return text.attestation(self._facts())

    def _repr_html_(self) -> str:
        return cards.attestation({**self._facts(), "json": self._statement.json})

    def _ipython_key_completions_(self) -> list[str]:
        return [str(key) for key in self._statement.json]


def package_frame(document: dict[str, Any], reference: str | None = None) -> pd.DataFrame:
    """Return the packages of an SBOM's document."""
    return frames.frame("sbom", sbom.packages(document), reference=reference)


def _restore(raw: bytes, digest: str, attached_to: str) -> Attestation:
    found = statement.parse(raw)
    assert found is not None  # it was one when it was made
    return Attestation(found, digest, attached_to)
