"""From a command line to an exit status: 0 done, 1 failed, 2 usage, 3 found, 130 interrupted."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from didlab.cli import arguments, messages
from didlab.errors import DidlabError

FAILED, INTERRUPTED = 1, 130
#: What a shell shows for a program that a closed pipe ended (128 + SIGPIPE).
PIPE_CLOSED = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of this process when left out.

    Raises
    ------
    SystemExit
        After ``--help`` and ``--version``, and with status 2 for a wrong usage.
    """
    code = _guarded(lambda: _run(argv))
    # A worker that waits for a silent server would hold the process up until its timeout. Only
    # where the process is ours: whoever passes arguments goes on living.
    if argv is None and _someone_waits():
        _flush()
        os._exit(code)
    return code


def _run(argv: Sequence[str] | None) -> int:
    args = arguments.parse(argv)
    messages.configure(verbose=args.verbose, quiet=args.quiet)
    run: Callable[..., int] = args.run
    return run(args)


def _guarded(run: Callable[[], int]) -> int:
    """Run, and turn every way to fail into one line and a status."""
    _harden_streams()
    try:
        try:
            return run()
        finally:
            # Now, not at exit: only here a closed pipe or a full disk can be told.
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt as stopped:
        messages.say(f"interrupted; {stopped}" if str(stopped) else "interrupted")
        return INTERRUPTED
    except DidlabError as error:
        messages.fail(error)
        return FAILED
    except OSError as error:
        if _is_closed_pipe(error):
            _drop_stdout()
            return PIPE_CLOSED
        messages.fail(error)
        _drop_stdout()
        return FAILED
    except Exception as error:  # noqa: BLE001 - the shell gets one line, whatever happened
        messages.fail_unexpectedly(error)
        return FAILED


def _harden_streams() -> None:
    """Let no character that the terminal's encoding lacks end the program."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _is_closed_pipe(error: OSError) -> bool:
    # Windows answers EINVAL where others answer EPIPE.
    return isinstance(error, BrokenPipeError) or (
        sys.platform == "win32" and error.errno == errno.EINVAL
    )


def _drop_stdout() -> None:
    """Send what is still buffered nowhere; else the interpreter complains when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()


def _someone_waits() -> bool:
    here = threading.current_thread()
    return any(not other.daemon for other in threading.enumerate() if other is not here)
