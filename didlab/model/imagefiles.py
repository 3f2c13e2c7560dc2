"""The calls of a Manifest that look inside its layers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from didlab.model.indexing import Manner
from didlab.views import text

if TYPE_CHECKING:
    import io

    import pandas as pd

    from didlab.files.content import Content
    from didlab.files.extract import Extracted
    from didlab.model.inside import Layers
    from didlab.oci.reference import Reference

#: How a path inside an image is given: with or without the leading slash.
Location = str | bytes | os.PathLike[str]


class ImageFiles:
    """The file system of an image: listed, searched, read, written out."""

    @property
    def reference(self) -> Reference:
        """The name it was opened under."""
        raise NotImplementedError

    def _layers(self, manner: Manner) -> Layers:
        raise NotImplementedError

    def files(
        self, pattern: str | None = None, *, progress: Any = None, keep: bool = False
    ) -> pd.DataFrame:
        r"""List the merged file system: what a container of the image would see.

        Parameters
        ----------
        pattern : str, optional
            Only paths like this: ``*``, ``?`` and ``[…]`` within one name, ``**`` over folders,
            ``{a,b}`` for either: ``"/usr/lib/**/*.so*"``.
        progress : bool or object, optional
            As `save`; the bar says how many bytes have to be read before it starts.
        keep : bool
            Add the layers that have to be read whole to the local store, for `save` and for
            reading without a network.

        Returns
        -------
        DataFrame
            path : text (absolute; sorted), type : category (file, dir, symlink, hardlink, char,
            block, fifo), size : int64 (bytes; of a hard link those of the file that it shares),
            mode : int64 (permission bits with setuid, setgid, sticky), permissions : category
            (as ``ls`` shows it), uid : int64, gid : int64, mtime : datetime64[us, UTC] (missing
            for folders that no layer states), linkname : text (where a symlink leads as stored;
            the path that a hard link shares), layer : int64 (position of the layer that wrote
            it). Names that are no UTF-8 are shown with ``\x`` escapes; `read` takes them so.

        Raises
        ------
        DigestMismatch, CompressionInvalid, TarInvalid, UnsafeContent, LimitExceeded
            The layers' content cannot be trusted or read.
        PlatformNotFound, BlobNotFound, TransportError

        Notes
        -----
        The first time every layer is read whole, several at a time, one request each, and
        verified: the digest of the blob, and that of its uncompressed content against the
        config. A layer whose descriptor vouches for a table of contents (eStargz, zstd:chunked)
        costs one or two ranges instead. What was learned stays in the local store: later calls
        cost no request for layers, in other processes too.

        Merged by the OCI image specification's rules for layers (whiteouts, opaque folders).
        """
        from didlab.files import paths
        from didlab.model import listing

        table = self._layers(Manner(progress, keep)).merged().table
        rows = None if pattern is None else paths.select(table, pattern)
        return listing.merged_frame(table, rows, str(self.reference))

    def changes(self, *, progress: Any = None, keep: bool = False) -> pd.DataFrame:
        """List what each layer did to each path, the base first.

        Returns
        -------
        DataFrame
            path : text, change : category (added, replaced, deleted), type : category (of what
            was there, where it was deleted), size : Int64 (missing where deleted),
            size_before : Int64 (bytes of what was there before; missing where added),
            mode : Int64, permissions : category, uid : Int64, gid : Int64,
            mtime : datetime64[us, UTC], linkname : text, layer : int64 (position of the layer
            that did it), created_by : category (the command that made the layer, from the
            history). With a deleted folder everything in it is deleted, path by path; a folder
            stated again is replaced.

        Raises
        ------
        As `files`.

        Notes
        -----
        Costs what `files` costs.
        """
        from didlab.files.changes import changes
        from didlab.model import listing

        layers = self._layers(Manner(progress, keep))
        found = changes([index.table for index in layers.indexes()])
        return listing.changes_frame(found, layers.commands(), str(self.reference))

    def tree(
        self,
        path: Location = "/",
        depth: int | None = None,
        *,
        progress: Any = None,
        keep: bool = False,
    ) -> text.Lines:
        """Return what lies below a folder as a tree to look at.

        Parameters
        ----------
        path : path-like
            Where it begins.
        depth : int, optional
            How many levels; all of them if not given. 2000 lines at most.

        Returns
        -------
        str
            Shown as lines at a prompt.

        Raises
        ------
        PathNotFound, and as `files`.

        Notes
        -----
        Costs what `files` costs.
        """
        from didlab.files import paths
        from didlab.files.tree import tree

        wanted = paths.normalise(path)
        table = self._layers(Manner(progress, keep)).merged().table
        return text.Lines(tree(table, wanted, depth))

    def open(
        self,
        path: Location,
        *,
        verified: bool = True,
        progress: Any = None,
        keep: bool = False,
    ) -> io.BufferedReader:
        """Open a file as a container would see it, links followed inside the image.

        Parameters
        ----------
        path : path-like
            With or without the leading slash.
        verified : bool
            False: where the layers are not listed yet, look from the uppermost down and stop as
            soon as the file came, before its layer is verified; a warning says so. The whole
            file is read at once then.
        progress, keep
            As `files`.

        Returns
        -------
        io.BufferedReader
            Binary, seekable, read-only. ``io.TextIOWrapper(f)`` makes it text; pandas takes it
            as it is.

        Raises
        ------
        PathNotFound
            With names like it that are there (FileNotFoundError and KeyError, too).
        NotAFile, NotAFolder, SpecialFile, LinkLoop, LinkEscape, PathEscape
        DigestMismatch, CompressionInvalid, TarInvalid, LimitExceeded, BlobNotFound, TransportError

        Notes
        -----
        Costs what `files` does where the image is not listed yet. Afterwards, the ranges that
        what is read lies in, checked against what the listing saw before they are decompressed:
        about half a MiB for a small file in a gzip layer, the file's own bytes in eStargz and
        zstd:chunked. A zstd layer of one frame has no place to begin at but its start: it is
        read whole, unless the local store has it (``keep=True``). Well-known small files
        (``/etc/os-release``, ``/etc/passwd``, package databases) come with the listing.
        """
        from didlab.files import reading

        content, name = self._content(path, verified, Manner(progress, keep))
        return reading.open_file(content, name)

    def read(
        self,
        path: Location,
        *,
        verified: bool = True,
        progress: Any = None,
        keep: bool = False,
    ) -> bytes:
        """Return the content of a file as a container would see it. See `open`.

        Raises
        ------
        LimitExceeded
            More than 2 GiB: `open` it, or `extract`. And as `open`.
        """
        from didlab.files import reading

        content, name = self._content(path, verified, Manner(progress, keep))
        return reading.read_all(content, name)

    def extract(
        self,
        path: Location = "/",
        dest: str | os.PathLike[str] = ".",
        *,
        overwrite: bool = False,
        devices: bool = False,
        owner: bool = False,
        portable: bool = False,
        progress: Any = None,
        keep: bool = False,
    ) -> Extracted:
        """Write a file or a whole folder to the local disk, safely, as ``cp -r`` would.

        A file goes to ``dest``, or into it where that is a folder. A folder becomes ``dest``, or
        a folder in it where it exists already; ``"/"`` is written right into it. With a slash at
        its end ``dest`` is a folder, made where it is missing.

        Nothing is written outside ``dest``. Permissions come without setuid, setgid, sticky and
        write bits for others, as the umask allows; symlinks that lead out of what is extracted
        are left out and reported; hard links become copies.

        Parameters
        ----------
        path : path-like
            What to write.
        dest : path-like
            Where to; ``~`` is expanded.
        overwrite : bool
            Replace files that are there.
        devices : bool
            Make devices and fifos too (as root); otherwise they are left out and reported.
        owner : bool
            Keep the owners (as root).
        portable : bool
            Refuse names here, too, that Windows or macOS could not have or would take for one.
        progress, keep
            As `files`.

        Returns
        -------
        Extracted
            path, files, directories, links, bytes, skipped; itself path-like.

        Raises
        ------
        DestinationExists, DiskFull, WriteFailed
            No room for all of it is told before anything is written.
        PathNotFound, UnsafeContent, PathEscape, LinkEscape, NameCollision
            And as `open`. Nothing partial is left under the final name.

        Notes
        -----
        Costs what `files` does, then the ranges of the files.
        """
        from didlab.model import extraction

        layers = self._layers(Manner(progress, keep))
        found = layers.merged()
        return extraction.extract(
            found.table,
            lambda row: layers.merged_content(row, found),
            path,
            dest,
            overwrite=overwrite,
            devices=devices,
            owner=owner,
            portable=portable,
            gather=layers.gather,
        )

    # --- how ---------------------------------------------------------------------------------

    def _content(self, path: Location, verified: bool, manner: Manner) -> tuple[Content, str]:
        from didlab.files import paths
        from didlab.model.inside import only

        wanted = paths.normalise(path)
        layers = self._layers(manner)
        if not verified and not layers.listed():
            found = layers.unverified(wanted)
            if found is not None:
                return found, paths.shown(wanted)
        merged = layers.merged(capture=only(wanted))
        return layers.at(wanted, merged), paths.shown(wanted)
