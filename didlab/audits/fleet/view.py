"""What a check sees of an image: read-only, and the same wherever it runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from didlab.audits.fleet import reads
from didlab.audits.fleet.reads import ReadsLook
from didlab.errors import InvalidArgument, LimitExceeded, PathError, PathNotFound, UnsafeContent
from didlab.files import links, paths
from didlab.files.standing import Unsure
from didlab.files.table import FILE
from didlab.model.indexing import Manner

if TYPE_CHECKING:
    import os

    import pandas as pd

    from didlab.model.config import Config
    from didlab.model.inside import Layers
    from didlab.model.manifest import Manifest

#: Bytes of a file that `ImageView.read` takes into memory.
MOST = 256 * 1024 * 1024


class ImageView:
    """An image as checks see it: the calls of a `Manifest` that say something about it.

    Made by `didlab.audit`; attributes are free, methods read what layers were found to hold.

    Attributes
    ----------
    reference : str
        The name it is audited under; of several names of the same image the first.
    references : tuple of str
        All of them: an image is looked at once, whatever the number of its names.
    platform : str
        ``linux/amd64``.
    digest : str
        Digest of its manifest.
    """

    def __init__(
        self,
        manifest: Manifest,
        references: Sequence[str],
        platform: str,
        digest: str,
        *,
        look: ReadsLook | None = None,
        layers: bool = True,
    ) -> None:
        self._manifest = manifest
        self.references = tuple(references)
        self.platform = platform
        self.digest = digest
        self._look = look
        self._allowed = layers

    @property
    def reference(self) -> str:
        """The name it is audited under."""
        return self.references[0]

    def __repr__(self) -> str:
        return f"<ImageView {self.reference} {self.platform}>"

    # --- manifest and config -----------------------------------------------------------------

    def config(self) -> Config:
        """Return the config, as `Manifest.config`."""
        return self._manifest.config()

    def history(self) -> pd.DataFrame:
        """List the steps that made it, as `Manifest.history`."""
        return self._manifest.history()

    def layers(self) -> pd.DataFrame:
        """List the layers, as `Manifest.layers`."""
        return self._manifest.layers()

    def size(self) -> int:
        """Return the bytes to download, as `Manifest.size`."""
        return self._manifest.size()

    def created(self) -> datetime | None:
        """Return when it was made, as its config says."""
        return self._manifest.config().created

    def annotations(self) -> dict[str, str]:
        """Return the manifest's annotations."""
        return self._manifest.annotations()

    # --- files -------------------------------------------------------------------------------

    def files(self, pattern: str | None = None) -> pd.DataFrame:
        """List the merged file system, as `Manifest.files`."""
        self._inside()
        return self._manifest.files(pattern, progress=False)

    def exists(self, path: str | bytes | os.PathLike[str]) -> bool:
        """Whether there is something at a path, links followed."""
        layers = self._inside()
        asked = paths.normalise(path)
        try:
            if layers.stands(asked) is not None:
                return True
        except Unsure:
            pass
        try:
            layers.row(asked, layers.merged())
        except (PathNotFound, PathError, UnsafeContent):
            return False
        return True

    def read(self, path: str | bytes | os.PathLike[str]) -> bytes:
        """Return a file's content, links followed.

        Costs nothing of files that the check's ``reads=`` names, else a range of the layer.

        Raises
        ------
        PathNotFound, NotAFile, SpecialFile
        LimitExceeded
            More than 256 MiB.
        """
        layers = self._inside()
        asked = paths.normalise(path)
        place = self._place(asked)
        kept = None if place is None else self._kept(*place)
        if kept is not None:
            return kept
        content = layers.standing_content(*place) if place else layers.at(asked, layers.merged())
        if content.size > MOST:
            raise LimitExceeded(
                f"{paths.shown(asked)} in {self.reference} has {content.size} bytes",
                what="size of a file that a check reads",
                limit=MOST,
                seen=content.size,
            )
        return content.read_at(0, content.size)

    def _place(self, path: bytes) -> tuple[int, int] | None:
        """Return layer and row of a regular file with content; None of anything else."""
        layers = self._inside()
        try:
            place = layers.stands(path)
        except Unsure:
            merged = layers.merged()
            row = layers.row(path, merged)
            table = merged.table
            if row == links.ROOT or table.types[row] != FILE:
                return None
            assert table.homes is not None
            assert table.origins is not None
            place = table.homes[row], table.origins[row]
            if place[0] < 0 or layers.index(place[0]).kind != merged.kinds[place[0]]:
                return None
            # Of a path that comes twice the last one is kept.
            own = layers.index(place[0]).table
            if own.find(own.paths[place[1]]) != place[1]:
                return None
        if place is None or not layers.index(place[0]).table.sizes[place[1]]:
            return None
        return place

    def _kept(self, home: int, row: int) -> bytes | None:
        """Return what a pass over its layer kept of a file."""
        if self._look is None:
            return None
        facts = self._told[home].get(self._inside().index(home).table.paths[row])
        return None if facts is None else reads.content(facts)

    @cached_property
    def _told(self) -> Sequence[dict[bytes, Any]]:
        assert self._look is not None
        return self._inside().learn([self._look])[self._look.name]

    def _inside(self) -> Layers:
        if not self._allowed:
            raise InvalidArgument(
                "this check was made with layers=False, and looks into layers",
                hint="leave layers=False out",
            )
        return self._layers

    @cached_property
    def _layers(self) -> Layers:
        return self._manifest._layers(Manner(progress=False))

    # --- audits ------------------------------------------------------------------------------

    def packages(self) -> pd.DataFrame:
        """List its packages, as `Manifest.packages`."""
        return self._audit("packages")

    def secrets(self) -> pd.DataFrame:
        """List its secrets, redacted, as `Manifest.secrets`."""
        return self._audit("secrets")

    def setuid(self) -> pd.DataFrame:
        """List what runs with other rights, as `Manifest.setuid`."""
        return self._audit("setuid")

    def users(self) -> pd.DataFrame:
        """List its users, as `Manifest.users`."""
        return self._audit("users")

    def certificates(self) -> pd.DataFrame:
        """List its certificates, as `Manifest.certificates`."""
        return self._audit("certificates")

    def waste(self) -> pd.DataFrame:
        """List what is stored in vain, as `Manifest.waste`."""
        return self._audit("waste")

    def os(self) -> Any:
        """Return its operating system, as `Manifest.os`."""
        self._inside()
        return self._manifest.os(progress=False)

    def _audit(self, name: str) -> pd.DataFrame:
        self._inside()
        found: pd.DataFrame = getattr(self._manifest, name)(progress=False)
        return found
