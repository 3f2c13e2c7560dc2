"""The calls of a Manifest that say what changed, and what it carries for nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from didlab.model.indexing import Manner

if TYPE_CHECKING:
    import pandas as pd

    from didlab.audits.diff.difference import Diff
    from didlab.model.inside import Layers
    from didlab.model.manifest import Manifest
    from didlab.oci.reference import Reference


class ImageComparing:
    """An image beside another one, and beside what it could be."""

    @property
    def reference(self) -> Reference:
        """The name it was opened under."""
        raise NotImplementedError

    def _layers(self, manner: Manner) -> Layers:
        raise NotImplementedError

    def diff(self, other: str | os.PathLike[str] | Reference | Manifest) -> Diff:
        """Compare with another image: how ``other`` differs from this one.

        Parameters
        ----------
        other : reference, path or Manifest
            Another tag, platform, registry, a local tar. A name at this image's registry is
            asked for in the same way as this one. Where this object is about a platform and
            ``other`` about none, the same platform's.

        Returns
        -------
        Diff
            files, packages, config, layers, sizes, text. Made without any request.

        Raises
        ------
        InvalidReference, InvalidArgument
        """
        from didlab.audits.diff import images

        return images.between(cast("Manifest", self), other)

    def waste(self, *, progress: Any = None, keep: bool = False) -> pd.DataFrame:
        """List the content that layers store and later ones overwrite or delete.

        It is downloaded and kept with the image, and no container ever sees it. Exactly the
        files that no path of `files` leads to: content that has another name is none.

        Parameters
        ----------
        progress, keep
            As `files`.

        Returns
        -------
        DataFrame
            path : text, kind : category (overwritten; metadata: overwritten by a file of the
            same size and time, so that probably only its owner or permissions changed, as with
            ``chown -R``; deleted; hidden: what its own layer never shows),
            size : int64 (bytes that are stored, uncompressed), layer : int64 (position of the
            layer that stores it), by_layer : int64 (of the one that took away its last name),
            created_by : category (the command that made that one). The largest first; in
            ``attrs`` the sum ``wasted``, and ``efficiency`` (see there).

        Raises
        ------
        As `files`.

        Notes
        -----
        Costs what `files` costs.
        """
        from didlab.audits.waste import frames

        return frames.waste(self._layers(Manner(progress, keep)), str(self.reference))

    def efficiency(self, *, progress: Any = None, keep: bool = False) -> float:
        """Return how much of what the layers hold is there in the end, as dive counts it.

        For each path, over the layers that have it: the sum of its sizes, and the least of them.
        The least ones together, divided by the sums together; 1.0 is best. A deleted file has
        the least size 0, a deleted folder that of all in it.

        Raises
        ------
        As `files`.

        Notes
        -----
        Costs what `files` costs. `waste` is exact where this is an estimate: it follows links
        and counts hard links once.
        """
        from didlab.audits.waste import frames

        return frames.score(self._layers(Manner(progress, keep)))

    def duplicates(
        self,
        pattern: str | None = None,
        *,
        min_size: int = 4096,
        progress: Any = None,
        keep: bool = False,
    ) -> pd.DataFrame:
        """List files of the same content under several paths, what wastes most first.

        Parameters
        ----------
        pattern : str, optional
            Only paths like this, as for `files`.
        min_size : int
            Smaller files are passed over; 1 compares all of them.
        progress, keep
            As `files`.

        Returns
        -------
        DataFrame
            digest : text (of the content), path : text, size : int64 (bytes), copies : int64
            (files with this content), wasted : int64 (its size, but 0 for the first copy: the
            sum is what one copy would save), layer : int64 (position of the layer that has the
            content). Hard links are no copies.

        Raises
        ------
        InvalidArgument
            And as `files`.

        Notes
        -----
        Costs what `files` costs; then files whose size comes more than once are read: at most
        10 requests for a layer, or one for all of it. Digests are kept with the layer.
        """
        from didlab.audits.waste import frames

        layers = self._layers(Manner(progress, keep))
        return frames.duplicates(layers, str(self.reference), pattern, min_size)

    def caches(self, *, progress: Any = None, keep: bool = False) -> pd.DataFrame:
        """List what package managers and builds left behind, the largest first.

        Known are the caches of apt, apk, dnf, zypper, pacman, pip, uv, poetry, conda, npm, yarn,
        pnpm, Go, Cargo, RubyGems, Composer, Gradle, ccache; ``.git`` and ``/tmp``.

        Parameters
        ----------
        progress, keep
            As `files`.

        Returns
        -------
        DataFrame
            kind : category (who left it), path : text (the folder), files : int64 (their
            number), size : int64 (bytes of their content, uncompressed), layer : int64
            (position of the layer that has them), created_by : category (the command that made
            that layer). What has a hard link outside is not counted.

        Raises
        ------
        As `files`.

        Notes
        -----
        Costs what `files` costs. Caches that a later layer deleted are in `waste`.
        """
        from didlab.audits.waste import frames

        return frames.caches(self._layers(Manner(progress, keep)), str(self.reference))
