"""What an audit found: a mapping from checks to DataFrames, while it grows and when it is done."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from didlab import _pausing as pausing
from didlab.audits.fleet.check import Check
from didlab.audits.fleet.resolving import Found
from didlab.audits.fleet.results import Result
from didlab.audits.fleet.tables import Part, Table
from didlab.views import frames, text
from didlab.views.frames import SCHEMAS

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from didlab.audits.fleet.running import Run

INTERRUPTED = "interrupted"


class _State:
    """Where the rows of one distinct image are, by check."""

    __slots__ = ("done", "error", "errors", "rows", "seconds")

    def __init__(self) -> None:
        self.rows: dict[str, tuple[int, int]] = {}
        self.errors: dict[str, str] = {}
        self.error: str | None = None
        self.seconds = 0.0
        self.done = False


class Audited:
    """One image of a `Report`; ``audited["packages"]`` is the check's DataFrame for it alone.

    Attributes
    ----------
    reference, platform, digest : str
        ``platform`` and ``digest`` are None where it could not be resolved.
    created : datetime or None
    size, layers : int or None
        Bytes to download, number of layers.
    error : str or None
        Why nothing is known of it.
    errors : dict
        Check -> why it failed.
    seconds : float
        How long the checks took.
    """

    def __init__(self, report: Report, number: int) -> None:
        found, state = report._images[number], report._state(number)
        self._report = report
        self._number = number
        self.reference = found.reference
        self.platform = found.platform
        self.digest = found.digest
        self.created: datetime | None = found.created
        self.size = found.size
        self.layers = found.layers
        self.error = found.error or state.error
        self.errors = dict(state.errors)
        self.seconds = state.seconds

    def __getitem__(self, check: str) -> pd.DataFrame:
        return self._report._frame(check, [self._number])

    #: Indexed by names of checks, not by position.
    __iter__ = None

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._report)

    def __repr__(self) -> str:
        told = self.error or (text.count(len(self.errors), "error") if self.errors else None)
        return text._line("Audited", self.reference, self.platform, told)


class Report(Mapping[str, "pd.DataFrame"]):
    """What `didlab.audit` found: ``report["packages"]`` is a DataFrame over all images.

    Each frame begins with reference, platform and digest, and ends with ``error``: a check that
    failed for an image has one row with that, after those that it found in spite of it, and so
    has an image that could not be looked at. Numbers and truth values have nullable dtypes.
    Images stand in the order in which they were named, whatever the order in which they were
    done.

    Attributes
    ----------
    complete : bool
        Whether every image was looked at (errors included).
    running : bool
        Whether the audit goes on in the background (``wait=False``).
    interrupted : bool
        Whether Ctrl-C or `cancel` ended it early.
    images, errors : DataFrame
        One row for each image; one row for each thing that went wrong.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = {check.name: check for check in checks}
        self._lock = threading.Condition()
        self._images: list[Found] = []
        self._states: dict[str, _State] = {}
        self._by_digest: dict[str, list[int]] = {}
        self._order: list[int] = []
        self._tables = {name: Table() for name in self._checks}
        self._run: Run | None = None
        self._ended = False
        self._whole = False
        self._failure: BaseException | None = None

    # --- what the run tells ------------------------------------------------------------------

    def _resolved(self, images: Sequence[Found]) -> None:
        with self._lock:
            # Without the layers: those of ten thousand images are let go as they are done.
            self._images = [replace(found, unit=None) for found in images]
            for number, found in enumerate(images):
                if found.digest is not None:
                    self._states.setdefault(found.digest, _State())
                    self._by_digest.setdefault(found.digest, []).append(number)
                else:
                    self._order.append(number)
            self._lock.notify_all()

    def _finished(self, digest: str, results: Mapping[str, Result], seconds: float) -> None:
        with self._lock:
            state = self._states[digest]
            for name, result in results.items():
                if result.error is not None:
                    state.errors[name] = result.error
                if result.error is None or result.rows:
                    state.rows[name] = self._tables[name].add(result)
            state.seconds += seconds
            self._over(digest)

    def _tables_of(self, digest: str, results: Mapping[str, Result]) -> None:
        """Take results in of an image that may not be done yet."""
        with self._lock:
            for name, result in results.items():
                self._states[digest].rows[name] = self._tables[name].add(result)

    def _failed(self, digest: str, error: str) -> None:
        with self._lock:
            if not self._states[digest].done:
                self._states[digest].error = error
                self._over(digest)

    def _over(self, digest: str) -> None:
        self._states[digest].done = True
        self._order += self._by_digest[digest]
        self._lock.notify_all()

    def _end(self, *, complete: bool, failure: BaseException | None = None) -> None:
        with self._lock:
            self._whole = complete
            self._failure = failure
            self._ended = True
            self._lock.notify_all()

    # --- free --------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether every image was looked at."""
        return self._ended and self._whole

    @property
    def running(self) -> bool:
        """Whether it goes on in the background."""
        return not self._ended

    @property
    def interrupted(self) -> bool:
        """Whether it was ended early."""
        return self._ended and not self._whole

    @property
    def images(self) -> pd.DataFrame:
        """One row for each image, in the order in which they were named.

        reference : text, platform : category, digest : text (of the manifest),
        created : datetime64[us, UTC], size : Int64 (bytes to download), layers : Int64,
        error : text (why nothing is known of it), seconds : float64 (how long the checks took).
        """
        with self._lock:
            rows = [self._image(number) for number in range(len(self._images))]
        return frames.frame("audit_images", rows, reference=self._name())

    @property
    def errors(self) -> pd.DataFrame:
        """One row for each thing that went wrong.

        reference : text, platform : category, digest : text, check : category (missing where
        it is the image itself), error : text.
        """
        rows: list[tuple[str | None, ...]] = []
        with self._lock:
            for number, found in enumerate(self._images):
                state = self._state(number)
                about = (found.reference, found.platform, found.digest)
                if (error := self._error(number)) is not None:
                    rows.append((*about, None, error))
                rows += [(*about, name, error) for name, error in state.errors.items()]
        return frames.frame("audit_errors", rows, reference=self._name())

    def _image(self, number: int) -> tuple[Any, ...]:
        found, state = self._images[number], self._state(number)
        return (
            *(found.reference, found.platform, found.digest, found.created),
            *(found.size, found.layers, self._error(number), state.seconds),
        )

    def _state(self, number: int) -> _State:
        digest = self._images[number].digest
        return self._states[digest] if digest is not None else _State()

    def _error(self, number: int) -> str | None:
        return self._images[number].error or self._state(number).error

    def _name(self) -> str:
        return text.count(len(self._images), "image")

    # --- a mapping ---------------------------------------------------------------------------

    def __getitem__(self, check: str) -> pd.DataFrame:
        return self._frame(check, range(len(self._images)))

    def __iter__(self) -> Iterator[str]:
        return iter(self._checks)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __len__(self) -> int:
        return len(self._checks)

    def __bool__(self) -> bool:
        return True

    def __contains__(self, check: object) -> bool:
        return check in self._checks

    #: One is not another, though both found the same.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def _frame(self, check: str, numbers: Sequence[int]) -> pd.DataFrame:
        table = self._tables[check]
        schema = self._checks[check].schema
        with self._lock:
            parts = [part for number in numbers for part in self._parts(check, number)]
            columns = [one.name for one in SCHEMAS[schema]] if schema else []
            own = [name for name in columns if name not in ("digest", "error")]
            made: pd.DataFrame = table.frame(parts, self._name(), own)
        return made

    def _parts(self, check: str, number: int) -> Iterator[Part]:
        found, state = self._images[number], self._state(number)
        about = (found.reference, found.platform, found.digest)
        failed = self._error(number)
        if failed is None and check in state.rows:
            yield Part(*about, *state.rows[check])
        error = failed or state.errors.get(check)
        if error is not None:
            yield Part(*about, error=error)

    def _rows(self, check: str, number: int) -> list[dict[str, Any]]:
        """Return the rows of a check about one image."""
        found = self._state(number).rows.get(check)
        return list(self._tables[check].read(*found)) if found else []

    def _why_not(self, number: int, checks: Sequence[str]) -> str | None:
        """Return why nothing is known of an image by some checks, or not all."""
        state = self._state(number)
        if (error := self._error(number)) is not None:
            return error
        for name in checks:
            if name in state.errors:
                return state.errors[name]
            if name not in state.rows:
                return "not looked at yet" if self.running else INTERRUPTED
        return None

    def _partly(self, number: int, checks: Sequence[str]) -> bool:
        """Whether there are rows of all these checks, though not all."""
        state = self._state(number)
        return self._error(number) is None and all(name in state.rows for name in checks)

    # --- while it runs -----------------------------------------------------------------------

    def as_completed(self) -> Iterator[Audited]:
        """Yield the images as they are done, those that are done already first.

        With ``wait=False`` this waits for the others. Ctrl-C meanwhile ends the audit, as
        `cancel` does, and is raised.

        Yields
        ------
        Audited
        """
        at = 0
        try:
            while True:
                with self._lock:
                    while at >= len(self._order) and not self._ended:
                        self._lock.wait(pausing.LOOK)
                    ready = self._order[at:]
                    ended = self._ended and at + len(ready) >= len(self._order)
                for number in ready:
                    at += 1
                    yield Audited(self, number)
                if ended and at >= len(self._order):
                    break
        except KeyboardInterrupt:
            self.cancel()
            raise
        if self._failure is not None:
            raise self._failure

    def wait(self) -> Report:
        """Wait until it is over; return itself. Ctrl-C ends it as it does in `didlab.audit`."""
        if self._run is not None:
            self._run.wait()
        return self

    def cancel(self) -> None:
        """End it early; what is done stays, rows of the other images say "interrupted"."""
        if self._run is not None:
            self._run.cancel()

    def policy(self, rules: Any) -> pd.DataFrame:
        """Say of each image whether it keeps rules, as `didlab.policy`."""
        from didlab.audits.fleet.policies import policy

        return policy(self, rules)

    # --- look --------------------------------------------------------------------------------

    def _facts(self) -> dict[str, Any]:
        with self._lock:
            total, done = len(self._images), len(self._order)
            failed = sum(
                1
                for number in range(total)
                if self._error(number) is not None or self._state(number).errors
            )
            return {
                "images": total,
                "distinct": len(self._states),
                "done": done,
                "failed": failed,
                "state": "running"
                if not self._ended
                else "complete"
                if self._whole
                else "interrupted",
                "checks": [
                    (name, sum(rows[1] - rows[0] for rows in self._spans(name)), self._bad(name))
                    for name in self._checks
                ],
            }

    def _spans(self, name: str) -> list[tuple[int, int]]:
        spans = ((state, self._by_digest[digest]) for digest, state in self._states.items())
        return [state.rows[name] for state, tags in spans for _ in tags if name in state.rows]

    def _bad(self, name: str) -> int:
        return sum(
            1
            for number in range(len(self._images))
            if self._error(number) is not None or name in self._state(number).errors
        )

    def __repr__(self) -> str:
        facts = self._facts()
        whole = facts["state"] == "complete"
        return text._line(
            "Report",
            text.count(facts["images"], "image"),
            ", ".join(self._checks),
            f"{facts['failed']} with errors" if facts["failed"] else None,
            None if whole else f"{facts['state']}, {facts['done']} done",
        )

    def _repr_html_(self) -> str:
        from didlab.audits.fleet.card import card

        return card(self._facts())
