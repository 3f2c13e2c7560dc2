"""What ``--fail-on`` does: a command that is done, and found what was asked for, says so."""

from __future__ import annotations

from didlab.cli import messages

__all__ = ["FOUND", "status"]

#: Neither 1, which means that nothing is known, nor 2, which is argparse's.
FOUND = 3


def status(count: int, what: str, fail_on: object) -> int:
    """Return 0 where nothing was found; else say on stderr what was, and return `FOUND`.

    Parameters
    ----------
    count : int
    what : str
        One of them; its first word gets an ``s`` where there are several.
    fail_on : object
        What was asked for, as the user wrote it.
    """
    if not count:
        return 0
    first, space, rest = what.partition(" ")
    several = what if count == 1 else f"{first}s{space}{rest}"
    messages.say(f"{count} {several} (--fail-on {fail_on})")
    return FOUND
