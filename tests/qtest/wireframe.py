# SPDX-License-Identifier: GPL-2.0-or-later
"""The frame header of the checkpoint stream, as include/colo/wire.h has it.

Written a second time, from the description and not from the code, so that a
mistake in the code's own encoder does not hide itself.
"""

import dataclasses
import struct
from typing import Optional

MAGIC = 0x434F4C4F
VERSION = 1
HEADER_BYTES = 32
PAYLOAD_MAX_BYTES = 1 << 26

TYPES = ("INVALID", "HELLO", "READY", "REFUSE", "START", "REQUEST", "DIRTY",
         "REPLY", "STATE", "PAGES", "DEVICE", "END", "RECEIVED", "LOADED",
         "FAILED", "PING", "PONG", "GOODBYE", "OFFER", "ANSWER")

OFFER = struct.Struct(">QQQI16s")   # id, disk, offset, bytes, hash
ANSWER = struct.Struct(">QI")       # id, accepted

_LAYOUT = ">IHHQIII"
_MASK = 0xFFFFFFFF
_PRIMES = (2654435761, 2246822519, 3266489917, 668265263, 374761393)


def _rotate(value: int, count: int) -> int:
    value &= _MASK
    return ((value << count) | (value >> (32 - count))) & _MASK


def xxh32(data: bytes, seed: int) -> int:
    """XXH32 of `data`; the algorithm is public (xxHash specification)."""
    p1, p2, p3, p4, p5 = _PRIMES
    at = 0
    if len(data) >= 16:
        lanes = [seed + p1 + p2, seed + p2, seed, seed - p1]
        while at + 16 <= len(data):
            for lane in range(4):
                word = struct.unpack_from("<I", data, at + 4 * lane)[0]
                lanes[lane] = _rotate(lanes[lane] + word * p2, 13) * p1
            at += 16
        total = sum(_rotate(lane, turn)
                    for lane, turn in zip(lanes, (1, 7, 12, 18)))
    else:
        total = seed + p5
    total += len(data)
    while at + 4 <= len(data):
        word = struct.unpack_from("<I", data, at)[0]
        total = _rotate(total + word * p3, 17) * p4
        at += 4
    for byte in data[at:]:
        total = _rotate(total + byte * p5, 11) * p1
    total &= _MASK
    total = ((total ^ (total >> 15)) * p2) & _MASK
    total = ((total ^ (total >> 13)) * p3) & _MASK
    return total ^ (total >> 16)


@dataclasses.dataclass
class Frame:
    """One decoded header."""

    version: int
    type: int
    epoch: int
    sequence: int
    flags: int
    length: int

    @property
    def name(self) -> str:
        """The name of the message type."""
        return TYPES[self.type] if self.type < len(TYPES) else "?"

    def encode(self) -> bytes:
        """The header's bytes with a right checksum."""
        head = struct.pack(_LAYOUT, MAGIC, self.version, self.type,
                           self.epoch, self.sequence, self.flags, self.length)
        return head + struct.pack(">I", xxh32(head, MAGIC))


def decode(data: bytes) -> Optional[Frame]:
    """The header at the start of `data`, None if it is not one."""
    if len(data) < HEADER_BYTES:
        return None
    magic, *fields = struct.unpack_from(_LAYOUT, data)
    check = struct.unpack_from(">I", data, HEADER_BYTES - 4)[0]
    if magic != MAGIC or check != xxh32(data[:HEADER_BYTES - 4], MAGIC):
        return None
    return Frame(*fields)


def find(data: bytes) -> int:
    """The offset of the first valid header, -1 if there is none."""
    mark = struct.pack(">I", MAGIC)
    at = data.find(mark)
    while at >= 0:
        if decode(data[at:]) is not None:
            return at
        at = data.find(mark, at + 1)
    return -1
