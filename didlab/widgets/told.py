"""Errors in one line, for a widget."""

from __future__ import annotations

from didlab.errors import DidlabError, printable


def line(error: BaseException) -> str:
    """Return what happened and what to do about it; control characters as escapes.

    >>> from didlab.errors import NotFound
    >>> line(NotFound("there is no tag 9", hint="tags() lists them"))
    'there is no tag 9: tags() lists them'
    """
    if isinstance(error, DidlabError):
        hint = error.hint
        return printable(f"{error.message}: {hint}" if hint else error.message, 600)
    if isinstance(error, OSError) and error.strerror:
        return printable(f"{error.strerror}: {error.filename or ''}".rstrip(": "), 600)
    return printable(f"{type(error).__name__}: {error}".rstrip(": "), 600)
