"""What users name, as a list of images to come: references, repositories, globs, archives."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from didlab.errors import DidlabError, InvalidArgument, printable
from didlab.model.manifest import Manifest
from didlab.model.opening import open as open_image
from didlab.model.registry import Registry
from didlab.model.repository import Repository
from didlab.oci.reference import Reference
from didlab.sources.locate import is_local, split

#: What names one image, or several.
One = str | os.PathLike[str] | Reference | Manifest | Repository | Registry
What = One | Iterable[One]

_ONE = (str, os.PathLike, Reference, Manifest, Repository, Registry)
_GLOB = frozenset("*?[")
_HINT = "a reference, a Manifest, Repository or Registry, or a list of them"


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that was named.

    ``expand`` costs requests, or a look at the disk, and gives further targets; ``open`` costs
    nothing. Both may raise what `didlab.open` raises.
    """

    name: str
    open: Callable[[], Manifest] | None = None
    expand: Callable[[], list[Target]] | None = None


def targets(what: What, options: dict[str, Any]) -> list[Target]:
    """Return what users named, in order: no request.

    Raises
    ------
    InvalidArgument
        Something that is no image, or nothing at all.
    """
    if isinstance(what, _ONE):
        listed = [_target(what, options)]
    elif hasattr(what, "columns"):
        raise InvalidArgument(
            "audit() takes a column of references, not a whole DataFrame",
            hint='hand over the column: audit(frame["reference"])',
        )
    elif isinstance(what, Iterable) and not isinstance(what, bytes | bytearray):
        listed = [_target(one, options) for one in what]
    else:
        raise InvalidArgument(f"audit() does not take {type(what).__name__}", hint=_HINT)
    if not listed:
        raise InvalidArgument("no image was named", hint=_HINT)
    return listed


def _target(what: Any, options: dict[str, Any]) -> Target:
    if isinstance(what, Manifest):
        return Target(what.reference.familiar(), lambda: what)
    if isinstance(what, Repository):
        return _repository(what, lambda _: True)
    if isinstance(what, Registry):
        return Target(what.name, expand=lambda: _repositories(what))
    if isinstance(what, Reference):
        return Target(what.familiar(), lambda: open_image(what, **options))
    if isinstance(what, os.PathLike) or (isinstance(what, str) and is_local(what)):
        return _local(what, options)
    if isinstance(what, str):
        pattern = _glob(what)
        if pattern is None:
            return Target(printable(what, 300), lambda: open_image(what, **options))
        return Target(what, expand=lambda: _matching(*pattern, options))
    raise InvalidArgument(f"an image is not named by {type(what).__name__}", hint=_HINT)


def _glob(text: str) -> tuple[str, str] | None:
    """Return repository and pattern of a glob over tags; None of what is none."""
    if _GLOB.isdisjoint(text):
        return None
    name, colon, tag = text.rpartition(":")
    if not colon or "/" in tag or not _GLOB.isdisjoint(name):
        raise InvalidArgument(
            f"{printable(text, 200)}: only tags can be a pattern",
            hint='"registry.example/team/app:1.*"; a Registry stands for all it has',
        )
    return name, tag


def _matching(name: str, pattern: str, options: dict[str, Any]) -> list[Target]:
    repository = open_image(name.removeprefix("docker://"), **options).repository
    assert repository is not None
    return _tags(repository, lambda tag: fnmatchcase(tag, pattern))


def _repository(repository: Repository, wanted: Callable[[str], bool]) -> Target:
    name = f"{repository.registry.name}/{repository.name}"
    return Target(name, expand=lambda: _tags(repository, wanted))


def _repositories(registry: Registry) -> list[Target]:
    names = registry.repositories()["repository"]
    return [_repository(registry[name], lambda _: True) for name in names]


def _tags(repository: Repository, wanted: Callable[[str], bool]) -> list[Target]:
    found = []
    for tag in repository.tags()["tag"]:
        if wanted(tag):
            found.append(_tag(repository, tag))
    return found


def _tag(repository: Repository, tag: str) -> Target:
    name = f"{repository.registry.name}/{repository.name}:{tag}"
    with contextlib.suppress(DidlabError):
        # As users write it, but with the tag, always: it is what they look for.
        name = repository[tag].reference.familiar()
        name = name if name.endswith(f":{tag}") else f"{name}:{tag}"
    return Target(name, lambda: repository[tag])


def _local(what: str | os.PathLike[str], options: dict[str, Any]) -> Target:
    name = printable(os.fspath(what), 300)
    transport, _, inside = split(what) if isinstance(what, str) else ("", "", None)
    if inside is not None or transport == "docker-daemon":
        return Target(name, lambda: open_image(what, **options))
    return Target(name, expand=lambda: list(_images(what, name, options)))


def _images(what: Any, name: str, options: dict[str, Any]) -> Iterator[Target]:
    """Yield the images of an archive or layout."""
    from didlab.model.images import images

    listed = images(what)
    if len(listed) <= 1:
        yield Target(name, lambda: open_image(what, **options))
        return
    for position, label in zip(listed["position"], listed["name"], strict=True):
        chosen = label if isinstance(label, str) else f"@{position}"
        yield Target(f"{name}:{chosen}", partial(open_image, what, name=chosen, **options))
