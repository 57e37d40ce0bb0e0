"""Takes from shared libraries what no process ever loads: symbol names for debuggers, in Polars a quarter of its file.

A loader reads the segments of an ELF file. Behind the last of them lie sections for linkers and debuggers, and the
table that lists the sections. So the file is cut there, and its header says that it has no such table. No offset
changes, which is why this is also safe for libraries whose segments were moved by auditwheel, where `strip` is not.

    python packing/symbols.py FOLDER

Source: System V ABI, chapter 4, "ELF Header" and "Program Header". 64-bit little-endian files only; others stay as
they are.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Final

ELF64_LITTLE: Final = b"\x7fELF\x02\x01"
SECTION_TABLE: Final = 0x28
"""Offset in the header of e_shoff, 8 bytes; at 0x3A follow e_shentsize, e_shnum and e_shstrndx, 2 bytes each."""


def loaded_bytes(data: bytes) -> int:
    """How many bytes from the start of an ELF file its segments and its program header reach.

    Args:
        data: a whole 64-bit little-endian ELF file.

    Returns:
        An offset of at least 64, the header's size.
    """
    start: int = struct.unpack_from("<Q", data, 0x20)[0]
    size, count = struct.unpack_from("<HH", data, 0x36)
    ends: list[int] = [64, start + size * count]
    for index in range(count):
        offset, in_file = struct.unpack_from("<8xQ16xQ", data, start + index * size)
        ends.append(offset + in_file)
    return max(ends)


def cut(data: bytes) -> bytes:
    """The file without what lies behind its segments; anything else than ELF as it is."""
    if not data.startswith(ELF64_LITTLE):
        return data
    kept = bytearray(data[: loaded_bytes(data)])
    struct.pack_into("<Q", kept, SECTION_TABLE, 0)
    struct.pack_into("<HHH", kept, 0x3A, 0, 0, 0)
    return bytes(kept)


def main(folder: Path) -> None:
    """Cut every shared library below a folder."""
    saved = 0
    for path in sorted(folder.rglob("*.so*")):
        if path.is_file() and not path.is_symlink():
            before = path.read_bytes()
            after = cut(before)
            saved += len(before) - len(after)
            path.write_bytes(after)
    print(f"{saved / 1e6:.1f} MB of symbols left out")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
