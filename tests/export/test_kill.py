"""``kill -9`` at any moment: no file or the whole file, and little is fetched again.

``DIDLAB_KILL_POINTS=1000`` for the long form.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rig.cutting import ON_THE_WAY, CuttingProxy
from rig.faults import FaultServer
from rig.images import make_image

import didlab
from didlab.oci.digest import encoded

MB = 1_000_000
MIB = 1024 * 1024
#: Manifests, configs, headers of answers.
HEADS = 64 * 1024
POINTS = int(os.environ.get("DIDLAB_KILL_POINTS", "100"))

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL of POSIX")


@pytest.fixture(scope="module")
def server():
    noise = random.Random(4)
    layers = [{f"f{number}": noise.randbytes(size)} for number, size in enumerate(SIZES)]
    with FaultServer() as server:
        server.image = make_image(layers)
        server.add_image("lab/app", "1", server.image)
        server.layers = json.loads(server.image.manifest)["layers"]
        yield server


SIZES = (9 * MB, 3 * MB, 2 * MB, 500_000, 1000)


class Killer:
    """The process that forks savers (`killing.py`)."""

    def __init__(self, reference: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("killing.py"), reference],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, target: Path) -> int:
        self._process.stdin.write(f"{target}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def ended(self) -> int:
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


def held(folder: Path, size: int, total: int) -> int:
    """Bytes of blobs that the partial files in a folder claim to hold."""
    from didlab.export.partial import read_journal

    best = 0
    for path in folder.glob(".*.part"):
        if path.stat().st_size == size:
            return total  # its journal is cut off already: it was about to get its name
        with path.open("rb") as file:
            file.seek(size)
            best = max(best, sum(s.stop - s.start for s in read_journal(file.read())))
    return best


@pytest.mark.timeout(1200)  # two hundred saves
def test_killed_anywhere(server, tmp_path):
    seed = int(os.environ.get("DIDLAB_KILL_SEED", time.time()))
    print("seed", seed)
    chance = random.Random(seed)
    total = sum(layer["size"] for layer in server.layers)
    with CuttingProxy(server.host, rate=25 * MB) as line:
        killer = Killer(f"{line.host}/lab/app:1")
        try:
            whole = tmp_path / "whole.tar"
            killer.begin(whole)
            assert killer.ended() == 0
            expected = hashlib.sha256(whole.read_bytes()).hexdigest()
            size = whole.stat().st_size
            whole.unlink()
            interrupted = 0
            for point in range(POINTS):
                folder = tmp_path / str(point)
                folder.mkdir()
                target = folder / "app.tar"
                before, connections = line.passed, line.connections
                goal = before + chance.randrange(total)
                # It may go on meanwhile, but not come to its end unless that is near.
                line.gate = goal + MB
                child = killer.begin(target)
                while line.passed < goal and _runs(child):
                    time.sleep(0.001)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                killed = killer.ended()
                line.gate = None
                line.settle()
                kept = 0
                if killed == -signal.SIGKILL:
                    interrupted += 1
                    if target.exists():
                        assert hashlib.sha256(target.read_bytes()).hexdigest() == expected
                    # What had arrived when it was killed, less what one kill may cost.
                    kept = total if target.exists() else held(folder, size, total)
                    lost = HEADS + ON_THE_WAY * (line.connections - connections)
                    assert kept >= line.passed - before - lost - MIB - total // 100
                before, connections = line.passed, line.connections
                killer.begin(target)
                assert killer.ended() == 0
                line.settle()
                again = line.passed - before
                assert hashlib.sha256(target.read_bytes()).hexdigest() == expected
                assert [path.name for path in folder.iterdir()] == ["app.tar"]
                if killed == -signal.SIGKILL:
                    lost = HEADS + ON_THE_WAY * (line.connections - connections)
                    assert again <= total - kept + lost
                target.unlink()
            assert interrupted > POINTS // 2
        finally:
            killer.close()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_owner_that_nobody_waited_for_is_dead():
    from didlab.export.partial import _runs

    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    assert _runs(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert not _runs(child.pid)
    finally:
        child.wait()


def test_two_processes_save_to_one_place(server, tmp_path):
    with CuttingProxy(server.host, rate=25 * MB) as line:
        one, two = Killer(f"{line.host}/lab/app:1"), Killer(f"{line.host}/lab/app:1")
        try:
            for _ in range(5):
                one.begin(tmp_path / "app.tar")
                two.begin(tmp_path / "app.tar")
                assert {one.ended(), two.ended()} == {0}
                with_blobs = (tmp_path / "app.tar").read_bytes()
                for layer in server.layers:
                    assert encoded(layer["digest"]).encode() in with_blobs
                (tmp_path / "app.tar").unlink()
        finally:
            one.close()
            two.close()


def test_two_threads_save_to_one_place(server, tmp_path):
    image = didlab.open(f"{server.host}/lab/app:1")
    said: list[object] = []

    def save() -> None:
        try:
            said.append(image.save(tmp_path / "app.tar", overwrite=True))
        except didlab.errors.DidlabError as error:
            said.append(error)

    threads = [threading.Thread(target=save) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(answer).__name__ for answer in said] == ["SaveReport"] * 4
    again = image.save(tmp_path / "app.tar")
    assert again.downloaded == 0
