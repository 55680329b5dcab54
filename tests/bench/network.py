# SPDX-License-Identifier: GPL-2.0-or-later
"""What protection costs the guest's network.

Round trips, and bulk from the guest and to it, as a client sees them, of a
protected guest and of one beside it that is not.  Both run all the time, on the
same processors.  They have a client in turn, for about a second, with a new
connection each time, and a ratio is that of a turn to its two neighbours: what
a machine does by itself within a minute is often more than what is to be
measured, and so is the luck of a single connection.

Where the secondary has a processor of its own, that of the other host, it is
kept busy in the turns of the unprotected guest, too: how fast a processor is
depends on whether its neighbour has work, on one machine, but not on two.

The protected guest goes on with its checkpoints while it has nothing to do,
which are the cost of an idle pause each second.
"""

import os
import signal
import statistics
import subprocess
import sys
from typing import Any, Dict, List, Set

from colo import procs
from colo.addresses import PLAIN_IP, PLAIN_MAC
from colo.case import Context
from colo.vm import Spec
import measure

TURNS = 10              # of each guest, and one more without protection
TURN_S = 0.6
Figures = Dict[str, Any]

# The client's work -> what is compared.
NAMES = {"echo": "round-trip-p50-us", "source": "bulk-source-mb-per-s",
         "sink": "bulk-sink-mb-per-s"}


class Neighbour:
    """Keeps processors busy."""

    def __init__(self, context: Context, cpus: Set[int]) -> None:
        self._processes = [procs.spawn(
            [sys.executable, "-c", "while True: pass"],
            stdin=subprocess.DEVNULL) for _ in cpus]
        for process in self._processes:
            os.sched_setaffinity(process.pid, cpus)
            context.at_end(process.kill)
        self.pause()

    def _send(self, number: signal.Signals) -> None:
        for process in self._processes:
            process.send_signal(number)

    def pause(self) -> None:
        """Leave them alone."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        """After `pause()`."""
        self._send(signal.SIGCONT)


def start_plain(context: Context, plan: measure.Plan) -> None:
    """A guest without protection beside the pair."""
    spec = Spec(memory_mib=plan.memory_mib, ip=PLAIN_IP, mac=PLAIN_MAC)
    machine = context.machine("plain", [
        *spec.argv(), *spec.net_argv(context.net.tap("plain"))])
    machine.start()
    machine.wait_console("colo-guest: ready")


def turn(context: Context, label: str, work: str) -> float:
    """The figure of a client, and of a connection, made for this turn."""
    report = measure.report_of(context, label, TURN_S)
    return float(report["p50-us"]) if work == "echo" \
        else measure.mb_per_s(report)


def take_turns(context: Context, neighbour: Neighbour, work: str,
               out: Figures) -> None:
    """One kind of work on both guests, in turn."""
    plain: List[float] = []
    protected: List[float] = []

    def turn_of_plain() -> None:
        neighbour.go_on()
        plain.append(turn(context, f"{work}.plain", work))
        neighbour.pause()

    turn_of_plain()
    for _ in range(TURNS):
        protected.append(turn(context, work, work))
        turn_of_plain()
    name = NAMES[work]
    out[f"plain-{name}"] = statistics.median(plain)
    out[f"protected-{name}"] = statistics.median(protected)
    out[f"ratio-{name}"] = statistics.median(
        found / ((before + after) / 2)
        for before, found, after in zip(plain, protected, plain[1:]))


def traffic(context: Context) -> Figures:
    """See the top of the file."""
    out: Figures = {}
    plan = measure.Plan()
    neighbour = Neighbour(context, context.secondary_cpus)
    pair = measure.booted_pair(context, plan, measure.TRAFFIC_DELAY_MS)
    start_plain(context, plan)
    pair.protect(180)
    pair.wait_checkpoints(measure.SETTLE_CHECKPOINTS)
    for work in NAMES:
        take_turns(context, neighbour, work, out)
    return out
