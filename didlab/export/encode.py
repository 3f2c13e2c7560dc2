"""Compress as gzip or zstd: equal input and equal library, equal output."""

from __future__ import annotations

import zlib
from typing import Any, Literal, Protocol

Compression = Literal["none", "gzip", "zstd"]

#: What `zlib` and pigz take when nobody says, and what Docker pushes with.
GZIP_LEVEL = 6
#: zstd's own default.
ZSTD_LEVEL = 3


class Encoder(Protocol):
    """What turns a tar into a layer's bytes."""

    #: What made them, for reports: digests depend on it.
    name: str

    def feed(self, data: bytes) -> bytes:
        """Return what is ready of the compressed bytes."""

    def end(self) -> bytes:
        """Return the rest."""


class _Plain:
    name = "no compression"

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b""


class _Compressor:
    """Around an object with ``compress`` and ``flush``."""

    def __init__(self, name: str, made: Any) -> None:
        self.name = name
        self._made = made

    def feed(self, data: bytes) -> bytes:
        return bytes(self._made.compress(data))

    def end(self) -> bytes:
        return bytes(self._made.flush())


def encoder(kind: Compression) -> Encoder:
    """Return a fresh encoder.

    Raises
    ------
    Unsupported
        zstd, where there is no module for it.
    """
    if kind == "none":
        return _Plain()
    if kind == "zstd":
        return _zstd()
    return _gzip()


def _gzip() -> Encoder:
    # Window bits 31: zlib writes gzip's header by itself, without a name and with time 0.
    try:
        from zlib_ng import zlib_ng
    except ImportError:
        made: Any = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
        return _Compressor(f"zlib {zlib.ZLIB_RUNTIME_VERSION}, level {GZIP_LEVEL}", made)
    made = zlib_ng.compressobj(GZIP_LEVEL, zlib_ng.DEFLATED, 31)
    return _Compressor(f"zlib-ng {zlib_ng.ZLIBNG_RUNTIME_VERSION}, level {GZIP_LEVEL}", made)


def _zstd() -> Encoder:
    from didlab.files import zstdlib

    zstd = zstdlib.needed("what is to be saved")
    parameter = zstd.CompressionParameter
    options = {parameter.compression_level: ZSTD_LEVEL, parameter.checksum_flag: 1}
    made = zstd.ZstdCompressor(options=options)
    return _Compressor(f"zstd {zstd.zstd_version}, level {ZSTD_LEVEL}", made)
