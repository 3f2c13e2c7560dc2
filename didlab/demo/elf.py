"""A whole static program in a few instructions: print one line, exit with 0.

The demo images should run, and the machines that build them need no compiler. Each program is
one ELF file with a single readable and executable segment: header, code, text. It asks the
Linux kernel for ``write`` and ``exit`` and uses nothing else, so it starts in an image without
a C library.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

__all__ = ["ARCHITECTURES", "program"]


def _amd64(code_size: int, text_size: int) -> bytes:
    after_lea = 17  # rip-relative: counted from the end of the lea instruction
    return b"".join(
        [
            b"\xb8" + struct.pack("<I", 1),  # mov eax, 1 (write)
            b"\xbf" + struct.pack("<I", 1),  # mov edi, 1 (standard output)
            b"\x48\x8d\x35" + struct.pack("<i", code_size - after_lea),  # lea rsi, [rip + …]
            b"\xba" + struct.pack("<I", text_size),  # mov edx, text_size
            b"\x0f\x05",  # syscall
            b"\xb8" + struct.pack("<I", 60),  # mov eax, 60 (exit)
            b"\x31\xff",  # xor edi, edi
            b"\x0f\x05",  # syscall
        ]
    )


def _arm64(code_size: int, text_size: int) -> bytes:
    def movz(register: int, value: int) -> int:
        return 0xD2800000 | value << 5 | register

    offset = code_size - 8  # adr counts from itself, the third instruction
    adr_x1 = 0x10000000 | (offset & 3) << 29 | (offset >> 2) << 5 | 1
    svc = 0xD4000001
    return struct.pack(
        "<8I",
        movz(8, 64),  # write
        movz(0, 1),  # standard output
        adr_x1,
        movz(2, text_size),
        svc,
        movz(8, 93),  # exit
        movz(0, 0),
        svc,
    )


def _arm(code_size: int, text_size: int) -> bytes:
    def mov(register: int, value: int) -> int:
        return 0xE3A00000 | register << 12 | value

    svc = 0xEF000000
    return struct.pack(
        "<8I",
        mov(7, 4),  # write
        mov(0, 1),  # standard output
        0xE28F1000 | (code_size - 16),  # add r1, pc, …: pc reads as two instructions ahead
        0xE3002000 | (text_size >> 12) << 16 | (text_size & 0xFFF),  # movw r2, text_size
        svc,
        mov(7, 1),  # exit
        mov(0, 0),
        svc,
    )


# architecture -> (ELF class, machine, flags, load address, code)
_TARGETS: dict[str, tuple[int, int, int, int, Callable[[int, int], bytes]]] = {
    "amd64": (2, 62, 0, 0x400000, _amd64),
    "arm64": (2, 183, 0, 0x400000, _arm64),
    "arm": (1, 40, 0x05000000, 0x10000, _arm),  # EABI version 5
}

#: The architectures, in an image config's words, that `program` knows.
ARCHITECTURES = tuple(_TARGETS)


def program(architecture: str, text: str) -> bytes:
    r"""Return a static Linux executable that prints ``text`` and exits with 0.

    Parameters
    ----------
    architecture : str
        One of `ARCHITECTURES`.
    text : str
        What it prints; at most 4000 bytes of UTF-8.

    Examples
    --------
    >>> program("amd64", "Hello\n")[:4]
    b'\x7fELF'
    """
    elf_class, machine, flags, base, code_for = _TARGETS[architecture]
    message = text.encode()
    if len(message) > 4000:
        raise ValueError("the text is longer than 4000 bytes")  # operands hold 16 bits
    code_size = len(code_for(0x20, len(message)))  # every operand has a fixed width
    code = code_for(code_size, len(message))

    wide = elf_class == 2
    header_size, segment_size = (64, 56) if wide else (52, 32)
    start = header_size + segment_size
    size = start + code_size + len(message)
    ident = b"\x7fELF" + bytes([elf_class, 1, 1]) + bytes(9)  # little-endian, version 1
    header = struct.pack(
        "<16sHHIQQQIHHHHHH" if wide else "<16sHHIIIIIHHHHHH",
        ident,
        2,  # ET_EXEC
        machine,
        1,
        base + start,  # entry point
        header_size,  # the program header follows at once
        0,  # no section headers
        flags,
        header_size,
        segment_size,
        1,
        0,
        0,
        0,
    )
    load, read_execute, page = 1, 5, 0x10000  # 64 KiB pages exist on arm64
    if wide:
        segment = struct.pack("<IIQQQQQQ", load, read_execute, 0, base, base, size, size, page)
    else:
        segment = struct.pack("<IIIIIIII", load, 0, base, base, size, size, read_execute, page)
    return header + segment + code + message
