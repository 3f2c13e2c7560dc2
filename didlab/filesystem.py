"""The files of an image for fsspec, and so for pandas, Dask, PyArrow: protocol ``didlab``.

Needs fsspec: ``pip install "didlab[fs]"``.
"""

from __future__ import annotations

import io
import logging
import os
import stat
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import PurePath
from typing import Any, NoReturn

from didlab import errors
from didlab.files import links, merge, paths, reading
from didlab.files.content import Bytes, Content
from didlab.files.limits import DEFAULT
from didlab.files.table import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, NO_TIME, SYMLINK, Table
from didlab.model import opening
from didlab.model.indexing import Manner
from didlab.model.inside import Layers, check_file, unescaped
from didlab.model.manifest import Manifest

try:
    from fsspec.callbacks import DEFAULT_CALLBACK  # type: ignore[import-untyped]
    from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]
    from fsspec.utils import stringify_path, tokenize  # type: ignore[import-untyped]
except ImportError as error:
    raise ImportError(
        'didlab.ImageFileSystem needs fsspec: pip install "didlab[fs]"', name="fsspec"
    ) from error

__all__ = ["ImageFile", "ImageFileSystem"]

#: What fsspec itself takes; all other options are those of `didlab.open`.
_GENERIC = ("use_listings_cache", "listings_expiry_time", "max_paths", "asynchronous", "loop")
#: Bytes between two stretches of a file that are read all the same to make one of them, and
#: bytes that are read as one at most.
_GAP = 64 * 1024
_JOINED = 32 * 1024 * 1024
#: A file that is asked for before anything is listed is taken along up to this size.
_ALONG = 4 * 1024 * 1024
#: Bits that `os.stat` has in its modes besides those of a table.
_FORMATS = {
    FILE: stat.S_IFREG,
    HARDLINK: stat.S_IFREG,
    DIR: stat.S_IFDIR,
    SYMLINK: stat.S_IFLNK,
    CHAR: stat.S_IFCHR,
    BLOCK: stat.S_IFBLK,
    FIFO: stat.S_IFIFO,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: What is wrong with a path, in contrast to the image or the way to it.
_NO_SUCH = (errors.PathNotFound, errors.PathError, errors.PathEscape, errors.LinkEscape)

_log = logging.getLogger("didlab")


@dataclass(slots=True)
class _View:
    """A file system: its table, and where the content of its rows is."""

    table: Table
    #: The content's own digest: the same files have the same one.
    digest: str
    content: Callable[[int], Content]
    #: The layer that all is of; None where the table says.
    layer: int | None = None
    _leads: dict[int, int | None] = field(default_factory=dict)

    def row(self, path: bytes, *, follow: bool = True) -> int:
        """Return the row that a path leads to; `links.ROOT` for a root nobody states."""
        try:
            return links.resolve(self.table, path, follow_last=follow)
        except errors.PathNotFound:
            # What a DataFrame shows of a name that is no UTF-8.
            plain = unescaped(path)
            if plain is None:
                raise
            return links.resolve(self.table, plain, follow_last=follow)

    def path(self, row: int) -> bytes:
        """Return the path of a row."""
        return b"/" if row == links.ROOT else self.table.paths[row]

    def type(self, row: int) -> int:
        """Return the type of a row; that of a hard link to nothing is no file's."""
        table = self.table
        if row == links.ROOT:
            return DIR
        kind = table.types[row]
        return SYMLINK if kind == HARDLINK and lost(table, row) else kind

    def leads(self, row: int) -> int | None:
        """Return where a symlink leads in the end, None for nowhere; remembered."""
        if row not in self._leads:
            self._leads[row] = _led(self.table, row)
        return self._leads[row]

    def below(self, path: bytes) -> range:
        """Return the rows below a folder."""
        prefix = path.rstrip(b"/")
        names = self.table.paths
        start = bisect_left(names, prefix + b"/")
        if start < len(names) and names[start] == b"/":
            start += 1
        return range(start, bisect_left(names, prefix + b"0", start))

    def info(self, name: str, row: int, *, listed: bool = False) -> dict[str, Any]:
        """Describe a row, a symlink by what it leads to.

        ``listed``: a link to a folder is no folder, so that nobody walks it.
        """
        link = row if row != links.ROOT and self.table.types[row] == SYMLINK else None
        target = None if link is None else self.leads(row)
        table, shown = self.table, row if target is None else target
        kind = self.type(shown)
        found: dict[str, Any] = {"name": name, "size": 0, "type": _TYPES[kind]}
        if listed and link is not None and kind == DIR:
            found["type"] = "other"
        if shown == links.ROOT:
            found |= {"mode": stat.S_IFDIR | 0o755, "uid": 0, "gid": 0, "mtime": None}
            found |= {"layer": self.layer}
        else:
            time = table.mtimes[shown]
            layer = table.layers[shown] if table.layers is not None else None
            found["size"] = table.sizes[shown]
            found["mode"] = _FORMATS[table.types[shown]] | table.modes[shown]
            found["uid"], found["gid"] = table.uids[shown], table.gids[shown]
            found["mtime"] = None if time == NO_TIME else time / 1_000_000
            found["layer"] = layer if self.layer is None else self.layer
        found["islink"] = link is not None
        if link is not None:
            found["destination"] = paths.shown(table.links[link])
        return found


_TYPES = {FILE: "file", HARDLINK: "file", DIR: "directory"} | dict.fromkeys(
    (SYMLINK, CHAR, BLOCK, FIFO), "other"
)
#: Enough of an info to match a pattern; shared, so that a hundred thousand cost nothing.
_BRIEF = {kind: {"type": name} for kind, name in _TYPES.items()}


class ImageFile(io.BufferedReader):
    """A file of an image as Python's own; pickles by its path."""

    mode = "rb"

    def __init__(
        self, fs: ImageFileSystem, path: str, content: Content, block_size: int | None = None
    ) -> None:
        raw = reading.open_file(content, path).detach()
        super().__init__(raw, block_size or reading._BUFFER)
        self.fs = fs
        self.path = path
        self.size = content.size

    @property
    def full_name(self) -> str:
        """The path with its protocol."""
        return str(self.fs.unstrip_protocol(self.path))

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _reopened, (self.fs, self.path, self.tell())


class _ByAddress(type(AbstractFileSystem)):  # type: ignore[misc]
    """fsspec's metaclass, which keeps instances by the text of their arguments.

    What a Manifest shows of itself changes and does not tell two of them apart: a file system
    over one is made anew. It costs nothing, for what was listed is remembered by digest.
    """

    def __call__(cls, *args: Any, **options: Any) -> Any:
        image = args[0] if args else options.get("image")
        if isinstance(image, Manifest):
            options["skip_instance_cache"] = True
        return super().__call__(*args, **options)


class ImageFileSystem(AbstractFileSystem, metaclass=_ByAddress):  # type: ignore[misc]
    """The merged file system of an image, or that of one layer, read-only; made without I/O.

    ::

        pd.read_csv("didlab:///etc/passwd", storage_options={"image": "debian:12"}, sep=":")
        fsspec.filesystem("didlab", image=m).find("/usr/lib")

    Parameters
    ----------
    image : str or Manifest
        As `didlab.open` takes it, or what it gave.
    platform : str, optional
        ``linux/arm64``; the default one otherwise.
    layer : int or str, optional
        Only what this layer has, by its position or digest; its whiteouts are left out.
    keep : bool
        Add the layers that have to be read whole to the local store.
    progress : bool or object, optional
        As `Manifest.files`.
    **options
        Of `didlab.open`: ``username``, ``mirrors``, ``proxy`` …; for a name only.

    Notes
    -----
    The first question lists the image, at the cost of `Manifest.files`; later ones cost what
    they read. An instance describes the same bytes all its life; fsspec keeps those made from a
    name, and ``invalidate_cache()`` asks the registry again. Pickled it carries the address and
    the digest, no credentials, as a Manifest does.

    ``info`` follows symlinks and says so (``islink``, ``destination``). Listings do as well, but
    call a link to a folder, or to nothing, ``other``: nothing is walked twice. ``mode`` and
    ``mtime`` are as `os.stat` has them; ``layer`` is the position of the layer that wrote it.
    """

    protocol = "didlab"
    root_marker = "/"

    def __init__(
        self,
        image: str | os.PathLike[str] | Manifest | None = None,
        platform: Any = None,
        layer: int | str | None = None,
        *,
        keep: bool = False,
        progress: Any = None,
        **options: Any,
    ) -> None:
        generic = {name: options.pop(name) for name in _GENERIC if name in options}
        super().__init__(**generic)
        if image is None:
            raise errors.InvalidArgument(
                "a path alone does not say of which image it is",
                hint='name it: storage_options={"image": "debian:12"}',
            )
        self._by_name = not isinstance(image, Manifest)
        if isinstance(image, Manifest):
            if options:
                raise errors.InvalidArgument(
                    f"{', '.join(sorted(options))}: options of didlab.open, which made this "
                    "Manifest already"
                )
            self._manifest = image if platform is None else image[platform]
        else:
            self._manifest = opening.open(image, platform, **options)
        self._layer = layer
        self._manner = Manner(progress, keep)
        self._lock = threading.Lock()
        self._known: _View | None = None

    # --- what it is of -----------------------------------------------------------------------

    @property
    def image(self) -> Manifest:
        """The image whose files these are."""
        return self._manifest

    @property
    def _fs_token(self) -> str:
        # fsspec's own differs from process to process, and from thread to thread.
        location, reference, platform = self._manifest._address()
        return str(tokenize("didlab", location, str(reference), str(platform), self._layer))

    @property
    def fsid(self) -> str:
        """A name that equal file systems share."""
        return f"didlab-{self._fs_token}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self._manifest, self._layer, self._manner.keep)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Ask the registry anew what a name stands for; a Manifest stays what it is."""
        super().invalidate_cache(path)
        if self._by_name:
            with self._lock:
                self._manifest = self._manifest.refresh()
                self._known = None

    def _view(self, wanted: bytes | None = None) -> _View:
        """Return the file system; ``wanted`` will be read, so that it is taken along."""
        known = self._known
        if known is None:
            with self._lock:
                known = self._known
                if known is None:
                    known = self._known = self._listed(wanted)
        return known

    def _listed(self, wanted: bytes | None) -> _View:
        def capture(path: bytes, size: int) -> bool:
            return path == wanted and size <= _ALONG

        layers = Layers(self._manifest, self._manner)
        if self._layer is None:
            found = layers.merged(capture)
            digest = self._manifest._image().digest
            return _View(found.table, digest, lambda row: layers.merged_content(row, found))
        layer = self._manifest.layer(self._layer)
        position = layer.position
        index = layers.index(position, capture)
        table = merge.merge([index.table])

        def content(row: int) -> Content:
            path = b"/" if row == links.ROOT else table.paths[row]
            where = f"layer {layer.digest}"
            check_file(path, DIR if row == links.ROOT else table.types[row], where)
            if table.types[row] == HARDLINK and lost(table, row):
                target = paths.shown(table.links[row])
                raise errors.PathNotFound(
                    f"{paths.shown(path)} in {where} is a hard link to {target}, which is in "
                    "another layer",
                    path=paths.shown(path),
                )
            origin = table.origins[row] if table.origins is not None else -1
            # Captured by the name that the layer has it under, the last of that name.
            stored = index.table.paths[origin]
            known = index.captured.get(stored, layers.captured.get(stored))
            if known is not None and index.table.find(stored) == origin:
                return Bytes(known)
            return layers.content(position, index, table.entry(row), origin)

        return _View(table, layer.digest, content, position)

    # --- names -------------------------------------------------------------------------------

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        if isinstance(path, bytes):
            text = paths.shown(path)
        else:
            text = path.as_posix() if isinstance(path, PurePath) else stringify_path(path)
        if not isinstance(text, str):
            raise errors.InvalidArgument(f"{path!r:.200} is no path in an image")
        for prefix in ("didlab://", "didlab::"):
            if text.startswith(prefix):
                text = text.removeprefix(prefix)
                break
        return "/" + "/".join(part for part in text.split("/") if part not in ("", "."))

    def _found(self, path: Any, *, follow: bool = True) -> int | None:
        """Return the type of what a path leads to, None for nothing.

        A layer that cannot be fetched, or is damaged, is no answer.
        """
        try:
            wanted = paths.normalise(self._strip_protocol(path))
            view = self._view()
            return view.type(view.row(wanted, follow=follow))
        except _NO_SUCH:
            return None

    # --- looking -----------------------------------------------------------------------------

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Describe what a path leads to.

        Raises
        ------
        PathNotFound, NotAFolder, LinkLoop, LinkEscape, PathEscape
            And what `Manifest.files` raises.
        """
        name = self._strip_protocol(path)
        view, wanted = self._view(), paths.normalise(name)
        row = view.row(wanted, follow=False)
        if row != links.ROOT and view.table.types[row] == SYMLINK:
            view.row(wanted)  # raises where it leads nowhere
        return view.info(name, row)

    def exists(self, path: str, **_: Any) -> bool:
        """Whether a path leads to something; what keeps from knowing is raised."""
        return self._found(path) is not None

    def lexists(self, path: str, **_: Any) -> bool:
        """Whether a path is there, be it a link to nothing."""
        return self._found(path, follow=False) is not None

    def isdir(self, path: str) -> bool:
        """Whether a path leads to a folder."""
        return self._found(path) == DIR

    def isfile(self, path: str) -> bool:
        """Whether a path leads to a file."""
        return self._found(path) in (FILE, HARDLINK)

    def islink(self, path: str) -> bool:
        """Whether a path is a symlink."""
        try:
            wanted = paths.normalise(self._strip_protocol(path))
            view = self._view()
            row = view.row(wanted, follow=False)
        except _NO_SUCH:
            return False
        return row != links.ROOT and view.table.types[row] == SYMLINK

    def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
        """List a folder, or the file itself.

        Raises
        ------
        PathNotFound, NotAFolder
        """
        name = self._strip_protocol(path)
        view = self._view()
        row = view.row(paths.normalise(name))
        if view.type(row) != DIR:
            return [self.info(name)] if detail else [name]
        prefix = name.rstrip("/") + "/"
        rows = links.children(view.table, view.path(row))
        names = [
            prefix + paths.shown(view.table.paths[child].rpartition(b"/")[2]) for child in rows
        ]
        if not detail:
            return names
        return [view.info(*one, listed=True) for one in zip(names, rows, strict=True)]

    def walk(self, path: str, *args: Any, **options: Any) -> Iterator[Any]:
        """Yield folder, its folders, its files; as `os.walk`."""
        self._view()  # so that an image which cannot be had is no empty one
        yield from super().walk(path, *args, **options)

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **options: Any,
    ) -> Any:
        """List what lies below a folder, links not followed; nothing where there is none."""
        name = self._strip_protocol(path)
        found = sorted(self._rows_at(name, maxdepth, withdirs))
        if not detail:
            return [one for one, _ in found]
        view = self._view()
        if options.get("_brief"):
            return {one: _BRIEF[view.type(row)] for one, row in found}
        return {one: view.info(one, row, listed=one != name) for one, row in found}

    def _rows_at(
        self, name: str, maxdepth: int | None, withdirs: bool
    ) -> Iterator[tuple[str, int]]:
        """Yield what `find` finds, with the rows."""
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        view, wanted = self._view(), paths.normalise(name)
        try:
            row = view.row(wanted)
        except _NO_SUCH:
            return
        if view.type(row) != DIR:
            yield name, view.row(wanted, follow=False)
            return
        if withdirs:
            yield name, row
        folder = view.path(row).rstrip(b"/")
        names, types, prefix = view.table.paths, view.table.types, name.rstrip("/")
        for row in view.below(folder):
            if withdirs or types[row] != DIR:
                rest = names[row][len(folder) :]
                if maxdepth is None or rest.count(b"/") <= maxdepth:
                    yield prefix + paths.shown(rest), row

    def glob(self, path: str, maxdepth: int | None = None, **options: Any) -> Any:
        """List what matches a pattern: ``*``, ``?``, ``[…]``, and ``**`` over folders."""
        detail = options.pop("detail", False)
        # Described is only what matches.
        found = super().glob(path, maxdepth, detail=True, _brief=True, **options)
        if not detail:
            return list(found)
        view = self._view()
        wanted = ((name, view.row(paths.normalise(name), follow=False)) for name in found)
        return {name: view.info(name, row, listed=True) for name, row in wanted}

    def du(
        self,
        path: str,
        total: bool = True,
        maxdepth: int | None = None,
        withdirs: bool = False,
        **_: Any,
    ) -> Any:
        """Return the bytes of the files below a path, or those of each.

        Symlinks have none of their own; each name of a hard link counts.
        """
        view, name = self._view(), self._strip_protocol(path)
        self.info(name)
        sizes = {
            one: 0 if row == links.ROOT else view.table.sizes[row]
            for one, row in self._rows_at(name, maxdepth, withdirs)
        }
        return sum(sizes.values()) if total else sizes

    def modified(self, path: str) -> datetime:
        """Return when a file was written.

        Raises
        ------
        Unsupported
            No layer says when.
        """
        view = self._view()
        row = view.row(paths.normalise(self._strip_protocol(path)))
        time = NO_TIME if row == links.ROOT else view.table.mtimes[row]
        try:
            if time != NO_TIME:
                return _EPOCH + timedelta(microseconds=time)
        except OverflowError:
            pass
        raise errors.Unsupported(f"no layer says when {path} was written")

    def created(self, path: str) -> NoReturn:
        """Raise: layers do not say when a file was made first."""
        raise errors.Unsupported("layers say when a file was written, not when it was created")

    def ukey(self, path: str) -> str:
        """Return what changes only with the image and the path."""
        wanted = paths.normalise(self._strip_protocol(path))
        view = self._view()
        view.row(wanted)
        return sha256(view.digest.encode() + b" " + wanted).hexdigest()

    def checksum(self, path: str) -> int:
        """Return `ukey` as a number."""
        return int(self.ukey(path), 16)

    # --- reading -----------------------------------------------------------------------------

    def _content(self, path: str) -> Content:
        wanted = paths.normalise(self._strip_protocol(path))
        view = self._view(wanted)
        return view.content(view.row(wanted))

    def _open(
        self, path: str, mode: str = "rb", block_size: int | None = None, **_: Any
    ) -> ImageFile:
        if set(mode) != {"r", "b"}:
            _read_only()
        return ImageFile(self, path, self._content(path), block_size)

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """Return a file's content, or a stretch of it, counted as Python's slices."""
        content = self._content(path)
        start, end = _stretch(content.size, start, end)
        if end == content.size:
            return reading.read_all(content, path, start)
        return content.read_at(start, end) if start < end else b""

    def cat_ranges(
        self,
        paths: Sequence[str],  # fsspec's name
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **_: Any,
    ) -> list[Any]:
        """Return stretches of files, in the order asked for.

        Read in the order in which they lie in the layers; stretches of a file that meet, or
        nearly so (``max_gap`` bytes), as one.
        """
        count = len(paths)
        begins = starts if isinstance(starts, list) else [starts] * count
        stops = ends if isinstance(ends, list) else [ends] * count
        if not len(begins) == len(stops) == count:
            raise ValueError("as many starts and ends as paths")
        out: list[Any] = [None] * count

        def failed(numbers: Iterable[int], error: Exception) -> None:
            if on_error != "return":
                raise error
            for number in numbers:
                out[number] = error

        for row, numbers in self._rows(paths, failed):
            try:
                content = self._view().content(row)
            except (errors.DidlabError, OSError) as error:
                failed(numbers, error)
                continue
            wanted = sorted(
                (*_stretch(content.size, begins[number], stops[number]), number)
                for number in numbers
            )
            for start, end, group in _joined(wanted, _GAP if max_gap is None else max_gap):
                try:
                    data = content.read_at(start, end) if start < end else b""
                except (errors.DidlabError, OSError) as error:
                    failed([number for _, _, number in group], error)
                    continue
                for begin, stop, number in group:
                    out[number] = data[begin - start : stop - start]
        return out

    def _rows(
        self, names: Sequence[str], failed: Callable[[Iterable[int], Exception], None]
    ) -> list[tuple[int, list[int]]]:
        """Return the rows of paths, each with the numbers of those, as they lie in the layers."""
        numbers: dict[int, list[int]] = {}
        for number, name in enumerate(names):
            try:
                wanted = paths.normalise(self._strip_protocol(name))
                numbers.setdefault(self._view().row(wanted), []).append(number)
            except (errors.DidlabError, OSError) as error:
                failed([number], error)
        table = self._view().table

        def place(one: tuple[int, list[int]]) -> tuple[int, int]:
            row = one[0]
            if row == links.ROOT or table.homes is None:
                return -1, -1
            return table.homes[row], table.offsets[row]

        return sorted(numbers.items(), key=place)

    def get(self, rpath: Any, lpath: Any, recursive: bool = False, **options: Any) -> None:
        """Copy files, or a folder with ``recursive``, to the local disk.

        Devices and links to folders or to nothing are left out, unless named themselves; a
        warning says so. `Manifest.extract` keeps links and permissions.
        """
        named = self._strip_protocol(list(rpath) if isinstance(rpath, list | tuple) else [rpath])
        left_out = _LeftOut(set(named))
        super().get(rpath, lpath, recursive=recursive, left_out=left_out, **options)
        if left_out.names:
            some = ", ".join(map(errors.printable, left_out.names[:3]))
            _log.warning(
                "%d paths with no content of their own were left out: %s%s",
                len(left_out.names),
                some,
                " …" if len(left_out.names) > 3 else "",
            )

    def get_file(
        self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, **options: Any
    ) -> None:
        """Copy one file to the local disk."""
        left_out = options.pop("left_out", None)
        name = self._strip_protocol(rpath)
        if os.sep != "/" and not set(name).isdisjoint("\\:"):
            raise errors.UnsafeContent(
                f"{name} would mean another path on this system",
                where=name,
                hint="open() it and write it under another name",
            )
        if left_out is None or name in left_out.named:
            super().get_file(rpath, lpath, callback=callback, **options)
            return
        try:
            if self.islink(name) and self.isdir(name):
                left_out.names.append(name)
            else:
                super().get_file(rpath, lpath, callback=callback, **options)
        except _NO_SUCH:
            left_out.names.append(name)

    # --- not writing -------------------------------------------------------------------------

    def mkdir(self, *_: Any, **__: Any) -> NoReturn:
        """Raise: images are read-only."""
        _read_only()

    makedirs = mkdirs = makedir = rmdir = rm = rm_file = cp_file = copy = mv = mkdir
    put = put_file = pipe = pipe_file = touch = mkdir


@dataclass(slots=True)
class _LeftOut:
    named: set[str]
    names: list[str] = field(default_factory=list)


def lost(table: Table, row: int) -> bool:
    """Whether a row of a merged table has its content nowhere."""
    return table.homes is None or table.homes[row] < 0


def _led(table: Table, row: int) -> int | None:
    """Return the row that a symlink of a merged table leads to, None for nowhere.

    As `links.resolve`, without an error that would have to look for near misses first: an image
    has hundreds of links to nothing.
    """
    here, todo, hops = table.paths[row].rpartition(b"/")[0], [b""], 0
    found = row
    while True:
        if table.types[found] == SYMLINK:
            hops += 1
            if hops > DEFAULT.hops:
                return None
            link = table.links[found]
            here = b"" if link.startswith(b"/") else here
            todo += link.split(b"/")[::-1]
        elif table.types[found] != DIR:
            return found if not set(todo) - {b"", b"."} else None
        else:
            here = table.paths[found].rstrip(b"/")
        while todo and todo[-1] in (b"", b".", b".."):
            if todo.pop() == b"..":
                if not here:
                    return None
                here = here.rpartition(b"/")[0]
        if not todo:
            return links.find(table, here or b"/")
        found = links.find(table, here + b"/" + todo.pop())
        if found < 0:
            return None


def _stretch(size: int, start: int | None, end: int | None) -> tuple[int, int]:
    """Return where a slice of a file begins and ends.

    >>> _stretch(10, -3, None), _stretch(10, 2, 99), _stretch(10, 8, 3)
    ((7, 10), (2, 10), (8, 8))
    """
    begin, stop, _ = slice(start, end).indices(size)
    return begin, max(begin, stop)


def _joined(
    wanted: Iterable[tuple[int, int, int]], gap: int
) -> Iterator[tuple[int, int, list[tuple[int, int, int]]]]:
    """Join sorted stretches that meet, or nearly so.

    >>> [(start, stop) for start, stop, _ in _joined([(0, 4, 0), (4, 6, 1), (9, 12, 2)], 2)]
    [(0, 6), (9, 12)]
    """
    group: list[tuple[int, int, int]] = []
    start = stop = 0
    for one in wanted:
        if group and (one[0] > stop + gap or max(stop, one[1]) - start > _JOINED):
            yield start, stop, group
            group = []
        if not group:
            start = stop = one[0]
        group.append(one)
        stop = max(stop, one[1])
    if group:
        yield start, stop, group


def _read_only() -> NoReturn:
    raise errors.Unsupported("images are read-only", hint="write to a local file")


def _restored(
    cls: type[ImageFileSystem], image: Manifest, layer: int | str | None, keep: bool
) -> ImageFileSystem:
    return cls(image=image, layer=layer, keep=keep)


def _reopened(fs: ImageFileSystem, path: str, position: int) -> ImageFile:
    file: ImageFile = fs.open(path)
    file.seek(position)
    return file
