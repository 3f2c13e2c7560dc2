"""The users of an image, and which layer brought each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from didlab.audits import accounts
from didlab.audits.accounts import Account
from didlab.audits.holding import holding
from didlab.errors import DidlabError, LimitExceeded, PathError, UnsafeContent
from didlab.files.looks import Facts, Look
from didlab.views import frames

if TYPE_CHECKING:
    import pandas as pd

    from didlab.model.inside import Layers

__all__ = ["ShadowLook", "frame", "rows"]

_PASSWD, _GROUP, _SHADOW = b"/etc/passwd", b"/etc/group", b"/etc/shadow"


class ShadowLook(Look):
    """What kind of password each user has; hashes are not kept, as the file itself would be.

    Facts are pairs: a user's name, and ``locked``, ``hashed`` or ``empty``.
    """

    name = "shadow 1"
    most = accounts.LIMIT

    def wants(self, path: bytes, size: int) -> bool:
        """Whether it is the shadow file."""
        return path == _SHADOW and 0 < size <= self.most

    def maybe(self, paths: bytes) -> bool:
        """Whether it may be among the paths."""
        return b"etc/shadow" in paths

    def facts(self, path: bytes, content: bytes) -> Facts:
        """Return a pair for each user."""
        del path
        if not accounts.is_whole(content):
            return []
        return [list(pair) for pair in accounts.shadow(content).items()]


def frame(layers: Layers, reference: str) -> pd.DataFrame:
    """Return the table ``users``. Raises as `rows`."""
    return frames.frame("users", rows(layers), reference=reference)


def rows(layers: Layers) -> list[tuple[Any, ...]]:
    """Return the rows of the table, in the order of passwd.

    Raises
    ------
    LimitExceeded
        passwd, group or shadow has more than is read.
    As `Layers.learn`.
    """
    look = ShadowLook()
    told = layers.learn([look])[look.name]
    found = accounts.accounts(_content(layers, _PASSWD))
    if not found:
        return []
    groups = accounts.groups(_content(layers, _GROUP))
    shadow = next((one for one in holding(layers, look, told) if one.path == _SHADOW), None)
    if shadow is not None:
        passwords = _passwords(told[shadow.layer][shadow.key])
    else:  # behind a link, or too large to be looked at
        passwords = accounts.shadow(_content(layers, _SHADOW))
    numbers: dict[int, str] = {}
    member: dict[str, list[str]] = {}
    for name, (gid, members) in groups.items():
        if gid is not None:
            numbers.setdefault(gid, name)
        for one in dict.fromkeys(members):
            if one in found:
                member.setdefault(one, []).append(name)
    since = _since(layers, found)
    made = []
    for name, user in found.items():
        first = numbers.get(user.gid) if user.gid is not None else None
        listed = dict.fromkeys([*([first] if first else []), *member.get(name, [])])
        password = user.password
        if password == "shadow":  # noqa: S105 - where it stands
            password = passwords.get(name, "none")
        made.append(
            (
                *(name, user.uid, user.gid, ",".join(listed) or None),
                *(user.home or None, user.shell or None, password, since[name]),
            )
        )
    return made


def _passwords(facts: Facts) -> dict[str, str]:
    """Return what facts tell; what is none of ours is left out."""
    found: dict[str, str] = {}
    for fact in facts:
        match fact:
            case [str(name), "locked" | "hashed" | "empty" as kind]:
                found[name] = kind
    return found


def _content(layers: Layers, path: bytes) -> bytes:
    try:
        content = layers.file(path)
    except (PathError, UnsafeContent):
        content = None
    if content is None:
        return b""
    raw = content.read_at(0, min(content.size, accounts.LIMIT + 1))
    if not accounts.is_whole(raw):
        shown = path.decode()
        raise LimitExceeded(
            f"{shown} has {content.size:,} bytes, more than is read of it: users could hide there",
            what=f"bytes or lines of {shown}",
            limit=accounts.LIMIT,
            seen=content.size,
        )
    return raw


def _since(layers: Layers, found: dict[str, Account]) -> dict[str, int]:
    """Say of each user since which layer passwd has it with this number and first group."""
    home = _home(layers)
    since = dict.fromkeys(found, home)
    going = set(found)
    for layer in range(home - 1, -1, -1):
        if not going:
            break
        # It comes with every listing; of one by a table of contents it is not at hand.
        content = layers.came(layers.index(layer), _PASSWD)
        if content is None:
            continue
        before = accounts.accounts(content)
        going = {name for name in going if name in before and before[name][1:3] == found[name][1:3]}
        since.update(dict.fromkeys(going, layer))
    return since


def _home(layers: Layers) -> int:
    """Return the layer that has the content of passwd."""
    from didlab.files import links
    from didlab.files.standing import Unsure

    try:
        place = layers.stands(_PASSWD)
    except Unsure:
        place = None
    if place is not None:
        return place[0]
    merged = layers.merged()
    table = merged.near(_PASSWD)
    try:
        row = links.resolve(table, _PASSWD)
    except DidlabError:
        table = merged.table
        row = links.resolve(table, _PASSWD)
    return table.homes[row] if table.homes is not None else 0
