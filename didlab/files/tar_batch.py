"""What a walk gathers: rows in the archive's order, contents that were asked for, and facts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from didlab.errors import LimitExceeded
from didlab.files import table
from didlab.files.limits import Limits
from didlab.files.looking import Encoded, Looking, View
from didlab.files.looks import Look
from didlab.files.picking import picked
from didlab.files.table import Entry, Table
from didlab.files.tar_header import shown
from didlab.files.tar_rows import Heads, rows
from didlab.files.tar_scan import Run

#: Rows that wait to be made at once: enough for numpy, few enough for the processor's cache.
_ROWS = 2048
#: Bytes of pieces that wait for their files to be named.
_PIECES = 4 * 1024**2
#: Bytes of paths, links and attributes that all entries together may have.
_TEXT = 1024**3


class Batch:
    """Rows on their way into a table: runs of usual ones, others between them."""

    def __init__(
        self,
        limits: Limits,
        capture: Callable[[bytes, int], bool] | None,
        warn: Callable[[str], None],
        looks: Sequence[Look] = (),
    ) -> None:
        self.captured: dict[bytes, bytes] = {}
        self.facts: dict[str, dict[bytes, Encoded]] = {}
        self._looking = Looking(looks)
        self._limits = limits
        self._capture = capture
        self._warn = warn
        self._parts: list[Table] = []
        self._runs: list[tuple[Run, bytes, int]] = []
        self._others: list[tuple[int, Entry]] = []
        self._count = self._waiting = self._text = 0
        self._places: dict[bytes, int] = {}

    def add(self, run: Run, data: bytes, at: int) -> None:
        """Take usual entries of a piece that lies at ``at`` in the tar."""
        if self._capture is None and not self._looking.looks:
            data = b""
        # Of one piece come many runs: it is counted once.
        elif not self._runs or self._runs[-1][1] is not data:
            self._waiting += len(data)
        self._runs.append((run, data, at))
        self._count += len(run.starts)
        if self._count >= _ROWS or self._waiting >= _PIECES:
            self.flush()

    def alone(self, entry: Entry) -> None:
        """Take an entry that was read by itself."""
        extra = entry.extra or {}
        texts = sum(map(len, extra.get("xattrs", {}).values()))
        self._weigh(len(entry.path) + len(entry.link) + texts + 16 * len(extra.get("sparse", ())))
        self._others.append((self._count, entry))
        if len(self._others) >= _ROWS:
            self.flush()

    def wants(self, path: bytes, size: int) -> bool:
        """Ask whether a file's content is to be kept."""
        if self._capture is None or not self._capture(path, size):
            return False
        if size > self._limits.whole_file:
            raise LimitExceeded(
                f"{shown(path)} has {size} bytes: too many to keep in memory",
                what="whole file",
                limit=self._limits.whole_file,
                seen=size,
            )
        return True

    def view(
        self, path: bytes, offset: int, size: int, regions: list[list[int]] | None
    ) -> View | None:
        """Return what learns from a file's content; None where nothing would."""
        return self._looking.view(path, offset, size, regions) if self._looking.looks else None

    def keep(self, path: bytes, offset: int, content: bytes) -> None:
        """Keep a content that begins at an offset, unless a later one is there."""
        if offset >= self._places.get(path, 0):
            self.captured[path] = content
            self._places[path] = offset

    def flush(self) -> None:
        """Make rows of what waits."""
        runs, others = self._runs, self._others
        self._runs, self._others = [], []
        self._count = self._waiting = 0
        if not runs:
            if others:
                self._parts.append(Table.of([entry for _, entry in others]))
            return
        heads = _together(runs)
        part = rows(heads, others, self._limits, self._warn)
        alone = sum(len(entry.path) + len(entry.link) for _, entry in others)
        self._weigh(len(part.paths.blob) + len(part.links.blob) - alone)
        self._parts.append(part)
        alone_rows = [row + count for count, (row, _) in enumerate(others)]
        if self._capture is not None:
            self._gather(part, runs, set(alone_rows))
        if self._looking.looks:
            self._look(part, runs, alone_rows)

    def finish(self) -> Table:
        """Make the table; of a path that came again, unwanted, nothing stays captured."""
        self.flush()
        known = self._looking.paths
        if self.captured or known:
            self._only_last(known)
        made = Table.joined(self._parts) if self._parts else Table.of([])
        self.facts = self._looking.finish(made)
        return made

    def _only_last(self, known: set[bytes]) -> None:
        """Drop contents that are not those of the last file of their path: that one holds.

        Of ``known`` paths facts are dropped unless they are of the last entry, whatever it is.
        """
        last: dict[bytes, tuple[int, int]] = {}
        ends: dict[bytes, int] = {}
        wanted = known | self.captured.keys()
        for part in self._parts:
            for row, path in enumerate(part.paths):
                if path in wanted:
                    # A link to itself changes nothing.
                    if path in known and part.links[row] != path:
                        ends[path] = part.offsets[row]
                    if path in self.captured and part.types[row] == table.FILE:
                        last[path] = part.sizes[row], part.offsets[row]
        self._looking.only_last(ends)
        for path, (size, offset) in last.items():
            # What is empty lies nowhere.
            if size != len(self.captured[path]) or (size and offset != self._places[path]):
                del self.captured[path]

    def _weigh(self, more: int) -> None:
        self._text += more
        if self._text > _TEXT:
            raise LimitExceeded(
                f"the entries of the tar have more than {_TEXT} bytes of names and attributes",
                what="names and attributes",
                limit=_TEXT,
                seen=self._text,
            )

    def _gather(self, part: Table, runs: list[tuple[Run, bytes, int]], others: set[int]) -> None:
        maybe = getattr(self._capture, "maybe", None)
        if maybe is not None and not maybe(part.paths.blob):
            return
        entries = enumerate(zip(part.types, part.paths, part.sizes, strict=True))
        own = (entry for row, entry in entries if row not in others)
        for run, data, at in runs:
            # The starts come first: zip() must not take an entry that is the next run's.
            for start, (kind, path, size) in zip(run.starts.tolist(), own, strict=False):
                if kind == table.FILE and self.wants(path, size):
                    self.keep(path, at + start, data[start : start + size])

    def _look(self, part: Table, runs: list[tuple[Run, bytes, int]], others: list[int]) -> None:
        """Let looks learn from the files of runs, whose contents are at hand."""
        rows = {row for look in self._looking.looks for row in picked(look, part)}
        if not rows:
            return
        rows.difference_update(others)
        firsts = list(accumulate((len(run.starts) for run, _, _ in runs), initial=0))
        for row in sorted(rows):
            # The number among those of runs, then which run has it.
            number = row - bisect_right(others, row)
            place = bisect_right(firsts, number) - 1
            run, data, at = runs[place]
            start, size = int(run.starts[number - firsts[place]]), part.sizes[row]
            view = self._looking.view(part.paths[row], at + start, size)
            if view is not None:
                view.feed(data[start : start + size])
                view.finish()


def _together(runs: list[tuple[Run, bytes, int]]) -> Heads:
    import numpy as np

    bodies: dict[int, bytes] = {}
    before = 0
    for run, _, _ in runs:
        for row, body in run.bodies.items():
            bodies[before + row] = body
        before += len(run.starts)
    return Heads(
        np.concatenate([run.heads for run, _, _ in runs]),
        np.concatenate([run.starts + at for run, _, at in runs]),
        np.concatenate([run.sizes for run, _, _ in runs]),
        bodies,
    )
