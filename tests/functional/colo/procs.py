# SPDX-License-Identifier: GPL-2.0-or-later
"""Child processes that never outlive us.

Each child asks the kernel to be killed when its parent dies, so that even a
`kill -9` of the test leaves nothing behind.  The parent must start children
from its main thread: the kernel ties the signal to the starting thread.
"""

import ctypes
import os
import signal
import subprocess
import time
from typing import Any, Callable, List, Optional

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def spawn(argv: List[str], **options: Any) -> "subprocess.Popen[Any]":
    """Popen whose child dies with us."""
    return subprocess.Popen(argv, preexec_fn=die_with_parent, **options)


def run(argv: List[str], **options: Any) -> str:
    """Run a helper to its end; its output, or an error that quotes it."""
    done = subprocess.run(argv, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False,
                          preexec_fn=die_with_parent, **options)
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(argv)}` failed with "
                           f"{done.returncode}: {done.stdout.strip()}")
    return done.stdout


def reap(process: Optional["subprocess.Popen[Any]"],
         grace_s: float = 0.0) -> None:
    """End a child: politely for `grace_s`, then for certain."""
    if process is None or process.poll() is not None:
        return
    if grace_s > 0:
        process.terminate()
        try:
            process.wait(grace_s)
            return
        except subprocess.TimeoutExpired:
            pass
    process.kill()
    process.wait()


def wait_until(condition: Callable[[], Any], timeout_s: float, what: str,
               step_s: float = 0.02) -> Any:
    """Poll until the condition is true; its value, or TimeoutError."""
    limit = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > limit:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        time.sleep(step_s)


def stat_fields(pid: int) -> List[str]:
    """The fields of /proc/PID/stat, from the third one, the state, on."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()


def threads_named(pid: int, prefix: str) -> List[int]:
    """Threads whose name begins like that."""
    found = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/comm",
                      encoding="ascii") as file:
                if file.read().startswith(prefix):
                    found.append(int(thread))
        except OSError:
            continue            # it has just ended
    return found


def status_number(pid: int, field: str) -> int:
    """A number in the status of a process or thread, for example VmRSS in
    KiB; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def is_root() -> bool:
    """True if we run as root (of whatever user namespace)."""
    return os.geteuid() == 0
