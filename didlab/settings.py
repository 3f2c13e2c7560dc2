"""Options of the whole library, with twins in the environment and in ``didlab.toml``."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from typing import Any

from didlab import userconfig
from didlab.errors import ConfigError, InvalidArgument, printable


@dataclass(frozen=True)
class Settings:
    """What `set_options` sets; each has a twin ``DIDLAB_<NAME>``."""

    #: Whether progress is shown where nobody says; ``DIDLAB_PROGRESS``.
    progress: bool = True
    #: Whether completing a key inside ``["`` may ask the registry; ``DIDLAB_COMPLETION``.
    completion: bool = True
    #: Whether a Manifest's HTML card may fetch manifest and config; ``DIDLAB_CARD``.
    card: bool = True
    #: Parallel downloads of one save; ``DIDLAB_WORKERS``.
    workers: int = 4

    def __post_init__(self) -> None:
        for name in ("progress", "completion", "card"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidArgument(f"the option {name} is True or False")
        if isinstance(self.workers, bool) or not isinstance(self.workers, int):
            raise InvalidArgument("the option workers is a number")
        if not 1 <= self.workers <= 64:
            raise InvalidArgument("the option workers goes from 1 to 64")


def _from_environment() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in fields(Settings):
        text = os.environ.get(f"DIDLAB_{field.name.upper()}", "").strip().lower()
        if not text:
            continue
        if isinstance(field.default, bool):
            words = {"0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}
            value: Any = words.get(text)
        else:
            # Python itself refuses to read thousands of digits, with a bare ValueError.
            number = text.isascii() and text.isdigit() and len(text) <= 9
            value = int(text) if number else None
        if value is None:
            raise InvalidArgument(
                f"DIDLAB_{field.name.upper()} is {printable(text, 60)!r}",
                hint="write 0 or 1"
                if isinstance(field.default, bool)
                else f"write a number, such as {field.default}",
            )
        found[field.name] = value
    return found


def _from_file(file: userconfig.UserConfig) -> dict[str, Any]:
    known = [field.name for field in fields(Settings)]
    for name, value in file.options.items():
        problem, hint = "", None
        if name not in known:
            problem, hint = "there is no such option", f"there are {', '.join(known)}"
        else:
            try:
                Settings(**{name: value})
            except InvalidArgument as error:
                problem = error.message
        if problem:
            shown = printable(name, 60)
            raise ConfigError(
                f"{file.path} [options] {shown}: {problem}", hint=hint, path=file.path
            )
    return dict(file.options)


def _base() -> Settings:
    return Settings(**{**_from_file(userconfig.load()), **_from_environment()})


_current: Settings | None = None


def current() -> Settings:
    """Return the settings that hold now."""
    global _current  # noqa: PLW0603
    if _current is None:
        _current = _base()
    return _current


def origins() -> dict[str, str]:
    """Return who set each of the settings that hold now: for `show_config`."""
    file, environment = userconfig.load(), _from_environment()
    base, now = _base(), current()
    found = {}
    for field in fields(Settings):
        name = field.name
        if getattr(now, name) != getattr(base, name):
            found[name] = "set_options"
        elif name in environment:
            found[name] = f"environment DIDLAB_{name.upper()}"
        elif name in file.options:
            found[name] = f"{file.path} [options]"
        else:
            found[name] = "default"
    return found


class _Restore:
    """What `set_options` returns: leaving ``with`` puts the options back."""

    def __init__(self, before: Settings) -> None:
        self._before = before

    def __enter__(self) -> Settings:
        return current()

    def __exit__(self, *exc: object) -> None:
        global _current  # noqa: PLW0603
        _current = self._before

    def __repr__(self) -> str:
        return f"<options: {current()}>"


def set_options(**options: Any) -> _Restore:
    """Set options of the library, for good or inside ``with``.

    Parameters
    ----------
    progress : bool
        Whether progress is shown where a call does not say (``DIDLAB_PROGRESS``).
    completion : bool
        Whether completing a key inside ``["`` may ask the registry (``DIDLAB_COMPLETION``).
    card : bool
        Whether a Manifest's HTML card may fetch manifest and config (``DIDLAB_CARD``).
    workers : int
        Parallel downloads of one save, 1 to 64 (``DIDLAB_WORKERS``).

    Raises
    ------
    InvalidArgument
        An option that does not exist, or a value it cannot take; nothing is changed then.

    Examples
    --------
    >>> with set_options(progress=False):
    ...     current().progress
    False
    """
    global _current  # noqa: PLW0603
    before = current()
    known = {field.name for field in fields(Settings)}
    unknown = sorted(set(options) - known)
    if unknown:
        raise InvalidArgument(
            f"there is no option {unknown[0]!r}", hint=f"there are {', '.join(sorted(known))}"
        )
    _current = replace(before, **options)
    return _Restore(before)
