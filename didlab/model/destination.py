"""Where a save writes: the path that a user gave, checked before anything is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from didlab.blobs.refusals import translated
from didlab.errors import InvalidArgument


def given(path: str | os.PathLike[str]) -> Path:
    """Return the path that was given, ``~`` expanded as pandas does.

    Raises
    ------
    InvalidArgument
        It is empty, or no path of this system.
    """
    text = path if isinstance(path, str | bytes) else _text(path)
    if isinstance(text, bytes):
        raise InvalidArgument("a save writes to a path that is text, not bytes")
    if not text:
        raise InvalidArgument(
            "the path to save to is empty", hint='name a file or folder; "." is the current one'
        )
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        raise InvalidArgument(f"{text} cannot be a path: it has half a character") from None
    if b"\0" in encoded:
        raise InvalidArgument(f"{text} cannot be a path: it has a NUL character")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise InvalidArgument(
            f"{text} cannot be resolved: the home directory is unknown", hint="write it out"
        ) from None


def file(path: str | os.PathLike[str], named: Callable[[Path], str]) -> Path:
    """Return the file to write; in a folder it is called as ``named(folder)`` says.

    Raises
    ------
    InvalidArgument
        It is no path, or a folder that is not there.
    WriteFailed
        The system does not take it, such as a name that is too long.
    """
    target = given(path)
    with translated(target):
        is_folder = target.is_dir()
    if is_folder:
        return target / named(target)
    if os.fspath(path).endswith(("/", os.sep)):
        raise InvalidArgument(f"the directory {os.fspath(path)} does not exist")
    return target


def _text(path: os.PathLike[str]) -> str | bytes:
    try:
        return os.fspath(path)
    except TypeError:
        raise InvalidArgument(
            f"a save writes to a path, not to an object of type {type(path).__name__}"
        ) from None
