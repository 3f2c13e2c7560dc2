"""The card of two images compared: why one is larger than the other, in five lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from didlab import settings
from didlab.errors import printable
from didlab.sizes import human
from didlab.views import html
from didlab.views.cards import parts
from didlab.views.cards.looking import within

#: Folders, packages, commands and settings that are shown at once, and when unfolded.
_FEW, _MOST = 4, 60
#: Characters of a setting's values that are shown at once.
_SHORT = 40
_CHANGES = ("added", "removed", "upgraded", "downgraded", "changed", "maybe")
_STATUS = ("shared", "recompressed", "removed", "added")


def line(facts: Mapping[str, Any]) -> str:
    """Return the repr."""
    name = printable(f"{facts['before']} → {facts['after']}", 300)
    if "sizes" not in facts:
        return f"<Diff {name} · not fetched>"
    before, after = facts["sizes"]
    return f"<Diff {name} · {delta(after - before)}, layers: {_layers(facts['layers'])}>"


def delta(size: int) -> str:
    """Return bytes with their sign.

    >>> delta(2_000_000), delta(-1), delta(0)
    ('+2.0 MB', '−1 B', '±0 B')
    """
    return ("+" if size > 0 else "−" if size < 0 else "±") + human(abs(size))


def difference(
    facts: Callable[[], Mapping[str, Any]],
    look: Callable[[], object],
    known: Callable[[], Mapping[str, Any]],
    *,
    seconds: float,
) -> str:
    """Return the card. ``look`` fetches the configs, within ``seconds``; ``known`` adds the rest.

    Never raises.
    """
    try:
        problem = None
        if "sizes" not in facts() and settings.current().card:
            problem = within(look, seconds)
        told = facts()
        if "sizes" in told:
            told = known()
        return _draw(told, problem)
    except Exception as error:  # noqa: BLE001 - a card that raises hides the object itself
        return parts.failed(error)


def _draw(facts: Mapping[str, Any], problem: str | None) -> str:
    if "sizes" not in facts:
        why = problem or "d.layers() and d.config() ask for both"
        return parts.frame(_title(facts), parts.warning(why) if problem else parts.note(why))
    rows = [
        ("size", _sizes(facts)),
        ("files", _files(facts)),
        ("packages", _packages(facts.get("packages"))),
        ("layers", _layer_cell(facts)),
        ("config", _config(facts["config"])),
    ]
    return parts.frame(
        _title(facts),
        parts.block(parts.pairs(rows)),
        parts.block(
            _fold("folders", facts.get("folders") or (), _sized_row),
            _fold("packages", facts.get("packages") or (), _package_row),
            _fold("layers", facts.get("grown") or (), _sized_row),
            _fold("config", facts["config"], _config_row),
        ),
    )


def _title(facts: Mapping[str, Any]) -> str:
    return parts.title(f"{facts['before']} → {facts['after']}", "diff")


def _sizes(facts: Mapping[str, Any]) -> str:
    before, after = facts["sizes"]
    shown = _bold(delta(after - before)) + parts.faint(
        f" to download: {human(before)} → {human(after)}"
    )
    if "unpacked" in facts:
        one, two = facts["unpacked"]
        shown += parts.faint(f" · unpacked {delta(two - one)}: {human(one)} → {human(two)}")
    return shown


def _files(facts: Mapping[str, Any]) -> str:
    if "files" not in facts:
        return parts.faint("d.files() lists both")
    counts, rows = facts["files"], facts["folders"]
    if not any(counts.values()):
        return parts.faint("no difference")
    shown = html.escape(_counts(counts, _CHANGES))
    if not rows:
        return shown
    folders = _joined((f"{name} ", delta(size)) for name, _, _, size in rows[:_FEW])
    return shown + parts.faint(": ") + folders + _more(rows)


def _packages(rows: Sequence[tuple[Any, ...]] | None) -> str:
    if rows is None:
        return parts.faint("d.packages() reads them")
    if not rows:
        return parts.faint("no difference")
    counts: dict[str, int] = {}
    for row in rows:
        counts[row[3]] = counts.get(row[3], 0) + 1
    shown = _counts(counts, _CHANGES)
    # What is new tells most.
    order = {name: at for at, name in enumerate(_CHANGES)}
    told = sorted(rows, key=lambda row: order.get(row[3], len(order)))[:_FEW]
    return (
        html.escape(shown)
        + parts.faint(": ")
        + _joined((f"{row[1]} ", _versions(row)) for row in told)
        + _more(rows)
    )


def _versions(row: Sequence[Any]) -> str:
    if row[4] is None or row[5] is None:
        return f"{'+' if row[4] is None else '−'}{row[5] or row[4] or ''}"
    return f"{row[4]} → {row[5]}"


def _layer_cell(facts: Mapping[str, Any]) -> str:
    return html.escape(_layers(facts["layers"]))


def _config(rows: Sequence[tuple[str, str, Any, Any]]) -> str:
    if not rows:
        return parts.faint("no difference")
    shown = sorted(rows, key=lambda row: row[0] == "created")
    return _joined((f"{row[0]} ", _values(row)) for row in shown[:_FEW]) + _more(rows)


def _values(row: Sequence[Any]) -> str:
    """Return a change in a few words."""
    told = f"{row[2]} → {row[3]}" if None not in row else f"+{row[3]}" if row[3] else ""
    return told if told and len(told) <= _SHORT and row[2] != row[3] else row[1]


def _layers(counts: Mapping[str, int]) -> str:
    return _counts(counts, _STATUS) or "none"


def _counts(counts: Mapping[str, int], order: Sequence[str]) -> str:
    return ", ".join(f"{counts[name]} {name}" for name in order if counts.get(name))


def _bold(shown: str) -> str:
    return f"<b>{html.escape(shown)}</b>"


def _joined(pairs: Any) -> str:
    return parts.faint(", ").join(
        parts.code(name, 60) + parts.faint(what, 60) for name, what in pairs
    )


def _more(rows: Sequence[object]) -> str:
    more = len(rows) - _FEW
    return parts.faint(f" … {more} more") if more > 0 else ""


def _fold(label: str, rows: Sequence[Any], draw: Callable[[Any], Sequence[str]]) -> str:
    if len(rows) <= 1:
        return ""
    more = len(rows) - _MOST
    tail = parts.note(f"and {more} more") if more > 0 else ""
    return parts.fold(label, len(rows), parts.lines([draw(row) for row in rows[:_MOST]]) + tail)


def _sized_row(row: Sequence[Any]) -> tuple[str, ...]:
    return delta(row[3]), human(row[1]), "→", human(row[2]), str(row[0])


def _package_row(row: Sequence[Any]) -> tuple[str, ...]:
    return str(row[3]), str(row[0]), str(row[1]), str(row[4] or "–"), str(row[5] or "–")


def _config_row(row: Sequence[Any]) -> tuple[str, ...]:
    return tuple("–" if cell is None else str(cell) for cell in row)
