"""Random stacks of layers whose paths collide, as Python values."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence

from hypothesis import strategies as st

from rig.images import Member

#: Members of a layer, in order.
Layer = list[tuple[str, Member]]

_NAMES = ["a", "b", "c"]
_PATHS = st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3).map("/".join)
_TARGETS = st.one_of(
    _PATHS,
    _PATHS.map("/{}".format),
    _PATHS.map("../{}".format),
    st.sampled_from(["/", ".", "..", "../../../a", "a/../b", "missing/x"]),
)
_MODES = st.sampled_from([0o755, 0o700, 0o4755, 0o1777, 0o2710])
#: Long ago, to tell these times from those that an unpacker leaves behind.
LATEST = 1_000_000_000
_TIMES = st.integers(0, LATEST)


@st.composite
def _member(draw: st.DrawFn) -> tuple[str, Member]:
    entry = tarfile.TarInfo()
    entry.mode, entry.mtime = draw(_MODES), draw(_TIMES)
    entry.uid, entry.gid = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    kind = draw(st.sampled_from("ffddddddssh"))
    name = draw(_PATHS)
    if kind == "f":
        return name, (entry, draw(st.binary(max_size=3)))
    if kind == "d":
        entry.type = tarfile.DIRTYPE
    elif kind == "s":
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, draw(_TARGETS), 0o777
    else:
        entry.type, entry.linkname = tarfile.LNKTYPE, draw(_PATHS)
    return name, entry


@st.composite
def _layer(draw: st.DrawFn, links_before: set[str]) -> Layer:
    entries = draw(st.lists(_member(), max_size=6))
    stated = {name for name, _ in entries}
    # umoci looks whiteouts up when it meets them, the specification says they are about lower
    # layers: whiteouts come first here, and none lies behind a link that its own layer replaces.
    whiteouts = []
    for path, opaque in sorted(draw(st.sets(st.tuples(_PATHS, st.booleans()), max_size=2))):
        parent, _, name = path.rpartition("/")
        folder = path if opaque else parent
        steps = folder.split("/")
        prefixes = {"/".join(steps[:count]) for count in range(1, len(steps) + 1)}
        if links_before and prefixes & stated:
            continue
        mark = ".wh..wh..opq" if opaque else f".wh.{name}"
        whiteouts.append((f"{folder}/{mark}".lstrip("/"), b""))
    return [*whiteouts, *entries]


@st.composite
def stacks(draw: st.DrawFn) -> list[Layer]:
    """One to four layers: files, directories, links of both kinds, whiteouts, opaque ones."""
    layers: list[Layer] = []
    links: set[str] = set()
    for _ in range(draw(st.integers(1, 4))):
        layers.append(draw(_layer(links)))
        links |= {name for name, entry in layers[-1] if is_link(entry)}
    return layers


def is_link(member: Member) -> bool:
    return isinstance(member, tarfile.TarInfo) and member.type in (tarfile.SYMTYPE, tarfile.LNKTYPE)


def describe(layers: Sequence[Layer]) -> str:
    """A stack for people."""
    lines = []
    for number, layer in enumerate(layers):
        for name, member in layer:
            entry = member[0] if isinstance(member, tuple) else member
            what = (
                "" if not isinstance(entry, tarfile.TarInfo) else f"{entry.type!r} {entry.linkname}"
            )
            lines.append(f"{number}: {name} {what}")
    return "\n".join(lines)
