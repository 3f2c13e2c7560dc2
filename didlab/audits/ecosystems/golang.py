r"""Go programs: the build information that the linker leaves in ELF, PE and Mach-O files.

Layout (Go's ``debug/buildinfo``): on a multiple of 16 bytes the magic ``\xff Go buildinf:``, a
byte for the pointers' size, flags; since Go 1.18, flag 2, at byte 32 two strings with their
lengths as varints: Go's version, and the modules between two markers of 16 bytes. Before, there
are pointers in their place, which a stream cannot follow: the modules are then found by their
markers, and Go's version stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterator

from didlab.audits.ecosystems.package import Package
from didlab.audits.ecosystems.texts import Skipped, invalid, limited, word

__all__ = ["BuildInfoSieve", "packages"]

_MAGIC = b"\xff Go buildinf:"
_START = bytes.fromhex("3077af0c9274080241e1c107e6d618e6")
_END = bytes.fromhex("f932433186182072008242104116d8f2")
#: ELF, PE, Mach-O of 32 and 64 bits in both byte orders, and several of those in one.
_PROGRAMS = (
    *(b"\x7fELF", b"MZ"),
    *(b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"),
    b"\xca\xfe\xba\xbe",
)
_INLINE = 2
#: Bytes of both strings. Kubernetes' programs have some 40 kB.
_LIMIT = 4 * 1024 * 1024
_VERSION_LIMIT = 1024
#: Places that look like build information and are none, before the search is given up.
_TRIES = 64


class BuildInfoSieve:
    """Keeps a program's build information: at most 4 MiB, nothing of other files.

    Of a Mach-O file with programs for several processors it is the first one's.

    Attributes
    ----------
    over : bool
        Whether more content changes nothing.
    """

    def __init__(self) -> None:
        self.over = False
        self._position = 0  # of the buffer's first byte in the file
        self._buffer = bytearray()
        self._begun = False
        self._tries = _TRIES
        self._within = False  # the buffer starts with the magic
        self._marked = b""  # modules found by their markers
        self._marking: bytearray | None = None
        self._found = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self.over:
            return
        self._buffer += data
        if not self._begun:
            if len(self._buffer) < 4:
                return
            self._begun = True
            if not self._buffer.startswith(_PROGRAMS):
                self._stop()
                return
        self._search()

    def finish(self) -> bytes:
        """Return the build information, from its magic on; or the modules with their markers."""
        while self._within and not self.over:
            # What promised more than the file has was none; what it hid may be.
            self._fail()
            self._search()
        self._buffer.clear()
        return self._found or self._marked

    def _stop(self) -> None:
        self.over = True
        self._buffer.clear()
        self._marking = None

    def _search(self) -> None:
        while not self.over:
            if self._within:
                size = _measure(self._buffer)
                if size is None:
                    return  # the rest comes later
                if size:
                    self._found = bytes(self._buffer[:size])
                    self._stop()
                    return
                self._fail()
                continue
            found = self._buffer.find(_MAGIC)
            if found < 0:
                # The magic's beginning may stand at the buffer's end.
                self._drop(max(len(self._buffer) - len(_MAGIC) + 1, 0))
                return
            self._drop(found)
            self._within = (self._position % 16) == 0
            if not self._within:
                self._drop(1)

    def _fail(self) -> None:
        """Go on behind what is no build information."""
        self._within = False
        self._tries -= 1
        if self._tries:
            self._drop(1)
        else:
            self._stop()

    def _drop(self, count: int) -> None:
        if not self._marked:
            self._mark(count)
        del self._buffer[:count]
        self._position += count

    def _mark(self, count: int) -> None:
        """Look for modules by their markers in what goes by: the buffer's first bytes."""
        if self._marking is None:
            self._marking = bytearray()
        # Most programs have none: nothing is copied but what may begin one.
        most = len(_START) - 1
        begun = self._marking.startswith(_START)
        across = self._marking + self._buffer[: min(count, most)]
        if not begun and _START not in across and self._buffer.find(_START, 0, count) < 0:
            ends = self._buffer[max(count - most, 0) : count]
            self._marking = (self._marking + ends)[-most:]
            return
        data = bytes(self._buffer[:count])
        kept = self._marking
        before = len(kept)
        kept += data
        if not kept.startswith(_START):
            start = kept.find(_START)
            del kept[: start if start >= 0 else max(len(kept) - len(_START) + 1, 0)]
            before = 0
            if start < 0:
                return
        end = kept.find(_END, max(before - len(_END), len(_START)))
        if end >= 0:
            self._marked = bytes(kept[kept.rfind(_START, 0, end) : end + len(_END)])
            self._marking = None
        elif len(kept) > _LIMIT:
            # Too long for one list of modules; a later marker may begin another.
            later = kept.rfind(_START, 1)
            del kept[: later if later >= 0 else len(kept) - len(_START) + 1]


def _measure(data: bytes | bytearray) -> int | None:
    """Bytes that build information takes; None if more must come, 0 if it is none."""
    if len(data) < 32:
        return None
    if not data[15] & _INLINE:
        return 0
    position = 32
    for limit in (_VERSION_LIMIT, _LIMIT):
        length, position = _varint(data, position)
        if length > limit or position < 0:
            return 0
        if position == 0:
            return None
        position += length
        if position > len(data):
            return None
        if limit == _VERSION_LIMIT and not data[position - length : position].startswith(
            (b"go", b"devel")
        ):
            return 0
    return position


def _varint(data: bytes | bytearray, position: int) -> tuple[int, int]:
    """Read a number; position 0 where more must come, -1 where it is none."""
    value = 0
    for count in range(5):
        if position + count >= len(data):
            return 0, 0
        byte = data[position + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, position + count + 1
    return 0, -1


def packages(content: bytes) -> Iterator[Package]:
    """Yield what a program is made of: its main module, the modules it needs, ``stdlib``.

    A module that is replaced is what replaces it, by another module; by a folder, itself
    without version. The main module of a program built without modules is its package.

    Parameters
    ----------
    content : bytes
        What `BuildInfoSieve` kept; nothing gives nothing.

    Raises
    ------
    PackagesInvalid
        It is no build information; or, after all others, some of its lines are none.
    """
    return limited(_packages(content))


def _packages(content: bytes) -> Iterator[Package]:
    if not content:
        return
    version, modules = _strings(content)
    lines = [line.split("\t") for line in modules.split("\n") if line]
    settings = [line[1] for line in lines if line[0] == "build" and len(line) > 1]
    architecture = next(
        (word(setting[7:]) for setting in settings if setting.startswith("GOARCH=")), None
    )
    yield from _modules(lines, architecture)
    if version:
        yield Package("golang", "stdlib", version, architecture)


def _strings(content: bytes) -> tuple[str | None, str]:
    version, modules = b"", content
    if content.startswith(_MAGIC):
        if _measure(content) != len(content):
            raise invalid("Go's build information is cut or damaged")
        length, position = _varint(content, 32)
        version = content[position : position + length]
        _, position = _varint(content, position + length)
        modules = content[position:]
    if modules:
        if not (modules.startswith(_START) and modules.endswith(_END)):
            raise invalid("Go's build information has modules without their markers")
        modules = modules[len(_START) : -len(_END)]
    # "go1.22.0 X:experiment", "devel go1.23-1a2b3c date".
    words = version.decode("utf-8", "replace").split()
    named = next((word(name[2:]) for name in words if name.startswith("go")), None)
    return named, modules.decode("utf-8", "replace")


def _modules(lines: list[list[str]], architecture: str | None) -> Iterator[Package]:
    skipped = Skipped("lines of Go's build information")
    path = next((line[1] for line in lines if line[0] == "path" and len(line) > 1), None)
    main = any(line[0] == "mod" for line in lines)
    if path and path != "command-line-arguments" and not main and (name := word(path)):
        yield Package("golang", name, None, architecture)
    waiting: Package | None = None
    for line in lines:
        kind, name = line[0], word(line[1]) if len(line) > 1 else None
        if kind not in ("mod", "dep", "=>"):
            continue
        if name is None or (kind == "=>" and waiting is None):
            skipped.add(kind, "it names no module")
            continue
        told = word(line[2]) if len(line) > 2 else None
        version = None if told == "(devel)" else told
        if kind == "=>" and waiting is not None:
            folder = version is None or name.startswith((".", "/"))
            waiting = Package(
                "golang", waiting.name if folder else name, None if folder else version,
                architecture,
            )  # fmt: skip
            continue
        if waiting is not None:
            yield waiting
        waiting = Package("golang", name, version, architecture)
    if waiting is not None:
        yield waiting
    skipped.tell()
