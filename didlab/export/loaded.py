"""What a load did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from didlab.errors import printable
from didlab.sizes import human


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """One image that was loaded.

    Attributes
    ----------
    reference : str
        Its canonical name.
    image_id : str
        The ID that the daemon shows for it.
    platform : str
        Its platform.
    """

    reference: str
    image_id: str
    platform: str


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What was loaded into a Docker daemon, and at what cost.

    Attributes
    ----------
    images : tuple of LoadedImage
        The images.
    messages : tuple of str
        What the daemon said.
    daemon : str
        Its version.
    size : int
        Bytes that were handed over.
    downloaded, reused : int
        Bytes of blobs that came over the network, and that were on this machine already.
    seconds : float
        From the call to the daemon's answer.
    served : mapping of str to int
        Which host brought how many bytes.
    notes : tuple of str
        What went on: places that were left out, layers that were written anew.
    """

    images: tuple[LoadedImage, ...]
    messages: tuple[str, ...]
    daemon: str
    size: int
    downloaded: int
    reused: int
    seconds: float
    served: Mapping[str, int] = field(default_factory=dict, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def image_id(self) -> str | None:
        """The ID of the image; None where there are several."""
        return self.images[0].image_id if len(self.images) == 1 else None

    def _repr_html_(self) -> str:
        from didlab.views import cards

        return cards.loaded(self._facts())

    def _facts(self) -> dict[str, object]:
        return {
            "images": [(one.reference, one.image_id, one.platform) for one in self.images],
            "messages": self.messages,
            "daemon": self.daemon,
            "size": self.size,
            "downloaded": self.downloaded,
            "reused": self.reused,
            "seconds": self.seconds,
            "served": self.served,
            "notes": self.notes,
        }

    def __repr__(self) -> str:
        what = self.image_id[:19] if self.image_id else f"{len(self.images)} images"
        names = ", ".join(printable(image.reference, 200) for image in self.images[:3])
        return (
            f"<LoadReport {names} · {what} · {human(self.downloaded)} downloaded in "
            f"{self.seconds:.1f} s>"
        )
