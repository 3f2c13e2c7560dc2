"""What looks tell of layers: along with a listing, by a few ranges, from the store; never twice."""

from __future__ import annotations

import functools
import io
import logging
import random
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rig.faults import FaultServer, Request, corrupt, ignore_range, reset_after, respond
from rig.images import (
    OCI_CONFIG,
    OCI_MANIFEST,
    BuiltImage,
    dump,
    gzipped,
    hardlink,
    make_artifact,
    make_image,
    make_tar,
    sha256,
    write_layout,
)
from rig.tocs import Tabled, chunked, estargz

import didlab
from didlab.blobs import derived
from didlab.blobs.store import BlobStore
from didlab.errors import BlobNotFound, DidlabError, DigestMismatch
from didlab.files import blocks, decompress, kept, zstdlib
from didlab.files.looks import Facts, Look
from didlab.model import learning, rereading
from didlab.model.indexing import Manner
from didlab.sources.cached import shared


class Marked(Look):
    """Files whose name ends in ``.mark``; counts what it was given."""

    name = "marked 1"

    def __init__(self) -> None:
        self.given: list[bytes] = []

    def wants(self, path: bytes, size: int) -> bool:
        return path.endswith(b".mark")

    def maybe(self, paths: bytes) -> bool:
        return b".mark\0" in paths

    def facts(self, path: bytes, content: bytes) -> Facts:
        self.given.append(path)
        return [content.decode("latin-1")]


def noise(size: int, seed: int) -> bytes:
    """What compresses to a half or so."""
    return random.Random(seed).randbytes(size // 2).hex().encode()


BIG = noise(9_000_000, 1)
#: A few marks, far from each other.
FEW: dict[str, Any] = {
    "first.mark": b"one",
    "big": BIG[:5_000_000],
    "d/middle.mark": b"two",
    "rest": BIG[5_000_000:],
    "last.mark": b"three",
    "z": noise(500_000, 2),
}
FEW_FACTS = {b"/first.mark": ["one"], b"/d/middle.mark": ["two"], b"/last.mark": ["three"]}
#: A mark in every span.
MANY: dict[str, Any] = {}
for _number in range(12):
    MANY[f"{_number}"] = BIG[_number * 700_000 : (_number + 1) * 700_000]
    MANY[f"{_number}.mark"] = b"%d" % _number
MANY_FACTS = {f"/{number}.mark".encode(): [str(number)] for number in range(12)}
TOP: dict[str, Any] = {"top.mark": b"on top", "other": b"x"}


#: Layers come again and again: each is packed once.
packed = functools.cache(functools.partial(gzipped, level=1))


def zstd(data: bytes, frame: int = 100_000) -> bytes:
    module = zstdlib.module()
    return b"".join(module.compress(data[at : at + frame], 1) for at in range(0, len(data), frame))


def with_table(made: Tabled, *, vouched: bool = True) -> BuiltImage:
    """An image of one layer with a table of contents; the manifest vouches for it, or not."""
    layer = {
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
        "digest": sha256(made.blob),
        "size": len(made.blob),
        **({"annotations": made.annotations} if vouched else {}),
    }
    rootfs = {"type": "layers", "diff_ids": [sha256(made.tar)]}
    config = dump({"os": "linux", "architecture": "amd64", "config": {}, "rootfs": rootfs})
    blobs = {sha256(made.blob): made.blob}
    return make_artifact(config, OCI_CONFIG, [layer], blobs, media_type=OCI_MANIFEST)


def members(files: dict[str, Any]) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(make_tar(files))) as archive:
        return [(one, archive.extractfile(one).read()) for one in archive]  # type: ignore[union-attr]


GZIP = make_image([FEW], compress=packed)
SPREAD = make_image([MANY], compress=packed)
KINDS: dict[str, Callable[[], BuiltImage]] = {
    "gzip": lambda: GZIP,
    "zstd": lambda: make_image(
        [FEW], compress=zstd, layer_type="application/vnd.oci.image.layer.v1.tar+zstd"
    ),
    "tar": lambda: make_image([FEW], compress=False),
    "estargz": lambda: with_table(estargz(members(FEW))),
    "chunked": lambda: with_table(chunked(members(FEW))),
}


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    shared.clear()
    kept.forget()
    blocks.forget()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


def opened(server: FaultServer, image: BuiltImage, tag: str = "1", **options: Any) -> Any:
    server.add_image("lab/app", tag, image)
    return didlab.open(f"{server.host}/lab/app:{tag}", trust_env=False, **options)


def learn(m: Any, look: Look, **manner: Any) -> list[dict[bytes, Facts]]:
    found: list[dict[bytes, Facts]] = m._layers(Manner(**manner)).learn([look])[look.name]
    return found


def asked(server: FaultServer, image: BuiltImage) -> list[Request]:
    digests = {layer["digest"] for layer in image.layers}
    return [one for one in server.requests if one.path.rpartition("/")[2] in digests]


def ranges(requests: list[Request]) -> list[tuple[int, int]]:
    texts = [one.headers["range"].removeprefix("bytes=").split("-") for one in requests]
    return [(int(first), int(last) + 1) for first, last in texts]


# --- the three ways -------------------------------------------------------------------------------


def test_along_with_the_listing(server: FaultServer) -> None:
    image = make_image([FEW, TOP], compress=packed)
    m, look = opened(server, image), Marked()
    assert learn(m, look) == [FEW_FACTS, {b"/top.mark": ["on top"]}]
    assert len(asked(server, image)) == 2
    assert len(m.files()) == 9
    assert learn(m, look)[0] == FEW_FACTS
    assert len(asked(server, image)) == 2
    assert sorted(look.given) == sorted([*FEW_FACTS, b"/top.mark"])


@pytest.mark.parametrize("kind", KINDS)
def test_afterwards_by_ranges(server: FaultServer, kind: str) -> None:
    image = KINDS[kind]()
    m, look = opened(server, image), Marked()
    m.files()
    before = len(asked(server, image))
    blocks.forget()
    assert learn(m, look) == [FEW_FACTS]
    more = asked(server, image)[before:]
    assert 1 <= len(more) <= 3
    moved = sum(stop - start for start, stop in ranges(more))
    assert moved < image.layers[0]["size"] / 3
    assert learn(m, look) == [FEW_FACTS]
    assert len(asked(server, image)) == before + len(more)
    assert sorted(look.given) == sorted(FEW_FACTS)


def test_at_most_so_many_requests(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rereading, "REQUESTS", 2)
    m = opened(server, GZIP)
    m.files()
    blocks.forget()
    before = len(asked(server, GZIP))
    monkeypatch.setattr(rereading, "_MUCH", 0)
    assert learn(m, Marked()) == [FEW_FACTS]
    assert len(asked(server, GZIP)) == before + 2


def test_files_all_over_a_layer_cost_one_request(server: FaultServer) -> None:
    m = opened(server, SPREAD)
    m.files()
    blocks.forget()
    before = len(asked(server, SPREAD))
    assert learn(m, Marked()) == [MANY_FACTS]
    (one,) = asked(server, SPREAD)[before:]
    assert "range" not in one.headers


@pytest.mark.parametrize("build", [estargz, chunked])
def test_files_all_over_a_table(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, build: Callable[..., Tabled]
) -> None:
    image = with_table(build(members(MANY)))
    m = opened(server, image)
    m.files()
    before = len(asked(server, image))
    assert learn(m, Marked()) == [MANY_FACTS]
    assert before < len(asked(server, image)) <= before + rereading.REQUESTS

    class Other(Marked):
        name = "other 1"

    monkeypatch.setattr(rereading, "REQUESTS", 2)
    before = len(asked(server, image))
    assert learn(m, Other()) == [MANY_FACTS]
    # Two would be nearly all of it: that is one.
    assert len(asked(server, image)) == before + 1


@pytest.mark.parametrize("build", [estargz, chunked])
def test_what_a_table_hides_is_hidden_only_from_those_who_vouch_for_it(
    server: FaultServer, store: BlobStore, build: Callable[..., Tabled]
) -> None:
    def hide(table: dict[str, Any]) -> None:
        table["entries"] = [one for one in table["entries"] if one["name"] != "top.mark"]

    made = build(members(TOP | {"shown.mark": b"shown"}), edit=hide)
    hiding, plain = with_table(made), with_table(made, vouched=False)
    for _ in range(2):
        assert learn(opened(server, hiding, "1"), Marked()) == [{b"/shown.mark": ["shown"]}]
        kept.forget()
    for _ in range(2):
        found = learn(opened(server, plain, "2"), Marked())
        assert found == [{b"/shown.mark": ["shown"], b"/top.mark": ["on top"]}]
        kept.forget()


def test_a_layer_of_one_frame_is_read_once(server: FaultServer) -> None:
    image = make_image([FEW], compress=lambda tar: zstd(tar, len(tar)))
    m = opened(server, image)
    m.files()
    before = len(asked(server, image))
    assert learn(m, Marked()) == [FEW_FACTS]
    assert len(asked(server, image)) == before + 1


def test_where_no_point_can_be_used(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    m = opened(server, GZIP)
    m.files()
    monkeypatch.setattr(decompress, "can_seek", lambda _: False)
    before = len(asked(server, GZIP))
    assert learn(m, Marked()) == [FEW_FACTS]
    assert len(asked(server, GZIP)) == before + 1


def test_a_place_without_ranges(server: FaultServer) -> None:
    m = opened(server, GZIP)
    m.files()
    blocks.forget()
    server.rule(lambda request: "range" in request.headers, ignore_range)
    before = len(asked(server, GZIP))
    assert learn(m, Marked()) == [FEW_FACTS]
    more = asked(server, GZIP)[before:]
    assert len(more) == 2
    assert "range" not in more[-1].headers


def test_nothing_that_is_wanted_costs_nothing(server: FaultServer) -> None:
    image = make_image([{"a": BIG[:100_000]}], compress=packed)
    m = opened(server, image)
    m.files()
    before = len(asked(server, image))
    assert learn(m, Marked()) == [{}]
    assert len(asked(server, image)) == before


def test_names_that_are_hard_links(server: FaultServer) -> None:
    """As pnpm installs: the file has a digest for its name, the link the name that counts."""
    files = {"store/1f": b"one", "big": BIG[:2_000_000], "a.mark": hardlink("store/1f")}
    image = make_image([files], compress=packed)
    m = opened(server, image)
    assert learn(m, Marked()) == [{b"/a.mark": ["one"]}]
    before = len(asked(server, image))
    assert learn(m, Marked()) == [{b"/a.mark": ["one"]}]
    assert len(asked(server, image)) == before


def test_the_last_of_a_path_holds(server: FaultServer) -> None:
    layers = [make_tar([("a.mark", b"first"), ("big", BIG[:900_000]), ("a.mark", b"last")])]
    m = opened(server, make_image(layers, compress=packed))
    m.files()
    assert learn(m, Marked()) == [{b"/a.mark": ["last"]}]


# --- once -----------------------------------------------------------------------------------------


def test_shared_layers_are_read_once(server: FaultServer) -> None:
    look = Marked()
    one, two = (
        make_image([FEW, TOP], compress=packed),
        make_image([FEW, {"new.mark": b"new"}], compress=packed),
    )
    assert learn(opened(server, one, "1"), look)[0] == FEW_FACTS
    assert learn(opened(server, two, "2"), look) == [FEW_FACTS, {b"/new.mark": ["new"]}]
    assert len(look.given) == len(set(look.given)) == 5
    assert len(asked(server, one)) == 2


def test_a_layer_that_comes_twice(server: FaultServer) -> None:
    image = make_image([TOP, FEW, TOP], compress=packed)
    found = learn(opened(server, image), Marked())
    assert found == [{b"/top.mark": ["on top"]}, FEW_FACTS, {b"/top.mark": ["on top"]}]


def test_threads_wait_for_each_other(server: FaultServer) -> None:
    m, look = opened(server, GZIP), Marked()
    m.files()
    blocks.forget()
    before = len(asked(server, GZIP))
    gate = threading.Barrier(4)

    def job(_: int) -> Any:
        gate.wait(20)
        return learn(didlab.open(str(m.reference), trust_env=False), look)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(job, range(4))) == [[FEW_FACTS]] * 4
    assert len(asked(server, GZIP)) - before <= 3
    assert sorted(look.given) == sorted(FEW_FACTS)
    assert learning._claims._claims == {}


def test_without_memory_or_store_it_ends(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was learned is the answer, whether or not it could be kept."""
    for recent in (kept._facts, kept._indexes):
        monkeypatch.setattr(recent, "_limit", 0)
    image = make_image([FEW, TOP, {"c.mark": b"c"}], compress=packed)
    m = opened(server, image)
    expected = [FEW_FACTS, {b"/top.mark": ["on top"]}, {b"/c.mark": ["c"]}]
    assert learn(m, Marked()) == expected
    m.files()
    assert learn(m, Marked()) == expected


# --- the store ------------------------------------------------------------------------------------


def test_another_process_needs_no_layer(server: FaultServer, store: BlobStore) -> None:
    look = Marked()
    learn(opened(server, GZIP), look)
    kept.forget()
    assert learn(opened(server, GZIP), look) == [FEW_FACTS]
    assert len(asked(server, GZIP)) == 1
    offline = opened(server, GZIP, offline=True)
    kept.forget()
    assert learn(offline, look) == [FEW_FACTS]


def test_damaged_facts_are_made_anew(server: FaultServer, store: BlobStore) -> None:
    look = Marked()
    m = opened(server, GZIP)
    learn(m, look)
    path = derived.path(store.root, kept._facts_name(GZIP.layers[0]["digest"], look.name, ""))
    raw = path.read_bytes()
    for spoilt in (raw[:-1], raw[:40] + bytes(20) + raw[60:], b"", b"nonsense"):
        path.write_bytes(spoilt)
        kept.forget()
        blocks.forget()
        assert learn(m, look) == [FEW_FACTS]
        assert path.read_bytes() == raw


def test_kept_layers_are_read_from_the_store(server: FaultServer, store: BlobStore) -> None:
    m = opened(server, GZIP)
    m.files(keep=True)
    before = len(asked(server, GZIP))
    assert learn(m, Marked()) == [FEW_FACTS]
    assert len(asked(server, GZIP)) == before
    offline = opened(server, GZIP, offline=True)

    class Other(Marked):
        name = "other 1"

    assert learn(offline, Other()) == [FEW_FACTS]


def test_keep_brings_what_was_listed_before(server: FaultServer, store: BlobStore) -> None:
    m = opened(server, GZIP)
    m.files()
    assert learn(m, Marked(), keep=True) == [FEW_FACTS]
    layer = GZIP.layers[0]
    assert store.present(layer["digest"], layer["size"])


def test_offline_without_the_layer(server: FaultServer, store: BlobStore) -> None:
    opened(server, GZIP).files()
    with pytest.raises(BlobNotFound):
        learn(opened(server, GZIP, offline=True), Marked())


# --- what goes wrong ------------------------------------------------------------------------------


def test_other_bytes_than_at_the_listing(server: FaultServer, store: BlobStore) -> None:
    m = opened(server, GZIP)
    m.files()
    blocks.forget()
    rule = server.rule(lambda request: "range" in request.headers, corrupt(10))
    with pytest.raises(DigestMismatch):
        learn(m, Marked())
    assert kept.facts(GZIP.layers[0]["digest"], GZIP.layers[0]["size"], Marked.name) is None
    rule.left = 0
    assert learn(m, Marked()) == [FEW_FACTS]


def test_other_bytes_in_a_pass(server: FaultServer) -> None:
    m = opened(server, SPREAD)
    m.files()
    rule = server.rule(lambda request: "/blobs/" in request.path, corrupt(-10))
    with pytest.raises(DidlabError):
        learn(m, Marked())
    assert kept.facts(SPREAD.layers[0]["digest"], SPREAD.layers[0]["size"], Marked.name) is None
    rule.left = 0
    assert learn(m, Marked()) == [MANY_FACTS]


def test_broken_connections_are_mended(server: FaultServer) -> None:
    m = opened(server, GZIP)
    m.files()
    blocks.forget()
    server.rule(lambda request: "range" in request.headers, reset_after(100_000), times=2)
    assert learn(m, Marked()) == [FEW_FACTS]


def test_one_layer_that_fails_leaves_the_others(server: FaultServer) -> None:
    image = make_image([FEW, TOP], compress=packed)
    m, look = opened(server, image), Marked()
    top = image.layers[1]["digest"]
    rule = server.rule(lambda request: top in request.path, respond(404))
    with pytest.raises(BlobNotFound):
        learn(m, look)
    rule.left = 0
    assert learn(m, look) == [FEW_FACTS, {b"/top.mark": ["on top"]}]


def test_a_look_that_fails(server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Marked):
        name = "broken in learning"

        def facts(self, path: bytes, content: bytes) -> Facts:
            raise ZeroDivisionError

    m = opened(server, GZIP)
    m.files()
    assert learn(m, Broken()) == [{}]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING]


# --- progress -------------------------------------------------------------------------------------


class Bar:
    def __init__(self) -> None:
        self.totals: list[int] = []
        self.n = 0

    def reset(self, total: int) -> None:
        self.totals.append(total)

    def update(self, n: int) -> None:
        self.n += n


def test_progress_of_ranges(server: FaultServer) -> None:
    m, bar = opened(server, GZIP), Bar()
    m.files()
    blocks.forget()
    before = len(asked(server, GZIP))
    learn(m, Marked(), progress=bar)
    moved = sum(stop - start for start, stop in ranges(asked(server, GZIP)[before:]))
    assert (bar.totals, bar.n) == ([moved], moved)


def test_one_bar_for_listing_and_reading(server: FaultServer) -> None:
    opened(server, GZIP, "base").files()
    blocks.forget()
    image = make_image([FEW, {"new.mark": b"new", "x": BIG[:50_000]}], compress=packed)
    m, bar = opened(server, image), Bar()
    learn(m, Marked(), progress=bar)
    (total,) = bar.totals
    assert total == bar.n
    assert image.layers[1]["size"] < total < image.layers[0]["size"] / 2


def test_local_files(tmp_path: Path) -> None:
    folder = tmp_path / "oci"
    write_layout(folder, {"1": GZIP})
    m = didlab.open(f"oci:{folder}:1")
    m.files()
    assert learn(m, Marked()) == [FEW_FACTS]
