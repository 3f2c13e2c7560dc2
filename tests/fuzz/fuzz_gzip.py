"""Any bytes as gzip, zstd or tar: typed errors only, and every seek point leads to the same bytes.

On demand: ``python tests/fuzz/fuzz_gzip.py [-max_total_time=60] [folder of samples]``; atheris is
needed. Each failure is kept by atheris as a file, which is given back as the only argument.
"""

from __future__ import annotations

import gzip
import random
import sys
import zlib

import atheris

with atheris.instrument_imports(include=["didlab.files"]):
    from didlab.errors import CompressionInvalid, LimitExceeded
    from didlab.files import decompress, gzip_points, sniff, zstd
    from didlab.files.limits import Limits

gzip_points.SPACING = zstd.SPACING = 64
LIMITS = Limits(decompressed=1 << 22, members=200)


def once(data: bytes) -> None:
    step = 1 + 37 * (data[0] if data else 0)
    blob = data[1:]
    try:
        kind = sniff.kind(blob[: sniff.NEEDED])
        decoder = decompress.decoder(kind, LIMITS)
        out = bytearray()
        for start in range(0, len(blob), step):
            for piece in decoder.feed(blob[start : start + step]):
                out += piece
                if len(out) > LIMITS.decompressed:
                    raise RuntimeError("more than the budget came out")
        decoder.end()
    except (CompressionInvalid, LimitExceeded):
        return
    for mark in decoder.marks[:20]:
        begin = mark.compressed - bool(mark.bits)
        rest = b"".join(decompress.span(kind, mark, [blob[begin:]], LIMITS))
        if rest != out[mark.decompressed :]:
            raise RuntimeError(f"other bytes come out from {mark}")


def mutated(data: bytes, size: int, seed: int) -> bytes:
    """Change what is inside, too: random changes alone never get past a checksum."""
    dice = random.Random(seed)
    if dice.random() < 0.5:
        return bytes(atheris.Mutate(data, size))
    try:
        inner = zlib.decompressobj(31).decompress(data[1:], 1 << 16)
    except zlib.error:
        inner = data
    if inner:
        inner = bytes(atheris.Mutate(inner, min(len(inner) + 64, 1 << 16)))
    packer = zlib.compressobj(dice.randrange(10), zlib.DEFLATED, 31)
    parts = [
        packer.compress(inner[at : at + 500]) + packer.flush(dice.choice([0, 2, 3, 5]))
        for at in range(0, len(inner), 500)
    ]
    blob = b"".join([*parts, packer.flush()]) + dice.choice([b"", gzip.compress(inner), b"\0"])
    return (data[:1] + blob)[:size]


if __name__ == "__main__":
    atheris.Setup(sys.argv, once, custom_mutator=mutated)
    atheris.Fuzz()
