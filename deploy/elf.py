"""Shared libraries without what only linkers and debuggers read: symbols, debugging information, section headers.

A library is loaded by its program headers; what lies behind the last byte that they refer to is
never mapped (System V ABI, chapter 5, "Program Loading"). So the file may end there, for any
architecture and without binutils. `strip` also moves what it keeps, which breaks libraries that
auditwheel has patched.
"""

from __future__ import annotations

import struct
from pathlib import Path

_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian: x86_64 and arm64
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")


def is_library(path: Path) -> bool:
    """Whether a file is a library or program of a kind that Lambda runs."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def trim(path: Path) -> int:
    """End the library at its last loaded byte; the bytes saved."""
    content = bytearray(path.read_bytes())
    fields = list(_HEADER.unpack_from(content))
    program_offset, program_size, programs = fields[5], fields[9], fields[10]
    end = program_offset + program_size * programs
    for number in range(programs):
        _, _, offset, _, _, size, _, _ = _PROGRAM.unpack_from(content, program_offset + number * program_size)
        end = max(end, offset + size)
    saved = len(content) - end
    if saved <= 0:
        return 0
    fields[6] = fields[12] = fields[13] = 0  # where the section headers are, how many, which holds their names
    _HEADER.pack_into(content, 0, *fields)
    path.write_bytes(content[:end])
    return saved
