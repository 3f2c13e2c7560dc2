"""The calls of a Manifest that save it to a file, load it into a daemon, and check it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pandas as pd

    from didlab.export.loaded import LoadReport
    from didlab.export.report import SaveReport
    from didlab.model.manifest import Manifest
    from didlab.model.saving import Platforms, Target
    from didlab.model.since import What as Since
    from didlab.oci.platform import Platform


class ImageSaving:
    """Saving an image or index; every byte is verified."""

    def save(
        self,
        path: Target = ".",
        *,
        format: str = "archive",  # noqa: A002 - the word that pandas' users expect
        compression: str | None = None,
        since: Since | None = None,
        platform: Platforms = None,
        overwrite: bool = False,
        progress: Any = None,
        workers: int | None = None,
        wait: float = 20.0,
        keep: bool = False,
        foreign: bool = False,
    ) -> SaveReport:
        """Save the image as one tar that ``docker load`` takes, as do podman, ctr and skopeo.

        The tar is a docker-archive and an OCI archive at once and holds the registry's own bytes:
        digests and the image ID stay what they are. Equal images give equal files. Every byte is
        verified; the file appears under its name only when it is complete.

        Parameters
        ----------
        path : path-like or binary file object
            The file to write; a directory gets ``nginx_1.27_linux_amd64.tar``. ``~`` is
            expanded. A name that ends in ``.tar.gz``, ``.tgz`` or ``.tar.zst`` compresses the
            file as a whole. A file object, such as ``sys.stdout.buffer``, gets the archive in
            order; after a failure it lacks its end, so that no reader takes it.
        format : str
            ``"archive"``, one tar for every loader; ``"docker"``, a plain docker-archive with
            uncompressed layers, for old daemons; ``"oci-archive"``, without what
            ``docker load`` reads; ``"oci-dir"``, a folder that is an OCI image layout (images
            that it holds already stay).
        compression : str, optional
            ``"keep"`` layers as they are (the default), or turn those that are otherwise into
            ``"none"``, ``"gzip"`` or ``"zstd"``. That changes the manifest's digest, never the
            image ID.
        since : reference, path-like or Manifest, optional
            What the other side has: an image, a tar that it was given before, or
            ``"docker-daemon:"`` for all that the local daemon has. Layers in common are left
            out, from the base on. Docker's classic store loads such a tar where they are;
            `didlab.complete` makes it whole for every other loader.
        platform : str, list of str, optional
            The platform to save; else this object's, else the default one. Several, or
            ``"all"``, save the index with what belongs to them; Docker's older stores then take
            the default platform, or the first.
        overwrite : bool
            Replace another file that is there already. The same content is left as it is, at the
            cost of reading it once.
        progress : bool or object, optional
            True or False, or an object with tqdm's ``update(n)`` and ``close()``; the default is
            a byte bar in a notebook or terminal, none elsewhere (`didlab.set_options`).
        workers : int, optional
            Parallel connections, exactly so many; by default 4 to begin with, and up to 8 where
            each is slow and more bring more.
        keep : bool
            Add the layers that came to the local store (`didlab.cache_info`), so that another
            save has them. What the store holds is used in any case.
        wait : float
            Seconds to wait, at most, where a registry takes no more requests for now and says
            when to come again; `RateLimited` at once where that would be longer.
        foreign : bool
            Fetch non-distributable layers that the registry does not hold from the ``urls`` in
            their descriptors, as `didlab.open` with ``foreign=True`` does for every call.

        Returns
        -------
        SaveReport
            path, digest, image_id, bytes downloaded and reused, seconds; itself path-like.

        Raises
        ------
        DestinationExists
            Another file is there, or another image has the name in a layout.
        BlobNotFound
            A layer is not at the registry: non-distributable ones want ``foreign=True``.
        PlatformNotFound, NotAnImage, DigestMismatch, DiskFull, WriteFailed, TransportError
            Nothing is left under the final name.

        Notes
        -----
        Downloads `size` bytes; one request for each blob, and one more for each time that a
        connection breaks.
        """
        from didlab.export.running import Manner
        from didlab.model import saving

        manner = Manner(
            overwrite=overwrite, progress=progress, workers=workers, wait=wait, keep=keep
        )
        manifest = cast("Manifest", self)
        manifest._snapshot.progress = progress
        return saving.save(
            [manifest],
            path,
            format=format,
            compression=compression,
            since=since,
            platform=platform,
            foreign=foreign,
            manner=manner,
        )

    def load(
        self,
        *,
        platform: str | Platform | None = None,
        progress: Any = None,
        wait: float = 20.0,
    ) -> LoadReport:
        """Load the image straight into the local Docker daemon; nothing is written to the disk.

        The daemon is reached by ``DOCKER_HOST``'s Unix socket, else ``/var/run/docker.sock``.
        Layers that its classic store has already are not fetched.

        Parameters
        ----------
        platform, progress, wait
            As for `save`.

        Returns
        -------
        LoadReport
            The ID that the daemon shows, what it said, bytes downloaded, seconds.

        Raises
        ------
        ConnectFailed, AuthDenied
            There is no daemon, or it is not yours to use.
        ServerError, ProtocolError
            The daemon did not take the image, and why.
        PlatformNotFound, NotAnImage, DigestMismatch, TransportError

        Notes
        -----
        Layers in zstd are decompressed first for daemons before version 23, on the disk.
        """
        from didlab.export.running import Manner
        from didlab.model import loading

        manner = Manner(progress=progress, wait=wait)
        return loading.load([cast("Manifest", self)], platform=platform, manner=manner)

    def verify(self, *, platform: str | None = None, progress: Any = None) -> pd.DataFrame:
        """Compute again what the image claims: digests, sizes, diff_ids; every layer is read.

        Parameters
        ----------
        platform, progress
            As for `didlab.verify`.

        Returns
        -------
        DataFrame
            As `didlab.verify` returns: what failed first.

        Raises
        ------
        PlatformNotFound, ManifestNotFound, AuthError, TransportError
        """
        from didlab.model import verifying

        return verifying.verify(cast("Manifest", self), platform=platform, progress=progress)
