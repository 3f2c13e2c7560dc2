"""The call of a Manifest that copies it to a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from didlab.export.push_report import CopyReport
    from didlab.model.manifest import Manifest
    from didlab.model.saving import Platforms
    from didlab.oci.reference import Reference


class ImageCopying:
    """Copying an image or index to a registry, byte for byte."""

    def copy_to(
        self,
        dst: str | Reference,
        *,
        platform: Platforms = None,
        progress: Any = None,
        workers: int | None = None,
        wait: float = 20.0,
        foreign: bool = False,
        attached: bool = False,
        **options: Any,
    ) -> CopyReport:
        """Copy to a registry: what it lacks is uploaded, the rest stays or is mounted.

        Manifests are written as they were received, so digests stay what they are. Every blob is
        verified while it is read and kept by the registry only then; the name comes last.

        Parameters
        ----------
        dst : str or Reference
            The name that it gets: ``harbor.example/library/nginx:1.27``.
        platform : str, list of str, optional
            Left out: what this object stands for, an index with everything in it, or the image of
            its platform. One platform: that image alone. Several: the index, cut to them, and so
            with another digest. ``"all"``: all of the index.
        progress : bool or object, optional
            As for `save`.
        workers : int, optional
            Blobs at a time; 4 by default (`didlab.set_options`).
        wait : float
            As for `save`.
        foreign : bool
            Copy non-distributable layers, too, as what was opened with ``foreign=True`` does: from
            the registry, else from their ``urls``. They are left out otherwise, as ``notes`` says.
        attached : bool
            Copy what is attached as well (see `referrers`) to the index and each image that is
            copied, and to that again: what refers to them, and cosign's tags. Where the registry
            has no referrers API, the tag in its place is extended. BuildKit's attestations, which
            are in the index, come along anyway.
        **options
            For the registry that is copied to, as `didlab.open` takes them: ``username``,
            ``password``, ``token``, ``insecure``, ``ca``, ``proxy`` …

        Returns
        -------
        CopyReport
            reference, digest, how many blobs were uploaded, mounted and there already, and their
            bytes.

        Raises
        ------
        AuthRequired, AuthDenied
            Not allowed to push there.
        RepositoryNotFound
            The registry wants the project to be made first.
        RegistryReadOnly, QuotaExceeded, TooLarge, PushRefused
            It does not take this, and says why.
        DigestMismatch, SizeMismatch
            The source gave something else; nothing of that blob is kept.
        TransportError

        Notes
        -----
        Costs a HEAD for each blob, one request more where it can be mounted, two where it is
        uploaded, and one for each manifest; with ``attached`` four or five for each manifest at
        the source, and one or two at the registry where something is attached. A broken upload
        goes on from what the registry has, where it keeps that (docker-registry does not).
        """
        from didlab.export.running import Manner
        from didlab.model import copying

        manner = Manner(progress=progress, workers=workers, wait=wait)
        return copying.copy_to(
            cast("Manifest", self),
            dst,
            platform=platform,
            foreign=foreign,
            attached=attached,
            options=options,
            manner=manner,
        )
