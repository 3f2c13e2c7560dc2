"""Small promises of the parts below the model."""

from __future__ import annotations

import threading

import pytest
from rig.images import make_tar, sha256

from didlab.errors import CompressionInvalid, DigestMismatch
from didlab.files.index import LayerIndex
from didlab.files.streamed import Gathered
from didlab.files.table import Table
from didlab.files.underway import Claims
from didlab.files.walk import Walker
from didlab.oci.digest import Verifier


@pytest.mark.parametrize("step", [1000, 1 << 20])
def test_a_later_file_that_is_not_wanted_takes_the_captured_one_away(step: int) -> None:
    """What is captured of a path is what its last file holds, or nothing."""
    filler = [(f"filler/{number}", b"") for number in range(3000)]
    tar = make_tar(
        [("a", b"first"), ("b", b"1"), *filler, ("a", b"too long now"), ("b", b"2"), *filler]
    )
    walker = Walker(capture=lambda path, size: size in (1, 5))
    for at in range(0, len(tar), step):
        walker.feed(tar[at : at + step])
    walker.finish()
    assert walker.captured == {b"/b": b"2"}


TAR = bytes(range(256)) * 40


def gathered(stretches: list[tuple[int, int]], blob: bytes = TAR) -> tuple[Gathered, list[int]]:
    passes: list[int] = []

    def stream() -> list[bytes]:
        passes.append(1)
        return [blob[at : at + 700] for at in range(0, len(blob), 700)]

    made = Gathered(stream, lambda: Verifier(sha256(TAR), len(TAR)), "tar", stretches)
    return made, passes


def test_stretches_of_one_pass() -> None:
    wanted = [(9000, 9500), (10, 20), (20, 2000), (5000, 5001), (9500, len(TAR)), (10, 20)]
    made, passes = gathered(wanted)
    assert not passes, "nothing is read before it is asked for"
    for begin, end in wanted:
        assert (begin, end) in made
        assert made.read_at(begin, end) == TAR[begin:end]
        assert made.read_at(end - 1, end) == TAR[end - 1 : end]
    assert passes == [1]
    assert (10, 21) not in made
    assert (0, 5) not in made


def test_stretches_are_verified() -> None:
    made, _ = gathered([(10, 20)], TAR[:-1] + b"!")
    with pytest.raises(DigestMismatch):
        made.read_at(10, 20)
    made, _ = gathered([(10, len(TAR) + 1)])
    with pytest.raises(CompressionInvalid, match="a file ends at"):
        made.read_at(10, 20)


def test_claims() -> None:
    claims = Claims()
    index = LayerIndex("sha256:a", 1, "tar", rows=0, table=lambda: Table.of([]))
    own, others = claims.take([("sha256:a", 1), ("sha256:b", 2)])
    assert set(own) == {("sha256:a", 1), ("sha256:b", 2)}
    assert not others
    again, others = claims.take([("sha256:a", 1), ("sha256:c", 3)])
    assert set(again) == {("sha256:c", 3)}
    got: list[LayerIndex | None] = []
    waiting = threading.Thread(target=lambda: got.append(others["sha256:a", 1].wait()))
    waiting.start()
    own["sha256:a", 1].finish(index)
    own["sha256:a", 1].finish(None)  # only the first word counts
    waiting.join(10)
    assert got == [index]
    assert set(claims.take([("sha256:a", 1)])[0]) == {("sha256:a", 1)}, "a finished claim is free"
