"""Image configs, their history, and which layer each row of it made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from didlab import errors
from didlab.oci import digest as digests
from didlab.oci import strict_json
from didlab.oci.fields import Members, Names

__all__ = [
    "CONFIG_LIMIT",
    "HistoryEntry",
    "ImageConfig",
    "align",
    "check_layer_count",
    "parse",
    "parse_time",
]

#: The most bytes a config may have: long histories with long commands exist.
CONFIG_LIMIT = 8 * 1024 * 1024

_NAMES = Names("architecture os os.version variant created config rootfs history")
_ROOTFS_NAMES = Names("type diff_ids")
_HISTORY_NAMES = Names("created created_by comment author empty_layer")

_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:[.,]([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One step of the build; ``empty_layer`` when it changed no files."""

    created: datetime | None = None
    created_by: str = ""
    comment: str = ""
    author: str = ""
    empty_layer: bool = False


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says of itself; ``json`` is the whole document, ``raw`` its bytes."""

    raw: bytes = field(repr=False)
    json: dict[str, Any] = field(repr=False, compare=False)
    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
    created: datetime | None = None
    diff_ids: tuple[str, ...] = ()
    history: tuple[HistoryEntry, ...] = ()

    @property
    def runtime(self) -> Mapping[str, Any]:
        """The ``config`` section (Env, Cmd, Labels …), empty when there is none."""
        section = self.json.get("config")
        return section if isinstance(section, dict) else {}


def parse(raw: bytes) -> ImageConfig:
    """Parse an image config.

    Lists that are null and a missing history are normal in the wild; wrong types are
    `ConfigInvalid`.
    """
    document = strict_json.loads(
        raw, limit=CONFIG_LIMIT, error=errors.ConfigInvalid, what="the config"
    )
    if document is None:
        document = {}
    members = Members(document, "", errors.ConfigInvalid, _NAMES)
    assert isinstance(document, dict)
    if members.raw("config") is not None:
        Members(members.raw("config"), "config", errors.ConfigInvalid)
    return ImageConfig(
        raw,
        document,
        members.text("os") or "",
        members.text("architecture") or "",
        members.text("variant") or "",
        members.text("os.version") or "",
        parse_time(members.text("created")),
        _diff_ids(members.raw("rootfs")),
        tuple(
            _history_entry(value, f"history[{position}]")
            for position, value in enumerate(members.array("history"))
        ),
    )


def _diff_ids(rootfs: object) -> tuple[str, ...]:
    if rootfs is None:
        return ()
    members = Members(rootfs, "rootfs", errors.ConfigInvalid, _ROOTFS_NAMES)
    diff_ids = members.texts("diff_ids")
    for position, diff_id in enumerate(diff_ids):
        if not digests.is_digest(diff_id):
            members.refuse_member(f"diff_ids[{position}]", "is not a sha256 or sha512 digest")
    return diff_ids


def _history_entry(value: object, where: str) -> HistoryEntry:
    members = Members(value, where, errors.ConfigInvalid, _HISTORY_NAMES)
    return HistoryEntry(
        parse_time(members.text("created")),
        members.text("created_by") or "",
        members.text("comment") or "",
        members.text("author") or "",
        members.flag("empty_layer"),
    )


def check_layer_count(config: ImageConfig, layer_count: int) -> None:
    """Raise `ManifestInvalid` unless the config has one diff_id for each layer."""
    if len(config.diff_ids) != layer_count:
        raise errors.ManifestInvalid(
            f"the manifest lists {layer_count} layer{'' if layer_count == 1 else 's'}, "
            f"but the config {len(config.diff_ids)}",
            hint="no container engine would load this image",
            where="layers",
        )


def align(history: Sequence[HistoryEntry], layer_count: int) -> list[int | None]:
    """Return the layer position that each row of the history made, None where it made none.

    Rows are matched from the base up. Histories that do not fit the layers are common; what is
    left over stays None.

    >>> rows = [HistoryEntry(), HistoryEntry(empty_layer=True), HistoryEntry()]
    >>> align(rows, 2), align(rows, 1)
    ([0, None, 1], [0, None, None])
    """
    positions: list[int | None] = []
    layer = 0
    for entry in history:
        if entry.empty_layer or layer >= layer_count:
            positions.append(None)
        else:
            positions.append(layer)
            layer += 1
    return positions


def parse_time(text: object) -> datetime | None:
    """Return an RFC 3339 time as an aware UTC datetime; None when it is none, or beyond datetime.

    Digits beyond microseconds are cut off; a leap second is the second after it. Never raises.

    >>> parse_time("2024-05-06T07:08:09.123456789+02:00").isoformat()
    '2024-05-06T05:08:09.123456+00:00'
    """
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    microsecond = int((match[7] or "")[:6].ljust(6, "0"))
    offset = timedelta()
    if match[8]:
        hours, minutes = int(match[9]), int(match[10])
        if hours > 23 or minutes > 59:
            return None
        offset = timedelta(hours=hours, minutes=minutes)
        if match[8] == "-":
            offset = -offset
    leap = timedelta(seconds=second == 60)
    try:
        local = datetime(
            year, month, day, hour, minute, 59 if leap else second, microsecond, tzinfo=UTC
        )
        return local + leap - offset
    except (ValueError, OverflowError):
        return None
