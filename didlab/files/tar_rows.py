"""Rows of a table out of many tar headers at once."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from didlab.files import table
from didlab.files.limits import Limits
from didlab.files.strings import Strings
from didlab.files.table import NO_OFFSET, Entry, Table
from didlab.files.tar_header import BLOCK, absolute, blocks, parse, within
from didlab.files.tar_member import TYPES, Ahead, member
from didlab.files.tar_pax import microseconds, records
from didlab.files.tar_scan import octal

if TYPE_CHECKING:
    from numpy import bool_, int64, uint8
    from numpy.typing import NDArray

_NUL = b"\0"
#: Bytes of a PAX body that are read in columns, and of one record in it.
_BODY, _RECORD = 104, 40
#: PAX records that need nobody's care.
_USUAL = frozenset([b"path", b"linkpath", b"mtime", b"atime", b"ctime"])


class Heads(NamedTuple):
    """Headers in the archive's order; the offsets are the tar's."""

    heads: NDArray[uint8]
    offsets: NDArray[int64]
    sizes: NDArray[int64]
    bodies: dict[int, bytes]


def rows(
    batch: Heads,
    others: Sequence[tuple[int, Entry]],
    limits: Limits,
    warn: Callable[[str], None],
) -> Table:
    """Make the rows; what is not usual about an entry is left to `tar_member`.

    ``others`` are rows that were read alone, with how many of the batch come before each.
    """
    import numpy as np

    heads = batch.heads
    flags = heads[:, 156]
    modes, odd = _column(heads, 100, 8)
    uids, bad = _column(heads, 108, 8)
    odd |= bad
    gids, bad = _column(heads, 116, 8)
    odd |= bad
    mtimes, bad = _column(heads, 136, 12)
    odd |= bad
    mtimes *= 1_000_000
    odd |= (flags == ord("3")) | (flags == ord("4"))
    names = _texts(heads, 0, 100)
    prefixed = (heads[:, 345] != 0) & (heads[:, 262] == 0)
    odd |= prefixed & (heads[:, 508] != 0)
    if prefixed.any():
        chosen = np.flatnonzero(prefixed)
        prefixes = _texts(heads.take(chosen, axis=0), 345, 500)
        for row, prefix in zip(chosen.tolist(), prefixes, strict=True):
            names[row] = prefix + b"/" + names[row]
    longer = _pax(batch, names, mtimes, odd, limits)
    types = _types(flags)
    slashed = np.fromiter((name[-1:] == b"/" for name in names), bool, len(names))
    types[slashed & (types == table.FILE)] = table.DIR
    links = [b""] * len(names)
    linked = np.flatnonzero((types == table.SYMLINK) | (types == table.HARDLINK))
    targets = _texts(heads.take(linked, axis=0), 157, 257) if len(linked) else []
    hard = (types == table.HARDLINK).tolist()
    for row, short in zip(linked.tolist(), targets, strict=True):
        target = longer.get(row) or short
        links[row] = absolute(target) if hard[row] else target
    paths = absolutes(names)
    files = types == table.FILE
    columns: list[Any] = [
        paths,
        bytearray(types.tobytes()),
        array("H", (modes & 0o7777).astype(np.uint16).tobytes()),
        array("q", uids.tobytes()),
        array("q", gids.tobytes()),
        array("q", np.where(files, batch.sizes, 0).tobytes()),
        array("q", mtimes.tobytes()),
        links,
        array("q", np.where(files, batch.offsets, NO_OFFSET).tobytes()),
    ]
    extras: dict[int, dict[str, Any]] = {}
    for row in np.flatnonzero(odd).tolist():
        entry = _alone(batch, row, limits, warn)
        for column, value in zip(columns, entry, strict=False):
            column[row] = value
        if entry.extra:
            extras[row] = entry.extra
    for texts in (paths, links):
        if max(map(len, texts)) > min(limits.path, limits.components):
            for text, offset in zip(texts, batch.offsets.tolist(), strict=True):
                within(text, limits, offset - BLOCK)
    if others:
        before = [row for row, _ in others]
        extras = {row + bisect_right(before, row): extra for row, extra in extras.items()}
        for count, (row, entry) in enumerate(others):
            for column, value in zip(columns, entry, strict=False):
                column.insert(row + count, value)
            if entry.extra:
                extras[row + count] = entry.extra
    columns[1] = bytes(columns[1])
    columns[0], columns[7] = Strings.of(paths), Strings.of(links)
    columns.append(extras)
    return Table(*columns)


def _pax(
    batch: Heads,
    names: list[bytes],
    mtimes: NDArray[int64],
    odd: NDArray[bool_],
    limits: Limits,
) -> dict[int, bytes]:
    """Apply the PAX headers, but for unusual ones, which become odd; the long links by row."""
    import numpy as np

    if not batch.bodies:
        return {}
    numbers = np.fromiter(batch.bodies, np.int64, len(batch.bodies))
    times, plain = pax_times(list(batch.bodies.values()), limits)
    known = plain & (times != table.NO_TIME)
    mtimes[numbers[known]] = times[known]
    longer: dict[int, bytes] = {}
    for row in numbers[~plain].tolist():
        pax = records(batch.bodies[row], _pax_offset(batch, row), limits)
        time = (int(mtimes[row]), False)
        if pax.get(b"mtime"):
            time = microseconds(pax[b"mtime"]) or (0, True)
        if time[1] or not _USUAL.issuperset(pax):
            odd[row] = True
            continue
        mtimes[row] = time[0]
        names[row] = pax.get(b"path") or names[row]
        longer[row] = pax.get(b"linkpath", b"")
    return longer


def _pax_offset(batch: Heads, row: int) -> int:
    """Return where the PAX header of a row lies: itself, its body, the header, the content."""
    return int(batch.offsets[row]) - (2 + blocks(len(batch.bodies[row]))) * BLOCK


def _alone(batch: Heads, row: int, limits: Limits, warn: Callable[[str], None]) -> Entry:
    offset = int(batch.offsets[row])
    body = batch.bodies.get(row)
    pax = None if body is None else records(body, _pax_offset(batch, row), limits)
    header = parse(batch.heads[row].tobytes(), offset - BLOCK, trusted=True)
    return member(header, Ahead(pax), offset - BLOCK, limits, warn=warn).entry(offset)


def _column(heads: NDArray[uint8], start: int, width: int) -> tuple[NDArray[int64], NDArray[bool_]]:
    value, usual = octal(heads[:, start : start + width])
    return value, ~usual


def _types(flags: NDArray[uint8]) -> NDArray[uint8]:
    import numpy as np

    types = np.full(256, table.FILE, np.uint8)
    for flag, kind in TYPES.items():
        types[flag[0]] = kind
    return types[flags]


def _texts(heads: NDArray[uint8], start: int, stop: int) -> list[bytes]:
    """Return texts up to their first NUL."""
    import numpy as np

    field = np.ascontiguousarray(heads[:, start:stop]).view(f"S{stop - start}").ravel()
    texts: list[bytes] = field.tolist()
    if b"".join(texts).find(_NUL) >= 0:
        return [text.split(_NUL, 1)[0] for text in texts]
    return texts


def absolutes(names: Sequence[bytes]) -> list[bytes]:
    """Do what `absolute` does, for names without NUL, in one go where they are plain."""
    blob = b"\0/" + b"\0/".join(names) + _NUL
    if b"\0//" in blob:  # stored with the slash: all of them, as a rule
        blob = blob.replace(b"\0//", b"\0/")
    # Each look at the whole costs: without a dot behind a slash, two are spared.
    dotted = b"/." in blob
    if dotted:
        blob = blob.replace(b"\0/./", b"\0/")
    if b"//" in blob or (dotted and (b"/./" in blob or b"/.\0" in blob)):
        return [absolute(name) for name in names]
    blob = blob.replace(b"/\0", _NUL)
    return [path or b"/" for path in blob[1:-1].split(_NUL)]


def pax_times(bodies: list[bytes], limits: Limits) -> tuple[NDArray[int64], NDArray[bool_]]:
    """Read PAX bodies that have nothing but usual times; say which are such.

    A record is ``30 mtime=1700000000.123456789`` and a line feed: ten digits of seconds, then
    as many of a fraction as there are. At most three records: mtime, atime, ctime.
    """
    import numpy as np

    count = len(bodies)
    times = np.full(count, table.NO_TIME, np.int64)
    lengths = np.fromiter(map(len, bodies), np.int64, count)
    good = (lengths <= _BODY) & (lengths > 0) & (limits.records >= 3)
    # NULs at the end of a body are lost here: then its records do not end at its length.
    room = _BODY + _RECORD
    matrix = np.array([body[:_BODY] for body in bodies], f"S{room}").view(np.uint8)
    flat = np.ascontiguousarray(matrix)
    starts = np.zeros(count, np.int64)
    active = np.flatnonzero(good)
    for _ in range(3):
        if not len(active):
            break
        index = (active * room + starts[active])[:, None] + np.arange(_RECORD)
        usual, ends, value, mtime = _time_records(flat.take(index))
        good[active[~usual]] = False
        times[active[mtime & usual]] = value[mtime & usual]
        starts[active] += ends
        active = active[usual & (starts[active] < lengths[active])]
    good &= starts == lengths
    return times, good


def _time_records(
    record: NDArray[uint8],
) -> tuple[NDArray[bool_], NDArray[int64], NDArray[int64], NDArray[bool_]]:
    import numpy as np

    digits = record - np.uint8(48)
    number = digits < 10
    ends = digits[:, 0].astype(np.int64) * 10 + digits[:, 1]
    usual = number[:, 0] & (digits[:, 0] > 0) & number[:, 1] & (ends <= _RECORD) & (ends >= 20)
    ends = np.where(usual, ends, _RECORD)
    key = record[:, 3]
    mtime = key == ord("m")
    usual &= (record[:, 2] == ord(" ")) & (mtime | (key == ord("a")) | (key == ord("c")))
    usual &= (record[:, 4:9] == np.frombuffer(b"time=", np.uint8)).all(axis=1)
    usual &= number[:, 9:19].all(axis=1)
    usual &= record[np.arange(len(record)), ends - 1] == ord("\n")
    usual &= (ends == 20) | (record[:, 19] == ord("."))
    # Columns of the fraction, up to the line feed.
    fraction = np.arange(20, _RECORD) < (ends - 1)[:, None]
    usual &= (number[:, 20:] | ~fraction).all(axis=1)
    seconds = digits[:, 9:19] @ (10.0 ** np.arange(9, -1, -1))
    parts = np.where(fraction[:, :6], digits[:, 20:26], 0) @ (10.0 ** np.arange(5, -1, -1))
    return usual, ends, seconds.astype(np.int64) * 1_000_000 + parts.astype(np.int64), mtime
