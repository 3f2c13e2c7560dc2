"""Several writers of one layout, names of bases at the daemon, and what a copy may be called."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rig.faults import FaultServer
from rig.images import BuiltImage, make_image

import didlab
from didlab.export import alone as alones
from didlab.export.alone import alone

IMAGES = [make_image([{"shared": b"s" * 999}, {f"file{n}": b"%d" % n}]) for n in range(5)]


@pytest.fixture(scope="module")
def server():
    with FaultServer() as made:
        for number, image in enumerate(IMAGES):
            made.add_image("lab/app", str(number), image)
        yield made


def listed(folder: Path) -> dict[str, str]:
    rows = didlab.images(folder)
    return dict(zip(rows["name"], rows["digest"], strict=True))


def names(server: FaultServer, images: list[BuiltImage] = IMAGES) -> dict[str, str]:
    return {f"{server.host}/lab/app:{n}": image.digest for n, image in enumerate(images)}


def test_threads_that_write_one_layout_lose_no_image(server, tmp_path):
    failed: list[BaseException] = []
    together = threading.Barrier(len(IMAGES))

    def save(number: int) -> None:
        try:
            m = didlab.open(f"{server.host}/lab/app:{number}")
            m.digest()
            together.wait(30)
            m.save(tmp_path / "layout", format="oci-dir", progress=False)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=save, args=(n,)) for n in range(len(IMAGES))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert listed(tmp_path / "layout") == names(server)
    there = sorted(path.name for path in (tmp_path / "layout").iterdir())
    assert there == ["blobs", "index.json", "oci-layout"]


def test_an_image_that_came_meanwhile_stays(server, tmp_path, monkeypatch):
    """Not by chance: the other writer is done between this one's look and its end."""
    from didlab.export import layout

    folder = tmp_path / "layout"
    real = layout.run

    def run(*args, **named):
        made = real(*args, **named)
        monkeypatch.setattr(layout, "run", real)
        didlab.open(f"{server.host}/lab/app:1").save(folder, format="oci-dir", progress=False)
        return made

    monkeypatch.setattr(layout, "run", run)
    didlab.open(f"{server.host}/lab/app:0").save(folder, format="oci-dir", progress=False)
    assert listed(folder) == names(server, IMAGES[:2])


def test_a_name_that_was_taken_meanwhile_is_not_replaced(server, tmp_path, monkeypatch):
    from didlab.export import layout

    folder = tmp_path / "layout"
    name = f"{server.host}/lab/app:0"
    real = layout.run

    def run(*args, **named):
        made = real(*args, **named)
        entry = {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": IMAGES[1].digest,
            "size": 1,
            "annotations": {"io.containerd.image.name": name},
        }
        text = json.dumps({"schemaVersion": 2, "manifests": [entry]})
        (folder / "index.json").write_text(text)
        return made

    monkeypatch.setattr(layout, "run", run)
    with pytest.raises(didlab.errors.DestinationExists, match="lab/app:0"):
        didlab.open(name).save(folder, format="oci-dir", progress=False)
    assert json.loads((folder / "index.json").read_text())["manifests"][0]["size"] == 1


def test_processes_are_kept_out_too(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from didlab.export.alone import alone\n"
        "with alone(pathlib.Path(sys.argv[1])):\n"
        "    print('in', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    argv = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"in"
        with pytest.raises(OSError) as taken:
            alones._try(tmp_path)
        assert taken.value.errno in alones._TAKEN
        other.kill()  # a lock of a dead process is none
        other.wait()
        with alone(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_locks_is_written_to_all_the_same(tmp_path, monkeypatch):
    def refused(folder: Path) -> int:
        raise OSError(errno.ENOTSUP, "no locks here")

    monkeypatch.setattr(alones, "_try", refused)
    with alone(tmp_path):
        pass


def test_who_holds_it_for_ever_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(alones, "_PATIENCE", 0.05)
    with alone(tmp_path), alone(tmp_path):
        pass


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.zst"])
def test_a_copy_may_be_compressed_as_a_whole(server, tmp_path, suffix):
    report = didlab.copy(f"{server.host}/lab/app:0", tmp_path / f"a{suffix}", progress=False)
    assert didlab.open(report).digest() == IMAGES[0].digest
