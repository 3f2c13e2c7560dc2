"""The symlinks of an extraction: where each may lead, and how that is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from didlab.errors import LimitExceeded, NameCollision
from didlab.files.extract_names import Names, Parts, allowed, shown
from didlab.files.limits import DEFAULT
from didlab.files.table import Entry

#: Bytes of a link's target: Linux has none longer.
_TARGET = 4095
#: Steps that may be taken to see where links lead which climb in their middle.
_STEPS = 2_000_000


class Links:
    """The symlinks of an extraction.

    What is written has one form: it climbs first, no further than the top, and then only
    descends. Such a link cannot lead out, whatever others there are, today or after another
    extraction: it starts in a real folder, and so does each link on its way.

    Parameters
    ----------
    base : tuple of bytes
        The path in the image that lies at the top.
    names : Names
    there : callable
        Tells where a link leads that was on the disk before.
    portable : bool
        Whether targets must be names that Windows can have.
    """

    def __init__(
        self,
        base: Parts,
        names: Names,
        there: Callable[[Parts], bytes | None],
        *,
        portable: bool,
    ) -> None:
        self._base = base
        self._names = names
        self._there = there
        self._portable = portable
        self._steps = 0
        #: Where the links are and where they lead, not straightened yet.
        self.pending: dict[Parts, tuple[Parts | None, Entry]] = {}
        #: Those that lead above the image's root. A kernel stops there; on this disk it goes on.
        self._above: set[Parts] = set()

    def add(self, entry: Entry, parts: Parts) -> None:
        """Note a link that is to be made."""
        if parts in self.pending:
            raise NameCollision(f"{shown(entry.path)} is there twice", where=shown(entry.path))
        self.pending[parts] = (self._aim(entry, parts), entry)

    def why(self, parts: Parts) -> str:
        """Return why a link gets no target."""
        target = shown(self.pending[parts][1].link)
        if parts in self._above:
            return f"it leads above the image's root: {target}"
        return f"it leads to {target}, which is not extracted"

    def _aim(self, entry: Entry, parts: Parts) -> Parts | None:
        """Return the steps from a link's folder; None if they begin with what is not here."""
        link = entry.link
        if not link or b"\0" in link or len(link) > _TARGET:
            return None
        steps = _steps(link)
        for step in steps:
            if step != b"..":
                allowed(step, entry.path, portable=self._portable)
        climb = _climb(steps)
        inside = parts[:-1]
        if link.startswith(b"/"):
            above: Parts = ()  # in an image, above the root is the root
        elif climb <= len(inside):
            return steps
        else:
            above = (*self._base, *inside)
            if climb > len(above):
                self._above.add(parts)
                return None
            above = above[: len(above) - climb]
        full = (*above, *steps[climb:])
        if full[: len(self._base)] != self._base:
            return None
        return (b"..",) * len(inside) + full[len(self._base) :]

    def straightened(self, parts: Parts) -> bytes | None:
        """Return the target that a link gets; None where it would lead out of the top."""
        steps, entry = self.pending[parts]
        if steps is None:
            return None
        climb = _climb(steps)
        if climb < len(parts) and b".." not in steps[climb:]:
            same = not entry.link.startswith(b"/") and _steps(entry.link) == steps
            return entry.link if same else b"/".join(steps) or b"."
        last = len(steps) - steps[::-1].index(b"..")
        at = self._followed(parts, steps[:last])
        if at is None:
            return None
        here = parts[:-1]
        pairs = zip(here, at, strict=False)
        common = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(here), len(at)))
        return b"/".join([b".."] * (len(here) - common) + [*at[common:], *steps[last:]]) or b"."

    def _followed(self, parts: Parts, steps: Parts) -> Parts | None:
        """Return where steps lead from a link's folder, through other links too."""
        at = list(parts[:-1])
        todo = list(steps[::-1])
        hops = 0
        while todo:
            self._count()
            step = todo.pop()
            if step == b"..":
                if not at:
                    todo.append(step)
                    if _climb(todo[::-1]) > len(self._base):
                        self._above.add(parts)
                    return None
                at.pop()
                continue
            at.append(step)
            known = self.pending.get(self._names.used(tuple(at)))
            if known is None:
                target = self._there(tuple(at))
                if target is None:
                    continue
                if target.startswith((b"/", b"\\")):
                    return None  # the user's own, to anywhere
                further: Parts | None = _steps(target)
            else:
                further = known[0]
            hops += 1
            if further is None or hops > DEFAULT.hops:
                return None
            at.pop()
            todo += further[::-1]
        return tuple(at)

    def _count(self) -> None:
        self._steps += 1
        if self._steps > _STEPS:
            raise LimitExceeded(
                "the links lead through too many others",
                what="steps of links",
                limit=_STEPS,
                seen=self._steps,
            )


def _steps(target: bytes) -> Parts:
    return tuple(step for step in target.split(b"/") if step not in (b"", b"."))


def _climb(steps: Sequence[bytes]) -> int:
    return next((n for n, step in enumerate(steps) if step != b".."), len(steps))
