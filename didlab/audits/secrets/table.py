"""The table of an image's secrets: of every layer, deleted files too, and of its config."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from didlab.audits.holding import holding
from didlab.audits.secrets import texts
from didlab.audits.secrets.look import SecretsLook
from didlab.audits.secrets.rule import SEVERITIES, Finding
from didlab.errors import MalformedContent
from didlab.files import paths as names
from didlab.model.config import Config
from didlab.model.tables import steps_of_layers
from didlab.oci.config import ImageConfig, align
from didlab.views import frames

if TYPE_CHECKING:
    import pandas as pd

    from didlab.model.inside import Layers

#: Rows that a table has at most.
MOST = 20_000

_log = logging.getLogger("didlab")
_RANKS = {severity: rank for rank, severity in enumerate(SEVERITIES)}

Row = tuple[Any, ...]


def frame(layers: Layers, config: ImageConfig, reference: str) -> pd.DataFrame:
    """Return the table ``secrets``. Raises as `Layers.learn`."""
    return frames.frame("secrets", rows(layers, config), reference=reference)


def rows(layers: Layers, config: ImageConfig) -> list[Row]:
    """Return the rows of the table, the worst first. Raises as `Layers.learn`."""
    look = SecretsLook()
    told = layers.learn([look])[look.name]
    found = list(_of_config(config, len(told)))
    hide = lru_cache(maxsize=256)(texts.Hider(place.secret for place, _, _ in found))
    commands = [
        hide(step.created_by) if step and step.created_by else None
        for step in steps_of_layers(config, len(told))
    ]
    made = [
        _row(place.finding, place.where, None, layer, False, hide(by) if by else None)
        for place, layer, by in found
    ]
    held = {(one.layer, one.key) for one in holding(layers, look, told)}
    for layer, facts in enumerate(told):
        for path, told_of_path in facts.items():
            gone = (layer, path) not in held
            for fact in told_of_path:
                try:
                    finding = Finding.from_fact(fact)
                except MalformedContent:
                    continue
                made.append(_row(finding, "file", names.shown(path), layer, gone, commands[layer]))
    made.sort(key=_order)
    if len(made) > MOST:
        _log.warning("secrets: %d findings, the first %d are listed", len(made), MOST)
    return made[:MOST]


def _row(
    finding: Finding, where: str, path: str | None, layer: int | None, deleted: bool, by: str | None
) -> Row:
    return (
        *(finding.rule, finding.severity, where, path, finding.line, finding.name),
        *(finding.redacted, deleted, layer, by),
    )


def _order(row: Row) -> Row:
    _, severity, where, path, line, name, _, deleted, layer, _ = row
    return _RANKS[severity], deleted, layer or 0, path or "", line or 0, where, name or "", row[0]


def _of_config(
    config: ImageConfig, layers: int
) -> Iterator[tuple[texts.Place, int | None, str | None]]:
    """Yield what a config tells, with the layer and command of steps."""
    held = Config(config)
    found = [
        *texts.of_pairs(_environ(config), "env"),
        *texts.of_pairs(held.labels.items(), "label"),
        *texts.of_command(
            [*held.entrypoint, *held.cmd, *_check(held), *_triggers(config)], "command"
        ),
    ]
    # What a step set is in the config then; each is told once.
    seen = {(place.finding.rule, place.secret) for place in found}
    yield from ((place, None, None) for place in found)
    aligned = align(config.history, layers)
    for step, layer in zip(config.history, aligned, strict=True):
        if len(seen) >= MOST:
            break
        for place in texts.of_step(step.created_by):
            mark = place.finding.rule, place.secret
            if mark not in seen:
                seen.add(mark)
                yield place, layer, step.created_by


def _environ(config: ImageConfig) -> list[tuple[str, str]]:
    """Return the variables, as they are written; those of the last step's container as well."""
    before = config.json.get("container_config")
    words = [
        word
        for section in (config.runtime, before if isinstance(before, dict) else {})
        if isinstance(listed := section.get("Env"), list)
        for word in listed
        if isinstance(word, str)
    ]
    pairs = (word.partition("=") for word in dict.fromkeys(words))
    return [(name, value) for name, _, value in pairs]


def _triggers(config: ImageConfig) -> list[str]:
    listed = config.runtime.get("OnBuild")
    return [word for word in listed if isinstance(word, str)] if isinstance(listed, list) else []


def _check(config: Config) -> list[str]:
    test = (config.healthcheck or {}).get("Test")
    return [word for word in test if isinstance(word, str)] if isinstance(test, list) else []
