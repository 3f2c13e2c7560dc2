"""Optional packages, imported where they are used: what is missing is told with its command."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def need(module: str, extra: str, what: str | None = None) -> Any:
    """Return an imported module of an optional package.

    Parameters
    ----------
    module : str
        The module, ``matplotlib.figure``; its package is what is installed.
    extra : str
        The extra of didlab that brings it.
    what : str, optional
        What needs it, for the message: ``m.plot.layers()``. Else ``this``.

    Raises
    ------
    ImportError
        It is not installed: with the exact command. A package that is there and broken says so
        itself.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # something that the package itself lacks: another story, told whole
    message = f'{what or "this"} needs {package}: pip install "didlab[{extra}]"'
    raise ImportError(message, name=package) from None
