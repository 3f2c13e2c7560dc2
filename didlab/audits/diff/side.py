"""One of the two images that are compared, looked into."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from didlab.files import kept
from didlab.model.indexing import Manner

if TYPE_CHECKING:
    from didlab.files.kept import Merged
    from didlab.model.inside import Layers
    from didlab.model.manifest import Manifest

_PASSES = ("gzip", "zstd", "tar")


class Side:
    """An image's merged file system; listed when it is asked for."""

    def __init__(self, image: Manifest, manner: Manner) -> None:
        self.image = image
        self._manner = manner

    @cached_property
    def layers(self) -> Layers:
        """Its layers. Costs the manifest and the config."""
        return self.image._layers(self._manner)

    @cached_property
    def merged(self) -> Merged:
        """Its file system. Costs what `Manifest.files` does."""
        return self.layers.merged()

    @property
    def machine(self) -> tuple[str, str]:
        """What it runs on. Costs the manifest and the config."""
        config = self.image._config()
        return config.architecture, config.variant

    def known(self) -> bool:
        """Whether the file system is known without asking anybody."""
        if "merged" in self.__dict__:
            return True
        found = kept.merged(self.layers._names)
        if found is None:
            return False
        self.__dict__["merged"] = found
        return True

    @property
    def places(self) -> list[str]:
        """For each layer what identifies its rows, however it is compressed."""
        found = []
        merged = self.merged
        wanted = self.layers._wanted
        for one, kind, diff_id in zip(wanted, merged.kinds, merged.diff_ids, strict=True):
            passed = kind in _PASSES and diff_id is not None
            found.append(str(diff_id) if passed else f"{one.descriptor.digest} {kind}")
        return found
