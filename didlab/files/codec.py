"""Indexes and merged file systems, to bytes and back."""

from __future__ import annotations

import base64
import json
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from didlab._once import Once
from didlab.errors import MalformedContent
from didlab.files.index import LayerIndex
from didlab.files.pieces import Sections, build
from didlab.files.spans import Spans
from didlab.files.strings import Strings
from didlab.files.table import Table
from didlab.files.toc import Chunks

#: Columns in the order in which they are stored, with the array's type.
_COLUMNS = (
    ("modes", "H"),
    ("uids", "q"),
    ("gids", "q"),
    ("sizes", "q"),
    ("mtimes", "q"),
    ("offsets", "q"),
)
_MERGED = (("layers", "i"), ("homes", "i"), ("origins", "i"))


def dump_index(index: LayerIndex) -> bytes:
    """Return the stored form of a layer's index."""
    facts = {
        "digest": index.digest,
        "size": index.size,
        "kind": index.kind,
        "rows": index.rows,
        "diff_id": index.diff_id,
        "length": index.length,
        "warnings": list(index.warnings),
    }
    sections = _dump_table(index.table)
    if index.spans is not None:
        sections["spans"], sections["windows"] = index.spans.dump()
    if index.chunks is not None:
        sections["chunks"] = index.chunks.dump()
    if index.captured:
        sections["captured"] = _dump_files(index.captured)
    return build(facts, sections)


def load_index(content: bytes, digest: str, size: int) -> LayerIndex:
    """Return the index that `dump_index` stored; its parts are read when they are asked for.

    Raises
    ------
    MalformedContent
        It is damaged, of another version, or about another blob.
    """
    with _strictly():
        stored = Sections(content)
        facts = stored.facts
        if (facts["digest"], facts["size"]) != (digest, size):
            raise MalformedContent("a stored index is about another blob")
        length = int(facts["length"])
        return LayerIndex(
            digest=digest,
            size=size,
            kind=str(facts["kind"]),
            rows=int(facts["rows"]),
            table=lambda: _load_table(stored),
            spans=lambda: _load_spans(stored, size, length),
            chunks=lambda: Chunks.load(stored["chunks"]) if "chunks" in stored else None,
            captured=lambda: _load_files(stored["captured"]) if "captured" in stored else {},
            diff_id=facts["diff_id"],
            length=length,
            warnings=tuple(facts["warnings"]),
        )


def _load_spans(stored: Sections, size: int, length: int) -> Spans | None:
    if "spans" not in stored:
        return None
    windows = Once(lambda: stored["windows"])
    return Spans.load(stored["spans"], size, length, windows)


def dump_merged(
    table: Table, layers: Sequence[str], kinds: Sequence[str], diff_ids: Sequence[str | None]
) -> bytes:
    """Return the stored form of a merged file system of layers, listed in these ways."""
    facts = {"layers": list(layers), "kinds": list(kinds), "diff_ids": list(diff_ids)}
    return build(facts, _dump_table(table))


def load_merged(
    content: bytes, layers: Sequence[str]
) -> tuple[Table, tuple[str, ...], tuple[str | None, ...]]:
    """Return what `dump_merged` stored, but for the layers.

    Raises
    ------
    MalformedContent
    """
    with _strictly():
        stored = Sections(content)
        facts = stored.facts
        if facts["layers"] != list(layers):
            raise MalformedContent("a stored file system is of other layers")
        return _load_table(stored), tuple(facts["kinds"]), tuple(facts["diff_ids"])


class _strictly:  # noqa: N801 - reads as the statement it is
    """Whatever goes wrong with a stored file means that it cannot be used."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (KeyError, TypeError, ValueError, IndexError, EOFError)):
            if isinstance(error, MalformedContent):
                return
            raise MalformedContent(f"a stored index cannot be read: {error}") from error


def _dump_table(table: Table) -> dict[str, bytes]:
    columns = [*_COLUMNS, *(_MERGED if table.layers is not None else ())]
    sections = {
        "paths": table.paths.blob,
        "path_lengths": _little(table.paths.lengths),
        "types": table.types,
        "links": table.links.blob,
        "link_lengths": _little(table.links.lengths),
    }
    for name, _ in columns:
        sections[name] = _little(getattr(table, name))
    if table.extras:
        sections["extras"] = json.dumps(list(table.extras.items())).encode()
    return sections


def _load_table(stored: Sections) -> Table:
    with _strictly():
        return _table(stored)


def _table(stored: Sections) -> Table:
    types = stored["types"]

    def column(kind: str, name: str) -> array[int]:
        made: array[int] = array(kind)
        made.frombytes(stored[name])
        if sys.byteorder == "big":
            made.byteswap()
        if len(made) != len(types):
            raise MalformedContent(f"the column {name} of a stored index is cut")
        return made

    merged = "layers" in stored
    extras = json.loads(stored["extras"]) if "extras" in stored else []
    return Table(
        Strings(stored["paths"], column("I", "path_lengths")),
        types,
        column("H", "modes"),
        column("q", "uids"),
        column("q", "gids"),
        column("q", "sizes"),
        column("q", "mtimes"),
        Strings(stored["links"], column("I", "link_lengths")),
        column("q", "offsets"),
        dict(extras),
        column("i", "layers") if merged else None,
        column("i", "homes") if merged else None,
        column("i", "origins") if merged else None,
    )


def _little(values: array[int]) -> bytes:
    if sys.byteorder == "big":
        values = array(values.typecode, values)
        values.byteswap()
    return values.tobytes()


def _dump_files(files: Mapping[bytes, bytes]) -> bytes:
    listed = [[base64.b64encode(path).decode(), len(content)] for path, content in files.items()]
    header = json.dumps(listed).encode()
    return b"".join([len(header).to_bytes(4, "little"), header, *files.values()])


def _load_files(raw: bytes) -> dict[bytes, bytes]:
    start = 4 + int.from_bytes(raw[:4], "little")

    def files() -> Iterator[tuple[bytes, bytes]]:
        at = start
        for path, length in json.loads(raw[4:start]):
            yield base64.b64decode(path), raw[at : at + length]
            at += length

    return dict(files())
