# SPDX-License-Identifier: GPL-2.0-or-later
"""The bulk streams of the guest, computed on our side.

The format belongs to the guest (tests/guest): blocks of 64 KiB, each its own
number (8 bytes, little endian) and 65,528 bytes that depend on the seed only.
"""

import struct
from typing import List

BLOCK_BYTES = 65536
NUMBER_BYTES = 8
SEED = 7
MASK = (1 << 64) - 1


def _body(seed: int) -> bytes:
    word = seed * 2 + 1
    words: List[int] = []
    for _ in range((BLOCK_BYTES - NUMBER_BYTES) // 8):
        word ^= (word << 13) & MASK
        word ^= word >> 7
        word ^= (word << 17) & MASK
        words.append(word)
    return struct.pack(f"<{len(words)}Q", *words)


_BODY = _body(SEED)


def block(number: int) -> bytes:
    """One whole block of the stream."""
    return struct.pack("<Q", number) + _BODY


def chunk(position: int, size: int) -> bytes:
    """`size` bytes of the stream from `position` on."""
    first, skip = divmod(position, BLOCK_BYTES)
    last = (position + size - 1) // BLOCK_BYTES
    data = b"".join(block(n) for n in range(first, last + 1))
    return data[skip:skip + size]


def mismatch(data: bytes, position: int) -> int:
    """The offset of the first wrong byte of `data`, or -1."""
    expected = chunk(position, len(data))
    if data == expected:
        return -1
    return next(i for i, (a, b) in enumerate(zip(data, expected)) if a != b)
