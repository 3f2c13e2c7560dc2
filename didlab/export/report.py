"""What a save did."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from didlab.errors import printable
from didlab.export.content import Content
from didlab.sizes import human


@dataclass(frozen=True, slots=True)
class Made:
    """Bytes that came and that were there, how long it took, who served, what happened."""

    downloaded: int
    reused: int
    seconds: float
    served: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lasting(self, seconds: float) -> Made:
        """Return the same with another duration."""
        return replace(self, seconds=seconds)


@dataclass(frozen=True, slots=True)
class SavedImage:
    """One image in a saved file.

    Attributes
    ----------
    reference : str
        Its canonical name.
    digest : str or None
        Digest of what the name stands for in the file: the ID in containerd's stores. None in
        a plain docker-archive, which has no manifest.
    image_id : str
        Digest of the config: the ID in Docker's older stores and podman.
    platforms : tuple of str
        The platforms inside.
    """

    reference: str
    digest: str | None
    image_id: str
    platforms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SaveReport(os.PathLike[str]):
    """What was saved, and at what cost. Stands for its path wherever a path is taken.

    Attributes
    ----------
    path : Path or None
        The file, or the folder of an OCI layout; None where it went into a stream.
    digest : str or None
        Digest of the image's manifest or index (of the blob, for a layer): what containerd's
        stores show as ID. None for several images (see ``images``), and for a plain
        docker-archive, which has no manifest.
    image_id : str or None
        Digest of the config: what ``docker images`` and podman show after loading.
    platform : str or None
        The platform that was saved; several are separated by commas.
    size : int
        Bytes of the file.
    downloaded, reused : int
        Bytes of blobs that came over the network, and that were on this machine already: in a
        file that was read from, in the local store, or from an attempt before.
    seconds : float
        From the call to the finished file.
    served : mapping of str to int
        Which host brought how many bytes: mirrors, or the registry.
    notes : tuple of str
        What went on: places that were left out, blobs that came twice.
    images : tuple of SavedImage
        Every image inside.
    """

    path: Path | None
    digest: str | None
    image_id: str | None
    platform: str | None
    size: int
    downloaded: int
    reused: int
    seconds: float
    served: Mapping[str, int] = field(default_factory=dict, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    images: tuple[SavedImage, ...] = ()

    @property
    def bytes_downloaded(self) -> int:
        """The same as ``downloaded``."""
        return self.downloaded

    @property
    def bytes_reused(self) -> int:
        """The same as ``reused``."""
        return self.reused

    def __fspath__(self) -> str:
        if self.path is None:
            raise TypeError("this went into a stream: there is no path")
        return os.fspath(self.path)

    def __str__(self) -> str:
        return "a stream" if self.path is None else str(self.path)

    def _repr_html_(self) -> str:
        from didlab.views import cards

        return cards.saved(self._facts())

    def _facts(self) -> dict[str, object]:
        return {
            "path": str(self),
            "platform": self.platform,
            "size": self.size,
            "seconds": self.seconds,
            "downloaded": self.downloaded,
            "reused": self.reused,
            "digest": self.digest,
            "image_id": self.image_id,
            # One image is described above already.
            "images": [
                (image.reference, image.image_id, ", ".join(image.platforms))
                for image in (self.images if len(self.images) > 1 else ())
            ],
            "served": self.served,
            "notes": self.notes,
        }

    def __repr__(self) -> str:
        how = f"{human(self.downloaded)} downloaded"
        if self.reused:
            how += f", {human(self.reused)} reused"
        # A config says its platform, whatever its publisher wrote there.
        what = f" {printable(self.platform, 120)}" if self.platform else ""
        shown = self.image_id or self.digest
        name = shown[:19] if shown else f"{len(self.images)} images"
        return (
            f"<SaveReport {printable(self, 2000)}{what} · {name} · {human(self.size)} · {how} "
            f"in {self.seconds:.1f} s>"
        )


def report(
    path: Path | None,
    contents: Sequence[Content],
    size: int,
    made: Made,
    *,
    manifests: bool = True,
) -> SaveReport:
    """Return the report on images that were saved, with their ``manifests`` or without."""
    images = tuple(
        SavedImage(
            reference=str(content.reference),
            digest=content.root.digest if manifests else None,
            image_id=content.images[0].manifest.config.digest,
            platforms=tuple(str(image.platform) for image in content.images),
        )
        for content in contents
    )
    only = images[0] if len(images) == 1 else None
    return SaveReport(
        path=path,
        digest=only.digest if only else None,
        image_id=only.image_id if only else None,
        platform=", ".join(only.platforms) if only else None,
        size=size,
        downloaded=made.downloaded,
        reused=made.reused,
        seconds=made.seconds,
        served=made.served,
        notes=made.notes,
        images=images,
    )
