"""The file system of one image, and of one layer: which entry a path is, and its content."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from didlab.blobs import store as stores
from didlab.errors import NotAFile, PathNotFound, SpecialFile
from didlab.export.fetch import resuming
from didlab.files import decompress, kept, links, merge, paths, reading, toc
from didlab.files.blocks import CACHE, Blocks
from didlab.files.content import Bytes, Chunked, Content, Sparse, Stretch
from didlab.files.index import LayerIndex
from didlab.files.kept import Merged
from didlab.files.looks import Facts, Look
from didlab.files.streamed import Gathered, Part, Streamed
from didlab.files.table import DIR, FILE, HARDLINK, SYMLINK, Entry, Table
from didlab.files.wellknown import Capture, One, is_wellknown
from didlab.model import tables, unverified
from didlab.model.indexing import Manner, Wanted, check_diff_id, indexes, known_index
from didlab.model.keeping import bring
from didlab.oci.descriptor import Descriptor
from didlab.oci.digest import Verifier
from didlab.sizes import human
from didlab.sources.base import Source

if TYPE_CHECKING:
    import io

    from didlab.files.looking import Encoded
    from didlab.files.standing import Standing
    from didlab.model.manifest import Manifest

#: A span that decodes to more is not taken into memory to read one file of it: it would not stay
#: there for the next one.
_LARGE = CACHE // 2
#: Bytes of a file that is taken into memory while its layer is listed.
_ALONG = 32 * 1024 * 1024
#: Digests of layers of which it was said that a file costs all of them.
_told: set[str] = set()

_log = logging.getLogger("didlab")
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


def wanted(manifest: Manifest) -> list[Wanted]:
    """Return an image's layers with the digests that its config promises; base first."""
    image = manifest._image()
    diff_ids = manifest._snapshot.diff_ids(image)
    return [Wanted(layer, diff_id) for layer, diff_id in zip(image.layers, diff_ids, strict=True)]


class Layers:
    """The layers of one image, looked into as far as needed."""

    def __init__(self, manifest: Manifest, manner: Manner) -> None:
        self._source: Source = manifest._snapshot.source
        self._reference = str(manifest.reference)
        self._manifest = manifest
        self._manner = manner
        self._wanted = wanted(manifest)
        self._captured: dict[str, dict[bytes, bytes]] = {}
        self._gathered: dict[int, Gathered] = {}

    @property
    def _names(self) -> list[str]:
        """What identifies the layers and the way to list them, base first: see `kept.merged`."""
        descriptors = [one.descriptor for one in self._wanted]
        return [f"{one.digest} {toc.vouched(one)}".rstrip() for one in descriptors]

    def indexes(self, capture: Capture | None = None) -> list[LayerIndex]:
        """Return the index of every layer.

        Raises
        ------
        NotAnImage
            An artifact's layers are no file system.
        """
        self._manifest._config()
        return self._looked(range(len(self._wanted)), capture)

    def index(self, position: int, capture: Capture | None = None) -> LayerIndex:
        """Return the index of one layer."""
        (made,) = self._looked([position], capture)
        return made

    def _looked(self, positions: Sequence[int], capture: Capture | None) -> list[LayerIndex]:
        chosen = [self._wanted[position] for position in positions]
        made, captured = indexes(self._source, chosen, self._title(chosen), self._manner, capture)
        self._captured.update(captured)
        return made

    def learn(self, looks: Sequence[Look]) -> dict[str, list[dict[bytes, Facts]]]:
        """Return what looks tell of every layer: by their names, base first, by the file's path.

        Costs nothing for layers that the same looks were at before, in any process with the same
        local store; a pass over those that nobody listed; else the files that matter.

        Raises
        ------
        NotAnImage
            And as `indexes`.
        """
        from didlab.model import learning

        return learning.learned(*self._learning(looks))

    def recorded(self, looks: Sequence[Look]) -> dict[str, list[Mapping[bytes, Encoded]]]:
        """Return what `learn` does as JSON: the same bytes for every image that has a layer."""
        from didlab.model import learning

        return learning.recorded(*self._learning(looks))

    def _learning(self, looks: Sequence[Look]) -> tuple[Any, ...]:
        self._manifest._config()
        title = f"looking into {self._reference}"
        return self._source, self._wanted, looks, title, self._manner

    def came(self, index: LayerIndex, path: bytes) -> bytes | None:
        """Return content that came along when a layer was listed, of its last entry of a path."""
        known = self._captured.get(index.digest, {}).get(path)
        return index.captured.get(path) if known is None else known

    def _title(self, chosen: Sequence[Wanted]) -> str:
        return f"listing {self._reference}" if len(chosen) != 1 else "listing a layer"

    def commands(self) -> list[str | None]:
        """Return for each layer the command that made it, as far as the history says."""
        image = self._manifest._image()
        if not image.is_image:
            return [None] * len(image.layers)
        steps = tables.steps_of_layers(self._manifest._config(), len(image.layers))
        return [(step.created_by or None) if step else None for step in steps]

    # --- before anything is listed -----------------------------------------------------------

    def listed(self) -> bool:
        """Whether a file can be found without reading layers."""
        return kept.merged(self._names) is not None or all(
            known_index(one.descriptor) for one in self._wanted
        )

    def unverified(self, path: bytes) -> Content | None:
        """Return a file's content as soon as it came; None where only a listing can tell.

        From the uppermost layer down: one that came to its end without the file is listed then,
        so whether it deletes the path, or leads elsewhere, is known.
        """
        for position in reversed(range(len(self._wanted))):
            layer = self._manifest.layer(position)
            if known_index(self._wanted[position].descriptor) is None:
                found = unverified.first(layer, path)
                if found is not None:
                    return found
            table = self.index(position).table
            if table.find(path) >= 0 or touched(table, path):
                return None
        return None

    # --- without a merge ---------------------------------------------------------------------

    def standing(self) -> Standing | None:
        """Return what a few paths can be asked of; None where only `merged` tells.

        Costs what listing the layers costs. Raises as `indexes`.
        """
        from didlab.files.standing import Standing, Unsure

        try:
            return Standing([index.sketch for index in self.indexes()])
        except Unsure:
            return None

    def stands(self, path: bytes) -> tuple[int, int] | None:
        """Return layer and row of the regular file that a path leads to; None where none is there.

        Raises
        ------
        Unsure
            Only `merged` tells.
        """
        from didlab.files.standing import Unsure

        standing = self.standing()
        if standing is None:
            raise Unsure
        return standing.file(path)

    def file(self, path: bytes) -> Content | None:
        """Return the content of the regular file that a path leads to; None where none is there.

        Raises
        ------
        PathError, UnsafeContent
            Where links lead in a circle, or out of the image. And as `merged`.
        """
        from didlab.files.standing import Unsure

        try:
            found = self.stands(path)
        except Unsure:
            try:
                return self.at(path, self.merged())
            except PathNotFound:
                return None
        return None if found is None else self.standing_content(*found)

    def standing_content(self, home: int, row: int) -> Content:
        """Return the content of a row that `stands` gave."""
        index = self.index(home)
        known = self.came(index, index.table.paths[row])
        if known is not None:
            return Bytes(known)
        return self.content(home, index, index.table.entry(row), row)

    # --- the merged file system --------------------------------------------------------------

    def merged(self, capture: Capture | None = None) -> Merged:
        """Return the merged file system: remembered, or made of the layers' indexes."""
        found = kept.merged(self._names)
        if found is None:
            return self._merge(capture)
        for one, diff_id in zip(self._wanted, found.diff_ids, strict=True):
            check_diff_id(one, diff_id, self._source.location)
        if self._manner.keep:
            layers = [one.descriptor for one in self._wanted]
            bring(self._source, layers, self._title(self._wanted), self._manner.progress)
        return found

    def _merge(self, capture: Capture | None = None) -> Merged:
        made = self.indexes(capture)
        table = merge.merge([index.table for index in made])
        found = Merged(
            lambda: table,
            len(table),
            tuple(index.kind for index in made),
            tuple(index.diff_id for index in made),
        )
        kept.keep_merged(self._names, found)
        return found

    def row(self, path: bytes, found: Merged) -> int:
        """Return the row that a path leads to; `links.ROOT` for a root nobody states."""
        try:
            return links.resolve(found.table, path)
        except PathNotFound as error:
            # What a DataFrame shows of a name that is no UTF-8.
            plain = unescaped(path)
            if plain is not None and links.find(found.table, plain) >= 0:
                return links.resolve(found.table, plain)
            fields = {**error.fields(), "reference": self._reference}
            message = error.message.replace("in the image", f"in {self._reference}")
            raise PathNotFound(message, **fields) from None

    def at(self, path: bytes, found: Merged) -> Content:
        """Return the content of what a path leads to. Raises as `row` and `merged_content`."""
        near = found.near(path)
        row = links.find(near, path)
        if row < 0 or near.types[row] == SYMLINK:
            near, row = found.table, self.row(path, found)
        return self._content(near, row, found)

    def merged_content(self, row: int, found: Merged) -> Content:
        """Return the content of a row of the merged file system.

        Raises
        ------
        NotAFile, SpecialFile
        """
        return self._content(found.table, row, found)

    def _content(self, table: Table, row: int, found: Merged) -> Content:
        path = table.paths[row] if row != links.ROOT else b"/"
        check_file(path, DIR if row == links.ROOT else table.types[row], self._reference)
        if not table.sizes[row]:
            if table.types[row] == HARDLINK and (table.homes is None or table.homes[row] < 0):
                raise _dangling(path, table.links[row])
            return Bytes(b"")
        if table.homes is None or table.origins is None or table.layers is None:
            raise AssertionError("a merged table says where content lies")
        home, origin = table.homes[row], table.origins[row]
        index = self.index(home)
        if index.kind != found.kinds[home]:
            # Listed in another way since: rows and places are others.
            kept.forget_merged(self._names)
            return self.at(path, self._merge())
        known = self._along(path, table, row, index)
        if known is not None and index.table.find(path) == origin:
            return Bytes(known)
        return self.content(home, index, table.entry(row), origin)

    def _along(self, path: bytes, table: Table, row: int, index: LayerIndex) -> bytes | None:
        """Return content that came along with a listing, by the name that its layer has it under.

        Another entry of that name may follow in the layer: whoever uses this looks.
        """
        if table.homes is None or table.layers is None:
            return None
        if table.types[row] != FILE or table.homes[row] != table.layers[row]:
            return None
        known = self._captured.get(index.digest, {}).get(path)
        if known is None and is_wellknown(path, table.sizes[row]):
            known = index.captured.get(path)
        return known

    # --- content -----------------------------------------------------------------------------

    def content(self, position: int, index: LayerIndex, entry: Entry, row: int) -> Content:
        """Return the content of a file of a layer; ``row`` is its row in the layer's table."""
        descriptor = self._wanted[position].descriptor
        source = self._source

        def open_blob() -> Any:
            return source.open(descriptor)

        if not entry.size:
            return Bytes(b"")
        if index.chunks is not None:
            return Chunked(index.kind, index.chunks.of_row(row), entry.size, open_blob)
        spans = index.spans
        if spans is None:
            raise AssertionError("an index has spans or chunks")
        extra = entry.extra or {}
        stored = int(extra.get("stored", entry.size))
        blocks = Blocks(descriptor.digest, index.compression, spans, open_blob)
        numbers = spans.covering(entry.offset, entry.offset + stored)
        if "sparse" not in extra and not all(self._near(index, number) for number in numbers):
            gathered = self._gathered.get(position)
            if gathered is not None and (entry.offset, entry.offset + stored) in gathered:
                return Part(gathered, entry.offset, entry.size)
            _whole(descriptor)
            return Streamed(*self._pass(position), index.compression, entry.offset, entry.size)
        if "sparse" in extra:
            return Sparse(blocks, entry.offset, entry.size, extra["sparse"])
        return Stretch(blocks, entry.offset, entry.size)

    def gather(self, table: Table, rows: Iterable[int], position: int | None = None) -> None:
        """Have layers that no range can be read of read once for these files, not for each.

        ``table`` is a merged one: of all layers, or only of the one at ``position``.
        """
        if table.homes is None:
            raise AssertionError("a merged table says where content lies")
        self._gathered = {}
        stretches: dict[int, list[tuple[int, int]]] = {}
        far: dict[int, bool] = {}
        for row in rows:
            size, home = table.sizes[row], table.homes[row]
            if not size or home < 0 or (row in table.extras and "sparse" in table.extras[row]):
                continue
            home = home if position is None else position
            if home not in far:
                far[home] = self._far(self.index(home))
            if far[home]:
                stretches.setdefault(home, []).append(
                    (table.offsets[row], table.offsets[row] + size)
                )
        for home, wanted in stretches.items():
            index = self.index(home)
            self._gathered[home] = Gathered(*self._pass(home), index.compression, wanted)

    def _pass(self, position: int) -> tuple[Callable[[], Iterator[bytes]], Callable[[], Verifier]]:
        """Return what begins a pass over a layer, and what verifies it."""
        descriptor, source = self._wanted[position].descriptor, self._source
        return (
            lambda: resuming(source.open(descriptor)),
            lambda: Verifier(descriptor.digest, descriptor.size, where=source.location),
        )

    def _far(self, index: LayerIndex) -> bool:
        """Whether some span of a layer cannot be decoded by itself."""
        spans = index.spans
        return spans is not None and not all(
            self._near(index, number) for number in range(len(spans))
        )

    def _near(self, index: LayerIndex, number: int) -> bool:
        """Whether a span can be decoded by itself, at a price in keeping with one file."""
        spans = index.spans
        if spans is None:
            return False
        span = spans[number]
        if span.end - span.begin > _LARGE:
            return False
        begins_anywhere = not span.bits and not spans.windows(number)
        return begins_anywhere or decompress.can_seek(index.compression)


def _whole(descriptor: Descriptor) -> None:
    """Say once of a layer that each file of it costs all of it."""
    store = stores.default()
    if descriptor.digest in _told or (
        store is not None and store.present(descriptor.digest, descriptor.size)
    ):
        return
    _told.add(descriptor.digest)
    _log.warning(
        "layer %s has no place to begin at but its start: all of it (%s) is read for one file, "
        "unless the local store has it (keep=True)",
        descriptor.digest,
        human(descriptor.size),
    )


def only(wanted: bytes) -> Capture:
    """Return what takes one file along with a listing, unless it is large: ranges serve it then."""
    return One(wanted, _ALONG)


def touched(table: Table, path: bytes) -> bool:
    """Whether a layer says anything about a path's parents that could hide or move it."""
    parts = path.split(b"/")
    for count in range(1, len(parts)):
        folder = b"/".join(parts[:count])
        row = table.find(folder or b"/")
        if row >= 0 and table.types[row] != DIR:
            return True
        if table.find(folder + b"/.wh." + parts[count]) >= 0:
            return True
        if table.find(folder + b"/.wh..wh..opq") >= 0:
            return True
    return False


def check_file(path: bytes, kind: int, where: str) -> None:
    """Raise unless an entry of this kind has content to read."""
    shown = paths.shown(path)
    if kind == DIR:
        raise NotAFile(
            f"{shown} in {where} is a directory",
            path=shown,
            hint="files() and tree() list it, extract() writes it out",
        )
    if kind not in (FILE, HARDLINK):
        raise SpecialFile(f"{shown} in {where} is a device or fifo", path=shown)


def _dangling(path: bytes, target: bytes) -> PathNotFound:
    return PathNotFound(
        f"{paths.shown(path)} is a hard link to {paths.shown(target)}, which no layer has",
        path=paths.shown(path),
    )


def unescaped(path: bytes) -> bytes | None:
    r"""Return the name that a DataFrame shows with ``\x`` escapes; None where it has none."""
    if b"\\x" not in path:
        return None
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), path)


def opened(content: Content, path: bytes) -> io.BufferedReader:
    """Return content as a file."""
    return reading.open_file(content, paths.shown(path))
