"""What an audit found so far, in a file of JSON lines (https://jsonlines.org): a run goes on there.

A line for each image that was finished, whole or not there: a last line that a crash tore is
ignored, and overwritten.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from didlab.audits.fleet.results import Result
from didlab.errors import InvalidArgument, MalformedContent, WriteFailed

#: Seconds between two flushes to the disk.
_SYNC = 1.0
#: A longer line is none of ours.
_LINE = 1024 * 1024 * 1024
_HEAD = {"didlab": "audit", "version": 1}


class Checkpoint:
    """The file behind ``resume=``.

    Parameters
    ----------
    path : Path
        Made if it is not there.

    Raises
    ------
    InvalidArgument
        The file is something else; it stays as it is.
    WriteFailed
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: Digest -> where its lines begin; later ones hold.
        self._lines: dict[str, list[int]] = {}
        self._synced = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("a+b")
        except OSError as error:
            raise failed(path, error) from None
        try:
            self._end = self._scan()
            self._file.truncate(self._end)
            if not self._end:
                self._write(_HEAD)
        except BaseException:
            self._file.close()
            raise

    def _scan(self) -> int:
        """Find the lines; return where the last whole one ends."""
        self._file.seek(0)
        end = 0
        for number, line in enumerate(iter(lambda: self._file.readline(_LINE), b"")):
            whole = line.endswith(b"\n")
            found = _parsed(line) if whole else None
            if number == 0 and found != _HEAD:
                # Torn while it was written: nothing else was ever in it.
                if not whole and json.dumps(_HEAD).encode().startswith(line):
                    return 0
                raise InvalidArgument(
                    f"{self.path} is no checkpoint of an audit",
                    hint="resume= takes a file that didlab.audit wrote, or a new name",
                )
            if not whole:
                break
            digest = found.get("digest") if isinstance(found, dict) else None
            if isinstance(digest, str):
                self._lines.setdefault(digest, []).append(end)
            end += len(line)
        return end

    def known(self, digest: str, keys: Mapping[str, str]) -> dict[str, Result]:
        """Return the results of an image that hold: of the same checks, and no errors.

        ``keys`` are those of the checks, by name.
        """
        found: dict[str, Result] = {}
        for start in self._lines.get(digest, ()):
            self._file.seek(start)
            line = _parsed(self._file.readline(_LINE))
            checks = line.get("checks") if isinstance(line, dict) else None
            for name, told in checks.items() if isinstance(checks, dict) else ():
                if not isinstance(told, dict) or told.get("key") != keys.get(name, ""):
                    continue
                with contextlib.suppress(MalformedContent):
                    result = Result.from_json(told)
                    if result.error is None:
                        found[name] = result
        return found

    def add(
        self,
        digest: str,
        about: Mapping[str, Any],
        results: Mapping[str, Result],
        keys: Mapping[str, str],
    ) -> None:
        """Append what was found of an image.

        Raises
        ------
        WriteFailed
        """
        checks = {name: {"key": keys[name], **one.to_json()} for name, one in results.items()}
        self._keep({"digest": digest, **about, "checks": checks})

    def _keep(self, line: Mapping[str, Any]) -> None:
        start = self._end
        self._write(line)
        self._lines.setdefault(line["digest"], []).append(start)

    def _all(self) -> Iterator[dict[str, Any]]:
        """Yield the lines about images."""
        for start in sorted(start for starts in self._lines.values() for start in starts):
            self._file.seek(start)
            line = _parsed(self._file.readline(_LINE))
            if isinstance(line, dict):
                yield line

    def _write(self, line: Mapping[str, Any]) -> None:
        content = json.dumps(line, ensure_ascii=False, separators=(", ", ": ")).encode() + b"\n"
        try:
            # Appended, wherever it was read from.
            self._file.seek(0, os.SEEK_END)
            self._file.write(content)
            self._file.flush()
            if time.monotonic() - self._synced >= _SYNC:
                self._sync()
        except OSError as error:
            raise failed(self.path, error) from None
        self._end += len(content)

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Flush it to the disk."""
        if self._file.closed:
            return
        try:
            self._sync()
        except OSError as error:
            raise failed(self.path, error) from None
        finally:
            self._file.close()


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def failed(path: Path, error: OSError) -> WriteFailed:
    """Return the error for a checkpoint that cannot be written."""
    return WriteFailed(f"{path} cannot be written: {error.strerror or error}", path=str(path))
