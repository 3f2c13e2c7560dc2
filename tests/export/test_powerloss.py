"""The power fails in mid-save: the final name is absent or whole, and the next save ends well.

Everything that a save asks of the system is recorded. After each call the disk is rebuilt as it
may be found then: what was not flushed is there, missing or there in part; a rename may have
reached the disk before the bytes, or not at all.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rig import local
from rig.local import WHOLE, System

from didlab.export import partial

pytestmark = pytest.mark.skipif(os.name != "posix", reason="calls of POSIX are recorded")

Operation = tuple[Any, ...]


class Recorder:
    """Writes down what is done to files."""

    def __init__(self) -> None:
        self.log: list[Operation] = []

    def __call__(self, name: str, call: Any, arguments: tuple[Any, ...]) -> Any:
        answer = call()
        if name == "open":
            path, flags = Path(arguments[0]), arguments[1]
            if flags & os.O_CREAT:
                self.log.append(("create", os.fstat(answer).st_ino, path.name))
        elif name in ("rename", "replace"):
            self.log.append(("rename", arguments[0].name, Path(arguments[1]).name))
        elif name == "unlink":
            self.log.append(("unlink", arguments[0].name))
        elif name in ("fsync", "fdatasync", "pwrite", "ftruncate", "posix_fallocate"):
            self._content(name, answer, arguments)
        return answer

    def _content(self, name: str, answer: Any, arguments: tuple[Any, ...]) -> None:
        status = os.fstat(arguments[0])
        if name in ("fsync", "fdatasync"):
            self.log.append(("sync", status.st_ino))
        elif name == "pwrite":
            _, data, offset = arguments
            self.log.append(("write", status.st_ino, offset, bytes(data[:answer])))
        elif name == "ftruncate":
            self.log.append(("size", status.st_ino, arguments[1]))
        else:
            self.log.append(("size", status.st_ino, arguments[1] + arguments[2]))


@dataclass
class Content:
    """A file: what is on the disk for sure, and what was done to it since."""

    durable: bytearray = field(default_factory=bytearray)
    size: int = 0
    since: list[tuple[int, bytes]] = field(default_factory=list)

    def write(self, offset: int, data: bytes) -> None:
        self.since.append((offset, data))
        self.size = max(self.size, offset + len(data))

    def resize(self, size: int) -> None:
        self.since = [(at, data[: max(0, size - at)]) for at, data in self.since]
        self.size = size

    def sync(self) -> None:
        self.durable = self.found(self.since)
        self.since = []

    def found(self, applied: list[tuple[int, bytes]]) -> bytearray:
        data = self.durable[: self.size]
        data += bytes(self.size - len(data))
        for offset, written in applied:
            data[offset : offset + len(written)] = written
        return data


#: What is found of the writes since the last flush; names since the folder's flush may be lost.
VARIANTS = ("all", "nothing", "some", "some, once more", "torn", "names lost", "names lost, some")


def disk(log: list[Operation], variant: str, chance: random.Random) -> dict[str, bytes]:
    """Return what is found after these operations and a power cut."""
    files: dict[int, Content] = {}
    names: dict[str, int] = {}
    durable_names: dict[str, int] = {}
    for kind, *rest in log:
        if kind == "create":
            files[rest[0]] = Content()
            names[rest[1]] = rest[0]
        elif kind == "rename":
            names[rest[1]] = names.pop(rest[0])
        elif kind == "unlink":
            names.pop(rest[0], None)
        elif kind == "sync" and rest[0] not in files:
            durable_names = dict(names)  # the folder
        elif kind == "sync":
            files[rest[0]].sync()
        elif kind == "write":
            files[rest[0]].write(rest[1], rest[2])
        else:
            files[rest[0]].resize(rest[1])
    found = {}
    for name, number in (durable_names if "lost" in variant else names).items():
        content = files[number]
        applied = content.since
        if variant == "nothing":
            applied = []
        elif "some" in variant:
            applied = [write for write in content.since if chance.random() < 0.5]
        elif variant == "torn":
            applied = [(at, data[: len(data) // 2]) for at, data in content.since]
        found[name] = bytes(content.found(applied))
    return found


def recorded(folder: Path, patch: pytest.MonkeyPatch) -> list[Operation]:
    """Return what two saves do: one whose source breaks off, and one that goes on from there."""
    recorder = Recorder()
    with patch.context() as inner:
        local.install(inner, System(recorder))
        with pytest.raises(local.Broken):
            local.save(folder / "app.tar", cut=110_000)
        made = local.save(folder / "app.tar")
    assert made.reused > 50_000
    assert (folder / "app.tar").read_bytes() == WHOLE
    return recorder.log


def test_after_a_power_cut(tmp_path_factory, monkeypatch):
    log = recorded(tmp_path_factory.mktemp("recorded"), monkeypatch)
    kinds = {kind for kind, *_ in log}
    assert kinds == {"create", "write", "size", "sync", "rename", "unlink"}
    chance = random.Random(5)
    states: dict[tuple[tuple[str, bytes], ...], str] = {}
    for length in range(len(log) + 1):
        for variant in VARIANTS:
            state = tuple(sorted(disk(log[:length], variant, chance).items()))
            states.setdefault(state, f"{length} {variant}")
    assert len(states) >= 200
    whole = 0
    for number, (state, label) in enumerate(states.items()):
        whole += boot(tmp_path_factory.mktemp(str(number)), dict(state), label)
    assert 0 < whole < len(states)


def boot(folder: Path, found: dict[str, bytes], label: str) -> bool:
    """Check what is found, save again; return whether the file was there already."""
    for name, data in found.items():
        (folder / name).write_bytes(data)
    target = folder / "app.tar"
    there = target.exists()
    if there:
        assert target.read_bytes() == WHOLE, label
    partial.live.clear()
    made = local.save(target)
    assert target.read_bytes() == WHOLE, label
    assert [path.name for path in folder.iterdir()] == ["app.tar"], label
    assert made.downloaded + made.reused == sum(map(len, local.BLOBS)), label
    return there


def test_what_was_flushed_is_not_fetched_again(tmp_path_factory, monkeypatch):
    """After a clean release the bytes on the disk count, whatever happens to the rest."""
    log = recorded(tmp_path_factory.mktemp("recorded"), monkeypatch)
    for state in prefixes(log, "rename"):
        folder = tmp_path_factory.mktemp("again")
        for name, data in disk(state, "all", random.Random(0)).items():
            (folder / name).write_bytes(data)
        partial.live.clear()
        if not (folder / "app.tar").exists():
            assert local.save(folder / "app.tar").reused > 50_000


def prefixes(log: list[Operation], kind: str) -> Iterator[list[Operation]]:
    for length, operation in enumerate(log):
        if operation[0] == kind:
            yield log[: length + 1]
