"""What a save did."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from didlab.sizes import human


@dataclass(frozen=True, slots=True)
class SaveReport(os.PathLike[str]):
    """What was saved, and at what cost. Stands for its path wherever a path is taken.

    Attributes
    ----------
    path : Path
        The file.
    digest : str
        Digest of the image's manifest (or of the blob): what containerd's stores show as ID.
    image_id : str or None
        Digest of the config: what ``docker images`` and podman show after loading.
    platform : str or None
        The platform that was saved.
    size : int
        Bytes of the file.
    downloaded, reused : int
        Bytes of blobs that came over the network, and that were there already.
    seconds : float
        From the call to the finished file.
    served : mapping of str to int
        Which host brought how many bytes: mirrors, or the registry.
    """

    path: Path
    digest: str
    image_id: str | None
    platform: str | None
    size: int
    downloaded: int
    reused: int
    seconds: float
    #: Host -> bytes that it brought.
    served: Mapping[str, int] = field(default_factory=dict, compare=False)

    @property
    def bytes_downloaded(self) -> int:
        """The same as ``downloaded``."""
        return self.downloaded

    @property
    def bytes_reused(self) -> int:
        """The same as ``reused``."""
        return self.reused

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        how = f"{human(self.downloaded)} downloaded"
        if self.reused:
            how += f", {human(self.reused)} reused"
        what = f" {self.platform}" if self.platform else ""
        shown = self.image_id or self.digest
        return (
            f"<SaveReport {self.path}{what} · {shown[:19]} · {human(self.size)} · {how} "
            f"in {self.seconds:.1f} s>"
        )
