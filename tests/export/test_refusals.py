"""The system refuses: a full disk, a broken one, no permission, no descriptors left.

Every call that a save makes is refused once. The error is typed, what was at the destination stays
as it is, and the next save uses what came.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from rig import local
from rig.local import BLOBS, WHOLE, System

from didlab.errors import DestinationExists, DiskFull, LocalStoreError, WriteFailed
from didlab.export import partial
from didlab.export.partial import read_journal

pytestmark = pytest.mark.skipif(os.name != "posix", reason="calls of POSIX are refused")

TOTAL = sum(map(len, BLOBS))
CALLS = (*local.WATCHED, "rename", "replace")
#: Calls that a save can do without.
OPTIONAL = {"fdatasync", "pread", "rename"}


class Refuser:
    """Refuses one call, the ``number``-th of its name; or counts all of them."""

    def __init__(self, name: str = "", number: int = 0, code: int = 0) -> None:
        self.counts: dict[str, int] = dict.fromkeys(CALLS, 0)
        self._refused = (name, number)
        self._code = code

    def __call__(self, name: str, call: Any, _: tuple[Any, ...]) -> Any:
        if name in self.counts:
            self.counts[name] += 1
            if (name, self.counts[name]) == self._refused:
                raise OSError(self._code, os.strerror(self._code))
        return call()


def disturbed(refuser: Refuser, target: Path, patch: pytest.MonkeyPatch) -> LocalStoreError | None:
    with patch.context() as inner:
        local.install(inner, System(refuser))
        try:
            local.save(target, overwrite=True)
        except LocalStoreError as error:
            return error
    return None


def begun(folder: Path) -> Path:
    """Return a target with an older file in its place, and a partial file beside it."""
    target = folder / "app.tar"
    with pytest.raises(local.Broken):
        local.save(target, cut=110_000)
    target.write_bytes(b"what was there before")
    return target


def claimed(folder: Path) -> int:
    """Bytes that the partial file in a folder says to hold."""
    [left] = folder.glob(".*.part")
    with left.open("rb") as file:
        file.seek(len(WHOLE))
        data = file.read()
    return sum(s.stop - s.start for s in read_journal(data)) if data else TOTAL


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE], ids=str)
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "going on"])
def test_every_call_is_refused_once(tmp_path, monkeypatch, name, code, fresh):
    counter = Refuser()
    first = tmp_path / "first"
    first.mkdir()
    target = first / "app.tar" if fresh else begun(first)
    assert disturbed(counter, target, monkeypatch) is None
    total = counter.counts[name]
    refused = 0
    for number in sorted(
        {1, 2, 3, total // 4, total // 2, total - 1, total} & {*range(1, total + 1)}
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        target = folder / "app.tar"
        if not fresh:
            begun(folder)
        target.write_bytes(b"what was there before")
        error = disturbed(Refuser(name, number, code), target, monkeypatch)
        partial.live.clear()
        kept = 0
        if error is None:
            # Only what a save can do without, or does again elsewhere.
            assert target.read_bytes() == WHOLE
        else:
            refused += 1
            assert type(error) is (DiskFull if code == errno.ENOSPC else WriteFailed)
            assert os.strerror(code) in str(error)
            assert target.read_bytes() == b"what was there before"
            left = list(folder.glob(".*.part"))
            kept = claimed(folder) if left else 0
            # What was there before is not lost by going on with it.
            assert fresh or kept > 50_000
        made = local.save(target, overwrite=True)
        assert target.read_bytes() == WHOLE
        # What could not be taken over stays, until it is swept.
        left = 1 if name == "rename" and not fresh else 0
        assert len(list(folder.glob(".*.part"))) <= left
        assert made.downloaded + made.reused == TOTAL
        assert made.reused >= kept
    if total and name not in OPTIONAL:
        assert refused


def test_what_came_before_the_disk_was_full_is_used(tmp_path, monkeypatch):
    target = tmp_path / "app.tar"
    counter = Refuser()
    assert disturbed(counter, target, monkeypatch) is None
    target.unlink()
    late = counter.counts["pwrite"] * 3 // 4
    error = disturbed(Refuser("pwrite", late, errno.ENOSPC), target, monkeypatch)
    assert isinstance(error, DiskFull)
    assert not target.exists()
    assert local.save(target).reused > TOTAL // 3


def test_a_target_that_cannot_be_read_is_something_else(tmp_path, monkeypatch):
    target = tmp_path / "app.tar"
    target.write_bytes(bytes(len(WHOLE)))
    real = Path.open

    def refuse(path: Path, *arguments: Any, **named: Any) -> Any:
        if path == target:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(DestinationExists):
            local.save(target)
        local.save(target, overwrite=True)
    assert target.read_bytes() == WHOLE


def test_a_bad_sector_in_a_partial_file_is_fetched_again(tmp_path, monkeypatch):
    target = begun(tmp_path)

    class Bad(Refuser):
        def __call__(self, name: str, call: Any, arguments: tuple[Any, ...]) -> Any:
            if name == "pread" and arguments[2] < len(WHOLE):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return call()

    assert disturbed(Bad(), target, monkeypatch) is None
    assert target.read_bytes() == WHOLE
