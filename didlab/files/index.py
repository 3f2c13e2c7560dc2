"""What one pass over a layer leaves: its entries, and how to read any of them by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from didlab._once import Once
from didlab.files.chunks import Chunks
from didlab.files.sniff import Kind
from didlab.files.spans import Spans
from didlab.files.table import Table

if TYPE_CHECKING:
    from didlab.files.standing import Sketch


class LayerIndex:
    """The index of one layer.

    What was stored is loaded part by part, when it is asked for: to read one file of a known
    place needs the spans only.

    Attributes
    ----------
    digest, size : str, int
        The blob it is about.
    kind : str
        How the blob is compressed: ``gzip``, ``zstd``, ``tar``; or whose table of contents was
        read: ``estargz``, ``chunked``.
    rows : int
        How many entries there are.
    diff_id : str or None
        Digest of the uncompressed tar; None where only a table of contents was read.
    length : int
        Bytes of the uncompressed tar; 0 where only a table of contents was read.
    vouched : str
        The table of contents that was read, which a manifest has to vouch for; else empty.
    warnings : tuple of str
        What is unusual about the layer, though readable.
    """

    def __init__(
        self,
        digest: str,
        size: int,
        kind: str,
        *,
        rows: int,
        table: Callable[[], Table],
        spans: Callable[[], Spans | None] = lambda: None,
        chunks: Callable[[], Chunks | None] = lambda: None,
        captured: Callable[[], Mapping[bytes, bytes]] = dict,
        diff_id: str | None = None,
        length: int = 0,
        warnings: tuple[str, ...] = (),
        vouched: str = "",
    ) -> None:
        self.digest = digest
        self.size = size
        self.kind = kind
        self.rows = rows
        self.diff_id = diff_id
        self.length = length
        self.warnings = warnings
        self.vouched = vouched
        self._table = Once(table)
        self._spans = Once(spans)
        self._chunks = Once(chunks)
        self._captured = Once(captured)
        whole = self._table
        self._sketch = Once(lambda: _drawn(whole()))

    @property
    def table(self) -> Table:
        """The entries as stored."""
        return self._table()

    @property
    def sketch(self) -> Sketch | None:
        """How the layer is asked for a few paths; None where only a merge tells what it does."""
        return self._sketch()

    @property
    def compression(self) -> Kind:
        """How the blob is compressed, from a pass."""
        if self.kind == "gzip" or self.kind == "zstd" or self.kind == "tar":  # noqa: PLR1714
            return self.kind  # type: ignore[return-value]
        raise AssertionError(f"{self.kind} is a table of contents")

    @property
    def spans(self) -> Spans | None:
        """Where reading can begin, from a pass."""
        return self._spans()

    @property
    def chunks(self) -> Chunks | None:
        """Where each file's content lies in the blob, from a table of contents."""
        return self._chunks()

    @property
    def captured(self) -> Mapping[bytes, bytes]:
        """Content of small files that everybody asks for, by path."""
        return self._captured()


def _drawn(table: Table) -> Sketch | None:
    # Not with the modules: only audits ask.
    from didlab.files.standing import sketch

    return sketch(table)
