"""What the content of a layer may cost, whatever it says about itself."""

from __future__ import annotations

from dataclasses import dataclass

_GIB = 1024**3
_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets for one layer; beyond them, `didlab.errors.LimitExceeded` or the format's error."""

    #: Bytes that a layer may decompress to.
    decompressed: int = 64 * _GIB
    #: Bytes of one file that are taken into memory at once.
    whole_file: int = 2 * _GIB
    #: Entries of a layer, and of a merged file system.
    entries: int = 2_000_000
    #: Bytes of one PAX header or GNU long name.
    header: int = _MIB
    #: Records of one PAX header.
    records: int = 10_000
    #: Regions of a sparse file, and bytes of the map that lists them.
    regions: int = 65_536
    sparse_map: int = _MIB
    #: Bytes and components of a path.
    path: int = 64 * 1024
    components: int = 4096
    #: Bytes of window that a zstd frame may ask for.
    window: int = 128 * _MIB
    #: Gzip members, or zstd frames without content, for each MiB that came.
    members: int = 32_768
    #: Links followed on the way to one file.
    hops: int = 40


#: What holds where nobody says.
DEFAULT = Limits()
