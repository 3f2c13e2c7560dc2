"""`didlab.audit`: checks over many images."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from didlab.audits.fleet import resolving
from didlab.audits.fleet.builtin import CHECKS, DEFAULT
from didlab.audits.fleet.check import Check, Function, make_check
from didlab.audits.fleet.checkpoint import Checkpoint
from didlab.audits.fleet.drawing import Drawing
from didlab.audits.fleet.report import Report
from didlab.audits.fleet.running import Run
from didlab.audits.fleet.targets import What, targets
from didlab.audits.fleet.workers import check as check_executor
from didlab.errors import InvalidArgument, printable

#: Workers at most.
_MOST = 1024


def audit(
    images: What,
    checks: str | Check | Function | Iterable[str | Check | Function] | None = None,
    *,
    executor: Any = None,
    platform: str | Sequence[str] | None = None,
    progress: Any = None,
    resume: str | os.PathLike[str] | None = None,
    workers: int = 8,
    wait: bool = True,
    on_error: str = "row",
    **options: Any,
) -> Report:
    """Look at many images: one DataFrame for each check, over all of them.

    Names are resolved first; then every distinct layer is read once, and every distinct image is
    looked at once, whatever the number of names they have.

    Parameters
    ----------
    images : reference, Manifest, Repository, Registry, path, or several of them
        A Repository stands for all of its tags, a Registry for all of its repositories,
        ``"registry.example/team/app:1.*"`` for the tags that match, a local archive for all it
        holds. A column of a DataFrame will do.
    checks : str, function or Check, or several, optional
        Names: ``config labels layers size`` ask for manifest and config only; ``os packages
        secrets setuid users certificates waste`` look into layers. Functions of one image are
        checks, too (see `check`). By default ``config`` and ``layers``.
    executor : optional
        Any executor of ``concurrent.futures``, such as ``ProcessPoolExecutor(4)`` or Dask's
        ``client.get_executor()``; by default threads.
    platform : str or list of str, optional
        ``"linux/arm64"``, a list, or ``"all"``. By default the default platform of each image,
        or the first one of an image that is not made for it; the column ``platform`` says which.
    progress : bool or object, optional
        As `Manifest.save`: one bar over the bytes of the distinct layers.
    resume : path, optional
        A file of JSON lines, made if it is not there, to which each image is added when it is
        done. A later run with the same file goes on: images with the same digest are not looked
        at again by the same checks; errors are tried again. A name that ends in ``.parquet``
        is a Parquet file then (needs pyarrow), made of the lines at the end of each run.
    workers : int
        Threads, of which more than two read layers, or look at images, only while the processor
        waits; with another executor, half of the tasks that are handed out at a time.
    wait : bool
        False: return at once; the report grows in the background (`Report.as_completed`).
    on_error : str
        ``"row"``: errors become rows. ``"raise"``: the first one ends the audit.
    **options
        As `didlab.open` takes them, for references.

    Returns
    -------
    Report
        A mapping: check -> DataFrame; also ``report.images`` and ``report.errors``.

    Raises
    ------
    InvalidArgument
        Something that is no image, no check, no executor; no image at all.
    WriteFailed
        The file of ``resume`` cannot be written.
    ImportError
        ``resume`` names a Parquet file, and pyarrow is not installed.

    Notes
    -----
    One to three small requests for each name, one pass over each distinct layer that the local
    store does not know (none, where checks look at manifest and config only).

    Ctrl-C ends the audit and keeps what is done: the report comes back with ``complete`` False,
    a warning is logged, and rows of the other images say "interrupted". A second Ctrl-C is raised.

    Tasks in other processes get names, not logins: a login that was given as an argument stays
    here, and a worker takes its own from docker's configuration or the environment. Where workers
    share the local store of this process, they find there what others learned; else it travels:
    indexes and facts, never layers.
    """
    made = _checks(checks)
    platforms = resolving.wanted(platform)
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= _MOST:
        raise InvalidArgument(f"workers= takes a number from 1 to {_MOST}")
    if on_error not in ("row", "raise"):
        raise InvalidArgument('on_error= takes "row" or "raise"')
    if executor is not None:
        check_executor(executor)
    Drawing(progress)
    named = targets(images, options)
    checkpoint = _checkpoint(resume)
    try:
        run = Run(
            named,
            made,
            platforms,
            executor=executor,
            count=workers,
            progress=progress,
            checkpoint=checkpoint,
            strict=on_error == "raise",
        )
    except BaseException:
        if checkpoint is not None:
            checkpoint.close()
        raise
    run.start()
    if wait:
        run.wait()
    else:
        threading.Thread(target=run.show, name="didlab-audit-bar", daemon=True).start()
    return run.report


def _checks(checks: Any) -> list[Check]:
    if checks is None:
        checks = DEFAULT
    if isinstance(checks, str) or callable(checks):
        checks = [checks]
    if not isinstance(checks, Iterable):
        raise InvalidArgument(f"checks= takes names and functions, not {type(checks).__name__}")
    made: dict[str, Check] = {}
    for one in checks:
        check = _check(one)
        if made.setdefault(check.name, check) is not check and made[check.name] != check:
            raise InvalidArgument(
                f"two checks are called {check.name}", hint='@didlab.check(name="another")'
            )
    if not made:
        raise InvalidArgument("no check was named", hint="one of " + ", ".join(CHECKS))
    return list(made.values())


def _check(one: Any) -> Check:
    if isinstance(one, Check):
        return one
    if isinstance(one, str):
        known = CHECKS.get(one)
        if known is None:
            raise InvalidArgument(
                f"there is no check {printable(one, 60)}", hint="one of " + ", ".join(CHECKS)
            )
        return known
    return make_check(one)


def _checkpoint(resume: Any) -> Checkpoint | None:
    if resume is None:
        return None
    if not isinstance(resume, str | os.PathLike):
        raise InvalidArgument(f"resume= takes a path, not {type(resume).__name__}")
    path = Path(os.fspath(resume)).expanduser()
    if path.suffix == ".parquet":
        from didlab.audits.fleet.parquet import ParquetCheckpoint

        return ParquetCheckpoint(path)
    return Checkpoint(path)
