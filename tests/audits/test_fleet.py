"""audit(): a registry of 200 tags that share layers, what it costs, and what goes wrong."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rig.faults import FaultServer, corrupt, respond, stall
from rig.images import (
    BuiltImage,
    Pusher,
    gzipped,
    make_artifact,
    make_image,
    make_index,
    make_tar,
    write_layout,
)
from rig.registries import Registry

import didlab
from didlab.audits.fleet.running import Run
from didlab.blobs.store import BlobStore
from didlab.errors import DidlabError, InvalidArgument
from didlab.files import blocks, kept
from didlab.sources.cached import shared

TAGS = 200
OS = b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n'
NOISE = random.Random(7)


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    forget()


def forget() -> None:
    shared.clear()
    kept.forget()
    blocks.forget()


def status(*names: str) -> bytes:
    return b"".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\n"
        f"Version: {number}\n\n".encode()
        for number, name in enumerate(names)
    )


def fleet() -> dict[str, BuiltImage]:
    """200 tags of 190 images, over 3 bases and 19 layers above."""
    bases = [
        make_tar(
            {
                "etc/os-release": OS,
                "var/lib/dpkg/status": status("libc6", f"base{number}"),
                "usr/lib/noise": NOISE.randbytes(400_000),
            }
        )
        for number in range(3)
    ]
    above = [
        make_tar({f"app/{number}": NOISE.randbytes(400_000), "app/name": b"%d" % number})
        for number in range(19)
    ]
    packed: dict[bytes, bytes] = {}

    def compress(tar: bytes) -> bytes:
        return packed.setdefault(tar, gzipped(tar, 1))

    images = [
        make_image(
            [bases[number % 3], above[number % 19]],
            compress=compress,
            layer_type="application/vnd.oci.image.layer.v1.tar+gzip",
            Labels={"number": str(number)},
            User="" if number % 2 else "app",
        )
        for number in range(190)
    ]
    tags = {f"1.{number}": image for number, image in enumerate(images)}
    return tags | {f"same-{number}": images[number] for number in range(10)}


@pytest.fixture(scope="module")
def tags() -> dict[str, BuiltImage]:
    return fleet()


@pytest.fixture(scope="module")
def repository(registry: Registry, tags: dict[str, BuiltImage]) -> str:
    # As the registry itself would store them: hundreds of uploads would take their time.
    root = registry.storage / "docker/registry/v2"
    home = root / "repositories/fleet/app"

    def link(folder: Path, digest: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "link").write_text(digest)

    for tag, image in tags.items():
        for digest, data in {**image.blobs, image.digest: image.manifest}.items():
            path = registry.blob_path(digest)
            if not path.exists():
                path.parent.mkdir(parents=True)
                path.write_bytes(data)
            link(home / "_layers" / digest.replace(":", "/"), digest)
        link(home / "_manifests/revisions" / image.digest.replace(":", "/"), image.digest)
        link(home / "_manifests/tags" / tag / "current", image.digest)
    return f"{registry.host}/fleet/app"


def opened(name: str) -> Any:
    host, _, path = name.partition("/")
    return didlab.Registry(host, trust_env=False)[path]


def layer_bytes(tags: dict[str, BuiltImage]) -> dict[str, int]:
    return {one["digest"]: one["size"] for image in tags.values() for one in image.layers}


# --- a fleet ------------------------------------------------------------------------------------


def test_each_layer_of_two_hundred_tags_is_read_once(
    registry: Registry, repository: str, tags: dict[str, BuiltImage]
) -> None:
    with registry.record() as seen:
        report = didlab.audit(opened(repository), ["packages", "os", "setuid", "config"])
    assert report.complete
    assert report.errors.empty, report.errors.to_string()
    layers = layer_bytes(tags)
    asked = Counter(one.path.rpartition("/")[2] for one in seen if "/blobs/" in one.path)
    assert all(asked[digest] == 1 for digest in layers)
    # Every image has a config of its own, and every tag a manifest. Two tags of one image that are
    # looked at in the same moment both ask for its config.
    assert len(seen) <= 2 + len(layers) + TAGS + TAGS
    assert max(asked.values()) <= 2
    came = sum(one.sent for one in seen)
    assert came <= 1.05 * sum(layers.values())
    images = report.images
    assert len(images) == TAGS
    assert images["digest"].nunique() == 190
    assert set(images["reference"]) == {f"{repository}:{tag}" for tag in tags}
    assert (images["layers"] == 2).all()
    packages = report["packages"]
    assert len(packages) == 2 * TAGS
    assert list(packages.columns[:3]) == ["reference", "platform", "digest"]
    assert packages.columns[-1] == "error"
    by_tag = packages[packages["reference"] == f"{repository}:1.4"]
    assert set(by_tag["name"]) == {"libc6", "base1"}
    assert (report["os"]["codename"] == "bookworm").all()


def test_equal_digests_share_the_work(repository: str) -> None:
    asked: list[tuple[str, ...]] = []
    names = [f"{repository}:1.3", f"{repository}:same-3", f"{repository}:1.4"]
    report = didlab.audit(names, didlab.check(layers=False)(lambda i: asked.append(i.references)))
    assert sorted(asked) == [(names[0], names[1]), (names[2],)]
    assert list(report.images["reference"]) == names


def test_frames_say_what_the_methods_say(repository: str) -> None:
    names = [f"{repository}:1.{number}" for number in range(4)]
    checks = ["packages", "setuid", "users", "waste", "secrets", "certificates"]
    report = didlab.audit(names, checks)
    assert report.errors.empty
    assert not report["packages"].empty
    for check in checks:
        for name in names:
            image = didlab.open(name)
            theirs = getattr(image, check)()
            ours = report[check]
            ours = ours[ours["reference"] == name]
            for column in theirs:
                expected = [None if pd.isna(one) else one for one in theirs[column]]
                assert [None if pd.isna(one) else one for one in ours[column]] == expected


def test_again_with_a_store_costs_no_layer(
    registry: Registry, repository: str, store: BlobStore
) -> None:
    first = didlab.audit(f"{repository}:1.1?", ["packages"], insecure=True)
    forget()
    with registry.record() as seen:
        again = didlab.audit(f"{repository}:1.1?", ["packages"], insecure=True)
    assert len(again.images) == 10
    assert not [one for one in seen if "/blobs/" in one.path]
    pd.testing.assert_frame_equal(first["packages"], again["packages"])


def test_more_layers_than_memory_remembers(
    registry: Registry, repository: str, tags: dict[str, BuiltImage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # Of 22 layers, those of one image.
    monkeypatch.setattr(kept._indexes, "_limit", 8)
    monkeypatch.setattr(kept._merged, "_limit", 8)
    monkeypatch.setattr(kept._facts, "_limit", 1000)
    with registry.record() as seen:
        report = didlab.audit(opened(repository), ["packages"], workers=1)
    assert report.errors.empty
    asked = Counter(one.path.rpartition("/")[2] for one in seen if "/blobs/" in one.path)
    assert all(asked[digest] == 1 for digest in layer_bytes(tags))
    assert len(report["packages"]) == 2 * TAGS


def test_a_glob_over_tags_a_series_and_a_registry(repository: str) -> None:
    assert len(didlab.audit(f"{repository}:1.1?").images) == 10
    column = pd.DataFrame({"image": [f"{repository}:1.1", f"{repository}:1.2"]})["image"]
    assert list(didlab.audit(column).images["reference"]) == list(column)
    for wrong, says in (
        (f"{repository[:-2]}*:1", "only tags"),
        (5, "int"),
        ([], "no image"),
        (column.to_frame(), "column"),
        ([None], "NoneType"),
    ):
        with pytest.raises(InvalidArgument, match=says):
            didlab.audit(wrong)


def test_a_whole_registry_in_order() -> None:
    with FaultServer() as server:
        for name in ("b/two", "a/one"):
            for tag in ("2", "1"):
                server.add_image(name, tag, make_image([{"x": name.encode() + tag.encode()}]))
        report = didlab.audit(didlab.Registry(server.host, trust_env=False))
        expected = [
            f"{server.host}/{name}:{tag}"
            for name in didlab.Registry(server.host, trust_env=False).repositories()["repository"]
            for tag in opened(f"{server.host}/{name}").tags()["tag"]
        ]
        assert list(report.images["reference"]) == expected
        assert len(expected) == 4


def test_a_local_archive_stands_for_all_that_it_holds(tmp_path: Path) -> None:
    images = {tag: make_image([{"etc/name": tag.encode()}]) for tag in ("one", "two")}
    layout = write_layout(tmp_path / "layout", images)

    def name(image: Any) -> str:
        return image.read("/etc/name").decode()

    report = didlab.audit(layout, name)
    assert list(report["name"]["value"]) == ["one", "two"]
    assert list(report.images["digest"]) == [one.digest for one in images.values()]


# --- platforms ----------------------------------------------------------------------------------


def test_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
    one = make_image([{"a": b"a"}], "linux/arm64")
    both = make_index([make_image([{"a": b"b"}], name) for name in ("linux/amd64", "linux/arm64")])
    with FaultServer() as server:
        server.add_image("lab/app", "arm", make_index([one]))
        server.add_image("lab/app", "both", both)
        names = [f"{server.host}/lab/app:{tag}" for tag in ("arm", "both")]
        report = didlab.audit(names)
        assert list(report.images["platform"]) == ["linux/arm64", "linux/amd64"]
        everything = didlab.audit(names, platform="all").images
        assert list(everything["platform"]) == ["linux/arm64", "linux/amd64", "linux/arm64"]
        amd = didlab.audit(names, platform="linux/amd64").images
        assert amd["error"][0].startswith("PlatformNotFound")
        assert amd["digest"][1] == both.children[0].digest
        two = didlab.audit(names, platform=["linux/amd64", "linux/arm64"]).images
        assert two["error"].notna().tolist() == [True, False, False, False]


# --- what goes wrong ----------------------------------------------------------------------------


def test_errors_are_rows() -> None:
    good, broken = make_image([{"a": b"a"}]), make_image([{"b": NOISE.randbytes(50_000)}])
    artifact = make_artifact(b"{}", "application/vnd.oci.empty.v1+json", [], {b"x".hex(): b"{}"})
    with FaultServer() as server:
        server.add_image("lab/app", "good", good)
        server.add_image("lab/app", "broken", broken)
        server.add_image("lab/app", "artifact", artifact)
        server.add_image("lab/secret", "1", good)
        server.rule(lambda request: "/lab/secret/" in request.path, respond(401))
        digest = broken.layers[0]["digest"]
        server.rule(lambda request: digest in request.path, corrupt(-20))
        names = [
            "lab/app:good",
            "lab/app:none",
            "lab/secret:1",
            "lab/app:broken",
            "lab/app:artifact",
        ]
        names = [f"{server.host}/{name}" for name in names] + ["NOT GOOD"]
        report = didlab.audit(names, ["config", "packages", "setuid"], trust_env=False)
    assert report.complete
    images = report.images
    assert list(images["reference"]) == names
    begins = [None, "ManifestNotFound", "AuthRequired", None, "NotAnImage", "InvalidReference"]
    for error, begin in zip(images["error"], begins, strict=True):
        assert pd.isna(error) if begin is None else error.startswith(begin), error
    errors = report.errors
    # The layer of one image cannot be read: its config can.
    bad = errors[errors["reference"] == names[3]]
    assert list(bad["check"]) == ["packages", "setuid"]
    assert bad["error"].str.contains("DigestMismatch").all()
    config = report["config"]
    assert config["error"].isna().tolist() == [True, False, False, True, False, False]
    assert list(report["packages"]["reference"]) == names[1:]


def test_a_check_that_fails_fails_alone(repository: str) -> None:
    def breaks(image: Any) -> Any:
        if image.config().labels["number"] == "1":
            raise ZeroDivisionError("a\x1b[31mb")
        return True

    report = didlab.audit(
        [f"{repository}:1.1", f"{repository}:1.2"], [didlab.check(layers=False)(breaks), "config"]
    )
    frame = report["breaks"]
    assert frame["value"].tolist() == [pd.NA, True]
    assert frame["error"][0] == "ZeroDivisionError: a\\x1b[31mb"
    assert report["config"]["error"].isna().all()
    assert list(report.errors["check"]) == ["breaks"]


def test_on_error_raise_ends_it(repository: str) -> None:
    with pytest.raises(DidlabError, match=r"1\.nope.*ManifestNotFound"):
        didlab.audit([f"{repository}:1.1", f"{repository}:1.nope"], on_error="raise")


def test_a_registry_that_dies_midway(own_registry: Registry) -> None:
    # One thread, and layers that take longer than names: the last layer is asked for after the
    # first image was looked at.
    images = [make_image([{"n": NOISE.randbytes(16_000_000)}]) for _ in range(4)]
    with Pusher(own_registry.host) as pusher:
        for number, image in enumerate(images):
            pusher.image("lab/app", str(number), image)
    names = [f"{own_registry.host}/lab/app:{number}" for number in range(4)]
    gone = threading.Event()

    def dies(image: Any) -> str:
        if not gone.is_set():
            own_registry.stop()
            gone.set()
        return image.digest

    report = didlab.audit(
        names, [didlab.check(dies), "packages"], workers=1, trust_env=False, timeout=(1, 1)
    )
    assert report.complete
    assert len(report.images) == 4
    # The first was whole; the last says what happened; nothing is lost.
    assert report["dies"]["value"].tolist()[0] == images[0].digest
    dead = report.errors
    assert list(dead.loc[dead["reference"] == names[3], "check"]) == ["dies", "packages"]
    assert "no connection" in dead["error"].iloc[-1]
    assert names[0] not in set(dead["reference"])


def test_the_same_layer_elsewhere_is_asked_for_when_one_place_fails() -> None:
    first = make_image([{"a": NOISE.randbytes(1000)}])
    config = json.loads(first.config) | {"author": "another"}
    second = make_image([{"a": b""}], config_json=config)
    second = make_artifact(
        second.config,
        "application/vnd.oci.image.config.v1+json",
        first.layers,
        first.blobs,
        platform="linux/amd64",
    )
    layer = first.layers[0]["digest"]
    with FaultServer() as server:
        server.add_image("lab/bad", "1", first)
        server.add_image("lab/good", "2", second)
        server.rule(lambda request: request.path.endswith(f"/lab/bad/blobs/{layer}"), respond(404))
        names = [f"{server.host}/lab/bad:1", f"{server.host}/lab/good:2"]
        report = didlab.audit(names, "setuid", trust_env=False)
    assert report.images["digest"].nunique() == 2
    assert report.errors.empty, report.errors.to_string()


# --- what checks return -------------------------------------------------------------------------


def test_everything_that_a_check_may_return(repository: str) -> None:
    def table(image: Any) -> Any:
        return pd.DataFrame(
            {"n": [1, 2], "digest": ["x", None], "when": pd.Timestamp("2024-01-01")}
        )

    def rows(image: Any) -> Any:
        yield {"a": 1}
        yield {"b": 2.5, "a": None}

    checks = {
        "table": table,
        "rows": rows,
        "one": lambda image: {"k": [1, 2], "t": True},
        "value": lambda image: 7,
        "nothing": lambda image: None,
        "texts": lambda image: ["x", "y\udce9"],
        "mixed": lambda image: [1, "a", 2.5, None],
    }
    made = [didlab.check(name=name, layers=False)(one) for name, one in checks.items()]
    report = didlab.audit(f"{repository}:1.1", made)
    assert report.errors.empty
    frame = report["table"]
    assert list(frame.columns) == [
        "reference", "platform", "digest", "n", "table_digest", "when", "error",
    ]  # fmt: skip
    assert frame["n"].tolist() == [1, 2]
    assert str(frame["n"].dtype) == "Int64"
    assert str(frame["when"].dtype) == "datetime64[us, UTC]"
    assert frame["when"][0] == pd.Timestamp("2024-01-01", tz="UTC")
    assert report["rows"]["a"].tolist() == [1, pd.NA]
    assert report["rows"]["b"].isna().tolist() == [True, False]
    assert report["one"]["k"][0] == "[1, 2]"
    assert report["one"]["t"].tolist() == [True]
    assert report["value"]["value"].tolist() == [7]
    assert report["nothing"].empty
    assert report["texts"]["value"].tolist() == ["x", "y\\udce9"]
    assert report["mixed"]["value"].tolist()[:3] == ["1", '"a"', "2.5"]


def test_files_that_a_check_reads_come_along() -> None:
    big = NOISE.randbytes(300_000)
    layers = [
        {"etc/nginx/a.conf": b"one", "etc/nginx/b.conf": b"old", "zz": big},
        {"etc/nginx/b.conf": b"new", "etc/.wh.gone": b""},
    ]

    @didlab.check(reads="/etc/nginx/**")
    def conf(image: Any) -> Any:
        assert image.exists("/etc/nginx/a.conf")
        assert not image.exists("/etc/nginx/none")
        files = image.files("/etc/nginx/*")
        return [{"path": one, "text": image.read(one).decode()} for one in files["path"]]

    with FaultServer() as server:
        server.add_image("lab/app", "1", make_image(layers))
        report = didlab.audit(f"{server.host}/lab/app:1", conf, trust_env=False)
        asked = [one for one in server.requests if "/blobs/" in one.path]
    assert report["conf"]["text"].tolist() == ["one", "new"]
    assert len(asked) == 3  # the config, and a pass over each layer


def test_a_check_about_the_config_reads_no_layer(repository: str) -> None:
    @didlab.check(layers=False)
    def lies(image: Any) -> Any:
        return image.read("/etc/os-release")

    report = didlab.audit(f"{repository}:1.1", lies)
    assert "layers=False" in report.errors["error"][0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"checks": "nope"}, "no check"),
        ({"checks": []}, "no check was named"),
        ({"checks": 5}, "int"),
        ({"workers": 0}, "workers"),
        ({"on_error": "maybe"}, "on_error"),
        ({"executor": 5}, "executor"),
        ({"platform": 5}, "platform"),
        ({"progress": int}, "progress"),
        ({"resume": 5}, "resume"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_nonsense_is_refused_at_once(arguments: dict[str, Any], says: str) -> None:
    checks = arguments.pop("checks", "config")
    with pytest.raises((InvalidArgument, TypeError), match=says):
        report = didlab.audit("127.0.0.1:1/a:1", checks, **arguments)
        raise TypeError(report.errors["error"][0])


# --- resume -------------------------------------------------------------------------------------


def test_resume_goes_on(registry: Registry, repository: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    names = [f"{repository}:1.{number}" for number in range(8)]
    broken = [True]
    calls: list[str] = []

    def odd(image: Any) -> Any:
        calls.append(image.reference)
        if image.reference.endswith("1.3") and broken:
            raise OSError("not now")
        return {"name": image.reference[-1], "n": 1}

    first = didlab.audit(names[:5], [odd, "packages"], resume=path)
    assert list(first.errors["check"]) == ["odd"]
    assert len(calls) == 5
    # A crash tears the last line.
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"digest": "sha256:torn')
    broken.clear()
    calls.clear()
    forget()
    with registry.record() as seen:
        second = didlab.audit(names, [odd, "packages"], resume=path)
    assert sorted(calls) == sorted([names[3], *names[5:]])
    assert second.complete
    assert second.errors.empty
    assert second["odd"]["name"].tolist() == [name[-1] for name in names]
    # Of images that are done no layer is read.
    asked = {one.path.rpartition("/")[2] for one in seen if "/blobs/" in one.path}
    configs = 8
    assert len(asked) <= configs + 2 * 4
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 1 + 5 + 4
    fresh = didlab.audit(names, [odd, "packages"])
    for name in fresh:
        pd.testing.assert_frame_equal(fresh[name], second[name])
    # Another check: only that one.
    calls.clear()
    third = didlab.audit(names, [odd, "packages", "config"], resume=path)
    assert not calls
    assert len(third["config"]) == 8


def test_resume_knows_when_a_function_is_another(repository: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    def make(number: int) -> Any:
        def mine(image: Any) -> int:
            return number

        return mine

    for number, expected in ((1, 1), (1, 1), (2, 2)):
        report = didlab.audit(f"{repository}:1.1", make(number), resume=path)
        assert report["mine"]["value"].tolist() == [expected]
    assert len(path.read_text().splitlines()) == 3


def test_resume_leaves_other_files_alone(repository: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InvalidArgument, match="no checkpoint"):
        didlab.audit(f"{repository}:1.1", resume=path)
    assert path.read_text() == "a,b\n1,2\n"


def test_resume_in_parquet(repository: str, tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "audit.parquet"
    calls: list[int] = []
    check = didlab.check(name="mine")(lambda image: calls.append(1))
    for _ in range(2):
        report = didlab.audit(f"{repository}:1.1?", [check, "packages"], resume=path)
        assert report.errors.empty
    assert len(calls) == 10
    assert len(pd.read_parquet(path)) == 10
    assert [one.name for one in tmp_path.iterdir()] == ["audit.parquet"]
    other = tmp_path / "other.parquet"
    other.write_bytes(b"nonsense")
    with pytest.raises(InvalidArgument, match="no checkpoint"):
        didlab.audit(f"{repository}:1.1", resume=other)
    assert other.read_bytes() == b"nonsense"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install pyarrow"):
        didlab.audit(f"{repository}:1.1", resume=path)


# --- while it runs ------------------------------------------------------------------------------


def test_results_come_as_they_are_done(repository: str) -> None:
    go = threading.Event()

    def waits(image: Any) -> str:
        if image.reference.endswith("1.0"):
            go.wait(60)
        return image.reference

    names = [f"{repository}:1.{number}" for number in range(6)] + [f"{repository}:none"]
    report = didlab.audit(names, didlab.check(layers=False)(waits), wait=False)
    came = []
    for one in report.as_completed():
        came.append(one.reference)
        if len(came) == 6:
            assert report.running
            assert not report.complete
            assert "running" in repr(report)
            go.set()
    assert came[-1] == names[0]
    assert sorted(came) == sorted(names)
    assert report.wait() is report
    assert report.complete
    assert [one.reference for one in report.as_completed()] == came
    last = list(report.as_completed())[-1]
    assert last["waits"]["value"].tolist() == [names[0]]


def test_cancel_keeps_what_is_done(repository: str, caplog: pytest.LogCaptureFixture) -> None:
    started, go = threading.Event(), threading.Event()

    def waits(image: Any) -> str:
        if image.reference.endswith("1.0"):
            return "done"
        started.set()
        go.wait(60)
        return "late"

    names = [f"{repository}:1.{number}" for number in range(6)]
    report = didlab.audit(names, didlab.check(layers=False)(waits), wait=False, workers=1)
    assert started.wait(60)
    report.cancel()
    go.set()
    report.wait()
    assert report.interrupted
    assert not report.complete
    frame = report["waits"]
    assert len(frame) == 6
    assert (frame["error"] == "interrupted").sum() >= 4
    assert "late" not in frame["value"].tolist()
    assert "interrupted" in caplog.text
    assert "interrupted" in repr(report)


def test_cancel_while_names_are_resolved() -> None:
    """Layers are read meanwhile; every row says that it was interrupted."""
    images = [make_image([{"n": b"%d" % n * 1000}]) for n in range(6)]
    with FaultServer() as server:
        for number, image in enumerate(images):
            server.add_image("lab/app", str(number), image)
        server.rule(lambda request: request.path.endswith("/manifests/5"), stall(60))
        names = [f"{server.host}/lab/app:{number}" for number in range(6)]
        report = didlab.audit(names, "packages", wait=False, trust_env=False)
        layers = [image.layers[0]["digest"] for image in images[:5]]
        for _ in range(600):
            asked = {one.path.rpartition("/")[2] for one in server.requests}
            if asked.issuperset(layers):
                break
            time.sleep(0.05)
        assert asked.issuperset(layers)  # though nobody knows yet what the last one is
        report.cancel()
        report.wait()
    assert report.interrupted
    assert report.images["error"].tolist() == ["interrupted"] * 6
    assert report.images["digest"].isna().tolist() == [False] * 5 + [True]
    assert report["packages"]["error"].tolist() == ["interrupted"] * 6


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_gives_what_is_done(tmp_path: Path) -> None:
    images = [make_image([{"n": b"%d" % n * 1000}]) for n in range(5)]
    with FaultServer() as server:
        for number, image in enumerate(images):
            server.add_image("lab/app", str(number), image)
        stuck = images[4].layers[0]["digest"]
        server.rule(lambda request: stuck in request.path, stall(30))
        child = subprocess.Popen(
            [
                sys.executable,
                Path(__file__).with_name("fleet_interrupting.py"),
                server.host,
                tmp_path / "audit.jsonl",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "four are done\n"
            child.send_signal(signal.SIGINT)
            told = json.loads(child.stdout.readline())
            assert child.wait(60) == 0
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
    assert told == {"complete": False, "errors": [None, None, None, None, "interrupted"]}


def test_a_second_ctrl_c_is_raised(repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started, go = threading.Event(), threading.Event()

    def waits(image: Any) -> None:
        started.set()
        go.wait(60)

    def interrupted(run: Run) -> None:
        assert started.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "_watch", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            didlab.audit(f"{repository}:1.1", didlab.check(layers=False)(waits))
    finally:
        go.set()


def test_progress_counts_the_distinct_layers(repository: str, tags: dict[str, BuiltImage]) -> None:
    class Bar:
        total = 0
        n = 0
        closed = 0

        def reset(self, total: int) -> None:
            self.total = total

        def update(self, n: int) -> None:
            self.n += n

        def close(self) -> None:
            self.closed += 1

    bar = Bar()
    didlab.audit(opened(repository), "setuid", progress=bar)
    assert bar.total == bar.n == sum(layer_bytes(tags).values())
    assert bar.closed == 1


def test_a_report_is_a_mapping_and_has_a_card(repository: str) -> None:
    report = didlab.audit([f"{repository}:1.1", f"{repository}:none"], ["config", "size"])
    assert list(report) == ["config", "size"]
    assert len(report) == 2
    assert bool(report)
    assert set(dict(report)) == {"config", "size"}
    with pytest.raises(KeyError):
        report["packages"]
    assert repr(report) == "<Report 2 images · config, size · 1 with errors>"
    assert "audit" in report._repr_html_()
    assert "<script" not in report._repr_html_()
