"""What a copy did."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from didlab.errors import printable
from didlab.sizes import human


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied, and at what cost.

    Attributes
    ----------
    reference : str
        The name it has now.
    digest : str
        Digest of what that name stands for: the same as at the source, unless platforms were
        chosen out of an index.
    manifests : int
        Manifests and indexes that were written.
    uploaded, mounted, present : int
        Blobs that were sent, taken over from another repository of the registry, and there
        already.
    uploaded_bytes, mounted_bytes, present_bytes : int
        Bytes of those.
    seconds : float
        From the call to the last manifest.
    notes : tuple of str
        What went on: uploads that broke and had to begin anew, layers that were left out.
    """

    reference: str
    digest: str
    manifests: int
    uploaded: int
    mounted: int
    present: int
    uploaded_bytes: int
    mounted_bytes: int
    present_bytes: int
    seconds: float = field(compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return self.reference

    def _repr_html_(self) -> str:
        from didlab.views import cards

        return cards.copied(self._facts())

    def _facts(self) -> dict[str, object]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __repr__(self) -> str:
        parts = [
            f"{count} {what} ({human(size)})"
            for count, what, size in (
                (self.uploaded, "uploaded", self.uploaded_bytes),
                (self.mounted, "mounted", self.mounted_bytes),
                (self.present, "there already", self.present_bytes),
            )
            if count
        ]
        how = ", ".join(parts) or "no blobs"
        name = printable(self.reference, 300)
        return f"<CopyReport {name} · {self.digest[:19]} · {how} in {self.seconds:.1f} s>"
