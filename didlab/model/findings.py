"""The rows that `didlab.verify` returns, as they are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from didlab.errors import DidlabError, IntegrityError, SizeMismatch
from didlab.oci.loaders import Severity, Verdict
from didlab.views import frames

if TYPE_CHECKING:
    import pandas as pd

_ORDER = {"error": 0, "warning": 1, "info": 2}


class Findings:
    """Findings in the order in which they came; the same one twice is one."""

    def __init__(self) -> None:
        self._rows: dict[tuple[Any, ...], None] = {}

    def check(
        self,
        check: str,
        subject: str,
        passed: bool,
        *,
        severity: Severity = "error",
        loader: str | None = None,
        expected: object = None,
        actual: object = None,
        detail: str | None = None,
    ) -> bool:
        """Note one check, and return whether it passed; ``severity`` is for when it did not."""
        row = (
            check,
            subject,
            loader,
            passed,
            "info" if passed else severity,
            None if expected is None else str(expected),
            None if actual is None else str(actual),
            detail or None,
        )
        self._rows.setdefault(row)
        return passed

    def failed(
        self, check: str, subject: str, error: DidlabError, severity: Severity = "error"
    ) -> None:
        """Note what an error says."""
        expected = actual = None
        if isinstance(error, IntegrityError):
            check = "size" if isinstance(error, SizeMismatch) else check
            expected, actual = error.expected, error.actual
        self.check(
            check, subject, False, severity=severity, expected=expected, actual=actual,
            detail=error.message,
        )  # fmt: skip

    def verdict(self, one: Verdict) -> None:
        """Note what a loader would do."""
        self.check(
            "loader", one.command, one.takes, severity=one.severity, loader=one.loader,
            expected=one.demand, detail=one.detail,
        )  # fmt: skip

    def frame(self, reference: str) -> pd.DataFrame:
        """Return the table: what failed first, the worst before the rest."""
        rows = sorted(self._rows, key=lambda row: (row[3], _ORDER[row[4]]))
        return frames.frame("verify", rows, reference=reference)
