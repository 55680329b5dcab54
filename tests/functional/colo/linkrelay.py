# SPDX-License-Identifier: GPL-2.0-or-later
"""The cable between the client and the bridge, with faults on request.

Our handle on src/linkrelay.c, which is compiled on first use.  It also puts
the client into a VLAN.  It begins without faults; `set()` changes them while
frames flow.  Figures are per million frames, microseconds and kbit/s.
"""

import dataclasses
import fcntl
import json
import os
import subprocess
from typing import Any, Dict, Optional

from . import procs

FUNCTIONAL = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCE = os.path.join(FUNCTIONAL, "src", "linkrelay.c")
BUILD = os.path.join(FUNCTIONAL, "..", "..", "build", "functional")
FLAGS = ["-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11"]
PER_CENT = 10_000       # per million


@dataclasses.dataclass
class Faults:
    """What happens to frames, in both directions alike."""

    loss: int = 0
    duplicate: int = 0
    reorder: int = 0
    delay_us: int = 0
    reorder_us: int = 0
    rate_kbit: int = 0


def build() -> str:
    """Compile the relay unless that is done; the path of the program."""
    os.makedirs(BUILD, exist_ok=True)
    program = os.path.join(BUILD, "linkrelay")
    with open(program + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)    # cases may run side by side
        if not os.path.exists(program) or \
                os.path.getmtime(program) < os.path.getmtime(SOURCE):
            procs.run(["gcc", *FLAGS, "-o", program + ".new", SOURCE])
            os.replace(program + ".new", program)
    return program


class LinkRelay:
    """A running relay; it owns its taps, which end with it."""

    def __init__(self, client_tap: str, bridge_tap: str, seed: int = 0,
                 vlan_tap: str = "", vlan_id: int = 0) -> None:
        argv = [build(), client_tap, bridge_tap, str(seed)]
        if vlan_tap:
            argv += [vlan_tap, str(vlan_id)]
        self._process: Optional["subprocess.Popen[str]"] = procs.spawn(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, bufsize=1)
        self._answer()

    def set(self, faults: Faults) -> None:
        """From now on, these faults."""
        for name, value in dataclasses.asdict(faults).items():
            self._ask(f"set {name.replace('_', '-')} {value}")

    def stats(self) -> Dict[str, Dict[str, int]]:
        """Counters of `from-client` and `to-client` since the start."""
        return self._ask("stats")

    def close(self) -> None:
        """Pull the cable."""
        procs.reap(self._process)
        self._process = None

    def _ask(self, line: str) -> Dict[str, Any]:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        return self._answer()

    def _answer(self) -> Dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        text = self._process.stdout.readline()
        answer = json.loads(text or '{"error": "ended"}')
        if "error" in answer:
            raise RuntimeError(f"the link relay: {answer['error']}")
        return dict(answer)
