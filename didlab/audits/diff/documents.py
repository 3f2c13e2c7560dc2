"""What differs between two images' configs, and between their layers."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from didlab.audits.secrets.texts import hidden
from didlab.oci.config import ImageConfig
from didlab.views import secrets

#: Characters of one value that are shown.
_LONGEST = 4096
#: What says how the image was put together, which the tables of layers and history do.
_LEFT_OUT = frozenset({"rootfs", "history", "container", "container_config", "id", "parent"})


class Stored(NamedTuple):
    """A layer as one image has it."""

    digest: str
    diff_id: str | None
    size: int
    created_by: str | None


def config_rows(before: ImageConfig, after: ImageConfig) -> list[tuple[str, str, Any, Any]]:
    """Return the rows of ``diff_config``: in the order of the JSON, what is new at the end."""
    old, new = dict(_values(before)), dict(_values(after))
    rows = []
    for key in dict.fromkeys([*old, *new]):
        one, two = old.get(key), new.get(key)
        if one != two:
            change = "added" if one is None else "removed" if two is None else "changed"
            rows.append((key, change, _shown(key, one), _shown(key, two)))
    return rows


def _values(config: ImageConfig) -> Iterator[tuple[str, str]]:
    for name, value in config.json.items():
        if name not in _LEFT_OUT and name != "config" and value is not None:
            yield name, _text(value)
    for name, value in config.runtime.items():
        if not value and value is not False:
            continue  # null, "" and [] are how different builders say nothing
        if name == "Env" and isinstance(value, list):
            for word in value:
                variable, _, content = _text(word).partition("=")
                yield f"Env.{variable}", content
        elif isinstance(value, Mapping):
            for key, content in value.items():
                # Ports and volumes are keys of an empty object.
                yield f"{name}.{key}", "" if content in ({}, None) else _text(content)
        else:
            yield name, _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shown(key: str, value: str | None) -> str | None:
    if value is None:
        return None
    # More than is shown is looked at: no cut goes through what tells a secret from other text.
    shown = hidden(secrets.masked(key.partition(".")[2], value[: 2 * _LONGEST]))
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def layer_rows(before: Sequence[Stored], after: Sequence[Stored]) -> list[tuple[Any, ...]]:
    """Return the rows of ``diff_layers``: those of the image before, what is new at the end.

    A layer that comes twice is matched with as many of the other image, base first.
    """
    partner = _partners([one.digest for one in before], [one.digest for one in after])
    left = [at for at in range(len(before)) if at not in partner]
    taken = set(partner.values())
    right = [at for at in range(len(after)) if at not in taken]
    again = _partners([before[at].diff_id for at in left], [after[at].diff_id for at in right])
    other = {left[one]: right[two] for one, two in again.items()}
    rows: list[tuple[Any, ...]] = []
    for at, one in enumerate(before):
        if at in partner or at in other:
            to = partner.get(at, other.get(at, -1))
            two = after[to]
            status = "shared" if at in partner else "recompressed"
            by = two.created_by or one.created_by
            rows.append((status, at, to, two.digest, one.size, two.size, by))
        else:
            rows.append(("removed", at, None, one.digest, one.size, None, one.created_by))
    known = taken | set(other.values())
    for to, two in enumerate(after):
        if to not in known:
            rows.append(("added", None, to, two.digest, None, two.size, two.created_by))
    return rows


def _partners(before: Sequence[str | None], after: Sequence[str | None]) -> dict[int, int]:
    waiting: dict[str, list[int]] = defaultdict(list)
    for at in reversed(range(len(after))):
        name = after[at]
        if name is not None:
            waiting[name].append(at)
    found = {}
    for at, name in enumerate(before):
        if name is not None and waiting[name]:
            found[at] = waiting[name].pop()
    return found
