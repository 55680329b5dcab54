# SPDX-License-Identifier: GPL-2.0-or-later
"""What the volume loads left on a disk, read from its image.

The guest checks its own files while it runs; this looks at the disk itself
after QEMU is gone, and takes the client's word for what was acknowledged.
The formats are those of tests/guest/volumes/{records,database}.c.
"""

import os
import sqlite3
import struct
import zlib
from typing import Any, Dict, Set

from .images import FileSystem

MAGIC = 0x524c4f43
HEAD = struct.Struct("<IIQQII")
SLOT_BYTES = 4096
RING_NUMBERS = 64 * 2           # a slot comes round after so many
LOG_NUMBERS = 100 * 2
ACCOUNTS_COUNT = 32
START_BALANCE = 1000000

Report = Dict[str, Dict[str, Any]]


def check(files: FileSystem, report: Report, device: str,
          scratch: str) -> str:
    """Check all that `report` says was acknowledged on that device.

    report: the client's, by workload.  Returns words that count what was
    found; raises AssertionError for what is missing.
    """
    counts = []
    for figures in report.values():
        if figures.get("device") != device:
            continue
        for lane, last in figures["last"].items():
            if lane.startswith("records"):
                counts.append(f"{_check_records(files, lane, last)} records "
                              f"of {lane}")
            else:
                counts.append(f"{_check_database(files, lane, last, scratch)}"
                              f" entries of {lane}")
    return ", ".join(counts)


# -- records --------------------------------------------------------------

def _number_at(data: bytes, at: int) -> int:
    """The number of the whole record there; 0 if there is none."""
    if at + HEAD.size > len(data):
        return 0
    magic, crc, _, number, size, _ = HEAD.unpack_from(data, at)
    body = data[at + 8:at + size]
    if magic != MAGIC or len(body) != size - 8 or zlib.crc32(body) != crc:
        return 0
    return int(number)


def _log_numbers(data: bytes) -> Set[int]:
    found: Set[int] = set()
    at = 0
    while True:
        number = _number_at(data, at)
        if not number:
            return found
        found.add(number)
        at += HEAD.unpack_from(data, at)[4]


def newest_slot(last: int) -> int:
    """Where the newest record of the ring lies, all up to last being there."""
    return last // 2 % (RING_NUMBERS // 2)


def _check_records(files: FileSystem, lane: str, last: int) -> int:
    """See records.c for what must be there, and what may be missing."""
    if not last:
        return 0
    found: Set[int] = set()
    for name in files.names(lane):
        data = files.read(f"{lane}/{name}")
        if name == "ring":
            found |= {_number_at(data, at)
                      for at in range(0, len(data), SLOT_BYTES)}
        else:
            found |= _log_numbers(data)
    log = (last - 1) // LOG_NUMBERS
    # The number under way may have taken the place of an older one.
    if last // LOG_NUMBERS == log:
        log = max(log - 1, 0)
    wanted = set(range(log * LOG_NUMBERS + 1, last + 1, 2))
    newest = last // 2 * 2
    wanted |= {n for n in range(max(newest - RING_NUMBERS, 0) + 2, newest + 1,
                                2) if n + RING_NUMBERS != last + 1}
    lost = sorted(wanted - found)
    if lost:
        raise AssertionError(f"{lane}: acknowledged up to {last}, "
                             f"{len(lost)} records are missing or damaged, "
                             f"the first is number {lost[0]}")
    beyond = max(found, default=0)
    if beyond > last + 1:
        raise AssertionError(f"{lane}: record {beyond} was never asked for")
    return len(wanted)


# -- the database ---------------------------------------------------------

def _check_database(files: FileSystem, lane: str, last: int,
                    scratch: str) -> int:
    """Open a copy, with its journal, as after a power failure."""
    path = os.path.join(scratch, "base.db")
    there = files.names("/")
    parts = [p for p in ("", "-journal", "-wal") if "base.db" + p in there]
    for part in parts:
        files.copy_out("base.db" + part, path + part)
    base = sqlite3.connect(path)
    try:
        return _audit(base, lane, last)
    finally:
        base.close()
        for name in os.listdir(scratch):
            if name.startswith("base.db"):
                os.unlink(os.path.join(scratch, name))


def _audit(base: sqlite3.Connection, lane: str, last: int) -> int:
    verdict = base.execute("PRAGMA integrity_check").fetchone()[0]
    if verdict != "ok":
        raise AssertionError(f"integrity_check: {verdict}")
    rows = [row[0] for row in base.execute(
        "SELECT number FROM entry WHERE client = ? ORDER BY number", (lane,))]
    if rows not in (list(range(1, last + 1)), list(range(1, last + 2))):
        raise AssertionError(f"{lane}: acknowledged up to {last}, found "
                             f"{len(rows)} entries up to "
                             f"{max(rows, default=0)}")
    owed = [START_BALANCE] * ACCOUNTS_COUNT
    for source, target, amount in base.execute(
            "SELECT source, target, amount FROM entry"):
        owed[source] -= amount
        owed[target] += amount
    held = [row[0] for row in base.execute(
        "SELECT balance FROM account ORDER BY id")]
    if held != owed:
        raise AssertionError("the accounts do not hold what the entries say")
    return len(rows)
