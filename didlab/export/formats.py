"""Which kinds of archives there are, and what each consists of: pure."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from didlab.errors import InvalidArgument, Unsupported
from didlab.export import plan, thin
from didlab.export.content import Content
from didlab.export.encode import Compression
from didlab.export.plan import SavePlan
from didlab.oci import digest as digests
from didlab.oci.descriptor import Descriptor

FORMATS = ("archive", "docker", "oci-archive", "oci-dir")
COMPRESSIONS = ("keep", "none", "gzip", "zstd")

_WHOLE: dict[str, Compression] = {
    ".tar.gz": "gzip",
    ".tgz": "gzip",
    ".tar.zst": "zstd",
    ".tzst": "zstd",
}


def check(format: str, compression: str | None) -> None:  # noqa: A002
    """Raise `Unsupported` for a format, `InvalidArgument` for a compression there is not."""
    if format not in FORMATS:
        raise Unsupported(
            f"there is no format {format!r}",
            hint=f"there are {', '.join(repr(name) for name in FORMATS)}; the archive is taken "
            "by docker load, podman, ctr and skopeo (both transports)",
        )
    if compression is not None and compression not in COMPRESSIONS:
        raise InvalidArgument(
            f"there is no compression {compression!r} for layers",
            hint=f"there are {', '.join(repr(name) for name in COMPRESSIONS)}",
        )
    if format == "docker" and compression not in (None, "keep", "none"):
        raise InvalidArgument(
            'layers are not compressed in format="docker"',
            hint="format='archive' takes compression=; a name that ends in .tar.gz compresses "
            "the file as a whole",
        )


def check_platforms(contents: Iterable[Content], format: str) -> None:  # noqa: A002
    """Raise `InvalidArgument` for several platforms where there can be one."""
    for content in contents:
        if format == "docker" and len(content.images) > 1:
            raise InvalidArgument(
                f"{content.reference}: a docker-archive has one platform for a name, not "
                f"{len(content.images)}",
                hint="save one platform, or as format='archive'",
            )


def layers(format: str, compression: str | None) -> Compression | None:  # noqa: A002
    """Return what layers are to be turned into; None to leave them as they are."""
    if format == "docker" or compression == "none":
        return "none"
    if compression == "gzip":
        return "gzip"
    return "zstd" if compression == "zstd" else None


def whole(name: str | os.PathLike[str]) -> Compression | None:
    """Return how a file of this name is compressed as a whole; None for not at all.

    >>> whole("app.TAR.gz"), whole("app.tar")
    ('gzip', None)
    """
    lowered = os.fspath(name).lower()
    for suffix, compression in _WHOLE.items():
        if lowered.endswith(suffix):
            return compression
    return None


def planned(
    contents: Sequence[Content],
    format: str,  # noqa: A002
    needs: thin.Needs | None = None,
) -> SavePlan:
    """Plan an archive; what ``needs`` lists is left out, and said in a member of its own."""
    members: dict[str, bytes | Descriptor]
    if format == "docker":
        members = _docker(contents)
    else:
        members = plan.members(contents)
        if format == "oci-archive":
            del members["manifest.json"]
    if needs is not None:
        order = [name for name, content in members.items() if isinstance(content, Descriptor)]
        small = {n: content for n, content in members.items() if isinstance(content, bytes)}
        small[thin.MEMBER] = needs.dump(list(small), order)
        left_out = {layer.path for layer in needs.layers}
        members = {**small, **{n: members[n] for n in order if n not in left_out}}
    return plan.lay_out(members.items())


def _docker(contents: Sequence[Content]) -> dict[str, bytes | Descriptor]:
    """Return the members of a docker-archive as `docker save` wrote it up to version 24.

    The layers of ``contents`` are tars already.
    """
    items: list[dict[str, Any]] = []
    repositories: dict[str, dict[str, str]] = {}
    members: dict[str, bytes | Descriptor] = {"manifest.json": b"", "repositories": b""}
    for content in contents:
        image = content.images[0]
        config = f"{digests.encoded(image.manifest.config.digest)}.json"
        members[config] = image.config
        names = plan.repo_tags(content)
        paths = [layer_path(layer.digest) for layer in image.manifest.layers]
        items.append({"Config": config, "RepoTags": names, "Layers": paths})
        for name in names if paths else ():
            repository, _, tag = name.rpartition(":")
            repositories.setdefault(repository, {})[tag] = paths[-1].partition("/")[0]
    for content in contents:
        for layer in content.images[0].manifest.layers:
            members.setdefault(layer_path(layer.digest), layer)
    members["manifest.json"] = plan.dump(items)
    members["repositories"] = plan.dump(repositories)
    return members


def layer_path(diff_id: str) -> str:
    """Return where `docker save` puts a layer."""
    return f"{digests.encoded(diff_id)}/layer.tar"


def paths(format: str, digests_: Collection[str]) -> dict[str, str]:  # noqa: A002
    """Return the member's name of each layer."""
    place = layer_path if format == "docker" else plan.blob_path
    return {digest: place(digest) for digest in digests_}
