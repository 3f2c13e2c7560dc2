"""The files of an image for fsspec, and so for pandas, Dask, PyArrow: protocol ``didlab``.

Needs fsspec: ``pip install "didlab[fs]"``.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from hashlib import sha256
from pathlib import PurePath
from typing import Any, NoReturn

from didlab import errors
from didlab.files import links, paths, reading
from didlab.files.content import Content
from didlab.files.table import DIR, FILE, HARDLINK, SYMLINK
from didlab.filesystem import stretches
from didlab.filesystem.view import NO_SUCH, TYPES, View, of_image, of_layer
from didlab.model import opening
from didlab.model.indexing import Manner
from didlab.model.manifest import Manifest

try:
    from fsspec.callbacks import DEFAULT_CALLBACK  # type: ignore[import-untyped]
    from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]
    from fsspec.utils import stringify_path, tokenize  # type: ignore[import-untyped]
except ImportError:
    raise ImportError(
        'didlab.ImageFileSystem needs fsspec: pip install "didlab[fs]"', name="fsspec"
    ) from None

__all__ = ["ImageFile", "ImageFileSystem"]

#: What fsspec itself takes; all other options are those of `didlab.open`.
_GENERIC = ("use_listings_cache", "listings_expiry_time", "max_paths", "asynchronous", "loop")
#: A file that is asked for before anything is listed is taken along up to this size.
_ALONG = 4 * 1024 * 1024
#: Enough of an info to match a pattern; shared, so that a hundred thousand cost nothing.
_BRIEF = {kind: {"type": name} for kind, name in TYPES.items()}

_log = logging.getLogger("didlab")


class ImageFile(io.BufferedReader):
    """A file of an image as Python's own; pickles by its path."""

    mode = "rb"

    def __init__(
        self, fs: ImageFileSystem, path: str, content: Content, block_size: int | None = None
    ) -> None:
        raw = reading.open_file(content, path).detach()
        super().__init__(raw, block_size or reading.BUFFER)
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
        self._known: View | None = None

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

    def _view(self, wanted: bytes | None = None) -> View:
        """Return the file system; ``wanted`` will be read, so that it is taken along."""
        known = self._known
        if known is None:
            with self._lock:
                known = self._known
                if known is None:
                    known = self._known = self._listed(wanted)
        return known

    def _listed(self, wanted: bytes | None) -> View:
        def capture(path: bytes, size: int) -> bool:
            return path == wanted and size <= _ALONG

        if self._layer is None:
            return of_image(self._manifest, self._manner, capture)
        return of_layer(self._manifest, self._layer, self._manner, capture)

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

    def _wanted(self, path: Any) -> bytes:
        """Return a path as tables have it."""
        return paths.normalise(self._strip_protocol(path))

    def _found(self, path: Any, *, follow: bool = True) -> int | None:
        """Return the type of what a path leads to, None for nothing.

        A layer that cannot be fetched, or is damaged, is no answer.
        """
        try:
            wanted = self._wanted(path)
            view = self._view()
            return view.type(view.row(wanted, follow=follow))
        except NO_SUCH:
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
            wanted = self._wanted(path)
            view = self._view()
            row = view.row(wanted, follow=False)
        except NO_SUCH:
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
        found = sorted(self._walk(name, maxdepth, withdirs))
        if not detail:
            return [one for one, _ in found]
        view = self._view()
        if options.get("_brief"):
            return {one: _BRIEF[view.type(row)] for one, row in found}
        return {one: view.info(one, row, listed=one != name) for one, row in found}

    def _walk(self, name: str, maxdepth: int | None, withdirs: bool) -> Iterator[tuple[str, int]]:
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        return self._view().walk(name, maxdepth, withdirs)

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
            for one, row in self._walk(name, maxdepth, withdirs)
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
        time = view.modified(view.row(self._wanted(path)))
        if time is None:
            raise errors.Unsupported(f"no layer says when {path} was written")
        return time

    def created(self, path: str) -> NoReturn:
        """Raise: layers do not say when a file was made first."""
        raise errors.Unsupported("layers say when a file was written, not when it was created")

    def ukey(self, path: str) -> str:
        """Return what changes only with the image and the path."""
        wanted = self._wanted(path)
        view = self._view()
        view.row(wanted)
        return sha256(view.digest.encode() + b" " + wanted).hexdigest()

    def checksum(self, path: str) -> int:
        """Return `ukey` as a number."""
        return int(self.ukey(path), 16)

    # --- reading -----------------------------------------------------------------------------

    def _content(self, path: str) -> Content:
        wanted = self._wanted(path)
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
        start, end = stretches.stretch(content.size, start, end)
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
        wanted = [partial(self._wanted, path) for path in paths]
        raising = on_error != "return"
        return stretches.read(self._view(), wanted, begins, stops, max_gap, raising=raising)

    def get(self, rpath: Any, lpath: Any, recursive: bool = False, **options: Any) -> None:
        """Copy files, or a folder with ``recursive``, to the local disk.

        Devices and links to folders or to nothing are left out, unless named themselves; a
        warning says so. `Manifest.extract` keeps links and permissions.
        """
        named = self._strip_protocol(list(rpath) if isinstance(rpath, list | tuple) else [rpath])
        left_out = _LeftOut(set(named))
        view = self._view()
        with view.gathering(self._files_of(view, named) if recursive or len(named) > 1 else ()):
            super().get(rpath, lpath, recursive=recursive, left_out=left_out, **options)
        if left_out.names:
            some = ", ".join(map(errors.printable, left_out.names[:3]))
            _log.warning(
                "%d paths with no content of their own were left out: %s%s",
                len(left_out.names),
                some,
                " …" if len(left_out.names) > 3 else "",
            )

    def _files_of(self, view: View, names: list[str]) -> Iterator[int]:
        """Yield the rows of paths, and of all that lies below them."""
        for name in names:
            with contextlib.suppress(*NO_SUCH):
                for _, row in view.walk(name, None, withdirs=False):
                    leads = view.leads(row) if view.type(row) == SYMLINK else row
                    if leads is not None:
                        yield leads

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
        except NO_SUCH:
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
