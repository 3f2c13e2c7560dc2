"""`didlab.open`: from what a user writes to a Manifest."""

from __future__ import annotations

import os
from typing import Any

from didlab.errors import InvalidArgument
from didlab.model.manifest import Manifest
from didlab.oci.platform import Platform
from didlab.oci.reference import Reference
from didlab.sources.locate import locate


def open(  # noqa: A001 - didlab.open is the name that the design gives
    what: str | os.PathLike[str] | Reference, platform: str | Platform | None = None, **options: Any
) -> Manifest:
    """Open an image by its name: no request; only ``didlab.toml`` and ``ca=`` are read.

    Parameters
    ----------
    what : str, path or Reference
        ``nginx:1.27``, ``ghcr.io/owner/image@sha256:…``, ``127.0.0.1:5000/app``; with or without
        ``docker://``. A path is local, and so is a string that looks like one.
    platform : str, optional
        ``linux/arm64``; the default is decided when it matters (see `Manifest`).
    **options
        As `Registry` takes them: ``mirrors``, ``proxy``, ``username``, ``password``, ``token``,
        ``insecure``, ``ca``, ``client_cert``, ``auth_hosts``, ``timeout``, ``trust_env``,
        ``offline``.

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
        Local files, which are not built yet.

    Examples
    --------
    >>> open("nginx:1.27")
    <Manifest nginx:1.27 · not fetched>
    """
    wanted = Platform.parse(platform) if isinstance(platform, str) else platform
    if wanted is not None and not isinstance(wanted, Platform):
        raise InvalidArgument(f"platform= takes text like linux/arm64, not {wanted!r}")
    source, reference = locate(what, options)
    return Manifest(source, reference, wanted)
