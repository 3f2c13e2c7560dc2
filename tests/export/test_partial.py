"""Partial files: their names, who takes one over, what is swept, who wins a race."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from didlab.errors import DiskFull, WriteFailed
from didlab.export import output, partial
from didlab.export.output import PartialFile
from didlab.export.partial import HEAD, KEEP, SILENCE, Stretch, read_journal

PLAN = "0123456789abcdef"
OTHER = "fedcba9876543210"

posix = pytest.mark.skipif(os.name != "posix", reason="process numbers tell nothing on Windows")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "app.tar"


@pytest.fixture(autouse=True)
def nobody_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial, "live", set())


def left_by(target: Path, owner: str, age: float = 0.0, plan: str = PLAN) -> Path:
    path = target.with_name(f".{target.name}.{plan}.{owner}-0123456789abcdef.part")
    path.write_bytes(b"data")
    os.utime(path, (time.time() - age,) * 2)
    return path


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["app.tar", "a" * 255, "\u5317\u4eac" * 40, ".hidden", "with space.tar", "a.part", "x.y.part"],
    ids=["usual", "long", "wide", "hidden", "space", "part", "nearly one"],
)
def test_a_partial_file_is_found_again(tmp_path, name):
    target = tmp_path / name
    for path in (partial.own_name(target, PLAN), partial.free_name(target, PLAN)):
        assert path.parent == tmp_path
        assert len(path.name.encode()) <= 255
    free = partial.free_name(target, PLAN)
    free.write_bytes(b"data")
    taken = partial.take_over(target, PLAN)
    assert taken is not None
    assert taken.read_bytes() == b"data"
    assert not free.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have Unicode names")
def test_a_name_that_is_no_text(tmp_path):
    target = tmp_path / os.fsdecode(b"app-\xff\xfe.tar")
    partial.free_name(target, PLAN).write_bytes(b"data")
    assert partial.take_over(target, PLAN) is not None
    with_bytes = PartialFile(target, 10, OTHER)
    with_bytes.commit(overwrite=False)
    assert target.stat().st_size == 10


def test_names_never_repeat(target):
    names = {partial.own_name(target, PLAN).name for _ in range(100)}
    assert len(names) == 100


# --- taking over ---------------------------------------------------------------------------------


def test_nothing_there(target):
    assert partial.take_over(target, PLAN) is None
    assert partial.take_over(target.parent / "absent" / "x.tar", PLAN) is None


def test_another_plan_is_left_alone(target):
    path = left_by(target, "free", plan=OTHER)
    assert partial.take_over(target, PLAN) is None
    assert path.exists()


def test_the_newest_first(target):
    left_by(target, "free", age=50).rename(
        target.with_name(f".app.tar.{PLAN}.free-{'1' * 16}.part")
    )
    left_by(target, "free", age=10).write_bytes(b"newer")
    taken = partial.take_over(target, PLAN)
    assert taken is not None
    assert taken.read_bytes() == b"newer"


@posix
def test_a_dead_owner(target):
    left_by(target, f"{partial._host()}-{dead_process()}")
    assert partial.take_over(target, PLAN) is not None


@posix
def test_a_living_owner(target):
    path = left_by(target, f"{partial._host()}-{os.getppid()}", age=10 * SILENCE)
    assert partial.take_over(target, PLAN) is None
    assert path.exists()


def test_this_process_is_at_work_on_it(target):
    path = left_by(target, f"{partial._host()}-{os.getpid()}")
    partial.live.add(path.name)
    assert partial.take_over(target, PLAN) is None
    partial.live.discard(path.name)
    if os.name == "posix":
        assert partial.take_over(target, PLAN) is not None


@pytest.mark.parametrize(("age", "taken"), [(SILENCE / 2, False), (SILENCE * 2, True)])
def test_an_owner_on_another_machine(target, age, taken):
    left_by(target, "00000000-1", age=age)
    assert (partial.take_over(target, PLAN) is not None) is taken


def test_taking_over_is_a_sign_of_life(target):
    """Else a saver on a third machine would think it abandoned."""
    left_by(target, "free", age=100 * SILENCE)
    taken = partial.take_over(target, PLAN)
    assert taken is not None
    assert time.time() - taken.stat().st_mtime < SILENCE / 2
    assert taken.name in partial.live


def test_other_files_are_not_touched(target):
    others = [
        target,
        target.with_name(f".app.tar.{PLAN}.part"),
        target.with_name(f".app.tar.{PLAN}.somebody-{'0' * 16}.part"),
        target.with_name(f".app.tar.{'x' * 16}.free-{'0' * 16}.part"),
    ]
    for path in others:
        path.write_bytes(b"mine")
        os.utime(path, (0, 0))
    assert partial.take_over(target, PLAN) is None
    partial.sweep(target)
    assert [path.read_bytes() for path in others] == [b"mine"] * len(others)


# --- sweeping ------------------------------------------------------------------------------------


def test_what_is_swept(target):
    old, young = KEEP + 60, KEEP - 60
    plans = {name: f"{number:016x}" for number, name in enumerate(["old", "young", "living"])}
    gone = [left_by(target, "free", old, plans["old"])]
    stays = [left_by(target, "free", young, plans["young"])]
    if os.name == "posix":
        gone.append(left_by(target, f"{partial._host()}-{dead_process()}", old))
        stays.append(left_by(target, f"{partial._host()}-{os.getppid()}", old, plans["living"]))
    mine = left_by(target, "free", old, "a" * 16)
    partial.live.add(mine.name)
    partial.sweep(target)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in [*stays, mine])


def test_a_save_sweeps(target):
    old = left_by(target, "free", KEEP + 60, OTHER)
    PartialFile(target, 10, PLAN).abandon()
    assert not old.exists()


# --- racing --------------------------------------------------------------------------------------

RACER = """
import sys
from pathlib import Path
from didlab.export import partial
print("ready", flush=True)
for line in sys.stdin:
    taken = partial.take_over(Path(line.strip()), "0123456789abcdef")
    print(taken.name if taken else "-", flush=True)
"""


@posix
def test_of_sixteen_processes_one_wins(target):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(16)
    ]
    try:
        for racer in racers:
            assert racer.stdout.readline() == "ready\n"
        for _ in range(30):
            left = partial.free_name(target, PLAN)
            left.write_bytes(b"data")
            for racer in racers:
                racer.stdin.write(f"{target}\n")
                racer.stdin.flush()
            winners = [name for r in racers if (name := r.stdout.readline().strip()) != "-"]
            assert len(winners) == 1
            [there] = target.parent.iterdir()
            assert there.name == winners[0]
            there.unlink()
    finally:
        for racer in racers:
            racer.stdin.close()
            racer.wait(10)
            racer.stdout.close()


def test_of_sixteen_threads_one_wins(target):
    for _ in range(30):
        partial.free_name(target, PLAN).write_bytes(b"data")
        barrier = threading.Barrier(16)
        won: list[Path | None] = []

        def race(barrier=barrier, won=won) -> None:
            barrier.wait()
            won.append(partial.take_over(target, PLAN))

        threads = [threading.Thread(target=race) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [winner] = [path for path in won if path is not None]
        assert [path.name for path in target.parent.iterdir()] == [winner.name]
        winner.unlink()


# --- the file itself -----------------------------------------------------------------------------


def noted(target: Path, *stretches: Stretch) -> Path:
    """Leave a partial file with these lines in its journal."""
    file = PartialFile(target, 100, PLAN)
    with file.handle() as handle:
        for stretch in stretches:
            file.note(handle, stretch)
    file.release()
    [left] = target.parent.iterdir()
    return left


ONE, TWO = Stretch(0, 0, 10, "a" * 64), Stretch(0, 10, 20, "b" * 64)


def test_a_journal_goes_on_behind_what_is_whole(target):
    left = noted(target, ONE)
    with left.open("ab") as file:
        file.write(b"0 10 torn")
    again = PartialFile(target, 100, PLAN)
    assert again.stretches == [ONE]
    assert not again.finished
    with again.handle() as handle:
        again.note(handle, TWO)
    assert read_journal(again.path.read_bytes()[100:]) == [ONE, TWO]
    again.abandon()


def test_one_without_a_journal_may_be_finished(target):
    left = noted(target, ONE)
    with left.open("r+b") as file:
        file.truncate(100)
    again = PartialFile(target, 100, PLAN)
    assert again.finished
    # Until it is known what is right, it stays what it is: for the next one, if need be.
    assert again.path.stat().st_size == 100
    again.begin_journal([TWO])
    assert again.path.read_bytes()[100:] == HEAD + TWO.line()
    again.abandon()


def test_a_commit_leaves_no_journal(target):
    noted(target, ONE, TWO)
    again = PartialFile(target, 100, PLAN)
    again.commit(overwrite=False)
    assert target.stat().st_size == 100
    assert [path.name for path in target.parent.iterdir()] == ["app.tar"]
    assert partial.live == set()


def test_a_failed_beginning_keeps_what_was_there(target, monkeypatch):
    noted(target, ONE)
    with monkeypatch.context() as patch:
        patch.setattr(output.os, "ftruncate", refuse)
        with pytest.raises(WriteFailed):
            PartialFile(target, 100, PLAN)
    assert PartialFile(target, 100, PLAN).stretches == [ONE]


def test_no_room_is_found_before_the_start(target, monkeypatch):
    monkeypatch.setattr(output, "available", lambda _: 99)
    with pytest.raises(DiskFull) as caught:
        PartialFile(target, 100, PLAN)
    assert (caught.value.needed, caught.value.available) == (100, 99)
    assert list(target.parent.iterdir()) == []


def refuse(*_: object) -> None:
    raise PermissionError(13, "Permission denied")
