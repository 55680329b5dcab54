#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Frequency of this host's time stamp counter.

Under TCG the guest reads the host's counter, so the guest may be told its
frequency (tsc_early_khz=) instead of measuring it. On a loaded host measuring
fails, because the emulated timer that it is measured against ticks late; a
guest without another clock (machine microvm) then hangs early in its boot.

Python cannot read the counter, so a few bytes of machine code do.
"""
import ctypes
import mmap
import platform
import time

# rdtsc; shl $32,%rdx; or %rdx,%rax; ret
CODE = bytes.fromhex("0f31" "48c1e220" "4809d0" "c3")
SAMPLE_S = 0.02
SAMPLES = 5


def frequency_khz():
    """kHz, or None on a host that is not x86-64 or forbids such code."""
    if platform.machine() != "x86_64":
        return None
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ |
                         mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None
    page.write(CODE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(address)
    results = []
    for _ in range(SAMPLES):
        start_ns, start = time.monotonic_ns(), read()
        time.sleep(SAMPLE_S)
        end_ns, end = time.monotonic_ns(), read()
        results.append((end - start) * 1000000 // (end_ns - start_ns))
    # Being scheduled away between clock and counter spoils a sample either
    # way, so the middle one counts.
    return sorted(results)[SAMPLES // 2]


if __name__ == "__main__":
    print(frequency_khz())
