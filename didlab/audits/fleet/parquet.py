"""A checkpoint that is a Parquet file in the end; JSON lines beside it while a run goes on."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from didlab.audits.fleet.checkpoint import Checkpoint, failed
from didlab.errors import InvalidArgument

#: Parquet cannot be appended to: rows stand here until the run is over, or forever after a crash.
BESIDE = ".jsonl"
_COLUMNS = ["digest", "reference", "platform", "seconds", "checks"]


class ParquetCheckpoint(Checkpoint):
    """The file behind ``resume="….parquet"``: a row for each image, its results as JSON.

    Raises
    ------
    ImportError
        pyarrow is not installed.
    InvalidArgument
        The file is something else; it stays as it is.
    """

    def __init__(self, path: Path) -> None:
        if importlib.util.find_spec("pyarrow") is None:
            raise ImportError(
                f"{path} is a Parquet file, which needs pyarrow: python -m pip install pyarrow "
                "(a name that ends in .jsonl needs nothing)"
            )
        self._target = path
        lines = path.with_name(path.name + BESIDE)
        # Lines that a crash left are newer than the Parquet file.
        fresh = not lines.exists()
        super().__init__(lines)
        try:
            if fresh:
                for line in self._read():
                    self._keep(line)
        except BaseException:
            self._file.close()
            lines.unlink()
            raise

    def _read(self) -> Iterator[dict[str, Any]]:
        import pandas as pd

        if not self._target.exists():
            return
        try:
            frame = pd.read_parquet(self._target, columns=_COLUMNS)
            for row in frame.to_dict("records"):
                yield {**{str(k): v for k, v in row.items()}, "checks": json.loads(row["checks"])}
        except OSError as error:
            raise failed(self._target, error) from None
        except Exception as error:
            raise InvalidArgument(
                f"{self._target} is no checkpoint of an audit",
                hint="resume= takes a file that didlab.audit wrote, or a new name",
            ) from error

    def close(self) -> None:
        """Write the Parquet file; the lines are removed when it stands."""
        import pandas as pd

        if self._file.closed:
            return
        lines = [line for line in self._all() if isinstance(line.get("checks"), dict)]
        rows = [{**line, "checks": json.dumps(line["checks"])} for line in lines]
        fresh = self._target.with_name(self._target.name + ".part")
        try:
            pd.DataFrame(rows, columns=_COLUMNS).to_parquet(fresh)
            fresh.replace(self._target)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            super().close()
            raise failed(self._target, error) from None
        super().close()
        self.path.unlink(missing_ok=True)
