"""What goes to stderr: one clear line for a failure, in the words of the command line."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from contextlib import suppress

from didlab.errors import DidlabError, InvalidArgument, printable

#: The library's hints name its keyword arguments; here they are options.
_OPTIONS = tuple(
    (re.compile(pattern), option)
    for pattern, option in (
        (r"foreign=True \(--foreign\)", "--foreign"),
        (r"pass username= and password=", "give --username"),
        (r"pass overwrite=True\b", "give --overwrite"),
        (r"pass ca='[^']*'", "give --ca FILE"),
        (r"\binsecure=(True\b|\[[^\]]*\])", "--insecure"),
        (r"auth_hosts=\['?([^'\]]*)'?\]", r"--auth-host \1"),
        (r"\bproxy='([^']*)'", r"--proxy \1"),
        (r"\bm\[\"([^\"]*)\"\]", r"--platform \1"),
        (r"registry\['name'\]", "REGISTRY/NAME"),
        (r"\bplatform=\"all\"", "--platform all"),
        (r"\bthe same call goes on\b", "the same command goes on"),
        (r"\bwith offline=False\b", "without --offline"),
        (r"\bwithout (owner|devices)=True\b", r"without --\1"),
        (r"\b(files|tree|extract)\(\)", r"didlab \1"),
        (r"\bthe image's read\(\) sees", "without --layer, didlab cat sees"),
        (r"\bmirrors=", "--mirror"),
        (r"\bclient_cert=", "--client-cert"),
        (r"\bformat=['\"]([^'\"]*)['\"]", r"--format \1"),
        (r"\b(proxy|timeout|username|ca|wait|since|compression|platform)=(?=[\s,;)]|$)", r"--\1"),
    )
)


def say(text: str) -> None:
    """Write one line to stderr, control characters escaped."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"didlab: {printable(text, 4000)}\n")
        sys.stderr.flush()


def describe(error: BaseException) -> str:
    """Return an error as one line: what happened, where, and what to do.

    >>> from didlab.errors import DestinationExists
    >>> describe(DestinationExists("x.tar exists", hint="pass overwrite=True to replace it"))
    'x.tar exists (give --overwrite to replace it)'
    """
    if isinstance(error, InvalidArgument):
        return _in_options(str(error))
    if isinstance(error, DidlabError):
        return f"{error.message} ({_in_options(error.hint)})" if error.hint else error.message
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return f"{type(error).__name__}: {error}"


def fail(error: BaseException, more: str = "") -> None:
    """Tell a failure, and ``more`` unless that is said already."""
    text = describe(error)
    say(f"{text}; {more}" if more and more not in text else text)


def fail_unexpectedly(error: BaseException) -> None:
    """Tell a failure that nobody foresaw; the traceback only where details were asked for."""
    shown = logging.getLogger("didlab").isEnabledFor(logging.DEBUG)
    if shown:
        lines = "".join(traceback.format_exception(error)).splitlines()
        for line in lines:
            sys.stderr.write(printable(line, 4000) + "\n")
    more = "" if shown else "; -v shows where"
    say(f"this is a mistake in didlab: {describe(error)}{more}")


def configure(*, verbose: int, quiet: bool) -> None:
    """Send the library's log to stderr: warnings, everything with -v, errors only with -q."""
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING
    logger = logging.getLogger("didlab")
    logger.setLevel(level)
    # main() may run more than once in a process.
    for handler in [one for one in logger.handlers if isinstance(one, _Lines)]:
        logger.removeHandler(handler)
    logger.addHandler(_Lines())
    logger.propagate = False


class _Lines(logging.Handler):
    """Each record one harmless line."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                text += f": {describe(record.exc_info[1])}"
        except Exception:  # noqa: BLE001 - logging itself must not fail a command
            self.handleError(record)
            return
        say(f"{record.levelname.lower()}: {text}")


def _in_options(text: str) -> str:
    for pattern, option in _OPTIONS:
        text = pattern.sub(option, text)
    return text
