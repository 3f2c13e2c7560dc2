"""From schema 1 to an image config: the very bytes that Docker makes, so its image ID.

The rules are those of moby up to version 24 (``image/v1/imagev1.go``); from 25 on it writes the
members of a history entry in another order, and later it does not convert at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from didlab import errors
from didlab.oci import gojson
from didlab.oci.fields import Members
from didlab.oci.schema1 import Schema1, Step
from didlab.oci.schema1_v1 import moment, reencode, words

__all__ = ["UNKNOWN", "convert", "size"]

#: Stands for a diff_id that is not known yet; as long as any.
UNKNOWN = "sha256:" + "0" * 64

#: Versions of Docker that left blank fields out, before which images are written anew.
_FIRST = (1, 8, 3)
_NUMBER = re.compile(r"[+-]?[0-9]+")
_DROPPED = ("id", "parent", "Size", "parent_id", "layer_id", "throwaway")


def convert(image: Schema1, diff_ids: Sequence[str]) -> bytes:
    """Return the image's config; its digest is Docker's image ID.

    Parameters
    ----------
    image : Schema1
    diff_ids : sequence of str
        Digests of the uncompressed layers, base first; none for steps without a layer.

    Raises
    ------
    ManifestInvalid
        A field has another type than Docker takes.
    """
    if len(diff_ids) != len(image.layers):
        raise errors.InvalidArgument(f"{len(diff_ids)} diff_ids for {len(image.layers)} layers")
    top = image.steps[-1]
    where = "history[0].v1Compatibility"
    version = Members(top.json, where, errors.ManifestInvalid).text("docker_version") or ""
    if _is_old(version):
        found = reencode(top.json, where)
    else:
        found = {key: gojson.compact(text) for key, text in gojson.members(top.text).items()}
    for key in _DROPPED:
        found.pop(key, None)
    rootfs = [("type", gojson.string("layers"))]
    if diff_ids:
        rootfs.append(("diff_ids", gojson.array(map(gojson.string, diff_ids))))
    found["rootfs"] = gojson.obj(rootfs)
    last = len(image.steps) - 1
    found["history"] = gojson.array(
        _history(step, f"history[{last - at}].v1Compatibility")
        for at, step in enumerate(image.steps)
    )
    return gojson.obj(sorted(found.items())).encode()


def size(image: Schema1) -> int:
    """Return the length of the config, which does not depend on the diff_ids."""
    return len(convert(image, [UNKNOWN] * len(image.layers)))


def _history(step: Step, where: str) -> str:
    members = Members(step.json, where, errors.ManifestInvalid)
    made = [("created", gojson.string(moment(members)))]
    container = members.raw("container_config")
    command: Sequence[str] = ()
    if container is not None:
        inner = Members(container, members.path("container_config"), errors.ManifestInvalid)
        command = words(inner, "Cmd") or ()
    texts = {
        "author": members.text("author"),
        "created_by": " ".join(command),
        "comment": members.text("comment"),
    }
    made += [(key, gojson.string(text)) for key, text in texts.items() if text]
    if step.throwaway:
        made.append(("empty_layer", "true"))
    return gojson.obj(made)


def _is_old(version: str) -> bool:
    """Whether a Docker version is below 1.8.3; nothing, and what is no number, counts as 0.

    >>> _is_old(""), _is_old("1.8.2"), _is_old("1.8.3"), _is_old("1.8.3-rc1"), _is_old("20.10.24")
    (True, True, False, True, False)
    """
    parts = [int(part) if _NUMBER.fullmatch(part) else 0 for part in version.split(".")]
    parts += [0] * (len(_FIRST) - len(parts))
    return tuple(parts) < _FIRST
