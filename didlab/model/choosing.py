"""Which layer somebody means by a digest, or by its beginning."""

from __future__ import annotations

import re
from collections.abc import Sequence

from didlab.errors import InvalidArgument, LayerNotFound, printable
from didlab.oci.descriptor import Descriptor
from didlab.oci.digest import is_digest
from didlab.oci.reference import Reference

#: As git has it: fewer digits are a slip more often than a choice.
_BEGINNING = re.compile(r"(?:sha(?:256|512):)?[0-9a-f]{7,128}", re.ASCII)
#: How much of each digest an error shows.
_SHOWN = len("sha256:") + 24


def by_digest(text: str, layers: Sequence[Descriptor], reference: Reference) -> int:
    """Return the position of the layer with a digest; of a layer that is there twice, the first.

    Raises
    ------
    LayerNotFound
    InvalidArgument
        Several begin in this way.
    """
    names = [layer.digest for layer in layers]
    meant = [text] if text in names else []
    if not meant and _BEGINNING.fullmatch(text):
        meant = list(dict.fromkeys(name for name in names if _begins(name, text)))
    if len(meant) == 1:
        return names.index(meant[0])
    if meant:
        raise InvalidArgument(
            f"{reference} has {len(meant)} layers whose digests begin with {text}",
            reference=str(reference),
            available=tuple(meant),
            hint=f"write more of it: {', '.join(name[:_SHOWN] for name in meant[:10])}",
        )
    hint = None if is_digest(text) else "a digest is written sha256:…, seven digits of it at least"
    raise LayerNotFound(
        f"{reference} has no layer {printable(text, 200)!r}",
        reference=str(reference),
        available=tuple(names),
        hint=hint,
    )


def _begins(name: str, text: str) -> bool:
    return (name if ":" in text else name.partition(":")[2]).startswith(text)
