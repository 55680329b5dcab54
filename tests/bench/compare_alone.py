# SPDX-License-Identifier: GPL-2.0-or-later
"""colo-compare without a pair: how many frames of two guests per second.

One object is fed through its chardevs (feed.c) with the same frames from both
sides; what comes out is counted.  Besides the rate there is the processor
time of QEMU per frame, which does not change with what else this machine is
doing.  Rounds of all subjects are interleaved.
"""

import json
import os
import socket
import statistics
import subprocess
from typing import Any, Callable, Dict, List, Tuple

from colo import procs, vm
from colo.case import Context

FEEDER = os.path.join(vm.TOP, "build", "bench", "feed")
CHANNELS = ("unix", "tcp")
# name -> protocol, flows, bytes of payload
LOADS: Dict[str, Tuple[str, int, int]] = {
    "tcp-16x512": ("tcp", 16, 512),
    "tcp-1000x64": ("tcp", 1000, 64),
    "udp-16x512": ("udp", 16, 512),
}
WINDOW_FRAMES = 1024        # the default max_queue_size of one flow
WARM_MS = 500
MEASURE_MS = 2000
FEEDER_SHARE_MAX = 0.9      # of a processor; more, and it is the bottleneck
CHARDEVS = ("pri", "sec", "out")
PORT = 9100

Figures = Dict[str, Any]
Runner = Callable[[str, Dict[str, Any]], Figures]


def build_feeder() -> None:
    """Compile the feeder; it takes a second."""
    os.makedirs(os.path.dirname(FEEDER), exist_ok=True)
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                          "feed.c")
    procs.run(["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror",
               "-o", FEEDER, source])


# ---------------------------------------------- inside a private network

def _address(context: Context, channel: str, name: str) -> Tuple[str, Any]:
    """The words of -chardev, and where to connect to."""
    if channel == "tcp":
        port = PORT + CHARDEVS.index(name)
        return (f"host=127.0.0.1,port={port},nodelay=on",
                ("127.0.0.1", port))
    path = os.path.join(context.run_dir, name)
    return f"path={path}", path


def _connect(machine: vm.VM, name: str, where: Any) -> socket.socket:
    """Connect, and wait until QEMU knows."""
    family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.connect(where)
    if family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connected() -> bool:
        return any(c["label"] == name and
                   not c["filename"].startswith("disconnected:")
                   for c in machine.qmp.cmd("query-chardev"))
    procs.wait_until(connected, 5, f"chardev {name} connected")
    return sock


def _add_compare(machine: vm.VM) -> None:
    wanted = {"qom-type": "colo-compare", "id": "c0", "primary_in": "pri",
              "secondary_in": "sec", "outdev": "out", "iothread": "io0"}
    error = machine.qmp.try_cmd("object-add", {**wanted, "standalone": True})
    if error and "standalone" in error.desc:
        machine.qmp.cmd("object-add", wanted)   # it compares always
    elif error:
        raise error


def measure(context: Context, job: Dict[str, Any]) -> Figures:
    """One load, one QEMU."""
    protocol, flows, payload = LOADS[job["load"]]
    argv = ["-machine", "none", "-display", "none", "-nodefaults",
            "-object", "iothread,id=io0"]
    where = {}
    for name in CHARDEVS:
        words, where[name] = _address(context, job["channel"], name)
        argv += ["-chardev",
                 f"socket,id={name},server=on,wait=off,{words}"]
    machine = context.machine("compare", argv).start()
    _add_compare(machine)
    socks = [_connect(machine, name, where[name]) for name in CHARDEVS]
    fds = [s.fileno() for s in socks]
    done = subprocess.run(
        [FEEDER, protocol, str(flows), str(payload), str(WINDOW_FRAMES),
         str(WARM_MS), str(MEASURE_MS), str(machine.pid), *map(str, fds)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, pass_fds=fds, timeout=60,
        preexec_fn=procs.die_with_parent)
    if done.returncode:
        raise RuntimeError(f"the feeder ended with {done.returncode}: "
                           f"{done.stdout.strip()}")
    return dict(json.loads(done.stdout))


# ------------------------------------------------------------ the rounds

def rounds(run: Runner, subjects: List[Tuple[str, str]],
           rounds_count: int) -> Figures:
    """All loads over all chardevs; medians and what they were made from."""
    build_feeder()
    found: Dict[str, Dict[str, List[Figures]]] = {}
    for number in range(1, rounds_count + 1):
        for channel in CHANNELS:
            for load in LOADS:
                for name, binary in subjects:
                    figures = run(
                        f"compare, round {number}: {load} over {channel}, "
                        f"{name}",
                        {"kind": "compare-alone", "binary": binary,
                         "load": load, "channel": channel})
                    if figures:
                        found.setdefault(f"{channel} {load}", {}).setdefault(
                            name, []).append(figures)
    return {key: {name: _medians(list_) for name, list_ in by_name.items()}
            for key, by_name in found.items()}


def _medians(list_: List[Figures]) -> Figures:
    out = {key: statistics.median(f[key] for f in list_)
           for key in ("frames-per-s", "qemu-cpu-us", "feeder-cpu-share")}
    out["all-frames-per-s"] = [f["frames-per-s"] for f in list_]
    return out


def render(merged: Figures) -> str:
    """The table for people."""
    lines = [f"{'frames/s (QEMU us per frame)':30}{'ours':>20}"
             f"{'reference':>20}{'ratio':>7}{'of us':>7}"]
    for key, by_name in merged.items():
        cells = [_cell(by_name.get(name)) for name in ("ours", "reference")]
        lines.append(f"{key:30}{cells[0]:>20}{cells[1]:>20}"
                     f"{_ratio(by_name, 'frames-per-s'):>7}"
                     f"{_ratio(by_name, 'qemu-cpu-us'):>7}")
    busy = [key for key, by_name in merged.items()
            for f in by_name.values()
            if f["feeder-cpu-share"] > FEEDER_SHARE_MAX]
    if busy:
        lines.append(f"the feeder was the bottleneck in: {', '.join(busy)}")
    return "\n".join(lines)


def _cell(figures: Any) -> str:
    if not figures:
        return "-"
    return (f"{figures['frames-per-s']:,.0f} "
            f"({figures['qemu-cpu-us']:.2f})")


def _ratio(by_name: Dict[str, Figures], what: str) -> str:
    if len(by_name) < 2:
        return "-"
    ours, reference = (by_name[name][what] for name in ("ours", "reference"))
    return f"{ours / reference:.2f}"
