"""Checks: plain functions over one image, with a name, and what they need of its layers."""

from __future__ import annotations

import hashlib
import re
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from didlab.errors import InvalidArgument, printable
from didlab.files import paths
from didlab.files.looks import Look

if TYPE_CHECKING:
    from didlab.audits.fleet.view import ImageView

Function = Callable[["ImageView"], Any]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
#: How deep functions in functions are looked into for a key.
_DEEP = 8


@dataclass(frozen=True)
class Check:
    """A check. Made by `check`; calling it calls its function.

    Attributes
    ----------
    name : str
        Its key in the report.
    function : callable
        Takes an `ImageView`.
    reads : tuple of str
        Globs of files whose content is kept while layers stream by.
    layers : bool
        Whether it looks into layers.
    version : str
        Changes when results that were kept no longer hold.
    schema : str or None
        The frame that a built-in check returns.
    looks : callable
        Returns what else is to be learned of layers.
    """

    name: str
    function: Function
    reads: tuple[str, ...] = ()
    layers: bool = True
    version: str = ""
    schema: str | None = None
    looks: Callable[[], tuple[Look, ...]] = field(default=tuple, repr=False)

    def __call__(self, image: ImageView) -> Any:
        """Return what the function says of an image."""
        return self.function(image)

    @property
    def key(self) -> str:
        """What results are kept under: another one as soon as the function's code is another."""
        if self.schema is not None or self.version:
            return f"{self.name} {self.version}"
        mark = hashlib.sha256(repr((self.reads, self.layers)).encode())
        mark.update(repr(sys.version_info[:2]).encode())
        for part in _code(self.function, _DEEP):
            mark.update(part + b"\0")
        return f"{self.name} {mark.hexdigest()[:16]}"


@overload
def check(function: Function, /) -> Check: ...
@overload
def check(
    *,
    name: str | None = None,
    reads: str | tuple[str, ...] | list[str] = (),
    layers: bool | None = None,
    version: str = "",
) -> Callable[[Function], Check]: ...
def check(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    reads: str | tuple[str, ...] | list[str] = (),
    layers: bool | None = None,
    version: str = "",
) -> Check | Callable[[Function], Check]:
    """Make a check for `didlab.audit` of a function: ``@didlab.check``, with or without options.

    The function takes an image (see `ImageView`) and returns a DataFrame, a list or generator of
    dicts or values, one dict, one value, or None for nothing to tell. What it raises becomes the
    ``error`` of this image and this check.

    Parameters
    ----------
    name : str, optional
        Its key in the report; the function's name if not given.
    reads : str or sequence of str, optional
        Globs of files (``"/etc/nginx/**"``) that it reads: their content, up to 1 MiB each, is
        kept while layers stream by, so that ``image.read(path)`` costs nothing later.
    layers : bool, optional
        False of a check that asks for manifest and config alone: no layer is read for it.
    version : str, optional
        Results of a run that is resumed hold as long as this stays the same; if not given, as
        long as the function's own code does.

    Returns
    -------
    Check
        Callable like the function.

    Raises
    ------
    InvalidArgument

    Examples
    --------
    >>> @check(layers=False)
    ... def root(image):
    ...     return image.config().user in ("", "0", "root")
    >>> root.name, root.layers
    ('root', False)
    """

    def make(function: Function) -> Check:
        return make_check(function, name=name, reads=reads, layers=layers, version=version)

    return make if function is None else make(function)


def make_check(
    function: Function,
    *,
    name: str | None = None,
    reads: str | tuple[str, ...] | list[str] = (),
    layers: bool | None = None,
    version: str = "",
) -> Check:
    """Make a check of a function. Raises as `check`."""
    if not callable(function) or isinstance(function, type | Check):
        raise InvalidArgument(
            f"a check is made of a function, not of {type(function).__name__}",
            hint="@didlab.check stands over a function that takes an image",
        )
    named = getattr(function, "__name__", "check") if name is None else name
    if name is None and named == "<lambda>":
        named = "lambda"
    if not isinstance(named, str) or not _NAME.fullmatch(named):
        raise InvalidArgument(
            f"a check is not called {printable(str(named), 80)}",
            hint="letters, digits and _ . - will do",
        )
    globs = (reads,) if isinstance(reads, str) else tuple(reads)
    for glob in globs:
        paths.matcher(glob)
    if globs and layers is False:
        raise InvalidArgument("reads= needs layers: layers=False contradicts it")
    if not isinstance(version, str):
        raise InvalidArgument("version= takes text")
    return Check(named, function, globs, layers is not False, version)


def _code(value: Any, deep: int) -> Iterator[bytes]:
    """Yield what makes a function what it is; nothing that differs from process to process."""
    if isinstance(value, types.MethodType):
        value = value.__func__
    if isinstance(value, types.FunctionType):
        yield value.__qualname__.encode()
        yield from _code(value.__code__, deep)
        cells = [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
        for one in (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *cells):
            yield from _code(one, deep - 1) if deep else ()
    elif isinstance(value, types.CodeType):
        yield value.co_code
        yield repr(value.co_names).encode()
        for one in value.co_consts:
            yield from _code(one, deep - 1) if deep else ()
    elif isinstance(value, Check):
        yield value.key.encode()
    elif isinstance(value, tuple):
        for one in value:
            yield from _code(one, deep - 1) if deep else ()
    elif isinstance(value, frozenset):
        yield repr(sorted(map(repr, value))).encode()
    elif value is None or isinstance(value, str | bytes | int | float | complex):
        yield repr(value).encode()
    else:
        # Whatever can change: a function may fill a list that it found outside.
        yield type(value).__qualname__.encode()


def _filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
