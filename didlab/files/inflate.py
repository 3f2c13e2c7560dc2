"""Inflate that can stop between two blocks: zlib's own interface, called by ctypes.

Python's modules cannot stop at a block's end, take up a stream in the middle of a byte, or hand
out the window; the C libraries below them can. zlib-ng's lies in the wheel of that name, classic
zlib in the operating system. Neither promises anything to ctypes, so each is tried on a known
stream before it is used, and a reader without any of them has to do without seek points.
"""

from __future__ import annotations

import base64
import ctypes
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from didlab._once import Once

NO_FLUSH = 0
BLOCK = 5
OK = 0
STREAM_END = 1
BUF_ERROR = -5
#: Window bits that ask for a gzip member, and for bare deflate.
GZIP = 31
RAW = -15
#: Bytes that deflate can look back.
WINDOW = 32768
#: Bits of ``data_type``: where the stream stands after a call.
UNUSED, LAST_BLOCK, BOUNDARY = 7, 64, 128

# Bytes behind the structure: a library that takes it for larger must not write into others.
_SPARE = 128


class _System(ctypes.Structure):
    _fields_ = (
        ("next_in", ctypes.c_void_p),
        ("avail_in", ctypes.c_uint),
        ("total_in", ctypes.c_ulong),
        ("next_out", ctypes.c_void_p),
        ("avail_out", ctypes.c_uint),
        ("total_out", ctypes.c_ulong),
        ("msg", ctypes.c_char_p),
        ("state", ctypes.c_void_p),
        ("zalloc", ctypes.c_void_p),
        ("zfree", ctypes.c_void_p),
        ("opaque", ctypes.c_void_p),
        ("data_type", ctypes.c_int),
        ("adler", ctypes.c_ulong),
        ("reserved", ctypes.c_ulong),
    )


class _NextGeneration(ctypes.Structure):
    _fields_ = (
        ("next_in", ctypes.c_void_p),
        ("avail_in", ctypes.c_uint32),
        ("total_in", ctypes.c_size_t),
        ("next_out", ctypes.c_void_p),
        ("avail_out", ctypes.c_uint32),
        ("total_out", ctypes.c_size_t),
        ("msg", ctypes.c_char_p),
        ("state", ctypes.c_void_p),
        ("zalloc", ctypes.c_void_p),
        ("zfree", ctypes.c_void_p),
        ("opaque", ctypes.c_void_p),
        ("data_type", ctypes.c_int),
        ("adler", ctypes.c_uint32),
        ("reserved", ctypes.c_ulong),
    )


@dataclass(frozen=True, slots=True)
class Library:
    """The functions of one C library, and how its stream structure is laid out."""

    name: str
    structure: type[ctypes.Structure]
    init: Callable[[Any, int], int]
    inflate: Any
    reset: Any
    end: Any
    prime: Any
    set_dictionary: Any
    get_dictionary: Any


class Stream:
    """One inflating stream; used by one thread at a time."""

    __slots__ = ("_window", "library", "ref", "z")

    def __init__(self, library: Library, window_bits: int) -> None:
        self.library = library
        room = bytearray(ctypes.sizeof(library.structure) + _SPARE)
        self.z: Any = library.structure.from_buffer(room)
        self.ref = ctypes.byref(self.z)
        self._window = ctypes.create_string_buffer(WINDOW)
        status = library.init(self.ref, window_bits)
        if status != OK:
            raise MemoryError(f"inflate cannot start: {status}")

    def reset(self) -> None:
        """Start anew."""
        self.library.reset(self.ref)

    def prime(self, bits: int, byte: int) -> None:
        """Begin with the upper ``bits`` bits of ``byte``."""
        if bits:
            self.library.prime(self.ref, bits, byte >> (8 - bits))

    def look_back(self, window: bytes) -> None:
        """Let the stream refer to ``window`` as to its own output."""
        if window:
            self.library.set_dictionary(self.ref, window, len(window))

    def window(self) -> bytes:
        """Return the last output, at most 32 KiB."""
        length = ctypes.c_uint(0)
        status = self.library.get_dictionary(self.ref, self._window, ctypes.byref(length))
        if status != OK or length.value > WINDOW:
            return b""
        return self._window.raw[: length.value]

    def run(self, data: bytes, room: int) -> bytes:
        """Inflate up to ``room`` bytes from ``data`` and return them; for small pieces."""
        if not room:
            return b""
        out = ctypes.create_string_buffer(room)
        z = self.z
        z.next_in, z.avail_in = address(data), len(data)
        z.next_out, z.avail_out = ctypes.addressof(out), room
        self.library.inflate(self.ref, NO_FLUSH)
        return out.raw[: room - z.avail_out]

    def message(self) -> str:
        """Return what the library says is wrong."""
        text: bytes | None = self.z.msg
        return text.decode("ascii", "replace") if text else ""

    def __del__(self) -> None:
        # Memory that C allocated: nobody else knows of it.
        if hasattr(self, "ref"):
            self.library.end(self.ref)


def address(data: bytes) -> int:
    """Where the bytes lie; they have to be kept as long as this is used."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def library() -> Library | None:
    """Return the best library that works here, or None."""
    return _found()


def _find() -> Library | None:
    for make in _candidates():
        try:
            found = make()
            if found is not None and _works(found):
                return found
        except (ImportError, OSError, AttributeError, TypeError, ValueError, MemoryError):
            continue
    return None


_found: Once[Library | None] = Once(_find)


def _candidates() -> Iterator[Callable[[], Library | None]]:
    yield _zlib_ng
    if sys.platform == "darwin":
        yield lambda: _system("libz.dylib")
        yield lambda: _system("/usr/lib/libz.1.dylib")
    elif sys.platform != "win32":  # a zlib1.dll on the PATH may be anybody's
        yield lambda: _system("libz.so.1")


def _zlib_ng() -> Library | None:
    from zlib_ng import zlib_ng

    if not zlib_ng.__file__:
        return None
    loaded = ctypes.CDLL(zlib_ng.__file__)
    loaded.zlibng_version.restype = ctypes.c_char_p
    if not loaded.zlibng_version().startswith(b"2."):
        return None
    start = loaded.zng_inflateInit2
    start.argtypes = (ctypes.c_void_p, ctypes.c_int32)
    return _bind("zlib-ng", loaded, "zng_", _NextGeneration, start)


def _system(name: str) -> Library | None:
    loaded = ctypes.CDLL(name)
    loaded.zlibVersion.restype = ctypes.c_char_p
    version: bytes = loaded.zlibVersion()
    if not version.startswith(b"1."):
        return None
    start = loaded.inflateInit2_
    start.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
    size = ctypes.sizeof(_System)
    return _bind(
        "zlib", loaded, "", _System, lambda ref, bits: int(start(ref, bits, version, size))
    )


def _bind(
    name: str,
    loaded: ctypes.CDLL,
    prefix: str,
    structure: type[ctypes.Structure],
    start: Callable[[Any, int], int],
) -> Library:
    pointer, number, unsigned = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint

    def function(called: str, *arguments: Any) -> Any:
        found = getattr(loaded, prefix + called)
        found.argtypes = (pointer, *arguments)
        found.restype = number
        return found

    return Library(
        name,
        structure,
        start,
        function("inflate", number),
        function("inflateReset"),
        function("inflateEnd"),
        function("inflatePrime", number, number),
        function("inflateSetDictionary", ctypes.c_char_p, unsigned),
        function("inflateGetDictionary", pointer, pointer),
    )


# One member of two blocks, made with a Z_BLOCK flush between them: the second begins inside a
# byte and refers to the first.
_BEFORE = b"layers, and in them whiteouts, "
_AFTER = b"layers, and in them whiteouts; and more of them, and more layers"
_SAMPLE = base64.b64decode(
    "H4sIAAAAAAACA8pJrEwtKtZRSMxLUcjMUyjJSM1VKM/ILEnNLy0BCgOWg0/aGiycm1+UqpCfBpbTQYhAdAIA"
    "FG21NV8AAAA="
)


def _works(candidate: Library) -> bool:
    """Whether it stops at a block's end, says where that is, and can go on from there."""
    stream = Stream(candidate, GZIP)
    z = stream.z
    out = ctypes.create_string_buffer(256)
    z.next_in, z.avail_in = address(_SAMPLE), len(_SAMPLE)
    z.next_out, z.avail_out = ctypes.addressof(out), len(out)
    for wanted in (0, len(_BEFORE)):  # after the header, after the first block
        status = candidate.inflate(stream.ref, BLOCK)
        made = len(out) - z.avail_out
        if status != OK or made != wanted or z.data_type & (BOUNDARY | LAST_BLOCK) != BOUNDARY:
            return False
    at, bits, window = len(_SAMPLE) - z.avail_in, z.data_type & UNUSED, stream.window()
    status = candidate.inflate(stream.ref, NO_FLUSH)
    made = len(out) - z.avail_out
    if status != STREAM_END or out.raw[:made] != _BEFORE + _AFTER:
        return False
    again = Stream(candidate, RAW)
    again.prime(bits, _SAMPLE[at - 1])
    again.look_back(window)
    return window == _BEFORE and again.run(_SAMPLE[at:], 256) == _AFTER
