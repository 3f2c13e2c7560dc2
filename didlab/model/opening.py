"""`didlab.open`: from what a user writes to a Manifest."""

from __future__ import annotations

import os
from typing import Any

from didlab.errors import InvalidArgument
from didlab.model.manifest import Manifest
from didlab.oci.platform import Platform
from didlab.oci.reference import Reference
from didlab.sources.foreign import following
from didlab.sources.locate import locate


def open(  # noqa: A001 - didlab.open is the name that the design gives
    what: str | os.PathLike[str] | Reference,
    platform: str | Platform | None = None,
    *,
    name: str | None = None,
    foreign: bool = False,
    **options: Any,
) -> Manifest:
    """Open an image by its name: no request; only ``didlab.toml`` and ``ca=`` are read.

    A local file or folder is looked into when something is first asked.

    Parameters
    ----------
    what : str, path or Reference
        ``nginx:1.27``, ``ghcr.io/owner/image@sha256:…``, ``127.0.0.1:5000/app``; with or without
        ``docker://``. Local are a path, and text that begins with ``/``, ``./``, ``../``, ``~``
        or a drive letter, or ends in ``.tar``, ``.tar.gz``, ``.tgz`` or ``.tar.zst``: what
        ``docker save``, podman, skopeo or didlab wrote, or the folder of an OCI layout. Such a
        path is read by its ``index.json`` where it has one, else by its ``manifest.json``; or as
        ``oci:FOLDER[:NAME]``, ``oci-archive:TAR[:NAME]`` or ``docker-archive:TAR[:NAME]`` say.
        ``docker-daemon:NAME`` is an image of the local Docker daemon.
    platform : str, optional
        ``linux/arm64``; the default is decided when it matters (see `Manifest`).
    name : str, optional
        Which image of a local file or folder is meant, where it holds several: a name, a tag, a
        digest, or its position in the archive's list: ``@0``. `didlab.images` lists them.
    foreign : bool
        Fetch layers that registries may not hold (non-distributable ones, as in Windows images)
        from the ``urls`` in their descriptors, wherever this object needs them: without any
        login, verified like all others. The registry, or file, is asked first.
    **options
        As `Registry` takes them (for local images without effect, but for where ``urls`` lead):
        ``mirrors``, ``proxy``, ``username``, ``password``, ``token``, ``insecure``, ``ca``,
        ``client_cert``, ``auth_hosts``, ``timeout``, ``trust_env``, ``offline``.

    Returns
    -------
    Manifest

    Raises
    ------
    InvalidReference
        What is wrong with the name, where, and what to write instead.
    InvalidArgument
        A platform or option that cannot be meant that way.
    Unsupported
        skopeo's ``dir:``, or a ``DOCKER_HOST`` that is no Unix socket.

    Notes
    -----
    Nothing is unpacked to disk. A plain tar costs its headers the first time, a compressed one a
    pass over the whole file; the process remembers where things lie as long as the file stays the
    same. `Manifest.reference` is the image's own name there as soon as it is known.

    Examples
    --------
    >>> open("nginx:1.27")
    <Manifest nginx:1.27 · not fetched>
    """
    wanted = Platform.parse(platform) if isinstance(platform, str) else platform
    if wanted is not None and not isinstance(wanted, Platform):
        raise InvalidArgument(f"platform= takes text like linux/arm64, not {wanted!r}")
    source, reference = locate(what, options, name)
    source = following(source, foreign, options)
    return Manifest(source, reference, wanted)
