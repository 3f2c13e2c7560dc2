"""Indexes, merged file systems and facts, to bytes and back."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from didlab._once import Once
from didlab.errors import MalformedContent
from didlab.files import rows
from didlab.files.chunks import Chunks
from didlab.files.index import LayerIndex
from didlab.files.pieces import Sections, build
from didlab.files.rows import Grouped
from didlab.files.spans import Spans
from didlab.files.table import Table


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
        "vouched": index.vouched,
    }
    sections = _dump_rows(index.table)
    if index.spans is not None:
        sections["spans"], sections["windows"] = index.spans.dump()
    if index.chunks is not None:
        sections["chunks"] = index.chunks.dump()
    if index.captured:
        sections["captured"] = _dump_files(index.captured)
    return build(facts, sections)


def load_index(content: bytes, digest: str, size: int, vouched: str = "") -> LayerIndex:
    """Return the index that `dump_index` stored; its parts are read when they are asked for.

    Raises
    ------
    MalformedContent
        It is damaged, of another version, or about another blob.
    """
    with _strictly():
        stored = Sections(content)
        facts = stored.facts
        if (facts["digest"], facts["size"], facts["vouched"]) != (digest, size, vouched):
            raise MalformedContent("a stored index is about another blob")
        length = int(facts["length"])
        return LayerIndex(
            digest=digest,
            size=size,
            kind=str(facts["kind"]),
            rows=int(facts["rows"]),
            table=_grouped(stored).whole,
            spans=lambda: _load_spans(stored, size, length),
            chunks=lambda: Chunks.load(stored["chunks"]) if "chunks" in stored else None,
            captured=lambda: _load_files(stored["captured"]) if "captured" in stored else {},
            diff_id=facts["diff_id"],
            length=length,
            warnings=tuple(facts["warnings"]),
            vouched=vouched,
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
    sections = _dump_rows(table)
    facts = {
        "layers": list(layers),
        "kinds": list(kinds),
        "diff_ids": list(diff_ids),
        "rows": len(table),
        "firsts": [_text(table.paths[row]) for row in range(0, len(table), rows.TOGETHER)],
    }
    return build(facts, sections)


def load_merged(
    content: bytes, layers: Sequence[str]
) -> tuple[Grouped, int, tuple[str, ...], tuple[str | None, ...]]:
    """Return what `dump_merged` stored, but for the layers: rows, how many, kinds, diff_ids.

    Raises
    ------
    MalformedContent
    """
    with _strictly():
        stored = Sections(content)
        facts = stored.facts
        if facts["layers"] != list(layers):
            raise MalformedContent("a stored file system is of other layers")
        firsts = [base64.b64decode(text) for text in facts["firsts"]]
        found = _grouped(stored, firsts)
        return found, int(facts["rows"]), tuple(facts["kinds"]), tuple(facts["diff_ids"])


def dump_facts(
    found: Mapping[bytes, bytes], digest: str, size: int, look: str, vouched: str = ""
) -> bytes:
    """Return the stored form of what a look learned of a layer: JSON by path."""
    facts = {"digest": digest, "size": size, "look": look, "vouched": vouched}
    return build(facts, {"facts": _dump_files(found)})


def load_facts(
    content: bytes, digest: str, size: int, look: str, vouched: str = ""
) -> dict[bytes, bytes]:
    """Return what `dump_facts` stored.

    Raises
    ------
    MalformedContent
        It is damaged, of another version, or about something else.
    """
    with _strictly():
        stored = Sections(content)
        about = {"digest": digest, "size": size, "look": look, "vouched": vouched}
        if stored.facts != about:
            raise MalformedContent("stored facts are about another blob")
        return _load_files(stored["facts"])


class _strictly:  # noqa: N801 - reads as the statement it is
    """Whatever goes wrong with a stored file means that it cannot be used."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (KeyError, TypeError, ValueError, IndexError, EOFError)):
            if isinstance(error, MalformedContent):
                return
            raise MalformedContent(f"a stored index cannot be read: {error}") from error


def _dump_rows(table: Table) -> dict[str, bytes]:
    return {f"rows {number}": rows.pack(part) for number, part in enumerate(rows.groups(table))}


def _grouped(stored: Sections, firsts: list[bytes] | None = None) -> Grouped:
    count = 0
    while f"rows {count}" in stored:
        count += 1
    return Grouped(count, lambda number: stored[f"rows {number}"], firsts)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _dump_files(files: Mapping[bytes, bytes]) -> bytes:
    listed = [[_text(path), len(content)] for path, content in files.items()]
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
