# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of 90 bytes which checks its own memory.

It takes the firmware's place, so it is at work at once, and runs where no
kernel does (a KVM that is itself emulated).  It finds a torn checkpoint by
itself.  Each of 112 pages holds the number of the round.
A round compares every page with that number, then raises it; a page that was
not applied, or applied from another cut, stops the guest with a `!` on the
serial port.  Every 64 rounds it writes a letter, A to P in turn.

Another one, the counter, counts in one page, and that only where the stepping
of the CPU is not zero.  It asks for it each time (CPUID is not guest state):
two sides can be told to write to different pages.
"""

import os
from typing import Dict, List, Tuple

ROM_BYTES = 65536
RESET_VECTOR = 0xFFF0
JUMP_TO_START = bytes.fromhex("ea000000f0")     # jmp f000:0000
FIRST_SEGMENT = 0x1000
END_SEGMENT = 0x8000
STEP_PARAGRAPHS = 0x100
SERIAL_PORT = 0x3F8
LETTERS = "ABCDEFGHIJKLMNOP"

Program = List[Tuple[str, str]]

# One entry: a label ("name:"), a jump with a short displacement (opcode,
# label), or bytes in hex.
CHECKER: Program = [
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
    ("", "41 f6c13f"),                      # inc cx; test cl, 63
    ("75", "round"),
    ("", "89c8 c1e806 240f 0441"),          # al = 'A' + (cx / 64 & 15)
    ("", "baf803 ee"),                      # out COM1, al
    ("eb", "round"),
    ("bad:", ""),
    ("", "b021 baf803 ee"),                 # out COM1, '!'
    ("halt:", ""),
    ("eb", "halt"),
]

COUNTER: Program = [
    ("", "fa b80010 8ec0"),                 # cli; es = FIRST_SEGMENT
    ("", "26c70600000000"),                 # the count = 0
    ("", "b041 baf803 ee"),                 # out COM1, 'A'
    ("ask:", ""),
    ("", "66b801000000 0fa2 a80f"),         # cpuid 1; test al, the stepping
    ("74", "ask"),
    ("", "26ff060000"),                     # inc word es:[0]
    ("eb", "ask"),
]


def assemble(program: Program = CHECKER) -> bytes:
    """The firmware image: program, and the jump to it at the end."""
    code = bytearray()
    labels: Dict[str, int] = {}
    jumps: List[Tuple[int, str]] = []
    for first, second in program:
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
    image = bytes(code).ljust(RESET_VECTOR, b"\0") + JUMP_TO_START
    return image.ljust(ROM_BYTES, b"\0")


def options(directory: str, program: Program = CHECKER) -> List[str]:
    """QEMU options that run it."""
    path = os.path.join(directory, "firmware.raw")
    if not os.path.exists(path):
        with open(path, "wb") as file:
            file.write(assemble(program))
    return ["-bios", path]


def progress(console: str) -> str:
    """The letters written so far; raises if the guest found torn memory."""
    letters = "".join(c for c in console if c in LETTERS + "!")
    if "!" in letters:
        raise AssertionError("the guest found its memory torn")
    return letters
