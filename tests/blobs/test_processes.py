"""Many processes on one store, and processes that die in the middle."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rig.processes import clean_environ

from didlab.blobs.store import BlobStore
from didlab.oci import digest as digests

PROCESSES = int(os.environ.get("STORE_PROCESSES", "4"))
ROUNDS = int(os.environ.get("STORE_ROUNDS", "5"))

#: Put everything in, take it out, check it; while others do, and while room is made.
WORK = """
import random, sys, time
from pathlib import Path
from didlab.blobs import trimming
from didlab.blobs.store import BlobStore
from didlab.oci import digest as digests

base, rounds, go = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
trimming.RECENT = float(sys.argv[4])
contents = [random.Random(n).randbytes(n * 3001) for n in range(12)]
print("ready", flush=True)
while not go.exists():
    time.sleep(0.001)
for number in range(rounds):
    store = BlobStore(base / str(number), int(sys.argv[5]))
    random.shuffle(contents)
    for data in contents:
        digest = digests.of(data)
        with store.begin(digest, len(data)) as ingest:
            for at in range(0, len(data), 5000):
                ingest.write(data[at:at + 5000])
            ingest.commit()
        for other in random.sample(contents, 3):
            blob = store.open(digests.of(other), len(other))
            if blob is not None:
                with blob:
                    assert blob.read_at(0, blob.size) == other
"""


def start(script: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)],
        env={**clean_environ("DIDLAB_"), "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check(root: Path) -> int:
    """No file under a digest's name holds anything else; return how many there are."""
    count = 0
    for path in (root / "v1" / "blobs" / "sha256").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
        count += 1
    return count


@pytest.mark.parametrize(("recent", "limit"), [(60, 10**9), (0, 60_000)], ids=["all", "trimmed"])
def test_many_processes_on_one_cold_store(tmp_path: Path, recent: int, limit: int) -> None:
    go = tmp_path / "go"
    base = tmp_path / "stores"
    running = [start(WORK, base, ROUNDS, go, recent, limit) for _ in range(PROCESSES)]
    for one in running:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    go.touch()
    for one in running:
        out, err = one.communicate(timeout=120)
        assert (one.returncode, out, err) == (0, "", "")
    for number in range(ROUNDS):
        root = base / str(number)
        count = check(root)
        assert count == 12 or (limit < 10**9 and count < 12)
        assert list((root / "v1" / "ingest").iterdir()) == []


#: Die at the n-th of the calls that matter.
DIE = """
import os, sys
from pathlib import Path
from didlab.blobs import folder
from didlab.blobs.store import BlobStore
from didlab.oci import digest as digests

left = int(sys.argv[2])
def counted(real):
    def call(*args, **kwargs):
        global left
        if left == 0:
            os._exit(9)
        left -= 1
        return real(*args, **kwargs)
    return call

store = BlobStore(Path(sys.argv[1]))
data = b"x" * 100_000
os.open = counted(os.open)
if hasattr(os, "pwrite"):
    os.pwrite = counted(os.pwrite)
os.fsync, os.close = counted(os.fsync), counted(os.close)
Path.replace = counted(Path.replace)
ingest = store.begin(digests.of(data), len(data))
ingest.write(data[:50_000])
ingest.write(data[50_000:])
ingest.commit()
os._exit(0)
"""


def test_dying_at_every_step(tmp_path: Path) -> None:
    data = b"x" * 100_000
    seen = set()
    for step in range(20):
        root = tmp_path / str(step)
        died = start(DIE, root, step)
        assert died.communicate(timeout=60) == ("", "")
        seen.add((died.returncode, check(root)))
        store = BlobStore(root)
        store.put(digests.of(data), data)
        assert store.get(digests.of(data), len(data)) is not None
        assert check(root) == 1
        if died.returncode == 0:
            break
    # Before the name was there, after it, and all the way through.
    assert seen == {(9, 0), (9, 1), (0, 1)}


#: Put blobs in until killed.
ON_AND_ON = """
import os, sys
from pathlib import Path
from didlab.blobs.store import BlobStore
from didlab.oci import digest as digests
store = BlobStore(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    data = os.urandom(50_000)
    with store.begin(digests.of(data), len(data)) as ingest:
        ingest.write(data)
        ingest.commit()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_killed_at_any_moment(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    for _ in range(8):
        victim = start(ON_AND_ON, root)
        assert victim.stdout is not None
        assert victim.stdout.readline() == "ready\n"
        time.sleep(random.uniform(0, 0.05))
        victim.kill()
        victim.communicate(timeout=60)
    check(root)
    left = list((root / "v1" / "ingest").iterdir())
    assert len(left) <= 8
    for path in left:
        os.utime(path, (0, 0))
    BlobStore(root).put(digests.of(b""), b"")
    assert list((root / "v1" / "ingest").iterdir()) == []


FORK = """
import os, sys, threading
from pathlib import Path
from didlab.blobs import store as stores
from didlab.oci import digest as digests

data = b"x" * 1000
store = stores.default()
store.put(digests.of(data), data)
store._verified.clear()
store._hashing.setdefault(digests.of(data), threading.Lock()).acquire()  # a thread hashes it
if pid := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
os._exit(0 if store.get(digests.of(data)) else 1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_waits_for_no_thread_of_its_parent(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK],
        env={
            **clean_environ("DIDLAB_"),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "DIDLAB_CACHE": str(tmp_path / "cache"),
        },
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
