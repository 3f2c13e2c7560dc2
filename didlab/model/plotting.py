"""What `Manifest.plot` and `Repository.plot` are: the values that plots are drawn of."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from didlab.errors import InvalidArgument, NotAFolder, printable
from didlab.model.indexing import Manner

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from didlab.files.table import Table
    from didlab.model.imagefiles import Location
    from didlab.model.manifest import Manifest
    from didlab.model.repository import Repository

#: So many tags are looked into without being named.
_MOST_TAGS = 100


@dataclass(frozen=True, repr=False)
class ImagePlots:
    """Plots of one image, by matplotlib (``pip install "didlab[plot]"``).

    Each returns the `matplotlib.axes.Axes` that it drew on: ``ax`` if given, else that of a new
    figure. Colours and fonts are those of the active style; nothing is shown by itself, but a
    notebook shows the figure.
    """

    _manifest: Manifest

    def __repr__(self) -> str:
        name = printable(self._manifest.reference.familiar(), 200)
        return f"<ImagePlots {name} · layers() treemap() waste()>"

    def layers(self, *, rows: int = 40, ax: Axes | None = None) -> Axes:
        """Draw a bar for each layer, the base uppermost, with the command that made it.

        Parameters
        ----------
        rows : int
            No more than so many bars: beyond, small layers that follow each other share one.
        ax : Axes, optional
            Where to draw.

        Raises
        ------
        ImportError
            Without matplotlib, before anything is asked.
        ManifestInvalid, PlatformNotFound, TransportError

        Notes
        -----
        Costs the manifest and the config. Sizes are those as stored (compressed).
        """
        _need("m.plot.layers()")
        from didlab.views.plots import bars

        if _whole(rows) is None or rows < 1:
            raise InvalidArgument(f"rows= is a whole number from 1 on, not {rows!r:.100}")
        frame = self._manifest.layers()
        commands = [text if isinstance(text, str) else None for text in frame["created_by"]]
        return bars.layers(
            [int(size) for size in frame["size"]], commands, self._name(), rows=rows, ax=ax
        )

    def treemap(
        self,
        path: Location = "/",
        depth: int = 2,
        *,
        ax: Axes | None = None,
        progress: Any = None,
        keep: bool = False,
    ) -> Axes:
        """Draw folders as rectangles: their areas are the bytes of the files in them.

        Parameters
        ----------
        path : path-like
            The folder to look at.
        depth : int
            How many levels of folders are told apart below it, 1 to 8.
        ax : Axes, optional
            Where to draw.
        progress, keep
            As for `Manifest.files`.

        Raises
        ------
        ImportError
            Without matplotlib, before anything is asked.
        PathNotFound, NotAFolder
        DigestMismatch, CompressionInvalid, TarInvalid, LimitExceeded, TransportError

        Notes
        -----
        Costs what `Manifest.files` does. What has several names counts once, as on a disk. What is
        below 0.2 % of the whole is drawn together.
        """
        _need("m.plot.treemap()")
        from didlab.files import links, paths
        from didlab.files.table import DIR
        from didlab.model.listing import shown
        from didlab.views.plots import folders

        if _whole(depth) is None or not 1 <= depth <= 8:
            raise InvalidArgument(f"depth= is a whole number from 1 to 8, not {depth!r:.100}")
        wanted = paths.normalise(path)
        table = self._manifest._layers(Manner(progress, keep)).merged().table
        row = links.resolve(table, wanted)
        if row >= 0 and table.types[row] != DIR:
            raise NotAFolder(f"{printable(shown(wanted))} is no folder", path=shown(wanted))
        folder = table.paths[row] if row >= 0 else b"/"
        below = "/" if folder == b"/" else shown(folder)
        return folders.treemap(weights(table, folder, depth), self._name(), below, ax=ax)

    def waste(
        self, *, rows: int = 40, ax: Axes | None = None, progress: Any = None, keep: bool = False
    ) -> Axes:
        """Draw what layers store in vain, and because of which later layer.

        A bar for each two of them: ``4 ← 6`` is what layer 4 has and layer 6 overwrote or
        deleted, with the command that made layer 6.

        Parameters
        ----------
        rows : int
            No more than so many bars: beyond, small ones that follow each other share one.
        ax : Axes, optional
            Where to draw.
        progress, keep
            As for `Manifest.files`.

        Raises
        ------
        ImportError
            Without matplotlib, before anything is asked.
        DigestMismatch, CompressionInvalid, TarInvalid, LimitExceeded, TransportError

        Notes
        -----
        Costs what `Manifest.waste` does, whose rows these are. Sizes are uncompressed.
        """
        _need("m.plot.waste()")
        from didlab.views.plots import bars

        if _whole(rows) is None or rows < 1:
            raise InvalidArgument(f"rows= is a whole number from 1 on, not {rows!r:.100}")
        frame = self._manifest.waste(progress=progress, keep=keep)
        found: dict[tuple[int, int], tuple[int, str | None]] = {}
        for stores, takes, size, command in zip(
            *(frame[name] for name in ("layer", "by_layer", "size", "created_by")), strict=True
        ):
            so_far, _ = found.get((stores, takes), (0, None))
            told = command if isinstance(command, str) else None
            found[stores, takes] = so_far + int(size), told
        rows_of = [(*pair, *found[pair]) for pair in sorted(found)]
        return bars.waste(rows_of, self._name(), rows=rows, ax=ax)

    def _name(self) -> str:
        """Return the image's name and platform; asks nothing."""
        from didlab.model.snapshot import config_platform

        name = self._manifest.reference.familiar()
        config = self._manifest._known_config()
        return f"{name} · {config_platform(config)}" if config is not None else name


@dataclass(frozen=True, repr=False)
class RepositoryPlots:
    """Plots of a repository, by matplotlib (``pip install "didlab[plot]"``); see `ImagePlots`."""

    _repository: Repository

    def __repr__(self) -> str:
        return f"<RepositoryPlots {printable(self._repository.name, 200)} · growth()>"

    def growth(self, tags: str | Sequence[str] | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw how large the images were, over the time when they were made.

        Parameters
        ----------
        tags : str or list of str, optional
            Which tags: a pattern (``"1.2*"``), or their names. All of them if not given, as
            long as there are no more than 100.
        ax : Axes, optional
            Where to draw.

        Raises
        ------
        ImportError
            Without matplotlib, before anything is asked.
        InvalidArgument
            More than 100 tags without any being named, or a pattern that none matches.
        RepositoryNotFound, AuthError, TransportError

        Notes
        -----
        Costs what ``tags(details=True)`` does for these tags: two or three requests each, eight
        at a time. Tags of one image are one point. Named in the title are tags that could not be
        read, and those of builds without a date that can be meant (before 2013).
        """
        _need("repository.plot.growth()")
        from didlab.views.plots import line

        where = f"{self._repository.registry.name}/{self._repository.name}"
        frame = self._repository._details(self._chosen(tags, where))
        points = [
            line.Point(tuple(same["tag"]), _moment(same["created"]), int(same["size"].iloc[0]))
            for _, same in frame.dropna(subset=["digest", "size"]).groupby("digest", sort=False)
        ]
        return line.growth(points, where, unread=sorted(frame.attrs["errors"]), ax=ax)

    def _chosen(self, tags: str | Sequence[str] | None, where: str) -> list[str]:
        if tags is not None and not isinstance(tags, str):
            names = list(tags)
            if not all(isinstance(name, str) for name in names):
                raise InvalidArgument("tags= takes a pattern, or names of tags")
            return names
        every = list(self._repository.tags()["tag"])
        names = every if tags is None else [name for name in every if fnmatchcase(name, tags)]
        if len(names) > _MOST_TAGS:
            raise InvalidArgument(
                f"{printable(where)} has {len(names)} "
                + ("tags" if tags is None else f"tags like {printable(tags)}")
                + ", and each takes two or three requests",
                hint='growth("1.2?-alpine"), or their names: growth(["1.26", "1.27"])',
            )
        if tags is not None and not names:
            raise InvalidArgument(
                f"no tag of {printable(where)} is like {printable(tags)}",
                hint="tags() lists them",
            )
        return names


def weights(table: Table, folder: bytes, depth: int) -> Mapping[tuple[str, ...], int]:
    """Return the bytes of the files below a folder, by the first names on the way to them.

    What is in deeper folders counts for the folder at ``depth``. Content of several names counts
    once, for the file or else for the first of them.
    """
    from didlab.files.table import FILE, HARDLINK
    from didlab.model.listing import shown

    start = folder.rstrip(b"/") + b"/"
    found: dict[bytes, int] = {}
    contents: set[tuple[int, int]] = set()
    homes, origins = table.homes or (), table.origins or ()
    linked = HARDLINK in table.types
    for wanted in (FILE, HARDLINK) if linked else (FILE,):
        for path, kind, size, *content in zip(
            table.paths, table.types, table.sizes, homes, origins, strict=True
        ):
            if kind != wanted or not size or not path.startswith(start):
                continue
            if linked and tuple(content) in contents:
                continue
            if linked:
                contents.add((content[0], content[1]))
            key = b"/".join(path[len(start) :].split(b"/", depth)[:depth])
            found[key] = found.get(key, 0) + size
    return {tuple(shown(key).split("/")): size for key, size in found.items()}


def _need(what: str) -> None:
    from didlab._extras import need

    need("matplotlib", "plot", what)


def _whole(value: object) -> int | None:
    try:
        return None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def _moment(column: Any) -> Any:
    """Return the first time of a column as Python's, missing as None."""
    return None if column.isna().iloc[0] else column.iloc[0].to_pydatetime()
