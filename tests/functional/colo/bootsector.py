# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of 512 bytes which checks its own memory.

It runs where no kernel does (a KVM that is itself emulated), and it finds a
torn checkpoint by itself.  Each of 112 pages holds the number of the round.
A round compares every page with that number, then raises it; a page that was
not applied, or applied from another cut, stops the guest with a `!` on the
serial port.  Every 256 rounds it writes a letter, A to P in turn.
"""

import os
from typing import Dict, List, Tuple

SECTOR_BYTES = 512
FLOPPY_BYTES = 1474560
FIRST_SEGMENT = 0x1000
END_SEGMENT = 0x8000
STEP_PARAGRAPHS = 0x100
SERIAL_PORT = 0x3F8
LETTERS = "ABCDEFGHIJKLMNOP"

# One entry: a label ("name:"), a jump with a short displacement (opcode,
# label), or bytes in hex.
_PROGRAM: List[Tuple[str, str]] = [
    ("", "fa 31c0 8ed8 31c9"),              # cli; ds = 0; cx = 0: the round
    ("", "bb0010"),                         # mov bx, FIRST_SEGMENT
    ("clear:", ""),
    ("", "8ec3 26c70600000000"),            # page = 0
    ("", "81c30001 81fb0080"),              # next page
    ("72", "clear"),                        # jb clear
    ("round:", ""),
    ("", "bb0010"),
    ("page:", ""),
    ("", "8ec3 26390e0000"),                # cmp es:[0], cx
    ("75", "bad"),                          # jne bad
    ("", "26ff060000"),                     # inc word es:[0]
    ("", "81c30001 81fb0080"),
    ("72", "page"),
    ("", "41 84c9"),                        # inc cx; test cl, cl
    ("75", "round"),
    ("", "88e8 240f 0441 baf803 ee"),       # out COM1, 'A' + (ch & 15)
    ("eb", "round"),
    ("bad:", ""),
    ("", "b021 baf803 ee"),                 # out COM1, '!'
    ("halt:", ""),
    ("eb", "halt"),
]


def assemble() -> bytes:
    """The boot sector."""
    code = bytearray()
    labels: Dict[str, int] = {}
    jumps: List[Tuple[int, str]] = []
    for first, second in _PROGRAM:
        if first.endswith(":"):
            labels[first[:-1]] = len(code)
        elif first:
            code += bytes.fromhex(first) + b"\0"
            jumps.append((len(code), second))
        else:
            code += bytes.fromhex(second)
    for after, label in jumps:
        distance = labels[label] - after
        assert -128 <= distance <= 127, label
        code[after - 1] = distance & 0xFF
    return bytes(code).ljust(SECTOR_BYTES - 2, b"\0") + b"\x55\xaa"


def options(directory: str) -> List[str]:
    """QEMU options that boot it, from a read-only floppy."""
    path = os.path.join(directory, "floppy.raw")
    if not os.path.exists(path):
        with open(path, "wb") as file:
            file.write(assemble().ljust(FLOPPY_BYTES, b"\0"))
    return ["-drive", f"if=floppy,format=raw,readonly=on,file={path}",
            "-boot", "a"]


def progress(console: str) -> str:
    """The letters written so far; raises if the guest found torn memory."""
    letters = "".join(c for c in console if c in LETTERS + "!")
    if "!" in letters:
        raise AssertionError("the guest found its memory torn")
    return letters
