"""One file's lines in two images, side by side: a unified diff to look at."""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from didlab.errors import LimitExceeded, PathNotFound, printable

if TYPE_CHECKING:
    from didlab.audits.diff.side import Side
    from didlab.files.content import Content

#: Bytes and lines of a file whose lines are compared.
LARGEST, LONGEST = 8 * 1024 * 1024, 400_000
#: Lines that are given, and characters of each.
MOST, WIDEST = 20_000, 2000
#: Steps that difflib may take; what would take more is told as one replacement.
_WORK = 20_000_000


def between(before: Side, after: Side, path: bytes, names: tuple[str, str]) -> str:
    """Return the unified diff of a file; empty where it is the same in both.

    Raises
    ------
    PathNotFound
        Neither image has it.
    LimitExceeded
        A file is larger than `LARGEST`.
    """
    old, new = _content(before, path), _content(after, path)
    if isinstance(old, PathNotFound) and isinstance(new, PathNotFound):
        raise new
    one, two = (b"" if isinstance(side, PathNotFound) else _read(side, path) for side in (old, new))
    if one == two and not isinstance(old, PathNotFound) and not isinstance(new, PathNotFound):
        return ""
    labels = [
        "/dev/null" if isinstance(side, PathNotFound) else printable(name)
        for side, name in zip((old, new), names, strict=True)
    ]
    if b"\0" in one or b"\0" in two:
        return f"Binary files {labels[0]} ({len(one)} bytes) and {labels[1]} ({len(two)}) differ"
    lines = [f"--- {labels[0]}", f"+++ {labels[1]}"]
    for number, line in enumerate(unified(_lines(one), _lines(two))):
        if number >= MOST:
            lines.append(f"… cut after {MOST} lines")
            break
        lines.append(line)
    return "\n".join(lines)


def _content(side: Side, path: bytes) -> Content | PathNotFound:
    try:
        return side.layers.at(path, side.merged)
    except PathNotFound as error:
        return error


def _read(content: Content, path: bytes) -> bytes:
    if content.size > LARGEST:
        shown = printable(path.decode("utf-8", "backslashreplace"), 300)
        raise LimitExceeded(
            f"{shown} has {content.size:,} bytes; lines are compared up to {LARGEST:,}",
            what="bytes of a file",
            limit=LARGEST,
            seen=content.size,
            hint="open() both and compare them",
        )
    raw = content.read_at(0, content.size)
    if (count := raw.count(b"\n")) > LONGEST and b"\0" not in raw:
        shown = printable(path.decode("utf-8", "backslashreplace"), 300)
        raise LimitExceeded(
            f"{shown} has {count:,} lines; {LONGEST:,} are compared at most",
            what="lines of a file",
            limit=LONGEST,
            seen=count,
        )
    return raw


def _lines(raw: bytes) -> list[str]:
    """Return lines as they can be shown; the last one tells where it has no end."""
    if not raw:
        return []
    lines = raw.decode("utf-8", "backslashreplace").split("\n")
    if lines[-1]:
        lines[-1] += "\n\\ No newline at end of file"
    else:
        lines.pop()
    return lines


def unified(before: Sequence[str], after: Sequence[str], context: int = 3) -> Iterator[str]:
    """Yield the lines of a unified diff, without its head."""
    for group in _groups(_changes(before, after), context):
        yield from _hunk(before, after, group, context)


#: What is replaced: lines from one to another, by lines from one to another.
Code = tuple[int, int, int, int]


def _changes(before: Sequence[str], after: Sequence[str]) -> list[Code]:
    """Return what is replaced by what, in order.

    Lines that come once in each are anchors, as in patience diff; difflib is asked about what
    lies between them. Its work grows faster than the square of lines that come often: where
    that would take too long, all between two anchors is told as replaced.
    """
    found: list[Code] = []
    room = _WORK
    at = to = 0
    for row, other in [*_anchors(before, after), (len(before), len(after))]:
        old, new = before[at:row], after[to:other]
        work = _work(old, new)
        if old == new:
            pass
        elif work > room:
            found.append((at, row, to, other))
        else:
            room -= work
            matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
            found += [
                (at + a, at + b, to + c, to + d)
                for tag, a, b, c, d in matcher.get_opcodes()
                if tag != "equal"
            ]
        at, to = row, other
    return found


def _anchors(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int]]:
    """Return the longest row of lines that come once in each, in the same order."""
    once, twice = Counter(before), Counter(after)
    places = {line: at for at, line in enumerate(after) if twice[line] == 1 == once[line]}
    pairs = [(at, places[line]) for at, line in enumerate(before) if line in places]
    # The least end of a row of each length, and which pair it is: patience sorting.
    ends: list[int] = []
    last: list[int] = []
    earlier: list[int] = []
    for number, (_, to) in enumerate(pairs):
        length = bisect_left(ends, to)
        earlier.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [to]
        last[length : length + 1] = [number]
    found = []
    number = last[-1] if last else -1
    while number >= 0:
        found.append(pairs[number])
        number = earlier[number]
    return found[::-1]


def _work(before: Sequence[str], after: Sequence[str]) -> int:
    """Return how many steps difflib may take at most."""
    counts = Counter(after)
    pairs = sum(count * counts[line] for line, count in Counter(before).items())
    return len(before) + len(after) + pairs * min(len(before), len(after))


def _groups(codes: Sequence[Code], context: int) -> Iterator[list[Code]]:
    """Yield changes that are near each other together."""
    group: list[Code] = []
    for code in codes:
        if group and code[0] - group[-1][1] > 2 * context:
            yield group
            group = []
        group.append(code)
    if group:
        yield group


def _hunk(
    before: Sequence[str], after: Sequence[str], group: Sequence[Code], context: int
) -> Iterator[str]:
    ahead = min(context, group[0][0])
    behind = min(context, len(before) - group[-1][1])
    start, stop = group[0][0] - ahead, group[-1][1] + behind
    other, end = group[0][2] - ahead, group[-1][3] + behind
    yield f"@@ -{_range(start, stop)} +{_range(other, end)} @@"
    at = start
    for a, b, c, d in group:
        yield from map(_shown, (f" {line}" for line in before[at:a]))
        yield from map(_shown, (f"-{line}" for line in before[a:b]))
        yield from map(_shown, (f"+{line}" for line in after[c:d]))
        at = b
    yield from map(_shown, (f" {line}" for line in before[at:stop]))


def _range(start: int, stop: int) -> str:
    count = stop - start
    if count == 1:
        return str(start + 1)
    return f"{start + 1 if count else start},{count}"


def _shown(line: str) -> str:
    """Return a line without what would reach the terminal as a command; tabs stay."""
    return "\n".join(
        "\t".join(printable(part, WIDEST) for part in one.split("\t")) for one in line.split("\n")
    )
