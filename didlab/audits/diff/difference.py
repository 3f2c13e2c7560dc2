"""Two images compared: what users hold."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from didlab.audits.diff import documents, sizes
from didlab.audits.diff.documents import Stored
from didlab.audits.diff.side import Side
from didlab.errors import InvalidArgument, printable
from didlab.model import tables
from didlab.model.indexing import Manner
from didlab.model.manifest import CARD_SECONDS, Manifest
from didlab.views import frames, text
from didlab.views.cards import difference as card

if TYPE_CHECKING:
    import pandas as pd

    from didlab.audits.diff.comparing import Compared

#: How a path inside an image is given: with or without the leading slash.
Location = str | bytes | os.PathLike[str]

_BY = ("directory", "layer", "package")


class Diff:
    """How an image differs from another. Lazy: made without any request.

    Made by ``m.diff(other)`` and `didlab.diff`. What both images share is fetched once, and
    never compared: an image of the same layers costs its manifests only.

    Attributes
    ----------
    before, after : Manifest
        The two images.
    """

    def __init__(self, before: Manifest, after: Manifest) -> None:
        self._before = before
        self._after = after

    # --- free --------------------------------------------------------------------------------

    @property
    def before(self) -> Manifest:
        """The image that is compared with."""
        return self._before

    @property
    def after(self) -> Manifest:
        """The image that is compared."""
        return self._after

    # --- tables ------------------------------------------------------------------------------

    def files(
        self,
        *,
        content: bool = False,
        times: bool = False,
        progress: Any = None,
        keep: bool = False,
    ) -> pd.DataFrame:
        """List the paths that differ, as a container of each image would see them.

        Files that come from the same entry of the same layer are the same, whatever the image.
        Of others, of equal size, only reading can tell: by default those that also have the
        same time of change are taken for the same, as rsync and make do, and the rest is listed
        as ``maybe``. No evidence are times that mean none (1970, 1980) and the latest one of a
        layer, which reproducible builds give to all that they made.

        Parameters
        ----------
        content : bool
            Read these files, and tell ``same`` from ``different``. What stays ``unknown`` is
            beyond what is kept of one layer: digests of about 200,000 files.
        times : bool
            List what differs in nothing but its time of change, too.
        progress, keep
            As `Manifest.files`.

        Returns
        -------
        DataFrame
            path : text, change : category (added, removed, changed; maybe: only the content may
            differ), changed : category (what differs: type, content, mode, owner, link, xattrs,
            device, mtime, separated by commas; missing where added, removed or maybe),
            content : category (same, different, unknown; missing where not both are files),
            type : category (as `Manifest.files`; of what was there, where it was removed),
            size_before : Int64, size_after : Int64 (bytes), permissions_before : category,
            permissions_after : category (as ``ls`` shows them), owner_before : category,
            owner_after : category (``0:0``), layer_before : Int64, layer_after : Int64
            (positions of the layers that wrote it). Sorted by path; in ``attrs``
            ``unverified``, the number of files of equal size whose content nobody compared.

        Raises
        ------
        As `Manifest.files`.

        Notes
        -----
        Costs what `Manifest.files` costs for both; layers that they share are read once.
        ``content=True`` costs at most 10 requests for a layer, or one for all of it where most
        of it is wanted. Digests are kept with the layer: the next comparison has them.
        """
        from didlab.audits.diff import files

        found = self._compared(Manner(progress, keep), content=content)
        return files.frame(
            found,
            times=times,
            before=str(self._before.reference),
            after=str(self._after.reference),
        )

    def packages(self, *, progress: Any = None, keep: bool = False) -> pd.DataFrame:
        """List the packages that differ.

        Returns
        -------
        DataFrame
            ecosystem : category, name : text, architecture : category, change : category
            (added, removed, upgraded, downgraded; changed where the order of the versions is not
            known), before : text, after : text (versions), layer_before : Int64,
            layer_after : Int64 (positions of the layers that brought them). Sorted by ecosystem
            and name. Versions are ordered as dpkg, rpm, apk, PEP 440 and Semantic Versioning do.
            Between platforms, a package for one and for the other is the same package.

        Raises
        ------
        As `Manifest.packages`.

        Notes
        -----
        Costs what `Manifest.packages` costs for both.
        """
        from didlab.audits.diff import packages
        from didlab.audits.packages import installed

        sides = self._sides(Manner(progress, keep))
        across = sides[0].machine != sides[1].machine
        rows = packages.rows(*(installed(side.layers) for side in sides), across=across)
        return self._frame("diff_packages", rows)

    def config(self) -> pd.DataFrame:
        """List what differs in the configs: environment, labels, command, platform, user.

        Returns
        -------
        DataFrame
            key : text (where it stands: ``Env.PATH``, ``Labels.version``, ``Cmd``,
            ``architecture``), change : category (added, removed, changed), before : text,
            after : text (JSON, where it is no text). What looks like a secret is hidden.

        Raises
        ------
        NotAnImage, PlatformNotFound, TransportError

        Notes
        -----
        Costs manifest and config of both.
        """
        rows = documents.config_rows(self._before._config(), self._after._config())
        return self._frame("diff_config", rows)

    def layers(self) -> pd.DataFrame:
        """List the layers of both: which are shared, which are not.

        Returns
        -------
        DataFrame
            status : category (shared; recompressed: the same content in another form; removed,
            added), position_before : Int64, position_after : Int64, digest : text,
            size_before : Int64, size_after : Int64 (bytes as stored), created_by : text. Those
            of the image before come first, base first.

        Raises
        ------
        As `Manifest.layers`.

        Notes
        -----
        Costs manifest and config of both.
        """
        rows = documents.layer_rows(_stored(self._before), _stored(self._after))
        return self._frame("diff_layers", rows)

    def sizes(
        self,
        by: str = "directory",
        depth: int = 2,
        *,
        progress: Any = None,
        keep: bool = False,
    ) -> pd.DataFrame:
        """List where the sizes differ, the largest difference first: why an image grew.

        Parameters
        ----------
        by : str
            ``"directory"``: bytes of the files in each folder, that add up to the whole.
            ``"layer"``: bytes as stored, by the command that made the layer; a layer that was
            built again stands beside what it was. ``"package"``: what dpkg and apk say that a
            package takes on the disk.
        depth : int
            Of folders: 1 for ``/usr``, 2 for ``/usr/lib``.
        progress, keep
            As `Manifest.files`.

        Returns
        -------
        DataFrame
            name : text (folder, command or package), before : int64, after : int64 (bytes; 0
            where there is none), delta : int64. What did not change is left out.

        Raises
        ------
        InvalidArgument
            And as `files`.

        Notes
        -----
        Costs what `Manifest.files` costs for both; by layer only manifest and config.
        """
        if by not in _BY:
            raise InvalidArgument(
                f"sizes() knows no by={printable(repr(by), 60)}", hint="one of " + ", ".join(_BY)
            )
        if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
            raise InvalidArgument("depth is a whole number from 1 on: 1 for /usr, 2 for /usr/lib")
        if by == "layer":
            found = [sizes.layers(_stored(image)) for image in (self._before, self._after)]
        else:
            sides = self._sides(Manner(progress, keep))
            found = [
                sizes.packages(side.layers)
                if by == "package"
                else sizes.folders(side.merged.table, depth)
                for side in sides
            ]
        return self._frame("diff_sizes", sizes.rows(*found))

    def text(self, path: Location, *, progress: Any = None, keep: bool = False) -> text.Lines:
        """Return how a file's lines differ, as a unified diff; empty where they do not.

        Parameters
        ----------
        path : path-like
            A file; links are followed in each image.

        Returns
        -------
        str
            Shown as lines at a prompt. Where one image lacks the file, all of its lines; of
            binary files only that they differ. Controls are shown as escapes.

        Raises
        ------
        PathNotFound
            Neither has it.
        LimitExceeded
            It has more than 8 MiB or 400,000 lines.
        NotAFile, SpecialFile
            And as `Manifest.open`.

        Notes
        -----
        Costs what `Manifest.read` costs for both. At most 20,000 lines.
        """
        from didlab.audits.diff import texts
        from didlab.files import paths

        wanted = paths.normalise(path)
        names = _names(self._before, self._after)
        shown = (f"{name} {paths.shown(wanted)}" for name in names)
        one, two = shown
        return text.Lines(texts.between(*self._sides(Manner(progress, keep)), wanted, (one, two)))

    # --- how ---------------------------------------------------------------------------------

    def _sides(self, manner: Manner) -> tuple[Side, Side]:
        return Side(self._before, manner), Side(self._after, manner)

    def _compared(self, manner: Manner, *, content: bool) -> Compared:
        from didlab.audits.diff import comparing, files
        from didlab.files.merge import merge

        for image in (self._before, self._after):
            found = image._image()
            if not found.is_image:
                raise image._snapshot.not_an_image(found)
        before, after = self._sides(manner)
        if before.layers._names == after.layers._names:
            nothing = merge([])
            return comparing.compare(nothing, nothing, [], [])
        return files.compared(before, after, content=content)

    def _frame(self, name: str, rows: Any) -> pd.DataFrame:
        made = frames.frame(name, rows, reference=str(self._after.reference))
        made.attrs["before"] = str(self._before.reference)
        return made

    # --- identity ----------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Diff):
            return (self._before, self._after) == (other._before, other._after)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self._before, self._after))

    def __bool__(self) -> bool:
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        return Diff, (self._before, self._after)

    # --- look --------------------------------------------------------------------------------

    def _facts(self) -> dict[str, Any]:
        """Return what can be told without a request; what cannot is missing."""
        from didlab.audits.diff import known

        return known.facts(self._before, self._after, _names(self._before, self._after))

    def _known(self) -> dict[str, Any]:
        """Return all that is known, from the local store too."""
        from didlab.audits.diff import known

        return {**self._facts(), **known.inside(*self._sides(Manner(False, False)))}

    def _fetch(self) -> None:
        self._before._config()
        self._after._config()

    def __repr__(self) -> str:
        return card.line(self._facts())

    def _repr_html_(self) -> str:
        return card.difference(self._facts, self._fetch, self._known, seconds=CARD_SECONDS)


def _stored(image: Manifest) -> list[Stored]:
    rows = tables.layers(image._snapshot, image._image())
    return [Stored(row[1], row[2], row[4], row[6]) for row in rows]


def _names(before: Manifest, after: Manifest) -> tuple[str, str]:
    """Return what the two are called; with their platforms, where that is all the difference."""
    one, two = before.reference.familiar(), after.reference.familiar()
    if one == two:
        one, two = (
            f"{image.reference.familiar()} {image._platform}" if image._platform else name
            for image, name in ((before, one), (after, two))
        )
    return one, two
