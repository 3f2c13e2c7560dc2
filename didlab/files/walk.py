"""Walks through a tar that streams by: its entries in a table, its contents let go."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from didlab.errors import DidlabError, LimitExceeded, TarInvalid, printable
from didlab.files import table, tar_header, tar_pax, tar_sparse
from didlab.files.limits import DEFAULT, Limits
from didlab.files.looking import Encoded, View
from didlab.files.looks import Look
from didlab.files.table import Table
from didlab.files.tar_batch import Batch
from didlab.files.tar_header import BLOCK, INT64, ZERO, blocks, invalid, shown
from didlab.files.tar_member import Ahead, Member, member
from didlab.files.tar_scan import Scan

#: Pieces from this size on are scanned as a whole.
_WORTH = 32 * 1024
_WARNINGS = 100
#: Old GNU's sparse map in the header and in blocks that follow: its end, then the flag for more.
_MAP, _MORE, _REAL_SIZE = slice(386, 482), 482, slice(483, 495)
_MAP_END, _EXTENDED = 504, 504


class Walker:
    """A strict reader of tar archives, for pieces of any size.

    Parameters
    ----------
    limits : Limits
        What the archive may cost.
    capture : callable, optional
        Asked for each regular file, with path and size (in any order); where it says True, the
        content is kept in ``captured``. Of a path that comes twice, the last one is kept.
    batch : bool
        Whether usual headers are read many at once; the outcome is the same.
    looks : sequence of Look
        What learns from the contents of the files that it wants, one file at a time.

    Attributes
    ----------
    captured : dict
        Contents by path, complete after `finish`.
    facts : dict
        What was learned, as JSON, by the look's name and the path; there after `finish`. See
        `didlab.files.looking.Looking.finish`.
    warnings : list of str
        What is odd about the archive but does not keep it from being read.
    """

    def __init__(
        self,
        limits: Limits = DEFAULT,
        capture: Callable[[bytes, int], bool] | None = None,
        *,
        batch: bool = True,
        looks: Sequence[Look] = (),
    ) -> None:
        self.warnings: list[str] = []
        self._limits = limits
        self._batch = Batch(limits, capture, self._warn, looks)
        self._fast = batch
        self._at = 0
        self._entries = self._total = 0
        # Content and padding that are still to come, and where content goes.
        self._content = self._padding = 0
        self._sink: bytearray | None = None
        self._view: View | None = None
        self._wanted = 0
        self._member: Member | None = None
        self._offset = 0
        # What is being put together: so many bytes, then this is done with them.
        self._held = bytearray()
        self._need = BLOCK
        self._then: Callable[[bytes, int], None] = self._header
        self._extended: tuple[bytes, int, int] = b"", 0, 0
        self._regions: tar_sparse.Regions = []
        self._map: tar_sparse.MapReader | None = None
        self._ahead: Ahead | None = None
        self._global_mtime = b""
        # A zero block was seen; the archive is over; so is what follows it, as was said.
        self._zero = self._over = self._trailing = False

    @property
    def captured(self) -> dict[bytes, bytes]:
        """Contents by path."""
        return self._batch.captured

    @property
    def facts(self) -> dict[str, dict[bytes, Encoded]]:
        """What was learned."""
        return self._batch.facts

    def feed(self, data: bytes) -> None:
        """Read on.

        Raises
        ------
        TarInvalid
            When this is no tar archive.
        LimitExceeded
            When it would cost more than the limits.
        """
        try:
            self._feed(bytes(data))
        except DidlabError:
            # An entry that waits in the batch may have been broken before this one.
            self._batch.flush()
            raise
        self._at += len(data)

    def flush(self) -> None:
        """Deliver what was captured so far: else that waits for many entries together."""
        self._batch.flush()

    def finish(self) -> Table:
        """Say that the stream ended; the entries in the archive's order."""
        if self._content or self._held or self._ahead or self._then != self._header:
            self._cut()
        elif not self._at:
            self._warn("the tar is empty: not even its end is there")
        elif not self._over:
            self._warn("the tar does not end as it should, with two blocks of zeros")
        return self._batch.finish()

    def _cut(self) -> None:
        if self._then == self._header and not self._content and not self._ahead:
            if not any(self._held):
                self._warn("the tar ends within a block of zeros")
                return
            what = "within a header"
        elif self._content and self._member is not None:
            what = f"within {shown(self._member.path)}, {self._content} bytes before its end"
        else:
            what = "before the entry that its last header announces"
        self._batch.flush()
        raise TarInvalid(f"the tar ends at byte {self._at} {what}", where=str(self._at))

    def _warn(self, text: str) -> None:
        if len(self.warnings) < _WARNINGS:
            self.warnings.append(printable(text, 500))
        elif len(self.warnings) == _WARNINGS:
            self.warnings.append("and more")

    def _feed(self, data: bytes) -> None:
        position, end = 0, len(data)
        scan: Scan | None = None
        while position < end:
            if self._content:
                position += self._pass(data, position)
                continue
            if self._padding:
                step = min(self._padding, end - position)
                self._padding -= step
                position += step
                continue
            if self._over:
                self._after(data, position)
                break
            if self._usual and (scan is not None or end - position >= _WORTH):
                if scan is None:
                    scan = Scan(data, position, self._limits)
                run = scan.run(position)
                if run is not None:
                    self._count(len(run.starts), int(run.sizes.sum()))
                    self._batch.add(run, data, self._at)
                    position = run.stop
                    continue
            missing = self._need - len(self._held)
            piece = data[position : position + missing]
            position += len(piece)
            if self._held or len(piece) < missing:
                self._held += piece
                if len(piece) < missing:
                    break
                piece = bytes(self._held)
                self._held.clear()
            self._then(piece, self._at + position - self._need)

    @property
    def _usual(self) -> bool:
        """Whether a header comes next that nothing before says anything about."""
        return (
            self._fast
            and not self._held
            and not self._zero
            and self._ahead is None
            and self._then == self._header
        )

    def _after(self, data: bytes, position: int) -> None:
        if not self._trailing and data.count(0, position) != len(data) - position:
            self._trailing = True
            self._warn("something follows the end of the tar: it is ignored")

    def _count(self, entries: int, size: int) -> None:
        self._entries += entries
        if self._entries > self._limits.entries:
            raise LimitExceeded(
                f"the tar has more than {self._limits.entries} entries",
                what="entries",
                limit=self._limits.entries,
                seen=self._entries,
            )
        self._total += size
        if self._total > INT64:
            raise invalid("its files together are larger than any file system", self._at)

    # Headers

    def _expect(self, size: int, then: Callable[[bytes, int], None]) -> None:
        self._need, self._then = size, then

    def _header(self, block: bytes, at: int) -> None:
        if block == ZERO or self._zero:
            self._end(block, at)
            return
        if block[156:157] in (b"x", b"X", b"g", b"L", b"K"):
            self._extend_header(block, at)
            return
        header = tar_header.parse(block, at)
        ahead, self._ahead = self._ahead or Ahead(), None
        made = member(header, ahead, at, self._limits, self._global_mtime, self._warn)
        self._member = made
        self._offset = at + BLOCK
        self._count(1, 0)
        if made.sparse == "S":
            made.size = tar_header.size_of(block[_REAL_SIZE], at)
            self._regions = tar_sparse.old_regions(block[_MAP], at)
            if block[_MORE]:
                self._expect(BLOCK, self._extend)
            else:
                self._begin(self._regions)
        elif made.sparse == "1":
            self._map = tar_sparse.MapReader(at, self._limits)
            if made.stored < BLOCK:
                raise invalid("a sparse file without its map", at)
            self._expect(BLOCK, self._read_map)
        elif made.sparse:
            self._begin(tar_sparse.listed_regions(ahead.pax or {}, at, self._limits))
        else:
            self._begin(None)

    def _extend_header(self, block: bytes, at: int) -> None:
        """Expect the body of a header about the entry that follows; only its size matters."""
        size = tar_header.extended(block, at)
        if size > self._limits.header:
            raise LimitExceeded(
                f"a header of {size} bytes at byte {at} of the tar",
                what="header",
                limit=self._limits.header,
                seen=size,
            )
        self._extended = block[156:157], size, at
        if size:
            self._expect(blocks(size) * BLOCK, self._body)
        else:
            self._body(b"", at)

    def _end(self, block: bytes, at: int) -> None:
        if self._ahead is not None:
            raise invalid("the archive ends where a header announced an entry", at)
        if self._zero:
            self._over = True
            if block != ZERO:
                # What GNU tar does; Go's reader stops with an error here.
                self._warn(f"one block of zeros before byte {at}, not two: the tar ends there")
                self._trailing = True
        self._zero = True

    def _body(self, data: bytes, at: int) -> None:
        flag, size, where = self._extended
        self._expect(BLOCK, self._header)
        body = data[:size]
        if flag == b"g":
            self._globals(tar_pax.records(body, where, self._limits), where)
            return
        if self._ahead is None:
            self._ahead = Ahead()
        ahead = self._ahead
        name = {b"L": "name", b"K": "link"}.get(flag, "pax")
        if getattr(ahead, name) is not None:
            raise invalid("the same header twice for one entry", where)
        if name == "pax":
            ahead.pax = tar_pax.records(body, where, self._limits)
        else:
            setattr(ahead, name, body.split(b"\0", 1)[0])

    def _globals(self, pax: dict[bytes, bytes], at: int) -> None:
        self._global_mtime = pax.pop(b"mtime", self._global_mtime)
        if self._global_mtime:
            self._fast = False
        ignored = sorted(set(pax) & {b"path", b"linkpath", b"size", b"uid", b"gid"})
        if ignored:
            self._warn(
                f"a header at byte {at} would set {shown(b', '.join(ignored))} of all entries: "
                "it is ignored"
            )

    # Content

    def _extend(self, block: bytes, at: int) -> None:
        self._regions += tar_sparse.old_regions(block[:_MAP_END], at)
        if len(self._regions) > self._limits.regions:
            tar_sparse.checked(self._regions, INT64, INT64, at, self._limits)
        self._offset = at + BLOCK
        if not block[_EXTENDED]:
            self._begin(self._regions)

    def _read_map(self, block: bytes, at: int) -> None:
        assert self._map is not None
        assert self._member is not None
        regions = self._map.block(block)
        self._offset = at + BLOCK
        if regions is not None:
            self._member.stored -= self._map.read
            self._map = None
            self._begin(regions)
        elif self._map.read + BLOCK > self._member.stored:
            raise invalid("the map of a sparse file is longer than its content", at)

    def _begin(self, regions: tar_sparse.Regions | None) -> None:
        made = self._member
        assert made is not None
        self._expect(BLOCK, self._header)
        at = self._offset
        self._wanted = made.stored
        if regions is not None:
            regions = tar_sparse.checked(regions, made.size, made.stored, at, self._limits)
            made.extra.update(sparse=regions, stored=made.stored)
            self._wanted = sum(length for _, length in regions)
        self._count(0, made.size)
        self._batch.alone(made.entry(at))
        self._content, self._padding = made.stored, -made.stored % BLOCK
        if made.type == table.FILE and self._batch.wants(made.path, made.size):
            self._sink = bytearray()
        if made.type == table.FILE and self._content:
            self._view = self._batch.view(made.path, at, made.size, regions)
        if not self._content:
            self._deliver()

    def _pass(self, data: bytes, position: int) -> int:
        step = min(self._content, len(data) - position)
        self._content -= step
        if self._sink is not None:
            room = self._wanted - len(self._sink)
            self._sink += data[position : position + min(step, room)]
        if self._view is not None and not self._view.feed(data[position : position + step]):
            self._view.finish()
            self._view = None
        if not self._content:
            self._deliver()
        return step

    def _deliver(self) -> None:
        made, sink = self._member, self._sink
        if made is not None and sink is not None:
            if "sparse" in made.extra:
                sink = tar_sparse.filled(sink, made.extra["sparse"], made.size)
            self._batch.keep(made.path, self._offset, bytes(sink))
        self._sink = None
        if self._view is not None:
            self._view.finish()
            self._view = None
